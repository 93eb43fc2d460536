"""kill -9 of a writing process at any moment: nothing acknowledged is missing, and the rollups are right."""

import multiprocessing
import os
import pickle
import random
import time
from multiprocessing.connection import Connection

import numpy as np
import pytest

from domain.batch import now_ms
from storage.duckdb_care import check
from storage.duckdb_store import DuckDBStore
from storage.settings import HOUR, MINUTE, DuckDBSettings, StorageSettings
from storage.steps import combine, floor_to, roll
from storage.tiers import TIERS
from tests.system.store_writer import POINTS, STEP_MS, rows_of, write_until_killed

KILLS = int(os.environ.get("HALLWATCH_KILLS", "8"))
"""The full run, 50 times: ``HALLWATCH_KILLS=50 pytest tests/system/test_store_kill.py``."""


def newest_told(hear: Connection, known: int) -> int:
    """Return the last sequence number that reached us whole."""
    try:
        while True:
            known = hear.recv()
    except (EOFError, OSError, pickle.UnpicklingError):
        return known


@pytest.mark.timeout(600 + 15 * KILLS)
def test_a_killed_writer_loses_nothing_that_it_acknowledged(tmp_path):
    base = now_ms() // HOUR * HOUR
    settings = StorageSettings(path=tmp_path, duckdb=DuckDBSettings(seal_rows=1000, seal_after_s=0.2))
    every = np.arange(POINTS, dtype=np.int32)
    chance = random.Random(7)
    acknowledged = 0
    processes = multiprocessing.get_context("forkserver")
    processes.set_forkserver_preload(["tests.system.store_writer"])
    for kill in range(KILLS):
        hear, tell = processes.Pipe(duplex=False)
        writer = processes.Process(target=write_until_killed, args=(tmp_path, acknowledged, base, tell))
        writer.start()
        tell.close()
        assert hear.recv() == acknowledged
        if kill % 2:  # the others are killed as early as may be
            for _ in range(4):
                acknowledged = hear.recv()
        time.sleep(chance.uniform(0.0, 0.6))
        writer.kill()
        writer.join()
        acknowledged = newest_told(hear, acknowledged)

        store = DuckDBStore(tmp_path / "t.duckdb", settings)
        stored = store.read(every, 0, 1 << 60)
        found = np.unique(stored.value)
        assert np.isin(np.arange(acknowledged), found).all(), (
            f"acknowledged readings are missing after kill {kill}"
        )
        key = stored.point.astype(np.int64) << 44 | stored.observed // 1000
        assert len(np.unique(key)) == len(stored), f"readings are there twice after kill {kill}"
        last = int(found.max()) if len(found) else 0
        assert sum(len(rows_of(s, base)) for s in range(last + 1)) == len(stored), "a batch is there in part"

        store.maintain(base + last * STEP_MS + 20_000)
        assert check(store).problems == ()
        made = roll(stored, base - HOUR, base + (last + 3600) * STEP_MS, MINUTE, store.max_gap)
        for name, step in TIERS.items():
            made = made if step == MINUTE else combine(made, step)
            complete = floor_to(store.rolled_until, step)
            expected = made.take(made.start < complete)
            kept = store.read_tier(name, every, base - HOUR, complete)
            for column in ("point", "start", "count", "held", "minimum", "maximum", "last"):
                mine, theirs = getattr(kept, column), getattr(expected, column)
                assert np.array_equal(mine, theirs, equal_nan=True), f"{name}.{column} after kill {kill}"
        store.close()
        acknowledged = last + 1
    assert acknowledged > KILLS
