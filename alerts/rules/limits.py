"""A measured value above or below a limit."""

from __future__ import annotations

from collections.abc import Set

import numpy as np

from alerts.rules.condition import condition, measured_of, unknown
from alerts.rules.groups import Groups
from alerts.rules.settings import Limit, LimitOverride
from alerts.view import View
from domain.alert import Condition
from domain.points import ValueArray
from domain.said import Quantity, Said

_Limits = Groups[LimitOverride]


class LimitRule:
    """The worst value of an object passes the limit."""

    def __init__(self, settings: Limit) -> None:
        self.settings = settings

    def evaluate(self, now: int, view: View, active: Set[str] = frozenset()) -> list[Condition]:
        """Return one condition per object with a value beyond the limit; see `alerts.rules.Rule`."""
        rule = self.settings
        groups, limit = view.kept((rule.name, "groups"), lambda: self._groups(view))
        found = [unknown(rule, o) for o in active if o not in groups.row and o not in groups.ignored]
        if not groups.objects:
            return found
        values = view.values(groups.points)
        beyond = values - limit if rule.above is not None else limit - values
        worst = np.fmax.reduceat(beyond, groups.offsets)  # NaN only where an object has no value at all
        threshold = np.zeros(len(worst))
        rows = [groups.row[o] for o in active if o in groups.row]
        threshold[rows] = -rule.hysteresis
        found += [unknown(rule, groups.objects[i]) for i in rows if np.isnan(worst[i])]
        for i in np.flatnonzero(worst > threshold):
            members = groups.members(int(i))
            at = members.start + int(np.nanargmax(beyond[members]))
            passed = int((beyond[members] > 0).sum())
            found.append(
                self._condition(groups, int(i), int(groups.points[at]), values[at], limit[at], passed, view)
            )
        return found

    def _condition(
        self, groups: _Limits, row: int, point: int, value: float, limit: float, passed: int, view: View
    ) -> Condition:
        rule, measured, object_id = self.settings, view.registry[point], groups.objects[row]
        side = "above" if rule.above is not None else "below"
        if rule.unit == "count":
            # where any at all are too many, the limit says nothing to people
            side = "any" if side == "above" and limit < 1 else f"counted_{side}"
        said = Said.of(
            side,
            object=object_id,
            what=measured_of(object_id, measured),
            value=Quantity(float(value), rule.unit),
            limit=Quantity(float(limit), rule.unit),
        )
        if passed > 1:
            said = Said.of("points_above" if rule.above is not None else "points_below", said=said, n=passed)
        severity, observed = groups.severity(row), view.observed(point)
        return condition(rule, object_id, said, float(value), float(limit), rule.unit, observed, severity)

    def _groups(self, view: View) -> tuple[_Limits, ValueArray]:
        """Return the points by object, and the limit of each point."""
        rule, thermal = self.settings, view.site.thermal
        points = view.points(rule.points, rule.object_types, rule.process_area)
        groups = Groups.of(view, points, rule.per, rule.overrides)
        limits = [rule.bound(thermal, None if o is None else o.limit) for o in groups.override]
        return groups, groups.each(np.array(limits, np.float64))
