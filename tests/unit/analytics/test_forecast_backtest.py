"""A backtest tells honestly how good the forecasts would have been."""

import json

import numpy as np
import pandas as pd
import pytest

from analytics.forecast.evaluation import backtest, best_season, persistence, seasonal_naive
from domain.errors import InputError
from tests.unit.analytics.test_forecaster import hall_power


class Oracle:
    """Knows one series by heart."""

    def __init__(self, truth: pd.Series) -> None:
        self.truth = truth
        self.seen: list[pd.Timestamp] = []

    def fit(self, history: pd.Series, covariates: pd.DataFrame | None = None) -> "Oracle":
        self.end = len(history)
        if covariates is not None:
            assert covariates.index[-1] == history.index[-1]
        self.seen.append(history.index[-1])
        return self

    def predict(self, horizon: int, quantiles: tuple[float, ...]) -> pd.DataFrame:
        values = self.truth.to_numpy()[self.end : self.end + horizon]
        return pd.DataFrame(np.repeat(values[:, None], len(quantiles), 1), columns=list(quantiles))


def test_the_forecaster_is_scored_against_both_baselines() -> None:
    report = backtest(hall_power(60), 24, origins=3)
    assert len(report.origins) == 3
    assert report.model.values == report.seasonal_naive.values == report.persistence.values == 72
    assert report.beats_baselines
    plain = json.loads(json.dumps(report.as_dict()))
    assert plain["pinball_to_seasonal_naive"] == pytest.approx(
        report.model.pinball / report.seasonal_naive.pinball
    )
    assert 0 <= plain["model"]["coverage_90"] <= 1


def test_a_forecaster_sees_only_what_lies_before_each_origin() -> None:
    series = hall_power(25)
    oracle = Oracle(series)
    report = backtest(series, 24, origins=5, covariates=series.to_frame("x"), make=lambda: oracle)
    assert tuple(oracle.seen) == report.origins
    assert report.model.mae == 0
    assert report.beats_baselines


def test_unmeasured_values_are_not_scored() -> None:
    series = hall_power(25)
    truth = series.copy()
    series.iloc[-60:-50] = np.nan
    report = backtest(series, 24, origins=4, make=lambda: Oracle(truth))
    assert report.model.values < 4 * 24
    assert report.model.mae == 0


def test_the_origins_pass_through_the_hours_of_the_day() -> None:
    report = backtest(hall_power(60), 24, origins=12, make=lambda: Oracle(hall_power(60)))
    assert len({time.hour for time in report.origins}) >= 6


def test_the_season_is_the_one_that_fits_the_past() -> None:
    hours = np.arange(24 * 60)
    daily = np.sin(2 * np.pi * hours / 24)
    weekly = daily * ((hours // 24) % 7 < 5)
    assert best_season(weekly, 24) == 168
    assert best_season(daily + np.cumsum(np.random.default_rng(0).normal(size=len(hours))), 24) == 24


def test_seasonal_naive_repeats_the_newest_known_season() -> None:
    known = np.tile(np.arange(24.0), 10)
    np.testing.assert_allclose(seasonal_naive(known, 48, 24)[:, 9], np.tile(np.arange(24.0), 2))


def test_persistence_repeats_the_last_value_and_widens() -> None:
    known = np.cumsum(np.random.default_rng(0).normal(size=500))
    forecast = persistence(known, 24)
    np.testing.assert_allclose(forecast[:, 9], known[-1])
    width = forecast[:, -1] - forecast[:, 0]
    assert width[-1] > 2 * width[0]


def test_baselines_answer_from_the_first_value_on() -> None:
    for count in (1, 2, 5):
        known = np.arange(float(count))
        assert np.isfinite(seasonal_naive(known, 30, 24)).all()
        assert np.isfinite(persistence(known, 30)).all()


def test_too_short_a_series_is_refused_with_what_is_needed() -> None:
    with pytest.raises(InputError, match="at least 160"):
        backtest(hall_power(3), 48)
