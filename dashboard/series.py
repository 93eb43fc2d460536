"""Lines for charts, put together from grids of different steps."""

from __future__ import annotations

import numpy as np

from dashboard.views import Series
from domain.points import ValueArray
from storage.telemetry import Grid

HELD_MS = 120_000
"""A value that is told on change holds so long: DSX repeats it every 100 s."""


def held(values: ValueArray, step: int) -> ValueArray:
    """Return lines, shape (..., n) of steps of so many ms, in which a value holds until the next, or the end, for `HELD_MS` at most.

    Where the next comes later nothing is held: then the values are no readings of each change.
    """
    at, n, most = np.arange(values.shape[-1]), values.shape[-1], HELD_MS // step
    known = ~np.isnan(values)
    last = np.maximum.accumulate(np.where(known, at, -1), axis=-1)
    following = np.minimum.accumulate(np.where(known, at, n)[..., ::-1], axis=-1)[..., ::-1]
    apart = np.where(following < n, following, at) - last
    holds = (last >= 0) & (apart <= most)
    return np.where(holds, np.take_along_axis(values, np.maximum(last, 0), -1), np.nan)


def merged(fine: Grid, coarse: Grid) -> Series:
    """Return one line of the fine steps, with a coarse step in the middle of its time where no fine one is.

    The line breaks (NaN) where neither knows anything.
    """
    known = ~np.isnan(fine.values[0])
    time, value = fine.start[known] + fine.step // 2, fine.values[0][known]
    if coarse.step > fine.step:
        filled = np.isin(coarse.start, np.unique(fine.start[known] - fine.start[known] % coarse.step))
        extra = ~np.isnan(coarse.values[0]) & ~filled
        time = np.concatenate([coarse.start[extra] + coarse.step // 2, time])
        value = np.concatenate([coarse.values[0][extra], value])
        order = np.argsort(time, kind="stable")
        time, value = time[order], value[order]
    gap = np.flatnonzero(np.diff(time) > 1.7 * max(coarse.step, 3 * fine.step))
    return Series(
        np.insert(time, gap + 1, (time[gap] + 1) if len(gap) else []).astype(np.int64),
        np.insert(value, gap + 1, np.nan),
    )
