"""Opens the telemetry store that the settings name."""

from __future__ import annotations

import logging

from domain.errors import InputError, StoreUnavailable
from domain.points import PointRegistry
from storage.settings import StorageSettings, StoreKind
from storage.tiers import TieredStore

log = logging.getLogger(__name__)

DATABASE_FILE = "telemetry.duckdb"


def open_store(settings: StorageSettings, registry: PointRegistry) -> TieredStore:
    """Open the store and make the points that it knows known to `registry`, by the same indexes.

    Call it before any collector registers a point.

    Raises
    ------
    InputError
        If `registry` already gave an index of a kept point to another one.
    StoreUnavailable
        If an embedded store is held by another process. An InfluxDB that is away is no error: points
        are learnt from the collectors, and readings wait in the spool.
    """
    store: TieredStore
    if settings.kind is StoreKind.DUCKDB:
        from storage.duckdb_store import DuckDBStore

        store = DuckDBStore(settings.path / DATABASE_FILE, settings)
    else:
        from storage.influxdb_store import InfluxStore

        store = InfluxStore(settings, registry)
        try:
            for point in store.load_points():
                registry.restore(point)
        except StoreUnavailable as e:
            log.warning("points are learnt from the collectors until the store is back: %s", e)
        return store
    for index, point in enumerate(store.load_points()):
        if index < len(registry) and registry[index].key != point.key:
            store.close()
            raise InputError(
                f"point {point.key} has index {index} in {settings.path}, but {registry[index].key} took it: "
                "open the store before anything registers points"
            )
        registry.restore(point)
    return store
