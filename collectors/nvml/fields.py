"""Which NVML field gives which point, and in which unit. Data only; names are NVML's own.

Sources: NVIDIA's NVML API reference (field identifiers, ``nvmlDeviceGet...``).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from domain.tray import GPU_FIELDS

ALL_LINKS: Final = 0xFFFF_FFFF
"""Scope of an NVLink field over all links."""
MODULE: Final = 1
"""Scope of a power field over the module (NVML_POWER_SCOPE_MODULE)."""
MEMORY: Final = 2
"""Scope of a power field over the GPU's memory (NVML_POWER_SCOPE_MEMORY)."""


@dataclass(frozen=True, slots=True)
class Field:
    """One entry of ``nvmlDeviceGetFieldValues``: id, scope, the point it adds to, and its scale to canonical."""

    id: int
    scope: int
    column: int
    scale: float


def _field(id_: int, point_type: str, scale: float = 1.0, scope: int = 0) -> Field:
    return Field(id_, scope, GPU_FIELDS.index(point_type), scale)


ENERGY = _field(83, "GpuEnergy", 1e-3)  # NVML_FI_DEV_TOTAL_ENERGY_CONSUMPTION, mJ
PCIE_TRANSMIT = _field(197, "GpuPcieTransmit")  # NVML_FI_DEV_PCIE_COUNT_TX_BYTES, a counter
PCIE_RECEIVE = _field(198, "GpuPcieReceive")  # NVML_FI_DEV_PCIE_COUNT_RX_BYTES, a counter
NVLINK_TRANSMIT = _field(
    202, "GpuNvlinkTransmit", 1.0, ALL_LINKS
)  # NVML_FI_DEV_NVLINK_COUNT_XMIT_BYTES, NVLink 5
NVLINK_RECEIVE = _field(
    204, "GpuNvlinkReceive", 1.0, ALL_LINKS
)  # NVML_FI_DEV_NVLINK_COUNT_RCV_BYTES, NVLink 5
SHUTDOWN_MARGIN = _field(
    193, "GpuTemperatureShutdown"
)  # NVML_FI_DEV_TEMPERATURE_SHUTDOWN_TLIMIT, offset of the margin
SLOWDOWN_MARGIN = _field(
    194, "GpuTemperatureLimit"
)  # NVML_FI_DEV_TEMPERATURE_SLOWDOWN_TLIMIT, offset of the margin
INSTEAD: Final = frozenset((NVLINK_TRANSMIT, NVLINK_RECEIVE))
"""What newer parts tell of a quantity: taken where the older field told nothing, never added to it."""

FIELDS: tuple[Field, ...] = (
    ENERGY,
    _field(186, "GpuPowerInstant", 1e-3),  # NVML_FI_DEV_POWER_INSTANT, mW
    _field(185, "GpuPowerAverage", 1e-3),  # NVML_FI_DEV_POWER_AVERAGE, mW
    _field(186, "GpuModulePower", 1e-3, MODULE),
    _field(185, "GpuMemoryPower", 1e-3, MEMORY),  # an average is all that there is of it
    _field(82, "GpuMemoryTemperature"),  # NVML_FI_DEV_MEMORY_TEMP
    _field(3, "GpuEccCorrected"),  # NVML_FI_DEV_ECC_SBE_VOL_TOTAL
    _field(4, "GpuEccUncorrected"),  # NVML_FI_DEV_ECC_DBE_VOL_TOTAL
    _field(142, "GpuRowsRemapped"),  # NVML_FI_DEV_REMAPPED_COR
    _field(143, "GpuRowsRemapped"),  # NVML_FI_DEV_REMAPPED_UNC
    _field(144, "GpuRowRemapPending"),  # NVML_FI_DEV_REMAPPED_PENDING
    _field(94, "GpuPcieReplay"),  # NVML_FI_DEV_PCIE_REPLAY_COUNTER
    PCIE_TRANSMIT,
    PCIE_RECEIVE,
    _field(38, "GpuNvlinkErrors"),  # NVML_FI_DEV_NVLINK_CRC_FLIT_ERROR_COUNT_TOTAL
    _field(45, "GpuNvlinkErrors"),  # NVML_FI_DEV_NVLINK_CRC_DATA_ERROR_COUNT_TOTAL
    _field(52, "GpuNvlinkErrors"),  # NVML_FI_DEV_NVLINK_REPLAY_ERROR_COUNT_TOTAL
    _field(59, "GpuNvlinkErrors"),  # NVML_FI_DEV_NVLINK_RECOVERY_ERROR_COUNT_TOTAL
    _field(208, "GpuNvlinkErrors", 1.0, ALL_LINKS),  # NVML_FI_DEV_NVLINK_COUNT_RCV_ERRORS, NVLink 5
    _field(211, "GpuNvlinkErrors", 1.0, ALL_LINKS),  # NVML_FI_DEV_NVLINK_COUNT_LOCAL_LINK_INTEGRITY_ERRORS
    _field(215, "GpuNvlinkErrors", 1.0, ALL_LINKS),  # NVML_FI_DEV_NVLINK_COUNT_LINK_RECOVERY_EVENTS
    _field(138, "GpuNvlinkTransmit", 1024.0, ALL_LINKS),  # NVML_FI_DEV_NVLINK_THROUGHPUT_DATA_TX, KiB
    _field(139, "GpuNvlinkReceive", 1024.0, ALL_LINKS),  # NVML_FI_DEV_NVLINK_THROUGHPUT_DATA_RX, KiB
    NVLINK_TRANSMIT,
    NVLINK_RECEIVE,
)
"""Asked for in one call per GPU and sweep; a field that a GPU does not support is left out until the next slow sweep."""

SELDOM_FIELDS: tuple[Field, ...] = (
    SHUTDOWN_MARGIN,
    SLOWDOWN_MARGIN,
    _field(190, "GpuModulePowerLimit", 1e-3, MODULE),  # NVML_FI_DEV_POWER_CURRENT_LIMIT, mW
    _field(145, "GpuRowRemapFailed"),  # NVML_FI_DEV_REMAPPED_FAILURE
    _field(230, "GpuRecoveryAction"),  # NVML_FI_DEV_GET_GPU_RECOVERY_ACTION
    _field(251, "GpuPowerSmoothing"),  # NVML_FI_PWR_SMOOTHING_ENABLED; often not permitted
    _field(74, "GpuPowerCapTime", 1e-9),  # NVML_FI_DEV_CLOCKS_EVENT_REASON_SW_POWER_CAP, ns
    _field(269, "GpuThermalSlowdownTime", 1e-9),  # NVML_FI_DEV_CLOCKS_EVENT_REASON_SW_THERM_SLOWDOWN, ns
    _field(270, "GpuThermalSlowdownTime", 1e-9),  # NVML_FI_DEV_CLOCKS_EVENT_REASON_HW_THERM_SLOWDOWN, ns
    _field(271, "GpuPowerBrakeTime", 1e-9),  # NVML_FI_DEV_CLOCKS_EVENT_REASON_HW_POWER_BRAKE_SLOWDOWN, ns
)
"""Asked for in one call per GPU and slow sweep."""
RENUMBERED: Final = range(251, 275)
"""Fields that meant something else before driver 580 (they were moved while that part of NVML was new)."""
SETTLED_DRIVER: Final = 580

VALUE_MEMBER: Final = ("dVal", "uiVal", "ulVal", "ullVal", "sllVal", "siVal", "usVal")
"""Member of the value union, by NVML_VALUE_TYPE_..."""
BLANK: Final = frozenset((0xFFFF_FFFF, 0xFFFF_FFFF_FFFF_FFFF))
"""What NVML puts in place of an unsigned value that it does not have (NVML_VALUE_NOT_AVAILABLE)."""
