"""Residuals that plant knowledge gives: against peers, and against physics.

Pure functions on arrays, vectorised over the whole factory; what comes out is in the unit of the quantity or a
share of it, NaN where an input is missing. `scored` turns a residual into a score that is above 1 where anomalous.
"""

from __future__ import annotations

import numpy as np

from analytics.anomaly.peers import ROBUST_DEVIATION, row_median
from domain.points import IntArray, ValueArray

DEVIATIONS = 5.0
"""How many robust standard deviations of its peers a member may be off."""


def scored(residual: ValueArray, least: float, spread: ValueArray | float = 0.0) -> ValueArray:
    """Return a score, above 1 where a residual is anomalous.

    Parameters
    ----------
    residual
        Any shape.
    least
        Residuals below this mean nothing, whatever the spread: the accuracy of the instruments.
    spread
        Robust standard deviation of healthy residuals.
    """
    return np.abs(residual) / np.maximum(least, DEVIATIONS * np.asarray(spread))


def gpu_residual(temperature: ValueArray, power: ValueArray, coolant: ValueArray) -> ValueArray:
    """Return how much warmer each GPU is than the others of its rack would be at its power and coolant, K.

    The rack's thermal resistance is the median of (temperature - coolant) / power over its GPUs; a GPU that
    draws less than a third of its rack's median is compared at that third, where the ratio means little.

    Parameters
    ----------
    temperature, power
        Cel and W, shape (racks, GPUs of a rack).
    coolant
        Mean coolant temperature at the cold plates of each rack, Cel, shape (racks,).
    """
    rise = temperature - coolant[:, None]
    drawn = np.maximum(power, row_median(power)[:, None] / 3.0)
    resistance = row_median(rise / np.maximum(drawn, 1.0))
    residual: ValueArray = rise - resistance[:, None] * power
    return residual


def gpu_scores(residual: ValueArray, least: float = 6.0) -> ValueArray:
    """Score every GPU by its residual against the spread of its rack, shape (racks, GPUs of a rack)."""
    spread = ROBUST_DEVIATION * row_median(np.abs(residual - row_median(residual)[:, None]))
    return scored(residual, least, spread[:, None])


def phase_imbalance(current: ValueArray) -> ValueArray:
    """Return the largest distance of a phase from the mean of the three, over that mean (NEMA MG 1-14.36).

    Parameters
    ----------
    current
        A (or V), shape (..., 3).
    """
    mean = current.mean(axis=-1)
    return _ratio(np.abs(current - mean[..., None]).max(axis=-1), mean)


def power_factor(active: ValueArray, apparent: ValueArray) -> ValueArray:
    """Return active over apparent power, W / VA; NaN below 1 % of the largest load, where it means nothing."""
    loaded = apparent > 0.01 * np.fmax.reduce(apparent, axis=None, initial=0.0)
    return np.where(loaded, _ratio(active, apparent), np.nan)


def sharing(load: ValueArray, running: ValueArray, group: IntArray, groups: int) -> ValueArray:
    """Return how far each unit is from an equal share of its group's load: 0 at its share, 1 at twice that.

    For CDUs of a pod (heat or flow), UPSes in parallel, pumps of a set. Units that don't run are NaN.

    Parameters
    ----------
    load
        Any unit, shape (units,).
    running
        1 where a unit runs, shape (units,).
    group
        Index of each unit's group, shape (units,).
    groups
        Number of groups.
    """
    on = running > 0
    total = np.bincount(group, weights=np.where(on, load, 0.0), minlength=groups).astype(float)
    members = np.bincount(group[on], minlength=groups).astype(float)
    share = _ratio(total, members)[group]
    return np.where(on, _ratio(load - share, share), np.nan)


def _ratio(above: ValueArray, below: ValueArray) -> ValueArray:
    """Divide; NaN where the divisor is nought or missing."""
    above, below = np.broadcast_arrays(np.asarray(above, dtype=float), np.asarray(below, dtype=float))
    out = np.full(below.shape, np.nan)
    np.divide(above, below, out=out, where=np.abs(below) > 1e-12)
    return out
