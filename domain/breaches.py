"""Whether a limit will be passed at all: what the chances of single intervals come to together."""

from __future__ import annotations

import math
from statistics import NormalDist

import numpy as np

from domain.points import ValueArray

PERSISTENCE = 0.9
"""Correlation of neighbouring quarter hours' normal scores: a course that begins high stays high for a while."""


def breached_by(
    each: ValueArray, persistence: float = PERSISTENCE, paths: int = 2000, seed: int = 0
) -> ValueArray:
    """Return the probability that the limit has been passed by the end of each interval, shape (n,).

    What was issued says nothing of how one interval hangs on the one before. Paths are drawn whose normal scores follow a
    first-order autoregression (a Gaussian copula); on each an interval breaches where the score is above 1 - its probability.

    Parameters
    ----------
    each
        Probability that each interval passes its limit, shape (n,); NaN, where there is none, counts as nought.
    persistence
        Correlation of the normal scores of neighbouring intervals, 0 to 1.
    paths, seed
        How many paths, and from which seed.
    """
    normal = NormalDist()
    known = np.nan_to_num(each)
    threshold = np.array([normal.inv_cdf(min(max(1 - p, 1e-12), 1 - 1e-12)) for p in known.tolist()])
    threshold = np.where(known <= 0, np.inf, np.where(known >= 1, -np.inf, threshold))
    scores = path_scores(len(known), persistence, paths, seed)
    reached: ValueArray = np.logical_or.accumulate(scores > threshold, axis=1).mean(axis=0)
    return reached


def path_scores(steps: int, persistence: float, paths: int, seed: int) -> ValueArray:
    """Return normal scores that follow a first-order autoregression, shape (paths, steps)."""
    noise = np.random.default_rng(seed).standard_normal((steps, paths))
    fresh = math.sqrt(1 - persistence**2)
    for i in range(1, steps):
        noise[i] = persistence * noise[i - 1] + fresh * noise[i]
    return noise.T
