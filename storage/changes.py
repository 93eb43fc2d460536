"""What states told between two looks: a leak that came and went again is not missed."""

from __future__ import annotations

import threading
from collections.abc import Callable

import numpy as np

from domain.points import IntArray, Quality, QualityArray, TimeArray, ValueArray

MOST_OF_POINT = 4
"""Different values of a point that are kept until the next look: of more the first ones."""

Change = tuple[float, int]
"""Value, and when it was observed (UTC ms)."""


class StateChanges:
    """Keeps the values of watched points that differ from the one before. Safe from several threads.

    However fast they change, at most `MOST_OF_POINT` values of each watched point are kept.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._watched = np.zeros(0, bool)
        self._last = np.zeros(0)
        self._kept: dict[int, list[Change]] = {}
        self.on_change: Callable[[], None] | None = None
        """Called after a change, from the thread that brought it; must not wait."""
        self.noted = 0
        """Changes since the start."""

    def watch(self, points: IntArray) -> None:
        """Watch these points too."""
        if not len(points):
            return
        with self._lock:
            more = int(points.max()) + 2 - len(self._watched)
            if more > 0:  # the last place stands for all points that came later; it is not watched
                self._watched = np.concatenate([self._watched, np.zeros(more, bool)])
                self._last = np.concatenate([self._last, np.full(more, np.nan)])
            self._watched[points] = True

    def note(self, point: IntArray, observed: TimeArray, value: ValueArray, quality: QualityArray) -> None:
        """Take note of what changes in readings, in the order in which they came."""
        if not len(self._watched):
            return
        with self._lock:
            place = np.minimum(point, len(self._watched) - 1)
            rows = np.flatnonzero(self._watched[place])
            if not len(rows):
                return
            rows = rows[(quality[rows] != Quality.BAD) & ~np.isnan(value[rows])]
            changed = rows[value[rows] != self._last[point[rows]]]
            if not len(changed):
                return
            for row in changed.tolist():
                kept = self._kept.setdefault(int(point[row]), [])
                if len(kept) < MOST_OF_POINT and value[row] not in [v for v, _ in kept]:
                    kept.append((float(value[row]), int(observed[row])))
            self._last[point[rows]] = value[rows]
            self.noted += len(changed)
        if self.on_change is not None:
            self.on_change()

    def take(self) -> dict[int, list[Change]]:
        """Return what has changed since the last call, by point."""
        with self._lock:
            kept, self._kept = self._kept, {}
        return kept
