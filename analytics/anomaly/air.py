"""An anomaly score for every air handler (CRAH): air for its fan's speed, pressure over its filter, and whether it runs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from analytics.anomaly.residuals import ResidualTrack, Stopped, median
from domain.points import ValueArray

SIGNALS = ("air flow", "air filter", "air handler stopped")

LEAST_LIMIT = np.array([0.12, 0.3, 0.5])[:, None]
"""Residuals below these mean nothing: natural logarithms of ratios, and yes or no."""
NATURAL = np.array([0.24, 0.6, 0.0])[:, None]
"""By how much a unit may differ by nature."""
TURNING = 0.05
"""Fan speed above which a unit runs."""


@dataclass(frozen=True, slots=True)
class AirReadings:
    """What is known of all air handlers at one moment; NaN where missing. Every array has shape (units,).

    Parameters
    ----------
    fan
        Fan speed, 0 to 1.
    flow
        Air, any unit.
    filter_dp
        Pressure over the filter, Pa.
    """

    fan: ValueArray
    flow: ValueArray
    filter_dp: ValueArray


@dataclass(slots=True)
class AirScorer:
    """Scores all air handlers of a site, online; parameters as for `analytics.anomaly.upses.UpsScorer`."""

    units: Sequence[str]
    smoothing: float = 60.0
    memory: float = 6 * 3600.0
    warm_up: float = 300.0
    track: ResidualTrack = field(init=False)
    resting: Stopped = field(init=False)

    def __post_init__(self) -> None:
        self.track = ResidualTrack(LEAST_LIMIT, len(self.units), self.smoothing, self.memory, NATURAL)
        self.resting = Stopped(len(self.units))

    def update(self, now: AirReadings, seconds: float = 10.0) -> ValueArray:
        """Take in the next readings; return the score of each signal, shape (units, signals), NaN where not known."""
        if not len(self.units):
            return np.zeros((0, len(SIGNALS)))
        turning = now.fan > TURNING
        stopped = np.where(np.isfinite(now.fan), self.resting.update(turning, seconds), np.nan)
        residual = np.stack(
            [_ratio(now.flow, now.fan, turning), _ratio(now.filter_dp, now.fan**2, turning), stopped]
        )
        parts = self.track.update(residual, 0.0, seconds)
        if self.track.age <= self.warm_up:
            return np.full((len(self.units), len(SIGNALS)), np.nan)
        return np.ascontiguousarray(parts.T)


def _ratio(above: ValueArray, below: ValueArray, turning: np.ndarray) -> ValueArray:
    """Logarithm of a ratio, minus the median of the units that run."""
    good = turning & (above > 0)
    ratio = np.log(np.where(good, above, np.nan) / np.where(good, below, np.nan))
    return np.asarray(ratio - median(ratio))
