"""Series and tables that people hand in as CSV files."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pandas as pd

from domain.errors import InputError

_SPAN = re.compile(r"^(\d+(?:\.\d+)?)\s*(s|min|m|h|d|w)$")
MOST_ROWS = 5_000_000
"""Rows of a file, and steps of a series with its gaps, at most: nine years of minutes."""
_SECONDS = {"s": 1, "min": 60, "m": 60, "h": 3600, "d": 86400, "w": 604800}


def timespan(text: str) -> pd.Timedelta:
    """Return a span of time such as ``48h``, ``15min`` or ``7d``.

    Raises
    ------
    InputError
        If it cannot be read.
    """
    match = _SPAN.match(text.strip())
    if match is None:
        raise InputError(f"{text!r} is not a span of time; write a number and s, min, h, d or w, such as 48h")
    try:
        return pd.Timedelta(seconds=float(match[1]) * _SECONDS[match[2]])
    except (OverflowError, ValueError):
        raise InputError(f"{text[:100]!r} is longer than 290 years") from None


def read_table(path: Path, time: str | None = None) -> pd.DataFrame:
    """Return a CSV file (comma or semicolon) indexed by its time column; without `time`, by the first that is one.

    Raises
    ------
    InputError
        If the file or a column is missing or cannot be read as what it should be.
    """
    try:
        with path.open(encoding="utf-8") as file:
            head = file.readline()
        frame = pd.read_csv(
            path, sep=";" if head.count(";") > head.count(",") else ",", nrows=MOST_ROWS + 1, low_memory=False
        )
    except FileNotFoundError:
        raise InputError(f"{path} does not exist") from None
    except (OSError, ValueError, pd.errors.ParserError, pd.errors.EmptyDataError) as error:
        raise InputError(f"{path} cannot be read as CSV: {str(error)[:300]}") from error
    if len(frame) > MOST_ROWS:
        raise InputError(f"{path} has more than {MOST_ROWS:,} rows; take a part of it, or larger steps")
    if time is None:
        time = next((c for c in frame.columns if not pd.api.types.is_numeric_dtype(frame[c])), None)
        if time is None:
            return frame
    if time not in frame.columns:
        raise InputError(f"{path} has no column {time!r}; it has: {', '.join(map(str, frame.columns))}")
    try:
        index = pd.DatetimeIndex(pd.to_datetime(frame[time]))
    except (ValueError, TypeError, OverflowError) as error:
        raise InputError(f"{path}, column {time!r}: not every row is a time ({str(error)[:300]})") from error
    if index.isna().any():
        raise InputError(f"{path}, column {time!r}: {int(np.count_nonzero(index.isna()))} rows have no time")
    return frame.drop(columns=time).set_index(index)


def read_series(path: Path, time: str, value: str) -> pd.Series:
    """Return one column of a CSV file as a series with a regular index; gaps become NaN.

    Raises
    ------
    InputError
        If a column is missing, holds no numbers, or the times are not regular.
    """
    frame = read_table(path, time)
    if value not in frame.columns:
        raise InputError(f"{path} has no column {value!r}; it has: {', '.join(map(str, frame.columns))}")
    series = pd.to_numeric(frame[value], errors="coerce")
    if series.notna().sum() == 0:
        raise InputError(f"{path}, column {value!r}: holds no number")
    if not series.index.is_monotonic_increasing:
        series = series.sort_index()
    series = series[~series.index.duplicated(keep="last")]
    if len(series) < 3:
        raise InputError(
            f"{path}: {len(series)} rows are too few to tell the interval; at least 3 are needed"
        )
    steps = pd.Series(series.index[1:] - series.index[:-1])
    step = steps.mode().iloc[0]
    if (series.index[-1] - series.index[0]) / step >= MOST_ROWS:
        raise InputError(
            f"{path}: {step} steps from {series.index[0]} to {series.index[-1]} are more than {MOST_ROWS:,}; "
            "a time is wrong, or the series needs larger steps"
        )
    regular = series.asfreq(step)
    if regular.notna().sum() < 0.9 * series.notna().sum():
        raise InputError(
            f"{path}, column {time!r}: the times do not fall on a regular grid of {step}; resample the series first"
        )
    return regular
