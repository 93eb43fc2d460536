"""What rules look at: latest values, power of the envelope's nodes, sources, forecasts, as arrays.

What is worked out of the registry is kept until it changes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from fnmatch import fnmatchcase
from typing import Any, Protocol, TypeVar

import numpy as np
import structlog

from alerts.demand import DemandMeter
from domain.alert import Condition
from domain.envelope import QUARTER_MS, EnvelopeNode, quarter_start
from domain.errors import StorageError
from domain.forecast import Forecast
from domain.points import IntArray, PointRegistry, Quality, Sources, TimeArray, ValueArray
from domain.site import Site
from domain.topology import Topology
from storage.changes import Change
from storage.plant import PlantView

log = structlog.get_logger(__name__)

T = TypeVar("T")
_MINUTE_MS = 60_000
STARTING_MS = 10 * _MINUTE_MS
"""By then whoever tells of an object has told of it after a start."""


class Issued(Protocol):
    """Where the newest issued forecasts are asked for."""

    def latest_forecasts(self, object_ids: Sequence[str], point_type: str = ...) -> dict[str, Forecast]:
        """Return the newest forecast of a quantity by object; objects for which none was issued are left out."""


def _plain(pattern: str) -> list[str]:
    return [] if any(c in pattern for c in "*?[") else [pattern]


class View:
    """One look at the plant per evaluation.

    Parameters
    ----------
    plant
        The plant as it is now.
    records
        Where issued forecasts are kept.
    max_age
        A reading received longer ago than this is not used, ms.
    """

    def __init__(self, plant: PlantView, records: Issued, max_age: int = 300_000) -> None:
        self.plant = plant
        self.site: Site = plant.site
        self.registry: PointRegistry = plant.registry
        self.started = 0
        self.now = 0
        self.found: dict[str, list[Condition]] = {}
        """What rules have found in this look, by rule, as far as they were evaluated."""
        self.failing: dict[str, str] = {}
        """Rules that could not be evaluated in this look, with the error of each."""
        self._envelope = plant.envelope
        self.nodes: tuple[EnvelopeNode, ...] = tuple(self._envelope)
        self.demand = DemandMeter(len(self.nodes))
        self._changes: dict[int, list[Change]] = {}
        self._records = records
        self._max_age = max_age
        self._version = (-1, -1)
        self._kept: dict[object, Any] = {}
        self._forecasts: dict[str, dict[str, Forecast | None]] = {}  # by quantity and object
        self._limits = np.array([node.limit for node in self.nodes])
        self._scheduled = [i for i, node in enumerate(self.nodes) if node.schedule]

    def refresh(self, now: int) -> None:
        """Look again: take in new points and the power at `now`, UTC ms."""
        self.now = now
        self.found, self.failing = {}, {}
        self._changes = self.plant.latest.changes.take()
        if self.plant.envelope is not self._envelope:  # the same nodes in the same order, with other limits
            self._envelope = self.plant.envelope
            self.nodes = tuple(self._envelope)
            self._scheduled = [i for i, node in enumerate(self.nodes) if node.schedule]
        self.started = min(self.started or now, now)  # our clock may have been set back
        version = self.plant.version
        if version != self._version:
            self._kept.clear()
            self._version = version
        self.demand.update(now, self._node_power())

    def seed(self, now: int) -> None:
        """Read what the store has of the running quarter hour, so that a restart does not forget it. Blocks."""
        start = quarter_start(now)
        end = now - now % _MINUTE_MS
        mean, covered = np.full(len(self.nodes), np.nan), np.zeros(len(self.nodes))
        if end == start:
            return
        for i, node in enumerate(self.nodes):
            try:
                minutes = self.plant.power_history(node.id, start, end, _MINUTE_MS).values[0]
            except StorageError as error:
                log.warning("quarter hour so far is not known", node=node.id, error=str(error))
                return
            known = minutes[~np.isnan(minutes)]
            if len(known):
                mean[i], covered[i] = known.mean(), len(known) * _MINUTE_MS
        self.demand.seed(now, mean, covered)

    def limits(self, time: int) -> ValueArray:
        """Return the limit of each node at a time, W, shape (nodes,)."""
        found = self._limits.copy()
        for i in self._scheduled:
            found[i] = self.nodes[i].limit_at(time)
        return found

    def binding_limits(self, start: int) -> ValueArray:
        """Return the limit that each node's average over the quarter hour from `start` has to keep, W, shape (nodes,)."""
        found = self._limits.copy()
        for i in self._scheduled:
            found[i] = self.nodes[i].binding_limit(start, start + QUARTER_MS)
        return found

    def topology(self) -> Topology:
        """Return what serves what."""
        return self.plant.topology()

    def process_areas(self, object_id: str) -> frozenset[str]:
        """Return the process areas of an object's points; asked from any thread."""
        points = self.registry.of_object(object_id).tolist()
        return frozenset(area for i in points for area in self.registry[i].process_area)

    def tells_of(self, object_id: str) -> bool:
        """Return whether any point, source or node is of an object; in the first minutes after a start of any."""
        if self.now - self.started < STARTING_MS:
            return True

        def build() -> frozenset[str]:
            points = [self.registry[i] for i in range(len(self.registry))]
            told = {name for point in points for name in (point.object_id, point.associate)}
            return frozenset(told | {node.id for node in self.nodes} | set(self.registry.sources()))

        return object_id in self.kept("told of", build)

    def points(
        self, point_types: Sequence[str], object_types: Sequence[str] = (), process_area: Sequence[str] = ()
    ) -> IntArray:
        """Return the indexes of all points of these types, setpoints left out."""
        found = [
            self.registry.select(object_type, point_type, process_area=process_area)
            for point_type in point_types
            for object_type in object_types or (None,)
        ]
        return np.concatenate(found) if found else np.array([], np.int32)

    def sources(self) -> Sources:
        """Return the sources of all points; points without one are left out."""
        return self.kept("sources", self.registry.by_source)

    def kept(self, key: object, build: Callable[[], T]) -> T:
        """Return what `build` made for `key` since the registry changed last."""
        if key not in self._kept:
            self._kept[key] = build()
        found: T = self._kept[key]
        return found

    def values(self, points: IntArray) -> ValueArray:
        """Return latest values, shape of `points`; NaN where missing, of bad quality or too old."""
        now = self.plant.latest.at(points)
        usable = (now.received >= self.now - self._max_age) & (now.quality != Quality.BAD)
        return np.where(usable, now.value, np.nan)

    def watch(self, points: IntArray) -> None:
        """Have every change of these states looked at from now on, not only how they are when it is looked."""
        self.plant.latest.changes.watch(points)

    def on_change(self, call: Callable[[], None] | None) -> None:
        """Have this called after a watched state has changed, from any thread; it must not wait."""
        self.plant.latest.changes.on_change = call

    def changes(self) -> Mapping[int, Sequence[Change]]:
        """Return what watched states have told since the look before, by point, oldest first."""
        return self._changes

    def received(self, points: IntArray) -> TimeArray:
        """Return when each point was last heard, UTC ms, 0 for never; shape of `points`."""
        return self.plant.latest.at(points).received

    def observed(self, point: int) -> int:
        """Return when a point's latest value was observed, UTC ms."""
        return int(self.plant.latest.observed[point])

    def foretold(self, patterns: Sequence[str]) -> list[str]:
        """Return the nodes of the envelope that ids or globs name, or other ids as they are; the site if there is none."""
        if not patterns:
            return [self.site.id]

        def build() -> list[str]:
            ids = [node.id for node in self.nodes]
            named = ((p, [i for i in ids if fnmatchcase(i, p)]) for p in patterns)
            return list(dict.fromkeys(i for pattern, found in named for i in found or _plain(pattern)))

        return self.kept(("foretold", tuple(patterns)), build)

    def is_foretold(self, object_id: str) -> bool:
        """Return whether a forecast of this object is expected: it is the site, or a node whose power is measured."""
        return object_id == self.site.id or (
            object_id in self.plant.envelope.nodes and len(self.plant.power_points(object_id)) > 0
        )

    def forecasts(self, object_ids: Sequence[str], point_type: str) -> dict[str, Forecast]:
        """Return the newest issued forecast of a quantity by object; objects without one are left out.

        As they were when the records were read last (`read`), but for objects that are asked for the first time.
        """
        kept = self._forecasts.setdefault(point_type, {})
        new = [i for i in object_ids if i not in kept]
        if new:
            self._take_over(point_type, new)
        return {i: forecast for i in object_ids if (forecast := kept[i]) is not None}

    def newest_forecast(self, object_id: str) -> Forecast | None:
        """Return the newest issued forecast of a node's power, as the records have it now. Blocks.

        Raises
        ------
        StorageError
            If they cannot be read now.
        """
        return self._records.latest_forecasts([object_id], "ActivePower").get(object_id)

    def read(self) -> None:
        """Take over from the records what was forecast since. Blocks: not where rules are evaluated.

        Raises
        ------
        StorageError
            If they cannot be read now; what is known stays.
        """
        for point_type, kept in list(self._forecasts.items()):
            self._take_over(point_type, list(kept))

    def _take_over(self, point_type: str, object_ids: Sequence[str]) -> None:
        found = self._records.latest_forecasts(object_ids, point_type)
        self._forecasts[point_type].update((i, found.get(i)) for i in object_ids)

    def _node_power(self) -> ValueArray:
        def build() -> tuple[IntArray, IntArray, IntArray]:
            members = [(i, self.plant.power_points(node.id)) for i, node in enumerate(self.nodes)]
            measured = [(i, points) for i, points in members if len(points)]
            lengths = [len(points) for _, points in measured]
            return (
                np.array([i for i, _ in measured], np.int32),
                np.concatenate([points for _, points in measured] or [np.array([], np.int32)]),
                np.cumsum([0, *lengths[:-1]]).astype(np.int32),
            )

        nodes, points, offsets = self.kept("node power", build)
        power = np.full(len(self.nodes), np.nan)
        if len(nodes):
            # a sum with a member missing is wrong: one NaN makes the node's power unknown
            power[nodes] = np.add.reduceat(self.values(points), offsets)
        return power
