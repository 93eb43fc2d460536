"""From accepting a batch of readings to answering a query."""
