"""Which parts wear out, and when: worked out every hour from what the store keeps of the last weeks."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np

from analytics.anomaly import indicators as wear
from analytics.anomaly.indicators import Indicator
from analytics.anomaly.wear import WornPart, ranked
from analytics.live.gather import PlantReader
from domain.plant.cdu import CduModel
from domain.points import IntArray, ValueArray
from storage.plant import PlantView
from storage.telemetry import Aggregate

HOUR_MS = 3_600_000
DAY_MS = 24 * HOUR_MS
PAST_DAYS = 60
"""How far back is looked: the hourly tier is kept for ever, but last year's filter says nothing of this one."""
LISTED = 50
"""Lines of the list."""


class Upkeep:
    """Looks through the kept readings for parts that wear.

    Parameters
    ----------
    plant
        Where readings come from.
    reader
        Knows which points belong to which part.
    """

    def __init__(self, plant: PlantView, reader: PlantReader) -> None:
        self._plant = plant
        self._reader = reader
        self._model = CduModel()

    def look(self, now: int) -> list[WornPart]:
        """Return the parts that may reach their limit within a year, soonest first; `now` UTC ms.

        Raises
        ------
        StorageError
            If the store does not answer.
        """
        self._reader.refresh()
        found: list[WornPart] = []
        for indicator, ids, days, values in self._indicators(now):
            found += wear.worn(indicator, ids, days, values)
        return ranked(found)[:LISTED]

    def _indicators(self, now: int) -> Iterator[tuple[Indicator, tuple[str, ...], ValueArray, ValueArray]]:
        site, reader, equipment = self._plant.site, self._reader, self._reader.equipment
        hours = self._grid(now, HOUR_MS)
        if site.cdus:
            c = {name: hours(points) for name, points in reader.cdus.items()}
            flow = np.where(c["flow"] > 1.0, c["flow"], np.nan)
            days = _days(c["flow"], HOUR_MS)
            yield wear.FILTER, site.cdus, days, wear.filters(c["filter_dp"], flow)
            head = wear.pumps(c["dp"], c["filter_dp"], flow, c["speed"], self._model)
            yield wear.PUMP, site.cdus, days, head
            lost = wear.exchangers(flow, c["supply"], c["ret"], c["water_in"], c["water_out"])
            yield wear.EXCHANGER, site.cdus, days, lost
        if equipment.upses:
            u = {name: hours(points) for name, points in reader.upses.items()}
            left = wear.batteries(u["BatteryRuntime"], u["ActivePower"], u["BatteryCharge"])
            yield wear.BATTERY, equipment.upses, _days(left, HOUR_MS), left
        if equipment.air_units:
            a = {name: hours(points) for name, points in reader.air.items()}
            moved = wear.fans(a["AirFlow"], a["FanSpeed"])
            yield wear.FAN, equipment.air_units, _days(moved, HOUR_MS), moved
        position = hours(self._plant.rack_points("RackControlValvePosition"))
        load = hours(self._plant.rack_points("RackPower"))
        shape = (len(position), -1, 24)
        off = wear.valves(position.reshape(shape), load.reshape(shape))
        yield wear.VALVE, site.racks, _days(off, DAY_MS), off
        yield from self._plates(now)

    def _plates(self, now: int) -> Iterator[tuple[Indicator, tuple[str, ...], ValueArray, ValueArray]]:
        ids = [gpu for row in self._reader.equipment.gpus for gpu in row]
        if not ids:
            return
        daily = self._grid(now, DAY_MS)
        supply, ret = (
            daily(self._plant.rack_points(f"RackLiquid{side}Temperature")) for side in ("Supply", "Return")
        )
        temperature, power = (
            daily(self._plant.gpu_points(name).ravel()) for name in ("GpuTemperature", "GpuPower")
        )
        if temperature.shape != power.shape:
            return
        coolant = np.repeat(0.5 * (supply + ret), len(temperature) // len(supply), axis=0)
        grown = wear.plates(temperature, coolant, power)
        known = [i for i, gpu in enumerate(ids) if gpu]
        yield wear.PLATE, tuple(ids[i] for i in known), _days(grown, DAY_MS), grown[known]

    def _grid(self, now: int, step: int) -> Callable[[IntArray], ValueArray]:
        """Return what reads points as a table of the last weeks' whole steps, shape (points, steps)."""
        end = now - now % step
        start = end - PAST_DAYS * DAY_MS

        def read(points: IntArray) -> ValueArray:
            table = np.full((len(points), PAST_DAYS * DAY_MS // step), np.nan)
            rows = {int(p): i for i, p in enumerate(points) if p >= 0}
            if rows:
                wanted = np.array(sorted(rows), np.int32)
                grid = self._plant.history(wanted, start, end, step, Aggregate.MEAN)
                at = (grid.start - start) // step
                for point, values in zip(grid.point.tolist(), grid.values, strict=True):
                    table[rows[point], at] = values
            return table

        return read


def _days(values: ValueArray, step: int) -> ValueArray:
    return np.asarray((np.arange(values.shape[1]) + 0.5) * (step / DAY_MS), np.float64)
