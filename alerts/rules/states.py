"""A state that is not a normal one: a leak, a broken sensor, a UPS on battery."""

from __future__ import annotations

from collections.abc import Set
from dataclasses import dataclass

import numpy as np

from alerts.rules.condition import condition, unknown
from alerts.rules.settings import State, override_for
from alerts.view import View
from domain.alert import Condition
from domain.catalogue import POINT_TYPES
from domain.gpu_health import GRADES, finding
from domain.points import IntArray, Point, ValueArray
from domain.said import STATES, Field, Said, Term, measured

SPEAK_FOR_THEMSELVES = ("Status", "IncidentClass", "SensorVerdict")
"""Point types whose states need no word of what they are states of."""


@dataclass(frozen=True, slots=True, eq=False)
class _States:
    """Points, shape (m,), their listed values, shape (m, k), padded with NaN, rows by object and point; who is left out."""

    points: IntArray
    listed: ValueArray
    rows: dict[str, list[int]]
    row: dict[int, int]
    ignored: frozenset[str]


class StateRule:
    """Some state of an object is none of the normal ones, or one of the abnormal ones."""

    def __init__(self, settings: State) -> None:
        self.settings = settings
        self._labels = {label.casefold() for label in settings.normal or settings.abnormal}

    def evaluate(self, now: int, view: View, active: Set[str] = frozenset()) -> list[Condition]:
        """Return one condition per object in a state that is not normal; see `alerts.rules.Rule`."""
        rule = self.settings
        states = view.kept((rule.name, "states"), lambda: self._states(view))
        if len(states.points) == 0:
            return [unknown(rule, object_id) for object_id in active if object_id not in states.ignored]
        values = view.values(states.points)
        missing = np.isnan(values)
        listed = (states.listed == values[:, None]).any(axis=1)
        alarmed = ~missing & (listed if rule.abnormal else ~listed)
        found: dict[str, Condition] = {}
        for row in np.flatnonzero(alarmed):
            index = int(states.points[row])
            point = view.registry[index]
            if point.object_id not in found:
                found[point.object_id] = self._condition(point, float(values[row]), view.observed(index))
        if not rule.hold_for:
            self._between(states, found, view)
        for object_id in active:
            # a leak is over when every sensor of the object says so, not when one falls silent
            rows = states.rows.get(object_id)
            if object_id in states.ignored:
                continue
            if object_id not in found and (rows is None or missing[rows].any()):
                found[object_id] = unknown(rule, object_id)
        return list(found.values())

    def _between(self, states: _States, found: dict[str, Condition], view: View) -> None:
        """Add what came and went again since the look before: `keep_firing_for` counts from now on."""
        for index, changes in view.changes().items():
            row = states.row.get(index)
            if row is None or view.registry[index].object_id in found:
                continue
            for value, observed in changes:
                listed = bool((states.listed[row] == value).any())
                if listed == bool(self.settings.abnormal):
                    point = view.registry[index]
                    found[point.object_id] = self._condition(point, value, observed)
                    break

    def _condition(self, point: Point, value: float, observed: int) -> Condition:
        state = _told(point.state_label(value), point.point_type)
        named = [point.object_name] if point.object_name and point.object_name != point.object_id else []
        areas: list[Field] = [
            measured(area) if area in POINT_TYPES else Term("signal", area) for area in point.process_area
        ]
        details: list[Field] = [state, *named, *areas]
        if point.point_type == "SensorVerdict" and areas:  # which instrument comes first
            details = [Said.of("verdict", what=tuple(areas), verdict=state), *named]
        if point.point_type in GRADES:  # a finding says all, and what to do
            details = [finding(point.state_label(value))]
        said = Said.of("state", object=point.object_id, state=tuple(details))
        listed = () if self.settings.abnormal else self._listed(point)
        normal = min((float(n) for n in listed), default=np.nan)
        override = override_for(self.settings.overrides, point.object_id)
        severity = None if override is None else override.severity
        return condition(self.settings, point.object_id, said, value, normal, "", observed, severity)

    def _listed(self, point: Point) -> list[int]:
        numbers = [int(label) for label in self._labels if label.lstrip("-").isdigit()]
        labelled = [value for value, label in point.state_text if label.casefold() in self._labels]
        # what the device calls its states wins over bare numbers
        return labelled or numbers

    def _states(self, view: View) -> _States:
        points = view.points(self.settings.points, self.settings.object_types)
        owners = {view.registry[int(i)].object_id for i in points}
        ignored = frozenset(
            o for o in owners if (other := override_for(self.settings.overrides, o)) and not other.enabled
        )
        points = np.array([i for i in points if view.registry[int(i)].object_id not in ignored], np.int32)
        listed = [self._listed(view.registry[int(i)]) for i in points]
        table = np.full((len(points), max((len(n) for n in listed), default=0)), np.nan)
        rows: dict[str, list[int]] = {}
        for row, (index, values) in enumerate(zip(points, listed, strict=True)):
            table[row, : len(values)] = values
            rows.setdefault(view.registry[int(index)].object_id, []).append(row)
        view.watch(points)
        return _States(points, table, rows, {int(i): row for row, i in enumerate(points)}, ignored)


def _told(label: str, point_type: str) -> Field:
    """Return a state as a sentence tells it: with what it is a state of, where the one does not say the other."""
    what = measured(point_type)
    if label.casefold() in what.text.casefold():
        return what
    state = Term(STATES.get(point_type, "state"), label)
    return state if point_type in SPEAK_FOR_THEMSELVES else Said.of("state_of", state=state, what=what)
