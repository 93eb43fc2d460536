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
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from analytics.anomaly.air import AirReadings
from analytics.anomaly.cdus import CduReadings
from analytics.anomaly.gpus import GpuTable
from analytics.anomaly.incidents import Grouping
from analytics.anomaly.racks import RackReadings
from analytics.anomaly.signatures import INSTRUMENTS
from analytics.anomaly.taps import TapReadings
from analytics.anomaly.upses import UpsReadings
from analytics.anomaly.virtual import coolant_heat
from analytics.anomaly.watch import Equipment, FactoryWatch, PlantReadings, Taps, feeds_of
from analytics.gather import FRESH_MS
from domain.points import Quality, ValueArray
from domain.site import Site
from domain.topology import PlantObject, Topology
from simulator.bms import Bms
from simulator.factory import Factory
from simulator.faults import Catalogue, FaultKind, objects
from simulator.nvml_values import GpuReadings
from simulator.snmp.devices import cooling_unit, ups

ROOT = Path(__file__).parent.parent
START = 1_780_000_000_000
STEP_S = 20.0
SLOW_STEP_S = 240.0
HEALTHY_STEP_S = 30.0
BEFORE_S, AFTER_S = 2400.0, 9000.0
SEEDS = (901, 902)

ELSEWHERE = {
    "alert rule on a state": ("leak-sensor-broken",),
    "alert rule on silent sources": ("pdu-dead", "ups-agent-dead", "tray-agent-dead", "bms-silent"),
    "alert rule on limits and forecasts": ("load-surge", "load-ramp-slow", "pod-overload"),
}  # fmt: skip
"""Faults that the watch does not look for, by who sees them."""
SLOW_S = 6 * 3600.0
"""A fault with such an onset or a longer one is slow."""


class Plant:
    """A simulated factory, read the way the service reads it."""

    def __init__(self, site: Site, seed: int) -> None:
        self.site = site
        self.factory = Factory(site, seed, START)
        self.bms = Bms(self.factory)
        self.gpus = GpuReadings(self.factory)
        layout = self.factory.layout
        self.setpoint: dict[str, int] = {}
        self.where: dict[tuple[str, str, str], dict[str, int]] = {}
        for i, p in enumerate(self.bms.points):
            q = p.point
            if q.setpoint:
                if q.point_type == "LiquidTemperature":
                    self.setpoint[q.object_id] = i
            else:
                key = (q.object_type, q.point_type, " ".join(q.process_area) + q.phase)
                self.where.setdefault(key, {})[q.object_id] = i
        taps = layout.taps()
        self.taps = Taps(
            tuple(taps),
            tuple(np.repeat(layout.racks, 2).tolist()),
            tuple(layout.busways[b] for b in layout.tap_busway.ravel()),
        )
        self._ups, self._air = ups().values, cooling_unit().values
        gpus = [
            ["{}-{}-G{}".format(*self.factory.gpu_name(r * layout.gpus_per_rack + g)) for g in range(layout.gpus_per_rack)]
            for r in range(len(layout.racks))
        ]  # fmt: skip
        self.equipment = Equipment(self.taps, layout.ups, layout.crahs, gpus, "CHW-PLANT")

    def topology(self) -> Topology:
        """Return what serves what, GPUs and trays by name only."""
        gpus = [PlantObject(g, "GPU") for row in self.equipment.gpus for g in row]
        air = [PlantObject(name, "CRAH") for name in self.equipment.air_units]
        trays = [PlantObject(name, "Tray") for name in {g.id.rpartition("-")[0] for g in gpus}]
        known = (p.point for p in self.bms.points)
        return Topology.from_points(known, [*self.site.objects(), *gpus, *trays, *air], self.site.edges())

    def read(self) -> PlantReadings:
        """Return what the instruments tell now."""
        reading = self.bms.read()
        table = reading.value * self.bms.scale + self.bms.offset
        table[reading.quality == Quality.BAD] = np.nan
        table[np.abs(reading.late) > FRESH_MS] = np.nan  # as the service does

        def of(kind: str, point: str, ids: tuple[str, ...], area: str = "") -> ValueArray:
            found = self.where[kind, point, area]
            return np.asarray(table[[found[i] for i in ids]])

        racks, cdus, taps = self.site.racks, self.site.cdus, self.taps.ids
        shape = (len(racks), self.site.rack_gpus)
        told = {name: np.asarray(column, float).reshape(shape) for name, column in self.gpus.told().items()}
        temperature, gpu_power = told["GpuTemperature"], told["GpuPower"]
        upses, air = self._ups(self.bms.meters).astype(float), self._air(self.bms.meters).astype(float)
        power = of("Rack", "RackPower", racks)
        flow = of("CDU", "LiquidFlow", cdus, "Secondary")
        return PlantReadings(
            RackReadings(
                power,
                of("Rack", "RackLiquidSupplyTemperature", racks),
                of("Rack", "RackLiquidReturnTemperature", racks),
                of("Rack", "RackLiquidFlow", racks),
                of("Rack", "RackLiquidDifferentialPressure", racks),
                np.fmax.reduce(temperature, axis=1),
                gpu_power.mean(axis=1),
                of("Rack", "RackControlValvePosition", racks),
                of("Rack", "RackLeakDetect", racks),
            ),
            CduReadings(
                flow,
                of("CDU", "LiquidDifferentialPressure", cdus, "Secondary"),
                of("CDU", "PumpSpeed", cdus, "Secondary Pump1"),
                of("CDU", "LiquidDifferentialPressure", cdus, "Secondary Filter1"),
                of("CDU", "LiquidTemperature", cdus, "Secondary Supply"),
                of("CDU", "LiquidTemperature", cdus, "Secondary Return"),
                of("CDU", "LiquidFlow", cdus, "Primary"),
                coolant_heat(power, flow, self.factory.layout.rack_pod, self.factory.layout.cdu_pod),
                of("CDU", "ValvePosition", cdus, "Primary"),
                table[[self.setpoint[name] for name in cdus]],
                of("CDU", "LiquidPressure", cdus, "Secondary Return"),
            ),
            TapReadings(
                of("PowerMeter", "ActivePower", taps),
                of("PowerMeter", "PowerFactor", taps),
                of("PowerMeter", "Voltage", taps),
                np.stack([of("PowerMeter", "PhaseCurrent", taps, p) for p in "ABC"], axis=1),
                np.repeat(power, 2),
            ),
            # columns of the UPS-MIB's and the cooling unit's tables (simulator.snmp.devices), the up-time before them
            UpsReadings(
                upses[:, [12, 16, 20]].sum(axis=1),
                upses[:, [25, 29, 33]].sum(axis=1),
                upses[:, 10],
                upses[:, 4] / 100.0,
                upses[:, 3] * 60.0,
            ),
            AirReadings(air[:, 6] / 1000.0, air[:, 5], air[:, 7]),
            GpuTable(
                temperature,
                told["GpuMemoryTemperature"],
                gpu_power,
                told["GpuClock"],
                told["GpuUtilization"],
                told["GpuAvailable"],
                told["GpuEccCorrected"],
                told["GpuEccUncorrected"],
                told["GpuNvlinkErrors"],
            ),
            of("PowerMeter", "Voltage", feeds_of(self.site)),
            float(of("Chiller", "LiquidTemperature", ("CHW-PLANT",), "Supply")[0]),
            reading.late[[self.where["Rack", "RackPower", ""][name] for name in racks]] / 1000.0,
        )


@dataclass
class Found:
    """One thing that was told: an incident, or an instrument that misbehaves."""

    time: int
    root: str
    fault: str
    sensor: bool


@dataclass
class Run:
    """What a watch told of one factory, and what it cost."""

    found: list[Found] = field(default_factory=list)
    rounds: int = 0
    seconds: float = 0.0


def watch(plant: Plant, duration_s: float, step_s: float) -> Run:
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
        run.found += [Found(now, i.cause.root, i.cause.fault, i.cause.fault in INSTRUMENTS) for i in opened]
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
    near |= {"CHW-PLANT"} if target == plant.site.id else set()
    return near | set(topology.downstream(target)) | set(topology.upstream(target))


def roots(plant: Plant, target: str) -> set[str]:
    """Return the roots that are right: the target, the tray of a GPU, either CDU of a pod."""
    pod = next((p for p in plant.site.pods if p.id == target), None)
    if pod is not None:
        return {target, *pod.cdus}
    if target == plant.site.id:
        return {target, "CHW-PLANT"}
    return {target, target.rpartition("-")[0]} if "-G" in target else {target}


def judge(plant: Plant, run: Run, kind: FaultKind, target: str, onset: int) -> dict[str, Any]:
    near, right = related(plant, target), roots(plant, target)
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
        "false": len([f for f in run.found if (f.time < onset or f.root not in near) and not f.sensor]),
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
    onset = START + 6 * 3_600_000
    raised = []
    for kind, at in zip(kinds, pods, strict=False):
        pod = site.pods[int(at)]
        names = {*pod.cdus, *pod.racks}
        candidates = [
            name
            for name, k in known.items()
            if k == kind.object and (name in names or name.partition("-")[0] in names)
        ]
        target = str(rng.choice(candidates))
        plant.factory.raise_fault(kind.name, target, onset, float(rng.uniform(*kind.severity)))
        raised.append((kind, target))
    run = watch(plant, days * 86400, SLOW_STEP_S)
    return [judge(plant, run, kind, target, onset) for kind, target in raised], run


def healthy(site: Site, seed: int, days: float) -> Run:
    return watch(Plant(site, seed), days * 86400, HEALTHY_STEP_S)


def kinds_watched(slow: bool) -> Iterator[FaultKind]:
    elsewhere = {name for names in ELSEWHERE.values() for name in names}
    for kind in Catalogue.shipped().values():
        if kind.name not in elsewhere and (kind.onset >= SLOW_S) == slow:
            yield kind


def figure(value: float, unit: str) -> dict[str, Any]:
    known = None if math.isnan(value) else round(value, 4)
    return {"value": known, "unit": unit, "reference": None, "ratio": None}


def measure(seeds: list[int], days: float, slow_days: float, names: list[str]) -> dict[str, Any]:
    site = Site.model_validate(yaml.safe_load((ROOT / "config" / "site.yaml").read_text()))
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
    if slow_days:
        slow, run = slow_faults(site, list(kinds_watched(slow=True)), seeds[0], slow_days)
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
        "cpu_seconds": figure(time.process_time() - begun, "s"),
    }  # fmt: skip
    return {
        "name": "faults",
        "machine": f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}",
        "figures": figures,
        "seeds": seeds,
        "healthy_days": days,
        "elsewhere": ELSEWHERE,
        "faults": all_rows,
        "false": [f"{f.root}: {f.fault}" for f in false],
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, nargs="+", default=list(SEEDS))
    parser.add_argument("--healthy-days", type=float, default=3.0, help="in all, shared by the seeds")
    parser.add_argument("--slow-days", type=float, default=12.0, help="0 leaves slow faults out")
    parser.add_argument("--only", nargs="*", default=[], help="of the fast faults only these")
    options = parser.parse_args()
    print(json.dumps(measure(options.seeds, options.healthy_days, options.slow_days, options.only), indent=2))


if __name__ == "__main__":
    main()
