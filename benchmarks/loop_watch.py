"""What watching the event loop costs: ``python -m benchmarks.loop_watch`` runs callbacks that do nothing, with and without.

Prints one JSON object; times are processor time, the shortest of several runs.
"""

from __future__ import annotations

import asyncio
import json
import time

from benchmarks.ingest import figure, machine
from service.loop_watch import LoopWatch

CALLBACKS = 10_000
RUNS = 100
IDLE_S = 5.0


def main() -> None:
    """Measure and print."""
    plain, watched = asyncio.run(_callback_seconds())
    idle = asyncio.run(_idle_share())
    figures = {
        "watched_us": figure(1e6 * watched, "us a callback", 1e6 * plain),
        "cost_us": figure(1e6 * (watched - plain), "us a callback"),
        "idle_core_share": figure(idle, "cores"),
    }
    print(json.dumps({"name": "loop_watch", "machine": machine(), "figures": figures}, indent=1))


async def _callback_seconds() -> tuple[float, float]:
    """Return the seconds that a callback takes, plain and watched, in turns."""
    plain, watched = [], []
    for _ in range(RUNS):
        plain.append(await _run())
        with LoopWatch().watching():
            watched.append(await _run())
    return min(plain) / CALLBACKS, min(watched) / CALLBACKS


async def _run() -> float:
    loop = asyncio.get_running_loop()
    for _ in range(CALLBACKS):
        loop.call_soon(_nothing)
    began = time.thread_time()
    await asyncio.sleep(0)  # they come first
    return time.thread_time() - began


def _nothing() -> None:
    pass


async def _idle_share() -> float:
    """Return the share of a core that the watching thread takes while nothing runs."""
    began = time.process_time()
    with LoopWatch().watching():
        await asyncio.sleep(IDLE_S)
    return (time.process_time() - began) / IDLE_S


if __name__ == "__main__":
    main()
