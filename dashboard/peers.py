"""What an object's peers tell of the same quantity: whether a figure is usual is seen beside those of its like."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from dashboard.readings import ObjectReadings
from dashboard.series import held
from dashboard.views import SPANS, Now, Series
from domain.points import IntArray, Point, PointRegistry, Quality, TimeArray, ValueArray
from storage.plant import PlantView
from storage.telemetry import Aggregate

FEWEST = 3
"""Objects that are alike, its own included, from which they are compared."""
MOST_PEERS = 100
"""Peers that are looked at: of a rack its GPUs, else the first of the site."""
_NUMBERED = frozenset(["GpuThrottleReasons", "GpuXid"])
"""Numbers that are no quantity: bit masks and codes."""


@dataclass(frozen=True, slots=True)
class Among:
    """A figure among those of its peers.

    Parameters
    ----------
    median, low, high
        Of the peers, the object itself left out.
    place, count
        How many of all are higher, plus one; and how many there are, itself included.
    apart
        Whether it is further from all of them than these are from each other.
    """

    median: float
    low: float
    high: float
    place: int
    count: int
    apart: bool


class Peers:
    """Objects of the same kind, in the same rack or pod where there are enough, else of the whole site. Everything here blocks."""

    def __init__(self, plant: PlantView, readings: ObjectReadings) -> None:
        self._plant = plant
        self._readings = readings
        self._known: dict[str, tuple[IntArray, IntArray]] = {}

    def of(self, point: Point) -> IntArray:
        """Return the points of its peers for the same quantity, its own left out; none of a state or a code."""
        if point.is_state or point.setpoint or point.point_type in _NUMBERED:
            return np.zeros(0, np.int32)
        registry = self._plant.registry
        all_ = registry.select(point.object_type, point.point_type)
        known = self._known.get(point.key)
        if known is None or known[0] is not all_:
            if len(self._known) >= 10 * MOST_PEERS:
                self._known.clear()
            known = self._known[point.key] = (all_, self._search(point, all_, registry))
        return known[1]

    def among(self, point: Point, value: float, since: int) -> Among | None:
        """Return where a value stands among its peers' newest since then (UTC ms); None where too few are known."""
        points = self.of(point)
        if math.isnan(value) or len(points) + 1 < FEWEST:
            return None
        now: Now = self._readings.now(points)
        known = now.value[~np.isnan(now.value) & (now.quality == Quality.GOOD) & (now.observed > since)]
        if len(known) + 1 < FEWEST:
            return None
        low, high = float(known.min()), float(known.max())
        spread = high - low
        return Among(
            float(np.median(known)),
            low,
            high,
            int((known > value).sum()) + 1,
            len(known) + 1,
            value > high + spread or value < low - spread,
        )

    def past(self, point: Point, span: str, end: int) -> tuple[TimeArray, ValueArray, ValueArray, ValueArray]:
        """Return the peers' lowest, median and highest means over one of `SPANS` up to `end`: time (UTC ms) and three lines, shape (n,)."""
        length, step = SPANS[span]
        points = self.of(point)
        nothing = Series(np.zeros(0, np.int64), np.zeros(0))
        if len(points) + 1 < FEWEST:
            return nothing.time, nothing.value, nothing.value, nothing.value
        grid = self._plant.history(points, end - length, end, step, Aggregate.MEAN)
        values = held(grid.values, grid.step)
        known = (~np.isnan(values)).sum(axis=0) + 1 >= FEWEST
        values, time = values[:, known], grid.start[known] + grid.step // 2
        if not known.any():
            return nothing.time, nothing.value, nothing.value, nothing.value
        return time, np.nanmin(values, axis=0), np.nanmedian(values, axis=0), np.nanmax(values, axis=0)

    def _serves(self, object_id: str) -> frozenset[str]:
        """Return what kinds of objects one serves: a meter of a feed is none of a tap's peers."""
        topology = self._plant.topology()
        served = topology.serves(object_id) if object_id in topology.objects else ()
        return frozenset(topology.objects[o].type for o in served if o in topology.objects)

    def _search(self, point: Point, all_: IntArray, registry: PointRegistry) -> IntArray:
        like: list[tuple[bool, int]] = []
        own = self._serves(point.object_id)
        seen = {point.object_id}
        for i in all_.tolist():
            other = registry[i]
            same = (other.process_area, other.phase, other.unit, other.setpoint) == (
                point.process_area,
                point.phase,
                point.unit,
                False,
            )
            same = same and not other.retired and other.object_id not in seen
            if same and self._serves(other.object_id) == own:
                seen.add(other.object_id)
                like.append((bool(point.associate) and other.associate == point.associate, i))
        near = [i for beside, i in like if beside]
        found = near if len(near) + 1 >= FEWEST else [i for _, i in like]
        return np.array(found[:MOST_PEERS], np.int32)
