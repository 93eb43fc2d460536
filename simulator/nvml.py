# ruff: noqa: N802, N815 - the names are those of NVML
"""A stand-in for nvidia-ml-py's ``pynvml``: one object per tray answers the calls that the tray agent makes, as GB300 does.

Two GPUs share a module and tell its power; temperatures of slowdown and shutdown come as offsets of a margin; memory has
an average power and no other; power smoothing is not permitted; the platform tells chassis, slot, tray and module.

Values are integers in NVML's own units. Only what the agent asks for is here; anything else is an AttributeError, so
that an agent that begins to ask for more does not go unnoticed.
"""

from __future__ import annotations

import ctypes
import uuid
from collections import defaultdict, deque
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from simulator.factory import Factory
from simulator.gpus import MEMORY_BYTES, MODULE_GPUS, TRAY_GPUS
from simulator.nvml_values import SLOWDOWN_MARGIN, GpuReadings

DRIVER, NAME = "580.173.02", "NVIDIA GB300"
LINKS = 18
PCIE_GENERATION, PCIE_WIDTH = 6, 16
INVALID_ARGUMENT, NOT_SUPPORTED, NO_PERMISSION, TIMEOUT, GPU_IS_LOST = 2, 3, 4, 10, 15
_UNSIGNED_LONG_LONG, _SIGNED_INT = 3, 5  # NVML_VALUE_TYPE_...
_RESET_GPU = 1  # NVML_GPU_RECOVERY_ACTION_GPU_RESET
_SWITCH_SLOTS, _SLOTS_BELOW = 9, 10  # the switch trays of an NVL72 lie above its tenth compute tray
_UUIDS = uuid.UUID("6c1b0a4e-5b6d-5d3c-9d58-0d2f6f1f4a11")
_MODULE, _MEMORY = 1, 2
_POWER_SMOOTHING = (251, 0)
_ALL_LINKS = 0xFFFF_FFFF
_PCIE_TRANSMIT, _PCIE_RECEIVE = (197, 0), (198, 0)
_FIELDS = {
    (83, 0): ("GpuEnergy", 1e3),
    (186, 0): ("GpuPowerInstant", 1e3),
    (185, 0): ("GpuPowerAverage", 1e3),
    (186, _MODULE): ("GpuModulePower", 1e3),
    (190, _MODULE): ("GpuModulePowerLimit", 1e3),
    (185, _MEMORY): ("GpuMemoryPower", 1e3),
    (82, 0): ("GpuMemoryTemperature", 1.0),
    (3, 0): ("GpuEccCorrected", 1.0),
    (4, 0): ("GpuEccUncorrected", 1.0),
    (143, 0): ("GpuRowsRemapped", 1.0),
    (144, 0): ("GpuRowRemapPending", 1.0),
    (94, 0): ("GpuPcieReplay", 1.0),
    (208, _ALL_LINKS): ("GpuNvlinkErrors", 1.0),
    (202, _ALL_LINKS): ("GpuNvlinkTransmit", 1.0),
    (204, _ALL_LINKS): ("GpuNvlinkReceive", 1.0),
}
"""Field identifier and scope to the reading behind it, and NVML's unit over the canonical one."""
_NEVER = ((142, 0), (145, 0), (211, _ALL_LINKS), (215, _ALL_LINKS), (74, 0), (269, 0), (270, 0), (271, 0))
"""Counters and flags that stay at 0 here."""

Table = dict[tuple[int, int], list[int]]


class NVMLError(Exception):
    """What every call raises when it fails; the code is in `value`."""

    def __init__(self, value: int) -> None:
        super().__init__(f"NVML error {value}")
        self.value = value


class FieldUnion:
    """The value of a field: unsigned long long, but for the offsets of the margin."""

    __slots__ = ("siVal", "ullVal")

    def __init__(self, number: int) -> None:
        self.ullVal = self.siVal = number


class FieldValue(NamedTuple):
    """An item of ``nvmlDeviceGetFieldValues``."""

    nvmlReturn: int
    valueType: int
    timestamp: int
    value: FieldUnion


class Utilization(NamedTuple):
    """Per cent of the time in which kernels ran, and in which memory was used."""

    gpu: int
    memory: int


class Memory(NamedTuple):
    """Bytes."""

    total: int
    used: int
    free: int


class FabricInfo(ctypes.Structure):
    """How a GPU stands in the NVLink fabric: what the agent looks at of nvmlGpuFabricInfo_v3_t."""

    _fields_ = (("status", ctypes.c_uint), ("state", ctypes.c_uint), ("healthSummary", ctypes.c_uint8))


class SramStatus(ctypes.Structure):
    """Whether the SRAM has passed NVIDIA's threshold, of nvmlEccSramErrorStatus_v1_t."""

    _fields_ = (("bThresholdExceeded", ctypes.c_uint),)


class Event(NamedTuple):
    """An event: the device's handle, its type, and for an XID event its number."""

    device: int
    eventType: int
    eventData: int


class Driver:
    """The readings of all GPUs as NVML tells them; taken once a step of the factory, shared by all trays."""

    def __init__(self, factory: Factory) -> None:
        self.factory = factory
        self._readings = GpuReadings(factory)
        self.events: defaultdict[int, deque[int]] = defaultdict(lambda: deque(maxlen=100))
        self._at = -1
        self.timestamp = 0
        self.fields: Table = {}
        self.lost: frozenset[int] = frozenset()
        self.temperature: list[int] = []
        self.margin: list[int] = []
        self.utilization: list[int] = []
        self.memory_utilization: list[int] = []
        self.clock: list[int] = []
        self.reasons: list[int] = []
        self.memory_used: list[int] = []

    def refresh(self) -> None:
        """Take the readings again if the factory has moved on."""
        factory = self.factory
        if self._at == factory.time_ms:
            return
        self._at = factory.time_ms
        self.timestamp = factory.time_ms * 1000
        while factory.xids:
            event = factory.xids.popleft()
            self.events[event.gpu].append(event.xid)
        told = self._readings.columns()
        self.fields = {key: _whole(told[name] * scale) for key, (name, scale) in _FIELDS.items()}
        self.fields |= dict.fromkeys(_NEVER, [0] * factory.layout.gpus)
        self.fields[_PCIE_RECEIVE] = _whole(factory.gpus.pcie_bytes)
        pending = factory.gpus.knobs["gpu_row_remap_pending"] > 0
        self.fields[230, 0] = _whole(pending * _RESET_GPU)
        self.fields[_PCIE_TRANSMIT] = _whole(0.6 * factory.gpus.pcie_bytes)
        self.lost = frozenset(np.flatnonzero(factory.gpus.available < 0.5).tolist())
        self.temperature = _whole(told["GpuTemperature"])
        self.margin = _whole(told["GpuTemperatureMargin"])
        self.utilization = _whole(told["GpuUtilization"] * 100)
        self.memory_utilization = _whole(told["GpuMemoryUtilization"] * 100)
        self.clock = _whole(told["GpuClock"] / 1e6)
        self.reasons = _whole(told["GpuThrottleReasons"])
        self.memory_used = _whole(told["GpuMemoryUsed"])


def _whole(values: np.ndarray[Any, Any]) -> list[int]:
    whole: list[int] = np.rint(np.nan_to_num(values)).astype(np.int64).tolist()
    return whole


class TrayNvml:
    """NVML as a process on one tray sees it: four GPUs, handles 0 to 3 of its own.

    Parameters
    ----------
    driver
        The readings.
    first
        Index of the tray's first GPU in the factory.
    """

    NVMLError = NVMLError
    nvmlMemory_v2 = 0x2000028
    c_nvmlGpuFabricInfo_v3_t = FabricInfo
    c_nvmlEccSramErrorStatus_v1_t = SramStatus

    def __init__(self, driver: Driver, first: int) -> None:
        self._driver = driver
        self._gpus = range(first, first + TRAY_GPUS)
        model = driver.factory.plant.model.gpu
        highest = model.slowdown - SLOWDOWN_MARGIN
        self._offsets = {(193, 0): round(highest - model.shutdown), (194, 0): round(-SLOWDOWN_MARGIN)}

    def _reach(self, handle: int) -> Driver:
        if handle in self._driver.lost:
            raise NVMLError(GPU_IS_LOST)
        return self._driver

    # At the start, or after a loss.

    def nvmlInit(self) -> None:
        """Load the driver's readings."""
        self._driver.refresh()

    def nvmlShutdown(self) -> None:
        """Nothing to let go of."""

    def nvmlSystemGetDriverVersion(self) -> str:
        """Return the driver's version."""
        return DRIVER

    def nvmlDeviceGetCount(self) -> int:
        """Return how many GPUs the driver reaches."""
        return sum(gpu not in self._driver.lost for gpu in self._gpus)

    def nvmlDeviceGetHandleByIndex(self, index: int) -> int:
        """Return the handle of the index-th GPU that the driver reaches."""
        there = [gpu for gpu in self._gpus if gpu not in self._driver.lost]
        if not 0 <= index < len(there):
            raise NVMLError(INVALID_ARGUMENT)
        return there[index]

    def nvmlDeviceGetUUID(self, handle: int) -> str:
        """Return the GPU's own id."""
        rack, tray, gpu = self._driver.factory.gpu_name(handle)
        return f"GPU-{uuid.uuid5(_UUIDS, f'{self._driver.factory.site.id}/{rack}/{tray}/{gpu}')}"

    def nvmlDeviceGetName(self, handle: int) -> str:
        """Return the product's name."""
        return NAME

    def nvmlDeviceGetSerial(self, handle: int) -> str:
        """Return the serial number of the module that the GPU sits on."""
        return f"165{handle // MODULE_GPUS:010d}"

    def nvmlDeviceGetModuleId(self, handle: int, number: object = None) -> int:
        """Return the GPU's number in its node, from 1."""
        return handle - self._gpus.start + 1

    def nvmlDeviceGetPlatformInfo(self, handle: int, info: Any) -> None:
        """Tell where the GPU sits."""
        layout = self._driver.factory.layout
        rack, place = divmod(handle, layout.gpus_per_rack)
        tray = place // TRAY_GPUS
        told = info._obj
        told.chassisSerialNumber[:13] = f"182{rack:010d}".encode()
        told.trayIndex, told.hostId, told.moduleId = tray, 1, self.nvmlDeviceGetModuleId(handle)
        told.slotNumber = tray + 1 + _SWITCH_SLOTS * (tray >= _SLOTS_BELOW)

    # In each sweep.

    def nvmlDeviceGetFieldValues(self, handle: int, ids: Sequence[tuple[int, int]]) -> list[FieldValue]:
        """Return the fields asked for, each as (id, scope)."""
        driver = self._reach(handle)
        fields, at = driver.fields, driver.timestamp
        return [
            FieldValue(0, _UNSIGNED_LONG_LONG, at, FieldUnion(fields[key][handle]))
            if key in fields
            else self._other(key, at)
            for key in ids
        ]

    def _other(self, key: tuple[int, int], at: int) -> FieldValue:
        if key in self._offsets:
            return FieldValue(0, _SIGNED_INT, at, FieldUnion(self._offsets[key]))
        code = NO_PERMISSION if key == _POWER_SMOOTHING else NOT_SUPPORTED
        return FieldValue(code, _UNSIGNED_LONG_LONG, at, FieldUnion(0))

    def nvmlDeviceGetTemperature(self, handle: int, sensor: int) -> int:
        """Return the die temperature, Cel."""
        return self._reach(handle).temperature[handle]

    def nvmlDeviceGetUtilizationRates(self, handle: int) -> Utilization:
        """Return how busy the GPU and its memory are, per cent."""
        driver = self._reach(handle)
        return Utilization(driver.utilization[handle], driver.memory_utilization[handle])

    def nvmlDeviceGetClockInfo(self, handle: int, clock: int) -> int:
        """Return the clock of the multiprocessors (1) or of the memory (2), MHz."""
        driver = self._reach(handle)
        if clock == 1:
            return driver.clock[handle]
        return round(driver.factory.plant.model.gpu.memory_clock / 1e6)

    def nvmlDeviceGetCurrentClocksEventReasons(self, handle: int) -> int:
        """Return why the clock is what it is, a bit mask."""
        return self._reach(handle).reasons[handle]

    def nvmlDeviceGetMemoryInfo(self, handle: int, version: int | None = None) -> Memory:
        """Return total, used and free memory."""
        used = self._reach(handle).memory_used[handle]
        return Memory(MEMORY_BYTES, used, MEMORY_BYTES - used)

    # In a slow sweep.

    def nvmlDeviceGetEnforcedPowerLimit(self, handle: int) -> int:
        """Return the power limit in force, mW."""
        return round(float(self._reach(handle).factory.gpus.tdp[handle]) * 1e3)

    def nvmlDeviceGetPowerManagementLimit(self, handle: int) -> int:
        """Return the power limit that was set, mW."""
        return self.nvmlDeviceGetEnforcedPowerLimit(handle)

    def nvmlDeviceGetTemperatureThreshold(self, handle: int, threshold: int) -> int:
        """Refuse: the GPU tells a margin, and where slowdown and shutdown lie on it."""
        self._reach(handle)
        raise NVMLError(NOT_SUPPORTED)

    def nvmlDeviceGetMarginTemperature(self, handle: int) -> int:
        """Return how far the GPU is below its highest operating temperature, K."""
        return self._reach(handle).margin[handle]

    def nvmlDeviceGetCurrPcieLinkGeneration(self, handle: int) -> int:
        """Return the generation that the link runs at."""
        self._reach(handle)
        return PCIE_GENERATION

    nvmlDeviceGetMaxPcieLinkGeneration = nvmlDeviceGetCurrPcieLinkGeneration

    def nvmlDeviceGetCurrPcieLinkWidth(self, handle: int) -> int:
        """Return the number of lanes in use."""
        self._reach(handle)
        return PCIE_WIDTH

    nvmlDeviceGetMaxPcieLinkWidth = nvmlDeviceGetCurrPcieLinkWidth

    def nvmlDeviceGetNvLinkState(self, handle: int, link: int) -> int:
        """Return whether an NVLink is up."""
        self._reach(handle)
        if link >= LINKS:
            raise NVMLError(INVALID_ARGUMENT)
        return 1

    def nvmlDeviceGetGpuFabricInfoV(self, handle: int, info: Any) -> None:
        """Tell that the GPU is in the fabric, and healthy there."""
        self._reach(handle)
        info._obj.state, info._obj.healthSummary = 3, 1

    def nvmlDeviceGetRepairStatus(self, handle: int) -> list[int]:
        """Return whether a channel and a TPC wait for their repair."""
        self._reach(handle)
        return [0, 0]

    def nvmlDeviceGetSramEccErrorStatus(self, handle: int, status: Any) -> None:
        """Tell that the SRAM has not passed the threshold."""
        self._reach(handle)
        status._obj.bThresholdExceeded = 0

    def nvmlDeviceGetFanSpeed(self, handle: int) -> int:
        """Refuse: the GPU is cooled by liquid."""
        self._reach(handle)
        raise NVMLError(NOT_SUPPORTED)

    # Error events.

    def nvmlEventSetCreate(self) -> object:
        """Return a new event set."""
        return self

    def nvmlDeviceRegisterEvents(self, handle: int, types: int, events: object) -> None:
        """Every GPU of the tray is in the set already."""

    def nvmlEventSetWait_v2(self, events: object, timeout_ms: int) -> Event:
        """Return the next XID event of the tray; raise the time-out at once where there is none."""
        for gpu in self._gpus:
            waiting = self._driver.events.get(gpu)
            if waiting:
                return Event(gpu, 0x8, waiting.popleft())
        raise NVMLError(TIMEOUT)

    def nvmlEventSetFree(self, events: object) -> None:
        """Nothing to let go of."""
