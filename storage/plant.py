"""The plant as it is now: which points are a node's power, a rack's temperatures, a rack's GPUs.

One place decides what counts as the power of something, because levels overlap: taps and busways, a rack's PDUs and
its taps, a PDU's inlet, phases and outlets are views of the same power, and summing two of them is wrong. So are two tags
for one quantity of one object.
"""

from __future__ import annotations

import math
import re
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from domain.batch import now_ms
from domain.envelope import Envelope, EnvelopeNode, LimitChange
from domain.points import IntArray, Point, PointRegistry, Quality, ValueArray
from domain.site import Site
from domain.topology import Topology
from storage.energy import counted
from storage.former import Former
from storage.latest import LatestValues
from storage.settings import QUARTER
from storage.telemetry import Aggregate, Grid, TelemetryStore
from storage.tellers import Tellers

NO_POINT = -1
"""Stands for a point that is not there, in index arrays that must keep their shape."""
MOST_GPUS = 1024
"""GPUs of a rack that have a place in the table of all, at most: one rack that is told wrong must not widen it for every other."""


@dataclass(frozen=True, slots=True)
class Reading:
    """A figure put together from one or more points.

    `value` is NaN where a member is missing or was never good; `observed` is when the oldest member was observed, UTC
    ms by our clock (`storage.latest.Newest.seen`); `quality` is the worst of the members; `missing` counts the members without a value.
    """

    value: float
    observed: int
    quality: int
    missing: int


class PlantView:
    """Finds points by what they mean. Index arrays are kept until their points change. Safe from several threads.

    Where several points tell one quantity of one object one of them is used, by one rule (`storage.tellers`).
    """

    def __init__(
        self,
        site: Site,
        registry: PointRegistry,
        latest: LatestValues,
        store: TelemetryStore,
        clock: Callable[[], int] = now_ms,
    ) -> None:
        self.site = site
        self.registry = registry
        self.latest = latest
        self.store = store
        self._own_envelope = site.envelope()
        self.envelope: Envelope = self._own_envelope
        """The tree of limits; another one takes its place when the grid asks for a change."""
        self.tellers = Tellers(registry, latest, clock)
        """Which point is used where several tell one quantity."""
        self.former = Former(registry, store)
        """What tags told of an object before they moved on."""
        self._lock = threading.RLock()
        self._version = (-1, -1)
        self._power: dict[str, IntArray] = {}
        self._rack: dict[str, tuple[IntArray, int, IntArray]] = {}
        self._gpus: dict[str, tuple[IntArray, int, IntArray]] = {}
        self._taps: dict[str, list[int]] = {}
        self._topology: tuple[int, Topology] | None = None

    @property
    def version(self) -> tuple[int, int]:
        """Changes when the points do, or when another is used of several that tell one quantity."""
        self.tellers.look()
        return self.registry.version, self.tellers.version

    def lower_limits(self, changes: Mapping[str, tuple[LimitChange, ...]]) -> None:
        """Let limits that are agreed with the grid hold, by node, instead of those agreed before."""
        self.envelope = self._own_envelope.lowered(changes)

    def topology(self) -> Topology:
        """Return what serves what, from all points known and the site file."""
        version = self.registry.plant_version
        known = self._topology
        if known is None or known[0] != version:
            topology = Topology.from_points(self.registry.places(), self.site.objects(), self.site.edges())
            self._topology = known = (version, topology)
        return known[1]

    def power_points(self, node_id: str) -> IntArray:
        """Return the points whose sum is the power of an envelope node (empty where nothing measures it).

        Raises
        ------
        KeyError
            If the envelope has no such node.
        """
        with self._lock:
            self._refresh()
            if node_id not in self._power:
                self._power[node_id] = self._find_power(self.envelope[node_id])
            return self._power[node_id]

    def power_now(self, node_id: str) -> Reading:
        """Return a node's present power, W."""
        points = self.power_points(node_id)
        if len(points) == 0:
            return Reading(math.nan, 0, Quality.BAD, 1)
        newest = self.latest.at(points)
        known = newest.seen > 0
        missing = len(points) - int(known.sum())
        if missing:
            oldest = int(newest.seen[known].min()) if known.any() else 0
            return Reading(math.nan, oldest, Quality.BAD, missing)
        return Reading(float(newest.value.sum()), int(newest.seen.min()), _worst(newest.quality), 0)

    def power_history(self, node_id: str, start: int, end: int, step: int) -> Grid:
        """Return a node's mean power per step, W, as a grid of one row; NaN where a member is missing.

        What a tag told while it was another node's is that node's.
        """
        points = self.power_points(node_id)
        former = self.former_power(node_id, start)
        if former:
            return self.former.total(points, np.array(former, np.int32), start, end, step)
        if len(points) == 0:
            starts = np.arange(start - start % step, end, step, dtype=np.int64)
            return Grid(np.array([NO_POINT], np.int32), starts, step, np.full((1, len(starts)), np.nan))
        return self.store.total(points, start, end, step)

    def demand_history(self, node_id: str, start: int, end: int) -> Grid:
        """Return a node's average power per quarter hour, W, by its meters' own energy counters where all have one.

        That is the billing figure. A quarter hour that the counters do not tell whole is the mean of the power.
        """
        return self.demand_by_origin(node_id, start, end)[0]

    def demand_by_origin(
        self, node_id: str, start: int, end: int, bridge: bool = False
    ) -> tuple[Grid, NDArray[np.bool_]]:
        """Return a node's average power per quarter hour as `demand_history` does, and which of them the counters told.

        With `bridge` the energy that the counters tell of a gap is spread evenly over it, so that sums are whole.
        """
        grid = self.power_history(node_id, start, end, QUARTER)
        told = np.zeros(len(grid.start), np.bool_)
        if self.former_power(node_id, start):
            return grid, told
        with self._lock:
            counters = [self._counter(self.registry[int(p)]) for p in self.power_points(node_id)]
        if not counters or NO_POINT in counters:
            return grid, told
        points = np.array(counters, np.int32)
        known = self.latest.read(points)
        until = int(known.observed.min()) if len(known) == len(points) else 0
        values = counted(self.store, points, start, end, until, bridge=bridge)
        told = ~np.isnan(values)
        grid.values[0, told] = values[told]
        return grid, told

    def token_points(self) -> IntArray:
        """Return what adds up to the site's token rate: its own meter, else the inference servers, else the trays."""
        for kind in ("Site", "Inference", "Tray"):
            points = self.registry.select(kind, "TokenRate")
            if len(points):
                return self.tellers.one_each(points)
        return np.array([], np.int32)

    def history(self, points: IntArray, start: int, end: int, step: int, how: Aggregate) -> Grid:
        """Return one value per point and step (`TelemetryStore.aggregate`), also of what told an object's quantity before."""
        grid = self.store.aggregate(points, start, end, step, how)
        if self.former.any_since(start):
            self.former.fill(grid, start, end, how)
        return grid

    def former_power(self, node_id: str, start: int) -> list[int]:
        """Return the points that were a node's power until some time after `start` and whose tags have moved on."""
        return self._former_power(self.envelope[node_id], start) if self.former.any_since(start) else []

    def _former_power(self, node: EnvelopeNode, start: int) -> list[int]:
        found: list[int] = []
        whole = bool(node.meters)
        for meter in node.meters:
            now = self._meter_power(meter, node)
            whole &= len(now) > 0
            own = [self.registry[int(p)] for p in now if self.registry[int(p)].object_id == meter]
            kinds = {(p.point_type, p.process_area) for p in own} or self.former.power_kind(meter)
            found += self.former.meters(meter, kinds, start)
            if not kinds and node.kind == "Rack":
                found += self.former.serving_only(meter, frozenset(self.site.racks), start)
        if not whole and not found:
            for child in node.children:
                if child in self.envelope.nodes:
                    found += self._former_power(self.envelope[child], start)
        return list(dict.fromkeys(found))

    def rack_points(self, point_type: str) -> IntArray:
        """Return one point a rack, in the order of `site.racks`; `NO_POINT` where a rack has none."""
        points, version = self.registry.select("Rack", point_type), self.version[1]
        known = self._rack.get(point_type)
        if known is None or known[0] is not points or known[1] != version:
            of = self._one_an_object(points)
            table = np.array([of.get(rack, NO_POINT) for rack in self.site.racks], np.int32)
            self._rack[point_type] = known = (points, version, table)
        return known[2]

    def gpu_points(self, point_type: str) -> IntArray:
        """Return the GPUs' points by rack, shape (racks, most GPUs in a rack), padded with `NO_POINT`.

        Rows follow `site.racks`; columns follow the GPUs' ids in natural order (tray 2 before tray 10).
        """
        points, version = self.registry.select("GPU", point_type), self.version[1]
        known = self._gpus.get(point_type)
        if known is None or known[0] is not points or known[1] != version:
            self._gpus[point_type] = known = (points, version, self._by_rack(points))
        return known[2]

    def _by_rack(self, points: IntArray) -> IntArray:
        by_rack: dict[str, list[int]] = {rack: [] for rack in self.site.racks}
        for i in self._one_an_object(points).values():
            rack = self.registry[i].associate
            if rack in by_rack:
                by_rack[rack].append(i)
        width = min(max((len(gpus) for gpus in by_rack.values()), default=0), MOST_GPUS)
        table = np.full((len(by_rack), width), NO_POINT, np.int32)
        for row, gpus in enumerate(by_rack.values()):
            gpus.sort(key=lambda i: _natural(self.registry[i].object_id))
            table[row, : min(len(gpus), width)] = gpus[:width]
        return table

    def plainest(self, points: IntArray) -> int:
        """Return the point of an object that tells a quantity of it as a whole; `NO_POINT` where there is none.

        A filter's temperature or a phase's current carries one word more than the object's own. Of several that tell
        the very same it is the one that is used.
        """
        ranked = [(_detail(self.registry[i]), i) for i in points.tolist()]
        return self.tellers.used_for(min(ranked)[1]) if ranked else NO_POINT

    def _one_an_object(self, points: IntArray) -> dict[str, int]:
        """Return the plainest of each object's points."""
        found: dict[str, tuple[tuple[bool, int, str], int]] = {}
        for i in points.tolist():
            point = self.registry[i]
            rank = (_detail(point), i)
            if point.object_id not in found or rank < found[point.object_id]:
                found[point.object_id] = rank
        return {object_id: self.tellers.used_for(i) for object_id, (_, i) in found.items()}

    def values(self, points: IntArray, newest_before: int = 0, good_only: bool = True) -> ValueArray:
        """Return the latest values in the shape of `points`; NaN where there is none.

        Parameters
        ----------
        points
            Indexes of any shape; `NO_POINT` gives NaN.
        newest_before
            Values observed before this time (UTC ms by our clock) count as missing.
        good_only
            Whether values of bad quality count as missing.
        """
        now = self.latest.at(points)
        usable = now.seen > max(0, newest_before - 1)
        if good_only:
            usable &= now.quality != Quality.BAD
        return np.where(usable, now.value, np.nan)

    def _refresh(self) -> None:
        version = self.version
        if version != self._version:
            self._power.clear()
            self._taps = self._serving()
            self._version = version

    def supplies(self, rack: str) -> list[str]:
        """Return the ids of the meters of a rack's own supply, in order: its taps, or its PDUs where no tap is measured.

        A busway that serves the rack among others is none of them.
        """
        with self._lock:
            self._refresh()
            return sorted({self.registry[i].object_id for i in self._own_meters(rack)})

    def _own_meters(self, rack: str) -> list[int]:
        serving = self._taps.get(rack, [])
        return [i for i in serving if self.registry[i].source.startswith("dsx")] or serving

    def _serving(self) -> dict[str, list[int]]:
        """Return the meters of what serves one rack only, by rack: taps and rack PDUs."""
        racks = frozenset(self.site.racks)
        found: dict[str, list[int]] = {}
        for i in self.tellers.one_each(self.registry.select("PowerMeter", "ActivePower")).tolist():
            point = self.registry[i]
            served = list(racks.intersection(point.serves))
            if len(served) == 1 and not point.phase and not point.process_area:
                found.setdefault(served[0], []).append(i)
        return found

    def _find_power(self, node: EnvelopeNode) -> IntArray:
        own = [self._meter_power(meter, node) for meter in node.meters]
        if own and all(len(points) for points in own):
            return np.concatenate(own)
        below = [self.power_points(child) for child in node.children if child in self.envelope.nodes]
        if below and len(below) == len(node.children) and all(len(points) for points in below):
            return np.concatenate(below)
        return np.array([], np.int32)

    def _meter_power(self, object_id: str, node: EnvelopeNode) -> IntArray:
        own = self.plainest(self.registry.select("Rack", "RackPower", object_id))
        if own == NO_POINT:
            # a whole object's power carries neither phase nor process area; a UPS may offer input and output
            meters = self.registry.select(None, "ActivePower", object_id, phase="")
            own = self.plainest(meters)
        if own != NO_POINT:
            return np.array([own], np.int32)
        if node.kind != "Rack":
            return np.array([], np.int32)
        return np.array(self._own_meters(object_id), np.int32)

    def _counter(self, meter: Point) -> int:
        """Return the energy counter of the meter that tells a power; `NO_POINT` where it has none."""
        area = set(meter.process_area)
        found = self.registry.select(meter.object_type, "Energy", meter.object_id, phase="")
        own = [i for i in found.tolist() if set(self.registry[i].process_area) == area]
        return self.tellers.used_for(own[0]) if own else NO_POINT


def _detail(point: Point) -> tuple[bool, int, str]:
    """Return how little of its object a point tells: order by it and the whole object's comes first."""
    return bool(point.phase), len(point.process_area), point.key


def _worst(quality: np.ndarray[tuple[int], np.dtype[np.uint8]]) -> int:
    if (quality == Quality.BAD).any():
        return Quality.BAD
    return int(quality.max())


def _natural(text: str) -> list[tuple[int, str]]:
    return [(int(part), "") if part.isdigit() else (-1, part) for part in re.split(r"(\d+)", text)]
