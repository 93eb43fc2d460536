"""What rules would have done on stored history: the real engine, fed step by step with what the store has."""

from __future__ import annotations

import tempfile
from bisect import bisect_right
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np

from alerts.rules.settings import (
    Absence,
    AnyRule,
    EnvelopeExceeded,
    EnvelopePredicted,
    ForecastAge,
    Limit,
    RateOfChange,
    StaleSource,
    State,
)
from alerts.settings import AlertSettings
from alerts.trial.plant import Trial
from domain.alert import AlertState, Severity
from domain.errors import InputError
from domain.forecast import Forecast
from domain.points import IntArray, Point
from domain.site import Site
from storage.records import Records
from storage.telemetry import Aggregate, Grid

MOST_STEPS = 100_000
AT_ONCE_VALUES = 2_000_000
"""Values that are asked of the store at a time."""
PLANT = ("ActivePower", "RackPower", "Status")
"""Point types by which the plant's own parts are known, whatever the rules look at."""
FORECAST_MS = 48 * 3600 * 1000
"""A forecast that was issued longer before says nothing any more."""


class History(Protocol):
    """Where stored readings come from: the store itself, or the running service."""

    def points(self, point_types: Sequence[str]) -> list[tuple[int, Point]]:
        """Return all points of these types with their numbers."""

    def aggregate(self, points: IntArray, start: int, end: int, step: int, how: Aggregate) -> Grid:
        """Return one value per point and step (`TelemetryStore.aggregate`)."""


@dataclass(frozen=True, slots=True)
class Raised:
    """An alert that the rules would have raised; `cleared` is 0 where it would be active still. UTC ms."""

    rule: str
    object_id: str
    severity: Severity
    opened: int
    cleared: int
    summary: str


@dataclass(frozen=True, slots=True)
class Replayed:
    """What the rules would have done; `told` counts by channel, `left_out` names the rules that cannot be replayed."""

    start: int
    end: int
    step: int
    raised: tuple[Raised, ...]
    told: Mapping[str, int]
    left_out: Mapping[str, str]


class AsIssued:
    """Forecasts as they had been issued by the time `now`, UTC ms."""

    def __init__(self, records: Records, start: int, end: int) -> None:
        self.now = start
        self._records, self._start, self._end = records, start, end
        self._kept: dict[tuple[str, str], tuple[list[int], list[Forecast]]] = {}

    def latest_forecasts(
        self, object_ids: Sequence[str], point_type: str = "ActivePower"
    ) -> dict[str, Forecast]:
        """Return the newest forecast of each object that had one then."""
        found = {}
        for object_id in object_ids:
            place = (object_id, point_type)
            if place not in self._kept:
                issued = self._records.forecasts(
                    object_id, point_type, self._start - FORECAST_MS, self._end, limit=MOST_STEPS
                )
                self._kept[place] = [f.issued for f in issued], issued
            times, issued = self._kept[place]
            newest = bisect_right(times, self.now)
            if newest:
                found[object_id] = issued[newest - 1]
        return found


def replay(
    settings: AlertSettings,
    site: Site,
    history: History,
    records: Records,
    start: int,
    end: int,
    step: int,
    progress: Callable[[float], None] = lambda share: None,
) -> Replayed:
    """Evaluate rules over [start, end), UTC ms, every `step` ms.

    Of a step, a rule on values above a limit sees the highest, one on values below it the lowest, and every other the
    last: what passed its limit for less than a step is seen, and lasts a step.

    Raises
    ------
    InputError
        If there are too many steps, or nothing that the rules look at is stored.
    """
    if (end - start) // step > MOST_STEPS:
        raise InputError(
            f"{(end - start) // step:,} steps are more than {MOST_STEPS:,}; write a longer --every"
        )
    left_out = {r.name: why for r in settings.rules if r.enabled and (why := _why_not(r))}
    rules = tuple(r for r in settings.rules if r.name not in left_out)
    settings = settings.model_copy(update={"rules": rules, "inhibitions": _still(settings, left_out)})
    wanted = dict.fromkeys([*PLANT, *(t for r in rules if r.enabled for t in _looked_at(r))])
    stored = history.points(list(wanted))
    if not stored:
        raise InputError("no point that the rules look at is known to the store")
    how = {name: _seen_as(name, rules) for name in wanted}
    with tempfile.TemporaryDirectory() as folder:
        issued = AsIssued(records, start, end)
        trial = Trial(settings, site, Path(folder), start, [p for _, p in stored], issued)
        try:
            _feed(trial, issued, history, stored, how, start, end, step, progress)
            told = {name: len(receiver.take()) for name, receiver in trial.receivers.items()}
            return Replayed(start, end, step, _raised(trial.records, end), told, left_out)
        finally:
            trial.close()


def _feed(
    trial: Trial,
    issued: AsIssued,
    history: History,
    stored: Sequence[tuple[int, Point]],
    how: Mapping[str, Aggregate],
    start: int,
    end: int,
    step: int,
    progress: Callable[[float], None],
) -> None:
    groups: dict[Aggregate, tuple[list[int], list[int]]] = {}
    for own, (number, point) in enumerate(stored):
        mine, theirs = groups.setdefault(how[point.point_type], ([], []))
        mine.append(own)
        theirs.append(number)
    begin = start - start % step
    at_once = max(1, AT_ONCE_VALUES // len(stored)) * step
    for first in range(begin, end, at_once):
        last = min(first + at_once, end)
        parts = []
        for aggregate, (mine, theirs) in groups.items():
            grid = history.aggregate(np.array(theirs, np.int32), first, last, step, aggregate)
            place = {int(p): row for row, p in enumerate(grid.point)}
            rows = [place[p] for p in theirs if p in place]
            points = np.array([m for m, p in zip(mine, theirs, strict=True) if p in place], np.int32)
            parts.append((points, grid.values[rows]))
        for column, time in enumerate(range(first, last, step)):
            issued.now = trial.now = time + step  # a step is known once it is over
            for points, values in parts:
                if column < values.shape[1]:
                    trial.read(points, values[:, column])
            trial.step(trial.now)
        progress((last - begin) / (end - begin))


def _raised(records: Records, end: int) -> tuple[Raised, ...]:
    alerts = [*records.alert_history(0, end + 1, limit=MOST_STEPS)]
    return tuple(
        Raised(
            a.condition.rule,
            a.condition.object_id,
            a.condition.severity,
            a.opened,
            a.cleared_at if a.state is AlertState.CLEARED else 0,
            a.condition.summary,
        )
        for a in sorted(alerts, key=lambda a: (a.opened, a.condition.key))
    )


def _looked_at(rule: AnyRule) -> tuple[str, ...]:
    return rule.points if isinstance(rule, (Limit, RateOfChange, State, Absence)) else ()


def _seen_as(point_type: str, rules: Sequence[AnyRule]) -> Aggregate:
    limits = [r for r in rules if point_type in _looked_at(r)]
    if limits and all(isinstance(r, Limit) for r in limits):
        sides = {isinstance(r, Limit) and r.above is not None for r in limits}
        if len(sides) == 1:
            return Aggregate.MAX if sides == {True} else Aggregate.MIN
    return Aggregate.LAST


def _why_not(rule: AnyRule) -> str:
    match rule:
        case StaleSource():
            return "when readings came in is not stored"
        case (
            EnvelopeExceeded()
            | EnvelopePredicted()
            | ForecastAge()
            | Limit()
            | RateOfChange()
            | State()
            | Absence()
        ):
            return ""
        case _:
            return "rules of its kind cannot be replayed"


def _still(settings: AlertSettings, left_out: Mapping[str, str]) -> tuple[object, ...]:
    return tuple(
        i.model_copy(update={"mutes": kept})
        for i in settings.inhibitions
        if i.when not in left_out and (kept := tuple(m for m in i.mutes if m not in left_out))
    )
