"""The largest ramps to expect, scored on the simulated factory every two seconds."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from analytics.outlook.ramps import HOUR, HOUR_MS, STEP_MS, RampBook, largest_changes, planned_shares
from analytics.planned.bookings import Bookings
from benchmarks._factory_seconds import days, nodes
from benchmarks._factory_weeks import DAY, DAY_MS, Values
from domain.envelope import QUARTER_MS
from domain.forecast import RAMP_WINDOWS_S
from domain.site import Site
from simulator.factory import Factory
from simulator.history import announced
from simulator.traces import Traces

Result = dict[str, Any]

LEARN_DAYS = 7
"""Before ramps are scored."""
EVERY = 5
"""Quarter hours from one scored forecast to the next: neighbours foretell nearly the same hour."""


def figures(site: Site, seeds: Sequence[int], start: int, count: int, traces: Traces | None) -> Result:
    """Score the 90 % interval and the median by kind of node, as the service foretells them quarter hour by quarter hour.

    The first `LEARN_DAYS` of so many days are only learned from. The median's error stands beside that of "as in the last hour".
    """
    told: dict[str, list[tuple[Values, Values, Values]]] = {}
    for seed in seeds:
        factory = Factory(site, seed, start, traces=traces)
        for kind, rows in _scored(factory, start, count, _largest(factory, start, count)).items():
            told.setdefault(kind, []).extend(rows)
    found: Result = {}
    for kind, rows in told.items():
        inside, error, plain = (np.stack(part) for part in zip(*rows, strict=True))
        name = f"ramp_{{}}_{kind.lower()}"
        for i, window in enumerate(RAMP_WINDOWS_S):
            for j, way in enumerate(("up", "down")):
                coverage = _figure(float(inside[:, :, i, j].mean()), "1")
                found[f"{name.format('coverage_90')}_{window}s_{way}"] = coverage
            found[f"{name.format('mae')}_{window}s"] = _figure(
                float(error[:, :, i].mean()), "W", float(plain[:, :, i].mean())
            )
        found[name.format("coverage_90")] = _figure(float(inside.mean()), "1")
    return found


def _largest(factory: Factory, start: int, count: int) -> Values:
    """Return all nodes' largest changes within each quarter hour, W, shape (quarter hours, nodes, windows, 2)."""
    steps = QUARTER_MS // STEP_MS
    before: Values | None = None
    found = []
    for day in days(factory, start, count):
        whole = day if before is None else np.concatenate([before, day], axis=1)
        offset = whole.shape[1] - day.shape[1]
        found += [
            largest_changes(whole[:, max(0, end - 2 * steps) : end].astype(float), steps)
            for end in range(offset + steps, whole.shape[1] + 1, steps)
        ]
        before = day[:, -steps:]
    return np.array(found)


def _scored(
    factory: Factory, start: int, count: int, changes: Values
) -> dict[str, list[tuple[Values, Values, Values]]]:
    """Return by kind of node whether the 90 % interval held what came, and errors of the median and of the last hour, W."""
    names, weight = nodes(factory)
    below = np.concatenate([np.ones((1, weight.shape[1]), bool), weight > 0])
    layout = factory.layout
    kinds = ["Site", *["Feed"] * len(layout.feeds), *["UPS"] * len(layout.ups)]
    kinds += ["Busway"] * len(layout.busways)
    kinds += ["Rack"] * (1 + len(names) - len(kinds))
    works = announced(factory.workload, factory.site.racks, start + count * DAY_MS, "jobs", count)
    bookings = Bookings.of(works, factory.site.racks)
    of_kind = {kind: np.array([k == kind for k in kinds]) for kind in dict.fromkeys(kinds)}
    found: dict[str, list[tuple[Values, Values, Values]]] = {kind: [] for kind in of_kind}
    book = RampBook.empty(("site", *names), kinds)
    for n, seen in enumerate(changes[: 1 - HOUR]):
        end = start + (n + 1) * QUARTER_MS
        planned = planned_shares(bookings.as_known(end), below, end, end + HOUR_MS)
        book = book.take(end - QUARTER_MS, seen, planned)
        if n + 1 < LEARN_DAYS * DAY or n % EVERY:
            continue
        came, last = changes[n + 1 : n + 1 + HOUR].max(axis=0), changes[n + 1 - HOUR : n + 1].max(axis=0)
        ramps = book.expected()
        told = np.stack([np.stack([ramps[node].up, ramps[node].down], axis=1) for node in book.nodes])
        inside = ((told[..., 0] <= came) & (came <= told[..., -1])).astype(float)
        for kind, rows in of_kind.items():
            error, plain = np.abs(told[rows][..., 1] - came[rows]), np.abs(last[rows] - came[rows])
            found[kind].append((inside[rows], error, plain))
    return found


def _figure(value: float, unit: str, reference: float | None = None) -> Result:
    ratio = round(value / reference, 4) if reference else None
    shown = None if reference is None else float(f"{reference:.4g}")
    return {"value": float(f"{value:.4g}"), "unit": unit, "reference": shown, "ratio": ratio}
