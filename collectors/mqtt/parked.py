"""Messages that cannot be placed yet: values whose metadata has not come, sweeps of trays whose rack is not known.

Kept aside until they can, on disk too. They are never guessed at.
"""

from __future__ import annotations

import os
from collections import Counter, deque
from itertools import islice
from pathlib import Path
from typing import BinaryIO

import orjson
import structlog

from domain.dsx import BMS

log = structlog.get_logger(__name__)

_ENTRY = 64  # bytes that a message takes beside its own
_SLACK = 1 << 20  # the file may be so much longer than twice what waits before it is written anew


class Parked:
    """Messages by publisher and key, bounded in number and in bytes, in memory and on disk.

    At a bound the oldest message of the publisher that has parked the most is dropped, and counted: one that runs
    wild does not push out what others parked.

    Parameters
    ----------
    limit
        Messages kept at most.
    folder
        Where ``parked.jsonl`` lies, so that a parked message survives the process; None keeps them in memory only.
    max_bytes
        Bytes of all that waits; the file takes twice as many, and a MiB, at most.
    """

    def __init__(self, limit: int, folder: Path | None = None, max_bytes: int = 32 << 20) -> None:
        self.counts: Counter[str] = Counter()
        self._limit = limit
        self._max_bytes = max_bytes
        self._waiting: dict[str, dict[str, deque[bytes]]] = {}
        self._number: Counter[str] = Counter()
        self._bytes = 0
        self._released: deque[bytes] = deque(maxlen=limit or 1)  # lines of what may not be stored yet
        self._path = folder and folder / "parked.jsonl"
        self._file: BinaryIO | None = None
        self._written = 0
        self.unsaved = False
        """Whether something was added that `save` has not made durable."""
        if self._path:
            try:
                self._path.parent.mkdir(parents=True, exist_ok=True)
                self._load(self._path)
            except OSError as error:
                self._not_saved(error)

    def __len__(self) -> int:
        return self._number.total()

    @property
    def dropped(self) -> int:
        """Messages that were dropped at a bound."""
        return self.counts["parked_dropped"]

    @property
    def size(self) -> int:
        """Bytes of all that waits."""
        return self._bytes

    def keys(self, most: int | None = None) -> list[str]:
        """Return the keys that wait, the first `most` of them."""
        every = (key for by_key in list(self._waiting.values()) for key in list(by_key))
        return list(dict.fromkeys(islice(every, most)))

    def add(self, key: str, payload: bytes, publisher: str = BMS) -> None:
        """Keep a message of `key` that `publisher` sent."""
        if not self._limit:
            self.counts["parked_dropped"] += 1
            return
        self._keep(key, payload, publisher)
        if self._path:
            self._write(_line(key, payload, publisher))

    def release(self, key: str) -> list[tuple[str, bytes]]:
        """Return the messages of a key, each with its publisher, the oldest of each first, and forget them."""
        released = []
        for publisher in [p for p, by_key in self._waiting.items() if key in by_key]:
            for payload in self._waiting[publisher].pop(key):
                self._forget(publisher, key, payload)
                released.append((publisher, payload))
                if self._path:
                    self._released.append(_line(key, payload, publisher))
        return released

    def save(self) -> None:
        """Make what was added durable; a disk that does not take it is counted and told. Blocks."""
        if self._file is None or not self.unsaved:
            return
        try:
            if self._written > 2 * self._bytes + _SLACK:
                self._write_anew()
            else:
                self._file.flush()
                os.fsync(self._file.fileno())
        except OSError as error:
            self._not_saved(error)
        self.unsaved = False

    @property
    def untidy(self) -> bool:
        """Whether `tidy` has something to do."""
        return bool(self._released) or (self._file is not None and not self._number)

    def tidy(self) -> None:
        """Forget what was released, and empty the file where nothing waits; once released messages are stored. Blocks."""
        self._released.clear()
        if self._file is None or len(self):
            return
        try:
            self._file.truncate(0)
            self._file.close()
        except OSError as error:
            self._not_saved(error)
        self._file, self._written = None, 0

    def _keep(self, key: str, payload: bytes, publisher: str) -> None:
        self._waiting.setdefault(publisher, {}).setdefault(key, deque()).append(payload)
        self._number[publisher] += 1
        self._bytes += _size(key, payload)
        while len(self) > self._limit or self._bytes > self._max_bytes:
            self._drop()

    def _drop(self) -> None:
        self.counts["parked_dropped"] += 1
        publisher = max(self._number, key=self._number.__getitem__)
        key, waiting = next(iter(self._waiting[publisher].items()))
        self._forget(publisher, key, waiting.popleft())
        if not waiting and publisher in self._waiting:
            del self._waiting[publisher][key]

    def _forget(self, publisher: str, key: str, payload: bytes) -> None:
        self._bytes -= _size(key, payload)
        self._number[publisher] -= 1
        if not self._number[publisher]:
            del self._number[publisher], self._waiting[publisher]

    def _write(self, line: bytes) -> None:
        assert self._path is not None
        try:
            self._file = self._file or self._path.open("ab")
            self._file.write(line)
        except OSError as error:
            self._not_saved(error)
            return
        self._written += len(line)
        self.unsaved = True

    def _write_anew(self) -> None:
        """Write only what waits, and what may not be stored yet."""
        assert self._path is not None
        new = self._path.with_suffix(".new")
        with new.open("wb") as file:
            file.writelines(self._released)
            for publisher, by_key in self._waiting.items():
                for key, payloads in by_key.items():
                    file.writelines(_line(key, payload, publisher) for payload in payloads)
            file.flush()
            os.fsync(file.fileno())
            self._written = file.tell()
        new.replace(self._path)
        if self._file is not None:
            self._file.close()
        self._file = self._path.open("ab")

    def _not_saved(self, error: OSError) -> None:
        if not self.counts["parked_not_saved"]:
            log.error("parked messages are in memory only", file=str(self._path), error=str(error))
        self.counts["parked_not_saved"] += 1

    def _load(self, path: Path) -> None:
        if not path.exists():
            return
        with path.open("rb") as lines:
            for line in lines:
                self._written += len(line)
                try:
                    entry = orjson.loads(line)
                except orjson.JSONDecodeError:  # the last line of a process that was killed
                    entry = None
                if (
                    isinstance(entry, list)
                    and len(entry) in (2, 3)
                    and all(isinstance(e, str) for e in entry)
                ):
                    key, payload, *publisher = entry
                    self._keep(key, payload.encode(), *publisher or (BMS,))
                else:
                    self.counts["parked_damaged"] += 1
        self._file = path.open("ab")


def _size(key: str, payload: bytes) -> int:
    return len(key) + len(payload) + _ENTRY


def _line(key: str, payload: bytes, publisher: str) -> bytes:
    return orjson.dumps([key, payload.decode("utf-8", "replace"), publisher]) + b"\n"
