import numpy as np
import pytest

from domain import dsx
from domain.catalogue import CONTRACT, POINT_TYPES
from domain.topology import Topology
from simulator.bms import REPUBLISH_MS, Bms, ChangeFilter
from tests.unit.simulator.factories import NOW, SMALL, small_factory


@pytest.fixture(scope="module")
def bms():
    return Bms(small_factory())


def test_every_point_keeps_to_the_dsx_contract(bms):
    assert len(set(bms.keys)) == len(bms.keys)
    for point, payload in zip(bms.points, bms.payloads, strict=True):
        assert point.violations == ()
        assert point.point.point_type in CONTRACT[point.point.object_type]
        assert payload["objectType"] == point.point.object_type
        topic = dsx.parse_topic(dsx.value_topic(point.point.key))
        assert topic.key == point.point.key


def test_the_topology_leads_from_feed_to_rack_and_from_cdu_to_rack(bms):
    topology = Topology.from_points(p.point for p in bms.points)
    assert topology.serves("FEED-A") == ["UPS-A1"]
    assert topology.serves("UPS-A1") == ["P01-BUS-A"]
    assert topology.serves("P01-BUS-A") == [f"R00{n}-TAP-A" for n in range(1, 9)]
    assert topology.serves("R003-TAP-A") == ["R003"]
    assert topology.serves("P01-CDU2") == [f"R00{n}" for n in range(1, 9)]
    assert {"FEED-A", "FEED-B", "UPS-A1", "P01-CDU1"} <= set(topology.upstream("R003"))


def test_readings_are_what_is_within_the_instruments_errors(bms):
    exact = (bms.exact() - bms.offset) / bms.scale
    told = bms.read().value
    assert np.abs(told - exact).max() < 1.0
    worst = np.abs(told - exact) - 6 * bms.noise - 0.5 * bms.resolution
    assert worst.max() <= 1e-9


def test_meters_add_up_as_they_are_published(bms):
    told = dict(zip(bms.keys, bms.read().value, strict=True))

    def power(kind, ends):
        return sum(v for k, v in told.items() if k.startswith(f"{kind}/") and ends in k)

    rack = power("Rack/RackPower", "/R003/")
    assert power("PowerMeter/ActivePower", "/R003-TAP-") == pytest.approx(rack, abs=0.02)
    racks = power("Rack/RackPower", "/info/")
    assert power("PowerMeter/ActivePower", "-BUS-") == pytest.approx(racks, abs=0.2)
    assert power("PowerMeter/ActivePower", "/FEED-") == pytest.approx(bms.factory.state.site / 1e3, abs=0.2)


def test_units_are_canonical_once_scaled(bms):
    reading = bms.read()
    for i in range(0, len(bms.points), 7):
        point = bms.points[i].point
        assert point.unit == ("" if point.is_state else POINT_TYPES[point.point_type].unit)
    i = bms.keys.index(next(k for k in bms.keys if k.startswith("Rack/RackPower")))
    assert 30e3 < reading.value[i] * bms.scale[i] < 150e3


def test_first_everything_is_told_then_what_moved_and_each_value_again_every_100_s():
    factory = small_factory()
    bms = Bms(factory)
    change = ChangeFilter(bms)
    told = np.zeros(len(bms.points), int)
    first = change(bms.read())
    assert len(first) == len(bms.points)
    last = np.full(len(bms.points), NOW)
    for _ in range(60):
        factory.step(2.0)
        tell = change(bms.read())
        told[tell] += 1
        last[tell] = factory.time_ms
    assert (told >= 1).all()
    assert (factory.time_ms - last).max() < REPUBLISH_MS
    assert told.mean() < 40
    power = [i for i, k in enumerate(bms.keys) if k.startswith("PowerMeter/ActivePower") and "FEED" in k]
    assert told[power].min() > 30


def test_a_change_of_quality_is_told_at_once():
    factory = small_factory()
    bms = Bms(factory)
    change = ChangeFilter(bms)
    change(bms.read())
    factory.raise_fault("sensor-bad", "R001")
    factory.step()
    reading = bms.read()
    bad = np.flatnonzero(reading.quality == 0)
    assert set(bad) <= set(change(reading))


def test_a_leak_is_seen_at_its_rack_and_its_pod_and_lowers_the_loops_pressure():
    factory = small_factory()
    bms = Bms(factory)
    pressure = next(i for i, k in enumerate(bms.keys) if "secondary/return/pressure" in k)
    before = bms.read().value[pressure]
    factory.raise_fault("leak", "R004")
    factory.advance_to(NOW + 300_000, 5.0)
    told = dict(zip(bms.keys, bms.read().value, strict=True))
    leaks = [k for k, v in told.items() if k.startswith("Rack/RackLeakDetect/") and v == 1]
    assert leaks == [f"Rack/RackLeakDetect/{SMALL.id}/P01/R004/leakStatus/state"]
    assert told[f"Sensor/LeakDetect/{SMALL.id}/P01/environment/leakStatus/state"] == 1
    assert told[bms.keys[pressure]] < before - 5


def test_a_loop_that_stands_still_does_not_flow_backwards():
    factory = small_factory()
    bms = Bms(factory)
    factory.raise_fault("cdu-trip", "P01-CDU1")
    factory.advance_to(NOW + 60_000)
    still = [i for i, k in enumerate(bms.keys) if "P01-CDU1/secondary/flow" in k]
    told = np.array([bms.read().value[still] for _ in range(50)])
    assert told.min() == 0
    assert told.max() < 5
