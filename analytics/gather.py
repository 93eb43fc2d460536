"""What the watch over the factory reads, found among the plant's points: racks, CDUs, taps, GPUs."""

from __future__ import annotations

import warnings
from collections import defaultdict
from collections.abc import Callable, Sequence

import numpy as np

from analytics.anomaly.cdus import CduReadings
from analytics.anomaly.racks import RackReadings
from analytics.anomaly.taps import TapReadings
from analytics.anomaly.virtual import coolant_heat
from analytics.anomaly.watch import PlantReadings, Taps, feeds_of
from domain.points import IntArray, Point, ValueArray
from storage.plant import NO_POINT, PlantView

FRESH_MS = 150_000
"""A reading older than this is not used. DSX repeats what does not change every 100 s."""


class PlantReader:
    """Reads the newest values of one plant in the shape that the watch wants.

    Parameters
    ----------
    plant
        Where readings come from.
    """

    def __init__(self, plant: PlantView) -> None:
        self._plant = plant
        self._site = plant.site
        self._version = -1
        self._cdus: dict[str, IntArray] = {}
        self._meters: dict[str, IntArray] = {}
        self._feeds: IntArray = np.zeros(0, np.int32)
        self.taps = Taps((), (), ())
        self.gpu_ids: list[list[str]] = []
        pod = {name: i for i, p in enumerate(self._site.pods) for name in (*p.racks, *p.cdus)}
        self._rack_pod = np.array([pod[r] for r in self._site.racks], np.int32)
        self._cdu_pod = np.array([pod[c] for c in self._site.cdus], np.int32)

    def refresh(self) -> bool:
        """Look for new points; returns whether there were any."""
        version = self._plant.registry.version
        if version == self._version:
            return False
        self._version = version
        of_cdu: dict[str, list[tuple[int, Point]]] = defaultdict(list)
        meters: dict[tuple[str, str], int] = {}
        racks = set(self._site.racks)
        serves: dict[str, str] = {}
        for i, point in enumerate(self._plant.registry):
            if point.setpoint:
                continue
            if point.object_type == "CDU":
                of_cdu[point.object_id].append((i, point))
            elif point.object_type == "PowerMeter" and not point.source.startswith("snmp"):
                # a rack's PDUs over SNMP are another view of what its taps carry
                if len(point.serves) == 1 and point.serves[0] in racks:
                    serves[point.object_id] = point.serves[0]
                meters.setdefault((point.object_id, point.point_type + point.phase), i)
        self._cdus = {
            name: np.array([_pick(of_cdu[cdu], *wanted) for cdu in self._site.cdus], np.int32)
            for name, wanted in _CDU_POINTS.items()
        }
        self._find_taps(serves, meters)
        feeds = feeds_of(self._site)
        self._feeds = np.array([meters.get((feed, "Voltage"), NO_POINT) for feed in feeds], np.int32)
        table = self._plant.gpu_points("GpuTemperature")
        registry = self._plant.registry
        self.gpu_ids = [[registry[i].object_id if i >= 0 else "" for i in row] for row in table.tolist()]
        return True

    def read(self, now: int) -> PlantReadings:
        """Return what is known of the plant at `now`, UTC ms."""
        fresh = now - FRESH_MS

        def values(points: IntArray) -> ValueArray:
            return self._plant.values(points, fresh)

        def racks(point_type: str) -> ValueArray:
            return values(self._plant.rack_points(point_type))

        temperature = values(self._plant.gpu_points("GpuTemperature"))
        gpu_power = values(self._plant.gpu_points("GpuPower"))
        if gpu_power.shape != temperature.shape:
            gpu_power = np.full(temperature.shape, np.nan)
        power = racks("RackPower")
        cdu = {name: values(points) for name, points in self._cdus.items()}
        tap = {name: values(points) for name, points in self._meters.items()}
        place = {rack: i for i, rack in enumerate(self._site.racks)}
        return PlantReadings(
            RackReadings(
                power,
                racks("RackLiquidSupplyTemperature"),
                racks("RackLiquidReturnTemperature"),
                racks("RackLiquidFlow"),
                racks("RackLiquidDifferentialPressure"),
                along_rack(np.nanmax, temperature),
                along_rack(np.nanmean, gpu_power),
            ),
            CduReadings(
                **cdu, rack_heat=coolant_heat(power, cdu["flow"], self._rack_pod, self._cdu_pod)
            ),
            TapReadings(
                tap["ActivePower"],
                tap["PowerFactor"],
                tap["Voltage"],
                np.stack([tap[f"PhaseCurrent{phase}"] for phase in "ABC"], axis=1),
                power[[place[rack] for rack in self.taps.rack]],
            ),
            temperature,
            gpu_power,
            values(self._feeds),
        )  # fmt: skip

    def _find_taps(self, serves: dict[str, str], points: dict[tuple[str, str], int]) -> None:
        ids = sorted(name for name in serves if (name, "ActivePower") in points)
        topology = self._plant.topology()

        def above(tap: str) -> str:
            return next((m for m in topology.served_by(tap) if topology.objects[m].type == "PowerMeter"), "")

        self.taps = Taps(tuple(ids), tuple(serves[t] for t in ids), tuple(above(t) for t in ids))
        self._meters = {
            kind: np.array([points.get((tap, kind), NO_POINT) for tap in ids], np.int32)
            for kind in _TAP_POINTS
        }


_CDU_POINTS: dict[str, tuple[str, frozenset[str], str]] = {
    "flow": ("LiquidFlow", frozenset({"Secondary"}), ""),
    "dp": ("LiquidDifferentialPressure", frozenset({"Secondary"}), ""),
    "speed": ("PumpSpeed", frozenset(), "Pump"),
    "filter_dp": ("LiquidDifferentialPressure", frozenset(), "Filter"),
    "supply": ("LiquidTemperature", frozenset({"Secondary", "Supply"}), ""),
    "ret": ("LiquidTemperature", frozenset({"Secondary", "Return"}), ""),
    "primary_flow": ("LiquidFlow", frozenset({"Primary"}), ""),
}
"""Point type and process area of each reading, and with what another word of the area must begin."""
_TAP_POINTS = ("ActivePower", "PowerFactor", "Voltage", "PhaseCurrentA", "PhaseCurrentB", "PhaseCurrentC")


def _pick(points: Sequence[tuple[int, Point]], point_type: str, area: frozenset[str], more: str) -> int:
    """Return the point of this type with exactly this process area; with `more`, the first numbered part of it."""
    found = []
    for index, point in points:
        words = set(point.process_area)
        rest = words - area
        part = [word for word in rest if more and word.startswith(more)]
        if point.point_type == point_type and area <= words and (bool(part) if more else not rest):
            found.append((sorted(words), index))
    return min(found)[1] if found else NO_POINT


def along_rack(reduce: Callable[..., ValueArray], table: ValueArray) -> ValueArray:
    """Reduce over the second axis, NaN where a row has no value."""
    if table.shape[1] == 0:
        return np.full(len(table), np.nan)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # a row without any value: NaN is the answer
        return reduce(table, axis=1)
