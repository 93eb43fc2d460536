"""All GPUs of the factory as arrays: what NVML would tell of each."""

from __future__ import annotations

from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray

from domain.plant.conditions import Conditions
from domain.plant.gpu import GpuModel
from domain.plant.lag import toward
from domain.points import ValueArray

MEMORY_BYTES = 284_208 * 1024**2
TRAY_GPUS = 4
MODULE_GPUS = 2
MODULE_REST = 131.0
"""What a module draws beside its GPUs when they are idle, W: its CPU and that one's memory."""
MEMORY_POWER = 36.0, 150.0
"""Power of a GPU's memory, idle and when it is busy all the time, W."""

KNOBS: MappingProxyType[str, float] = MappingProxyType(
    {
        "gpu_ecc_corrected_rate": 0.0,
        "gpu_ecc_uncorrected_rate": 0.0,
        "gpu_nvlink_error_rate": 0.0,
        "gpu_pcie_replay_rate": 0.0,
        "gpu_row_remap_pending": 0.0,
        "gpu_clock_cap": 1.0,
        "gpu_imbalance": 0.0,
    }
)
"""What faults may turn here, beside the plant's conditions, and the healthy values. Rates are events a second."""

# NVML clocksEventReasons
IDLE, POWER_CAP, THERMAL = 0x1, 0x4, 0x40


class GpuFleet:
    """State of G GPUs, rack by rack, tray by tray (4 a tray). All arrays have shape (G,).

    Parameters
    ----------
    model
        Parameters of one GPU.
    racks, gpus_per_rack
        How many.
    seed
        Individual differences of silicon and cold plates.
    spread
        By how much these are larger than usual.
    generation, resistance
        Factors on a GPU's power and on its thermal resistance: other parts than the model's, shape (G,).
    """

    def __init__(
        self,
        model: GpuModel,
        racks: int,
        gpus_per_rack: int,
        seed: int,
        spread: float = 1.0,
        generation: ValueArray | float = 1.0,
        resistance: ValueArray | float = 1.0,
    ) -> None:
        self.model = model
        self.racks = racks
        self.per_rack = gpus_per_rack
        n = racks * gpus_per_rack
        rng = np.random.default_rng([seed, 211])
        self.tdp = np.full(n, model.tdp) * generation
        # power at the same activity, and thermal resistance
        silicon, plate = rng.standard_normal((2, n))
        if spread > 1.0:  # no part is delivered that throttles from the first day
            silicon, plate = np.clip(silicon, -2.5, 2.0), np.clip(plate, -2.5, 1.25)
        self.silicon = (1.0 + 0.015 * spread * silicon) * generation
        self.plate = (1.0 + 0.04 * spread * plate) * resistance
        # coolant that reaches a tray has been warmed by those before it
        self.position = np.tile(np.linspace(0.25, 0.75, gpus_per_rack), racks)
        self.knobs = {name: np.full(n, value) for name, value in KNOBS.items()}
        self.activity = np.zeros(n)
        self.power = np.full(n, model.idle)
        self.die = np.full(n, 35.0)
        self.memory = np.full(n, 38.0)
        self.throttle = np.zeros(n)
        self.clock = np.full(n, model.clock_idle)
        self.energy = np.zeros(n)
        self.utilization = np.zeros(n)
        self.memory_utilization = np.zeros(n)
        self.memory_used = np.full(n, 0.02)
        self.nvlink = np.zeros(n)
        self.pcie = np.zeros(n)
        self.pcie_bytes = np.zeros(n)
        self.counts = {name: np.zeros(n) for name in KNOBS if name.endswith("_rate")}
        self.available = np.ones(n)
        self._wander = np.zeros(n)

    def warm_up(self, rack_activity: ValueArray, coolant_in: ValueArray, coolant_out: ValueArray) -> None:
        """Go straight to the steady state for an activity and coolant, shapes (racks,)."""
        each = self._spread(rack_activity)
        self.activity = each
        self.power = self.model.power(each) * self.silicon
        coolant = self._coolant(coolant_in, coolant_out)
        self.die = self.model.die_temperature(coolant, self.power, self.model.resistance * self.plate)
        self.memory = self.die + self.model.memory_rise * self.power / self.tdp
        self.memory_used = 0.05 + 0.85 * (each > 0.05)
        self._clocks(np.ones_like(each))

    def step(
        self,
        rack_activity: ValueArray,
        coolant_in: ValueArray,
        coolant_out: ValueArray,
        conditions: Conditions,
        powered: NDArray[np.bool_],
        dt: float,
        rng: np.random.Generator,
    ) -> None:
        """Move on by `dt` s: activity, coolant and `powered` by rack, shapes (racks,)."""
        model, knobs = self.model, self.knobs
        n = len(self.power)
        shaken = 0.006 * min(dt, 8.0) ** 0.5 * rng.standard_normal(n)
        self._wander = toward(self._wander, np.zeros(n), dt, 8.0)
        self._wander += shaken
        live = (
            np.repeat(powered, self.per_rack) & (conditions.gpu_available > 0) & (self.die < model.shutdown)
        )
        self.available = conditions.gpu_available * np.repeat(powered, self.per_rack)
        wanted = self._spread(rack_activity) * (1.0 + self._wander - knobs["gpu_imbalance"])
        cap = np.minimum(conditions.gpu_cap, 1.0) * (1.0 - self.throttle)
        self.activity = np.where(live, np.clip(np.minimum(wanted, 1.15 * cap), 0.0, 1.15), 0.0)
        self.power = np.where(self.available > 0, model.power(self.activity) * self.silicon, 0.0)
        self.energy += self.power * dt
        coolant = self._coolant(coolant_in, coolant_out)
        resistance = model.resistance * self.plate * conditions.gpu_resistance_factor
        self.die = toward(self.die, model.die_temperature(coolant, self.power, resistance), dt, model.die_lag)
        hotter = self.die + model.memory_rise * self.power / self.tdp
        self.memory = toward(self.memory, hotter, dt, model.memory_lag)
        self.throttle = model.throttle(self.throttle, self.die, dt)
        filled: ValueArray = np.where(self.activity > 0.05, 0.9, 0.05)
        self.memory_used = toward(self.memory_used, filled, dt, 5.0)
        self._clocks(knobs["gpu_clock_cap"])
        self.nvlink += 9.0e11 * 0.35 * self.activity * dt
        self.pcie = 2.0e10 * self.activity
        self.pcie_bytes += self.pcie * dt
        for name, counter in self.counts.items():
            rate = knobs[name]
            if rate.any():
                counter += rng.poisson(np.maximum(rate, 0.0) * dt)

    def rack_power(self) -> ValueArray:
        """Return the sum of the GPUs' power by rack, W, shape (racks,)."""
        total: ValueArray = self.power.reshape(self.racks, self.per_rack).sum(-1)
        return total

    def module_power(self) -> ValueArray:
        """Return the power of the module that each GPU sits on, W, shape (G,): the same for those that share one."""
        pairs = self.power.reshape(-1, MODULE_GPUS).sum(-1)
        rest = MODULE_REST * (1.0 + 0.5 * self.activity.reshape(-1, MODULE_GPUS).mean(-1))
        return np.repeat(np.where(pairs > 0, pairs + rest, 0.0), MODULE_GPUS)

    def memory_power(self) -> ValueArray:
        """Return the power of each GPU's memory, W, shape (G,)."""
        idle, busy = MEMORY_POWER
        return np.where(self.available > 0, idle + (busy - idle) * self.memory_utilization, 0.0)

    def rows_remapped(self) -> ValueArray:
        """Return memory rows remapped so far: one for each uncorrected error."""
        remapped: ValueArray = np.floor(self.counts["gpu_ecc_uncorrected_rate"])
        return remapped

    def throttle_reasons(self) -> ValueArray:
        """Return NVML's mask of clock event reasons."""
        hot = np.where(self.throttle > 0.05, THERMAL, 0)
        capped = np.where(self.activity > 0.93, POWER_CAP, 0)
        return np.where(self.activity < 0.02, IDLE, hot | capped).astype(float)

    def _clocks(self, cap: ValueArray) -> None:
        self.clock = self.model.clock(np.minimum(self.activity, 1.0), self.throttle) * cap
        busy = np.clip(self.activity * 1.25, 0.0, 1.0)
        self.utilization = np.where(self.activity > 0.02, np.maximum(busy, 0.35), 0.0)
        self.memory_utilization = 0.62 * busy

    def _spread(self, per_rack: ValueArray) -> ValueArray:
        return np.repeat(per_rack, self.per_rack)

    def _coolant(self, coolant_in: ValueArray, coolant_out: ValueArray) -> ValueArray:
        return self._spread(coolant_in) + self.position * self._spread(coolant_out - coolant_in)
