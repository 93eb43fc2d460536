"""Excursions on the simulated factory: `python -m benchmarks.excursions` prints one JSON object.

Weeks of the site's power from the simulator's calendar (jobs, surprises, failures, bursts), with seeds that were not
used in development; the product's own code foretells breaches, nodes, running quarter hours, ramps and temperatures as it would live.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import resource
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from numpy.typing import NDArray

from analytics.forecast import PowerForecaster
from analytics.issuing.exchange import Task
from analytics.issuing.fitting import make_forecast
from analytics.issuing.nodes import node_forecasts
from analytics.outlook.excursions import exceedance
from analytics.outlook.temperatures import foretold_load
from analytics.outlook.thermal import RackHistory, approach_outlook, temperature_outlook
from analytics.planned.scheduled import RackPast, ScheduledForecaster, booked_nodes
from benchmarks._breach_alerts import Told, shipped_rules, told
from benchmarks._factory_weeks import DAY, DAY_MS, Values, Weeks
from benchmarks._node_forecasts import figures as node_figures
from benchmarks._quarter_hour import figures as quarter_hour_figures
from benchmarks._ramps import figures as ramp_figures
from domain.envelope import QUARTER_MS
from domain.forecast import QUANTILES
from domain.site import Site
from service.configuration import SHIPPED, load
from simulator.offline import record
from simulator.traces import Traces

Result = dict[str, Any]

START_MS = 1_772_323_200_000  # 2026-03-01 00:00 UTC
TRAINING_DAYS = 28
LIMIT_QUANTILE = 0.90
"""The limit is what the training weeks pass in a tenth of their quarter hours, so that breaches happen."""
LEADS = 24
ALARMS = (0.2, 0.3, 0.4, 0.5, 0.6, 0.7)
"""Probabilities at which the alert is tried, beside the shipped one of `config/alerts.yaml`."""
BINS = (0.0, 0.01, 0.05, 0.2, 0.4, 0.6, 0.8, 0.95, 1.0)
SEEDS = (7101, 7102, 7103)
THERMAL_SEEDS = (7201, 7202)


@dataclass(frozen=True, slots=True, eq=False)
class Foretold:
    """Forecasts of one seed.

    Quantiles, shape (origins, LEADS, quantiles), breach probability and median, shape (origins, LEADS), whether the 90 % interval
    held what came, what came (W, the same shape), and the measured quarter hours from the first origin on, shape
    (origins + LEADS,), with their limit.
    """

    values: Values
    probability: Values
    median: Values
    held: NDArray[np.bool_]
    came: Values
    power: Values
    limit: float


def breach_forecasts(site: Site, weeks: Weeks, schedule: bool) -> Foretold:
    """Forecast the site every quarter hour, fitted anew each day, with or without what the schedule announced by then."""
    history, power = weeks.history(site.timezone), weeks.site
    limit = float(np.quantile(power[: TRAINING_DAYS * DAY], LIMIT_QUANTILE))
    origins = range(TRAINING_DAYS * DAY, len(power) - LEADS)
    values = np.zeros((len(origins), LEADS, len(QUANTILES)))
    plain = PowerForecaster(lower=site.idle, upper=site.installed, country=site.country)
    whole = RackPast(weeks.bookings, weeks.time, weeks.racks)
    planned = ScheduledForecaster(whole, site.idle, site.installed, site.country)
    for row, origin in enumerate(origins):
        if schedule:
            if row % DAY == 0:
                planned.fit(history[:origin])
            else:
                planned.resume(planned.model, planned.split, history[:origin])
            quantiles = planned.predict(LEADS)
        else:
            if row % DAY == 0:
                plain.fit(history[:origin])
            else:
                plain.update(history[origin - 1 : origin])
            quantiles = plain.predict(LEADS, list(QUANTILES))
        values[row] = quantiles.to_numpy()
    came = np.stack([power[origin : origin + LEADS] for origin in origins])
    probability = np.stack([exceedance(v, QUANTILES, np.full(LEADS, limit)) for v in values])
    held = (values[..., 0] <= came) & (came <= values[..., -1])
    median = values[..., QUANTILES.index(0.5)]
    return Foretold(values, probability, median, held, came, power[TRAINING_DAYS * DAY :], limit)


def breach_figures(
    site: Site, seeds: Sequence[int], days: int, traces: Traces | None = None
) -> tuple[Result, Result]:
    """Score the breach probability with and without the schedule; returns figures and tables."""
    found: dict[str, list[Foretold]] = {"": [], "_without_schedule": []}
    for seed in seeds:
        weeks = Weeks.of(site, seed, START_MS, TRAINING_DAYS + days, traces)
        for suffix, forecasts in found.items():
            forecasts.append(breach_forecasts(site, weeks, schedule=not suffix))
    figures: Result = {}
    tables: Result = {}
    for suffix, forecasts in found.items():
        figures |= {name + suffix: f for name, f in _scores(forecasts).items()}
        figures |= {name + suffix: f for name, f in _alarm_scores(site, forecasts).items()}
        tables["reliability" + suffix] = _reliability(forecasts)
    for name in [n for n in figures if n.startswith("mae_") and n + "_without_schedule" in figures]:
        figures[name] = figure(figures[name]["value"], "W", figures[name + "_without_schedule"]["value"])
    return figures, tables


def ceiling_figures(site: Site, seeds: Sequence[int], days: int, traces: Traces | None = None) -> Result:
    """Score the same were every job's real start and end known days before: what is missed then, nobody can announce."""
    forecasts = []
    for seed in seeds:
        weeks = Weeks.of(site, seed, START_MS, TRAINING_DAYS + days, traces, foreseen=True)
        forecasts.append(breach_forecasts(site, weeks, schedule=True))
    found = _scores(forecasts) | _alarm_scores(site, forecasts)
    return {name + "_all_jobs_known": f for name, f in found.items()}


def _scores(forecasts: Sequence[Foretold]) -> Result:
    """Brier score beside "as the last quarter hour", mean error of the median, share in the 90 % interval."""
    probability = np.concatenate([f.probability for f in forecasts])
    happened = np.concatenate([f.came > f.limit for f in forecasts])
    before = np.concatenate(
        [np.concatenate([[False], (f.power > f.limit)[: len(f.came) - 1]]) for f in forecasts]
    )
    error = np.abs(np.concatenate([f.median - f.came for f in forecasts]))
    held = np.concatenate([f.held for f in forecasts])
    figures: Result = {}
    for lead in (1, 2, 4, 8, 24):
        k, name = lead - 1, f"lead_{lead * 15}min"
        figures[f"brier_{name}"] = figure(
            _brier(probability[:, k], happened[:, k]), "1", _brier(before, happened[:, k])
        )
        figures[f"mae_{name}"] = figure(float(error[:, k].mean()), "W")
        figures[f"coverage_90_{name}"] = figure(float(held[:, k].mean()), "1")
    climate = float(np.mean([(f.power > f.limit).mean() for f in forecasts]))
    figures["brier_all_leads"] = figure(
        _brier(probability, happened), "1", _brier(np.full(probability.shape, climate), happened)
    )
    return figures


def _alarm_scores(site: Site, forecasts: Sequence[Foretold]) -> Result:
    """Count breaches that were told, so long before they were a fact, and alerts that no breach followed, as the rule pages."""
    predicted, exceeded = shipped_rules()
    ratio = predicted.clear_probability / predicted.probability
    figures: Result = {}
    weeks = sum(len(f.probability) for f in forecasts) / (7 * DAY)
    for alarm in sorted({*ALARMS, predicted.probability}):
        rule = predicted.model_copy(update={"probability": alarm, "clear_probability": alarm * ratio})
        runs = [told(site, f.values, f.probability, f.power, f.limit, rule, exceeded) for f in forecasts]
        whole = Told([a for run in runs for a in run.ahead], sum(run.false for run in runs))
        figures["breaches"] = figure(len(whole.ahead), "count")
        for quarters in (1, 2, 4):
            figures[f"told_{quarters * 15}min_ahead_at_{alarm:g}"] = figure(whole.share(quarters), "1")
        figures[f"false_alerts_per_week_at_{alarm:g}"] = figure(whole.false / weeks, "1/week")
    return figures


def _reliability(forecasts: Sequence[Foretold]) -> Result:
    probability = np.concatenate([f.probability for f in forecasts])
    happened = np.concatenate([f.came > f.limit for f in forecasts])
    table = {}
    for low, high in pairwise(BINS):
        inside = (probability >= low) & ((probability < high) | (high == 1.0))
        if inside.any():
            table[f"{low:g}-{high:g}"] = {
                "forecast": round(float(probability[inside].mean()), 4),
                "happened": round(float(happened[inside].mean()), 4),
                "count": int(inside.sum()),
            }
    return table


def thermal_figures(
    site: Site, seeds: Sequence[int], days: float = 1.0, traces: Traces | None = None
) -> Result:
    """Score temperatures at 15 and 60 minutes beside persistence, five-minute steps as live."""
    told: dict[tuple[str, int, str], list[Values]] = {}
    for seed in seeds:
        tables, coolant, water = temperatures(site, seed, days, traces)
        first = START_MS - TRAINING_DAYS * DAY_MS
        weeks = Weeks.of(site, seed, first, TRAINING_DAYS + int(np.ceil(days)), traces)
        for end in range(72, tables["ret"].shape[1] - 12, 7):
            past = {name: table[:, end - 72 : end] for name, table in tables.items()}
            history = RackHistory(**past)
            ahead = tables["power"][:, end : end + 12]
            now = temperature_outlook(history, 12, 300.0, site.thermal)
            load = rack_load(weeks, site, past["power"], START_MS + end * 300_000)
            one_load = temperature_outlook(history, 12, 300.0, site.thermal, load=load)
            load_known = temperature_outlook(history, 12, 300.0, site.thermal, load=ahead)
            approach = approach_outlook(coolant[:, end - 72 : end], water[:, end - 72 : end], 12)
            gap = coolant - water
            for name, outlook, alone, better, actual in (
                ("supply", one_load.supply, now.supply, load_known.supply, tables["supply"]),
                ("return", one_load.ret, now.ret, load_known.ret, tables["ret"]),
                ("gpu", one_load.gpu, now.gpu, load_known.gpu, tables["gpu"]),
                ("approach", approach, approach, approach, gap),
            ):
                for minutes in (15, 60):
                    k = minutes // 5 - 1
                    y, q = actual[:, end + k], outlook.values[:, k]
                    for what, value in (
                        ("model", np.abs(q[:, 2] - y)),
                        ("load_stays", np.abs(alone.values[:, k, 2] - y)),
                        ("load_known", np.abs(better.values[:, k, 2] - y)),
                        ("persistence", np.abs(actual[:, end - 1] - y)),
                        ("within", (q[:, 0] <= y) & (y <= q[:, -1])),
                    ):
                        told.setdefault((name, minutes, what), []).append(np.asarray(value, float))

    def mean(name: str, minutes: int, what: str) -> float:
        return float(np.mean(told[name, minutes, what]))

    figures: Result = {}
    for name in ("supply", "return", "gpu", "approach"):
        for minutes in (15, 60):
            simple = mean(name, minutes, "persistence")
            figures[f"{name}_mae_{minutes}min"] = figure(mean(name, minutes, "model"), "K", simple)
            if name in ("return", "gpu"):
                for what in ("load_stays", "load_known"):
                    figures[f"{name}_mae_{minutes}min_{what}"] = figure(
                        mean(name, minutes, what), "K", simple
                    )
            figures[f"{name}_coverage_90_{minutes}min"] = figure(mean(name, minutes, "within"), "1")
    return figures


def rack_load(weeks: Weeks, site: Site, power: Values, now: int) -> Values:
    """Return the racks' load over the coming hour as the service foretells it, W, shape (racks, 12)."""
    past = weeks.past(int((now - weeks.time[0]) // QUARTER_MS))
    histories = dict(zip(site.racks, past.power, strict=True))
    told = node_forecasts(histories, {}, {}, 8, booked_nodes(histories, {}, past, 8))
    medians = np.stack([told[rack][:, QUANTILES.index(0.5)] for rack in site.racks])
    start = int(past.time[-1]) + QUARTER_MS * (1 + np.arange(8, dtype=np.int64))
    times = now + 300_000 * np.arange(12, dtype=np.int64)
    return foretold_load(power, medians, start, now, times)


def temperatures(
    site: Site, seed: int, days: float, traces: Traces | None = None
) -> tuple[dict[str, Values], Values, Values]:
    """Return what racks told, highest of each five minutes, (racks, n), and the CDUs' supply and facility water."""
    told = record(
        site, seed, START_MS, days * 86400, step_s=10, every_s=60,
        select=("Rack/*", "CDU/LiquidTemperature/*"), gpu_fields=("GpuTemperature",), traces=traces,
    )  # fmt: skip
    gpus = told.gpus["GpuTemperature"].reshape(len(told.times), len(site.racks), -1).max(axis=2)

    def five(table: NDArray[Any]) -> Values:
        whole = (len(table) - 1) // 5 * 5
        highest = table[1 : whole + 1].reshape(-1, 5, table.shape[1]).max(axis=1)
        return np.asarray(highest.T, float)

    tables = {
        name: five(told.matrix(point_type, "Rack")[1])
        for name, point_type in (
            ("power", "RackPower"),
            ("supply", "RackLiquidSupplyTemperature"),
            ("ret", "RackLiquidReturnTemperature"),
            ("flow", "RackLiquidFlow"),
        )
    }
    tables["gpu"] = five(gpus)
    where = {
        area: [
            i
            for i, p in enumerate(told.points)
            if p.point.object_type == "CDU" and not p.point.setpoint and tuple(p.point.process_area) == area
        ]
        for area in (("Secondary", "Supply"), ("Primary", "Inlet"))
    }
    coolant, water = (five(told.values[:, rows]) for rows in where.values())
    return tables, coolant, water


def cost_figures(site: Site) -> Result:
    """Seconds of a full fit and of an issue in between: the site with its schedule, racks, temperatures, CDUs."""
    weeks = Weeks.of(site, 1, START_MS, 56)
    times, power, racks = weeks.time, weeks.site, weeks.racks.T
    spent: Result = {}
    with TemporaryDirectory() as folder:

        def task(now: int, schedule: bool = True) -> Task:
            known = times + QUARTER_MS <= now
            nodes = {name: row[known] for name, row in zip(site.racks, weeks.racks, strict=True)}
            bookings = weeks.bookings.as_known(now) if schedule else None
            shelf = Path(folder) / str(schedule)
            return Task(
                site.id, times[known], power[known], 192, site.idle, site.installed, site.country, site.timezone,
                shelf, now, DAY_MS, False, nodes, {}, {}, bookings,
            )  # fmt: skip

        end = int(times[-2]) + QUARTER_MS
        for schedule, suffix in ((False, "_without_schedule"), (True, "")):
            for name, now in (
                ("fit_and_issue_site_and_96_racks", end),
                ("refit_with_judgement", end + 1),
                ("issue_site_and_96_racks", end + QUARTER_MS),
            ):
                one = task(now, schedule)
                spent[name + suffix] = figure(seconds(partial(make_forecast, one)), "s")
    flat = {name: 30.0 + np.random.default_rng(0).random((96, 72)) for name in ("supply", "ret", "gpu")}
    history = RackHistory(power=racks[-72:].T, flow=1.18e-3 * racks[-72:].T, **flat)
    spent["temperatures_of_96_racks"] = figure(
        seconds(lambda: temperature_outlook(history, 12, 300.0, site.thermal)), "s"
    )
    spent["approach_of_24_cdus"] = figure(
        seconds(lambda: approach_outlook(flat["supply"][:24], flat["ret"][:24], 12)), "s"
    )
    spent["memory_peak"] = figure(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024, "By")
    return spent


def seconds(work: Callable[[], object]) -> float:
    began = time.process_time()
    work()
    return time.process_time() - began


def figure(value: float, unit: str, reference: float | None = None) -> Result:
    ratio = round(value / reference, 4) if reference else None
    shown = None if reference is None else float(f"{reference:.4g}")
    return {"value": float(f"{value:.4g}"), "unit": unit, "reference": shown, "ratio": ratio}


def _brier(probability: NDArray[Any], happened: NDArray[Any]) -> float:
    return float(np.mean((probability - happened.astype(float)) ** 2))


def measure(
    parts: Sequence[str], seeds: Sequence[int] = SEEDS, days: int = 14, traces: Traces | None = None
) -> Result:
    """Return every figure as `{value, unit, reference, ratio}`; reference is the simple way in the same run."""
    site = load(SHIPPED / "site.yaml", Site)
    figures: Result = {}
    tables: Result = {}
    began = time.process_time()
    if "cost" in parts:  # first, so that the memory is its own
        figures |= cost_figures(site)
    if "breaches" in parts:
        found, tables = breach_figures(site, seeds, days, traces)
        figures |= found
    if "ceiling" in parts:
        figures |= ceiling_figures(site, seeds, days, traces)
    if "quarters" in parts:
        figures |= quarter_hour_figures(site, seeds, START_MS, days, TRAINING_DAYS, LIMIT_QUANTILE, traces)
    if "nodes" in parts:
        found, more = node_figures(site, seeds, START_MS, days, TRAINING_DAYS, LIMIT_QUANTILE, traces)
        figures, tables = figures | found, tables | more
    if "ramps" in parts:
        figures |= ramp_figures(site, seeds, START_MS, days, traces)
    if "temperatures" in parts:
        figures |= thermal_figures(site, THERMAL_SEEDS, traces=traces)
    figures["cpu_s"] = figure(time.process_time() - began, "s")
    return {
        "name": "excursions",
        "machine": f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}",
        "figures": figures,
        "tables": tables,
    }


PARTS = ("cost", "breaches", "ceiling", "quarters", "nodes", "ramps", "temperatures")


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        description="Score forecasts of breaches, nodes, quarter hours, ramps and temperatures."
    )
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=PARTS)
    parser.add_argument("--seeds", nargs="+", type=int, default=SEEDS)
    parser.add_argument(
        "--days",
        type=int,
        default=14,
        help="scored days a seed, after four weeks of training (ramps: a week of them)",
    )
    parser.add_argument("--traces", type=Path, help="folder of measured traces that the jobs replay")
    options = parser.parse_args(arguments)
    traces = None if options.traces is None else Traces.read(options.traces)
    print(json.dumps(measure(options.parts, options.seeds, options.days, traces), indent=2))


if __name__ == "__main__":
    main()
