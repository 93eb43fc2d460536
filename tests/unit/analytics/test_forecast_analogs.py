"""Analog days: what came after the moments of the past that looked most like the present one."""

import numpy as np
import pandas as pd
import pytest

from analytics.forecast.analogs import analog_quantiles
from analytics.forecast.calendar import calendar_features
from analytics.forecast.design import Design
from analytics.forecast.levels import INNER_90, LEVELS, MEDIAN, weighted_quantiles

DAY = 24


def design_of(values: np.ndarray, measured: np.ndarray | None = None, trained: int = 480) -> Design:
    calendar = calendar_features(pd.date_range("2026-01-05", periods=len(values) + 400, freq="1h"))
    known = np.ones(len(values), dtype=bool) if measured is None else measured
    return Design(values, known, calendar, DAY, 7 * DAY, trained=trained)


def rhythm(days: int, noise: float = 0.0) -> np.ndarray:
    hours = np.arange(days * DAY)
    return 10 + 3 * np.sin(2 * np.pi * hours / DAY) + np.random.default_rng(1).normal(0, noise, len(hours))


def told(design: Design, origin: int, leads: np.ndarray, reach: int) -> np.ndarray:
    level, scale, _ = design.standing(np.array([origin]))
    return analog_quantiles(design, np.array([origin]), leads, reach)[0] * scale[0] + level[0]


def test_a_rhythm_is_continued() -> None:
    values, leads = rhythm(40), np.arange(48)
    forecast = told(design_of(values), len(values), leads, 48)
    ahead = 10 + 3 * np.sin(2 * np.pi * (len(values) + leads) / DAY)
    np.testing.assert_allclose(forecast[:, MEDIAN], ahead, atol=0.1)


def test_a_state_that_stays_for_hours_is_carried_on_and_may_end() -> None:
    random = np.random.default_rng(3)
    states = np.repeat(random.choice([1.0, 5.0], 200), 12)[: 60 * DAY]
    values = states + random.normal(0, 0.02, len(states))
    values[-3:] = 5.0
    forecast = told(design_of(values), len(values), np.arange(48), 48)
    assert forecast[0, MEDIAN] == pytest.approx(5.0, abs=0.3)
    low, high = INNER_90
    assert forecast[40, low] < 1.5
    assert forecast[40, high] > 4.5


def test_nothing_at_or_after_the_origin_is_seen() -> None:
    values, leads, origin = rhythm(40, noise=0.5), np.arange(48), np.array([600])
    poisoned = values.copy()
    poisoned[600:] = -50.0
    before = analog_quantiles(design_of(values), origin, leads, 48)
    after = analog_quantiles(design_of(poisoned), origin, leads, 48)
    np.testing.assert_allclose(after, before, atol=1e-9)


def test_a_step_is_told_the_same_whatever_else_is_asked_for() -> None:
    design = design_of(rhythm(40, noise=0.5))
    whole = told(design, 960, np.arange(48), 48)
    np.testing.assert_array_equal(told(design, 960, np.array([0, 7, 30]), 48), whole[[0, 7, 30]])


def test_values_that_only_fill_a_gap_do_not_count() -> None:
    values = rhythm(40)
    measured = np.ones(len(values), dtype=bool)
    measured[300:500] = False
    wrong = values.copy()
    wrong[300:500] = 500.0
    # The gap's own days aside: the level and the looks of moments after it have seen the filling.
    forecast = told(design_of(wrong, measured, trained=300), len(values), np.arange(12), 12)
    assert forecast.max() < 30


def test_leads_beyond_what_the_past_can_tell_repeat_its_last_day() -> None:
    values = rhythm(20)
    forecast = told(design_of(values), len(values), np.arange(336), 336)
    assert np.isfinite(forecast).all()
    ahead = 10 + 3 * np.sin(2 * np.pi * (len(values) + np.arange(336)) / DAY)
    np.testing.assert_allclose(forecast[:, MEDIAN], ahead, atol=0.3)


def test_without_any_past_the_last_value_stands() -> None:
    values = np.arange(10.0)
    np.testing.assert_allclose(told(design_of(values), 2, np.arange(4), 4), 1.0)


def test_weighted_quantiles_follow_the_weights() -> None:
    values = np.tile(np.arange(1000.0), (2, 1))
    weights = np.ones((2, 1000))
    weights[1, 500:] = 1e-9
    even, lower = weighted_quantiles(values, weights)
    np.testing.assert_allclose(even, 1000 * LEVELS - 0.5, atol=1e-6)
    np.testing.assert_allclose(lower, 500 * LEVELS - 0.5, atol=1e-3)
