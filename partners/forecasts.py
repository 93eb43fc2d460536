"""The power forecast as partners read it: JSON, CSV and Parquet."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import numpy as np
import orjson
from pydantic import BaseModel, Field

from domain.forecast import Forecast, Ramps, Seal
from domain.points import TimeArray, ValueArray
from partners.formats import Format, as_csv, as_parquet

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


class RampWindow(BaseModel):
    """The largest change of power to expect within so many seconds, in the hour that the forecast begins with."""

    seconds: int
    rise: list[float] = Field(
        description="Quantiles of the largest rise, W, in the order of the ramps' `quantiles`"
    )
    fall: list[float] = Field(description="Quantiles of the largest fall, W, positive")


class ExpectedRamps(BaseModel):
    """How fast power may move."""

    minutes: int = Field(description="Length of the time over which they are the largest")
    quantiles: list[float]
    windows: list[RampWindow]


class SealTold(BaseModel):
    """The place of an issued forecast in the archive. Who keeps the hash can prove later what was issued."""

    number: int = Field(description="Which of the object's forecasts it is, from 1 without a gap")
    hash: str = Field(description="SHA-256 over its content and the hash before, hexadecimal")
    previous: str = Field(description="The hash before, hexadecimal; zeros before the first")


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
    ramps: ExpectedRamps | None = Field(None, description="Null where none are foretold")
    seal: SealTold | None = Field(None, description="Null for what was issued before there were seals")


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


def rendered(selection: Selection, form: Format) -> bytes:
    """Return a `PowerForecast` document, or its intervals as a table; takes milliseconds."""
    if form is Format.JSON:
        return as_json(selection)
    columns = as_columns(selection)
    return as_csv(columns) if form is Format.CSV else as_parquet(columns, _about(selection))


def as_json(selection: Selection) -> bytes:
    """Return a `PowerForecast` document."""
    document = _about(selection)
    document["intervals"] = [
        {"start": start, "values": values, "limit": limit, "breach_probability": probability}
        for start, values, limit, probability in zip(*_columns(selection), strict=True)
    ]
    return orjson.dumps(document)


def _about(selection: Selection) -> dict[str, Any]:
    forecast = selection.forecast
    return {
        "object_id": forecast.object_id,
        "issue_time": iso(forecast.issued),
        "data_cutoff": iso(forecast.data_cutoff),
        "interval_minutes": forecast.interval_minutes,
        "interval_label": "start",
        "unit": forecast.unit,
        "quantiles": [forecast.quantiles[c] for c in selection.columns],
        "model": forecast.model,
        "quality": selection.quality,
        "ramps": None if forecast.ramps is None else _ramps(forecast.ramps),
        "seal": seal_told(forecast.seal),
    }


def seal_told(seal: Seal | None) -> dict[str, Any] | None:
    """Return a `SealTold`, or None where there is no seal."""
    return None if seal is None else {"number": seal.number, "hash": seal.hash, "previous": seal.previous}


def _ramps(ramps: Ramps) -> dict[str, Any]:
    windows = zip(ramps.windows_s, ramps.up, ramps.down, strict=True)
    return {
        "minutes": ramps.minutes,
        "quantiles": list(ramps.quantiles),
        "windows": [
            {"seconds": seconds, "rise": _numbers(up, 1), "fall": _numbers(down, 1)}
            for seconds, up, down in windows
        ],
    }


def as_columns(selection: Selection) -> dict[str, list[Any]]:
    """Return one row per interval."""
    forecast = selection.forecast
    starts, values, limits, probabilities = _columns(selection)
    n = len(starts)
    levels = {
        f"q{forecast.quantiles[c]:g}": [row[i] for row in values] for i, c in enumerate(selection.columns)
    }
    return {
        "object_id": [forecast.object_id] * n,
        "issue_time": [iso(forecast.issued)] * n,
        "start": starts,
        "interval_minutes": [forecast.interval_minutes] * n,
        "unit": [forecast.unit] * n,
        **levels,
        "limit": limits,
        "breach_probability": probabilities,
    }


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
