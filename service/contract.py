"""The energy contract against what is measured: the month, and baselines of demand response."""

from __future__ import annotations

from dataclasses import asdict
from datetime import date, timedelta
from typing import Any, Literal
from zoneinfo import ZoneInfo

import pandas as pd

from analytics.contract.baseline import LOOK_BACK_DAYS, BaselineRule, baseline, usual_power
from analytics.contract.energy import EnergySettings, energy_by, measured_at, midnight, periods, quarters
from analytics.contract.month import LEVELS, PAST_DAYS, month_of, month_report
from analytics.contract.tariff import Tariff
from domain.errors import InputError
from domain.grid import BOUNDING, Standing
from storage.plant import PlantView
from storage.records import Records

DAY_MS = 86_400_000
MOST_DAYS = 400
"""Of one question of energy."""
MOST_PERIODS = 4
"""Periods of the tariff that are told: the running one and the next."""


class Contract:
    """Answers what the contract asks of one site. Calls block.

    Parameters
    ----------
    plant, records
        Where demand and forecasts come from.
    tariff
        The contract; without one there is no answer.
    energy
        Where IT energy is measured, and the grid's emission factors; the defaults if not given.
    """

    def __init__(
        self, plant: PlantView, records: Records, tariff: Tariff | None, energy: EnergySettings | None = None
    ) -> None:
        self._energy = energy or EnergySettings()
        self._plant = plant
        self._records = records
        self._tariff = tariff

    def month(self, now: int) -> dict[str, Any]:
        """Return the month so far and where it will end (`analytics.contract.month.Month`), and the periods to come, ready for JSON.

        Raises
        ------
        InputError
            If there is no contract.
        StorageError
            If the store does not answer.
        """
        tariff, site = self._known(), self._plant.site
        start, _ = month_of(pd.Timestamp(now, unit="ms", tz="UTC").tz_convert(site.zone).date(), site.zone)
        demand = self._demand(start - PAST_DAYS * DAY_MS, now)
        forecast = self._records.latest_forecast(site.id)
        found = month_report(demand, now, tariff, site.zone, site.country, forecast)
        coming = tariff.coming(now, site.zone, site.country)[:MOST_PERIODS]
        return asdict(found) | {
            "levels": LEVELS,
            "site": site.id,
            "contract": tariff.name,
            "periods": [asdict(run) for run in coming],
        }

    def baseline(self, start: int, end: int, events: tuple[date, ...], rule: BaselineRule) -> dict[str, Any]:
        """Return what a demand-response event from `start` to `end` (UTC ms) delivered, ready for JSON.

        Raises
        ------
        InputError
            If there is no contract, or the days do not tell.
        """
        tariff, site = self._known(), self._plant.site
        demand = self._demand(start - (LOOK_BACK_DAYS + 1) * DAY_MS, end)
        demand.index = pd.DatetimeIndex(demand.index).tz_convert(site.zone)
        first, last = (pd.Timestamp(t, unit="ms", tz="UTC").to_pydatetime() for t in (start, end))
        found = baseline(demand, first, last, rule, tariff, site.country, events)
        return asdict(found) | {"rule": rule.name, "days": [d.isoformat() for d in found.days]}

    def energy(
        self, now: int, by: Literal["day", "month"], first: date | None = None, last: date | None = None
    ) -> Any:
        """Return energy, PUE and carbon of days or months (`analytics.contract.energy.EnergyOf`), ready for JSON.

        Parameters
        ----------
        now
            UTC ms.
        by
            Which of the two.
        first, last
            First and last day; a week or this month up to today if not given.

        Raises
        ------
        InputError
            If the days are in the wrong order, or too many.
        StorageError
            If the store does not answer.
        """
        site = self._plant.site
        today = pd.Timestamp(now, unit="ms", tz="UTC").tz_convert(site.zone).date()
        until = min(last or today, today)
        since = first or (until.replace(day=1) if by == "month" else until - timedelta(days=6))
        if since > until or (until - since).days > MOST_DAYS:
            raise InputError(
                f"the first day must not come after the last or today, and {MOST_DAYS} days are the most"
            )
        wanted = periods(since, until, by)
        start, end = midnight(wanted[0][1], site.zone), midnight(wanted[-1][2], site.zone)
        known = quarters(self._plant, self._energy, start, min(end, now))
        found = energy_by(known, site.zone, self._energy, wanted, now)
        told = [
            {name: None if value != value else value for name, value in asdict(one).items()} for one in found
        ]
        where = measured_at(self._plant, self._energy)[0]
        return {"site": site.id, "by": by, "it_measured_at": where, "periods": told}

    def usual(self, start: int, end: int) -> float:
        """Return the baseline of the time from `start` to `end` (UTC ms), which may be to come, by the usual rule, W.

        Days of earlier events, which are those of the grid's limits that were agreed to, do not count.

        Raises
        ------
        InputError
            If there is no contract, or the days do not tell.
        """
        tariff, site = self._known(), self._plant.site
        since = start - (LOOK_BACK_DAYS + 1) * DAY_MS
        demand = self._demand(since, start)
        demand.index = pd.DatetimeIndex(demand.index).tz_convert(site.zone)
        first, last = (pd.Timestamp(t, unit="ms", tz="UTC").to_pydatetime() for t in (start, end))
        events = {
            day
            for request in self._records.grid_requests(since)
            if request.kind in BOUNDING and request.standing is Standing.AGREED
            for part in request.parts
            if part.value == part.value
            and part.end - part.start <= DAY_MS  # what holds for longer is no event
            for day in _days(part.start, min(part.end, start), site.zone)
        }
        return usual_power(demand, first, last, BaselineRule(), tariff, site.country, tuple(events))[0]

    def _known(self) -> Tariff:
        if self._tariff is None:
            raise InputError(
                "there is no contract: name its file in hallwatch.yaml ('tariff: tariff.yaml'); "
                "config/examples/tariffs has one to start from"
            )
        return self._tariff

    def _demand(self, start: int, end: int) -> pd.Series:
        grid = self._plant.demand_history(self._plant.site.id, start, end)
        return pd.Series(grid.values[0], index=pd.to_datetime(grid.start, unit="ms", utc=True))


def _days(start: int, end: int, zone: ZoneInfo) -> list[date]:
    """Return the local days that [start, end), UTC ms, touches; none where it is empty."""
    first, last = (pd.Timestamp(t, unit="ms", tz=zone).date() for t in (start, end - 1))
    return [first + timedelta(n) for n in range((last - first).days + 1)]
