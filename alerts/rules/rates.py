"""A measured value that rises or falls fast, whatever it is: coolant that warms by 4 K in two minutes."""

from __future__ import annotations

from collections import deque
from collections.abc import Set

import numpy as np

from alerts.rules.condition import condition, measured_of, unknown
from alerts.rules.groups import Groups
from alerts.rules.settings import Override, RateOfChange
from alerts.view import View
from domain.alert import Condition
from domain.points import IntArray, ValueArray
from domain.said import Quantity, Said, Span

SAMPLES = 30
"""Values that are kept of each point over the time that a rule looks back: its memory is bounded by them."""


class RateOfChangeRule:
    """The value of an object has changed by so much within the time, against any value of that time.

    What was measured lies in memory only: after a start the rule knows nothing for that long, so that an active alert
    holds on until then.
    """

    def __init__(self, settings: RateOfChange) -> None:
        self.settings = settings
        self._points: IntArray = np.array([], np.int32)
        self._past: deque[tuple[int, ValueArray]] = deque()
        self._since = 0

    def evaluate(self, now: int, view: View, active: Set[str] = frozenset()) -> list[Condition]:
        """Return one condition per object that changes fast; see `alerts.rules.Rule`."""
        rule = self.settings
        groups = view.kept((rule.name, "groups"), lambda: self._groups(view))
        found = [unknown(rule, o) for o in active if o not in groups.row and o not in groups.ignored]
        if not groups.objects:
            return found
        values = view.values(groups.points)
        change = self._change(now, groups.points, values)
        size = np.abs(change)
        worst = np.fmax.reduceat(size, groups.offsets)
        rows = [groups.row[o] for o in active if o in groups.row]
        threshold = np.full(len(worst), rule.change)
        threshold[rows] *= rule.clear_share
        known = now - self._since >= rule.within * 1000
        found += [
            unknown(rule, groups.objects[i])
            for i in rows
            if np.isnan(worst[i]) or (not known and worst[i] < threshold[i])
        ]
        for i in np.flatnonzero(worst >= threshold):
            members = groups.members(int(i))
            at = members.start + int(np.nanargmax(size[members]))
            found.append(self._condition(groups, int(i), at, values[at], change[at], view))
        return found

    def _change(self, now: int, points: IntArray, values: ValueArray) -> ValueArray:
        """Return how far each point has moved within the time, in the rule's direction, and remember the values."""
        if not np.array_equal(points, self._points):
            self._take_over(points)
        span = int(self.settings.within * 1000)
        if self._past and self._past[-1][0] > now:  # our clock was set back
            self._past.clear()
        while self._past and self._past[0][0] < now - span:
            self._past.popleft()
        if not self._past:
            self._since = now
        change = np.where(np.isnan(values), np.nan, 0.0)
        for _, before in self._past:
            moved = values - before
            with np.errstate(invalid="ignore"):
                if self.settings.direction == "rises":
                    change = np.fmax(change, moved)
                elif self.settings.direction == "falls":
                    change = np.fmin(change, moved)
                else:
                    change = np.where(np.abs(moved) > np.abs(change), moved, change)
        if not self._past or now - self._past[-1][0] >= span / SAMPLES:
            self._past.append((now, values))
        return change

    def _take_over(self, points: IntArray) -> None:
        """Keep what is remembered of points that are there still, in their new order."""
        place = {int(p): i for i, p in enumerate(self._points)}
        row = np.array([place.get(int(p), -1) for p in points], np.int32)
        for _ in range(len(self._past)):
            time, before = self._past.popleft()
            self._past.append((time, np.where(row >= 0, np.append(before, np.nan)[row], np.nan)))
        self._points = points

    def _condition(
        self, groups: Groups[Override], row: int, at: int, value: float, change: float, view: View
    ) -> Condition:
        rule, point = self.settings, int(groups.points[at])
        object_id, unit = groups.objects[row], rule.unit
        said = Said.of(
            "risen" if change > 0 else "fallen",
            object=object_id,
            what=measured_of(object_id, view.registry[point]),
            by=Quantity(abs(float(change)), unit),
            within=Span(rule.within),
            value=Quantity(float(value), unit),
            limit=Quantity(rule.change, unit),
        )
        return condition(
            rule,
            object_id,
            said,
            abs(float(change)),
            rule.change,
            unit,
            view.observed(point),
            groups.severity(row),
        )

    def _groups(self, view: View) -> Groups[Override]:
        rule = self.settings
        points = view.points(rule.points, rule.object_types, rule.process_area)
        return Groups.of(view, points, rule.per, rule.overrides)
