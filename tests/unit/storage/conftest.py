import numpy as np
import pytest

from domain.errors import StoreUnavailable
from domain.points import Point, PointRegistry
from storage.duckdb_store import DuckDBStore
from storage.settings import DuckDBSettings, StorageSettings


class StoreWithSwitch(DuckDBStore):
    """The embedded store, which can be made to answer as an unreachable server does."""

    away = False
    written: list[int]

    def write(self, batch):
        if self.away:
            raise StoreUnavailable("switched off")
        self.__dict__.setdefault("written", []).extend(batch.value.astype(int).tolist())
        return super().write(batch)

    def save_points(self, points):
        if self.away:
            raise StoreUnavailable("switched off")
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
