import itertools
import sys
import threading

import numpy as np
import pytest

from domain.batch import Batch
from domain.points import Point, PointRegistry, Quality
from domain.site import Site
from storage.latest import LatestValues
from storage.plant import PlantView

SITE = Site.model_validate(
    {
        "id": "lab",
        "name": "Lab",
        "limit": "1 MW",
        "installed": "2 MW",
        "rack_limit": "150 kW",
        "pods": [{"id": "P1", "racks": "R001..002", "row": 1}],
    }
)


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


@pytest.fixture
def eager_threads():
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(before)


def test_a_bad_value_is_never_read_with_the_quality_of_the_good_one_before_it(eager_threads):
    registry = PointRegistry(Point(f"Rack/RackPower/R{n}", "Rack", "RackPower", f"R{n}") for n in range(200))
    latest = LatestValues(registry)
    plant = PlantView(SITE, registry, latest, None)
    points = np.arange(200, dtype=np.int32)
    good, bad = (np.full(200, v) for v in (1.0, -1.0))
    latest.update(Batch.of(points, 1, good))
    stop = threading.Event()

    def write():
        for t in itertools.count(2):
            if stop.is_set():
                break
            latest.update(Batch.of(points, t, *((good, Quality.GOOD) if t % 2 else (bad, Quality.BAD))))

    writer = threading.Thread(target=write)
    writer.start()
    try:
        read = [plant.values(points) for _ in range(3000)]
    finally:
        stop.set()
        writer.join()
    assert not any((values == -1.0).any() for values in read)


def test_readings_of_many_points_have_the_shape_of_the_points_and_say_where_there_is_none():
    latest = LatestValues()
    latest.update(Batch.of([3], 10, [5.0], received=12))
    now = latest.at(np.array([[3, -1], [4, 3]]))
    assert now.observed.tolist() == [[10, 0], [0, 10]]
    assert now.received.tolist() == [[12, 0], [0, 12]]
    assert now.quality.tolist() == [[1, 0], [0, 1]]
    assert np.isnan(now.value).tolist() == [[False, True], [True, False]]
