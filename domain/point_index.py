"""Points by what they have in common, in sets that follow each registration; `domain.points.PointRegistry` keeps one."""

from __future__ import annotations

from bisect import bisect_left
from typing import TYPE_CHECKING, TypeVar

import numpy as np

if TYPE_CHECKING:
    from domain.points import IntArray, Place, Point

K = TypeVar("K")

NO_POINTS = np.array([], np.int32)
NO_POINTS.flags.writeable = False


class Postings:
    """The points that have something in common, ascending. The array is the same one until the points change."""

    __slots__ = ("_array", "_points")

    def __init__(self) -> None:
        self._points: list[int] = []
        self._array: IntArray | None = None

    def __len__(self) -> int:
        return len(self._points)

    def add(self, index: int) -> None:
        """Take a point in, wherever its place is."""
        if not self._points or index > self._points[-1]:
            self._points.append(index)
        else:
            self._points.insert(bisect_left(self._points, index), index)
        self._array = None

    def remove(self, index: int) -> None:
        """Take a point out, which must be in."""
        del self._points[bisect_left(self._points, index)]
        self._array = None

    def array(self) -> IntArray:
        """Return the points, which cannot be written."""
        if self._array is None:
            self._array = np.array(self._points, np.int32)
            self._array.flags.writeable = False  # handed to everybody
        return self._array


class PointIndex:
    """Points by what they share, kept up to date point by point; the registry's lock guards it."""

    def __init__(self) -> None:
        self.kinds: dict[tuple[str, str], Postings] = {}  # object type and point type; without setpoints
        self.objects: dict[str, Postings] = {}
        self.sources: dict[str, Postings] = {}
        self.members: dict[str, dict[str, int]] = {}  # its parts by object, and how many points each has
        self.places: dict[Place, int] = {}

    def add(self, index: int, point: Point) -> bool:
        """Take a point in; return whether it says something new of how the plant hangs together."""
        if not point.setpoint:
            _add(self.kinds, (point.object_type, point.point_type), index)
        _add(self.objects, point.object_id, index)
        _add(self.sources, point.source, index)
        if point.associate:
            _count(self.members, point.associate, point.object_id)
        place = point.place
        known = self.places.get(place, 0)
        self.places[place] = known + 1
        return not known

    def remove(self, index: int, point: Point) -> bool:
        """Take a point out; return whether something that it said of the plant is said by no other."""
        if not point.setpoint:
            _remove(self.kinds, (point.object_type, point.point_type), index)
        _remove(self.objects, point.object_id, index)
        _remove(self.sources, point.source, index)
        if point.associate:
            members = self.members[point.associate]
            _uncount(members, point.object_id)
            if not members:
                del self.members[point.associate]
        return _uncount(self.places, point.place)


def array_of(postings: Postings | None) -> IntArray:
    """Return the points of a set, none where there is no set; the array cannot be written."""
    return NO_POINTS if postings is None else postings.array()


def _add(postings: dict[K, Postings], key: K, index: int) -> None:
    found = postings.get(key)
    if found is None:
        found = postings[key] = Postings()
    found.add(index)


def _remove(postings: dict[K, Postings], key: K, index: int) -> None:
    postings[key].remove(index)
    if not len(postings[key]):
        del postings[key]


def _count(counts: dict[str, dict[str, int]], of: str, key: str) -> None:
    found = counts.get(of)
    if found is None:
        found = counts[of] = {}
    found[key] = found.get(key, 0) + 1


def _uncount(counts: dict[K, int], key: K) -> bool:
    """Count one less; return whether that was the last."""
    counts[key] -= 1
    if counts[key]:
        return False
    del counts[key]
    return True
