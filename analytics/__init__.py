"""Forecasts (`forecast`, `planned`, `issuing`), limits ahead (`outlook`), faults (`anomaly`), and all of it live (`live`)."""
