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

ANCHORS = ("day", "last")
"""What a tree's target is relative to: the mean of the last day, or the last value. The first suits a rhythm,
the second a load that stays where a job put it."""

MEMBERS = ("linear", *(f"forest.{a}" for a in ANCHORS), *(f"boosted.{a}" for a in ANCHORS))
"""In the order of the weights."""


@dataclass(frozen=True, slots=True)
class Effort:
    """How much work a fit may cost.

    Attributes
    ----------
    rows : int
        Design rows (origins times leads) to train on.
    trees : int
        Of each forest.
    sample : float
        Share of the rows that each tree grows on.
    rounds, boosted_rows : int
        Trees of each booster, and the rows they see.
    """

    rows: int
    trees: int
    sample: float
    rounds: int
    boosted_rows: int


FULL = Effort(rows=50_000, trees=24, sample=0.25, rounds=60, boosted_rows=20_000)
TRIAL = Effort(rows=24_000, trees=12, sample=0.25, rounds=40, boosted_rows=10_000)
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
    forests: dict[str, QuantileForest]
    boosted: dict[str, BoostedQuantiles]
    last_target: int

    def quantiles(self, rows: Rows, leads: Ints) -> Floats:
        """Quantiles of the scaled target, shape (members, origins, leads, levels)."""
        within = np.minimum(leads, self.linear.leads[-1])
        point = self.linear.point(rows.linear, within)
        features = stacked(rows, point)
        shape = (*point.shape, len(LEVELS))
        by_member = [self.linear.quantiles(point, within)]
        for models in (self.forests, self.boosted):
            for anchor in ANCHORS:
                values = models[anchor].quantiles(features).reshape(shape)
                by_member.append(values + anchor_value(rows, anchor)[:, None, None])
        return np.stack(by_member)


def anchor_value(rows: Rows, anchor: str) -> Floats:
    """Where the anchor lies relative to the level, in scales; shape (origins,)."""
    return rows.last if anchor == "last" else np.zeros_like(rows.last)


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
    features = stacked(rows, outside)
    known = ~np.isnan(rows.target.ravel())
    features = features[known]
    forests, boosted = {}, {}
    for number, anchor in enumerate(ANCHORS):
        target = (rows.target - anchor_value(rows, anchor)[:, None]).ravel()[known]
        forests[anchor] = fit_forest(
            features,
            target,
            trees=effort.trees,
            leaf_rows=10,
            sample=effort.sample,
            feature_share=0.4,
            seed=seed + number,
        )
        boosted[anchor] = fit_boosted(
            features, target, rounds=effort.rounds, max_rows=effort.boosted_rows, seed=seed + number
        )
    return Members(linear, forests, boosted, int(chosen[-1] + leads[-1]))
