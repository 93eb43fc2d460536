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

FIELDS: tuple[Field, ...] = (
    ENERGY,
    _field(186, "GpuPowerInstant", 1e-3),  # NVML_FI_DEV_POWER_INSTANT, mW
    _field(185, "GpuPowerAverage", 1e-3),  # NVML_FI_DEV_POWER_AVERAGE, mW
    _field(186, "GpuModulePower", 1e-3, MODULE),
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
    _field(138, "GpuNvlinkTransmit", 1024.0, ALL_LINKS),  # NVML_FI_DEV_NVLINK_THROUGHPUT_DATA_TX, KiB
    _field(139, "GpuNvlinkReceive", 1024.0, ALL_LINKS),  # NVML_FI_DEV_NVLINK_THROUGHPUT_DATA_RX, KiB
)
"""Asked for in one call per GPU and sweep; a field that a GPU does not support is left out until the next slow sweep."""

VALUE_MEMBER: Final = ("dVal", "uiVal", "ulVal", "ullVal", "sllVal", "siVal", "usVal")
"""Member of the value union, by NVML_VALUE_TYPE_..."""
BLANK: Final = frozenset((0xFFFF_FFFF, 0xFFFF_FFFF_FFFF_FFFF))
"""What NVML puts in place of an unsigned value that it does not have (NVML_VALUE_NOT_AVAILABLE)."""
