"""Files that only the service's own user may read: telemetry, records, what waits and what was refused."""

from __future__ import annotations

import logging
import os
from pathlib import Path

log = logging.getLogger(__name__)

OWN = (
    "telemetry.duckdb*",
    "records.sqlite*",
    "duckdb-temp",
    "spool",
    "quarantine",
    "serve",
    "mqtt",
    "models",
    "links.secret*",
    "alarm-performance",
)
"""What Hallwatch keeps in a data folder; whatever else a person put there is left as it is."""


def private_opener(path: str, flags: int) -> int:
    """Open a file, for `open`; where it is made, only its user may read it."""
    return os.open(path, flags, 0o600)


def private_folder(folder: Path) -> None:
    """Make a folder that only its user may enter, or make one so that is there."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    _restrict(folder, 0o700)


def private_file(file: Path) -> None:
    """Take a file's rights for group and others away, where it is there."""
    if file.is_file():
        _restrict(file, 0o600)


def keep_private(data: Path) -> None:
    """See to it that what this process makes, and what lies in a data folder already, is its user's only.

    The mask holds for the whole process: a database makes files of its own, a write-ahead log for one, at any time.
    """
    os.umask(0o077)
    if not data.exists():
        private_folder(data)
    for pattern in OWN:
        for top in data.glob(pattern):
            for path in (top, *(top.rglob("*") if top.is_dir() and not top.is_symlink() else ())):
                if not path.is_symlink():
                    _restrict(path, 0o700 if path.is_dir() else 0o600)


def _restrict(path: Path, mode: int) -> None:
    try:
        if path.stat().st_mode & 0o077:
            path.chmod(mode)
    except OSError as e:  # another user's, or a file system without rights: said, and no reason to stop
        log.warning("%s can be read by others: %s", path, e)
