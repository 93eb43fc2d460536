"""What is worked out all the time from live readings: the watch over the plant, what it found, and what stands in for it."""
