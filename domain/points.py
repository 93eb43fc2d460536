"""The one idea: everything that is measured is a Point with Values.

The vocabulary is that of NVIDIA's DSX Exchange contract (objectType, pointType, objectId, servesId, ...);
what DSX has no word for is listed in `domain.catalogue` and marked as ours.
"""

from __future__ import annotations

import fnmatch
import threading
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from enum import IntEnum, StrEnum
from itertools import takewhile

import numpy as np
from numpy.typing import NDArray

from domain.errors import PointRefused, TooManyPoints

IntArray = NDArray[np.int32]
TimeArray = NDArray[np.int64]
ValueArray = NDArray[np.float64]
QualityArray = NDArray[np.uint8]


class Quality(IntEnum):
    """How far a value may be trusted. DSX: 1 is good, any other integer is not trustworthy."""

    BAD = 0
    GOOD = 1
    ESTIMATED = 2
    """Ours: a virtual reading that stands in for a faulty sensor."""


class Retired(StrEnum):
    """How a point was taken out of use."""

    GONE = "gone"
    """Its readings were removed; it comes back when its source tells it again."""
    REFUSED = "refused"
    """It stays out, whatever its source tells."""


@dataclass(frozen=True, slots=True)
class Point:
    """What one measured quantity is: where it sits in the plant, and in which unit it is told.

    Parameters
    ----------
    key
        Unique and stable for ever: ``objectType/pointType/tagPath``. For DSX the publisher's own tagPath,
        for SNMP ``snmp/<device>/...``, for NVML ``nvml/<node>/...``.
    object_type, point_type
        Words of the catalogue (`domain.catalogue`).
    object_id, object_name
        The plant object that the point belongs to (DSX objectId, or rackLocationId for racks).
    unit
        Canonical unit (`domain.units.CANONICAL`); empty for a state.
    state_text
        For a state: (integer, label) pairs. A point has a unit or a state text, never both.
    serves, associate
        DSX servesId and associateId: what the object feeds, and what it is part of.
    process_area, phase, setpoint
        DSX processArea, phase (``"A"``, ``"B"``, ``"C"``) and isSetpoint.
    source
        The collector instance that hands it in, such as ``dsx:bms`` or ``snmp:pdu-r001-a``.
    retired
        Set by a person (`Retired`): it is not shown any more, and has no readings. Empty for a point in use.
    """

    key: str
    object_type: str
    point_type: str
    object_id: str
    object_name: str = ""
    unit: str = ""
    state_text: tuple[tuple[int, str], ...] = ()
    serves: tuple[str, ...] = ()
    associate: str = ""
    process_area: tuple[str, ...] = ()
    phase: str = ""
    setpoint: bool = False
    source: str = ""
    retired: str = ""

    @property
    def is_state(self) -> bool:
        """Whether the value is an integer state rather than a measurement."""
        return bool(self.state_text)

    def state_label(self, value: float) -> str:
        """Return the label of a state value, or the number where the point names none for it."""
        return dict(self.state_text).get(int(value), str(int(value)))


OURS = "hallwatch"
"""Source of what is worked out here: as many points as the site has objects, no limit."""


def source_kind(point: Point) -> str:
    """Return the kind of source that tells a point: its source's name before the colon."""
    return point.source.partition(":")[0] or OURS


class PointRegistry:
    """Every point known to this process, each with a small index that batches and arrays use.

    Indexes are dense, start at 0 and are never reused. With the embedded store they are loaded from it at the
    start, so that they are stable over restarts. Safe to call from several threads.

    Parameters
    ----------
    points
        Registered at once.
    max_points
        Points in use at most, of all sources together; one more is refused. None: no limit.
    max_per_source
        Points in use at most of one kind of source, which is what its name says before the colon (``dsx``, ``tray``,
        ``snmp``): one that runs wild leaves the others room.
    """

    def __init__(
        self,
        points: Iterable[Point] = (),
        max_points: int | None = None,
        max_per_source: int | None = None,
    ) -> None:
        self._lock = threading.Lock()
        self.max_points = max_points
        self.max_per_source = max_per_source
        self.refused: Counter[str] = Counter()
        """How often a point was refused, by kind of source."""
        self.in_use: Counter[str] = Counter()
        """Points in use, by kind of source."""
        self._points: list[Point] = []
        self._index: dict[str, int] = {}
        self._version = 0
        self._changed: dict[int, int] = {}  # version at which each point changed last, in that order
        for point in points:
            self.register(point)

    def __len__(self) -> int:
        return len(self._points)

    def __iter__(self) -> Iterator[Point]:
        return iter(self._points[: len(self._points)])

    def __getitem__(self, index: int) -> Point:
        return self._points[index]

    @property
    def version(self) -> int:
        """Grows with every new or changed point."""
        return self._version

    def register(self, point: Point) -> int:
        """Return the index of `point`, adding it, or replacing its metadata where the key is known.

        Raises
        ------
        TooManyPoints
            If it is new and there are as many as there may be.
        PointRefused
            If somebody retired and refused it.
        """
        index = self._index.get(point.key)
        if index is not None and self._points[index] == point:
            return index
        return self._put(point, limited=True)

    def restore(self, point: Point) -> int:
        """Register a point that the store knows: limits hold for new ones only."""
        return self._put(point, limited=False)

    def _put(self, point: Point, limited: bool) -> int:
        with self._lock:
            index = self._index.get(point.key)
            known = None if index is None else self._points[index]
            if limited:
                self._admit(point, known)
            if index is None:
                index = len(self._points)
                self._points.append(point)
                self._index[point.key] = index
            elif known == point:
                return index
            else:
                self._points[index] = point
            self._count(known, point)
            self._note(index)
            return index

    def retire(self, index: int, how: Retired | None) -> None:
        """Take a point out of use, or back into it (None)."""
        with self._lock:
            before = self._points[index]
            after = replace(before, retired="" if how is None else how.value)
            if after != before:
                self._points[index] = after
                self._count(before, after)
                self._note(index)

    def _note(self, index: int) -> None:
        self._version += 1
        self._changed.pop(index, None)
        self._changed[index] = self._version

    def _admit(self, point: Point, known: Point | None) -> None:
        """Refuse a point that may not come into use, and count that."""
        kind = source_kind(point)
        if known is not None and known.retired == Retired.REFUSED and not point.retired:
            self.refused[kind] += 1
            raise PointRefused(point.key)
        if point.retired or kind == OURS or (known is not None and not known.retired):
            return
        for used, limit, of in (
            (self.in_use.total(), self.max_points, ""),
            (self.in_use[kind], self.max_per_source, kind),
        ):
            if limit is not None and used >= limit:
                self.refused[kind] += 1
                raise TooManyPoints(point.key, of, limit)

    def _count(self, before: Point | None, after: Point) -> None:
        if before is not None and not before.retired:
            self.in_use[source_kind(before)] -= 1
        if not after.retired:
            self.in_use[source_kind(after)] += 1

    def index(self, key: str) -> int | None:
        """Return the index of the point with this key, or None."""
        return self._index.get(key)

    def changed_since(self, version: int) -> list[tuple[int, Point]]:
        """Return (index, point) of all that were added or changed after `version`; of all for one below 0."""
        with self._lock:
            newer = takewhile(lambda change: change[1] > version, reversed(self._changed.items()))
            return [(i, self._points[i]) for i in sorted(i for i, _ in newer)]

    def select(
        self,
        object_type: str | None = None,
        point_type: str | None = None,
        object_id: str | None = None,
        process_area: Iterable[str] = (),
        phase: str | None = None,
    ) -> IntArray:
        """Return the indexes, ascending, of the points that match all of what is given.

        `process_area` must be contained in the point's; setpoints are left out.
        """
        area = frozenset(process_area)
        found = [
            i
            for i, p in enumerate(self._points)
            if (point_type is None or p.point_type == point_type)
            and (object_type is None or p.object_type == object_type)
            and (object_id is None or p.object_id == object_id)
            and (phase is None or p.phase == phase)
            and (not area or area <= set(p.process_area))
            and not p.setpoint
            and not p.retired
        ]
        return np.array(found, dtype=np.int32)

    def match(self, pattern: str) -> IntArray:
        """Return the indexes of the points that a person's `pattern` names.

        A pattern is a key, a glob over keys, or ``objectId/pointType`` (globs allowed in both parts). Points that
        are retired are named by their key alone.
        """
        exact = self._index.get(pattern)
        if exact is not None:
            return np.array([exact], dtype=np.int32)
        names = [
            i
            for i, p in enumerate(self._points)
            if fnmatch.fnmatchcase(p.key, pattern)
            or fnmatch.fnmatchcase(f"{p.object_id}/{p.point_type}", pattern)
        ]
        names = [i for i in names if not self._points[i].retired]
        return np.array(names, dtype=np.int32)

    def replace(self, key: str, changes: Mapping[str, object]) -> int:
        """Change some metadata of a known point and return its index.

        Raises
        ------
        KeyError
            If no point has this key.
        """
        return self.register(replace(self._points[self._index[key]], **changes))  # type: ignore[arg-type]
