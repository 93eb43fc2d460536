"""Whether a limit will be passed at all, asked in one way for alert, console, points and what-if."""

import math
from dataclasses import replace

import numpy as np
import pytest

from domain.breaches import BreachesAhead, breach_ahead, breached_by
from domain.envelope import QUARTER_MS
from domain.forecast import QUANTILES, Forecast

START = 1_790_000_000_000 // QUARTER_MS * QUARTER_MS
HOUR = 3600


def forecast(each, issued=START):
    """A forecast whose intervals pass the limit with these chances."""
    n = len(each)
    return Forecast(
        "UPS-1", "ActivePower", "W", issued, START, 15, START + QUARTER_MS * np.arange(n), QUANTILES,
        np.ones((n, len(QUANTILES))), np.ones(n), np.array(each, float), "model",
    )  # fmt: skip


def test_the_chance_of_a_breach_by_then_never_falls_and_neighbours_go_together():
    each = np.full(96, 0.05)
    reached = breached_by(each)
    assert (np.diff(reached) >= 0).all()
    assert reached[0] == pytest.approx(0.05, abs=0.02)
    assert 0.2 < reached[-1] < 1 - np.prod(1 - each)
    assert breached_by(each, persistence=0.999)[-1] < reached[-1] < breached_by(each, persistence=0.0)[-1]


def test_what_is_rare_or_certain_is_told_although_no_path_shows_it():
    assert breached_by(np.array([0.0, 2e-4, 1e-4])).tolist() == [0.0, 2e-4, 2e-4]
    assert breached_by(np.array([0.0, 5e-5, math.nan])).tolist() == [0.0, 5e-5, 5e-5]
    assert breached_by(np.array([0.0, 1.0, 0.0])).tolist() == [0.0, 1.0, 1.0]
    assert len(breached_by(np.zeros(0))) == 0


def test_only_intervals_count_that_are_not_over_and_begin_in_time():
    told = forecast([0.9, 0.1, 0.2, 0.9])
    whole = breach_ahead(told, START)
    assert (whole.chance > 0.9, whole.likely, whole.likeliest) == (True, START, 0)
    later = breach_ahead(told, START + QUARTER_MS, 0.5 * HOUR)
    assert later.coming.tolist() == [1, 2]
    assert (0.2 <= later.chance < 0.3, later.likely, later.likeliest) == (True, None, 2)
    assert breach_ahead(told, START + QUARTER_MS, HOUR).likely == START + 3 * QUARTER_MS
    assert breach_ahead(told, START + 4 * QUARTER_MS) is None
    assert breach_ahead(forecast([math.nan] * 4), START) is None


def test_chances_come_together_as_far_as_the_quarter_hours_depend_on_each_other():
    many = replace(forecast([0.3] * 20), persistence=0.9)
    few = replace(many, persistence=0.98)
    assert 0.3 < breach_ahead(few, START).chance < breach_ahead(many, START).chance - 0.1


def test_it_is_worked_out_anew_when_an_interval_is_over_or_another_forecast_is_issued():
    ahead = BreachesAhead()
    first = ahead.of(forecast([0.9, 0.1]), START, HOUR)
    assert ahead.of(forecast([0.9, 0.1]), START + 60_000, HOUR) is first
    assert ahead.of(forecast([0.9, 0.1]), START + QUARTER_MS, HOUR).chance == pytest.approx(0.1, abs=0.02)
    assert ahead.of(forecast([0.9, 0.8], START + 1), START + QUARTER_MS, HOUR).chance > 0.75
