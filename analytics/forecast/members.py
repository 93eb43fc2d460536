"""The simple models whose forecasts are combined, fitted together on one design."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from analytics.forecast.boosted import BoostedQuantiles, fit_boosted
from analytics.forecast.design import Design, Rows
from analytics.forecast.forest import QuantileForest, fit_forest
from analytics.forecast.levels import LEVELS
from analytics.forecast.linear import LinearModel, fit_linear

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

MEMBERS = ("linear", "forest", "boosted")


@dataclass(frozen=True, slots=True)
class Effort:
    """How much work a fit may cost.

    Attributes
    ----------
    rows : int
        Design rows (origins times leads) to train on.
    trees : int
        Of the forest.
    rounds, boosted_rows : int
        Trees of each booster, and the rows they see.
    """

    rows: int
    trees: int
    rounds: int
    boosted_rows: int


FULL = Effort(rows=50_000, trees=40, rounds=70, boosted_rows=20_000)
TRIAL = Effort(rows=24_000, trees=20, rounds=40, boosted_rows=10_000)
"""For the models that only show how good the others will be on the newest part of the history."""


@dataclass(frozen=True, slots=True)
class Members:
    """All fitted members.

    Attributes
    ----------
    last_target : int
        Position of the newest value that they were fitted on.
    """

    linear: LinearModel
    forest: QuantileForest
    boosted: BoostedQuantiles
    last_target: int

    def quantiles(self, rows: Rows, leads: Ints) -> Floats:
        """Quantiles of the scaled target, shape (members, origins, leads, levels)."""
        point = self.linear.point(rows.linear, np.minimum(leads, self.linear.leads[-1]))
        features = stacked(rows, point)
        shape = (*point.shape, len(LEVELS))
        return np.stack(
            [
                self.linear.quantiles(point, np.minimum(leads, self.linear.leads[-1])),
                self.forest.quantiles(features)[0].reshape(shape),
                self.boosted.quantiles(features).reshape(shape),
            ]
        )


def stacked(rows: Rows, linear_point: Floats) -> NDArray[np.float32]:
    """Tree features: those of the design, and what the linear model says. Shape (origins x leads, features + 1)."""
    columns = [rows.features, linear_point[..., None].astype(np.float32)]
    return np.concatenate(columns, axis=-1).reshape(-1, rows.features.shape[-1] + 1)


def training_leads(horizon: int, day: int) -> Ints:
    """Leads to train on: dense where the future is still near, and around whole days, where lags change."""
    hour = day / 24
    hours = [
        1,
        1.5,
        2,
        3,
        4,
        5,
        6,
        7,
        8,
        10,
        12,
        14,
        16,
        18,
        20,
        22,
        23,
        24,
        26,
        28,
        30,
        33,
        36,
        39,
        42,
        45,
        48,
    ]
    hours += [54, 60, 66, 72, 84, 96, 108, 120, 132, 144, 156, 168]
    grid = np.r_[0:4, np.rint(np.array(hours) * hour).astype(np.int64) - 1, horizon - 1]
    return np.unique(grid[(grid >= 0) & (grid < horizon)])


def thinned(origins: Ints, count: int) -> Ints:
    """At most about ``count`` origins, evenly spaced, the newest among them."""
    return origins[::-1][:: max(1, -(-len(origins) // max(1, count)))][::-1]


def fit_members(design: Design, origins: Ints, leads: Ints, effort: Effort, seed: int) -> Members:
    """Fit all members on the given origins (those of unmeasured moments left out by the caller)."""
    chosen = thinned(origins, effort.rows // len(leads))
    rows = design.rows(chosen, leads)
    linear, outside = fit_linear(rows.linear, rows.target, leads, penalty=30.0)
    features, target = stacked(rows, outside), rows.target.ravel()
    known = ~np.isnan(target)
    features, target = features[known], target[known]
    forest = fit_forest(
        features,
        target[:, None],
        trees=effort.trees,
        leaf_rows=10,
        sample=0.3,
        feature_share=0.4,
        seed=seed,
    )
    boosted = fit_boosted(features, target, rounds=effort.rounds, max_rows=effort.boosted_rows, seed=seed)
    return Members(linear, forest, boosted, int(chosen[-1] + leads[-1]))
