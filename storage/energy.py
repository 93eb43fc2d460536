"""Quarter-hour demand from a meter's own counter, and from its power where it has none."""

from __future__ import annotations

import numpy as np

from domain.points import IntArray
from storage.settings import QUARTER
from storage.steps import floor_to
from storage.telemetry import Aggregate, Grid, TelemetryStore


def counter_demand(
    store: TelemetryStore, points: IntArray, start: int, end: int, step: int = QUARTER
) -> Grid:
    """Return the average power of each step, from energy counters: what the billing figure is made of.

    Parameters
    ----------
    store
        Holds the counters.
    points
        Energy counters in J, shape (m,).
    start, end
        UTC ms; steps that overlap [start, end).
    step
        A multiple of a minute; a quarter of an hour by default.

    Returns
    -------
    Grid
        Power by point and step, W: the last counter value within a step less that of the step before. Over whole steps
        it sums to the counter's own difference to the last digit, and a single step is off by no more than what flowed
        between a reading and the step's end. NaN where the energy is not that of this step alone: after a gap, and
        where the counter was reset (it fell).
    """
    first = floor_to(start, step)
    grid = store.aggregate(points, first - step, end, step, Aggregate.LAST)
    energy = np.diff(grid.values, axis=1)
    power = np.where(energy >= 0, energy / (step / 1000), np.nan)
    return Grid(grid.point, grid.start[1:], step, power)


def demand(
    store: TelemetryStore,
    power: IntArray,
    counters: IntArray,
    start: int,
    end: int,
    counted_until: int,
    step: int = QUARTER,
) -> Grid:
    """Return the average of the sum of several meters' power per step, W, as a grid of one row.

    Parameters
    ----------
    power
        The meters' power.
    counters
        The energy counters of the same meters; empty where one of them has none.
    counted_until
        When the oldest of the newest counter readings was observed, UTC ms: a step that is not over by then is told by
        the power so far.

    Returns
    -------
    Grid
        From the counters where they tell the whole step, from the power otherwise; NaN where a member is missing.
    """
    grid = store.total(power, start, end, step)
    if len(counters):
        counted = counter_demand(store, counters, start, end, step).values.sum(axis=0)
        known = ~np.isnan(counted) & (grid.start + step <= counted_until)
        grid.values[0, known] = counted[known]
    return grid
