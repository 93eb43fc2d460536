"""Timelines of rules, written as YAML: these readings at these times, those alerts and pages then.

A value that is read is reported on and on, as devices do, until another is; ``null`` makes it fall silent.
"""

from __future__ import annotations

import tempfile
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

import numpy as np
from pydantic import Field, model_validator

from alerts.actions import acknowledge
from alerts.rules.settings import Duration, Strict
from alerts.settings import AlertSettings
from alerts.trial.plant import Trial
from domain.alert import Severity
from domain.catalogue import POINT_TYPES, STATE
from domain.errors import InputError, UnitError
from domain.forecast import QUANTILES, Forecast
from domain.points import Point
from domain.site import Site
from domain.units import parse_quantity

MOST_TICKS = 50_000
"""Evaluations of one timeline."""
QUARTER_MS = 900_000
WHO = "timeline"


class TrialPoint(Strict):
    """One measured point, as little of it as a rule needs."""

    object: str = Field(description="Id of the plant object")
    object_type: str
    type: str = Field(description="Point type of the catalogue")
    states: dict[int, str] = Field(default_factory=dict, description="Labels of a state by number")
    part_of: str = Field("", description="What the object is part of, such as a GPU's rack")
    serves: tuple[str, ...] = ()
    process_area: tuple[str, ...] = ()
    source: str = Field("", description="Who reports it, such as dsx:bms or snmp:pdu-1")

    @model_validator(mode="after")
    def _known(self) -> TrialPoint:
        if self.type not in POINT_TYPES:
            raise ValueError(f"{self.type!r} is no point type; the catalogue (docs/reference) lists them")
        if POINT_TYPES[self.type].unit == STATE and not self.states:
            raise ValueError(f"{self.type} is a state: write 'states', such as {{0: Normal, 1: Alarm}}")
        return self

    def point(self, name: str) -> Point:
        """Return it as the registry knows points."""
        unit = "" if self.states else POINT_TYPES[self.type].unit
        return Point(
            f"{self.object_type}/{self.type}/{name}",
            self.object_type,
            self.type,
            self.object,
            unit=unit,
            state_text=tuple(self.states.items()),
            associate=self.part_of,
            serves=self.serves,
            process_area=self.process_area,
            source=self.source,
        )

    def value(self, told: float | str | None) -> float:
        """Return what was read as a number in the canonical unit; NaN for nothing.

        Raises
        ------
        InputError
            If it is neither a state's label nor a quantity of the point's unit.
        """
        if told is None:
            return float("nan")
        labels = {label.casefold(): float(number) for number, label in self.states.items()}
        if isinstance(told, str) and self.states:
            if told.casefold() not in labels:
                raise InputError(f"{told!r} is none of the states {', '.join(self.states.values())}")
            return labels[told.casefold()]
        if isinstance(told, str):
            try:
                return parse_quantity(told, POINT_TYPES[self.type].unit)
            except UnitError as error:
                raise InputError(str(error)) from error
        return float(told)


class Foretold(Strict):
    """A forecast that is issued: the breach probabilities of the coming quarter hours, from the running one on."""

    object: str = Field("", description="The site if empty")
    breach: tuple[float, ...] = Field(min_length=1, max_length=200)


class Step(Strict):
    """What happens at a time, and what is to be found at the evaluation then."""

    at: Duration
    read: dict[str, float | str | None] = Field(
        default_factory=dict, description="Values by point; null is silence"
    )
    forecast: Foretold | None = None
    acknowledge: str = Field("", description="An alert that somebody takes, as rule/object")
    active: tuple[str, ...] | dict[str, Severity] | None = Field(
        None,
        description="The alerts that are active, all of them; with their severities if written as a mapping",
    )
    told: dict[str, tuple[str, ...]] | None = Field(
        None,
        description="What each channel was told since the step before that asked, such as 'opened leak/R001'; channels that are left out nothing",
    )


class Timeline(Strict):
    """One test: points, and what happens to them."""

    name: str
    start: str = Field(
        "2026-01-05T12:00", description="When it begins; the site's time where no zone is written"
    )
    every: Duration | None = Field(
        None, gt=0, description="Time between two evaluations; the rules' own if absent"
    )
    rules: tuple[str, ...] = Field((), description="Only these rules; all if empty")
    points: dict[str, TrialPoint] = Field(min_length=1)
    steps: tuple[Step, ...] = Field(min_length=1)

    @model_validator(mode="after")
    def _consistent(self) -> Timeline:
        try:
            datetime.fromisoformat(self.start)
        except ValueError:
            raise ValueError(f"start: {self.start!r} is no time; write 2026-01-05T12:00") from None
        before = 0.0
        for step in self.steps:
            if step.at < before:
                raise ValueError(
                    f"the step at {step.at:g} s comes after one at {before:g} s; put them in order"
                )
            before = step.at
            unknown = sorted(set(step.read) - set(self.points))
            if unknown:
                raise ValueError(f"the step at {step.at:g} s reads unknown points: {', '.join(unknown)}")
            for name, told in step.read.items():
                try:
                    self.points[name].value(told)
                except InputError as error:
                    raise ValueError(f"the step at {step.at:g} s reads {name}: {error}") from error
        return self


class Timelines(Strict):
    """A file of tests."""

    timelines: tuple[Timeline, ...] = Field(min_length=1)


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one timeline; `faults` are sentences, none where it went as written."""

    name: str
    evaluations: int
    faults: tuple[str, ...] = field(default=())


def run_timeline(timeline: Timeline, settings: AlertSettings, site: Site) -> Outcome:
    """Run one timeline through the real engine, on records of its own.

    Raises
    ------
    InputError
        If it is longer than `MOST_TICKS` evaluations, names rules that there are not, or acknowledges what is not active.
    """
    settings = settings.only(timeline.rules)
    start = datetime.fromisoformat(timeline.start)
    begin = int((start if start.tzinfo else start.replace(tzinfo=site.zone)).timestamp() * 1000)
    every = int((timeline.every or settings.interval) * 1000)
    ticks = int(-(-timeline.steps[-1].at * 1000 // every)) + 1
    if ticks > MOST_TICKS:
        raise InputError(
            f"{timeline.name}: {ticks:,} evaluations are more than {MOST_TICKS:,}; write a longer 'every'"
        )
    points = [point.point(name) for name, point in timeline.points.items()]
    with tempfile.TemporaryDirectory() as folder:
        trial = Trial(settings, site, Path(folder), begin, points)
        try:
            return _run(timeline, trial, begin, every, ticks)
        finally:
            trial.close()


def _run(timeline: Timeline, trial: Trial, begin: int, every: int, ticks: int) -> Outcome:
    row = {name: i for i, name in enumerate(timeline.points)}
    held = np.full(len(row), np.nan)
    indexes = np.arange(len(row), dtype=np.int32)
    waiting, faults = list(timeline.steps), []
    for tick in range(ticks):
        now = begin + tick * every
        trial.now = now
        asking = []
        while waiting and begin + waiting[0].at * 1000 <= now:
            step = waiting.pop(0)
            for name, told in step.read.items():
                held[row[name]] = timeline.points[name].value(told)
            if step.forecast is not None:
                _issue(step.forecast, trial)
            if step.acknowledge:
                _acknowledge(step.acknowledge, trial)
            asking.append(step)
        trial.read(indexes, held)
        trial.step(now)
        for step in asking:
            faults += _compare(step, trial)
    return Outcome(timeline.name, ticks, tuple(faults))


def _compare(step: Step, trial: Trial) -> list[str]:
    faults = []
    if step.active is not None:
        found = {a.condition.key: a.condition.severity for a in trial.records.active_alerts()}
        if isinstance(step.active, dict):
            wanted = [f"{key} ({severity})" for key, severity in step.active.items()]
            there = [f"{key} ({severity})" for key, severity in found.items()]
        else:
            wanted, there = [*step.active], [*found]
        faults += _differs(step.at, "active", sorted(wanted), sorted(there))
    if step.told is not None:
        unknown = sorted(set(step.told) - set(trial.receivers))
        if unknown:
            known = ", ".join(trial.receivers) or "none: add channels to alerts.yaml"
            faults.append(f"at {step.at:g} s: no channel {', '.join(unknown)}; there are {known}")
        for target, receiver in trial.receivers.items():
            told = sorted(receiver.take())
            faults += _differs(step.at, f"told {target}", sorted(step.told.get(target, ())), told)
    return faults


def _differs(at: float, what: str, wanted: list[str], found: list[str]) -> list[str]:
    if wanted == found:
        return []
    return [
        f"at {at:g} s: {what}: expected {', '.join(wanted) or 'nothing'}; found {', '.join(found) or 'nothing'}"
    ]


def _acknowledge(key: str, trial: Trial) -> None:
    active = {a.condition.key: a.id for a in trial.records.active_alerts()}
    if key not in active:
        raise InputError(
            f"{key} cannot be acknowledged: active are {', '.join(sorted(active)) or 'no alerts'}"
        )
    acknowledge(trial.records, active[key], WHO, "", trial.now)


def _issue(foretold: Foretold, trial: Trial) -> None:
    """Issue a forecast whose breach probabilities are those; its median is at the limit, the rest is of no account."""
    site = trial.view.site
    node = foretold.object or site.id
    limit = next((n.limit for n in trial.view.nodes if n.id == node), site.limit)
    n = len(foretold.breach)
    start = trial.now - trial.now % QUARTER_MS + QUARTER_MS * np.arange(n, dtype=np.int64)
    values = np.full((n, len(QUANTILES)), limit) * (0.9 + 0.2 * np.array(QUANTILES))
    trial.records.save_forecast(
        Forecast(
            node,
            "ActivePower",
            "W",
            trial.now,
            trial.now,
            15,
            start,
            QUANTILES,
            values,
            np.full(n, limit),
            np.array(foretold.breach),
            WHO,
        )
    )
