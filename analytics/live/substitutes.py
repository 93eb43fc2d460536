"""Readings of instruments that are not trusted, on their way into the store: replaced where others tell what they should be.

The reading of such an instrument keeps its point and its time, carries its virtual reading and the quality `ESTIMATED`;
where nothing tells what it should be it keeps its value and is `BAD`. What the instrument itself said is stored beside it,
as a point of our own (`AsMeasured`), and that is what it is judged by from then on.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from analytics.points import SOURCE
from domain.batch import Batch, Sink
from domain.points import IntArray, Point, PointRegistry, Quality, ValueArray


@dataclass(frozen=True, slots=True, eq=False)
class _Table:
    """Points that are replaced, ascending; what they should read, NaN where nothing tells; where their own readings go."""

    points: IntArray
    estimates: ValueArray
    own: IntArray


_NOTHING = _Table(np.zeros(0, np.int32), np.zeros(0), np.zeros(0, np.int32))


class Substitutes:
    """A sink in front of another one.

    Parameters
    ----------
    registry
        The points that batches refer to.
    sink
        Where readings go on to.
    """

    def __init__(self, registry: PointRegistry, sink: Sink) -> None:
        self._registry = registry
        self._sink = sink
        self._table = _NOTHING
        self.replaced = 0
        """Readings replaced since the start."""

    async def accept(self, batch: Batch) -> None:
        """Hand readings on, those of instruments that are not trusted replaced."""
        await self._sink(self.apply(batch))

    def apply(self, batch: Batch) -> Batch:
        """Return a batch as it goes on."""
        table = self._table  # replaced as a whole, from another thread
        if not len(table.points):
            return batch
        at = np.searchsorted(table.points, batch.point)
        at = np.minimum(at, len(table.points) - 1)
        rows = np.flatnonzero(table.points[at] == batch.point)
        if not len(rows):
            return batch
        which = at[rows]
        known = np.isfinite(table.estimates[which])
        value, quality = batch.value.copy(), batch.quality.copy()
        value[rows] = np.where(known, table.estimates[which], value[rows])
        quality[rows] = np.where(known, Quality.ESTIMATED, Quality.BAD)
        self.replaced += len(rows)
        own = replace(batch.take(rows.astype(np.int32)), point=table.own[which].astype(np.int32))
        return Batch.concat([replace(batch, value=value, quality=quality), own])

    def mistrust(self, estimates: Mapping[int, float]) -> None:
        """Replace the readings of these points from now on, and of no others; NaN where nothing tells what they should be."""
        points = np.array(sorted(estimates), np.int32)
        own = np.array([self._registry.register(self._own(int(p))) for p in points], np.int32)
        self._table = _Table(points, np.array([estimates[int(p)] for p in points], np.float64), own)

    def stand_in(self, points: IntArray, now: int) -> Batch:
        """Return virtual readings of these points, for instruments that have fallen silent; `now` UTC ms."""
        table = self._table
        wanted = np.isin(table.points, points) & np.isfinite(table.estimates)
        return Batch.of(table.points[wanted], now, table.estimates[wanted], Quality.ESTIMATED, now)

    def as_measured(self, points: IntArray) -> IntArray:
        """Return the points with those that are replaced exchanged for what their instruments say; any shape."""
        table = self._table
        if not len(table.points):
            return points
        at = np.minimum(np.searchsorted(table.points, points), len(table.points) - 1)
        return np.where(table.points[at] == points, table.own[at], points).astype(np.int32)

    def _own(self, index: int) -> Point:
        point = self._registry[index]
        return Point(
            f"{point.object_type}/AsMeasured/hallwatch/{point.key}",
            point.object_type,
            "AsMeasured",
            point.object_id,
            point.object_name,
            point.unit,
            process_area=(point.point_type, *point.process_area),
            associate=point.associate,
            source=SOURCE,
        )
