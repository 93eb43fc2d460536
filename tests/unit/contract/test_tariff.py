"""The contract as data: every quarter hour has one period, and what exceeding costs follows the steps."""

from datetime import date, datetime
from pathlib import Path
from zoneinfo import ZoneInfo

import numpy as np
import pandas as pd
import pytest

from analytics.contract.tariff import QUARTERS, Tariff
from domain.envelope import QUARTER_MS
from domain.errors import ConfigurationError
from service.configuration import load

ROOT = Path(__file__).parents[3]
TAIPEI = ZoneInfo("Asia/Taipei")
EXAMPLE = ROOT / "config/examples/tariffs/taiwan-illustrative.yaml"


@pytest.fixture(scope="module")
def taiwan():
    return load(EXAMPLE, Tariff)


def of_day(tariff, day, zone=TAIPEI):
    """Return the hours of each period of a day, such as ``{"peak": [(16, 22)]}``."""
    first = int(datetime(*day, tzinfo=zone).timestamp() * 1000)
    names = [
        tariff.periods[i].name
        for i in tariff.classify(first + QUARTER_MS * np.arange(QUARTERS, dtype=np.int64), zone, "TW")
    ]
    found = {}
    begin = 0
    for i in range(1, QUARTERS + 1):
        if i == QUARTERS or names[i] != names[begin]:
            found.setdefault(names[begin], []).append((begin / 4, i / 4))
            begin = i
    return found


def test_a_summer_weekday_in_taiwan_has_its_peak_from_16_to_22(taiwan):
    assert of_day(taiwan, (2026, 7, 15)) == {
        "off-peak": [(0, 9)],
        "half-peak": [(9, 16), (22, 24)],
        "peak": [(16, 22)],
    }


def test_a_weekday_out_of_summer_is_off_peak_at_night_and_at_noon(taiwan):
    assert of_day(taiwan, (2026, 12, 16)) == {
        "off-peak": [(0, 6), (11, 14)],
        "half-peak-winter": [(6, 11), (14, 24)],
    }


def test_sundays_and_public_holidays_are_off_peak_and_a_saturday_has_its_own_periods(taiwan):
    assert of_day(taiwan, (2026, 7, 19)) == {"off-peak": [(0, 24)]}
    assert of_day(taiwan, (2026, 1, 1)) == {"off-peak": [(0, 24)]}, "a Thursday, and New Year"
    assert of_day(taiwan, (2026, 7, 18)) == {"off-peak": [(0, 9)], "saturday-half-peak": [(9, 24)]}


def test_a_season_may_pass_the_turn_of_the_year(taiwan):
    seasons = [taiwan.season(date(2026, *d)) for d in ((5, 15), (5, 16), (10, 15), (10, 16), (2, 29 - 1))]
    assert seasons == ["non-summer", "summer", "summer", "non-summer", "non-summer"]


def test_a_day_of_23_hours_has_92_quarter_hours_each_with_its_period():
    berlin = ZoneInfo("Europe/Berlin")
    tariff = Tariff.model_validate(
        {
            "name": "x",
            "currency": "EUR",
            "periods": [{"name": "day", "hours": ["6-22"]}, {"name": "night"}],
            "demand": [{"name": "all", "contracted": "1 MW", "prices": [{"price": 10}]}],
        }
    )
    first = int(datetime(2026, 3, 29, tzinfo=berlin).timestamp() * 1000)
    last = int(datetime(2026, 3, 30, tzinfo=berlin).timestamp() * 1000)
    found = tariff.classify(np.arange(first, last, QUARTER_MS), berlin)
    assert len(found) == 92
    assert (found == 0).sum() == 64
    assert (found == 1).sum() == 28


def test_exceeding_the_contract_costs_twice_up_to_a_tenth_and_three_times_beyond(taiwan):
    (charge,) = taiwan.demand
    assert charge.excess_cost(15.2e6, "summer") == 0
    assert charge.excess_cost(15.3e6, "summer") == pytest.approx(100 * 217.3 * 2)
    twice, thrice = 1520 * 217.3 * 2, 480 * 217.3 * 3
    assert charge.excess_cost(17.2e6, "summer") == pytest.approx(twice + thrice)
    assert charge.excess_cost(15.3e6, "non-summer") == pytest.approx(100 * 160.6 * 2)
    assert charge.basic_cost("summer") == pytest.approx(15_200 * 217.3)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("hours: [22-6]", "hours that pass midnight are two"),
        ("hours: [noon]", "write hours such as 9-16"),
        ("days: [weekday]", "no period covers every hour of a saturday"),
        ("seasons: [monsoon]", "unknown seasons: monsoon"),
    ],
)
def test_what_a_contract_cannot_be_is_told(tmp_path, text, message):
    file = tmp_path / "tariff.yaml"
    file.write_text(
        f"name: x\ncurrency: EUR\nperiods:\n  - name: all\n    {text}\n"
        "demand:\n  - {name: all, contracted: 1 MW, prices: [{price: 10}]}\n"
    )
    with pytest.raises(ConfigurationError, match=message):
        load(file, Tariff)


def test_the_period_that_runs_and_the_next_are_told_with_their_prices(taiwan):
    friday = pd.Timestamp("2026-07-10T17:10", tz=TAIPEI)
    first, second, third = taiwan.coming(int(friday.timestamp() * 1000), TAIPEI)[:3]
    assert (first.period, first.season, first.price) == ("peak", "summer", 9.39)
    assert pd.Timestamp(first.start, unit="ms", tz=TAIPEI) == pd.Timestamp("2026-07-10T17:00", tz=TAIPEI)
    assert pd.Timestamp(first.end, unit="ms", tz=TAIPEI) == pd.Timestamp("2026-07-10T22:00", tz=TAIPEI)
    assert (second.period, second.price) == ("half-peak", 5.85)
    assert second.end == third.start


def test_a_period_ends_with_its_season_where_the_price_is_another(taiwan):
    night = pd.Timestamp("2026-10-15T23:50", tz=TAIPEI)
    first, second = taiwan.coming(int(night.timestamp() * 1000), TAIPEI)[:2]
    assert (first.season, second.season) == ("summer", "non-summer")
    assert second.period == "off-peak"
    assert pd.Timestamp(second.start, unit="ms", tz=TAIPEI) == pd.Timestamp("2026-10-16T00:00", tz=TAIPEI)
