"""What the tray agents tell of the GPUs, for all of them at once: the columns of a tray message, canonical units."""

from __future__ import annotations

import numpy as np

from domain.points import ValueArray
from simulator.factory import Factory
from simulator.gpus import MEMORY_BYTES

GPU_MEMORY_LIMIT = 95.0


def gpu_columns(factory: Factory) -> dict[str, ValueArray]:
    """Return point type to values of all GPUs, shape (G,), rounded as NVML rounds them.

    A GPU that is lost tells nothing: NaN, but for `GpuAvailable`.
    """
    g, model = factory.gpus, factory.plant.model.gpu
    power = np.round(g.power, 3)
    columns = {
        "GpuPower": power,
        "GpuPowerInstant": power,
        "GpuPowerAverage": power,
        "GpuEnergy": np.round(g.energy, 3),
        "GpuModulePower": np.round(g.power * 1.12, 3),
        "GpuPowerLimit": np.full_like(power, model.tdp),
        "GpuPowerLimitDefault": np.full_like(power, model.tdp),
        "GpuTemperature": np.round(g.die),
        "GpuMemoryTemperature": np.round(g.memory),
        "GpuTemperatureLimit": np.full_like(power, model.slowdown),
        "GpuMemoryTemperatureLimit": np.full_like(power, GPU_MEMORY_LIMIT),
        "GpuUtilization": np.round(g.utilization, 2),
        "GpuMemoryUtilization": np.round(g.memory_utilization, 2),
        "GpuMemoryUsed": np.round(g.memory_used * MEMORY_BYTES / 2**20) * 2.0**20,
        "GpuMemoryTotal": np.full_like(power, MEMORY_BYTES),
        "GpuClock": np.round(g.clock / 15e6) * 15e6,
        "GpuMemoryClock": np.full_like(power, model.memory_clock),
        "GpuThrottleReasons": g.throttle_reasons(),
        "GpuEccCorrected": g.counts["gpu_ecc_corrected_rate"].copy(),
        "GpuEccUncorrected": g.counts["gpu_ecc_uncorrected_rate"].copy(),
        "GpuRowsRemapped": g.rows_remapped(),
        "GpuRowRemapPending": (g.knobs["gpu_row_remap_pending"] > 0).astype(float),
        "GpuPcieReplay": g.counts["gpu_pcie_replay_rate"].copy(),
        "GpuPcieReceive": np.round(g.pcie / 1e3) * 1e3,
        "GpuPcieTransmit": np.round(0.6 * g.pcie / 1e3) * 1e3,
        "GpuNvlinkErrors": g.counts["gpu_nvlink_error_rate"].copy(),
        "GpuNvlinkReceive": np.round(g.nvlink / 1024) * 1024.0,
        "GpuNvlinkTransmit": np.round(g.nvlink / 1024) * 1024.0,
    }
    lost = g.available < 0.5
    if lost.any():
        for column in columns.values():
            column[lost] = np.nan
    return columns | {"GpuAvailable": (~lost).astype(float)}
