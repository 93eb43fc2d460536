"""Coarse gauges, small loads, gaps, controllers that are late, parts that differ: none of it is a fault."""

import copy
from dataclasses import replace

import numpy as np
import pytest

from analytics.anomaly.cdus import FILTER, CduScorer
from analytics.anomaly.instruments import LEARN_ROWS, ROWS, InstrumentWatch
from analytics.anomaly.racks import FLOW, STILL, RackReadings, RackScorer
from analytics.anomaly.residuals import Standstill
from analytics.anomaly.sensors import Verdict
from analytics.anomaly.taps import SHARE, TapScorer
from analytics.anomaly.upses import LOSSES, UpsReadings, UpsScorer
from domain.plant.power import UpsModel
from tests.unit.analytics import test_anomaly_cdus as cdus
from tests.unit.analytics import test_anomaly_taps as taps
from tests.unit.analytics.anomaly_factory import site_layout


def racks_at(load: np.ndarray, flow_share: float = 1.0) -> RackReadings:
    """Eight racks of which the first is set to another flow; its valve is nearly fully open at full load."""
    power = 130e3 * load
    share = np.where(np.arange(8) == 0, flow_share, 1.0)
    valve = 0.95 + np.log(load) / np.log(30.0)
    rise = 0.95 * power / (66.3 * 1.18e-3 * power * share)
    flat = np.ones(8)
    return RackReadings(
        power, 32.0 * flat, 32.0 + rise, 1.18e-3 * power * share, 80e3 * flat, 60.0 * flat, 1e3 * load,
        valve, 0.0 * flat,
    )  # fmt: skip


def test_what_a_rack_reads_while_its_valve_is_fully_open_says_nothing_of_its_nature():
    scorer = RackScorer([f"R{i}" for i in range(8)], np.zeros(8, np.int32))
    for n in range(240):
        scorer.update(racks_at(np.full(8, 1.0 if n < 120 else 0.8), flow_share=0.85))
    assert scorer.track.offset[FLOW, 0] == pytest.approx(np.log(0.85), abs=0.03)
    for _ in range(60):
        scores = scorer.update(racks_at(np.full(8, 0.6), flow_share=0.85))
    assert scores.contributions[0, FLOW] < 0.3


def test_a_valve_that_moved_while_the_power_was_not_told_has_not_stood_still():
    scorer = RackScorer([f"R{i}" for i in range(8)], np.zeros(8, np.int32))
    worst = 0.0
    for n in range(120):
        now = racks_at(np.full(8, 0.5 if n < 60 else 0.9))
        if n == 60:
            now.power[3] = np.nan
        worst = max(worst, float(np.nan_to_num(scorer.update(now, 60.0).contributions[3, STILL])))
    assert worst < 0.5


def test_what_follows_late_is_given_its_time():
    still = Standstill(1, 0.5, patience=60.0)
    spans = [float(still.update(np.array([10.0]), np.array([w]), 20.0)[0]) for w in (0.0, 3.0, 3.0, 3.0, 3.0)]
    assert spans == [0.0, 0.0, 0.0, 3.0, 3.0]


def test_a_coarse_filter_gauge_says_little_while_there_is_but_a_trickle():
    factory = cdus.CduFactory(site_layout(), seed=4)
    factory.level[:] = 0.9
    factory.state = factory.plant.settle(factory._power(), factory.conditions)
    scorer = CduScorer(factory.layout.cdus, factory.layout.cdu_pod)
    worst = 0.0
    for n in range(500):
        full = factory.readings()
        share = 1.0 if n < 300 else 0.3
        gauge = full.filter_dp * share**2 + factory.rng.normal(0, 150.0, len(full.flow))
        now = replace(
            full, flow=full.flow * share, filter_dp=np.maximum(gauge, 10.0), speed=full.speed * share
        )
        worst = max(worst, float(np.nan_to_num(scorer.update(now).contributions[:, FILTER]).max()))
    assert worst < 0.8


def test_meters_that_tell_whole_kilowatts_say_nothing_of_the_share_of_a_small_load():
    rng = np.random.default_rng(6)
    scorer = TapScorer([f"T{i}" for i in range(16)], taps.RACK, taps.SIDE)
    worst = 0.0
    for n in range(240):
        now = taps.readings(rng)
        scale = 1.0 if n < 120 else 0.12
        now = replace(
            now,
            power=np.round(now.power * scale, -3),
            rack_power=np.round(now.rack_power * scale, -3),
            phases=now.phases * scale,
        )
        worst = max(worst, float(np.nan_to_num(scorer.update(now)[:, SHARE]).max()))
    assert worst < 0.5


def test_the_uneven_taps_of_a_rack_that_comes_into_service_later_are_its_nature():
    rng = np.random.default_rng(7)
    scorer = TapScorer([f"T{i}" for i in range(16)], taps.RACK, taps.SIDE)
    worst = 0.0
    for n in range(400):
        now = taps.readings(rng)
        now.power[14], now.power[15] = 0.62 * now.rack_power[14], 0.38 * now.rack_power[14]
        if n < 200:
            now.power[14:] = now.rack_power[14:] = np.nan
        worst = max(worst, float(np.nan_to_num(scorer.update(now)[14:, SHARE]).max()))
    assert worst < 0.5


def test_upses_that_differ_from_each_other_are_less_sure_of_a_load_that_they_have_not_carried():
    rng = np.random.default_rng(8)
    rating, model = 2.4e6, UpsModel()
    factor = np.exp(0.16 * rng.standard_normal(12))
    scorer = UpsScorer([f"U{i}" for i in range(12)])
    worst = 0.0
    for n in range(24 * 60):
        shares = np.linspace(0.42, 0.48, 12)
        if n > 23 * 60:
            shares[2] = shares[8] = 0.16
        load = rating * shares * rng.uniform(0.97, 1.0, 12)
        lost = factor * model.loss(load, np.full(12, rating))
        lost[[2, 8]] += 8e3  # these two lose more of what does not follow the load
        now = UpsReadings(load + lost, load, np.full(12, 480.0), np.ones(12), 300.0 * rating / load)
        worst = max(worst, float(np.nan_to_num(scorer.update(now, 60.0)[:, LOSSES]).max()))
    assert worst < 1.0


def flow_meters() -> InstrumentWatch:
    return InstrumentWatch([(f"R{i}", "flow") for i in range(3)], np.full(3, 10.0), np.zeros(3, np.int32))


def judged(watch: InstrumentWatch, values: np.ndarray, expected: np.ndarray) -> list[dict]:
    found = []
    for row, due in zip(values, expected, strict=True):
        watch.take(row, due)
        found.append(watch.judge() if watch._rows >= LEARN_ROWS else {})
    return found


def test_a_meter_that_spikes_now_and_then_is_not_trusted_between_its_spikes():
    rng = np.random.default_rng(9)
    values = 100.0 + rng.normal(0, 0.2, (LEARN_ROWS + 260, 3))
    spikes = LEARN_ROWS + np.array([5, 15, 25, 70, 120])
    values[spikes, 1] += 60.0
    found = judged(flow_meters(), values, np.full(values.shape, 100.0))
    told = [row.get(("R1", "flow")) for row in found]
    first = told.index(Verdict.SPIKING)
    assert LEARN_ROWS + 25 <= first <= LEARN_ROWS + 30
    assert set(told[first : spikes[-1] + ROWS - 5]) == {Verdict.SPIKING}
    assert told[-1] is None


def test_a_meter_that_follows_a_swinging_load_a_moment_late_is_neither_noisy_nor_spiking():
    rng = np.random.default_rng(10)
    calm = np.full((LEARN_ROWS, 3), 100.0)
    swings = np.repeat(rng.choice([60.0, 110.0, 160.0], (100, 1)), 3, axis=1)
    expected = np.concatenate([calm, swings])
    values = expected + rng.normal(0, 0.2, expected.shape)
    values[1:, 1] = 0.5 * (values[1:, 1] + values[:-1, 1])
    assert not any(judged(flow_meters(), values, expected))


def test_a_noisy_meter_is_found_although_its_load_swings():
    rng = np.random.default_rng(11)
    expected = np.repeat(np.repeat(rng.choice([60.0, 110.0, 160.0], 60), 5)[:, None], 3, axis=1)
    values = expected + rng.normal(0, 0.2, expected.shape)
    noisy = copy.copy(values)
    noisy[100:, 2] += rng.normal(0, 15.0, len(values) - 100)
    assert {key for row in judged(flow_meters(), noisy, expected) for key in row} == {("R2", "flow")}


def held(truth: np.ndarray, deadband: float) -> np.ndarray:
    """Return what a controller tells of each column: the last value until the truth is a deadband away from it."""
    told = truth.copy()
    for i in range(1, len(told)):
        told[i] = np.where(np.abs(truth[i] - told[i - 1]) < deadband, told[i - 1], truth[i])
    return told


def test_a_lively_value_that_is_held_within_its_deadband_while_the_load_stands_is_not_stuck():
    swings = np.resize([98.0, 102.0, 99.0, 101.0, 100.0], (100, 1))
    stands = swings[-1] + 0.4 * np.sin(np.arange(200) / 40.0)[:, None]
    expected = np.repeat(np.concatenate([swings, stands]), 3, axis=1)
    values = expected.copy()
    values[:, 1] = held(expected, 1.5)[:, 1]
    assert (np.diff(values[150:, 1]) == 0).all()
    assert not any(judged(flow_meters(), values, expected))


def test_the_same_value_is_stuck_once_its_load_has_moved_by_far_more_than_it_ever_stood_through():
    swings = np.resize([98.0, 102.0, 99.0, 101.0, 100.0], (100, 1))
    expected = np.repeat(np.concatenate([swings, swings[-1] + 0.04 * np.arange(200)[:, None]]), 3, axis=1)
    values = held(expected, 0.5)
    values[100:, 1] = values[99, 1]
    found = judged(flow_meters(), values, expected)
    assert found[-1] == {("R1", "flow"): Verdict.STUCK}
    assert all(set(row) <= {("R1", "flow")} for row in found)


def untold(now: RackReadings, rack: int = 0) -> RackReadings:
    """Take the position of a rack's valve away."""
    now.valve[rack] = np.nan
    return now


def spent_flow(now: RackReadings, most: float) -> RackReadings:
    """Let the first rack's valve give no more than so many L/min."""
    flow = np.minimum(now.flow, np.where(np.arange(8) == 0, most, np.inf))
    return replace(now, flow=flow, ret=now.supply + 0.95 * now.power / (66.3 * flow))


def test_a_valve_that_tells_no_position_is_known_to_be_fully_open_by_the_most_that_it_ever_let_through():
    scorer = RackScorer([f"R{i}" for i in range(8)], np.zeros(8, np.int32))
    worst = 0.0
    for n in range(600):
        load = 0.6 + 0.4 * min(1.0, max(0.0, (n % 200 - 60) / 30))
        scores = scorer.update(untold(spent_flow(racks_at(np.full(8, load)), 118.0)))
        worst = max(worst, float(np.nan_to_num(scores.contributions[0, FLOW])))
    assert worst < 1.0  # it lacks a quarter of the flow at full load
    for _ in range(60):
        scores = scorer.update(untold(spent_flow(racks_at(np.full(8, 0.9)), 100.0)))
    assert scores.contributions[0, FLOW] > 1.0  # a blockage


def test_a_valve_at_its_end_of_which_the_instrument_reads_too_little_does_not_stand_still():
    scorer = RackScorer([f"R{i}" for i in range(8)], np.zeros(8, np.int32))
    worst = 0.0
    for n in range(600):
        now = spent_flow(racks_at(np.full(8, 0.6 if n < 100 else 0.8 + 0.2 * (n // 100 % 2))), 100.0)
        now.valve[0] = min(now.valve[0], 0.95) if n < 100 else 0.95
        worst = max(worst, float(np.nan_to_num(scorer.update(now).contributions[0, [FLOW, STILL]]).max()))
    assert worst < 1.0
    for _ in range(60):  # and stays where it is when the load falls
        now = spent_flow(racks_at(np.full(8, 0.45)), 100.0)
        now.flow[0], now.valve[0] = 100.0, 0.95
        scores = scorer.update(now)
    assert scores.contributions[0, FLOW] > 1.0


def test_what_could_not_be_seen_when_it_was_accepted_is_usual_once_it_shows():
    scorer = RackScorer([f"R{i}" for i in range(8)], np.zeros(8, np.int32))
    for _ in range(60):
        scorer.update(racks_at(np.full(8, 0.7)))
    for n in range(60):  # another meter, while the valve is wide open
        now = spent_flow(racks_at(np.full(8, 1.0)), 100.0)
        now.flow[0] *= 0.85
        scorer.update(now)
        if n == 30:
            scorer.accept(0)
    worst = 0.0
    for _ in range(120):
        now = racks_at(np.full(8, 0.7))
        now.flow[0] *= 0.85
        worst = max(worst, float(scorer.update(now).contributions[0, FLOW]))
    assert worst < 1.0
    assert scorer.track.offset[FLOW, 0] == pytest.approx(np.log(0.85), abs=0.03)


def watched_valve(step: float, sticks: bool) -> float:
    """Worst standstill, after the load has wandered for an hour and then drifts by 6 %, of a valve told in steps."""
    scorer = RackScorer([f"R{i}" for i in range(8)], np.zeros(8, np.int32))
    worst, stuck_at = 0.0, np.nan
    for n in range(600):
        now = racks_at(np.full(8, 0.8 * (1.0 + 0.02 * np.sin(n / 5.0) + 0.06 * max(n - 360, 0) / 240)))
        told = np.round(now.valve[3] / step) * step
        stuck_at = told if n == 360 else stuck_at
        now.valve[3] = stuck_at if sticks and n >= 360 else told
        scores = scorer.update(now)
        worst = max(worst, float(np.nan_to_num(scores.contributions[3, STILL])))
    return worst


def test_a_valve_that_has_followed_small_moves_of_the_load_is_known_to_stick_by_small_ones():
    assert watched_valve(0.001, sticks=True) > 1.0
    assert watched_valve(0.001, sticks=False) < 0.5


def test_of_a_valve_that_is_told_in_coarse_steps_small_moves_say_nothing():
    assert watched_valve(0.01, sticks=False) < 0.7


def test_what_was_taken_for_stuck_and_moves_may_stand_longer_but_not_for_ever():
    still = Standstill(1, 0.5)
    for n in range(60):  # follows within one
        still.update(np.array([float(n // 2)]), np.array([n / 2.0]))
    assert still.through[0] == 0.5
    assert still.sharpness(6.0, 1.0)[0] == pytest.approx(2.4)  # two and a half of its own steps
    for wanted in (30.0, 60.0):
        still.update(np.array([29.0]), np.array([wanted]))
    still.update(np.array([60.0]), np.array([60.0]))
    assert still.through[0] == 1.5  # three times as much, not thirty


def test_a_valve_that_stands_below_what_it_has_reached_before_is_not_at_its_end():
    still = Standstill(1, 0.0025)
    for reading in (0.5, 0.97, 0.5, 0.94, 0.94):  # once is a wild reading
        still.update(np.array([reading]), np.array([reading]))
    assert not still.free(np.array([0.93]), (0.06, 0.92))[0]
    for reading in (0.98, 0.98, 0.975, 0.94):
        still.update(np.array([reading]), np.array([reading]))
    assert still.free(np.array([0.93]), (0.06, 0.92))[0]
    assert not still.free(np.array([0.97]), (0.06, 0.92))[0]
    still.accept(0)  # another valve
    assert not still.free(np.array([0.93]), (0.06, 0.92))[0]


def test_what_builds_up_while_a_valve_stands_still_does_not_lift_its_own_limit():
    scorer = RackScorer([f"R{i}" for i in range(8)], np.zeros(8, np.int32))
    for n in range(720):  # the load drifts by 12 % within two hours
        now = racks_at(np.full(8, 0.8 * (1.0 + 0.12 * n / 720)))
        now.valve[3] = 0.88
        scores = scorer.update(now)
    assert scores.contributions[3, STILL] > 1.0
