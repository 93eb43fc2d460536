"""SNMP: power, cooling and environment devices, described by profiles in config/devices."""
