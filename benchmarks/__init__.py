"""Measured claims: each module prints one JSON object with its figures."""
