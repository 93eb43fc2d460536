"""Rack temperatures over the next hour, and the probability that they pass their limits.

A damped-trend model per rack, with errors learnt from the rack's own recent past. All racks at once.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from analytics.excursions import exceedance
from domain.points import ValueArray


@dataclass(frozen=True, slots=True, eq=False)
class TemperatureOutlook:
    """Quantiles of a temperature for each rack and step ahead.

    `quantiles` are the levels (length q), `values` Cel of shape (racks, steps, q), `breach_probability` of shape
    (racks, steps); NaN throughout a rack without enough history.
    """

    quantiles: tuple[float, ...]
    values: ValueArray
    breach_probability: ValueArray


def temperature_outlook(
    history: ValueArray,
    steps: int,
    limit: float,
    quantiles: tuple[float, ...] = (0.05, 0.25, 0.5, 0.75, 0.95),
    damping: float = 0.8,
) -> TemperatureOutlook:
    """Foretell a temperature of every rack.

    The level goes on with a trend that is halved again and again (Gardner and McKenzie's damped trend, 1985); the
    quantiles are the empirical ones of the same rule's errors at the same lead over the rack's own history.

    Parameters
    ----------
    history
        Cel, shape (racks, n), regular steps, NaN where missing; the newest last.
    steps
        How many steps ahead.
    limit
        Cel.
    quantiles
        Levels, ascending.
    damping
        Share of the trend that is left after a step, 0 to 1.
    """
    racks, _n = history.shape
    values = np.full((racks, steps, len(quantiles)), np.nan)
    breach = np.full((racks, steps), np.nan)
    reach = damping * (1 - damping ** np.arange(1, steps + 1)) / (1 - damping)
    for rack in range(racks):
        series = _filled(history[rack])
        if len(series) < 6:
            continue
        slope = np.diff(series, prepend=series[0])
        trend = np.convolve(slope, [0.5, 0.3, 0.2])[: len(series)]
        for k in range(steps):
            ahead = k + 1
            point = series[-1] + reach[k] * trend[-1]
            if len(series) > ahead + 5:
                errors = series[ahead:] - (series[:-ahead] + reach[k] * trend[:-ahead])
            else:
                errors = (series - series.mean()) * np.sqrt(ahead)
            values[rack, k] = point + np.quantile(errors, quantiles)
        breach[rack] = exceedance(values[rack], quantiles, np.full(steps, limit))
    return TemperatureOutlook(quantiles, values, breach)


def _filled(series: ValueArray) -> ValueArray:
    """Return the series from its first value on, gaps filled with the value before them."""
    known = np.flatnonzero(~np.isnan(series))
    if len(known) == 0:
        return series[:0]
    last = np.maximum.accumulate(np.where(np.isnan(series), -1, np.arange(len(series))))
    return series[last[known[0] :]]
