"""A series as the models want it: regular, sorted, with gaps marked and filled from what is known."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from domain.errors import ForecastError, InputError

Floats = NDArray[np.float64]

MAX_ROWS = 200_000
"""Older rows are left out: about 5.7 years at 15 minutes, 139 days at 1 minute."""

MAX_DAYS = 800
"""Older days are left out: what happened more than two years ago no longer tells of the plant."""


@dataclass(frozen=True, slots=True)
class RegularSeries:
    """A series on a regular grid.

    Attributes
    ----------
    start : pandas.Timestamp
        Time of the first value, in the time zone of the caller.
    step : pandas.Timedelta
    raw : array, shape (n,)
        Values; NaN where nothing was measured.
    """

    start: pd.Timestamp
    step: pd.Timedelta
    raw: Floats

    @property
    def index(self) -> pd.DatetimeIndex:
        """Times of the values."""
        return self.times(0, len(self.raw))

    @property
    def measured(self) -> NDArray[np.bool_]:
        """True where a value was measured."""
        return ~np.isnan(self.raw)

    @property
    def steps_per_day(self) -> int:
        """Steps in a day, rounded where a day is no whole number of them."""
        return max(1, round(pd.Timedelta(days=1) / self.step))

    @property
    def steps_per_week(self) -> int:
        """Steps in a week, rounded likewise."""
        return max(1, round(pd.Timedelta(days=7) / self.step))

    def times(self, first: int, count: int) -> pd.DatetimeIndex:
        """Give the times of ``count`` steps from position ``first`` on; those beyond the end are the future."""
        return pd.date_range(self.start + first * self.step, periods=count, freq=self.step)

    def filled(self) -> Floats:
        """Values without gaps: straight across gaps inside, the last value held at the end."""
        known = np.flatnonzero(self.measured)
        filled: Floats = np.interp(np.arange(len(self.raw)), known, self.raw[known])
        return filled

    def plausible(self, lower: float | None, upper: float | None) -> RegularSeries:
        """Mark values as missing that lie further beyond the bounds than these lie apart.

        A counter that was reset gives such a value; a plant that is off, and so below its idle power, does not.
        Without both bounds nothing is marked.
        """
        if lower is None or upper is None:
            return self
        slack = upper - lower
        with np.errstate(invalid="ignore"):
            strange = (self.raw < lower - slack) | (self.raw > upper + slack)
        return RegularSeries(self.start, self.step, np.where(strange, np.nan, self.raw))

    def extended(self, newer: RegularSeries) -> RegularSeries:
        """Append a newer piece; where both have a step, a newly measured value wins.

        Raises
        ------
        InputError
            If the piece has another step, lies off the grid or begins before this series.
        """
        if newer.step != self.step:
            raise InputError(
                f"new values come every {newer.step}, the history every {self.step}: resample them first"
            )
        offset = (newer.start - self.start) / self.step
        if offset < 0 or offset != int(offset):
            raise InputError(
                f"new values begin at {newer.start}, which is no step of the history from {self.start}"
            )
        first = int(offset)
        raw = np.full(max(len(self.raw), first + len(newer.raw)), np.nan)
        raw[: len(self.raw)] = self.raw
        seat = raw[first : first + len(newer.raw)]
        seat[newer.measured] = newer.raw[newer.measured]
        return RegularSeries(self.start, self.step, raw)

    def shortened(self) -> RegularSeries:
        """Leave out what is too old to matter."""
        keep = min(MAX_ROWS, MAX_DAYS * self.steps_per_day)
        cut = len(self.raw) - keep
        if cut <= 0:
            return self
        return RegularSeries(self.start + cut * self.step, self.step, self.raw[cut:])


def grid_step(index: pd.DatetimeIndex) -> pd.Timedelta:
    """Step of an index: its frequency, or the most frequent distance between its times."""
    if len(index) < 2 and index.freq is not None:
        return pd.Timedelta(index.shift(1)[0] - index[0])
    distance = pd.Series(index[1:] - index[:-1])
    return pd.Timedelta(distance.mode().iloc[0])


def regular(
    history: pd.Series,
    *,
    name: str = "history",
    step: pd.Timedelta | None = None,
    allow_empty: bool = False,
) -> RegularSeries:
    """Check a series and put it on its regular grid; missing steps become NaN.

    Parameters
    ----------
    history : pandas.Series
        Numbers with a sorted DatetimeIndex (with or without time zone), regular but for missing steps.
    name : str
        What to call it in an error.
    step : pandas.Timedelta, optional
        Its step where that is known; otherwise told from the times.
    allow_empty : bool
        Whether a series without one measured value is accepted.

    Raises
    ------
    InputError
        If it is no such series.
    ForecastError
        If it holds no measured value.
    """
    if not isinstance(history, pd.Series):
        raise InputError(f"{name} must be a pandas Series, not {type(history).__name__}")
    index = history.index
    if not isinstance(index, pd.DatetimeIndex):
        raise InputError(
            f"{name} must have a DatetimeIndex, not {type(index).__name__}: use pandas.to_datetime"
        )
    if not len(index) or (len(index) < 2 and index.freq is None and step is None):
        raise InputError(f"{name} has {len(index)} rows: its step cannot be told; hand over two rows or more")
    if not index.is_monotonic_increasing or index.has_duplicates:
        raise InputError(
            f"{name} must be sorted by time, each time once: use sort_index() and drop duplicates"
        )
    try:
        values = history.to_numpy(dtype=float, na_value=np.nan)
    except (TypeError, ValueError) as error:
        raise InputError(f"{name} must hold numbers: {error}") from error
    step = step or grid_step(index)
    if not pd.Timedelta(seconds=1) <= step <= pd.Timedelta(days=1):
        raise InputError(f"{name} has a step of {step}: from one second to one day is possible")
    offset = np.asarray((index - index[0]) / step)
    seat = np.rint(offset).astype(np.int64)
    off = np.abs(offset - seat) > 0.01
    if off.any():
        raise InputError(
            f"{name} is irregular: {int(off.sum())} of {len(index)} times, the first {index[off.argmax()]}, "
            f"lie off its step of {step}: resample it first"
        )
    raw = np.full(int(seat[-1]) + 1, np.nan)
    raw[seat] = np.where(np.isfinite(values), values, np.nan)
    if not allow_empty and np.isnan(raw).all():
        raise ForecastError(f"{name} holds no measured value in {len(raw)} steps")
    return RegularSeries(index[0], step, raw)


def align(frame: pd.DataFrame, times: pd.DatetimeIndex, *, name: str) -> Floats:
    """Columns of a covariate frame at the given times, each gap filled with the last value before it.

    Returns
    -------
    array, shape (len(times), columns)
        Zero where nothing is known before.

    Raises
    ------
    InputError
        If the frame has no sorted DatetimeIndex or columns that are no numbers.
    """
    if not isinstance(frame, pd.DataFrame) or not isinstance(frame.index, pd.DatetimeIndex):
        raise InputError(f"{name} must be a DataFrame with a DatetimeIndex")
    if not frame.index.is_monotonic_increasing or frame.index.has_duplicates:
        raise InputError(f"{name} must be sorted by time, each time once")
    if (frame.index.tz is None) != (times.tz is None):
        raise InputError(f"{name} and history must both have a time zone, or neither")
    try:
        numbers = frame.astype(float).replace([np.inf, -np.inf], np.nan)
    except (TypeError, ValueError) as error:
        raise InputError(f"{name} must hold numbers: {error}") from error
    values: Floats = numbers.ffill().reindex(times, method="ffill").fillna(0.0).to_numpy(dtype=float)
    return values
