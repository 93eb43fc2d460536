"""On call, told as timelines: this happens then, and those people are told of it, by the real engine and its records."""

from datetime import datetime
from zoneinfo import ZoneInfo

import pytest

from alerts.actions import shelve
from alerts.oncall.links import LinkKeys, Links
from domain.alert import Severity

BERLIN, NEW_YORK, TAIPEI = (ZoneInfo(z) for z in ("Europe/Berlin", "America/New_York", "Asia/Taipei"))
STATES = ((0, "NoLeak"), (1, "Leak"))
RULES = [
    {
        "name": "leak",
        "kind": "state",
        "points": ["RackLeakDetect"],
        "normal": ["NoLeak"],
        "severity": "critical",
    },
    {
        "name": "sensor-fault",
        "kind": "state",
        "points": ["RackLeakSensorFault"],
        "normal": ["NoFault"],
        "severity": "warning",
    },
]
PEOPLE = ["mei", "lin", "anna", "tom"]
SMTP = {"kind": "smtp", "host": "127.0.0.1", "sender": "a@b.example"}
CHANNELS = {
    "mail": {**SMTP, "recipients": [f"{p}@site.example" for p in PEOPLE]},
    "pager": SMTP | {"recipients": ["x@y.example"]},
}


def person(name, **more):
    return {"reach": [f"mail/{name}@site.example"], **more}


def weekly(*people, **more):
    return {
        "layers": [{"people": list(people), "start": "2026-01-05", "hand_over": "09:00", **more}],
        "notice": None,
    }


THREE_STEPS = {
    "steps": [
        {"after": 0, "schedules": ["primary"]},
        {"after": "5 min", "schedules": ["secondary"]},
        {"after": "15 min", "teams": ["everyone"]},
    ]
}


class Plant:
    """A lab with people: `leak`, `dry`, `fault`; `hears(minutes)` goes on in steps of a minute and returns who heard what when."""

    def __init__(self, lab, zone=TAIPEI):
        self.lab, self.zone = lab, zone
        self.leaks = {
            f"R00{n}": lab.point("Rack", "RackLeakDetect", f"R00{n}", states=STATES) for n in range(1, 5)
        }
        fault = ((0, "NoFault"), (1, "Fault"))
        self.faults = {
            f"R00{n}": lab.point("Rack", "RackLeakSensorFault", f"R00{n}", states=fault) for n in range(1, 5)
        }
        self.begin = lab.now

    def read(self):
        self.lab.read([*self.leaks.values(), *self.faults.values()], 0)

    def leak(self, rack="R001", state=1):
        self.lab.read(self.leaks[rack], state)

    def fault(self, rack="R001", state=1):
        self.lab.read(self.faults[rack], state)

    def worsen(self, name):
        """Let a rule take its finding for critical from now on: the file was changed, and Hallwatch started again."""
        rules = self.lab.settings.rules
        self.restart(
            rules=tuple(
                r.model_copy(update={"severity": Severity.CRITICAL}) if r.name == name else r for r in rules
            )
        )

    def at(self, text):
        """Return the moment at which the site's clocks show this, UTC ms."""
        return int(datetime.fromisoformat(text).replace(tzinfo=self.zone).timestamp() * 1000)

    def clock(self, text):
        """Set the clock, and count minutes from there."""
        self.begin = self.lab.now = self.at(text)

    def hears(self, minutes=0.0, step=60):
        """Return (minute, who, event, alert) of what is told from now on for so long."""
        end, found = self.lab.now + int(minutes * 60_000), []
        while True:
            self.lab.look()
            for target, outbox in self.lab.outboxes.items():
                who = target.removeprefix("mail/").removesuffix("@site.example")
                minute = round((self.lab.now - self.begin) / 60_000, 2)
                found += [(minute, who, event, key) for event, key in outbox.take()]
            if self.lab.now >= end:
                return sorted(found)
            self.lab.now = min(end, self.lab.now + step * 1000)

    def restart(self, **changes):
        self.lab.restart(**changes)


@pytest.fixture
def plant(lab):
    def make(on_call=None, routes=None, zone=TAIPEI, at="2026-01-06T12:00", **more):
        on_call = {
            "people": {name: person(name) for name in PEOPLE},
            "teams": {"everyone": PEOPLE},
            "schedules": {"primary": weekly("mei", "lin"), "secondary": weekly("anna", "tom")},
            "escalations": {"plant": THREE_STEPS},
            **(on_call or {}),
        }
        routes = routes or [{"severities": ["critical", "warning"], "escalation": "plant"}]
        made = lab(*RULES, routes=routes, channels=CHANNELS, on_call=on_call, **more)
        found = Plant(made, zone)
        found.clock(at)
        found.read()
        assert found.hears() == []
        return found

    return make


# --- escalation -----------------------------------------------------------------------------------------------------


def test_on_call_at_once_the_second_after_five_minutes_everyone_after_fifteen(plant):
    site = plant()
    site.leak()
    assert site.hears(20) == [
        (0, "mei", "opened", "leak/R001"),
        (5, "anna", "escalated", "leak/R001"),
        (15, "anna", "escalated", "leak/R001"),
        (15, "lin", "escalated", "leak/R001"),
        (15, "mei", "escalated", "leak/R001"),
        (15, "tom", "escalated", "leak/R001"),
    ]
    assert site.hears(600, 300) == []


def test_nobody_further_is_told_once_somebody_has_taken_it(plant):
    site = plant()
    site.leak()
    assert [t[1] for t in site.hears(6)] == ["mei", "anna"]
    site.lab.acknowledge("leak/R001", "on my way")
    assert site.hears(60, 300) == []
    site.leak(state=0)
    assert [t[1:] for t in site.hears(1)] == [
        ("anna", "cleared", "leak/R001"),
        ("mei", "cleared", "leak/R001"),
    ]


def test_what_ends_before_a_step_is_due_takes_no_further_step(plant):
    site = plant()
    site.leak()
    assert [t[1] for t in site.hears(4)] == ["mei"]
    site.leak(state=0)
    assert [t[1:3] for t in site.hears(30)] == [("mei", "cleared")]


def test_all_steps_are_gone_through_again_as_often_as_the_file_says(plant):
    again = {**THREE_STEPS, "steps": THREE_STEPS["steps"][:2], "repeat": 2, "repeat_after": "10 min"}
    site = plant({"escalations": {"plant": again}})
    site.leak()
    assert [t[:3] for t in site.hears(120, 60)] == [
        (0, "mei", "opened"),
        (5, "anna", "escalated"),
        (15, "mei", "reminded"),
        (20, "anna", "reminded"),
        (30, "mei", "reminded"),
        (35, "anna", "reminded"),
    ]


def test_until_taken_is_until_taken(plant):
    forever = {"steps": [{"schedules": ["primary"]}], "repeat": "until taken", "repeat_after": "30 min"}
    site = plant({"escalations": {"plant": forever}})
    site.leak()
    assert [t[0] for t in site.hears(300, 600)] == [0, *range(30, 301, 30)]
    site.lab.acknowledge("leak/R001")
    assert site.hears(300, 600) == []


def test_an_escalation_goes_on_over_a_restart_where_it_was_and_repeats_nothing(plant):
    site = plant()
    site.leak()
    found = []
    for _ in range(17):  # killed without notice every minute
        found += site.hears(1)
        site.restart()
        site.read()
        site.leak()
    assert [(t[0], t[1], t[2]) for t in found if t[2] != "escalated"] == [(0, "mei", "opened")]
    assert [(t[0], t[1]) for t in found if t[2] == "escalated"] == [
        (5, "anna"), (15, "anna"), (15, "lin"), (15, "mei"), (15, "tom")
    ]  # fmt: skip


def test_steps_that_were_due_while_nothing_ran_are_taken_at_the_start_each_person_told_once(plant):
    site = plant()
    site.leak()
    assert [t[1] for t in site.hears(1)] == ["mei"]
    site.lab.now += 3_600_000
    site.restart()
    site.leak()
    assert sorted(t[1:3] for t in site.hears(1)) == [(p, "escalated") for p in sorted(PEOPLE)]
    assert site.hears(60, 300) == []


def test_a_wall_clock_that_jumps_neither_hurries_a_step_nor_holds_one_up(plant):
    site = plant()
    site.leak()
    assert [t[1] for t in site.hears(1)] == ["mei"]
    for jump in (3_600_000, -7_200_000):
        site.lab.now += jump
        site.lab.set_back -= jump
        site.begin += jump
        assert site.hears(1) == []
    assert [t[:2] for t in site.hears(10)] == [(5, "anna")]


def test_who_is_told_of_a_warning_is_told_when_it_becomes_critical_and_it_escalates_from_there(plant):
    routes = [
        {"severities": ["warning"], "channels": ["pager"]},
        {"severities": ["critical"], "escalation": "plant"},
    ]
    site = plant(routes=routes)
    site.fault()
    assert [t[1:3] for t in site.hears(30)] == [("pager", "opened")]
    site.worsen("sensor-fault")
    site.fault()
    assert [t[1:3] for t in site.hears(6)] == [("mei", "worsened"), ("anna", "escalated")]


# --- schedules ------------------------------------------------------------------------------------------------------


def test_who_is_on_call_when_it_happens_is_told_and_after_the_hand_over_it_is_the_next(plant):
    site = plant(at="2026-01-12T08:59")
    site.leak("R001")
    assert [t[1] for t in site.hears(0.5)] == ["mei"]
    site.clock("2026-01-12T09:00")
    site.leak("R002")
    assert [t[1:] for t in site.hears(0.5)] == [("lin", "opened", "leak/R002")]


@pytest.mark.parametrize(
    ("zone", "before", "after"),
    [
        # the night on which 02:00 becomes 03:00, and the one on which 03:00 becomes 02:00
        (BERLIN, "2026-03-29T08:59", "2026-03-29T09:00"),
        (BERLIN, "2026-10-25T08:59", "2026-10-25T09:00"),
        (NEW_YORK, "2026-03-08T08:59", "2026-03-08T09:00"),
        (NEW_YORK, "2026-11-01T08:59", "2026-11-01T09:00"),
    ],
)
def test_on_the_day_of_a_clock_change_the_hand_over_is_at_its_hour_still(plant, zone, before, after):
    daily = weekly("mei", "lin", turn_days=1)
    daily["timezone"] = str(zone)
    site = plant({"schedules": {"primary": daily, "secondary": daily}}, zone=zone, at=before)
    site.leak("R001")
    (first,) = [t[1] for t in site.hears(0.5)]
    site.clock(after)
    site.leak("R002")
    (second,) = [t[1] for t in site.hears(0.5) if t[3] == "leak/R002"]
    assert {first, second} == {"mei", "lin"}


def test_an_override_and_its_end_hold_from_the_next_look_on(plant):
    site = plant()
    now = site.lab.now
    change = site.lab.records.add_override("primary", "tom", now, now + 3_600_000, "anna")
    site.leak("R001")
    assert [t[1] for t in site.hears(1)] == ["tom"]
    site.lab.records.end_override(change.id, site.lab.now)
    site.leak("R002")
    assert [t[1] for t in site.hears(0.5)] == ["mei"]


def test_two_who_swapped_are_on_call_for_each_other(plant):
    site = plant()
    start, end = (site.at(f"2026-01-{day}T09:00") for day in ("05", "19"))
    site.lab.records.add_override("primary", "mei", start, end, "mei", other="lin", note="wedding")
    site.leak("R001")
    assert [t[1] for t in site.hears(0.5)] == ["lin"]
    site.clock("2026-01-13T12:00")
    site.leak("R002")
    assert [t[1] for t in site.hears(0.5) if t[3] == "leak/R002"] == ["mei"]


def test_where_nobody_is_on_call_whoever_stands_in_is_told(plant):
    office = weekly("mei", "lin", only=[{"days": "mon-fri", "from": "09:00", "to": "18:00"}])
    site = plant(
        {"schedules": {"primary": office, "secondary": weekly("anna")}, "fallback": ["tom", "pager"]},
        at="2026-01-06T20:00",
    )
    site.leak()
    assert [t[:3] for t in site.hears(6)] == [
        (0, "pager", "opened"),
        (0, "tom", "opened"),
        (5, "anna", "escalated"),
    ]


# --- quiet hours ----------------------------------------------------------------------------------------------------

QUIET = {"from": "22:00", "to": "07:00", "severities": ["warning", "info"]}


def quiet_people(**zones):
    return {"people": {name: person(name, quiet=[QUIET], timezone=zones.get(name, "")) for name in PEOPLE}}


def test_a_lesser_alert_waits_for_the_end_of_quiet_hours_and_a_critical_one_never(plant):
    site = plant(quiet_people(), at="2026-01-06T23:00")
    site.fault("R001")
    site.leak("R002")
    found = site.hears(9 * 60, 300)
    assert next(t for t in found if t[3] == "leak/R002") == (0, "mei", "opened", "leak/R002")
    # the escalation of what nobody was told begins when somebody is: at seven in the morning
    assert [t[:3] for t in found if t[3] == "sensor-fault/R001"][:2] == [
        (8 * 60, "mei", "opened"), (8 * 60 + 5, "anna", "escalated")
    ]  # fmt: skip


def test_quiet_hours_go_by_the_clocks_of_where_a_person_is(plant):
    site = plant(quiet_people(mei="America/New_York"), at="2026-01-06T23:00")  # 10:00 in New York
    site.fault()
    assert [t[:2] for t in site.hears(1)] == [(0, "mei")]
    site.clock("2026-01-07T12:00")  # 23:00 in New York
    site.fault("R002")
    assert [t for t in site.hears(60, 60) if t[3] == "sensor-fault/R002"] == []


def test_what_is_over_before_quiet_hours_end_is_told_nobody(plant):
    site = plant(quiet_people(), at="2026-01-06T23:00")
    site.fault()
    assert site.hears(60, 600) == []
    site.fault(state=0)
    assert site.hears(12 * 60, 1200) == []


def test_what_becomes_critical_in_quiet_hours_is_told_then(plant):
    site = plant(quiet_people(), at="2026-01-06T23:00")
    site.fault()
    assert site.hears(60, 600) == []
    site.worsen("sensor-fault")
    site.fault()
    assert [t[1:3] for t in site.hears(1)] == [("mei", "worsened")]


def test_that_something_is_over_waits_for_the_end_of_quiet_hours_too(plant):
    site = plant(quiet_people(), at="2026-01-06T21:50")
    site.fault("R001")
    site.leak("R002")
    assert {t[1] for t in site.hears(5)} == {"mei", "anna"}
    site.clock("2026-01-06T23:00")
    site.fault("R001", 0)
    site.leak("R002", 0)
    assert {t[1:] for t in site.hears(1)} == {
        ("anna", "cleared", "leak/R002"), ("mei", "cleared", "leak/R002")
    }  # fmt: skip
    assert {t[:2] for t in site.hears(479, 479 * 60)} == {(480, "anna"), (480, "mei")}


def test_quiet_hours_over_a_clock_change_end_at_their_hour(plant):
    site = plant(quiet_people(lin="Europe/Berlin"), zone=BERLIN, at="2026-03-28T23:00")
    site.fault()
    # seven in the morning is seven hours later, not eight
    assert next(t[:2] for t in site.hears(9 * 60, 1200)) == (7 * 60, "lin")


# --- routes ---------------------------------------------------------------------------------------------------------


def test_an_alert_that_comes_again_begins_its_escalation_again(plant):
    site = plant()
    site.leak()
    assert [t[1] for t in site.hears(6)] == ["mei", "anna"]
    site.leak(state=0)
    assert {t[2] for t in site.hears(1)} == {"cleared"}
    site.leak()
    assert [t[1:3] for t in site.hears(4)] == [("mei", "opened")]


def test_routes_go_by_rule_kind_object_and_process_area(plant):
    routes = [
        {"severities": ["critical"], "rules": ["leak*"], "objects": ["CDU1"], "channels": ["pager"]},
        {"severities": ["critical"], "objects": ["R002"], "channels": ["mail/tom@site.example"]},
        {
            "severities": ["critical"],
            "kinds": ["state"],
            "process_areas": ["Hall2"],
            "channels": ["mail/lin@site.example"],
        },
        {"severities": ["critical"], "rules": ["sensor-*"], "channels": ["mail/anna@site.example"]},
    ]
    site = plant(routes=routes)
    site.lab.point("Rack", "RackPower", "R003", process_area=("Hall2",))
    for rack in ("R001", "R002", "R003"):
        site.leak(rack)
    # all four racks hang on CDU1
    assert sorted(t[1::2] for t in site.hears(0.5)) == [
        ("lin", "leak/R003"), ("pager", "leak/R001"), ("pager", "leak/R002"), ("pager", "leak/R003"),
        ("tom", "leak/R002"),
    ]  # fmt: skip


def test_a_route_with_hours_tells_what_stands_when_they_begin(plant):
    office = {"severities": ["warning"], "times": [{"days": "mon-fri", "from": "09:00", "to": "18:00"}]}
    site = plant(routes=[{**office, "escalation": "plant"}], at="2026-01-06T05:00")
    site.fault()
    assert [t[:2] for t in site.hears(245, 300)] == [(240, "mei"), (245, "anna")]


def test_an_escalation_that_has_begun_goes_on_when_the_hours_of_its_route_are_over(plant):
    office = {"severities": ["warning"], "times": [{"days": "mon-fri", "from": "09:00", "to": "18:00"}]}
    site = plant(routes=[{**office, "escalation": "plant"}], at="2026-01-06T17:58")
    site.fault()
    assert [t[:2] for t in site.hears(10)] == [(0, "mei"), (5, "anna")]


def test_a_person_is_reached_by_severity(plant):
    people = {name: person(name) for name in PEOPLE}
    people["mei"]["reach_by_severity"] = {"critical": ["mail/mei@site.example", "pager"]}
    site = plant({"people": people})
    site.fault("R001")
    assert [t[1] for t in site.hears(1)] == ["mei"]
    site.leak("R002")
    assert [t[1] for t in site.hears(1)] == ["mei", "pager"]


def test_a_shelf_holds_an_escalation_up_and_it_goes_on_after_it(plant):
    site = plant()
    site.leak()
    assert [t[1] for t in site.hears(1)] == ["mei"]
    now = site.lab.now
    shelve(site.lab.records, site.lab.active["leak/R001"].id, "mei", "hoses", now, now + 30 * 60_000)
    assert site.hears(29) == []
    assert {t[1] for t in site.hears(2)} == set(PEOPLE)


# --- what a message has of its recipient ------------------------------------------------------------------------------


def test_a_message_has_its_recipients_clocks_language_and_a_link_that_is_theirs_while_it_stands(
    lab, tmp_path
):
    people = {
        "mei": person("mei", timezone="America/New_York"),
        "lin": person("lin", language="zh-Hant"),
    }
    both = {"steps": [{"people": ["mei", "lin"], "channels": ["pager"]}]}
    made = lab(
        *RULES,
        routes=[{"severities": ["critical"], "escalation": "plant"}],
        channels=CHANNELS,
        on_call={"people": people, "escalations": {"plant": both}},
    )
    links = Links(
        LinkKeys(tmp_path, 60_000, lambda: made.now), "https://hall.example", 60_000, lambda: made.now
    )
    made.link = links.make
    made.restart()
    site = Plant(made)
    site.clock("2026-01-06T12:00")
    site.read()
    site.leak()
    assert [t[1] for t in site.hears()] == ["lin", "mei", "pager"]
    got = {target.partition("@")[0]: box.tried[-1] for target, box in made.outboxes.items() if box.tried}
    mei, lin, pager = got["mail/mei"], got["mail/lin"], got["pager"]
    assert (str(mei.reader_zone), mei.language) == ("America/New_York", "en")
    assert (lin.reader_zone, lin.language) == (None, "zh-Hant")
    answers = [links.read(page.notices[0].link.rpartition("/")[2]) for page in (mei, lin)]
    assert [(a.person, a.alert_id) for a in answers] == [("mei", 1), ("lin", 1)]
    assert pager.notices[0].link == ""
    site.leak(state=0)
    assert {t[2] for t in site.hears(1)} == {"cleared"}
    assert made.outboxes["mail/mei@site.example"].tried[-1].notices[0].link == ""


# --- hand-over and gaps -----------------------------------------------------------------------------------------------


def noticed(site, minutes, step=60):
    """Return who is told which sentence of a hand-over, and when."""
    for box in site.lab.outboxes.values():
        box.tried.clear()
    times = {}
    end = site.lab.now + minutes * 60_000
    while site.lab.now <= end:
        site.lab.look()
        for target, box in site.lab.outboxes.items():
            who = target.removeprefix("mail/").removesuffix("@site.example")
            for page in box.tried:
                for notice in page.notices:
                    minute = (site.lab.now - site.begin) // 60_000
                    times.setdefault((who, notice.alert.condition.summary), minute)
            box.take()
            box.tried.clear()
        site.lab.now += step * 1000
    return sorted((minute, who, text) for (who, text), minute in times.items())


def handing_over(**more):
    return {**weekly("mei", "lin"), "notice": "15 min", **more}


def test_a_quarter_of_an_hour_before_a_hand_over_both_are_told_by_their_own_clocks(plant):
    people = {name: person(name) for name in PEOPLE}
    people["lin"] |= {"timezone": "Europe/Berlin", "name": "Lin"}
    site = plant(
        {"people": people, "schedules": {"primary": handing_over(), "secondary": weekly("anna")}},
        at="2026-03-30T08:30",
    )
    assert noticed(site, 60) == [
        (15, "lin", "You are relieved (primary) at Mon 2026-03-30 03:00 CEST by mei"),
        (15, "mei", "You are on call (primary) from Mon 2026-03-30 09:00 CST until Mon 2026-04-06 09:00 CST"),
    ]


def test_a_hand_over_is_told_once_over_restarts_and_what_no_channel_took_is_told_after_one(plant):
    site = plant(
        {"schedules": {"primary": handing_over(), "secondary": weekly("anna")}}, at="2026-03-30T08:44"
    )
    site.lab.outboxes["mail/lin@site.example"].broken = True
    told = noticed(site, 2)
    site.restart()
    told += noticed(site, 2)
    assert [who for _, who, _ in told if who == "mei"] == ["mei"]
    site.lab.outboxes["mail/lin@site.example"].broken = None
    site.restart()
    assert [who for _, who, _ in noticed(site, 2)] == ["lin"]
    site.restart()
    assert noticed(site, 30) == []


def test_whoever_stands_in_is_told_of_a_gap_before_it_begins(plant):
    office = handing_over(
        **{"layers": [{**weekly("mei", "lin")["layers"][0], "only": [{"from": "09:00", "to": "18:00"}]}]}
    )
    site = plant(
        {"schedules": {"primary": office, "secondary": weekly("anna")}, "fallback": ["tom"]},
        at="2026-01-06T17:40",
    )
    assert noticed(site, 30) == [
        (5, "mei", "Your turn (primary) ends at Tue 2026-01-06 18:00 CST; NOBODY is on call after you"),
        (
            5,
            "tom",
            "NOBODY is on call (primary) from Tue 2026-01-06 18:00 CST until Wed 2026-01-07 09:00 CST",
        ),
    ]


def test_a_swap_hands_over_at_its_own_times(plant):
    site = plant(
        {"schedules": {"primary": handing_over(), "secondary": weekly("anna")}}, at="2026-01-06T11:40"
    )
    start, end = site.at("2026-01-06T12:00"), site.at("2026-01-07T12:00")
    site.lab.records.add_override("primary", "mei", start, end, "mei", other="lin")
    assert [(minute, who) for minute, who, _ in noticed(site, 30)] == [(5, "lin"), (5, "mei")]


def test_a_hand_over_at_night_is_told_when_the_quiet_hours_are_over_in_the_persons_language(plant):
    quiet = [{"from": "22:00", "to": "07:00", "severities": ["info"]}]
    people = {name: person(name, quiet=quiet, language="zh-Hant") for name in PEOPLE}
    night = {**weekly("mei", "lin", hand_over="05:00"), "notice": "15 min"}
    site = plant(
        {"people": people, "schedules": {"primary": night, "secondary": night | {"notice": None}}},
        at="2026-01-12T04:00",
    )
    told = noticed(site, 240, 600)
    assert [(minute, who) for minute, who, _ in told] == [(180, "lin"), (180, "mei")]
    assert told[0][2] == "您輪值（primary）：自 Mon 2026-01-12 05:00 CST 至 Mon 2026-01-19 05:00 CST"
