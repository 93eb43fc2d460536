"""An anomaly score for every UPS: losses and battery against the other UPSes, voltage at its input."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from analytics.anomaly.residuals import FleetLine, ResidualTrack, median
from domain.points import ValueArray

SIGNALS = ("UPS losses", "battery capacity", "supply voltage")
LOSSES = 0

LEAST_LIMIT = np.array([0.2, 0.25, 0.05])[:, None]
"""Residuals below these mean nothing: natural logarithms of ratios, and a share. Losses are a small difference of two meters."""
LOADED = 0.05
"""UPSes below this share of the largest load are not judged by their losses."""
FULL = 0.995
"""Charge from which a battery is full, as far as whole percents tell."""
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
    losses: FleetLine = field(init=False)
    full: ValueArray = field(init=False)
    """For how long each battery has been full, s."""

    def __post_init__(self) -> None:
        self.track = ResidualTrack(LEAST_LIMIT, len(self.upses), self.smoothing, self.memory)
        self.losses = FleetLine(-0.3, 0.5)
        self.full = np.full(len(self.upses), np.inf)

    def update(self, now: UpsReadings, seconds: float = 10.0) -> ValueArray:
        """Take in the next readings; return the score of each signal, shape (upses, signals), NaN where not known."""
        if not len(self.upses):
            return np.zeros((0, len(SIGNALS)))
        self.full = np.where(now.charge < FULL, 0.0, self.full + seconds)
        x, y = _losses(now, self.full >= SETTLED)
        with np.errstate(divide="ignore", invalid="ignore"):
            energy = np.log(np.where(now.charge > 0.2, now.runtime * now.power_out / now.charge, np.nan))
        energy = np.where(np.isfinite(energy), energy, np.nan)
        best = max(float(np.fmax.reduce(now.voltage_in, initial=0.0)), 1.0)
        residual = np.stack(
            [self.losses.residual(x, y), energy - median(energy), 1.0 - now.voltage_in / best]
        )
        parts = self.track.update(residual, 0.0, seconds)
        self.losses.learn(x, y, math.exp(-seconds / self.memory), self.track.calm[LOSSES])
        if self.track.age <= self.warm_up:
            return np.full((len(self.upses), len(SIGNALS)), np.nan)
        return np.ascontiguousarray(parts.T)


def _losses(now: UpsReadings, full: np.ndarray) -> tuple[ValueArray, ValueArray]:
    """Return the logarithms of load and of losses over load; NaN where the battery takes or gives."""
    lost = now.power_in - now.power_out
    top = max(float(np.fmax.reduce(now.power_out, initial=0.0)), 1.0)
    good = (now.power_out > LOADED * top) & (lost > 0) & full & np.isfinite(now.charge)
    load = np.where(good, now.power_out, np.nan)
    return np.log(load / top), np.log(np.where(good, lost, np.nan) / load)
