"""Planning a week ahead: 672 quarter hours or 168 hours, learnt for it or beyond what was learnt."""

import numpy as np
import pandas as pd
import pytest

from analytics.forecast import PowerForecaster
from analytics.forecast.evaluation import seasonal_naive
from analytics.forecast.levels import pinball
from tests.unit.analytics.test_forecaster import hall_power

QUANTILES = [0.05, 0.25, 0.5, 0.75, 0.95]
LEVELS = np.array(QUANTILES)


@pytest.fixture(scope="module")
def hourly() -> pd.Series:
    return hall_power(70, seed=8)


@pytest.fixture(scope="module")
def planner(hourly: pd.Series) -> PowerForecaster:
    return PowerForecaster(horizon="7D").fit(hourly.iloc[:-168])


def test_a_week_of_quarter_hours_is_bounded_and_in_order() -> None:
    history = hall_power(35, "15min", tz="Asia/Taipei")
    forecaster = PowerForecaster(horizon="7D", country="TW", lower=8.2e6, upper=10.5e6).fit(history)
    forecast = forecaster.predict(672, QUANTILES)
    assert forecast.shape == (672, 5)
    assert forecast.index[-1] == history.index[-1] + pd.Timedelta("7D")
    assert forecaster.provenance_.method == "combination"
    values = forecast.to_numpy()
    assert (np.diff(values, axis=1) >= 0).all()
    assert values.min() >= 8.2e6
    assert values.max() <= 10.5e6


def test_every_day_of_the_week_is_covered_and_no_wider_than_the_series(
    planner: PowerForecaster, hourly: pd.Series
) -> None:
    inside = []
    forecaster = PowerForecaster(horizon="7D").fit(hourly.iloc[:-504])
    for weeks_back in (3, 2, 1):
        end = len(hourly) - 168 * weeks_back
        if weeks_back < 3:
            forecaster.update(hourly.iloc[end - 168 : end])
        forecast = forecaster.predict(168, QUANTILES)
        came = hourly.iloc[end : end + 168].to_numpy()
        inside.append((came >= forecast[0.05].to_numpy()) & (came <= forecast[0.95].to_numpy()))
        assert (forecast[0.95] - forecast[0.05]).max() < np.ptp(hourly.to_numpy())
    by_day = np.stack(inside).reshape(3, 7, 24).mean(axis=(0, 2))
    assert by_day.mean() > 0.8
    assert by_day.min() > 0.65


def test_it_plans_better_than_the_week_before(planner: PowerForecaster, hourly: pd.Series) -> None:
    came = hourly.iloc[-168:].to_numpy()
    forecast = planner.predict(168, QUANTILES).to_numpy()
    naive = seasonal_naive(hourly.iloc[:-168].to_numpy(), 168, 168)[:, [0, 4, 9, 14, 18]]
    assert pinball(came, forecast, LEVELS).mean() < pinball(came, naive, LEVELS).mean()


def test_a_weekend_is_planned_where_it_lies() -> None:
    index = pd.date_range("2026-01-05", periods=56 * 24, freq="1h")
    noise = np.random.default_rng(4).normal(0, 1e5, len(index))
    series = pd.Series(9e6 - 2e6 * (index.day_of_week >= 5) + noise, index=index)
    # The plan is made on a Thursday morning, so that the weekend lies beyond the first two days.
    median = PowerForecaster(horizon="7D").fit(series.iloc[: 52 * 24]).predict(168, [0.5])[0.5]
    weekend = pd.DatetimeIndex(median.index).day_of_week >= 5
    assert median[weekend].mean() == pytest.approx(7e6, rel=0.05)
    assert median[~weekend].mean() == pytest.approx(9e6, rel=0.05)


def test_the_last_day_is_no_surer_than_the_first(planner: PowerForecaster) -> None:
    forecast = planner.predict(168, QUANTILES)
    width = (forecast[0.95] - forecast[0.05]).to_numpy()
    assert width[-24:].mean() > 0.9 * width[:24].mean()


def test_beyond_what_was_learnt_a_new_fit_answers_and_nothing_nearer_changes(
    planner: PowerForecaster, hourly: pd.Series
) -> None:
    forecaster = PowerForecaster().fit(hourly.iloc[:-168])
    members = forecaster.members_
    near, week = forecaster.predict(48, QUANTILES), forecaster.predict(168, QUANTILES)
    pd.testing.assert_frame_equal(week.iloc[:48], near, check_freq=False)
    pd.testing.assert_frame_equal(week.iloc[48:], planner.predict(168, QUANTILES).iloc[48:], check_freq=False)
    assert forecaster.members_ is members
    pd.testing.assert_frame_equal(forecaster.predict(48, QUANTILES), near)


def test_beyond_what_can_be_learnt_from_the_history_the_forecast_widens() -> None:
    forecast = PowerForecaster().fit(hall_power(11, seed=2)).predict(300, QUANTILES)
    width = (forecast[0.95] - forecast[0.05]).to_numpy()
    assert width[-24:].mean() > 1.5 * width[24:48].mean()


@pytest.mark.parametrize("days", [0.1, 2, 9, 16])
def test_a_week_is_answered_from_little_history_too(days: float) -> None:
    forecast = PowerForecaster(horizon="7D").fit(hall_power(days)).predict(168, QUANTILES)
    assert np.isfinite(forecast.to_numpy()).all()
    assert (np.diff(forecast.to_numpy(), axis=1) >= 0).all()
