"""Whether limits of the grid are kept and can be, as points that rules look at."""

import math
from types import SimpleNamespace

import numpy as np
import pytest

from domain.batch import Batch, now_ms
from domain.forecast import QUANTILES, Forecast
from domain.grid import Kind
from domain.points import Quality
from partners.grid.settings import GridSettings
from partners.grid.watch import GridWatch
from tests.unit.grid.test_desk import request

NOW = now_ms() // 900_000 * 900_000
HOUR = 3_600_000


@pytest.fixture
def watched(hall):
    """A watch over a desk that agrees to all; `power(kW)` sets both racks, `look(at)` returns states by type and node."""
    desk = hall.desk(consent="never")
    watch = GridWatch(GridSettings(), desk, hall.plant, hall.records, hall.registry)

    def power(each, at):
        hall.latest.update(Batch.of([0, 1], at, [each * 1e3, each * 1e3], Quality.GOOD, at))

    def look(at, links=None):
        desk.refresh(at)
        told = {}
        for batch in watch.look(at, links or {}):
            for index, value in zip(batch.point.tolist(), batch.value.tolist(), strict=True):
                point = hall.registry[index]
                told[point.point_type, point.object_id] = (
                    point.state_label(value) if point.state_text else value
                )
        return told

    def ask(value, start, end, digest="a", **others):
        return desk.take(request(value * 1e3, start, end, **others), digest)

    def forecast(watts):
        n = 96
        values = np.tile(watts * 1e3 * (0.9 + 0.2 * np.array(QUANTILES)), (n, 1))
        start = NOW + 900_000 * np.arange(n, dtype=np.int64)
        nothing = np.full(n, np.nan)
        hall.records.save_forecast(
            Forecast(
                "site", "ActivePower", "W", NOW, NOW, 15, start, QUANTILES, values, nothing, nothing, "m"
            )
        )

    return SimpleNamespace(watch=watch, power=power, look=look, ask=ask, forecast=forecast, desk=desk)


def test_without_a_limit_nothing_is_amiss(watched):
    watched.power(100, NOW)
    told = watched.look(NOW)
    assert told == {
        ("GridRequestsWaiting", "hallwatch"): 0,
        ("GridNotices", "site"): 0,
        ("GridLimitPhase", "site"): "None",
        ("GridLimitKept", "site"): "Yes",
        ("GridLimitFeasible", "site"): "Yes",
    }


def test_a_limit_comes_begins_is_exceeded_kept_and_ends(watched):
    watched.ask(180, NOW + HOUR, NOW + 2 * HOUR)
    at = {"far": NOW - HOUR, "near": NOW + HOUR // 2, "begins": NOW + HOUR, "late": NOW + HOUR + 400_000}
    at |= {"kept": NOW + HOUR + 800_000, "over": NOW + 3 * HOUR}
    seen = {}
    for name, moment in at.items():
        watched.power(85 if name == "kept" else 100, moment)
        told = watched.look(moment)
        seen[name] = told["GridLimitPhase", "site"], told["GridLimitKept", "site"]
    assert seen == {
        "far": ("None", "Yes"),
        "near": ("Coming", "Yes"),
        "begins": ("In force", "Yes"),  # power may still come down
        "late": ("In force", "No"),
        "kept": ("In force", "Yes"),
        "over": ("None", "Yes"),
    }


def test_power_is_judged_by_its_mean_over_a_minute(watched):
    watched.ask(180, NOW - HOUR, NOW + HOUR)
    for second, each in enumerate([60, 60, 60, 110]):
        watched.power(each, NOW + 5000 * second)
        told = watched.look(NOW + 5000 * second)
    assert told["GridLimitKept", "site"] == "Yes"
    assert watched.watch.standings[0].power == pytest.approx(145e3)


def test_where_power_is_not_measured_nothing_is_said_of_keeping(watched):
    watched.ask(180, NOW - HOUR, NOW + HOUR)
    assert ("GridLimitKept", "site") not in watched.look(NOW)
    assert watched.watch.standings[0].kept is None


@pytest.mark.parametrize(
    ("limit", "feasible", "short"), [(210, "Yes", 0), (180, "Not by the forecast", 20e3)]
)
def test_the_forecast_says_whether_a_limit_can_be_kept(watched, limit, feasible, short):
    watched.power(100, NOW)
    watched.forecast(200)
    watched.ask(limit, NOW + HOUR // 2, NOW + HOUR * 3)
    assert watched.look(NOW)["GridLimitFeasible", "site"] == feasible
    assert watched.watch.standings[0].short == pytest.approx(short)


def test_a_limit_of_another_node_is_watched_too_and_what_waits_is_counted(watched, hall):
    watched.power(100, NOW)
    watched.ask(90, NOW - HOUR, NOW + HOUR, node="R1")
    hall.desk().take(request(50e3, NOW, NOW + HOUR, series="other"), "b")
    told = watched.look(NOW, {"flex": False})
    assert told["GridLimitKept", "R1"] == "No"
    assert told["GridRequestsWaiting", "hallwatch"] == 1
    assert told["GridLink", "flex"] == "Down"


def test_prices_emissions_and_notices_of_now_are_readings(watched):
    for name, value, unit in (("p", 4.2, "TWD/KWH"), ("g", 420.0, "g/kWh")):
        parts = {"kind": Kind.PRICE, "unit": unit, "reference": name, "series": name}
        watched.desk.take(request(value, NOW - HOUR, NOW + HOUR, **parts), name)
    note = {"kind": Kind.NOTICE, "reference": "n", "series": "n"}
    watched.desk.take(request(math.nan, NOW + HOUR, NOW + 2 * HOUR, **note), "n")
    told = watched.look(NOW)
    found = [told[kind, "site"] for kind in ("GridPrice", "GridEmissions", "GridNotices")]
    assert found == [4.2, 420.0, 0]
    assert watched.look(NOW + HOUR)["GridNotices", "site"] == 1


def test_the_lowest_of_several_limits_is_the_one_that_counts(watched):
    watched.power(100, NOW)
    watched.ask(250, NOW - HOUR, NOW + HOUR, "a", series="x")
    watched.ask(150, NOW - HOUR, NOW + HOUR, "b", series="y", reference="y")
    watched.look(NOW)
    assert watched.watch.standings[0].limit == 150e3
