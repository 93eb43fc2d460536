"""Sources of which nothing comes any more, told by how often each usually speaks.

What they told last is held by nobody but us: it says nothing of the plant now, and must not be compared with what
goes on. One whose readings merely stand still is none of them, as long as anything of it comes.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from domain.points import IntArray, PointRegistry
from storage.latest import LatestValues

TIMES, MORE_MS = 3.0, 10_000.0
"""A source is silent after so many of its usual gaps, and so long on top."""
FORGETS = 0.98
"""What is left of the usual gap each time that a source is heard: one long gap is forgotten after minutes."""


class Silences:
    """Follows when each source was heard; there are as many as the registry has, which bounds them.

    Parameters
    ----------
    registry
        Points and their sources.
    latest
        What came of them.
    longest
        No gap counts as usual beyond a third of this, ms: a source that speaks seldom is silent after this time.
    """

    def __init__(self, registry: PointRegistry, latest: LatestValues, longest: int) -> None:
        self._registry = registry
        self._latest = latest
        self._longest = float(longest)
        self._sources: tuple[str, ...] = ()
        self._order: IntArray = np.zeros(0, np.int32)
        self._offsets: IntArray = np.zeros(0, np.int32)
        self._source_of: IntArray = np.zeros(0, np.int32)
        self._heard = self._gap = np.zeros(0)

    def refresh(self) -> None:
        """Look for new points and sources; what is known of the others is kept."""
        before = dict(
            zip(self._sources, zip(self._heard.tolist(), self._gap.tolist(), strict=True), strict=True)
        )
        points = {name: self._registry.of_source(name) for name in self._registry.sources()}
        points = {name: of for name, of in points.items() if name and len(of)}
        self._sources = tuple(points)
        lengths = [len(of) for of in points.values()]
        self._order = np.concatenate([*points.values()]) if points else np.zeros(0, np.int32)
        self._offsets = np.cumsum([0, *lengths[:-1]]).astype(np.int32)
        self._source_of = np.full(int(self._order.max(initial=-1)) + 1, -1, np.int32)
        self._source_of[self._order] = np.repeat(np.arange(len(lengths), dtype=np.int32), lengths)
        first = (0.0, self._longest / TIMES)  # of one that is new nothing is known
        self._heard, self._gap = (
            np.array([before.get(name, first) for name in self._sources]).reshape(-1, 2).T
        )

    def look(self) -> None:
        """Take in what was heard since the last look."""
        if not self._sources:
            return
        newest = np.maximum.reduceat(self._latest.at(self._order).received, self._offsets).astype(np.float64)
        again = newest > self._heard
        gap = np.where(self._heard > 0, newest - self._heard, 0.0)
        # after an outage the gap is no measure of the next; a source that speaks less often from now on is learnt in steps
        usual = np.maximum(self._gap * FORGETS, np.minimum(gap, 2.0 * self._gap + MORE_MS))
        self._gap = np.where(again, np.minimum(usual, self._longest / TIMES), self._gap)
        self._heard = newest

    def of(self, points: IntArray, now: int) -> npt.NDArray[np.bool_]:
        """Return whether each point's source is silent at `now` (UTC ms), in the shape of `points`; no point has none."""
        if not self._sources:
            return np.zeros(points.shape, bool)
        silent = now - self._heard > np.minimum(TIMES * self._gap + MORE_MS, self._longest)
        known = (points >= 0) & (points < len(self._source_of))
        source = np.where(known, self._source_of[np.where(known, points, 0)], -1)
        return (source >= 0) & silent[source]
