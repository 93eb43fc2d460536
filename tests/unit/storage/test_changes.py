"""What states told between two looks."""

import numpy as np
import pytest

from domain.batch import Batch
from domain.points import Quality
from storage.changes import MOST_OF_POINT
from storage.latest import LatestValues


@pytest.fixture
def latest():
    made = LatestValues()
    made.changes.watch(np.array([2, 5], np.int32))
    return made


def test_only_what_changes_of_watched_points_is_kept_and_taken_once(latest):
    latest.update(Batch.of([1, 2, 9], 1000, [1, 0, 1]))
    latest.update(Batch.of([2, 2, 5], 2000, [0, 1, 1]))
    latest.update(Batch.of([2], 3000, [0]))
    assert latest.changes.take() == {2: [(0.0, 1000), (1.0, 2000)], 5: [(1.0, 2000)]}
    latest.update(Batch.of([2, 5], 4000, [0, 1]))
    assert latest.changes.take() == {}


def test_what_is_bad_or_older_than_what_is_known_is_no_change(latest):
    latest.update(Batch.of([2], 5000, [0]))
    latest.changes.take()
    latest.update(Batch.of([2], 6000, [1], Quality.BAD))
    latest.update(Batch.of([2], 1000, [1]))
    assert latest.changes.take() == {}


def test_however_fast_a_state_changes_so_many_of_its_values_are_kept(latest):
    for n in range(1000):
        latest.update(Batch.of([2], n, [n % 7]))
    assert len(latest.changes.take()[2]) == MOST_OF_POINT
    assert latest.changes.noted == 1000


def test_whoever_waits_is_called_after_a_change_and_for_nothing_else(latest):
    called = []
    latest.changes.on_change = lambda: called.append(latest.changes.noted)
    latest.update(Batch.of([1, 2], 1000, [1, 1]))
    latest.update(Batch.of([1, 2], 2000, [0, 1]))
    assert called == [1]
