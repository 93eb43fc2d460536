"""The agent's spool: every sweep is on disk before it is sent, and leaves it once the broker has it.

Written through to the operating system at each sweep, so that a killed agent loses nothing; a node that loses power
may lose its last seconds. Where the disk takes nothing, sweeps wait in memory.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import structlog

from domain.errors import SpoolFull
from storage.spool import Place, Spool

log = structlog.get_logger(__name__)

SEGMENTS = 16


class SweepSpool:
    """Sweeps that the broker has not taken yet, by sequence number, oldest first.

    Parameters
    ----------
    folder
        Where it lies; None keeps sweeps in memory, within the same limit.
    limit
        Bytes at most; beyond it the oldest are dropped, and counted in `dropped`.
    """

    def __init__(self, folder: Path | None, limit: int) -> None:
        self.dropped = 0
        self.failures = 0
        """Writes that the disk did not take."""
        self._limit = limit
        self._memory = 0
        self._in_memory = 0  # next sequence number where there is no disk
        self._waiting: dict[int, Place | bytes] = {}  # where each message lies, in order
        self._ahead: set[int] = set()  # taken, while an older one is not
        self._spool: Spool | None = None
        if folder is not None:
            self._spool = Spool(folder, limit, limit // SEGMENTS, on_drop=self._lost, synced=False)
            self._waiting |= {found.begin.number: found.begin for found in self._spool.waiting()}

    def __len__(self) -> int:
        return len(self._waiting)

    @property
    def next_sequence(self) -> int:
        """Sequence number of the next message."""
        return self._in_memory if self._spool is None else self._spool.next_number

    def append(self, message: bytes) -> int:
        """Keep a message under the next sequence number, which is returned. A full disk costs the oldest, never this."""
        sequence = self.next_sequence
        if self._spool is None:
            self._in_memory += 1
            self._keep_in_memory(sequence, message)
            return sequence
        try:
            self._waiting[sequence] = self._spool.append(message)
        except SpoolFull as error:
            log.error("spool cannot be written, sweep kept in memory", error=str(error))
            self._spool.skip()
            self._keep_in_memory(sequence, message)
        self.failures = self._spool.failures
        return sequence

    def read(self, sequence: int) -> bytes | None:
        """Return a waiting message, or None where it was dropped or its record is damaged."""
        where = self._waiting.get(sequence)
        if self._spool is None or where is None or isinstance(where, bytes):
            return where if isinstance(where, bytes) else None
        message = self._spool.read(where)
        if message is None:
            del self._waiting[sequence]
            self.dropped += 1
        return message

    def waiting(self) -> Iterator[int]:
        """Yield the sequence numbers that the broker has not taken, oldest first."""
        return iter(self._waiting)

    def taken(self, sequence: int) -> None:
        """Note that the broker has a message."""
        where = self._waiting.pop(sequence, None)
        if isinstance(where, bytes):
            self._memory -= len(where)
        elif self._spool is not None and where is not None:
            self._ahead.add(sequence)
            waiting = (place for place in self._waiting.values() if isinstance(place, Place))
            oldest = next(waiting, self._spool.end)
            gone = {number for number in self._ahead if number < oldest.number}
            self._spool.forget(oldest, len(gone))
            self._ahead -= gone

    def close(self) -> None:
        """Close the files; what waits is found again at the next start."""
        if self._spool is not None:
            self._spool.close()

    def _lost(self, sequence: int, _message: bytes) -> None:
        if self._waiting.pop(sequence, None) is not None:
            self.dropped += 1

    def _keep_in_memory(self, sequence: int, message: bytes) -> None:
        self._waiting[sequence] = message
        self._memory += len(message)
        while self._memory > self._limit:
            oldest, gone = next((s, where) for s, where in self._waiting.items() if isinstance(where, bytes))
            del self._waiting[oldest]
            self._memory -= len(gone)
            self.dropped += 1
