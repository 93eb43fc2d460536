"""Writes into a store until it is killed, telling each acknowledged sequence number: run by test_store_kill.py."""

import random
import threading
from multiprocessing.connection import Connection
from pathlib import Path

import numpy as np

from domain.batch import Batch
from domain.points import Point
from storage.duckdb_store import DuckDBStore
from storage.settings import DuckDBSettings, StorageSettings

POINTS = 20
STEP_MS = 1000


def rows_of(sequence: int, base: int) -> Batch:
    """One reading of each point; every third sequence number comes late, with the one before it once more."""
    n = POINTS
    observed = base + sequence * STEP_MS
    if sequence % 3 == 0:
        observed -= 1_800_000
    return Batch.of(np.arange(n), observed, np.full(n, float(sequence)))


def write_until_killed(folder: Path, first: int, base: int, tell: Connection) -> None:
    settings = StorageSettings(path=folder, duckdb=DuckDBSettings(seal_rows=1000, seal_after_s=0.2))
    store = DuckDBStore(folder / "t.duckdb", settings)
    store.save_points([(i, Point(f"a/b/{i}", "a", "b", str(i))) for i in range(POINTS)])
    at = [first]

    def upkeep() -> None:
        while True:
            store.maintain(base + at[0] * STEP_MS + 20_000)

    threading.Thread(target=upkeep, daemon=True).start()
    tell.send(first)
    sequence = first
    while True:
        n = random.randint(1, 40)
        batches = [rows_of(s, base) for s in range(max(sequence - 1, 0), sequence + n)]
        store.write(Batch.concat(batches))
        sequence += n
        at[0] = sequence
        tell.send(sequence)
