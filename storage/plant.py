"""The plant as it is now: which points are a node's power, a rack's temperatures, a rack's GPUs.

One place decides what counts as the power of something, because levels overlap: taps and busways, a rack's PDUs and
its taps, a PDU's inlet, phases and outlets are views of the same power, and summing two of them is wrong.
"""

from __future__ import annotations

import math
import re
import threading
from dataclasses import dataclass

import numpy as np

from domain.envelope import Envelope, EnvelopeNode
from domain.points import IntArray, Point, PointRegistry, Quality, ValueArray
from domain.site import Site
from domain.topology import Topology
from storage.energy import demand
from storage.latest import LatestValues
from storage.settings import QUARTER
from storage.telemetry import Grid, TelemetryStore

NO_POINT = -1
"""Stands for a point that is not there, in index arrays that must keep their shape."""


@dataclass(frozen=True, slots=True)
class Reading:
    """A figure put together from one or more points.

    `value` is NaN where a member is missing or was never good; `observed` is when the oldest member was observed, UTC
    ms; `quality` is the worst of the members; `missing` counts the members without a value.
    """

    value: float
    observed: int
    quality: int
    missing: int


class PlantView:
    """Finds points by what they mean. Index arrays are kept until the registry changes. Safe from several threads."""

    def __init__(
        self, site: Site, registry: PointRegistry, latest: LatestValues, store: TelemetryStore
    ) -> None:
        self.site = site
        self.registry = registry
        self.latest = latest
        self.store = store
        self.envelope: Envelope = site.envelope()
        self._lock = threading.RLock()
        self._version = -1
        self._power: dict[str, IntArray] = {}
        self._rack: dict[str, IntArray] = {}
        self._gpus: dict[str, IntArray] = {}
        self._topology: Topology | None = None
        self._indexed = False
        self._meters: dict[tuple[str, str], list[int]] = {}
        self._serving: dict[str, list[int]] = {}
        self._counters: dict[tuple[str, str, tuple[str, ...]], int] = {}

    def topology(self) -> Topology:
        """Return what serves what, from all points known and the site file."""
        with self._lock:
            self._refresh()
            if self._topology is None:
                self._topology = Topology.from_points(self.registry, self.site.objects(), self.site.edges())
            return self._topology

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
        known = self.latest.read(points)
        missing = len(points) - len(known)
        if missing:
            oldest = int(known.observed.min()) if len(known) else 0
            return Reading(math.nan, oldest, Quality.BAD, missing)
        return Reading(float(known.value.sum()), int(known.observed.min()), _worst(known.quality), 0)

    def power_history(self, node_id: str, start: int, end: int, step: int) -> Grid:
        """Return a node's mean power per step, W, as a grid of one row; NaN where a member is missing."""
        points = self.power_points(node_id)
        if len(points) == 0:
            starts = np.arange(start - start % step, end, step, dtype=np.int64)
            return Grid(np.array([NO_POINT], np.int32), starts, step, np.full((1, len(starts)), np.nan))
        return self.store.total(points, start, end, step)

    def demand_history(self, node_id: str, start: int, end: int) -> Grid:
        """Return a node's average power per quarter hour, W, by its meters' own energy counters where all have one.

        That is the billing figure. A quarter hour that the counters do not tell whole is the mean of the power.
        """
        power = self.power_points(node_id)
        with self._lock:
            counters = [self._counters.get(_meter_of(self.registry[int(p)]), NO_POINT) for p in power]
        if not counters or NO_POINT in counters:
            return self.power_history(node_id, start, end, QUARTER)
        points = np.array(counters, np.int32)
        known = self.latest.read(points)
        until = int(known.observed.min()) if len(known) == len(points) else 0
        return demand(self.store, power, points, start, end, until)

    def rack_points(self, point_type: str) -> IntArray:
        """Return one point a rack, in the order of `site.racks`; `NO_POINT` where a rack has none."""
        with self._lock:
            self._refresh()
            if point_type not in self._rack:
                found = {
                    self.registry[int(i)].object_id: int(i)
                    for i in reversed(self.registry.select("Rack", point_type))
                }
                self._rack[point_type] = np.array([found.get(r, NO_POINT) for r in self.site.racks], np.int32)
            return self._rack[point_type]

    def gpu_points(self, point_type: str) -> IntArray:
        """Return the GPUs' points by rack, shape (racks, most GPUs in a rack), padded with `NO_POINT`.

        Rows follow `site.racks`; columns follow the GPUs' ids in natural order (tray 2 before tray 10).
        """
        with self._lock:
            self._refresh()
            if point_type not in self._gpus:
                by_rack: dict[str, list[int]] = {rack: [] for rack in self.site.racks}
                for i in self.registry.select("GPU", point_type):
                    rack = self.registry[int(i)].associate
                    if rack in by_rack:
                        by_rack[rack].append(int(i))
                width = max((len(gpus) for gpus in by_rack.values()), default=0)
                table = np.full((len(by_rack), width), NO_POINT, np.int32)
                for row, gpus in enumerate(by_rack.values()):
                    gpus.sort(key=lambda i: _natural(self.registry[i].object_id))
                    table[row, : len(gpus)] = gpus
                self._gpus[point_type] = table
            return self._gpus[point_type]

    def values(self, points: IntArray, newest_before: int = 0, good_only: bool = True) -> ValueArray:
        """Return the latest values in the shape of `points`; NaN where there is none.

        Parameters
        ----------
        points
            Indexes of any shape; `NO_POINT` gives NaN.
        newest_before
            Values observed before this time (UTC ms) count as missing.
        good_only
            Whether values of bad quality count as missing.
        """
        flat = points.ravel()
        here = np.where(flat >= 0, flat, 0)
        if len(self.registry) == 0 or len(flat) == 0:
            return np.full(points.shape, np.nan)
        usable = (flat >= 0) & (self.latest.observed[here] > max(0, newest_before - 1))
        if good_only:
            usable &= self.latest.quality[here] != Quality.BAD
        return np.where(usable, self.latest.value[here], np.nan).reshape(points.shape)

    def _refresh(self) -> None:
        version = self.registry.version
        if version != self._version:
            self._power.clear()
            self._rack.clear()
            self._gpus.clear()
            self._topology = None
            self._indexed = False
            self._version = version

    def _index_power(self) -> None:
        """Note in one pass which points measure power: of which object, and for which rack."""
        self._meters.clear()
        self._serving.clear()
        self._counters.clear()
        for i, point in enumerate(self.registry):
            if point.point_type == "Energy" and not point.phase:
                self._counters.setdefault(_meter_of(point), i)
            if point.point_type not in ("RackPower", "ActivePower") or point.setpoint:
                continue
            self._meters.setdefault((point.point_type, point.object_id), []).append(i)
            if point.object_type == "PowerMeter" and not point.phase and not point.process_area:
                for served in point.serves:
                    self._serving.setdefault(served, []).append(i)
        self._indexed = True

    def _find_power(self, node: EnvelopeNode) -> IntArray:
        own = [self._meter_power(meter, node) for meter in node.meters]
        if own and all(len(points) for points in own):
            return np.concatenate(own)
        below = [self.power_points(child) for child in node.children if child in self.envelope.nodes]
        if below and len(below) == len(node.children) and all(len(points) for points in below):
            return np.concatenate(below)
        return np.array([], np.int32)

    def _meter_power(self, object_id: str, node: EnvelopeNode) -> IntArray:
        if not self._indexed:
            self._index_power()
        rack = [
            i
            for i in self._meters.get(("RackPower", object_id), ())
            if self.registry[i].object_type == "Rack"
        ]
        if rack:
            return np.array(rack[:1], np.int32)
        meters = self._meters.get(("ActivePower", object_id))
        if meters:
            # a whole object's power carries neither phase nor process area; a UPS may offer input and output
            plain = [i for i in meters if not self.registry[i].phase]
            plain.sort(key=lambda i: (len(self.registry[i].process_area), self.registry[i].key))
            return np.array(plain[:1], np.int32)
        if node.kind != "Rack":
            return np.array([], np.int32)
        serving = [
            i for i in self._serving.get(object_id, ()) if self.registry[i].point_type == "ActivePower"
        ]
        taps = [i for i in serving if self.registry[i].source.startswith("dsx")]
        return np.array(taps or serving, np.int32)


def _meter_of(point: Point) -> tuple[str, str, tuple[str, ...]]:
    """Return what the power and the energy counter of one meter have in common."""
    return point.object_type, point.object_id, tuple(point.process_area)


def _worst(quality: np.ndarray[tuple[int], np.dtype[np.uint8]]) -> int:
    if (quality == Quality.BAD).any():
        return Quality.BAD
    return int(quality.max())


def _natural(text: str) -> list[tuple[int, str]]:
    return [(int(part), "") if part.isdigit() else (-1, part) for part in re.split(r"(\d+)", text)]
