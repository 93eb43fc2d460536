"""Runs of the fault benchmark: a watch that follows a factory, copies of both in which a fault happens, and what became of it."""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from analytics.anomaly.incidents import Grouping
from analytics.anomaly.signatures import INSTRUMENTS
from analytics.anomaly.watch import FactoryWatch, PlantReadings
from benchmarks._watched_plant import START, Plant
from domain.said import told
from domain.site import Site
from simulator.faults import FaultKind, objects
from simulator.traces import Traces

STEP_S = 20.0
SLOW_STEP_S = 240.0
DAY_MS = 86_400_000
AFTER_S = 9000.0
"""A fault is looked for so long,"""
GO_ON_S = 600.0
"""and the factory is followed for so long once it is found."""
SOON_MS = 600_000
"""Within this time of its first mark a sensor's fault must be known as one."""
WORK_MS = 3_600_000
"""What shows at an object within this time of the end of works on it, the works may have done."""
ACCEPT_MS = 1_200_000
"""So long after the end whoever worked there takes its new state as usual (`hallwatch accept`), as the handbook asks."""


@dataclass
class Found:
    """One thing that was told: an incident that opened, for the first time or again, or an instrument that misbehaves."""

    time: int
    root: str
    fault: str
    sensor: bool
    evidence: str = ""
    number: int = 0
    """Of the incident; it keeps it when it comes back."""


@dataclass
class Run:
    """What a watch told of one factory, and what it cost."""

    found: list[Found] = field(default_factory=list)
    rounds: int = 0
    seconds: float = 0.0


class Watched:
    """A factory, the watch that follows it, and what it has told."""

    def __init__(self, site: Site, seed: int, roughness: int, traces: Traces | None = None) -> None:
        self.plant = Plant(site, seed, roughness=roughness, traces=traces)
        self.watch = FactoryWatch(site)
        self.watch.rewire(self.plant.equipment, Grouping.of(self.plant.topology()))
        self.run = Run()
        self._faulty: set[tuple[str, str]] = set()
        self._accepted = 0

    def copy(self) -> Watched:
        """Return another one that is as this one is now, and has told nothing yet."""
        plant = self.plant
        shared = (plant.site, plant.equipment, plant.factory.faults.catalogue, self.watch.book.grouping)
        shared += (
            plant.bms.points,
            plant.bms.payloads,
            plant.bms.keys,
            plant.where,
            plant.factory.layout,
            plant.factory.workload,
        )  # type: ignore[assignment]
        other = copy.deepcopy(self, {id(each): each for each in shared})
        other.run = Run()
        return other

    def go(
        self,
        until_ms: int,
        step_s: float,
        enough: Callable[[Run], bool] = lambda run: False,
        look: Callable[[PlantReadings], None] = lambda readings: None,
        tick: float = math.inf,
    ) -> Run:
        """Follow the factory until a time, or until there is `enough`; `look` sees every round's readings too.

        The factory moves in steps of a `tick`, s, which is 1 in the running simulator: what flickers shows only then.
        """
        plant, watch, run = self.plant, self.watch, self.run
        while plant.factory.time_ms < until_ms and not enough(run):
            plant.move(step_s, tick)
            readings, now = plant.read(), plant.factory.time_ms
            begun = time.process_time()
            opened = watch.update(now, readings, step_s)
            run.seconds += time.process_time() - begun
            run.rounds += 1
            look(readings)
            self._accept_works(now)
            for incident in opened:
                cause = incident.cause
                evidence = "; ".join(told(said) for said in cause.evidence)
                sensor = cause.fault in INSTRUMENTS
                run.found.append(Found(now, cause.root, cause.fault, sensor, evidence, incident.number))
            for key in watch.faulty.keys() - self._faulty:
                run.found.append(Found(now, key[0], f"{key[1]} {watch.faulty[key].name.lower()}", True))
            self._faulty = set(watch.faulty)
        return run

    def _accept_works(self, now: int) -> None:
        """Take as usual what people have left behind."""
        works = self.plant.factory.roughness.works
        while self._accepted < len(works) and works[self._accepted].end + ACCEPT_MS <= now:
            self.watch.accept(works[self._accepted].target)
            self._accepted += 1


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
    here = [f for f in run.found if f.time >= onset and head(f.root) in near and not f.sensor]
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
        "incidents": len({f.number for f in here}),
        "openings": len(here),
        "false": len([f for f in unworked(plant, run.found) if head(f.root) not in near and not f.sensor]),
    }


def unworked(plant: Plant, found: list[Found]) -> list[Found]:
    """Return what was told without anybody having worked at the place."""
    works = [(related(plant, w.target), w.start, w.end + WORK_MS) for w in plant.factory.roughness.works]
    return [
        f
        for f in found
        if not any(start <= f.time <= end and {f.root, head(f.root)} & near for near, start, end in works)
    ]


def one_fault(watched: Watched, kind: FaultKind, seed: int) -> tuple[dict[str, Any], Run]:
    """Let a fault happen to a copy of a factory that has been followed so far; return what became of it."""
    other = watched.copy()
    plant = other.plant
    rng = np.random.default_rng([seed, sum(kind.name.encode())])
    target = str(rng.choice(targets(plant, kind)))
    onset = plant.factory.time_ms + 60_000
    plant.factory.raise_fault(kind.name, target, onset, float(rng.uniform(*kind.severity)))
    near = related(plant, target)

    def enough(run: Run) -> bool:
        first = next((f.time for f in run.found if f.time >= onset and f.root in near), None)
        return first is not None and plant.factory.time_ms > first + GO_ON_S * 1000

    run = other.go(onset + round(AFTER_S * 1000), STEP_S, enough)
    return judge(plant, run, kind, target, onset), run


def targets(plant: Plant, kind: FaultKind) -> list[str]:
    """Return the objects that a fault can happen to and show at: in service, with coolant and instrument where it is about them."""
    factory, bms = plant.factory, plant.bms
    layout = factory.layout
    dark = {rack for rack, live in zip(layout.racks, factory.live, strict=True) if not live}
    pods = np.unique(layout.rack_pod[factory.live])
    dark |= {c for c, pod in zip(layout.cdus, layout.cdu_pod, strict=True) if pod not in pods}
    dark |= {name for i, name in enumerate(layout.pods) if i not in pods}
    of_coolant = any(
        (e.knob or "").startswith(("rack_valve", "rack_blockage", "rack_isolated", "rack_leak"))
        for e in kind.effects
    ) or any((e.point or "").startswith("RackLiquid") for e in kind.effects)
    if of_coolant:
        dark |= {r for r, air in zip(layout.racks, factory.plant.built.air_cooled, strict=True) if air}
    told = {
        (p.point.object_id, p.point.point_type)
        for p, there in zip(bms.points, bms.present, strict=True)
        if there
    }
    known = {p.point.point_type for p in bms.points}
    needed = {e.point for e in kind.effects if e.point in known}
    return [
        name
        for name, k in objects(layout, plant.site.id).items()
        if k == kind.object and name.partition("-T")[0] not in dark and all((name, p) in told for p in needed)
    ]


def slow_faults(
    site: Site, kinds: list[FaultKind], seed: int, days: float, roughness: int, traces: Traces | None = None
) -> tuple[list[dict[str, Any]], Run]:
    """Let all slow faults grow in one factory, each in a pod of its own."""
    watched = Watched(site, seed, roughness, traces)
    plant = watched.plant
    rng = np.random.default_rng([seed, 7])
    pods = rng.permutation(np.unique(plant.factory.layout.rack_pod[plant.factory.live]))
    onset = START + 26 * 3_600_000  # the first day is the reference
    raised = []
    for kind, at in zip(kinds, np.resize(pods, len(kinds)), strict=True):
        here = of_pod(plant, int(at))
        target = str(rng.choice([name for name in targets(plant, kind) if name in here]))
        plant.factory.raise_fault(kind.name, target, onset, float(rng.uniform(*kind.severity)))
        near = {target, target.rpartition("-")[0], target.partition("-")[0]}
        raised.append((kind, target, near | roots(plant, target)))
    run = watched.go(START + round(days * DAY_MS), SLOW_STEP_S)
    rows = [judge(plant, run, kind, target, onset, near) for kind, target, near in raised]
    right = {name for _, _, near in raised for name in near}
    for row in rows:  # what is told at none of them is false, once for the whole factory
        row["false"] = 0
    run.found = [f for f in unworked(plant, run.found) if f.root not in right or f.time < onset]
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
