"""Readings from devices, buses and nodes; each collector hands batches to a sink that it is given."""
