"""The states of an alarm (ISA-18.2, OPC UA Part 9) told as timelines: these readings and acts, those states and pages."""

import math
from dataclasses import replace

import pytest

from alerts.actions import (
    acknowledge,
    acknowledge_returned,
    comment,
    resume,
    retire,
    shelve,
    suppress,
)
from alerts.state_settings import Shelving
from domain.alert import AlertState, Condition, Severity
from domain.errors import InputError
from domain.suppression import SuppressionKind
from storage.alert_records import AlertRecords
from tests.unit.alerts.test_alert_timelines import LEAK, STATES, leak_lab

DOWN = {
    "name": "cdu-stopped",
    "kind": "state",
    "points": ["Status"],
    "object_types": ["CDU"],
    "abnormal": ["Stopped"],
    "severity": "high",
}
WARM = {
    "name": "warm",
    "kind": "limit",
    "points": ["RackLiquidSupplyTemperature"],
    "above": 40,
    "severity": "warning",
}
MODES = ((0, "Running"), (1, "Standby"), (2, "Maintenance"), (3, "Stopped"))
MINUTE, HOUR = 60, 3600


class Cooling:
    """A CDU that serves two racks, each with a leak sensor and a supply temperature."""

    def __init__(self, lab, **more):
        self.plant = lab(LEAK, DOWN, WARM, **more)
        point = self.plant.point
        self.status = point("CDU", "Status", "CDU1", states=MODES, serves=("R001", "R002"))
        self.mode = point("CDU", "DeviceStatus", "CDU1", states=MODES) if more.get("modes") else None
        self.leak = [point("Rack", "RackLeakDetect", f"R00{n}", states=STATES) for n in (1, 2)]
        self.supply = [point("Rack", "RackLiquidSupplyTemperature", f"R00{n}", unit="Cel") for n in (1, 2)]
        self.read()

    def read(self, status=0, leak=0, supply=33.0, mode=0):
        self.plant.read(self.status, status)
        self.plant.read(self.leak, leak)
        self.plant.read(self.supply, supply)
        if self.mode is not None:
            self.plant.read(self.mode, mode)

    def at(self, seconds, **readings):
        """Set the clock, read, evaluate; return what was told."""
        self.plant.at(seconds)
        self.read(**readings)
        return self.plant.step()

    @property
    def active(self):
        return self.plant.active

    @property
    def records(self):
        return self.plant.records

    def state(self, alert):
        return self.records.alert(alert.id).state


def steps(records, alert):
    return [t.state.value for t in records.transitions(alert.id)]


# --- unacknowledged, acknowledged, returned unacknowledged, normal -----------------------------------------------------


def test_an_alarm_that_nobody_took_is_listed_as_returned_when_its_condition_is_gone(lab):
    hall = Cooling(lab)
    assert hall.at(0, status=3) == [("opened", "cdu-stopped/CDU1")]
    alert = hall.active["cdu-stopped/CDU1"]
    assert hall.at(60) == [("cleared", "cdu-stopped/CDU1")]
    assert hall.active == {}
    assert [a.id for a in hall.records.returned_alerts()] == [alert.id]
    assert hall.records.alert(alert.id).cleared_at == hall.plant.now


def test_whoever_takes_what_returned_ends_it_and_nobody_is_told_again(lab):
    hall = Cooling(lab)
    hall.at(0, status=3)
    alert = hall.active["cdu-stopped/CDU1"]
    hall.at(60)
    taken = acknowledge(hall.records, alert.id, "mei", "pump was primed", hall.plant.now)
    assert (taken.state, taken.acknowledged_by) == (AlertState.CLEARED, "mei")
    assert steps(hall.records, alert) == ["open", "returned", "cleared"]
    assert hall.records.returned_alerts() == []
    assert hall.at(70) == []


def test_an_alarm_that_somebody_took_is_over_at_once_when_its_condition_is_gone(lab):
    hall = Cooling(lab)
    hall.at(0, status=3)
    alert = hall.active["cdu-stopped/CDU1"]
    hall.plant.acknowledge("cdu-stopped/CDU1", "going")
    assert hall.at(60) == [("cleared", "cdu-stopped/CDU1")]
    assert steps(hall.records, alert) == ["open", "acknowledged", "cleared"]
    assert hall.records.returned_alerts() == []


def test_what_is_for_information_asks_nobody_to_take_it(lab):
    plant = lab({**LEAK, "severity": "info"})
    sensor = plant.point("Rack", "RackLeakDetect", "R001", states=STATES)
    plant.read(sensor, 1)
    plant.step()
    alert = plant.active["leak/R001"]
    plant.at(10).read(sensor, 0)
    plant.step()
    assert plant.records.alert(alert.id).state is AlertState.CLEARED


def test_what_returned_ends_by_itself_after_the_stated_time_and_says_so(lab):
    hall = Cooling(lab, returned_for="24 h")
    hall.at(0, status=3)
    alert = hall.active["cdu-stopped/CDU1"]
    hall.at(60)
    hall.at(24 * HOUR)
    assert hall.state(alert) is AlertState.RETURNED
    assert hall.at(24 * HOUR + 121) == []
    assert hall.state(alert) is AlertState.CLEARED
    assert hall.records.transitions(alert.id)[-1].note == "nobody took it within 24 h"


def test_an_alarm_that_comes_again_while_it_is_returned_is_a_new_one_and_is_told(lab):
    hall = Cooling(lab)
    hall.at(0, status=3)
    first = hall.active["cdu-stopped/CDU1"]
    hall.at(60)
    assert hall.at(120, status=3) == [("opened", "cdu-stopped/CDU1")]
    second = hall.active["cdu-stopped/CDU1"]
    assert second.id != first.id
    assert hall.state(first) is AlertState.CLEARED
    assert hall.records.transitions(first.id)[-1].note == "it came again"
    assert hall.records.returned_alerts() == []


def test_all_that_is_over_may_be_taken_at_once_and_nothing_else_is(lab):
    hall = Cooling(lab)
    hall.at(0, leak=1, status=3)
    hall.at(60, status=3)
    assert len(hall.records.returned_alerts()) == 2
    assert len(acknowledge_returned(hall.records, "mei", "", hall.plant.now)) == 2
    assert hall.records.returned_alerts() == []
    assert hall.active["cdu-stopped/CDU1"].state is AlertState.OPEN


def test_acknowledging_is_not_silencing(lab):
    """Who, when, why and for how long are known; the alarm is shown; that it gets worse is told."""
    hall = Cooling(lab)
    hall.at(0, supply=45.0)
    alert = hall.active["warm/R001"]
    hall.plant.at(30).acknowledge("warm/R001", "valve is opened")
    taken = hall.active["warm/R001"]
    assert (taken.acknowledged_by, taken.note) == ("mei", "valve is opened")
    assert taken.acknowledged_at == hall.plant.now
    worse = replace(alert.condition, severity=Severity.CRITICAL)
    hall.records.update_alerts([(alert.id, worse)], hall.plant.now)
    hall.plant.engine._tell(hall.plant.now)
    told = {d.event.value for d in hall.records.deliveries(alert.id)}
    assert told == {"opened", "worsened"}


def test_a_note_is_there_when_the_alarm_comes_again(lab):
    hall = Cooling(lab)
    hall.at(0, status=3)
    hall.plant.acknowledge("cdu-stopped/CDU1", "float switch sticks")
    comment(hall.records, hall.active["cdu-stopped/CDU1"].id, "ann", "spare is in store 2", hall.plant.now)
    hall.at(60)
    hall.at(2 * HOUR, status=3)
    alert = hall.active["cdu-stopped/CDU1"]
    assert (alert.state, alert.note) == (AlertState.OPEN, "")
    notes = [n.note for n in hall.records.alert_notes("cdu-stopped", "CDU1")]
    assert notes == ["float switch sticks", "spare is in store 2"]
    newest = hall.records.newest_notes(["CDU1"])["cdu-stopped", "CDU1"]
    assert (newest.who, newest.note) == ("ann", "spare is in store 2")


# --- shelved -----------------------------------------------------------------------------------------------------------


def test_a_shelved_alarm_is_shown_pages_nobody_and_is_told_when_its_shelf_ends(lab):
    hall = Cooling(lab)
    hall.at(0, supply=45.0)
    alert = hall.active["warm/R001"]
    shelve(
        hall.records, alert.id, "mei", "known, part is ordered", hall.plant.now, hall.plant.now + HOUR * 1000
    )
    assert hall.at(10, supply=45.0) == []
    quiet = hall.records.suppressed_alerts()[alert.id]
    assert (quiet.kind, quiet.who, quiet.reason) == ("shelved", "mei", "known, part is ordered")
    assert "warm/R001" in hall.active
    assert hall.at(HOUR - 1, supply=45.0) == []
    assert hall.at(HOUR, supply=45.0) == [("resumed", "warm/R001")]
    assert hall.at(HOUR + 2, supply=45.0) == []
    assert hall.records.suppressed_alerts() == {}
    (ended,) = hall.records.suppressions(ended_since=0)
    assert (ended.ended_by, ended.ended_why) == ("", "its time is over")
    assert "shelved ended" in [e.what for e in hall.records.audit_trail()]


def test_a_shelf_ends_with_the_alarm_open_again_whoever_took_it_before(lab):
    hall = Cooling(lab)
    hall.at(0, supply=45.0)
    alert = hall.active["warm/R001"]
    hall.plant.acknowledge("warm/R001")
    shelve(hall.records, alert.id, "mei", "later", hall.plant.now, hall.plant.now + 60_000)
    hall.at(10, supply=45.0)
    hall.at(60, supply=45.0)
    assert hall.state(alert) is AlertState.OPEN
    assert hall.records.transitions(alert.id)[-1].note == "what kept it quiet has ended"


def test_a_one_shot_shelf_ends_when_the_alarm_clears_and_the_next_time_is_told(lab):
    hall = Cooling(lab)
    hall.at(0, supply=[45.0, 33.0])
    alert = hall.active["warm/R001"]
    shelve(hall.records, alert.id, "mei", "being vented", hall.plant.now, once=True)
    assert hall.at(10, supply=[45.0, 33.0]) == []
    assert hall.at(HOUR) == [("cleared", "warm/R001")]  # who was told that it began is told that it ended
    assert hall.state(alert) is AlertState.CLEARED  # nobody is asked to take what was shelved
    (ended,) = hall.records.suppressions(ended_since=0)
    assert ended.ended_why == "the alarm cleared"
    assert hall.at(HOUR + 60, supply=[45.0, 33.0]) == [("opened", "warm/R001")]


def test_a_one_shot_shelf_lasts_no_longer_than_a_shelf_may(lab):
    hall = Cooling(lab, shelving={"longest": "2 h"})
    hall.at(0, supply=[45.0, 33.0])
    alert = hall.active["warm/R001"]
    shelve(hall.records, alert.id, "mei", "being vented", hall.plant.now, once=True)
    assert hall.at(2 * HOUR - 1, supply=[45.0, 33.0]) == []
    assert hall.at(2 * HOUR, supply=[45.0, 33.0]) == [("resumed", "warm/R001")]


def test_a_shelf_needs_a_reason_an_end_and_an_alarm_that_holds(lab):
    hall = Cooling(lab)
    hall.at(0, supply=45.0)
    alert, now = hall.active["warm/R001"], hall.plant.now
    with pytest.raises(InputError, match="say why"):
        shelve(hall.records, alert.id, "mei", " ", now, now + 60_000)
    with pytest.raises(InputError, match="2 h at most"):
        shelve(
            hall.records, alert.id, "mei", "x", now, now + 3 * HOUR * 1000, shelving=Shelving(longest=7200)
        )
    with pytest.raises(InputError, match="say how long"):
        shelve(hall.records, alert.id, "mei", "x", now)
    hall.at(60)
    with pytest.raises(InputError, match="is over"):
        shelve(hall.records, alert.id, "mei", "x", hall.plant.now, once=True)


def test_a_shelf_may_be_ended_by_hand_and_what_holds_is_told(lab):
    hall = Cooling(lab)
    hall.at(0, supply=[45.0, 33.0])
    alert = hall.active["warm/R001"]
    shelf = shelve(hall.records, alert.id, "mei", "x", hall.plant.now, hall.plant.now + HOUR * 1000)
    hall.at(10, supply=[45.0, 33.0])
    resume(hall.records, shelf.id, "ann", "looks bad", hall.plant.now)
    assert hall.at(12, supply=[45.0, 33.0]) == [("resumed", "warm/R001")]


def test_a_shelf_survives_a_restart_and_ends_in_time(lab):
    hall = Cooling(lab)
    hall.at(0, supply=[45.0, 33.0])
    alert = hall.active["warm/R001"]
    shelve(hall.records, alert.id, "mei", "x", hall.plant.now, hall.plant.now + HOUR * 1000)
    hall.at(10, supply=[45.0, 33.0])
    hall.plant.restart()
    assert hall.at(20, supply=[45.0, 33.0]) == []
    hall.plant.restart()
    assert hall.at(HOUR + 5, supply=[45.0, 33.0]) == [("resumed", "warm/R001")]


def test_what_ended_just_before_a_crash_is_told_after_it(lab, monkeypatch):
    hall = Cooling(lab)
    hall.at(0, supply=[45.0, 33.0])
    alert = hall.active["warm/R001"]
    shelve(hall.records, alert.id, "mei", "x", hall.plant.now, hall.plant.now + 60_000)
    hall.at(10, supply=[45.0, 33.0])

    def killed(*_arguments):
        raise KeyboardInterrupt

    with monkeypatch.context() as crash:
        crash.setattr(AlertRecords, "queue_deliveries", killed)
        with pytest.raises(KeyboardInterrupt):
            hall.at(60, supply=[45.0, 33.0])
    hall.plant.restart()
    assert hall.at(62, supply=[45.0, 33.0]) == [("resumed", "warm/R001")]


# --- suppressed by design: maintenance windows, modes ------------------------------------------------------------------


def test_in_a_maintenance_window_alarms_are_shown_and_told_at_its_end_if_they_hold(lab):
    hall = Cooling(lab)
    kind, now = SuppressionKind.MAINTENANCE, hall.plant.now
    suppress(hall.records, kind, "CDU1", "mei", "filters", now, start=now + 60_000, end=now + 600_000)
    assert hall.at(30, status=3) == [("opened", "cdu-stopped/CDU1")]  # it has not begun
    assert hall.at(50) == [("cleared", "cdu-stopped/CDU1")]
    assert hall.at(90, status=3) == []
    alert = hall.active["cdu-stopped/CDU1"]
    assert hall.records.suppressed_alerts()[alert.id].kind is kind
    assert hall.at(599, status=3) == []
    assert hall.at(600, status=3) == [("opened", "cdu-stopped/CDU1")]


def test_what_came_and_went_in_a_window_is_over_and_nobody_is_asked_to_take_it(lab):
    hall = Cooling(lab)
    now = hall.plant.now
    suppress(hall.records, SuppressionKind.MAINTENANCE, "CDU1", "mei", "filters", now, end=now + 600_000)
    assert hall.at(30, status=3) == []
    alert = hall.active["cdu-stopped/CDU1"]
    assert hall.at(60) == []
    assert hall.state(alert) is AlertState.CLEARED


def test_a_window_is_for_what_hangs_under_an_object_only_where_that_is_asked_for(lab):
    hall = Cooling(lab)
    now = hall.plant.now
    own = suppress(hall.records, SuppressionKind.MAINTENANCE, "CDU1", "mei", "x", now, end=now + 10**6)
    assert hall.at(10, supply=45.0) == [("opened", "warm/R001"), ("opened", "warm/R002")]
    hall.at(20)
    resume(hall.records, own.id, "mei", "", hall.plant.now)
    suppress(hall.records, SuppressionKind.MAINTENANCE, "CDU1", "mei", "x", now, end=now + 10**6, below=True)
    assert hall.at(30, supply=45.0) == []
    assert set(hall.active) == {"warm/R001", "warm/R002"}
    with pytest.raises(InputError, match="is a glob"):
        suppress(
            hall.records, SuppressionKind.MAINTENANCE, "R*", "mei", "x", now, end=now + 10**6, below=True
        )


def test_a_leak_is_kept_quiet_by_no_glob_no_window_above_it_and_no_mode(lab):
    hall = Cooling(lab, modes=[{"points": ["DeviceStatus"], "states": ["Maintenance"], "below": True}])
    now, kind = hall.plant.now, SuppressionKind.MAINTENANCE
    for object_id, below in (("*", False), ("R00*", False), ("R001", False), ("CDU1", True)):
        suppress(hall.records, kind, object_id, "mei", "x", now, end=now + 10**6, below=below)
    suppress(hall.records, kind, "R001", "mei", "x", now, rule="le*", end=now + 10**6)
    told = hall.at(10, leak=[1, 0], supply=45.0, mode=2)
    assert told == [("opened", "leak/R001")]


def test_a_leak_is_kept_quiet_by_what_names_its_rule_and_its_object_and_is_shown(lab):
    hall = Cooling(lab)
    now = hall.plant.now
    suppress(
        hall.records, SuppressionKind.MAINTENANCE, "R001", "mei", "hoses", now, rule="leak", end=now + 10**6
    )
    assert hall.at(10, leak=1) == [("opened", "leak/R002")]
    alert = hall.active["leak/R001"]
    assert hall.records.suppressed_alerts()[alert.id].reason == "hoses"


def test_any_rule_may_be_one_of_danger(lab):
    hall = Cooling(lab)
    plant = lab({**DOWN, "name": "smoke", "points": ["Status"], "never_muted": True})
    status = plant.point("CDU", "Status", "CDU1", states=MODES)
    assert hall.plant.settings.rules[0].is_safety
    assert not hall.plant.settings.rules[2].is_safety
    suppress(plant.records, SuppressionKind.OUT_OF_SERVICE, "*", "mei", "x", plant.now)
    plant.read(status, 3)
    assert plant.step() == [("opened", "smoke/CDU1")]


def test_in_a_mode_of_the_equipment_its_alarms_are_expected_and_told_when_the_mode_is_left(lab):
    hall = Cooling(lab, modes=[{"points": ["DeviceStatus"], "states": ["standby", "maintenance"]}])
    assert hall.at(10, status=3, mode=2) == []
    alert = hall.active["cdu-stopped/CDU1"]
    quiet = hall.records.suppressed_alerts()[alert.id]
    assert (quiet.kind, quiet.who, quiet.reason) == ("mode", "hallwatch", "CDU1 is in Maintenance")
    with pytest.raises(InputError, match="leaves its mode"):
        resume(hall.records, quiet.id, "mei", "", hall.plant.now)
    assert hall.at(20, status=3, mode=0) == [("opened", "cdu-stopped/CDU1")]
    (ended,) = hall.records.suppressions(ended_since=0)
    assert ended.ended_why == "CDU1 is in that mode no more"


def test_a_mode_that_is_not_known_any_more_keeps_nothing_quiet_and_one_from_before_a_restart_waits(lab):
    hall = Cooling(lab, modes=[{"points": ["DeviceStatus"], "states": ["Maintenance"]}])
    assert hall.at(10, status=3, mode=2) == []
    hall.plant.restart()
    plant = hall.plant.at(12)
    plant.read(hall.status, 3)
    assert plant.step() == []  # the mode has not been heard since the restart
    assert hall.at(14, status=3, mode=2) == []
    plant.at(14 + 301).read(hall.status, 3)
    assert plant.step() == [("opened", "cdu-stopped/CDU1")]  # last heard over five minutes ago


# --- out of service ----------------------------------------------------------------------------------------------------


def test_what_is_out_of_service_pages_nobody_until_it_is_put_back_and_is_listed_meanwhile(lab):
    hall = Cooling(lab)
    kind = SuppressionKind.OUT_OF_SERVICE
    made = suppress(hall.records, kind, "CDU1", "mei", "pump is away", hall.plant.now)
    assert hall.at(10, status=3) == []
    hall.plant.restart()
    assert hall.at(30 * 24 * HOUR, status=3) == []
    (listed,) = hall.records.suppressions()
    assert (listed.id, listed.kind, listed.who, listed.reason) == (made.id, kind, "mei", "pump is away")
    resume(hall.records, made.id, "ann", "pump is back", hall.plant.now)
    assert hall.at(30 * 24 * HOUR + 2, status=3) == [("opened", "cdu-stopped/CDU1")]
    assert [e.what for e in hall.records.audit_trail()] == ["out of service ended", "out of service begun"]


def test_of_two_that_keep_an_alarm_quiet_the_end_of_one_tells_nothing(lab):
    hall = Cooling(lab)
    now = hall.plant.now
    suppress(hall.records, SuppressionKind.MAINTENANCE, "CDU1", "mei", "x", now, end=now + 60_000)
    made = suppress(hall.records, SuppressionKind.OUT_OF_SERVICE, "CDU1", "mei", "y", now)
    hall.at(10, status=3)
    assert hall.at(60, status=3) == []
    resume(hall.records, made.id, "mei", "", hall.plant.now)
    assert hall.at(62, status=3) == [("opened", "cdu-stopped/CDU1")]


# --- flapping ----------------------------------------------------------------------------------------------------------


def flap(plant, sensor, begin, end, period=70, every=14):
    """Toggle a sensor; return what was told, with times."""
    told = []
    for second in range(begin, end, every):
        plant.at(second).read(sensor, int((second - begin) % period < period / 2))
        told += [(second, *page) for page in plant.step()]
    return told


def test_a_leak_that_toggles_every_70_s_is_told_five_times_in_an_hour_and_the_first_time_at_once(lab):
    plant, sensors = leak_lab(lab)
    told = flap(plant, sensors[0], 0, HOUR)
    assert told[0][:2] == (0, "opened")
    assert [event for _, event, _ in told] == ["opened", "cleared", "opened", "cleared", "opened"]
    text = plant.active["leak/R001"].condition.summary
    assert text.endswith("; flapping: 3 times within 30 min, held until it was quiet for 15 min")
    assert plant.engine.stats()["flapping"] == 1


def test_what_flaps_is_held_until_it_was_quiet_for_the_time_and_cleared_once(lab):
    plant, sensors = leak_lab(lab)
    flap(plant, sensors[0], 0, 600)
    plant.read(sensors[0], 0)
    quiet_since = None
    for second in range(600, 600 + 16 * MINUTE, 10):
        plant.at(second).read(sensors[0], 0)
        if plant.step() == [("cleared", "leak/R001")]:
            quiet_since = second
    assert quiet_since is not None
    assert 14 * MINUTE <= quiet_since - 600 <= 15 * MINUTE
    assert plant.engine.stats()["flapping"] == 0


def test_flapping_is_known_over_a_restart(lab):
    plant, sensors = leak_lab(lab)
    flap(plant, sensors[0], 0, 200)
    plant.restart()
    told = flap(plant, sensors[0], 210, 210 + 20 * MINUTE)
    assert told == []
    assert "flapping" in plant.active["leak/R001"].condition.summary


def test_flapping_of_one_alarm_hides_no_other(lab):
    plant, sensors = leak_lab(lab)
    flap(plant, sensors[0], 0, 400)
    plant.at(402).read(sensors[1], 1)
    assert ("opened", "leak/R002") in plant.step()


# --- what was taken away -----------------------------------------------------------------------------------------------


def test_a_rule_that_was_deleted_clears_nothing_and_its_alarm_is_retired_by_hand(lab):
    hall = Cooling(lab)
    hall.at(0, leak=1)
    others = tuple(rule for rule in hall.plant.settings.rules if rule.name != "leak")
    hall.plant.restart(rules=others)
    assert hall.at(60, leak=1) == []
    assert hall.at(3600, leak=1) == []
    alert = hall.active["leak/R001"]
    assert alert.condition.summary.endswith("no such rule is evaluated any more: retire it if that is right")
    both = [hall.active["leak/R001"].id, hall.active["leak/R002"].id]
    retired = retire(hall.records, both, "mei", "replaced by leak-2", hall.plant.now)
    assert [a.state for a in retired] == [AlertState.CLEARED] * 2
    assert sorted(hall.at(3602, leak=1)) == [("cleared", "leak/R001"), ("cleared", "leak/R002")]
    assert hall.active == {}
    with pytest.raises(InputError, match="cleared already"):
        retire(hall.records, both, "mei", "again", hall.plant.now)


def test_the_alarm_of_a_rack_that_was_taken_away_says_so_and_is_retired_by_hand(lab):
    hall = Cooling(lab)
    gone = Condition("leak", "R099", Severity.CRITICAL, "R099: Leak", 1.0, math.nan, "", hall.plant.now)
    (alert,) = hall.records.open_alerts([gone], hall.plant.now)
    hall.plant.restart()
    hall.at(10)
    assert hall.active["leak/R099"].condition.summary == "R099: Leak"  # who tells of it may be heard yet
    hall.at(11 * MINUTE)
    assert "nothing tells of it any more" in hall.active["leak/R099"].condition.summary
    retire(hall.records, [alert.id], "mei", "rack sold", hall.plant.now)
    assert hall.at(11 * MINUTE + 2) == [("cleared", "leak/R099")]
