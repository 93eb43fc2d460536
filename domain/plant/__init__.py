"""Physics of the plant: GPU, rack, coolant loop, CDU, power chain, heat rejection.

Numpy only and free of noise, so that the simulator and a what-if question give the same answer. Arrays are
vectorised over racks, GPUs and units; every function also takes leading axes (times, scenarios). Units are the
canonical ones: W, Cel, K, L/min, Pa, V, A, 1.
"""
