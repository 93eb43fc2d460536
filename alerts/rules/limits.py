"""A measured value above or below a limit."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Set
from dataclasses import dataclass

import numpy as np

from alerts.rules.condition import condition, unknown
from alerts.rules.settings import Limit
from alerts.view import View
from domain.alert import Condition
from domain.catalogue import POINT_TYPES
from domain.points import IntArray
from domain.units import shown


@dataclass(frozen=True, slots=True, eq=False)
class _Groups:
    """Points object by object: `points` in that order, `offsets` where each of the `objects` begins."""

    objects: tuple[str, ...]
    row: dict[str, int]
    points: IntArray
    offsets: IntArray


class LimitRule:
    """The worst value of an object passes the limit."""

    def __init__(self, settings: Limit) -> None:
        self.settings = settings

    def evaluate(self, now: int, view: View, active: Set[str] = frozenset()) -> list[Condition]:
        """Return one condition per object with a value beyond the limit; see `alerts.rules.Rule`."""
        rule = self.settings
        groups = view.kept((rule.name, "groups"), lambda: self._groups(view))
        found = [unknown(rule, object_id) for object_id in active if object_id not in groups.row]
        if not groups.objects:
            return found
        limit = rule.bound(view.site.thermal)
        values = view.values(groups.points)
        beyond = values - limit if rule.above is not None else limit - values
        worst = np.fmax.reduceat(beyond, groups.offsets)  # NaN only where an object has no value at all
        threshold = np.zeros(len(worst))
        rows = [groups.row[o] for o in active if o in groups.row]
        threshold[rows] = -rule.hysteresis
        found += [unknown(rule, groups.objects[i]) for i in rows if np.isnan(worst[i])]
        for i in np.flatnonzero(worst > threshold):
            end = groups.offsets[i + 1] if i + 1 < len(groups.offsets) else len(groups.points)
            members = slice(int(groups.offsets[i]), int(end))
            at = members.start + int(np.nanargmax(beyond[members]))
            passed = int((beyond[members] > 0).sum())
            found.append(
                self._condition(groups.objects[i], int(groups.points[at]), values[at], limit, passed, view)
            )
        return found

    def _condition(
        self, object_id: str, point: int, value: float, limit: float, passed: int, view: View
    ) -> Condition:
        rule, measured = self.settings, view.registry[point]
        what = POINT_TYPES[measured.point_type].description
        text = f"{object_id}: {what[:1].lower() if what[1:2].islower() else what[:1]}{what[1:]}"
        if measured.object_id != object_id:
            text += f" of {measured.object_id}"
        side = "above" if rule.above is not None else "below"
        text += f" is {shown(value, rule.unit)}, limit {shown(limit, rule.unit)}"
        if passed > 1:
            text += f" ({passed} points {side} it)"
        return condition(rule, object_id, text, float(value), limit, rule.unit, view.observed(point))

    def _groups(self, view: View) -> _Groups:
        rule, registry = self.settings, view.registry
        by_object: dict[str, list[int]] = defaultdict(list)
        points = view.points(rule.points, rule.object_types, rule.process_area)
        for i in view.plant.tellers.present(points):
            point = registry[int(i)]
            owner = point.associate if rule.per == "associate" and point.associate else point.object_id
            by_object[owner].append(int(i))
        objects = tuple(by_object)
        lengths = [len(by_object[o]) for o in objects]
        return _Groups(
            objects,
            {o: row for row, o in enumerate(objects)},
            np.array([i for o in objects for i in by_object[o]], np.int32),
            np.cumsum([0, *lengths[:-1]]).astype(np.int32),
        )
