"""What a node's power forecast means for its limit: when it may be passed, what to shed, how steeply power will move."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from analytics.outlook.excursions import likely_paths, to_shed
from domain.breaches import SURELY_NOT, breached_by
from domain.forecast import Forecast, Ramps
from domain.points import TimeArray, ValueArray

RAMP_LEVELS = (0.05, 0.5, 0.95)


@dataclass(frozen=True, slots=True, eq=False)
class PlannedSteps:
    """Jumps of the site's power that planned work brings: times (UTC ms) and sizes (W, negative for a fall), shapes (m,).

    Jobs move in lock-step: each jump is over within about a minute.
    """

    time: TimeArray
    power: ValueArray

    @classmethod
    def none(cls) -> PlannedSteps:
        """Return no steps."""
        return cls(np.zeros(0, np.int64), np.zeros(0))

    def mean_change(self, start: int, end: int) -> float:
        """Return by how much the mean of [start, end) differs from the level at `start`, W."""
        inside = (self.time >= start) & (self.time < end)
        return float((self.power[inside] * (end - self.time[inside])).sum() / max(end - start, 1))

    def steepest(self, start: int, end: int) -> float:
        """Return the largest change within a minute in [start, end), W per minute, with its sign; 0 where none is planned."""
        inside = (self.time >= start) & (self.time < end)
        if not inside.any():
            return 0.0
        minutes, where = np.unique(self.time[inside] // 60_000, return_inverse=True)
        change = np.bincount(where.reshape(-1), self.power[inside], minlength=len(minutes))
        return float(change[np.argmax(np.abs(change))])


@dataclass(frozen=True, slots=True, eq=False)
class NodeOutlook:
    """One node, over the intervals of its forecast (n).

    Parameters
    ----------
    forecast
        Its power forecast.
    breached_by
        Probability that the limit has been passed by the end of each interval, shape (n,): the distribution of the time
        to the first breach.
    shed
        W to shed in each interval to get under 1 %, shape (n,).
    ramp
        5, 50 and 95 % quantiles of the change from one interval to the next, W per minute, shape (n, 3); the first is NaN.
    """

    forecast: Forecast
    breached_by: ValueArray
    shed: ValueArray
    ramp: ValueArray

    @classmethod
    def of(cls, forecast: Forecast, steps: int | None = None) -> NodeOutlook:
        """Work it out from a forecast, for its first `steps` intervals (all, if not given)."""
        f = forecast if steps is None else forecast.head(steps)
        n = len(f.start)
        ramp = np.full((n, len(RAMP_LEVELS)), np.nan)
        if n > 1:
            change = np.diff(likely_paths(f.values, f.quantiles, f.persistence), axis=1) / f.interval_minutes
            ramp[1:] = np.quantile(change, RAMP_LEVELS, axis=0).T
        risky = np.nan_to_num(f.breach_probability)
        sure = risky.max(initial=0.0) < SURELY_NOT
        shed = np.zeros(n) if sure else to_shed(f.values, f.quantiles, f.limit)
        return cls(f, breached_by(risky, f.persistence), shed, ramp)

    def as_dict(self) -> dict[str, Any]:
        """Return plain values that JSON can hold."""
        f = self.forecast
        return {
            "id": f.object_id,
            "issued": f.issued,
            "model": f.model,
            "quality": f.quality,
            "interval_minutes": f.interval_minutes,
            "shed": float(self.shed.max(initial=0.0)),
            "ramps": None if f.ramps is None else ramps_as_dict(f.ramps),
            "breached_by_end": float(self.breached_by[-1]) if len(self.breached_by) else 0.0,
            "intervals": [
                {
                    "start": int(f.start[i]),
                    "expected": float(f.quantile(0.5)[i]),
                    "limit": _number(f.limit[i]),
                    "breach_probability": _number(f.breach_probability[i]),
                    "breached_by": float(self.breached_by[i]),
                    "shed": float(self.shed[i]),
                    "ramp": [_number(r) for r in self.ramp[i]],
                }
                for i in range(len(f.start))
            ],
        }


def ramps_as_dict(ramps: Ramps) -> dict[str, Any]:
    """Return plain values that JSON can hold."""
    return {
        "minutes": ramps.minutes,
        "quantiles": list(ramps.quantiles),
        "within": [
            {"seconds": seconds, "up": ramps.up[i].tolist(), "down": ramps.down[i].tolist()}
            for i, seconds in enumerate(ramps.windows_s)
        ],
    }


def _number(value: float) -> float | None:
    return None if math.isnan(value) else float(value)
