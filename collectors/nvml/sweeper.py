"""One sweep over the GPUs of a tray. Read-only: nothing is ever set through NVML.

The `nvml` object is nvidia-ml-py's module ``pynvml``, or anything that answers the same calls. A sweep makes, per GPU:

- ``nvmlDeviceGetFieldValues(handle, [(field id, scope), ...])``: an item per field with ``nvmlReturn``, ``valueType``,
  ``timestamp`` (us; 0 if unknown) and ``value`` (a union: ``ulVal``, ``ullVal``, ``uiVal``, ``dVal``, ...);
- ``nvmlDeviceGetTemperature(handle, 0)``, ``nvmlDeviceGetMarginTemperature(handle)`` (K), ``nvmlDeviceGetUtilizationRates(handle)`` (``.gpu``, ``.memory``, percent),
  ``nvmlDeviceGetClockInfo(handle, 1)`` and ``(handle, 2)`` (MHz), ``nvmlDeviceGetCurrentClocksEventReasons(handle)``,
  ``nvmlDeviceGetMemoryInfo(handle, version=nvml.nvmlMemory_v2)`` (``.used``, ``.total``);
- every `slow_every` sweeps also a second ``nvmlDeviceGetFieldValues``, and the calls of `collectors.nvml.readings` for
  limits, links and health;

per tray ``nvmlEventSetWait_v2(events, 0)`` where events are polled; and at the start or after a loss ``nvmlInit()``,
``nvmlShutdown()``, ``nvmlSystemGetDriverVersion()``, ``nvmlDeviceGetCount()``, ``nvmlDeviceGetHandleByIndex(i)``,
``nvmlDeviceGetUUID(handle)``, ``nvmlDeviceGetName(handle)``, those of `collectors.nvml.placement`, ``nvmlEventSetCreate()``,
``nvmlDeviceRegisterEvents(handle, types, events)``, ``nvmlEventSetFree(events)``. Errors are ``nvml.NVMLError`` with the
code in ``.value``. A call that fails is not made again until the next slow sweep, but for the first; where that one fails,
``nvmlDeviceGetTotalEnergyConsumption(handle)`` (mJ) and ``nvmlDeviceGetPowerUsage(handle)`` (mW) are asked instead. A GPU is
lost when none of its calls answers.
"""

from __future__ import annotations

import contextlib
import ctypes
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from collectors.nvml.fields import (
    ENERGY,
    FIELDS,
    INSTEAD,
    PCIE_RECEIVE,
    PCIE_TRANSMIT,
    RENUMBERED,
    SELDOM_FIELDS,
    SETTLED_DRIVER,
    SHUTDOWN_MARGIN,
    SLOWDOWN_MARGIN,
    VALUE_MEMBER,
    Field,
)
from collectors.nvml.placement import NOWHERE, Place, placed, slots_by_place
from collectors.nvml.readings import Reading, Row, readings, told
from domain.possible import possible
from domain.tray import GPU_FIELDS, XidEvent

# NVML return codes (nvmlReturn_t).
_UNINITIALIZED, _DRIVER_NOT_LOADED, _LIBRARY_NOT_FOUND, _MISMATCH = 1, 9, 12, 18
_GPU_IS_LOST, _RESET_REQUIRED, _GPU_NOT_FOUND, _UNKNOWN = 15, 16, 28, 999
_DRIVER_GONE = frozenset((_UNINITIALIZED, _DRIVER_NOT_LOADED, _LIBRARY_NOT_FOUND, _MISMATCH))
_GPU_GONE = frozenset((_GPU_IS_LOST, _RESET_REQUIRED, _GPU_NOT_FOUND, _UNKNOWN)) | _DRIVER_GONE

_WORDS = {3: "not supported", 4: "not permitted"}

_COLUMN = {name: column for column, name in enumerate(GPU_FIELDS)}
_POWER, _INSTANT, _AVERAGE = _COLUMN["GpuPower"], _COLUMN["GpuPowerInstant"], _COLUMN["GpuPowerAverage"]
_TEMPERATURE, _TEMPERATURE_LIMIT = _COLUMN["GpuTemperature"], _COLUMN["GpuTemperatureLimit"]
_MARGIN = _COLUMN["GpuTemperatureMargin"]
_AVAILABLE = _COLUMN["GpuAvailable"]
_OF_MODULE = (_COLUMN["GpuModulePower"], _COLUMN["GpuModulePowerLimit"])
_LOST: tuple[float | None, ...] = tuple(0.0 if c == _AVAILABLE else None for c in range(len(GPU_FIELDS)))
_MIN_PERIOD_S = 0.05  # energy counters move in steps; over less than this their difference tells nothing
_STILL_S = 10.0  # an energy counter that has not moved for so long is broken: its next step is no power
_LOW_POWER, _HIGH_POWER = possible("GPU", "GpuPower")
_ALWAYS = frozenset(("fields", "energy", "power"))  # calls that are made in every sweep, failed or not
_REOPEN_EVERY = 5  # sweeps between attempts while the driver is gone
_MOST_EVENTS = 100  # taken from the library at a time
_MOST_GPUS = 64
_LAST_XID = 0xFFFF_FFFF
_XID_EVENT = 0x8  # nvmlEventTypeXidCriticalError


@dataclass(frozen=True, slots=True)
class Count:
    """A counter as it was: its value, when the GPU and when we say that it was so, s; `still` while it should grow and does not."""

    value: float
    at: float
    seen: float
    still: bool = False


@dataclass(slots=True)
class Slot:
    """A place for a GPU in the tray; it stays where it is when its GPU is lost or changed."""

    uuid: str = ""
    name: str = ""
    handle: Any = None
    last: Any = None  # the handle that it had before it was lost
    place: Place = NOWHERE
    fields: tuple[Field, ...] = FIELDS
    faults: dict[str, str] = field(default_factory=dict)
    """Calls that failed, and fields that are not there: why. Asked again in the next slow sweep."""
    counters: dict[int, Count] = field(default_factory=dict)


class Sweeper:
    """Reads all GPUs of a tray.

    Parameters
    ----------
    nvml
        ``pynvml``, or an object that answers the same calls.
    gpus
        Slots that the tray has at least.
    slow_every
        Sweeps between two reads of limits and the like, and between two looks for lost GPUs.
    poll_events
        Whether XID events are fetched in each sweep without waiting. Off where `collectors.nvml.events` waits for them.
    clock
        Monotonic seconds, for counters whose readings carry no time of their own.
    """

    def __init__(
        self,
        nvml: Any,
        gpus: int = 0,
        slow_every: int = 60,
        poll_events: bool = True,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.nvml = nvml
        self.slots = [Slot() for _ in range(gpus)]
        self.driver = ""
        self.events: deque[XidEvent] = deque(maxlen=1000)
        self.lost = 0
        self.module_power: float | None = None
        """Power of all modules in the last sweep, each counted once, W; None where one of them tells none."""
        self._slow_every = slow_every
        self._poll_events = poll_events
        self._clock = clock
        self._sweeps = 0
        self._open = False
        self._event_set: Any = None
        self._event_lock = threading.Lock()
        self._error = nvml.NVMLError
        self._often, self._seldom = readings(nvml)
        self._seldom_fields = SELDOM_FIELDS
        self._told_at: dict[int, int] = {}  # slot -> time of its newest event

    def close(self) -> None:
        """Let go of the library."""
        self._release_events()
        if self._open:
            self._open = False
            with contextlib.suppress(self._error):
                self.nvml.nvmlShutdown()

    def sweep(self, now: int) -> Row:
        """Read every GPU; `now` (UTC ms) is the time of the sweep.

        Returns
        -------
        list
            ``len(slots) * len(GPU_FIELDS)`` values in canonical units, None where there is no reading. Never raises for a
            GPU or a driver that is gone: its slot is all None but for GpuAvailable 0.
        """
        slow = self._sweeps % self._slow_every == 0
        self._sweeps += 1
        if not self._open:
            if (self._sweeps - 1) % _REOPEN_EVERY == 0:
                self.discover()
        elif slow and (any(s.handle is None for s in self.slots) or self._count_changed()):
            self.discover()
        rows = [self._read(slot, slow) for slot in self.slots]
        self._count_modules_once(rows)
        values: Row = [value for row in rows for value in row]
        if self._poll_events and self._event_set is not None:
            self.fetch_events(now, wait_ms=0)
        return values

    def discover(self) -> None:
        """Open the library anew and give every GPU found its slot: the one it had, else the first free one."""
        self.close()
        nvml = self.nvml
        try:
            nvml.nvmlInit()
            self._open = True
            self.driver = str(nvml.nvmlSystemGetDriverVersion())
            count = nvml.nvmlDeviceGetCount()
        except self._error:
            for slot in self.slots:
                slot.handle = None
            return
        major = self.driver.partition(".")[0]
        settled = not major.isdigit() or int(major) >= SETTLED_DRIVER
        self._seldom_fields = tuple(f for f in SELDOM_FIELDS if settled or f.id not in RENUMBERED)
        found: dict[str, Any] = {}
        for index in range(min(count, _MOST_GPUS)):
            try:
                handle = nvml.nvmlDeviceGetHandleByIndex(index)
                found[str(nvml.nvmlDeviceGetUUID(handle))] = handle
            except self._error:
                continue
        places = {uuid: placed(nvml, handle) for uuid, handle in found.items()}
        wanted = dict(zip(places, slots_by_place(list(places.values())) or [], strict=False))
        for slot in self.slots:
            slot.handle = found.pop(slot.uuid, None)
            if slot.handle is not None:
                slot.last = slot.handle
        for uuid, handle in found.items():
            self._fill(uuid, handle, places[uuid], wanted.get(uuid))
        self._watch_events()

    def fetch_events(self, now: int | None, wait_ms: int) -> None:
        """Move XID events from the library into `events`; wait up to `wait_ms` for the first."""
        with self._event_lock:
            for _ in range(_MOST_EVENTS):  # a GPU in agony tells without end
                if self._event_set is None:
                    return
                try:
                    event = self.nvml.nvmlEventSetWait_v2(self._event_set, wait_ms)
                except self._error:  # mostly: none within the time
                    return
                wait_ms = 0
                at = time.time_ns() // 1_000_000 if now is None else now
                if not 0 <= event.eventData <= _LAST_XID:
                    continue
                for gpu, slot in enumerate(self.slots):
                    # a GPU that fell off the bus is lost before its XID is read
                    if slot.last is not None and _address(slot.last) == _address(event.device):
                        # the same XID twice within a millisecond is two events
                        at = self._told_at[gpu] = max(at, self._told_at.get(gpu, 0) + 1)
                        self.events.append(XidEvent(gpu, int(event.eventData), at))

    def _fill(self, uuid: str, handle: Any, place: Place, wanted: int | None) -> None:
        slot = None
        if wanted is not None:
            while len(self.slots) <= wanted:
                self.slots.append(Slot())
            if self.slots[wanted].handle is None:
                slot = self.slots[wanted]
        if slot is None:
            slot = next((s for s in self.slots if not s.uuid), None)
        if slot is None:
            slot = next((s for s in self.slots if s.handle is None), None)
        if slot is None:
            slot = Slot()
            self.slots.append(slot)
        try:
            name = str(self.nvml.nvmlDeviceGetName(handle))
        except self._error:
            name = ""
        slot.uuid, slot.name, slot.handle, slot.last, slot.place = uuid, name, handle, handle, place
        slot.counters.clear()

    def _count_modules_once(self, rows: Sequence[Sequence[float | None]]) -> None:
        """Leave what GPUs tell of the module that they share to the first of them; add the modules up."""
        power: dict[str, float | None] = {}
        for gpu, (slot, row) in enumerate(zip(self.slots, rows, strict=True)):
            if not slot.uuid:
                continue  # nothing was ever there: it is its partner's module, if any
            module = slot.place.serial or str(gpu)
            for column in _OF_MODULE:
                if isinstance(row, list) and row[column] is not None and power.get(module) is not None:
                    row[column] = None
            if power.get(module) is None:
                power[module] = row[_OF_MODULE[0]]
        known = [watts for watts in power.values() if watts is not None]
        self.module_power = sum(known) if known and len(known) == len(power) else None

    def _count_changed(self) -> bool:
        try:
            return bool(self.nvml.nvmlDeviceGetCount() != len(self.slots))
        except self._error:
            return True

    def _read(self, slot: Slot, slow: bool) -> Sequence[float | None]:
        if slot.handle is None:
            return _LOST
        if slow:
            slot.faults.clear()
            slot.fields = FIELDS
        row: Row = [None] * len(GPU_FIELDS)
        codes: list[int] = []
        answered = self._call(
            slot, "fields", lambda h: self._fields(slot.fields, h), self._put_fields(slot), row, codes
        )
        calls = (*self._often, *self._seldom, self._seldom_reading(slot)) if slow else self._often
        for name, call, put in (*calls, *self._instead(slot)) if "fields" in slot.faults else calls:
            if name not in slot.faults or name in _ALWAYS:
                answered |= self._call(slot, name, call, put, row, codes)
        if not answered and any(code in _GPU_GONE for code in codes):
            self._lose(slot, codes)
            return _LOST
        # By preference: over a sweep from the energy counter; NVML's own power figures sample.
        if row[_POWER] is None:
            row[_POWER] = row[_INSTANT] if row[_INSTANT] is not None else row[_AVERAGE]
        if slow and row[_TEMPERATURE_LIMIT] is None:
            row[_TEMPERATURE_LIMIT] = _above(row, 0.0)
        row[_AVAILABLE] = 1.0
        return row

    def _call(
        self,
        slot: Slot,
        name: str,
        call: Callable[[Any], Any],
        put: Callable[[Any, Row], None],
        row: Row,
        codes: list[int],
    ) -> bool:
        """Make one call and put what it tells into the row; return whether it answered. No call fails the others."""
        try:
            put(call(slot.handle), row)
        except self._error as error:
            codes.append(error.value)
            slot.faults[name] = str(error)[:200]
            # "not supported" is an answer, too
            return error.value not in _GPU_GONE
        except Exception as error:  # what the library says is none of what it documents
            slot.faults[name] = f"{type(error).__name__}: {str(error)[:150]}"
            return False
        if name in _ALWAYS:
            slot.faults.pop(name, None)
        return True

    def _fields(self, fields: Sequence[Field], handle: Any) -> Any:
        return self.nvml.nvmlDeviceGetFieldValues(handle, [(f.id, f.scope) for f in fields])

    def _put_fields(self, slot: Slot) -> Callable[[Any, Row], None]:
        def put(answer: Any, row: Row) -> None:
            slot.fields = self._put_each(slot, slot.fields, answer, row)

        return put

    def _seldom_reading(self, slot: Slot) -> Reading:
        fields = self._seldom_fields

        def put(answer: Any, row: Row) -> None:
            self._put_each(slot, fields, answer, row)

        return "seldom fields", lambda h: self._fields(fields, h), put

    def _put_each(self, slot: Slot, fields: Sequence[Field], answer: Any, row: Row) -> tuple[Field, ...]:
        """Put what the fields tell into the row; return those that the GPU has."""
        supported = []
        for f, item in zip(fields, answer, strict=True):
            if item.nvmlReturn:
                slot.faults[f"field {f.id}"] = f"{GPU_FIELDS[f.column]}: {_said(item.nvmlReturn)}"
                continue
            supported.append(f)
            if not 0 <= item.valueType < len(VALUE_MEMBER):
                slot.faults[f"field {f.id}"] = f"{GPU_FIELDS[f.column]}: unknown type {item.valueType}"
                continue
            value = getattr(item.value, VALUE_MEMBER[item.valueType])
            if told(value):
                self._put_field(slot, f, value * f.scale, item.timestamp, row)
        return tuple(supported)

    def _put_field(self, slot: Slot, f: Field, value: float, timestamp_us: int, row: Row) -> None:
        if f is ENERGY:
            row[_POWER] = self._power(slot, value, timestamp_us)
        elif f is PCIE_RECEIVE or f is PCIE_TRANSMIT:
            row[f.column] = self._rate(slot, f, value, timestamp_us)
            return
        elif f is SHUTDOWN_MARGIN or f is SLOWDOWN_MARGIN:
            if row[f.column] is None:
                row[f.column] = _above(row, value)
            return
        before = row[f.column]
        if before is not None and f in INSTEAD:
            return
        row[f.column] = value if before is None else before + value

    def _instead(self, slot: Slot) -> tuple[Reading, ...]:
        """Return the calls that tell power and energy where the one for all fields fails."""

        def put_energy(energy: Any, row: Row) -> None:
            if told(energy):
                self._put_field(slot, ENERGY, energy * ENERGY.scale, 0, row)

        def put_power(power: Any, row: Row) -> None:
            if told(power):
                row[_AVERAGE] = power * 1e-3

        return (
            ("energy", lambda h: self.nvml.nvmlDeviceGetTotalEnergyConsumption(h), put_energy),
            ("power", lambda h: self.nvml.nvmlDeviceGetPowerUsage(h), put_power),
        )

    def _power(self, slot: Slot, energy: float, timestamp_us: int) -> float | None:
        """Return the power since the energy counter's last step; None where it stands still or tells what cannot be."""
        before = slot.counters.get(ENERGY.id)
        if before is not None and energy == before.value:
            # A GPU that is there draws power. Its next step tells that of all the time, unless the counter was stuck.
            if self._clock() - before.seen > _STILL_S:
                slot.counters[ENERGY.id] = replace(before, still=True)
                slot.faults["energy counter"] = f"it stands still at {energy:.0f} J"
            return None
        power = self._rate(slot, ENERGY, energy, timestamp_us)
        if before is None or not before.still:
            slot.faults.pop("energy counter", None)
        if power is not None and not _LOW_POWER <= power <= _HIGH_POWER:
            slot.faults["energy counter"] = f"its growth would be {power:.0f} W"
            return None
        return power

    def _rate(self, slot: Slot, f: Field, counter: float, timestamp_us: int) -> float | None:
        """Return a counter's growth in a second since the last read, None for the first, after a reset or a step of the clock."""
        seen = self._clock()
        now = timestamp_us / 1e6 if timestamp_us else seen
        before = slot.counters.get(f.id)
        if before is None or before.still or counter < before.value or now < before.at:
            slot.counters[f.id] = Count(counter, now, seen)
            return None
        period = now - before.at
        if period < _MIN_PERIOD_S:
            return None
        slot.counters[f.id] = Count(counter, now, seen)
        if abs(period - (seen - before.seen)) > max(0.5, 0.2 * period):
            return None  # the GPU's times are wall clock, which may be set
        return (counter - before.value) / period

    def _lose(self, slot: Slot, codes: Sequence[int]) -> None:
        self.lost += 1
        slot.handle = None
        slot.counters.clear()
        if any(code in _DRIVER_GONE for code in codes):
            self._open = False

    def _watch_events(self) -> None:
        nvml = self.nvml
        try:
            events = nvml.nvmlEventSetCreate()
        except self._error:
            return
        for slot in self.slots:
            if slot.handle is not None:
                with contextlib.suppress(self._error):  # not every GPU has events
                    nvml.nvmlDeviceRegisterEvents(slot.handle, _XID_EVENT, events)
        self._event_set = events

    def _release_events(self) -> None:
        with self._event_lock:
            if self._event_set is None:
                return
            with contextlib.suppress(self._error):
                self.nvml.nvmlEventSetFree(self._event_set)
            self._event_set = None


def _above(row: Row, margin: float) -> float | None:
    """Return the temperature at which the margin to the highest operating temperature (T.Limit) is `margin`, Cel."""
    temperature, now = row[_TEMPERATURE], row[_MARGIN]
    return None if temperature is None or now is None else temperature + now - margin


def _said(code: int) -> str:
    """Return what NVML said in place of a value."""
    return _WORDS.get(code, f"NVML says {code}")


def _address(handle: Any) -> Any:
    """Return what tells two handles apart: the address behind a ctypes pointer, else the handle itself."""
    contents = getattr(handle, "contents", None)
    if contents is None:
        return handle
    return ctypes.addressof(contents)
