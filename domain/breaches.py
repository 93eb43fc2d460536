"""Whether a limit will be passed at all: what the chances of single intervals come to together."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

from domain.forecast import PERSISTENCE, Forecast
from domain.points import ValueArray

SURELY_NOT = 1e-4
"""Where no interval is likelier than this to pass the limit, paths are not drawn: there are a hundred racks."""
AHEAD_S = 6 * 3600.0
"""How far ahead a breach is asked for, unless a rule says otherwise."""
LIKELY = 0.5
"""A breach that is more likely than this is likely."""


def breached_by(
    each: ValueArray, persistence: float = PERSISTENCE, paths: int = 2000, seed: int = 0
) -> ValueArray:
    """Return the probability that the limit has been passed by the end of each interval, shape (n,).

    What was issued says nothing of how one interval hangs on the one before. Paths are drawn whose normal scores follow a
    first-order autoregression (a Gaussian copula); on each an interval breaches where the score is above 1 - its probability.
    It is never less than the likeliest interval's alone: what is rare may be on none of the paths.

    Parameters
    ----------
    each
        Probability that each interval passes its limit, shape (n,); NaN, where there is none, counts as nought.
    persistence
        Correlation of the normal scores of neighbouring intervals, 0 to 1.
    paths, seed
        How many paths, and from which seed.
    """
    known = np.nan_to_num(each)
    alone: ValueArray = np.maximum.accumulate(known)
    if known.max(initial=0.0) < SURELY_NOT:
        return alone
    normal = NormalDist()
    threshold = np.array([normal.inv_cdf(min(max(1 - p, 1e-12), 1 - 1e-12)) for p in known.tolist()])
    threshold = np.where(known <= 0, np.inf, np.where(known >= 1, -np.inf, threshold))
    scores = path_scores(len(known), persistence, paths, seed)
    reached = np.logical_or.accumulate(scores > threshold, axis=1).mean(axis=0)
    found: ValueArray = np.maximum(reached, alone)
    return found


@lru_cache(maxsize=8)  # a hundred nodes ask for the same
def path_scores(steps: int, persistence: float, paths: int, seed: int) -> ValueArray:
    """Return normal scores that follow a first-order autoregression, shape (paths, steps), read-only."""
    noise = np.random.default_rng(seed).standard_normal((steps, paths))
    fresh = math.sqrt(1 - persistence**2)
    for i in range(1, steps):
        noise[i] = persistence * noise[i - 1] + fresh * noise[i]
    noise.setflags(write=False)
    return noise.T


@dataclass(frozen=True, slots=True, eq=False)
class BreachAhead:
    """Whether the limit of a forecast will be passed in any of its coming intervals.

    Parameters
    ----------
    forecast
        Which one.
    coming
        Which of its intervals they are, ascending, at least one.
    reached
        Probability that the limit has been passed by the end of each of them, shape of `coming`.
    """

    forecast: Forecast
    coming: NDArray[np.intp]
    reached: ValueArray

    @property
    def chance(self) -> float:
        """Return the probability that any of them passes its limit."""
        return float(self.reached[-1])

    @property
    def likely(self) -> int | None:
        """Return the beginning of the interval by whose end the limit has likely been passed, UTC ms; None where by none."""
        passed = np.flatnonzero(self.reached > LIKELY)
        return int(self.forecast.start[self.coming[passed[0]]]) if len(passed) else None

    @property
    def likeliest(self) -> int:
        """Return which interval of the forecast passes its limit most likely."""
        return int(self.coming[np.argmax(np.nan_to_num(self.forecast.breach_probability[self.coming]))])


def breach_ahead(forecast: Forecast, now: int, within: float = math.inf) -> BreachAhead | None:
    """Return whether a limit will be passed; None where no interval is coming, or none has a limit.

    The one definition for the alert, the console, the points and what-if: of the issued chances those count whose intervals
    are not over at `now` (UTC ms) and begin within so many seconds.
    """
    coming = _coming(forecast, now, within)
    each = forecast.breach_probability[coming]
    return (
        None
        if np.isnan(each).all()
        else BreachAhead(forecast, coming, breached_by(each, forecast.persistence))
    )


class BreachesAhead:
    """The same of many objects, asked again and again: worked out once for each issue and set of coming intervals."""

    def __init__(self) -> None:
        self._kept: dict[str, tuple[tuple[int, int, int], BreachAhead | None]] = {}

    def of(self, forecast: Forecast, now: int, within: float) -> BreachAhead | None:
        """Return what `breach_ahead` does, for the newest forecast of an object."""
        coming = _coming(forecast, now, within)
        key = (forecast.issued, *((int(coming[0]), int(coming[-1])) if len(coming) else (-1, -1)))
        kept = self._kept.get(forecast.object_id)
        if kept is None or kept[0] != key:
            kept = self._kept[forecast.object_id] = (key, breach_ahead(forecast, now, within))
        return kept[1]


def _coming(forecast: Forecast, now: int, within: float) -> NDArray[np.intp]:
    length = forecast.interval_minutes * 60_000
    start = forecast.start
    return np.flatnonzero((start + length > now) & (start < now + within * 1000))
