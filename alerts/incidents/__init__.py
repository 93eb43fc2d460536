"""One cause, one page: which alert leads, which alerts it explains, and what hangs on what."""
