"""A collector with ingest and store in one process, killed with SIGKILL while sweeps arrive: every sweep is stored."""

import asyncio
import json
import subprocess
import sys
import threading

import numpy as np
import pytest

from benchmarks._plant_load import Load
from domain.batch import now_ms
from domain.points import PointRegistry
from storage.open import open_store
from storage.settings import StorageSettings

pytestmark = [pytest.mark.server("mosquitto"), pytest.mark.xdist_group("mosquitto")]
TRAYS = 20
SECONDS = 12


def collector(port, folder):
    command = [sys.executable, "-m", "benchmarks._ingest_processes", "hallwatch", "--port", str(port)]
    return subprocess.Popen(
        [*command, "--data", str(folder)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )


def ask(process):
    """Return what the collector has received since it was last asked."""
    process.stdin.write("report\n")
    process.stdin.flush()
    return json.loads(next(line for line in process.stdout if line.startswith("{")))


async def until(process, condition):
    """Ask until the answer fits."""
    async with asyncio.timeout(60):
        while not condition(await asyncio.to_thread(ask, process)):  # noqa: ASYNC110
            await asyncio.sleep(0.2)


async def test_a_collector_killed_again_and_again_loses_no_sweep(mosquitto, tmp_path):
    folder = tmp_path / "data"
    folder.mkdir()
    begun = now_ms()
    running = collector(mosquitto.port, folder)
    await until(running, lambda told: told["ready"])
    load = Load(mosquitto.port, TRAYS, points=0)
    sending = threading.Thread(target=load.run_at_rate, args=(SECONDS,))
    sending.start()
    for _ in range(2):
        await asyncio.sleep(4)
        running.kill()
        running.wait()
        running = collector(mosquitto.port, folder)
    await asyncio.to_thread(sending.join)
    assert load.acknowledged == load.sent_sweeps == TRAYS * SECONDS
    await until(running, lambda told: told["ready"])
    silence = 0

    def quiet(told):
        nonlocal silence
        silence = 0 if told["rows"] or told["queued"] else silence + 1
        return silence == 15  # three seconds of it

    await until(running, quiet)
    running.terminate()
    running.wait(60)

    registry = PointRegistry()
    store = open_store(StorageSettings(path=folder), registry)
    try:
        taken = registry.select(point_type="SweepsTaken")
        rows = store.read(taken, begun, now_ms() + 60_000)
    finally:
        store.close()
    assert len(taken) == TRAYS
    for point in taken:
        sequence = rows.value[rows.point == point]
        assert sorted(np.unique(sequence).tolist()) == list(range(SECONDS))
