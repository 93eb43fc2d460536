"""Reports of a shift, a day and a month."""

import csv
import io
import json
import math
from datetime import datetime
from zoneinfo import ZoneInfo

import numpy as np
import orjson
import pytest

from alerts.actions import acknowledge
from dashboard import cells, report_frames
from dashboard.reports import ReportDesk, span_of
from domain.alert import Severity
from domain.batch import Batch
from domain.errors import InputError
from domain.points import Point
from tests.system.console_plant import condition

TAIPEI, BERLIN = ZoneInfo("Asia/Taipei"), ZoneInfo("Europe/Berlin")
QUARTER = 900_000


def ms(text, zone=TAIPEI):
    return int(datetime.fromisoformat(text).replace(tzinfo=zone).timestamp() * 1000)


def report(bare, kind="day", back=0):
    return json.loads(orjson.dumps(report_frames.page(bare.data, kind, back)))


def pairs(rows):
    return {row["cells"][0][0]: row["cells"][1] for row in rows}


@pytest.fixture
def measured(bare):
    """Two quarter hours of the plant, the second of them over its limit."""
    first = bare.now - bare.now % QUARTER - 2 * QUARTER
    for at in range(first, first + 2 * QUARTER, 30_000):
        share = 0.5 if at < first + QUARTER else 1.05
        power = share * bare.site.limit / 2
        bare.plant.change = lambda values, p=power: values.update(
            {f"PowerMeter/ActivePower/FEED-{s}": p for s in "AB"} | {"UPS/ActivePower/UPS-A1": p / 1.2 * 2}
            | {"UPS/ActivePower/UPS-B1": 0.0})  # fmt: skip
        bare.tick(at)
    bare.store.maintain(bare.now)
    bare.first = first
    return bare


@pytest.mark.parametrize(
    ("kind", "back", "start", "end"),
    [
        ("day", 0, "2026-11-28T00:00", "2026-11-29T00:00"),
        ("day", 1, "2026-11-27T00:00", "2026-11-28T00:00"),
        ("month", 0, "2026-11-01T00:00", "2026-12-01T00:00"),
        ("month", 11, "2025-12-01T00:00", "2026-01-01T00:00"),
        ("shift", 0, "2026-11-28T08:00", "2026-11-28T16:00"),
        ("shift", 2, "2026-11-27T16:00", "2026-11-28T00:00"),
    ],
)
def test_a_shift_a_day_and_a_month_are_those_of_the_site(kind, back, start, end):
    span = span_of(kind, back, ms("2026-11-28T13:20"), TAIPEI)
    assert (span.start, span.end) == (ms(start), ms(end))
    assert span.running == (back == 0)


def test_a_day_of_a_clock_change_is_as_long_as_it_is():
    span = span_of("day", 0, ms("2026-10-25T12:00", BERLIN), BERLIN)
    assert span.end - span.start == 25 * 3_600_000


@pytest.mark.parametrize(("kind", "back"), [("year", 0), ("day", 61), ("day", -1), ("shift", 10**6)])
def test_what_is_not_reported_is_refused(kind, back):
    with pytest.raises(InputError):
        span_of(kind, back, ms("2026-11-28T13:20"), TAIPEI)


def test_the_envelope_names_quarter_hours_over_the_limit_and_by_how_much(measured):
    told = report(measured)
    envelope = pairs(told["envelope"])
    assert envelope["Over the limit"] == ["1", "alarm"]
    assert envelope["Highest"][0].startswith("2.800 MW")
    assert envelope["Within the limit"][0] == "50 %"
    (over,) = told["over"]
    assert [cell[0] for cell in over["cells"]][1:] == ["2.800 MW", "2.667 MW", "133 kW"]
    assert envelope["Quarter hours known"][1] == "warning"  # most of the day is not measured, and not made up


def test_a_quarter_hour_in_which_batteries_carried_load_is_left_out_of_the_pue_and_counted(measured):
    bare = measured
    key = "UPS/InputPower/UPS-A1"
    taken = bare.registry.register(Point(key, "UPS", "InputPower", "UPS-A1", unit="W", source="dsx:bms"))
    given = 1.05 * bare.site.limit / 1.2
    times = np.arange(bare.first, bare.first + 2 * QUARTER, 30_000, dtype=np.int64)
    half = times >= bare.first + QUARTER + QUARTER // 2  # of the second quarter hour
    bare.accept(Batch.of(np.full(len(times), taken), times, np.where(half, 0.0, 1.03 * given)))
    bare.store.maintain(bare.now)
    told = report(bare)
    assert pairs(told["energy"])["PUE"][0] == "1.200"
    assert "1 quarter hour in which batteries carried load is left out" in pairs(told["energy"])["PUE"][2]
    rows = list(csv.DictReader(io.StringIO(report_frames.quarters_csv(bare.data, "day", 0)[1])))
    assert [row["pue"] for row in rows if row["site_W"]] == ["1.200", ""]


def test_energy_and_pue_are_of_the_quarter_hours_that_are_known(measured):
    energy = pairs(report(measured)["energy"])
    mean = 0.5 * (0.5 + 1.05) * measured.site.limit
    assert energy["Energy"][0] == cells.quantity(mean * 1800, "J", 4)
    assert energy["PUE"][:2] == ["1.200", ""]
    assert energy["IT energy"][2] == "at the UPSes"
    assert energy["CO2 equivalent"][:2] == [cells.DASH, "missing"]


def test_a_shift_is_told_by_the_hour_and_a_month_by_the_day(measured):
    hours = [row["cells"][0][0] for row in report(measured, "shift")["parts"]]
    assert all(":" in name for name in hours)
    days = report(measured, "month")["parts"]
    assert [row["cells"][0][0] for row in days][-1] == datetime.fromtimestamp(
        measured.now / 1000, TAIPEI
    ).date().isoformat()
    known = [row for row in days if row["cells"][1][0] != cells.DASH]
    assert len(known) == 1


def test_incidents_of_the_time_are_listed_with_who_took_them_and_alarms_with_their_targets(measured):
    lead, below = measured.records.open_alerts(
        [condition("cdu-down", "P01-CDU1", Severity.HIGH), condition("warm", "R001", Severity.WARNING)],
        measured.now,
    )
    measured.records.keep_incidents([lead.id], {below.id: lead.id}, measured.now)
    acknowledge(measured.records, lead.id, "anna", "", measured.now)
    measured.now += 61_000
    told = report(measured)
    (row,) = told["incidents"]
    assert [cell[0] for cell in row["cells"]][1:] == ["P01-CDU1", "cdu-down", "lasts", "1", "anna"]
    assert pairs(told["alarms"])["annunciated alarms"][0] != ""
    assert report(measured, "day", 1)["incidents"][0]["id"] == "report-incident-none"


def test_the_month_stands_against_the_contract_where_there_is_one(measured):
    assert report(measured, "month")["contract"][0]["id"] == "contract-none"
    peak = {
        "name": "regular",
        "contracted": 2.7e6,
        "so_far": 2.8e6,
        "end": (2.7e6, 2.8e6, 2.9e6),
        "exceeds": 1.0,
    }
    desk = measured.data.reports
    measured.data.reports = ReportDesk(
        measured.data.plant, measured.records, measured.data.clock, desk._settings, desk._energy,
        lambda: {"levels": (0.05, 0.5, 0.95), "peaks": [peak]},
    )  # fmt: skip
    (row,) = report(measured, "month")["contract"]
    assert [cell[0] for cell in row["cells"]] == ["regular", "2.700 MW", "2.800 MW", "2.800 MW", "100 %"]
    assert row["cells"][2][1] == "alarm"


def test_the_file_holds_every_quarter_hour_and_nothing_where_nothing_is_known(measured):
    name, text = report_frames.quarters_csv(measured.data, "day", 0)
    assert name.startswith("taipei-1-day-")
    rows = list(csv.DictReader(io.StringIO(text)))
    known = [row for row in rows if row["site_W"]]
    assert [row["over_limit"] for row in known] == ["0", "1"]
    assert float(known[1]["site_W"]) == pytest.approx(1.05 * measured.site.limit, rel=1e-3)
    assert known[0]["start"].endswith("+08:00")
    assert known[0]["start_utc"].endswith("Z")
    assert known[0]["pue"] == "1.200"
    assert {row["over_limit"] for row in rows if not row["site_W"]} <= {""}


def test_what_cannot_be_reported_says_so_on_the_page(bare):
    assert "reach 60 back" in report(bare, "day", 999)["trouble"]
    assert math.isnan(bare.data.reports.report("day", 0).whole.energy)
