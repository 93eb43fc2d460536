import random
import threading
from dataclasses import replace

import numpy as np
import pytest

from domain.batch import Batch
from domain.errors import PointRefused, TooManyPoints
from domain.points import PLACES_MAX, Point, PointRegistry, Quality, Retired, tag_key


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


def tap(*serves, **more):
    return Point(
        "PowerMeter/ActivePower/t1", "PowerMeter", "ActivePower", "T1", unit="W", serves=serves, **more
    )


def test_a_tag_that_is_told_of_another_place_becomes_a_point_of_its_own_and_comes_back_after_a_restart():
    registry = PointRegistry([tap("R1")], clock=lambda: 1000)
    assert registry.register(tap("R2")) == 1
    assert (registry[0].retired, registry[0].until, registry[0].serves) == (Retired.MOVED, 1000, ("R1",))
    assert (registry[1].key, registry[1].since, registry[1].serves) == (
        "PowerMeter/ActivePower/t1~2",
        1000,
        ("R2",),
    )
    assert registry.select("PowerMeter", "ActivePower").tolist() == [1]
    assert (registry.moved.tolist(), registry.moves) == ([0], 1)
    again = PointRegistry()
    for point in registry:
        again.restore(point)
    assert again.register(tap("R2")) == again.register(tap("R2", object_name="same place")) == 1
    assert (again.moves, again.current("PowerMeter/ActivePower/t1")) == (0, 1)
    assert again.register(tap("R1")) == 2
    assert [tag_key(point) for point in again] == ["PowerMeter/ActivePower/t1"] * 3


@pytest.mark.parametrize(
    ("before", "now", "moves"),
    [
        (tap("R1"), tap("R1", "R2"), 0),
        (tap(), tap("R1"), 0),
        (tap("R1"), tap("R1", associate="P1"), 0),
        (tap("R1"), tap("R1", object_name="other", phase="A"), 0),
        (tap("R1"), tap(), 1),
        (tap("R1", "R2"), tap("R2"), 1),
        (tap(associate="P1"), tap(associate="P2"), 1),
        (rack_power("R1"), replace(rack_power("R1"), object_id="R2"), 1),
    ],
)
def test_what_is_told_in_addition_is_no_move(before, now, moves):
    registry = PointRegistry([before])
    registry.register(now)
    assert (registry.moves, len(registry)) == (moves, 1 + moves)


def test_a_tag_that_does_not_keep_still_makes_so_many_points_at_most():
    registry = PointRegistry()
    for turn in range(100):
        registry.register(tap(f"R{turn % 2}"))
    assert (len(registry), registry.moves, registry.restless) == (
        PLACES_MAX,
        PLACES_MAX - 1,
        100 - PLACES_MAX,
    )
    assert registry.in_use.total() == 1
    assert registry[PLACES_MAX - 1].serves == ("R1",)


def test_a_tag_that_moves_needs_no_more_room_and_one_that_is_refused_stays_out():
    registry = PointRegistry([tap("R1", source="dsx:bms")], max_points=1)
    assert registry.register(tap("R2", source="dsx:bms")) == 1
    registry.retire(1, Retired.REFUSED)
    with pytest.raises(PointRefused):
        registry.register(tap("R3", source="dsx:bms"))


def test_a_point_whose_tag_has_moved_on_is_still_named_by_what_it_told():
    registry = PointRegistry([rack_power("R1")])
    registry.register(replace(rack_power("R1"), object_id="R2"))
    assert registry.match("R1/RackPower").tolist() == [0]
    assert registry.match("R2/RackPower").tolist() == [1]
    assert registry.match("R?/RackPower").tolist() == [0, 1]


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


def test_what_is_worked_out_is_never_refused():
    """Scores of a rack whose points somebody refused by a glob must not end those of all others."""
    registry = PointRegistry(told("hallwatch:analytics", 1))
    registry.retire(0, Retired.REFUSED)
    assert registry.register(*told("hallwatch:analytics", 1)) == 0
    assert not registry[0].retired


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
    assert registry.changed_since(-1) == registry.changed_since(0)


def test_a_retired_point_leaves_every_look_up_and_keeps_its_index():
    registry = PointRegistry([rack_power("R001", source="s"), rack_power("R002", source="s")])
    before = registry.version
    registry.retire(0, Retired.GONE)
    assert registry.select("Rack", "RackPower").tolist() == [1]
    assert registry.of_object("R001").tolist() == []
    assert registry.match("R001/RackPower").tolist() == []
    assert registry.sources() == {"s": 1}
    assert [(i, p.retired) for i, p in registry.changed_since(before)] == [(0, Retired.GONE)]
    assert registry.register(rack_power("R003")) == 2


# --- the index -------------------------------------------------------------------------------------------------


def searched(registry, **wanted):
    """Return what a search of all points finds: what the index must answer."""
    return [
        i for i, p in enumerate(registry)
        if not p.retired and all(getattr(p, name) == value for name, value in wanted.items())
    ]  # fmt: skip


def test_the_index_follows_whatever_is_added_changed_and_retired():
    rng = random.Random(7)
    registry = PointRegistry()
    for _ in range(3000):
        point = Point(
            f"k{rng.randrange(150)}",
            rng.choice(["Rack", "CDU", "GPU"]),
            rng.choice(["RackPower", "LiquidFlow"]),
            f"O{rng.randrange(12)}",
            associate=rng.choice(["", "A1", "A2"]),
            serves=rng.choice([(), ("O1",)]),
            setpoint=rng.random() < 0.2,
            source=rng.choice(["", "dsx:bms", "snmp:x"]),
        )
        registry.register(point)
        if rng.random() < 0.3:
            registry.retire(registry.index(point.key), Retired.GONE)
    for kind in ("Rack", "CDU", "GPU"):
        for quantity in ("RackPower", "LiquidFlow"):
            expected = searched(registry, object_type=kind, point_type=quantity, setpoint=False)
            assert registry.select(kind, quantity).tolist() == expected
        assert registry.select(kind).tolist() == searched(registry, object_type=kind, setpoint=False)
    for n in range(12):
        assert registry.of_object(f"O{n}").tolist() == searched(registry, object_id=f"O{n}")
        assert registry.select("CDU", object_id=f"O{n}").tolist() == searched(
            registry, object_type="CDU", object_id=f"O{n}", setpoint=False
        )
    for source in ("", "dsx:bms", "snmp:x"):
        assert registry.of_source(source).tolist() == searched(registry, source=source)
        assert registry.sources().get(source, 0) == len(searched(registry, source=source))
    for whole in ("A1", "A2"):
        assert registry.members(whole) == sorted(
            {registry[i].object_id for i in searched(registry, associate=whole)}
        )
    assert set(registry.places()) == {p.place for p in registry if not p.retired}
    assert registry.in_use.total() == len(searched(registry))


def test_an_array_is_the_same_one_until_a_point_in_it_changes():
    registry = PointRegistry([rack_power("R001"), rack_power("R002")])
    before = registry.select("Rack", "RackPower")
    registry.register(Point("other", "CDU", "LiquidFlow", "C1"))
    assert registry.select("Rack", "RackPower") is before
    registry.register(rack_power("R001", object_name="renamed"))
    assert registry.select("Rack", "RackPower") is not before
    with pytest.raises(ValueError, match="read-only"):
        before[0] = 5


def test_the_plant_version_grows_only_with_what_is_told_of_objects():
    registry = PointRegistry([rack_power("R001", serves=("X",))])
    before = registry.plant_version
    registry.register(Point("Rack/RackLiquidFlow/R001", "Rack", "RackLiquidFlow", "R001", serves=("X",)))
    assert registry.plant_version == before
    registry.register(rack_power("R001"))
    assert registry.plant_version > before


def test_threads_may_look_while_others_register_and_retire():
    registry = PointRegistry()
    done, failures = threading.Event(), []

    def look():
        try:
            while not done.is_set():
                for i in registry.select("Rack", "RackPower").tolist():
                    assert registry[i].point_type == "RackPower"
                registry.of_source("dsx:bms")
                registry.sources()
                registry.places()
                registry.match("R*/RackPower")
                registry.changed_since(registry.version - 10)
        except Exception as error:
            failures.append(error)

    def write(first):
        for n in range(first, first + 400):
            registry.register(rack_power(f"R{n}", source="dsx:bms"))
            if n % 3 == 0:
                registry.retire(registry.index(f"Rack/RackPower/R{n}"), Retired.GONE)

    looking = [threading.Thread(target=look) for _ in range(2)]
    writing = [threading.Thread(target=write, args=(first,)) for first in (0, 1000, 2000)]
    for thread in (*looking, *writing):
        thread.start()
    for thread in writing:
        thread.join()
    done.set()
    for thread in looking:
        thread.join()
    assert failures == []
    assert registry.select("Rack", "RackPower").tolist() == searched(registry, point_type="RackPower")
