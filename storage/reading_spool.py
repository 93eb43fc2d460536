"""Batches of readings in a spool, independent of the indexes that points have in this process."""

from __future__ import annotations

import logging
import os
import struct
import threading
from contextlib import suppress
from pathlib import Path

import numpy as np
import orjson

from domain.batch import Batch
from domain.errors import InputError, SpoolFull
from domain.points import IntArray, Point, PointRegistry
from storage.points_json import point_from_json, point_to_json
from storage.private import private_opener
from storage.spool import Place, Spool

log = logging.getLogger(__name__)

HEAD = struct.Struct("<qI")  # received, rows
ROW_BYTES = 4 + 8 + 8 + 1


class ReadingSpool:
    """Readings that wait for the store.

    Points are written down beside the readings, in ``points.jsonl``: a restart, or another process, may know them
    by other indexes. One line a point, however often it changes; the file goes when nothing waits.

    Parameters
    ----------
    folder
        Belongs to this spool alone.
    registry
        Where points are looked up, and registered when a spool of an earlier run is read.
    max_bytes
        The oldest readings are dropped, counted, above it.
    """

    def __init__(self, folder: Path, registry: PointRegistry, max_bytes: int) -> None:
        self._registry = registry
        self._lock = threading.Lock()
        self.dropped = 0
        """Readings that were dropped because the spool was full."""
        self.unreadable = 0
        """Readings that waited and could not be read back, or whose point is not known any more; they are set aside."""
        self.rows = 0
        """Readings that wait."""
        self._spool = Spool(folder, max_bytes, on_drop=self._count_dropped)
        self._points_file = folder / "points.jsonl"
        self._points: list[Point | None] = []
        self._line_of: dict[str, int] = {}
        self._begin_anew_if_empty()
        self._points = self._load_points()
        self._line_of |= {point.key: line for line, point in enumerate(self._points) if point is not None}
        self._line = np.full(1024, -1, np.int32)  # of each point of the registry
        self._unreadable: set[Place] = set()
        self.rows = sum(_rows(found.record) for found in self._spool.waiting())

    def __len__(self) -> int:
        return len(self._spool)

    @property
    def size_bytes(self) -> int:
        """Bytes on disk."""
        return self._spool.size_bytes

    def append(self, batch: Batch) -> None:
        """Keep readings; when this returns they survive a crash.

        Raises
        ------
        SpoolFull
            If there is no room even after dropping the oldest.
        """
        with self._lock:
            lines = self._lines_for(batch.point)
            # bounded records, so that one is never larger than the room
            step = 200_000
            for first in range(0, len(batch), step):
                part = slice(first, first + step)
                self._spool.append(_encode(batch, lines, part))
            self.rows += len(batch)

    def peek(self, max_rows: int) -> tuple[list[tuple[Place, bytes]], Batch | None]:
        """Return the oldest records, to be given to `done`, and their readings; None where nothing waits.

        What cannot be read is set aside, counted in `unreadable`, and not among the readings.
        """
        taken = self._spool.peek(max_rows * ROW_BYTES)
        if not taken:
            return [], None
        batches = [self._readable(place, record) for place, record in taken]
        return taken, Batch.concat(batches)

    def done(self, taken: list[tuple[Place, bytes]]) -> None:
        """Forget records that are in the store now."""
        with self._lock:
            self._spool.done(taken)
            self._unreadable.difference_update(place for place, _ in taken)
            self.rows = max(0, self.rows - sum(_rows(r) for _, r in taken)) if len(self._spool) else 0
            self._begin_anew_if_empty()

    def set_aside(self, batch: Batch, why: str) -> None:
        """Keep readings that the store can never take where a person finds them, as JSON lines."""
        lines = [
            orjson.dumps(
                {"key": self._registry[p].key, "observed": t, "value": v, "quality": q, "why": why[:300]}
            )
            for p, t, v, q in zip(
                batch.point.tolist(),
                batch.observed.tolist(),
                batch.value.tolist(),
                batch.quality.tolist(),
                strict=True,
            )
        ]
        self._spool.set_aside(b"\n".join(lines) + b"\n", "not-storable.jsonl")

    def close(self) -> None:
        """Let go of the files."""
        self._spool.close()

    def _count_dropped(self, _number: int, record: bytes) -> None:
        self.dropped += _rows(record)
        self.rows -= _rows(record)

    def _readable(self, place: Place, record: bytes) -> Batch:
        """Return what can be read of a record, by the indexes of this process; the rest is set aside once."""
        try:
            batch = _decode(record)
        except (struct.error, ValueError):
            lost, batch = max(_rows(record), 1), Batch.of([], [], [])
        else:
            lines, at = np.unique(batch.point, return_inverse=True)
            index = np.array([self._index_of(line) for line in lines.tolist()], np.int32)[at]
            lost = int((index < 0).sum())
            batch = Batch(index, batch.observed, batch.value, batch.quality, batch.received).take(index >= 0)
        if lost and place not in self._unreadable:
            self._unreadable.add(place)
            self.unreadable += lost
            self._spool.set_aside(record, "records.unreadable")
            log.error("%s: %d readings cannot be read back, they are set aside", self._spool.folder, lost)
        return batch

    def _index_of(self, line: int) -> int:
        """Return the index of a line's point, or -1 where the line is damaged."""
        point = self._points[line] if 0 <= line < len(self._points) else None
        if point is None:
            return -1
        known = self._registry.index(point.key)
        return self._registry.restore(point) if known is None else known

    # --- points ----------------------------------------------------------------------------------------------

    def _begin_anew_if_empty(self) -> None:
        """Remove the list of points when no reading refers to it: so it does not grow from outage to outage."""
        if len(self._spool):
            return
        try:
            self._points_file.unlink(missing_ok=True)
        except OSError as e:
            log.warning("%s stays: %s", self._points_file, e)
            return
        self._points, self._line_of = [], {}
        self._line = np.full(1024, -1, np.int32)

    def _load_points(self) -> list[Point | None]:
        """Return the point of each line; None where a line is damaged: its readings are set aside when they come."""
        try:
            text = self._points_file.read_bytes()
        except FileNotFoundError:
            return []
        except OSError as e:
            log.error("%s cannot be read: %s", self._points_file, e)
            return []
        whole = text.rfind(b"\n") + 1
        if whole < len(text):  # a crash cut the last line short; no reading refers to it
            os.truncate(self._points_file, whole)
        points: list[Point | None] = []
        for line in text[:whole].split(b"\n")[:-1]:
            try:
                points.append(point_from_json(line))
            except InputError as e:
                points.append(None)
                log.error("%s:%d: %s; its readings are set aside", self._points_file, len(points), e)
                self._spool.set_aside(line + b"\n", "points.damaged")
        return points

    def _lines_for(self, points: IntArray) -> IntArray:
        """Return the line of ``points.jsonl`` of each reading's point, adding those that are not there."""
        if (size := len(self._registry)) > len(self._line):
            self._line = np.concatenate([self._line, np.full(2 * size - len(self._line), -1, np.int32)])
        missing = np.unique(points[self._line[points] < 0]).tolist()
        new = [i for i in missing if self._registry[i].key not in self._line_of]
        if new:
            text = "".join(point_to_json(self._registry[i]) + "\n" for i in new).encode()
            self._add_lines(text)
            for i in new:
                self._line_of[self._registry[i].key] = len(self._points)
                self._points.append(self._registry[i])
        for i in missing:
            self._line[i] = self._line_of[self._registry[i].key]
        return self._line[points]

    def _add_lines(self, text: bytes) -> None:
        before = self._points_file.stat().st_size if self._points_file.exists() else 0
        try:
            with open(self._points_file, "ab", opener=private_opener) as file:
                file.write(text)
                file.flush()
                os.fsync(file.fileno())
        except OSError as e:
            with suppress(OSError):  # half a line would be one with the next
                os.truncate(self._points_file, before)
            raise SpoolFull(f"{self._points_file}: {e}") from e


def _encode(batch: Batch, lines: IntArray, part: slice) -> bytes:
    columns = (lines[part], batch.observed[part], batch.value[part], batch.quality[part])
    return HEAD.pack(batch.received, len(columns[0])) + b"".join(c.tobytes() for c in columns)


def _decode(record: bytes) -> Batch:
    received, n = HEAD.unpack_from(record)
    at = HEAD.size
    if len(record) != at + n * ROW_BYTES:
        raise ValueError(f"a record of {n} rows has {len(record)} bytes")
    point = np.frombuffer(record, np.int32, n, at)
    observed = np.frombuffer(record, np.int64, n, at + 4 * n)
    value = np.frombuffer(record, np.float64, n, at + 12 * n)
    return Batch(point, observed, value, np.frombuffer(record, np.uint8, n, at + 20 * n), received)


def _rows(record: bytes) -> int:
    """Return how many readings a record holds; 0 for one that is none."""
    if len(record) < HEAD.size:
        return 0
    return min(int(HEAD.unpack_from(record)[1]), len(record) // ROW_BYTES)
