"""Analog days: what came after the moments of the past that looked most like this one.

The oldest way to forecast a recurring load (Lorenz 1969 for weather, "similar days" in power systems): nothing is
fitted, so it errs otherwise than regressions and trees do, which is what a combination lives on.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from analytics.forecast.design import Design
from analytics.forecast.levels import LEVELS, weighted_quantiles

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

LIBRARY = 6000
"""At most about so many moments of the past are searched, evenly spaced."""

NEIGHBOURS = 60
FEWEST_NEIGHBOURS = 10
FADE_DAYS = 0.75
"""How long the difference between the last value now and then is carried on (to a factor e)."""

UNMEASURED = 1e-6
"""Weight of a value that only fills a gap: it counts where there is nothing else."""


def analog_quantiles(design: Design, origins: Ints, leads: Ints, reach: int) -> Floats:
    """Quantiles of the scaled target after the moments most like each origin.

    Parameters
    ----------
    design : Design
    origins : int array, shape (n,)
    leads : int array, shape (l,)
        From 0 to below ``reach``, ascending.
    reach : int
        Only moments that lie so many steps back count, whichever leads are asked for: the same for all of them.
        Where less than twice that is known before an origin, far leads repeat the last day that can be told.

    Returns
    -------
    array, shape (n, l, levels)
        Made only of what lies before each origin.
    """
    values, day = design.values, design.day
    first = min(8 * day, len(values) // 3)
    library = np.arange(max(1, first), len(values), max(1, (len(values) - first) // LIBRARY))
    library = library[design.measured[library - 1]]
    looks, looks_then = design.looks(origins), design.looks(library)
    distances = (looks**2).sum(axis=1)[:, None] + (looks_then**2).sum(axis=1) - 2 * looks @ looks_then.T
    last = design.standing(origins)[2]
    level_then, scale_then, last_then = design.standing(library)
    carried = np.exp(-(leads + 0.5) / day / FADE_DAYS)
    result = np.empty((len(origins), len(leads), len(LEVELS)))
    for i, origin in enumerate(origins):
        told_ahead = max(1, min(reach, int(origin - first) // 2))
        ahead = _folded(leads, told_ahead, min(day, told_ahead))
        told = int(np.searchsorted(library, origin - told_ahead, side="right"))
        if not told:
            result[i] = last[i]
            continue
        count = min(NEIGHBOURS, max(FEWEST_NEIGHBOURS, told // 10), told)
        distance = np.maximum(distances[i, :told], 0.0)
        near = np.argpartition(distance, count - 1)[:count]
        likeness = np.exp(-0.5 * distance[near] / max(float(np.median(distance[near])), 1e-9))
        at = library[near] + ahead[:, None]
        came = (values[at] - level_then[near]) / scale_then[near]
        came += carried[:, None] * (last[i] - last_then[near])
        weight = likeness * np.where(design.measured[at], 1.0, UNMEASURED)
        result[i] = weighted_quantiles(came, weight)
    return result


def _folded(leads: Ints, end: int, period: int) -> Ints:
    """Leads, those from ``end`` on moved back by whole periods."""
    ahead: Ints = np.where(leads < end, leads, end - period + (leads - end) % period)
    return ahead
