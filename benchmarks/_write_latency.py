"""How long a write and a read of the embedded store wait for each other and for upkeep, at the full factory's rate.

A thread writes a tenth of all points ten times a second, as ingest commits them; upkeep rolls up, seals and folds the
log every ten seconds; another thread reads 20 points' last two seconds five times a second, as a console does.
"""

from __future__ import annotations

import threading
import time
from pathlib import Path
from typing import Any

import numpy as np

from domain.batch import Batch, now_ms
from domain.points import PointRegistry
from storage.duckdb_store import DuckDBStore
from storage.settings import StorageSettings

COMMITS_PER_S = 10
UPKEEP_S = 10.0
READ_S = 0.2
IDLE_READS = 100


class Load:
    """Readers, upkeep and a writer on one store, and how long each of their calls took."""

    def __init__(self, folder: Path, registry: PointRegistry) -> None:
        self._store = DuckDBStore(folder / "telemetry.duckdb", StorageSettings(path=folder))
        self._store.save_points(list(enumerate(registry)))
        self._points = len(registry)
        self._stop = threading.Event()
        self.writes: list[tuple[float, str]] = []
        """Milliseconds of each write, and what upkeep did at its begin and end."""
        self.reads: list[tuple[float, str]] = []
        """Likewise of each read."""
        self.idle_reads: list[float] = []
        self.behind = 0.0
        """Most that a write began after its time, s."""

    def run(self, seconds: float) -> float:
        """Write for some seconds; return the values written a second."""
        chance = np.random.default_rng(0)
        base = chance.uniform(30, 1000, self._points)
        parts = np.array_split(np.arange(self._points, dtype=np.int32), COMMITS_PER_S)
        for part in parts:  # what the idle reads read
            self._store.write(Batch.of(part, now_ms(), np.round(base[part], 1)))
        self.idle_reads = [self._read(chance) for _ in range(IDLE_READS)]
        others = [threading.Thread(target=self._keep_reading), threading.Thread(target=self._keep_up)]
        for thread in others:
            thread.start()
        began = time.perf_counter()
        commits = round(seconds * COMMITS_PER_S)
        try:
            for n in range(commits):
                due = n / COMMITS_PER_S - (time.perf_counter() - began)
                if due > 0:
                    time.sleep(due)
                self.behind = max(self.behind, -due)
                part = parts[n % COMMITS_PER_S]
                batch = Batch.of(part, now_ms(), np.round(base[part] + chance.normal(0, 5, len(part)), 1))
                before, started = self._store.upkeep_step, time.perf_counter()
                self._store.write(batch)
                took = (time.perf_counter() - started) * 1000
                self.writes.append((took, " to ".join(dict.fromkeys((before, self._store.upkeep_step)))))
            taken = time.perf_counter() - began
        finally:
            self._stop.set()
            for thread in others:
                thread.join()
            self._store.close()
        return commits * self._points / COMMITS_PER_S / taken

    def _read(self, chance: np.random.Generator) -> float:
        points = np.unique(chance.integers(0, self._points, 20)).astype(np.int32)
        end, began = now_ms(), time.perf_counter()
        self._store.read(points, end - 2000, end)
        return (time.perf_counter() - began) * 1000

    def _keep_reading(self) -> None:
        chance = np.random.default_rng(1)
        while not self._stop.wait(READ_S):
            before = self._store.upkeep_step
            took = self._read(chance)
            self.reads.append((took, before or self._store.upkeep_step))

    def _keep_up(self) -> None:
        while not self._stop.wait(UPKEEP_S):
            self._store.maintain(now_ms())


def measure_latency(folder: Path, registry: PointRegistry, seconds: float) -> dict[str, Any]:
    """Return the figures: name to (value, unit, reference); and under ``slowest_writes`` what ran during these."""
    load = Load(folder, registry)
    rate = load.run(seconds)
    writes = np.array([took for took, _ in load.writes])
    figures: dict[str, Any] = {
        "latency_values_per_s": (rate, "1/s", None),
        "latency_behind_s": (load.behind, "s", None),
        "write_p50_ms": (float(np.percentile(writes, 50)), "ms", None),
        "write_p99_ms": (float(np.percentile(writes, 99)), "ms", None),
        "write_max_ms": (float(writes.max()), "ms", None),
    }
    quiet = np.array([took for took, step in load.writes if not step])
    if len(quiet):  # the same without upkeep: what is above it, writes wait for upkeep
        figures["write_max_ms"] = (float(writes.max()), "ms", float(quiet.max()))
    for q, name in ((50, "p50"), (99, "p99"), (100, "max")):
        idle = float(np.percentile(load.idle_reads, q))
        figures[f"read_{name}_ms"] = (float(np.percentile([took for took, _ in load.reads], q)), "ms", idle)
        beside = [took for took, step in load.reads if not step]
        if beside:  # what waits for writes alone
            figures[f"read_beside_writes_{name}_ms"] = (float(np.percentile(beside, q)), "ms", idle)
    slowest = sorted(load.writes, reverse=True)[:10]
    figures["slowest_writes"] = [f"{took:.0f} ms: {step or 'no upkeep'}" for took, step in slowest]
    return figures
