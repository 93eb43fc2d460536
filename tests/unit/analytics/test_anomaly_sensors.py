"""Sensor faults, told from plant faults and from each other."""

import numpy as np
import pytest

from analytics.anomaly import virtual
from analytics.anomaly.sensors import (
    UNIT_MISTAKES,
    SensorHabits,
    Verdict,
    classify,
    replaced,
    row_noise,
    swapped,
    unit_mistake,
)
from domain.errors import InputError
from domain.plant.rack import COOLANT_HEAT
from domain.points import Quality

ROWS, SENSORS = 180, 200
NOISE, TOLERANCE = 0.8, 8.0


def flows(seed: int = 0) -> tuple[np.ndarray, np.ndarray, SensorHabits]:
    """Flows of 200 racks whose load wanders: readings, virtual readings, habits."""
    rng = np.random.default_rng(seed)
    true = 150 + 25 * np.sin(np.arange(ROWS)[:, None] / 40 + rng.uniform(0, 6, SENSORS))
    values = np.round(true + rng.normal(0, NOISE, true.shape), 1)
    estimate = true + rng.normal(0, 1.5, true.shape)
    return values, estimate, SensorHabits.learn(values, np.full(SENSORS, TOLERANCE))


FAULTS = {
    Verdict.STUCK: lambda v, rng: np.where(np.arange(ROWS) > 60, v[60], v),
    Verdict.DRIFTING: lambda v, rng: v + np.linspace(0, 20, ROWS),
    Verdict.SPIKING: lambda v, rng: v + 60 * (rng.random(ROWS) < 0.03),
    Verdict.NOISY: lambda v, rng: v + rng.normal(0, 8 * NOISE, ROWS),
    Verdict.WRONG_UNIT: lambda v, rng: v / 60,
    Verdict.SILENT: lambda v, rng: np.full(ROWS, np.nan),
}


def test_healthy_sensors_are_good():
    values, estimate, habits = flows()
    assert (classify(values, estimate, habits) == Verdict.GOOD).mean() > 0.99


@pytest.mark.parametrize("fault", FAULTS, ids=lambda f: f.name)
def test_each_fault_is_named_for_nearly_every_sensor_that_has_it(fault):
    values, estimate, habits = flows(1)
    rng = np.random.default_rng(2)
    faulty = np.column_stack([FAULTS[fault](v, rng) for v in values.T])
    assert (classify(faulty, estimate, habits) == fault).mean() > 0.95


def test_a_plant_fault_that_physics_confirms_is_no_sensor_fault():
    values, estimate, habits = flows(3)
    lost = np.where(np.arange(ROWS) > 90, 0.4, 1.0)[:, None]
    assert (classify(values * lost, estimate * lost, habits) == Verdict.GOOD).mean() > 0.99


def test_without_redundancy_only_behaviour_counts():
    values, _, habits = flows(4)
    nothing = np.full(values.shape, np.nan)
    assert (classify(values + 30, nothing, habits) == Verdict.GOOD).mean() > 0.99
    frozen = np.where(np.arange(ROWS)[:, None] > 60, values[60], values)
    assert (classify(frozen, nothing, habits) == Verdict.STUCK).all()


def test_a_quantity_that_stands_still_is_not_stuck():
    steady = np.full((ROWS, 3), 32.5)
    habits = SensorHabits.learn(steady, np.full(3, 0.5))
    assert (classify(steady, steady, habits) == Verdict.GOOD).all()


def test_gaps_are_no_fault_and_disturb_no_verdict():
    values, estimate, habits = flows(5)
    values[np.random.default_rng(0).random(values.shape) < 0.2] = np.nan
    assert (classify(values, estimate, habits) == Verdict.GOOD).mean() > 0.97


def test_the_mistaken_unit_is_named():
    celsius = np.linspace(30, 45, ROWS)[:, None] + np.zeros((1, 3))
    read = np.column_stack([1.8 * celsius[:, 0] + 32, celsius[:, 1] + 273.15, celsius[:, 2]])
    found = unit_mistake(read, celsius, np.full(3, 0.5))
    names = list(UNIT_MISTAKES)
    assert [names[k] if k >= 0 else "" for k in found] == ["degF", "kelvin", ""]


def test_a_reading_at_the_edge_of_its_tolerance_is_not_in_a_unit_that_hardly_differs():
    pressure = np.full((ROWS, 1), 80e3)
    read = pressure + 6000.0 + 250.0 * np.sin(np.arange(ROWS))[:, None]  # kelvins for Celsius would add 273
    assert unit_mistake(read, pressure, np.full(1, 6000.0)).tolist() == [-1]
    assert unit_mistake(1e-3 * pressure, pressure, np.full(1, 6000.0)).tolist() == [0]


def test_supply_and_return_that_are_exchanged_are_both_named():
    supply, ret = np.full(ROWS, 32.0), np.full(ROWS, 44.0)
    estimate = np.column_stack([supply, ret, supply, ret])
    values = np.column_stack([ret, supply, supply, ret])
    found = swapped(values, estimate, [(0, 1), (2, 3)], np.full(4, 1.0))
    assert found.tolist() == [True, True, False, False]


def test_a_faulty_reading_is_replaced_and_marked_and_never_guessed():
    values, quality = replaced(
        np.array([10.0, 11.0, 12.0]),
        np.array([9.0, 20.0, np.nan]),
        np.array([Verdict.GOOD, Verdict.STUCK, Verdict.NOISY]),
    )
    assert values.tolist() == [10.0, 20.0, 12.0]
    assert quality.tolist() == [Quality.GOOD, Quality.ESTIMATED, Quality.BAD]


def test_noise_is_measured_past_ramps_and_gaps():
    rng = np.random.default_rng(0)
    values = np.linspace(0, 500, 5000)[:, None] + rng.normal(0, 2.0, (5000, 1))
    values[100:130] = np.nan
    assert row_noise(values)[0] == pytest.approx(2.0, rel=0.1)
    assert np.isnan(row_noise(np.full((30, 1), np.nan))[0])


def test_a_virtual_flow_agrees_with_the_heat_balance():
    supply, ret = np.array([32.0, 32.0]), np.array([44.0, 32.5])
    power = np.array([COOLANT_HEAT * 150 * 12 / 0.95, 1e3])
    np.testing.assert_allclose(virtual.flow_from_heat(power, supply, ret), [150.0, np.nan])


def test_racks_without_coolant_give_it_no_heat():
    pods, units = np.zeros(3, np.int32), np.zeros(2, np.int32)
    power, flow = np.array([100e3, 100e3, 40e3]), np.array([300.0, 100.0])
    cooled = np.array([True, True, False])
    np.testing.assert_allclose(
        virtual.coolant_heat(power, flow, pods, units, cooled), 0.95 * 200e3 * np.array([0.75, 0.25])
    )
    np.testing.assert_allclose(virtual.coolant_heat(power, flow, pods, units).sum(), 0.95 * 240e3)


def test_peers_vote_from_three_on():
    group = np.array([0, 0, 0, 1, 1], dtype=np.int32)
    values = np.array([32.0, 32.2, 40.0, 32.0, 35.0])
    np.testing.assert_allclose(virtual.from_peers(values, group, 2), [32.2, 32.2, 32.2, np.nan, np.nan])


def test_a_window_that_is_too_short_or_of_another_shape_is_refused():
    values, estimate, habits = flows()
    with pytest.raises(InputError, match="too short"):
        classify(values[:5], estimate[:5], habits)
    with pytest.raises(InputError, match="must both be"):
        classify(values, estimate[:, :3], habits)
