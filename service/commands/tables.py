"""Series and tables that people hand in as CSV files."""

from __future__ import annotations

import re
import warnings
from io import StringIO
from pathlib import Path

import pandas as pd

from domain.errors import InputError
from service.commands.cells import decoded, numbers, separator, times

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


def read_table(path: Path, time: str | None = None, dates: str = "", decimal: str = "") -> pd.DataFrame:
    """Return a CSV file indexed by its time column; without `time`, by the first that is no number.

    Comma, semicolon or tab, UTF-8, UTF-16 or Latin-1, points or commas: `service.commands.cells` says how cells are read,
    and what `dates` and `decimal` decide.

    Raises
    ------
    InputError
        If the file or a column is missing or cannot be read as what it should be; names file, column, line and remedy.
    """
    frame = _cells(path)
    found: dict[str, pd.Series] = {}
    for name in frame.columns:
        if name != time:
            found[name] = _numbers(path, frame[name], decimal)
    if time is None:
        time = next((c for c in frame.columns if found[c].isna().all() and frame[c].notna().any()), None)
        if time is None:
            return pd.DataFrame(found)
    if time not in frame.columns:
        raise InputError(f"{path} has no column {time!r}; it has: {', '.join(map(str, frame.columns))}")
    try:
        index = times(frame[time], dates)
    except InputError as e:
        raise InputError(f"{path}, column {time!r}: not every row is a time: {e}") from None
    except (ValueError, TypeError, OverflowError) as e:
        raise InputError(f"{path}, column {time!r}: not every row is a time ({str(e)[:300]})") from e
    found.pop(time, None)
    index.name = time
    return pd.DataFrame({name: column.to_numpy() for name, column in found.items()}, index=index)


def _cells(path: Path) -> pd.DataFrame:
    """Return the cells of a file as texts, NaN where there is nothing."""
    try:
        text = decoded(path.read_bytes())
        with warnings.catch_warnings():
            warnings.simplefilter("error", pd.errors.ParserWarning)
            frame = pd.read_csv(
                StringIO(text), sep=separator(text), dtype=str, nrows=MOST_ROWS + 1, index_col=False
            )
    except pd.errors.ParserWarning:
        raise InputError(
            f"{path}: rows have more cells than the first line; put numbers with decimal commas into quotes, or separate cells "
            "by semicolons"
        ) from None
    except FileNotFoundError:
        raise InputError(f"{path} does not exist") from None
    except (OSError, ValueError, pd.errors.ParserError, pd.errors.EmptyDataError) as error:
        raise InputError(f"{path} cannot be read as CSV: {str(error)[:300]}") from error
    if len(frame) > MOST_ROWS:
        raise InputError(f"{path} has more than {MOST_ROWS:,} rows; take a part of it, or larger steps")
    frame.columns = [str(name).strip() for name in frame.columns]
    if not frame.columns.is_unique:
        raise InputError(f"{path} has two columns of one name; rename one")
    return frame


def _numbers(path: Path, cells: pd.Series, decimal: str) -> pd.Series:
    try:
        return numbers(cells, decimal)
    except InputError as e:
        raise InputError(f"{path}, column {cells.name!r}: {e}") from None


def read_series(path: Path, time: str, value: str, dates: str = "", decimal: str = "") -> pd.Series:
    """Return one column of a CSV file as a series with a regular index; gaps become NaN.

    Raises
    ------
    InputError
        If a column is missing, holds no numbers, or the times are not regular.
    """
    frame = read_table(path, time, dates, decimal)
    if value not in frame.columns:
        raise InputError(f"{path} has no column {value!r}; it has: {', '.join(map(str, frame.columns))}")
    series = frame[value]
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
