"""The fault catalogue against the watch over the whole factory: `python -m benchmarks.faults` prints JSON.

Every fault that the watch is meant to find happens in factories with seeds that were not used in development, one at a
time (about 4 s of one core each); slow faults, which take days, share factories, one to a pod; healthy factories run for days and tell false
incidents. What alert rules see directly (leaks, silent sources, exceeded limits, GPU errors) is listed, not run.
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
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from analytics.anomaly import memory
from analytics.anomaly.incidents import Grouping
from analytics.anomaly.signatures import INSTRUMENTS
from analytics.anomaly.watch import FactoryWatch, PlantReadings
from benchmarks._watched_plant import START, Plant, shipped_site
from domain.points import ValueArray
from domain.site import Site
from simulator.faults import Catalogue, FaultKind, objects

STEP_S = 20.0
SLOW_STEP_S = 240.0
HEALTHY_STEP_S = 30.0
BEFORE_S, AFTER_S = 2400.0, 9000.0
SEEDS = (901, 902)
SOON_MS = 1_800_000
"""Within this time of its first mark a sensor's fault must be known as one."""

ELSEWHERE = {
    "alert rule on a state": ("leak-sensor-broken",),
    "alert rule on silent sources": ("pdu-dead", "ups-agent-dead", "tray-agent-dead", "bms-silent"),
    "alert rule on limits and forecasts": ("load-surge", "load-ramp-slow", "pod-overload"),
}  # fmt: skip
"""Faults that the watch does not look for, by who sees them."""
SLOW_S = 6 * 3600.0
"""A fault with such an onset or a longer one is slow."""


@dataclass
class Found:
    """One thing that was told: an incident, or an instrument that misbehaves."""

    time: int
    root: str
    fault: str
    sensor: bool
    evidence: str = ""


@dataclass
class Run:
    """What a watch told of one factory, and what it cost."""

    found: list[Found] = field(default_factory=list)
    rounds: int = 0
    seconds: float = 0.0


def watch(
    plant: Plant,
    duration_s: float,
    step_s: float,
    look: Callable[[PlantReadings], None] = lambda readings: None,
) -> Run:
    """Let a watch follow a plant; `look` sees every round's readings too."""
    watcher = FactoryWatch(plant.site)
    watcher.rewire(plant.equipment, Grouping.of(plant.topology()))
    run = Run()
    faulty: set[tuple[str, str]] = set()
    for _ in range(int(duration_s / step_s)):
        plant.factory.step(step_s)
        readings, now = plant.read(), plant.factory.time_ms
        begun = time.process_time()
        opened = watcher.update(now, readings, step_s)
        run.seconds += time.process_time() - begun
        run.rounds += 1
        look(readings)
        for cause in (i.cause for i in opened):
            evidence = "; ".join(cause.evidence)
            run.found.append(Found(now, cause.root, cause.fault, cause.fault in INSTRUMENTS, evidence))
        for key in watcher.faulty.keys() - faulty:
            run.found.append(Found(now, key[0], f"{key[1]} {watcher.faulty[key].name.lower()}", True))
        faulty = set(watcher.faulty)
    return run


def related(plant: Plant, target: str) -> set[str]:
    """Return the objects at which a fault of `target` may rightly be told."""
    topology = plant.topology()
    rack = target.partition("-")[0]
    near = {target, target.rpartition("-")[0]}
    near |= {rack} if rack in plant.site.racks else set()
    pods = [p for p in plant.site.pods if target == p.id or target in p.cdus or rack in p.racks]
    near |= {name for p in pods for name in (*p.racks, *p.cdus)}
    near |= {"CHW-PLANT", *plant.site.cdus, *plant.site.racks} if target == plant.site.id else set()
    return near | set(topology.downstream(target)) | set(topology.upstream(target))


def head(name: str) -> str:
    """Return the rack of a tray or GPU, any other object itself."""
    return name.partition("-T")[0] if "-T" in name and "TAP" not in name else name


def roots(plant: Plant, target: str) -> set[str]:
    """Return the roots that are right: the target, the tray of a GPU, either CDU of a pod."""
    pod = next((p for p in plant.site.pods if p.id == target), None)
    if pod is not None:
        return {target, *pod.cdus}
    if target == plant.site.id:
        return {target, "CHW-PLANT"}
    return {target, target.rpartition("-")[0]} if "-G" in target else {target}


def judge(
    plant: Plant, run: Run, kind: FaultKind, target: str, onset: int, near: set[str] | None = None
) -> dict[str, Any]:
    """Return what became of a fault; `near` are the objects at which it may rightly be told, if not all `related` ones."""
    near, right = near or related(plant, target), roots(plant, target)
    hits = [f for f in run.found if f.time >= onset and f.root in near]
    first = hits[0] if hits else None
    return {
        "fault": kind.name,
        "area": kind.area,
        "target": target,
        "found": first is not None,
        "delay_s": None if first is None else (first.time - onset) / 1000,
        "onset_s": kind.onset,
        "root": None if first is None else first.root,
        "root_right": first is not None and first.root in right,
        "told": [f"{f.root}: {f.fault}" for f in hits[:4]],
        "as_sensor": first is not None and first.sensor,
        "as_sensor_soon": first is not None
        and any(f.sensor for f in hits if f.time <= first.time + SOON_MS and f.root in right),
        "incidents": len([f for f in run.found if f.time >= onset and head(f.root) in near and not f.sensor]),
        "false": len([f for f in run.found if (f.time < onset or head(f.root) not in near) and not f.sensor]),
    }


def one_fault(site: Site, kind: FaultKind, seed: int) -> tuple[dict[str, Any], Run]:
    plant = Plant(site, seed)
    rng = np.random.default_rng([seed, sum(kind.name.encode())])
    kinds = objects(plant.factory.layout, site.id)
    target = str(rng.choice([name for name, k in kinds.items() if k == kind.object]))
    onset = START + round(BEFORE_S * 1000)
    plant.factory.raise_fault(kind.name, target, onset, float(rng.uniform(*kind.severity)))
    run = watch(plant, BEFORE_S + AFTER_S, STEP_S)
    return judge(plant, run, kind, target, onset), run


def slow_faults(
    site: Site, kinds: list[FaultKind], seed: int, days: float
) -> tuple[list[dict[str, Any]], Run]:
    """Let all slow faults grow in one factory, each in a pod of its own."""
    plant = Plant(site, seed)
    rng = np.random.default_rng([seed, 7])
    pods = rng.permutation(len(site.pods))
    known = objects(plant.factory.layout, site.id)
    onset = START + 26 * 3_600_000  # the first day is the reference
    raised = []
    for kind, at in zip(kinds, pods, strict=False):
        target = str(
            rng.choice([n for n, k in known.items() if k == kind.object and n in of_pod(plant, int(at))])
        )
        plant.factory.raise_fault(kind.name, target, onset, float(rng.uniform(*kind.severity)))
        near = {target, target.rpartition("-")[0], target.partition("-")[0]}
        raised.append((kind, target, near | roots(plant, target)))
    run = watch(plant, days * 86400, SLOW_STEP_S)
    rows = [judge(plant, run, kind, target, onset, near) for kind, target, near in raised]
    right = {name for _, _, near in raised for name in near}
    for row in rows:  # what is told at none of them is false, once for the whole factory
        row["false"] = 0
    run.found = [f for f in run.found if f.root not in right or f.time < onset]
    return rows, run


def of_pod(plant: Plant, pod: int) -> set[str]:
    """Return all objects of a pod: racks and what is in them, CDUs, air handlers, and a UPS of its own number."""
    layout, site = plant.factory.layout, plant.site.pods[pod]
    heads = {site.id, *site.cdus, *site.racks}
    air = {unit for unit, of in zip(layout.crahs, layout.crah_pod.tolist(), strict=True) if of == pod}
    own = {
        name for name in objects(layout, plant.site.id) if name.partition("-")[0] in heads or name in heads
    }
    return own | air | {layout.ups[pod % len(layout.ups)]}


def healthy(site: Site, seed: int, days: float) -> Run:
    return watch(Plant(site, seed), days * 86400, HEALTHY_STEP_S)


def kinds_watched(slow: bool) -> Iterator[FaultKind]:
    elsewhere = {name for names in ELSEWHERE.values() for name in names}
    for kind in Catalogue.shipped().values():
        if kind.name not in elsewhere and (kind.onset >= SLOW_S) == slow:
            yield kind


def confusion(rows: list[dict[str, Any]]) -> dict[str, dict[str, int]]:
    """Return how often faults of instruments and of the plant were told as which, at first and within half an hour."""
    table = {}
    for kind, of in (("instrument", "sensor"), ("plant", "")):
        mine = [r for r in rows if (r["area"] == "sensor") == (of == "sensor")]
        table[kind] = {
            "run": len(mine),
            "first told as instrument": sum(r["as_sensor"] for r in mine),
            "first told as plant": sum(r["found"] and not r["as_sensor"] for r in mine),
            "told as instrument within half an hour": sum(r["as_sensor_soon"] for r in mine),
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


def figure(value: float, unit: str) -> dict[str, Any]:
    known = None if math.isnan(value) else round(value, 4)
    return {"value": known, "unit": unit, "reference": None, "ratio": None}


def measure(seeds: list[int], days: float, slow_days: float, names: list[str]) -> dict[str, Any]:
    site = shipped_site()
    begun = time.process_time()
    rows, runs, quiet = [], [], []
    for kind in kinds_watched(slow=False):
        for seed in seeds:
            if not names or kind.name in names:
                row, run = one_fault(site, kind, seed)
                rows.append(row)
                runs.append(run)
                print(
                    kind.name, seed, row["target"], row["delay_s"], row["told"], file=sys.stderr, flush=True
                )
    slow: list[dict[str, Any]] = []
    slow_false: list[Found] = []
    for seed in seeds if slow_days else ():
        found, run = slow_faults(site, list(kinds_watched(slow=True)), seed, slow_days)
        slow += found
        slow_false += run.found
        runs.append(run)
    if days:
        quiet = [healthy(site, seed + 1000, days / len(seeds)) for seed in seeds]
    runs += quiet
    all_rows = rows + slow
    hits = [r for r in all_rows if r["found"]]
    abrupt = [r["delay_s"] for r in rows if r["found"] and r["onset_s"] < 60]
    plant_rows = [r for r in hits if r["area"] != "sensor"]
    sensor_rows = [r for r in hits if r["area"] == "sensor"]
    false = [f for run in quiet for f in run.found]
    weeks = days / 7 if quiet else float("nan")
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
        "cpu_seconds": figure(time.process_time() - begun, "s"),
    } | cost(site)  # fmt: skip
    return {
        "name": "faults",
        "machine": f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}",
        "figures": figures,
        "seeds": seeds,
        "healthy_days": days,
        "elsewhere": ELSEWHERE,
        "confusion": confusion(all_rows),
        "faults": all_rows,
        "false": [f"{f.root}: {f.fault} ({f.evidence})" for f in [*false, *slow_false]],
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, nargs="+", default=list(SEEDS))
    parser.add_argument("--healthy-days", type=float, default=14.0, help="in all, shared by the seeds")
    parser.add_argument(
        "--slow-days", type=float, default=14.0, help="of each seed; 0 leaves slow faults out"
    )
    parser.add_argument("--only", nargs="*", default=[], help="of the fast faults only these")
    options = parser.parse_args()
    print(json.dumps(measure(options.seeds, options.healthy_days, options.slow_days, options.only), indent=2))


if __name__ == "__main__":
    main()
