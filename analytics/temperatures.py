"""The probability that each rack passes a temperature limit within the hour, from the last hours in the store."""

from __future__ import annotations

import numpy as np

from analytics.gather import along_rack
from analytics.points import results
from analytics.thermal import RackHistory, temperature_outlook
from domain.batch import Batch
from domain.points import ValueArray
from storage.plant import PlantView
from storage.telemetry import Aggregate

HOUR_MS = 3_600_000
OUTLOOK_STEP_MS = 300_000


class TemperatureWatch:
    """Foretells the racks' temperatures.

    Parameters
    ----------
    plant
        Where readings come from.
    """

    def __init__(self, plant: PlantView) -> None:
        self._plant = plant

    def look(self, now: int) -> Batch:
        """Return each rack's probability of passing a temperature limit within the hour."""
        history = RackHistory(
            power=self._rack_history("RackPower", now),
            supply=self._rack_history("RackLiquidSupplyTemperature", now),
            ret=self._rack_history("RackLiquidReturnTemperature", now),
            flow=self._rack_history("RackLiquidFlow", now),
            gpu=self._gpu_history(now),
        )
        steps = HOUR_MS // OUTLOOK_STEP_MS
        outlook = temperature_outlook(history, steps, OUTLOOK_STEP_MS / 1000, self._plant.site.thermal)
        worst = np.stack(
            [o.breach_probability.max(axis=1) for o in (outlook.supply, outlook.ret, outlook.gpu)]
        )
        known = ~np.isnan(worst).all(axis=0)
        breach = np.where(known, np.nan_to_num(worst).max(axis=0), np.nan)
        site = self._plant.site
        return results(self._plant.registry, "Rack", "TemperatureBreachProbability", site.racks, breach, now)

    def _rack_history(self, point_type: str, now: int) -> ValueArray:
        return self._history(self._plant.rack_points(point_type)[:, None], now)

    def _gpu_history(self, now: int) -> ValueArray:
        return self._history(self._plant.gpu_points("GpuTemperature"), now)

    def _history(self, points: np.ndarray[tuple[int, int], np.dtype[np.int32]], now: int) -> ValueArray:
        """Return the highest of each row's points per step over the last six hours, shape (rows, steps)."""
        end = now - now % OUTLOOK_STEP_MS + OUTLOOK_STEP_MS
        start = end - 6 * HOUR_MS
        wanted = points[points >= 0]
        result = np.full((len(points), (end - start) // OUTLOOK_STEP_MS), np.nan)
        if len(wanted) == 0:
            return result
        grid = self._plant.store.aggregate(wanted, start, end, OUTLOOK_STEP_MS, Aggregate.MAX)
        row_of = dict(zip(grid.point.tolist(), grid.values, strict=True))
        for i, row in enumerate(points):
            members = [row_of[p] for p in row.tolist() if p in row_of]
            if members:
                result[i] = along_rack(np.nanmax, np.stack(members, axis=1))
        return result
