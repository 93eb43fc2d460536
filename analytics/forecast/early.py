"""The first hours and days: an honest forecast from almost nothing.

The last value, drawn towards what the same time of day was as soon as there is a day to tell; a spread from
the rule's own past errors, grown as the square root of the lead where no error could be seen yet, and a
prior that fades as days come in.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.special import stdtrit

from analytics.forecast.levels import LEVELS

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

PRIOR_SHARE = 0.3
"""Spread two days ahead that is assumed before anything is known, as a share of the level."""

MEMORY_HOURS = 6.0
"""How long a deviation from the profile lasts (to a factor e)."""

FEWEST_ERRORS = 8
TAIL_FREEDOM = 4.0


def _rule(values: Floats, origins: Ints, leads: Ints, day: int) -> Floats:
    """Point forecasts of the rule, shape (origins, leads)."""
    last = values[origins - 1][:, None]
    at = origins[:, None] + leads[None, :]
    newest = at - (-(-(at - origins[:, None] + 1) // day)) * day
    seen, total = np.zeros(at.shape), np.zeros(at.shape)
    before, before_total = np.zeros(last.shape), np.zeros(last.shape)
    for back in range(7):
        position = newest - back * day
        seen += position >= 0
        total += np.where(position >= 0, values[np.maximum(position, 0)], 0.0)
        position = (origins - 1 - (back + 1) * day)[:, None]
        before += position >= 0
        before_total += np.where(position >= 0, values[np.maximum(position, 0)], 0.0)
    profile = total / np.maximum(seen, 1)
    deviation = last - before_total / np.maximum(before, 1)
    fade = np.exp(-leads * 24 / day / MEMORY_HOURS)[None, :]
    # A profile needs its own time of day and that of the last value; before that, the last value stands.
    return np.where((seen > 0) & (before > 0), profile + fade * deviation, last)


def early_quantiles(values: Floats, leads: Ints, day: int) -> Floats:
    """Quantiles at ``LEVELS`` for one origin at the end of the values.

    Parameters
    ----------
    values : array, shape (n,)
        Without gaps, n from 1.
    leads : int array, shape (l,)
        From 0, ascending.
    day : int
        Steps in a day.

    Returns
    -------
    array, shape (l, levels)
    """
    n = len(values)
    point = _rule(values, np.array([n]), leads, day)[0]
    days = n / day
    origins = (
        np.unique(np.linspace(max(1, n // 4), n - 1, 200).astype(np.int64))
        if n > 1
        else np.zeros(0, np.int64)
    )
    spread = np.full(len(leads), np.nan)
    if len(origins):
        rule = _rule(values, origins, leads, day)
        at = origins[:, None] + leads[None, :]
        error = np.where(at < n, values[np.minimum(at, n - 1)] - rule, np.nan)
        enough = (~np.isnan(error)).sum(axis=0) >= FEWEST_ERRORS
        spread[enough] = np.sqrt(np.nanmean(error[:, enough] ** 2, axis=0))
    if np.isnan(spread).all():
        steps = np.abs(np.diff(values))
        spread[0] = steps.mean() if len(steps) else 0.0
    seen = np.flatnonzero(~np.isnan(spread))
    farthest = seen[-1]
    grown = np.sqrt((leads + 1) / (leads[farthest] + 1))
    spread = np.where(
        np.arange(len(leads)) > farthest,
        spread[farthest] * grown,
        np.interp(leads, leads[seen], spread[seen]),
    )
    reach = max(abs(float(np.mean(values[-day:]))), float(np.ptp(values[-day:])))
    hours = (leads + 1) * 24 / day
    prior = PRIOR_SHARE * reach * np.sqrt(np.minimum(hours / 48, 3.0))
    spread = np.sqrt(spread**2 + prior**2 / (1 + 4 * days))
    spread = np.maximum.accumulate(spread)
    shape = stdtrit(TAIL_FREEDOM, LEVELS) / np.sqrt(TAIL_FREEDOM / (TAIL_FREEDOM - 2))
    quantiles: Floats = point[:, None] + spread[:, None] * shape[None, :]
    return quantiles
