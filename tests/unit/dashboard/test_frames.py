"""What a browser is sent: texts, marks and numbers."""

import json
import math
from zoneinfo import ZoneInfo

import numpy as np
import orjson
import pytest

from alerts.actions import shelve
from dashboard import cells
from dashboard.registry import ALWAYS, section, sections_of
from dashboard.threads import background_done
from dashboard.views import PointNow
from domain.alert import Severity
from domain.batch import Batch
from domain.points import Point, Quality
from storage.plant import Reading
from tests.system.console_plant import condition, forecast_of

NOW = 1_790_000_000_000
TAIPEI = ZoneInfo("Asia/Taipei")


def good(value, age_ms=0):
    return Reading(value, NOW - age_ms, Quality.GOOD, 0)


def test_a_figure_carries_its_unit_and_when_it_was_observed():
    assert cells.reading(good(13.42e6), "W", NOW, 4) == ["13.42 MW", "", "", NOW]


def test_missing_is_a_dash_with_a_mark_and_a_reason_never_a_zero():
    missing = Reading(math.nan, 0, Quality.BAD, 2)
    assert cells.reading(missing, "W", NOW) == ["\u2014", "missing", "2 of its meters tell nothing", 0]
    assert cells.number(missing, 1.0, 0, NOW)[0] == "\u2014"
    assert cells.percent(math.nan) == "\u2014"
    assert cells.numbers(np.array([1.234, np.nan]), 1) == [1.2, None]


@pytest.mark.parametrize(
    ("reading", "mark"),
    [
        (Reading(5.0, NOW, Quality.BAD, 0), "bad"),
        (Reading(5.0, NOW, Quality.ESTIMATED, 0), "estimated"),
        (Reading(5.0, NOW - 200_000, Quality.GOOD, 0), "old"),
        (Reading(5.0, NOW - 100_000, Quality.GOOD, 0), ""),
    ],
)
def test_bad_old_and_estimated_values_keep_their_number_and_are_marked(reading, mark):
    cell = cells.number(reading, 1.0, 0, NOW)
    assert cell[:2] == ["5", mark]
    assert bool(cell[2]) == bool(mark)


@pytest.mark.parametrize(
    ("ms", "text"),
    [
        (0, "0.0 s"),
        (3200, "3.2 s"),
        (59_000, "59 s"),
        (14 * 60_000, "14 min"),
        (19_200_000, "5 h 20 min"),
        (3e8, "3 d"),
    ],
)
def test_a_duration_reads_in_its_largest_sensible_unit(ms, text):
    assert cells.duration(ms) == text


def test_a_small_risk_is_not_rounded_to_nothing():
    assert [cells.percent(x) for x in (0, 0.004, 0.05, 1)] == ["0 %", "<1 %", "5 %", "100 %"]


def test_chart_times_stand_on_the_sites_clock_also_over_a_change_of_the_clocks():
    assert cells.wall(np.array([0], np.int64), TAIPEI).tolist() == [8 * 3_600_000]
    berlin = ZoneInfo("Europe/Berlin")
    change = 1_792_890_000_000  # 25 October 2026, 01:00 UTC: summer time ends
    moved = cells.wall(np.array([change - 1, change], np.int64), berlin)
    assert (moved - [change - 1, change]).tolist() == [7_200_000, 3_600_000]


def test_the_data_age_turns_amber_and_then_red(hall):
    hall.tick()
    marks = []
    for age in (2_000, 15_000, 40_000):
        hall.now += age
        marks.append(section(hall.data, "header")["cells"]["data-age"][1])
        hall.now -= age
    assert marks == ["", "warning", "alarm"]


def test_a_feed_that_stays_at_zero_is_as_fresh_as_its_source_that_tells_what_changes(hall):
    """A BMS repeats what does not change every 100 s only, and tells by its heart that it lives."""
    beat = hall.registry.register(
        Point(
            "System/HeartbeatTimestampBms/BMS/beat",
            "System",
            "HeartbeatTimestampBms",
            "BMS",
            source="dsx:bms",
        )
    )
    hall.tick()
    feed = hall.registry.select("PowerMeter", "ActivePower", "FEED-B")

    def age(passed: int, heart: bool) -> str:
        hall.now += passed
        hall.accept(Batch.of(feed, hall.now, [2e6]))
        if heart:
            hall.accept(Batch.of([beat], hall.now, [1.0], received=hall.now))
        return section(hall.data, "header")["cells"]["data-age"][0]

    assert age(60_000, heart=False) == "60 s"
    assert age(1_000, heart=True) == "0.0 s"
    assert age(180_000, heart=True) == "4 min"  # the meter of FEED-A is dead though the BMS lives


def test_a_breached_limit_is_an_alarm_and_a_thin_margin_a_warning(hall):
    for power, mark in ((0.5, ""), (0.98, "warning"), (1.01, "alarm")):
        hall.plant.change = lambda values, p=power: values.update(
            {f"PowerMeter/ActivePower/FEED-{s}": p * hall.site.limit / 2 for s in "AB"}
        )
        hall.now += 1000
        hall.tick()
        assert section(hall.data, "header")["cells"]["site-power"][1] == mark


def test_every_section_of_every_page_is_plain_json_with_and_without_data(hall):
    names = {n for path in ("/", "/alerts", "/health", "/rack/R001") for n in sections_of(path, hall.data)}
    assert names >= {"header", "alerts", "power", "floor", "cooling", "supply", "work", "health", "rack:R001"}
    for rack in ("R001", "R002"):
        for name in names:
            json.loads(orjson.dumps(section(hall.data, name)))
        hall.records.save_forecast(forecast_of(hall.site, hall.now))
        hall.records.open_alerts([condition(object_id=rack)], hall.now)
        hall.tick()


def test_what_another_alert_explains_stands_under_it(hall):
    one, lead, other = hall.records.open_alerts(
        [condition("hot", "R001", Severity.CRITICAL), condition("feed", "FEED-A"), condition("hot", "R002")],
        hall.now,
    )
    hall.records.keep_incidents([lead.id], {one.id: lead.id}, hall.now)
    hall.now += 1000
    rows = [(r["id"], r["lead"], r["explains"]) for r in section(hall.data, "alerts")["rows"]]
    assert set(rows) == {(lead.id, 0, 1), (one.id, lead.id, 0), (other.id, 0, 0)}
    assert rows.index((one.id, lead.id, 0)) == rows.index((lead.id, 0, 1)) + 1
    hall.records.clear_alerts([lead.id], hall.now)
    hall.now += 1000
    left = [r["id"] for r in section(hall.data, "alerts")["rows"]]
    assert set(left) == {one.id, other.id}


def test_a_second_without_news_changes_only_the_header(hall):
    hall.tick()
    hall.records.open_alerts([condition("leak", "R003", Severity.CRITICAL)], hall.now)
    names = sorted(sections_of("/", hall.data) - {"power"})
    for n in names:  # what is worked out in the background is there the next time
        section(hall.data, n)
    background_done()
    before = {n: section(hall.data, n) for n in names}
    hall.now += 1000
    assert [n for n in names if section(hall.data, n) != before[n]] == ["header"]


def test_the_overview_of_a_second_is_small(hall):
    hall.tick()
    sent = sum(len(orjson.dumps(section(hall.data, n))) for n in sections_of("/", hall.data) - {"power"})
    assert sent < 16_000


def test_the_fan_is_the_forecasts_quantiles_from_now_on(hall):
    forecast = forecast_of(hall.site, hall.now)
    hall.records.save_forecast(forecast)
    fan = section(hall.data, "power")["fan"]
    assert len(fan["time"]) == len(forecast.start)
    assert fan["quantiles"][2][0] == pytest.approx(forecast.quantile(0.5)[0] / 1e6, abs=1e-3)
    assert all(a <= b for a, b in zip(fan["quantiles"][0], fan["quantiles"][4], strict=True))
    hall.now += 3_600_000
    assert len(section(hall.data, "power")["fan"]["time"]) == len(forecast.start) - 4


def test_an_address_names_only_racks_that_the_site_has(hall):
    assert sections_of("/rack/R001", hall.data) == {*ALWAYS, "rack:R001"}
    assert sections_of("/rack/R999", hall.data) == set(ALWAYS)
    assert sections_of("/rack/<script>", hall.data) == set(ALWAYS)


def test_a_shelved_alert_says_until_when_and_by_whom(hall):
    hall.records.open_alerts(
        [condition("leak", "R003", Severity.CRITICAL), condition("flow", "R004")], hall.now
    )
    leak = next(a for a in hall.records.active_alerts() if a.condition.rule == "leak")
    shelf = shelve(hall.records, leak.id, "ann", "hose work", hall.now, hall.now + 3_600_000)
    hall.records.cover([(leak.id, shelf.id)], hall.now)
    told = {row["object"]: row["quiet"] for row in section(hall.data, "alerts")["rows"]}
    assert told["R003"].startswith("shelved until")
    assert told["R003"].endswith("ann: hose work")
    assert told["R004"] == ""
    (row,) = section(hall.data, "alarms")["rows"]
    assert (row["what"], row["rule"], row["alarms"]) == ("R003", "leak", 1)


def test_the_health_page_lists_parts_that_wear_and_marks_those_due_within_a_month(hall):
    line = {
        "object": "P01-CDU1", "what": "pump head lost", "now": 0.21, "limit": 0.25, "per_day": 0.002, "days_left": 20.0,
        "earliest": 15.0, "latest": None, "advice": "Inspect it.",
    }  # fmt: skip
    hall.upkeep = [line, line | {"object": "P01-CDU2", "days_left": 90.0}]
    soon, later = section(hall.data, "health")["upkeep"]
    assert [cell[0] for cell in soon["cells"]] == [
        "P01-CDU1", "pump head lost", "0.21", "0.25", "20 d", "15 d to \u2014", "Inspect it.",
    ]  # fmt: skip
    assert (soon["mark"], later["mark"]) == ("warning", "")


def test_the_health_page_tells_whether_an_estimate_stands_in_for_an_instrument(hall):
    assert len(section(hall.data, "health")["instruments"]) == 1
    hall.instruments = [
        {"object": "R001", "quantity": "RackLiquidFlow", "verdict": "stuck", "estimated": True},
        {"object": "P01-CDU1", "quantity": "LiquidFlow", "verdict": "silent", "estimated": False},
    ]
    rows = section(hall.data, "health")["instruments"]
    assert [row["cells"][3][0] for row in rows] == ["estimate", "nothing"]


def test_the_health_page_tells_what_forecasts_were_worth_and_marks_what_is_off(hall):
    (none,) = section(hall.data, "health")["worth"]
    assert none["cells"] == [["None has come due yet", "muted"]]
    row = {
        "forecast": "rack power", "lead": 360, "ahead": "6 h", "unit": "W", "scored": 63000, "missing": 12,
        "revised": 0, "coverage": 0.71, "error": 4200.0, "to_persistence": 1.08, "to_naive": 0.8,
        "brier": math.nan, "breaches": 0, "state": "Too narrow",
    }  # fmt: skip
    hall.worth = [row, row | {"lead": 15, "ahead": "15 min", "to_persistence": 0.7, "state": None}]
    off, unknown = section(hall.data, "health")["worth"]
    assert off["id"] == "worth-rack-power-360"
    assert off["mark"] == "warning"
    assert [cell[0] for cell in off["cells"][:6]] == ["rack power", "6 h", "71 %", "4.20 kW", "1.08", "0.80"]
    assert (off["cells"][4][1], unknown["cells"][4][1]) == ("warning", "")
    assert off["cells"][6][0] == cells.DASH
    assert off["cells"][7][2] == "12 missing"
    assert (off["cells"][8][0], unknown["cells"][8]) == ("Too narrow", ["not known yet", "muted"])


def test_the_health_page_tells_which_clocks_are_off_and_when_it_is_our_own(hall):
    def rows():
        return [[text for text, _ in row["cells"]] for row in section(hall.data, "health")["clocks"]]

    assert rows() == [["None is off"]]
    off = {"offset_s": 420.0, "drift_s_per_minute": 0.98, "steps": 0}
    hall.clocks = {
        "our_own_off_s": 0.0,
        "off": {"dsx:bms": off, "snmp:u1": off | {"offset_s": -12.3, "steps": 2}},
    }
    assert rows() == [
        ["dsx:bms", "420.0 s ahead", "+0.98 s/min", ""],
        ["snmp:u1", "12.3 s behind", "+0.98 s/min", "2"],
    ]
    hall.clocks["our_own_off_s"] = -61.0
    assert rows()[0] == ["this machine's own", "61.0 s behind", "", ""]


def test_the_row_of_a_value_that_cannot_be_says_why():
    point = Point("k", "Rack", "RackPower", "R001", unit="W")
    told = cells.quality_told(PointNow(point, 90e9, 1, 0), ["R001"])
    assert told.startswith("bad: 90000 MW cannot be: RackPower of a Rack lies within")
    assert cells.quality_told(PointNow(point, 70e3, 1, 0), ["R001"]) == "bad"  # its source says so
    assert cells.quality_told(PointNow(point, 70e3, 1, 1), ["R001"]) == "good"


def test_an_alert_of_a_number_of_things_says_it_in_its_sentence_alone(hall):
    hall.tick()
    told = [
        ("grid-consent-needed", "count", 0.5),
        ("supply-lost", "count", 2.0),
        ("power-above-limit", "W", 2e6),
    ]
    opened = [
        condition(rule, f"UPS-A{n}", value=3.0, limit=limit, unit=unit)
        for n, (rule, unit, limit) in enumerate(told)
    ]
    hall.records.open_alerts(opened, hall.now)
    hall.now += 1000
    rows = {row["rule"]: row for row in section(hall.data, "alerts")["rows"]}
    assert [rows[rule]["value"] for rule, _, _ in told] == ["\u2014", "\u2014", "3.00 W"]
    assert [rows[rule]["limit"] for rule, _, _ in told] == ["", "", "2.00 MW"]
