"""What the watch over the factory reads, found among the plant's points: racks, CDUs, taps, UPSes, air handlers, GPUs."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Sequence

import numpy as np

from analytics.anomaly.air import AirReadings
from analytics.anomaly.cdus import CduReadings
from analytics.anomaly.gpus import GpuTable
from analytics.anomaly.racks import RackReadings
from analytics.anomaly.taps import TapReadings
from analytics.anomaly.upses import UpsReadings
from analytics.anomaly.virtual import coolant_heat
from analytics.anomaly.watch import Equipment, PlantReadings, Taps, feeds_of
from analytics.live.silence import Silences
from domain.points import IntArray, Point, ValueArray
from storage.plant import NO_POINT, PlantView

FRESH_MS = 150_000
"""A reading older than this is not used. DSX repeats what does not change every 100 s. Nor is one whose source fell silent."""
MOST_OF_A_KIND = 5000
"""Taps, UPSes, air handlers that are watched, at most of each, in order of id; whoever announces them sets no bound."""


class PlantReader:
    """Reads the newest values of one plant in the shape that the watch wants.

    Parameters
    ----------
    plant
        Where readings come from.
    as_measured
        Exchanges points that carry estimates for those that carry what the instruments say.
    """

    def __init__(
        self, plant: PlantView, as_measured: Callable[[IntArray], IntArray] = lambda points: points
    ) -> None:
        self._plant = plant
        self._as_measured = as_measured
        self._site = plant.site
        self._silences = Silences(plant.registry, plant.latest, FRESH_MS)
        self._version = (-1, -1)
        self.cdus: dict[str, IntArray] = {}
        self._meters: dict[str, IntArray] = {}
        self._feeds: IntArray = np.zeros(0, np.int32)
        self.upses: dict[str, IntArray] = {}
        self.air: dict[str, IntArray] = {}
        """Points of CDUs, UPSes and air handlers by quantity, in the order of the site and of `equipment`."""
        self._water: IntArray = np.zeros(0, np.int32)
        self.equipment = Equipment(Taps((), (), ()), (), (), (), self._site.id)
        pod = {name: i for i, p in enumerate(self._site.pods) for name in (*p.racks, *p.cdus)}
        self._rack_pod = np.array([pod[r] for r in self._site.racks], np.int32)
        self._cdu_pod = np.array([pod[c] for c in self._site.cdus], np.int32)

    def refresh(self) -> bool:
        """Look for new points; returns whether there were any."""
        version = self._plant.version
        if version == self._version:
            return False
        self._version = version
        self._silences.refresh()
        plant, registry = self._plant, self._plant.registry
        of_cdu = {
            cdu: [(i, registry[i]) for i in plant.tellers.one_each(registry.of_object(cdu)).tolist()]
            for cdu in self._site.cdus
        }
        meters: dict[tuple[str, str], int] = {}
        racks = set(self._site.racks)
        serves: dict[str, str] = {}
        for i in plant.tellers.one_each(registry.select("PowerMeter")).tolist():
            point = registry[i]
            if point.source.startswith("snmp"):
                continue  # a rack's PDUs over SNMP are another view of what its taps carry
            if len(point.serves) == 1 and point.serves[0] in racks:
                serves[point.object_id] = point.serves[0]
            meters.setdefault((point.object_id, point.point_type + point.phase), i)
        others: dict[str, dict[tuple[str, str], int]] = {"UPS": {}, "CRAH": {}, "Chiller": {}}
        for kind, known in others.items():
            for i in plant.tellers.one_each(registry.select(kind)).tolist():
                _note(known, registry[i], i)
        self.cdus = {
            name: np.array(
                [_pick(of_cdu[cdu], *wanted, setpoint=name == "setpoint") for cdu in self._site.cdus],
                np.int32,
            )
            for name, wanted in _CDU_POINTS.items()
        }
        taps = self._find_taps(serves, meters)
        upses, self.upses = _columns(others["UPS"], _UPS_POINTS, "ActivePower")
        air, self.air = _columns(others["CRAH"], _AIR_POINTS, "FanSpeed")
        chillers, water = _columns(others["Chiller"], ("LiquidTemperature",), "LiquidTemperature")
        self._water = water["LiquidTemperature"][:1]
        feeds = feeds_of(self._site)
        self._feeds = np.array([meters.get((feed, "Voltage"), NO_POINT) for feed in feeds], np.int32)
        table = self._plant.gpu_points("GpuTemperature")
        registry = self._plant.registry
        gpus = [[registry[i].object_id if i >= 0 else "" for i in row] for row in table.tolist()]
        self.equipment = Equipment(taps, upses, air, gpus, chillers[0] if chillers else self._site.id)
        return True

    def read(self, now: int) -> PlantReadings:
        """Return what is known of the plant at `now`, UTC ms."""
        self._silences.look()

        def values(points: IntArray) -> ValueArray:
            return self._values(points, now)

        def racks(point_type: str) -> ValueArray:
            return values(self._plant.rack_points(point_type))

        temperature = values(self._plant.gpu_points("GpuTemperature"))
        gpu = {name: self._of_gpus(name, temperature.shape, now) for name in _GPU_POINTS}
        power = racks("RackPower")
        upses = {name: values(points) for name, points in self.upses.items()}
        air = {name: values(points) for name, points in self.air.items()}
        water = values(self._water)
        cdu = {name: values(self.cdus[name]) for name in _CDU_POINTS if name not in _WORN_ONLY}
        tap = {name: values(points) for name, points in self._meters.items()}
        place = {rack: i for i, rack in enumerate(self._site.racks)}
        cooled = self._plant.rack_points("RackLiquidReturnTemperature") != NO_POINT
        if not cooled.any():  # nothing is told of their coolant
            cooled = ~cooled
        return PlantReadings(
            RackReadings(
                power,
                racks("RackLiquidSupplyTemperature"),
                racks("RackLiquidReturnTemperature"),
                racks("RackLiquidFlow"),
                racks("RackLiquidDifferentialPressure"),
                along_rack(np.nanmax, temperature),
                along_rack(np.nanmean, gpu["GpuPower"]),
                racks("RackControlValvePosition"),
                racks("RackLeakDetect"),
            ),
            CduReadings(
                **cdu, rack_heat=coolant_heat(power, cdu["flow"], self._rack_pod, self._cdu_pod, cooled)
            ),
            TapReadings(
                tap["ActivePower"],
                tap["PowerFactor"],
                tap["Voltage"],
                np.stack([tap[f"PhaseCurrent{phase}"] for phase in "ABC"], axis=1),
                power[[place[rack] for rack in self.equipment.taps.rack]],
            ),
            UpsReadings(
                upses["InputPower"], upses["ActivePower"], upses["InputVoltage"], upses["BatteryCharge"],
                upses["BatteryRuntime"],
            ),
            AirReadings(air["FanSpeed"], air["AirFlow"], air["AirDifferentialPressure"]),
            GpuTable(temperature, *(gpu[name] for name in _GPU_POINTS)),
            values(self._feeds),
            float(water[0]) if len(water) else math.nan,
            self._late(now),
        )  # fmt: skip

    def point_of(self, object_id: str, quantity: str) -> int:
        """Return the point of an instrument by the name that the watch has for it; `NO_POINT` where there is none."""
        site = self._site
        if object_id in site.racks:
            return int(self._plant.rack_points(quantity)[site.racks.index(object_id)])
        if object_id in site.cdus:
            points = self.cdus.get(_CDU_QUANTITIES.get(quantity, ""))
            return NO_POINT if points is None else int(points[site.cdus.index(object_id)])
        found = self._plant.registry.select("GPU", quantity, object_id)
        return int(found[0]) if len(found) else NO_POINT

    def _values(self, points: IntArray, now: int) -> ValueArray:
        """Return what instruments say now; NaN where they said it too long ago, or nothing comes of their source any more."""
        measured = self._as_measured(points)
        told = self._plant.values(measured, now - FRESH_MS)
        return np.where(self._silences.of(measured, now), np.nan, told)

    def _of_gpus(self, point_type: str, shape: tuple[int, ...], now: int) -> ValueArray:
        """Return a quantity of all GPUs; NaN where not every GPU with a temperature has it."""
        points = self._plant.gpu_points(point_type)
        if points.shape != shape:
            return np.full(shape, np.nan)
        return self._values(points, now)

    def _late(self, now: int) -> ValueArray:
        """Return by how much the times of the racks' newest readings differ from their arrival, s; NaN where none arrives."""
        points = self._plant.rack_points("RackPower")
        newest = self._plant.latest.at(points)
        apart = (newest.received - newest.observed) / 1000.0
        return np.where((points >= 0) & (newest.received >= now - FRESH_MS), apart, np.nan)

    def _find_taps(self, serves: dict[str, str], points: dict[tuple[str, str], int]) -> Taps:
        ids = sorted(name for name in serves if (name, "ActivePower") in points)[:MOST_OF_A_KIND]
        topology = self._plant.topology()

        def above(tap: str) -> str:
            return next((m for m in topology.served_by(tap) if topology.objects[m].type == "PowerMeter"), "")

        self._meters = {
            kind: np.array([points.get((tap, kind), NO_POINT) for tap in ids], np.int32)
            for kind in _TAP_POINTS
        }
        return Taps(tuple(ids), tuple(serves[t] for t in ids), tuple(above(t) for t in ids))


_CDU_POINTS: dict[str, tuple[str, frozenset[str], str]] = {
    "flow": ("LiquidFlow", frozenset({"Secondary"}), ""),
    "dp": ("LiquidDifferentialPressure", frozenset({"Secondary"}), ""),
    "speed": ("PumpSpeed", frozenset(), "Pump"),
    "filter_dp": ("LiquidDifferentialPressure", frozenset(), "Filter"),
    "supply": ("LiquidTemperature", frozenset({"Secondary", "Supply"}), ""),
    "ret": ("LiquidTemperature", frozenset({"Secondary", "Return"}), ""),
    "primary_flow": ("LiquidFlow", frozenset({"Primary"}), ""),
    "valve": ("ValvePosition", frozenset({"Primary"}), ""),
    "setpoint": ("LiquidTemperature", frozenset({"Secondary", "Supply"}), ""),
    "loop_pressure": ("LiquidPressure", frozenset({"Secondary", "Return"}), ""),
    "water_in": ("LiquidTemperature", frozenset({"Primary", "Inlet"}), ""),
    "water_out": ("LiquidTemperature", frozenset({"Primary", "Outlet"}), ""),
}
_CDU_QUANTITIES = {
    "LiquidFlow": "flow",
    "LiquidTemperature supply": "supply",
    "LiquidTemperature return": "ret",
    "LiquidDifferentialPressure": "dp",
}
"""What the watch calls the instruments of a CDU."""
_WORN_ONLY = ("water_in", "water_out")
"""What only the list of worn parts looks at."""
"""Point type and process area of each reading, and with what another word of the area must begin."""
_UPS_POINTS = ("InputPower", "ActivePower", "InputVoltage", "BatteryCharge", "BatteryRuntime")
_AIR_POINTS = ("FanSpeed", "AirFlow", "AirDifferentialPressure")
_GPU_POINTS = (
    "GpuMemoryTemperature", "GpuPower", "GpuClock", "GpuUtilization", "GpuAvailable", "GpuEccCorrected", "GpuEccUncorrected",
    "GpuNvlinkErrors",
)  # fmt: skip
"""In the order of `GpuTable`, behind the temperature."""
_TAP_POINTS = ("ActivePower", "PowerFactor", "Voltage", "PhaseCurrentA", "PhaseCurrentB", "PhaseCurrentC")


def _note(known: dict[tuple[str, str], int], point: Point, index: int) -> None:
    """Remember a point by object and type: that of the whole object before that of a phase or a part of it."""
    if point.object_type == "Chiller" and "Supply" not in point.process_area:
        return
    key = (point.object_id, point.point_type)
    if not point.phase or key not in known:
        known[key] = index


def _columns(
    known: dict[tuple[str, str], int], point_types: Sequence[str], needed: str
) -> tuple[tuple[str, ...], dict[str, IntArray]]:
    """Return the ids of the objects that have a `needed` point, and the points of all of them by type."""
    ids = tuple(sorted(name for name, kind in known if kind == needed)[:MOST_OF_A_KIND])
    return ids, {
        kind: np.array([known.get((name, kind), NO_POINT) for name in ids], np.int32) for kind in point_types
    }


def _pick(
    points: Sequence[tuple[int, Point]],
    point_type: str,
    area: frozenset[str],
    more: str,
    setpoint: bool = False,
) -> int:
    """Return the point of this type with exactly this process area; with `more`, the first numbered part of it."""
    found = []
    for index, point in points:
        words = set(point.process_area)
        rest = words - area
        part = [word for word in rest if more and word.startswith(more)]
        if (
            point.point_type == point_type
            and point.setpoint == setpoint
            and area <= words
            and (bool(part) if more else not rest)
        ):
            found.append((sorted(words), index))
    return min(found)[1] if found else NO_POINT


def along_rack(reduce: Callable[..., ValueArray], table: ValueArray) -> ValueArray:
    """Reduce over the second axis, NaN where a row has no value."""
    if table.shape[1] == 0:
        return np.full(len(table), np.nan)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # a row without any value: NaN is the answer
        return reduce(table, axis=1)
