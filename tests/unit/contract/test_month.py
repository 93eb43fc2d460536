"""Where the month will end against the contract."""

from zoneinfo import ZoneInfo

import numpy as np
import pandas as pd
import pytest

from analytics.contract.month import month_of, month_report
from analytics.contract.tariff import Tariff
from domain.forecast import QUANTILES, Forecast
from service.configuration import load
from tests.unit.contract.test_tariff import EXAMPLE

TAIPEI = ZoneInfo("Asia/Taipei")


@pytest.fixture(scope="module")
def taiwan():
    return load(EXAMPLE, Tariff)


def ms(text):
    return int(pd.Timestamp(text, tz=TAIPEI).timestamp() * 1000)


def weeks(until, noise=0.2e6, seed=3):
    """Seven weeks of a plant: days of 14 MW, nights and weekends of 12, each day apart by some noise (W)."""
    end = pd.Timestamp(until, tz=TAIPEI)
    index = pd.date_range(end - pd.Timedelta(days=49), end, freq="15min", inclusive="left")
    random = np.random.default_rng(seed)
    of_day = dict(zip(sorted(set(index.date)), random.normal(0, noise, 60), strict=False))
    busy = (index.hour >= 9) & (index.hour < 22) & (index.day_of_week < 5)
    return pd.Series(np.where(busy, 14e6, 12e6) + np.array([of_day[d] for d in index.date]), index=index)


def forecast(now, high=None):
    start = now + 900_000 * np.arange(192, dtype=np.int64)
    values = np.repeat(13e6 + 1e6 * (np.array(QUANTILES)[None, :] - 0.5), 192, axis=0)
    if high is not None:
        values[40:44] = high
    nan = np.full(192, np.nan)
    return Forecast("s", "ActivePower", "W", now, now, 15, start, QUANTILES, values, nan, nan, "test")


def test_the_peak_so_far_is_of_the_periods_that_are_charged(taiwan):
    told = weeks("2026-07-10T12:00")
    told.loc["2026-07-08 17:00"] = 15.0e6
    told.loc["2026-07-08 03:00"] = 15.5e6  # off-peak: it costs nothing here
    month = month_report(told, ms("2026-07-10T12:00"), taiwan, TAIPEI)
    (peak,) = month.peaks
    assert (peak.so_far, peak.at) == (15.0e6, ms("2026-07-08T17:00"))
    assert (month.name, month.season, month.currency) == ("2026-07", "summer", "TWD")
    assert month.measured == 1.0
    assert peak.end[0] >= 15.0e6
    assert peak.exceeds < 0.05
    assert peak.excess_so_far == 0


def test_energy_and_its_cost_are_told_by_period(taiwan):
    told = weeks("2026-07-03T00:00", noise=0)
    month = month_report(told, ms("2026-07-03T00:00"), taiwan, TAIPEI)
    assert month.energy["peak"] == pytest.approx(2 * 6 * 3600 * 14e6)
    assert month.energy_cost == pytest.approx(
        2 * (14_000 * (6 * 9.39 + 7 * 5.85) + 12_000 * (2 * 5.85 + 9 * 2.53)), rel=1e-3
    )


def test_what_the_forecast_knows_counts(taiwan):
    now = ms("2026-07-29T08:00")
    told = weeks("2026-07-29T08:00", noise=0.02e6)
    calm = month_report(told, now, taiwan, TAIPEI, forecast=forecast(now)).peaks[0]
    high = month_report(told, now, taiwan, TAIPEI, forecast=forecast(now, high=16e6)).peaks[0]
    assert calm.exceeds < 0.01
    assert high.exceeds > 0.99
    assert high.end[2] == pytest.approx(16e6, rel=0.01)
    assert high.excess == pytest.approx(800 * 217.3 * 2, rel=0.02)


def test_a_contract_that_is_exceeded_already_stays_so(taiwan):
    told = weeks("2026-07-10T12:00")
    told.loc["2026-07-08 17:00"] = 15.4e6
    (peak,) = month_report(told, ms("2026-07-10T12:00"), taiwan, TAIPEI).peaks
    assert peak.exceeds == 1.0
    assert peak.excess_so_far == pytest.approx(200 * 217.3 * 2)
    assert peak.excess >= peak.excess_so_far


def test_without_a_week_of_past_nothing_is_said_of_the_month_s_end(taiwan):
    told = weeks("2026-07-03T00:00").loc["2026-07-01":]
    month = month_report(told, ms("2026-07-03T00:00"), taiwan, TAIPEI)
    (peak,) = month.peaks
    assert (peak.end, peak.exceeds, peak.excess) == (None, None, None)
    assert peak.so_far > 13e6


def test_what_was_not_measured_is_told_and_is_no_zero(taiwan):
    told = weeks("2026-07-11T00:00")
    told.loc["2026-07-01":"2026-07-05 23:45"] = np.nan
    month = month_report(told, ms("2026-07-11T00:00"), taiwan, TAIPEI)
    assert month.measured == pytest.approx(0.5)
    assert month.peaks[0].so_far > 13e6


def test_on_the_last_evening_the_end_is_what_was(taiwan):
    told = weeks("2026-07-31T23:45")
    (peak,) = month_report(told, ms("2026-07-31T23:45"), taiwan, TAIPEI).peaks
    assert peak.end[2] == pytest.approx(peak.so_far, rel=0.02)


def test_the_same_question_has_the_same_answer(taiwan):
    told, now = weeks("2026-07-10T12:00"), ms("2026-07-10T12:00")
    assert month_report(told, now, taiwan, TAIPEI) == month_report(told, now, taiwan, TAIPEI)


def test_a_month_begins_and_ends_on_the_site_s_clock():
    start, end = month_of(pd.Timestamp("2026-03-15").date(), ZoneInfo("Europe/Berlin"))
    assert (end - start) / 3_600_000 == 31 * 24 - 1


def test_several_charges_each_have_their_own_peak(taiwan):
    (regular,) = taiwan.demand
    night = regular.model_copy(update={"name": "night", "periods": ("off-peak",), "contracted": 12.2e6})
    both = taiwan.model_copy(update={"demand": (regular, night)})
    told = weeks("2026-07-10T12:00")
    peaks = month_report(told, ms("2026-07-10T12:00"), both, TAIPEI).peaks
    assert [p.name for p in peaks] == ["regular", "night"]
    assert peaks[1].so_far != peaks[0].so_far
