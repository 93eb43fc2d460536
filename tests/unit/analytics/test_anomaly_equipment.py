"""UPSes, air handlers, GPUs, valves, leaks and clocks: each fault is found at its object and named."""

from dataclasses import fields

import numpy as np
import pytest

from analytics.anomaly.air import AirReadings, AirScorer
from analytics.anomaly.gpus import CONFIRM, STILL_LOOKS, GpuTable, GpuWatch
from analytics.anomaly.incidents import Grouping
from analytics.anomaly.residuals import ResidualTrack, Standstill
from analytics.anomaly.sensors import Verdict
from analytics.anomaly.upses import LOSSES, UpsReadings, UpsScorer
from analytics.anomaly.watch import LATE_ROUNDS, FactoryWatch
from benchmarks._watched_plant import Plant
from domain.plant.power import UpsModel
from tests.unit.analytics.anomaly_factory import shipped_site

FAULTS = {
    "rack-trip": ("R010", "switched off"),
    "leak": ("R020", "leak"),
    "crah-trip": ("CRAH-08", "air handler stopped"),
    "gpu-lost": ("R040-T03-G1", "GPU lost"),
    "gpu-ecc": ("R050-T04-G2", "GPU memory"),
    "nvlink-errors": ("R060-T05-G3", "NVLink"),
    "gpu-clock-stuck": ("R070-T06-G0", "clock or power cap"),
    "straggler": ("R080", "uneven work"),
    "ups-input-loss": ("UPS-B6", "supply lost or sagging"),
}


def test_each_of_many_faults_at_once_is_an_incident_of_its_own_with_the_right_name():
    site = shipped_site()
    plant, watch = Plant(site, 11), FactoryWatch(site)
    watch.rewire(plant.equipment, Grouping.of(plant.topology()))
    told: dict[str, str] = {}
    for n in range(75):
        if n == 30:
            for name, (target, _) in FAULTS.items():
                plant.factory.raise_fault(name, target, severity=1.0)
        plant.factory.step(20.0)
        opened = watch.update(plant.factory.time_ms, plant.read(), 20.0)
        assert not opened or n > 30
        told |= {i.cause.root: i.cause.fault for i in opened}
    assert {target: told.get(target) for target, _ in FAULTS.values()} == dict(FAULTS.values())


def upses(n: int = 12, losses: float = 1.0, capacity: float = 1.0, sick: int = 4) -> UpsReadings:
    load = np.full(n, 1.2e6)
    factor, health = np.ones(n), np.ones(n)
    factor[sick], health[sick] = losses, capacity
    lost = 0.03 * load * factor
    return UpsReadings(load + lost, load, np.full(n, 240.0), np.ones(n), np.round(600 * health / 60) * 60)


@pytest.mark.parametrize(("change", "signal"), [({"losses": 1.6}, 0), ({"capacity": 0.5}, 1)])
def test_a_ups_with_more_losses_or_less_battery_than_the_others_is_found(change, signal):
    scorer = UpsScorer([f"UPS{i}" for i in range(12)])
    for _ in range(40):
        healthy = scorer.update(upses())
    assert np.nanmax(healthy) < 0.5
    for _ in range(30):
        score = scorer.update(upses(**change))
    assert score[4, signal] > 1
    score[4, signal] = 0
    assert np.nanmax(score) < 1


def test_a_ups_that_charges_is_not_blamed_for_its_losses():
    scorer = UpsScorer([f"UPS{i}" for i in range(12)])
    for _ in range(40):
        scorer.update(upses())
    charging = upses(losses=3.0)
    charging.charge[4] = 0.6
    for _ in range(30):
        score = scorer.update(charging)
    assert score[4, 0] < 1


def test_a_clogged_air_handler_and_one_that_stopped_are_told_apart():
    scorer = AirScorer([f"CRAH-{i}" for i in range(8)])
    fan = np.full(8, 0.6)
    well = AirReadings(fan, 5000 * fan, 60 * fan**2)
    for _ in range(40):
        scorer.update(well)
    for _ in range(30):
        health, turning = np.ones(8), fan.copy()
        health[2], turning[5] = 0.7, 0.0
        score = scorer.update(AirReadings(turning, 5000 * turning * health, 60 * turning**2 / health**2))
    assert (score[2, 0] > 1, score[2, 1] > 1, score[2, 2] > 1) == (True, True, False)
    assert score[5, 2] > 1
    assert np.nanmax(score[[0, 1, 3, 4, 6, 7]]) < 1


def only(temperature: np.ndarray, power: np.ndarray) -> GpuTable:
    """A table of which only temperature and power are known."""
    nothing = np.full(temperature.shape, np.nan)
    return GpuTable(temperature, nothing, power, *[nothing] * (len(fields(GpuTable)) - 3))


def gpu_table(rng: np.random.Generator, looks: int) -> list[GpuTable]:
    power = rng.uniform(700, 1000, (2, 1)) * rng.normal(1, 0.02, (looks, 2, 72))
    heat = np.round(38 + 0.028 * power + rng.normal(0, 0.4, power.shape))
    return [only(h, p) for h, p in zip(heat, power, strict=True)]


def test_a_gpu_temperature_that_stands_still_while_its_neighbours_move_is_stuck():
    rng = np.random.default_rng(0)
    watch, ids = GpuWatch((2, 72)), [[f"R{r}-T{g // 4:02d}-G{g % 4}" for g in range(72)] for r in range(2)]
    for table in gpu_table(rng, STILL_LOOKS + CONFIRM + 1):
        table.temperature[1, 7] = 64.0
        watch.update(table, np.full(2, 38.0), 30.0)
    assert watch.faulty(ids) == {("R1-T01-G3", "GpuTemperature"): Verdict.STUCK}
    assert watch.expected.reshape(2, 72)[1, 7] == pytest.approx(38 + 0.028 * table.power[1, 7], abs=1.0)


def test_what_stands_still_is_measured_by_how_far_it_should_have_moved():
    still = Standstill(2, 0.5)
    for wanted in (0.0, 1.0, 3.0, 2.0):
        span = still.update(np.array([10.0, wanted]), np.full(2, wanted))
    assert span.tolist() == [3.0, 0.0]
    assert np.isnan(still.update(np.array([np.nan, 1.0]), np.full(2, 5.0))[0])
    assert still.update(np.array([11.0, 1.0]), np.full(2, 5.0)).tolist() == [0.0, 0.0]


def test_a_single_wild_residual_is_none():
    track = ResidualTrack(np.array([[1.0]]), 1, smoothing=20.0, memory=3600.0, natural=np.array([[2.0]]))
    values = [0.0] * 40 + [50.0] + [0.0] * 20
    assert max(float(track.update(np.array([[v]]), 0.0, 10.0)[0, 0]) for v in values) == 0.0
    assert float(track.update(np.array([[50.0]]), 0.0, 10.0)[0, 0]) == 0.0
    assert float(track.update(np.array([[50.0]]), 0.0, 10.0)[0, 0]) > 1.0


def test_a_clock_that_is_minutes_off_is_told_and_a_late_backlog_is_not():
    site = shipped_site()
    plant, watch = Plant(site, 12), FactoryWatch(site)
    watch.rewire(plant.equipment, Grouping.of(plant.topology()))
    plant.factory.raise_fault("sensor-clock", "R033")
    for n in range(LATE_ROUNDS + 15):
        plant.factory.step(20.0)
        readings = plant.read()
        readings.late[5] = 600.0 if n < LATE_ROUNDS - 5 else 0.0
        watch.update(plant.factory.time_ms, readings, 20.0)
    assert watch.faulty == {("R033", "clock"): Verdict.WRONG_CLOCK}
    assert np.isnan(list(watch.estimates().values())).all()


def day_of_upses(scorer, shares, hours=12.0, factor=1.0):
    """Let twelve like UPSes carry these shares of their rating; the losses of the first are `factor` of theirs."""
    rng = np.random.default_rng(5)
    rating, model, worst = 2.4e6, UpsModel(), 0.0
    for _ in range(int(hours * 120)):
        load = rating * shares * rng.uniform(0.97, 1.0, 12)
        lost = model.loss(load, np.full(12, rating))
        lost[0] *= factor
        now = UpsReadings(load + lost, load, np.full(12, 480.0), np.ones(12), 300.0 * rating / load)
        worst = max(worst, float(np.nan_to_num(scorer.update(now, 30.0)[:, LOSSES]).max()))
    return worst


def test_a_healthy_ups_whose_pods_are_idle_while_the_others_work_is_not_blamed_for_its_losses():
    scorer = UpsScorer([f"U{i}" for i in range(12)])
    busy = np.linspace(0.42, 0.48, 12)
    assert day_of_upses(scorer, busy) < 0.5
    assert day_of_upses(scorer, np.where(np.arange(12) == 2, 0.09, busy), hours=1.0) < 0.5
    assert day_of_upses(scorer, np.where(np.arange(12) < 6, 0.09, busy), hours=1.0) < 0.5


def test_losses_that_grow_are_found_at_whatever_load():
    for share in (0.12, 0.45):
        scorer = UpsScorer([f"U{i}" for i in range(12)])
        assert day_of_upses(scorer, np.linspace(0.1, 0.48, 12)) < 0.5
        shares = np.linspace(0.1, 0.48, 12)
        shares[0] = share
        assert day_of_upses(scorer, shares, hours=1.0, factor=1.5) > 1.0
