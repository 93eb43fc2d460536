"""What happened when: the marks on the time slider."""

from __future__ import annotations

from alerts import actions
from dashboard import alarm_frames, events
from dashboard.events import MOST_EVENTS
from domain.alert import Severity
from domain.suppression import SuppressionKind
from tests.system.console_plant import condition

MINUTE, DAY = 60_000, 86_400_000


def told(hall, start, end):
    return [(e.at - start, e.kind, e.text) for e in events.events(hall.data, start, end)]


def test_of_a_storm_its_lead_is_marked_and_nothing_that_is_only_for_information(bare):
    bare.tick()
    start = bare.now
    found = [
        condition("cdu-down", "P01-CDU1", Severity.HIGH),
        condition("temperature", "R002"),
        condition("maintenance-due", "R006", Severity.INFO),
    ]
    lead, member, _ = bare.records.open_alerts(found, start + MINUTE)
    bare.records.keep_incidents([lead.id], {member.id: lead.id}, start + MINUTE)
    bare.records.clear_alerts([lead.id, member.id], start + 2 * MINUTE)
    bare.records.keep_incidents([], {}, start + 2 * MINUTE)
    assert told(bare, start, start + DAY) == [(MINUTE, "high", "P01-CDU1, cdu-down")]
    assert told(bare, start, start + MINUTE) == []


def test_works_and_notes_are_marked_in_the_order_of_time(bare):
    bare.tick()
    start = bare.now
    bare.now += DAY
    bare.records.pin_note(start + 3 * MINUTE, "R002", "anna", "hose replaced", bare.now)
    kind = SuppressionKind.MAINTENANCE
    window = bare.records.add_suppression(
        kind, "*", "P01-CDU2", start + MINUTE, start + 9 * MINUTE, "ben", "pump"
    )
    bare.records.end_suppression(window.id, start + 9 * MINUTE, "ben", "done")
    assert told(bare, start, bare.now) == [
        (MINUTE, "works", "P01-CDU2, maintenance: pump"),
        (3 * MINUTE, "note", "R002, anna: hose replaced"),
    ]


def test_an_answer_is_bounded_and_keeps_the_newest(bare):
    bare.tick()
    start = bare.now
    for n in range(0, MOST_EVENTS + 20, 20):
        bare.records.open_alerts([condition("leak", f"X{n + i}") for i in range(20)], start + n)
    found = told(bare, start, start + DAY)
    assert len(found) == MOST_EVENTS
    assert (found[0][0], found[-1][0]) == (20, MOST_EVENTS)


def test_an_alert_tells_what_became_of_it_and_where_it_stands(bare):
    bare.tick()
    of_rack, _, of_site = bare.records.open_alerts(
        [
            condition(rule, name)
            for rule, name in (("hot", "R009-T01"), ("off", "P01-CDU1"), ("late", "hall"))
        ],
        bare.now,
    )
    actions.acknowledge(bare.records, of_rack.id, "anna", "looking", bare.now + MINUTE)
    steps = alarm_frames.timeline(bare.data, of_rack.id)
    assert [step[1:] for step in steps][-1][1] == "anna: looking"
    assert len(steps) == 2
    rows = {row["object"]: row for row in alarm_frames.alerts(bare.data)["rows"]}
    assert [rows[name]["pod"] for name in ("R009-T01", "P01-CDU1", "hall")] == ["P02", "P01", ""]
    bare.now += DAY
    row = alarm_frames.alert_row(of_site, bare.data)
    assert row["openedText"].startswith(row["openedShort"])
