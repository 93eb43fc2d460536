"""A forecast as charts draw it: bands around what is expected, and the risk of passing the limit."""

from __future__ import annotations

from typing import Any
from zoneinfo import ZoneInfo

from dashboard import cells
from dashboard.words import term
from domain.forecast import Forecast

FAN = (0.05, 0.25, 0.5, 0.75, 0.95)
"""Quantiles that a fan shows."""


def fan(forecast: Forecast, zone: ZoneInfo, scale: float, start: int = 0) -> dict[str, Any]:
    """Return bands, in units of `scale` W, and risk, from the first interval that is not over at `start` (UTC ms)."""
    step = forecast.interval_minutes * 60_000
    keep = forecast.start + step > start
    return {
        "time": cells.wall(forecast.start[keep] + step // 2, zone).tolist(),
        "quantiles": [cells.numbers(forecast.quantile(q)[keep] / scale, 3) for q in FAN],
        "risk": cells.numbers(forecast.breach_probability[keep], 4),
    }


def coming(forecast: Forecast, now: int, zone: ZoneInfo, scale: float) -> dict[str, Any]:
    """Return the fan of the running and the coming intervals, with when and by what it was issued."""
    return fan(forecast, zone, scale, now) | {
        "issued": cells.date(forecast.issued, zone),
        "model": forecast.model,
        "quality": "" if forecast.quality == "good" else term("forecast_quality", forecast.quality),
    }
