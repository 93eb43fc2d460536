"""What schedules announced: what was known when is known for good."""

from dataclasses import replace

from domain.planned import PlannedWork
from storage.planned_records import ScheduleChange
from storage.records import Records

NOW = 1_790_000_000_000
MINUTE, HOUR = 60_000, 3_600_000


def work(name="a", start=NOW + HOUR, end=NOW + 3 * HOUR, **more):
    return PlannedWork("jobs", name, ("R001", "R002"), start, end, **more)


def everything(records, known_at=None):
    return records.planned_work(NOW - 1000 * HOUR, NOW + 1000 * HOUR, known_at)


def test_a_forecast_can_ask_for_what_was_announced_when_it_was_issued(records):
    records.keep_schedule("jobs", [work()], NOW)
    records.keep_schedule("jobs", [work(), work("b")], NOW + MINUTE)
    assert [w.name for w in everything(records, NOW)] == ["a"]
    assert [w.name for w in everything(records, NOW + MINUTE)] == ["a", "b"]
    assert everything(records, NOW - 1) == []
    assert everything(records)[0].known_since == NOW


def test_a_plan_that_moves_is_a_new_version_and_the_old_one_stays_known(records):
    records.keep_schedule("jobs", [work()], NOW)
    moved = work(end=NOW + 5 * HOUR)
    assert records.keep_schedule("jobs", [moved], NOW + MINUTE) == ScheduleChange(0, 1, 0)
    assert records.keep_schedule("jobs", [moved], NOW + 2 * MINUTE) == ScheduleChange(0, 0, 0)
    before, after = everything(records)
    assert (before.until, before.replaced, before.end) == (NOW + MINUTE, True, NOW + 3 * HOUR)
    assert (after.until, after.replaced, after.end) == (0, False, NOW + 5 * HOUR)


def test_work_that_is_no_longer_announced_ended_when_it_was_missed(records):
    records.keep_schedule("jobs", [work(start=NOW - HOUR)], NOW)
    later = NOW + 30 * MINUTE
    assert records.keep_schedule("jobs", [], later, since=later - MINUTE) == ScheduleChange(0, 0, 1)
    assert everything(records)[0].until == later


def test_work_that_went_while_nobody_looked_is_taken_to_have_ended_as_planned(records):
    records.keep_schedule("jobs", [work(start=NOW - HOUR, end=NOW + HOUR)], NOW)
    records.keep_schedule("jobs", [], NOW + 50 * HOUR, since=NOW)
    assert everything(records)[0].until == NOW + HOUR


def test_an_entry_that_cannot_be_read_leaves_what_was_known_of_it(records):
    records.keep_schedule("jobs", [work(), work("b")], NOW)
    assert records.keep_schedule("jobs", [work("b")], NOW + MINUTE, unclear=["a"]) == ScheduleChange(0, 0, 0)
    assert [w.until for w in everything(records)] == [0, 0]


def test_schedules_do_not_touch_each_other(records):
    records.keep_schedule("jobs", [work()], NOW)
    records.keep_schedule("maintenance", [work("pod 3", power=0.0)], NOW)
    records.keep_schedule("maintenance", [], NOW + MINUTE)
    assert [w.name for w in everything(records, NOW + MINUTE)] == ["a"]


def test_a_past_is_kept_as_it_was_and_forgotten_in_time(records, url):
    past = work(start=NOW - 9 * HOUR, end=NOW - 5 * HOUR, known_since=NOW - 20 * HOUR, until=NOW - 6 * HOUR)
    records.keep_past_schedule([past, replace(work("b"), known_since=NOW - HOUR)])
    again = Records(url)
    found = again.planned_work(NOW - 24 * HOUR, NOW)
    again.close()
    assert [(w.name, w.known_since, w.until) for w in found] == [("a", NOW - 20 * HOUR, NOW - 6 * HOUR)]
    assert records.forget_schedule(NOW - HOUR) == 1
    assert [w.name for w in everything(records)] == ["b"]
