"""Quarter-hour demand from a meter's own counter, and from its power where it has none."""

from __future__ import annotations

import numpy as np

from domain.points import IntArray, ValueArray
from storage.settings import QUARTER
from storage.steps import floor_to
from storage.telemetry import Aggregate, Grid, TelemetryStore


def counter_demand(
    store: TelemetryStore, points: IntArray, start: int, end: int, step: int = QUARTER, bridge: bool = False
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
    bridge
        Whether the energy of a gap is spread evenly over its steps: no single one of them is known then, their sum is.

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
    values = np.array([_bridged(row) for row in grid.values]) if bridge and len(grid.values) else grid.values
    energy = np.diff(values, axis=1)
    power = np.where(energy >= 0, energy / (step / 1000), np.nan)
    return Grid(grid.point, grid.start[1:], step, power)


def _bridged(row: ValueArray) -> ValueArray:
    """Return a counter with what is missing between two readings on the line between them."""
    at = np.arange(len(row))
    known = ~np.isnan(row)
    return np.interp(at, at[known], row[known], np.nan, np.nan) if known.any() else row


def counted(
    store: TelemetryStore,
    counters: IntArray,
    start: int,
    end: int,
    counted_until: int,
    step: int = QUARTER,
    bridge: bool = False,
) -> ValueArray:
    """Return the average of the sum of several meters' power per step by their energy counters, W; NaN where they do not tell.

    Parameters
    ----------
    counted_until
        When the oldest of the newest counter readings was observed, UTC ms: a step that is not over by then is not told.
    bridge
        As of `counter_demand`.
    """
    grid = counter_demand(store, counters, start, end, step, bridge)
    found: ValueArray = grid.values.sum(axis=0)
    found[grid.start + step > counted_until] = np.nan
    return found
