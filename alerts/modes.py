"""Modes of the equipment in which its alarms are expected: suppression by design, as ISA-18.2 calls it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from alerts.state_settings import Mode
from alerts.view import View
from domain.points import IntArray, Point, ValueArray


@dataclass(frozen=True, slots=True)
class Modes:
    """What one look found.

    Attributes
    ----------
    expected
        By (object, rule, whether what hangs under it is meant): why its alarms are expected.
    known
        Objects whose mode could be told.
    """

    expected: dict[tuple[str, str, bool], str] = field(default_factory=dict)
    known: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True, eq=False)
class _Listed:
    """Points, shape (m,), and the values of each that are the mode, shape (m, k), padded with NaN."""

    points: IntArray
    values: ValueArray


def look(settings: Sequence[Mode], view: View) -> Modes:
    """Return which objects are in a mode now; a reading that is missing or old is no mode."""
    expected: dict[tuple[str, str, bool], str] = {}
    known: set[str] = set()
    for number, mode in enumerate(settings):
        listed = view.kept(("mode", number), lambda mode=mode: _listed(mode, view))  # type: ignore[misc]
        values = view.values(listed.points)
        inside = (listed.values == values[:, None]).any(axis=1)
        known |= {view.registry[int(i)].object_id for i in listed.points[~np.isnan(values)]}
        for row in np.flatnonzero(inside):
            point = view.registry[int(listed.points[row])]
            reason = f"{point.object_id} is in {point.state_label(float(values[row]))}"
            expected |= {(point.object_id, rule, mode.below): reason for rule in mode.rules}
    return Modes(expected, frozenset(known))


def _listed(mode: Mode, view: View) -> _Listed:
    points = view.points(mode.points, mode.object_types)
    labels = {state.casefold() for state in mode.states}
    listed = [_values(view.registry[int(i)], labels) for i in points]
    table = np.full((len(points), max((len(values) for values in listed), default=0)), np.nan)
    for row, values in enumerate(listed):
        table[row, : len(values)] = values
    return _Listed(points, table)


def _values(point: Point, labels: set[str]) -> list[int]:
    labelled = [value for value, label in point.state_text if label.casefold() in labels]
    return labelled or [int(label) for label in labels if label.lstrip("-").isdigit()]
