"""Residuals that plant knowledge gives: against peers, and against physics.

Pure functions on arrays, vectorised over the whole factory; what comes out is in the unit of the quantity or a
share of it, NaN where an input is missing. `scored` turns a residual into a score that is above 1 where anomalous.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from analytics.anomaly.peers import ROBUST_DEVIATION, row_median
from domain.plant.rack import COOLANT_HEAT
from domain.points import IntArray, ValueArray

DEVIATIONS = 5.0
"""How many robust standard deviations of its peers a member may be off."""


def scored(residual: ValueArray, least: float, spread: ValueArray | float = 0.0) -> ValueArray:
    """Return a score, above 1 where a residual is anomalous.

    Parameters
    ----------
    residual
        Any shape.
    least
        Residuals below this mean nothing, whatever the spread: the accuracy of the instruments.
    spread
        Robust standard deviation of healthy residuals.
    """
    return np.abs(residual) / np.maximum(least, DEVIATIONS * np.asarray(spread))


def gpu_residual(temperature: ValueArray, power: ValueArray, coolant: ValueArray) -> ValueArray:
    """Return how much warmer each GPU is than the others of its rack would be at its power and coolant, K.

    The rack's thermal resistance is the median of (temperature - coolant) / power over its GPUs; a GPU that
    draws less than a third of its rack's median is compared at that third, where the ratio means little.

    Parameters
    ----------
    temperature, power
        Cel and W, shape (racks, GPUs of a rack).
    coolant
        Mean coolant temperature at the cold plates of each rack, Cel, shape (racks,).
    """
    rise = temperature - coolant[:, None]
    drawn = np.maximum(power, row_median(power)[:, None] / 3.0)
    resistance = row_median(rise / np.maximum(drawn, 1.0))
    residual: ValueArray = rise - resistance[:, None] * power
    return residual


def gpu_scores(residual: ValueArray, least: float = 6.0) -> ValueArray:
    """Score every GPU by its residual against the spread of its rack, shape (racks, GPUs of a rack)."""
    spread = ROBUST_DEVIATION * row_median(np.abs(residual - row_median(residual)[:, None]))
    return scored(residual, least, spread[:, None])


def heat_balance(
    flow: ValueArray,
    supply: ValueArray,
    ret: ValueArray,
    power: ValueArray,
    liquid_share: float = 0.95,
    heat: float = COOLANT_HEAT,
) -> ValueArray:
    """Return the share of the power that the coolant does not account for, 0 when all is well.

    Steady state: flow x heat capacity x (return - supply) = liquid share x power. Positive: heat is missing
    (a flow or temperature sensor reads low, or the power meter high).

    Parameters
    ----------
    flow, supply, ret, power
        L/min, Cel, Cel, W; averaged over a minute or more, since the metal stores heat. Any common shape.
    liquid_share
        Share of the heat that leaves in the liquid.
    heat
        Heat that 1 L/min carries per kelvin, W.
    """
    expected = liquid_share * power
    return _ratio(expected - heat * flow * (ret - supply), expected)


def missing_from_sum(children: ValueArray, parent: ValueArray, group: IntArray) -> ValueArray:
    """Return the share of each parent meter that the sum of its children does not account for.

    Positive: the parent reads more (a branch without a meter, a child that reads low). A parent with a child
    missing has NaN: a partial sum would look like a loss.

    Parameters
    ----------
    children
        W, shape (children,).
    parent
        W, shape (parents,).
    group
        Index of each child's parent, shape (children,).
    """
    total = np.bincount(group, weights=children, minlength=len(parent))
    return _ratio(parent - total, parent)


def phase_imbalance(current: ValueArray) -> ValueArray:
    """Return the largest distance of a phase from the mean of the three, over that mean (NEMA MG 1-14.36).

    Parameters
    ----------
    current
        A (or V), shape (..., 3).
    """
    mean = current.mean(axis=-1)
    return _ratio(np.abs(current - mean[..., None]).max(axis=-1), mean)


def power_factor(active: ValueArray, apparent: ValueArray) -> ValueArray:
    """Return active over apparent power, W / VA; NaN below 1 % of the largest load, where it means nothing."""
    loaded = apparent > 0.01 * np.fmax.reduce(apparent, axis=None, initial=0.0)
    return np.where(loaded, _ratio(active, apparent), np.nan)


def sharing(load: ValueArray, running: ValueArray, group: IntArray, groups: int) -> ValueArray:
    """Return how far each unit is from an equal share of its group's load: 0 at its share, 1 at twice that.

    For CDUs of a pod (heat or flow), UPSes in parallel, pumps of a set. Units that don't run are NaN.

    Parameters
    ----------
    load
        Any unit, shape (units,).
    running
        1 where a unit runs, shape (units,).
    group
        Index of each unit's group, shape (units,).
    groups
        Number of groups.
    """
    on = running > 0
    total = np.bincount(group, weights=np.where(on, load, 0.0), minlength=groups).astype(float)
    members = np.bincount(group[on], minlength=groups).astype(float)
    share = _ratio(total, members)[group]
    return np.where(on, _ratio(load - share, share), np.nan)


def pump_wear(
    speed: ValueArray, flow: ValueArray, pressure: ValueArray, head: float, loss: float
) -> ValueArray:
    """Return the share of its head that a pump has lost, 0 for a new one.

    Pump curve: head x health x speed^2 = pressure + loss x flow^2.

    Parameters
    ----------
    speed
        0 to 1.
    flow
        L/min.
    pressure
        Difference over the header, Pa.
    head
        Of a new pump at full speed and no flow, Pa.
    loss
        Of pipes, filter and exchanger inside the unit, Pa per (L/min)^2.
    """
    return 1.0 - _ratio(pressure + loss * flow**2, head * speed**2)


def fouling(pressure_drop: ValueArray, flow: ValueArray, clean: float) -> ValueArray:
    """Return how much a filter or cold plate resists beyond a clean one, 0 for a clean one.

    Parameters
    ----------
    pressure_drop, flow
        Pa, L/min.
    clean
        Pressure drop of a clean one, Pa per (L/min)^2.
    """
    return _ratio(pressure_drop, clean * flow**2) - 1.0


@dataclass(slots=True)
class ResistanceTrack:
    """Thermal resistance of every GPU or rack, followed over weeks, as the line: rise = resistance x power.

    Exponentially weighted least squares through the origin; weighting with the power squared makes idle hours,
    where the ratio is all noise, count little. The reference is what was measured in the first `settling` time.

    Parameters
    ----------
    size
        Number of objects.
    memory
        Time constant of the present value, s.
    settling
        Loaded time that makes up the reference, s.
    """

    size: int
    memory: float = 2 * 86400.0
    settling: float = 2 * 86400.0
    rise_power: ValueArray = field(init=False)
    power_power: ValueArray = field(init=False)
    seen: ValueArray = field(init=False)
    reference: ValueArray = field(init=False)

    def __post_init__(self) -> None:
        self.rise_power, self.power_power, self.seen = (np.zeros(self.size) for _ in range(3))
        self.reference = np.full(self.size, np.nan)

    def update(self, rise: ValueArray, power: ValueArray, seconds: float) -> None:
        """Take in one moment.

        Parameters
        ----------
        rise
            Temperature over the coolant, K, shape (size,); NaN where missing.
        power
            W, shape (size,).
        seconds
            Since the last one.
        """
        good = np.isfinite(rise) & np.isfinite(power) & (power > 0)
        keep = np.where(good, np.exp(-seconds / self.memory), 1.0)
        weight = np.where(good, seconds, 0.0)
        p, r = np.where(good, power, 0.0), np.where(good, rise, 0.0)
        self.rise_power = keep * self.rise_power + weight * r * p
        self.power_power = keep * self.power_power + weight * p * p
        self.seen += weight
        settled = np.isnan(self.reference) & (self.seen >= self.settling)
        self.reference = np.where(settled, self.resistance, self.reference)

    @property
    def resistance(self) -> ValueArray:
        """K/W now, NaN where never measured."""
        return _ratio(self.rise_power, self.power_power)

    @property
    def drift(self) -> ValueArray:
        """Share by which it has grown over the reference, NaN until there is one."""
        return self.resistance / self.reference - 1.0


def _ratio(above: ValueArray, below: ValueArray) -> ValueArray:
    """Divide; NaN where the divisor is nought or missing."""
    above, below = np.broadcast_arrays(np.asarray(above, dtype=float), np.asarray(below, dtype=float))
    out = np.full(below.shape, np.nan)
    np.divide(above, below, out=out, where=np.abs(below) > 1e-12)
    return out
