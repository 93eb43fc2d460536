"""From a fault in the plant's physics to the incident that names it: scorer, grouping and signatures together."""

import math

import numpy as np
import pytest

from analytics.anomaly.incidents import Finding, Grouping, IncidentBook
from analytics.anomaly.racks import SIGNALS, RackReadings, RackScorer
from benchmarks._fault_runs import STEP_S, Watched
from benchmarks._quiet_faults import Oracle
from benchmarks._watched_plant import shipped_site
from domain.plant.layout import PlantLayout
from simulator.sizing import first_racks
from tests.unit.analytics.anomaly_factory import FAULTY, STEP, Factory, run, site_layout

RACK = f"R{FAULTY + 1:03d}"


@pytest.fixture(scope="module")
def layout() -> PlantLayout:
    return site_layout()


def grouping(layout: PlantLayout) -> Grouping:
    parents = {
        rack: [c for c, p in zip(layout.cdus, layout.cdu_pod, strict=True) if p == layout.rack_pod[n]]
        for n, rack in enumerate(layout.racks)
    }
    types = dict.fromkeys(layout.racks, "Rack") | dict.fromkeys(layout.cdus, "CDU")
    return Grouping(parents, types, frozenset(layout.racks))


def diagnosed(layout: PlantLayout, break_plant=None, break_sensor=None) -> list[tuple[str, str]]:
    """Root and fault of every incident that a fault opens within ten minutes."""
    factory, scorer = Factory(layout, seed=7), RackScorer(layout.racks, layout.rack_pod)
    run(factory, scorer, 150)
    factory.level[FAULTY // 8] = 0.8
    run(factory, scorer, 40)
    book = IncidentBook(grouping(layout))
    if break_plant is not None:
        knob, where, value = break_plant
        getattr(factory.conditions, knob)[where] = value
    opened = []
    for step in range(60):
        now: RackReadings = factory.readings()
        if break_sensor is not None:
            name, change = break_sensor
            getattr(now, name)[FAULTY] = change(getattr(now, name)[FAULTY])
        scores = scorer.update(now, STEP)
        findings = [
            Finding(layout.racks[n], dict(zip(SIGNALS, scores.contributions[n], strict=True)))
            for n in np.flatnonzero(scores.score > 1.0)
        ]
        opened += book.update(int(step * STEP * 1000), findings)[0]
    return [(i.cause.root, i.cause.fault) for i in opened]


@pytest.mark.parametrize(
    ("fault", "expected"),
    [
        (("rack_blockage", FAULTY, 0.15), (RACK, "rack valve or blockage")),
        (("rack_isolated", FAULTY, 1.0), (RACK, "rack valve or blockage")),
        (("gpu_resistance_factor", FAULTY * 72 + 3, 1.5), (RACK, "cold plate")),
        (("cdu_setpoint_shift", slice(0, 2), 3.0), ("P01-CDU1", "heat exchanger, primary valve or setpoint")),
        (("cdu_pump_health", slice(0, 2), 0.2), ("P01-CDU1", "pump")),
    ],
)
def test_a_plant_fault_is_one_incident_with_the_right_root_and_class(layout, fault, expected):
    assert diagnosed(layout, break_plant=fault) == [expected]


@pytest.mark.parametrize(
    ("sensor", "expected"),
    [
        (("flow", lambda v: 0.6 * v), "flow sensor"),
        (("ret", lambda v: v + 5.0), "return temperature sensor"),
        (("dp", lambda v: 0.7 * v), "differential pressure sensor"),
        (("supply", lambda v: v - 3.5), "supply temperature sensor"),
    ],
)
def test_a_sensor_fault_is_named_as_one_and_not_as_a_plant_fault(layout, sensor, expected):
    assert diagnosed(layout, break_sensor=sensor) == [(RACK, expected)]


def test_a_healthy_factory_opens_no_incident(layout):
    assert diagnosed(layout) == []


def test_a_fault_shows_once_a_reading_differs_from_that_of_a_plant_without_it():
    watched = Watched(first_racks(shipped_site(), 16), seed=3, roughness=1)
    oracle = Oracle(watched, ["R002", "R012"])  # of two pods
    plant = watched.plant
    onset = plant.factory.time_ms + 60_000
    plant.factory.raise_fault("rack-flow-loss", "R002", onset)
    for _ in range(10):
        plant.move(STEP_S, math.inf)
        plant.read()
        oracle.look()
    assert oracle.shown.keys() == {"R002"}
    assert 0 <= oracle.shown["R002"] - onset <= 120_000
