"""Faults that have no symptom at once, many at a time: how many of them show at all, and how many are found.

What sticks where it stands shows nothing before what it should follow has moved. So each is compared with a copy of the same
factory to which it does not happen, same noise included: it shows once a reading of its object differs by more than instruments resolve.
"""

from __future__ import annotations

import math
import statistics
from typing import Any

import numpy as np

from benchmarks._fault_runs import AFTER_S, STEP_S, Watched, judge, of_pod, targets
from simulator.faults import FaultKind

QUIET = ("rack-valve-stuck", "cdu-valve-stuck", "sensor-stuck")
NOISES = 3.0
"""An instrument resolves so many times its noise, its step and its deadband together."""
LASTING = 3
"""A difference counts once it has lasted for so many readings."""


class Oracle:
    """Knows a factory without its faults, and tells when each object first read otherwise than it should have.

    Parameters
    ----------
    watched
        The factory to which the faults will happen; none has yet.
    targets
        At which objects.
    """

    def __init__(self, watched: Watched, targets: list[str]) -> None:
        self._plant, self._healthy = watched.plant, watched.copy().plant
        bms = self._plant.bms
        place = {name: np.array([p.point.object_id == name for p in bms.points]) for name in targets}
        self._where = {name: np.flatnonzero(mine & (bms.noise > 0)) for name, mine in place.items()}
        self._least = NOISES * bms.noise + bms.resolution + bms.deadband
        self._lasted = dict.fromkeys(targets, 0)
        self.shown: dict[str, int] = {}
        """When each object first showed, UTC ms."""

    def look(self) -> None:
        """Take the healthy factory to where the other one is, and compare what both tell."""
        self._healthy.move(STEP_S, math.inf)
        self._healthy.read()
        told, right = self._plant.bms.read().value, self._healthy.bms.read().value
        apart = np.abs(told - right) > self._least
        for name, where in self._where.items():
            self._lasted[name] = self._lasted[name] + 1 if apart[where].any() else 0
            if self._lasted[name] >= LASTING:
                self.shown.setdefault(name, self._plant.factory.time_ms)


def quiet_faults(watched: Watched, kinds: list[FaultKind], number: int, seed: int) -> list[dict[str, Any]]:
    """Let one quiet fault happen in each pod of a copy of a factory; return what became of them."""
    other = watched.copy()
    plant = other.plant
    rng = np.random.default_rng([seed, number, 13])
    onset = plant.factory.time_ms + 60_000
    raised = []
    for pod in range(len(plant.site.pods)):
        kind = kinds[(pod + number) % len(kinds)]
        here = [name for name in targets(plant, kind) if name in of_pod(plant, pod)]
        if here:
            raised.append((kind, str(rng.choice(here)), of_pod(plant, pod)))
    oracle = Oracle(other, [target for _, target, _ in raised])
    for kind, target, _ in raised:
        plant.factory.raise_fault(kind.name, target, onset, 1.0)
    run = other.go(onset + round(AFTER_S * 1000), STEP_S, look=lambda readings: oracle.look())
    rows = []
    for kind, target, near in raised:
        row = judge(plant, run, kind, target, onset, near)
        shown = oracle.shown.get(target)
        rows.append(row | {"shown_s": None if shown is None else (shown - onset) / 1000})
    return rows


def summary(rows: list[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """Return by kind how many were run, showed, and were found, and how long both took in the median, s."""
    table: dict[str, dict[str, Any]] = {}
    for kind in dict.fromkeys(row["fault"] for row in rows):
        mine = [row for row in rows if row["fault"] == kind]
        found, shown = [r for r in mine if r["found"]], [r for r in mine if r["shown_s"] is not None]
        table[kind] = {
            "run": len(mine),
            "shown": len(shown),
            "found": len(found),
            "found of those shown": sum(r["found"] for r in shown),
            "root right": sum(r["root_right"] for r in found),
            "shown_median_s": statistics.median([r["shown_s"] for r in shown]) if shown else None,
            "found_median_s": statistics.median([r["delay_s"] for r in found]) if found else None,
        }
    return table
