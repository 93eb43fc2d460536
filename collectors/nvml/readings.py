"""The single calls of a sweep: which NVML function gives which point, and in which unit."""

from __future__ import annotations

import ctypes
import math
from collections.abc import Callable
from typing import Any

from collectors.nvml.fields import BLANK
from domain.tray import GPU_FIELDS

Row = list[float | None]
Reading = tuple[str, Callable[[Any], Any], Callable[[Any, Row], None]]

_COLUMN = {name: column for column, name in enumerate(GPU_FIELDS)}
_NOT_SUPPORTED = 3
_MOST_LINKS = 36
_LINK_DOWN = 0
_JOINED = 3  # NVML_GPU_FABRIC_STATE_COMPLETED
_NOT_JOINED = 3
_FABRIC = {0: 0, 1: 0, 2: 2, 3: 1}
"""NVML_GPU_FABRIC_HEALTH_SUMMARY_... to the states of `GpuFabric`; a part that sums nothing up and has joined is healthy."""


def readings(nvml: Any) -> tuple[tuple[Reading, ...], tuple[Reading, ...]]:
    """Return the single calls of every sweep, and those of a slow one: name, call, what it puts into the row."""

    def into(point_type: str, scale: float = 1.0) -> Callable[[Any, Row], None]:
        column = _COLUMN[point_type]

        def put(value: Any, row: Row) -> None:
            if told(value):
                row[column] = value * scale

        return put

    used, total = into("GpuMemoryUsed"), into("GpuMemoryTotal")
    busy, memory_busy = into("GpuUtilization", 0.01), into("GpuMemoryUtilization", 0.01)
    up, down = into("GpuNvlinksUp"), into("GpuNvlinksDown")

    def put_memory(told: Any, row: Row) -> None:
        used(told.used, row)
        total(told.total, row)

    def put_utilization(told: Any, row: Row) -> None:
        busy(told.gpu, row)
        memory_busy(told.memory, row)

    def put_links(told: tuple[int, int], row: Row) -> None:
        up(told[0], row)
        down(told[1], row)

    often: tuple[Reading, ...] = (
        ("temperature", lambda h: nvml.nvmlDeviceGetTemperature(h, 0), into("GpuTemperature")),
        ("margin", lambda h: nvml.nvmlDeviceGetMarginTemperature(h), into("GpuTemperatureMargin")),
        ("utilization", lambda h: nvml.nvmlDeviceGetUtilizationRates(h), put_utilization),
        ("clock", lambda h: nvml.nvmlDeviceGetClockInfo(h, 1), into("GpuClock", 1e6)),
        ("memory clock", lambda h: nvml.nvmlDeviceGetClockInfo(h, 2), into("GpuMemoryClock", 1e6)),
        ("reasons", lambda h: nvml.nvmlDeviceGetCurrentClocksEventReasons(h), into("GpuThrottleReasons")),
        ("memory", lambda h: nvml.nvmlDeviceGetMemoryInfo(h, version=nvml.nvmlMemory_v2), put_memory),
    )
    seldom: tuple[Reading, ...] = (
        ("limit", lambda h: nvml.nvmlDeviceGetEnforcedPowerLimit(h), into("GpuPowerLimit", 1e-3)),
        (
            "set limit",
            lambda h: nvml.nvmlDeviceGetPowerManagementLimit(h),
            into("GpuPowerLimitDefault", 1e-3),
        ),
        ("slowdown", lambda h: nvml.nvmlDeviceGetTemperatureThreshold(h, 1), into("GpuTemperatureLimit")),
        ("shutdown", lambda h: nvml.nvmlDeviceGetTemperatureThreshold(h, 0), into("GpuTemperatureShutdown")),
        (
            "memory max",
            lambda h: nvml.nvmlDeviceGetTemperatureThreshold(h, 2),
            into("GpuMemoryTemperatureLimit"),
        ),
        ("fan", lambda h: nvml.nvmlDeviceGetFanSpeed(h), into("GpuFanSpeed", 0.01)),
        ("PCIe", lambda h: nvml.nvmlDeviceGetCurrPcieLinkGeneration(h), into("GpuPcieGeneration")),
        ("PCIe max", lambda h: nvml.nvmlDeviceGetMaxPcieLinkGeneration(h), into("GpuPcieGenerationMax")),
        ("PCIe width", lambda h: nvml.nvmlDeviceGetCurrPcieLinkWidth(h), into("GpuPcieWidth")),
        ("PCIe width max", lambda h: nvml.nvmlDeviceGetMaxPcieLinkWidth(h), into("GpuPcieWidthMax")),
        ("NVLinks", lambda h: _links(nvml, h), put_links),
        ("fabric", lambda h: _fabric(nvml, h), into("GpuFabric")),
        ("repair", lambda h: _repair(nvml, h), into("GpuRepair")),
    )
    return often, seldom


def told(value: Any) -> bool:
    """Return whether NVML told a number, not that there is none."""
    return value is not None and value not in BLANK and math.isfinite(value)


def _links(nvml: Any, handle: Any) -> tuple[int, int]:
    """Return how many NVLinks are up and how many are down; what is neither is not there."""
    up = down = 0
    for link in range(_MOST_LINKS):
        try:
            state = nvml.nvmlDeviceGetNvLinkState(handle, link)
        except nvml.NVMLError as error:
            if link == 0:
                raise  # this GPU has none
            if error.value != _NOT_SUPPORTED:
                break  # beyond the last
            continue
        if state == _LINK_DOWN:
            down += 1
        else:
            up += 1
    return up, down


def _fabric(nvml: Any, handle: Any) -> int | None:
    """Return the state of `GpuFabric`; None where there is no fabric."""
    info = nvml.c_nvmlGpuFabricInfo_v3_t()
    nvml.nvmlDeviceGetGpuFabricInfoV(handle, ctypes.byref(info))
    if not info.state:
        return None
    if info.state != _JOINED or info.status:
        return _NOT_JOINED
    return _FABRIC.get(info.healthSummary)


def _repair(nvml: Any, handle: Any) -> int:
    """Return the state of `GpuRepair`: 1 where a repair waits for a reset, 2 where the SRAM has passed NVIDIA's threshold."""
    pending = any(nvml.nvmlDeviceGetRepairStatus(handle))
    status = nvml.c_nvmlEccSramErrorStatus_v1_t()
    try:
        nvml.nvmlDeviceGetSramEccErrorStatus(handle, ctypes.byref(status))
    except nvml.NVMLError:  # ECC is off, or the part does not tell
        return int(pending)
    return 2 if status.bThresholdExceeded else int(pending)
