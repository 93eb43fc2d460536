"""The console's questions come from several threads, while points are announced and readings come in."""

import sys
import threading

import pytest

from domain.batch import Batch
from domain.points import Point


@pytest.fixture
def eager_threads():
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    yield
    sys.setswitchinterval(before)


def test_pages_are_put_together_while_points_are_announced(hall, eager_threads):
    hall.tick()
    rack = hall.site.racks[0]
    done, failures = threading.Event(), []

    def look(question):
        try:
            while not done.is_set():
                question()
        except Exception as error:
            failures.append(error)

    questions = [lambda: hall.data.rack(rack)] * 3 + [hall.data.cooling, hall.data.health]
    threads = [threading.Thread(target=look, args=(question,)) for question in questions]
    for thread in threads:
        thread.start()
    for n in range(2000):
        point = Point(f"Rack/Q/x/{rack}/{n}", "Rack", f"Quantity{n}", rack, associate=f"A{n}")
        index = hall.registry.register(point)
        hall.ingest.latest.update(Batch.of([index], hall.now, [float(n)]))
    done.set()
    for thread in threads:
        thread.join()
    assert failures == []
    assert {f"Quantity{n}" for n in range(2000)} <= {p.point.point_type for p in hall.data.rack(rack).points}
