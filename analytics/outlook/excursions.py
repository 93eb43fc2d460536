"""Excursions: how likely a forecast quantity passes its limit, and where the running quarter hour will end."""

from __future__ import annotations

import math
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from domain.breaches import path_scores
from domain.envelope import QUARTER_MS, quarter_start
from domain.forecast import PERSISTENCE
from domain.points import TimeArray, ValueArray

LOOK_MS = 480_000
"""The present level is the mean of so long, or of the newer part of it where power has changed for good."""
RISE_MS, DROP_MS = 60_000, 90_000
"""A rise that has lasted so long is a new level, a drop later: jobs that stand still to load or evaluate soon go on."""
BEFORE_MS = 40_000
"""Of the older part at least so much is needed."""
CHANGED = 0.3
"""Two levels are seen where they leave less than this of the variance that one level leaves."""
LEAST_ERROR = 0.005
"""What the rest of a quarter hour may be off at least, as a share of the power (root mean square)."""


def exceedance(values: ValueArray, quantiles: tuple[float, ...], limit: ValueArray) -> ValueArray:
    """Return the probability that each interval's value exceeds its limit.

    Between issued quantiles the distribution function is linear; beyond the outermost ones the tail decays
    exponentially, with the rate at which the two outermost quantiles of that side thin out.

    Parameters
    ----------
    values
        Quantiles of each interval, ascending, shape (n, q).
    quantiles
        Their levels, ascending, length q >= 2.
    limit
        Shape (n,); NaN gives NaN.

    Returns
    -------
    Probabilities, shape (n,).
    """
    level = np.asarray(quantiles)
    probability = np.full(len(values), np.nan)
    for i, (row, bound) in enumerate(zip(values, limit, strict=True)):
        if math.isnan(bound):
            continue
        if bound >= row[-1]:
            top, ratio = 1 - level[-1], (1 - level[-2]) / (1 - level[-1])
            probability[i] = top * _tail(bound - row[-1], row[-1] - row[-2], ratio)
        elif bound < row[0]:
            probability[i] = 1 - level[0] * _tail(row[0] - bound, row[1] - row[0], level[1] / level[0])
        else:
            # of equal quantiles the highest level counts: the value reaches, and does not exceed, the limit
            above = int(np.searchsorted(row, bound, side="right"))
            span = row[above] - row[above - 1]
            share = 0.0 if span == 0 else (bound - row[above - 1]) / span
            probability[i] = 1 - (level[above - 1] + share * (level[above] - level[above - 1]))
    return probability


def _tail(distance: float, spread: float, ratio: float) -> float:
    """Return how much of a tail is left `distance` further out, when it thins by `ratio` over `spread`."""
    if spread <= 0:
        return 1.0 if distance == 0 else 0.0
    return float(ratio ** (-distance / spread))


def to_shed(
    values: ValueArray, quantiles: tuple[float, ...], limit: ValueArray, risk: float = 0.01
) -> ValueArray:
    """Return the power to shed so that no interval exceeds its limit with more than probability `risk`.

    The whole distribution is taken to move down by what is shed. Shape (n,), W, zero where nothing needs to go.
    """
    low = np.zeros(len(values))
    high = np.maximum(values[:, -1] - limit, 0) + 20 * np.maximum(values[:, -1] - values[:, -2], 1.0)
    for _ in range(50):
        middle = (low + high) / 2
        too_risky = exceedance(values - middle[:, None], quantiles, limit) > risk
        low, high = np.where(too_risky, middle, low), np.where(too_risky, high, middle)
    already = exceedance(values, quantiles, limit) <= risk
    return np.where(already | np.isnan(limit), 0.0, high)


@dataclass(frozen=True, slots=True)
class QuarterOutlook:
    """Where the running quarter hour will end.

    `start` is its beginning (UTC ms), `elapsed` the share of it that is over, `used` the mean power so far (W),
    `expected` and `deviation` the mean and standard deviation of its end value (W), `breach_probability` that it ends
    above the limit.
    """

    start: int
    elapsed: float
    used: float
    expected: float
    deviation: float
    breach_probability: float


def quarter_outlook(
    time: TimeArray, power: ValueArray, now: int, limit: float, planned: float = 0.0
) -> QuarterOutlook:
    """Foretell the running quarter hour from the power of the last hour or so.

    The rest of the quarter is taken to stay at the present level: the mean of the last eight minutes, swings and pauses of
    the jobs included, or of what lies behind the last change for good. How far that goes wrong is
    measured on the same history: the means over windows as long as the rest against the level before them.

    Parameters
    ----------
    time
        UTC ms, regular steps of at most a minute, ascending, shape (n,).
    power
        Mean power of each step, W, NaN where missing, shape (n,).
    now
        UTC ms.
    limit
        W, for the 15-minute average.
    planned
        By how much the mean of the rest is planned to differ from the present level, W: jobs that end or begin meanwhile.
    """
    start = quarter_start(now)
    elapsed = (now - start) / QUARTER_MS
    known = ~np.isnan(power) & (time < now)
    time, power = time[known], power[known]
    if len(power) == 0:
        return QuarterOutlook(start, elapsed, math.nan, math.nan, math.nan, math.nan)
    step = int(np.median(np.diff(time))) if len(time) > 1 else 60_000
    levels = _levels(power, step)
    this_quarter = power[time >= start]
    used = float(this_quarter.mean()) if len(this_quarter) else float(power[-1])
    level = float(levels[-1]) + planned
    rest = max(1, round((start + QUARTER_MS - now) / step))
    # an hour of quiet does not tell of jobs that begin
    error = math.hypot(_level_error(power, levels, rest), LEAST_ERROR * level)
    deviation = error * (1 - elapsed)
    expected = used * elapsed + level * (1 - elapsed)
    breach = _heavy_tailed((expected - limit) / deviation) if deviation > 0 else float(expected > limit)
    return QuarterOutlook(start, elapsed, used, expected, deviation, breach)


def _heavy_tailed(deviations: float) -> float:
    """Return the distribution function of Student's t with three degrees of freedom, scaled to unit variance.

    A load that stays for hours and then jumps by megawatts has tails that a normal distribution has not.
    """
    found = 0.5 + (deviations / (1 + deviations**2) + math.atan(deviations)) / math.pi
    return min(1.0, max(0.0, found))  # far out the last digit may lie beyond


def _levels(power: ValueArray, step: int) -> ValueArray:
    """Return the level at the end of each step (ms), W, shape (n,)."""
    size = max(3, LOOK_MS // step)
    window = sliding_window_view(np.concatenate([np.full(size - 1, power[0]), power]), size, axis=0)
    centred = window - window[:, -1:]  # watts squared of megawatts lose digits
    sums, squares = np.cumsum(centred, axis=1), np.cumsum(centred**2, axis=1)
    older = np.arange(max(1, BEFORE_MS // step), size - max(1, RISE_MS // step) + 1)
    newer = size - older
    left, right = sums[:, older - 1], sums[:, -1:] - sums[:, older - 1]
    # what two levels leave of the squares, for each place of the change
    apart = squares[:, -1:] - left**2 / older - right**2 / newer
    mean = sums[:, -1] / size
    drop = (right / newer < left / older) & (newer * step < DROP_MS)
    apart[drop] = np.inf
    place = np.argmin(apart, axis=1)
    rows = np.arange(len(power))
    changed = apart[rows, place] < CHANGED * (squares[:, -1] - size * mean**2)
    levels: ValueArray = power + np.where(changed, right[rows, place] / newer[place], mean)
    return levels


def _level_error(power: ValueArray, levels: ValueArray, ahead: int) -> float:
    """Return the root mean square error of 'the next `ahead` steps average the level'."""
    if len(power) < ahead + 3:
        return float(np.std(power)) if len(power) > 2 else 0.02 * float(abs(power[-1]))
    sums = np.concatenate([[0.0], np.cumsum(power)])
    after = (sums[ahead + 1 :] - sums[1:-ahead]) / ahead
    return float(np.sqrt(np.mean((after - levels[:-ahead]) ** 2)))


def likely_paths(
    values: ValueArray,
    quantiles: tuple[float, ...],
    persistence: float = PERSISTENCE,
    paths: int = 1000,
    seed: int = 0,
) -> ValueArray:
    """Draw courses that a forecast quantity may take, shape (paths, n).

    Beyond the outermost quantiles a course stays at them.

    Parameters
    ----------
    values, quantiles
        As for `exceedance`.
    persistence, paths, seed
        As for `domain.breaches.breached_by`.
    """
    normal = NormalDist()
    level = np.array([normal.inv_cdf(q) for q in quantiles])
    scores = path_scores(len(values), persistence, paths, seed)
    return np.stack([np.interp(scores[:, i], level, row) for i, row in enumerate(values)], axis=1)
