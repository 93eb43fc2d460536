"""The energy contract as data: seasons, periods, prices, contracted demand and what exceeding it costs.

Every quarter hour of a year has one season and one period: the first in the list that covers it.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import date
from itertools import pairwise
from typing import Annotated, Any, Literal
from zoneinfo import ZoneInfo

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from pydantic import BeforeValidator, Field, WithJsonSchema, model_validator

from analytics.forecast.calendar import public_holidays
from domain.configuration import SettingsModel
from domain.envelope import QUARTER_MS
from domain.errors import UnitError
from domain.points import TimeArray
from domain.units import parse_quantity

QUARTERS = 96
Day = Literal["weekday", "saturday", "sunday", "holiday"]
EVERY_DAY: tuple[Day, ...] = ("weekday", "saturday", "sunday", "holiday")
KWH_J = 3.6e6
AHEAD_DAYS = 8
"""Days of which it is told which period comes when: longer than any run but one that holds all week."""


def _power(value: Any) -> float:
    try:
        return parse_quantity(value, "W")
    except UnitError as error:
        raise ValueError(str(error)) from error


def _share(value: Any) -> float:
    try:
        return parse_quantity(value, "1")
    except UnitError as error:
        raise ValueError(str(error)) from error


def _any(example: str) -> WithJsonSchema:
    return WithJsonSchema({"anyOf": [{"type": "number"}, {"type": "string"}], "examples": [example]})


Power = Annotated[float, BeforeValidator(_power), _any("15 MW"), Field(gt=0)]
"""W; a bare number or a quantity such as ``15 MW``."""
Share = Annotated[float, BeforeValidator(_share), _any("10 %"), Field(gt=0)]
"""A ratio; a bare number (0 to 1) or a quantity such as ``10 %``."""


class Season(SettingsModel):
    """A part of the year, both days included; it may pass the turn of the year."""

    name: str = Field(description="As periods and prices name it")
    first: str = Field(pattern=r"^\d\d-\d\d$", description="Month and day, such as 05-16")
    last: str = Field(pattern=r"^\d\d-\d\d$", description="Month and day, such as 10-15")

    @model_validator(mode="after")
    def _exist(self) -> Season:
        for day in (self.first, self.last):
            try:
                date.fromisoformat(f"2024-{day}")
            except ValueError:
                raise ValueError(f"{day} is no day of a year; write month and day, such as 05-16") from None
        return self

    def covers(self, day: str) -> bool:
        """Return whether a day, as ``MM-DD``, is one of it."""
        if self.first <= self.last:
            return self.first <= day <= self.last
        return day >= self.first or day <= self.last


class Period(SettingsModel):
    """Hours of some days; an hour list such as ``["9-16", "22-24"]`` ends before its second hour."""

    name: str = Field(description="As prices and demand charges name it")
    seasons: tuple[str, ...] = Field((), description="Every season if empty")
    days: tuple[Day, ...] = Field(
        EVERY_DAY, description="Kinds of days; a holiday is one whatever its weekday"
    )
    hours: tuple[str, ...] = Field(("0-24",), description="Local hours, such as 9-16 or 22-24")

    @model_validator(mode="after")
    def _hours(self) -> Period:
        self.quarters()
        return self

    def quarters(self) -> NDArray[np.bool_]:
        """Return which quarter hours of a day are of it, shape (96,)."""
        found = np.zeros(QUARTERS, bool)
        for text in self.hours:
            told = re.fullmatch(r"(\d\d?)(?::(00|15|30|45))?-(\d\d?)(?::(00|15|30|45))?", text)
            if told is None:
                raise ValueError(f"{text!r}: write hours such as 9-16, 22-24 or 7:30-9")
            first, last = (int(told[i]) * 4 + int(told[i + 1] or 0) // 15 for i in (1, 3))
            if not first < last <= QUARTERS:
                raise ValueError(f"{text!r} does not end after it begins; hours that pass midnight are two")
            found[first:last] = True
        return found


class Price(SettingsModel):
    """A price that may depend on the season; one that names none holds in all of them."""

    season: str = Field("", description="Every season if empty")
    price: float = Field(ge=0, description="In the currency of the contract")


class EnergyPrice(Price):
    """Of energy in a period, for a kWh."""

    period: str = Field(description="Of which period")


class Excess(SettingsModel):
    """What the part of the demand costs that exceeds the contract: so many times the basic price, up to a share of it."""

    up_to: Share | None = Field(None, description="Share of the contract; without end if not written")
    factor: float = Field(ge=0, description="Times the basic price")


class DemandCharge(SettingsModel):
    """What the highest quarter hour of a month costs, of those in some periods."""

    name: str = Field(description="For people")
    periods: tuple[str, ...] = Field((), description="Of which periods; all if empty")
    contracted: Power = Field(description="What the contract covers, such as 15 MW")
    prices: tuple[Price, ...] = Field(min_length=1, description="For a kW and month")
    excess: tuple[Excess, ...] = Field((), description="Steps, one after the other")

    @model_validator(mode="after")
    def _rising(self) -> DemandCharge:
        ends = [step.up_to for step in self.excess]
        if any(end is None for end in ends[:-1]) or sorted(e for e in ends if e) != [e for e in ends if e]:
            raise ValueError("write the steps of 'excess' in order; only the last has no 'up_to'")
        return self

    def excess_cost(self, peak: float, season: str) -> float:
        """Return what exceeding the contract costs for the month, on top of the basic charge; `peak` in W."""
        price, over, cost, before = price_in(self.prices, season), peak - self.contracted, 0.0, 0.0
        for step in self.excess:
            end = np.inf if step.up_to is None else step.up_to * self.contracted
            cost += max(0.0, min(over, end) - before) / 1000 * price * step.factor
            before = end
        return cost

    def basic_cost(self, season: str) -> float:
        """Return the basic charge of a month, whatever is drawn."""
        return self.contracted / 1000 * price_in(self.prices, season)


@dataclass(frozen=True, slots=True)
class Run:
    """One period of the tariff from `start` until another begins, UTC ms; `price` of a kWh, None where none is written."""

    period: str
    season: str
    start: int
    end: int
    price: float | None


class Tariff(SettingsModel):
    """The contract (`tariff.yaml`)."""

    name: str = Field(description="For people")
    currency: str = Field(min_length=1, max_length=8, description="Such as TWD")
    country: str = Field("", description="ISO 3166 code whose public holidays count; the site's if empty")
    seasons: tuple[Season, ...] = (Season(name="all year", first="01-01", last="12-31"),)
    periods: tuple[Period, ...] = Field(
        min_length=1, description="The first that covers a quarter hour holds"
    )
    energy: tuple[EnergyPrice, ...] = ()
    demand: tuple[DemandCharge, ...] = Field(min_length=1)
    holidays: tuple[date, ...] = Field((), description="Days beside the public holidays that count as such")

    @model_validator(mode="after")
    def _consistent(self) -> Tariff:
        seasons, periods = {s.name for s in self.seasons}, {p.name for p in self.periods}
        named = {s for p in self.periods for s in p.seasons}
        named |= {e.season for e in self.energy} | {p.season for d in self.demand for p in d.prices}
        if unknown := sorted(named - seasons - {""}):
            raise ValueError(f"unknown seasons: {', '.join(unknown)}")
        used = {p for d in self.demand for p in d.periods} | {e.period for e in self.energy}
        if unknown := sorted(used - periods):
            raise ValueError(f"unknown periods: {', '.join(unknown)}")
        days = pd.date_range("2024-01-01", "2024-12-31").strftime("%m-%d")
        if missing := [d for d in days if not any(s.covers(d) for s in self.seasons)]:
            raise ValueError(f"no season covers {missing[0]}; the seasons must cover the year")
        for season in self.seasons:
            for day in EVERY_DAY:
                if (self._of_day(season.name, day) < 0).any():
                    raise ValueError(
                        f"no period covers every hour of a {day} in {season.name}; end the list with one for the rest"
                    )
            for charge in self.demand:
                price_in(charge.prices, season.name)
        return self

    def season(self, day: date) -> str:
        """Return the season of a day."""
        return next(s.name for s in self.seasons if s.covers(day.strftime("%m-%d")))

    def day(self, day: date, country: str) -> Day:
        """Return what kind of day it is; a holiday is one whatever its weekday."""
        if day in self.holidays or (country and day.toordinal() in public_holidays(country, day.year)):
            return "holiday"
        return "sunday" if day.weekday() == 6 else "saturday" if day.weekday() == 5 else "weekday"

    def classify(self, start: TimeArray, zone: ZoneInfo, country: str = "") -> NDArray[np.int64]:
        """Return the number in `periods` of each quarter hour, shape of `start` (UTC ms)."""
        local = pd.to_datetime(start, unit="ms", utc=True).tz_convert(zone)
        quarter = (local.hour * 4 + local.minute // 15).to_numpy()
        found = np.zeros(len(start), np.int64)
        days = local.date
        for day in dict.fromkeys(days):
            of_day = days == day
            numbers = self._of_day(self.season(day), self.day(day, self.country or country))
            found[of_day] = numbers[quarter[of_day]]
        return found

    def coming(self, now: int, zone: ZoneInfo, country: str = "") -> list[Run]:
        """Return the period that runs at `now` (UTC ms), from its quarter hour on, and those that follow within `AHEAD_DAYS`."""
        start = now - now % QUARTER_MS + QUARTER_MS * np.arange(AHEAD_DAYS * QUARTERS, dtype=np.int64)
        numbers = self.classify(start, zone, country)
        days = pd.to_datetime(start, unit="ms", utc=True).tz_convert(zone).date
        of_day = {day: self.season(day) for day in dict.fromkeys(days)}
        seasons = np.array([of_day[day] for day in days])
        turns = np.flatnonzero((np.diff(numbers) != 0) | (seasons[1:] != seasons[:-1])) + 1
        edges = [0, *turns.tolist(), len(start)]
        found = []
        for first, after in pairwise(edges):
            period, season = self.periods[numbers[first]].name, str(seasons[first])
            priced = [e.price for e in self.energy if e.period == period and e.season in ("", season)]
            end = int(start[after - 1]) + QUARTER_MS
            found.append(Run(period, season, int(start[first]), end, priced[0] if priced else None))
        return found

    def _of_day(self, season: str, day: Day) -> NDArray[np.int64]:
        numbers = np.full(QUARTERS, -1)
        for number, period in enumerate(self.periods):
            if (not period.seasons or season in period.seasons) and day in period.days:
                numbers[period.quarters() & (numbers < 0)] = number
        return numbers


def price_in(prices: tuple[Price, ...], season: str) -> float:
    """Return the price of a season.

    Raises
    ------
    ValueError
        If none is written for it.
    """
    for price in prices:
        if price.season in ("", season):
            return price.price
    raise ValueError(f"no price for the season {season}")
