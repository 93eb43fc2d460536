"""What could be shed or raised, and in which order: advice, from the priorities of jobs."""
