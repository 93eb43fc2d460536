import asyncio

import numpy as np
import pytest

from domain.errors import StorageError, StoreUnavailable
from domain.points import Point, PointRegistry
from storage.duckdb_store import DuckDBStore
from storage.ingest import Ingest
from storage.quarantine import Quarantine
from storage.reading_spool import ReadingSpool
from storage.settings import DuckDBSettings, IngestSettings, StorageSettings


class StoreWithSwitch(DuckDBStore):
    """The embedded store, which can be made to answer as an unreachable server does."""

    away = False
    poison = frozenset()
    """Values and keys of points that it refuses with an error of its own, as a server does."""
    written: list[int]

    def write(self, batch):
        if self.away:
            raise StoreUnavailable("switched off")
        if not self.poison.isdisjoint(batch.value.tolist()):
            raise StorageError("refused")
        self.__dict__.setdefault("written", []).extend(batch.value.astype(int).tolist())
        return super().write(batch)

    def save_points(self, points):
        if self.away:
            raise StoreUnavailable("switched off")
        if not self.poison.isdisjoint(p.key for _, p in points):
            raise StorageError("refused")
        super().save_points(points)


@pytest.fixture
def storage_settings(tmp_path) -> StorageSettings:
    """Small and eager: rows are sealed at each upkeep, old partitions go at once."""
    return StorageSettings(path=tmp_path, duckdb=DuckDBSettings(seal_rows=1000, seal_after_s=1e-6))


@pytest.fixture
def store(tmp_path, storage_settings):
    store = StoreWithSwitch(tmp_path / "t.duckdb", storage_settings)
    yield store
    store.close()


@pytest.fixture
def registry() -> PointRegistry:
    return PointRegistry(
        Point(f"Rack/RackPower/R{i:03}", "Rack", "RackPower", f"R{i:03}", unit="W") for i in range(10)
    )


def all_points(n: int = 10):
    return np.arange(n, dtype=np.int32)


QUICK = IngestSettings(commit_interval_ms=1, retry_s=0.02, maintain_s=0.05)


@pytest.fixture
def make_ingest(tmp_path, registry, store):
    made = []

    def make(settings: IngestSettings = QUICK, spool_bytes: int = 1 << 24) -> Ingest:
        ingest = Ingest(
            registry,
            store,
            ReadingSpool(tmp_path / "spool", registry, spool_bytes),
            Quarantine(tmp_path / "quarantine"),
            settings,
        )
        made.append(ingest)
        return ingest

    return make


def everything(store, n=10):
    return store.read(np.arange(n, dtype=np.int32), 0, 1 << 60)


async def until(condition) -> None:
    async with asyncio.timeout(60):
        while not condition():  # noqa: ASYNC110 - what is waited for sets no event
            await asyncio.sleep(0.005)
