import numpy as np
import pytest

from domain.batch import Batch, now_ms
from domain.points import Point, PointRegistry
from domain.site import Site
from storage.energy import counter_demand
from storage.latest import LatestValues
from storage.plant import PlantView
from storage.settings import HOUR, MINUTE, QUARTER

START = now_ms() // HOUR * HOUR - 4 * HOUR
METER = np.array([0], np.int32)


def write_counter(store, times, values):
    store.write(Batch.of(np.zeros(len(times), np.int32), times, values))
    store.maintain(now_ms())


def test_quarters_add_up_to_the_counters_own_difference(store):
    times = np.arange(START - 10_000, START + 2 * HOUR + 10_000, 10_000)
    power = 8e6 + 1e6 * np.sin(np.arange(len(times)))
    counter = 5e13 + np.round(np.cumsum(power * 10))
    write_counter(store, times, counter)
    demand = counter_demand(store, METER, START, START + 2 * HOUR)
    assert demand.start.tolist() == [START + i * QUARTER for i in range(8)]
    before, last = counter[times < START][-1], counter[times < START + 2 * HOUR][-1]
    assert demand.values.sum() * QUARTER / 1000 == pytest.approx(last - before, rel=1e-12)
    assert demand.values[0] == pytest.approx(8e6, rel=0.02)


def test_demand_is_only_told_of_quarters_that_the_counter_tells_whole(store):
    minutes = np.array([-1, 1, 14, 29, 89, 104, 119])
    write_counter(store, START + minutes * MINUTE, [0.0, 60, 900, 1800, 5400, 6300, 5.0])
    told = counter_demand(store, METER, START, START + 2 * HOUR)
    nan = np.nan
    # a gap of three quarters, and a reset in the last one
    assert told.values[0] == pytest.approx([1, 1, nan, nan, nan, nan, 1, nan], nan_ok=True)


def test_a_nodes_demand_is_that_of_its_meters_counters_where_these_are_over(store):
    site = Site.model_validate(
        {
            "id": "lab",
            "name": "Lab",
            "limit": "16 MW",
            "installed": "17 MW",
            "rack_limit": "150 kW",
            "pods": [{"id": "P1", "racks": "R001..004", "row": 1}],
            "meters": ["M1", "M2"],
        }
    )
    registry = PointRegistry(
        Point(f"PowerMeter/{kind}/{meter}", "PowerMeter", kind, meter)
        for kind in ("ActivePower", "Energy")
        for meter in ("M1", "M2")
    )
    store.save_points(list(enumerate(registry)))
    latest = LatestValues(registry)
    plant = PlantView(site, registry, latest, store)
    times = np.arange(START - MINUTE, START + 40 * MINUTE, MINUTE)
    for meter in range(2):
        power = Batch.of(np.full(len(times), meter), times, np.full(len(times), 1000.0))
        # the counters tell a tenth more than the power
        counted = Batch.of(np.full(len(times), 2 + meter), times, (times - START) * 1.1)
        for batch in (power, counted):
            store.write(batch)
            latest.update(batch)
    store.maintain(now_ms())
    demand = plant.demand_history("lab", START, START + 40 * MINUTE)
    assert demand.values[0] == pytest.approx([2200, 2200, 2000])

    registry.register(Point("PowerMeter/ActivePower/M3", "PowerMeter", "ActivePower", "M3"))
    without = PlantView(site.model_copy(update={"meters": ("M1", "M3")}), registry, latest, store)
    assert np.isnan(without.demand_history("lab", START, START + 40 * MINUTE).values).all()
