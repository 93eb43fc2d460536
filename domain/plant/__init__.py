"""Physics of rack, coolant loop, CDU and power chain, shared by simulator and what-if."""
