"""The agent's spool: every sweep is on disk before it is sent, and leaves it once the broker has it.

A folder of segment files, each a run of records (sequence number, length, checksum, message), and a file ``taken`` with
the highest sequence number up to which the broker has everything. Written through to the operating system at each
sweep, so that a killed agent loses nothing; a node that loses power may lose its last seconds.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import structlog

log = structlog.get_logger(__name__)

_RECORD = struct.Struct("<QII")  # sequence number, length of the message, its CRC-32
_SEGMENTS = 16


@dataclass(slots=True)
class Segment:
    """One file of the spool."""

    path: Path
    size: int
    last: int


class Spool:
    """Sweeps that the broker has not taken yet, oldest first.

    Parameters
    ----------
    folder
        Where it lies; None keeps sweeps in memory, within the same limit.
    limit
        Bytes at most; beyond it the oldest segment is dropped, and its sweeps counted in `dropped`.
    """

    def __init__(self, folder: Path | None, limit: int) -> None:
        self.dropped = 0
        self.next_sequence = 0
        self._folder = folder
        self._limit = limit
        self._waiting: dict[int, tuple[Path, int, int] | bytes] = {}  # where each message lies, in order
        self._segments: list[Segment] = []
        self._file: BinaryIO | None = None
        self._taken: BinaryIO | None = None
        self._memory = 0
        self.failures = 0
        if folder is not None:
            folder.mkdir(parents=True, exist_ok=True)
            self._load(folder)

    def __len__(self) -> int:
        return len(self._waiting)

    def append(self, message: bytes) -> int:
        """Keep a message under the next sequence number, which is returned. A full disk costs the oldest, never this."""
        sequence = self.next_sequence
        self.next_sequence += 1
        if self._folder is None:
            self._keep_in_memory(sequence, message)
            return sequence
        while True:
            try:
                self._write(self._folder, sequence, message)
            except OSError as error:
                self.failures += 1
                if self._close_segment() and self._drop_oldest():
                    continue
                log.error(
                    "spool cannot be written, sweep kept in memory",
                    folder=str(self._folder),
                    error=str(error),
                )
                self._keep_in_memory(sequence, message)
            return sequence

    def read(self, sequence: int) -> bytes | None:
        """Return a waiting message, or None where it was dropped or its record is damaged."""
        where = self._waiting.get(sequence)
        if where is None or isinstance(where, bytes):
            return where
        path, offset, length = where
        try:
            with path.open("rb") as file:
                file.seek(offset)
                return file.read(length)
        except OSError:
            self._waiting.pop(sequence, None)
            self.dropped += 1
            return None

    def waiting(self) -> Iterator[int]:
        """Yield the sequence numbers that the broker has not taken, oldest first."""
        return iter(self._waiting)

    def taken(self, sequence: int) -> None:
        """Note that the broker has a message."""
        where = self._waiting.pop(sequence, None)
        if isinstance(where, bytes):
            self._memory -= len(where)
        if self._folder is None:
            return
        lowest = next(iter(self._waiting), self.next_sequence)
        if self._taken is None:
            path = self._folder / "taken"
            self._taken = path.open("r+b" if path.exists() else "w+b")
        self._taken.seek(0)
        self._taken.write(struct.pack("<Q", lowest))
        self._taken.flush()
        while self._segments and self._segments[0].last < lowest:
            if len(self._segments) == 1:
                if self._segments[0].size < self._segment_size:
                    break  # still written to
                self._close_segment()
            self._segments.pop(0).path.unlink(missing_ok=True)

    def close(self) -> None:
        """Close the files; what waits is found again at the next start."""
        self._close_segment()
        if self._taken is not None:
            self._taken.close()
            self._taken = None

    @property
    def _segment_size(self) -> int:
        return self._limit // _SEGMENTS

    def _write(self, folder: Path, sequence: int, message: bytes) -> None:
        if sum(s.size for s in self._segments) + len(message) > self._limit:
            self._close_segment()
            self._drop_oldest()
        if self._file is None or self._segments[-1].size >= self._segment_size:
            self._close_segment()
            path = folder / f"{sequence:016d}.sweeps"
            self._file = path.open("ab", buffering=0)
            self._segments.append(Segment(path, path.stat().st_size, sequence))
        segment = self._segments[-1]
        record = _RECORD.pack(sequence, len(message), zlib.crc32(message)) + message
        written = self._file.write(record)
        if written != len(
            record
        ):  # a full disk may take a part; the rest of the segment would not be readable
            self._file.truncate(segment.size)
            raise OSError("disk full")
        self._waiting[sequence] = (segment.path, segment.size + _RECORD.size, len(message))
        segment.size += len(record)
        segment.last = sequence

    def _keep_in_memory(self, sequence: int, message: bytes) -> None:
        self._waiting[sequence] = message
        self._memory += len(message)
        while self._memory > self._limit:
            oldest = next(s for s, where in self._waiting.items() if isinstance(where, bytes))
            gone = self._waiting.pop(oldest)
            assert isinstance(gone, bytes)
            self._memory -= len(gone)
            self.dropped += 1

    def _drop_oldest(self) -> bool:
        """Drop the oldest segment; return whether there was one."""
        if not self._segments:
            return False
        segment = self._segments.pop(0)
        lost = [s for s, w in self._waiting.items() if not isinstance(w, bytes) and w[0] == segment.path]
        for sequence in lost:
            del self._waiting[sequence]
        self.dropped += len(lost)
        segment.path.unlink(missing_ok=True)
        if lost:
            log.error("spool full, oldest sweeps dropped", first=lost[0], last=lost[-1], count=len(lost))
        return True

    def _close_segment(self) -> bool:
        if self._file is not None:
            self._file.close()
            self._file = None
        return True

    def _load(self, folder: Path) -> None:
        taken_up_to = 0
        path = folder / "taken"
        if path.exists() and len(raw := path.read_bytes()) == 8:
            (taken_up_to,) = struct.unpack("<Q", raw)
        self.next_sequence = taken_up_to
        for path in sorted(folder.glob("*.sweeps")):
            segment = Segment(path, 0, -1)
            data = path.read_bytes()
            while segment.size + _RECORD.size <= len(data):
                sequence, length, checksum = _RECORD.unpack_from(data, segment.size)
                begin = segment.size + _RECORD.size
                if zlib.crc32(data[begin : begin + length]) != checksum or begin + length > len(data):
                    break  # the record that was being written when the agent was killed
                if sequence >= taken_up_to:
                    self._waiting[sequence] = (path, begin, length)
                segment.size, segment.last = begin + length, sequence
                self.next_sequence = max(self.next_sequence, sequence + 1)
            if segment.last < taken_up_to:
                path.unlink(missing_ok=True)
            else:
                self._segments.append(segment)
