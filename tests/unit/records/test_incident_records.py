"""Incidents in the records: an alert that leads, and what it explains."""

import pytest

from domain.alert import Condition, Severity
from storage.record_upkeep import RecordUpkeep
from storage.records import Records
from storage.settings import DAY, RecordRetention


@pytest.fixture
def records(tmp_path):
    made = Records(f"sqlite:///{tmp_path}/records.sqlite")
    yield made
    made.close()


def opened(records, *keys, now=1000):
    found = [
        Condition(rule, object_id, Severity.CRITICAL, rule, 1, 0, "", now)
        for rule, object_id in (key.split("/") for key in keys)
    ]
    return [alert.id for alert in records.open_alerts(found, now)]


def test_a_member_that_is_not_explained_any_more_has_left_and_may_come_back(records):
    lead, one, two = opened(records, "feed/A", "ups/1", "ups/2")
    assert records.keep_incidents([lead], {one: lead, two: lead}, 1000) == 1
    assert records.leads() == {one: lead, two: lead}
    records.keep_incidents([lead], {two: lead}, 2000)
    assert records.leads() == {two: lead}
    records.keep_incidents([lead], {one: lead, two: lead}, 3000)
    (incident,) = records.incidents()
    assert (incident.members, incident.active) == ({"ups": 2}, 2)


def test_an_incident_closes_when_its_lead_clears_and_is_remembered(records):
    lead, one = opened(records, "feed/A", "ups/1")
    records.keep_incidents([lead], {one: lead}, 1000)
    records.clear_alerts([lead], 5000)
    (before,) = records.leads_since(5000)  # also where the process died between the two
    assert (before.rule, before.object_id, before.closed) == ("feed", "A", 5000)
    records.keep_incidents([], {one: lead}, 6000)
    assert records.leads_since(5000) == [before]
    assert records.leads_since(5001) == []
    assert records.incidents() == []
    (incident,) = records.incidents(since=0)
    assert (incident.opened, incident.closed, incident.active) == (1000, 5000, 1)
    assert [a.condition.key for a in records.incident_members(incident.id)] == ["ups/1"]


def test_what_has_not_changed_is_not_written_again(records, monkeypatch):
    lead, one = opened(records, "feed/A", "ups/1")
    records.keep_incidents([lead], {one: lead}, 1000)
    monkeypatch.setattr(records, "writing", None)
    assert records.keep_incidents([lead], {one: lead}, 2000) == 0


def test_the_newest_incidents_come_first_and_so_many_at_a_time(records):
    for second, key in enumerate(("feed/A", "feed/B", "feed/C")):
        records.keep_incidents(opened(records, key, now=1000 * second), {}, 1000 * second)
    assert [i.lead.condition.object_id for i in records.incidents(limit=2)] == ["C", "B"]


def test_an_incident_goes_with_its_lead_when_that_is_too_old(records):
    lead, one, other = opened(records, "feed/A", "ups/1", "feed/B")
    records.keep_incidents([lead, other], {one: lead}, 1000)
    records.clear_alerts([lead], 1000)
    RecordUpkeep(records, RecordRetention(alerts_days=1), "site").once(1000 + 2 * int(DAY))
    assert [i.lead.condition.object_id for i in records.incidents(since=0)] == ["B"]
    assert records.leads() == {}
