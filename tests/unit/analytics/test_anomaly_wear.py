"""Time until a worn part reaches its limit."""

import math

import numpy as np
import pytest

from analytics.anomaly.wear import Remaining, WornPart, ranked, time_to_limit
from domain.errors import InputError


def indicator(seed: int, slope: float = 0.01, days: int = 40, noise: float = 0.03, stick: float = 0.0):
    """Quarter-hourly indicator that starts at 0; `stick` is how much today's weather is tomorrow's."""
    rng = np.random.default_rng(seed)
    t = np.arange(days * 96) / 96
    weather = np.zeros(days)
    for d in range(1, days):
        weather[d] = stick * weather[d - 1] + rng.normal(0, noise)
    return t, slope * t + weather[t.astype(int)] + rng.normal(0, 0.05, len(t))


def test_a_straight_trend_is_carried_on_to_its_limit():
    t, values = indicator(0, noise=0.005)
    left = time_to_limit(t, values, limit=1.0)
    assert left.middle == pytest.approx(60, abs=4)
    assert left.low < left.middle < left.high
    assert left.slope == pytest.approx(0.01, rel=0.05)


@pytest.mark.parametrize("stick", [0.0, 0.6])
def test_the_interval_holds_the_truth_about_as_often_as_it_says(stick):
    inside = 0
    for seed in range(120):
        t, values = indicator(seed, stick=stick)
        left = time_to_limit(t, values, limit=1.0)
        inside += left.low <= 60.5 <= left.high
    assert 0.80 <= inside / 120 <= 1.0


def test_an_indicator_that_falls_reaches_a_lower_limit():
    t, values = indicator(1, slope=-0.01, noise=0.005)
    assert time_to_limit(t, 1.0 + values, limit=0.0, rising=False).middle == pytest.approx(60, abs=5)


def test_without_a_trend_there_is_no_date():
    t, values = indicator(2, slope=0.0)
    left = time_to_limit(t, values, limit=5.0)
    assert math.isinf(left.high)


def test_at_the_limit_no_time_is_left():
    t, values = indicator(3, slope=0.05, noise=0.01)
    left = time_to_limit(t, values, limit=1.9)
    assert (left.low, left.middle, left.high) == (0.0, 0.0, 0.0)
    assert time_to_limit(t, values, limit=2.05).middle == pytest.approx(1.5, abs=1.0)


def test_gaps_cost_nothing_but_certainty():
    t, values = indicator(4, noise=0.005)
    values[np.random.default_rng(0).random(len(values)) < 0.7] = np.nan
    values[10 * 96 : 15 * 96] = np.nan
    assert time_to_limit(t, values, limit=1.0).middle == pytest.approx(60, abs=5)


def test_less_than_a_week_says_nothing():
    t, values = indicator(5, days=5)
    with pytest.raises(InputError, match="readings on 5 days"):
        time_to_limit(t, values, limit=1.0)
    with pytest.raises(InputError, match="one length"):
        time_to_limit(t[:3], values, limit=1.0)


def test_the_list_is_soonest_first_and_leaves_out_what_lasts():
    def part(name: str, middle: float) -> WornPart:
        return WornPart(name, "filter", 1.0, Remaining(0.5 * middle, middle, 2 * middle, 0.01, 0.2))

    names = [
        p.object_id for p in ranked([part("a", 90), part("b", 12), part("c", 4000), part("d", math.inf)])
    ]
    assert names == ["b", "a"]
