"""Top floor: settings, wiring, supervision, logs and the hallwatch command."""
