"""The GPUs of this node and what each tells, once: what is read, doubtful and missing, and why."""

from __future__ import annotations

import socket
import time
from dataclasses import asdict
from typing import Any

import numpy as np

from collectors.examination import Aside, Examination, Level
from collectors.nvml.sweeper import Slot, Sweeper
from domain.batch import now_ms
from domain.catalogue import POINT_TYPES
from domain.errors import SourceError
from domain.gpu_health import GpuHealth, Grade, judge
from domain.possible import why_not
from domain.tray import GPU_FIELDS, gpu_point

_WIDTH = len(GPU_FIELDS)


def examine(
    nvml: Any = None, gpus: int = 0, seconds: float = 0.5, health: GpuHealth | None = None
) -> Examination:
    """Look at the GPUs of this node as the tray agent would; whatever is wrong is a finding, never an error. Blocks.

    Parameters
    ----------
    nvml
        ``pynvml`` if None.
    gpus
        How many there should be; 0: as many as there are.
    seconds
        Time between the two sweeps that power from the energy counter needs.
    health
        What the readings mean; nothing is judged without it.
    """
    look = Examination(f"nvml: {socket.gethostname()}")
    try:
        sweeper, values = _swept(nvml, gpus, seconds)
    except SourceError as error:
        look.find("problem", "driver", str(error))
        return look
    look.find("fine", "driver", f"NVIDIA driver {sweeper.driver}")
    for gpu, slot in enumerate(sweeper.slots):
        if slot.handle is None:
            look.find("problem", "GPUs", f"GPU {gpu} is not there")
            continue
        row = _gpu(gpu, slot, values)
        look.readings += [
            {"objectType": "GPU", "objectId": f"G{gpu}", **reading} for reading in row["readings"]
        ]
        look.missing += [f"G{gpu} {name}" for name in row["missing"]]
        look.set_aside += [Aside(reason, 1, f"G{gpu} {name}") for name, reason in slot.faults.items()]
        for name, reason in slot.faults.items():
            if name in ("fields", "energy counter"):
                look.find("problem", "readings", f"GPU {gpu}: {name}: {reason}")
        doubts = [r["doubt"] for r in row["readings"] if r["doubt"]]
        if doubts:
            look.find(
                "note", "readings", f"GPU {gpu}: {len(doubts)} readings would be bad, such as {doubts[0]}"
            )
    for finding in _judged(sweeper, values, health):
        level: Level = "problem" if finding["grade"] == Grade.FAULT else "note"
        look.find(level, "health", f"{finding['object']}: {finding['text']}")
    look.find("fine", "readings", f"{len(look.readings)} readings of {len(sweeper.slots)} GPUs")
    return look


def probe(nvml: Any = None, seconds: float = 0.5, health: GpuHealth | None = None) -> dict[str, Any]:
    """Return the GPUs here, ready for JSON. Parameters as of `examine`.

    Returns
    -------
    dict
        ``host``, ``driver``, ``gpus``: each with slot, uuid, name, and ``readings`` (pointType, value, unit, and ``doubt``,
        empty or why the value would be bad; a field that the GPU does not have is absent), ``missing``, the point types
        without a reading, ``faults``, the calls that failed with their reason, and ``place`` (chassis, slot, tray, host,
        module, serial; null where it is not told); ``module_power``, W, each module once; ``findings``: each with object,
        finding, grade and text, by the catalogue of GPU health.

    Raises
    ------
    SourceError
        Where there is no driver, or no GPU.
    """
    sweeper, values = _swept(nvml, 0, seconds)
    return {
        "host": socket.gethostname(),
        "driver": sweeper.driver,
        "gpus": [_gpu(gpu, slot, values) for gpu, slot in enumerate(sweeper.slots)],
        "module_power": sweeper.module_power,
        "findings": _judged(sweeper, values, health),
    }


def _judged(sweeper: Sweeper, values: list[float | None], health: GpuHealth | None) -> list[dict[str, str]]:
    """Return what the catalogue says about the GPUs here."""
    if health is None:
        return []
    names = [slot.name for slot in sweeper.slots if slot.name]
    product = health.products.get(max(set(names), key=names.count)) if names else None
    table = np.array(values, float).reshape(-1, _WIDTH)
    found = [
        _finding(f"G{gpu}", kind, health)
        for kind, holding in judge(dict(zip(GPU_FIELDS, table.T, strict=True)), product).items()
        for gpu in np.flatnonzero(holding)
    ]
    if product is not None and len(sweeper.slots) < product.gpus:
        found.append(_finding("node", "missing", health, f"{product.gpus} are expected"))
    return found


def _finding(name: str, kind: str, health: GpuHealth, detail: str = "") -> dict[str, str]:
    entry = health.condition(kind)
    return {
        "object": name,
        "finding": kind,
        "grade": entry.grade.value,
        "text": health.text(entry, "", detail),
    }


def _swept(nvml: Any, gpus: int, seconds: float) -> tuple[Sweeper, list[float | None]]:
    """Sweep twice and return what the second sweep told."""
    if nvml is None:
        import pynvml  # only here: a machine without GPUs need not load it

        nvml = pynvml
    sweeper = Sweeper(nvml, gpus, slow_every=1, poll_events=False)
    try:
        sweeper.discover()
        if not sweeper.driver:
            raise SourceError(
                "no NVIDIA driver answers here (libnvidia-ml.so.1); run this on a node with GPUs"
            )
        if not sweeper.slots:
            raise SourceError(f"NVIDIA driver {sweeper.driver}, but no GPU")
        sweeper.sweep(now_ms())
        time.sleep(seconds)
        return sweeper, sweeper.sweep(now_ms())
    finally:
        sweeper.close()


def _gpu(gpu: int, slot: Slot, values: list[float | None]) -> dict[str, Any]:
    told = list(zip(GPU_FIELDS, values[gpu * _WIDTH : (gpu + 1) * _WIDTH], strict=True))
    return {
        "slot": gpu,
        "uuid": slot.uuid,
        "name": slot.name,
        "readings": [
            {
                "pointType": name,
                "value": value,
                "unit": POINT_TYPES[name].unit,
                "doubt": why_not(gpu_point("R", "T", gpu, name, "nvml"), value),
            }
            for name, value in told
            if value is not None
        ],
        "missing": [name for name, value in told if value is None],
        "place": asdict(slot.place),
        "faults": dict(slot.faults),
    }
