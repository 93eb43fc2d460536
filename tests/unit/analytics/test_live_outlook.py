"""The outlook of the next hour's temperatures on a real store."""

import numpy as np
import pytest

from analytics.outlook.temperatures import OUTLOOK_STEP_MS, TemperatureWatch, foretold_load
from domain.batch import Batch
from domain.catalogue import POINT_TYPES
from domain.configuration import validated
from domain.envelope import QUARTER_MS
from domain.plant.rack import COOLANT_HEAT
from domain.points import Point, PointRegistry
from domain.site import Site
from storage.ingest import Ingest
from storage.open import open_store
from storage.plant import PlantView
from storage.settings import StorageSettings

NOW = 1_790_000_000_000 // OUTLOOK_STEP_MS * OUTLOOK_STEP_MS + 60_000
SITE = validated(
    Site,
    {
        "id": "lab", "name": "Lab", "timezone": "Asia/Taipei", "country": "TW", "limit": "200 kW",
        "installed": "300 kW", "idle": "20 kW", "rack_limit": "90 kW",
        "pods": [{"id": "P1", "racks": "R1..3", "row": 1}],
    },
    "site.yaml",
)  # fmt: skip


async def test_the_rack_that_loses_its_flow_is_the_one_that_is_foretold_to_overheat(tmp_path):
    registry = PointRegistry()
    settings = StorageSettings(path=tmp_path)
    store = open_store(settings, registry)
    ingest = Ingest.open(settings, registry, store)
    n = 73
    time = NOW - 60_000 - OUTLOOK_STEP_MS * np.arange(n, dtype=np.int64)[::-1]
    noise = 0.02 * np.random.default_rng(0).standard_normal((2, 2, n))
    power, flow = np.full(n, 80e3), np.full(n, 95.0)
    rise = 0.95 * power / (COOLANT_HEAT * flow)
    for row, rack in enumerate(("R1", "R2")):
        told_flow = flow.copy()
        if rack == "R2":
            told_flow[-1] = 20.0
        for point_type, values in (
            ("RackPower", power),
            ("RackLiquidFlow", told_flow),
            ("RackLiquidSupplyTemperature", 32.5 + noise[row, 0]),
            ("RackLiquidReturnTemperature", 32.5 + rise + noise[row, 1]),
        ):
            unit = POINT_TYPES[point_type].unit
            point = Point(f"Rack/{point_type}/{rack}", "Rack", point_type, rack, unit=unit, source="dsx:x")
            index = registry.register(point)
            await ingest.accept(Batch.of(np.full(n, index), time, values, received=NOW))
    store.maintain(NOW)
    plant = PlantView(SITE, registry, ingest.latest, store)
    told = TemperatureWatch(plant).look(NOW)
    risk = {
        registry[int(i)].object_id: v
        for i, v in zip(told.point, told.value, strict=True)
        if registry[int(i)].point_type == "TemperatureBreachProbability"
    }
    await ingest.close()
    store.close()
    assert risk["R1"] == pytest.approx(0.0, abs=0.01)
    assert risk["R2"] > 0.9
    assert "R3" not in risk, "a rack that tells nothing has no outlook"


def test_load_ahead_is_what_is_drawn_now_and_how_the_forecast_changes():
    start = np.array([0, 1, 2, 3]) * QUARTER_MS
    medians = np.array([[100e3, 100e3, 40e3, 40e3], [np.nan] * 4])
    power = np.array([[90e3, 103e3], [50e3, 50e3]])
    times = np.array([10, 30, 45]) * 60_000
    load = foretold_load(power, medians, start, 60_000 * 8, times)
    assert load[0] == pytest.approx([103e3, 73e3, 43e3], abs=4e3)
    assert np.isnan(load[1]).all()


def test_a_rack_that_died_is_not_warmed_by_a_forecast_that_does_not_know_it():
    start = np.array([0, 1, 2, 3]) * QUARTER_MS
    load = foretold_load(
        np.array([[100e3, 20e3]]), np.full((1, 4), 100e3), start, 600_000, np.array([900_000])
    )
    assert load[0, 0] == 20e3
