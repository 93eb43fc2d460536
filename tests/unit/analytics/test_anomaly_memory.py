"""What the watch has learnt survives a restart, and only on the plant that it was learnt on."""

import json

import numpy as np
import pytest

from analytics.anomaly.incidents import Finding, Grouping
from analytics.anomaly.memory import load, save
from analytics.anomaly.watch import FactoryWatch
from benchmarks._watched_plant import Plant
from domain.errors import InputError
from domain.site import Site
from tests.unit.analytics.anomaly_factory import shipped_site

STEP_S = 20.0
MINUTE = 60_000


@pytest.fixture(scope="module")
def site() -> Site:
    return shipped_site()


@pytest.fixture(scope="module")
def plant(site: Site) -> Plant:
    return Plant(site, 7)


def wired(site: Site, plant: Plant) -> FactoryWatch:
    watch = FactoryWatch(site)
    watch.rewire(plant.equipment, Grouping.of(plant.topology()))
    return watch


def follow(watch: FactoryWatch, plant: Plant, rounds: int) -> None:
    for _ in range(rounds):
        plant.factory.step(STEP_S)
        watch.update(plant.factory.time_ms, plant.read(), STEP_S)


@pytest.fixture(scope="module")
def learnt(site: Site, plant: Plant) -> FactoryWatch:
    watch = wired(site, plant)
    follow(watch, plant, 40)
    plant.factory.raise_fault("cdu-setpoint-shift", "P03-CDU1", severity=1.0)
    follow(watch, plant, 30)
    assert [i.cause.root for i in watch.book.open] == ["P03-CDU1"]
    return watch


def test_after_a_restart_the_next_round_scores_as_if_nothing_had_happened(site, plant, learnt, tmp_path):
    now = plant.factory.time_ms
    save(learnt, now, tmp_path / "watch.npz")
    again = wired(site, plant)
    assert load(again, now + 5_000, tmp_path / "watch.npz") == 5_000
    readings = plant.read()
    learnt.update(now + 20_000, readings, STEP_S)
    again.update(now + 20_000, readings, STEP_S)
    assert again.warm
    np.testing.assert_array_equal(again.rack_scores.contributions, learnt.rack_scores.contributions)
    np.testing.assert_array_equal(again.cdu_scores.contributions, learnt.cdu_scores.contributions)
    assert again.book.open == learnt.book.open
    assert again.faulty == learnt.faulty


def test_an_incident_that_was_over_before_a_restart_comes_back_as_the_same(site, plant, tmp_path):
    before, again = wired(site, plant), wired(site, plant)
    signs = [Finding("R013", {"coolant flow": 3.0, "coolant rise": 2.0})]
    for minute, found in ((0, signs), (1, signs), (30, [])):
        before.book.update(minute * MINUTE, found)
    assert before.book.open == []
    save(before, 30 * MINUTE, tmp_path / "watch.npz")
    load(again, 31 * MINUTE, tmp_path / "watch.npz")
    assert again.book.closed == before.book.closed
    again.book.update(40 * MINUTE, signs)
    (same,), _ = again.book.update(41 * MINUTE, signs)
    assert (same.number, same.opened, same.returned) == (1, MINUTE, [41 * MINUTE])


def test_after_a_long_pause_what_was_learnt_holds_and_the_present_begins_anew(site, plant, learnt, tmp_path):
    now = plant.factory.time_ms
    save(learnt, now, tmp_path / "watch.npz")
    again = wired(site, plant)
    load(again, now + 3_600_000, tmp_path / "watch.npz")
    assert again.warm
    assert again.racks.rise is None
    assert not again.racks.track.smooth.any()
    np.testing.assert_array_equal(again.racks.track.offset, learnt.racks.track.offset)


def test_what_was_learnt_elsewhere_or_by_another_version_is_refused(site, plant, learnt, tmp_path):
    file = tmp_path / "watch.npz"
    save(learnt, 1_000, file)
    bare = FactoryWatch(site)
    with pytest.raises(InputError, match="another plant"):
        load(bare, 2_000, file)
    with pytest.raises(InputError, match="days old"):
        load(wired(site, plant), 30 * 86_400_000, file)
    with np.load(file) as kept:
        arrays = dict(kept)
    header = json.loads(arrays["header"].tobytes()) | {"version": 0}
    arrays["header"] = np.frombuffer(json.dumps(header).encode(), np.uint8)
    np.savez(file, **arrays)
    with pytest.raises(InputError, match="another version"):
        load(wired(site, plant), 2_000, file)


def test_a_damaged_file_is_refused_and_leaves_the_watch_as_it_was(site, plant, learnt, tmp_path):
    file = tmp_path / "watch.npz"
    save(learnt, 1_000, file)
    file.write_bytes(file.read_bytes()[:-200])
    fresh = wired(site, plant)
    with pytest.raises(InputError, match="cannot be used"):
        load(fresh, 2_000, file)
    assert not fresh.warm
