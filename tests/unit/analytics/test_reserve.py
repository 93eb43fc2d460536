"""How long racks last without coolant or with a CDU less, from measured readings."""

import numpy as np
import pytest

from analytics.outlook.reserve import ReserveWatch
from analytics.outlook.whatif import Present, WhatIf
from domain.batch import Batch
from domain.catalogue import POINT_TYPES
from domain.points import Point, PointRegistry
from domain.site import Site
from service.configuration import SHIPPED, load
from simulator.sizing import first_racks
from storage.ingest import Ingest
from storage.open import open_store
from storage.plant import PlantView
from storage.settings import StorageSettings

NOW = 1_790_000_000_000
SITE = first_racks(load(SHIPPED / "site.yaml", Site), 16)


async def test_reserves_are_told_for_racks_and_cdus_that_are_measured(tmp_path):
    registry = PointRegistry()
    settings = StorageSettings(path=tmp_path)
    store = open_store(settings, registry)
    ingest = Ingest.open(settings, registry, store)
    for rack in SITE.racks[:8]:  # the second pod tells nothing
        for point_type, value in (
            ("RackPower", 120e3),
            ("RackLiquidSupplyTemperature", 32.5),
            ("RackLiquidReturnTemperature", 45.0),
        ):
            unit = POINT_TYPES[point_type].unit
            point = Point(f"Rack/{point_type}/{rack}", "Rack", point_type, rack, unit=unit, source="dsx:x")
            await ingest.accept(Batch.of([registry.register(point)], NOW, [value], received=NOW))
    plant = PlantView(SITE, registry, ingest.latest, store)
    told = ReserveWatch(plant).look(NOW + 1000)
    stale = ReserveWatch(plant).look(NOW + 3_600_000)
    await ingest.close()
    store.close()
    found = {
        (registry[int(i)].point_type, registry[int(i)].object_id): v
        for i, v in zip(told.point, told.value, strict=True)
    }
    alone = [v for (kind, _), v in found.items() if kind == "TimeToLimitWithoutFlow"]
    trip = {name: v for (kind, name), v in found.items() if kind == "TimeToLimitOnTrip"}
    assert len(alone) == 8
    assert all(5 <= v <= 120 for v in alone)
    assert set(trip) == set(SITE.pods[0].cdus)
    assert set(trip.values()) == {3600.0}, "one of two CDUs may fail"
    assert len(stale) == 0


def test_a_rack_without_flow_passes_its_limit_when_what_if_says_so_of_a_pod_without_cdus():
    racks = len(SITE.racks)
    present = Present(*(np.full(racks, v) for v in (120e3, 32.5, 45.0, 65.0)))
    physics = WhatIf(SITE)
    both = physics.time_to_limit(present, SITE.pods[0].cdus)
    assert np.isfinite(both[:8]).all()
    assert np.isinf(both[8:]).all()
    alone = physics.time_to_limit(present, without_flow=True)
    assert np.isfinite(alone).all()
    assert both[:8] == pytest.approx(alone[:8], abs=60)
