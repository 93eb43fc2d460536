"""What is over for longer than its retention goes; what is open, standing or newer stays."""

import pytest
from sqlalchemy import func, select

from domain.suppression import SuppressionKind
from storage import record_tables as t
from storage.delivery_records import Event
from storage.record_upkeep import AT_ONCE, RecordUpkeep
from storage.settings import DAY, RecordRetention
from storage.usage_records import Refusal
from tests.unit.records.test_planned_records import work
from tests.unit.records.test_records import NOW, condition, forecast

SHORT = RecordRetention(
    forecasts_days=10, node_forecasts_days=2, alerts_days=10, planned_days=10, audit_days=10
)


@pytest.fixture
def upkeep(records):
    return RecordUpkeep(records, SHORT, "taipei-1")


def rows(records, table) -> int:
    with records.reading() as db:
        return db.scalar(select(func.count()).select_from(table))


def test_forecasts_of_the_site_are_kept_longest(records, upkeep):
    for days in (1, 3, 9, 11):
        records.save_forecast(forecast(issued=NOW - days * DAY))
        records.save_forecast(forecast(issued=NOW - days * DAY, object_id="R001"))
    upkeep.once(NOW)
    left = records.forecasts("taipei-1", "ActivePower", 0, NOW)
    assert [(NOW - f.issued) // DAY for f in left] == [9, 3, 1]
    assert len(records.forecasts("R001", "ActivePower", 0, NOW)) == 1
    assert upkeep.removed == {"forecasts": 1, "node forecasts": 3}


def test_a_cleared_alert_goes_with_its_story_and_an_open_one_stays_however_old(records, upkeep):
    old, still_open = records.open_alerts([condition(), condition(object_id="R018")], NOW - 30 * DAY)
    records.queue_deliveries([(old.id, Event.OPENED, "mail", NOW - 30 * DAY)], NOW - 30 * DAY)
    records.clear_alerts([old.id], NOW - 11 * DAY)
    (newer,) = records.open_alerts([condition(object_id="R019")], NOW - 9 * DAY)
    records.clear_alerts([newer.id], NOW - 8 * DAY)
    assert upkeep.once(NOW)["alerts"] == 1
    assert [a.id for a in records.active_alerts()] == [still_open.id]
    assert rows(records, t.alerts) == 2
    assert rows(records, t.transitions) == 3
    assert rows(records, t.deliveries) == 0


def test_plans_go_some_time_after_their_end_also_those_that_nobody_called_off(records, upkeep):
    works = [work("w1", NOW - 30 * DAY, NOW - 20 * DAY), work("w2", NOW - 30 * DAY, NOW + DAY)]
    records.keep_schedule("jobs", works, NOW - 30 * DAY)
    upkeep.once(NOW)
    assert [w.name for w in records.planned_work(0, NOW * 2)] == ["w2"]


def test_audit_entries_and_ended_suppressions_go(records, upkeep):
    for end in (NOW - 20 * DAY, NOW + DAY):
        window = SuppressionKind.MAINTENANCE, "*", "*", NOW - 30 * DAY, end, "eve", "hoses"
        made = records.add_suppression(*window)
        if end < NOW:
            records.end_suppression(made.id, end)
    upkeep.once(NOW)
    assert rows(records, t.suppressions) == 1
    records.audit("eve", "login")
    assert upkeep.once(NOW * 2)["audit"] == 1


def test_usage_and_refusals_of_the_api_go(records):
    for days in (1, 9, 11):
        refusal = Refusal(NOW - days * DAY, "Grid", "ab", "::1", "/api/v1/forecasts/power", 403, "no scope")
        hour = (NOW - days * DAY) // 3_600_000
        records.add_usage({(hour, "Grid", "/api/v1/forecasts/power", 200): 5}, [refusal])
    RecordUpkeep(records, RecordRetention(usage_days=10), "taipei-1").once(NOW)
    assert [u.calls for u in records.usage(0, NOW)] == [5, 5]
    assert len(records.refusals(0, NOW)) == 2


def test_more_than_fit_in_one_transaction_go_too(records, upkeep):
    entry = {"at": NOW - 20 * DAY, "who": "eve", "what": "login", "detail": ""}
    with records.writing() as db:
        db.execute(t.audit.insert(), [entry] * (AT_ONCE + 5))
    assert upkeep.once(NOW)["audit"] == AT_ONCE + 5
    assert rows(records, t.audit) == 0
