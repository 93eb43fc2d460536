"""Several tags for one quantity of one object: one tells it, the others are kept and compared."""

import numpy as np
import pytest

from domain.batch import Batch
from domain.points import Point, PointRegistry, Quality, Retired
from domain.site import Site
from storage.latest import LatestValues
from storage.plant import PlantView
from storage.tellers import HOLDS_MS, LAG_MS

SITE = Site.model_validate(
    {
        "id": "lab",
        "name": "Lab",
        "limit": "600 kW",
        "installed": "700 kW",
        "rack_limit": "150 kW",
        "rack_gpus": 2,
        "pods": [{"id": "P1", "racks": "R001..003", "row": 1}],
        "meters": ["FEED-A"],
    }
)


class Bench:
    """Tags of a plant whose values and clock the test sets."""

    def __init__(self):
        self.now = 1_790_000_000_000
        self.registry = PointRegistry()
        self.latest = LatestValues(self.registry)
        self.plant = PlantView(SITE, self.registry, self.latest, None, clock=lambda: self.now)

    def tag(self, kind, quantity, object_id, name, unit="W", source="dsx:bms", **more):
        key = f"{kind}/{quantity}/d/{object_id}/{name}"
        return self.registry.register(Point(key, kind, quantity, object_id, unit=unit, source=source, **more))

    def tell(self, values, quality=Quality.GOOD):
        self.latest.update(Batch.of(list(values), self.now, list(values.values()), quality, self.now))

    def after(self, ms):
        self.now += ms
        return self


@pytest.fixture
def bench():
    return Bench()


def test_a_rack_that_two_tags_tell_draws_what_one_of_them_says(bench):
    a, b = (bench.tag("Rack", "RackPower", "R002", name) for name in "ab")
    bench.tell({a: 50e3, b: 77e3})
    assert bench.plant.power_now("R002").value == 50e3


def test_two_tags_of_one_tap_are_not_two_taps(bench):
    a, b = (bench.tag("PowerMeter", "ActivePower", "T3", name, serves=("R003",)) for name in "ab")
    other = bench.tag("PowerMeter", "ActivePower", "T4", "a", serves=("R003",))
    bench.tell({a: 70e3, b: 70e3, other: 5e3})
    assert bench.plant.power_now("R003").value == 75e3


@pytest.mark.parametrize(
    "names", [("max", "a"), ("a", "max"), ("PeakDemand", "Power"), ("AvgPower", "Power")]
)
def test_a_maximum_is_never_the_present_power(bench, names):
    tags = {name: bench.tag("PowerMeter", "ActivePower", "FEED-A", name) for name in names}
    bench.tell(
        {tag: 180e3 if name in ("max", "PeakDemand", "AvgPower") else 100e3 for name, tag in tags.items()}
    )
    assert bench.plant.power_now("lab").value == 100e3


def test_a_gpu_that_two_exporters_tell_has_one_place_in_the_table(bench):
    tags = [
        bench.tag("GPU", "GpuTemperature", f"R001-T01-G{gpu}", by, "Cel", associate="R001")
        for by in ("nvml", "dcgm")
        for gpu in range(2)
    ]
    bench.tell(dict.fromkeys(tags, 50.0))
    assert bench.plant.gpu_points("GpuTemperature").tolist() == [tags[:2], [-1, -1], [-1, -1]]


def test_each_of_several_states_counts(bench):
    leak = {"state_text": ((0, "NoLeak"), (1, "Leak"))}
    ropes = [bench.tag("Rack", "RackLeakDetect", "R001", name, "", **leak) for name in ("rope1", "rope2")]
    bench.tell({ropes[0]: 0, ropes[1]: 1})
    assert bench.plant.tellers.one_each(np.array(ropes, np.int32)).tolist() == ropes


def test_a_tag_that_falls_silent_hands_over_and_does_not_take_back_by_itself(bench):
    a, b = (bench.tag("Rack", "RackPower", "R002", name) for name in "ab")
    bench.tell({a: 50e3, b: 51e3})
    assert bench.plant.power_points("R002").tolist() == [a]
    bench.after(LAG_MS + 10_000).tell({b: 52e3})
    assert bench.plant.power_now("R002").value == 52e3
    assert bench.plant.rack_points("RackPower")[1] == b
    bench.after(10_000).tell({a: 53e3, b: 54e3})
    assert bench.plant.power_points("R002").tolist() == [b]


def test_a_tag_of_bad_quality_hands_over_at_once(bench):
    a, b = (bench.tag("Rack", "RackPower", "R002", name) for name in "ab")
    bench.tell({a: 50e3, b: 51e3})
    assert bench.plant.power_points("R002").tolist() == [a]
    version = bench.plant.version
    bench.after(10_000).tell({a: 0.0}, Quality.BAD)
    bench.tell({b: 52e3})
    reading = bench.plant.power_now("R002")
    assert (reading.value, reading.quality) == (52e3, Quality.GOOD)
    assert bench.plant.version != version


def test_a_retired_tag_hands_over(bench):
    a, b = (bench.tag("Rack", "RackPower", "R002", name) for name in "ab")
    bench.tell({a: 50e3, b: 51e3})
    bench.registry.retire(a, Retired.GONE)
    assert bench.plant.power_now("R002").value == 51e3


def test_a_disagreement_is_told_once_it_has_lasted(bench):
    a, b = (bench.tag("Rack", "RackPower", "R002", name) for name in "ab")
    near = [bench.tag("Rack", "RackPower", "R003", name) for name in "ab"]
    most = bench.tag("Rack", "RackPower", "R003", "max")
    bench.tell({a: 50e3, b: 77e3, near[0]: 60e3, near[1]: 61e3, most: 120e3})
    assert bench.plant.tellers.compare() == []
    bench.after(HOLDS_MS).tell({a: 50e3, b: 77e3, near[0]: 60e3, near[1]: 61e3, most: 120e3})
    (found,) = bench.plant.tellers.compare()
    assert (found.used, found.other, found.value, found.other_value) == (a, b, 50e3, 77e3)
    assert bench.now - found.since == HOLDS_MS
    bench.tell({b: 50.5e3})
    assert bench.plant.tellers.compare() == []


@pytest.mark.parametrize(
    ("quantity", "unit", "source"),
    [
        ("Count", "count", "dsx:bms"),
        ("GenericPoint", "", "dsx:bms"),
        ("AirTemperature", "Cel", "snmp:CRAH-01"),
    ],
)
def test_what_only_has_its_type_in_common_is_no_disagreement(bench, quantity, unit, source):
    a, b = (bench.tag("CRAH", quantity, "CRAH-01", name, unit, source) for name in ("inlet", "outlet"))
    for _ in range(4):
        bench.tell({a: 24.0, b: 35.0})
        assert bench.plant.tellers.compare() == []
        bench.after(HOLDS_MS)


def test_a_device_and_a_gateway_that_differ_are_a_disagreement(bench):
    a = bench.tag("CRAH", "AirTemperature", "CRAH-01", "a", "Cel", "snmp:CRAH-01")
    b = bench.tag("CRAH", "AirTemperature", "CRAH-01", "b", "Cel", "dsx:bms")
    bench.tell({a: 24.0, b: 35.0})
    assert bench.plant.tellers.compare() == []
    bench.after(HOLDS_MS).tell({a: 24.0, b: 35.0})
    assert [(d.value, d.other_value) for d in bench.plant.tellers.compare()] == [(24.0, 35.0)]


def test_two_tags_that_differ_only_while_the_load_moves_agree(bench):
    a, b = (bench.tag("Rack", "RackPower", "R002", name) for name in "ab")
    for step in range(60):
        bench.after(10_000).tell({a: 50e3, b: 80e3 if step % 3 else 50e3})
        assert bench.plant.tellers.compare() == []


def test_of_countless_tags_for_one_quantity_a_few_are_looked_at(bench):
    tags = [bench.tag("Rack", "RackPower", "R002", f"t{n:03d}") for n in range(100)]
    bench.tell(dict.fromkeys(tags, 50e3))
    assert bench.plant.power_points("R002").tolist() == tags[:1]
    assert bench.plant.tellers._groups.points.shape == (1, 8)
