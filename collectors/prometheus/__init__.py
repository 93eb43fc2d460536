"""Prometheus: exporters that a plant already runs (dcgm-exporter, inference servers)."""
