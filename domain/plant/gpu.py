"""A GPU: power from activity, die temperature from power and coolant, throttling."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from domain.plant.lag import toward
from domain.points import ValueArray


@dataclass(frozen=True, slots=True)
class GpuModel:
    """Parameters of a GPU and its cold plate.

    Parameters
    ----------
    tdp, idle_share
        Power at full activity, W, and the share of it that is drawn when idle.
    resistance
        Thermal resistance from coolant to die, K/W.
    die_lag, memory_lag
        Time constants of the die and of the memory stacks, s.
    memory_rise
        How much hotter the memory is than the die at full power, K.
    clock_idle, clock_full, clock_boost
        Streaming multiprocessor clock idle, at full power, and when lightly loaded, Hz.
    slowdown, shutdown
        Die temperatures at which it throttles and at which it switches off, Cel.
    """

    tdp: float = 1200.0
    idle_share: float = 0.15
    resistance: float = 0.028
    die_lag: float = 6.0
    memory_lag: float = 20.0
    memory_rise: float = 9.0
    clock_idle: float = 345e6
    clock_full: float = 1755e6
    clock_boost: float = 1965e6
    memory_clock: float = 3996e6
    slowdown: float = 87.0
    shutdown: float = 95.0

    @property
    def idle(self) -> float:
        """Power of an idle GPU, W."""
        return self.tdp * self.idle_share

    def power(self, activity: ValueArray) -> ValueArray:
        """Return electric power, W, for an activity of 0 (idle) to 1 (full)."""
        return self.idle + (self.tdp - self.idle) * activity

    def die_temperature(
        self, coolant: ValueArray, power: ValueArray, resistance: ValueArray | float
    ) -> ValueArray:
        """Return the steady die temperature, Cel: coolant at the plate plus resistance times power."""
        return coolant + resistance * power

    def clock(self, activity: ValueArray, throttle: ValueArray) -> ValueArray:
        """Return the clock, Hz: boost when lightly loaded, less near the power limit and when throttled."""
        busy = self.clock_boost - (self.clock_boost - self.clock_full) * activity
        return np.where(activity > 0.02, busy * (1.0 - 0.6 * throttle), self.clock_idle)

    def throttle(self, throttle: ValueArray, die: ValueArray, dt: float) -> ValueArray:
        """Return the share of activity that is withheld to stay under the slowdown temperature, 0 to 0.9."""
        wanted = np.clip((die - self.slowdown + 2.0) / 4.0, 0.0, 0.9)
        return toward(throttle, wanted, dt, 3.0)
