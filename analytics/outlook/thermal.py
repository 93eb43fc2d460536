"""Temperatures of racks and CDUs over the next hour, and the probability that they pass their limits.

A grey-box model of each rack, fitted to its own last hours: coolant return from supply, flow and power by the heat
balance of a mixed volume, with the rack's own share of heat in the liquid and its own heat capacity; the hottest GPU
from coolant and power, with its own thermal resistance. What the model leaves unexplained goes on at its level, with
its trend where that stands out of the noise, and its errors at the same lead give the quantiles. All racks at once.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from analytics.outlook.excursions import exceedance
from domain.plant.rack import COOLANT_HEAT, RackModel
from domain.points import ValueArray
from domain.site import ThermalLimits

QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)
DAMPING = 0.8
"""Share of a trend that is left after a step (Gardner and McKenzie's damped trend, 1985)."""
FEWEST = 6
"""Steps of history without which there is no outlook."""
OWN = 0.5
"""Weight of a rack's own errors in its quantiles; the rest is that of all racks, which have seen more."""
CAPACITIES = RackModel().heat_capacity * 2.0 ** np.arange(-2, 3)
"""Heat capacities of a rack that are tried, J/K."""
GPU_COOLANT, GPU_RESISTANCE = 0.7, 3.4e-4
"""Prior of the hottest GPU: share of the coolant's rise at its plate, and kelvin per watt of rack power."""


@dataclass(frozen=True, slots=True, eq=False)
class TemperatureOutlook:
    """Quantiles of a temperature for each rack (or CDU) and step ahead.

    `quantiles` are the levels (length q), `values` Cel or K of shape (racks, steps, q), `breach_probability` of shape
    (racks, steps); NaN throughout a rack without enough history.
    """

    quantiles: tuple[float, ...]
    values: ValueArray
    breach_probability: ValueArray


@dataclass(frozen=True, slots=True, eq=False)
class RackHistory:
    """Readings of the racks at a regular step, the newest last, NaN where missing; all of shape (racks, n).

    Rack power in W, coolant supply and return in Cel, flow in L/min, hottest GPU in Cel.
    """

    power: ValueArray
    supply: ValueArray
    ret: ValueArray
    flow: ValueArray
    gpu: ValueArray


@dataclass(frozen=True, slots=True, eq=False)
class RackThermal:
    """The fitted racks; arrays of shape (racks,), NaN where a rack tells too little.

    Parameters
    ----------
    liquid_share
        Share of its power that a rack gives to the coolant.
    heat_capacity
        Of metal and coolant inside, J/K; its time constant is this over the heat that the flow carries.
    flow_slope
        By how much the flow follows the power, L/min per W.
    gpu_coolant, gpu_resistance
        Hottest GPU: share of the coolant's rise at its plate, and K per W of rack power.
    """

    liquid_share: ValueArray
    heat_capacity: ValueArray
    flow_slope: ValueArray
    gpu_coolant: ValueArray
    gpu_resistance: ValueArray

    def rise(self, power: ValueArray, flow: ValueArray) -> ValueArray:
        """Return how far the coolant warms up in the end, K: heat over what the flow carries."""
        share = self.liquid_share.reshape(-1, *[1] * (power.ndim - 1))
        rise: ValueArray = share * power / _carried(flow)
        return rise

    def remembered(self, flow: ValueArray, step_s: float) -> ValueArray:
        """Return what is left of a deviation of the return temperature after a step, 0 to 1."""
        capacity = self.heat_capacity.reshape(-1, *[1] * (flow.ndim - 1))
        left: ValueArray = np.exp(-step_s * _carried(flow) / capacity)
        return left

    def gpu_rise(self, rise: ValueArray, power: ValueArray) -> ValueArray:
        """Return how far the hottest GPU lies above the supplied coolant, K."""
        shape = (-1, *[1] * (power.ndim - 1))
        hotter: ValueArray = (
            self.gpu_coolant.reshape(shape) * rise + self.gpu_resistance.reshape(shape) * power
        )
        return hotter


@dataclass(frozen=True, slots=True, eq=False)
class ThermalOutlook:
    """The next hour of the racks, and the model that it comes from."""

    supply: TemperatureOutlook
    ret: TemperatureOutlook
    gpu: TemperatureOutlook
    model: RackThermal


def temperature_outlook(
    history: RackHistory,
    steps: int,
    step_s: float,
    limits: ThermalLimits,
    load: ValueArray | None = None,
    quantiles: tuple[float, ...] = QUANTILES,
) -> ThermalOutlook:
    """Foretell coolant supply, coolant return and hottest GPU of every rack.

    Parameters
    ----------
    history
        A few hours of readings. Where a rack lacks power or flow, its temperatures are foretold from themselves alone.
    steps
        How many steps ahead.
    step_s
        Length of a step, s.
    limits
        Of the site.
    load
        Power that the racks are expected to draw, W, shape (racks, steps), NaN where unknown: such as their own power
        forecast, so that power and temperature agree. What they draw now if not given.
    quantiles
        Levels, ascending.
    """
    h = RackHistory(
        *(_filled(x) for x in (history.power, history.supply, history.ret, history.flow, history.gpu))
    )
    model = fit_racks(h, step_s)
    now = h.power[:, -1:]
    power = np.repeat(now, steps, axis=1)
    if load is not None:
        power = np.where(np.isnan(load), power, load)
    # the valve follows the power: so does the flow, from where it is
    flow = np.maximum(h.flow[:, -1:] + model.flow_slope[:, None] * (power - now), 0.0)

    leads = np.arange(1, steps + 1)
    left = model.remembered(h.flow, step_s)[..., None] ** leads
    final = model.rise(h.power, h.flow)
    # as seen from every past step, had power and flow stayed: what the errors are learnt from
    rise_then = final[..., None] + ((h.ret - h.supply) - final)[..., None] * left
    gpu_then = model.gpu_rise(rise_then, np.repeat(h.power[..., None], steps, axis=2))
    rise, step_left = np.empty(power.shape), model.remembered(flow, step_s)
    rise_now = h.ret[:, -1] - h.supply[:, -1]
    target = model.rise(power, flow)
    for k in range(steps):
        rise_now = target[:, k] + (rise_now - target[:, k]) * step_left[:, k]
        rise[:, k] = rise_now
    gpu_rise = model.gpu_rise(rise, power)

    supply, supply_then = _carry_on(h.supply, steps)
    explained = _explained_rise(model, h, step_s)
    coolant = h.supply + explained
    hottest = h.supply + model.gpu_rise(h.ret - h.supply, h.power)
    parts = []
    for measured, told, ahead, ahead_then in (
        (h.ret, coolant, supply + rise, supply_then + rise_then),
        (h.gpu, hottest, supply + gpu_rise, supply_then + gpu_then),
    ):
        # a rack that tells no power, flow or supply is its own model
        blind = np.isnan(told[:, -1])
        told = np.where(blind[:, None], 0.0, told)
        residual, residual_then = _carry_on(measured - told, steps)
        if measured is h.ret:
            # what the heat balance remembers already starts from the measured return
            kept = np.where(blind[:, None, None] | np.isnan(left), 0.0, left)
            residual, residual_then = residual * (1 - kept[:, -1]), residual_then * (1 - kept)
        point = np.where(blind[:, None], 0.0, ahead) + residual
        point_then = np.where(blind[:, None, None], 0.0, ahead_then) + residual_then
        parts.append((measured, point, point_then))
    found = [
        _outlook(measured, point, then, limit, quantiles)
        for (measured, point, then), limit in zip(
            [(h.supply, supply, supply_then), *parts],
            (limits.coolant_supply, limits.coolant_return, limits.gpu),
            strict=True,
        )
    ]
    return ThermalOutlook(found[0], found[1], found[2], model)


def approach_outlook(
    supply: ValueArray,
    water: ValueArray,
    steps: int,
    limit: float = np.nan,
    quantiles: tuple[float, ...] = QUANTILES,
) -> TemperatureOutlook:
    """Foretell the approach of every CDU: how far its coolant supply lies above the facility water, K.

    Parameters
    ----------
    supply, water
        Coolant supply and facility water at the inlet, Cel, shape (CDUs, n), the newest last, NaN where missing. The
        valve holds the one, weather and chillers give the other: each goes on by itself.
    steps, quantiles
        As for `temperature_outlook`.
    limit
        K; NaN for none.
    """
    supply, water = _filled(supply), _filled(water)
    (warm, warm_then), (cold, cold_then) = _carry_on(supply, steps), _carry_on(water, steps)
    return _outlook(supply - water, warm - cold, warm_then - cold_then, limit, quantiles)


def fit_racks(h: RackHistory, step_s: float) -> RackThermal:
    """Fit the thermal model of every rack to its history; robust to steps in which a job begins or ends."""
    nominal = RackModel()
    rise = h.ret - h.supply
    with np.errstate(invalid="ignore", divide="ignore"):
        steady = np.abs(np.diff(h.power, axis=1, prepend=h.power[:, :1])) < 0.05 * h.power
        share = np.where(steady & (h.flow > 1.0), rise * _carried(h.flow) / h.power, np.nan)
    share = np.clip(_median(share, nominal.liquid_share), 0.3, 1.3)
    power_spread = h.power - _mean(h.power)
    slope = _ridge_slope(power_spread, h.flow - _mean(h.flow), nominal.flow_per_watt, 5e3)

    errors = []
    for capacity in CAPACITIES:
        trial = RackThermal(share, np.full(len(share), capacity), slope, share, share)
        off = np.abs(rise - _explained_rise(trial, h, step_s))[:, 1:]
        # a capacity that explains no better than the nominal one is not preferred to it
        errors.append(_mean(off)[:, 0] * (1.0 + 0.02 * abs(np.log2(capacity / nominal.heat_capacity))))
    best = np.argmin(np.nan_to_num(np.array(errors), nan=np.inf), axis=0)
    capacity_found = np.where(np.isnan(errors[2]), nominal.heat_capacity, CAPACITIES[best])

    # two unknowns a rack: where the coolant hardly varies, the prior says what is whose
    hot = h.gpu - h.supply
    usable = ~np.isnan(hot + rise + h.power)
    weight_rise, weight_power = 30.0, 30.0 * (1e5) ** 2
    r, p, y = (np.where(usable, x, 0.0) for x in (rise, h.power, hot))
    a, b, d = (r * r).sum(1) + weight_rise, (r * p).sum(1), (p * p).sum(1) + 1e-3 * weight_power
    u, v = (r * y).sum(1) + weight_rise * GPU_COOLANT, (p * y).sum(1) + 1e-3 * weight_power * GPU_RESISTANCE
    determinant = a * d - b * b
    coolant, resistance = (d * u - b * v) / determinant, (a * v - b * u) / determinant
    return RackThermal(share, capacity_found, slope, coolant, resistance)


def _carried(flow: ValueArray) -> ValueArray:
    """Return the heat that the flow carries per kelvin, W/K; convection keeps a little up when pumps stand still."""
    carried: ValueArray = COOLANT_HEAT * np.maximum(flow, RackModel().stagnant)
    return carried


def _explained_rise(model: RackThermal, h: RackHistory, step_s: float) -> ValueArray:
    """Return the coolant's rise that each step's measured rise lets expect for the next, K, shape (racks, n)."""
    final, left = model.rise(h.power, h.flow), model.remembered(h.flow, step_s)
    measured = h.ret - h.supply
    before = np.concatenate([final[:, :1], measured[:, :-1]], axis=1)
    explained: ValueArray = final + (before - final) * left
    return explained


def _carry_on(series: ValueArray, steps: int) -> tuple[ValueArray, ValueArray]:
    """Let a series go on: at the middle of its last three values, or, where three unusual steps agree, with a damped trend.

    A spike is no trend, and a value that stands alone no new level. Returns the points ahead from the end, shape
    (racks, steps), and from every step, shape (racks, n, steps).
    """
    one, two, three = (_shifted(series, back) for back in (1, 2, 3))
    moves = np.stack([series - one, one - two, two - three])
    usual = _median(np.abs(np.diff(series, axis=1)), 0.0)[:, None]
    agreed = (moves > usual).all(axis=0) | (moves < -usual).all(axis=0)
    trend = np.where(agreed, np.sign(moves[0]) * np.abs(moves).min(axis=0), 0.0)
    level = np.where(agreed, series, np.median([series, one, two], axis=0))
    reach = DAMPING * (1 - DAMPING ** np.arange(1, steps + 1)) / (1 - DAMPING)
    then = level[..., None] + trend[..., None] * reach
    return then[:, -1], then


def _outlook(
    measured: ValueArray, point: ValueArray, then: ValueArray, limit: float, quantiles: tuple[float, ...]
) -> TemperatureOutlook:
    """Put the quantiles of the model's errors at the same lead around its points."""
    racks, n = measured.shape
    steps = point.shape[1]
    values = np.full((racks, steps, len(quantiles)), np.nan)
    breach = np.full((racks, steps), np.nan)
    known = ~np.isnan(point).any(axis=1) & ((~np.isnan(measured)).sum(axis=1) >= FEWEST)
    rows = np.flatnonzero(known)
    if len(rows) == 0:
        return TemperatureOutlook(quantiles, values, breach)
    shift = np.zeros((len(rows), len(quantiles)))
    for k in range(steps):
        if n > k + FEWEST:
            # either way: that load has risen for hours does not tell that it goes on to
            errors = measured[rows, k + 1 :] - then[rows, : -k - 1, k]
            errors = np.concatenate([errors, -errors], axis=1)
            with warnings.catch_warnings():
                warnings.simplefilter(
                    "ignore", RuntimeWarning
                )  # a rack without an error yet: NaN is the answer
                own = np.nanquantile(errors, quantiles, axis=1).T
                shift = OWN * own + (1 - OWN) * np.nanquantile(errors, quantiles)
        values[rows, k] = point[rows, k, None] + shift
    for row in rows:
        breach[row] = exceedance(values[row], quantiles, np.full(steps, limit))
    return TemperatureOutlook(quantiles, values, breach)


def _filled(table: ValueArray) -> ValueArray:
    """Return the rows with gaps filled with the value before them; NaN stays before the first."""
    position = np.where(np.isnan(table), -1, np.arange(table.shape[1]))
    last = np.maximum.accumulate(position, axis=1)
    return np.where(last >= 0, np.take_along_axis(table, np.maximum(last, 0), axis=1), np.nan)


def _shifted(table: ValueArray, back: int) -> ValueArray:
    """Return the values `back` steps before; before the first value, that itself."""
    first = np.argmax(~np.isnan(table), axis=1)
    at = np.maximum(np.arange(table.shape[1]) - back, first[:, None])
    return np.take_along_axis(table, at, axis=1)


def _median(table: ValueArray, otherwise: float) -> ValueArray:
    """Return the rows' medians, `otherwise` for a row without any value."""
    if table.shape[1] == 0:
        return np.full(len(table), otherwise)
    empty: NDArray[np.bool_] = np.asarray(np.isnan(table).all(axis=1))
    return np.where(empty, otherwise, np.nanmedian(np.where(empty[:, None], 0.0, table), axis=1))


def _mean(table: ValueArray) -> ValueArray:
    """Return the rows' means, shape (racks, 1), NaN for a row without any value."""
    count = (~np.isnan(table)).sum(axis=1, keepdims=True)
    total = np.nansum(table, axis=1, keepdims=True)
    return np.where(count > 0, total / np.maximum(count, 1), np.nan)


def _ridge_slope(x: ValueArray, y: ValueArray, prior: float, scale: float) -> ValueArray:
    """Return the slope of y over x by row, drawn to a prior where x varies by less than `scale`."""
    usable = ~np.isnan(x + y)
    x, y = np.where(usable, x, 0.0), np.where(usable, y, 0.0)
    weight = scale**2 * x.shape[1] * 0.1
    slope: ValueArray = ((x * y).sum(1) + weight * prior) / ((x * x).sum(1) + weight)
    return slope
