"""Readings of instruments that are not trusted are replaced on their way in, and kept as they were measured."""

from dataclasses import replace

import numpy as np

from analytics.live.substitutes import Substitutes
from domain.batch import Batch
from domain.points import Point, PointRegistry, Quality

NOW = 1_780_000_000_000


class Taken:
    """A sink that remembers."""

    def __init__(self) -> None:
        self.batches: list[Batch] = []

    async def __call__(self, batch: Batch) -> None:
        self.batches.append(batch)


def plant() -> tuple[PointRegistry, Substitutes, Taken]:
    registry = PointRegistry(
        Point(f"Rack/RackLiquidFlow/x/R{n:03d}", "Rack", "RackLiquidFlow", f"R{n:03d}", unit="L/min")
        for n in range(4)
    )
    taken = Taken()
    return registry, Substitutes(registry, taken), taken


async def test_where_all_instruments_are_trusted_batches_pass_as_they_are():
    _, substitutes, taken = plant()
    batch = Batch.of([0, 1, 2], NOW, [10.0, 20.0, 30.0])
    await substitutes.accept(batch)
    assert taken.batches == [batch]


async def test_a_reading_that_is_not_trusted_becomes_an_estimate_and_is_kept_beside_it():
    registry, substitutes, taken = plant()
    substitutes.mistrust({1: 21.5})
    await substitutes.accept(Batch.of([0, 1, 2, 1], [NOW, NOW, NOW, NOW + 1], [10.0, 99.0, 30.0, 98.0]))
    (got,) = taken.batches
    assert got.value[:4].tolist() == [10.0, 21.5, 30.0, 21.5]
    assert got.quality[:4].tolist() == [Quality.GOOD, Quality.ESTIMATED, Quality.GOOD, Quality.ESTIMATED]
    own = registry[int(got.point[4])]
    assert (own.point_type, own.object_id, own.unit) == ("AsMeasured", "R001", "L/min")
    assert got.value[4:].tolist() == [99.0, 98.0]
    assert got.observed[4:].tolist() == [NOW, NOW + 1]
    assert substitutes.replaced == 2


async def test_without_redundancy_nothing_is_guessed():
    _, substitutes, taken = plant()
    substitutes.mistrust({2: np.nan})
    await substitutes.accept(Batch.of([2], NOW, [30.0]))
    (got,) = taken.batches
    assert (got.value[0], got.quality[0]) == (30.0, Quality.BAD)


async def test_a_silent_instrument_is_stood_in_for_and_one_that_is_well_again_is_left_alone():
    _, substitutes, taken = plant()
    substitutes.mistrust({3: 42.0})
    told = substitutes.stand_in(np.array([3], np.int32), NOW)
    assert (told.point.tolist(), told.value.tolist(), told.quality.tolist()) == (
        [3],
        [42.0],
        [Quality.ESTIMATED],
    )
    substitutes.mistrust({})
    await substitutes.accept(Batch.of([3], NOW, [41.0]))
    assert taken.batches[0].quality.tolist() == [Quality.GOOD]


def test_the_watch_goes_on_reading_what_the_instrument_says():
    _, substitutes, _ = plant()
    points = np.array([[0, 1], [-1, 2]], np.int32)
    assert substitutes.as_measured(points).tolist() == points.tolist()
    substitutes.mistrust({1: 5.0})
    assert substitutes.as_measured(points).tolist() == [[0, 4], [-1, 2]]


async def test_a_replaced_reading_that_came_late_is_still_late():
    _, substitutes, taken = plant()
    substitutes.mistrust({1: 21.5})
    late = np.array([False, True, False])
    await substitutes.accept(replace(Batch.of([0, 1, 2], NOW, [10.0, 99.0, 30.0]), late=late))
    assert taken.batches[0].late.tolist() == [False, True, False, True]
