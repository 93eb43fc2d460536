"""What the drivers tell of the GPUs, for all of them at once: the columns of a tray message, canonical units."""

from __future__ import annotations

import numpy as np

from domain.points import ValueArray
from simulator.factory import Factory
from simulator.falsify import Falsifier
from simulator.faults import members
from simulator.gpus import MEMORY_BYTES, MODULE_GPUS

SMALLER_MODULE, LARGER_MODULE = 2500.0, 2900.0
"""Power limit of a module with GPUs of 1,200 and of 1,400 W (NVIDIA GB200, GB300)."""
SLOWDOWN_MARGIN = 2.0
"""How far above its highest operating temperature a GPU slows down by hardware, K."""
CLOCK_STEP = 15e6


class GpuReadings:
    """Readings of all GPUs of a factory, as NVML rounds them."""

    def __init__(self, factory: Factory) -> None:
        self.factory = factory
        self._falsifier = Falsifier(np.random.default_rng([factory.seed, 907]))

    def told(self) -> dict[str, ValueArray]:
        """Return point type to values, shape (G,); a GPU that is lost tells nothing: NaN, but for `GpuAvailable`."""
        columns = self.columns()
        lost = self.factory.gpus.available < 0.5
        for point in ("GpuModulePower", "GpuModulePowerLimit"):  # as a collector counts it: once a module
            columns[point].reshape(-1, MODULE_GPUS)[:, 1:] = np.nan
        if lost.any():
            for column in columns.values():
                column[lost] = np.nan
        there = np.where(lost, 0.0, 1.0)
        there[~np.repeat(self.factory.live, self.factory.layout.gpus_per_rack)] = np.nan  # not there yet
        return columns | {"GpuAvailable": there}

    def columns(self) -> dict[str, ValueArray]:
        """Return point type to values, shape (G,), of all GPUs, lost or not."""
        g, model = self.factory.gpus, self.factory.plant.model.gpu
        columns = {
            "GpuPowerInstant": g.power.copy(),
            "GpuPowerAverage": g.power.copy(),
            "GpuEnergy": g.energy.copy(),
            "GpuModulePower": g.module_power(),
            "GpuModulePowerLimit": np.where(g.tdp > 1300.0, LARGER_MODULE, SMALLER_MODULE),
            "GpuMemoryPower": g.memory_power(),
            "GpuPowerLimit": g.tdp.copy(),
            "GpuPowerLimitDefault": g.tdp.copy(),
            "GpuTemperature": g.die.copy(),
            "GpuMemoryTemperature": g.memory.copy(),
            "GpuTemperatureLimit": np.full_like(g.power, model.slowdown),
            "GpuTemperatureShutdown": np.full_like(g.power, model.shutdown),
            "GpuTemperatureMargin": model.slowdown - SLOWDOWN_MARGIN - g.die,
            "GpuUtilization": g.utilization.copy(),
            "GpuMemoryUtilization": g.memory_utilization.copy(),
            "GpuMemoryUsed": g.memory_used * MEMORY_BYTES,
            "GpuMemoryTotal": np.full_like(g.power, MEMORY_BYTES),
            "GpuClock": g.clock.copy(),
            "GpuMemoryClock": np.full_like(g.power, model.memory_clock),
            "GpuThrottleReasons": g.throttle_reasons(),
            "GpuEccCorrected": g.counts["gpu_ecc_corrected_rate"].copy(),
            "GpuEccUncorrected": g.counts["gpu_ecc_uncorrected_rate"].copy(),
            "GpuRowsRemapped": g.rows_remapped(),
            "GpuRowRemapPending": (g.knobs["gpu_row_remap_pending"] > 0).astype(float),
            "GpuPcieReplay": g.counts["gpu_pcie_replay_rate"].copy(),
            "GpuPcieReceive": g.pcie.copy(),
            "GpuPcieTransmit": 0.6 * g.pcie,
            "GpuNvlinkErrors": g.counts["gpu_nvlink_error_rate"].copy(),
            "GpuNvlinkReceive": g.nvlink.copy(),
            "GpuNvlinkTransmit": g.nvlink.copy(),
        }
        self._falsify(columns)
        for field, step in _STEPS.items():
            column = columns[field]
            np.divide(column, step, out=column)
            np.rint(column, out=column)
            np.multiply(column, step, out=column)
        # over a second the difference of the energy counter is the power itself
        return {"GpuPower": columns["GpuPowerInstant"].copy()} | columns

    def _falsify(self, columns: dict[str, ValueArray]) -> None:
        book = self.factory.faults
        for fault, effect, amount in book.falsified:
            if effect.point in columns:
                where = members(self.factory.layout, book.objects, fault.target, "gpu")
                self._falsifier.apply(fault, effect, amount, columns[effect.point], where.tolist())


_STEPS = {
    "GpuPowerInstant": 1e-3,
    "GpuPowerAverage": 1e-3,
    "GpuEnergy": 1e-3,
    "GpuModulePower": 1e-3,
    "GpuMemoryPower": 1e-3,
    "GpuTemperature": 1.0,
    "GpuTemperatureMargin": 1.0,
    "GpuMemoryTemperature": 1.0,
    "GpuUtilization": 0.01,
    "GpuMemoryUtilization": 0.01,
    "GpuMemoryUsed": 2.0**20,
    "GpuClock": CLOCK_STEP,
    "GpuPcieReceive": 1e3,
    "GpuPcieTransmit": 1e3,
    "GpuNvlinkReceive": 1024.0,
    "GpuNvlinkTransmit": 1024.0,
}
"""The smallest step in which NVML tells each field."""
