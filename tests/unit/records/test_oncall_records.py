"""What people changed in schedules, how far escalations are, which hand-overs were told: kept, bounded, removed in time."""

import math

import pytest

from domain.alert import Condition, Severity
from domain.batch import now_ms
from domain.errors import InputError
from storage import oncall_records
from storage.delivery_records import Event
from storage.oncall_records import Progress
from storage.record_upkeep import RecordUpkeep
from storage.settings import DAY, RecordRetention

NOW = 1_790_000_000_000


def leak(records, rack="R001", now=NOW):
    (alert,) = records.open_alerts(
        [Condition("leak", rack, Severity.CRITICAL, "Leak", 1.0, math.nan, "", now)], now
    )
    return alert


def test_an_override_holds_until_it_ends_or_is_ended(records):
    change = records.add_override("primary", "lin", NOW, NOW + 1000, "mei", note="dentist")
    swap = records.add_override("primary", "lin", NOW + 500, NOW + 9000, "mei", other="mei")
    assert records.overrides(NOW) == [change, swap]
    assert (change.instead("mei"), swap.instead("mei"), swap.instead("lin"), swap.instead("tom")) == (
        "lin", "lin", "mei", "tom"
    )  # fmt: skip
    assert records.overrides(NOW + 1000) == [swap]
    records.end_override(swap.id, NOW + 100)  # it has not begun
    assert records.overrides(NOW + 50) == [change]
    with pytest.raises(InputError, match="there is no override"):
        records.end_override(swap.id, NOW + 100)


def test_there_are_so_many_overrides_and_none_lasts_for_years(records, monkeypatch):
    monkeypatch.setattr(oncall_records, "MOST_OVERRIDES", 2)
    start = now_ms()
    for _ in range(2):
        records.add_override("primary", "lin", start, start + DAY, "mei")
    with pytest.raises(InputError, match="2 overrides hold or are to come already"):
        records.add_override("primary", "lin", start, start + DAY, "mei")
    for end in (start, start + 367 * DAY):
        with pytest.raises(InputError, match="within a year"):
            records.add_override("primary", "lin", start, end, "mei")


def test_what_is_told_and_how_far_the_escalation_is_are_written_together_or_not_at_all(records):
    alert = leak(records)
    step = Progress(alert.id, "plant", 1, NOW, NOW, 0)
    with pytest.raises(InputError, match="no alert 99"):
        records.queue_deliveries(
            [(alert.id, Event.OPENED, "mail", NOW), (99, Event.OPENED, "mail", NOW)], NOW, [step]
        )
    assert records.escalations() == {}
    records.queue_deliveries([(alert.id, Event.OPENED, "mail", NOW)], NOW, [step])
    later = Progress(alert.id, "plant", 2, NOW, NOW + 5000, 5000)
    records.queue_deliveries([(alert.id, Event.ESCALATED, "mail", NOW)], NOW, [later])
    assert records.escalations() == {alert.id: [later]}
    records.clear_alerts([alert.id], NOW)
    assert records.escalations() == {}


def test_who_waits_in_quiet_hours_is_told_nothing_of_what_ended(records):
    alert = leak(records)
    morning = NOW + 8 * 3_600_000
    records.queue_deliveries([(alert.id, Event.OPENED, "mail", morning)], NOW)
    records.queue_deliveries([(alert.id, Event.ESCALATED, "mail", morning)], NOW + 1000)
    records.clear_alerts([alert.id], NOW + 2000)
    assert records.due_deliveries(morning, "mail") == []


def test_what_is_over_for_long_is_removed(records):
    old = NOW - 2000 * DAY
    alert = leak(records, now=old)
    records.queue_deliveries(
        [(alert.id, Event.OPENED, "mail", old)], old, [Progress(alert.id, "plant", 1, old, old, 0)]
    )
    records.clear_alerts([alert.id], old)
    records.add_override("primary", "lin", old, old + DAY, "mei")
    done = RecordUpkeep(records, RecordRetention(), "lab").once(NOW)
    assert (done["alerts"], done["overrides"]) == (1, 1)
