"""The newest reading of every point, in arrays by point index."""

from __future__ import annotations

import threading
from typing import NamedTuple

import numpy as np

from domain.batch import Batch
from domain.points import IntArray, PointRegistry, Quality, QualityArray, TimeArray, ValueArray
from storage.changes import StateChanges


class Newest(NamedTuple):
    """Newest readings of some points, in the shape of the points asked for; see the properties of `LatestValues`.

    `seen` is when a reading was observed, by our clock: other than `observed` where its source's clock is behind. How
    old a reading is goes by it.
    """

    observed: TimeArray
    value: ValueArray
    quality: QualityArray
    received: TimeArray
    seen: TimeArray


class LatestValues:
    """Newest reading of each point. One thread writes, any number read.

    Parameters
    ----------
    registry
        Where given, the arrays always cover every registered point.

    Notes
    -----
    The arrays have at least one entry for each known point, and grow by doubling. A point without a reading has
    `observed` 0 and `value` NaN. Arrays are replaced on growth: fetch them anew for each use. What belongs together,
    such as a value and its quality, is read by `at`: between two of the arrays a new reading may come in.
    """

    def __init__(self, registry: PointRegistry | None = None, capacity: int = 1024) -> None:
        self._registry = registry
        self._lock = threading.Lock()
        self.changes = StateChanges()
        """What watched states told between two looks."""
        self._observed: TimeArray = np.zeros(capacity, np.int64)
        self._value: ValueArray = np.full(capacity, np.nan)
        self._quality: QualityArray = np.zeros(capacity, np.uint8)
        self._received: TimeArray = np.zeros(capacity, np.int64)
        self._seen: TimeArray = np.zeros(capacity, np.int64)

    @property
    def observed(self) -> TimeArray:
        """When the newest reading was observed, UTC ms; 0 where there is none."""
        self.cover()
        return self._observed

    @property
    def value(self) -> ValueArray:
        """Newest value in canonical units; NaN where there is none."""
        self.cover()
        return self._value

    @property
    def quality(self) -> QualityArray:
        """Quality of the newest value (`domain.points.Quality`)."""
        self.cover()
        return self._quality

    @property
    def received(self) -> TimeArray:
        """When the newest reading reached this process, UTC ms."""
        self.cover()
        return self._received

    def update(self, batch: Batch) -> None:
        """Take over every reading that is at least as new as what is known; of several, the newest.

        Of points that are retired nothing is taken over: what a store or a spool still holds of them is history.
        """
        if self._registry is not None:
            out = self._registry.are_retired(batch.point)
            batch = batch.take(~out) if out.any() else batch
        if not len(batch):
            return
        self.cover(int(batch.point.max()) + 1)
        with self._lock:
            newer = batch.observed >= self._observed[batch.point]
            rows = batch if newer.all() else batch.take(newer)
            changes = rows.point, rows.observed, rows.value, rows.quality
            if not points_are_unique(rows.point):
                order = np.lexsort((rows.observed, rows.point))
                last = np.append(rows.point[order][1:] != rows.point[order][:-1], True)
                rows = rows.take(order[last])
            # value before time: a reader that sees the new time sees its value too
            self._value[rows.point] = rows.value
            self._quality[rows.point] = rows.quality
            self._received[rows.point] = rows.received
            self._seen[rows.point] = rows.observed
            self._observed[rows.point] = rows.observed
        self.changes.note(*changes)

    def put(
        self,
        points: IntArray,
        observed: TimeArray,
        value: ValueArray,
        quality: QualityArray,
        received: TimeArray,
        seen: TimeArray | None = None,
    ) -> None:
        """Make these the newest readings of their points, each named once, whatever their times.

        `seen` is when they were observed by our clock, where that is not `observed`.
        """
        if not len(points):
            return
        self.cover(int(points.max()) + 1)
        with self._lock:
            self._value[points] = value
            self._quality[points] = quality
            self._received[points] = received
            self._seen[points] = observed if seen is None else seen
            self._observed[points] = observed

    def shift(self, ms: int) -> None:
        """Take every reading for told so much later, or earlier: our own clock was set."""
        with self._lock:
            for times in (self._received, self._seen, self._observed):
                np.add(times, ms, out=times, where=times > 0)
                np.maximum(times, 0, out=times)

    def forget(self, points: IntArray) -> None:
        """Forget the readings of points."""
        none = np.zeros(len(points), np.int64)
        nothing = np.full(len(points), np.nan)
        self.put(points, none, nothing, np.zeros(len(points), np.uint8), none)

    def at(self, points: IntArray) -> Newest:
        """Return the newest readings of points of any shape as they are at one moment.

        Where there is none, or the index is below zero: NaN, time 0 and quality `BAD`.
        """
        points = np.asarray(points, np.int32)
        if points.size:
            self.cover(int(points.max()) + 1)
        here = np.maximum(points, 0)
        with self._lock:
            found = Newest(
                self._observed[here],
                self._value[here],
                self._quality[here],
                self._received[here],
                self._seen[here],
            )
        absent = points < 0
        if absent.any():
            found.observed[absent] = found.received[absent] = found.seen[absent] = 0
            found.value[absent] = np.nan
            found.quality[absent] = Quality.BAD
        return found

    def read(self, points: IntArray) -> Batch:
        """Return the newest reading of each of these points that has one, in the order given."""
        points = np.asarray(points, dtype=np.int32)
        if len(points):
            self.cover(int(points.max()) + 1)
        with self._lock:
            known = points[self._observed[points] > 0]
            received = self._received[known]
            return Batch(
                known,
                self._observed[known],
                self._value[known],
                self._quality[known],
                int(received.min()) if len(known) else 0,
            )

    def cover(self, size: int = 0) -> None:
        """Grow the arrays to at least `size` entries, and to every registered point."""
        if self._registry is not None:
            size = max(size, len(self._registry))
        if size <= len(self._observed):
            return
        with self._lock:
            old = len(self._observed)
            if size <= old:
                return
            more = max(size, 2 * old) - old
            # `_observed` last: it is the one whose length says that all have grown
            self._value = np.concatenate([self._value, np.full(more, np.nan)])
            self._quality = np.concatenate([self._quality, np.zeros(more, np.uint8)])
            self._received = np.concatenate([self._received, np.zeros(more, np.int64)])
            self._seen = np.concatenate([self._seen, np.zeros(more, np.int64)])
            self._observed = np.concatenate([self._observed, np.zeros(more, np.int64)])


def points_are_unique(point: IntArray) -> bool:
    """Return whether no point index occurs twice, without sorting."""
    return len(point) < 2 or int(np.bincount(point).max()) == 1
