"""Medians and spreads over groups of peers: GPUs of a rack, racks of a pod, CDUs of a pod."""

from __future__ import annotations

import numpy as np

from domain.points import IntArray, ValueArray

ROBUST_DEVIATION = 1.4826
"""Standard deviation over median absolute deviation, for a normal distribution."""


def group_median(values: ValueArray, group: IntArray, groups: int) -> ValueArray:
    """Return the median of each group's known values, NaN for a group without one.

    One sort for all groups: 7,000 GPUs in 96 racks take well under a millisecond.

    Parameters
    ----------
    values
        Shape (members,), NaN where missing.
    group
        Index of each member's group, 0 to `groups` - 1, shape (members,).
    groups
        Number of groups.
    """
    known = np.isfinite(values)
    values, group = values[known], group[known]
    order = np.lexsort((values, group))
    ordered = values[order]
    size = np.bincount(group, minlength=groups)
    first = np.cumsum(size) - size
    low = np.clip(first + (size - 1) // 2, 0, max(len(ordered) - 1, 0))
    high = np.clip(first + size // 2, 0, max(len(ordered) - 1, 0))
    if len(ordered) == 0:
        return np.full(groups, np.nan)
    return np.where(size > 0, 0.5 * (ordered[low] + ordered[high]), np.nan)


def row_median(table: ValueArray) -> ValueArray:
    """Return the median of each row's known values, NaN for a row without one: groups of one size, several times faster.

    Parameters
    ----------
    table
        Shape (groups, members), NaN where missing.
    """
    ordered = np.sort(table, axis=1)  # NaN goes to the end
    known = np.isfinite(table).sum(axis=1)
    rows = np.arange(len(table))
    low, high = np.maximum(known - 1, 0) // 2, np.minimum(known // 2, max(table.shape[1] - 1, 0))
    middle: ValueArray = 0.5 * (ordered[rows, low] + ordered[rows, high])
    return np.where(known > 0, middle, np.nan)
