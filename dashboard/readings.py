"""Readings by object: finds the point that means something on a plant object, and tells its newest value."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Sequence

import numpy as np

from dashboard.views import MISSING, STALE_MS, Now, PointNow, SourceAge
from domain.points import IntArray, PointRegistry, Quality
from storage.latest import LatestValues
from storage.plant import Reading


class ObjectReadings:
    """Newest readings by plant object and point type.

    The registry has some hundred thousand points and is searched by object all the time, so the points are kept by
    object; only what changed since last time is taken in. GPUs and trays are left to the plant view's arrays.
    """

    def __init__(self, registry: PointRegistry, latest: LatestValues, clock: Callable[[], int]) -> None:
        self._registry = registry
        self._latest = latest
        self._clock = clock
        self._version = 0
        self._objects: dict[str, dict[str, set[int]]] = defaultdict(lambda: defaultdict(set))
        self._members: dict[str, set[str]] = defaultdict(set)
        self._found: dict[tuple[str, str, frozenset[str]], list[int]] = {}
        self._sources_version = -1
        self._source_names: list[str] = []
        self._source_of: IntArray = np.array([], np.int32)
        self._token_rate: IntArray = np.array([], np.int32)

    def source_ages(self) -> list[SourceAge]:
        """Return all sources of points, the longest silent first."""
        if self._sources_version != self._registry.version:
            self._sources_version = self._registry.version
            names: dict[str, int] = {}
            numbers = [names.setdefault(p.source, len(names)) for p in self._registry]
            self._source_names, self._source_of = list(names), np.array(numbers, np.int32)
        newest = np.zeros(len(self._source_names), np.int64)
        np.maximum.at(newest, self._source_of, self._latest.observed[: len(self._source_of)])
        points = np.bincount(self._source_of, minlength=len(newest))
        ages = map(SourceAge, self._source_names, points.tolist(), newest.tolist())
        return sorted(ages, key=lambda a: (a.newest, a.source))

    def _refresh(self) -> None:
        """Take in what the registry learned since last time."""
        version = self._registry.version
        if version == self._version:
            return
        for index, point in self._registry.changed_since(self._version):
            if point.object_type not in ("GPU", "Tray"):
                self._objects[point.object_id][point.point_type].add(index)
                if point.associate:
                    self._members[point.associate].add(point.object_id)
        self._version = version
        self._found.clear()
        self._token_rate = self._find_token_points()

    def token_points(self) -> IntArray:
        """Return what adds up to the site's token rate."""
        self._refresh()
        return self._token_rate

    def _find_token_points(self) -> IntArray:
        """Return what adds up to the site's token rate: its own meter, else the inference servers, else the trays."""
        for kind in ("Site", "Inference", "Tray"):
            points = self._registry.select(kind, "TokenRate")
            if len(points):
                return points
        return np.array([], np.int32)

    def _candidates(self, object_id: str, point_type: str, area: frozenset[str]) -> list[int]:
        self._refresh()
        asked = (object_id, point_type, area)
        if asked not in self._found:
            self._found[asked] = self._search(*asked)
        return self._found[asked]

    def _search(self, object_id: str, point_type: str, area: frozenset[str]) -> list[int]:
        points = self._objects.get(object_id, {}).get(point_type, set())
        found = [(i, self._registry[i]) for i in points]
        # the plainest point is the object's own: a filter's or a phase's carries one word more
        ranked = sorted(
            (bool(p.phase), len(p.process_area), p.key, i)
            for i, p in found
            if not p.setpoint and area <= set(p.process_area)
        )
        return [i for *_, i in ranked]

    def index(self, object_id: str, point_type: str, *area: str) -> int | None:
        """Return the plainest point of a type on an object that lies in all of `area`, or None."""
        found = self._candidates(object_id, point_type, frozenset(area))
        return found[0] if found else None

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
        observed = int(self._latest.observed[index])
        if observed == 0:
            return MISSING
        return Reading(float(self._latest.value[index]), observed, int(self._latest.quality[index]), 0)

    def now(self, points: IntArray) -> Now:
        """Return the newest readings of many points; an index below zero stands for a point that is not there."""
        flat = np.asarray(points, np.int32)
        if len(flat) == 0 or len(self._registry) == 0:
            nothing = np.full(len(flat), np.nan)
            return Now(nothing, np.zeros(len(flat), np.int64), np.full(len(flat), Quality.BAD, np.uint8))
        here = np.maximum(flat, 0)
        observed = self._latest.observed[here]
        known = (flat >= 0) & (observed > 0)
        return Now(
            np.where(known, self._latest.value[here], np.nan),
            np.where(known, observed, 0),
            np.where(known, self._latest.quality[here], Quality.BAD).astype(np.uint8),
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
        self._refresh()
        return sorted(self._members.get(object_id, set()) - {object_id})

    def listed(self, objects: Sequence[str]) -> tuple[PointNow, ...]:
        """Return the newest readings of all points of these objects."""
        self._refresh()
        found = []
        for object_id in dict.fromkeys(objects):
            for indexes in self._objects.get(object_id, {}).values():
                for i in indexes:
                    r = self.reading(i)
                    found.append(PointNow(self._registry[i], r.value, r.observed, r.quality))
        return tuple(sorted(found, key=lambda p: (p.point.object_id, p.point.point_type, p.point.key)))
