"""Batches: readings as columns. No per-reading Python objects on the hot path."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from domain.points import IntArray, Quality, QualityArray, TimeArray, ValueArray

BoolArray = NDArray[np.bool_]


def now_ms() -> int:
    """Return the present, UTC, in milliseconds since 1970."""
    return time.time_ns() // 1_000_000


@dataclass(frozen=True, slots=True)
class Batch:
    """Readings of many points, one row each, in the order in which they came.

    Parameters
    ----------
    point
        Index of each reading's point in the registry, shape (n,), int32.
    observed
        When each was observed, UTC ms, shape (n,), int64.
    value
        In the point's canonical unit, shape (n,), float64. A missing reading has no row; NaN is never stored.
    quality
        `domain.points.Quality`, shape (n,), uint8.
    received
        When the batch reached this process, UTC ms.
    late
        Which readings somebody kept on their way, shape (n,), bool: a message that a broker retained, an agent's spool,
        a value that waited for its metadata. True at the time when they were observed, they are no news: they must not
        replace what was heard since. None where all are fresh.
    """

    point: IntArray
    observed: TimeArray
    value: ValueArray
    quality: QualityArray
    received: int
    late: BoolArray | None = None

    def __len__(self) -> int:
        return len(self.point)

    @classmethod
    def of(
        cls,
        point: Sequence[int] | IntArray,
        observed: Sequence[int] | TimeArray | int,
        value: Sequence[float] | ValueArray,
        quality: Sequence[int] | QualityArray | int = Quality.GOOD,
        received: int | None = None,
    ) -> Batch:
        """Build a batch; a scalar `observed` or `quality` holds for every row."""
        p = np.asarray(point, dtype=np.int32)
        return cls(
            p,
            np.full(len(p), observed, np.int64) if np.isscalar(observed) else np.asarray(observed, np.int64),
            np.asarray(value, dtype=np.float64),
            np.full(len(p), quality, np.uint8) if np.isscalar(quality) else np.asarray(quality, np.uint8),
            now_ms() if received is None else received,
        )

    @classmethod
    def concat(cls, batches: Sequence[Batch]) -> Batch:
        """Join batches in the order given; `received` is the oldest of theirs."""
        if len(batches) == 1:
            return batches[0]
        return cls(
            np.concatenate([b.point for b in batches]),
            np.concatenate([b.observed for b in batches]),
            np.concatenate([b.value for b in batches]),
            np.concatenate([b.quality for b in batches]),
            min(b.received for b in batches),
            None
            if all(b.late is None for b in batches)
            else np.concatenate([np.zeros(len(b), bool) if b.late is None else b.late for b in batches]),
        )

    def take(self, rows: IntArray | np.ndarray[tuple[int], np.dtype[np.bool_]]) -> Batch:
        """Return the rows that an index array or a mask picks."""
        return Batch(
            self.point[rows],
            self.observed[rows],
            self.value[rows],
            self.quality[rows],
            self.received,
            None if self.late is None else self.late[rows],
        )


Sink = Callable[[Batch], Awaitable[None]]
"""Where a collector hands its batches. It returns once every row is in the store or in the spool on disk: only
then may the source be told that its readings arrived."""
