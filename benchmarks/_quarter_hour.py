"""Within the quarter hour: where it ends, and the largest ramps to expect, scored on the simulated factory every two seconds."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np

from analytics.outlook.excursions import quarter_outlook
from analytics.outlook.power import PlannedSteps
from analytics.outlook.ramps import HOUR_MS, RampBook, largest_changes, planned_shares
from analytics.planned.booked_load import Habits, learn_habits, planned_steps
from analytics.planned.bookings import Bookings
from analytics.planned.scheduled import Split
from benchmarks._factory_seconds import STEP_MS, days, nodes
from benchmarks._factory_weeks import DAY, DAY_MS, Values, Weeks
from domain.envelope import QUARTER_MS
from domain.forecast import RAMP_WINDOWS_S
from domain.points import TimeArray
from domain.site import Site
from simulator.factory import Factory
from simulator.traces import Traces

Result = dict[str, Any]

MINUTES = (3, 7, 10, 12)
SAMPLE_MS = 10_000
"""The live outlook looks at the power this often; what it sees is the reading of that moment."""
LEARN_DAYS = 7
"""Of ramps, before they are scored."""
EVERY = 5
"""Quarter hours from one scored forecast of ramps to the next: neighbours foretell nearly the same hour."""
NODE_EVERY = 4
"""Of the quarter hours of nodes below the site so many are left out."""


def seen(
    site: Site, seed: int, start: int, count: int, traces: Traces | None
) -> tuple[Factory, Values, Values]:
    """Return a factory, the power of site and nodes above the racks every `SAMPLE_MS`, and all nodes' ramps.

    Shapes (nodes above the racks, n) and (quarter hours, nodes, windows, 2).
    """
    factory = Factory(site, seed, start, traces=traces)
    layout = factory.layout
    above = 1 + len(layout.feeds) + len(layout.ups) + len(layout.busways)
    steps = QUARTER_MS // STEP_MS
    before: Values | None = None
    samples, ramps = [], []
    for day in days(factory, start, count):
        whole = day if before is None else np.concatenate([before, day], axis=1)
        offset = whole.shape[1] - day.shape[1]
        ramps += [
            largest_changes(whole[:, max(0, end - 2 * steps) : end].astype(float), steps)
            for end in range(offset + steps, whole.shape[1] + 1, steps)
        ]
        before = day[:, -steps:]
        samples.append(day[:above, :: SAMPLE_MS // STEP_MS])
    return factory, np.concatenate(samples, axis=1).astype(float), np.array(ramps)


def figures(
    site: Site,
    seeds: Sequence[int],
    start: int,
    count: int,
    training_days: int,
    quantile: float,
    traces: Traces | None,
) -> Result:
    """Score both; limits are the `quantile` of each node's quarter hours."""
    ends: dict[tuple[str, int], list[tuple[float, ...]]] = {}
    told: dict[str, list[Values]] = {}
    for seed in seeds:
        factory, power, ramps = seen(site, seed, start, count, traces)
        weeks = Weeks.of(site, seed, start - training_days * DAY_MS, training_days + count, traces)
        past = weeks.past(training_days * DAY)
        habits = learn_habits(past.bookings, past.time, past.power)
        follows = Split.learn(weeks.site[: training_days * DAY], past, past.aside).follows

        change = partial(_change, weeks.bookings, habits, follows)
        time = start + SAMPLE_MS * np.arange(power.shape[1], dtype=np.int64)
        kinds = ["site", *["feed"] * len(factory.layout.feeds), *["UPS"] * len(factory.layout.ups)]
        kinds += ["busway"] * len(factory.layout.busways)
        for kind, row in zip(kinds, power, strict=True):
            if kind == "site":
                for minute in MINUTES:
                    ends.setdefault((kind, minute), []).extend(_ends(time, row, minute, quantile, 1, change))
            elif kind != "feed":
                ends.setdefault((kind, 7), []).extend(_ends(time, row, 7, quantile, NODE_EVERY, None))
        for kind, inside in _ramps(factory, weeks.bookings, ramps, start).items():
            told.setdefault(kind, []).append(inside)
    found: Result = {}
    for (kind, minute), rows in ends.items():
        found |= _end_figures("" if kind == "site" else kind.lower() + "_", minute, np.array(rows))
    for kind, parts in told.items():
        inside = np.concatenate(parts)
        for i, window in enumerate(RAMP_WINDOWS_S):
            for j, way in enumerate(("up", "down")):
                found[f"ramp_coverage_90_{kind.lower()}_{window}s_{way}"] = _figure(
                    inside[..., i, j].mean(), "1"
                )
        found[f"ramp_coverage_90_{kind.lower()}"] = _figure(inside.mean(), "1")
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


def _ramps(factory: Factory, bookings: Bookings, ramps: Values, start: int) -> dict[str, Values]:
    """Return whether the 90 % interval held what came, shape (forecasts, windows, 2), by kind of node."""
    names, weight = nodes(factory)
    below = np.concatenate([np.ones((1, weight.shape[1]), bool), weight > 0])
    ends = start + QUARTER_MS * np.arange(1, len(ramps) + 1, dtype=np.int64)
    planned = np.array(
        [planned_shares(bookings.as_known(int(t)), below, int(t), int(t) + HOUR_MS) for t in ends]
    )
    layout = factory.layout
    kinds = ["site", *["feed"] * len(layout.feeds), *["UPS"] * len(layout.ups)]
    kinds += ["busway"] * len(layout.busways) + ["rack"] * (1 + len(names) - len(kinds) - len(layout.busways))
    whole = RampBook(
        ("site", *names), ends - QUARTER_MS, ramps.astype(np.float32), planned.astype(np.float32)
    )
    held: dict[str, list[Values]] = {}
    for n in range(LEARN_DAYS * DAY, len(ramps) - 3, EVERY):
        book = RampBook(whole.nodes, whole.time[:n], whole.changes[:n], whole.planned[:n])
        most = ramps[n : n + 4].max(axis=0)
        for i, (name, told) in enumerate(book.expected().items()):
            low, high = (np.stack([told.up[:, k], told.down[:, k]], axis=1) for k in (0, -1))
            held.setdefault(kinds[i], []).append((low <= most[i]) & (most[i] <= high))
            assert name == whole.nodes[i]
    return {kind: np.array(rows, float) for kind, rows in held.items()}


def _figure(value: float, unit: str, reference: float | None = None) -> Result:
    ratio = round(float(value) / float(reference), 4) if reference else None
    shown = None if reference is None else float(f"{reference:.4g}")
    return {"value": float(f"{value:.4g}"), "unit": unit, "reference": shown, "ratio": ratio}
