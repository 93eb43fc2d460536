"""Forecasts, excursions against limits, anomaly detection and their evaluation."""
