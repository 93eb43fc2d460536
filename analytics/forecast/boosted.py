"""Boosted trees for a few quantiles; their state is LightGBM's own text."""

from __future__ import annotations

from dataclasses import dataclass

import lightgbm
import numpy as np
from numpy.typing import NDArray

from analytics.forecast.levels import LEVELS, at_levels

Floats = NDArray[np.float64]

FITTED_LEVELS: Floats = np.array([0.1, 0.5, 0.9])


@dataclass(frozen=True, slots=True)
class BoostedQuantiles:
    """One booster per level of ``FITTED_LEVELS``, as text."""

    boosters: tuple[str, ...]

    def quantiles(self, features: NDArray[np.float32]) -> Floats:
        """Quantiles at ``LEVELS``, shape (rows, levels)."""
        fitted = np.stack(
            [
                np.asarray(lightgbm.Booster(model_str=text).predict(features, num_threads=1), dtype=float)
                for text in self.boosters
            ],
            axis=1,
        )
        return at_levels(np.sort(fitted, axis=1), FITTED_LEVELS, LEVELS)


def fit_boosted(
    features: NDArray[np.float32], target: Floats, *, rounds: int, max_rows: int, seed: int
) -> BoostedQuantiles:
    """Fit the boosters on at most ``max_rows`` rows drawn at random.

    Parameters
    ----------
    features : array, shape (rows, features)
    target : array, shape (rows,)
    rounds : int
        Trees of each booster.
    max_rows, seed : int
    """
    drawn = np.sort(np.random.default_rng(seed).permutation(len(target))[:max_rows])
    settings = {
        "objective": "quantile",
        "learning_rate": 0.1,
        "num_leaves": 31,
        "min_data_in_leaf": max(5, min(60, len(drawn) // 50)),
        "max_bin": 63,
        "feature_fraction": 0.5,
        "bagging_fraction": 0.7,
        "bagging_freq": 1,
        "feature_pre_filter": False,
        "num_threads": 1,
        "deterministic": True,
        "seed": seed,
        "verbose": -1,
    }
    data = lightgbm.Dataset(features[drawn], target[drawn], params=settings)
    data.construct()
    boosters = [
        lightgbm.train({**settings, "alpha": level}, data, num_boost_round=rounds) for level in FITTED_LEVELS
    ]
    return BoostedQuantiles(tuple(booster.model_to_string() for booster in boosters))
