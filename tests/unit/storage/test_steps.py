"""Aggregation of readings into steps, against its definition written out."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from domain.batch import Batch
from storage.steps import Steps, combine, roll, to_grid, top_of, total_of
from storage.telemetry import Aggregate, Grid

readings = st.lists(
    st.tuples(
        st.integers(0, 2),  # point
        st.integers(0, 600),  # time
        st.integers(-50, 50),  # value
        st.sampled_from([1, 1, 1, 0, 2]),  # quality
    ),
    max_size=40,
    unique_by=lambda r: (r[0], r[1]),
)


def batch_of(rows) -> Batch:
    rows = sorted(rows)
    return Batch.of(*([r[i] for r in rows] for i in range(4)))


def by_definition(rows, start, end, step, gap):
    """Millisecond by millisecond: which value holds now?"""
    cells: dict[tuple[int, int], dict] = {}
    for point in {r[0] for r in rows}:
        mine = sorted(r[1:] for r in rows if r[0] == point)
        for t, v, q in mine:
            if start <= t < end and q != 0:
                cell = cells.setdefault((point, t // step * step), {"read": [], "held": []})
                cell["read"].append(v)
        for now in range(start, end):
            before = [(t, v, q) for t, v, q in mine if t <= now]
            if before and before[-1][2] != 0 and now - before[-1][0] < gap:
                cell = cells.setdefault((point, now // step * step), {"read": [], "held": []})
                cell["held"].append(before[-1][1])
    return cells


@settings(max_examples=150, deadline=None)
@given(readings, st.integers(1, 5), st.sampled_from([7, 50, 100, 250]), st.integers(5, 300))
def test_steps_are_what_their_definition_says(rows, first, step, gap):
    start, end = first * step, first * step + 4 * step
    steps = roll(batch_of(rows), start, end, step, gap)
    told = by_definition(rows, start, end, step, gap)
    assert list(zip(steps.point.tolist(), steps.start.tolist(), strict=True)) == sorted(told)
    for row, cell in enumerate(told[k] for k in sorted(told)):
        read, held = cell["read"], cell["held"]
        assert steps.count[row] == len(read)
        assert steps.held[row] == len(held)
        assert steps.weighted[row] == pytest.approx(sum(held) / len(held))
        for name, expected in (
            ("minimum", min(read, default=math.nan)),
            ("maximum", max(read, default=math.nan)),
            ("mean", sum(read) / len(read) if read else math.nan),
            ("last", read[-1] if read else math.nan),
        ):
            assert getattr(steps, name)[row] == pytest.approx(expected, nan_ok=True)


@settings(max_examples=100, deadline=None)
@given(readings, st.integers(5, 300))
def test_coarse_steps_made_of_fine_ones_equal_those_made_of_readings(rows, gap):
    batch = batch_of(rows)
    fine = combine(roll(batch, 0, 600, 20, gap), 100)
    coarse = roll(batch, 0, 600, 100, gap)
    for name in ("point", "start", "count", "held"):
        assert getattr(fine, name).tolist() == getattr(coarse, name).tolist()
    for name in ("minimum", "maximum", "mean", "last", "weighted"):
        assert getattr(fine, name) == pytest.approx(getattr(coarse, name), nan_ok=True)


def test_no_readings_are_no_steps():
    assert len(roll(Batch.of([], [], []), 0, 100, 10, 50)) == 0
    assert len(combine(Steps.empty(), 10)) == 0
    assert top_of(Steps.empty(), 0, Aggregate.MAX, 3).value.tolist() == []


def test_a_sum_is_missing_where_one_member_is():
    grid = Grid(np.array([1, 2], np.int32), np.array([0, 10]), 10, np.array([[1.0, 2.0], [3.0, np.nan]]))
    assert total_of(grid).values == pytest.approx(np.array([[4, np.nan]]), nan_ok=True)


def test_a_grid_leaves_out_points_that_were_not_asked_for():
    steps = roll(Batch.of([1, 3], [0, 0], [1, 3]), 0, 10, 10, 10)
    grid = to_grid(steps, np.array([3, 2], np.int32), 0, 10, 10, Aggregate.LAST)
    assert grid.values == pytest.approx(np.array([[3], [np.nan]]), nan_ok=True)


def test_an_energy_counter_of_a_terajoule_keeps_its_last_joule():
    steps = roll(Batch.of([0, 0], [0, 5], [1e12, 1e12 + 1]), 0, 10, 10, 10)
    assert steps.last[0] - steps.minimum[0] == 1
