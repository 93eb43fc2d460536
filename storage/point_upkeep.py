"""Points as people look after them: which there are, which of them nothing is heard of, and taking them out of use."""

from __future__ import annotations

from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any

import numpy as np
from numpy.typing import NDArray

from domain.errors import InputError
from domain.points import IntArray, PointRegistry, Retired, TimeArray
from storage.latest import LatestValues
from storage.telemetry import Aggregate
from storage.tiers import TieredStore

AT_ONCE = 5_000
"""Points that are taken out, saved and asked for together."""


@dataclass(frozen=True, slots=True)
class Selection:
    """Which points are meant; all that is given must hold.

    Parameters
    ----------
    pattern
        A key, a glob over keys, or ``objectId/pointType`` (globs allowed); empty for all.
    source
        A source, or a glob; empty for all.
    older_than
        Only points of which nothing was read within so many ms; None for all.
    retired
        Those out of use instead of those in use.
    """

    pattern: str = ""
    source: str = ""
    older_than: int | None = None
    retired: bool = False

    @property
    def is_all(self) -> bool:
        """Whether it leaves no point out."""
        return not self.pattern and not self.source and self.older_than is None


class PointUpkeep:
    """Lists points, takes them out of use and back.

    Parameters
    ----------
    registry, store
        The points, and where they and their readings are kept.
    latest
        The newest readings.
    """

    def __init__(self, registry: PointRegistry, store: TieredStore, latest: LatestValues) -> None:
        self._registry = registry
        self._store = store
        self._latest = latest

    def select(self, wanted: Selection, now: int) -> IntArray:
        """Return the indexes of the points that are meant, ascending; `now` in UTC ms."""
        registry = self._registry
        pattern = wanted.pattern or "*"
        points: IntArray = registry.match(pattern, wanted.retired)
        points = points[registry.are_retired(points) == wanted.retired]
        if wanted.source:
            told = [registry[i].source for i in points.tolist()]
            named = {source for source in set(told) if _named(source, wanted.source)}
            points = points[np.array([source in named for source in told], dtype=bool)]
        if wanted.older_than is not None:
            points = points[self._unheard(points, now - wanted.older_than, now)]
        return points

    def _unheard(self, points: IntArray, since: int, now: int) -> NDArray[np.bool_]:
        """Return of which points nothing was observed since a time."""
        unheard = self._newest(points) < since
        # a server's raw readings end with their retention, and a retired point's newest is forgotten: rollups tell
        unknown = np.flatnonzero(self._newest(points) == 0)
        for first in range(0, len(unknown), AT_ONCE):
            some = points[unknown[first : first + AT_ONCE]]
            heard = self._store.top(some, since, now + 1, Aggregate.MAX, len(some)).point
            unheard[unknown[first : first + AT_ONCE]] = ~np.isin(some, heard)
        return unheard

    def _newest(self, points: IntArray) -> TimeArray:
        return self._latest.at(points).observed

    def report(self, wanted: Selection, limit: int, now: int) -> dict[str, Any]:
        """Return the points that are meant, ready for JSON: how many, by source, and the first `limit` by key."""
        registry = self._registry
        points = self.select(wanted, now)
        by_source: dict[str, int] = {}
        for i in points.tolist():
            source = registry[i].source
            by_source[source] = by_source.get(source, 0) + 1
        shown = np.array(sorted(points.tolist(), key=lambda i: registry[i].key)[:limit], np.int32)
        return {
            "total": len(points),
            "by_source": dict(sorted(by_source.items())),
            "points": [
                self._about(i, int(t), now)
                for i, t in zip(shown.tolist(), self._newest(shown).tolist(), strict=True)
            ],
        }

    def _about(self, index: int, newest: int, now: int) -> dict[str, Any]:
        point = self._registry[index]
        return {
            "key": point.key,
            "objectType": point.object_type,
            "pointType": point.point_type,
            "objectId": point.object_id,
            "unit": point.unit,
            "source": point.source,
            "newest": newest or None,
            "age_s": (now - newest) / 1000 if newest else None,
            "retired": point.retired or None,
        }

    def retire(self, wanted: Selection, refuse: bool, with_readings: bool, now: int) -> dict[str, Any]:
        """Take points out of use, and return how many.

        Parameters
        ----------
        refuse
            Whether they stay out whatever their source tells; otherwise they come back with its next reading.
        with_readings
            Whether their history is removed too.

        Raises
        ------
        InputError
            If nothing says which points, or the store cannot remove readings.
        """
        if wanted.is_all:
            raise InputError("say which points: a pattern, --source or --older-than")
        if with_readings:
            self._store.check_removal()
        points = self.select(wanted, now)
        for first in range(0, len(points), AT_ONCE):
            some = points[first : first + AT_ONCE]
            for index in some.tolist():
                self._registry.retire(index, Retired.REFUSED if refuse else Retired.GONE)
            self._latest.forget(some)
            self._save(some)
        removed = self._store.remove(points) if with_readings else 0
        return {"retired": len(points), "readings_removed": removed}

    def readmit(self, wanted: Selection, now: int) -> dict[str, Any]:
        """Take retired points back into use, and return how many; those whose tags have moved on keep their history.

        Raises
        ------
        TooManyPoints
            If there are as many as there may be; those before it are back.
        """
        points = self.select(wanted, now)
        points = points[~np.isin(points, self._registry.moved)]
        try:
            for index in points.tolist():
                self._registry.retire(index, None)
        finally:
            self._save(points)
        return {"readmitted": len(points)}

    def _save(self, points: IntArray) -> None:
        self._store.save_points([(i, self._registry[i]) for i in points.tolist()])


def _named(source: str, pattern: str) -> bool:
    return source == pattern or fnmatchcase(source, pattern)
