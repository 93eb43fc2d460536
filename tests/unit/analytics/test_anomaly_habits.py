"""What differs from its peers from the first day is not broken, unless physics says so."""

import numpy as np
import pytest

from analytics.anomaly.gpus import HEAT, WORK, GpuTable, GpuWatch
from analytics.anomaly.instruments import InstrumentWatch
from analytics.anomaly.racks import RackReadings, RackScorer
from analytics.anomaly.residuals import ARRIVING, SETTLE, ResidualTrack, Steps
from analytics.anomaly.sensors import Verdict
from tests.unit.analytics.anomaly_factory import FAULTY, Factory, run, site_layout


class DifferentRacks(Factory):
    """Racks of which each has another valve, another flow setting and another overhead."""

    def __init__(self, seed: int, spread: float) -> None:
        super().__init__(site_layout(), seed)
        rng = np.random.default_rng([seed, 5])
        for part in (self.plant.built.rack_valve, self.plant.built.rack_flow):
            part *= np.exp(spread * np.clip(rng.standard_normal(self.racks), -2.5, 2.5))
        self.state = self.plant.settle(self.plant.model.rack.power(72 * self._gpu_power()), self.conditions)
        self.misread = np.ones(self.racks)

    def readings(self) -> RackReadings:
        told = super().readings()
        return RackReadings(
            told.power, told.supply, told.ret, told.flow * self.misread, told.dp, told.gpu_max, told.gpu_power,
            told.valve, told.leak,
        )  # fmt: skip


@pytest.mark.parametrize("spread", [0.08, 0.16])
def test_racks_with_other_valves_and_flows_from_the_first_day_are_well(spread):
    factory = DifferentRacks(1, spread)
    scorer = RackScorer(factory.layout.racks, factory.layout.rack_pod)
    scores = run(factory, scorer, 360)[60:]
    often = np.mean([(s.score > 1.0) for s in scores], axis=0)
    assert often.max() < 0.02


def test_a_blockage_is_found_among_racks_that_differ():
    factory = DifferentRacks(2, 0.16)
    scorer = RackScorer(factory.layout.racks, factory.layout.rack_pod)
    run(factory, scorer, 180)
    factory.conditions.rack_blockage[FAULTY] = 0.5
    last = run(factory, scorer, 60)[-1]
    assert last.score[FAULTY] > 1.0
    assert (last.score > 1.0).sum() == 1


def test_a_flow_meter_that_reads_half_from_the_first_day_is_found_since_no_heat_is_lost_on_its_way():
    factory = DifferentRacks(3, 0.08)
    factory.misread[FAULTY] = 0.5
    scorer = RackScorer(factory.layout.racks, factory.layout.rack_pod)
    last = run(factory, scorer, 90)[-1]
    assert last.score[FAULTY] > 1.0
    assert "heat balance" in last.signals(FAULTY)


def track(natural: float) -> ResidualTrack:
    return ResidualTrack(np.array([[1.0]]), 1, 20.0, 6 * 3600.0, np.array([[natural]]))


def fed(one: ResidualTrack, value: float, seconds: float, slack: float = 0.0) -> float:
    score = 0.0
    for _ in range(int(seconds / 10.0)):
        score = float(one.update(np.array([[value]]), slack, 10.0)[0, 0])
    return score


def test_a_habit_hides_no_more_than_what_is_natural():
    habit = track(4.0)
    assert fed(habit, 3.0, 900.0) < 1.0
    assert fed(track(4.0), 8.0, 900.0) > 1.0
    assert fed(habit, 5.5, 300.0) > 1.0


def test_a_change_under_way_does_not_make_an_object_that_differs_look_like_the_others():
    habit = track(4.0)
    fed(habit, 3.0, 900.0)
    # whatever the slack leaves open, it read what it always reads
    assert fed(habit, 3.0, 300.0, slack=5.0) < 0.1


def test_what_is_commissioned_later_is_given_its_time_too():
    late = track(4.0)
    fed(late, np.nan, 86_400.0)
    # while it warms up nothing of it is learnt
    assert fed(late, -3.0, ARRIVING) == 0.0
    assert fed(late, 3.0, SETTLE - 20.0) == 0.0
    assert fed(late, 3.0, 60.0) < 1.0
    assert fed(late, 6.0, 120.0) > 1.0


def table(temperature: np.ndarray, power: np.ndarray) -> GpuTable:
    shape = power.shape
    zero = np.zeros(shape)
    return GpuTable(
        temperature,
        temperature + 5.0,
        power,
        np.full(shape, 1.7e9),
        np.ones(shape),
        np.ones(shape),
        zero,
        zero,
        zero,
    )


def test_a_gpu_with_a_worse_cold_plate_and_less_work_from_the_first_day_is_well_and_one_that_becomes_so_is_not():
    rng = np.random.default_rng(0)
    plate, silicon = np.ones((4, 72)), np.ones((4, 72))
    plate[1, 5], silicon[2, 7] = 1.28, 0.84
    watch = GpuWatch((4, 72))
    coolant = np.full(4, 38.0)

    def look(times: int) -> None:
        for _ in range(times):
            power = 1100.0 * silicon * (1.0 + 0.01 * rng.standard_normal((4, 72)))
            watch.update(table(np.round(38.0 + 0.028 * plate * power), power), coolant, 30.0)

    look(200)
    assert (watch.score[[HEAT, WORK]] < 1.0).all()
    plate[0, 3], silicon[3, 9] = 1.5, 0.7
    look(60)
    assert np.flatnonzero(watch.score[HEAT] > 1.0).tolist() == [3]
    assert np.flatnonzero(watch.score[WORK] > 1.0).tolist() == [3 * 72 + 9]


def test_gpus_that_breathe_air_are_compared_with_each_other_too():
    watch = GpuWatch((2, 72))
    power = np.full((2, 72), 340.0)
    hot = 30.0 + 0.12 * power
    for _ in range(20):
        watch.update(table(np.round(hot), power), np.array([38.0, np.nan]), 30.0)
    hot[1, 4] += 20.0
    for _ in range(20):
        watch.update(table(np.round(hot), power), np.array([38.0, np.nan]), 30.0)
    assert np.flatnonzero(watch.score[HEAT] > 1.0).tolist() == [72 + 4]


def test_an_instrument_that_tells_half_kelvins_is_not_stuck_where_a_fine_one_would_be():
    rng = np.random.default_rng(1)
    names = [(f"R{i:03d}", "RackLiquidSupplyTemperature") for i in range(8)]
    watch = InstrumentWatch(names, np.full(8, 1.0), np.zeros(8, np.int32))
    told: dict[tuple[str, str], Verdict] = {}
    held = None
    for row in range(400):
        true = 32.6 + 0.05 * rng.standard_normal(8)
        values = np.round(true / 0.01) * 0.01
        values[0] = np.round(true[0] / 0.5) * 0.5
        if row >= 150:
            held = values[7] if held is None else held
            values[7] = held
        watch.take(values, np.full(8, 32.6) + 0.02 * rng.standard_normal(8))
        if row % 12 == 11:
            told = watch.judge()
    assert told == {names[7]: Verdict.STUCK}


def test_the_smallest_step_of_an_instrument_is_that_of_its_own_readings():
    steps = Steps(2)
    for reading in ([20.0, 5.0], [20.5, 5.0], [19.5, np.nan], [20.0, 5.0]):
        found = steps.update(np.array(reading))
    assert found.tolist() == [0.5, 0.0]
