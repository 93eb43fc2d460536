"""Calendar features: what the clock, the week and the holidays tell in advance."""

from __future__ import annotations

from functools import lru_cache

import holidays
import numpy as np
import pandas as pd
from numpy.typing import NDArray

from domain.errors import InputError

Floats = NDArray[np.float64]

PLAIN_COLUMNS = 4
"""The first columns (hour, weekday, day off, holiday) suit trees; the others are for linear models."""


@lru_cache(maxsize=256)
def public_holidays(country: str, year: int) -> frozenset[int]:
    """Return the holidays of a year as proleptic ordinals; ``country`` may name a subdivision (``AU-VIC``).

    Raises
    ------
    InputError
        If the country is unknown.
    """
    name, _, subdivision = country.partition("-")
    try:
        days = holidays.country_holidays(name, subdiv=subdivision or None, years=year)
    except NotImplementedError as error:
        raise InputError(
            f"country {country!r} is unknown: use an ISO 3166 code such as TW, DE or AU-VIC"
        ) from error
    return frozenset(day.toordinal() for day in days)


def calendar_features(times: pd.DatetimeIndex, country: str | None = None) -> Floats:
    """Calendar features of the given times, in the time zone that they carry.

    Parameters
    ----------
    times : pandas.DatetimeIndex
    country : str, optional
        ISO 3166 code whose public holidays count, with a subdivision where wanted (``TW``, ``AU-VIC``).

    Returns
    -------
    array, shape (len(times), 4 + 15)
        Hour of the day, weekday, day off (weekend or holiday), holiday; then harmonics of the day, alone and
        on days off, and the days that differ most from their neighbours (Monday, Friday, Saturday).

    Raises
    ------
    InputError
        If the country is unknown.
    """
    hour = np.asarray(times.hour + times.minute / 60 + times.second / 3600, dtype=float)
    weekday = np.asarray(times.day_of_week)
    holiday = np.zeros(len(times))
    if country is not None:
        free = frozenset().union(*(public_holidays(country, int(year)) for year in np.unique(times.year)))
        ordinal = times.tz_localize(None).to_numpy().astype("datetime64[D]").astype(np.int64) + 719_163
        holiday = np.isin(ordinal, list(free)).astype(float)
    day_off = np.maximum(weekday >= 5, holiday)
    columns = [hour, weekday.astype(float), day_off, holiday]
    for k in (1, 2, 3):
        sine, cosine = np.sin(2 * np.pi * k * hour / 24), np.cos(2 * np.pi * k * hour / 24)
        columns += [sine, cosine, sine * day_off, cosine * day_off]
    columns += [(weekday == day).astype(float) for day in (0, 4, 5)]
    return np.stack(columns, axis=1)
