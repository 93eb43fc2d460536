"""What the cells of a CSV file say: numbers and times as people and programs write them.

A column is read as a whole: what one cell leaves open another decides, and what all of them leave open is refused with
the option that decides it. Nothing is guessed from the machine's language.
"""

from __future__ import annotations

import codecs
from typing import Literal

import numpy as np
import pandas as pd

from domain.errors import InputError, brief

_MARKS = ((codecs.BOM_UTF8, "utf-8-sig"), (codecs.BOM_UTF16_LE, "utf-16"), (codecs.BOM_UTF16_BE, "utf-16"))
_DAY_MONTH = r"^(\d{1,2})[/.\-](\d{1,2})[/.\-](\d{4})(?:[ T,]+(.*))?$"
_OFFSET = r"(?:\d|[T ])(Z|[+-]\d{2}:?\d{2})$"
_NUMBER = r"^[+-]?\d+(?:\.\d+)?$"
_Unit = Literal["s", "ms", "us", "ns"]
_EPOCHS: tuple[tuple[float, _Unit], ...] = ((1e8, "s"), (1e11, "ms"), (1e14, "us"), (1e17, "ns"))
"""From which magnitude on a number is a time since 1970 in this unit: 1973 in each to 5138 in seconds."""


def decoded(data: bytes) -> str:
    """Return a file's text: by its mark, as UTF-8, and else as Windows and Latin-1 have it."""
    for mark, encoding in _MARKS:
        if data.startswith(mark):
            return data.decode(encoding, "replace")
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError:
        return data.decode("latin-1")


def separator(text: str) -> str:
    """Return what stands between the cells: of comma, semicolon and tab the one that the first line has most of."""
    head = text.partition("\n")[0]
    return max(",;\t", key=head.count)


def numbers(cells: pd.Series, decimal: str = "") -> pd.Series:
    """Return a column of numbers; NaN where a cell is none.

    Parameters
    ----------
    cells
        Texts, NaN where empty.
    decimal
        ``comma`` or ``point``; empty: as the column shows.

    Raises
    ------
    InputError
        If every cell could be a whole number with thousands apart as well as one with three decimals.
    """
    text = cells.astype("string").str.replace(r"[\s'\u2019\u00a0\u202f]", "", regex=True)
    told = text.dropna()
    if not decimal and not told.str.contains(",", regex=False).any():
        dots = told.str.count(r"\.") > 1
        text = text.str.replace(".", "", regex=False) if dots.any() else text
        return _floats(text)
    if not decimal:
        decimal = _decimal(told[told.str.contains(",", regex=False)])
    if decimal == "comma":
        return _floats(text.str.replace(".", "", regex=False).str.replace(",", ".", regex=False))
    return _floats(text.str.replace(",", "", regex=False))


def _decimal(told: pd.Series) -> str:
    """Return what a comma is in cells that have one."""
    both = told[told.str.contains(".", regex=False)]
    if len(both):
        last = both.str.rfind(",") > both.str.rfind(".")
        if last.any() and not last.all():
            raise InputError(
                f"{brief(both[last].iloc[0])} and {brief(both[~last].iloc[0])} are written in two ways; write one of them"
            )
        return "comma" if last.all() else "point"
    if (told.str.count(",") > 1).any():
        return "point"
    if not told.str.fullmatch(r"[+-]?[1-9]\d{0,2},\d{3}").all():
        return "comma"
    raise InputError(
        f"{brief(told.iloc[0])} may be a whole number or one with decimals; say --decimal point or --decimal comma"
    )


def _floats(text: pd.Series) -> pd.Series:
    return pd.to_numeric(text, errors="coerce").astype("float64")


def times(cells: pd.Series, dates: str = "") -> pd.DatetimeIndex:
    """Return a column of times: ISO 8601, days and months in either order, times since 1970 in s, ms, us or ns.

    Times with one offset keep it; with several, as over a clock change, they are in UTC.

    Parameters
    ----------
    cells
        Texts, NaN where empty.
    dates
        ``dmy`` or ``mdy``; empty: as the column shows.

    Raises
    ------
    InputError
        If a cell is no time, or the order of day and month stays open; names the row.
    """
    text = cells.astype("string").str.strip()
    if (empty := text.isna() | (text == "")).any():
        raise InputError(f"{_line(empty)} has no time ({int(empty.sum())} in all); remove such rows")
    if text.str.fullmatch(_NUMBER).all():
        return _since_1970(text)
    parts = text.str.extract(_DAY_MONTH)
    if parts[0].notna().all():
        text = _ordered(text, parts, dates)
    offsets = text.str.extract(_OFFSET)[0]
    if offsets.notna().any() and offsets.isna().any():
        raise InputError(
            f"{_line(offsets.isna())}: {brief(text[offsets.isna()].iloc[0])} has no offset, and others have one; "
            "write it everywhere or nowhere"
        )
    utc = offsets.nunique() > 1
    found = pd.to_datetime(text, format="ISO8601", errors="coerce", utc=utc)
    if found.isna().any() and parts[0].notna().all():
        found = pd.to_datetime(text, format="mixed", errors="coerce", utc=utc)
    if (bad := found.isna()).any():
        some = parts[0].notna()
        why = "; others are written day/month/year" if some.any() and not some.all() else ""
        raise InputError(
            f"{_line(bad)}: {brief(text[bad].iloc[0])} is no time{why}; write times as 2026-01-31 14:05, as 31/01/2026 "
            "14:05 or as seconds since 1970, one way in the whole file"
        )
    return pd.DatetimeIndex(found)


def _ordered(text: pd.Series, parts: pd.DataFrame, dates: str) -> pd.Series:
    first, second = (parts[n].astype("int64") for n in (0, 1))
    day_first, month_first = bool((first > 12).any()), bool((second > 12).any())
    if not dates:
        if day_first and month_first:
            raise InputError(
                f"{brief(text[first > 12].iloc[0])} has the day first and {brief(text[second > 12].iloc[0])} the month; "
                "write one order"
            )
        dotted = bool(
            text.str.contains(r"^\d+\.\d+\.", regex=True).all()
        )  # with dots the day is always first
        if not (day_first or month_first or dotted or (first == second).all()):
            example = text[first != second].iloc[0]
            raise InputError(
                f"{_line(first != second)}: {brief(example)} may have the day or the month first, and no row tells; say "
                "--dates dmy or --dates mdy"
            )
        dates = "mdy" if month_first else "dmy"
    day, month = (first, second) if dates == "dmy" else (second, first)
    if (wrong := (month > 12) | (day > 31)).any():
        raise InputError(f"{_line(wrong)}: {brief(text[wrong].iloc[0])} is no date with --dates {dates}")
    padded = [n.astype("string").str.zfill(2) for n in (month, day)]
    clock = parts[3].fillna("00:00").str.replace(r"^(\d):", r"0\1:", regex=True)
    return parts[2] + "-" + padded[0] + "-" + padded[1] + " " + clock


def _since_1970(text: pd.Series) -> pd.DatetimeIndex:
    values = pd.to_numeric(text, errors="coerce")
    size = float(values.abs().median())
    unit = next((unit for least, unit in reversed(_EPOCHS) if size >= least), None)
    if unit is None:
        raise InputError(
            f"{_line(values.notna())}: {brief(text.iloc[0])} is no time; numbers are times since 1970 in s, ms, us or ns"
        )
    found = pd.to_datetime(values, unit=unit, utc=True, errors="coerce")
    if found.isna().any():
        raise InputError(f"{_line(found.isna())}: {brief(text[found.isna()].iloc[0])} is no time in {unit}")
    return pd.DatetimeIndex(found)


def _line(which: pd.Series) -> str:
    """Return the line of the first row of which something holds, the header being line 1."""
    return f"line {int(np.flatnonzero(which.to_numpy(bool))[0]) + 2}"
