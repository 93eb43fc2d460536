"""Alerts: from a condition that holds to a person who knows."""
