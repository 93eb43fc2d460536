"""Schedules: jobs and maintenance that are known in advance."""
