"""Sources of which nothing comes any more, told by how often each usually speaks.

What they told last is held by nobody but us: it says nothing of the plant now, and must not be compared with what
goes on. One whose readings merely stand still is none of them, as long as anything of it comes.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from domain.points import IntArray, PointRegistry, Sources
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
        self._sources = Sources((), np.zeros(0, np.int32), np.zeros(0, np.int32))
        self._source_of: IntArray = np.zeros(0, np.int32)
        self._heard = self._gap = np.zeros(0)

    def refresh(self) -> None:
        """Look for new points and sources; what is known of the others is kept."""
        names = self._sources.names
        before = dict(zip(names, zip(self._heard.tolist(), self._gap.tolist(), strict=True), strict=True))
        self._sources = sources = self._registry.by_source()
        lengths = np.diff(sources.offsets, append=len(sources.order))
        self._source_of = np.full(int(sources.order.max(initial=-1)) + 1, -1, np.int32)
        self._source_of[sources.order] = np.repeat(np.arange(len(lengths), dtype=np.int32), lengths)
        first = (0.0, self._longest / TIMES)  # of one that is new nothing is known
        self._heard, self._gap = (
            np.array([before.get(name, first) for name in sources.names]).reshape(-1, 2).T
        )

    def look(self) -> None:
        """Take in what was heard since the last look."""
        sources = self._sources
        if not sources.names:
            return
        newest = np.maximum.reduceat(self._latest.at(sources.order).received, sources.offsets).astype(
            np.float64
        )
        again = newest > self._heard
        gap = np.where(self._heard > 0, newest - self._heard, 0.0)
        # after an outage the gap is no measure of the next; a source that speaks less often from now on is learnt in steps
        usual = np.maximum(self._gap * FORGETS, np.minimum(gap, 2.0 * self._gap + MORE_MS))
        self._gap = np.where(again, np.minimum(usual, self._longest / TIMES), self._gap)
        self._heard = newest

    def of(self, points: IntArray, now: int) -> npt.NDArray[np.bool_]:
        """Return whether each point's source is silent at `now` (UTC ms), in the shape of `points`; no point has none."""
        if not self._sources.names:
            return np.zeros(points.shape, bool)
        silent = now - self._heard > np.minimum(TIMES * self._gap + MORE_MS, self._longest)
        known = (points >= 0) & (points < len(self._source_of))
        source = np.where(known, self._source_of[np.where(known, points, 0)], -1)
        return (source >= 0) & silent[source]
