"""Ingest at the factory's rate in the loop of a web server, and how long each batch takes from its reading until it is stored."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

import numpy as np

from benchmarks.store import registry_of
from domain.batch import Batch, now_ms
from storage.ingest import Ingest
from storage.open import open_store
from storage.settings import StorageSettings

POINTS = 172_800
"""25 readings of each of 6,912 GPUs."""
EVERY_S, BATCHES_PER_S = 5, 10
"""Each point is told so often, as the demo's GPUs are: 34,560 values a second, a batch every tenth of one."""
WARM_S = 6.0


class BusyIngest:
    """Feeds an embedded store; `took` has a row for each batch: when it was due (`time.monotonic`) and how long it took, s."""

    def __init__(self, folder: Path) -> None:
        settings = StorageSettings(path=folder)
        registry = registry_of(POINTS)
        self._store = open_store(settings, registry)
        self._ingest = Ingest.open(settings, registry, self._store)
        chance = np.random.default_rng(0)
        base = np.round(chance.uniform(30, 1000, POINTS), 1)
        parts = np.array_split(np.arange(POINTS, dtype=np.int32), EVERY_S * BATCHES_PER_S)
        self._parts = [(part, base[part]) for part in parts]
        self.took: list[tuple[float, float]] = []

    async def run(self) -> None:
        """Feed until cancelled."""
        feeding = asyncio.create_task(self._feed())
        try:
            await self._ingest.run()
        finally:
            feeding.cancel()
            await asyncio.gather(feeding, return_exceptions=True)
            await self._ingest.close()
            self._store.close()

    async def _feed(self) -> None:
        due, turn = time.monotonic(), 0
        async with asyncio.TaskGroup() as batches:
            while True:
                await asyncio.sleep(max(0.0, due - time.monotonic()))
                points, values = self._parts[turn % len(self._parts)]
                turned = values + turn % 7  # a value that never changes would be taken for a frozen one
                batches.create_task(self._store_one(Batch.of(points, now_ms(), turned), due))
                due, turn = due + 1 / BATCHES_PER_S, turn + 1

    async def _store_one(self, batch: Batch, due: float) -> None:
        await self._ingest.accept(batch)
        self.took.append((due, time.monotonic() - due))

    def between(self, start: float, end: float) -> list[float]:
        """Return how long the batches took that were due in [start, end)."""
        return [took for due, took in self.took if start <= due < end]
