"""What the tray agent costs its node: `python -m benchmarks.agent [--sweeps 2000]`.

nvidia-ml-py on the tests' C stand-in for NVML (four GPUs; a C compiler is needed), or on the real library with ``--real``: time
and CPU of one sweep, of its message and of its way through the spool. The reference is the least that any reader can do with
nvidia-ml-py for the same fields: one call per group of fields, results thrown away. Prints one JSON object.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pynvml

from collectors.nvml.agent import TraySweeps
from collectors.nvml.fields import FIELDS
from collectors.nvml.spool import SweepSpool
from collectors.nvml.sweeper import Sweeper
from domain.batch import now_ms
from domain.tray import GPU_FIELDS


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sweeps", type=int, default=2000)
    parser.add_argument(
        "--real", action="store_true", help="the NVIDIA driver of this node, not the stand-in"
    )
    parser.add_argument("--json", action="store_true", help="the only form there is")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        print(json.dumps(measure(Path(folder), options.sweeps, real=options.real), indent=1))


def measure(folder: Path, sweeps: int, *, real: bool) -> dict[str, Any]:
    """Return the figures of one tray's agent, per sweep and per GPU and sweep."""
    if not real:
        from tests.nvml_standin import Standin, build

        Standin(build(folder))
    sweeper = Sweeper(pynvml, poll_events=False)
    tray = TraySweeps("R001", "T01", sweeper, now_ms())
    spool = SweepSpool(folder / "spool", 64 << 20)
    tray.take(0, now_ms())
    gpus = len(sweeper.slots)
    handles = [slot.handle for slot in sweeper.slots]
    fields = [[(f.id, f.scope) for f in slot.fields] for slot in sweeper.slots]

    def bare() -> None:
        for handle, wanted in zip(handles, fields, strict=True):
            pynvml.nvmlDeviceGetFieldValues(handle, wanted)
            pynvml.nvmlDeviceGetTemperature(handle, 0)
            pynvml.nvmlDeviceGetMarginTemperature(handle)
            pynvml.nvmlDeviceGetUtilizationRates(handle)
            pynvml.nvmlDeviceGetClockInfo(handle, 1)
            pynvml.nvmlDeviceGetClockInfo(handle, 2)
            pynvml.nvmlDeviceGetCurrentClocksEventReasons(handle)
            pynvml.nvmlDeviceGetMemoryInfo(handle, version=pynvml.nvmlMemory_v2)

    def whole() -> None:
        sequence = spool.append(tray.message(tray.take(spool.next_sequence, now_ms())))
        spool.read(sequence)
        spool.taken(sequence)

    wall, cpu = timed(whole, sweeps)
    only_sweep, _ = timed(lambda: sweeper.sweep(now_ms()), sweeps)
    reference, reference_cpu = timed(bare, sweeps)
    message = tray.message(tray.take(spool.next_sequence, now_ms()))
    told = sum(v is not None for v in sweeper.sweep(now_ms()))
    sweeper.close()
    spool.close()
    return {
        "name": "agent",
        "machine": {
            "cpus": os.cpu_count(),
            "python": platform.python_version(),
            "system": platform.platform(),
            "library": "NVIDIA driver" if real else "C stand-in",
        },
        "figures": {
            "cpu_us_per_gpu_and_sweep": figure(cpu / gpus * 1e6, "us", reference_cpu / gpus * 1e6),
            "wall_us_per_gpu_and_sweep": figure(wall / gpus * 1e6, "us", reference / gpus * 1e6),
            "sweep_only_us_per_gpu": figure(only_sweep / gpus * 1e6, "us", reference / gpus * 1e6),
            "core_share_at_1_hz": figure(cpu, "cores", reference_cpu),
            "message_bytes": figure(len(message), "bytes"),
            "fields_per_gpu": figure(len(GPU_FIELDS), "fields"),
            "readings_per_gpu": figure(told / gpus, "readings"),
            "fields_asked_in_one_call": figure(len(FIELDS), "fields"),
            "gpus": figure(gpus, "GPUs"),
        },
    }


def timed(work: Callable[[], object], times: int) -> tuple[float, float]:
    """Return (wall, CPU) seconds of one call: the best of five runs, against the noise of a shared machine."""
    walls, cpus = [], []
    for _ in range(5):
        wall, cpu = time.perf_counter(), time.process_time()
        for _ in range(times // 5):
            work()
        walls.append(time.perf_counter() - wall)
        cpus.append(time.process_time() - cpu)
    return min(walls) / (times // 5), min(cpus) / (times // 5)


def figure(value: float, unit: str, reference: float | None = None) -> dict[str, Any]:
    """Return one figure; reference is the bare calls in the same run."""
    return {
        "value": round(value, 5),
        "unit": unit,
        "reference": None if reference is None else round(reference, 5),
        "ratio": round(value / reference, 3) if reference else None,
    }


if __name__ == "__main__":
    main()
