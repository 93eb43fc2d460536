"""Clocks that are off, stepped and drifting, and values from the past: what is newest stays true."""

import logging

import numpy as np
import pytest

from domain.batch import Batch
from domain.points import Point, PointRegistry
from domain.site import Site
from storage.clocks import HELD_MS, Clocks
from storage.latest import LatestValues
from storage.plant import PlantView

T = 1_790_000_000_000
SECOND, MINUTE = 1000, 60_000
SITE = Site.model_validate(
    {
        "id": "lab",
        "name": "Lab",
        "limit": "1 MW",
        "installed": "2 MW",
        "rack_limit": "150 kW",
        "pods": [{"id": "P1", "racks": ["R0", "R1"], "row": 1}],
    }
)


class Plant:
    """Two sources that tell three points each every two seconds, as their clocks say."""

    def __init__(self, **settings):
        self.registry = PointRegistry(
            Point(f"Rack/RackPower/{source}/{n}", "Rack", "RackPower", f"R{n}", unit="W", source=source)
            for source in ("dsx:bms", "snmp:pdu")
            for n in range(3)
        )
        self.latest = LatestValues(self.registry)
        self.clocks = Clocks(self.registry, self.latest, **settings)
        self.now = T

    def tell(self, points, ahead=0, value=None, late=False):
        points = np.asarray(points, np.int32)
        batch = Batch(
            points,
            self.now + np.broadcast_to(np.asarray(ahead, np.int64), len(points)),
            np.full(len(points), float(self.now if value is None else value)),
            np.ones(len(points), np.uint8),
            self.now,
            np.ones(len(points), bool) if late else None,
        )
        received = np.full(len(points), self.now)
        batch = self.clocks.adjusted(batch)
        self.clocks.look(batch, received)
        self.clocks.take_in(batch, received)
        return batch, received

    def run(self, seconds, ahead=0, points=(0, 1, 2), every=2):
        for _ in range(0, seconds, every):
            self.tell(points, ahead)
            self.now += every * SECOND
            self.clocks.release(self.now)


@pytest.mark.parametrize("ahead", [0, 7 * MINUTE, -7 * MINUTE, 290 * SECOND])
def test_a_clock_that_is_off_hides_nothing(ahead):
    plant = Plant()
    plant.run(10, ahead)
    plant.tell([1], ahead, value=1)
    assert plant.latest.value[1] == 1
    assert plant.latest.received[1] == plant.now
    assert plant.latest.observed[1] <= plant.now
    assert plant.clocks.clocks["dsx:bms"].offset == pytest.approx(ahead, abs=5)


@pytest.mark.parametrize("behind", [3, 7, 600])
def test_readings_of_a_clock_that_is_behind_are_as_fresh_as_others(behind):
    """A source that is minutes behind must end neither site power nor the watch, which look for fresh readings."""
    plant = Plant()
    view = PlantView(SITE, plant.registry, plant.latest, None, lambda: plant.now)
    plant.run(20, -behind * MINUTE, [0])
    plant.run(4, 0, [1])
    fresh = plant.now - 150 * SECOND
    assert np.isfinite(view.values(np.arange(2, dtype=np.int32), fresh)).all()
    assert view.power_now("R0").observed >= plant.now - 6 * SECOND
    plant.run(200, 0, [1])  # and silent is silent
    assert np.isnan(view.values(np.arange(2, dtype=np.int32), plant.now - 150 * SECOND)[0])


def test_what_somebody_kept_is_as_old_as_it_says_whatever_the_clock():
    plant = Plant()
    plant.run(20, -3 * MINUTE)
    plant.tell([1], -20 * MINUTE, late=True)
    plant.registry.register(Point("Rack/RackFlow/new", "Rack", "RackLiquidFlow", "R9", source="dsx:bms"))
    plant.tell([6], -20 * MINUTE, late=True)
    seen = plant.latest.at(np.array([1, 6], np.int32)).seen
    assert seen[0] >= plant.now - 4 * SECOND
    assert seen[1] == plant.now - 20 * MINUTE


@pytest.mark.parametrize("ahead", [0, 7 * MINUTE, -7 * MINUTE])
@pytest.mark.parametrize("step", [-4 * MINUTE, -10 * SECOND, 4 * MINUTE])
def test_a_stepped_clock_hides_nothing_for_longer_than_its_next_readings(ahead, step, caplog):
    plant = Plant()
    plant.run(20, ahead)
    plant.run(4, ahead + step)
    plant.tell([1], ahead + step, value=1)
    assert plant.latest.value[1] == 1
    clock = plant.clocks.clocks["dsx:bms"]
    assert clock.steps == 1
    assert clock.offset == pytest.approx(ahead + step, abs=5)
    assert f"stepped by {step / 1000:+.1f} s" in caplog.text


def test_a_single_reading_after_a_step_back_counts_after_a_moment_where_nothing_newer_comes():
    """A leak told on change, by a source that tells nothing else."""
    plant = Plant()
    plant.run(20)
    plant.tell([1], -4 * MINUTE, value=1)
    assert plant.latest.value[1] != 1
    plant.now += HELD_MS
    plant.clocks.release(plant.now)
    assert plant.latest.value[1] == 1


def test_what_was_told_once_with_the_step_counts_when_the_others_show_the_step():
    plant = Plant()
    plant.run(20)
    plant.tell([0, 1, 2], -4 * MINUTE, value=1)
    plant.now += 2 * SECOND
    plant.tell([0, 2], -4 * MINUTE, value=2)
    assert plant.latest.value[:3].tolist() == [2, 1, 2]


def test_old_values_after_a_reconnect_never_go_back_while_the_source_is_live():
    plant = Plant()
    plant.run(20)
    plant.tell([0, 1, 2], 0, value=5)
    for minutes in range(15, 0, -1):
        plant.tell([0, 1, 2], -minutes * MINUTE, value=1)
        plant.now += 20
    plant.tell([0], 0, value=5)
    plant.now += 2 * SECOND
    plant.tell([0], 0, value=5)
    plant.now += HELD_MS
    plant.clocks.release(plant.now)
    assert plant.latest.value[:3].tolist() == [5, 5, 5]
    assert plant.clocks.clocks["dsx:bms"].steps == 0


def test_a_snapshot_of_one_past_time_told_over_seconds_is_no_step():
    plant = Plant()
    plant.run(20)
    plant.tell([0, 1, 2], 0, value=5)
    for n in range(6):
        plant.tell([n % 3], -15 * MINUTE - n * 500, value=1)
        plant.tell([4], 0)
        plant.now += 500
    plant.tell([0], 0, value=5)
    plant.now += HELD_MS
    plant.clocks.release(plant.now)
    assert plant.latest.value[:3].tolist() == [5, 5, 5]
    assert plant.clocks.clocks["dsx:bms"].steps == 0


def test_what_somebody_kept_on_its_way_is_news_only_where_nothing_newer_is_known():
    plant = Plant()
    plant.run(20)
    plant.tell([0], 0, value=5)
    plant.tell([0], -MINUTE, value=1, late=True)
    plant.now += HELD_MS
    plant.clocks.release(plant.now)
    assert plant.latest.value[0] == 5
    plant.tell([0], -SECOND, value=6, late=True)
    assert plant.latest.value[0] == 6
    plant.tell([4], -30 * MINUTE, value=7, late=True)
    assert plant.latest.value[4] == 7


def test_one_wild_reading_ahead_hides_nothing_and_is_no_step():
    plant = Plant()
    plant.run(20)
    plant.tell([1], 290 * SECOND, value=999)
    plant.tell([1], 0, value=2)
    assert plant.latest.value[1] == 2
    plant.run(10)
    assert plant.clocks.clocks["dsx:bms"].steps == 0


def test_a_drifting_clock_is_followed_and_its_drift_told():
    plant = Plant()
    for second in range(0, 300, 2):
        plant.tell([0, 1, 2], ahead=second * 1000 // 60)
        plant.now += 2 * SECOND
    clock = plant.clocks.stats()["off"]["dsx:bms"]
    assert clock["drift_s_per_minute"] == pytest.approx(1.0, abs=0.2)
    assert clock["offset_s"] == pytest.approx(5, abs=1)
    assert clock["steps"] == 0


def test_a_little_disorder_stays_out_and_is_no_step():
    plant = Plant()
    plant.run(20)
    plant.tell([0], 0, value=5)
    plant.tell([0], -1500, value=1)
    plant.now += HELD_MS
    plant.clocks.release(plant.now)
    assert plant.latest.value[0] == 5


def test_times_ahead_are_corrected_by_the_clock_and_keep_their_distances():
    plant = Plant()
    plant.run(20, 7 * MINUTE)
    points = np.array([0, 0, 0], np.int32)
    observed = plant.now + 7 * MINUTE + np.array([-500, -250, 0])
    received = np.full(3, plant.now)
    batch = Batch(points, observed, np.ones(3), np.ones(3, np.uint8), plant.now)
    corrected = plant.clocks.corrected_times(batch, received, np.ones(3, bool))
    assert np.diff(corrected).tolist() == [250, 250]
    assert np.all(np.abs(corrected - plant.now) <= 2 * SECOND)
    wild = Batch(points[:1], plant.now + np.array([10**15]), np.ones(1), np.ones(1, np.uint8), plant.now)
    assert plant.clocks.corrected_times(wild, received[:1], np.ones(1, bool)).tolist() == [plant.now]


def test_a_device_that_fell_silent_is_told_to_have_no_clock_that_is_off():
    plant = Plant()
    for minute in range(1, 6):  # what the broker kept of it comes with the time at which it was told
        plant.tell([0], ahead=-minute * MINUTE)
        plant.now += MINUTE
    assert plant.clocks.stats()["off"] == {}


def test_a_setting_corrects_what_a_source_tells():
    plant = Plant(offsets={"dsx:*": 420.0})
    batch, _ = plant.tell([0, 4], [7 * MINUTE, 0])
    assert batch.observed.tolist() == [T, T]
    assert plant.clocks.stats()["off"] == {}


def test_our_own_clock_is_suspected_when_sources_of_different_kinds_agree():
    plant = Plant()
    registry = plant.registry
    tray = registry.register(Point("t", "GPU", "GpuPower", "G", unit="W", source="tray:R001-T01"))
    for _ in range(5):
        plant.tell([0, 1, 2, 3, 4, tray], 10 * MINUTE)
        plant.now += 2 * SECOND
    assert plant.clocks.stats()["our_own_off_s"] == pytest.approx(-600, abs=1)


def test_a_clock_that_is_far_off_is_told_once_in_the_log(caplog):
    caplog.set_level(logging.WARNING)
    plant = Plant()
    plant.run(20, 7 * MINUTE)
    assert caplog.text.count("the clock of dsx:bms is 420.0 s ahead of ours") == 1


def test_a_flood_of_old_readings_is_quick_and_bounded():
    registry = PointRegistry(
        Point(str(n), "GPU", "GpuPower", str(n), unit="W", source=f"tray:{n // 100}") for n in range(50_000)
    )
    latest = LatestValues(registry)
    clocks = Clocks(registry, latest)
    points = np.arange(50_000, dtype=np.int32)
    for second in range(3):
        for old in (0, 20 * MINUTE):
            at = T + second * SECOND
            received = np.full(50_000, at)
            batch = Batch(points, received - old, np.ones(50_000), np.ones(50_000, np.uint8), at)
            clocks.look(batch, received)
            clocks.take_in(batch, received)
    assert clocks.waiting <= 20_000
    assert latest.observed[:50_000].min() == T + 2 * SECOND


def test_a_reading_far_ahead_of_what_its_source_tells_waits_and_is_not_corrected():
    plant = Plant()
    plant.run(20)
    plant.tell([1], value=5)
    ahead = Batch.of([1], plant.now + 60 * MINUTE, [999.0], received=plant.now)
    received = np.array([plant.now])
    assert plant.clocks.wild(ahead, received, np.array([True])).tolist() == [True]
    plant.clocks.doubt(ahead, received)
    assert plant.latest.value[1] == 5
    plant.run(6)
    assert plant.latest.value[1] != 999


def test_a_leak_told_with_a_step_ahead_waits_for_the_step_to_be_confirmed_only():
    plant = Plant()
    plant.run(20)
    leak = Batch.of([1], plant.now + 7 * MINUTE, [1.0], received=plant.now)
    plant.clocks.look(leak, np.array([plant.now]))
    plant.clocks.doubt(leak, np.array([plant.now]))
    plant.now += 2 * SECOND
    plant.tell([0, 2], 7 * MINUTE)
    assert plant.latest.value[1] == 1
    assert plant.latest.observed[1] <= plant.now
