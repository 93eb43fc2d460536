"""Quarter-hour energy and demand from a meter's own counter, and from its power where it has none."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from domain.points import IntArray
from storage.settings import HOUR, QUARTER
from storage.steps import ceil_to, floor_to
from storage.telemetry import Aggregate, Grid, TelemetryStore

LOOK_BACK = HOUR
"""How long before the range the counter is looked for."""


def counter_energy(
    store: TelemetryStore, points: IntArray, start: int, end: int, step: int = QUARTER
) -> Grid:
    """Return the energy of each step, as the difference of the meter's counter, in the counter's unit (J).

    Parameters
    ----------
    store
        Holds the counters.
    points
        Energy counters, shape (m,).
    start, end
        UTC ms; steps that overlap [start, end).
    step
        A multiple of a minute; a quarter of an hour by default.

    Returns
    -------
    Grid
        Energy by point and step. A step's energy is the last counter value within it less the last one before it:
        the sum over steps is the counter's own difference to the last digit, and a single step is off by no more than
        what flowed between a reading and the step's end. NaN where the step, or every step of the hour before it, has
        no reading; after a gap the first step holds what flowed since. A counter that was reset (it fell) counts from
        zero.
    """
    return _counted(store, points, start, end, step)[0]


def _counted(
    store: TelemetryStore, points: IntArray, start: int, end: int, step: int
) -> tuple[Grid, NDArray[np.bool_]]:
    """Return the energy, and which steps are whole: the counter was read in the step before, and did not fall."""
    first = floor_to(start, step)
    back = ceil_to(LOOK_BACK, step)
    grid = store.aggregate(points, first - back, end, step, Aggregate.LAST)
    skipped = back // step
    column = np.arange(grid.values.shape[1])
    held = np.maximum.accumulate(np.where(np.isnan(grid.values), -1, column), axis=1)
    before = held[:, skipped - 1 : -1]
    now = grid.values[:, skipped:]
    within = (before >= 0) & (column[skipped:] - before <= skipped)
    previous = np.where(within, np.take_along_axis(grid.values, np.maximum(before, 0), axis=1), np.nan)
    energy = np.where(now >= previous, now - previous, np.where(np.isnan(previous), np.nan, now))
    whole = (column[skipped:] - before == 1) & (now >= previous)
    return Grid(grid.point, grid.start[skipped:], step, energy), whole


def counter_demand(
    store: TelemetryStore, points: IntArray, start: int, end: int, step: int = QUARTER
) -> Grid:
    """Return the average power of each step, W, from energy counters in J: what the billing figure is made of.

    NaN where the energy is not that of this step alone: after a gap, and where the counter was reset.
    """
    energy, whole = _counted(store, points, start, end, step)
    return Grid(energy.point, energy.start, step, np.where(whole, energy.values / (step / 1000), np.nan))


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
