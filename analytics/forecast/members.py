"""The simple models whose forecasts are combined, fitted together on one design."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from analytics.forecast.analogs import analog_quantiles
from analytics.forecast.design import Design, Rows
from analytics.forecast.forest import QuantileForest, fit_forest
from analytics.forecast.levels import LEVELS
from analytics.forecast.linear import LinearModel, fit_linear

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class ForestKind:
    """What makes one forest differ from the others.

    Attributes
    ----------
    name : str
    anchor : str
        What its target is relative to: ``"day"``, the mean of the last day, suits a rhythm; ``"last"``, the
        last value, suits a load that stays where a job put it.
    outside : bool
        Whether it sees covariates that are known up to the origin only. They help some series and are
        noise for others.
    """

    name: str
    anchor: str
    outside: bool


FORESTS = (
    ForestKind("day", "day", outside=True),
    ForestKind("last", "last", outside=True),
    ForestKind("plain", "day", outside=False),
)

MEMBERS = ("linear", *(kind.name for kind in FORESTS), "analog")
"""In the order of the weights."""

PRIOR: Floats = np.array([0.5, 1.0, 1.0, 1.0, 1.0])
"""Weights of the members before anything is known of how they do."""


@dataclass(frozen=True, slots=True)
class Effort:
    """How much work a fit may cost.

    Attributes
    ----------
    rows : int
        Design rows (origins times leads) to train on.
    trees : int
        Of each forest.
    """

    rows: int
    trees: int


FULL = Effort(rows=50_000, trees=24)
TRIAL = Effort(rows=25_000, trees=12)
"""For the models that only show how good the others will be on the newest part of the history."""


@dataclass(frozen=True, slots=True)
class Members:
    """All fitted members; analog days need no fit.

    Attributes
    ----------
    linear : LinearModel
    forests : dict
        By name of ``FORESTS``.
    last_target : int
        Position of the newest value that they were fitted on.
    """

    linear: LinearModel
    forests: dict[str, QuantileForest]
    last_target: int

    def quantiles(self, design: Design, rows: Rows, leads: Ints) -> Floats:
        """Quantiles of the scaled target, shape (members, origins, leads, levels)."""
        within = np.minimum(leads, self.linear.leads[-1])
        point = self.linear.point(rows.linear, within)
        by_member = [self.linear.quantiles(point, within)]
        for kind in FORESTS:
            values = self.forests[kind.name].quantiles(tree_features(rows, point, kind))
            by_member.append(values.reshape(*point.shape, len(LEVELS)) + anchor(rows, kind)[:, None, None])
        reach = int(self.linear.leads[-1]) + 1
        # What is told of a step must not depend on how far beyond it one asks.
        parts = [part for part in (leads[leads < reach], leads[leads >= reach]) if len(part)]
        alike = [
            analog_quantiles(design, rows.origins, part, max(reach, int(part[-1]) + 1)) for part in parts
        ]
        by_member.append(np.concatenate(alike, axis=1))
        return np.stack(by_member)


def anchor(rows: Rows, kind: ForestKind) -> Floats:
    """Where a forest's target starts from, relative to the level, in scales; shape (origins,)."""
    return rows.last if kind.anchor == "last" else np.zeros_like(rows.last)


def tree_features(rows: Rows, linear_point: Floats, kind: ForestKind) -> NDArray[np.float32]:
    """Features of the design, and what the linear model says; shape (origins x leads, features + 1)."""
    count = rows.features.shape[-1] - (0 if kind.outside else rows.outside)
    columns = [rows.features[..., :count], linear_point[..., None].astype(np.float32)]
    return np.concatenate(columns, axis=-1).reshape(-1, count + 1)


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
    linear, outside_fit = fit_linear(rows.linear, rows.target, leads, penalty=30.0)
    known = ~np.isnan(rows.target.ravel())
    forests = {}
    for number, kind in enumerate(FORESTS):
        target = (rows.target - anchor(rows, kind)[:, None]).ravel()
        forests[kind.name] = fit_forest(
            tree_features(rows, outside_fit, kind)[known],
            target[known],
            trees=effort.trees,
            leaf_rows=10,
            sample=0.25,
            feature_share=0.4,
            seed=seed + number,
        )
    return Members(linear, forests, int(chosen[-1] + leads[-1]))
