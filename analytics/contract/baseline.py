"""Baselines of demand response as data: what the site would have drawn, from days like the day of the event."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from typing import Literal

import numpy as np
import pandas as pd
from pydantic import Field

from analytics.contract.tariff import Day, Tariff
from domain.configuration import SettingsModel
from domain.errors import InputError

LOOK_BACK_DAYS = 60


class BaselineRule(SettingsModel):
    """How a baseline is made; the default is the mean over the five previous eligible days of the highest demand."""

    name: str = "mean of the highest of five days"
    days: int = Field(5, ge=1, le=30, description="Previous eligible days that count")
    of_day: Literal["highest", "mean"] = Field(
        "highest", description="What of a day's quarter hours in the same hours counts"
    )
    over_days: Literal["mean", "highest", "lowest"] = "mean"
    kinds: tuple[Day, ...] = Field(("weekday",), description="Kinds of days that are eligible")
    without_events: bool = Field(True, description="Whether days with an event are left out")
    minimum: float = Field(0.0, ge=0, description="Delivered below this counts as nothing, W")
    delivered: Literal["highest", "mean"] = Field(
        "highest", description="What of the event's quarter hours is set against the baseline"
    )


@dataclass(frozen=True, slots=True)
class Delivered:
    """What was delivered in an event: power in W, the days that the baseline was made of."""

    baseline: float
    drawn: float
    delivered: float
    counted: float
    days: tuple[date, ...]


def baseline(
    demand: pd.Series,
    start: datetime,
    end: datetime,
    rule: BaselineRule,
    tariff: Tariff,
    country: str = "",
    events: tuple[date, ...] = (),
) -> Delivered:
    """Return the baseline of an event and what was delivered against it.

    Parameters
    ----------
    demand
        Quarter-hour demand, W, on the clock of the site's zone (index: start of each quarter hour); NaN where unknown.
    start, end
        The event, on whole quarter hours of one local day.
    rule, tariff, country
        How the baseline is made, and what kind each day is.
    events
        Days with other events.

    Raises
    ------
    InputError
        If the event passes midnight, or there are fewer measured eligible days than the rule counts.
    """
    usual, days = usual_power(demand, start, end, rule, tariff, country, events)
    zone = pd.DatetimeIndex(demand.index).tz
    first, last = pd.Timestamp(start).tz_convert(zone), pd.Timestamp(end).tz_convert(zone)
    drawn = _window(demand, first.date(), first.time(), last)
    if len(drawn) == 0 or drawn.isna().any():
        raise InputError(f"the event of {first.date()} was not measured whole")
    taken = float(drawn.max() if rule.delivered == "highest" else drawn.mean())
    delivered = usual - taken
    counted = delivered if delivered >= rule.minimum and delivered > 0 else 0.0
    return Delivered(usual, taken, delivered, counted, days)


def usual_power(
    demand: pd.Series,
    start: datetime,
    end: datetime,
    rule: BaselineRule,
    tariff: Tariff,
    country: str = "",
    events: tuple[date, ...] = (),
) -> tuple[float, tuple[date, ...]]:
    """Return the baseline of an event that may be to come, W, and the days that it is made of; parameters as of `baseline`.

    Raises
    ------
    InputError
        If the event passes midnight, or there are fewer measured eligible days than the rule counts.
    """
    zone = pd.DatetimeIndex(demand.index).tz
    first, last = pd.Timestamp(start).tz_convert(zone), pd.Timestamp(end).tz_convert(zone)
    day = first.date()
    if last <= first or (last - timedelta(seconds=1)).date() != day:
        raise InputError(
            "an event lies within one day and ends after it begins; split one that passes midnight"
        )
    days: list[date] = []
    values: list[float] = []
    for back in range(1, LOOK_BACK_DAYS + 1):
        if len(days) == rule.days:
            break
        other = day - timedelta(days=back)
        if tariff.day(other, tariff.country or country) not in rule.kinds:
            continue
        if rule.without_events and other in events:
            continue
        window = _window(demand, other, first.time(), last)
        if len(window) == 0 or window.isna().any():
            continue  # a day that was not measured whole says nothing
        days.append(other)
        values.append(float(window.max() if rule.of_day == "highest" else window.mean()))
    if len(days) < rule.days:
        raise InputError(
            f"only {len(days)} of the {rule.days} eligible days before {day} were measured whole in these hours"
        )
    usual = {"mean": float(np.mean(values)), "highest": max(values), "lowest": min(values)}[rule.over_days]
    return usual, tuple(sorted(days))


def _window(demand: pd.Series, day: date, first: time, last: pd.Timestamp) -> pd.Series:
    zone = pd.DatetimeIndex(demand.index).tz
    begin = pd.Timestamp.combine(day, first).tz_localize(zone, nonexistent="shift_forward", ambiguous=True)
    until = last.time() if last.time() != time(0) else None
    end_day = day if until else day + timedelta(days=1)
    end = pd.Timestamp.combine(end_day, until or time(0)).tz_localize(
        zone, nonexistent="shift_forward", ambiguous=True
    )
    return demand[(demand.index >= begin) & (demand.index < end)]
