"""Readings to aggregates per point and step: the one definition that both stores, every tier and every query use.

A value is a step function of time: it holds from its reading until the next one, but no longer than `max_gap`.
A reading of bad quality takes part in no aggregate, and ends the hold of the value before it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from dataclasses import fields as fields_of
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from domain.batch import Batch
from domain.points import IntArray, Quality, TimeArray, ValueArray
from storage.telemetry import Aggregate, Grid


@dataclass(frozen=True, slots=True, eq=False)
class Steps:
    """Aggregates, one row a point and step, ordered by point, then by start.

    Parameters
    ----------
    point, start
        Registry index, and start of the step, UTC ms; shape (n,).
    minimum, maximum, mean, last
        Of the readings within the step; NaN where there is none.
    weighted
        Time-weighted mean over the part of the step in which a value held; NaN where none did.
    held
        Milliseconds of the step in which a value held.
    count
        Readings within the step.
    """

    point: IntArray
    start: TimeArray
    minimum: ValueArray
    maximum: ValueArray
    mean: ValueArray
    last: ValueArray
    weighted: ValueArray
    held: IntArray
    count: IntArray

    def __len__(self) -> int:
        return len(self.point)

    def take(self, rows: NDArray[np.bool_] | NDArray[np.intp] | slice) -> Steps:
        """Return the rows that a mask, an index array or a slice picks."""
        return Steps(*(getattr(self, f.name)[rows] for f in fields_of(self)))

    @classmethod
    def empty(cls) -> Steps:
        """Return no rows."""
        f, i = np.empty(0), np.empty(0, np.int32)
        return cls(i, np.empty(0, np.int64), f, f, f, f, f, i, i)

    @classmethod
    def concat(cls, parts: Sequence[Steps]) -> Steps:
        """Join rows and put them in order; a step may not occur in two parts unless it is to be combined."""
        filled = [p for p in parts if len(p)]
        if not filled:
            return cls.empty()
        if len(filled) == 1:
            return filled[0]
        joined = cls(*(np.concatenate([getattr(p, f.name) for p in filled]) for f in fields_of(cls)))
        if all(a.point[-1] < b.point[0] for a, b in pairwise(filled)):
            return joined
        return joined.take(np.lexsort((joined.start, joined.point)))


def floor_to(time: int, step: int) -> int:
    """Return the start of the step that contains `time`."""
    return time // step * step


def ceil_to(time: int, step: int) -> int:
    """Return the first start of a step at or after `time`."""
    return -(-time // step) * step


def roll(readings: Batch, start: int, end: int, step: int, max_gap: int) -> Steps:
    """Aggregate raw readings per point and step over [start, end).

    Parameters
    ----------
    readings
        Ordered by point, then by time; must hold those of [start - max_gap, start) too, for what they carry in.
    start, end
        UTC ms; steps are aligned to multiples of `step` and clipped to this range.
    step, max_gap
        Milliseconds.
    """
    if not len(readings):
        return Steps.empty()
    point, observed = readings.point, readings.observed
    until = observed + max_gap
    same = point[1:] == point[:-1]
    np.minimum(until[:-1], observed[1:], out=until[:-1], where=same)
    np.minimum(until, end, out=until)
    since = np.maximum(observed, start)
    keep = (readings.quality != Quality.BAD) & (until > since)
    point, observed, value, since, until = (a[keep] for a in (point, observed, readings.value, since, until))
    if not len(point):
        return Steps.empty()

    # A hold that crosses into further steps becomes one piece per step.
    first_step = since // step
    pieces = (until - 1) // step - first_step + 1
    if int(pieces.max()) > 1:
        row = np.repeat(np.arange(len(point)), pieces)
        nth = np.arange(len(row)) - np.repeat(np.cumsum(pieces) - pieces, pieces)
        point, observed, value = point[row], observed[row], value[row]
        cell = first_step[row] + nth
        since = np.maximum(since[row], cell * step)
        until = np.minimum(until[row], (cell + 1) * step)
        is_reading = (nth == 0) & (observed >= start)
    else:
        cell = first_step
        is_reading = observed >= start
    width = (until - since).astype(np.float64)

    edge = np.flatnonzero((point[1:] != point[:-1]) | (cell[1:] != cell[:-1])) + 1
    heads = np.concatenate(([0], edge))
    tails = np.append(edge, len(point)) - 1
    count = np.add.reduceat(is_reading, heads, dtype=np.int32)
    held = np.add.reduceat(width, heads)
    read = np.where(is_reading, value, 0.0)
    has = count > 0
    with np.errstate(invalid="ignore", divide="ignore"):
        mean = np.where(has, np.add.reduceat(read, heads) / count, np.nan)
    minimum = np.where(has, np.minimum.reduceat(np.where(is_reading, value, np.inf), heads), np.nan)
    maximum = np.where(has, np.maximum.reduceat(np.where(is_reading, value, -np.inf), heads), np.nan)
    # what is carried in precedes the readings of a step, so the last piece is a reading where any is
    last = np.where(has, value[tails], np.nan)
    weighted = np.add.reduceat(value * width, heads) / held
    return Steps(
        point[heads],
        cell[heads] * step,
        minimum,
        maximum,
        mean,
        last,
        weighted,
        held.astype(np.int32),
        count,
    )


def combine(steps: Steps, step: int) -> Steps:
    """Aggregate finer steps (ordered by point, then by start) into coarser ones of `step` ms."""
    if not len(steps):
        return steps
    cell = steps.start // step
    edge = np.flatnonzero((steps.point[1:] != steps.point[:-1]) | (cell[1:] != cell[:-1])) + 1
    heads = np.concatenate(([0], edge))
    has = steps.count > 0
    count = np.add.reduceat(steps.count, heads, dtype=np.int32)
    held = np.add.reduceat(steps.held.astype(np.int64), heads)
    with np.errstate(invalid="ignore", divide="ignore"):
        mean = np.add.reduceat(np.where(has, steps.mean * steps.count, 0.0), heads) / count
        weighted = np.add.reduceat(np.where(steps.held > 0, steps.weighted * steps.held, 0.0), heads) / held
    newest = np.maximum.reduceat(np.where(has, np.arange(len(steps)), -1), heads)
    return Steps(
        steps.point[heads],
        cell[heads] * step,
        np.fmin.reduceat(steps.minimum, heads),
        np.fmax.reduceat(steps.maximum, heads),
        np.where(count > 0, mean, np.nan),
        np.where(newest >= 0, steps.last[newest], np.nan),
        np.where(held > 0, weighted, np.nan),
        np.minimum(held, np.iinfo(np.int32).max).astype(np.int32),
        count,
    )


def fuller(there: Steps, fresh: Steps) -> Steps:
    """Return the rows of both, ordered; of two rows of one step the one that is made of more readings stays.

    Its extremes are those of both: how many readings the two have in common is not known, but no spike is lost.
    """
    both = Steps.concat([there, fresh])
    if not len(both):
        return both
    # stable: of two rows of as many readings the one that knows more of the step, then the fresh one
    both = both.take(np.lexsort((both.held, both.count, both.start, both.point)))
    heads = np.flatnonzero(
        np.append(True, (both.point[1:] != both.point[:-1]) | (both.start[1:] != both.start[:-1]))
    )
    return replace(
        both.take(np.append(heads[1:], len(both)) - 1),
        minimum=np.fmin.reduceat(both.minimum, heads),
        maximum=np.fmax.reduceat(both.maximum, heads),
    )


def column(steps: Steps, how: Aggregate) -> ValueArray:
    """Return the aggregate that `how` names, one value a row."""
    match how:
        case Aggregate.MIN:
            return steps.minimum
        case Aggregate.MAX:
            return steps.maximum
        case Aggregate.MEAN:
            return steps.mean
        case Aggregate.LAST:
            return steps.last
        case Aggregate.TIME_WEIGHTED:
            return steps.weighted
        case Aggregate.COUNT:
            return np.where(steps.count > 0, steps.count.astype(np.float64), np.nan)


def to_grid(steps: Steps, points: IntArray, start: int, end: int, step: int, how: Aggregate) -> Grid:
    """Lay rows of exactly `step` ms out as points by steps, over every step that overlaps [start, end)."""
    points = np.asarray(points, dtype=np.int32)
    first = floor_to(start, step)
    starts = np.arange(first, max(ceil_to(end, step), first), step, dtype=np.int64)
    grid = Grid(points, starts, step, np.full((len(points), len(starts)), np.nan))
    lay_out(grid, steps.point, steps.start, column(steps, how))
    return grid


def lay_out(grid: Grid, point: IntArray, start: TimeArray, value: ValueArray) -> None:
    """Put values into the cells of a grid, in whatever order they come; what is beyond it is left out."""
    if not len(point) or not grid.values.size:
        return
    known, place = np.unique(grid.point, return_inverse=True)
    row_of = np.full(max(int(known[-1]), int(point.max())) + 1, -1, np.int32)
    row_of[known] = np.arange(len(known))
    rows = row_of[point]
    columns = (start - grid.start[0]) // grid.step
    fits = (rows >= 0) & (columns >= 0) & (columns < len(grid.start))
    if not fits.all():
        rows, columns, value = rows[fits], columns[fits], value[fits]
    if np.array_equal(known, grid.point):
        grid.values[rows, columns] = value
        return
    values = np.full((len(known), len(grid.start)), np.nan)
    values[rows, columns] = value
    filled = ~np.isnan(values[place])
    grid.values[filled] = values[place][filled]


def total_of(grid: Grid) -> Grid:
    """Return the sum over a grid's points; NaN in each step where any of them is missing."""
    summed = (
        grid.values.sum(axis=0, keepdims=True) if len(grid.point) else np.full((1, len(grid.start)), np.nan)
    )
    return Grid(np.array([-1], np.int32), grid.start, grid.step, summed)


def top_of(steps: Steps, start: int, how: Aggregate, n: int) -> Batch:
    """Return the `n` points whose steps, combined into one, are highest."""
    if not len(steps):
        return Batch.of([], [], [])
    moved = Steps(
        steps.point, np.zeros_like(steps.start), steps.minimum, steps.maximum, steps.mean, steps.last,
        steps.weighted, steps.held, steps.count,
    )  # fmt: skip
    whole = combine(moved, 1)
    value = column(whole, how)
    order = np.argsort(-value, kind="stable")
    order = order[~np.isnan(value[order])][:n]
    return Batch.of(whole.point[order], start, value[order])
