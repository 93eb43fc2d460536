"""The forecast page: what a browser is sent of forecasts, and of a what-if question."""

import json
from dataclasses import replace

import numpy as np
import orjson
import pytest

from dashboard import foretold_frames
from domain.errors import InputError
from domain.forecast import Ramps
from domain.planned import PlannedWork
from domain.scores import COLUMN, SLOT_MS, STATISTICS, ScoreSlot
from tests.system.console_plant import forecast_of

HOUR = 3_600_000
QUARTER = 900_000


def page(bare, node="", ago="0"):
    return json.loads(orjson.dumps(foretold_frames.page(bare.data, node or bare.site.id, ago)))


def ask(bare, **question):
    return json.loads(orjson.dumps(foretold_frames.ask(bare.data, question)))


def told(answer):
    return " | ".join(text for text, _ in answer["lines"])


@pytest.fixture
def foretold(bare):
    bare.records.save_forecast(forecast_of(bare.site, bare.now))
    bare.tick()
    return bare


def test_the_newest_forecast_is_a_fan_with_its_risk_and_when_it_was_issued(foretold):
    shown = page(foretold)
    fan = shown["chart"]["fan"]
    assert len(fan["quantiles"]) == 5
    assert len(fan["time"]) == len(fan["risk"]) == 192
    assert shown["chart"]["unit"] == "MW"
    assert shown["cells"]["foretold-issued"][0].endswith("0.0 s ago")


def test_an_earlier_issue_is_shown_as_it_was_and_scored_against_what_came(bare):
    issued = bare.now
    forecast = forecast_of(bare.site, issued)
    bare.records.save_forecast(forecast)
    for at in range(issued, issued + HOUR, 30_000):
        bare.tick(at)
    bare.now = issued + HOUR + 60_000
    bare.store.maintain(bare.now)
    bare.records.save_forecast(forecast_of(bare.site, bare.now, peak=0.5))
    shown = page(bare, ago="1h")
    assert shown["chart"]["fan"]["quantiles"][2][0] == pytest.approx(
        forecast.quantile(0.5)[0] / 1e6, abs=1e-3
    )
    assert sum(v is not None for v in shown["chart"]["came"]) >= 3
    assert "within the 90 % interval" in shown["cells"]["foretold-came"][0]
    assert page(bare, ago="7d")["cells"]["foretold-issued"][:2] == ["no forecast was issued then", "missing"]


def test_a_node_of_kilowatts_is_shown_in_kilowatts(foretold):
    rack = replace(forecast_of(foretold.site, foretold.now), object_id="R001")
    foretold.records.save_forecast(rack)
    assert page(foretold, "R001")["chart"]["unit"] == "kW"


def test_the_largest_ramps_are_told_by_window_up_and_down(foretold):
    learning = "Learning: two quarter hours are watched by the second before ramps are foretold"
    assert page(foretold)["ramps"][0]["cells"][0] == [learning, "muted"]
    up = np.array([[0.1, 0.4, 1.2], [0.2, 0.5, 1.3], [0.3, 0.6, 1.4], [0.4, 0.7, 1.5]]) * 1e6
    ramps = Ramps((2, 10, 60, 900), (0.05, 0.5, 0.95), up, up / 2)
    foretold.newest = {foretold.site.id: replace(forecast_of(foretold.site, foretold.now), ramps=ramps)}
    rows = [[text for text, *_ in row["cells"]] for row in page(foretold)["ramps"]]
    assert [row[0] for row in rows] == ["2 s", "10 s", "1 min", "15 min"]
    assert rows[0][1:] == ["+400 kW", "+1.2 MW", "\u2212200 kW", "\u2212600 kW"]


def test_what_is_planned_is_listed_and_may_be_moved_in_a_question(foretold):
    start = foretold.now + 6 * HOUR
    work = PlannedWork("slurm", "train 7", foretold.site.racks[:4], start, start + 12 * HOUR, 100e3)
    foretold.records.keep_schedule("slurm", [work], foretold.now)
    (row,) = page(foretold)["planned"]
    assert [row["job"], row["cells"][0][0], row["cells"][1][0]] == ["slurm/train 7", "train 7", "4"]
    moved = ask(foretold, job="slurm/train 7", by=12)
    before = np.array(page(foretold)["chart"]["fan"]["quantiles"][2])
    after = np.array(moved["fan"]["quantiles"][2])
    change = after - before
    assert change[30] < -0.2  # 7.5 h ahead it no longer runs
    assert change[80] > 0.2  # 20 h ahead it does
    assert change[10] == pytest.approx(0.0)
    with pytest.raises(InputError, match="no planned job"):
        ask(foretold, job="slurm/train 8", by=1)


def test_the_loss_of_a_ups_and_hotter_weather_are_answered_in_sentences(foretold):
    lost = ask(foretold, lost=["UPS-A1"])
    assert "UPS-B1" in told(lost)
    assert lost["fan"] is not None
    dark = ask(foretold, lost=["UPS-A1", "UPS-B1"])
    assert dark["lines"][0][1] == "alarm"
    assert "16 racks without power" in told(dark)
    warm = ask(foretold, warmer=10)
    assert warm["fan"]["quantiles"][2][0] > lost["fan"]["quantiles"][2][0]


def test_another_limit_and_an_added_job_change_the_risk(foretold):
    calm = ask(foretold, limit=10)
    assert "Risk that the limit is passed within 6 hours: <1 % (without this" in told(calm)
    tight = ask(foretold, limit=2.0, racks=8)
    assert "To stay under 1 %, shed up to" in told(tight)
    assert tight["limit"] == [2.0, 2.0]


@pytest.mark.parametrize(
    ("question", "why"),
    [
        ({}, "Nothing is asked"),
        ({"lost": ["UPS-X9"]}, "has no CDU, busway, UPS, feed or air unit"),
        ({"racks": 99}, "a job on 99 racks"),
        ({"racks": 2, "hours": 1e9}, "Hours lie within"),
        ({"limit": -3}, "more than 0 MW"),
        ({"warmer": 90}, "hotter weather is 0 to 25 K"),
    ],
)
def test_what_cannot_be_asked_is_refused_with_what_is_wrong(foretold, question, why):
    with pytest.raises(InputError, match=why):
        ask(foretold, **question)


def test_scores_over_time_come_from_what_was_scored(foretold):
    assert page(foretold)["cells"]["foretold-worth-note"][0] == "None has come due yet"
    start = foretold.now - foretold.now % SLOT_MS - SLOT_MS
    sums = np.zeros((1, len(STATISTICS)))
    for name, value in (("scored", 20), ("below", 1), ("above", 3), ("absolute", 20 * 40e3)):
        sums[0, COLUMN[name]] = value
    slot = ScoreSlot(
        "ActivePower", "W", start, np.array([foretold.site.id]), np.array([60], np.int32), sums,
        np.array([start]), np.full((1, 1), 1e6),
    )  # fmt: skip
    foretold.records.save_scores([slot], foretold.now)
    foretold.now += 11 * 60_000
    shown = page(foretold)
    quarter, hour, six = shown["worth"]["leads"]
    assert (hour["name"], hour["coverage"], hour["error"]) == ("60 min", [80.0], [40.0])
    assert quarter["coverage"] == six["coverage"] == [None]
    assert shown["cells"]["foretold-worth-note"][:2] == [
        "80 % of 20 within the 90 % interval, an hour ahead",
        "warning",
    ]
