"""The GPUs of this node and what each tells, once."""

from __future__ import annotations

import socket
import time
from typing import Any

from collectors.nvml.sweeper import Sweeper
from domain.batch import now_ms
from domain.catalogue import POINT_TYPES
from domain.errors import SourceError
from domain.tray import GPU_FIELDS


def probe(nvml: Any = None, seconds: float = 0.5) -> dict[str, Any]:
    """Return the GPUs here, ready for JSON.

    Parameters
    ----------
    nvml
        ``pynvml`` if None.
    seconds
        Time between the two sweeps that power from the energy counter needs.

    Returns
    -------
    dict
        ``host``, ``driver``, ``gpus``: each with slot, uuid, name, and ``readings`` (pointType, value, unit; a field that
        the GPU does not have is absent), and ``missing``, the point types without a reading.

    Raises
    ------
    SourceError
        Where there is no driver, or no GPU.
    """
    if nvml is None:
        import pynvml  # only here: a machine without GPUs need not load it

        nvml = pynvml
    sweeper = Sweeper(nvml, slow_every=1, poll_events=False)
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
        values = sweeper.sweep(now_ms())
        width = len(GPU_FIELDS)
        return {
            "host": socket.gethostname(),
            "driver": sweeper.driver,
            "gpus": [
                {
                    "slot": gpu,
                    "uuid": slot.uuid,
                    "name": slot.name,
                    "readings": [
                        {"pointType": name, "value": value, "unit": POINT_TYPES[name].unit}
                        for name, value in zip(GPU_FIELDS, values[gpu * width :], strict=False)
                        if value is not None
                    ],
                    "missing": [
                        name
                        for name, value in zip(GPU_FIELDS, values[gpu * width :], strict=False)
                        if value is None
                    ],
                }
                for gpu, slot in enumerate(sweeper.slots)
            ],
        }
    finally:
        sweeper.close()
