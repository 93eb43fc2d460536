"""Where this month will end: its highest demand against the contract, and what that costs.

Of the days to come the next two are known by the issued forecast, the rest by the daily peaks of the weeks before: their
usual height by kind of day, and runs of days as they came, so that a warm week stays a warm week. What is left of
today is scaled from whole days by the hours that it has.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, timedelta
from zoneinfo import ZoneInfo

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from analytics.contract.tariff import KWH_J, DemandCharge, Tariff
from domain.envelope import QUARTER_MS
from domain.forecast import Forecast

LEVELS = (0.05, 0.25, 0.5, 0.75, 0.95)
PATHS = 2000
RUN_DAYS = 5
"""Days that are drawn from the past together."""
PAST_DAYS = 42
FEWEST_DAYS = 7
"""Days that must have been measured before anything is said of days beyond the forecast."""
RECENT_DAYS = 14
"""Of which the usual height of a day is the mean."""
SMOOTHING, LEVEL = 0.3, 0.4
"""Spread of a day, and of the level of all, around what is drawn from the past, of the spread of the past days."""
Values = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Peak:
    """One demand charge of the month. Power in W, money in the tariff's currency.

    Attributes
    ----------
    so_far, at
        Highest quarter hour measured, and when it began (UTC ms; 0 where there is none).
    end
        Where the month will end: quantiles `LEVELS` of its highest quarter hour; None where too little is known.
    exceeds
        Probability that the contract is exceeded by the month's end.
    basic, excess_so_far, excess
        The basic charge, what exceeding costs by now, and what it is expected to cost by the month's end.
    """

    name: str
    contracted: float
    so_far: float
    at: int
    end: tuple[float, ...] | None
    exceeds: float | None
    basic: float
    excess_so_far: float
    excess: float | None


@dataclass(frozen=True, slots=True)
class Month:
    """A month of a contract: `start`, `end` and `now` in UTC ms, `measured` the share of its quarter hours so far.

    `energy` is J by period, `energy_cost` what it costs so far.
    """

    name: str
    currency: str
    season: str
    start: int
    end: int
    now: int
    measured: float
    energy: dict[str, float]
    energy_cost: float
    peaks: tuple[Peak, ...]


def month_of(day: date, zone: ZoneInfo) -> tuple[int, int]:
    """Return when the month of a day begins and ends at a place, UTC ms."""
    first = pd.Timestamp(day.year, day.month, 1, tz=zone)
    return int(first.timestamp() * 1000), int((first + pd.offsets.MonthBegin(1)).timestamp() * 1000)


def month_report(
    demand: pd.Series,
    now: int,
    tariff: Tariff,
    zone: ZoneInfo,
    country: str = "",
    forecast: Forecast | None = None,
    seed: int = 1,
) -> Month:
    """Return the month that holds `now`.

    Parameters
    ----------
    demand
        Average power of past quarter hours, W; index their starts (any zone), NaN where unknown. Six weeks before the
        month are enough.
    now
        UTC ms; later quarter hours are not looked at.
    forecast
        The newest of the site's power.
    """
    local = pd.Timestamp(now, unit="ms", tz="UTC").tz_convert(zone)
    start, end = month_of(local.date(), zone)
    season = tariff.season(local.date())
    past = demand[demand.index < pd.Timestamp(now, unit="ms", tz="UTC")]
    times = (pd.DatetimeIndex(past.index).tz_convert("UTC") - pd.Timestamp(0, tz="UTC")) // pd.Timedelta(
        milliseconds=1
    )
    starts = times.to_numpy(np.int64)
    known = pd.Series(past.to_numpy(float), index=starts)
    this = known[known.index >= start]
    numbers = tariff.classify(this.index.to_numpy(), zone, country)
    joules = this.to_numpy() * QUARTER_MS / 1000
    energy = {p.name: float(np.nansum(joules[numbers == i])) for i, p in enumerate(tariff.periods)}
    cost = sum(
        energy[e.period] / KWH_J * e.price for e in tariff.energy if not e.season or e.season == season
    )
    expected = max(1, (now - start) // QUARTER_MS)
    return Month(
        local.strftime("%Y-%m"),
        tariff.currency,
        season,
        start,
        end,
        now,
        float(this.notna().sum() / expected),
        energy,
        float(cost),
        tuple(
            _peak(charge, known, start, end, now, tariff, zone, country, season, forecast, seed)
            for charge in tariff.demand
        ),
    )


def _peak(
    charge: DemandCharge,
    known: pd.Series,
    start: int,
    end: int,
    now: int,
    tariff: Tariff,
    zone: ZoneInfo,
    country: str,
    season: str,
    forecast: Forecast | None,
    seed: int,
) -> Peak:
    def counts(times: NDArray[np.int64]) -> NDArray[np.bool_]:
        if not charge.periods:
            return np.ones(len(times), bool)
        named = [i for i, p in enumerate(tariff.periods) if p.name in charge.periods]
        return np.isin(tariff.classify(times, zone, country), named)

    mine = known[counts(known.index.to_numpy())]
    this = mine[mine.index >= start].dropna()
    so_far, at = _highest(this)
    coming = np.arange(now - now % QUARTER_MS, end, QUARTER_MS)
    coming = coming[counts(coming)]
    paths = (
        _coming(mine, coming, zone, tariff, country, forecast, seed) if len(coming) else np.array([so_far])
    )
    highest = None if paths is None else np.fmax(paths, so_far)
    if highest is not None and np.isnan(highest).any():
        highest = None
    return Peak(
        charge.name,
        charge.contracted,
        so_far,
        at,
        None if highest is None else tuple(float(q) for q in np.quantile(highest, LEVELS)),
        None if highest is None else float(np.mean(highest > charge.contracted)),
        charge.basic_cost(season),
        0.0 if np.isnan(so_far) else charge.excess_cost(so_far, season),
        None if highest is None else float(np.mean([charge.excess_cost(float(p), season) for p in highest])),
    )


def _coming(
    mine: pd.Series,
    coming: NDArray[np.int64],
    zone: ZoneInfo,
    tariff: Tariff,
    country: str,
    forecast: Forecast | None,
    seed: int,
) -> Values | None:
    """Return the highest of the coming quarter hours in each of many paths, W, shape (paths,)."""
    random = np.random.default_rng(seed)
    found: list[Values] = []
    if forecast is not None:
        rows = np.isin(forecast.start, coming)
        if rows.any():
            found.append(_of_forecast(forecast, rows, random))
            coming = coming[coming > forecast.start[rows].max()]
    if len(coming):
        days = _of_past(mine, coming, zone, tariff, country, random)
        if days is None:
            return None
        found.append(days)
    highest: Values = np.max(found, axis=0)
    return highest


def _of_forecast(forecast: Forecast, rows: NDArray[np.bool_], random: np.random.Generator) -> Values:
    """Return the highest of some intervals in each path: all are high together, or low."""
    levels = np.array([0.0, *forecast.quantiles, 1.0])
    values = forecast.values[rows]
    ends = (
        values[:, [0]] - (values[:, [1]] - values[:, [0]]),
        values[:, [-1]] + (values[:, [-1]] - values[:, [-2]]),
    )
    highest = np.hstack([ends[0], values, ends[1]]).max(axis=0)
    drawn: Values = np.interp(random.random(PATHS), levels, highest)
    return drawn


def _of_past(
    mine: pd.Series,
    coming: NDArray[np.int64],
    zone: ZoneInfo,
    tariff: Tariff,
    country: str,
    random: np.random.Generator,
) -> Values | None:
    """Return the highest of the coming days in each path, from the daily peaks of the weeks before."""

    def local(times: NDArray[np.int64]) -> pd.DatetimeIndex:
        return pd.to_datetime(times, unit="ms", utc=True).tz_convert(zone)

    when = local(mine.index.to_numpy())
    peaks = pd.Series(mine.to_numpy(), index=when.date).groupby(level=0).max().dropna()
    peaks = peaks[peaks.index > when.date.max() - timedelta(days=PAST_DAYS)] if len(peaks) else peaks
    if len(peaks) < FEWEST_DAYS:
        return None
    off = np.array([tariff.day(d, country) != "weekday" for d in peaks.index])
    heights = peaks.to_numpy()
    usual = {kind: _usual(heights, off == kind) for kind in (False, True)}
    apart = heights - np.where(off, usual[True], usual[False])
    days = pd.Series(local(coming).date).value_counts().sort_index()
    kinds = np.array([usual[tariff.day(d, country) != "weekday"] for d in days.index])
    starts = random.integers(0, len(apart), (PATHS, -(-len(kinds) // RUN_DAYS)))
    runs = (starts[:, :, None] + np.arange(RUN_DAYS)) % len(apart)
    drawn = kinds + apart[runs.reshape(PATHS, -1)[:, : len(kinds)]]
    # six weeks have not seen everything: days lie between and beyond those that were, and the level may have moved
    spread = float(apart.std())
    drawn += random.normal(0, SMOOTHING * spread, drawn.shape) + random.normal(0, LEVEL * spread, (PATHS, 1))
    # a day of which a part is left reaches its peak in that part with that probability
    share = np.minimum(1.0, days.to_numpy() / max(1, int(days.max())))
    reached = random.random(drawn.shape) < share
    highest: Values = np.where(reached, drawn, -np.inf).max(axis=1)
    return highest


def _highest(power: pd.Series) -> tuple[float, int]:
    if len(power) == 0:
        return np.nan, 0
    row = int(np.argmax(power.to_numpy()))
    return float(power.iloc[row]), int(power.index[row])


def _usual(heights: Values, of_kind: NDArray[np.bool_]) -> float:
    recent = heights[of_kind][-RECENT_DAYS:] if of_kind.any() else heights[-RECENT_DAYS:]
    return float(recent.mean())
