"""Forecasts of site and nodes as they are issued together, scored by kind of node on the simulated factory's weeks."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from analytics.issuing.exchange import NODE_STEPS, Task, persistence_of
from analytics.issuing.fitting import make_forecast
from analytics.outlook.excursions import exceedance
from benchmarks._factory_seconds import FOLLOWS, nodes
from benchmarks._factory_weeks import DAY, DAY_MS, Values, Weeks
from domain.breaches import breached_by
from domain.forecast import QUANTILES
from domain.site import Site
from simulator.factory import Factory
from simulator.traces import Traces

Result = dict[str, Any]

EVERY = 13
"""Quarter hours from one scored issue to the next: each hour of the day has its turn."""
LEADS = (1, 4, NODE_STEPS)
BRANCH_LIMIT = 0.95
"""Of the highest quarter hour of a node below the site: jobs at full power are all alike, and a quantile would lie on their level."""
KINDS = {"site": "Site", "feed": "Feed", "ups": "UPS", "busway": "Busway", "rack": "Rack"}
BINS = (0.0, 0.01, 0.1, 0.3, 0.5, 0.7, 0.9, 1.0)


@dataclass(frozen=True, slots=True, eq=False)
class Branches:
    """Nodes of one factory: ids and kinds below the site, their quarter hours in W, what each is made of, which racks lie below."""

    kinds: dict[str, str]
    power: dict[str, Values]
    parts: dict[str, tuple[str, ...]]
    below: dict[str, tuple[str, ...]]

    @classmethod
    def of(cls, factory: Factory, weeks: Weeks) -> Branches:
        """Return feeds, UPSes, busways and racks; what is no rack's is on the feeds in equal parts."""
        layout = factory.layout
        names, weight = nodes(factory)
        above = len(layout.feeds) + len(layout.ups) + len(layout.busways)
        carried = weight[:above] @ weeks.racks
        other = weeks.site - (1 + FOLLOWS) * weeks.racks.sum(axis=0)
        carried[: len(layout.feeds)] += other / len(layout.feeds)
        kinds = dict.fromkeys(layout.feeds, "feed") | dict.fromkeys(layout.ups, "ups")
        kinds |= dict.fromkeys(layout.busways, "busway") | dict.fromkeys(layout.racks, "rack")
        racks = np.array(layout.racks)
        below = {n: tuple(racks[row > 0].tolist()) for n, row in zip(names[:above], weight, strict=False)}
        parts: dict[str, tuple[str, ...]] = {factory.site.id: tuple(layout.feeds)}
        for wholes, members, of in (
            (layout.feeds, layout.ups, layout.ups_to_feeds),
            (layout.ups, layout.busways, layout.busways_to_ups),
        ):
            for column, whole in enumerate(wholes):
                parts[whole] = tuple(m for m, row in zip(members, of, strict=True) if row[column] > 0)
        return cls(
            kinds,
            dict(zip(names[:above], carried, strict=True))
            | dict(zip(racks.tolist(), weeks.racks, strict=True)),
            parts,
            below | {rack: (rack,) for rack in racks.tolist()},
        )


def figures(
    site: Site,
    seeds: Sequence[int],
    start: int,
    count: int,
    training_days: int,
    quantile: float,
    traces: Traces | None,
) -> tuple[Result, Result]:
    """Score the issues of so many days after the training.

    Limits are the `quantile` of the site's training quarter hours, and `BRANCH_LIMIT` of the highest of other nodes. Returns figures,
    and by kind how often any quarter hour of the coming six hours passed its limit beside how likely that was told.
    """
    told: dict[str, list[tuple[Values, ...]]] = {}
    for seed in seeds:
        for kind, row in _scored(site, seed, start, count, training_days, quantile, traces):
            told.setdefault(kind, []).append(row)
    found: Result = {}
    tables: Result = {}
    for kind, rows in told.items():
        held, error, plain, brier, plain_brier = (np.stack([row[i] for row in rows]) for i in range(5))
        any_told, any_came = (np.array([row[i] for row in rows], float).reshape(-1) for i in (5, 6))
        for i, lead in enumerate(LEADS):
            name = f"{{}}_{kind}_{lead * 15}min"
            found[name.format("coverage_90")] = _figure(held[:, i].mean(), "1")
            found[name.format("mae")] = _figure(error[:, i].mean(), "W", plain[:, i].mean())
            found[name.format("brier")] = _figure(brier[:, i].mean(), "1", plain_brier[:, i].mean())
        tables[f"reliability_any_{kind}"] = _reliability(any_told, any_came)
    return found, tables


def _scored(
    site: Site, seed: int, start: int, count: int, training_days: int, quantile: float, traces: Traces | None
) -> Iterator[tuple[str, tuple[Values, ...]]]:
    weeks = Weeks.of(site, seed, start, training_days + count, traces)
    branches = Branches.of(Factory(site, seed, start, traces=traces), weeks)
    power = {site.id: weeks.site} | branches.power
    kinds = {site.id: "site"} | branches.kinds
    limits = {name: BRANCH_LIMIT * float(p[: training_days * DAY].max()) for name, p in power.items()}
    limits[site.id] = float(np.quantile(weeks.site[: training_days * DAY], quantile))
    with TemporaryDirectory() as folder:
        for n in range(training_days * DAY, len(weeks.time) - NODE_STEPS, EVERY):
            now = int(weeks.time[n])
            made = make_forecast(
                Task(
                    site.id, weeks.time[:n], weeks.site[:n], NODE_STEPS, site.idle, site.installed, site.country,
                    site.timezone, Path(folder), now, (count + 1) * DAY_MS, False,
                    {name: p[:n] for name, p in power.items()}, branches.parts, branches.below,
                    weeks.bookings.as_known(now),
                )
            )  # fmt: skip
            for name, values in ({site.id: made.values} | dict(made.nodes)).items():
                came, last = power[name][n : n + NODE_STEPS], power[name][n - 1]
                each = exceedance(values, QUANTILES, np.full(NODE_STEPS, limits[name]))
                over, before = (came > limits[name]).astype(float), float(last > limits[name])
                held = (values[:, 0] <= came) & (came <= values[:, -1])
                error, plain = np.abs(values[:, QUANTILES.index(0.5)] - came), np.abs(last - came)
                at = np.array(LEADS) - 1
                yield kinds[name], (
                    held[at].astype(float), error[at], plain[at],
                    (each[at] - over[at]) ** 2, (before - over[at]) ** 2,
                    breached_by(each, persistence_of(KINDS[kinds[name]]))[-1:], over.max(keepdims=True),
                )  # fmt: skip


def _reliability(told: Values, came: Values) -> Result:
    table = {}
    for low, high in pairwise(BINS):
        inside = (told >= low) & ((told < high) | (high == 1.0))
        if inside.any():
            table[f"{low:g}-{high:g}"] = {
                "forecast": round(float(told[inside].mean()), 3),
                "happened": round(float(came[inside].mean()), 3),
                "count": int(inside.sum()),
            }
    return table


def _figure(value: float, unit: str, reference: float | None = None) -> Result:
    ratio = round(float(value) / float(reference), 4) if reference else None
    shown = None if reference is None else float(f"{reference:.4g}")
    return {"value": float(f"{value:.4g}"), "unit": unit, "reference": shown, "ratio": ratio}
