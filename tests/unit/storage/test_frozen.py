"""What goes on talking and says the same for ever is found; what is merely steady is not called bad."""

import pytest

from domain.batch import Batch
from domain.points import Point, PointRegistry
from domain.tray import gpu_point
from storage.frozen import FrozenWatch
from storage.latest import LatestValues

MINUTE = 60_000
START = 1_800_000_000_000
GPU = ["GpuPower", "GpuPowerInstant", "GpuEnergy", "GpuTemperature"]
PDU = [("ActivePower", "W"), ("Current", "A"), ("Voltage", "V")]


@pytest.fixture
def registry():
    found = PointRegistry(gpu_point("R001", "T01", 0, name, "prometheus:dcgm") for name in GPU)
    for name, unit in PDU:
        found.register(Point(f"p/{name}", "PowerMeter", name, "PDU-1", unit=unit, source="snmp:pdu-1"))
    return found


class Plant:
    """Points that tell their values each minute, and the watch over them."""

    def __init__(self, registry):
        self.latest = LatestValues(registry)
        self.watch = FrozenWatch(registry, 3600)
        self.minute = 0

    def tell(self, points, values, minutes=1, change=lambda minute, values: values):
        """Return the qualities of the last batch."""
        for _ in range(minutes):
            now = START + self.minute * MINUTE
            batch = Batch.of(points, now, change(self.minute, values), received=now)
            marked, _ = self.watch.marked(batch)
            self.latest.update(marked)
            self.watch.look(now, self.latest)
            self.minute += 1
        return marked.quality.tolist()

    @property
    def objects(self):
        return self.watch.told()["objects"]


@pytest.fixture
def plant(registry):
    return Plant(registry)


FROZEN = [700.0, 700.0, 1e6, 55.0]


def test_a_gpu_whose_energy_stands_still_at_load_for_an_hour_is_frozen_and_its_readings_are_bad(plant):
    assert plant.tell(range(4), FROZEN, 60) == [1] * 4
    assert plant.objects == {}
    assert plant.tell(range(4), FROZEN, 2) == [0] * 4
    assert plant.watch.told()["by_source"] == {"prometheus:dcgm": 1}
    assert "its readings are bad" in plant.objects["R001-T01-G0 (prometheus:dcgm)"]


def test_what_moves_again_is_good_at_once_and_the_rest_of_it_with_the_next_look(plant):
    plant.tell(range(4), FROZEN, 63)
    assert plant.tell(range(4), [710.0, *FROZEN[1:]]) == [1, 0, 0, 0]
    assert plant.tell(range(4), [710.0, *FROZEN[1:]]) == [1] * 4
    assert plant.watch.told() == {"by_source": {}, "objects": {}}


def test_an_object_of_which_one_quantity_moves_is_not_frozen(plant):
    plant.tell(range(4), FROZEN, 90, lambda minute, v: [v[0], v[1], v[2] + minute, v[3]])
    assert plant.objects == {}


def test_a_point_that_is_new_beside_frozen_ones_is_good(plant, registry):
    plant.tell(range(4), FROZEN, 63)
    index = registry.register(gpu_point("R001", "T01", 1, "GpuPower", "prometheus:dcgm"))
    assert plant.tell([index], [700.0]) == [1]


def test_a_meter_without_an_energy_counter_is_named_and_stays_good(plant):
    assert plant.tell(range(4, 7), [12e3, 30.0, 230.0], 90) == [1] * 3
    assert list(plant.objects) == ["PDU-1 (snmp:pdu-1)"]


def test_an_object_without_load_and_one_that_fell_silent_are_not_frozen(plant):
    plant.tell(range(4, 7), [0.0, 0.0, 230.0], 90)
    assert plant.objects == {}
    plant.tell(range(4, 7), [12e3, 30.0, 230.0], 90)
    plant.watch.look(START + 240 * MINUTE, plant.latest)
    assert plant.objects == {}
