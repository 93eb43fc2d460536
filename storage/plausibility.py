"""Values that cannot be, found by point index: what no plant shows is kept, but never as good."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from domain.batch import Batch
from domain.points import PointRegistry, Quality, ValueArray
from domain.possible import possible_of, why_not


class Plausibility:
    """Compares readings with what `domain.possible` says of their points.

    Parameters
    ----------
    registry
        The points.
    racks
        Ids of the site's racks: a meter of one of them is smaller than one of a feed.

    Notes
    -----
    One thread at a time. A reading costs two array look-ups and two comparisons.
    """

    def __init__(self, registry: PointRegistry, racks: Collection[str] = ()) -> None:
        self._registry = registry
        self._racks = frozenset(racks)
        self._version = 0
        self._low: ValueArray = np.full(1024, -np.inf)
        self._high: ValueArray = np.full(1024, np.inf)

    def impossible(self, batch: Batch) -> NDArray[np.bool_]:
        """Return which readings, of known points, cannot be. NaN counts as possible: it is refused elsewhere."""
        self._follow()
        found: NDArray[np.bool_] = (batch.value < self._low[batch.point]) | (
            batch.value > self._high[batch.point]
        )
        return found

    def marked(self, batch: Batch, impossible: NDArray[np.bool_]) -> Batch:
        """Return the batch with those readings as bad."""
        quality = np.where(impossible, np.uint8(Quality.BAD), batch.quality)
        return replace(batch, quality=quality)

    def reason(self, index: int, value: float) -> str:
        """Return why a reading cannot be, for people."""
        return why_not(self._registry[index], value, self._racks)

    def _follow(self) -> None:
        """Take over points that are new or changed."""
        version = self._registry.version
        if version == self._version:
            return
        changed = self._registry.changed_since(self._version)
        self._version = version
        size = max((index for index, _ in changed), default=0) + 1
        if size > len(self._low):
            more = max(size, 2 * len(self._low)) - len(self._low)
            self._low = np.append(self._low, np.full(more, -np.inf))
            self._high = np.append(self._high, np.full(more, np.inf))
        for index, point in changed:
            self._low[index], self._high[index] = possible_of(point, self._racks)
