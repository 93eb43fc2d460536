"""Secrets come from the environment or from files, never from the configuration itself."""

from __future__ import annotations

import os
from pathlib import Path

from domain.errors import ConfigurationError, Problem
from domain.redaction import keep_secret


def read_secret(variable: str, file: Path | str | None, where: str, key: str) -> str:
    """Return the secret that an environment variable or a file holds; empty where neither is named. It is never shown.

    Parameters
    ----------
    variable
        Name of the environment variable.
    file
        Path of the file; white space around its content is left out.
    where, key
        Which configuration names it, and the setting without ``_env`` or ``_file``, for messages.

    Raises
    ------
    ConfigurationError
        If what is named is not there.
    """
    if variable:
        value = os.environ.get(variable)
        if value is None:
            raise ConfigurationError(
                Problem(where, f"{key}_env", f"the environment has no {variable}", f"Set {variable}.")
            )
        keep_secret(value)
        return value
    if file:
        try:
            value = Path(file).read_text(encoding="utf-8").strip()
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigurationError(
                Problem(where, f"{key}_file", f"{file} cannot be read ({error})", "Make it readable.")
            ) from error
        keep_secret(value)
        return value
    return ""
