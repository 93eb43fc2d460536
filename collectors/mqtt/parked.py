"""Values whose metadata has not come yet: kept aside, on disk too, until it does. They are never guessed at."""

from __future__ import annotations

import os
from collections import deque
from pathlib import Path
from typing import BinaryIO

import orjson


class Parked:
    """Value messages by point key, oldest dropped (and counted) beyond `limit`.

    Parameters
    ----------
    limit
        Messages kept at most.
    folder
        Where ``parked.jsonl`` lies, so that a parked message survives the process; None keeps them in memory only.
    """

    def __init__(self, limit: int, folder: Path | None = None) -> None:
        self.dropped = 0
        self._limit = limit
        self._waiting: dict[str, deque[bytes]] = {}
        self._count = 0
        self._path = folder and folder / "parked.jsonl"
        self._file: BinaryIO | None = None
        self._unsaved = False
        if self._path:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            self._load(self._path)

    def __len__(self) -> int:
        return self._count

    def keys(self) -> list[str]:
        """Return the keys of the points that wait for their metadata."""
        return list(self._waiting)

    def add(self, key: str, payload: bytes) -> None:
        """Keep a value message of the point `key`."""
        if self._count >= self._limit:
            self._drop_oldest()
        if self._limit:
            self._keep(key, payload)
            if self._path:
                self._file = self._file or self._path.open("ab")
                self._file.write(orjson.dumps([key, payload.decode("utf-8", "replace")]) + b"\n")
                self._unsaved = True

    def release(self, key: str) -> list[bytes]:
        """Return the messages of a point, oldest first, and forget them."""
        messages = list(self._waiting.pop(key, ()))
        self._count -= len(messages)
        return messages

    def save(self) -> None:
        """Make what was added durable."""
        if self._file and self._unsaved:
            self._file.flush()
            os.fsync(self._file.fileno())
            self._unsaved = False

    def tidy(self) -> None:
        """Empty the file where nothing waits any more; call it once released values are stored."""
        if self._file and not self._count:
            self._file.truncate(0)
            self._file.close()
            self._file = None

    def _keep(self, key: str, payload: bytes) -> None:
        self._waiting.setdefault(key, deque()).append(payload)
        self._count += 1

    def _drop_oldest(self) -> None:
        self.dropped += 1
        if self._count:
            key = next(iter(self._waiting))
            self._waiting[key].popleft()
            self._count -= 1
            if not self._waiting[key]:
                del self._waiting[key]

    def _load(self, path: Path) -> None:
        if not path.exists():
            return
        for line in path.read_bytes().splitlines()[-self._limit :]:
            try:
                key, payload = orjson.loads(line)
            except ValueError:  # the last line of a process that was killed
                continue
            self._keep(key, payload.encode())
        self._file = path.open("ab")
