"""What the console knows of cooling: loops pod by pod, their CDUs, leaks, water and weather, air units."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from dashboard.readings import ObjectReadings
from dashboard.views import MISSING, STALE_MS, CduState, Now, PointNow
from domain.alert import Severity
from domain.plant.rack import COOLANT_HEAT, WATER_HEAT
from domain.points import IntArray, Quality
from domain.site import PodSite
from storage.plant import PlantView, Reading

LEAKS = ("LeakDetect", "RackLeakDetect", "RackLeakDetectTray", "RackLeakSensorFault")
MOST_LEAKS = 50
MOST_UNITS = 60
"""Air units that are listed, the warmest first."""


@dataclass(frozen=True, slots=True)
class CduLoop:
    """A CDU with both its sides.

    `approach` is the supply over the facility water that comes in, K; `heat` what the coolant brings, `given` what the water
    takes, W; `last` how long a rack of the pod stays within its limits if this CDU trips now, s.
    """

    state: CduState
    setpoint: Reading
    water_in: Reading
    water_out: Reading
    water_flow: Reading
    valve: Reading
    filter: Reading
    approach: Reading
    expected: Reading
    heat: Reading
    given: Reading
    last: Reading


@dataclass(frozen=True, slots=True)
class PodLoop:
    """The loop of a pod: what its racks draw and what its CDUs carry away (W), the warmest supply and return of its racks."""

    pod: str
    cdus: tuple[CduLoop, ...]
    power: Reading
    heat: Reading
    flow: Reading
    supply: Reading
    back: Reading
    severity: Severity | None

    @property
    def carried(self) -> float:
        """Share of the racks' power that leaves in the liquid; NaN where it is not measured."""
        return self.heat.value / self.power.value if self.power.value > 0 else math.nan


@dataclass(frozen=True, slots=True)
class AirUnit:
    """An air handler: air in and out, fan, heat that it removes."""

    id: str
    supply: Reading
    back: Reading
    fan: Reading
    heat: Reading
    severity: Severity | None


@dataclass(frozen=True, slots=True)
class Hall:
    """All of cooling now. `leaks` are the detectors that tell something, `dry` how many tell that all is dry, of `detectors`."""

    now: int
    pods: tuple[PodLoop, ...]
    leaks: tuple[PointNow, ...]
    dry: int
    detectors: int
    water: Reading
    wet_bulb: Reading
    site: Reading
    it: Reading
    air: tuple[AirUnit, ...]


class CoolingDesk:
    """Answers what the cooling page asks. Everything here blocks, and reads only the newest values.

    Parameters
    ----------
    plant, readings, clock
        Where figures come from, and the present, UTC ms.
    cdu
        Returns the state of a CDU of a pod.
    severity
        Returns the worst severity by object.
    """

    def __init__(
        self,
        plant: PlantView,
        readings: ObjectReadings,
        clock: Callable[[], int],
        cdu: Callable[[str, PodSite], CduState],
        severity: Callable[[], Mapping[str, Severity]],
    ) -> None:
        self._plant = plant
        self._readings = readings
        self._clock = clock
        self._cdu = cdu
        self._severity = severity

    def look(self) -> Hall:
        """Return cooling as it is now."""
        severity, registry = self._severity(), self._plant.registry
        leaks, dry, detectors = self._leaks()
        outside = [i for i in registry.select(None, "AirTemperature").tolist()
                   if "Outdoor" in registry[i].process_area]  # fmt: skip
        water = [i for i in registry.select("Chiller", "LiquidTemperature").tolist()
                 if "Supply" in registry[i].process_area]  # fmt: skip
        return Hall(
            self._clock(),
            tuple(self._pod(pod, severity) for pod in self._plant.site.pods),
            leaks,
            dry,
            detectors,
            self._readings.reading(water[0]) if water else MISSING,
            self._readings.reading(outside[0]) if outside else MISSING,
            self._readings.power(self._plant.site.id),
            self._readings.sum(self._plant.rack_points("RackPower")),
            self._air(severity),
        )

    def _pod(self, pod: PodSite, severity: Mapping[str, Severity]) -> PodLoop:
        place = {rack: i for i, rack in enumerate(self._plant.site.racks)}
        rows = np.array([place[rack] for rack in pod.racks], np.int32)

        def of(point_type: str) -> Now:
            return self._readings.now(self._plant.rack_points(point_type)[rows])

        cdus = tuple(self._loop(cdu, pod) for cdu in pod.cdus)
        told = [severity[o] for o in (*pod.cdus, *pod.racks) if o in severity]
        return PodLoop(
            pod.id,
            cdus,
            self._readings.sum(self._plant.rack_points("RackPower")[rows]),
            _sum([c.heat for c in cdus]),
            _sum([c.state.flow for c in cdus]),
            _highest(of("RackLiquidSupplyTemperature")),
            _highest(of("RackLiquidReturnTemperature")),
            max(told, key=lambda s: s.rank, default=None),
        )

    def _loop(self, cdu: str, pod: PodSite) -> CduLoop:
        r, state = self._readings, self._cdu(cdu, pod)
        water_in = r.one(cdu, "LiquidTemperature", "Primary", "Inlet")
        water_out = r.one(cdu, "LiquidTemperature", "Primary", "Outlet")
        water_flow = r.one(cdu, "LiquidFlow", "Primary")
        return CduLoop(
            state,
            r.setpoint(cdu, "LiquidTemperature"),
            water_in,
            water_out,
            water_flow,
            r.one(cdu, "ValvePosition", "Primary"),
            r.one(cdu, "LiquidDifferentialPressure", "Filter1"),
            _of(lambda a, b: a - b, state.supply, water_in),
            r.one(cdu, "ExpectedApproach"),
            _of(lambda f, a, b: COOLANT_HEAT * f * (a - b), state.flow, state.back, state.supply),
            _of(lambda f, a, b: WATER_HEAT * f * (a - b), water_flow, water_out, water_in),
            r.one(cdu, "TimeToLimitOnTrip"),
        )

    def _leaks(self) -> tuple[tuple[PointNow, ...], int, int]:
        """Return what leak detectors tell that is not dry, the newest first; how many are dry, and how many there are."""
        registry, now = self._plant.registry, self._clock()
        points: IntArray = np.concatenate([registry.select(None, kind) for kind in LEAKS])
        told = self._readings.now(points)
        known = ~np.isnan(told.value) & (told.quality != Quality.BAD)
        wet = known & (told.value != 0)
        found = [
            PointNow(
                registry[int(points[i])], float(told.value[i]), int(told.observed[i]), int(told.quality[i])
            )
            for i in np.flatnonzero(wet)
        ]
        found.sort(key=lambda p: (-p.observed, p.point.object_id))
        fresh = known & ~wet & (told.observed > now - STALE_MS)
        return tuple(found[:MOST_LEAKS]), int(fresh.sum()), len(points)

    def _air(self, severity: Mapping[str, Severity]) -> tuple[AirUnit, ...]:
        registry, r = self._plant.registry, self._readings
        points = registry.select("CRAH", "AirTemperature")
        ids = sorted({registry[int(i)].object_id for i in points})
        units = [
            AirUnit(
                name,
                r.one(name, "AirTemperature", "Supply"),
                r.one(name, "AirTemperature", "Return"),
                r.highest(name, "FanSpeed"),
                r.one(name, "CoolingPower"),
                severity.get(name),
            )
            for name in ids
        ]
        # half degrees: rows that are alike must not change places every second
        units.sort(key=lambda u: (-(u.severity.rank if u.severity else -1), -_halves(u.supply.value), u.id))
        return tuple(units[:MOST_UNITS])


def _of(work: Callable[..., float], *parts: Reading) -> Reading:
    """Return what is worked out from readings: as old as the oldest of them, and as good as the worst."""
    missing = sum(math.isnan(p.value) for p in parts)
    if missing:
        return Reading(math.nan, 0, Quality.BAD, missing)
    bad = any(p.quality == Quality.BAD for p in parts)
    quality = Quality.BAD if bad else max(p.quality for p in parts)
    return Reading(work(*(p.value for p in parts)), min(p.observed for p in parts), quality, 0)


def _sum(parts: list[Reading]) -> Reading:
    return _of(lambda *values: float(sum(values)), *parts) if parts else MISSING


def _highest(now: Now) -> Reading:
    good = ~np.isnan(now.value) & (now.quality != Quality.BAD)
    if not good.any():
        return MISSING
    best = int(np.flatnonzero(good)[np.argmax(now.value[good])])
    return Reading(float(now.value[best]), int(now.observed[best]), int(now.quality[best]), 0)


def _halves(celsius: float) -> float:
    return -math.inf if math.isnan(celsius) else round(2 * celsius)
