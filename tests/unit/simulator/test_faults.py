import numpy as np
import pytest

from domain.errors import ConfigurationError, InputError
from simulator.bms import Bms
from simulator.faults import CATALOGUE, Catalogue, draw, members, objects
from simulator.nvml import Driver
from simulator.nvml_values import GpuReadings
from tests.unit.simulator.factories import NOW, SMALL, small_factory

SHIPPED = Catalogue.shipped()
LAYOUT = small_factory().layout
OBJECTS = objects(LAYOUT, SMALL.id)


def test_the_catalogue_covers_power_cooling_gpus_and_sensors():
    areas = [kind.area for kind in SHIPPED.values()]
    assert len(SHIPPED) >= 20
    assert all(areas.count(area) >= 5 for area in ("power", "cooling", "gpu", "sensor", "bus"))


@pytest.mark.parametrize("name", sorted(SHIPPED))
def test_every_fault_begins_shows_and_ends_without_a_trace(name):
    kind = SHIPPED[name]
    target = next(o for o, k in OBJECTS.items() if k == kind.object)
    factory, healthy = small_factory(), small_factory()
    bms = Bms(factory)
    fault = factory.raise_fault(name, target, NOW + 1000, duration_s=2 * kind.onset + 600.0)
    step = max(2.0, (kind.onset + 10.0) / 10.0)
    for _ in range(12):
        factory.step(step)
        healthy.step(step)
        reading = bms.read()
    assert fault.progress(factory.time_ms) == 1.0
    told = reading.value[~np.isnan(reading.value)]
    assert np.isfinite(told).all()
    assert np.isfinite(factory.gpus.die).all()
    assert shows(factory, healthy, reading)
    factory.faults.clear()
    factory.step()
    for field in factory.conditions.__slots__:
        np.testing.assert_array_equal(getattr(factory.conditions, field), getattr(healthy.conditions, field))
    assert not factory.faults.falsified
    assert not any(factory.faults.silent.values())


def shows(factory, healthy, reading) -> bool:
    """Whether anything differs from the factory in which nothing went wrong."""
    state = any(
        not np.array_equal(getattr(factory.state, name), getattr(healthy.state, name))
        for name in factory.state.__slots__
    )
    heat = not np.array_equal(factory.gpus.die, healthy.gpus.die)
    counters = any((c > 0).any() for c in factory.gpus.counts.values())
    battery = not np.array_equal(factory.conditions.ups_battery_health, healthy.conditions.ups_battery_health)
    electrical = any(
        not np.array_equal(getattr(factory.conditions, k), getattr(healthy.conditions, k))
        for k in ("tap_phase_skew", "tap_resistance", "tap_power_factor", "feed_voltage", "rack_leak")
    )
    return bool(
        state or heat or counters or battery or electrical or factory.xids or factory.faults.falsified
        or factory.faults.agents or any(factory.faults.silent.values()) or (reading.quality != 1).any()
    )  # fmt: skip


def test_severity_and_onset_grade_a_fault():
    factory = small_factory()
    factory.raise_fault("filter-clogging", "P01-CDU1", NOW, severity=0.5)
    factory.time_ms = NOW + 4 * 86_400_000 - 1000  # half way through its eight days
    factory.step()
    assert factory.conditions.cdu_filter_clogging[0] == pytest.approx(1.0 + 5.0 * 0.5 * 0.5, rel=1e-3)
    assert factory.conditions.cdu_filter_clogging[1] == 1.0


def test_two_faults_of_one_object_add_up():
    factory = small_factory()
    for _ in range(2):
        factory.raise_fault("leak", "R003", NOW - 60_000)
    factory.step()
    assert factory.conditions.rack_leak[2] == pytest.approx(4.0)


def test_a_stuck_valve_stays_where_it_was_when_it_stuck():
    factory = small_factory()
    factory.step()
    position = factory.state.valve[1]
    factory.raise_fault("rack-valve-stuck", "R002")
    factory.raise_fault("load-surge", SMALL.id, severity=1.0)
    factory.advance_to(NOW + 600_000, 5.0)
    assert factory.state.valve[1] == position
    assert factory.state.valve[0] != position


def test_a_gpu_that_falls_off_the_bus_reports_it_once():
    factory = small_factory()
    factory.raise_fault("gpu-lost", "R002-T03-G1", NOW + 3000)
    factory.advance_to(NOW + 20_000)
    gpu = 72 + 2 * 4 + 1
    assert [(x.gpu, x.xid) for x in factory.xids] == [(gpu, 79)]
    assert factory.gpus.available[gpu] == 0
    assert factory.gpus.power[gpu] == 0


def test_a_fault_hits_what_its_object_holds():
    assert members(LAYOUT, OBJECTS, "P01", "rack").tolist() == list(range(8))
    assert members(LAYOUT, OBJECTS, "P01", "cdu").tolist() == [0, 1]
    assert members(LAYOUT, OBJECTS, "R002-TAP-B", "tap").tolist() == [3]
    assert members(LAYOUT, OBJECTS, "P01-BUS-B", "tap").tolist() == list(range(1, 16, 2))
    assert members(LAYOUT, OBJECTS, "R002-T01", "gpu").tolist() == [72, 73, 74, 75]
    assert members(LAYOUT, OBJECTS, "UPS-B1", "ups").tolist() == [1]
    assert len(members(LAYOUT, OBJECTS, SMALL.id, "gpu")) == 576


@pytest.mark.parametrize(
    ("name", "target", "point", "area"),
    [
        ("sensor-stuck", "R001", "RackLiquidReturnTemperature", ""),
        ("sensor-spikes", "R001", "RackLiquidFlow", ""),
        ("sensor-noise", "R001", "RackLiquidDifferentialPressure", ""),
        ("sensor-unit", "P01-CDU1", "LiquidFlow", "Secondary"),
        ("sensors-swapped", "P01-CDU1", "LiquidTemperature", "Supply"),
    ],
)
def test_a_sensor_fault_changes_what_is_told_and_not_what_is(name, target, point, area):
    factory, healthy = small_factory(), small_factory()
    factory.raise_fault(name, target, NOW, severity=1.0)
    faulty, sound = Bms(factory), Bms(healthy)
    i = next(
        i for i, p in enumerate(sound.points)
        if (p.point.object_id, p.point.point_type) == (target, point)
        and (not area or area in p.point.process_area) and not p.point.setpoint
    )  # fmt: skip
    told, true = [], []
    for _ in range(60):
        factory.step()
        healthy.step()
        told.append(faulty.read().value[i])
        true.append(sound.read().value[i])
    assert factory.state.site == healthy.state.site
    assert np.abs(np.array(told) - np.array(true)).max() > 5 * sound.noise[i]


def test_quality_and_clock_faults_mark_the_reading():
    factory = small_factory()
    bms = Bms(factory)
    factory.raise_fault("sensor-bad", "R001")
    factory.raise_fault("sensor-clock", "R001")
    factory.step()
    reading = bms.read()
    bad = {bms.points[i].point.point_type for i in np.flatnonzero(reading.quality == 0)}
    late = {bms.points[i].point.point_type for i in np.flatnonzero(reading.late)}
    assert (bad, late) == ({"RackLiquidFlow"}, {"RackPower"})
    assert reading.late.min() == -420_000


def test_faults_are_drawn_by_seed_over_the_whole_site():
    week = 7 * 86_400_000
    one = draw(SHIPPED, LAYOUT, SMALL.id, 5, NOW, NOW + 2 * week, per_week=40)
    assert one == draw(SHIPPED, LAYOUT, SMALL.id, 5, NOW, NOW + 2 * week, per_week=40)
    assert one != draw(SHIPPED, LAYOUT, SMALL.id, 6, NOW, NOW + 2 * week, per_week=40)
    assert 50 < len(one) < 110
    factory = small_factory()
    for name, target, onset, severity in one:
        low, high = SHIPPED[name].severity
        assert low <= severity <= high
        factory.raise_fault(name, target, onset, severity)


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        ("effects: [{knob: cdu_availabel, set: 0}]", "did you mean 'cdu_available'"),
        ("effects: [{knob: cdu_available}]", "exactly one of set, scale, add and hold"),
        ("effects: [{knob: cdu_available, hold: true}]", "cannot hold"),
        ("effects: [{point: RackFlow, how: stuck}]", "point type of the catalogue"),
        ("effects: [{xid: 79, silence: snmp}]", "exactly one of knob, point, silence and xid"),
        ("effects: []", "effects"),
        ("effect: []", "not a known key"),
    ],
)
def test_a_wrong_entry_of_the_catalogue_is_told(tmp_path, entry, message):
    file = tmp_path / "faults.yaml"
    file.write_text(f"faults:\n  - name: x\n    title: X\n    area: cooling\n    object: cdu\n    {entry}\n")
    with pytest.raises(ConfigurationError, match=message):
        Catalogue.load(file)


def test_a_new_fault_is_an_entry_of_the_file(tmp_path):
    file = tmp_path / "faults.yaml"
    file.write_text(
        CATALOGUE.read_text()
        + "  - name: warm-setpoint\n    title: Setpoint up\n    area: cooling\n    object: cdu\n    onset: 1 min\n"
        "    effects: [{knob: cdu_setpoint_shift, add: 2}]\n"
    )
    factory = small_factory()
    factory.faults.catalogue = Catalogue.load(file)
    factory.raise_fault("warm-setpoint", "P01-CDU2")
    factory.advance_to(NOW + 120_000, 5.0)
    assert factory.conditions.cdu_setpoint_shift.tolist() == [0.0, 2.0]


def test_an_entry_whose_object_has_no_such_knob_is_refused_when_it_is_raised(tmp_path):
    file = tmp_path / "faults.yaml"
    file.write_text(
        "faults:\n  - {name: x, title: X, area: gpu, object: gpu, effects: [{knob: rack_blockage, scale: 0.5}]}\n"
    )
    factory = small_factory()
    factory.faults.catalogue = Catalogue.load(file)
    with pytest.raises(InputError, match="a gpu such as R001-T01-G0 has no such knob"):
        factory.raise_fault("x", "R001-T01-G0")


def test_a_gpus_stuck_sensor_lies_to_nvml_while_the_gpu_goes_its_way():
    factory = small_factory()
    factory.advance_to(NOW + 5000)
    readings, driver = GpuReadings(factory), Driver(factory)
    factory.raise_fault("gpu-sensor-stuck", "R001-T02-G1")
    factory.raise_fault("pod-cooling-loss", "P01")
    factory.step()
    driver.refresh()
    before = readings.told()["GpuTemperature"][5]
    assert driver.temperature[5] == before
    factory.advance_to(NOW + 60_000)
    driver.refresh()
    assert factory.gpus.die[5] > before + 5
    assert readings.told()["GpuTemperature"][5] == before
    assert driver.temperature[5] == before
    assert driver.temperature[4] > driver.temperature[5]
