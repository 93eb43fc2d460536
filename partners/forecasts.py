"""The power forecast as partners read it: JSON and CSV."""

from __future__ import annotations

import csv
import io
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import numpy as np
import orjson
from pydantic import BaseModel, Field

from domain.forecast import Forecast
from domain.points import TimeArray, ValueArray
from domain.spreadsheet import guarded

LATE_MS = 45 * 60_000
"""A forecast issued longer ago than this says so in its quality: one is issued every 15 minutes."""


class Interval(BaseModel):
    """One interval of a forecast."""

    start: datetime = Field(description="Beginning of the interval, UTC")
    values: list[float | None] = Field(
        description="Average power of the interval, in the order of `quantiles`"
    )
    limit: float | None = Field(
        description="Lowest power limit in force during the interval; null where there is none"
    )
    breach_probability: float | None = Field(
        description="Probability (0 to 1) that the interval's average exceeds the limit; null without a limit"
    )


class PowerForecast(BaseModel):
    """A power forecast: quantiles of the average power of coming intervals."""

    object_id: str = Field(description="What is forecast: the site, or a node of its power path")
    issue_time: datetime = Field(description="When the forecast was issued, UTC")
    data_cutoff: datetime = Field(description="End of the newest interval of measurements that it saw, UTC")
    interval_minutes: int
    interval_label: str = Field(description="Always `start`: an interval is named by its beginning")
    unit: str = Field(description="Always `W`")
    quantiles: list[float] = Field(description="Levels of the quantiles, ascending")
    model: str = Field(description="What made it")
    quality: str = Field(description="`good`, or why it is less; contains `late` when a renewal is overdue")
    intervals: list[Interval]


@dataclass(frozen=True, slots=True, eq=False)
class Selection:
    """What a partner asked of a forecast: rows (intervals) and columns (quantiles), and how good it is now."""

    forecast: Forecast
    rows: np.ndarray[Any, np.dtype[np.bool_]]
    columns: tuple[int, ...]
    quality: str
    changed: int
    """When the answer last became another, UTC ms: with the issue, and again when it became late."""

    @property
    def late(self) -> bool:
        """Whether the renewal of the forecast was overdue when it was selected."""
        return self.changed != self.forecast.issued


def is_late(forecast: Forecast, now: int) -> bool:
    """Return whether the renewal of a forecast is overdue."""
    return now - forecast.issued > LATE_MS


def select(
    forecast: Forecast, now: int, quantiles: tuple[float, ...], start: int | None, end: int | None
) -> Selection:
    """Return intervals that begin in [start, end) and the quantiles asked for (all, where none are named).

    Raises
    ------
    ValueError
        If a quantile was not issued.
    """
    missing = [q for q in quantiles if q not in forecast.quantiles]
    if missing:
        raise ValueError(
            f"quantiles not issued: {', '.join(map(str, missing))}; "
            f"issued are {', '.join(map(str, forecast.quantiles))}"
        )
    rows = np.ones(len(forecast.start), bool)
    if start is not None:
        rows &= forecast.start >= start
    if end is not None:
        rows &= forecast.start < end
    columns = tuple(forecast.quantiles.index(q) for q in quantiles or forecast.quantiles)
    late = is_late(forecast, now)
    quality = (
        forecast.quality
        if not late
        else "late"
        if forecast.quality == "good"
        else f"{forecast.quality}; late"
    )
    changed = forecast.issued + LATE_MS if late else forecast.issued
    return Selection(forecast, rows, columns, quality, changed)


def as_json(selection: Selection) -> bytes:
    """Return a `PowerForecast` document."""
    forecast = selection.forecast
    return orjson.dumps(
        {
            "object_id": forecast.object_id,
            "issue_time": iso(forecast.issued),
            "data_cutoff": iso(forecast.data_cutoff),
            "interval_minutes": forecast.interval_minutes,
            "interval_label": "start",
            "unit": forecast.unit,
            "quantiles": [forecast.quantiles[c] for c in selection.columns],
            "model": forecast.model,
            "quality": selection.quality,
            "intervals": [
                {"start": start, "values": values, "limit": limit, "breach_probability": probability}
                for start, values, limit, probability in zip(*_columns(selection), strict=True)
            ],
        }
    )


def as_csv(selection: Selection) -> bytes:
    """Return one line per interval after a head line; a missing figure is an empty cell."""
    forecast = selection.forecast
    text = io.StringIO()
    table = csv.writer(text, lineterminator="\r\n")
    levels = [f"q{forecast.quantiles[c]:g}" for c in selection.columns]
    table.writerow(
        [
            "object_id",
            "issue_time",
            "start",
            "interval_minutes",
            "unit",
            *levels,
            "limit",
            "breach_probability",
        ]
    )
    head = [guarded(forecast.object_id), iso(forecast.issued)]
    for start, values, limit, probability in zip(*_columns(selection), strict=True):
        table.writerow([*head, start, forecast.interval_minutes, forecast.unit, *values, limit, probability])
    return text.getvalue().encode()


def iso(time: int) -> str:
    """Return a time (UTC ms) as RFC 3339."""
    moment = datetime.fromtimestamp(time / 1000, UTC)
    form = "seconds" if time % 1000 == 0 else "milliseconds"
    return moment.isoformat(timespec=form).replace("+00:00", "Z")


def _columns(
    selection: Selection,
) -> tuple[list[str], list[list[float | None]], list[float | None], list[float | None]]:
    forecast, rows = selection.forecast, selection.rows
    start: TimeArray = forecast.start[rows]
    values: ValueArray = forecast.values[rows][:, list(selection.columns)]
    return (
        [iso(int(t)) for t in start],
        [_numbers(row, 1) for row in values],
        _numbers(forecast.limit[rows], 1),
        _numbers(forecast.breach_probability[rows], 4),
    )


def _numbers(values: ValueArray, digits: int) -> list[float | None]:
    return [None if np.isnan(v) else round(float(v), digits) for v in values]
