"""What the console reports of a shift, a day or a month: envelope, energy and PUE, alarms, incidents, the contract."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np

from alerts.performance import measured
from alerts.settings import AlertSettings
from analytics.contract.energy import (
    EnergyOf,
    EnergySettings,
    Quarters,
    energy_by,
    measured_at,
    periods,
    quarters,
)
from dashboard.lately import Lately
from dashboard.views import QUARTER_MS
from domain.envelope import EnvelopeNode
from domain.errors import InputError
from domain.points import TimeArray, ValueArray
from storage.alert_performance import AlarmPerformance
from storage.incident_records import Incident
from storage.plant import PlantView
from storage.records import Records

SPANS = ("shift", "day", "month")
SHIFT_H = 8
"""Shifts begin at midnight, 8 and 16 o'clock of the site."""
MOST_BACK = {"shift": 90, "day": 60, "month": 24}
"""So many spans back may be reported; quarter hours are kept longer."""
MOST_INCIDENTS = 200
RUNNING_MS, OVER_MS = 60_000, 600_000
"""How long a report is kept of a span that lasts, and of one that is over: meters may still tell late."""
MOST_KEPT = 24


@dataclass(frozen=True, slots=True)
class Span:
    """A shift, day or month: its kind, how many back it is (0: the running one), [start, end) in UTC ms, and `until` now."""

    kind: str
    back: int
    start: int
    end: int
    until: int

    @property
    def running(self) -> bool:
        """Whether it is not over."""
        return self.until < self.end


@dataclass(frozen=True, slots=True, eq=False)
class Report:
    """What happened in a span.

    Parameters
    ----------
    span
        Which.
    start, power, load, limit, pue
        Its quarter hours (UTC ms, shape (n,)): the site's and its IT's average power and the limit, W, and the first over the
        second; NaN where unknown.
    measured_at
        Where IT power is measured: ``ups`` or ``racks``.
    parts
        Its hours (of a shift or day) or days (of a month), with energy and PUE.
    whole
        The same of all of it.
    alarms, incidents
        How the alarms performed, and incidents that explained something.
    contract
        The month against the contract; None where it is not this month, or there is none.
    """

    span: Span
    start: TimeArray
    power: ValueArray
    load: ValueArray
    limit: ValueArray
    pue: ValueArray
    measured_at: str
    parts: tuple[EnergyOf, ...]
    whole: EnergyOf
    alarms: AlarmPerformance
    incidents: tuple[Incident, ...]
    contract: Mapping[str, Any] | None

    @property
    def over(self) -> list[int]:
        """Positions of the quarter hours above their limit."""
        return [int(i) for i in np.flatnonzero(self.power > self.limit)]


class ReportDesk:
    """Makes reports. Everything here blocks; a report is kept for a while, whoever asks.

    Parameters
    ----------
    plant, records, clock
        Where figures come from, and the present, UTC ms.
    settings
        What alarms are counted against.
    energy
        Where IT energy is measured, and what a kilowatt hour emits.
    contract
        Returns the running month against the contract.
    """

    def __init__(
        self,
        plant: PlantView,
        records: Records,
        clock: Callable[[], int],
        settings: AlertSettings,
        energy: EnergySettings,
        contract: Callable[[], Mapping[str, Any] | None],
    ) -> None:
        self._plant = plant
        self._records = records
        self._clock = clock
        self._settings = settings
        self._energy = energy
        self._contract = contract
        self._kept: dict[tuple[str, int], Lately[Report]] = {}

    def report(self, kind: str, back: int) -> Report:
        """Return the report of the running shift, day or month, or of one so many back.

        Raises
        ------
        InputError
            If there is no such span.
        StorageError
            If store or records do not answer.
        """
        span = span_of(kind, back, self._clock(), self._plant.site.zone)
        key = (kind, span.start)
        known = self._kept.get(key)
        if known is None:
            if len(self._kept) >= MOST_KEPT:
                self._kept.pop(next(iter(self._kept)), None)
            keep = RUNNING_MS if span.running else OVER_MS
            known = self._kept[key] = Lately(lambda: self._ask(kind, span.start), keep, self._clock)
        return known()

    def _ask(self, kind: str, start: int) -> Report:
        now, zone, plant = self._clock(), self._plant.site.zone, self._plant
        span = _holding(kind, start, now, zone)
        told = quarters(plant, self._energy, span.start, span.until)
        told = told.of(span.start, span.until - QUARTER_MS + 1)  # those that are over
        incidents = self._records.incidents(span.start, MOST_INCIDENTS)
        return Report(
            span,
            told.start,
            told.total,
            told.it,
            _limits(plant.envelope.site, told.start),
            told.ratios,
            measured_at(plant, self._energy)[0],
            tuple(self._parts(span, told, now)),
            self._of("", span.start, span.until, told),
            measured(self._records, self._settings, span.start, span.until),
            tuple(i for i in incidents if i.members and i.opened < span.end),
            self._month(span),
        )

    def _parts(self, span: Span, told: Quarters, now: int) -> list[EnergyOf]:
        zone = self._plant.site.zone
        if span.kind == "month":
            first, last = (
                datetime.fromtimestamp(t / 1000, zone).date() for t in (span.start, span.until - 1)
            )
            return energy_by(told, zone, self._energy, periods(first, last, "day"), now)
        hour = 3_600_000
        return [
            self._of(f"{datetime.fromtimestamp(t / 1000, zone):%H:%M}", t, min(t + hour, span.until), told)
            for t in range(span.start, span.until, hour)
        ]

    def _of(self, name: str, start: int, end: int, told: Quarters) -> EnergyOf:
        """Return energy and PUE of [start, end), as `analytics.contract.energy` has them of days."""
        part = told.of(start, end)
        power, load = part.total, part.it
        known = ~np.isnan(power)
        expected = max(1, (end - start) // QUARTER_MS)
        seconds = QUARTER_MS / 1000
        day = datetime.fromtimestamp(start / 1000, self._plant.site.zone).date()
        factor = self._energy.factor(day)
        energy = float(power[known].sum()) * seconds if known.any() else math.nan
        return EnergyOf(
            name,
            start,
            end,
            min(1.0, float(known.sum()) / expected),
            energy,
            min(1.0, float((~np.isnan(load)).sum()) / expected),
            float(np.nansum(load)) * seconds if (~np.isnan(load)).any() else math.nan,
            part.pue,
            math.nan if factor is None or not known.all() else energy / 3.6e6 * factor.kg_per_kwh,
            float(np.nanmax(power)) if known.any() else math.nan,
            int(part.battery.sum()),
        )

    def _month(self, span: Span) -> Mapping[str, Any] | None:
        if span.kind != "month" or not span.running:
            return None
        try:
            return self._contract()
        except InputError:  # no contract is configured
            return None


def span_of(kind: str, back: int, now: int, zone: ZoneInfo) -> Span:
    """Return the shift, day or month that holds `now` (UTC ms) at a place, or the one so many before it.

    Raises
    ------
    InputError
        If the kind is none of `SPANS`, or it lies too far back.
    """
    if kind not in SPANS:
        raise InputError(f"a report is of a {', '.join(SPANS)}, not of {kind[:20]!r}")
    if not 0 <= back <= MOST_BACK[kind]:
        raise InputError(f"reports of a {kind} reach {MOST_BACK[kind]} back")
    start = now
    for _ in range(back + 1):
        found = _holding(kind, start, now, zone)
        start = found.start - 1
    return Span(kind, back, found.start, found.end, found.until)


def _holding(kind: str, moment: int, now: int, zone: ZoneInfo) -> Span:
    local = datetime.fromtimestamp(moment / 1000, zone)
    midnight = local.replace(hour=0, minute=0, second=0, microsecond=0)
    if kind == "month":
        begin = midnight.replace(day=1)
        end = (begin + timedelta(days=32)).replace(day=1)
    elif kind == "day":
        begin = midnight
        end = (midnight + timedelta(hours=36)).replace(hour=0)
    else:
        begin = midnight.replace(hour=local.hour - local.hour % SHIFT_H)
        end = (
            (begin + timedelta(hours=SHIFT_H))
            if begin.hour + SHIFT_H < 24
            else (midnight + timedelta(hours=36)).replace(hour=0)
        )
    first, last = int(begin.timestamp() * 1000), int(end.timestamp() * 1000)
    return Span(kind, 0, first, last, min(now, last))


def _limits(site: EnvelopeNode, starts: TimeArray) -> ValueArray:
    return np.array([site.binding_limit(int(t), int(t) + QUARTER_MS) for t in starts], float)
