"""The anomaly score of a rack, on the physics of the plant."""

from dataclasses import replace

import numpy as np
import pytest

from analytics.anomaly.racks import SIGNALS, RackReadings, RackScorer
from domain.errors import InputError
from domain.plant.layout import PlantLayout
from tests.unit.analytics.anomaly_factory import FAULTY, STEP, Factory, run, site_layout


@pytest.fixture(scope="module")
def layout() -> PlantLayout:
    return site_layout()


def watched(layout: PlantLayout, seed: int = 0, steps: int = 180) -> tuple[Factory, RackScorer]:
    """A factory that has been watched while healthy."""
    factory, scorer = Factory(layout, seed), RackScorer(layout.racks, layout.rack_pod)
    run(factory, scorer, steps)
    return factory, scorer


def test_a_healthy_factory_under_changing_load_raises_nothing(layout):
    factory, scorer = Factory(layout, seed=3), RackScorer(layout.racks, layout.rack_pod)
    scores = np.array([s.score for s in run(factory, scorer, 720)])
    assert np.isnan(scores[:30]).all()
    assert np.nanmax(scores) < 1.0


@pytest.mark.parametrize(
    ("knob", "where", "value", "signal"),
    [
        ("rack_blockage", FAULTY, 0.4, "coolant path"),
        ("rack_valve_stuck", FAULTY, 0.3, "coolant flow"),
        ("rack_isolated", FAULTY, 1.0, "coolant flow"),
        ("gpu_resistance_factor", FAULTY * 72 + 7, 1.5, "GPU temperature"),
        ("cdu_pump_health", slice(0, 2), 0.2, "pod differential pressure"),
        ("cdu_setpoint_shift", slice(0, 2), 3.0, "pod supply temperature"),
    ],
)
def test_a_fault_is_found_within_minutes_on_its_rack_or_pod_only(layout, knob, where, value, signal):
    factory, scorer = watched(layout)
    factory.level[FAULTY // 8] = 0.8
    getattr(factory.conditions, knob)[where] = value
    scores = run(factory, scorer, 36)
    found = np.array([s.score for s in scores]) > 1.0
    assert found[:, FAULTY].any()
    assert any(signal in s.signals(FAULTY) for s in scores)
    assert not found[:, 8:].any()


def test_a_rack_that_was_faulty_from_the_start_stands_out_from_its_peers(layout):
    factory, scorer = Factory(layout), RackScorer(layout.racks, layout.rack_pod)
    factory.conditions.rack_blockage[FAULTY] = 0.1
    scores = run(factory, scorer, 60)
    assert scores[-1].score[FAULTY] > 1.0
    assert scores[-1].score.argmax() == FAULTY


def test_a_flow_meter_that_reads_wrong_breaks_the_heat_balance(layout):
    factory, scorer = watched(layout)
    for _ in range(30):
        now = factory.readings()
        now.flow[FAULTY] *= 0.6
        scores = scorer.update(now, STEP)
    assert "heat balance" in scores.signals(FAULTY)
    assert "coolant flow" in scores.signals(FAULTY)


def test_missing_readings_neither_raise_nor_clear(layout):
    factory, scorer = watched(layout)
    factory.conditions.rack_blockage[FAULTY] = 0.3
    faulty = run(factory, scorer, 20)[-1].score[FAULTY]
    for name in RackReadings.__slots__:
        now = factory.readings()
        getattr(now, name)[:] = np.nan
        scores = scorer.update(now, STEP)
        assert np.isfinite(scores.score).all()
        assert scores.score[FAULTY] > 1.0
        assert (np.delete(scores.score, FAULTY) < 1.0).all()
    assert faulty > 1.0


def test_a_signal_that_no_rack_has_is_unknown_and_the_others_work(layout):
    factory, scorer = Factory(layout), RackScorer(layout.racks, layout.rack_pod)
    for _ in range(60):
        now = factory.readings()
        now.dp[:] = np.nan
        now.gpu_max[FAULTY] = np.nan
        scores = scorer.update(now, STEP)
    assert np.isnan(scores.contributions[:, SIGNALS.index("differential pressure")]).all()
    assert np.isnan(scores.contributions[FAULTY, SIGNALS.index("GPU temperature")])
    assert (scores.score < 1.0).all()


def test_a_rack_that_is_switched_off_has_lost_its_power_and_is_judged_by_nothing_else(layout):
    factory, scorer = watched(layout)
    factory.conditions.rack_powered[FAULTY] = 0.0
    last = run(factory, scorer, 40)
    assert last[-1].signals(FAULTY) == "power lost"
    others = np.delete(last[-1].contributions[FAULTY], SIGNALS.index("power lost"))
    assert not (others > 1.0).any()
    scorer.accept(FAULTY)
    assert run(factory, scorer, 20)[-1].score[FAULTY] < 1.0


def test_arrays_of_another_length_are_refused(layout):
    factory, scorer = watched(layout, steps=1)
    now = factory.readings()
    short = replace(now, power=now.power[:5])
    with pytest.raises(InputError, match="power has shape"):
        scorer.update(short, STEP)
    with pytest.raises(InputError, match="pod indices"):
        RackScorer(layout.racks, layout.rack_pod[:3])
