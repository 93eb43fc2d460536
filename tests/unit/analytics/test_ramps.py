"""The largest ramps to expect, from arrays, and from a real store."""

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest

from analytics.issuing.ramps import BACK, RampWatch
from analytics.outlook import ramp_tails
from analytics.outlook import ramps as module
from analytics.outlook.ramps import HOUR_MS, RampBook, largest_changes, planned_shares
from analytics.planned.bookings import Bookings
from domain.batch import Batch
from domain.configuration import validated
from domain.envelope import QUARTER_MS
from domain.planned import PlannedWork
from domain.points import Point, PointRegistry
from domain.site import Site
from storage.ingest import Ingest
from storage.open import open_store
from storage.plant import PlantView
from storage.settings import StorageSettings

NOW = 1_790_000_000_000 // QUARTER_MS * QUARTER_MS
SITE = validated(
    Site,
    {
        "id": "lab", "name": "Lab", "timezone": "Asia/Taipei", "country": "TW", "limit": "200 kW",
        "installed": "300 kW", "idle": "20 kW", "rack_limit": "90 kW",
        "pods": [{"id": "P1", "racks": "R1..2", "row": 1}],
    },
    "site.yaml",
)  # fmt: skip
STEPS = QUARTER_MS // 2000


def test_a_ramp_is_the_largest_change_within_its_window_and_knows_up_from_down():
    power = np.full((1, 2 * STEPS), 100e3)
    power[0, STEPS + 100 :] = 160e3  # at once
    power[0, STEPS + 200 : STEPS + 210] = np.linspace(160e3, 70e3, 10)  # 10 kW in each two seconds
    power[0, STEPS + 210 :] = 70e3
    found = largest_changes(power, STEPS)[0]
    assert found[:, 0] == pytest.approx([60e3, 60e3, 60e3, 60e3])
    assert found[:, 1] == pytest.approx([10e3, 50e3, 90e3, 90e3])


def test_what_came_before_the_quarter_hour_counts_only_as_what_was_changed_from():
    power = np.full((1, 2 * STEPS), 100e3)
    power[0, 10:20] = 900e3
    power[0, STEPS - 1] = 130e3
    found = largest_changes(power, STEPS)[0]
    assert found[0].tolist() == [0, 30e3]
    assert found[-1].tolist() == [0, 800e3]


def test_a_quarter_hour_of_which_too_little_was_measured_tells_no_ramps():
    power = np.full((2, STEPS), 100e3)
    power[0, : STEPS // 2 + 10] = np.nan
    power[1, 100:110] = np.nan
    found = largest_changes(power, STEPS)
    assert np.isnan(found[0]).all()
    assert (found[1] == 0).all()


def test_planned_work_counts_by_the_part_of_a_nodes_racks():
    works = [
        PlannedWork("jobs", "a", ("R1",), NOW + 60_000, NOW + 9 * HOUR_MS, known_since=NOW - HOUR_MS),
        PlannedWork("jobs", "b", ("R1", "R2"), NOW - HOUR_MS, NOW + 30_000, known_since=NOW - 2 * HOUR_MS),
        PlannedWork("jobs", "c", ("R2",), NOW + 2 * HOUR_MS, NOW + 3 * HOUR_MS, known_since=NOW),
    ]
    below = np.array([[True, True, True, True], [True, False, False, False]])
    bookings = Bookings.of(works, ("R1", "R2", "R3", "R4"))
    assert planned_shares(bookings, below, NOW, NOW + HOUR_MS).tolist() == [[0.25, 0.5], [1.0, 1.0]]
    assert not planned_shares(None, below, NOW, NOW + HOUR_MS).any()


def seen(hours, seed=3):
    """A book of two nodes whose hours are calm or lively for a while, as jobs come and go."""
    rng = np.random.default_rng(seed)
    n = 4 * hours
    lively = np.repeat(rng.random(n // 16 + 1) < 0.5, 16)[:n]
    scale = (
        np.where(lively, 300e3, 20e3)[:, None, None, None]
        * np.array([1.0, 2.0, 2.5, 4.0])[None, None, :, None]
    )
    changes = scale * rng.gamma(6.0, 1 / 6.0, (n, 2, 4, 2))
    return changes


def book_of(changes, planned=None, kinds=None):
    """A book that took these quarter hours, without a look back at what came of what it told."""
    n, m = changes.shape[:2]
    planned = np.zeros((n, m, 2)) if planned is None else planned
    empty = RampBook.empty(("a", "b")[:m], kinds or ("UPS",) * m)
    time = NOW + QUARTER_MS * np.arange(n, dtype=np.int64)
    before = replace(
        empty,
        time=time[:-1],
        changes=changes[:-1].astype(np.float32),
        planned=planned[:-1].astype(np.float32),
    )
    return before.take(int(time[-1]), changes[-1], planned[-1])


def test_nine_hours_of_ten_lie_within_the_interval_and_lively_ones_are_told_so():
    whole = seen(240)
    inside, middle, came = [], [], []
    for n in range(400, 950, 7):
        told = book_of(whole[:n]).expected()
        most = whole[n : n + 4].max(axis=0)
        for i, node in enumerate("ab"):
            for k, part in enumerate((told[node].up, told[node].down)):
                inside.append((part[:, 0] <= most[i, :, k]) & (most[i, :, k] <= part[:, 2]))
                middle.append(part[0, 1])
                came.append(most[i, 0, k])
    assert 0.86 < np.mean(inside) < 0.95
    assert np.corrcoef(np.log(middle), np.log(came))[0, 1] > 0.6


def test_a_job_that_repeats_itself_is_told_so_and_not_as_wide_as_all_that_is_like_it():
    rng = np.random.default_rng(7)
    n = 1200
    level = np.repeat(
        np.exp(rng.normal(13.0, 0.25, n // 40)), 40
    )  # each job has its own swings, hour after hour
    changes = np.broadcast_to(level[:, None, None, None], (n, 1, 4, 2)) * rng.uniform(0.98, 1.0, (n, 1, 4, 2))
    told = book_of(changes[:-20]).expected()["a"]
    assert (told.up[:, 0] > 0.75 * level[-21]).all()
    assert (told.up[:, 2] < 1.35 * level[-21]).all()


def test_tails_are_read_further_out_where_more_came_beyond_them_and_further_in_where_less():
    tails = ramp_tails.RampTails.nominal(("UPS", "UPS", "Rack"))
    told = np.broadcast_to(np.array([1e3, 2e3, 3e3], np.float32), (3, 4, 2, 3)).copy()
    came = np.full((3, 4, 2), 2e3, np.float32)
    came[:2, 0, 0], came[:2, 1, 1], came[2] = 9e3, 5e2, np.nan
    for _ in range(4):
        tails = tails.learn(("UPS", "UPS", "Rack"), told, came)
    step = 4 * ramp_tails.RATE
    assert tails.read[0, 0, 0] == pytest.approx([0.05 + 0.05 * step, max(0.05 - 0.95 * step, 0.005)])
    assert tails.read[0, 1, 1] == pytest.approx([max(0.05 - 0.95 * step, 0.005), 0.05 + 0.05 * step])
    assert (tails.read[1] == 0.05).all(), "what was not measured teaches nothing"
    levels = tails.levels(("Rack", "UPS"))
    assert levels[0, 0, 0].tolist() == [0.05, 0.5, 0.95]
    assert levels[1, 0, 0, 2] == 1 - tails.read[0, 0, 0, 1]
    for _ in range(2000):
        tails = tails.learn(("UPS", "UPS", "Rack"), told, came)
    assert (tails.read.min(), tails.read.max()) == (ramp_tails.LEAST, ramp_tails.MOST)


def test_what_was_told_is_compared_with_the_hour_that_came_but_not_over_a_gap():
    changes = seen(48)
    book = RampBook.empty(("a", "b"), ("UPS", "UPS"))
    learned = []
    for i, one in enumerate(changes):
        book = book.take(NOW + (i + (i >= 100)) * QUARTER_MS, one, np.zeros((2, 2)))
        learned.append(book.tails.read.copy())
    moved = [bool((a != b).any()) for a, b in pairwise(learned)]
    # from the second quarter hour on something is told, and an hour later it is known what came
    assert moved.index(True) == 4
    assert not any(moved[99:103])
    assert moved[103]
    assert all(moved[4:99])
    assert (learned[-1] >= ramp_tails.LEAST).all()


def test_plans_tell_of_ramps_that_the_last_hour_did_not_have():
    rng = np.random.default_rng(5)
    n = 1200
    starts = rng.random(n) < 0.1
    changes = 20e3 * rng.gamma(6.0, 1 / 6.0, (n, 1, 4, 2))
    changes[1:][starts[:-1]] += 2e6  # in the quarter hour after the one at whose end it was foreseen
    planned = np.zeros((n, 1, 2))
    planned[:, 0, 0] = [starts[i : i + 4].any() for i in range(n)]
    quiet = next(i for i in range(1000, n) if planned[i - 4 : i + 1].sum() == 0)
    for i, wanted in ((quiet, False), (quiet, True)):
        planned[i, 0, 0] = float(wanted)
        book = book_of(changes[: i + 1], planned[: i + 1])
        assert (book.expected()["a"].up[0, 1] > 1.5e6) == wanted


def test_after_two_quarter_hours_there_is_an_answer_and_it_is_wide():
    told = book_of(seen(48)[:2]).expected()["a"]
    assert (np.diff(told.up, axis=1) > 0).all()
    assert (told.up[:, 2] / told.up[:, 0] > 3).all()
    assert RampBook.empty(("a",), ("Rack",)).expected() == {}
    assert book_of(seen(48)[:1]).expected() == {}


def test_the_book_of_ramps_is_bounded(monkeypatch):
    monkeypatch.setattr(module, "MOST_QUARTERS", 40)
    book = RampBook.empty(("a", "b"), ("UPS", "Rack"))
    for i in range(60):
        book = book.take(i, np.ones((2, 4, 2)), np.zeros((2, 2)))
    assert len(book.time) == 40
    assert len(book.told) == 4
    monkeypatch.setattr(module, "MOST_CELLS", 60)
    assert len(book.take(60, np.ones((2, 4, 2)), np.zeros((2, 2))).time) == 30


@pytest.fixture
async def plant(tmp_path):
    """A store that holds three quarter hours of two racks every two seconds; R1 swings by 20 kW every ten seconds."""
    registry = PointRegistry()
    settings = StorageSettings(path=tmp_path / "store")
    store = open_store(settings, registry)
    ingest = Ingest.open(settings, registry, store)
    times = np.arange(NOW - 3 * QUARTER_MS, NOW, 2000)
    swing = np.where(times // 2000 % 5 == 0, 50e3, 70e3)
    for rack, power in (("R1", swing), ("R2", np.full(len(times), 60e3))):
        point = registry.register(
            Point(f"Rack/RackPower/{rack}", "Rack", "RackPower", rack, unit="W", source="dsx:x")
        )
        early = np.arange(NOW - 20 * QUARTER_MS, NOW - 3 * QUARTER_MS, QUARTER_MS)
        await ingest.accept(
            Batch.of(np.full(len(early), point), early, np.full(len(early), 60e3), received=NOW)
        )
        await ingest.accept(Batch.of(np.full(len(times), point), times, power, received=NOW))
    yield PlantView(SITE, registry, ingest.latest, store)
    await ingest.close()
    store.close()


async def test_ramps_are_read_from_the_store_and_kept_over_a_restart(plant, tmp_path):
    file = tmp_path / "ramps.npz"
    told = RampWatch(plant, file).expected(NOW, None)
    assert set(told) == {"lab", "R1", "R2"}
    assert told["R1"].up[0, 1] == pytest.approx(20e3, rel=0.3)
    assert told["lab"].down[1, 1] == pytest.approx(20e3, rel=0.3)
    assert told["R2"].up.max() < 100
    kept = RampBook.load(file)
    assert kept.time.tolist() == [
        NOW - i * QUARTER_MS for i in (3, 2, 1)
    ]  # quarter-hourly means tell of no seconds
    assert kept.kinds == ("Site", "Rack", "Rack")
    assert len(kept.told) == 3
    again = RampWatch(plant, file)
    assert again.expected(NOW, None)["R1"].up == pytest.approx(told["R1"].up)
    assert again.expected(NOW + BACK * QUARTER_MS, None) == {}
    assert again.known_from(NOW + 1) == NOW + QUARTER_MS
    assert RampWatch(plant, tmp_path / "none.npz").known_from(NOW + 1) == NOW + 2 * QUARTER_MS


async def test_a_damaged_file_of_ramps_is_told_and_they_are_seen_anew(plant, tmp_path):
    file = tmp_path / "ramps.npz"
    file.write_bytes(b"PK\x03\x04 damaged")
    assert "R1" in RampWatch(plant, file).expected(NOW, None)
    assert len(RampBook.load(file).time) == 3


def test_a_node_that_is_new_has_seen_nothing_and_the_others_go_on():
    told = book_of(seen(24), kinds=("UPS", "Rack"))
    book = told.of(("b", "c"), ("Rack", "Feed"))
    assert set(book.expected()) == {"b"}
    assert book.expected()["b"].up == pytest.approx(told.expected()["b"].up)
    assert book.tails.kinds == ("Rack", "Feed")
