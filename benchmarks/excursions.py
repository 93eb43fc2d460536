"""Excursions on the simulated factory: `python -m benchmarks.excursions` prints one JSON object.

Weeks of the site's power from the simulator's calendar (jobs, surprises, failures, bursts), with seeds that were not
used in development; the product's own code foretells breaches, running quarter hours and temperatures as it would live.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import resource
import time
from collections.abc import Callable, Sequence
from itertools import pairwise
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from analytics.exchange import Task
from analytics.excursions import exceedance, quarter_outlook
from analytics.fitting import make_forecast
from analytics.forecast import PowerForecaster
from analytics.thermal import RackHistory, approach_outlook, temperature_outlook
from domain.envelope import QUARTER_MS
from domain.forecast import QUANTILES
from domain.plant.conditions import Conditions
from domain.site import Site
from service.configuration import SHIPPED, load
from simulator.factory import Factory
from simulator.offline import record

Values = NDArray[np.float64]
Result = dict[str, Any]

START_MS = 1_772_323_200_000  # 2026-03-01 00:00 UTC
DAY_MS = 86_400_000
DAY = 96  # quarter hours
TRAINING_DAYS = 28
LIMIT_QUANTILE = 0.90
"""The limit is what the training weeks pass in a tenth of their quarter hours, so that breaches happen."""
LEADS = 24
ALARMS = (0.1, 0.2, 0.35, 0.5)
"""Probabilities from which a breach counts as foretold; `config/alerts.yaml` alarms at 0.5."""
BINS = (0.0, 0.01, 0.05, 0.2, 0.4, 0.6, 0.8, 0.95, 1.0)
SEEDS = (7101, 7102, 7103)
THERMAL_SEEDS = (7201, 7202)
SAMPLE_MS = 10_000
"""The live outlook looks at the site's power this often."""


def site_power(factory: Factory, start: int, end: int, step: int) -> Values:
    """Return the site's power at regular times, W, from calendar and steady states."""
    found = []
    for first in range(start, end, DAY_MS // 4):
        times = np.arange(first, min(first + DAY_MS // 4, end), step, dtype=np.int64)
        racks = factory.rack_power(factory.workload.activity(times))
        healthy = Conditions.healthy(factory.layout)
        state = factory.plant.settle(racks, healthy, factory.workload.wet_bulb(times), rounds=4)
        found.append(np.asarray(state.site, float))
    return np.concatenate(found)


def breach_forecasts(site: Site, seed: int, days: int) -> tuple[Values, Values, float]:
    """Forecast the site every quarter hour, fitted anew each day.

    Returns the breach probability, shape (origins, LEADS), the measured quarter hours (origins + LEADS,), the limit.
    """
    factory = Factory(site, seed, START_MS)
    n = (TRAINING_DAYS + days) * DAY
    end = START_MS + n * QUARTER_MS
    power = site_power(factory, START_MS, end, QUARTER_MS // 5).reshape(-1, 5).mean(1)
    index = pd.date_range(pd.Timestamp(START_MS, unit="ms", tz="UTC"), periods=n, freq="15min")
    index = index.tz_convert(site.timezone)
    history = pd.Series(power, index=index)
    limit = float(np.quantile(power[: TRAINING_DAYS * DAY], LIMIT_QUANTILE))
    origins = range(TRAINING_DAYS * DAY, n - LEADS)
    probability = np.zeros((len(origins), LEADS))
    model = PowerForecaster(lower=site.idle, upper=site.installed, country=site.country)
    for row, origin in enumerate(origins):
        if row % DAY == 0:
            model.fit(history[:origin])
        else:
            model.update(history[origin - 1 : origin])
        values = model.predict(LEADS, list(QUANTILES)).to_numpy()
        probability[row] = exceedance(values, QUANTILES, np.full(LEADS, limit))
    return probability, power[TRAINING_DAYS * DAY :], limit


def breach_figures(site: Site, seeds: Sequence[int], days: int) -> tuple[Result, Result]:
    """Score the breach probability; returns figures and the reliability table."""
    foretold: dict[tuple[float, str], list[bool]] = {}
    all_probability, all_happened, persisted, base = [], [], [], []
    false_alarms = dict.fromkeys(ALARMS, 0)
    breaches = 0
    for seed in seeds:
        probability, power, limit = breach_forecasts(site, seed, days)
        origins = len(probability)
        over = power > limit
        happened = np.stack([over[k : k + origins] for k in range(LEADS)], axis=1)
        all_probability.append(probability)
        all_happened.append(happened)
        before = np.concatenate([[False], over[: origins - 1]])
        persisted.append(np.repeat(before[:, None], LEADS, axis=1))
        base.append(over.mean())
        # a breach begins after an hour below the limit
        begins = [t for t in range(LEADS, origins) if over[t] and not over[t - 4 : t].any()]
        breaches += len(begins)
        for alarm in ALARMS:
            for t in begins:
                for name, lead in (
                    ("end_15min", 0),
                    ("end_30min", 1),
                    ("start_15min", 1),
                    ("start_30min", 2),
                ):
                    told = any(probability[t - k, k] >= alarm for k in range(lead, LEADS))
                    foretold.setdefault((alarm, name), []).append(told)
            # an alarm for the coming hour, after which none comes for two hours, was false
            alarmed = probability[:, :4].max(axis=1) >= alarm
            for t in np.flatnonzero(alarmed & ~np.concatenate([[False], alarmed[:-1]])).tolist():
                false_alarms[alarm] += int(not over[t : t + 8].any())
    probability, happened = np.concatenate(all_probability), np.concatenate(all_happened)
    persistence = np.concatenate(persisted)
    figures: Result = {}
    for lead in (1, 2, 4, 8, 24):
        k = lead - 1
        figures[f"brier_lead_{lead * 15}min"] = figure(
            _brier(probability[:, k], happened[:, k]), "1", _brier(persistence[:, k], happened[:, k])
        )
    climate = float(np.mean(base))
    figures["brier_all_leads"] = figure(
        _brier(probability, happened), "1", _brier(np.full(probability.shape, climate), happened)
    )
    weeks = len(seeds) * days / 7
    figures["breaches"] = figure(breaches, "count")
    for (alarm, name), hits in foretold.items():
        when, ahead = name.split("_")
        figures[f"foretold_{ahead}_before_its_{when}_at_{alarm:g}"] = figure(float(np.mean(hits)), "1")
    for alarm, count in false_alarms.items():
        figures[f"false_predictions_per_week_at_{alarm:g}"] = figure(count / weeks, "1/week")
    table = {}
    for low, high in pairwise(BINS):
        inside = (probability >= low) & ((probability < high) | (high == 1.0))
        if inside.any():
            table[f"{low:g}-{high:g}"] = {
                "forecast": round(float(probability[inside].mean()), 4),
                "happened": round(float(happened[inside].mean()), 4),
                "count": int(inside.sum()),
            }
    return figures, table


def quarter_figures(site: Site, seeds: Sequence[int], days: int) -> Result:
    """Score the running quarter hour at minutes 3, 7 and 12 beside plain persistence."""
    errors: dict[int, list[tuple[float, float, float]]] = {3: [], 7: [], 12: []}
    brier: dict[int, list[tuple[float, float, bool]]] = {3: [], 7: [], 12: []}
    for seed in seeds:
        factory = Factory(site, seed, START_MS)
        power = site_power(factory, START_MS, START_MS + days * DAY_MS, SAMPLE_MS)
        time_ms = START_MS + SAMPLE_MS * np.arange(len(power), dtype=np.int64)
        quarters = power.reshape(-1, QUARTER_MS // SAMPLE_MS)
        limit = float(np.quantile(quarters.mean(1), LIMIT_QUANTILE))
        hour = 3_600_000 // SAMPLE_MS
        for q in range(5, len(quarters)):
            actual = float(quarters[q].mean())
            for minute in errors:
                here = (q * QUARTER_MS + minute * 60_000) // SAMPLE_MS
                told = quarter_outlook(
                    time_ms[here - hour : here], power[here - hour : here], int(time_ms[here]), limit
                )
                errors[minute].append(
                    (abs(told.expected - actual), abs(power[here - 1] - actual), told.deviation)
                )
                brier[minute].append(
                    (told.breach_probability, float(power[here - 1] > limit), actual > limit)
                )
    figures: Result = {}
    for minute, rows in errors.items():
        ours, simple, deviation = np.array(rows).T
        told_p, simple_p, happened = np.array(brier[minute], float).T
        figures[f"quarter_mae_minute_{minute}"] = figure(float(ours.mean()), "W", float(simple.mean()))
        figures[f"quarter_rmse_minute_{minute}"] = figure(
            float(np.sqrt((ours**2).mean())), "W", float(np.sqrt((simple**2).mean()))
        )
        figures[f"quarter_within_1.64_deviations_minute_{minute}"] = figure(
            float((ours <= 1.645 * deviation).mean()), "1"
        )
        figures[f"quarter_brier_minute_{minute}"] = figure(
            _brier(told_p, happened), "1", _brier(simple_p, happened)
        )
    return figures


def thermal_figures(site: Site, seeds: Sequence[int], days: float = 1.0) -> Result:
    """Score temperatures at 15 and 60 minutes beside persistence, five-minute steps as live."""
    told: dict[tuple[str, int, str], list[Values]] = {}
    for seed in seeds:
        tables, coolant, water = temperatures(site, seed, days)
        for end in range(72, tables["ret"].shape[1] - 12, 7):
            past = {name: table[:, end - 72 : end] for name, table in tables.items()}
            history = RackHistory(**past)
            ahead = tables["power"][:, end : end + 12]
            now = temperature_outlook(history, 12, 300.0, site.thermal)
            load_known = temperature_outlook(history, 12, 300.0, site.thermal, load=ahead)
            approach = approach_outlook(coolant[:, end - 72 : end], water[:, end - 72 : end], 12)
            gap = coolant - water
            for name, outlook, better, actual in (
                ("supply", now.supply, load_known.supply, tables["supply"]),
                ("return", now.ret, load_known.ret, tables["ret"]),
                ("gpu", now.gpu, load_known.gpu, tables["gpu"]),
                ("approach", approach, approach, gap),
            ):
                for minutes in (15, 60):
                    k = minutes // 5 - 1
                    y, q = actual[:, end + k], outlook.values[:, k]
                    for what, value in (
                        ("model", np.abs(q[:, 2] - y)),
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
                figures[f"{name}_mae_{minutes}min_load_known"] = figure(
                    mean(name, minutes, "load_known"), "K", simple
                )
            figures[f"{name}_coverage_90_{minutes}min"] = figure(mean(name, minutes, "within"), "1")
    return figures


def temperatures(site: Site, seed: int, days: float) -> tuple[dict[str, Values], Values, Values]:
    """Return what racks told, highest of each five minutes, (racks, n), and the CDUs' supply and facility water."""
    told = record(
        site, seed, START_MS, days * 86400, step_s=10, every_s=60,
        select=("Rack/*", "CDU/LiquidTemperature/*"), gpu_fields=("GpuTemperature",),
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
    """Seconds of a full fit and of an issue in between: the site with all nodes and racks, temperatures, CDUs."""
    factory = Factory(site, 1, START_MS)
    n = 56 * DAY
    times = START_MS + QUARTER_MS * np.arange(n, dtype=np.int64)
    racks = factory.rack_power(factory.workload.activity(times))
    power = site_power(factory, START_MS, START_MS + n * QUARTER_MS, QUARTER_MS)
    nodes = {name: racks[:, i] for i, name in enumerate(site.racks)}
    spent: Result = {}
    with TemporaryDirectory() as folder:

        def task(now: int) -> Task:
            known = times + QUARTER_MS <= now
            return Task(
                site.id, times[known], power[known], 192, site.idle, site.installed, site.country, site.timezone,
                Path(folder), now, DAY_MS, False, {name: row[known] for name, row in nodes.items()}, {},
            )  # fmt: skip

        end = int(times[-2]) + QUARTER_MS
        spent["fit_and_issue_site_and_96_racks"] = figure(seconds(lambda: make_forecast(task(end))), "s")
        spent["refit_with_judgement"] = figure(seconds(lambda: make_forecast(task(end + 1))), "s")
        spent["issue_site_and_96_racks"] = figure(seconds(lambda: make_forecast(task(end + QUARTER_MS))), "s")
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


def measure(parts: Sequence[str], seeds: Sequence[int] = SEEDS, days: int = 14) -> Result:
    """Return every figure as `{value, unit, reference, ratio}`; reference is the simple way in the same run."""
    site = load(SHIPPED / "site.yaml", Site)
    figures: Result = {}
    tables: Result = {}
    began = time.process_time()
    if "cost" in parts:  # first, so that the memory is its own
        figures |= cost_figures(site)
    if "breaches" in parts:
        found, tables["reliability"] = breach_figures(site, seeds, days)
        figures |= found
    if "quarters" in parts:
        figures |= quarter_figures(site, seeds, days)
    if "temperatures" in parts:
        figures |= thermal_figures(site, THERMAL_SEEDS)
    figures["cpu_s"] = figure(time.process_time() - began, "s")
    return {
        "name": "excursions",
        "machine": f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}",
        "figures": figures,
        "tables": tables,
    }


PARTS = ("cost", "breaches", "quarters", "temperatures")


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description="Score breach, quarter-hour and temperature forecasts.")
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=PARTS)
    parser.add_argument("--seeds", nargs="+", type=int, default=SEEDS)
    parser.add_argument(
        "--days", type=int, default=14, help="scored days a seed, after four weeks of training"
    )
    options = parser.parse_args(arguments)
    print(json.dumps(measure(options.parts, options.seeds, options.days), indent=2))


if __name__ == "__main__":
    main()
