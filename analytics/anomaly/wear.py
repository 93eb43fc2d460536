"""Slow faults: how long until a worn part reaches its limit, with an interval, worst first.

Fouling cold plates and filters, pump wear, valve stiction, UPS batteries, fans: each has a health indicator
(`analytics.anomaly.plant`) that creeps towards a limit over weeks.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from domain.errors import InputError
from domain.points import ValueArray

LEAST_DAYS = 7
"""Days with readings below which nothing is said."""
DRAWS = 4000


@dataclass(frozen=True, slots=True)
class Remaining:
    """Time until an indicator reaches its limit, days; infinite where it may never.

    Parameters
    ----------
    low, middle, high
        Quantiles of the remaining time; 0 means that the limit is reached.
    slope
        Change of the indicator, its unit per day.
    now
        Its level now.
    """

    low: float
    middle: float
    high: float
    slope: float
    now: float


@dataclass(frozen=True, slots=True)
class WornPart:
    """One line of the maintenance list."""

    object_id: str
    indicator: str
    limit: float
    remaining: Remaining


def time_to_limit(
    days: ValueArray, values: ValueArray, limit: float, rising: bool = True, coverage: float = 0.9
) -> Remaining:
    """Estimate when an indicator reaches its limit if it goes on as it did.

    A straight line through daily medians; the uncertainty of level and slope allows for residuals that stick
    together (effective sample size of a first-order autoregression), and is carried over to the crossing by
    drawing lines from it.

    Parameters
    ----------
    days
        Times in days, any origin, shape (n,).
    values
        The indicator, shape (n,), NaN where missing.
    limit
        Level at which the part must be replaced or cleaned.
    rising
        Whether the indicator grows towards the limit (fouling) or falls towards it (battery capacity).
    coverage
        Of the interval from `low` to `high`, 0 to 1.

    Raises
    ------
    InputError
        Shapes that differ, or readings on fewer than seven days.
    """
    if days.shape != values.shape or days.ndim != 1:
        raise InputError(f"days {days.shape} and values {values.shape} must be of one length")
    day, level = _daily(days, values)
    n = len(day)
    if n < LEAST_DAYS:
        raise InputError(f"readings on {n} days; a trend needs at least {LEAST_DAYS}")
    today = float(days[np.isfinite(days) & np.isfinite(values)].max())
    x = day - today
    slope, now = np.polyfit(x, level, 1)
    rest = level - (now + slope * x)
    effective = _effective_size(rest)
    variance = float((rest**2).sum()) / max(n - 2, 1) * n / effective
    spread = float(((x - x.mean()) ** 2).sum())
    # draws of the line: slope, and level at the centre of the data, are independent
    freedom = max(effective - 2.0, 1.0)
    rng = np.random.default_rng(0)
    slopes = slope + math.sqrt(variance / spread) * rng.standard_t(freedom, DRAWS)
    centres = level.mean() + math.sqrt(variance / n) * rng.standard_t(freedom, DRAWS)
    levels = centres - slopes * x.mean()
    direction = 1.0 if rising else -1.0
    if direction * (float(now) - limit) >= 0:
        return Remaining(0.0, 0.0, 0.0, float(slope), float(now))
    left = np.maximum(direction * (limit - levels), 0.0)
    speed = direction * slopes
    wait = np.where(speed > 0, left / np.maximum(speed, 1e-300), np.inf)
    tail = (1.0 - coverage) / 2.0
    low, middle, high = np.quantile(wait, [tail, 0.5, 1.0 - tail], method="inverted_cdf")
    return Remaining(float(low), float(middle), float(high), float(slope), float(now))


def ranked(parts: Iterable[WornPart], horizon: float = 365.0) -> list[WornPart]:
    """Return the parts that may reach their limit within `horizon` days, soonest first."""
    due = [p for p in parts if p.remaining.low <= horizon and math.isfinite(p.remaining.middle)]
    return sorted(due, key=lambda p: (p.remaining.middle, p.remaining.low, p.object_id))


def _daily(days: ValueArray, values: ValueArray) -> tuple[ValueArray, ValueArray]:
    """Median of each day with readings, at the middle of their times."""
    good = np.isfinite(days) & np.isfinite(values)
    number = np.floor(days[good]).astype(int)
    present = np.unique(number)
    medians = np.array([np.median(values[good][number == d]) for d in present])
    return np.array([days[good][number == d].mean() for d in present]), medians


def _effective_size(rest: ValueArray) -> float:
    """Size of an independent sample that knows as much as these residuals, at least 3."""
    power = float((rest**2).sum())
    if power <= 0:
        return float(len(rest))
    lag = float((rest[1:] * rest[:-1]).sum()) / power
    # the residuals of a short line understate how much they stick together (Kendall's correction)
    lag = min(max(lag + (1.0 + 4.0 * lag) / len(rest), 0.0), 0.95)
    return max(len(rest) * (1.0 - lag) / (1.0 + lag), 3.0)
