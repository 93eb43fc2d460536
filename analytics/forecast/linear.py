"""Ridge regression, one per lead time, with forecasts of the past made without the block that they lie in."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from analytics.forecast.levels import LEVELS

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

BLOCKS = 5
CLIP = 8.0
"""Features further than this many standard deviations out are held there: a line must not run away."""


@dataclass(frozen=True, slots=True)
class LinearModel:
    """Fitted coefficients of each trained lead.

    Attributes
    ----------
    leads : int array, shape (m,)
    mean, deviation : arrays, shape (features,)
    coefficients : array, shape (m, features + 1)
        The last one is the constant.
    error_quantiles : array, shape (m, levels)
        Of errors out of the fit.
    reach : float
        Largest target seen; forecasts are held within it.
    """

    leads: Ints
    mean: Floats
    deviation: Floats
    coefficients: Floats
    error_quantiles: Floats
    reach: float

    def point(self, features: Floats, leads: Ints) -> Floats:
        """Forecasts, shape (origins, leads); between trained leads the coefficients are interpolated."""
        by_lead = _between(leads, self.leads, self.coefficients)
        scaled = _scaled(features, self.mean, self.deviation)
        point: Floats = np.clip(np.einsum("olf,lf->ol", scaled, by_lead), -self.reach, self.reach)
        return point

    def quantiles(self, point: Floats, leads: Ints) -> Floats:
        """Quantiles at ``LEVELS`` around point forecasts, shape (origins, leads, levels)."""
        return point[..., None] + _between(leads, self.leads, self.error_quantiles)[None]


def _between(leads: Ints, trained: Ints, table: Floats) -> Floats:
    return np.stack([np.interp(leads, trained, column) for column in table.T], axis=1)


def _scaled(features: Floats, mean: Floats, deviation: Floats) -> Floats:
    scaled = np.clip((features - mean) / deviation, -CLIP, CLIP)
    return np.concatenate([scaled, np.ones((*scaled.shape[:2], 1))], axis=-1)


def fit_linear(
    features: Floats, target: Floats, leads: Ints, *, penalty: float
) -> tuple[LinearModel, Floats]:
    """Fit all leads.

    Parameters
    ----------
    features : array, shape (origins, leads, features)
        Origins in the order of time.
    target : array, shape (origins, leads)
        NaN where unmeasured.
    leads : int array
    penalty : float
        Weight of the squared coefficients, in rows.

    Returns
    -------
    model : LinearModel
    outside : array, shape (origins, leads)
        Forecast of each row by the coefficients fitted without its block of time.
    """
    n, m, p = features.shape
    flat = features.reshape(-1, p)
    mean: Floats = flat.mean(axis=0)
    deviation: Floats = flat.std(axis=0) + 1e-9
    scaled = _scaled(features, mean, deviation)
    known = ~np.isnan(target)
    wanted = np.where(known, target, 0.0)
    block = np.arange(n) * BLOCKS // n
    square: Floats = np.zeros((BLOCKS, m, p + 1, p + 1))
    cross = np.zeros((BLOCKS, m, p + 1))
    for k in range(BLOCKS):
        rows = scaled[block == k].transpose(1, 2, 0) * known[block == k].T[:, None, :]
        square[k] = rows @ scaled[block == k].transpose(1, 0, 2)
        cross[k] = (rows @ wanted[block == k].T[..., None])[..., 0]
    ridge: Floats = np.diag(np.full(p + 1, penalty))
    ridge[-1, -1] = 1e-6
    total: Floats = square.sum(axis=0)
    total_cross: Floats = cross.sum(axis=0)

    def solve(left: Floats, right: Floats) -> Floats:
        return np.asarray(np.linalg.solve(left + ridge, right[..., None])[..., 0], dtype=np.float64)

    outside = np.zeros((n, m))
    for k in range(BLOCKS):
        without = solve(total - square[k], total_cross - cross[k])
        outside[block == k] = np.einsum("olf,lf->ol", scaled[block == k], without)
    reach = float(np.abs(wanted).max())
    outside = np.clip(outside, -reach, reach)
    error = np.where(known, target - outside, np.nan)
    everywhere = np.nanquantile(error, LEVELS)
    quantiles = np.tile(everywhere, (m, 1))
    for j in range(m):
        near = error[:, max(0, j - 1) : j + 2]
        if (~np.isnan(near)).sum() >= 20:
            quantiles[j] = np.nanquantile(near, LEVELS)
    model = LinearModel(leads, mean, deviation, solve(total, total_cross), quantiles, reach)
    return model, outside
