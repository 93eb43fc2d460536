"""The digital twin of the factory: physics, workload, faults and real protocol endpoints."""
