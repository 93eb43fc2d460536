"""Many anomalies, one incident: the root and its fault, named with evidence."""

import pytest

from analytics.anomaly.incidents import Finding, Grouping, IncidentBook, causes
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


def test_what_follows_the_load_up_and_down_is_waited_for_ever_longer():
    book, signs, opened = IncidentBook(factory()), {"coolant flow": 3.0, "coolant rise": 2.0}, []
    for minute in range(0, 14 * 24 * 60):
        crest = minute % 240 < 30  # half an hour of every four hours
        opened += book.update(minute * MINUTE, racks(1, signs)[:1] if crest else [])[0]
    assert 2 < len(opened) <= 6, "84 crests"
    for minute in range(14 * 24 * 60, 17 * 24 * 60):
        book.update(minute * MINUTE, [])
    assert book.open == []
    late = [book.update((17 * 24 * 60 + minute) * MINUTE, racks(1, signs)[:1])[0] for minute in range(5)]
    assert late[1][0].quiet == book.quiet, "after a day it is a new one"


def test_what_no_known_fault_explains_is_told_later_but_it_is_told():
    book = IncidentBook(factory())
    odd = [Finding("R00", {"pod supply temperature": 2.0})]
    opened = [book.update(minute * MINUTE, odd)[0] for minute in range(8)]
    assert [len(o) for o in opened] == [0, 0, 0, 0, 0, 1, 0, 0]
    assert book.open[0].cause.fault == "unknown"


def test_a_loop_in_the_topology_ends_the_walk():
    plant = Grouping({"A": ["B"], "B": ["A"]}, {"A": "Rack", "B": "CDU"}, frozenset({"A", "B"}))
    assert causes([Finding("A", {"coolant flow": 2.0, "coolant rise": 2.0})], plant)[0].root == "A"
