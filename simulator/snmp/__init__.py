"""SNMP agents of the simulated rack PDUs, UPSes and cooling units, over real UDP."""
