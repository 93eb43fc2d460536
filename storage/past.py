"""What every point told at a past moment, in the place of the newest values.

While raw readings are kept it is the reading itself, as it stood then. Before that it is the value of the step that holds
the moment, of the finest tier that has any: numbers by their mean over time, states by the last that was told.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from domain.batch import Batch
from domain.points import IntArray, PointRegistry, Quality
from storage.latest import LatestValues
from storage.settings import HOUR, MINUTE
from storage.steps import floor_to
from storage.telemetry import Aggregate, TelemetryStore
from storage.tiers import TIERS

NEAR_MS = 4 * MINUTE
"""Most points told something so long before any moment: a DSX publisher repeats what does not change every 100 s."""
REACH_MS = HOUR
"""What was told longer before the moment is missing: the store is not searched for it any further."""
STEPS_BACK = {"minute": 5, "quarter": 2, "hour": 2}
"""Steps of a tier that are looked through, the one that holds the moment among them."""


@dataclass(frozen=True, slots=True)
class PastValues:
    """What stood at a moment, and of how long a step it is: 0 for readings, else ms."""

    latest: LatestValues
    step: int


def values_at(
    store: TelemetryStore, registry: PointRegistry, moment: int, behind: Mapping[str, int] | None = None
) -> PastValues:
    """Return what every point told at `moment` (UTC ms), with the times at which it was observed. Blocks.

    Parameters
    ----------
    store, registry, moment
        What was told, of which points, and when.
    behind
        By source, how far its clock is known to be behind, ms: what it told at the moment carries a time so much earlier.

    Raises
    ------
    StorageError
        If the store does not answer.
    """
    latest = LatestValues(registry)
    points = np.arange(len(registry), dtype=np.int32)
    points = points[~registry.are_retired(points)]
    if moment >= store.raw_from:
        off = np.zeros(len(points), np.int64)
        if behind:
            off[:] = [behind.get(registry[int(i)].source, 0) for i in points]
        for late in np.unique(off).tolist():
            of_these, then = points[off == late], moment - late  # by the clock of their source
            found = store.newest(of_these, then - NEAR_MS, then + 1)
            _put(latest, found, late)
            rest = of_these[~np.isin(of_these, found.point)]
            _put(latest, store.newest(rest, then - REACH_MS, then - NEAR_MS), late)
        return PastValues(latest, 0)
    states = np.array([registry[int(i)].is_state for i in points], bool)
    for name, step in TIERS.items():
        start = floor_to(moment, step) - (STEPS_BACK[name] - 1) * step
        some = [
            _of_tier(latest, store, points[chosen], start, step, moment, how)
            for chosen, how in ((~states, Aggregate.TIME_WEIGHTED), (states, Aggregate.LAST))
        ]
        if any(some):
            return PastValues(latest, step)
    return PastValues(latest, max(TIERS.values()))


def _of_tier(
    latest: LatestValues,
    store: TelemetryStore,
    points: IntArray,
    start: int,
    step: int,
    moment: int,
    how: Aggregate,
) -> int:
    """Take over the last value of each point in the steps up to the one that holds the moment; return how many have one."""
    if not len(points):
        return 0
    grid = store.aggregate(points, start, floor_to(moment, step) + step, step, how)
    known = ~np.isnan(grid.values)
    rows = np.flatnonzero(known.any(axis=1))
    last = known.shape[1] - 1 - np.argmax(known[rows, ::-1], axis=1)
    observed = np.minimum(grid.start[last] + step - 1, moment).astype(np.int64)
    quality = np.full(len(rows), Quality.GOOD, np.uint8)  # what was bad takes part in no rollup
    latest.put(grid.point[rows], observed, grid.values[rows, last], quality, observed)
    return len(rows)


def _put(latest: LatestValues, told: Batch, late: int) -> None:
    seen = told.observed + late
    latest.put(told.point, told.observed, told.value, told.quality, seen, seen)
