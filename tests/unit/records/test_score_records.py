"""Scores and snapshots in the records, on both databases."""

from dataclasses import replace

import numpy as np
import pytest

from domain.scores import SLOT_MS, STATISTICS, ScoreSlot
from storage.record_upkeep import RecordUpkeep
from storage.settings import DAY, RecordRetention

SLOT = 1_790_000_000_000 // SLOT_MS * SLOT_MS


def slot(start=SLOT, cells=3, intervals=2):
    rng = np.random.default_rng(start % 1000)
    return ScoreSlot(
        "ActivePower", "W", start, np.array([f"R{i:03}" for i in range(cells)]), np.full(cells, 60, np.int32),
        rng.random((cells, len(STATISTICS))).astype(np.float32).astype(float),
        start + 900_000 * np.arange(intervals, dtype=np.int64), np.where(rng.random((intervals, cells)) < 0.3, np.nan, 1e5),
    )  # fmt: skip


def same(a, b):
    assert (a.point_type, a.unit, a.start) == (b.point_type, b.unit, b.start)
    for name in ("objects", "lead", "sums", "interval", "actual"):
        np.testing.assert_array_equal(getattr(a, name), getattr(b, name))


def test_a_slot_comes_back_and_takes_the_place_of_what_was_known_of_it(records):
    records.save_scores([slot(), slot(SLOT + SLOT_MS)], SLOT)
    later = replace(slot(), sums=slot().sums + 1)
    records.save_scores([later], SLOT + 1)
    first, second = records.scores("ActivePower", SLOT, SLOT + 2 * SLOT_MS)
    same(second, slot(SLOT + SLOT_MS))
    assert first.sums == pytest.approx(later.sums, rel=1e-6)


def test_a_slot_is_found_by_any_time_in_it(records):
    records.save_scores([slot(SLOT + i * SLOT_MS) for i in range(4)], SLOT)
    found = records.scores("ActivePower", SLOT + SLOT_MS + 1, SLOT + 2 * SLOT_MS + 1)
    assert [s.start for s in found] == [SLOT + SLOT_MS, SLOT + 2 * SLOT_MS]
    assert records.scores("QuarterHourPower", 0, 2 * SLOT) == []


def test_snapshots_come_back_by_when_they_were_issued(records):
    arrays = {"objects": np.array(["R1"]), "values": np.array([[1.0, np.nan]], np.float32)}
    records.save_snapshots([("QuarterHourPower", SLOT + i, arrays) for i in range(3)])
    assert records.snapshot_times("QuarterHourPower", SLOT, SLOT + 2) == [SLOT, SLOT + 1]
    ((issued, kept),) = records.snapshots("QuarterHourPower", SLOT + 2, SLOT + 9)
    assert issued == SLOT + 2
    assert kept["objects"].tolist() == ["R1"]
    np.testing.assert_array_equal(kept["values"], arrays["values"])
    records.save_snapshots([])


def test_scores_and_snapshots_have_an_end(records):
    now = SLOT + 10 * DAY
    records.save_scores([slot(now - day * DAY) for day in (2, 9)], now)
    for day in (1, 3):
        records.save_snapshots([("QuarterHourPower", now - day * DAY, {"a": np.zeros(1)})])
    removed = RecordUpkeep(records, RecordRetention(scores_days=5), "lab").once(now)
    assert (removed["forecast scores"], removed["forecast snapshots"]) == (1, 1)
    assert [s.start for s in records.scores("ActivePower", 0, now)] == [now - 2 * DAY]
    assert records.snapshot_times("QuarterHourPower", 0, now) == [now - DAY]
