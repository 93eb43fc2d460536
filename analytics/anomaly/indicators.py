"""The parts that wear, and how worn each is: indicators worked out from hours and days of kept readings.

Pure: arrays come in, one indicator a part comes out, as a series that creeps towards a limit. What is compared with
the fleet takes the best of it for new, so that no maker's curve is needed.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from analytics.anomaly.peers import ROBUST_DEVIATION
from analytics.anomaly.wear import LEAST_DAYS, Remaining, WornPart, ranked, time_to_limit
from domain.plant.cdu import CduModel
from domain.plant.rack import COOLANT_HEAT
from domain.points import ValueArray

NEW = 0.9
"""Quantile of the fleet that stands for a new part."""
CLOSEST = 60
"""Parts of a kind that are looked at closely: those that a straight line brings to their limit first."""
HORIZON_DAYS = 365.0
CLEAR = 3.0
"""A trend counts where it is so many times its own uncertainty."""


@dataclass(frozen=True, slots=True)
class Indicator:
    """What tells the wear of one kind of part.

    Parameters
    ----------
    name
        For people.
    limit
        Level at which the part must be seen to.
    rising
        Whether it grows towards the limit.
    advice
        What to do then.
    """

    name: str
    limit: float
    rising: bool
    advice: str


FILTER = Indicator("filter resistance over a clean one", 1.5, True, "Change or backflush the filter.")
PUMP = Indicator("pump head lost", 0.25, True, "Inspect impeller, seals and drive.")
EXCHANGER = Indicator("heat exchanger conductance lost", 0.3, True, "Clean the heat exchanger.")
VALVE = Indicator("valve off its curve", 0.08, True, "Stroke the valve; check actuator and positioner.")
PLATE = Indicator(
    "GPU thermal resistance grown", 0.35, True, "Plan the tray for service: cold plate or paste."
)
BATTERY = Indicator(
    "battery capacity left", 0.8, False, "Test the battery; plan its replacement (IEEE 1188: 80 %)."
)
FAN = Indicator(
    "air for the fan's speed left", 0.75, False, "Change the air filter; check belts and bearings."
)


def filters(dp: ValueArray, flow: ValueArray) -> ValueArray:
    """Return how much each filter resists over a clean one; Pa, L/min, shape (units, times) all."""
    return _over_best(_safe(dp, flow**2), 1.0 - NEW) - 1.0


def pumps(
    dp: ValueArray, filter_dp: ValueArray, flow: ValueArray, speed: ValueArray, model: CduModel
) -> ValueArray:
    """Return the share of its head that each pump has lost: head = (pressures + loss x flow^2) / speed^2."""
    filtering = np.where(np.isfinite(filter_dp), filter_dp, model.filter_loss * flow**2)
    return 1.0 - _over_best(_safe(dp + filtering + model.loss * flow**2, speed**2), NEW)


def exchangers(
    flow: ValueArray, supply: ValueArray, ret: ValueArray, water_in: ValueArray, water_out: ValueArray
) -> ValueArray:
    """Return the share of its conductance that each heat exchanger has lost: heat over the mean temperature difference."""
    heat = COOLANT_HEAT * flow * (ret - supply)
    warm, cold = ret - water_out, supply - water_in
    with np.errstate(divide="ignore", invalid="ignore"):
        mean = np.where(np.abs(warm - cold) < 0.05, 0.5 * (warm + cold), (warm - cold) / np.log(warm / cold))
    usable = (warm > 0.5) & (cold > 0.5) & (ret - supply > 3.0)
    return 1.0 - _over_best(_safe(np.where(usable, heat, np.nan), mean), NEW)


def valves(position: ValueArray, load: ValueArray) -> ValueArray:
    """Return how far each valve strays from its own curve over the logarithm of its load, by the day's scatter.

    Shapes (valves, days, times of a day); returns (valves, days). A valve that sticks is now above, now below its curve.
    """
    load = np.log(np.maximum(load, 1.0))
    out = np.full(position.shape[:2], np.nan)
    for i in range(len(position)):
        x, y = load[i].ravel(), position[i].ravel()
        good = np.isfinite(x) & np.isfinite(y)
        if good.sum() < 48 or np.ptp(x[good]) < 0.1:
            continue
        slope, offset = np.polyfit(x[good], y[good], 1)
        off = np.abs(position[i] - offset - slope * load[i])
        known = np.isfinite(off).sum(axis=1) >= 12
        out[i, known] = ROBUST_DEVIATION * np.nanmedian(off[known], axis=1)
    return out


def plates(temperature: ValueArray, coolant: ValueArray, power: ValueArray) -> ValueArray:
    """Return by how much each GPU's thermal resistance has grown over that of its rack's best days, shape (gpus, days).

    Parameters
    ----------
    temperature, power
        Daily means, Cel and W; the mean of a sum of rises is the rise of the mean power. Shape (gpus, days).
    coolant
        Of each GPU's rack, Cel, shape (gpus, days).
    """
    resistance = _safe(temperature - coolant, np.where(power > 0, power, np.nan))
    known = np.isfinite(resistance)
    first = np.full(len(resistance), np.nan)
    some = known.sum(axis=1) >= LEAST_DAYS
    rows = np.flatnonzero(some)
    for i in rows.tolist():
        first[i] = np.median(resistance[i][known[i]][:3])
    # what moves all GPUs on a day is weather and load, not fouling
    growth = resistance / first[:, None]
    with np.errstate(invalid="ignore"):
        day = np.array([np.median(g[np.isfinite(g)]) if np.isfinite(g).any() else np.nan for g in growth.T])
    grown: ValueArray = growth / day - 1.0
    return grown


def batteries(runtime: ValueArray, load: ValueArray, charge: ValueArray) -> ValueArray:
    """Return the share of a new battery's energy that each UPS's battery holds, as its runtime says."""
    energy = np.where(charge > 0.5, runtime * load / np.maximum(charge, 0.5), np.nan)
    return _over_best(energy, NEW)


def fans(flow: ValueArray, speed: ValueArray) -> ValueArray:
    """Return the share of a clean unit's air that each air handler moves at the same fan speed."""
    return _over_best(_safe(flow, np.where(speed > 0.05, speed, np.nan)), NEW)


def worn(indicator: Indicator, ids: Sequence[str], days: ValueArray, values: ValueArray) -> list[WornPart]:
    """Return the parts that may reach their limit within a year, with the time that is left.

    Parameters
    ----------
    ids
        Objects that the rows are about.
    days
        Times in days, shape (times,).
    values
        The indicator, shape (ids, times), NaN where unknown.
    """
    soon = _straight(days, values, indicator)
    found = []
    for i in np.argsort(soon, kind="stable")[:CLOSEST].tolist():
        if not soon[i] <= HORIZON_DAYS:
            break
        good = np.isfinite(values[i])
        if len(np.unique(np.floor(days[good]))) < LEAST_DAYS:
            continue
        left = time_to_limit(days[good], values[i][good], indicator.limit, indicator.rising)
        if _certain(left):
            found.append(WornPart(ids[i], indicator.name, indicator.limit, left))
    return ranked(found, HORIZON_DAYS)


def as_text(parts: Sequence[WornPart], advice: Mapping[str, str]) -> list[dict[str, object]]:
    """Return the list ready for JSON: days, None where there may be no end."""

    def known(days: float) -> float | None:
        return round(days, 1) if math.isfinite(days) else None

    return [
        {
            "object": part.object_id,
            "what": part.indicator,
            "now": round(part.remaining.now, 4),
            "limit": part.limit,
            "per_day": round(part.remaining.slope, 6),
            "days_left": known(part.remaining.middle),
            "earliest": known(part.remaining.low),
            "latest": known(part.remaining.high),
            "advice": advice.get(part.indicator, ""),
        }
        for part in parts
    ]


ADVICE = {i.name: i.advice for i in (FILTER, PUMP, EXCHANGER, VALVE, PLATE, BATTERY, FAN)}


def _certain(left: Remaining) -> bool:
    """Whether the interval says anything: at its limit already, or with an end that is not much farther than the middle."""
    return left.middle == 0.0 or left.high <= 4.0 * max(left.middle, 1.0)


def _straight(days: ValueArray, values: ValueArray, indicator: Indicator) -> ValueArray:
    """Return when a straight line through each row reaches the limit, days from the last; infinite for a trend in doubt."""
    good = np.isfinite(values)
    n = np.maximum(good.sum(axis=1), 1)
    x = np.where(good, days[None, :] - days.max(initial=0.0), 0.0)
    y = np.where(good, values, 0.0)
    mx, my = x.sum(axis=1) / n, y.sum(axis=1) / n
    dx, dy = np.where(good, x - mx[:, None], 0.0), np.where(good, y - my[:, None], 0.0)
    sxx = np.maximum((dx**2).sum(axis=1), 1e-12)
    slope = (dx * dy).sum(axis=1) / sxx
    rest = np.where(good, dy - slope[:, None] * dx, 0.0)
    error = np.sqrt((rest**2).sum(axis=1) / np.maximum(n - 2, 1) / sxx)
    now = my - slope * mx
    sign = 1.0 if indicator.rising else -1.0
    left = sign * (indicator.limit - now)
    speed = sign * slope
    clear = speed > CLEAR * error
    wait = np.where(clear, left / np.where(clear, speed, 1.0), np.inf)
    return np.where(good.sum(axis=1) > 2, np.where(left <= 0, 0.0, wait), np.inf)


def _over_best(values: ValueArray, quantile: float) -> ValueArray:
    """Return values over that of a new part: a quantile of the fleet's medians."""
    each = np.array([np.median(row[np.isfinite(row)]) for row in values if np.isfinite(row).any()])
    first = np.array([np.median(row[np.isfinite(row)][:48]) for row in values if np.isfinite(row).any()])
    if not len(each):
        return np.full(values.shape, np.nan)
    return np.asarray(values / np.quantile(np.concatenate([each, first]), quantile))


def _safe(above: ValueArray, below: ValueArray) -> ValueArray:
    ratio = np.full(np.broadcast(above, below).shape, np.nan)
    np.divide(above, below, out=ratio, where=np.asarray(np.abs(below) > 1e-12))
    return ratio
