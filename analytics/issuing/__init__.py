"""Issuing the power forecast: what is handed to a child process, models fitted, judged and kept there, and nodes below the site."""
