"""Any object of the plant: what it is, what serves it and what it serves, its points and their past."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from dashboard.readings import ObjectReadings
from dashboard.series import held
from dashboard.views import QUARTER_MS, SPANS, PointNow, Series
from domain.points import Point
from storage.plant import PlantView
from storage.telemetry import Aggregate

MOST_POINTS = 400
"""Points of one object that its page lists."""
MOST_NEIGHBOURS = 100
"""Objects above, below or in it that its page names."""


@dataclass(frozen=True, slots=True)
class Thing:
    """An object of the plant with its newest readings; its neighbours by their ids."""

    id: str
    type: str
    name: str
    up: tuple[str, ...]
    down: tuple[str, ...]
    part_of: str
    parts: tuple[str, ...]
    points: tuple[PointNow, ...]


class Things:
    """Objects by their id. Everything here blocks.

    Parameters
    ----------
    plant, readings, clock
        What is known of the plant, its newest readings by object, and the present, UTC ms.
    """

    def __init__(self, plant: PlantView, readings: ObjectReadings, clock: Callable[[], int]) -> None:
        self._plant = plant
        self._readings = readings
        self._clock = clock

    def known(self, object_id: str) -> bool:
        """Return whether the plant has an object of that id."""
        return (
            object_id in self._plant.topology().objects or len(self._plant.registry.of_object(object_id)) > 0
        )

    def get(self, object_id: str) -> Thing | None:
        """Return an object, or None where the plant has none of that id."""
        if not self.known(object_id):
            return None
        topology = self._plant.topology()
        found = topology.objects.get(object_id)
        part_of = found.associate if found is not None else ""
        points = self._readings.listed([object_id])[:MOST_POINTS]
        if found is None and points:
            part_of = points[0].point.associate
        kind = found.type if found is not None else points[0].point.object_type if points else ""
        return Thing(
            object_id,
            kind,
            found.name if found is not None and found.name != object_id else "",
            tuple(sorted(topology.served_by(object_id))[:MOST_NEIGHBOURS]),
            tuple(sorted(topology.serves(object_id))[:MOST_NEIGHBOURS]),
            self._nearest(object_id, part_of),
            self._parts(object_id, part_of),
            points,
        )

    def _nearest(self, object_id: str, part_of: str) -> str:
        """Return the nearest whole that an object is part of by its id: of a GPU the tray, where that is known, else the rack."""
        head = object_id.rpartition("-")[0]
        return head if head != part_of and head.startswith(f"{part_of}-") and self.known(head) else part_of

    def _parts(self, object_id: str, part_of: str) -> tuple[str, ...]:
        """Return what belongs to an object: what names it, and what names the same whole and begins with its id."""
        beside = self._plant.registry.members(part_of) if part_of else ()
        named = [m for m in beside if m.startswith(f"{object_id}-")]
        return tuple(sorted({*self._plant.registry.members(object_id), *named})[:MOST_NEIGHBOURS])

    def usual_point(self, object_id: str) -> Point | None:
        """Return the point whose past is shown first, of those that tell something a power, a temperature, else a number."""
        listed = [p for p in self._readings.listed([object_id]) if not p.point.is_state]
        numbers = [p.point for p in listed if p.observed] or [p.point for p in listed]
        for wanted in ("GpuPower", "GpuTemperature", "ActivePower", "RackPower"):
            for point in numbers:
                if point.point_type == wanted and not point.phase:
                    return point
        for word in ("Power", "Temperature", "Flow"):
            for point in numbers:
                if word in point.point_type:
                    return point
        return numbers[0] if numbers else None

    def point(self, object_id: str, key: str) -> Point | None:
        """Return a point of an object by its key."""
        index = self._plant.registry.current(key)
        point = None if index is None else self._plant.registry[index]
        return point if point is not None and point.object_id == object_id else None

    def past(self, point: Point, span: str, end: int) -> Series:
        """Return a point's means over one of `SPANS` up to `end` (UTC ms); NaN where there is nothing."""
        length, step = SPANS[span]
        index = self._plant.registry.current(point.key)
        if index is None:
            return Series(np.array([], np.int64), np.array([]))
        grid = self._plant.history(np.array([index], np.int32), end - length, end, step, Aggregate.MEAN)
        rows = np.flatnonzero(grid.point == index)
        values = grid.values[rows[0]] if len(rows) else np.full(len(grid.start), np.nan)
        values = held(values, grid.step)
        known = ~np.isnan(values)
        time, value = grid.start[known] + grid.step // 2, values[known]
        apart = np.diff(time)
        # quarter hours that were laid down, or kept, as such are a line all the same
        of_quarters = (grid.start[known][:-1] % QUARTER_MS == 0) & (apart <= QUARTER_MS)
        gap = np.flatnonzero((apart > 3.5 * grid.step) & ~of_quarters)
        return Series(np.insert(time, gap + 1, time[gap] + 1), np.insert(value, gap + 1, np.nan))
