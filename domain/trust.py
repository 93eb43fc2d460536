"""Which certificates a client believes."""

from __future__ import annotations

import ssl
from pathlib import Path

from domain.errors import ConfigurationError, Problem


def trusted(ca_file: Path | str | None, where: str) -> ssl.SSLContext:
    """Return what a client trusts: the certificates in a file, or the system's.

    Raises
    ------
    ConfigurationError
        If the file cannot be used.
    """
    try:
        return ssl.create_default_context(cafile=str(ca_file) if ca_file else None)
    except (OSError, ValueError) as error:  # SSLError is an OSError
        problem = Problem(
            where, "ca_file", f"{ca_file} cannot be used ({error})", "It must hold certificates in PEM."
        )
        raise ConfigurationError(problem) from error
