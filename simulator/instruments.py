"""What instruments do to what they measure: scale and zero errors, noise, coarse steps, lag, values held, gaps, clocks that are off.

On a plant of roughness 0 they only have the noise and the resolution of their channel (`simulator.channels`). Beyond that every
object has a controller of its own: as coarse, as slow and as wrong about the time as that one is.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from domain.plant.layout import PlantLayout
from domain.points import Point, TimeArray, ValueArray

HOLD_MS = 10_000
"""For so long the firmware of some controllers holds a value."""
GAPS = 0.001
"""Share of readings that are missing, at level 1."""
ABSENT = 0.04
"""Share of racks, CDUs and taps that lack an instrument, at level 1."""


@dataclass(frozen=True, slots=True)
class Class:
    """Accuracy of a kind of instrument at level 1; it is twice as far off at level 2.

    Parameters
    ----------
    gain, zero
        Standard deviations of its scale error (a share) and of its zero error, in the published unit.
    coarse
        Steps of the coarse ones at levels 1 and 2, in the published unit; 0 leaves the channel's.
    lag
        Longest time constant, s.
    """

    gain: float = 0.0
    zero: float = 0.0
    coarse: tuple[float, float] = (0.0, 0.0)
    lag: float = 0.0


_POWER = Class(gain=0.004, coarse=(0.1, 1.0))
_CURRENT = Class(gain=0.005, coarse=(0.1, 0.5))
_TEMPERATURE = Class(zero=0.15, coarse=(0.1, 0.5), lag=10.0)
_FLOW = Class(gain=0.015, coarse=(1.0, 2.0), lag=5.0)
_PRESSURE = Class(gain=0.015, coarse=(0.5, 1.0))
_POSITION = Class(zero=1.0, coarse=(0.5, 1.0))

CLASSES = {
    "RackPower": _POWER,
    "ActivePower": _POWER,
    "ApparentPower": _POWER,
    "PowerFactor": Class(zero=0.003, coarse=(0.01, 0.01)),
    "Voltage": Class(gain=0.002, coarse=(1.0, 1.0)),
    "Current": _CURRENT,
    "PhaseCurrent": _CURRENT,
    "RackLiquidSupplyTemperature": _TEMPERATURE,
    "RackLiquidReturnTemperature": _TEMPERATURE,
    "LiquidTemperature": _TEMPERATURE,
    "RackLiquidFlow": _FLOW,
    "LiquidFlow": _FLOW,
    "RackLiquidDifferentialPressure": _PRESSURE,
    "LiquidDifferentialPressure": _PRESSURE,
    "LiquidPressure": _PRESSURE,
    "RackControlValvePosition": _POSITION,
    "ValvePosition": _POSITION,
    "PumpSpeed": Class(gain=0.005, coarse=(0.5, 1.0)),
    "AirTemperature": Class(zero=0.3, coarse=(0.1, 0.5), lag=30.0),
}
"""By point type; what is not here is as the channel says."""
_MAY_LACK = {
    "Rack": ("RackLiquidFlow", "RackLiquidDifferentialPressure", "RackControlValvePosition"),
    "CDU": ("LiquidDifferentialPressure", "ValvePosition"),
    "PowerMeter": ("PhaseCurrent", "PowerFactor"),
}
"""What some objects of a type never had."""


class Instruments:
    """The instruments of one factory.

    Parameters
    ----------
    points
        What they measure.
    layout
        Which rack is in which pod: a pod's controllers share a clock.
    level
        Roughness of the plant.
    seed
        Of the factory.
    """

    def __init__(self, points: Sequence[Point], layout: PlantLayout, level: int, seed: int) -> None:
        self.level = level
        n = len(points)
        self.gain, self.zero, self.lag = np.ones(n), np.zeros(n), np.zeros(n)
        self.late: TimeArray = np.zeros(n, np.int64)
        self.absent: NDArray[np.bool_] = np.zeros(n, bool)
        self.coarse = np.zeros(n)
        self._hold: NDArray[np.bool_] = np.zeros(n, bool)
        self._phase: TimeArray = np.zeros(n, np.int64)
        self._held: ValueArray = np.full(n, np.nan)
        self._held_at: TimeArray = np.full(n, -1, np.int64)
        self._followed: ValueArray = np.full(n, np.nan)
        self._at_ms = -1
        self._of: dict[str, NDArray[np.intp]] = {}
        self._rng = np.random.default_rng([seed, 1021])
        if level:
            self._draw(points, layout, np.random.default_rng([seed, 1019]))

    def _draw(self, points: Sequence[Point], layout: PlantLayout, rng: np.random.Generator) -> None:
        places: dict[str, list[int]] = {}
        for i, point in enumerate(points):
            places.setdefault(point.object_id, []).append(i)
        self._of = {name: np.array(mine) for name, mine in places.items()}
        pod_clock = np.round(2000.0 * self.level * rng.standard_normal(len(layout.pods))).astype(np.int64)
        pods = {
            **dict(zip(layout.racks, layout.rack_pod.tolist(), strict=True)),
            **dict(zip(layout.cdus, layout.cdu_pod.tolist(), strict=True)),
        }
        for name, mine in self._of.items():
            # drawn whether used or not, so that one object's luck is not another's
            coarse, slow, holds, late, wrong, lacks = rng.random(6)
            phase, hours_off = int(rng.integers(HOLD_MS)), float(rng.uniform(20.0, 45.0))
            delay = float(rng.uniform(1.0, 20.0))
            self._hold[mine] = holds < 0.3 * self.level
            self._phase[mine] = phase
            self.late[mine] = -round(1000.0 * self.level * delay) if late < 0.2 * self.level else 0
            if wrong < 0.02 * self.level:
                self.late[mine] -= round(1000.0 * self.level * hours_off)
            if name.partition("-TAP")[0] in pods:
                self.late[mine] += pod_clock[pods[name.partition("-TAP")[0]]]
            without = _MAY_LACK.get(points[mine[0]].object_type, ())
            lacking = without[int(rng.integers(len(without)))] if without else ""
            for i in mine.tolist():
                kind = CLASSES.get(points[i].point_type)
                if kind is None or points[i].setpoint:
                    continue
                if coarse < self.level / 3.0:
                    self.coarse[i] = kind.coarse[self.level - 1]
                self.lag[i] = kind.lag * self.level * slow
                self.absent[i] = lacks < ABSENT * self.level and points[i].point_type == lacking
        self._calibrate(np.arange(len(points)), points, rng)
        self._points = points

    def _calibrate(self, where: NDArray[np.intp], points: Sequence[Point], rng: np.random.Generator) -> None:
        drawn = np.clip(rng.standard_normal((2, len(where))), -2.5, 2.5)
        for k, i in enumerate(where.tolist()):
            kind = CLASSES.get(points[i].point_type)
            if kind is not None and not points[i].setpoint:
                self.gain[i] = 1.0 + kind.gain * self.level * drawn[0, k]
                self.zero[i] = kind.zero * self.level * drawn[1, k]

    def adjust(self, object_id: str, number: int) -> None:
        """Calibrate the instruments of an object; the same `number` of a work gives the same errors."""
        where = self._of.get(object_id)
        if where is not None:
            self._calibrate(where, self._points, np.random.default_rng([number, 1031]))

    def biased(self, value: ValueArray, where: slice) -> ValueArray:
        """Return what averages over long would tell, NaN where there is no instrument; shape (..., points of `where`)."""
        return np.where(self.absent[where], np.nan, value * self.gain[where] + self.zero[where])

    def sense(self, exact: ValueArray, time_ms: int) -> ValueArray:
        """Return what the sensors feel: behind by their lag, off by scale and zero; all shapes (points,)."""
        if not self.level:
            return exact
        dt = (time_ms - self._at_ms) / 1000.0 if self._at_ms >= 0 else np.inf
        self._at_ms = time_ms
        keep = np.where(self.lag > 0, np.exp(-dt / np.maximum(self.lag, 1e-3)), 0.0)
        before = np.where(np.isfinite(self._followed), self._followed, exact)
        self._followed = exact + np.where(np.isfinite(exact), keep * (before - exact), 0.0)
        return self._followed * self.gain + self.zero

    def tell(self, value: ValueArray, time_ms: int) -> None:
        """Let controllers hold values, leave gaps, and blank what has no instrument; in place."""
        if not self.level:
            return
        turn = (time_ms + self._phase) // HOLD_MS
        held = self._hold & (turn == self._held_at) & np.isfinite(self._held)
        value[held] = self._held[held]
        self._held, self._held_at = value.copy(), turn
        value[self.absent | (self._rng.random(len(value)) < GAPS * self.level)] = np.nan
