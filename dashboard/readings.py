"""Readings by object: finds the point that means something on a plant object, and tells its newest value."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from dashboard.cells import alarming
from dashboard.views import LOST, MISSING, SILENT, SILENT_MS, STALE_MS, Now, PointNow, SourceAge
from domain.gpu_health import Grade
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
        self._silence: tuple[int, frozenset[str]] = (0, frozenset())
        self._heard: dict[str, int] = {}
        self._beside: dict[str, tuple[IntArray, IntArray]] = {}
        self._in_racks: dict[str, tuple[IntArray, dict[str, IntArray]]] = {}

    def source_ages(self) -> list[SourceAge]:
        """Return all sources of points, the longest silent first."""
        ages = []
        for source in self._registry.sources():
            points = self._registry.of_source(source)
            ages.append(SourceAge(source, len(points), int(self._latest.at(points).seen.max(initial=0))))
        return sorted(ages, key=lambda a: (a.newest, a.source))

    def token_points(self) -> IntArray:
        """Return what adds up to the site's token rate: its own meter, else the inference servers, else the trays."""
        return self._plant.token_points()

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

    def setpoint(self, object_id: str, point_type: str) -> Reading:
        """Return the newest reading of an object's setpoint of a type; `MISSING` where it tells none."""
        points = self._registry.of_object(object_id)
        key = (object_id, f"setpoint of {point_type}", frozenset[str]())
        known = self._found.get(key)
        if known is None or known[0] is not points:
            found = [
                i for i in points.tolist()
                if self._registry[i].point_type == point_type and self._registry[i].setpoint
            ]  # fmt: skip
            self._found[key] = known = (points, found)
        return self.reading(known[1][0]) if known[1] else MISSING

    def phases(self, object_id: str, point_type: str = "PhaseCurrent") -> list[Reading]:
        """Return the newest readings of an object's phases, in their order; the plainest point of each."""
        found: dict[str, int] = {}
        for i in self._candidates(object_id, point_type, frozenset()):
            if phase := self._registry[i].phase:
                found.setdefault(phase, i)
        return [self.reading(found[phase]) for phase in sorted(found)]

    def sum(self, points: IntArray) -> Reading:
        """Return the sum of what is known of `points`; how many are missing is told."""
        now = self.now(points)
        fresh = ~np.isnan(now.value) & (now.observed > self._clock() - STALE_MS)
        if not fresh.any():
            return MISSING
        missing = int(len(points) - fresh.sum())
        told = now.quality[fresh]
        quality = (
            Quality.BAD if (told == Quality.BAD).any() else SILENT if (told == SILENT).any() else Quality.GOOD
        )
        return Reading(float(now.value[fresh].sum()), int(now.observed[fresh].min()), quality, missing)

    def reading(self, index: int) -> Reading:
        """Return a point's newest reading; of quality `SILENT` where its source has fallen silent."""
        now = self._latest.at(np.array(index, np.int32))
        if not now.observed:
            return MISSING
        silent = self._registry[index].source in self.silent() and now.quality != Quality.BAD
        return Reading(float(now.value), int(now.seen), SILENT if silent else int(now.quality), 0)

    def held(self, node_id: str) -> int:
        """Return when a node's power was last known to be what it is, UTC ms; 0 where it is not known.

        A source whose heart beats tells what changes, and repeats the rest every 100 s: what it told within `STALE_MS` holds as of
        its newest reading, so that a feed which stays at 0 W does not look as if nobody told it.
        """
        points = self._plant.power_points(node_id)
        seen = self._latest.at(points).seen
        if not len(points) or not seen.all():
            return 0
        now, silent = self._clock(), self.silent()
        newest: dict[str, int] = {}
        sources = [self._registry[int(i)].source for i in points]
        for source, at in zip(sources, seen.tolist(), strict=True):
            newest[source] = max(newest.get(source, 0), at)
        beats = self._heard.keys() - silent
        return min(
            newest[s] if s in beats and now - at <= STALE_MS else at
            for s, at in zip(sources, seen.tolist(), strict=True)
        )

    def silent(self) -> frozenset[str]:
        """Return the sources whose heartbeat has stopped; one that never had any is judged by its readings' age."""
        now = self._clock()
        if self._silence[0] != now:
            heard: dict[str, int] = {}
            beats = self._registry.select(None, "HeartbeatTimestampBms")
            for i, received in zip(beats.tolist(), self._latest.at(beats).received.tolist(), strict=True):
                source = self._registry[i].source
                heard[source] = max(heard.get(source, 0), received)
            self._heard = {s: at for s, at in heard.items() if at}
            self._silence = (now, frozenset(s for s, at in self._heard.items() if at < now - SILENT_MS))
        return self._silence[1]

    def _of_silent(self, points: IntArray) -> NDArray[np.bool_]:
        """Return which of these points belong to a silent source."""
        found = [self._registry.of_source(source) for source in self.silent()]
        return np.isin(points, np.concatenate(found)) if found else np.zeros(points.shape, bool)

    def power(self, node_id: str) -> Reading:
        """Return a node's present power, W; of quality `SILENT` where a source of it has fallen silent."""
        told = self._plant.power_now(node_id)
        known = not math.isnan(told.value) and told.quality != Quality.BAD
        if known and self.silent() and self._of_silent(self._plant.power_points(node_id)).any():
            return replace(told, quality=SILENT)
        return told

    def gpus(self, point_type: str) -> Now:
        """Return the GPUs' newest readings of a type, in the shape of `PlantView.gpu_points`.

        What a GPU told before it was lost is not what it is now: NaN, of quality `LOST`.
        """
        points = self._plant.gpu_points(point_type)
        now = self.now(points)
        kept = self._beside.get(point_type)
        if kept is None or kept[0] is not points:
            available = self._registry.select("GPU", "GpuAvailable")
            by_id = {self._registry[i].object_id: i for i in available.tolist()}
            flat = [
                by_id.get(self._registry[i].object_id, -1) if i >= 0 else -1 for i in points.ravel().tolist()
            ]
            kept = (points, np.array(flat, np.int32).reshape(points.shape))
            self._beside[point_type] = kept
        there = self._latest.at(kept[1])
        lost = (there.value == 0) & (there.seen >= now.observed)
        return Now(
            np.where(lost, np.nan, now.value),
            now.observed,
            np.where(lost, LOST, now.quality).astype(np.uint8),
        )

    def of_rack(self, object_type: str, point_type: str, rack: str) -> IntArray:
        """Return the points of a type on what stands in a rack."""
        points = self._registry.select(object_type, point_type)
        known = self._in_racks.get(point_type)
        if known is None or known[0] is not points:
            racks: dict[str, list[int]] = {}
            for i in points.tolist():
                racks.setdefault(self._registry[i].associate, []).append(i)
            known = points, {name: np.array(found, np.int32) for name, found in racks.items()}
            self._in_racks[point_type] = known
        return known[1].get(rack, np.zeros(0, np.int32))

    def gpu_findings(self, rack: str) -> tuple[PointNow, ...]:
        """Return what holds now of what was ever found on a rack's GPUs, the gravest first."""
        found = []
        for grade in Grade:
            points = [self.of_rack(kind, grade.point_type, rack) for kind in ("GPU", "Tray")]
            for i in np.concatenate(points).tolist():
                reading = self.reading(i)
                if reading.value == 1 and reading.observed > self._clock() - STALE_MS:
                    found.append(
                        PointNow(self._registry[i], reading.value, reading.observed, reading.quality, "")
                    )
        return tuple(found)

    def now(self, points: IntArray) -> Now:
        """Return the newest readings of many points; an index below zero stands for a point that is not there."""
        now = self._latest.at(points)
        known = now.observed > 0
        quality = np.where(known, now.quality, Quality.BAD).astype(np.uint8)
        if self.silent():
            quality[self._of_silent(np.asarray(points)) & (quality != Quality.BAD)] = SILENT
        return Now(np.where(known, now.value, np.nan), now.seen, quality)

    def label(self, object_id: str, point_type: str) -> str:
        """Return the state of an object in words, empty where it tells none, or its source has fallen silent."""
        index = self.index(object_id, point_type)
        if index is None:
            return ""
        reading = self.reading(index)
        return (
            ""
            if math.isnan(reading.value) or reading.quality == SILENT
            else self._registry[index].state_label(reading.value)
        )

    def gravest(self, object_id: str, point_type: str) -> str:
        """Return that state of an object, of several of a type, which demands most attention; empty where none is told.

        A UPS has a battery that is normal and an output that comes from it: what counts is the output.
        """
        now = self._clock()
        told = []
        for index in self._candidates(object_id, point_type, frozenset()):
            reading = self.reading(index)
            if self._registry[index].is_state and not math.isnan(reading.value) and reading.quality != SILENT:
                old = now - reading.observed > STALE_MS
                told.append(
                    (old, -alarming(self._registry[index].state_label(reading.value)), index, reading.value)
                )
        if not told:
            return ""
        *_, index, value = min(told, key=lambda t: t[:2])  # of equals the plainest, which comes first
        return self._registry[index].state_label(value)

    def state(self, object_id: str, point_type: str) -> bool | None:
        """Return whether a state is anything but zero; None where it is not told, or no longer."""
        reading = self.one(object_id, point_type)
        unknown = math.isnan(reading.value) or reading.quality == SILENT
        return None if unknown else bool(reading.value)

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
                used = self._plant.tellers.used_for(i)
                instead = "" if used == i else self._registry[used].key
                found.append(PointNow(self._registry[i], r.value, r.observed, r.quality, instead))
        return tuple(sorted(found, key=lambda p: (p.point.object_id, p.point.point_type, p.point.key)))
