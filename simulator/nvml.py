# ruff: noqa: N802, N815 - the names are those of NVML
"""A stand-in for nvidia-ml-py's ``pynvml``: one object per tray answers the calls that the tray agent makes.

Values are integers in NVML's own units. Only what the agent asks for is here; anything else is an AttributeError, so
that an agent that begins to ask for more does not go unnoticed.
"""

from __future__ import annotations

import uuid
from collections import defaultdict, deque
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from simulator.factory import Factory
from simulator.gpus import MEMORY_BYTES, TRAY_GPUS
from simulator.nvml_values import GPU_MEMORY_LIMIT

DRIVER, NAME = "580.95.05", "NVIDIA GB300"
NOT_SUPPORTED, TIMEOUT, GPU_IS_LOST, INVALID_ARGUMENT = 3, 10, 15, 2
_UNSIGNED_LONG_LONG = 3  # NVML_VALUE_TYPE_UNSIGNED_LONG_LONG
_UUIDS = uuid.UUID("6c1b0a4e-5b6d-5d3c-9d58-0d2f6f1f4a11")
_MODULE = 1

Table = dict[tuple[int, int], list[int]]


class NVMLError(Exception):
    """What every call raises when it fails; the code is in `value`."""

    def __init__(self, value: int) -> None:
        super().__init__(f"NVML error {value}")
        self.value = value


class FieldUnion:
    """The value of a field; all fields here are unsigned long long."""

    __slots__ = ("ullVal",)

    def __init__(self, number: int) -> None:
        self.ullVal = number


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


class Event(NamedTuple):
    """An event: the device's handle, its type, and for an XID event its number."""

    device: int
    eventType: int
    eventData: int


class Driver:
    """The readings of all GPUs as NVML tells them; taken once a step of the factory, shared by all trays."""

    def __init__(self, factory: Factory) -> None:
        self.factory = factory
        self.events: defaultdict[int, deque[int]] = defaultdict(lambda: deque(maxlen=100))
        self._at = -1
        self.timestamp = 0
        self.fields: Table = {}
        self.lost: frozenset[int] = frozenset()
        self.temperature: list[int] = []
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
        g = factory.gpus
        while factory.xids:
            event = factory.xids.popleft()
            self.events[event.gpu].append(event.xid)
        power = _whole(g.power * 1e3)
        zero = [0] * len(power)
        sent = _whole(g.nvlink / 1024)
        self.fields = {
            (83, 0): _whole(g.energy * 1e3),
            (186, 0): power,
            (185, 0): power,
            (186, _MODULE): _whole(g.power * 1.12e3),
            (82, 0): _whole(g.memory),
            (3, 0): _whole(g.counts["gpu_ecc_corrected_rate"]),
            (4, 0): _whole(g.counts["gpu_ecc_uncorrected_rate"]),
            (142, 0): zero,
            (143, 0): _whole(g.rows_remapped()),
            (144, 0): _whole(g.knobs["gpu_row_remap_pending"] > 0),
            (94, 0): _whole(g.counts["gpu_pcie_replay_rate"]),
            (197, 0): _whole(0.6 * g.pcie_bytes),
            (198, 0): _whole(g.pcie_bytes),
            (38, 0): _whole(g.counts["gpu_nvlink_error_rate"]),
            (45, 0): zero,
            (52, 0): zero,
            (59, 0): zero,
            (138, 0xFFFF_FFFF): sent,
            (139, 0xFFFF_FFFF): sent,
        }
        self.lost = frozenset(np.flatnonzero(g.available < 0.5).tolist())
        self.temperature = _whole(g.die)
        self.utilization = _whole(g.utilization * 100)
        self.memory_utilization = _whole(g.memory_utilization * 100)
        self.clock = _whole(np.round(g.clock / 15e6) * 15)
        self.reasons = _whole(g.throttle_reasons())
        self.memory_used = _whole(g.memory_used * MEMORY_BYTES)


def _whole(values: np.ndarray[Any, Any]) -> list[int]:
    whole: list[int] = np.rint(values).astype(np.int64).tolist()
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

    def __init__(self, driver: Driver, first: int) -> None:
        self._driver = driver
        self._gpus = range(first, first + TRAY_GPUS)

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

    # In each sweep.

    def nvmlDeviceGetFieldValues(self, handle: int, ids: Sequence[tuple[int, int]]) -> list[FieldValue]:
        """Return the fields asked for, each as (id, scope)."""
        driver = self._reach(handle)
        fields, at = driver.fields, driver.timestamp
        return [
            FieldValue(0, _UNSIGNED_LONG_LONG, at, FieldUnion(fields[key][handle]))
            if key in fields
            else FieldValue(NOT_SUPPORTED, _UNSIGNED_LONG_LONG, at, FieldUnion(0))
            for key in ids
        ]

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
        return round(self._reach(handle).factory.plant.model.gpu.tdp * 1e3)

    def nvmlDeviceGetPowerManagementLimit(self, handle: int) -> int:
        """Return the power limit that was set, mW."""
        return self.nvmlDeviceGetEnforcedPowerLimit(handle)

    def nvmlDeviceGetTemperatureThreshold(self, handle: int, threshold: int) -> int:
        """Return the temperature at which the GPU (1) or its memory (2) makes it slow down, Cel."""
        model = self._reach(handle).factory.plant.model.gpu
        return round(model.slowdown if threshold == 1 else GPU_MEMORY_LIMIT)

    def nvmlDeviceGetMarginTemperature(self, handle: int) -> int:
        """Return how far the next slowdown is, K."""
        driver = self._reach(handle)
        return round(driver.factory.plant.model.gpu.slowdown) - driver.temperature[handle]

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
