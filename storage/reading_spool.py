"""Batches of readings in a spool, independent of the indexes that points have in this process."""

from __future__ import annotations

import os
import struct
import threading
from pathlib import Path

import numpy as np

from domain.batch import Batch
from domain.errors import SpoolFull
from domain.points import IntArray, Point, PointRegistry
from storage.points_json import point_from_json, point_to_json
from storage.spool import Place, Spool

HEAD = struct.Struct("<qI")  # received, rows
ROW_BYTES = 4 + 8 + 8 + 1


class ReadingSpool:
    """Readings that wait for the store.

    Points are written down beside the readings, in ``points.jsonl``: a restart, or another process, may know them
    by other indexes.

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
        self.rows = 0
        """Readings that wait."""
        self._spool = Spool(folder, max_bytes, on_drop=self._count_dropped)
        self._points_file = folder / "points.jsonl"
        self._points = self._load_points()
        self._line_of: dict[int, int] = {}
        self._written_version = -1
        self._lines = np.empty(0, np.int32)
        self.rows = sum(_rows(record) for record in self._spool.waiting())

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
        """Return the oldest records, to be given to `done`, and their readings; None where nothing waits."""
        taken = self._spool.peek(max_rows * ROW_BYTES)
        if not taken:
            return [], None
        batches = [_decode(record) for _, record in taken]
        batch = Batch.concat(batches)
        lines = np.unique(batch.point)
        index = np.zeros(int(lines.max()) + 1, np.int32)
        for line in lines.tolist():
            index[line] = self._index_of(self._points[line])
        return taken, Batch(index[batch.point], batch.observed, batch.value, batch.quality, batch.received)

    def done(self, taken: list[tuple[Place, bytes]]) -> None:
        """Forget records that are in the store now."""
        with self._lock:
            self._spool.done(taken)
            self.rows = max(0, self.rows - sum(_rows(r) for _, r in taken)) if len(self._spool) else 0

    def close(self) -> None:
        """Let go of the files."""
        self._spool.close()

    def _count_dropped(self, record: bytes) -> None:
        self.dropped += _rows(record)
        self.rows -= _rows(record)

    def _index_of(self, point: Point) -> int:
        known = self._registry.index(point.key)
        return self._registry.restore(point) if known is None else known

    # --- points ----------------------------------------------------------------------------------------------

    def _load_points(self) -> list[Point]:
        try:
            text = self._points_file.read_bytes()
        except FileNotFoundError:
            return []
        whole = text.rfind(b"\n") + 1
        if whole < len(text):  # a crash cut the last line short; no reading refers to it
            os.truncate(self._points_file, whole)
        return [point_from_json(line) for line in text[:whole].splitlines()]

    def _lines_for(self, points: IntArray) -> IntArray:
        """Return the line of ``points.jsonl`` of each reading's point, adding those that are new or changed."""
        if self._written_version != self._registry.version:
            version = self._registry.version
            for index, _ in self._registry.changed_since(max(self._written_version, 0)):
                self._line_of.pop(index, None)
            self._written_version = version
        used = np.unique(points).tolist()
        new = [i for i in used if i not in self._line_of]
        if new:
            text = "".join(point_to_json(self._registry[i]) + "\n" for i in new).encode()
            try:
                with self._points_file.open("ab") as file:
                    file.write(text)
                    file.flush()
                    os.fsync(file.fileno())
            except OSError as e:
                raise SpoolFull(f"{self._points_file}: {e}") from e
            for i in new:
                self._line_of[i] = len(self._points)
                self._points.append(self._registry[i])
        line = np.zeros(used[-1] + 1, np.int32)
        line[used] = [self._line_of[i] for i in used]
        return line[points]


def _encode(batch: Batch, lines: IntArray, part: slice) -> bytes:
    columns = (lines[part], batch.observed[part], batch.value[part], batch.quality[part])
    return HEAD.pack(batch.received, len(columns[0])) + b"".join(c.tobytes() for c in columns)


def _decode(record: bytes) -> Batch:
    received, n = HEAD.unpack_from(record)
    at = HEAD.size
    point = np.frombuffer(record, np.int32, n, at)
    observed = np.frombuffer(record, np.int64, n, at + 4 * n)
    value = np.frombuffer(record, np.float64, n, at + 12 * n)
    return Batch(point, observed, value, np.frombuffer(record, np.uint8, n, at + 20 * n), received)


def _rows(record: bytes) -> int:
    return int(HEAD.unpack_from(record)[1])
