"""The energy contract against what is measured: the month, and baselines of demand response."""

from __future__ import annotations

from dataclasses import asdict
from datetime import date
from typing import Any

import pandas as pd

from analytics.contract.baseline import LOOK_BACK_DAYS, BaselineRule, baseline
from analytics.contract.month import LEVELS, PAST_DAYS, month_of, month_report
from analytics.contract.tariff import Tariff
from domain.errors import InputError
from storage.plant import PlantView
from storage.records import Records

DAY_MS = 86_400_000


class Contract:
    """Answers what the contract asks of one site. Calls block.

    Parameters
    ----------
    plant, records
        Where demand and forecasts come from.
    tariff
        The contract; without one there is no answer.
    """

    def __init__(self, plant: PlantView, records: Records, tariff: Tariff | None) -> None:
        self._plant = plant
        self._records = records
        self._tariff = tariff

    def month(self, now: int) -> dict[str, Any]:
        """Return the month so far and where it will end (`analytics.contract.month.Month`), ready for JSON.

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
        return asdict(found) | {"levels": LEVELS, "site": site.id, "contract": tariff.name}

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

    def usual(self, start: int, end: int) -> float:
        """Return the baseline of the time from `start` to `end` (UTC ms) by the usual rule, W.

        Raises
        ------
        InputError
            If there is no contract, or the days do not tell.
        """
        return float(self.baseline(start, end, (), BaselineRule())["baseline"])

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
