"""Where forecasts that have come due are found, and what came instead: power, quarter-hour ends, temperatures.

Each kind takes quarter hours one after the other. Power is looked up by the quarter hour that was foretold, in the issued
forecasts; quarter-hour ends and temperatures are told again and again and kept nowhere else, so that a few of them are kept
as snapshots until they are due, and looked up by the quarter hour in which they were told.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from analytics.issuing.measured import node_histories
from analytics.outlook.quarters import QuartersTold
from analytics.outlook.temperatures import HOUR_MS, OUTLOOK_STEP_MS, TemperatureWatch
from analytics.scoring.score import Due, held, last_day, last_value
from domain.envelope import QUARTER_MS, quarter_start
from domain.forecast import QUANTILES, Forecast
from domain.points import TimeArray, ValueArray
from storage.plant import PlantView
from storage.records import Records
from storage.score_records import Arrays

DAY_MS = 86_400_000
LEADS = (15, 60, 360, 1440, 2880)
"""Minutes ahead at which power forecasts are scored, as far as they reach."""
QUARTER_MINUTES = (3, 7, 12)
"""Minutes of a quarter hour after which what was said of its end is kept and scored."""
TEMPERATURE_LEADS = (15, 60)
HISTORY_MS = 8 * DAY_MS
"""From so much of the past the simple rules take the quantiles of their errors."""
LEVELS = np.array(QUANTILES)


@dataclass(frozen=True, slots=True, eq=False)
class Measured:
    """Quarter hours of the nodes: `start` UTC ms, shape (n,), and `power` W by node, shape (n,), NaN where missing."""

    start: TimeArray
    power: Mapping[str, ValueArray]

    def at(self, objects: list[str], interval: int) -> ValueArray:
        """Return the power of some nodes in one quarter hour."""
        column = (interval - int(self.start[0])) // QUARTER_MS
        unknown = np.full(len(self.start), np.nan)
        return np.array([self.power.get(name, unknown)[column] for name in objects])


class Kind(Protocol):
    """Forecasts of one quantity."""

    point_type: str
    unit: str
    delay: int
    """How long after the end of a quarter hour its forecasts are due, ms."""
    revised: bool
    """Whether measured values are looked at again."""

    def measured(self, first: int, last: int) -> Measured | None:
        """Return what the quarter hours from `first` to `last` (their starts) are scored with, None without need; blocks."""

    def due(self, interval: int, measured: Measured | None) -> tuple[Due, ValueArray] | None:
        """Return the forecasts that belong to a quarter hour and what came, or None where there were none; blocks."""


def measured_power(plant: PlantView, first: int, last: int) -> Measured:
    """Return the quarter hours from `first` to `last`: the site's by its billing figure, nodes' by their meters."""
    end = last + QUARTER_MS
    start = np.arange(first, end, QUARTER_MS, dtype=np.int64)
    found = node_histories(plant, first, end)
    site = plant.site.id
    if site in found:
        found[site] = plant.demand_history(site, first, end).values[0]
    return Measured(start, {name: power[-len(start) :] for name, power in found.items()})


class PowerDue:
    """Issued power forecasts of the site and its nodes."""

    point_type, unit, delay, revised = "ActivePower", "W", 0, True

    def __init__(self, plant: PlantView, records: Records) -> None:
        self._plant = plant
        self._records = records
        self._issued: set[int] = set()

    def measured(self, first: int, last: int) -> Measured | None:
        """Return the quarter hours, and the days before them from which the simple rules speak."""
        issued = self._records.issue_times(self.point_type, first - LEADS[-1] * 60_000, last + QUARTER_MS)
        self._issued = {quarter_start(t) for t in issued}
        return measured_power(self._plant, first - HISTORY_MS, last) if issued else None

    def due(self, interval: int, measured: Measured | None) -> tuple[Due, ValueArray] | None:
        """Return what was issued for this quarter hour, at each lead time."""
        parts = []
        for lead in LEADS:
            cutoff = interval + QUARTER_MS - lead * 60_000
            if measured is None or cutoff not in self._issued:
                continue
            issued = self._records.issued(self.point_type, cutoff, cutoff + QUARTER_MS, self._asked(lead))
            step = lead // 15 - 1
            told = [f for f in issued.values() if len(f.start) > step and int(f.start[step]) == interval]
            if told:
                parts.append(self._cells(told, step, lead, cutoff, measured))
        if measured is None or not parts:
            return None
        due = Due.concat(parts)
        return due, measured.at(due.objects.tolist(), interval)

    def _asked(self, lead: int) -> list[str] | None:
        # nodes are foretold for some hours: longer leads are the site's
        return [self._plant.site.id] if lead > LEADS[2] else None

    def _cells(self, told: list[Forecast], step: int, lead: int, cutoff: int, measured: Measured) -> Due:
        columns = (cutoff - int(measured.start[0])) // QUARTER_MS
        unknown = np.full(len(measured.start), np.nan)
        history = held(np.stack([measured.power.get(f.object_id, unknown) for f in told])[:, :columns])
        limit = np.array([f.limit[step] for f in told])
        with np.errstate(invalid="ignore"):
            before = np.where(np.isnan(limit + history[:, -1]), np.nan, history[:, -1] > limit)
        return Due(
            np.array([f.object_id for f in told]),
            np.full(len(told), lead, np.int32),
            LEVELS,
            np.stack([f.values[step] for f in told]),
            last_value(history, step + 1, LEVELS),
            last_day(history, step + 1, LEVELS),
            limit,
            np.array([f.breach_probability[step] for f in told]),
            before,
        )


class Snapshots:
    """What was told of one quantity and kept nowhere else, by the quarter hour in which it was told."""

    def __init__(self, records: Records, point_type: str) -> None:
        self._records, self._point_type = records, point_type
        self._told: set[int] = set()

    def look(self, first: int, last: int) -> bool:
        """Find out in which quarter hours from `first` to `last` something was told; return whether in any; blocks."""
        told = self._records.snapshot_times(self._point_type, first, last + QUARTER_MS)
        self._told = {quarter_start(t) for t in told}
        return bool(told)

    def of(self, interval: int) -> list[Arrays]:
        """Return what was told within a quarter hour that was looked for, in order; blocks."""
        if interval not in self._told:
            return []
        kept = self._records.snapshots(self._point_type, interval, interval + QUARTER_MS)
        return [arrays for _, arrays in kept]


class QuarterDue:
    """What was said of the end of running quarter hours, some minutes before."""

    point_type, unit, delay, revised = "QuarterHourPower", "W", 0, True

    def __init__(self, plant: PlantView, records: Records) -> None:
        self._plant = plant
        self._told = Snapshots(records, self.point_type)

    def measured(self, first: int, last: int) -> Measured | None:
        """Return the quarter hours as they ended."""
        return measured_power(self._plant, first, last) if self._told.look(first, last) else None

    def due(self, interval: int, measured: Measured | None) -> tuple[Due, ValueArray] | None:
        """Return what was said within this quarter hour."""
        kept = [unpacked(arrays) for arrays in self._told.of(interval)]
        if measured is None or not kept:
            return None
        # after a restart one minute may have been kept twice: the later counts
        by_lead = {int(due.lead[0]): due for due in kept}
        due = Due.concat(list(by_lead.values()))
        return due, measured.at(due.objects.tolist(), interval)


def quarter_snapshot(told: QuartersTold, left: int) -> Arrays:
    """Return what was said of the running quarter hours `left` minutes before their end.

    Persistence is the last reading as the end value, naive what was used so far and then the last reading.
    """
    expected, deviation, elapsed, used, breach = (
        np.array([getattr(o, name) for o in told.outlooks])
        for name in ("expected", "deviation", "elapsed", "used", "breach_probability")
    )
    likely = used * elapsed + told.present * (1 - elapsed)

    def point(value: ValueArray) -> ValueArray:
        return np.repeat(value[:, None], len(LEVELS), axis=1)

    with np.errstate(invalid="ignore"):
        before = np.where(np.isnan(told.present), np.nan, told.present > told.limits)
    due = Due(
        np.array(told.nodes),
        np.full(len(told.nodes), left, np.int32),
        LEVELS,
        expected[:, None] + deviation[:, None] * HEAVY_TAILED,
        point(told.present),
        point(likely),
        told.limits,
        breach,
        before,
    )
    return packed(due)


class TemperatureDue:
    """Temperatures foretold within the hour, of racks or CDUs: the highest of five minutes."""

    revised = False
    delay = HOUR_MS + OUTLOOK_STEP_MS

    def __init__(self, point_type: str, unit: str, watch: TemperatureWatch, records: Records) -> None:
        self.point_type, self.unit = point_type, unit
        self._watch = watch
        self._told = Snapshots(records, point_type)

    def measured(self, first: int, last: int) -> None:
        """Return nothing: what came is read with each snapshot."""
        self._told.look(first, last)

    def due(self, interval: int, measured: Measured | None) -> tuple[Due, ValueArray] | None:
        """Return what was foretold in this quarter hour."""
        kept = self._told.of(interval)
        if not kept:
            return None
        arrays = kept[-1]
        due = unpacked(arrays)
        table = self._watch.measured(int(arrays["first_step"][0]) + HOUR_MS - 1)[self.point_type]
        steps = table[:, -(HOUR_MS // OUTLOOK_STEP_MS) :]
        actual = np.concatenate(
            [steps[:, lead * 60_000 // OUTLOOK_STEP_MS - 1] for lead in TEMPERATURE_LEADS]
        )
        return (due, actual) if len(actual) == len(due.lead) else None


def temperature_snapshots(watch: TemperatureWatch, plant: PlantView) -> dict[str, Arrays]:
    """Return what the newest look said of racks' and CDUs' temperatures, with what "as now" would; by what is foretold."""
    if watch.told is None:
        return {}
    first_step, told = watch.told
    thermal = plant.site.thermal
    limits = {
        "ExpectedSupplyTemperature": thermal.coolant_supply,
        "ExpectedReturnTemperature": thermal.coolant_return,
        "ExpectedGpuTemperature": thermal.gpu,
    }
    found = {}
    for point_type, (past, outlook) in told.items():
        objects = plant.site.cdus if point_type == "ExpectedApproach" else plant.site.racks
        limit = np.full(len(objects), limits.get(point_type, math.nan))
        levels, history = np.array(outlook.quantiles), held(past)
        with np.errstate(invalid="ignore"):
            before = np.where(np.isnan(limit + history[:, -1]), np.nan, history[:, -1] > limit)
        parts = []
        for lead in TEMPERATURE_LEADS:
            step = lead * 60_000 // OUTLOOK_STEP_MS
            parts.append(
                Due(
                    np.array(objects),
                    np.full(len(objects), lead, np.int32),
                    levels,
                    outlook.values[:, step - 1],
                    last_value(history, step, levels),
                    np.full((len(objects), len(levels)), np.nan),
                    limit,
                    outlook.breach_probability[:, step - 1],
                    before,
                )
            )
        found[point_type] = packed(Due.concat(parts)) | {"first_step": np.array([first_step], np.int64)}
    return found


def packed(due: Due) -> Arrays:
    """Return cells as arrays to be kept, figures in single precision."""
    arrays = {name: getattr(due, name) for name in Due.__dataclass_fields__}
    return {n: a.astype("<f4") if a.dtype == np.float64 and n != "levels" else a for n, a in arrays.items()}


def unpacked(arrays: Arrays) -> Due:
    """Return cells as they were kept."""
    of = {name: arrays[name] for name in Due.__dataclass_fields__}
    wide: dict[str, Any] = {n: a.astype(np.float64) if a.dtype == np.float32 else a for n, a in of.items()}
    return Due(**wide)


def minute_of_quarter(now: int) -> int:
    """Return how many minutes of the running quarter hour are over."""
    return (now - quarter_start(now)) // 60_000


def _heavy_tailed_quantile(level: float) -> float:
    """Return a quantile of the distribution that `quarter_outlook` takes, in deviations (bisection)."""
    low, high = -1e3, 1e3
    for _ in range(80):
        middle = (low + high) / 2
        below = 0.5 + (middle / (1 + middle**2) + math.atan(middle)) / math.pi
        low, high = (middle, high) if below < level else (low, middle)
    return (low + high) / 2


HEAVY_TAILED = np.array([_heavy_tailed_quantile(q) for q in QUANTILES])
