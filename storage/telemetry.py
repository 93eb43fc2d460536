"""The telemetry store as the rest of Hallwatch sees it; two implementations exist, DuckDB and InfluxDB.

Calls block and may come from any thread: callers on the event loop use ``asyncio.to_thread``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Protocol

from domain.batch import Batch
from domain.points import IntArray, Point, TimeArray, ValueArray


class Aggregate(StrEnum):
    """How the readings of one step become one value."""

    MIN = "min"
    MEAN = "mean"
    MAX = "max"
    LAST = "last"
    COUNT = "count"
    TIME_WEIGHTED = "time_weighted"
    """Mean weighted by how long each value held: right for values that are published on change."""


@dataclass(frozen=True, slots=True, eq=False)
class Grid:
    """Readings per step: one row a point, one column a step.

    Parameters
    ----------
    point
        Registry indexes, shape (m,).
    start
        Start of each step, UTC ms, aligned to multiples of `step`, shape (n,).
    step
        Length of a step, ms.
    values
        Shape (m, n); NaN where a point has nothing for a step.
    """

    point: IntArray
    start: TimeArray
    step: int
    values: ValueArray


@dataclass(frozen=True, slots=True)
class WriteReport:
    """What became of a batch: rows stored, rows that were known already, rows refused for good by reason."""

    stored: int
    duplicate: int = 0
    rejected: dict[str, int] = field(default_factory=dict)
    refused: tuple[tuple[str, Batch], ...] = ()
    """The refused rows themselves, each group with the store's reason."""


@dataclass(frozen=True, slots=True)
class StoreHealth:
    """How the store is: its kind and version, whether it answers, rows and bytes where it tells them."""

    kind: str
    version: str
    available: bool
    detail: str = ""
    rows: int | None = None
    size_bytes: int | None = None


class TelemetryStore(Protocol):
    """Keeps readings for years and answers in columns. Time ranges are [start, end), UTC ms."""

    def save_points(self, points: Sequence[tuple[int, Point]]) -> None:
        """Keep the metadata of points, by registry index."""

    def load_points(self) -> list[Point]:
        """Return the kept points, in order of their index."""

    def write(self, batch: Batch) -> WriteReport:
        """Store readings; when this returns they survive a crash. The same reading twice changes nothing.

        Raises
        ------
        StoreUnavailable
            If the store cannot take them now; nothing of the batch needs to be assumed stored.
        """

    def latest(self, points: IntArray) -> Batch:
        """Return the newest reading of each point that has one."""

    def read(self, points: IntArray, start: int, end: int) -> Batch:
        """Return raw readings, ordered by point, then by time."""

    def newest(self, points: IntArray, start: int, end: int) -> Batch:
        """Return of each point that has raw readings in [start, end) the newest of them, ordered by point."""

    @property
    def raw_from(self) -> int:
        """Since when the raw readings are complete, UTC ms."""

    def aggregate(
        self, points: IntArray, start: int, end: int, step: int, how: Aggregate, max_gap: int | None = None
    ) -> Grid:
        """Return one value per point and step, from the coarsest tier that serves the step.

        With `TIME_WEIGHTED` a value holds until the next reading, but no longer than `max_gap` ms.
        """

    def total(self, points: IntArray, start: int, end: int, step: int, max_gap: int | None = None) -> Grid:
        """Return the sum of several points' time-weighted means per step: one row (its point is -1).

        A step in which any of the points has no value is NaN: a sum with a member missing is wrong.
        """

    def top(self, points: IntArray, start: int, end: int, how: Aggregate, n: int) -> Batch:
        """Return the `n` points with the highest aggregate over the range, highest first (`observed` = start)."""

    def maintain(self, now: int) -> dict[str, int]:
        """Apply retention, repair tiers, compact; return counts of what was done, by name."""

    def health(self) -> StoreHealth:
        """Return how the store is; never raises."""

    def close(self) -> None:
        """Write what is pending and let go of the store."""
