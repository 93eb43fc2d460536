"""Where GPUs sit, as the platform tells it: rack (by the chassis' serial number), tray, place in the tray, module.

NVML: ``nvmlDeviceGetPlatformInfo`` (nvmlPlatformInfo_v2_t), ``nvmlDeviceGetModuleId``, ``nvmlDeviceGetSerial``.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from domain.errors import SourceError

_VERSION = 0x200002C
_FIRST_PLACE = 1  # the driver numbers the modules of a node from here
_MOST_PLACES = 64


class PlatformInfo(ctypes.Structure):
    """nvmlPlatformInfo_v2_t. The binding's own has characters where numbers are meant."""

    _fields_ = (
        ("version", ctypes.c_uint),
        ("ibGuid", ctypes.c_ubyte * 16),
        ("chassisSerialNumber", ctypes.c_ubyte * 16),
        ("slotNumber", ctypes.c_ubyte),
        ("trayIndex", ctypes.c_ubyte),
        ("hostId", ctypes.c_ubyte),
        ("peerType", ctypes.c_ubyte),
        ("moduleId", ctypes.c_ubyte),
    )


@dataclass(frozen=True, slots=True)
class Place:
    """Where one GPU sits.

    Parameters
    ----------
    chassis
        Serial number of the rack's chassis; empty where it is not told.
    slot
        Its tray's slot in the chassis, switch trays counted; None where it is not told.
    tray
        Index of its tray among the compute trays, from 0; None where it is not told.
    host
        Which node of the tray it belongs to; None where it is not told.
    module
        Its number in the node, from 1; None where it is not told.
    serial
        Serial number of the board: GPUs of one module share it. Empty where it is not told.
    """

    chassis: str = ""
    slot: int | None = None
    tray: int | None = None
    host: int | None = None
    module: int | None = None
    serial: str = ""


NOWHERE = Place()


def placed(nvml: Any, handle: Any) -> Place:
    """Return what the driver tells of a GPU's place; never raises."""
    serial = _text(_asked(lambda: nvml.nvmlDeviceGetSerial(handle)))
    module = _asked(lambda: nvml.nvmlDeviceGetModuleId(handle, ctypes.c_uint()))
    module = module if isinstance(module, int) else None
    info = _asked(lambda: _platform(nvml, handle))
    if info is None:
        return Place(module=module, serial=serial)
    chassis = _text(bytes(info.chassisSerialNumber))
    known = bool(chassis)  # without it the other numbers are zeros that mean nothing
    return Place(
        chassis,
        info.slotNumber if known else None,
        info.trayIndex if known else None,
        info.hostId if known else None,
        info.moduleId or module,
        serial,
    )


def tray_of(places: Sequence[Place]) -> tuple[str, str] | None:
    """Return the chassis' serial number and the name of the tray that all these GPUs sit in; None where they don't tell.

    Trays are named as sites count them, from 1: index 15 is ``T16``.
    """
    found = {(place.chassis, place.tray) for place in places if place.chassis and place.tray is not None}
    if len(found) != 1:
        return None
    ((chassis, tray),) = found
    return (chassis, f"T{tray + 1:02d}") if tray is not None else None


def where(nvml: Any) -> tuple[str, str]:
    """Return the chassis' serial number and the name of the tray that this node's GPUs sit in. Blocks.

    Raises
    ------
    SourceError
        Where there is no driver, or the GPUs do not tell where they are.
    """
    try:
        nvml.nvmlInit()
        handles = [nvml.nvmlDeviceGetHandleByIndex(i) for i in range(nvml.nvmlDeviceGetCount())]
        found = tray_of([placed(nvml, handle) for handle in handles])
        nvml.nvmlShutdown()
    except nvml.NVMLError as error:
        raise SourceError(f"the GPUs cannot be asked where they sit: {error}") from error
    if found is None:
        raise SourceError(
            "the GPUs here do not tell their chassis and tray: write rack and tray in agent.yaml"
        )
    return found


def slots_by_place(places: Sequence[Place]) -> list[int] | None:
    """Return the slot of each GPU, from 0, by its number in the node; None where the numbers are none to go by."""
    numbers = [place.module for place in places]
    known = [n for n in numbers if n is not None and 0 <= n <= _MOST_PLACES]
    if len(known) != len(numbers) or len(set(known)) != len(known):
        return None
    first = 0 if 0 in known else _FIRST_PLACE
    return [n - first for n in known]


def _platform(nvml: Any, handle: Any) -> PlatformInfo:
    info = PlatformInfo(version=_VERSION)
    nvml.nvmlDeviceGetPlatformInfo(handle, ctypes.byref(info))
    return info


def _asked(call: Callable[[], Any]) -> Any:
    try:
        return call()
    except Exception:  # not supported, an older library, or none of what it documents
        return None


def _text(value: Any) -> str:
    if value is None:
        return ""
    text = value.split(b"\0")[0].decode("ascii", "replace") if isinstance(value, bytes) else str(value)
    return "".join(c for c in text[:64] if c.isalnum() or c in "._-")
