"""Whether batteries carry a part of the load: a UPS that gives more than it takes.

Meters at the utility's handoff do not see that part, so what is worked out from them and from the load (PUE, tokens a joule)
is too good as long as it lasts.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from domain.points import IntArray, Quality
from storage.plant import NO_POINT, PlantView
from storage.settings import QUARTER
from storage.telemetry import Aggregate

SEEN_BY_BOTH = 0.97
"""Feeds and racks are read at different moments, by different meters: so much less may the feeds tell."""
GIVES_MORE = 0.99
"""A UPS takes what it gives and its losses, 2 % and more; its two meters differ by less than a hundredth."""


def power_for_work(plant: PlantView, newest_before: int) -> float:
    """Return the power that the site's work costs now, W; NaN where its meters do not tell all of it.

    A meter that is silent since `newest_before` (UTC ms) tells nothing; meters that tell less than the racks draw miss
    what comes from batteries or from a feed that they do not measure.
    """
    site = plant.power_now(plant.site.id)
    if math.isnan(site.value) or site.observed < newest_before or site.quality == Quality.BAD:
        return math.nan
    racks = np.nansum(plant.values(plant.rack_points("RackPower"), newest_before))
    if site.value < SEEN_BY_BOTH * racks or discharging(plant, newest_before):
        return math.nan
    return site.value


def discharging(plant: PlantView, newest_before: int) -> tuple[str, ...]:
    """Return the UPSes whose batteries carry load now; what is silent since `newest_before` (UTC ms) says nothing."""
    names, taken, given = _meters(plant)
    drained = plant.values(taken, newest_before) < GIVES_MORE * plant.values(given, newest_before)
    return tuple(name for name, of in zip(names, drained.tolist(), strict=True) if of)


def discharged(plant: PlantView, start: int, end: int) -> NDArray[np.bool_]:
    """Return in which quarter hours of [start, end) (UTC ms) batteries carried load, by the means of their UPSes' powers."""
    _, taken, given = _meters(plant)
    steps = len(np.arange(start - start % QUARTER, end, QUARTER))
    if not len(taken):
        return np.zeros(steps, np.bool_)
    grid = plant.history(np.unique(np.concatenate([taken, given])), start, end, QUARTER, Aggregate.MEAN)
    row = {int(point): i for i, point in enumerate(grid.point)}

    def of(points: IntArray) -> NDArray[np.float64]:
        unknown = np.full(len(grid.start), np.nan)
        return np.array([grid.values[row[p]] if p in row else unknown for p in points.tolist()])

    return np.asarray((of(taken) < GIVES_MORE * of(given)).any(axis=0))


def _meters(plant: PlantView) -> tuple[list[str], IntArray, IntArray]:
    """Return the UPSes whose power is measured on both sides, and the points of what they take and what they give."""
    names: list[str] = []
    points: list[tuple[int, int]] = []
    for node in plant.envelope:
        if node.kind == "UPS":
            taken, given = (
                plant.plainest(plant.registry.select("UPS", power, node.id, phase=""))
                for power in ("InputPower", "ActivePower")
            )
            if NO_POINT not in (taken, given):
                names.append(node.id)
                points.append((taken, given))
    both = np.array(points, np.int32).reshape(-1, 2)
    return names, both[:, 0].copy(), both[:, 1].copy()
