"""The quantile levels that the models work on, and how any other level is read off them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtri

from domain.errors import InputError

Floats = NDArray[np.float64]

LEVELS: Floats = np.array([0.01, 0.025, *(round(0.05 * i, 2) for i in range(1, 20)), 0.975, 0.99])
"""Levels inside the models, ascending; tails beyond 5 % are for the probability of a rare breach."""

MEDIAN = int(np.searchsorted(LEVELS, 0.5))
INNER_90 = (int(np.searchsorted(LEVELS, 0.05)), int(np.searchsorted(LEVELS, 0.95)))
"""Where the ends of the 90 % interval lie."""


def check_levels(quantiles: Sequence[float]) -> Floats:
    """Quantile levels as an array.

    Raises
    ------
    InputError
        If there are none, or one is not strictly between 0 and 1.
    """
    levels = np.asarray(list(quantiles), dtype=float)
    if levels.ndim != 1 or not len(levels) or not ((levels > 0) & (levels < 1)).all():
        raise InputError(
            f"quantiles must lie strictly between 0 and 1, at least one of them: {list(quantiles)}"
        )
    return levels


def at_levels(values: Floats, known: Floats, wanted: Floats) -> Floats:
    """Read quantiles off others: straight lines over the normal score, continued beyond the outermost two.

    Parameters
    ----------
    values : array, shape (..., len(known))
        Ascending along the last axis.
    known, wanted : arrays
        Levels, ascending for ``known``.

    Returns
    -------
    array, shape (..., len(wanted))
    """
    x, z = ndtri(known), ndtri(wanted)
    right = np.clip(np.searchsorted(x, z), 1, len(x) - 1)
    share = (z - x[right - 1]) / (x[right] - x[right - 1])
    result: Floats = values[..., right - 1] * (1 - share) + values[..., right] * share
    return result


def pinball(actual: Floats, forecast: Floats, levels: Floats = LEVELS) -> Floats:
    """Pinball loss, the proper score of a quantile: shape (..., len(levels)); NaN where ``actual`` is."""
    error = actual[..., None] - forecast
    return np.maximum(levels * error, (levels - 1) * error)


def weighted_quantiles(values: Floats, weights: Floats) -> Floats:
    """Quantiles at ``LEVELS`` of each row of values, each value with its weight.

    Parameters
    ----------
    values, weights : arrays, shape (n, k)
        Weights above 0.

    Returns
    -------
    array, shape (n, levels)
    """
    order = np.argsort(values, axis=1)
    ascending = np.take_along_axis(values, order, axis=1)
    weight = np.take_along_axis(weights, order, axis=1)
    total = np.cumsum(weight, axis=1)
    place = (total - 0.5 * weight) / total[:, -1:]
    return np.stack([np.interp(LEVELS, x, y) for x, y in zip(place, ascending, strict=True)])
