"""How the alarms of a time performed, by the measures of ISA-18.2 (clause 16) and EEMUA 191, counted in the records.

An alarm is annunciated when it opens, unless something kept it quiet then, another one explained it (it is shown under that
one), or it is for information only. Floods and averages go by periods of ten minutes, as both documents do.
"""

from __future__ import annotations

import math
from array import array
from collections import Counter, deque
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from sqlalchemy import Connection, Select, func, select

from domain.alert import Severity
from storage import record_tables as t
from storage.alert_rows import ACTIVE, LISTED
from storage.database import Database

PERIOD_MS = 600_000
FLOOD = 10
"""A period of ten minutes with more than so many alarms is in a flood."""
EXPLAINED_MS = 15_000
"""An alarm that another one explains is found to be so by then."""
MOST_LISTED = 10
ROWS = 5000
"""Read at a time."""
TARGETS: Mapping[str, float] = {
    "critical": 0.05,
    "high": 0.15,
    "warning": 0.80,
}
"""Shares of the priorities to aim at."""
MONTH_MS = 30 * 24 * 3_600_000
_HOUR_MS = 3_600_000


@dataclass(frozen=True, slots=True)
class Frequent:
    """An alarm (rule and object) and how often it opened."""

    rule: str
    object_id: str
    times: int


@dataclass(frozen=True, slots=True)
class Standing:
    """An alarm that stands for long; `opened` is UTC ms."""

    rule: str
    object_id: str
    severity: Severity
    opened: int


@dataclass(frozen=True, slots=True)
class AlarmPerformance:
    """What operators were given in [since, until), UTC ms.

    Attributes
    ----------
    annunciated, recorded
        Alarms that asked for somebody, and all that opened.
    per_hour, per_period
        Annunciated alarms of one of `operators`, on average by hour and by ten minutes.
    peak
        Of one operator, in the worst ten minutes.
    floods, flood_share
        Floods, and the share of the time in them.
    priorities
        Share of each severity.
    top, top_share
        The alarms that opened most often, and their share of all.
    chattering, chattering_top
        Alarms that opened as often as flapping ones do; the worst of them.
    stale, stale_top
        Alarms that stand for longer than `stale_after` ms at the end; the oldest of them.
    acknowledged, taken_median, taken_p90
        Share that somebody took, and how long that took, s; NaN where nobody took any.
    """

    since: int
    until: int
    operators: int
    annunciated: int
    recorded: int
    per_hour: float
    per_period: float
    peak: float
    floods: int
    flood_share: float
    priorities: Mapping[str, float]
    top: tuple[Frequent, ...]
    top_share: float
    chattering: int
    chattering_top: tuple[Frequent, ...]
    stale: int
    stale_top: tuple[Standing, ...]
    stale_after: int
    acknowledged: float
    taken_median: float
    taken_p90: float


def performance(
    records: Database,
    since: int,
    until: int,
    operators: int = 1,
    stale_after: int = 24 * _HOUR_MS,
    times: int = 3,
    within: int = 1_800_000,
) -> AlarmPerformance:
    """Return how the alarms performed in [since, until), UTC ms. Blocks: on the event loop use ``asyncio.to_thread``.

    Parameters
    ----------
    operators
        People at the console at a time.
    stale_after, times, within
        What is stale, ms; so many openings within so many ms are chattering.
    """
    seen = _Seen(times, within)
    a = t.alerts.c
    with records.reading() as db:
        for row in db.execution_options(yield_per=ROWS).execute(_annunciated(since, until)):
            seen.add(*row)
        recorded = db.scalar(select(func.count()).where(a.opened >= since, a.opened < until))
        stale = _stale(db, until, stale_after)
    total = sum(seen.severities.values())
    hours = max(until - since, 1) / _HOUR_MS
    flooded = sorted(slot for slot, n in seen.slots.items() if n > FLOOD * operators)
    top = seen.opened.most_common(MOST_LISTED)
    chattering = sorted(seen.chattering, key=lambda alarm: (-seen.opened[alarm], alarm))
    share = total or 1
    return AlarmPerformance(
        since,
        until,
        operators,
        total,
        int(recorded or 0),
        total / hours / operators,
        total / hours / 6 / operators,
        max(seen.slots.values(), default=0) / operators,
        sum(1 for n, slot in enumerate(flooded) if n == 0 or slot > flooded[n - 1] + 1),
        min(len(flooded) * PERIOD_MS / max(until - since, PERIOD_MS), 1.0),
        {name: seen.severities[name] / share for name in TARGETS},
        tuple(Frequent(*alarm, n) for alarm, n in top),
        sum(n for _, n in top) / share,
        len(chattering),
        tuple(Frequent(*alarm, seen.opened[alarm]) for alarm in chattering[:MOST_LISTED]),
        len(stale),
        tuple(stale[:MOST_LISTED]),
        stale_after,
        len(seen.taken) / share,
        _percentile(seen.taken, 50),
        _percentile(seen.taken, 90),
    )


class _Seen:
    """What one pass over the annunciated alarms, oldest first, leaves: counts, whatever their number."""

    def __init__(self, times: int, within: int) -> None:
        self._times = times
        self._within = within
        self._lately: dict[tuple[str, str], deque[int]] = {}
        self.severities: Counter[str] = Counter()
        self.slots: Counter[int] = Counter()
        self.opened: Counter[tuple[str, str]] = Counter()
        self.chattering: set[tuple[str, str]] = set()
        self.taken = array("q")

    def add(self, rule: str, object_id: str, severity: str, opened: int, acknowledged_at: int) -> None:
        alarm = rule, object_id
        self.severities[severity] += 1
        self.slots[opened // PERIOD_MS] += 1
        self.opened[alarm] += 1
        if acknowledged_at:
            self.taken.append(acknowledged_at - opened)
        lately = self._lately.get(alarm)
        if lately is None:
            lately = self._lately[alarm] = deque(maxlen=self._times)
        lately.append(opened)
        if len(lately) == self._times and lately[-1] - lately[0] <= self._within:
            self.chattering.add(alarm)


def _percentile(taken: array[int], percent: float) -> float:
    """Return a percentile of times in ms, in s."""
    return float(np.percentile(taken, percent)) / 1000 if taken else math.nan


def _annunciated(since: int, until: int) -> Select[Any]:
    a, q, m = t.alerts.c, t.suppressed.c, t.incident_members.c
    quiet = select(q.alert_id).where(q.alert_id == a.id, q.since <= a.opened + EXPLAINED_MS).exists()
    explained = select(m.alert_id).where(m.alert_id == a.id, m.joined <= a.opened + EXPLAINED_MS).exists()
    return (
        select(a.rule, a.object_id, a.severity, a.opened, a.acknowledged_at)
        .where(a.opened >= since, a.opened < until, a.severity != Severity.INFO.value, ~quiet, ~explained)
        .order_by(a.opened)
    )


def _stale(db: Connection, until: int, stale_after: int) -> list[Standing]:
    """Return the alarms that stood at the end for so long, the oldest first."""
    a = t.alerts.c
    asked = a.severity != Severity.INFO.value
    query = select(a.rule, a.object_id, a.severity, a.opened)
    still = query.where(LISTED, a.state.in_(ACTIVE), asked, a.opened < until - stale_after)
    # of a time that is past: what has cleared since, of what had not stood for a month
    lately = a.opened >= until - stale_after - MONTH_MS, a.opened < until - stale_after
    since = query.where(*lately, asked, a.cleared_at >= until)
    rows = [*db.execute(still), *db.execute(since)]
    found = {(r.rule, r.object_id, r.opened): r for r in rows}
    ordered = sorted(found.values(), key=lambda r: int(r.opened))
    return [Standing(r.rule, r.object_id, Severity(r.severity), r.opened) for r in ordered]
