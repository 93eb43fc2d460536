import numpy as np
import pytest

from domain.plant.cdu import CduModel
from domain.plant.conditions import HEALTHY, Conditions
from domain.plant.gpu import GpuModel
from domain.plant.lag import toward
from domain.plant.layout import PlantLayout
from domain.plant.model import Plant
from domain.plant.rack import COOLANT_HEAT, WATER_HEAT, RackModel
from simulator.options import SITE, read_site

LAYOUT = PlantLayout.of(read_site(SITE))
RACKS = len(LAYOUT.racks)
PLANT = Plant(LAYOUT)
LOAD = np.full(RACKS, 125e3)


def settle(**knobs):
    conditions = Conditions.healthy(LAYOUT)
    for name, (where, value) in knobs.items():
        getattr(conditions, name)[where] = value
    return PLANT.settle(LOAD, conditions, 20.0)


def test_a_settled_rack_gives_its_liquid_the_heat_that_it_draws():
    state = settle()
    carried = COOLANT_HEAT * state.flow * (state.ret - state.supply)
    assert carried == pytest.approx(0.95 * LOAD, rel=1e-6)


def test_a_settled_cdu_gives_the_facility_water_what_the_racks_give_it():
    state = settle()
    primary = WATER_HEAT * state.primary_flow * (state.primary_out - state.primary_in)
    assert primary == pytest.approx(state.cdu_heat, rel=0.02)
    assert state.cdu_heat.sum() == pytest.approx(0.95 * LOAD.sum(), rel=0.01)


@pytest.mark.parametrize("kilowatts", [60, 100, 132])
def test_coolant_stays_within_what_such_racks_have(kilowatts):
    state = PLANT.settle(np.full(RACKS, kilowatts * 1e3), wet_bulb=22.0)
    assert ((state.supply > 32) & (state.supply < 33)).all()
    assert ((state.ret > 42) & (state.ret < 47)).all()
    per_kilowatt = state.flow / kilowatts
    assert ((per_kilowatt > 1.0) & (per_kilowatt < 1.5)).all()
    assert state.dp == pytest.approx(80e3, rel=0.02)


def test_an_infinite_step_lands_where_many_short_ones_do():
    settled = settle()
    state = PLANT.rest(wet_bulb=20.0)
    conditions = Conditions.healthy(LAYOUT)
    for _ in range(900):
        PLANT.step(state, LOAD, conditions, 2.0)
    for name in ("supply", "ret", "flow", "cdu_supply", "cdu_speed", "site", "hot_aisle"):
        assert getattr(state, name) == pytest.approx(getattr(settled, name), rel=0.01), name


def test_many_times_at_once_are_the_same_as_one_by_one():
    loads = np.random.default_rng(3).uniform(50e3, 130e3, (5, RACKS))
    together = PLANT.settle(loads, wet_bulb=np.arange(15.0, 20.0))
    for i in range(5):
        alone = PLANT.settle(loads[i], wet_bulb=15.0 + i)
        for name in ("site", "ret", "feeds", "cdu_speed", "primary_valve", "hot_aisle", "taps"):
            assert getattr(together, name)[i] == pytest.approx(getattr(alone, name)), name


def test_when_a_cdu_trips_its_partner_carries_the_pod():
    state = settle(cdu_available=(0, 0))
    assert state.cdu_flow[0] == 0
    assert state.cdu_flow[1] == pytest.approx(2 * settle().cdu_flow[1], rel=0.01)
    assert state.cdu_speed[1] > settle().cdu_speed[1]
    assert state.supply[0] < 34.0


def test_when_both_trip_the_racks_heat_up_by_their_heat_over_their_heat_capacity():
    state = settle()
    conditions = Conditions.healthy(LAYOUT)
    conditions.cdu_available[:2] = 0
    for _ in range(20):
        PLANT.step(state, LOAD, conditions, 1.0)
    before = state.ret[0]
    for _ in range(10):
        PLANT.step(state, LOAD, conditions, 1.0)
    assert state.flow[0] == 0
    assert (state.ret[0] - before) / 10 == pytest.approx(0.95 * LOAD[0] / RackModel().heat_capacity, rel=0.1)
    assert state.ret[8] == pytest.approx(settle().ret[8], abs=0.1)


def test_wear_shows_where_a_mechanic_would_look():
    healthy = settle()
    assert settle(cdu_pump_health=(0, 0.6)).cdu_speed[0] > healthy.cdu_speed[0] * 1.2
    clogged = settle(cdu_filter_clogging=(0, 5.0))
    assert clogged.cdu_filter_dp[0] == pytest.approx(5 * healthy.cdu_filter_dp[0], rel=0.01)
    assert clogged.cdu_speed[0] > healthy.cdu_speed[0]
    fouled = settle(cdu_exchanger_health=(0, 0.55))
    assert fouled.primary_valve[0] > healthy.primary_valve[0] * 1.15
    assert fouled.supply[0] == pytest.approx(healthy.supply[0], abs=0.1)
    blocked = settle(rack_blockage=(0, 0.45))
    assert blocked.valve[0] > healthy.valve[0]
    assert settle(rack_blockage=(0, 0.2)).ret[0] > healthy.ret[0] + 3


def test_warm_facility_water_and_humid_heat_cost_power_and_then_temperature():
    dry = PLANT.settle(LOAD, wet_bulb=15.0)
    humid = PLANT.settle(LOAD, wet_bulb=27.0)
    assert humid.mechanical > dry.mechanical
    assert humid.water > dry.water
    assert settle(water_offset=(0, 9.0)).supply.max() > settle().supply.max() + 1


def test_a_pod_without_its_air_handlers_gets_hot_aisles():
    conditions = Conditions.healthy(LAYOUT)
    conditions.crah_available[:2] = 0
    state = PLANT.settle(LOAD, conditions)
    assert state.cold_aisle[0] > state.cold_aisle[1] + 2


def test_a_pump_that_is_too_weak_gives_what_it_can():
    model = CduModel()
    conductance, one = np.array([5.0]), np.ones(1)
    weak = model.highest_dp(conductance, one, one * 0.3, one)
    assert 0 < weak < model.dp_setpoint
    assert model.speed(weak, conductance * np.sqrt(weak), one * 0.3, one) == pytest.approx(1.0)


def test_heat_exchangers_never_cool_below_the_water_nor_warm_the_coolant():
    model = CduModel()
    flow = np.linspace(0.0, 1500.0, 50)
    supply = model.supply_temperature(
        np.full(50, 45.0), np.full(50, 600.0), np.full(50, 25.0), flow, np.ones(50)
    )
    assert ((supply > 25.0) & (supply <= 45.0)).all()
    assert (np.diff(supply) < 0).all()


def test_a_gpu_runs_at_its_limits_and_throttles_before_its_slowdown_temperature():
    model = GpuModel()
    assert model.power(np.array([0.0, 1.0])).tolist() == [180.0, 1200.0]
    assert model.die_temperature(np.array([38.0]), np.array([1200.0]), 0.028) == pytest.approx(71.6)
    cool, hot = (
        model.throttle(np.zeros(1), np.array([80.0]), 60.0),
        model.throttle(np.zeros(1), np.array([88.0]), 60.0),
    )
    assert cool == 0
    assert hot > 0.5
    assert model.clock(np.array([0.9]), hot) < model.clock(np.array([0.9]), cool)
    assert model.clock(np.array([0.0]), cool) == model.clock_idle


def test_a_lag_is_exact_for_any_step():
    one = toward(np.array([0.0]), np.array([10.0]), 6.0, 4.0)
    many = np.array([0.0])
    for _ in range(6):
        many = toward(many, np.array([10.0]), 1.0, 4.0)
    assert one == pytest.approx(many)
    assert toward(np.array([0.0]), np.array([10.0]), np.inf, 4.0) == 10.0


def test_healing_restores_every_knob():
    conditions = Conditions.healthy(LAYOUT)
    for name in HEALTHY:
        getattr(conditions, name)[:] = 7.0
    conditions.heal()
    for name, (_, value) in HEALTHY.items():
        np.testing.assert_array_equal(getattr(conditions, name), value)
