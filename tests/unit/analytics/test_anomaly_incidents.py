"""Many anomalies, one incident: the root and its fault, named with evidence."""

from collections.abc import Callable

import pytest

from analytics.anomaly.incidents import Finding, Grouping, Incident, IncidentBook, causes
from analytics.anomaly.racks import SIGNALS
from analytics.anomaly.signatures import SIGNATURES, diagnose
from domain.said import told

PODS = 3
MINUTE = 60_000


def factory() -> Grouping:
    parents, types = {}, {}
    for pod in range(PODS):
        cdus = [f"CDU-{pod}-{n}" for n in "12"]
        busways = [f"BW-{pod}-{side}" for side in "AB"]
        for number in range(8):
            rack = f"R{pod}{number}"
            parents[rack], types[rack] = [*cdus, *busways], "Rack"
        types |= dict.fromkeys(cdus, "CDU") | dict.fromkeys(busways, "PowerMeter")
        parents |= {busway: [f"UPS-{busway[-1]}"] for busway in busways}
    types |= {"UPS-A": "UPS", "UPS-B": "UPS"}
    return Grouping(parents, types, frozenset(types))


def racks(pod: int, signals: dict[str, float]) -> list[Finding]:
    return [Finding(f"R{pod}{n}", signals) for n in range(8)]


def test_one_rack_with_little_flow_is_one_incident_at_that_rack():
    found = causes([Finding("R13", {"coolant flow": 3.0, "coolant rise": 2.0})], factory())
    assert [(c.root, c.fault) for c in found] == [("R13", "rack valve or blockage")]
    assert "coolant flow: 3.0 times its limit" in map(told, found[0].evidence)


def test_all_racks_of_a_pod_warm_is_one_incident_at_a_cdu_with_the_other_as_alternative():
    found = causes(racks(1, {"pod supply temperature": 2.0}), factory())
    assert len(found) == 1
    assert {found[0].root, *found[0].alternatives} == {"CDU-1-1", "CDU-1-2"}
    assert found[0].fault == "heat exchanger, primary valve or setpoint"
    assert "8 of 8" in told(found[0].evidence[-1])


def test_the_cdu_that_is_anomalous_itself_is_named_before_its_twin():
    findings = [
        *racks(1, {"pod differential pressure": 3.0}),
        Finding("CDU-1-2", {"pod differential pressure": 2.0}),
    ]
    found = causes(findings, factory())
    assert found[0].root == "CDU-1-2"
    assert found[0].fault == "pump"
    assert len(found) == 1


def test_two_faults_at_once_are_two_incidents():
    findings = [*racks(0, {"pod supply temperature": 2.0}), Finding("R25", {"GPU temperature": 1.6})]
    found = causes(findings, factory())
    assert [c.fault for c in found] == ["heat exchanger, primary valve or setpoint", "cold plate"]
    assert found[1].root == "R25"


def test_two_racks_with_their_own_faults_are_not_blamed_on_what_serves_them():
    findings = [Finding(rack, {"GPU temperature": 2.0}) for rack in ("R00", "R01")]
    assert [c.root for c in causes(findings, factory())] == ["R00", "R01"]


def test_a_pod_with_most_racks_anomalous_is_still_one_incident_at_its_cdu():
    found = causes(racks(2, {"pod supply temperature": 1.4})[:6], factory())
    assert len(found) == 1
    assert found[0].root.startswith("CDU-2")


@pytest.mark.parametrize(
    ("signals", "fault"),
    [
        ({"heat balance": 2.0, "coolant flow": 3.0}, "flow sensor"),
        ({"heat balance": 2.0, "coolant rise": 2.0}, "return temperature sensor"),
        ({"heat balance": 2.0}, "power meter"),
        ({"supply temperature": 3.0, "heat balance": 2.0}, "supply temperature sensor"),
        ({"coolant flow": 2.0, "coolant rise": 2.0, "GPU temperature": 1.2}, "rack valve or blockage"),
        ({"coolant flow": 0.9}, "unknown"),
    ],
)
def test_a_broken_sensor_looks_different_from_a_broken_plant(signals, fault):
    assert diagnose("Rack", signals)[0] == fault


def test_every_signal_of_a_rack_is_known_to_some_signature():
    assert set(SIGNALS) <= {signal for s in SIGNATURES for signal in s.moves}


def test_an_incident_lives_from_onset_to_quiet_and_keeps_its_number():
    book = IncidentBook(factory())
    signs = {"pod supply temperature": 2.0}
    opened, _ = book.update(0, racks(1, signs)[:1])
    assert opened == []  # a moment's patience: its neighbours follow
    opened, _ = book.update(MINUTE, racks(1, signs))
    assert opened == []  # the first rack alone says nothing of the pod yet
    opened, _ = book.update(2 * MINUTE, racks(1, signs))
    assert [i.number for i in opened] == [1]
    for minute in range(3, 10):
        opened, closed = book.update(minute * MINUTE, racks(1, signs))
        assert (opened, closed) == ([], [])
    assert len(book.open) == 1
    assert book.open[0].cause.root.startswith("CDU-1")
    _, closed = book.update(15 * MINUTE, [])
    assert closed == []
    _, closed = book.update(20 * MINUTE, [])
    assert [i.number for i in closed] == [1]
    assert book.open == []


def test_a_finding_that_comes_and_goes_within_the_patience_opens_nothing():
    book = IncidentBook(factory())
    for step in range(20):
        findings = [Finding("R00", {"coolant flow": 2.0})] if step % 2 == 0 else []
        opened, _ = book.update(step * MINUTE // 2, findings)
        assert opened == []


SIGNS = {"coolant flow": 3.0, "coolant rise": 2.0}
HOUR, DAY = 60, 24 * 60


def watched(book: IncidentBook, minutes: range, findings: Callable[[int], list[Finding]]) -> list[Incident]:
    """Return what was opened, again or for the first time."""
    return [i for minute in minutes for i in book.update(minute * MINUTE, findings(minute))[0]]


def test_what_follows_the_load_up_and_down_is_one_incident_that_is_soon_waited_for():
    book = IncidentBook(factory())
    # half an hour of every four hours, for two weeks: 84 crests
    opened = watched(book, range(14 * DAY), lambda m: racks(1, SIGNS)[:1] if m % (4 * HOUR) < 30 else [])
    assert [i.number for i in opened] == [1, 1, 1]
    assert opened[0].returned == [(4 * HOUR + 1) * MINUTE, (8 * HOUR + 1) * MINUTE]
    assert opened[0].opened == MINUTE
    # a crest a day is waited for too
    daily = watched(book, range(14 * DAY, 20 * DAY), lambda m: racks(1, SIGNS)[:1] if m % DAY < 30 else [])
    assert [i.number for i in daily] == [1]
    watched(book, range(20 * DAY, 25 * DAY), lambda m: [])
    assert book.open == []
    late = watched(book, range(25 * DAY, 25 * DAY + 5), lambda m: racks(1, SIGNS)[:1])
    assert [(i.number, i.quiet) for i in late] == [(2, book.quiet)], "after days it is a new one"


def test_what_hovers_at_its_limit_is_one_incident():
    book, now = IncidentBook(factory()), 0
    for now in range(2 * DAY):  # ten minutes above, an hour a little below
        score = 1.1 if now % 70 < 10 else 0.8
        book.update(now * MINUTE, [Finding("R13", {"coolant flow": score, "coolant rise": score})])
    assert (book.count, len(book.open), book.open[0].returned) == (1, 1, [])
    # near means near in what passed its limit
    later = range(now + 1, now + 30)
    watched(book, later, lambda m: [Finding("R13", {"GPU temperature": 0.8, "coolant flow": 0.6})])
    assert book.open == []


def test_what_is_only_near_its_limit_opens_nothing():
    book = IncidentBook(factory())
    assert watched(book, range(DAY), lambda m: [Finding("R13", {"coolant flow": 0.99})]) == []


def test_another_fault_of_a_root_that_is_only_waited_for_is_another_incident():
    book = IncidentBook(factory())
    opened = watched(book, range(9 * HOUR), lambda m: racks(1, SIGNS)[:1] if m % (4 * HOUR) < 30 else [])
    assert [i.number for i in opened] == [1, 1, 1]
    hot = watched(book, range(10 * HOUR, 10 * HOUR + 9), lambda m: [Finding("R10", {"GPU temperature": 2.0})])
    assert [(i.number, i.cause.fault) for i in hot] == [(2, "cold plate")]


def test_the_same_fault_of_a_part_is_the_same_incident_again():
    book = IncidentBook(factory())
    tray = Grouping(book.grouping.parents, {"R13-T04": "Tray", "R13-T04-G2": "GPU"}, frozenset())
    book.grouping = tray
    hot = {"GPU temperature": 2.0}
    assert len(watched(book, range(5), lambda m: [Finding("R13-T04-G2", hot)])) == 1
    watched(book, range(5, 30), lambda m: [])
    (again,) = watched(book, range(30, 35), lambda m: [Finding("R13-T04", hot)])
    assert (again.number, again.returned) == (1, [31 * MINUTE])


def test_what_no_known_fault_explains_is_told_later_but_it_is_told():
    book = IncidentBook(factory())
    odd = [Finding("R00", {"pod supply temperature": 2.0})]
    opened = [book.update(minute * MINUTE, odd)[0] for minute in range(8)]
    assert [len(o) for o in opened] == [0, 0, 0, 0, 0, 1, 0, 0]
    assert book.open[0].cause.fault == "unknown"


def test_a_loop_in_the_topology_ends_the_walk():
    plant = Grouping({"A": ["B"], "B": ["A"]}, {"A": "Rack", "B": "CDU"}, frozenset({"A", "B"}))
    assert causes([Finding("A", {"coolant flow": 2.0, "coolant rise": 2.0})], plant)[0].root == "A"
