"""Alarm performance as ISA-18.2 and EEMUA 191 measure it, counted in real records."""

import json
import math
from datetime import datetime
from zoneinfo import ZoneInfo

import pytest
from sqlalchemy import insert

from alerts import performance
from alerts.performance import MonthlyReports, as_dict, measured, rows
from alerts.settings import AlertSettings
from domain.alert import Condition, Severity
from domain.suppression import SuppressionKind
from storage import record_tables as t
from storage.alert_performance import PERIOD_MS, Frequent
from storage.records import Records

BEGIN = 1_790_000_400_000 - 1_790_000_400_000 % 86_400_000
HOUR, DAY = 3_600_000, 86_400_000
ZONE = ZoneInfo("Asia/Taipei")


@pytest.fixture
def records(tmp_path):
    made = Records(f"sqlite:///{tmp_path}/records.sqlite")
    yield made
    made.close()


def opened(records, at, object_id="R001", rule="warm", severity=Severity.WARNING, taken=0, gone=60_000):
    condition = Condition(rule, object_id, severity, f"{object_id}: {rule}", 1.0, 0.0, "", at)
    (alert,) = records.open_alerts([condition], at)
    if taken:
        records.acknowledge_alert(alert.id, "mei", "", at + taken)
    if gone:
        records.clear_alerts([alert.id], at + gone)
    return alert


def report(records, since=BEGIN, until=BEGIN + DAY, **settings):
    return measured(records, AlertSettings.model_validate(settings), since, until)


def test_alarms_are_counted_by_operator_and_hour_and_by_ten_minutes(records):
    for n in range(48):
        opened(records, BEGIN + n * HOUR // 2, f"R{n:03d}")
    told = report(records)
    assert (told.annunciated, told.per_hour, told.peak, told.floods) == (48, 2.0, 1.0, 0)
    assert told.per_period == pytest.approx(1 / 3)
    assert report(records, performance={"operators": 2}).per_hour == 1.0


def test_what_was_quiet_explained_or_for_information_was_not_annunciated(records):
    opened(records, BEGIN, severity=Severity.INFO)
    quiet, lead, member = (opened(records, BEGIN + 1, f"R00{n}", gone=0) for n in (2, 3, 4))
    window = SuppressionKind.MAINTENANCE, "*", "R002", BEGIN, BEGIN + DAY, "mei", "x"
    made = records.add_suppression(*window)
    records.cover([(quiet.id, made.id)], BEGIN + 1)
    records.keep_incidents([lead.id], {member.id: lead.id}, BEGIN + 1)
    told = report(records)
    assert (told.annunciated, told.recorded) == (1, 4)


def test_over_ten_alarms_in_ten_minutes_are_a_flood_and_floods_side_by_side_are_one(records):
    for period, alarms in ((0, 11), (1, 12), (2, 10), (5, 11)):
        for n in range(alarms):
            opened(records, BEGIN + period * PERIOD_MS + n, f"R{period}{n:02d}")
    told = report(records)
    assert (told.floods, told.peak) == (2, 12)
    assert told.flood_share == pytest.approx(3 / 144)


def test_priorities_the_most_frequent_and_what_chatters_are_named(records):
    for n in range(5):
        opened(records, BEGIN + n * 120_000, "R001", "leak", Severity.CRITICAL)
    for n in range(15):
        opened(records, BEGIN + n * HOUR, "CDU1", "down", Severity.HIGH)
    for n in range(80):
        opened(records, BEGIN + n * 600_000, f"R{n:03d}")
    told = report(records)
    assert told.priorities == {"critical": 0.05, "high": 0.15, "warning": 0.80}
    assert told.top[:2] == (Frequent("down", "CDU1", 15), Frequent("leak", "R001", 5))
    assert told.top_share == pytest.approx(28 / 100)
    assert told.chattering_top == (Frequent("leak", "R001", 5),)
    assert report(records, flapping={"times": 6, "within": "30 min"}).chattering == 0


@pytest.mark.parametrize(("alarms", "off"), [(2, False), (199, False), (200, True)])
def test_the_most_frequent_are_held_against_the_target_once_it_could_be_met(records, alarms, off):
    for n in range(alarms):
        opened(records, BEGIN + n * 400_000, f"R{n % 100:03d}")
    frequent = next(m for m in rows(report(records)) if m.name == "of the ten most frequent")
    assert frequent.off is off
    assert frequent.value.endswith("%")


def test_what_stands_for_over_a_day_is_stale_also_seen_later(records):
    old = opened(records, BEGIN, "R001", gone=0)
    opened(records, BEGIN + 2 * HOUR, "R002", gone=0)
    opened(records, BEGIN, "R003", severity=Severity.INFO, gone=0)
    until = BEGIN + DAY + HOUR
    assert [s.object_id for s in report(records, until=until).stale_top] == ["R001"]
    records.clear_alerts([old.id], until + HOUR)
    assert report(records, until=until).stale == 1
    assert report(records, until=until + 2 * HOUR).stale == 1  # R002 by then
    assert report(records, until=until, performance={"stale_after": "48 h"}).stale == 0


def test_the_time_until_somebody_took_an_alarm(records):
    assert math.isnan(report(records).taken_median)
    for n, taken in enumerate((10_000, 20_000, 90_000, 0)):
        opened(records, BEGIN + n * HOUR, f"R{n}", taken=taken, gone=100_000)
    told = report(records)
    assert (told.acknowledged, told.taken_median) == (0.75, 20.0)
    assert as_dict(report(records, BEGIN - DAY, BEGIN))["taken_median"] is None


def test_a_month_that_is_over_is_written_once_into_the_data_folder_and_old_ones_go(
    records, tmp_path, monkeypatch
):
    monkeypatch.setattr(performance, "MOST_FILES", 2)

    def at(year, month, day):
        return int(datetime(year, month, day, tzinfo=ZONE).timestamp() * 1000)

    opened(records, at(2026, 8, 31) + 23 * HOUR)
    opened(records, at(2026, 9, 1))
    now = [at(2026, 9, 15)]
    reports = MonthlyReports(records, AlertSettings(), ZONE, tmp_path, lambda: now[0])
    file = reports.once()
    told = json.loads(file.read_bytes())
    assert (file.name, told["month"], told["annunciated"]) == ("2026-08.json", "2026-08", 1)
    assert reports.once() is None
    for month, day in ((10, 1), (11, 3)):
        now[0] = at(2026, month, day)
        reports.once()
    assert [f.name for f in sorted(file.parent.iterdir())] == ["2026-09.json", "2026-10.json"]


def test_alarms_of_a_month_are_found_among_many_by_their_index_and_those_active_too(records):
    fields = {"object_id": "R001", "severity": "warning", "summary": "x", "unit": "", "observed": 0}
    fields |= {"state": "cleared", "updated": 0}
    with records.writing() as db:
        many = [fields | {"rule": f"r{n % 7}", "opened": BEGIN + n, "cleared_at": 1} for n in range(2000)]
        db.execute(insert(t.alerts), many)
    asked = []
    raw = records.engine.raw_connection()
    raw.driver_connection.set_trace_callback(asked.append)
    raw.close()
    records.active_alerts()
    report(records)
    raw = records.engine.raw_connection()
    steps = {
        step[3]
        for query in asked
        if query.startswith("SELECT")
        for step in raw.driver_connection.execute(f"EXPLAIN QUERY PLAN {query}")
    }
    raw.close()
    assert steps
    assert not [step for step in steps if step.startswith("SCAN alerts") and "one_active" not in step]
