"""The power chain: taps, busways, UPSes with their batteries, feeds."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from domain.points import ValueArray


@dataclass(frozen=True, slots=True)
class UpsModel:
    """Parameters of a double-conversion UPS and its battery.

    Parameters
    ----------
    rating_per_rack
        Rated active power for each rack that hangs on it, W; doubled supply, so both sides can carry all.
    loss_fixed, loss_linear, loss_square
        Losses as shares of the rating: always, with the load, with its square.
    runtime
        Time that a full healthy battery carries the rated load, s.
    recharge
        Time to charge an empty battery, s.
    """

    rating_per_rack: float = 150e3
    loss_fixed: float = 0.006
    loss_linear: float = 0.018
    loss_square: float = 0.010
    runtime: float = 300.0
    recharge: float = 4 * 3600.0

    def loss(self, load: ValueArray, rating: ValueArray) -> ValueArray:
        """Return losses, W, at a load in W."""
        share = load / rating
        return rating * (self.loss_fixed + self.loss_linear * share + self.loss_square * share**2)

    def charge(
        self,
        charge: ValueArray,
        load: ValueArray,
        rating: ValueArray,
        on_battery: ValueArray,
        health: ValueArray,
        dt: float,
    ) -> ValueArray:
        """Return the battery's charge, 0 to 1, after `dt` s."""
        drain = load / rating / (self.runtime * np.maximum(health, 1e-3))
        rate = np.where(on_battery > 0, -drain, 1.0 / self.recharge)
        step = rate * dt if np.isfinite(dt) else np.where(on_battery > 0, 0.0, 1.0)
        return np.clip(charge + step, 0.0, 1.0)

    def runtime_left(
        self, charge: ValueArray, load: ValueArray, rating: ValueArray, health: ValueArray
    ) -> ValueArray:
        """Return the time that the battery would carry the load, s."""
        return charge * self.runtime * health * rating / np.maximum(load, 1e3)


def share_taps(share: ValueArray, energised: ValueArray) -> ValueArray:
    """Return what part of a rack's power each tap carries, shape (..., R, 2); a dead tap's part moves over."""
    live = share * energised
    total = live.sum(-1, keepdims=True)
    shares: ValueArray = np.divide(live, total, out=np.zeros_like(live), where=total > 0)
    return shares


def line_current(power: ValueArray, voltage: ValueArray | float, power_factor: ValueArray) -> ValueArray:
    """Return the current of a balanced three-phase load, A, at a line-to-line voltage."""
    volts = np.broadcast_to(voltage, np.shape(power))
    apparent = np.sqrt(3.0) * volts * power_factor
    current: ValueArray = np.divide(power, apparent, out=np.zeros_like(power), where=volts > 1.0)
    return current
