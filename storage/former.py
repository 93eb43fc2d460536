"""What tags told of an object before they moved on to another: its history has them still.

A tag that moves becomes a point of its own at its new place (`domain.points.moved`); the one before keeps what was
told until then. Here the two are put together again, by place instead of by tag.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable

import numpy as np

from domain.points import IntArray, Point, PointRegistry, ValueArray
from storage.telemetry import Aggregate, Grid, TelemetryStore

_Quantity = tuple[str, str, str, str, tuple[str, ...], str, bool]


class Former:
    """The points whose tags have moved on, by what they told. Safe from several threads."""

    def __init__(self, registry: PointRegistry, store: TelemetryStore) -> None:
        self._registry = registry
        self._store = store
        self._known: tuple[IntArray, dict[_Quantity, list[int]]] = (registry.moved, _by_quantity(registry))

    def any_since(self, start: int) -> bool:
        """Return whether a tag moved after `start`, UTC ms: whether there is anything to put together."""
        return any(self._registry[i].until > start for i in self._registry.moved.tolist())

    def meters(self, object_id: str, kinds: Iterable[tuple[str, tuple[str, ...]]], start: int) -> list[int]:
        """Return the points that told an object's power until after `start`; of each of `kinds`: type and area."""
        wanted = set(kinds)
        return [
            i
            for i in self._registry.moved.tolist()
            if (p := self._registry[i]).object_id == object_id
            and p.until > start
            and not p.phase
            and not p.setpoint
            and (p.point_type, p.process_area) in wanted
        ]

    def power_kind(self, object_id: str) -> set[tuple[str, tuple[str, ...]]]:
        """Return type and area of what told an object's power before its tag moved on; empty where none did."""
        found = [i for kind in ("RackPower", "ActivePower") if (i := self.last(object_id, kind)) is not None]
        return {(p.point_type, p.process_area) for p in (self._registry[i] for i in found[:1])}

    def serving_only(self, rack: str, racks: frozenset[str], start: int) -> list[int]:
        """Return the power of taps and PDUs that served this rack and no other until after `start`."""
        return [
            i
            for i in self._registry.moved.tolist()
            if (p := self._registry[i]).point_type == "ActivePower"
            and p.object_type == "PowerMeter"
            and p.until > start
            and not p.phase
            and not p.process_area
            and racks.intersection(p.serves) == {rack}
        ]

    def of(self, point: Point) -> list[int]:
        """Return the points that told the same quantity of the same object before, the last to go first."""
        moved = self._registry.moved
        known = self._known
        if known[0] is not moved:
            self._known = known = (moved, _by_quantity(self._registry))
        return known[1].get(_quantity(point), [])

    def last(self, object_id: str, point_type: str) -> int | None:
        """Return the point that told a quantity of an object last, of those that moved on; the plainest of several."""
        found = [
            (bool(p.phase), len(p.process_area), -p.until, i)
            for i in self._registry.moved.tolist()
            if (p := self._registry[i]).object_id == object_id
            and p.point_type == point_type
            and not p.setpoint
        ]
        return min(found)[-1] if found else None

    def fill(self, grid: Grid, start: int, end: int, how: Aggregate) -> None:
        """Fill what points do not tell themselves with what was told of their objects before."""
        before = {
            row: [f for f in self.of(self._registry[p]) if f != p and self._registry[f].until > start]
            for row, p in enumerate(grid.point.tolist())
            if 0 <= p < len(self._registry)
        }
        wanted = np.unique(np.array([f for found in before.values() for f in found], np.int32))
        if not len(wanted):
            return
        told = self._store.aggregate(wanted, start, end, grid.step, how)
        row_of = dict(zip(told.point.tolist(), told.values, strict=True))
        for row, found in before.items():
            for f in found:
                if f in row_of:
                    empty = np.isnan(grid.values[row]) & (grid.start < self._registry[f].until)
                    grid.values[row, empty] = row_of[f][empty]

    def total(self, points: IntArray, former: IntArray, start: int, end: int, step: int) -> Grid:
        """Return the sum of what made up a power at each time: of `points`, and before that of `former` ones.

        NaN where one of those that were there is missing. A point was there from its move to this place, or from when
        it was first heard of.
        """
        wanted = np.unique(np.concatenate([points, former]))
        told = self._store.aggregate(wanted, start, end, step, Aggregate.TIME_WEIGHTED)
        known = ~np.isnan(told.values)
        since, until = (
            np.array([getattr(self._registry[int(p)], when) for p in told.point], np.int64)[:, None]
            for when in ("since", "until")
        )
        gone = np.isin(told.point, former)[:, None]
        last_move = int(until.max())
        heard = np.logical_or.accumulate(known, axis=1) | (told.start >= last_move)
        there = (told.start >= since) & np.where(gone, told.start < until, heard)
        values = np.where(there & known, told.values, 0.0).sum(axis=0)
        whole = there.any(axis=0) & ~(there & ~known).any(axis=0)
        total: ValueArray = np.where(whole, values, np.nan)[None, :]
        return Grid(np.array([-1], np.int32), told.start, step, total)


def _quantity(p: Point) -> _Quantity:
    return p.object_id, p.object_type, p.point_type, p.phase, p.process_area, p.unit, p.setpoint


def _by_quantity(registry: PointRegistry) -> dict[_Quantity, list[int]]:
    found: dict[_Quantity, list[int]] = defaultdict(list)
    for i in sorted(registry.moved.tolist(), key=lambda i: -registry[i].until):
        found[_quantity(registry[i])].append(i)
    return dict(found)
