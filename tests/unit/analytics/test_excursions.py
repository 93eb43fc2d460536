import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import norm
from scipy.stats import t as student_t

from analytics.outlook.excursions import _heavy_tailed, exceedance, quarter_outlook, to_shed
from analytics.outlook.power import PlannedSteps
from domain.envelope import QUARTER_MS
from domain.forecast import QUANTILES

NORMAL = 15e6 + 0.3e6 * norm.ppf(QUANTILES)


@pytest.mark.parametrize("limit", [14.6e6, 14.9e6, 15.0e6, 15.2e6, 15.5e6])
def test_the_probability_of_passing_a_limit_is_that_of_the_distribution(limit):
    found = exceedance(NORMAL[None, :], QUANTILES, np.array([limit]))[0]
    assert found == pytest.approx(norm.sf((limit - 15e6) / 0.3e6), abs=0.01)


def test_no_limit_gives_no_probability():
    assert np.isnan(exceedance(NORMAL[None, :], QUANTILES, np.array([np.nan]))[0])


def test_a_certain_forecast_is_above_or_not():
    flat = np.full((3, len(QUANTILES)), 10.0)
    assert exceedance(flat, QUANTILES, np.array([9.0, 10.0, 11.0])).tolist() == [
        1.0,
        pytest.approx(0.05),
        0.0,
    ]


@given(st.lists(st.floats(-1e7, 1e7), min_size=19, max_size=19), st.floats(-2e7, 2e7), st.floats(0, 1e7))
def test_a_higher_limit_is_never_more_likely_passed(values, limit, more):
    rows = np.sort(np.array(values))[None, :].repeat(2, 0)
    low, high = exceedance(rows, QUANTILES, np.array([limit, limit + more]))
    assert 0 <= high <= low <= 1


def test_what_is_to_be_shed_brings_the_risk_under_one_percent():
    rows, limit = NORMAL[None, :], np.array([15.2e6])
    shed = to_shed(rows, QUANTILES, limit)
    assert exceedance(rows - shed[:, None], QUANTILES, limit)[0] == pytest.approx(0.01, abs=1e-3)
    assert to_shed(rows, QUANTILES, np.array([17e6]))[0] == 0.0


def series(minutes, power):
    start = 1_700_000_100_000 // QUARTER_MS * QUARTER_MS
    time = start - 3_600_000 + 60_000 * np.arange(60 + minutes)
    return time, power(np.arange(60 + minutes)), start + minutes * 60_000


def test_at_steady_power_the_quarter_hour_ends_where_it_is():
    time, power, now = series(5, lambda m: np.full(len(m), 15e6))
    outlook = quarter_outlook(time, power, now, limit=16e6)
    assert outlook.expected == pytest.approx(15e6)
    assert outlook.elapsed == pytest.approx(1 / 3)
    assert outlook.breach_probability == pytest.approx(0, abs=1e-3)


def test_a_late_surge_counts_only_for_the_minutes_left():
    time, power, now = series(10, lambda m: np.where(m >= 69, 20e6, 15e6))
    outlook = quarter_outlook(time, power, now, limit=17e6)
    used = (9 * 15e6 + 20e6) / 10
    assert outlook.expected == pytest.approx(used * 2 / 3 + 20e6 / 3)


def test_a_checkpoint_is_not_taken_for_the_new_level():
    time, power, now = series(6, lambda m: np.where(m == 65, 12e6, 15e6))
    taken_for_a_level = (5 * 15e6 + 12e6 + 9 * 12e6) / 15
    assert quarter_outlook(time, power, now, 16e6).expected > taken_for_a_level + 1.5e6
    # one that comes again and again belongs to the level
    time, power, now = series(6, lambda m: np.where(m % 4 == 0, 12e6, 15e6))
    assert quarter_outlook(time, power, now, 16e6).expected == pytest.approx(14.25e6, rel=0.01)


def test_a_drop_that_lasts_is_the_new_level():
    time, power, now = series(6, lambda m: np.where(m >= 63, 12e6, 15e6))
    assert quarter_outlook(time, power, now, 16e6).expected == pytest.approx((3 * 15e6 + 12 * 12e6) / 15)


def test_a_limit_that_is_near_may_be_passed_even_after_an_hour_of_quiet():
    time, power, now = series(3, lambda m: np.full(len(m), 15e6))
    assert 0.005 < quarter_outlook(time, power, now, limit=15.2e6).breach_probability < 0.1
    assert quarter_outlook(time, power, now, limit=15e6).breach_probability == pytest.approx(0.5)


@pytest.mark.parametrize("deviations", [-8.0, -1.0, 0.0, 0.5, 3.0])
def test_the_tails_of_the_quarter_hour_are_those_of_students_t(deviations):
    assert _heavy_tailed(deviations) == pytest.approx(student_t.cdf(deviations, 3, scale=3**-0.5))


def test_a_probability_is_one_however_far_away_the_limit_is():
    for power in range(3, 9):
        for mantissa in np.linspace(1, 9.99, 200):
            assert 0 <= _heavy_tailed(-mantissa * 10.0**power) <= _heavy_tailed(mantissa * 10.0**power) <= 1


def test_uncertainty_shrinks_as_the_quarter_hour_passes():
    rng = np.random.default_rng(1)
    walk = 15e6 + np.cumsum(rng.normal(0, 1e5, 200))
    early = quarter_outlook(*_upto(walk, 3), limit=16e6)
    late = quarter_outlook(*_upto(walk, 12), limit=16e6)
    assert late.deviation < early.deviation


def _upto(walk, minutes):
    time, power, now = series(minutes, lambda m: walk[: len(m)])
    return time, power, now


def test_without_any_power_the_outlook_is_unknown_and_not_zero():
    time, power, now = series(5, lambda m: np.full(len(m), np.nan))
    assert np.isnan(quarter_outlook(time, power, now, 16e6).expected)


def test_a_job_that_is_planned_to_end_counts_for_the_rest_of_the_quarter_hour():
    start = 1_790_000_000_000 // QUARTER_MS * QUARTER_MS
    time = start - 3_600_000 + 10_000 * np.arange(390)
    power = np.full(390, 12e6)
    now = int(time[-1]) + 10_000
    steps = PlannedSteps(np.array([start + 600_000]), np.array([-3e6]))
    told = quarter_outlook(time, power, now, 13e6, steps.mean_change(now, start + QUARTER_MS))
    assert told.expected == pytest.approx(12e6 - 3e6 / 3, rel=1e-3)
