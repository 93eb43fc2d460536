"""MQTT: the DSX Exchange contract and the tray agents' sweeps."""
