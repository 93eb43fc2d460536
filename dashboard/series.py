"""Lines for charts, put together from grids of different steps."""

from __future__ import annotations

import numpy as np

from dashboard.views import Series
from storage.telemetry import Grid


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
