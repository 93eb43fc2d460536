"""What every user of the power forecaster may rely on."""

import inspect

import numpy as np
import pandas as pd
import pytest
from sklearn.base import clone
from sklearn.exceptions import NotFittedError

from analytics.forecast import PowerForecaster
from domain.errors import ForecastError, InputError

QUANTILES = [0.05, 0.25, 0.5, 0.75, 0.95]


def hall_power(
    days: float, freq: str = "1h", seed: int = 1, start: str = "2026-01-05", tz: str | None = None
) -> pd.Series:
    """A hall with a daily and weekly rhythm, jobs and noise, W."""
    step = pd.Timedelta(freq)
    index = pd.date_range(start, periods=max(2, int(pd.Timedelta(days=days) / step)), freq=step, tz=tz)
    rng = np.random.default_rng(seed)
    hours = np.arange(len(index)) * (step / pd.Timedelta(hours=1))
    rhythm = 1e6 * np.sin(2 * np.pi * (hours % 24) / 24) - 5e5 * ((hours // 24) % 7 >= 5)
    jobs = 8e5 * (np.sin(hours / 37) > 0.4)
    return pd.Series(9e6 + rhythm + jobs + rng.normal(0, 1e5, len(index)), index=index)


@pytest.fixture(scope="module")
def month() -> pd.Series:
    return hall_power(30)


@pytest.fixture(scope="module")
def fitted(month: pd.Series) -> PowerForecaster:
    return PowerForecaster().fit(month)


def assert_sound(forecast: pd.DataFrame, horizon: int) -> None:
    assert forecast.shape == (horizon, len(QUANTILES))
    assert np.isfinite(forecast.to_numpy()).all()
    assert (np.diff(forecast.to_numpy(), axis=1) >= 0).all()


def test_the_constructor_only_stores_its_arguments() -> None:
    forecaster = PowerForecaster(
        horizon="nonsense", lower=5, upper=1, country="??", known=["a"], random_state=3
    )
    parameters = forecaster.get_params()
    assert parameters == {
        "horizon": "nonsense",
        "lower": 5,
        "upper": 1,
        "country": "??",
        "known": ["a"],
        "random_state": 3,
    }
    assert set(vars(forecaster)) == set(parameters)
    assert clone(forecaster).get_params() == parameters


def test_every_argument_has_a_default() -> None:
    parameters = inspect.signature(PowerForecaster).parameters.values()
    assert all(p.default is not inspect.Parameter.empty for p in parameters)


def test_fitted_state_ends_in_an_underscore(fitted: PowerForecaster) -> None:
    state = set(vars(fitted)) - set(fitted.get_params())
    assert state
    assert all(name.endswith("_") and not name.startswith("_") for name in state)


def test_fit_returns_the_forecaster_and_predict_needs_it(month: pd.Series) -> None:
    forecaster = PowerForecaster()
    with pytest.raises(NotFittedError):
        forecaster.predict(4)
    short = month.iloc[:30]
    assert forecaster.fit(short) is forecaster


def test_the_forecast_begins_one_step_after_the_history(fitted: PowerForecaster, month: pd.Series) -> None:
    forecast = fitted.predict(48, QUANTILES)
    assert_sound(forecast, 48)
    assert list(forecast.columns) == QUANTILES
    assert forecast.index[0] == month.index[-1] + pd.Timedelta("1h")
    assert forecast.index[-1] == month.index[-1] + pd.Timedelta("48h")


def test_the_same_seed_gives_the_same_answer(fitted: PowerForecaster, month: pd.Series) -> None:
    again = PowerForecaster().fit(month)
    pd.testing.assert_frame_equal(fitted.predict(24), again.predict(24))


def test_predict_changes_nothing(fitted: PowerForecaster) -> None:
    pd.testing.assert_frame_equal(fitted.predict(24), fitted.predict(24))


def test_the_history_of_the_caller_stays_as_it_was(month: pd.Series) -> None:
    history = month.iloc[:100].copy()
    history.iloc[7] = np.nan
    before = history.copy()
    PowerForecaster().fit(history).predict(3)
    pd.testing.assert_series_equal(history, before)


def test_it_beats_seasonal_naive_on_a_rhythm(month: pd.Series) -> None:
    history, future = month.iloc[:-48], month.iloc[-48:].to_numpy()
    median = PowerForecaster().fit(history).predict(48, [0.5])[0.5].to_numpy()
    naive = history.iloc[-48:].to_numpy()
    assert np.abs(median - future).mean() < np.abs(naive - future).mean()


@pytest.mark.parametrize("freq", ["1min", "5min", "7min", "15min", "30min", "1h"])
def test_any_regular_step_from_a_minute_to_an_hour_works(freq: str) -> None:
    history = hall_power(9, freq)
    horizon = int(pd.Timedelta("48h") / pd.Timedelta(freq))
    assert_sound(PowerForecaster().fit(history).predict(horizon, QUANTILES), horizon)


@pytest.mark.parametrize("hours", [1, 3, 12, 23, 24, 25, 36, 49, 72, 100, 150, 200, 300])
def test_it_answers_from_the_first_hour_of_data_on(hours: int) -> None:
    for freq in ("15min", "1h"):
        assert_sound(PowerForecaster().fit(hall_power(hours / 24, freq)).predict(30, QUANTILES), 30)


def test_it_is_wide_at_first_and_narrower_as_days_and_weeks_come_in() -> None:
    def width(days: float) -> float:
        forecast = PowerForecaster().fit(hall_power(days, "15min")).predict(192, [0.05, 0.95])
        return float((forecast[0.95] - forecast[0.05]).mean())

    hour, day, week, month = width(1 / 24), width(1.5), width(7), width(30)
    assert hour > day > week > month


def test_one_hour_of_data_still_covers_the_day_that_follows() -> None:
    series = hall_power(1.2, "15min")
    forecast = PowerForecaster().fit(series.iloc[:4]).predict(96, [0.05, 0.95])
    actual = series.iloc[4:100].to_numpy()
    assert ((actual >= forecast[0.05]) & (actual <= forecast[0.95])).mean() > 0.85


@pytest.mark.parametrize("level", [0.0, 7.5e6, -3.0])
@pytest.mark.parametrize("days", [0.5, 3, 30])
def test_a_constant_stays_constant(level: float, days: float) -> None:
    history = hall_power(days) * 0 + level
    forecast = PowerForecaster().fit(history).predict(24, QUANTILES)
    assert_sound(forecast, 24)
    np.testing.assert_allclose(forecast[0.5], level, atol=1e-3 * max(1, abs(level)))


def test_a_series_may_be_negative_and_may_change_sign(month: pd.Series) -> None:
    feed_in = month - month.mean()
    forecast = PowerForecaster().fit(feed_in).predict(48, QUANTILES)
    assert_sound(forecast, 48)
    assert forecast[0.5].min() < 0 < forecast[0.5].max()


def test_the_forecast_shifts_and_scales_with_the_series(month: pd.Series) -> None:
    history = month.iloc[:400]
    plain = PowerForecaster().fit(history).predict(24, QUANTILES)
    other = PowerForecaster().fit(history * 1e-3 + 5e4).predict(24, QUANTILES)
    np.testing.assert_allclose(other, plain * 1e-3 + 5e4, rtol=0.02)


def test_bounds_hold_and_none_are_assumed(month: pd.Series) -> None:
    lower, upper = float(month.quantile(0.3)), float(month.quantile(0.7))
    forecast = PowerForecaster(lower=lower, upper=upper).fit(month).predict(48, QUANTILES)
    assert_sound(forecast, 48)
    assert forecast.to_numpy().min() >= lower
    assert forecast.to_numpy().max() <= upper


def test_a_counter_that_was_reset_does_no_harm_where_bounds_are_given(month: pd.Series) -> None:
    upset = month.copy()
    upset.iloc[[200, 650]] = [-4e12, 9e11]
    forecaster = PowerForecaster(lower=0.0, upper=2e7).fit(upset)
    gapped = upset.copy()
    gapped.iloc[[200, 650]] = np.nan
    plain = PowerForecaster(lower=0.0, upper=2e7).fit(gapped)
    pd.testing.assert_frame_equal(forecaster.predict(24, QUANTILES), plain.predict(24, QUANTILES))
    assert forecaster.provenance_.implausible == 2


def test_power_below_idle_is_no_error_of_measurement(month: pd.Series) -> None:
    dark = month.copy()
    dark.iloc[400:420] = 0.0
    assert PowerForecaster(lower=2e6, upper=2e7).fit(dark).provenance_.implausible == 0


def test_gaps_are_allowed_anywhere(month: pd.Series) -> None:
    holed = month.copy()
    holed.iloc[:5] = np.nan
    holed.iloc[100:200] = np.nan
    holed.iloc[300::7] = np.nan
    holed.iloc[-6:] = np.nan
    forecast = PowerForecaster().fit(holed).predict(48, QUANTILES)
    assert_sound(forecast, 48)
    assert forecast.index[0] == month.index[-1] + pd.Timedelta("1h")


def test_missing_rows_are_gaps_and_the_provenance_counts_them(month: pd.Series) -> None:
    holed = month.drop(month.index[200:272])
    forecaster = PowerForecaster().fit(holed)
    assert_sound(forecaster.predict(24, QUANTILES), 24)
    assert forecaster.provenance_.steps == len(month)
    assert forecaster.provenance_.missing_share == pytest.approx(72 / len(month))
    assert forecaster.provenance_.first == month.index[0]
    assert forecaster.provenance_.last == month.index[-1]
    assert forecaster.provenance_.method == "combination"


def test_infinite_values_count_as_missing(month: pd.Series) -> None:
    history = month.iloc[:60].copy()
    history.iloc[[3, 50]] = [np.inf, -np.inf]
    forecaster = PowerForecaster().fit(history)
    assert forecaster.provenance_.missing_share == pytest.approx(2 / 60)
    assert_sound(forecaster.predict(24, QUANTILES), 24)


def test_one_measured_value_is_enough(month: pd.Series) -> None:
    history = month.iloc[:50].copy()
    history.iloc[1:] = np.nan
    assert_sound(PowerForecaster().fit(history).predict(24, QUANTILES), 24)


def test_a_level_shift_is_followed(month: pd.Series) -> None:
    shifted = month.copy()
    shifted.iloc[-72:] += 4e6
    forecast = PowerForecaster().fit(shifted).predict(24, QUANTILES)
    assert forecast[0.5].mean() == pytest.approx(month.iloc[-24:].mean() + 4e6, rel=0.15)


@pytest.mark.parametrize("tz", ["UTC", "Asia/Taipei", "Europe/Amsterdam"])
def test_time_zones_are_kept_through_a_change_of_the_clock(tz: str) -> None:
    history = hall_power(20, start="2026-03-15", tz=tz)
    forecast = PowerForecaster(country="TW").fit(history).predict(48, QUANTILES)
    assert_sound(forecast, 48)
    assert str(forecast.index.tz) == tz
    assert forecast.index[0] - history.index[-1] == pd.Timedelta("1h")


def test_what_comes_later_changes_no_earlier_forecast(month: pd.Series) -> None:
    early = month.iloc[:500]
    poisoned = month.copy()
    poisoned.iloc[500:] = 1e9
    left = PowerForecaster().fit(early).predict(24, QUANTILES)
    right = PowerForecaster().fit(poisoned.iloc[:500]).predict(24, QUANTILES)
    pd.testing.assert_frame_equal(left, right)


def test_rows_of_the_design_see_nothing_at_or_after_their_origin(month: pd.Series) -> None:
    from analytics.forecast.calendar import calendar_features
    from analytics.forecast.design import Design

    values, origin, leads = month.to_numpy(), np.array([400]), np.arange(48)
    calendar = calendar_features(pd.date_range(month.index[0], periods=len(month) + 48, freq="1h"))
    cold = np.random.default_rng(0).normal(size=(len(month), 2))
    before = Design(values[:400], np.ones(400, bool), calendar, 24, 168, cold[:400]).rows(origin, leads)
    poisoned, hot = values[:400].copy(), cold[:400].copy()
    full = np.r_[poisoned, values[400:]]
    after = Design(full, np.ones(len(full), bool), calendar, 24, 168, np.r_[hot, cold[400:]]).rows(
        origin, leads
    )
    # Only the unit of measure may differ: the spread of the whole series.
    ratio = before.scale / after.scale
    np.testing.assert_allclose(before.linear[..., 0] * ratio[0], after.linear[..., 0])
    np.testing.assert_allclose(before.level, after.level)


def test_quantiles_may_be_asked_in_any_order_and_far_out(fitted: PowerForecaster) -> None:
    forecast = fitted.predict(12, [0.999, 0.5, 0.001, 0.33])
    assert (forecast[0.001] <= forecast[0.33]).all()
    assert (forecast[0.33] <= forecast[0.5]).all()
    assert (forecast[0.5] <= forecast[0.999]).all()


def test_a_week_can_be_planned_beyond_the_trained_horizon(fitted: PowerForecaster, month: pd.Series) -> None:
    assert_sound(fitted.predict(168, QUANTILES), 168)
    assert_sound(PowerForecaster(horizon="7D").fit(month).predict(168, QUANTILES), 168)


def test_the_horizon_may_be_longer_than_the_history() -> None:
    for days in (0.2, 4, 15):
        assert_sound(PowerForecaster().fit(hall_power(days)).predict(500, QUANTILES), 500)


def test_past_covariates_may_have_gaps_and_strange_columns(month: pd.Series) -> None:
    covariates = pd.DataFrame(
        {"constant": 1.0, "empty": np.nan, "noise": np.sin(np.arange(len(month)))}, index=month.index
    )
    covariates.iloc[50:90, 2] = np.nan
    assert_sound(PowerForecaster().fit(month, covariates).predict(48, QUANTILES), 48)


def test_a_covariate_known_in_advance_is_used() -> None:
    base = hall_power(40, seed=4)
    rng = np.random.default_rng(2)
    job = pd.Series(np.repeat(rng.random(40 * 2) < 0.3, 12).astype(float), index=base.index, name="job")
    series = base + 4e6 * job
    past, ahead = series.iloc[:-48], job.iloc[-48:].copy()
    ahead.iloc[:] = 0.0
    ahead.iloc[10:30] = 1.0
    forecaster = PowerForecaster(known=["job"]).fit(past, job.to_frame().iloc[:-48])
    with_job = forecaster.predict(48, [0.5], future=ahead.to_frame())[0.5]
    without = forecaster.predict(48, [0.5], future=0 * ahead.to_frame())[0.5]
    assert (with_job - without).iloc[12:28].mean() > 2.5e6
    undeclared = PowerForecaster().fit(past, job.to_frame().iloc[:-48])
    np.testing.assert_allclose(undeclared.predict(48, [0.5], future=ahead.to_frame())[0.5], with_job)


def test_an_update_moves_the_forecast_on_without_a_new_fit(month: pd.Series) -> None:
    forecaster = PowerForecaster().fit(month.iloc[:-72])
    members = forecaster.members_
    for day in (3, 2, 1):
        piece = month.iloc[-24 * day : len(month) - 24 * (day - 1)]
        forecaster.update(piece)
    forecaster.update(pd.Series([np.nan], index=month.index[-1:]))
    assert forecaster.members_ is members
    forecast = forecaster.predict(24, QUANTILES)
    assert_sound(forecast, 24)
    assert forecast.index[0] == month.index[-1] + pd.Timedelta("1h")


def test_updates_widen_the_forecast_through_a_change_of_regime() -> None:
    calm = hall_power(40, seed=5)
    wild = calm.copy()
    wild.iloc[-240:] += np.random.default_rng(3).normal(0, 1.5e6, 240)
    forecaster = PowerForecaster().fit(wild.iloc[:-240])
    before = forecaster.predict(24, QUANTILES)
    forecaster.update(wild.iloc[-240:])
    after = forecaster.predict(24, QUANTILES)
    assert (after[0.95] - after[0.05]).mean() > 1.5 * (before[0.95] - before[0.05]).mean()


def test_an_update_of_a_short_history_learns_as_soon_as_it_can(month: pd.Series) -> None:
    forecaster = PowerForecaster().fit(month.iloc[:30])
    assert forecaster.provenance_.method == "early"
    forecaster.update(month.iloc[30:600])
    assert forecaster.provenance_.method == "combination"


@pytest.mark.parametrize(
    ("history", "says"),
    [
        ([1.0, 2.0], "Series"),
        (pd.Series([1.0, 2.0]), "DatetimeIndex"),
        (pd.Series([1.0], index=pd.DatetimeIndex(["2026-01-01"])), "step"),
        (
            pd.Series([1.0, 2.0, 3.0], index=pd.DatetimeIndex(["2026-01-01", "2026-01-03", "2026-01-02"])),
            "sorted",
        ),
        (
            pd.Series([1.0, 2.0, 3.0], index=pd.DatetimeIndex(["2026-01-01", "2026-01-01", "2026-01-02"])),
            "once",
        ),
        (pd.Series(["a", "b"], index=pd.date_range("2026-01-01", periods=2, freq="1h")), "numbers"),
        (pd.Series([1.0, 2.0], index=pd.date_range("2026-01-01", periods=2, freq="9D")), "step"),
    ],
)
def test_bad_histories_are_refused_with_what_to_do(history: object, says: str) -> None:
    with pytest.raises(InputError, match=says):
        PowerForecaster().fit(history)


def test_a_history_without_a_value_is_refused(month: pd.Series) -> None:
    with pytest.raises(ForecastError, match="no measured value"):
        PowerForecaster().fit(month * np.nan)


def test_an_irregular_history_is_refused() -> None:
    times = pd.date_range("2026-01-01", periods=50, freq="1h").to_series()
    times.iloc[20] += pd.Timedelta("17min")
    with pytest.raises(InputError, match="irregular"):
        PowerForecaster().fit(pd.Series(1.0, index=pd.DatetimeIndex(times)))


@pytest.mark.parametrize("bad", [0, -3, 2.5])
def test_bad_horizons_are_refused(fitted: PowerForecaster, bad: float) -> None:
    with pytest.raises(InputError, match="horizon"):
        fitted.predict(bad)


@pytest.mark.parametrize("bad", [[], [0.0], [0.5, 1.0], [1.5]])
def test_bad_quantiles_are_refused(fitted: PowerForecaster, bad: list[float]) -> None:
    with pytest.raises(InputError, match="between 0 and 1"):
        fitted.predict(4, bad)


def test_bad_parameters_are_refused_when_fitting(month: pd.Series) -> None:
    short = month.iloc[:30]
    with pytest.raises(InputError, match="lower bound"):
        PowerForecaster(lower=2, upper=1).fit(short)
    with pytest.raises(InputError, match="duration"):
        PowerForecaster(horizon="soon").fit(short)
    with pytest.raises(InputError, match="known covariates"):
        PowerForecaster(known=["job"]).fit(short)
    with pytest.raises(InputError, match="country"):
        PowerForecaster(country="Atlantis").fit(month)
