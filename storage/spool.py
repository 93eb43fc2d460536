"""Records kept on disk in order while whoever should take them is away.

A spool is a folder of segments. A record is appended with its length and checksum and synced before `append`
returns; a torn record at the end, as a crash leaves it, is cut off on opening. Bounded: when the folder is full
the oldest segment goes first, and what went is counted.
"""

from __future__ import annotations

import logging
import os
import re
import struct
import threading
import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from domain.errors import SpoolFull

log = logging.getLogger(__name__)

HEADER = struct.Struct("<4sII")  # magic, length, crc32
MAGIC = b"HWsp"
SEGMENT = re.compile(r"(\d{12})\.spool")


@dataclass(frozen=True, slots=True)
class Place:
    """Where a record begins: number of the segment, and offset in it."""

    segment: int
    offset: int


class Spool:
    """First in, first out, on disk.

    Parameters
    ----------
    folder
        Made where it does not exist; belongs to this spool alone.
    max_bytes
        Above this the oldest segment is dropped, its unread records counted in `dropped`.
    segment_bytes
        Size at which a new segment is begun.
    on_drop
        Told each record that is dropped because the spool is full.
    """

    def __init__(
        self,
        folder: Path,
        max_bytes: int,
        segment_bytes: int = 8 << 20,
        on_drop: Callable[[bytes], None] | None = None,
    ) -> None:
        self.folder = folder
        self._on_drop = on_drop
        self._max_bytes = max_bytes
        self._segment_bytes = min(segment_bytes, max(max_bytes // 8, 4096))
        self._lock = threading.Lock()
        self.dropped = 0
        """Records that were dropped unread because the spool was full."""
        self.damaged = 0
        """Segments whose rest could not be read."""
        folder.mkdir(parents=True, exist_ok=True)
        self._segments = {
            int(m[1]): f.stat().st_size for f in sorted(folder.iterdir()) if (m := SEGMENT.fullmatch(f.name))
        }
        self._file: BinaryIO | None = None
        self._read_from = self._load_position()
        self._mend_tail()
        self._pending = sum(1 for _ in self._scan(self._read_from))

    def __len__(self) -> int:
        """Return how many records wait to be taken."""
        return self._pending

    @property
    def size_bytes(self) -> int:
        """Bytes on disk."""
        return sum(self._segments.values())

    def append(self, *records: bytes) -> None:
        """Add records; when this returns they survive a crash.

        Raises
        ------
        SpoolFull
            If not even dropping the oldest makes room: the disk is full, or a record is larger than the spool.
        """
        blob = b"".join(HEADER.pack(MAGIC, len(r), zlib.crc32(r)) + r for r in records)
        with self._lock:
            self._make_room(len(blob))
            while True:
                try:
                    self._write(blob)
                    break
                except OSError as e:
                    self._cut_back()
                    if not self._drop_oldest():
                        raise SpoolFull(f"{self.folder}: cannot write {len(blob)} bytes: {e}") from e
            self._pending += len(records)

    def peek(self, max_bytes: int = 4 << 20) -> list[tuple[Place, bytes]]:
        """Return the oldest records, about `max_bytes` of them, each with the place at which it ends."""
        with self._lock:
            taken: list[tuple[Place, bytes]] = []
            size = 0
            for after, record in self._scan(self._read_from):
                taken.append((after, record))
                size += len(record)
                if size >= max_bytes:
                    break
            return taken

    def waiting(self) -> Iterator[bytes]:
        """Yield every record that waits, oldest first, one at a time: there may be gigabytes of them."""
        with self._lock:
            for _, record in self._scan(self._read_from):
                yield record

    def done(self, taken: Sequence[tuple[Place, bytes]]) -> None:
        """Forget records that `peek` gave, from the first on; they have arrived elsewhere."""
        if not taken:
            return
        with self._lock:
            place = taken[-1][0]
            if (place.segment, place.offset) <= (self._read_from.segment, self._read_from.offset):
                return  # dropped meanwhile, as the oldest
            self._read_from = place
            self._pending = max(0, self._pending - len(taken))
            for old in [s for s in self._segments if s < place.segment]:
                self._remove(old)
            if self._pending == 0 and place.offset >= self._segments.get(place.segment, 0):
                self._remove(place.segment)
            self._save_position()

    def close(self) -> None:
        """Let go of the files."""
        with self._lock:
            if self._file is not None:
                self._file.close()
                self._file = None

    # --- files -----------------------------------------------------------------------------------------------

    def _path(self, segment: int) -> Path:
        return self.folder / f"{segment:012d}.spool"

    def _write(self, blob: bytes) -> None:
        last = max(self._segments, default=None)
        if last is None or self._segments[last] + len(blob) > self._segment_bytes:
            if self._file is not None:
                self._file.close()
                self._file = None
            last = max(self._read_from.segment, last or 0) + 1
            self._segments[last] = 0
        if self._file is None:
            self._file = self._path(last).open("ab")
            _sync_folder(self.folder)
        self._file.write(blob)
        self._file.flush()
        os.fsync(self._file.fileno())
        self._segments[last] += len(blob)

    def _cut_back(self) -> None:
        """Remove what a failed write left at the end of the newest segment."""
        last = max(self._segments, default=None)
        if self._file is not None:
            try:
                self._file.close()
            except OSError:
                log.debug("the rest of a failed write is cut off below")
            self._file = None
        if last is not None and self._path(last).exists():
            os.truncate(self._path(last), self._segments[last])

    def _make_room(self, size: int) -> None:
        if size > self._max_bytes:
            raise SpoolFull(
                f"{self.folder}: a record of {size} bytes is larger than the spool ({self._max_bytes})"
            )
        while self.size_bytes + size > self._max_bytes and self._drop_oldest():
            pass

    def _drop_oldest(self) -> bool:
        """Drop the oldest segment, counted; return whether there was one."""
        oldest = min(self._segments, default=None)
        if oldest is None or self._segments[oldest] == 0:
            return False
        begin = max((self._read_from.segment, self._read_from.offset), (oldest, 0))
        lost = 0
        for after, record in self._scan(Place(*begin)):
            if after.segment != oldest:
                break
            lost += 1
            if self._on_drop is not None:
                self._on_drop(record)
        if self._file is not None and oldest == max(self._segments):
            self._file.close()
            self._file = None
        self._remove(oldest)
        self._read_from = Place(oldest + 1, 0)
        self._save_position()
        self.dropped += lost
        self._pending = max(0, self._pending - lost)
        log.error("spool %s is full: %d of the oldest records were dropped", self.folder, lost)
        return True

    def _remove(self, segment: int) -> None:
        if self._file is not None and segment == max(self._segments):
            self._file.close()
            self._file = None
        self._path(segment).unlink(missing_ok=True)
        self._segments.pop(segment, None)

    def _scan(self, place: Place) -> Iterator[tuple[Place, bytes]]:
        """Yield records from a place on, each with the place after it; a damaged rest of a segment is skipped."""
        for segment in sorted(s for s in self._segments if s >= place.segment):
            offset = place.offset if segment == place.segment else 0
            with self._path(segment).open("rb") as file:
                file.seek(offset)
                while header := file.read(HEADER.size):
                    record = _record(file, header)
                    if record is None:
                        self.damaged += 1
                        log.error(
                            "spool %s: damaged at byte %d, the rest is skipped", self._path(segment), offset
                        )
                        break
                    offset += HEADER.size + len(record)
                    yield Place(segment, offset), record

    def _mend_tail(self) -> None:
        """Cut a half-written record, as a crash leaves it, off the newest segment."""
        last = max(self._segments, default=None)
        if last is None:
            return
        good = 0
        with self._path(last).open("rb") as file:
            while header := file.read(HEADER.size):
                record = _record(file, header)
                if record is None:
                    break
                good += HEADER.size + len(record)
        if good < self._segments[last]:
            log.warning(
                "spool %s: %d bytes of a torn record cut off", self._path(last), self._segments[last] - good
            )
            os.truncate(self._path(last), good)
            self._segments[last] = good

    def _load_position(self) -> Place:
        try:
            segment, offset = (self.folder / "position").read_text().split()
            return Place(int(segment), int(offset))
        except (OSError, ValueError):
            return Place(min(self._segments, default=0), 0)  # from the start: taking twice is harmless

    def _save_position(self) -> None:
        # Not synced: after a crash a few records are handed out twice, and the store knows them.
        temporary = self.folder / "position.new"
        try:
            temporary.write_text(f"{self._read_from.segment} {self._read_from.offset}")
            temporary.replace(self.folder / "position")
        except OSError as e:
            log.warning("spool %s: position not written: %s", self.folder, e)


def _record(file: BinaryIO, header: bytes) -> bytes | None:
    if len(header) < HEADER.size:
        return None
    magic, length, checksum = HEADER.unpack(header)
    if magic != MAGIC:
        return None
    record = file.read(length)
    return record if len(record) == length and zlib.crc32(record) == checksum else None


def _sync_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
