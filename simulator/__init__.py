"""The factory's digital twin: workload, faults and instruments on top of `domain.plant`, behind real protocols."""
