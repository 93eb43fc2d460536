"""Residuals against peers and physics."""

import numpy as np

from analytics.anomaly import plant
from analytics.anomaly.peers import group_median

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
