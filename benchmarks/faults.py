"""The fault catalogue against the watch over the whole factory: `python -m benchmarks.faults` prints JSON.

Healthy factories run for days, with seeds that were not used in development, and tell false incidents. Along the way each
fault that the watch is meant to find happens to a copy of the factory and of the watch, which has learnt by then what is
usual, one at a time (1 to 4 s of one core each). Slow faults, which take days, share factories, one to a pod. What alert
rules see directly (leaks, silent sources, exceeded limits, GPU errors) is listed, not run. `--roughness` makes the plant
unlike the model.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import platform
import statistics
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from analytics.anomaly import memory
from analytics.anomaly.incidents import Grouping
from analytics.anomaly.watch import FactoryWatch
from benchmarks._fault_runs import DAY_MS, Found, Run, Watched, one_fault, slow_faults, unworked
from benchmarks._quiet_faults import QUIET, quiet_faults, summary
from benchmarks._watched_plant import START, Plant, shipped_site
from domain.points import ValueArray
from domain.site import Site
from simulator.faults import Catalogue, FaultKind
from simulator.roughness import LEVELS
from simulator.sizing import first_racks
from simulator.traces import Traces

SETTLE_MS = 6 * 3_600_000
"""The first fault happens so long after the beginning."""
SEEDS = (901, 902)

ELSEWHERE = {
    "alert rule on a state": ("leak-sensor-broken",),
    "alert rule on silent sources": ("pdu-dead", "ups-agent-dead", "tray-agent-dead", "bms-silent"),
    "alert rule on limits and forecasts": ("load-surge", "load-ramp-slow", "pod-overload"),
}  # fmt: skip
"""Faults that the watch does not look for, by who sees them."""
ON_THE_WIRE = ("bus", "agent")
"""Areas whose faults collectors see where readings enter: they never reach the watch."""
SLOW_S = 6 * 3600.0
"""A fault with such an onset or a longer one is slow."""


def kinds_watched(slow: bool) -> Iterator[FaultKind]:
    elsewhere = {name for names in ELSEWHERE.values() for name in names}
    for kind in Catalogue.shipped().values():
        seen = kind.name not in elsewhere and kind.area not in ON_THE_WIRE
        if seen and (kind.onset >= SLOW_S) == slow:
            yield kind


def healthy_with_faults(
    site: Site, kinds: Sequence[FaultKind], seed: int, options: argparse.Namespace
) -> tuple[list[dict[str, Any]], list[Run], list[Found], Run]:
    """Follow a healthy factory; each fault happens to a copy of it at another time.

    Returns what became of the faults, their runs, what was told falsely of the healthy factory, and its run.
    """
    watched = Watched(site, seed, options.roughness, options.traces)
    span = max(round(options.healthy_days / len(options.seeds) * DAY_MS), SETTLE_MS)
    moments = np.linspace(START + SETTLE_MS, START + span, max(len(kinds), 1)).astype(np.int64)
    rows, runs = [], []
    for kind, moment in zip(kinds, moments.tolist(), strict=False):
        watched.go(moment, options.step, tick=options.tick)
        row, run = one_fault(watched, kind, seed)
        rows.append(row)
        runs.append(run)
        print(kind.name, seed, row["target"], row["delay_s"], row["told"], file=sys.stderr, flush=True)
    watched.go(START + span, options.step, tick=options.tick)
    return rows, runs, unworked(watched.plant, watched.run.found), watched.run


def healthy_with_quiet_faults(site: Site, seed: int, options: argparse.Namespace) -> list[dict[str, Any]]:
    """Follow a healthy factory; along the way many quiet faults at a time happen to copies of it."""
    watched = Watched(site, seed, options.roughness, options.traces)
    kinds = [Catalogue.shipped()[name] for name in QUIET if not options.only or name in options.only]
    span = max(round(options.healthy_days / len(options.seeds) * DAY_MS), SETTLE_MS)
    rows = []
    for number, moment in enumerate(np.linspace(START + SETTLE_MS, START + span, options.quiet).tolist()):
        watched.go(round(moment), options.step, tick=options.tick)
        for row in quiet_faults(watched, kinds, number, seed):
            rows.append(row)
            print(
                row["fault"],
                seed,
                row["target"],
                row["shown_s"],
                row["delay_s"],
                row["told"],
                file=sys.stderr,
                flush=True,
            )
    return rows


def confusion(rows: list[dict[str, Any]]) -> dict[str, dict[str, int]]:
    """Return how often faults of instruments and of the plant were told as which, at first and within ten minutes."""
    table = {}
    for kind, of in (("instrument", "sensor"), ("plant", "")):
        mine = [r for r in rows if (r["area"] == "sensor") == (of == "sensor")]
        table[kind] = {
            "run": len(mine),
            "first told as instrument": sum(r["as_sensor"] for r in mine),
            "first told as plant": sum(r["found"] and not r["as_sensor"] for r in mine),
            "told as instrument within ten minutes": sum(r["as_sensor_soon"] for r in mine),
            "not found": sum(not r["found"] for r in mine),
        }
    return table


def cost(site: Site, rounds: int = 180) -> dict[str, Any]:
    """Return what a round over the whole factory costs, against a z-score of every reading that it looks at."""
    plant, watcher = Plant(site, 1), FactoryWatch(site)
    watcher.rewire(plant.equipment, Grouping.of(plant.topology()))
    mean: list[ValueArray] = []
    spread: list[ValueArray] = []
    spent = {"watch": 0.0, "z": 0.0}
    for _ in range(rounds):
        plant.factory.step(10.0)
        readings = plant.read()
        begun = time.process_time()
        watcher.update(plant.factory.time_ms, readings, 10.0)
        spent["watch"] += time.process_time() - begun
        tables = [
            np.ravel(getattr(part, name))
            for part in (
                readings.racks,
                readings.cdus,
                readings.taps,
                readings.upses,
                readings.air,
                readings.gpus,
            )
            for name in type(part).__slots__
        ]
        begun = time.process_time()
        if not mean:
            mean, spread = [np.nan_to_num(t) for t in tables], [np.ones(len(t)) for t in tables]
        for i, table in enumerate(tables):
            off = np.where(np.isfinite(table), table - mean[i], 0.0)
            np.abs(off) / np.sqrt(spread[i])
            mean[i] = mean[i] + 0.001 * off
            spread[i] = 0.999 * spread[i] + 0.001 * off**2
        spent["z"] += time.process_time() - begun
    ms = {name: 1000 * seconds / rounds for name, seconds in spent.items()}
    held = sum(array.nbytes for _, array in memory.arrays(watcher))
    return {
        "watch_ms": figure(ms["watch"], "ms a round")
        | {"reference": round(ms["z"], 3), "ratio": round(ms["watch"] / ms["z"], 2)},
        "watch_core_share": figure(ms["watch"] / 10_000, "of a core, a round every 10 s"),
        "watch_memory": figure(held / 2**20, "MiB of arrays"),
    }


def mean_of(name: str, rows: Sequence[dict[str, Any]]) -> float:
    return float(statistics.mean([row[name] for row in rows] or [math.nan]))


def figure(value: float, unit: str) -> dict[str, Any]:
    known = None if math.isnan(value) else round(value, 4)
    return {"value": known, "unit": unit, "reference": None, "ratio": None}


def measure(options: argparse.Namespace) -> dict[str, Any]:
    site = first_racks(shipped_site(), options.racks)
    seeds, days, slow_days = options.seeds, options.healthy_days, options.slow_days
    begun = time.process_time()
    rows: list[dict[str, Any]] = []
    runs: list[Run] = []
    quiet: list[Run] = []
    false: list[Found] = []
    slow: list[dict[str, Any]] = []
    slow_false: list[Found] = []
    kinds = [k for k in kinds_watched(slow=False) if not options.only or k.name in options.only]
    for seed in seeds:
        found, its_runs, told, run = healthy_with_faults(site, kinds if options.faults else [], seed, options)
        rows += found
        runs += its_runs
        false += told
        quiet.append(run)
    for seed in seeds if slow_days else ():
        found, run = slow_faults(
            site, list(kinds_watched(slow=True)), seed, slow_days, options.roughness, options.traces
        )
        slow += found
        slow_false += run.found
        runs.append(run)
    runs += quiet
    all_rows = rows + slow
    hits = [r for r in all_rows if r["found"]]
    abrupt = [r["delay_s"] for r in rows if r["found"] and r["onset_s"] < 60]
    plant_rows = [r for r in hits if r["area"] != "sensor"]
    sensor_rows = [r for r in hits if r["area"] == "sensor"]
    weeks = max(days, len(seeds) * SETTLE_MS / DAY_MS) / 7
    slow_found = [r for r in slow if r["incidents"]]
    figures = {
        "faults_run": figure(len(all_rows), "count"),
        "found": figure(100 * len(hits) / max(len(all_rows), 1), "%"),
        "delay_median_abrupt": figure(statistics.median(abrupt) if abrupt else float("nan"), "s"),
        "root_right_first": figure(100 * sum(r["root_right"] for r in hits) / max(len(hits), 1), "%"),
        "sensor_faults_told_as_sensor": figure(100 * sum(r["as_sensor"] for r in sensor_rows) / max(len(sensor_rows), 1), "%"),
        "plant_faults_told_as_sensor": figure(100 * sum(r["as_sensor"] for r in plant_rows) / max(len(plant_rows), 1), "%"),
        "false_incidents_a_week": figure(len([f for f in false if not f.sensor]) / weeks, "1/week"),
        "false_instruments_a_week": figure(len([f for f in false if f.sensor]) / weeks, "1/week"),
        "round_ms": figure(1000 * sum(r.seconds for r in runs) / max(sum(r.rounds for r in runs), 1), "ms"),
        "core_share": figure(0.1 * sum(r.seconds for r in runs) / max(sum(r.rounds for r in runs), 1), "of a core, a round every 10 s"),
        "slow_false": figure(len([f for f in slow_false if not f.sensor]), f"in {len(seeds)} factories of {slow_days:g} days"),
        "incidents_a_fault": figure(statistics.mean([r["incidents"] for r in rows] or [math.nan]), "count"),
        "incidents_a_slow_fault": figure(mean_of("incidents", slow_found), "count")
        | {"reference": mean_of("openings", slow_found)},
        "most_openings_of_a_slow_fault": figure(max((r["openings"] for r in slow_found), default=math.nan), "count"),
        "cpu_seconds": figure(time.process_time() - begun, "s"),
    } | cost(site)  # fmt: skip
    return {
        "name": "faults",
        "machine": f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}",
        "figures": figures,
        "seeds": seeds,
        "roughness": options.roughness,
        "traces": 0 if options.traces is None else len(options.traces.traces),
        "racks": options.racks,
        "healthy_days": days,
        "worked": sum(len(run.found) for run in quiet) - len(false),
        "elsewhere": ELSEWHERE
        | {"collectors": tuple(k.name for k in Catalogue.shipped().values() if k.area in ON_THE_WIRE)},
        "confusion": confusion(all_rows),
        "faults": all_rows,
        "false": [f"{f.root}: {f.fault} ({f.evidence})" for f in [*false, *slow_false]],
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, nargs="+", default=list(SEEDS))
    parser.add_argument(
        "--roughness", type=int, choices=LEVELS, default=0, help="how unlike the model the plant is"
    )
    parser.add_argument("--healthy-days", type=float, default=14.0, help="in all, shared by the seeds")
    parser.add_argument("--step", type=float, default=30.0, help="between two readings of healthy days, s")
    parser.add_argument(
        "--tick",
        type=float,
        default=math.inf,
        help="steps in which the factory moves on healthy days, s; 1 as in the running simulator takes sixty times as long",
    )
    parser.add_argument(
        "--slow-days", type=float, default=14.0, help="of each seed; 0 leaves slow faults out"
    )
    parser.add_argument("--racks", type=int, default=96, help="only the first so many")
    parser.add_argument("--only", nargs="*", default=[], help="of the fast faults only these")
    parser.add_argument(
        "--no-faults", dest="faults", action="store_false", help="no fast faults, only healthy days"
    )
    parser.add_argument(
        "--quiet",
        type=int,
        default=0,
        metavar="N",
        help="instead: so many times one fault without a symptom at once in each pod, and whether it showed at all",
    )
    parser.add_argument("--traces", type=Path, help="folder of measured traces that the jobs replay")
    options = parser.parse_args()
    options.traces = None if options.traces is None else Traces.read(options.traces)
    if options.quiet:
        site = first_racks(shipped_site(), options.racks)
        rows = [row for seed in options.seeds for row in healthy_with_quiet_faults(site, seed, options)]
        told = {
            "seeds": options.seeds,
            "roughness": options.roughness,
            "quiet": summary(rows),
            "faults": rows,
        }
    else:
        told = measure(options)
    print(json.dumps(told, indent=2))


if __name__ == "__main__":
    main()
