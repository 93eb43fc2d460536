"""An anomaly score for every UPS: losses and battery against the other UPSes, voltage at its input."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from analytics.anomaly.residuals import ResidualTrack, median
from domain.points import ValueArray

SIGNALS = ("UPS losses", "battery capacity", "supply voltage")
LOSSES = 0

LEAST_LIMIT = np.array([0.2, 0.25, 0.05])[:, None]
"""Residuals below these mean nothing: natural logarithms of ratios, and a share. Losses are a small difference of two meters."""
NATURAL = np.array([0.4, 0.5, 0.0])[:, None]
"""By how much a UPS may differ by nature; losses are a small difference of two meters."""
LOADED = 0.05
"""UPSes below this share of the largest load are not judged by their losses."""
FULL = 0.995
"""Charge from which a battery is full, as far as whole percents tell."""
SURE = 2.0
"""Standard deviations of the loss curve that say nothing of a UPS."""
SETTLED = 900.0
"""Time that it has been full after which it surely takes no more current, which would look like a loss, s."""


@dataclass(frozen=True, slots=True)
class UpsReadings:
    """What is known of all UPSes at one moment; NaN where missing. Every array has shape (upses,).

    Parameters
    ----------
    power_in, power_out
        W.
    voltage_in
        V.
    charge, runtime
        Of the battery: 0 to 1, and for how long it would carry the present load, s.
    """

    power_in: ValueArray
    power_out: ValueArray
    voltage_in: ValueArray
    charge: ValueArray
    runtime: ValueArray


class LossCurve:
    """What UPSes lose at which load: a part always, one with the load, one with its square.

    Learned from all of them (Bayesian least squares), each freed of what is its own, forgetting slowly; those far off don't count. The share of the
    load that is lost is no straight line in the load, not in logarithms either: judged by one, a healthy UPS at a third
    of the others' load seems to lose a sixth more than it should. How unsure the curve is at a load that it has not
    seen is told with it.
    """

    TYPICAL = np.array([0.010, 0.018, 0.006])
    """Parts as shares of the largest load seen: a double-conversion UPS whose largest load is 60 % of its rating."""
    VARIETY = 0.5
    """Relative standard deviation of each part from maker to maker and by how much of the rating is used."""
    LIKENESS = 0.03
    """Relative standard deviation of the losses of one UPS from those of its like, at least."""
    MEMORY_S = 7 * 86_400.0
    """A curve is a property of a machine: what was seen of it under other loads holds for days."""

    def __init__(self) -> None:
        self.top = 0.0  # the largest load seen, W
        self.parts: ValueArray = np.zeros(3)
        self.covariance: ValueArray = np.zeros((3, 3))
        self.weight = 0.0
        self.gram: ValueArray = np.zeros((3, 3))
        self.sums: ValueArray = np.zeros(3)

    def residual(self, load: ValueArray, lost: ValueArray) -> tuple[ValueArray, ValueArray]:
        """Return the logarithm of losses over what they should be, and how unsure that is (one standard deviation).

        Parameters
        ----------
        load, lost
            W, NaN where not known, shape (upses,).
        """
        self._reach(load)
        basis = self._basis(load)
        if not self.parts.any():
            level = median(np.log(lost / load) - np.log(basis @ self.TYPICAL))
            if math.isnan(level):
                return np.full(len(load), np.nan), np.zeros(len(load))
            self.parts = self.TYPICAL * math.exp(level)
            self.covariance = np.diag((self.VARIETY * self.parts) ** 2)
        expected = basis @ self.parts
        unsure = np.sqrt(np.einsum("ui,ij,uj->u", basis, self.covariance, basis)) / expected
        return np.asarray(np.log(lost / load) - np.log(expected)), np.nan_to_num(unsure)

    def learn(
        self, load: ValueArray, lost: ValueArray, seconds: float, healthy: np.ndarray, own: ValueArray
    ) -> None:
        """Take in one moment; `own` is by what each is known to differ (ln): how alike they are, the plant tells."""
        lost = lost / np.exp(own)
        likeness = max(self.LIKENESS, float(np.std(own)))
        good = healthy & np.isfinite(load) & np.isfinite(lost)
        # relative errors: each row of the basis, over what was measured, should add up to one
        rows = self._basis(load[good]) * (load[good] / lost[good])[:, None]
        keep = math.exp(-seconds / self.MEMORY_S)
        self.weight = keep * self.weight + len(rows)
        self.gram = keep * self.gram + rows.T @ rows
        self.sums = keep * self.sums + rows.sum(axis=0)
        if self.weight < 1.0 or not self.parts.any():
            return
        # however often a UPS is read, it is one example of its kind
        examples = len(load) / likeness**2 / self.weight
        typical = self.TYPICAL * (self.parts.sum() / self.TYPICAL.sum())
        prior = np.diag(1.0 / (self.VARIETY * typical) ** 2)
        self.covariance = np.asarray(np.linalg.inv(examples * self.gram + prior))
        parts = self.covariance @ (examples * self.sums + prior @ typical)
        self.parts = np.maximum(parts, 0.05 * typical)

    def _basis(self, load: ValueArray) -> ValueArray:
        share = load / self.top if self.top else np.full(len(load), np.nan)
        return np.stack([1.0 / share, np.ones(len(load)), share], axis=1)

    def _reach(self, load: ValueArray) -> None:
        """Tell everything as shares of a larger load than seen so far."""
        top = float(np.fmax.reduce(load, initial=0.0))
        if top <= self.top:
            return
        if self.top:
            grown = np.array([top / self.top, 1.0, self.top / top])
            self.parts, self.sums = self.parts / grown, self.sums * grown
            self.covariance, self.gram = (
                self.covariance / np.outer(grown, grown),
                self.gram * np.outer(grown, grown),
            )
        self.top = top


@dataclass(slots=True)
class UpsScorer:
    """Scores all UPSes of a site, online.

    Parameters
    ----------
    upses
        Their ids, in the order of the arrays.
    smoothing, memory
        Time constants of the averaged residuals and of what is learnt, s. Runtimes come in whole minutes.
    warm_up
        Time before anything is scored, s.
    """

    upses: Sequence[str]
    smoothing: float = 60.0
    memory: float = 6 * 3600.0
    warm_up: float = 300.0
    track: ResidualTrack = field(init=False)
    losses: LossCurve = field(init=False)
    full: ValueArray = field(init=False)
    """For how long each battery has been full, s."""

    def __post_init__(self) -> None:
        self.track = ResidualTrack(LEAST_LIMIT, len(self.upses), self.smoothing, self.memory, NATURAL)
        self.losses = LossCurve()
        self.full = np.full(len(self.upses), np.inf)

    def update(self, now: UpsReadings, seconds: float = 10.0) -> ValueArray:
        """Take in the next readings; return the score of each signal, shape (upses, signals), NaN where not known."""
        if not len(self.upses):
            return np.zeros((0, len(SIGNALS)))
        self.full = np.where(now.charge < FULL, 0.0, self.full + seconds)
        load, lost = _losses(now, self.full >= SETTLED)
        with np.errstate(divide="ignore", invalid="ignore"):
            energy = np.log(np.where(now.charge > 0.2, now.runtime * now.power_out / now.charge, np.nan))
        energy = np.where(np.isfinite(energy), energy, np.nan)
        best = max(float(np.fmax.reduce(now.voltage_in, initial=0.0)), 1.0)
        beyond, unsure = self.losses.residual(load, lost)
        residual = np.stack([beyond, energy - median(energy), 1.0 - now.voltage_in / best])
        slack = np.zeros(residual.shape)
        slack[LOSSES] = SURE * unsure
        parts = self.track.update(residual, slack, seconds)
        self.losses.learn(load, lost, seconds, self.track.calm[LOSSES], self.track.offset[LOSSES])
        if self.track.age <= self.warm_up:
            return np.full((len(self.upses), len(SIGNALS)), np.nan)
        return np.ascontiguousarray(parts.T)


def _losses(now: UpsReadings, full: np.ndarray) -> tuple[ValueArray, ValueArray]:
    """Return load and losses, W; NaN where the battery takes or gives, and where there is little to lose."""
    lost = now.power_in - now.power_out
    top = max(float(np.fmax.reduce(now.power_out, initial=0.0)), 1.0)
    good = (now.power_out > LOADED * top) & (lost > 0) & full & np.isfinite(now.charge)
    return np.where(good, now.power_out, np.nan), np.where(good, lost, np.nan)
