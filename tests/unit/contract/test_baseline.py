"""Baselines of demand response: the days that count, and what was delivered."""

from datetime import date

import numpy as np
import pandas as pd
import pytest

from analytics.contract.baseline import BaselineRule, baseline
from analytics.contract.tariff import Tariff
from domain.errors import InputError
from service.configuration import load
from tests.unit.contract.test_tariff import EXAMPLE


@pytest.fixture(scope="module")
def taiwan():
    return load(EXAMPLE, Tariff)


def demand(**days):
    """A flat 10 MW of June 2026, with other powers (W) from 16 to 20 on days such as ``d12=9e6``."""
    index = pd.date_range("2026-06-01", "2026-06-30 23:45", freq="15min", tz="Asia/Taipei")
    found = pd.Series(10e6, index=index)
    for day, power in days.items():
        found.loc[f"2026-06-{day[1:]} 16:00" : f"2026-06-{day[1:]} 19:45"] = power
    return found


def at(day, hour):
    return pd.Timestamp(2026, 6, day, hour, tz="Asia/Taipei").to_pydatetime()


def test_it_is_the_mean_over_five_weekdays_of_the_highest_in_the_same_hours(taiwan):
    told = demand(d22=11e6, d18=12e6, d17=13e6, d16=14e6, d15=15e6, d12=99e6, d23=9e6)
    found = baseline(told, at(23, 16), at(23, 20), BaselineRule(), taiwan)
    # the 19th is Dragon Boat Festival, the 20th and 21st a weekend
    assert found.days == (*(date(2026, 6, d) for d in (15, 16, 17, 18, 22)),)
    assert found.baseline == pytest.approx(13e6)
    assert (found.drawn, found.delivered, found.counted) == (9e6, pytest.approx(4e6), pytest.approx(4e6))


def test_days_with_an_event_and_days_that_were_not_measured_whole_do_not_count(taiwan):
    told = demand(d23=9e6)
    told.loc["2026-06-22 17:00"] = np.nan
    found = baseline(told, at(23, 16), at(23, 20), BaselineRule(), taiwan, events=(date(2026, 6, 18),))
    assert found.days == (*(date(2026, 6, d) for d in (11, 12, 15, 16, 17)),)


def test_what_counts_against_it_is_the_highest_of_the_event(taiwan):
    told = demand(d23=8e6)
    told.loc["2026-06-23 18:00"] = 9.5e6
    assert baseline(told, at(23, 16), at(23, 20), BaselineRule(), taiwan).delivered == pytest.approx(0.5e6)


def test_below_the_minimum_nothing_was_delivered_and_more_drawn_is_nothing_too(taiwan):
    rule = BaselineRule(minimum=1e6)
    assert baseline(demand(d23=9.5e6), at(23, 16), at(23, 20), rule, taiwan).counted == 0
    assert baseline(demand(d23=8.9e6), at(23, 16), at(23, 20), rule, taiwan).counted == pytest.approx(1.1e6)
    more = baseline(demand(d23=12e6), at(23, 16), at(23, 20), BaselineRule(), taiwan)
    assert (more.delivered, more.counted) == (pytest.approx(-2e6), 0)


def test_an_event_that_passes_midnight_and_too_short_a_past_are_refused(taiwan):
    with pytest.raises(InputError, match="split one that passes midnight"):
        baseline(demand(), at(23, 22), at(24, 1), BaselineRule(), taiwan)
    with pytest.raises(InputError, match="only 3 of the 5 eligible days"):
        baseline(demand(), at(4, 16), at(4, 20), BaselineRule(), taiwan)


def test_an_event_until_midnight_is_one_day(taiwan):
    told = demand()
    told.loc["2026-06-23 22:00":"2026-06-23 23:45"] = 7e6
    assert baseline(told, at(23, 22), at(24, 0), BaselineRule(), taiwan).delivered == pytest.approx(3e6)


def test_another_baseline_is_other_data(taiwan):
    rule = BaselineRule(days=3, of_day="mean", over_days="lowest", delivered="mean")
    told = demand(d22=11e6, d18=12e6, d17=13e6, d23=9e6)
    found = baseline(told, at(23, 16), at(23, 20), rule, taiwan)
    assert (found.baseline, found.delivered) == (11e6, 2e6)
