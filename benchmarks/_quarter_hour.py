"""Within the quarter hour: where it ends, scored on the simulated factory every ten seconds."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np

from analytics.outlook.excursions import quarter_outlook
from analytics.outlook.power import PlannedSteps
from analytics.planned.booked_load import Habits, learn_habits, planned_steps
from analytics.planned.bookings import Bookings
from analytics.planned.scheduled import Split
from benchmarks._factory_seconds import STEP_MS, days
from benchmarks._factory_weeks import DAY, DAY_MS, Values, Weeks
from domain.envelope import QUARTER_MS
from domain.points import TimeArray
from domain.site import Site
from simulator.factory import Factory
from simulator.traces import Traces

Result = dict[str, Any]

MINUTES = (3, 7, 10, 12)
SAMPLE_MS = 10_000
"""The live outlook looks at the power this often; what it sees is the reading of that moment."""
NODE_EVERY = 4
"""Of the quarter hours of nodes below the site so many are left out."""


def figures(
    site: Site,
    seeds: Sequence[int],
    start: int,
    count: int,
    training_days: int,
    quantile: float,
    traces: Traces | None,
) -> Result:
    """Score it; limits are the `quantile` of each node's quarter hours."""
    ends: dict[tuple[str, int], list[tuple[float, ...]]] = {}
    for seed in seeds:
        factory = Factory(site, seed, start, traces=traces)
        layout = factory.layout
        above = 1 + len(layout.feeds) + len(layout.ups) + len(layout.busways)
        power = np.concatenate(
            [day[:above, :: SAMPLE_MS // STEP_MS] for day in days(factory, start, count)], axis=1
        ).astype(float)
        weeks = Weeks.of(site, seed, start - training_days * DAY_MS, training_days + count, traces)
        past = weeks.past(training_days * DAY)
        habits = learn_habits(past.bookings, past.time, past.power)
        follows = Split.learn(weeks.site[: training_days * DAY], past, past.aside).follows

        change = partial(_change, weeks.bookings, habits, follows)
        time = start + SAMPLE_MS * np.arange(power.shape[1], dtype=np.int64)
        kinds = ["site", *["feed"] * len(layout.feeds), *["UPS"] * len(layout.ups)]
        kinds += ["busway"] * len(layout.busways)
        for kind, row in zip(kinds, power, strict=True):
            if kind == "site":
                for minute in MINUTES:
                    ends.setdefault((kind, minute), []).extend(_ends(time, row, minute, quantile, 1, change))
            elif kind != "feed":
                ends.setdefault((kind, 7), []).extend(_ends(time, row, 7, quantile, NODE_EVERY, None))
    found: Result = {}
    for (kind, minute), rows in ends.items():
        found |= _end_figures("" if kind == "site" else kind.lower() + "_", minute, np.array(rows))
    return found


def _change(bookings: Bookings, habits: Habits, follows: float, now: int, begin: int) -> float:
    """Return what is planned for the rest of a quarter hour, as announced when its forecast was issued, at its beginning."""
    times, jumps = planned_steps(bookings.as_known(begin), habits, begin, begin + QUARTER_MS)
    return PlannedSteps(times, (1 + follows) * jumps).mean_change(now, begin + QUARTER_MS)


def _ends(
    time: TimeArray,
    power: Values,
    minute: int,
    quantile: float,
    every: int,
    change: Callable[[int, int], float] | None,
) -> list[tuple[float, ...]]:
    quarters = power.reshape(-1, QUARTER_MS // SAMPLE_MS).mean(1)
    limit, hour = float(np.quantile(quarters, quantile)), 3_600_000 // SAMPLE_MS
    rows: list[tuple[float, ...]] = []
    for q in range(5, len(quarters), every):
        here = (q * QUARTER_MS + minute * 60_000) // SAMPLE_MS
        before, now = slice(here - hour, here), int(time[here])
        plain = quarter_outlook(time[before], power[before], now, limit)
        begin = int(time[0]) + q * QUARTER_MS
        told = plain
        if change is not None and (planned := change(now, begin)):
            told = quarter_outlook(time[before], power[before], now, limit, planned)
        over, last = float(quarters[q] > limit), power[here - 1]
        rows.append(
            (
                abs(told.expected - quarters[q]),
                abs(plain.expected - quarters[q]),
                abs(last - quarters[q]),
                float(abs(told.expected - quarters[q]) <= 1.645 * told.deviation),
                (told.breach_probability - over) ** 2,
                (plain.breach_probability - over) ** 2,
                (float(last > limit) - over) ** 2,
            )
        )
    return rows


def _end_figures(prefix: str, minute: int, rows: Values) -> Result:
    ours, plain, last, held, brier, plain_brier, last_brier = rows.mean(0)
    name = f"{prefix}quarter_{{}}_minute_{minute}"
    return {
        name.format("mae"): _figure(ours, "W", last),
        name.format("mae") + "_without_schedule": _figure(plain, "W", last),
        name.format("within_1.64_deviations"): _figure(held, "1"),
        name.format("brier"): _figure(brier, "1", last_brier),
        name.format("brier") + "_without_schedule": _figure(plain_brier, "1", last_brier),
    }


def _figure(value: float, unit: str, reference: float | None = None) -> Result:
    ratio = round(float(value) / float(reference), 4) if reference else None
    shown = None if reference is None else float(f"{reference:.4g}")
    return {"value": float(f"{value:.4g}"), "unit": unit, "reference": shown, "ratio": ratio}
