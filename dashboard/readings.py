"""Readings by object: finds the point that means something on a plant object, and tells its newest value."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np

from dashboard.views import MISSING, STALE_MS, Now, PointNow, SourceAge
from domain.points import IntArray, Quality
from storage.plant import PlantView, Reading


class ObjectReadings:
    """Newest readings by plant object and point type. Safe from several threads: what is kept holds by its array."""

    def __init__(self, plant: PlantView, clock: Callable[[], int]) -> None:
        self._plant = plant
        self._registry = plant.registry
        self._latest = plant.latest
        self._clock = clock
        self._found: dict[tuple[str, str, frozenset[str]], tuple[IntArray, list[int]]] = {}

    def source_ages(self) -> list[SourceAge]:
        """Return all sources of points, the longest silent first."""
        ages = []
        for source in self._registry.sources():
            points = self._registry.of_source(source)
            ages.append(SourceAge(source, len(points), int(self._latest.at(points).observed.max(initial=0))))
        return sorted(ages, key=lambda a: (a.newest, a.source))

    def token_points(self) -> IntArray:
        """Return what adds up to the site's token rate: its own meter, else the inference servers, else the trays."""
        for kind in ("Site", "Inference", "Tray"):
            points = self._registry.select(kind, "TokenRate")
            if len(points):
                return self._plant.tellers.one_each(points)
        return np.array([], np.int32)

    def _candidates(self, object_id: str, point_type: str, area: frozenset[str]) -> list[int]:
        asked = (object_id, point_type, area)
        points = self._registry.of_object(object_id)
        known = self._found.get(asked)
        if known is None or known[0] is not points:
            self._found[asked] = known = (points, self._search(points, point_type, area))
        return known[1]

    def _search(self, points: IntArray, point_type: str, area: frozenset[str]) -> list[int]:
        found = [(i, self._registry[i]) for i in points.tolist()]
        # the plainest point is the object's own: a filter's or a phase's carries one word more
        ranked = sorted(
            (bool(p.phase), len(p.process_area), p.key, i)
            for i, p in found
            if p.point_type == point_type and not p.setpoint and area <= set(p.process_area)
        )
        return [i for *_, i in ranked]

    def index(self, object_id: str, point_type: str, *area: str) -> int | None:
        """Return the plainest point of a type on an object that lies in all of `area`, or None."""
        found = self._candidates(object_id, point_type, frozenset(area))
        return self._plant.tellers.used_for(found[0]) if found else None

    def one(self, object_id: str, point_type: str, *area: str) -> Reading:
        """Return the newest reading of that point; `MISSING` where there is none."""
        index = self.index(object_id, point_type, *area)
        return MISSING if index is None else self.reading(index)

    def highest(self, object_id: str, point_type: str) -> Reading:
        """Return the highest newest reading of a type on an object: of several pumps, the one that works."""
        found = [self.reading(i) for i in self._candidates(object_id, point_type, frozenset())
                 if not self._registry[i].is_state]  # fmt: skip
        known = [r for r in found if not math.isnan(r.value)]
        return max(known, key=lambda r: r.value, default=MISSING)

    def sum(self, points: IntArray) -> Reading:
        """Return the sum of what is known of `points`; how many are missing is told."""
        now = self.now(points)
        fresh = ~np.isnan(now.value) & (now.observed > self._clock() - STALE_MS)
        if not fresh.any():
            return MISSING
        missing = int(len(points) - fresh.sum())
        quality = Quality.GOOD if (now.quality[fresh] != Quality.BAD).all() else Quality.BAD
        return Reading(float(now.value[fresh].sum()), int(now.observed[fresh].min()), quality, missing)

    def reading(self, index: int) -> Reading:
        """Return a point's newest reading."""
        now = self._latest.at(np.array(index, np.int32))
        if not now.observed:
            return MISSING
        return Reading(float(now.value), int(now.observed), int(now.quality), 0)

    def now(self, points: IntArray) -> Now:
        """Return the newest readings of many points; an index below zero stands for a point that is not there."""
        now = self._latest.at(points)
        known = now.observed > 0
        return Now(
            np.where(known, now.value, np.nan),
            now.observed,
            np.where(known, now.quality, Quality.BAD).astype(np.uint8),
        )

    def label(self, object_id: str, point_type: str) -> str:
        """Return the state of an object in words, empty where it tells none."""
        index = self.index(object_id, point_type)
        if index is None:
            return ""
        reading = self.reading(index)
        return "" if math.isnan(reading.value) else self._registry[index].state_label(reading.value)

    def state(self, object_id: str, point_type: str) -> bool | None:
        """Return whether a state is anything but zero; None where it is not told."""
        reading = self.one(object_id, point_type)
        return None if math.isnan(reading.value) else bool(reading.value)

    def members(self, object_id: str) -> list[str]:
        """Return what else belongs to an object by association, such as a rack's PDUs; not its GPUs and trays."""
        return [
            m for m in self._registry.members(object_id)
            if m != object_id and self._type_of(m) not in ("GPU", "Tray")
        ]  # fmt: skip

    def _type_of(self, object_id: str) -> str:
        points = self._registry.of_object(object_id)
        return self._registry[int(points[0])].object_type if len(points) else ""

    def listed(self, objects: Sequence[str]) -> tuple[PointNow, ...]:
        """Return the newest readings of all points of these objects."""
        found = []
        for object_id in dict.fromkeys(objects):
            for i in self._registry.of_object(object_id).tolist():
                r = self.reading(i)
                found.append(PointNow(self._registry[i], r.value, r.observed, r.quality))
        return tuple(sorted(found, key=lambda p: (p.point.object_id, p.point.point_type, p.point.key)))
