"""The console at a past moment: figures, alerts, incidents and forecasts as they stood then."""

from __future__ import annotations

import math
import threading
from dataclasses import replace
from datetime import UTC, datetime
from types import SimpleNamespace
from urllib.parse import urlencode
from zoneinfo import ZoneInfo

import pytest

from alerts import actions
from alerts.notify.message import iso
from dashboard import alarm_frames, foretold_frames
from dashboard.data import MOST_MOMENTS
from dashboard.moments import moment_in, seen
from dashboard.pages import PAGES
from dashboard.past import LOOK_AGAIN, MOST_SECTIONS, Past, where
from dashboard.registry import ALWAYS, LIVE, section, sections_of
from dashboard.threads import reading_past
from domain.alert import AlertState, Severity
from domain.errors import InputError
from domain.points import Quality
from domain.suppression import SuppressionKind
from tests.system.console_plant import condition, forecast_of

TAIPEI = ZoneInfo("Asia/Taipei")
MINUTE, HOUR = 60_000, 3_600_000
LATER = 2_000_000_000_000


@pytest.mark.parametrize(
    "text",
    ["2026-11-27T03:00", "2026-11-26T19:00:00Z", "2026-11-27 03:00+08:00", "1795719600", "1795719600000"],
)
def test_a_moment_is_told_by_the_sites_clocks_or_with_a_zone_or_in_seconds(text):
    then = int(datetime(2026, 11, 26, 19, tzinfo=UTC).timestamp() * 1000)
    assert moment_in("?" + urlencode({"alert": 17, "at": text}), TAIPEI, LATER) == then


def test_the_moment_in_a_messages_link_is_read_to_the_millisecond():
    for then in range(1_790_000_000_000, 1_790_000_001_000):
        assert moment_in("?" + urlencode({"at": iso(then)}), TAIPEI, LATER) == then


@pytest.mark.parametrize(
    "search",
    [
        None,
        "",
        "?at=",
        "?at=soon",
        "?at=2026-09-21",
        "?at=1e400",
        "?at=0001-01-01T00:00:00Z",
        "?at=9999-12-31T23:59",
        "?at=-5",
        "?at=99999999999999999999",
        "?" + "a=1&" * 50,
    ],
)
def test_an_address_that_asks_for_no_moment_or_one_to_come_shows_the_present(search):
    assert moment_in(search, TAIPEI, LATER) == 0


def test_figures_are_those_of_the_moment_with_their_ages_then(bare):
    then = bare.now
    bare.tick(then - 4_000)
    bare.now = then + 6 * HOUR
    bare.plant.change = lambda values: values.update({"Rack/RackPower/R001": 1000.0})
    bare.tick()
    past = bare.data.at(then)
    assert (past.clock(), past.step) == (then, 0)
    was = past.rack("R001").power
    assert was.value > 100e3
    assert then - was.observed == 4_000
    assert bare.data.rack("R001").power.value == 1000.0
    assert past.header().now == then


def test_what_was_not_told_within_an_hour_before_is_missing_and_never_zero(bare):
    then = bare.now
    bare.tick(then - 30 * MINUTE)
    bare.now = then + 2 * HOUR
    bare.tick()
    told, missing = bare.data.at(then), bare.data.at(then + 90 * MINUTE)
    assert told.rack("R001").power.observed == then - 30 * MINUTE
    assert math.isnan(missing.rack("R001").power.value)
    assert math.isnan(missing.header().power.value)
    cells = section(missing, "header")["cells"]
    assert cells["site-power"][:2] == ["\u2014", "missing"]


def test_quality_is_that_of_the_moment(bare):
    bare.plant.bad.add("Rack/RackPower/R015")
    bare.tick()
    then, bare.now = bare.now, bare.now + MINUTE
    bare.plant.bad.clear()
    bare.tick()
    assert bare.data.at(then).rack("R015").power.quality == Quality.BAD
    assert bare.data.rack("R015").power.quality == Quality.GOOD


def test_what_a_source_told_whose_clock_is_behind_is_as_old_as_it_was_and_not_of_later(bare):
    source = next(p.source for p in bare.registry if p.object_id == "R001" and p.point_type == "RackPower")
    then = bare.now
    for minute in range(-2, 3):  # each reading carries a time 30 s before it was taken
        bare.tick(then + minute * MINUTE - 30_000)
    bare.now = then + 3 * MINUTE
    assert bare.data.at(then).rack("R001").power.observed == then - 30_000
    bare.clocks["off"] = {source: {"offset_s": -30.0, "drift_s_per_minute": 0.0, "steps": 0}}
    power = bare.data.at(then + 1).rack("R001").power
    assert power.observed == then
    assert power.value == pytest.approx(bare.plant.values(then - 30_000)["Rack/RackPower/R001"])


def test_before_the_raw_readings_it_is_the_value_of_a_step_and_says_of_which(bare):
    then = bare.now
    for minute in range(30):
        bare.tick(then - 15 * MINUTE + minute * MINUTE)
    bare.store.maintain(then + 24 * HOUR)
    kept = bare.store._raw_floor
    bare.store._raw_floor = then + HOUR  # as it is when their retention is over
    bare.now = then + 48 * HOUR
    past = bare.data.at(then)
    assert past.step == MINUTE
    was = past.rack("R001")
    assert was.power.observed == then
    assert was.power.value == pytest.approx(bare.plant.values(then)["Rack/RackPower/R001"], rel=0.01)
    assert was.leak == "Dry"
    bare.store._raw_floor = kept


def opened(hall, rule, object_id, severity=Severity.WARNING):
    return hall.records.open_alerts([condition(rule, object_id, severity)], hall.now)[0]


def test_alerts_stand_as_they_stood_then(bare):
    bare.tick()
    start = bare.now
    one = opened(bare, "temperature", "R003")
    bare.now += MINUTE
    actions.acknowledge(bare.records, one.id, "anna", "looking", bare.now)
    bare.now += MINUTE
    bare.records.update_alerts(
        [(one.id, replace(one.condition, severity=Severity.HIGH, value=60.0))], bare.now
    )
    bare.now += MINUTE
    bare.records.return_alerts([one.id], bare.now)
    two = opened(bare, "leak", "R004", Severity.CRITICAL)
    bare.now += MINUTE
    bare.records.return_alerts([two.id], bare.now)
    bare.now += MINUTE
    actions.acknowledge(bare.records, two.id, "ben", "dry again", bare.now)
    bare.now += HOUR

    def at(minutes: float):
        return bare.data.at(start + int(minutes * MINUTE)).alarms.listed()

    assert bare.data.alarms.listed() == []
    assert at(-1) == []
    (then,) = at(0)
    assert (then.state, then.acknowledged_by, then.condition.severity) == (
        AlertState.OPEN,
        "",
        Severity.WARNING,
    )
    (then,) = at(1.5)
    assert (then.state, then.acknowledged_by, then.note) == (AlertState.ACKNOWLEDGED, "anna", "looking")
    assert then.condition.severity is Severity.WARNING
    (then,) = at(2.5)
    assert (then.condition.severity, then.cleared_at) == (Severity.HIGH, 0)
    (then,) = at(3.5)
    assert (then.id, then.state) == (two.id, AlertState.OPEN)
    (then,) = at(4.5)
    assert (then.state, then.acknowledged_by, then.cleared_at) == (
        AlertState.RETURNED,
        "",
        start + 4 * MINUTE,
    )
    assert at(5) == []
    ended = {a.id: a for a in bare.data.at(start + 6 * MINUTE).alarms.history()}
    assert (ended[two.id].acknowledged_by, ended[two.id].state) == ("ben", AlertState.CLEARED)
    (row,) = alarm_frames.alerts(bare.data.at(start + MINUTE))["rows"]
    assert row["told"]  # its figures were told later
    assert bare.data.at(start).header().alerts[Severity.WARNING] == 1


def test_what_was_foretold_is_that_until_it_came(bare):
    bare.tick()
    start = bare.now
    alert = opened(bare, "power ahead", "R001")
    bare.now += MINUTE
    bare.records.take_over_alerts([(alert.id, condition("power", "R001", Severity.HIGH))], bare.now)
    bare.now += MINUTE
    assert [a.condition.rule for a in bare.data.at(start).active_alerts()] == ["power ahead"]
    assert [a.condition.rule for a in bare.data.at(start + MINUTE).active_alerts()] == ["power"]


def test_what_kept_an_alarm_quiet_then_is_told(bare):
    bare.tick()
    start = bare.now
    alert = opened(bare, "temperature", "R003")
    kept = bare.records.add_suppression(
        SuppressionKind.SHELVED, "temperature", "R003", start, start + HOUR, "anna", "sensor"
    )
    bare.records.cover([(alert.id, kept.id)], start)
    with bare.records.writing() as db:
        db.exec_driver_sql("UPDATE suppressions SET created = ?", (start,))
    bare.now += 10 * MINUTE
    bare.records.uncover([(alert.id, kept.id)], bare.now)
    bare.records.end_suppression(kept.id, bare.now, "anna", "mended")
    bare.now += MINUTE
    past = bare.data.at(start + MINUTE)
    assert past.alarms.quiet()[alert.id].reason == "sensor"
    assert [s.id for s in past.alarms.suppressions()] == [kept.id]
    after = bare.data.at(start + 11 * MINUTE - 1)
    assert (after.alarms.quiet(), after.alarms.suppressions()) == ({}, [])


def test_incidents_have_the_members_and_steps_of_then(bare):
    bare.tick()
    start = bare.now
    lead = opened(bare, "ups", "UPS-A1", Severity.CRITICAL)
    first = opened(bare, "power", "R001")
    bare.records.keep_incidents([lead.id], {first.id: lead.id}, start)
    bare.now += MINUTE
    second = opened(bare, "power", "R002")
    bare.records.keep_incidents([lead.id], {first.id: lead.id, second.id: lead.id}, bare.now)
    bare.now += MINUTE
    bare.records.clear_alerts([lead.id, first.id, second.id], bare.now)
    bare.records.keep_incidents([], {}, bare.now)
    bare.now += HOUR
    assert bare.data.incidents.open() == []
    then = bare.data.at(start)
    (incident,) = then.incidents.open()
    assert (incident.members, incident.active, incident.closed) == ({"power": 1}, 1, 0)
    assert then.leads() == {first.id: lead.id}
    one = bare.data.at(start + MINUTE).incidents.one(lead.id)
    assert [a.id for a in one.members] == [first.id, second.id]
    assert {s.change.state for s in one.steps} == {AlertState.OPEN}
    assert bare.data.at(start - MINUTE).incidents.one(lead.id) is None
    (over,) = bare.data.at(bare.now - MINUTE).incidents.past()
    assert over.closed == start + 2 * MINUTE


def test_the_forecast_is_the_one_that_was_issued_then(bare):
    bare.tick()
    start = bare.now
    bare.records.save_forecast(forecast_of(bare.site, start, peak=0.7))
    bare.records.save_forecast(forecast_of(bare.site, start + HOUR, peak=1.2))
    bare.now += 2 * HOUR
    past = bare.data.at(start + MINUTE)
    assert past.forecast().issued == start
    chart = foretold_frames.page(past, bare.site.id, "0")["chart"]
    now = foretold_frames.page(bare.data, bare.site.id, "0")["chart"]
    assert max(chart["fan"]["quantiles"][2]) < max(now["fan"]["quantiles"][2])
    assert bare.data.at(start - MINUTE).forecast() is None


def test_nothing_is_changed_in_the_past(bare):
    bare.tick()
    alert = opened(bare, "temperature", "R003")
    then, bare.now = bare.now, bare.now + MINUTE
    with pytest.raises(InputError, match="the past"):
        bare.data.at(then).alarms.acknowledge(alert.id, "anna", "")
    assert bare.records.alert(alert.id).state is AlertState.OPEN


def test_every_section_of_the_past_can_be_built_also_where_nothing_is_known(bare):
    bare.tick()
    then = bare.now
    for name in LIVE:
        which = {"rack": ":R001", "object": ":UPS-A1", "incident": ":1"}.get(name, "")
        for moment in (then, then - 30 * 24 * HOUR):
            assert isinstance(section(bare.data.at(moment), name + which), dict)


def test_power_reserve_of_the_past_is_there_at_once(bare):
    bare.tick()
    then, bare.now = bare.now, bare.now + MINUTE
    assert bare.data.at(then).power.reserve().now


async def test_a_pages_own_question_is_answered_of_its_moment(tmp_path):
    data = FrozenData()
    assert await seen(data, "?at=1700000000", lambda d, word: (d, word), "x") == ("then", "x")
    assert await seen(data, "?alert=1", lambda d, word: (d, word), "x") == (data, "x")


class FrozenData:
    """As much of the console's data as decides which moment is asked for."""

    site = SimpleNamespace(zone=TAIPEI)

    def clock(self):
        return LATER

    def at(self, moment):
        assert moment == 1_700_000_000_000
        return "then"


def test_the_past_of_so_many_moments_is_kept(bare):
    bare.tick()
    for minute in range(MOST_MOMENTS + 3):
        bare.data.at(bare.now - minute * MINUTE)
    assert len(bare.data._moments) == MOST_MOMENTS
    kept = bare.data.at(bare.now - 5 * MINUTE)
    assert bare.data.at(bare.now - 5 * MINUTE) is kept


async def test_the_past_is_read_in_a_thread_of_its_own():
    names = {await reading_past(lambda: threading.current_thread().name) for _ in range(4)}
    assert names == {"console-past_0"}


def test_a_page_that_tells_of_hallwatch_itself_has_no_past(bare):
    assert sections_of("/health", bare.data, past=True) == frozenset(ALWAYS)
    assert sections_of("/power", bare.data, past=True) > frozenset(ALWAYS)
    assert {page.name for page in PAGES if not page.of_past} >= {"health"}


def test_an_address_tells_page_and_moment(bare):
    assert where("http://[", bare.data) == ("/", 0)
    assert where(None, bare.data) == ("/", 0)
    assert where("http://x/power?unit=UPS-A1&at=1700000000#a", bare.data) == ("/power", 1_700_000_000_000)


def test_windows_that_look_at_one_moment_share_what_was_built(bare):
    bare.tick()
    then, bare.now = bare.now, bare.now + MINUTE
    past = Past(bare.data)
    names = ("header", "floor", "power")
    sections, told = past._sections(names, then, "en")
    again, _ = past._sections(names, then, "en")
    assert all(again[name] is sections[name] for name in names)
    assert (told["moment"], told["trouble"]) == (then, "")
    assert "not live" in told["text"]
    for minute in range(MOST_SECTIONS):
        past._sections(("header",), then - minute * MINUTE, "en")
    assert len(past._kept) == MOST_SECTIONS


async def test_a_window_is_sent_a_moment_once_and_then_only_what_changes_of_it(bare_ticked):
    then = bare_ticked.now - MINUTE
    window = Past(bare_ticked.data).window()
    names = frozenset({"header", "notes"})
    first = await window.changes(names, then, "en")
    assert list(first) == ["header", "notes", "past"]
    assert {payload["moment"] for payload in first.values()} == {then}
    beats = [await window.changes(names, then, "en") for _ in range(2 * LOOK_AGAIN)]
    assert [list(beat) for beat in beats] == [["past"]] * len(beats)
    bare_ticked.data.notes.pin({"note": "seen"}, "anna")
    beats = [await window.changes(names, then, "en") for _ in range(LOOK_AGAIN)]
    assert [list(beat) for beat in beats if len(beat) > 1] == [["notes", "past"]]
    assert "header" in await window.changes(names, then - MINUTE, "en")
    assert (window.left(), window.left()) == (True, False)
    assert "header" in await window.changes(names, then - MINUTE, "en")


async def test_a_moment_that_could_not_be_shown_is_tried_again(bare_ticked, monkeypatch):
    def down(*_args):
        raise InputError("no answer")

    then, names = bare_ticked.now - MINUTE, frozenset({"header"})
    window = Past(bare_ticked.data).window()
    with monkeypatch.context() as broken:
        broken.setattr("dashboard.data.values_at", down)
        assert "no answer" in (await window.changes(names, then, "en"))["past"]["trouble"]
    beats = [await window.changes(names, then, "en") for _ in range(LOOK_AGAIN)]
    assert "header" in beats[-1]
    assert beats[-1]["past"]["trouble"] == ""


@pytest.fixture
def bare_ticked(bare):
    bare.tick()
    return bare


def test_what_waits_for_somebody_now_is_told_also_of_the_past(bare_ticked):
    then = bare_ticked.now - MINUTE
    past = Past(bare_ticked.data)
    assert past._sections(("header",), then, "en")[1]["waiting"] == ""
    opened(bare_ticked, "temperature", "R003", Severity.HIGH)
    opened(bare_ticked, "leak", "R004", Severity.CRITICAL)
    bare_ticked.now += 1000
    _, told = past._sections((), then, "en")
    assert (told["waiting"], told["worst"]) == ("now: 2 open alerts", "critical")
    assert "2021-" in past._sections((), then - 5 * 365 * 24 * HOUR, "en")[1]["text"]


def test_one_section_that_cannot_be_built_hides_no_other(bare_ticked, monkeypatch):
    monkeypatch.setattr("dashboard.overview_frames.power_chart", lambda *_: 1 / 0)
    sections, told = Past(bare_ticked.data)._sections(("header", "power"), bare_ticked.now - MINUTE, "en")
    assert list(sections) == ["header"]
    assert "ZeroDivisionError" in told["trouble"]


def test_where_the_store_does_not_answer_it_is_said_in_words(bare, monkeypatch):
    def down(*_args):
        raise InputError("no answer")

    monkeypatch.setattr("dashboard.data.values_at", down)
    sections, told = Past(bare.data)._sections(("header",), bare.now - MINUTE, "en")
    assert sections == {}
    assert "no answer" in told["trouble"]


def test_a_note_is_pinned_to_the_moment_that_is_shown_and_seen_there_also_when_written_later(bare):
    bare.tick()
    then = bare.now
    bare.now += HOUR
    section(bare.data.at(then), "notes")  # somebody looks already
    text = datetime.fromtimestamp(then / 1000, bare.site.zone).strftime("%Y-%m-%dT%H:%M:%S")
    done = bare.data.notes.pin({"moment": text, "object": "R001", "note": "the door stood open"}, "anna")
    assert "pinned" in done
    bare.data.notes.pin({"note": "cool outside"}, "ben")
    told = section(bare.data, "notes")["notes"]
    assert [(n["object"], n["who"], n["note"]) for n in told] == [
        ("", "ben", "cool outside"),
        ("R001", "anna", "the door stood open"),
    ]
    assert told[1]["at"] == then // 1000 * 1000
    again = Past(bare.data)._sections(("notes",), then - MINUTE, "en")[0]["notes"]
    assert [n["note"] for n in again["notes"]] == ["cool outside", "the door stood open"]
    bare.data.notes.pin({"moment": str(then), "note": "and it rained"}, "anna")
    again = Past(bare.data)._sections(("notes",), then - MINUTE, "en")[0]["notes"]
    assert len(again["notes"]) == 3


@pytest.mark.parametrize(
    ("request_", "why"),
    [
        ({"moment": "soon", "note": "x"}, "no moment"),
        ({"object": "R999", "note": "x"}, "no object R999"),
        ({"moment": "9999-01-01T00:00", "note": "x"}, "has come"),
    ],
)
def test_a_note_on_what_is_not_there_is_refused_in_words(bare, request_, why):
    bare.tick()
    with pytest.raises(InputError, match=why):
        bare.data.notes.pin(request_, "anna")
