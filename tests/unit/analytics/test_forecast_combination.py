"""Weights by recent loss, and quantiles corrected by their own recent errors."""

import numpy as np
import pytest
from scipy.special import ndtri

from analytics.forecast.combination import Combination, Record, bucket_of, combine, log_width
from analytics.forecast.levels import INNER_90, LEVELS, MEDIAN

DAY, LEADS = 24, np.arange(48)
NORMAL = ndtri(LEVELS)
LOW, HIGH = INNER_90


def record_of(actual: np.ndarray, *members: np.ndarray) -> Record:
    return Record(np.arange(len(actual)), actual, np.stack(members))


def combined(record: Record) -> Combination:
    prior = np.ones(len(record.forecasts))
    return combine(record, LEADS, DAY, prior, history_days=1e6)


def covered(actual: np.ndarray, forecast: np.ndarray) -> float:
    return float(((actual >= forecast[..., LOW]) & (actual <= forecast[..., HIGH])).mean())


@pytest.fixture
def actual() -> np.ndarray:
    return np.random.default_rng(5).normal(size=(120, len(LEADS)))


def bell(centre: np.ndarray | float, width: np.ndarray | float) -> np.ndarray:
    shape = np.broadcast(np.zeros((120, len(LEADS))), centre, width).shape
    return np.broadcast_to(centre, shape)[..., None] + np.broadcast_to(width, shape)[..., None] * NORMAL


def test_the_better_member_gets_the_weight_and_each_row_sums_to_one(actual: np.ndarray) -> None:
    fitted = combined(record_of(actual, bell(0.0, 1.0), bell(3.0, 1.0)))
    assert (fitted.weights[:, 0] > 0.99).all()
    np.testing.assert_allclose(fitted.weights.sum(axis=1), 1.0)


def test_members_that_do_alike_share_the_weight(actual: np.ndarray) -> None:
    fitted = combined(record_of(actual, bell(0.0, 1.0), bell(0.0, 1.0)))
    np.testing.assert_allclose(fitted.weights, 0.5)


@pytest.mark.parametrize(("told", "moves"), [(0.5, "wider"), (2.0, "narrower")])
def test_a_wrong_width_is_corrected_in_part(actual: np.ndarray, told: float, moves: str) -> None:
    fitted = combined(record_of(actual, bell(0.0, told)))
    ahead = bell(0.0, told)[0]
    after = fitted.apply(ahead[None], LEADS, DAY)
    width, before = after[:, HIGH] - after[:, LOW], ahead[:, HIGH] - ahead[:, LOW]
    assert (width > 1.1 * before).all() if moves == "wider" else (width < 0.95 * before).all()


def test_narrow_forecasts_are_corrected_by_the_errors_of_narrow_ones(actual: np.ndarray) -> None:
    rest = np.arange(120) % 2 == 0
    said = np.where(rest, 0.2, 1.0)[:, None]
    came = np.where(rest[:, None], 0.6, 1.0) * actual
    fitted = combined(record_of(came, bell(0.0, said)))

    def widened(width: float) -> float:
        ahead = bell(0.0, width)[0]
        after = fitted.apply(ahead[None], LEADS, DAY)
        return float(((after[:, HIGH] - after[:, LOW]) / (ahead[:, HIGH] - ahead[:, LOW])).mean())

    assert widened(0.2) > 1.5
    assert widened(1.0) == pytest.approx(1.0, abs=0.15)


def test_the_median_is_left_alone_by_the_correction(actual: np.ndarray) -> None:
    fitted = combined(record_of(actual + 0.8, bell(0.0, 1.0)))
    after = fitted.apply(bell(0.0, 1.0)[:1], LEADS, DAY)
    np.testing.assert_allclose(after[:, MEDIAN], 0.0, atol=1e-9)


def test_correction_brings_coverage_towards_nine_in_ten(actual: np.ndarray) -> None:
    wild = 2.0 * actual
    fitted = combined(record_of(wild, bell(0.0, 1.0)))
    before = covered(wild, bell(0.0, 1.0))
    after = covered(wild, fitted.apply(bell(0.0, 1.0)[:1], LEADS, DAY))
    assert before < 0.62
    assert after > before + 0.08


def test_quantiles_stay_in_order_where_the_forecast_has_no_width(actual: np.ndarray) -> None:
    fitted = combined(record_of(actual, bell(0.0, 0.0)))
    after = fitted.apply(bell(0.0, 0.0)[:1], LEADS, DAY)
    assert (np.diff(after, axis=1) >= 0).all()
    assert np.isfinite(log_width(bell(0.0, 0.0))).all()


def spread_after(size: np.ndarray, trained: int = 0) -> float:
    """Width of the 90 % interval after 120 days whose errors were as large as told, to what the members say."""
    random = np.random.default_rng(8)
    errors = random.normal(size=(120, len(LEADS))) * size[:, None]
    said = bell(0.0, random.uniform(0.9, 1.1, size=(120, len(LEADS))))
    record = Record(1000 * DAY + np.arange(120) * DAY, errors, said[None])
    fitted = combine(record, LEADS, DAY, np.ones(1), history_days=1000 + trained)
    after = fitted.apply(bell(0.0, 1.0)[:1], LEADS, DAY)
    return float((after[:, HIGH] - after[:, LOW]).mean() / (2 * NORMAL[HIGH]))


def test_the_spread_follows_the_last_weeks_more_than_the_months_before() -> None:
    lately = np.arange(120) >= 99
    usual = spread_after(np.ones(120))
    assert usual == pytest.approx(1.0, abs=0.1)
    assert spread_after(np.where(lately, 1.6, 1.0)) > 1.35 * usual
    assert spread_after(np.where(lately, 0.6, 1.0)) < 0.85 * usual
    assert spread_after(np.where(lately, 1.0, 1.6)) < 1.25 * usual


def test_errors_of_trial_models_move_the_spread_less_than_those_of_the_members_in_use() -> None:
    rougher = np.where(np.arange(120) >= 99, 1.6, 1.0)
    own, trial = spread_after(rougher), spread_after(rougher, trained=120)
    assert 1.1 < trial / spread_after(np.ones(120), trained=120) < own / spread_after(np.ones(120)) - 0.08


def test_the_spread_follows_within_bounds() -> None:
    still = spread_after(np.where(np.arange(120) >= 99, 0.0, 1.0))
    assert still > 0.7
    moved = np.zeros((120, len(LEADS)))
    moved[-1] = 1e9
    fitted = combined(record_of(moved, bell(0.0, 1.0)))
    assert (fitted.stretch > 0.5).all()
    assert (fitted.stretch < 2.0).all()


def test_without_a_record_the_prior_stands() -> None:
    empty = Record(np.zeros(0, np.int64), np.zeros((0, 48)), np.zeros((2, 0, 48, len(LEVELS))))
    fitted = combine(empty, LEADS, DAY, np.array([1.0, 3.0]), history_days=1e6)
    np.testing.assert_allclose(fitted.weights, [[0.25, 0.75]] * len(fitted.weights))
    assert not fitted.shift.any()


def test_unmeasured_values_do_not_count(actual: np.ndarray) -> None:
    holed = actual.copy()
    holed[::3] = np.nan
    fitted = combined(record_of(holed, bell(0.0, 1.0), bell(3.0, 1.0)))
    assert np.isfinite(fitted.shift).all()
    assert (fitted.weights[:, 0] > 0.99).all()


def test_leads_fall_into_ascending_buckets() -> None:
    assert list(bucket_of(np.array([0, 1, 3, 12, 30, 47, 100, 5000]), DAY)) == [0, 1, 2, 4, 5, 6, 8, 9]
