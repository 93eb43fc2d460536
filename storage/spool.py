"""Records kept on disk in order while whoever should take them is away.

A spool is a folder of segments, each named by the number of its first record. A record is appended with its length and
checksum; a torn record at the end, as a crash leaves it, is cut off on opening, and damage costs the records that it
hit. Bounded: when the folder is full the oldest segment goes first, and what went is counted.
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
from typing import BinaryIO, NamedTuple

from domain.errors import SpoolFull
from storage.private import private_folder, private_opener

log = logging.getLogger(__name__)

HEADER = struct.Struct("<4sII")  # magic, length, crc32
MAGIC = b"HWsp"
SEGMENT = re.compile(r"(\d{12,18})\.spool")
LARGEST_NUMBER = 10**18
ASIDE_BYTES = 32 << 20
"""Room for what could not be read or used, beside the spool itself; beyond it is only counted."""
SEARCHES = 100
"""How often in one segment a record is looked for behind damage."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where a record begins, or the one before it ends: segment, offset in it, and number of the record there."""

    segment: int
    offset: int
    number: int


class Found(NamedTuple):
    """A record in a segment: the place where it begins, the one behind it, and what was appended."""

    begin: Place
    end: Place
    record: bytes


class Spool:
    """First in, first out, on disk. Each record has a number, one more than that of the record before.

    Parameters
    ----------
    folder
        Made where it does not exist; belongs to this spool alone.
    max_bytes
        Above this the oldest segment is dropped, its unread records counted in `dropped`.
    segment_bytes
        Size at which a new segment is begun.
    on_drop
        Told number and content of each record that is dropped because the spool is full.
    synced
        Whether records outlive a loss of power, too; otherwise they outlive the process.
    """

    def __init__(
        self,
        folder: Path,
        max_bytes: int,
        segment_bytes: int = 8 << 20,
        on_drop: Callable[[int, bytes], None] | None = None,
        synced: bool = True,
    ) -> None:
        self.folder = folder
        self._on_drop = on_drop
        self._max_bytes = max_bytes
        self._segment_bytes = min(segment_bytes, max(max_bytes // 8, 4096))
        self._synced = synced
        self._lock = threading.RLock()
        self.dropped = 0
        """Records that were dropped unread because the spool was full."""
        self.damaged = 0
        """Places at which something could not be read back."""
        self.failures = 0
        """Writes that the disk did not take."""
        self._aside_bytes: int | None = None
        private_folder(folder)
        self._segments = {
            int(m[1]): f.stat().st_size
            for f in folder.iterdir()
            if (m := SEGMENT.fullmatch(f.name)) and f.is_file()
        }
        self._file: BinaryIO | None = None
        self._next = max((self._mend(s) for s in sorted(self._segments)), default=0)
        self._read_from = self._load_position()
        self._next = max(self._next, self._read_from.number)
        for old in [s for s in self._segments if s < self._read_from.segment]:
            self._remove(old)
        self._pending = sum(1 for _ in self._scan(self._read_from))

    def __len__(self) -> int:
        """Return how many records wait to be taken."""
        return self._pending

    @property
    def size_bytes(self) -> int:
        """Bytes on disk."""
        return sum(self._segments.values())

    @property
    def next_number(self) -> int:
        """Number that the next record gets."""
        return self._next

    @property
    def end(self) -> Place:
        """The place behind the newest record."""
        return Place(self._next, 0, self._next)

    def append(self, *records: bytes) -> Place:
        """Add records; when this returns they survive a crash. Returns the place where the first one begins.

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
                    place = self._write(blob)
                    break
                except OSError as e:
                    self.failures += 1
                    self._cut_back()
                    if not self._drop_oldest():
                        raise SpoolFull(f"{self.folder}: cannot write {len(blob)} bytes: {e}") from e
            self._pending += len(records)
            self._next += len(records)
            return place

    def skip(self) -> None:
        """Leave a number out, of a record that is kept elsewhere."""
        with self._lock:
            self._next += 1
            last = max(self._segments, default=None)
            if last is not None and self._segments[last] == 0:
                self._remove(last)  # it is named by the number that is left out
            self._close_file()

    def peek(self, max_bytes: int = 4 << 20) -> list[tuple[Place, bytes]]:
        """Return the oldest records, about `max_bytes` of them, each with the place at which it ends."""
        with self._lock:
            taken: list[tuple[Place, bytes]] = []
            size = 0
            for found in self._scan(self._read_from):
                taken.append((found.end, found.record))
                size += len(found.record)
                if size >= max_bytes:
                    break
            return taken

    def read(self, place: Place) -> bytes | None:
        """Return the record that begins at a place, or None where it is gone or damaged."""
        with self._lock:
            try:
                with self._path(place.segment).open("rb") as file:
                    file.seek(place.offset)
                    return _record(file, self._segments[place.segment])
            except (OSError, KeyError):
                return None

    def waiting(self) -> Iterator[Found]:
        """Yield every record that waits, oldest first, one at a time: there may be gigabytes of them."""
        with self._lock:
            yield from self._scan(self._read_from)

    def done(self, taken: Sequence[tuple[Place, bytes]]) -> None:
        """Forget records that `peek` gave, from the first on; they have arrived elsewhere."""
        if taken:
            with self._lock:
                known = self._read_from.number  # some may have been dropped meanwhile, as the oldest
                self.forget(taken[-1][0], sum(place.number > known for place, _ in taken))

    def forget(self, place: Place, count: int) -> None:
        """Forget all records before a place, `count` of them."""
        with self._lock:
            if place.number <= self._read_from.number:
                return
            self._pending = 0 if place.number >= self._next else max(0, self._pending - count)
            self._read_from = place if self._pending else self.end
            self._save_position()  # first: files that are too many are harmless
            for old in [s for s in self._segments if s < self._read_from.segment]:
                self._remove(old)

    def set_aside(self, blob: bytes, name: str) -> None:
        """Keep what cannot be used for a person to look at, in the folder ``aside``, as long as there is room."""
        folder = self.folder / "aside"
        try:
            private_folder(folder)
            if self._aside_bytes is None:
                self._aside_bytes = sum(f.stat().st_size for f in folder.iterdir())
            if self._aside_bytes + len(blob) > min(ASIDE_BYTES, self._max_bytes):
                log.warning("%s is full, what is found now is only counted; look at it and empty it", folder)
                return
            with open(folder / name, "ab", opener=private_opener) as file:
                file.write(blob)
            self._aside_bytes += len(blob)
        except OSError as e:
            log.error("%s: %s was not kept: %s", folder, name, e)

    def close(self) -> None:
        """Let go of the files."""
        with self._lock:
            self._close_file()

    # --- files -----------------------------------------------------------------------------------------------

    def _path(self, segment: int) -> Path:
        return self.folder / f"{segment:012d}.spool"

    def _close_file(self) -> None:
        if self._file is not None:
            try:
                self._file.close()
            except OSError:
                log.debug("the rest of a failed write is cut off")
            self._file = None

    def _write(self, blob: bytes) -> Place:
        last = max(self._segments, default=None)
        full = last is not None and 0 < self._segments[last] > self._segment_bytes - len(blob)
        if last is None or full or self._file is None:  # numbers follow each other within a segment
            self._close_file()
            last = self._next
            self._file = open(self._path(last), "ab", opener=private_opener)  # noqa: SIM115 - kept open
            self._segments.setdefault(last, 0)
            if self._synced:
                _sync_folder(self.folder)
        assert self._file is not None
        place = Place(last, self._segments[last], self._next)
        self._file.write(blob)
        self._file.flush()
        if self._synced:
            os.fsync(self._file.fileno())
        self._segments[last] += len(blob)
        return place

    def _cut_back(self) -> None:
        """Remove what a failed write left at the end of the newest segment."""
        last = max(self._segments, default=None)
        self._close_file()
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
        lost = 0
        for found in self._scan(self._read_from, only=oldest):
            lost += 1
            if self._on_drop is not None:
                self._on_drop(found.begin.number, found.record)
        self._remove(oldest)
        following = min(self._segments, default=None)
        self._read_from = self.end if following is None else Place(following, 0, following)
        self._save_position()
        self.dropped += lost
        self._pending = max(0, self._pending - lost)
        log.error("spool %s is full: %d of the oldest records were dropped", self.folder, lost)
        return True

    def _remove(self, segment: int) -> None:
        if self._file is not None and segment == max(self._segments):
            self._close_file()
        self._path(segment).unlink(missing_ok=True)
        self._segments.pop(segment, None)

    def _scan(self, place: Place, only: int | None = None) -> Iterator[Found]:
        """Yield records from a place on (in one segment only); those that cannot be read are left out."""
        for segment in sorted(s for s in self._segments if s >= place.segment and only in (None, s)):
            here = place.segment == segment
            offset, number = (place.offset, place.number) if here else (0, segment)
            try:
                data = self._path(segment).read_bytes()
            except OSError as e:
                log.error("spool %s: %s", self._path(segment), e)
                continue
            end = offset
            for begin, record in _records(data, offset):
                number += begin > end  # damage between them hit one record at least
                end = begin + HEADER.size + len(record)
                yield Found(Place(segment, begin, number), Place(segment, end, number + 1), record)
                number += 1

    def _mend(self, segment: int) -> int:
        """Set damage aside, and cut a torn end off; return the number behind the segment's last record."""
        path = self._path(segment)
        try:
            data = path.read_bytes()
        except OSError as e:
            log.error("spool %s cannot be read: %s", path, e)
            self.damaged += 1
            return segment
        end, number = 0, segment
        for begin, record in _records(data, 0):
            if begin > end:
                self._found_damage(segment, end, data[end:begin])
                number += 1
            end, number = begin + HEADER.size + len(record), number + 1
        if end < len(data):
            if segment == max(self._segments):
                log.warning("spool %s: %d bytes of a torn record cut off", path, len(data) - end)
            else:
                self._found_damage(segment, end, data[end:])
            os.truncate(path, end)
            self._segments[segment] = end
        return number

    def _found_damage(self, segment: int, offset: int, damage: bytes) -> None:
        self.damaged += 1
        log.error(
            "spool %s: %d bytes at %d are damaged and set aside", self._path(segment), len(damage), offset
        )
        self.set_aside(damage, f"{segment}-{offset}.damaged")

    def _load_position(self) -> Place:
        first = min(self._segments, default=0)
        try:
            told = (self.folder / "position").read_bytes()[:100]
        except OSError:
            return Place(first, 0, first)
        try:
            segment, offset = map(int, told.split())
            if not self._segments and 0 <= segment < LARGEST_NUMBER:
                return Place(segment, 0, segment)
            if offset == 0 and segment == self._next:
                return self.end
            if segment in self._segments:
                ends = [
                    Place(segment, 0, segment),
                    *(f.end for f in self._scan(Place(segment, 0, segment), segment)),
                ]
                return next(place for place in ends if place.offset == offset)
        except (ValueError, StopIteration):
            pass
        # from the start: taking twice is harmless, losing is not
        log.error("spool %s: its position is damaged, all that is there is taken once more", self.folder)
        self.damaged += 1
        return Place(first, 0, first)

    def _save_position(self) -> None:
        # Not synced: after a crash a few records are handed out twice, and whoever takes them knows them.
        temporary = self.folder / "position.new"
        try:
            with open(temporary, "w", opener=private_opener) as file:
                file.write(f"{self._read_from.segment} {self._read_from.offset}")
            temporary.replace(self.folder / "position")
        except OSError as e:
            log.warning("spool %s: position not written: %s", self.folder, e)


def _records(data: bytes, offset: int) -> Iterator[tuple[int, bytes]]:
    """Yield the offset and content of each whole record; behind damage the next one is searched."""
    view = memoryview(data)
    searches = 0
    while 0 <= offset <= len(data) - HEADER.size:
        magic, length, checksum = HEADER.unpack_from(data, offset)
        begin = offset + HEADER.size
        if (
            magic == MAGIC
            and begin + length <= len(data)
            and zlib.crc32(view[begin : begin + length]) == checksum
        ):
            yield offset, data[begin : begin + length]
            offset = begin + length
        elif (searches := searches + 1) > SEARCHES:
            return
        else:
            offset = data.find(MAGIC, offset + 1)


def _record(file: BinaryIO, largest: int) -> bytes | None:
    header = file.read(HEADER.size)
    if len(header) < HEADER.size:
        return None
    magic, length, checksum = HEADER.unpack(header)
    if magic != MAGIC or length > largest:
        return None
    record = file.read(length)
    return record if len(record) == length and zlib.crc32(record) == checksum else None


def _sync_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
