"""Temperatures of racks and CDUs within the hour, and the risk that they pass a limit, from the last hours in the store."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np

from analytics.live.gather import along_rack
from analytics.outlook.reserve import ReserveWatch
from analytics.outlook.thermal import RackHistory, TemperatureOutlook, approach_outlook, temperature_outlook
from analytics.points import results
from domain.batch import Batch
from domain.envelope import QUARTER_MS
from domain.forecast import Forecast
from domain.points import TimeArray, ValueArray
from storage.plant import NO_POINT, PlantView
from storage.telemetry import Aggregate

HOUR_MS = 3_600_000
OUTLOOK_STEP_MS = 300_000
RESERVE_INTERVAL_MS = 300_000
"""Stepping the plant through an hour takes about half a second: not every minute."""


class TemperatureWatch:
    """Foretells the temperatures of racks and the approach of CDUs.

    Parameters
    ----------
    plant
        Where readings come from.
    foretold
        Gives the newest power forecast of every node: power and temperature are foretold from the same load.
    """

    def __init__(
        self, plant: PlantView, foretold: Callable[[], Mapping[str, Forecast]] | None = None
    ) -> None:
        self._plant = plant
        self._foretold = foretold
        self._reserve = ReserveWatch(plant)
        self._reserve_told = 0
        self.told: tuple[int, dict[str, tuple[ValueArray, TemperatureOutlook]]] | None = None
        """Of the newest look the start of its first step ahead, UTC ms, and by what is foretold the past and the outlook."""

    def look(self, now: int) -> Batch:
        """Return each rack's probability of passing a temperature limit within the hour, and what is expected at most.

        Of the medians of the coming hour the highest: coolant supply and return and hottest GPU of each rack, approach of
        each CDU.
        """
        history = self._racks(now)
        steps = HOUR_MS // OUTLOOK_STEP_MS
        outlook = temperature_outlook(
            history, steps, OUTLOOK_STEP_MS / 1000, self._plant.site.thermal, self._load(history.power, now)
        )
        worst = np.stack(
            [o.breach_probability.max(axis=1) for o in (outlook.supply, outlook.ret, outlook.gpu)]
        )
        known = ~np.isnan(worst).all(axis=0)
        breach = np.where(known, np.nan_to_num(worst).max(axis=0), np.nan)
        site, registry = self._plant.site, self._plant.registry
        batches = [results(registry, "Rack", "TemperatureBreachProbability", site.racks, breach, now)]
        for point_type, of_racks in (
            ("ExpectedSupplyTemperature", outlook.supply),
            ("ExpectedReturnTemperature", outlook.ret),
            ("ExpectedGpuTemperature", outlook.gpu),
        ):
            batches.append(results(registry, "Rack", point_type, site.racks, _highest(of_racks), now))
        told = {
            "ExpectedSupplyTemperature": (history.supply, outlook.supply),
            "ExpectedReturnTemperature": (history.ret, outlook.ret),
            "ExpectedGpuTemperature": (history.gpu, outlook.gpu),
        }
        if site.cdus:
            supply, water = self._loops(now)
            foreseen = approach_outlook(supply, water, steps)
            batches.append(results(registry, "CDU", "ExpectedApproach", site.cdus, _highest(foreseen), now))
            told["ExpectedApproach"] = (supply - water, foreseen)
        self.told = (now - now % OUTLOOK_STEP_MS + OUTLOOK_STEP_MS, told)
        if now - self._reserve_told >= RESERVE_INTERVAL_MS:
            self._reserve_told = now
            batches.append(self._reserve.look(now))
        return Batch.concat(batches)

    def measured(self, now: int) -> dict[str, ValueArray]:
        """Return by what is foretold the highest value of each five minutes, the one that `now` lies in last."""
        history = self._racks(now)
        found = {
            "ExpectedSupplyTemperature": history.supply,
            "ExpectedReturnTemperature": history.ret,
            "ExpectedGpuTemperature": history.gpu,
        }
        if self._plant.site.cdus:
            supply, water = self._loops(now)
            found["ExpectedApproach"] = supply - water
        return found

    def _racks(self, now: int) -> RackHistory:
        return RackHistory(
            power=self._rack_history("RackPower", now),
            supply=self._rack_history("RackLiquidSupplyTemperature", now),
            ret=self._rack_history("RackLiquidReturnTemperature", now),
            flow=self._rack_history("RackLiquidFlow", now),
            gpu=self._gpu_history(now),
        )

    def _loops(self, now: int) -> tuple[ValueArray, ValueArray]:
        supply, water = (self._cdu_history(area, now) for area in ("Secondary Supply", "Primary Inlet"))
        return supply, water

    def _load(self, power: ValueArray, now: int) -> ValueArray | None:
        """Return what the racks will draw by their own power forecasts, W, shape (racks, steps)."""
        told = {} if self._foretold is None else self._foretold()
        racks = [told.get(rack) for rack in self._plant.site.racks]
        start = next((f.start for f in racks if f is not None), None)
        if start is None or now >= start[-1]:
            return None
        blank = np.full(len(start), np.nan)
        medians = np.stack([blank if f is None else f.quantile(0.5) for f in racks])
        first = now - now % OUTLOOK_STEP_MS + OUTLOOK_STEP_MS
        times = first + OUTLOOK_STEP_MS * np.arange(HOUR_MS // OUTLOOK_STEP_MS, dtype=np.int64)
        return foretold_load(power, medians, start, now, times)

    def _rack_history(self, point_type: str, now: int) -> ValueArray:
        return self._history(self._plant.rack_points(point_type)[:, None], now)

    def _gpu_history(self, now: int) -> ValueArray:
        return self._history(self._plant.gpu_points("GpuTemperature"), now)

    def _cdu_history(self, area: str, now: int) -> ValueArray:
        registry, words = self._plant.registry, set(area.split())
        found = [
            [i for i in registry.select("CDU", "LiquidTemperature", cdu).tolist()
             if set(registry[i].process_area) == words]
            for cdu in self._plant.site.cdus
        ]  # fmt: skip
        points = [self._plant.tellers.used_for(of[0]) if of else NO_POINT for of in found]
        return self._history(np.array(points, np.int32)[:, None], now)

    def _history(self, points: np.ndarray[tuple[int, int], np.dtype[np.int32]], now: int) -> ValueArray:
        """Return the highest of each row's points per step over the last six hours, shape (rows, steps)."""
        end = now - now % OUTLOOK_STEP_MS + OUTLOOK_STEP_MS
        start = end - 6 * HOUR_MS
        wanted = points[points >= 0]
        result = np.full((len(points), (end - start) // OUTLOOK_STEP_MS), np.nan)
        if len(wanted) == 0:
            return result
        grid = self._plant.history(wanted, start, end, OUTLOOK_STEP_MS, Aggregate.MAX)
        row_of = dict(zip(grid.point.tolist(), grid.values, strict=True))
        for i, row in enumerate(points):
            members = [row_of[p] for p in row.tolist() if p in row_of]
            if members:
                result[i] = along_rack(np.nanmax, np.stack(members, axis=1))
        return result


def _highest(outlook: TemperatureOutlook) -> ValueArray:
    """Return the highest median of each rack or CDU, NaN where there is no outlook."""
    highest: ValueArray = outlook.values[:, :, outlook.quantiles.index(0.5)].max(axis=1)
    return highest


def foretold_load(
    power: ValueArray, medians: ValueArray, start: TimeArray, now: int, times: TimeArray
) -> ValueArray:
    """Return racks' power at coming times: what they draw now, and how their forecasts say that it will change.

    Parameters
    ----------
    power
        Measured up to now, W, the newest last, NaN where missing, shape (racks, n).
    medians
        Of the racks' power forecasts, W, NaN where there is none, shape (racks, q).
    start
        Starts of their quarter hours, UTC ms, shape (q,).
    now, times
        UTC ms; `times` of shape (steps,).

    Returns
    -------
    W, shape (racks, steps), NaN where nothing tells it; never beyond what the rack draws now and is foretold to draw.
    """
    middle = start + QUARTER_MS // 2

    def told(when: TimeArray) -> ValueArray:
        return np.stack([np.interp(when, middle, row) for row in medians])

    newest = power[:, -1:]
    ahead, present = told(times), told(np.array([now], np.int64))
    low, high = np.fmin(newest, ahead), np.fmax(newest, ahead)
    load: ValueArray = np.clip(newest + ahead - present, low, high)
    return load
