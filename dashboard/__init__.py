"""The operator console (Dash)."""
