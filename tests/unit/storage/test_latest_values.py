import threading

import numpy as np

from domain.batch import Batch
from domain.points import Point, PointRegistry
from storage.latest import LatestValues


def test_the_newest_reading_of_each_point_stays():
    latest = LatestValues()
    latest.update(Batch.of([0, 1, 0], [10, 10, 30], [1, 2, 3], received=99))
    latest.update(Batch.of([0, 1], [20, 20], [4, 5], [1, 0], received=100))
    assert latest.value[:2].tolist() == [3, 5]
    assert latest.observed[:2].tolist() == [30, 20]
    assert latest.quality[:2].tolist() == [1, 0]
    assert latest.received[:2].tolist() == [99, 100]


def test_a_correction_at_the_same_time_is_taken():
    latest = LatestValues()
    latest.update(Batch.of([0], [10], [1]))
    latest.update(Batch.of([0], [10], [2]))
    assert latest.value[0] == 2


def test_of_one_point_twice_in_a_batch_the_newest_stays_whatever_the_order():
    latest = LatestValues()
    latest.update(Batch.of([0, 0, 0], [30, 10, 20], [3, 1, 2]))
    assert latest.value[0] == 3


def test_a_point_without_a_reading_is_missing_not_zero():
    latest = LatestValues()
    assert np.isnan(latest.value[0])
    assert len(latest.read(np.array([0, 5]))) == 0


def test_arrays_cover_every_registered_point_before_its_first_reading():
    registry = PointRegistry()
    latest = LatestValues(registry, capacity=2)
    for i in range(1000):
        registry.register(Point(f"a/b/{i}", "a", "b", str(i)))
    assert np.isnan(latest.value[999])
    assert latest.observed[999] == 0


def test_readings_survive_growth():
    latest = LatestValues(capacity=1)
    latest.update(Batch.of([0], [5], [1.5]))
    latest.update(Batch.of([180_000], [6], [2.5]))
    got = latest.read(np.array([180_000, 0]))
    assert got.value.tolist() == [2.5, 1.5]


def test_a_reader_sees_each_reading_whole():
    latest = LatestValues()
    stop = threading.Event()
    torn = []

    def look():
        while not stop.is_set():
            got = latest.read(np.arange(100))
            if (got.value != got.observed).any():
                torn.append(got)

    reader = threading.Thread(target=look)
    reader.start()
    for t in range(1, 2000):
        latest.update(Batch.of(np.arange(100), t, np.full(100, float(t))))
    stop.set()
    reader.join()
    assert not torn
