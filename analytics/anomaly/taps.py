"""An anomaly score for every tap of the racks: voltage, power factor, balance of phases, share of the rack's power."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from analytics.anomaly.peers import group_median
from analytics.anomaly.plant import phase_imbalance
from analytics.anomaly.residuals import ResidualTrack, Steps, median, milder
from domain.errors import InputError
from domain.points import IntArray, ValueArray

SIGNALS = ("voltage", "supply voltage", "power factor", "phase imbalance", "tap share")
SHARE = SIGNALS.index("tap share")

LEAST_LIMIT = np.array([0.008, 0.04, 0.025, 0.08, 0.025])[:, None]
"""Residuals below these mean nothing; all are shares."""
NATURAL = np.array([0.016, 0.0, 0.06, 0.12, 0.05])[:, None]
"""By how much a tap may differ by nature."""
LOADED = 0.02
"""Taps below this share of the largest rack's power carry too little for their ratios to mean anything."""
UNEVEN = 0.2
"""How far from half a rack's power a tap may carry by nature."""
DEAD = 0.5
"""Share of the usual voltage below which a tap has none."""


@dataclass(frozen=True, slots=True)
class TapReadings:
    """What is known of all taps at one moment; NaN where missing.

    Parameters
    ----------
    power, power_factor, voltage
        W, 0 to 1, V; shape (taps,).
    phases
        Current of the three phases, A, shape (taps, 3).
    rack_power
        What the rack of each tap draws by its own meter, W, shape (taps,).
    """

    power: ValueArray
    power_factor: ValueArray
    voltage: ValueArray
    phases: ValueArray
    rack_power: ValueArray


@dataclass(slots=True)
class TapScorer:
    """Scores all taps of a site, online.

    Parameters
    ----------
    taps
        Their ids, in the order of the arrays.
    rack, busway
        Index of the rack that each serves and of the busway that it hangs on, shape (taps,).
    smoothing, memory
        Time constants of the averaged residuals and of what is learnt, s.
    warm_up
        Time before anything is scored, s.
    """

    taps: Sequence[str]
    rack: IntArray
    busway: IntArray
    smoothing: float = 40.0
    memory: float = 6 * 3600.0
    warm_up: float = 300.0
    track: ResidualTrack = field(init=False)
    own: ValueArray = field(init=False)
    """Share of its rack that each tap carries by nature, learnt while it warms up."""
    shared: ValueArray = field(init=False)
    """For how long that has been looked at, s."""
    steps: Steps = field(init=False)
    """Of the meters of taps, then those of their racks."""

    def __post_init__(self) -> None:
        if not len(self.taps) == len(self.rack) == len(self.busway):
            raise InputError(f"{len(self.taps)} taps need as many rack and busway indices")
        self.track = ResidualTrack(LEAST_LIMIT, len(self.taps), self.smoothing, self.memory, NATURAL)
        members = np.bincount(self.rack)[self.rack] if len(self.rack) else np.zeros(0)
        self.own = 1.0 / np.maximum(members, 1.0)
        self.shared = np.zeros(len(self.taps))
        self.steps = Steps(2 * len(self.taps))

    def update(self, now: TapReadings, seconds: float = 10.0) -> ValueArray:
        """Take in the next readings; return the score of each signal, shape (taps, signals), NaN where not known."""
        self._learn_share(now, seconds)
        residual = self._residuals(now)
        slack = np.zeros(residual.shape)
        # a coarse meter says little of the share of a small load
        step = self.steps.update(np.concatenate([now.power, now.rack_power])).reshape(2, -1).max(axis=0)
        slack[SHARE] = np.nan_to_num(step / np.maximum(now.rack_power, 1.0))
        parts = self.track.update(residual, slack, seconds)
        if self.track.age <= self.warm_up:
            return np.full((len(self.taps), len(SIGNALS)), np.nan)
        return np.ascontiguousarray(parts.T)

    def _learn_share(self, now: TapReadings, seconds: float) -> None:
        share = np.divide(
            now.power, now.rack_power, out=np.full(len(self.taps), np.nan), where=now.rack_power > 0
        )
        fair = np.isfinite(share) & (np.abs(share - 0.5) < UNEVEN)
        fair &= self.shared < self.warm_up
        gain = seconds / (self.shared + seconds)
        self.own = np.where(fair, self.own + gain * (share - self.own), self.own)
        self.shared += np.where(fair, seconds, 0.0)

    def _residuals(self, now: TapReadings) -> ValueArray:
        if not len(self.taps):
            return np.zeros((len(SIGNALS), 0))
        busways = int(self.busway.max()) + 1
        at_busway = group_median(now.voltage, self.busway, busways)
        usual = float(np.fmax.reduce(at_busway))  # the other side's busways may all be without voltage
        dead = now.voltage < DEAD * usual
        total = np.bincount(self.rack, weights=now.power)[self.rack].astype(float)
        loaded = now.power > LOADED * float(np.fmax.reduce(now.rack_power, initial=1.0))
        with np.errstate(divide="ignore", invalid="ignore"):  # a dead tap has no ratios
            residual = self._ratios(now, at_busway, usual, total)
        residual[2:, ~loaded] = np.nan
        # whatever takes over for a dead tap, or hangs on a dead busway, is as it should be
        deprived = np.bincount(self.rack, weights=dead)[self.rack] > 0
        residual[SHARE, deprived] = np.nan
        residual[0, at_busway[self.busway] < DEAD * usual] = np.nan
        return residual

    def _ratios(self, now: TapReadings, at_busway: ValueArray, usual: float, total: ValueArray) -> ValueArray:
        return np.stack(
            [
                now.voltage / at_busway[self.busway] - 1.0,
                (at_busway / usual)[self.busway] - 1.0,
                now.power_factor - median(now.power_factor),
                phase_imbalance(now.phases),
                # a wrong rack meter moves the first of all its taps, a wrong tap meter the second of its healthy twin
                milder(now.power / now.rack_power - self.own, now.power / total - self.own),
            ]
        )
