"""Residuals against peers and physics."""

import numpy as np
import pytest

from analytics.anomaly import plant
from analytics.anomaly.peers import group_median, peer_residual, peer_spread
from domain.plant.cdu import CduModel
from domain.plant.rack import COOLANT_HEAT

RACKS, PER_RACK = 96, 72
RACK = np.repeat(np.arange(RACKS, dtype=np.int32), PER_RACK)


def gpus(seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    level = rng.uniform(300, 1150, RACKS)
    power = level[RACK] * rng.normal(1, 0.03, len(RACK))
    coolant = 38 + 0.004 * level
    resistance = 0.028 * rng.lognormal(0, 0.03, len(RACK))
    temperature = np.round(coolant[RACK] + resistance * power + rng.normal(0, 0.3, len(RACK)))
    return temperature, power, coolant


def test_group_medians_equal_those_taken_one_by_one():
    rng = np.random.default_rng(1)
    values = rng.normal(size=500)
    values[rng.random(500) < 0.2] = np.nan
    group = rng.integers(0, 9, 500).astype(np.int32)
    expected = [np.nanmedian(values[group == g]) for g in range(9)]
    np.testing.assert_allclose(group_median(values, group, 10), [*expected, np.nan])
    assert np.isnan(group_median(np.full(3, np.nan), np.zeros(3, np.int32), 2)).all()
    np.testing.assert_allclose(
        peer_residual(values, group, 9), values - np.array(expected)[group], equal_nan=True
    )


def test_the_robust_spread_is_the_standard_deviation_of_normal_peers_and_ignores_a_wild_one():
    values = np.random.default_rng(2).normal(0, 2.0, 10_000)
    values[0] = 1e9
    assert peer_spread(values, np.zeros(10_000, np.int32), 1)[0] == pytest.approx(2.0, rel=0.05)


def test_a_badly_mounted_gpu_stands_out_among_the_72_of_its_rack_and_no_other_does():
    temperature, power, coolant = gpus()
    hot = RACK.searchsorted(40) + 11
    temperature[hot] += 0.5 * 0.028 * power[hot]
    score = scores(temperature, power, coolant)
    assert score[hot] > 1
    assert (np.delete(score, hot) < 1).all()


def scores(temperature: np.ndarray, power: np.ndarray, coolant: np.ndarray) -> np.ndarray:
    shape = (RACKS, -1)
    return plant.gpu_scores(
        plant.gpu_residual(temperature.reshape(shape), power.reshape(shape), coolant)
    ).ravel()


def test_gpus_of_a_busy_and_of_an_idle_job_in_one_rack_are_all_healthy():
    temperature, power, coolant = gpus()
    idle = np.arange(10)
    power[idle] = 180.0
    temperature[idle] = coolant[0] + 0.028 * 180.0
    assert (scores(temperature, power, coolant) < 1).all()


def test_a_gpu_without_a_reading_has_no_score_and_does_not_disturb_the_others():
    temperature, power, coolant = gpus()
    temperature[5] = np.nan
    score = scores(temperature, power, coolant)
    assert np.isnan(score[5])
    assert np.isfinite(np.delete(score, 5)).all()


def test_the_heat_balance_closes_and_tells_a_flow_meter_that_reads_low():
    power = np.array([120e3, 120e3, 0.0])
    flow = np.array([150.0, 150.0, 40.0])
    ret = 32 + 0.95 * power / (COOLANT_HEAT * flow)
    supply = np.full(3, 32.0)
    off = plant.heat_balance(flow * [1.0, 0.8, 1.0], supply, ret, power)
    np.testing.assert_allclose(off[:2], [0.0, 0.2], atol=1e-12)
    assert np.isnan(off[2])


def test_a_branch_without_a_meter_is_missing_from_the_sum_and_a_missing_child_gives_no_verdict():
    children = np.array([100.0, 50.0, 30.0, np.nan])
    group = np.array([0, 0, 1, 2], dtype=np.int32)
    missing = plant.missing_from_sum(children, np.array([150.0, 40.0, 10.0]), group)
    np.testing.assert_allclose(missing, [0.0, 0.25, np.nan])


def test_phase_imbalance_follows_the_nema_definition():
    current = np.array([[100.0, 100.0, 100.0], [110.0, 100.0, 90.0], [0.0, 0.0, 0.0]])
    np.testing.assert_allclose(plant.phase_imbalance(current), [0.0, 0.1, np.nan])


def test_the_power_factor_of_an_idle_tap_means_nothing():
    factor = plant.power_factor(np.array([98.0, 0.1]), np.array([100.0, 0.5]))
    np.testing.assert_allclose(factor, [0.98, np.nan])


def test_units_that_share_a_load_equally_are_at_nought_and_one_that_rests_has_no_verdict():
    off = plant.sharing(
        np.array([50.0, 50.0, 80.0, 40.0, 70.0, 0.0]),
        np.array([1, 1, 1, 1, 1, 0]),
        np.array([0, 0, 1, 1, 2, 2], dtype=np.int32),
        3,
    )
    np.testing.assert_allclose(off, [0.0, 0.0, 1 / 3, -1 / 3, 0.0, np.nan])


def test_pump_wear_and_a_clogged_filter_are_read_off_the_curves_of_the_plant():
    cdu = CduModel()
    flow, dp = np.array([900.0, 900.0]), np.array([85e3, 85e3])
    clogging = np.ones(2)
    speed = cdu.speed(dp, flow, np.array([1.0, 0.8]), clogging)
    wear = plant.pump_wear(speed, flow, dp, cdu.head, cdu.loss + cdu.filter_loss)
    np.testing.assert_allclose(wear, [0.0, 0.2], atol=1e-9)
    drop = cdu.filter_dp(flow, np.array([1.0, 2.5]))
    np.testing.assert_allclose(plant.fouling(drop, flow, cdu.filter_loss), [0.0, 1.5])


def test_thermal_resistance_that_creeps_up_over_weeks_is_followed_through_idle_nights():
    rng = np.random.default_rng(3)
    track = plant.ResistanceTrack(2)
    quarter = 900.0
    for step in range(28 * 96):
        power = np.full(2, 1100.0 if step % 96 > 30 else 180.0)
        days = step / 96
        resistance = np.array([0.028, 0.028 * (1 + 0.01 * max(days - 4, 0))])
        rise = np.round(resistance * power + rng.normal(0, 0.5, 2))
        track.update(np.where(rng.random(2) < 0.1, np.nan, rise), power, quarter)
    healthy, fouled = track.drift
    assert abs(healthy) < 0.01
    assert fouled == pytest.approx(0.22, abs=0.03)
    assert track.resistance[0] == pytest.approx(0.028, rel=0.01)


def test_the_reference_of_a_track_waits_until_it_has_seen_enough():
    track = plant.ResistanceTrack(1, settling=3600.0)
    track.update(np.array([28.0]), np.array([1000.0]), 1800.0)
    assert np.isnan(track.drift[0])
    track.update(np.array([28.0]), np.array([1000.0]), 1800.0)
    assert track.drift[0] == pytest.approx(0.0)
