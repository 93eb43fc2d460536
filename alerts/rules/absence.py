"""A reading that should be there and is not: a rack whose power nobody tells, a sensor whose device answers without it."""

from __future__ import annotations

from collections.abc import Set
from dataclasses import dataclass
from fnmatch import fnmatchcase

import numpy as np

from alerts.rules.condition import condition, local_time
from alerts.rules.settings import Absence, Override, override_for
from alerts.view import View
from domain.alert import Condition
from domain.points import IntArray
from domain.said import Said, Span, measured


@dataclass(frozen=True, slots=True, eq=False)
class _Expected:
    """Objects that must have a reading, and the points that could tell it: (object row, point index), shape (2, k)."""

    objects: tuple[str, ...]
    pairs: IntArray
    override: tuple[Override | None, ...]


class AbsenceRule:
    """No point of an object, of those that would do, has a fresh reading."""

    def __init__(self, settings: Absence) -> None:
        self.settings = settings

    def evaluate(self, now: int, view: View, active: Set[str] = frozenset()) -> list[Condition]:
        """Return one condition per object without a fresh reading; see `alerts.rules.Rule`."""
        rule = self.settings
        expected = view.kept((rule.name, "expected"), lambda: self._expected(view))
        if not expected.objects:
            return []
        newest = np.zeros(len(expected.objects), np.int64)
        rows, points = expected.pairs
        np.maximum.at(newest, rows, view.received(points))
        # a process that has just started has heard nobody yet; what was absent before stays so until it is heard
        is_active = np.array([o in active for o in expected.objects])
        since = np.where(is_active, newest, np.maximum(newest, view.started))
        absent = now - since > rule.after * 1000
        return [self._condition(expected, int(i), int(newest[i]), now, view) for i in np.flatnonzero(absent)]

    def _condition(self, expected: _Expected, row: int, newest: int, now: int, view: View) -> Condition:
        rule, object_id, other = self.settings, expected.objects[row], expected.override[row]
        said = Said.of(
            "absent" if newest else "never_there",
            object=object_id,
            what=tuple(measured(point) for point in rule.points),
            since=local_time(newest, view.site.zone, "%Y-%m-%d %H:%M:%S"),
            limit=Span(rule.after),
        )
        age = (now - (newest or view.started)) / 1000
        severity = None if other is None else other.severity
        return condition(rule, object_id, said, age, rule.after, "s", newest or now, severity)

    def _expected(self, view: View) -> _Expected:
        rule, registry = self.settings, view.registry
        points = view.points(rule.points, rule.object_types)
        telling = [(registry[int(i)].object_id, int(i)) for i in points]
        wanted = dict.fromkeys(o for o, _ in telling)
        if rule.objects:
            known = [*view.site.racks, *view.topology().objects]
            wanted = dict.fromkeys(o for o in known if any(fnmatchcase(o, p) for p in rule.objects))
        override = {o: override_for(rule.overrides, o) for o in wanted}
        objects = [o for o, other in override.items() if other is None or other.enabled]
        place = {o: row for row, o in enumerate(objects)}
        pairs = [(place[o], i) for o, i in telling if o in place]
        return _Expected(
            tuple(objects),
            np.array(pairs, np.int32).reshape(-1, 2).T,
            tuple(override[o] for o in objects),
        )
