"""Rollups: how they are made, repaired and read. Both stores share this; they bring only the reading and writing.

Rollups are a function of the raw readings: a minute is rolled up once it is over, quarters and hours from the finer
tier, and whole hours of a point again from its raw readings when a late one lands in them.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from domain.batch import Batch
from domain.errors import InputError
from domain.points import IntArray, TimeArray, ValueArray
from storage.settings import DAY, HOUR, MINUTE, QUARTER
from storage.steps import (
    Steps,
    ceil_to,
    column,
    combine,
    floor_to,
    fuller,
    lay_out,
    roll,
    to_grid,
    top_of,
    total_of,
)
from storage.telemetry import Aggregate, Grid, TelemetryStore

TIERS: dict[str, int] = {"minute": MINUTE, "quarter": QUARTER, "hour": HOUR}
"""Step of each tier, ms, finest first."""


@dataclass(frozen=True, slots=True)
class Late:
    """Hours [first, last] (multiples of an hour since 1970) of some points that must be rolled up again."""

    points: IntArray
    first: int
    last: int


class TieredStore(TelemetryStore, ABC):
    """The part of a telemetry store that knows about tiers.

    Parameters
    ----------
    max_gap
        How long a value holds when nothing follows it, ms.
    tier_delay
        How long after its end a minute waits for stragglers, ms.
    """

    points_at_once = 20_000
    """Points that are rolled up together: a minute of them at 1 Hz is 1.2 million readings."""

    def __init__(self, max_gap: int, tier_delay: int) -> None:
        self.max_gap = max_gap
        self._tier_delay = tier_delay
        self._rolled: dict[str, int] = {}
        """Until when each tier is complete; replaced as a whole, never changed."""
        self._kept_from: dict[str, int] = {}
        """Since when each tier is kept at all: older rows are not worth making."""
        self._carry: tuple[int, Batch] | None = None
        """Until when the last pass rolled, and the newest reading of each point before that."""

    @property
    def raw_from(self) -> int:
        """Since when the raw readings are complete, UTC ms."""
        return self._raw_from()

    @property
    def rolled_until(self) -> int:
        """Until when the minutes are rolled up, UTC ms."""
        return self._rolled["minute"]

    # --- what a store brings ---------------------------------------------------------------------------------

    @abstractmethod
    def read(self, points: IntArray, start: int, end: int) -> Batch:
        """Return raw readings, ordered by point, then by time."""

    @abstractmethod
    def newest(self, points: IntArray, start: int, end: int) -> Batch:
        """Return of each point that has raw readings in [start, end) the newest of them, ordered by point."""

    @abstractmethod
    def read_tier(self, name: str, points: IntArray, start: int, end: int) -> Steps:
        """Return a tier's rows (a name of `TIERS`), ordered by point, then by start."""

    @abstractmethod
    def write_tier(self, name: str, steps: Steps) -> int:
        """Take rollups over from another store (rows ordered by point and start); return the rows written."""

    @abstractmethod
    def check_removal(self) -> None:
        """Raise InputError where the store cannot remove the readings of single points."""

    @abstractmethod
    def remove(self, points: IntArray) -> int:
        """Remove all readings and rollups of points; return how many rows, 0 where the store does not tell."""

    @abstractmethod
    def _tier_extremes(
        self, name: str, points: IntArray, start: int, end: int, how: Aggregate
    ) -> tuple[IntArray, ValueArray]:
        """Return each point that has rows in [start, end), in order, and its lowest or highest value there."""

    @abstractmethod
    def _all_points(self) -> IntArray:
        """Return every point that may have readings."""

    @abstractmethod
    def _raw_from(self) -> int:
        """Return since when the raw readings are complete; earlier ones may have been dropped."""

    @abstractmethod
    def _next_pass(self, start: int, target: int) -> int | None:
        """Return how far the pass that begins at `start` goes; None where there is nothing until `target`."""

    @abstractmethod
    def _keep_rolled(self, rows: Mapping[str, Steps], rolled: dict[str, int]) -> None:
        """Write new rows of each tier, and how far the tiers are complete."""

    @abstractmethod
    def _keep_repaired(self, late: Late, rows: Mapping[str, Steps]) -> None:
        """Put rows in the place of those of these points and hours."""

    # --- reading ---------------------------------------------------------------------------------------------

    def aggregate(
        self, points: IntArray, start: int, end: int, step: int, how: Aggregate, max_gap: int | None = None
    ) -> Grid:
        """Return one value per point and step, over every step that overlaps [start, end).

        With a `max_gap` other than the store's own, raw readings are used as far back as they reach.
        """
        _check_range(start, end, step)
        points = np.asarray(points, np.int32)
        first, last = floor_to(start, step), ceil_to(end, step)
        tier, split = self._whole_steps(first, last, step, max_gap)
        rest = self._steps_of(points, split, last, step, max_gap) if split < last else Steps.empty()
        grid = to_grid(rest, points, first, last, step, how)
        if tier is not None and len(points):
            lay_out(grid, *self._tier_cells(tier, np.unique(points), first, split, step, how))
        return grid

    def total(self, points: IntArray, start: int, end: int, step: int, max_gap: int | None = None) -> Grid:
        """Return the sum of the points' time-weighted means; NaN in a step where one is missing."""
        _check_range(start, end, step)
        points = np.unique(np.asarray(points, np.int32))
        first, last = floor_to(start, step), ceil_to(end, step)
        tier, split = self._whole_steps(first, last, step, max_gap)
        rest = self._steps_of(points, split, last, step, max_gap) if split < last else Steps.empty()
        grid = total_of(to_grid(rest, points, first, last, step, Aggregate.TIME_WEIGHTED))
        if tier is not None and len(points):
            cells, sums = self._tier_total(tier, points, first, split, step)
            grid.values[0, (cells - first) // step] = sums
        return grid

    def _whole_steps(self, start: int, end: int, step: int, max_gap: int | None) -> tuple[str | None, int]:
        """Return the tier that serves steps of `step` on its own, and until when it does."""
        serving = [name for name, s in TIERS.items() if step % s == 0]
        if not serving or (max_gap is not None and max_gap != self.max_gap and start >= self._raw_from()):
            return None, start
        split = floor_to(min(self._rolled[serving[-1]], end), step)
        return (serving[-1], split) if split > start else (None, start)

    def _tier_cells(
        self, name: str, points: IntArray, start: int, end: int, step: int, how: Aggregate
    ) -> tuple[IntArray, TimeArray, ValueArray]:
        """Return point, start and value of each step that a tier serves on its own, in any order."""
        steps = self.read_tier(name, points, start, end)
        steps = steps if step == TIERS[name] else combine(steps, step)
        return steps.point, steps.start, column(steps, how)

    def _tier_total(
        self, name: str, points: IntArray, start: int, end: int, step: int
    ) -> tuple[TimeArray, ValueArray]:
        """Return start and sum of the time-weighted means of each step in which all the points have one."""
        point, cell, value = self._tier_cells(name, points, start, end, step, Aggregate.TIME_WEIGHTED)
        grid = to_grid(Steps.empty(), points, start, end, step, Aggregate.TIME_WEIGHTED)
        lay_out(grid, point, cell, value)
        return grid.start, total_of(grid).values[0]

    def top(self, points: IntArray, start: int, end: int, how: Aggregate, n: int) -> Batch:
        """Return the `n` points with the highest aggregate over [start, end), highest first."""
        _check_range(start, end, 1)
        points = np.asarray(points, np.int32)
        inner = QUARTER if end - start >= DAY else MINUTE if end - start >= HOUR else 0
        # what held before the range takes part in the mean over time only
        gap = self.max_gap if how is Aggregate.TIME_WEIGHTED else 1
        if not inner:
            steps = self._roll_raw(points, start, end, max(end - start, 1), gap)
            return top_of(steps, start, how, n)
        first, last = ceil_to(start, inner), floor_to(end, inner)
        parts = [
            self._roll_raw(points, start, first, inner, gap),
            self._span(points, first, last, inner, how),
            self._roll_raw(points, last, end, inner, gap),
        ]
        return top_of(Steps.concat(parts), start, how, n)

    def _span(self, points: IntArray, start: int, end: int, inner: int, how: Aggregate) -> Steps:
        """Return rows that, combined into one a point, tell the aggregate of [start, end), aligned to `inner`."""
        name = "quarter" if inner == QUARTER else "minute"
        limit = floor_to(min(self._rolled[name], end), inner)
        if how not in (Aggregate.MIN, Aggregate.MAX) or limit <= start or not len(points):
            return self._steps_of(points, start, end, inner, None)
        point, value = self._tier_extremes(name, np.unique(points), start, limit, how)
        none, one = np.full(len(point), np.nan), np.ones(len(point), np.int32)
        lowest, highest = (value, none) if how is Aggregate.MIN else (none, value)
        starts = np.full(len(point), start, np.int64)
        whole = Steps(point, starts, lowest, highest, none, none, none, 0 * one, one)
        return Steps.concat([whole, self._steps_of(points, limit, end, inner, None)])

    def _steps_of(self, points: IntArray, start: int, end: int, step: int, max_gap: int | None) -> Steps:
        """Return the steps of [start, end), both aligned, from the coarsest tier that divides `step`."""
        if not len(points):
            return Steps.empty()
        serving = [name for name, s in TIERS.items() if step % s == 0]
        own_gap = max_gap is not None and max_gap != self.max_gap and start >= self._raw_from()
        if not serving or own_gap:
            return self._roll_raw(points, start, end, step, self.max_gap if max_gap is None else max_gap)
        parts: list[Steps] = []
        until = start
        rolled = self._rolled  # one look: rolling on replaces the whole
        for name in reversed(serving):
            if (limit := min(rolled[name], end)) > until:
                parts.append(self.read_tier(name, points, until, limit))
                until = limit
        if until < end:
            parts.append(self._roll_tail(points, until, end))
        steps = Steps.concat(parts)
        return steps if step == TIERS[serving[-1]] and len(parts) == 1 else combine(steps, step)

    def _roll_tail(self, points: IntArray, start: int, end: int) -> Steps:
        """Roll up what no tier has yet; what is carried in is known from the last pass."""
        carry = self._carry
        if carry is None or carry[0] != start:
            return self._roll_raw(points, start, end, MINUTE, self.max_gap)
        before = carry[1].take(np.isin(carry[1].point, points))
        return roll(_before(before, self.read(points, start, end)), start, end, MINUTE, self.max_gap)

    def _roll_raw(self, points: IntArray, start: int, end: int, step: int, max_gap: int) -> Steps:
        if end <= start or not len(points):
            return Steps.empty()
        return roll(self.read(points, start - max_gap, end), start, end, step, max_gap)

    # --- making and repairing --------------------------------------------------------------------------------

    def _roll_forward(self, now: int) -> int:
        """Make the rollups of the time that has passed since the last call; return the rows written."""
        target = floor_to(now - self._tier_delay, MINUTE)
        written = 0
        while (start := self._rolled["minute"]) < target:
            end = self._next_pass(start, target)
            until = target if end is None else end
            rolled = {name: max(self._rolled[name], floor_to(until, step)) for name, step in TIERS.items()}
            rows, carry = self._roll_pass(start, end, rolled)
            self._keep_rolled(rows, rolled)
            self._rolled = rolled
            if carry is not None:
                self._carry = until, carry
            written += sum(len(r) for r in rows.values())
        return written

    def _roll_pass(
        self, start: int, end: int | None, rolled: Mapping[str, int]
    ) -> tuple[dict[str, Steps], Batch | None]:
        """Return the new rows of each tier, and the newest reading of each point (`end` None: there is none)."""
        rows: dict[str, list[Steps]] = {name: [] for name in TIERS}
        newest = []
        points = self._all_points()
        # a part of the points at a time: threads that write get their turn, and memory stays bounded
        for first in range(0, len(points), self.points_at_once):
            some = points[first : first + self.points_at_once]
            minutes = Steps.empty()
            if end is not None:
                readings = self._readings_of_pass(some, start, end)
                minutes = roll(readings, start, end, MINUTE, self.max_gap)
                last = np.append(readings.point[1:] != readings.point[:-1], True)[: len(readings)]
                newest.append(readings.take(last & (readings.observed >= end - self.max_gap)))
            made = {"minute": minutes}
            for finer, name in (("minute", "quarter"), ("quarter", "hour")):
                since, until = self._rolled[name], rolled[name]
                made[name] = Steps.empty()
                if until > since:
                    # the finer rows of these steps: those written before, and those of this pass
                    before = self.read_tier(finer, some, since, min(until, self._rolled[finer]))
                    now_made = made[finer].take(made[finer].start < until)
                    made[name] = combine(Steps.concat([before, now_made]), TIERS[name])
            for name, made_rows in made.items():
                rows[name].append(made_rows)
        return {n: Steps.concat(r) for n, r in rows.items()}, Batch.concat(newest) if newest else None

    def _readings_of_pass(self, points: IntArray, start: int, end: int) -> Batch:
        """Read [start, end) and what is carried into it, which the pass before knows where there was one."""
        if self._carry is None or self._carry[0] != start or not len(points):
            return self.read(points, start - self.max_gap, end)
        carried = self._carry[1]
        low, high = np.searchsorted(carried.point, [points[0], points[-1] + 1])
        return _before(carried.take(np.arange(low, high, dtype=np.int32)), self.read(points, start, end))

    def _repair_hours(self, late: Late) -> int:
        """Roll whole hours of some points up again from their raw readings; return the rows written."""
        start, end = late.first * HOUR, (late.last + 1) * HOUR
        rolled = self._rolled
        fresh = self._roll_raw(late.points, start, end, MINUTE, self.max_gap)
        rows: dict[str, Steps] = {}
        for name, step in TIERS.items():
            fresh = fresh if step == MINUTE else combine(fresh, step)
            since = self._kept_from.get(name, 0)
            done = fresh.take((fresh.start < min(rolled[name], end)) & (fresh.start >= since))
            rows[name] = self._fuller(name, late.points, done, start, end)
        self._keep_repaired(late, rows)
        if self._carry is not None and end > self._carry[0] - HOUR:
            self._carry = None  # it may have missed what came late
        return sum(len(r) for r in rows.values())

    def _fuller(self, name: str, points: IntArray, fresh: Steps, start: int, end: int) -> Steps:
        """Keep, where raw readings may have been dropped already, the row that is made of more readings."""
        limit = min(self._raw_from(), end)
        if start >= limit:
            return fresh
        there = self.read_tier(name, points, start, limit)
        if not len(there):
            return fresh
        return fuller(there, fresh)


def _before(first: Batch, then: Batch) -> Batch:
    """Put one earlier reading of some points before the readings of these points, keeping the order by point."""
    at = np.searchsorted(then.point, first.point)
    return Batch(
        np.insert(then.point, at, first.point),
        np.insert(then.observed, at, first.observed),
        np.insert(then.value, at, first.value),
        np.insert(then.quality, at, first.quality),
        then.received,
    )


def _check_range(start: int, end: int, step: int) -> None:
    if end < start or step <= 0:
        raise InputError(
            f"range {start} to {end} by {step} ms: the end is before the start, or the step is not positive"
        )
