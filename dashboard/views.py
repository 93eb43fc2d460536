"""What the console's pages are given: plain figures of one moment. Missing is NaN, never zero."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from domain.alert import Alert, Severity
from domain.breaches import AHEAD_S, BreachAhead
from domain.forecast import Forecast
from domain.points import Point, Quality, QualityArray, TimeArray, ValueArray
from storage.plant import Reading
from storage.telemetry import StoreHealth

MINUTE_MS = 60_000
QUARTER_MS = 15 * MINUTE_MS
STALE_MS = 180_000
"""A measured value that is older than this is marked as old; a DSX publisher repeats an unchanged value every 100 s."""

SILENT_MS = 22_000
"""A BMS whose heartbeat, sent every 10 s, was not heard for longer than this is silent; the alert rule says so too."""

SILENT, LOST = 254, 253
"""Qualities that only the console gives: the source is silent, the device is gone. What it told last is no longer so."""

AHEAD_H = round(AHEAD_S / 3600)
"""Hours for which the header tells whether the limit will be passed: those within which a breach is alerted."""

MISSING = Reading(math.nan, 0, Quality.BAD, 1)
"""A figure that nothing measures."""

SPANS: Mapping[str, tuple[int, int]] = {
    "1h": (3_600_000, 10_000),
    "6h": (6 * 3_600_000, MINUTE_MS),
    "24h": (24 * 3_600_000, 5 * MINUTE_MS),
    "7d": (7 * 86_400_000, QUARTER_MS),
}
"""Spans of the history charts: length and step, ms; at most 700 points a trace."""

Stats = Mapping[str, Mapping[str, Any]]
Rows = Sequence[Mapping[str, Any]]


@dataclass(frozen=True, slots=True, eq=False)
class Now:
    """Latest readings of many points, in the order of the points asked for: NaN and time 0 where there is none."""

    value: ValueArray
    observed: TimeArray
    quality: QualityArray

    def row(self, number: int) -> Now:
        """Return one row of a table of readings."""
        return Now(self.value[number], self.observed[number], self.quality[number])


@dataclass(frozen=True, slots=True, eq=False)
class Series:
    """A line over time: UTC ms, shape (n,), and values, shape (n,), NaN where the line breaks."""

    time: TimeArray
    value: ValueArray


@dataclass(frozen=True, slots=True)
class Usual:
    """Between what the site's quarter hours lay nine times in ten, at this time of the last days: W."""

    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Header:
    """What every page shows: the site's power against its limit, how old that is, and what needs attention."""

    now: int
    power: Reading
    held: int
    limit: float
    quarter_limit: float
    limit_reason: str
    quarter_end: Reading
    quarter_risk: Reading
    breach_ahead: BreachAhead | None
    alerts: Mapping[Severity, int]
    store: StoreHealth
    usual: Usual | None
    batteries: float
    """What batteries carry besides `power`, W."""


@dataclass(frozen=True, slots=True, eq=False)
class Floor:
    """One entry a rack, in the order of `Site.racks`; `severity` holds the racks that have an active alert.

    `risk` is the probability that a rack's forecast power passes its limit.
    """

    now: int
    power: Now
    return_temperature: Now
    gpu_temperature: Now
    anomaly: Now
    severity: Mapping[str, Severity]
    supply_temperature: Now
    flow: Now
    risk: Now


@dataclass(frozen=True, slots=True)
class CduState:
    """A coolant distribution unit: its secondary loop, and how its redundancy group is."""

    id: str
    pod: str
    supply: Reading
    back: Reading
    flow: Reading
    pressure: Reading
    pump: Reading
    status: str
    running: bool | None
    redundancy: str
    severity: Severity | None


@dataclass(frozen=True, slots=True)
class SupplyState:
    """A feed or a UPS: power against limit, what the UPS says of itself, and what is forecast of its power."""

    id: str
    kind: str
    power: Reading
    limit: float
    charge: Reading
    runtime: Reading
    status: str
    severity: Severity | None
    risk: Reading
    ahead: Forecast | None = None


@dataclass(frozen=True, slots=True)
class Work:
    """What the factory makes: tokens a second and tokens a joule, and how many GPUs answer."""

    rate: Reading
    efficiency: Reading
    gpus_seen: int
    gpus_installed: int


@dataclass(frozen=True, slots=True)
class PathStep:
    """One station of a rack's supply, with the gravest of its active alerts."""

    id: str
    type: str
    power: Reading
    severity: Severity | None = None


@dataclass(frozen=True, slots=True)
class PointNow:
    """One point's latest reading, ready to be listed; `instead` is the key of the point that tells its quantity, if another does."""

    point: Point
    value: float
    observed: int
    quality: int
    instead: str = ""


@dataclass(frozen=True, slots=True, eq=False)
class RackState:
    """One rack: its figures, its GPUs (row a tray, column a GPU), its supply, its points, its alerts."""

    id: str
    pod: str
    now: int
    limit: float
    power: Reading
    taps: tuple[PathStep, ...]
    supply: Reading
    back: Reading
    flow: Reading
    pressure: Reading
    valve: Reading
    leak: str
    leaking: bool | None
    anomaly: Reading
    gpu_temperature: Now
    gpu_power: Now
    gpu_power_limit: float
    paths: tuple[tuple[PathStep, ...], ...]
    cdus: tuple[str, ...]
    points: tuple[PointNow, ...]
    alerts: tuple[Alert, ...]
    module_power: Reading
    gpu_findings: tuple[PointNow, ...]
    gpu_ids: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class SourceAge:
    """A source of points: how many it has, and when the newest of its readings was observed (0 for never)."""

    source: str
    points: int
    newest: int


@dataclass(frozen=True, slots=True)
class Health:
    """How Hallwatch itself is."""

    now: int
    sources: Stats
    ages: list[SourceAge]
    counters: Mapping[str, Any]
    store: StoreHealth
    points: int
    forecast: Forecast | None
    upkeep: Rows = ()
    instruments: Rows = ()
    clocks: Mapping[str, Any] = field(default_factory=dict)
    worth: Rows = ()
