"""What joins the scorers: the grouping along a topology, instruments in company, classes with stable numbers."""

import numpy as np

from analytics.anomaly.incidents import Finding, Grouping, IncidentBook
from analytics.anomaly.instruments import LEARN_ROWS, InstrumentWatch
from analytics.anomaly.sensors import Verdict
from analytics.anomaly.signatures import FAULTS, INSTRUMENTS, SIGNATURES
from domain.topology import PlantObject, Topology

MINUTE = 60_000


def topology() -> Topology:
    kinds = {"R1": "Rack", "R2": "Rack", "C1": "CDU", "C2": "CDU", "UPS-A": "UPS", "BUS-A": "PowerMeter"}
    kinds |= {"R1-TAP-A": "PowerMeter", "R2-TAP-A": "PowerMeter"}
    edges = [(cdu, rack) for cdu in ("C1", "C2") for rack in ("R1", "R2")]
    edges += [("UPS-A", "BUS-A")]
    edges += [edge for rack in ("R1", "R2") for edge in (("BUS-A", f"{rack}-TAP-A"), (f"{rack}-TAP-A", rack))]
    return Topology({name: PlantObject(name, kind) for name, kind in kinds.items()}, edges)


def test_power_and_coolant_are_grouped_along_paths_of_their_own():
    grouping = Grouping.of(topology())
    assert grouping.upstream("R1") == {"R1", "C1", "C2"}
    assert grouping.upstream("R1-TAP-A") == {"R1-TAP-A", "BUS-A", "UPS-A"}
    assert grouping.twins("C1", "C2")
    assert not grouping.twins("C1", "BUS-A")


def test_a_twin_that_makes_up_for_a_stopped_cdu_joins_its_incident():
    book = IncidentBook(Grouping.of(topology()))
    stopped = Finding("C1", {"load sharing": 4.0})
    strained = Finding("C2", {"facility water": 2.0})
    for minute in range(3):
        book.update(minute * MINUTE, [stopped])
    for minute in range(3, 9):
        book.update(minute * MINUTE, [stopped, strained])
    (incident,) = book.open
    assert (incident.cause.root, incident.cause.fault) == ("C1", "stopped")
    assert incident.members == {"C1", "C2"}


def test_every_signature_has_a_class_with_a_number():
    assert {s.fault for s in SIGNATURES} | {"unknown"} == set(FAULTS)
    assert set(FAULTS) >= INSTRUMENTS
    assert len(set(FAULTS)) == len(FAULTS)


def wild(columns: list[int]) -> dict[tuple[str, str], Verdict]:
    """Three instruments of one pod, of which some spike while nothing else moves."""
    rng = np.random.default_rng(1)
    watch = InstrumentWatch([(f"R{i}", "flow") for i in range(3)], np.full(3, 10.0), np.zeros(3, np.int32))
    for row in range(LEARN_ROWS + 30):
        values = 100 + rng.normal(0, 0.2, 3)
        if row > LEARN_ROWS and row % 7 == 0:
            values[columns] += 60
        watch.take(values, np.full(3, 100.0))
        found = watch.judge() if row >= LEARN_ROWS - 1 else {}
    return found


def test_one_instrument_that_spikes_is_faulty_but_several_of_a_pod_tell_the_plant():
    assert wild([1]) == {("R1", "flow"): Verdict.SPIKING}
    assert wild([0, 1]) == {}
