"""The anomaly score of a coolant distribution unit, on the physics of the plant."""

from dataclasses import replace

import numpy as np
import pytest

from analytics.anomaly.cdus import SIGNALS, CduReadings, CduScorer, CduScores
from domain.errors import InputError
from domain.plant.conditions import Conditions
from domain.plant.layout import PlantLayout
from domain.plant.model import Plant
from domain.plant.rack import COOLANT_HEAT
from tests.unit.analytics.anomaly_factory import STEP, site_layout


@pytest.fixture(scope="module")
def layout() -> PlantLayout:
    return site_layout()


class CduFactory:
    """Pods whose load jumps now and then, seen through noisy instruments."""

    def __init__(self, layout: PlantLayout, seed: int = 0) -> None:
        self.rng = np.random.default_rng(seed)
        self.layout = layout
        self.plant = Plant(layout)
        self.conditions = Conditions.healthy(layout)
        self.level = self.rng.uniform(0.3, 0.9, len(layout.pods))
        self.state = self.plant.settle(self._power(), self.conditions)
        self.offset = self.rng.normal(0, 1, (8, len(layout.cdus)))

    def _power(self) -> np.ndarray:
        gpu_power = self.plant.model.gpu.power(self.level[self.layout.rack_pod])
        return self.plant.model.rack.power(self.layout.gpus_per_rack * gpu_power)

    def readings(self) -> CduReadings:
        if self.rng.random() < 0.1:
            self.level[self.rng.integers(len(self.level))] = self.rng.uniform(0.2, 0.95)
        self.plant.step(self.state, self._power(), self.conditions, STEP)
        s, n = self.state, self.layout
        heat = (COOLANT_HEAT * s.flow * (s.ret - s.supply)) @ n.racks_to_pods
        total = np.maximum(s.cdu_flow @ n.cdus_to_pods, 1.0)
        return CduReadings(
            flow=s.cdu_flow * self._about(0, 0.005),
            dp=s.cdu_dp * self._about(1, 0.005),
            speed=s.cdu_speed * self._about(2, 0.003),
            filter_dp=s.cdu_filter_dp * self._about(3, 0.01),
            supply=s.cdu_supply + 0.05 * self.rng.normal(0, 1, len(n.cdus)),
            ret=s.cdu_return + 0.05 * self.rng.normal(0, 1, len(n.cdus)),
            primary_flow=s.primary_flow * self._about(4, 0.01),
            rack_heat=heat[n.cdu_pod] * s.cdu_flow / total[n.cdu_pod],
            valve=s.primary_valve.copy(),
            setpoint=np.full(len(n.cdus), self.plant.model.cdu.setpoint) + self.conditions.cdu_setpoint_shift,
            loop_pressure=235e3 * self._about(5, 0.001),
        )

    def _about(self, signal: int, size: float) -> np.ndarray:
        return 1.0 + size * (self.offset[signal] + self.rng.normal(0, 1, self.offset.shape[1]))


def watched(layout: PlantLayout) -> tuple[CduFactory, CduScorer]:
    factory, scorer = CduFactory(layout), CduScorer(layout.cdus, layout.cdu_pod)
    run(factory, scorer, 200)
    return factory, scorer


def run(factory: CduFactory, scorer: CduScorer, steps: int) -> list[CduScores]:
    return [scorer.update(factory.readings(), STEP) for _ in range(steps)]


def test_healthy_units_under_changing_load_raise_nothing(layout):
    factory, scorer = CduFactory(layout, seed=2), CduScorer(layout.cdus, layout.cdu_pod)
    scores = np.array([s.score for s in run(factory, scorer, 500)])
    assert np.isnan(scores[:30]).all()
    assert np.nanmax(scores) < 1.0


@pytest.mark.parametrize(
    ("knob", "value", "signal"),
    [
        ("cdu_pump_health", 0.75, "pump head"),
        ("cdu_filter_clogging", 2.5, "filter"),
        ("cdu_exchanger_health", 0.3, "facility water"),
        ("cdu_valve_stuck", 0.05, "facility water"),
    ],
)
def test_a_fault_of_one_unit_is_found_within_minutes_and_its_twin_is_left_alone(layout, knob, value, signal):
    factory, scorer = watched(layout)
    factory.level[0] = 0.8
    run(factory, scorer, 60)
    getattr(factory.conditions, knob)[0] = value
    scores = run(factory, scorer, 40)
    assert scores[-1].score[0] > 1.0
    assert signal in scores[-1].signals(0)
    assert (np.array([s.score for s in scores])[:, 2:] < 1.0).all()


def test_a_unit_that_stands_by_is_not_judged_and_one_that_carries_less_is(layout):
    factory, scorer = watched(layout)
    for _ in range(30):
        now = factory.readings()
        flow = now.flow.copy()
        flow[0] *= 0.6
        scores = scorer.update(replace(now, flow=flow), STEP)
    assert "load sharing" in scores.signals(0)
    resting = CduScorer(layout.cdus, layout.cdu_pod)
    for _ in range(40):
        now = factory.readings()
        now.flow[0] = now.dp[0] = now.speed[0] = 0.0
        scores = resting.update(now, STEP)
    assert np.isnan(scores.score[0])


def test_missing_readings_leave_the_score_as_it_was(layout):
    factory, scorer = watched(layout)
    for name in CduReadings.__slots__:
        now = factory.readings()
        getattr(now, name)[:] = np.nan
        scores = scorer.update(now, STEP)
        assert (scores.score < 1.0).all()


def test_after_work_on_a_unit_its_new_state_can_be_accepted(layout):
    factory, scorer = watched(layout)
    factory.conditions.cdu_filter_clogging[0] = 2.0
    assert run(factory, scorer, 40)[-1].score[0] > 1.0
    scorer.accept(0)
    assert run(factory, scorer, 5)[-1].score[0] < 1.0


def test_arrays_of_another_length_are_refused(layout):
    factory, scorer = CduFactory(layout), CduScorer(layout.cdus, layout.cdu_pod)
    now = factory.readings()
    with pytest.raises(InputError, match="flow has shape"):
        scorer.update(replace(now, flow=now.flow[:3]), STEP)
    with pytest.raises(InputError, match="pod indices"):
        CduScorer(layout.cdus, layout.cdu_pod[:3])
    assert len(SIGNALS) == scorer.track.smooth.shape[0]
