import threading
from dataclasses import replace

import numpy as np
import pytest

from domain.batch import Batch
from domain.errors import PointRefused, TooManyPoints
from domain.points import Point, PointRegistry, Quality, Retired


def rack_power(rack, **more):
    return Point(f"Rack/RackPower/{rack}", "Rack", "RackPower", rack, unit="W", **more)


def test_registering_the_same_point_twice_gives_the_same_index():
    registry = PointRegistry()
    assert registry.register(rack_power("R001")) == registry.register(rack_power("R001")) == 0
    assert registry.version == 1


def test_changed_metadata_keeps_the_index_and_is_told_as_changed():
    registry = PointRegistry([rack_power("R001"), rack_power("R002")])
    before = registry.version
    assert registry.register(rack_power("R002", object_name="moved")) == 1
    assert [(i, p.object_name) for i, p in registry.changed_since(before)] == [(1, "moved")]


@pytest.mark.parametrize(
    ("pattern", "found"),
    [
        ("Rack/RackPower/R001", [0]),
        ("R001/RackPower", [0]),
        ("R00*/RackPower", [0, 1]),
        ("Rack/RackPower/*", [0, 1]),
        ("nothing", []),
    ],
)
def test_a_person_names_points_by_key_glob_or_object_and_type(pattern, found):
    registry = PointRegistry([rack_power("R001"), rack_power("R002")])
    assert registry.match(pattern).tolist() == found


def test_selection_leaves_setpoints_out_and_needs_all_process_areas():
    registry = PointRegistry(
        [
            Point("a", "CDU", "LiquidTemperature", "C1", process_area=("Secondary", "Supply")),
            Point("b", "CDU", "LiquidTemperature", "C1", process_area=("Secondary", "Return")),
            Point("c", "CDU", "LiquidTemperature", "C1", process_area=("Secondary", "Supply"), setpoint=True),
        ]
    )
    found = registry.select("CDU", "LiquidTemperature", process_area=("Supply", "Secondary"))
    assert found.tolist() == [0]


def test_threads_that_register_the_same_points_agree_on_the_indexes():
    registry = PointRegistry()
    seen = []

    def register():
        seen.append([registry.register(rack_power(f"R{n:03d}")) for n in range(300)])

    threads = [threading.Thread(target=register) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(registry) == 300
    assert all(indexes == seen[0] for indexes in seen)


def test_batches_join_in_order_and_keep_the_oldest_receipt():
    first = Batch.of([1, 2], 1000, [1.0, 2.0], received=5)
    second = Batch.of([3], [2000], [3.0], Quality.BAD, received=4)
    both = Batch.concat([first, second])
    assert both.point.tolist() == [1, 2, 3]
    assert both.quality.tolist() == [1, 1, 0]
    assert both.received == 4
    assert both.take(np.array([False, False, True])).value.tolist() == [3.0]


def test_a_state_tells_its_label_and_an_unnamed_one_its_number():
    point = Point("k", "Rack", "RackLeakDetect", "R1", state_text=((0, "NoLeak"), (1, "Leak")))
    assert point.state_label(1.0) == "Leak"
    assert point.state_label(7.0) == "7"


def test_changes_since_before_the_beginning_are_all_points():
    registry = PointRegistry([rack_power("R001"), rack_power("R002")])
    assert [i for i, _ in registry.changed_since(-1)] == [i for i, _ in registry.changed_since(0)] == [0, 1]
    assert registry.changed_since(registry.version) == []


def told(source, n, first=0):
    return [
        Point(f"GPU/GpuPower/{i}", "GPU", "GpuPower", f"G{i}", source=source) for i in range(first, first + n)
    ]


def test_a_source_that_runs_wild_is_stopped_and_the_others_have_room():
    registry = PointRegistry(told("tray:R001-T01", 3), max_points=6, max_per_source=4)
    registry.register(*told("tray:R999-T01", 1, 3))
    with pytest.raises(TooManyPoints, match="4 points of tray"):
        registry.register(*told("tray:R999-T02", 1, 4))
    for point in told("snmp:pdu", 2, 4):
        registry.register(point)
    with pytest.raises(TooManyPoints, match="6 points are known"):
        registry.register(*told("dsx:bms", 1, 6))
    assert registry.refused == {"tray": 1, "dsx": 1}
    assert registry.register(replace(registry[0], object_name="renamed")) == 0  # known ones go on
    assert (
        registry.register(*told("hallwatch:analytics", 1, 7)) == 6
    )  # what is worked out is as much as the site has


def test_what_the_store_knows_is_taken_up_whatever_the_limit():
    registry = PointRegistry(max_points=2)
    assert [registry.restore(point) for point in told("dsx:bms", 3)] == [0, 1, 2]


def test_a_retired_point_is_found_by_its_key_only_and_makes_room():
    registry = PointRegistry([rack_power("R001"), *told("dsx:bms", 1)], max_points=2)
    registry.retire(1, Retired.GONE)
    assert registry.select("GPU").tolist() == []
    assert registry.match("GPU/*").tolist() == []
    assert registry.match("GPU/GpuPower/0").tolist() == [1]
    assert registry.register(*told("dsx:bms", 1, 1)) == 2


def test_a_retired_point_comes_back_when_it_is_told_again_and_a_refused_one_does_not():
    registry = PointRegistry(told("dsx:bms", 1))
    registry.retire(0, Retired.GONE)
    assert registry.register(*told("dsx:bms", 1)) == 0
    assert not registry[0].retired
    registry.retire(0, Retired.REFUSED)
    with pytest.raises(PointRefused):
        registry.register(*told("dsx:bms", 1))
    registry.retire(0, None)
    assert registry.register(*told("dsx:bms", 1)) == 0


def test_metadata_that_change_all_the_time_take_no_memory():
    registry = PointRegistry([rack_power("R001"), rack_power("R002")])
    for n in range(1000):
        registry.register(rack_power("R001", object_name=str(n)))
    assert len(registry._changed) == 2
    assert [(i, p.object_name) for i, p in registry.changed_since(registry.version - 1)] == [(0, "999")]
