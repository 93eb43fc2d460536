import numpy as np
import pytest

from analytics.outlook.thermal import RackHistory, approach_outlook, temperature_outlook
from domain.plant.rack import COOLANT_HEAT
from domain.site import ThermalLimits

LIMITS = ThermalLimits(gpu=87.0, coolant_supply=40.0, coolant_return=52.0)
SHARE, RESISTANCE = 0.93, 3e-4


def racks(power, supply=32.5, flow=None, noise=0.0, seed=0):
    """What racks tell that obey the heat balance at once (their time constant is far below a step)."""
    rng = np.random.default_rng(seed)
    power = np.asarray(power, float)
    flow = np.clip(1.18e-3 * power, 40, 230) if flow is None else flow
    supply = np.broadcast_to(supply, power.shape) + noise * rng.standard_normal(power.shape)
    ret = supply + SHARE * power / (COOLANT_HEAT * np.maximum(flow, 0.5))
    ret = ret + noise * rng.standard_normal(power.shape)
    gpu = supply + 0.7 * (ret - supply) + RESISTANCE * power + noise * rng.standard_normal(power.shape)
    return RackHistory(power, supply, ret, np.broadcast_to(flow, power.shape), gpu)


def varying(shape=(4, 72), seed=1):
    return 9e4 + 2e4 * np.cumsum(np.random.default_rng(seed).normal(0, 0.15, shape), axis=1)


def test_a_steady_rack_stays_where_it_is():
    outlook = temperature_outlook(racks(np.full((2, 72), 1e5)), 12, 300.0, LIMITS)
    assert outlook.supply.values == pytest.approx(32.5)
    assert outlook.ret.values == pytest.approx(32.5 + SHARE / (COOLANT_HEAT * 1.18e-3))
    assert outlook.gpu.breach_probability == pytest.approx(0.0)


def test_each_rack_is_fitted_its_own_share_of_heat_in_the_liquid():
    history = racks(varying(), noise=0.02)
    own = RackHistory(history.power, history.supply, history.ret.copy(), history.flow, history.gpu)
    own.ret[2] = own.supply[2] + (own.ret[2] - own.supply[2]) * 0.80 / SHARE
    model = temperature_outlook(own, 3, 300.0, LIMITS).model
    assert model.liquid_share == pytest.approx([SHARE, SHARE, 0.80, SHARE], abs=0.005)


def test_the_time_constant_is_found_where_the_steps_show_it():
    power = np.where(np.arange(120) % 40 < 20, 4e4, 1.2e5)[None, :].repeat(2, 0)
    flow = np.full(power.shape, 100.0)
    capacity = np.array([2e5, 8e5])[:, None]
    final = SHARE * power / (COOLANT_HEAT * flow)
    left = np.exp(-10.0 * COOLANT_HEAT * 100.0 / capacity)
    rise = final.copy()
    for k in range(1, power.shape[1]):
        rise[:, k] = final[:, k] + (rise[:, k - 1] - final[:, k]) * left[:, 0]
    supply = np.full(power.shape, 32.0)
    history = RackHistory(power, supply, supply + rise, flow, supply + rise + RESISTANCE * power)
    assert temperature_outlook(history, 3, 10.0, LIMITS).model.heat_capacity.tolist() == [2e5, 8e5]


def test_temperatures_follow_the_load_that_is_expected():
    history = racks(varying(), noise=0.02)
    load = np.full((4, 12), 1.3e5)
    outlook = temperature_outlook(history, 12, 300.0, LIMITS, load=load)
    expected = 32.5 + 0.7 * SHARE / (COOLANT_HEAT * 1.18e-3) + RESISTANCE * 1.3e5
    assert outlook.gpu.values[:, -1, 2] == pytest.approx(expected, abs=0.5)


def test_a_rack_that_loses_its_flow_is_foretold_to_pass_its_limit():
    history = racks(np.full((3, 72), 1e5), noise=0.02)
    flow = np.array(history.flow)
    flow[1, -1:] = 30.0
    told = temperature_outlook(
        RackHistory(history.power, history.supply, history.ret, flow, history.gpu), 12, 300.0, LIMITS
    )
    assert told.ret.breach_probability[1].max() > 0.9
    assert told.ret.breach_probability[[0, 2]].max() < 0.05


def test_supply_that_heats_up_is_foretold_to_pass_its_limit():
    supply = np.concatenate([32.5 + 0.02 * np.sin(np.arange(66)), 32.5 + 1.2 * np.arange(1, 7)])
    outlook = temperature_outlook(racks(np.full((2, 72), 1e5), supply=supply), 12, 300.0, LIMITS)
    assert outlook.supply.breach_probability.max() > 0.5


def test_a_single_spike_is_no_trend():
    history = racks(np.full((2, 72), 1e5), noise=0.02)
    history.ret[0, -1] += 4.0
    values = temperature_outlook(history, 12, 300.0, LIMITS).ret.values
    assert values[0, -1, 2] == pytest.approx(values[1, -1, 2], abs=0.3)


def test_without_power_and_flow_temperatures_are_foretold_from_themselves():
    history = racks(varying(), noise=0.02)
    blank = np.full(history.power.shape, np.nan)
    blind = RackHistory(blank, history.supply, history.ret, blank, history.gpu)
    outlook = temperature_outlook(blind, 12, 300.0, LIMITS)
    assert outlook.gpu.values[:, 0, 2] == pytest.approx(history.gpu[:, -1], abs=1.5)


def test_quantiles_are_in_order_and_widen_with_lead():
    values = temperature_outlook(racks(varying(), noise=0.02), 12, 300.0, LIMITS).gpu.values
    assert (np.diff(values, axis=2) >= 0).all()
    spread = values[..., -1] - values[..., 0]
    assert (spread[:, -1] > spread[:, 0]).all()


def test_a_rack_without_history_has_no_outlook():
    history = racks(np.full((2, 72), 1e5))
    for table in (history.power, history.ret, history.gpu):
        table[0] = np.nan
    outlook = temperature_outlook(history, 3, 300.0, LIMITS)
    assert np.isnan(outlook.ret.values[0]).all()
    assert np.isnan(outlook.gpu.values[0]).all()
    assert not np.isnan(outlook.ret.values[1]).any()


def test_a_short_history_has_wide_or_no_quantiles_and_raises_nothing():
    for n in (1, 2, 5, 8, 13):
        outlook = temperature_outlook(racks(varying((3, n))), 12, 300.0, LIMITS)
        assert np.isnan(outlook.ret.values).all() == (n < 6)


def test_the_approach_of_a_cdu_is_supply_above_facility_water():
    rng = np.random.default_rng(0)
    supply = 32.5 + 0.01 * rng.standard_normal((24, 72))
    water = 26.0 + 0.01 * rng.standard_normal((24, 72))
    water[3] += np.linspace(0, 2, 72) ** 3 / 4
    values = approach_outlook(supply, water, 12).values
    assert values[:3, -1, 2] == pytest.approx(6.5, abs=0.05)
    assert values[3, -1, 2] < 4.55
