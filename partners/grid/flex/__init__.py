"""DSX Flex: signed load targets from energy partners over MQTT, and what the site tells them of its power."""
