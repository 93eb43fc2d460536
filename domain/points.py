"""The one idea: everything that is measured is a Point with Values.

The vocabulary is that of NVIDIA's DSX Exchange contract (objectType, pointType, objectId, servesId, ...);
what DSX has no word for is listed in `domain.catalogue` and marked as ours.
"""

from __future__ import annotations

import fnmatch
import threading
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from enum import IntEnum

import numpy as np
from numpy.typing import NDArray

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

    @property
    def is_state(self) -> bool:
        """Whether the value is an integer state rather than a measurement."""
        return bool(self.state_text)

    def state_label(self, value: float) -> str:
        """Return the label of a state value, or the number where the point names none for it."""
        return dict(self.state_text).get(int(value), str(int(value)))


class PointRegistry:
    """Every point known to this process, each with a small index that batches and arrays use.

    Indexes are dense, start at 0 and are never reused. With the embedded store they are loaded from it at the
    start, so that they are stable over restarts. Safe to call from several threads.
    """

    def __init__(self, points: Iterable[Point] = ()) -> None:
        self._lock = threading.Lock()
        self._points: list[Point] = []
        self._index: dict[str, int] = {}
        self._changes: list[int] = []  # index of each point that was added or changed, in that order
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
        return len(self._changes)

    def register(self, point: Point) -> int:
        """Return the index of `point`, adding it, or replacing its metadata where the key is known."""
        index = self._index.get(point.key)
        if index is not None and self._points[index] == point:
            return index
        with self._lock:
            index = self._index.get(point.key)
            if index is None:
                index = len(self._points)
                self._points.append(point)
                self._index[point.key] = index
            elif self._points[index] == point:
                return index
            else:
                self._points[index] = point
            self._changes.append(index)
            return index

    def index(self, key: str) -> int | None:
        """Return the index of the point with this key, or None."""
        return self._index.get(key)

    def changed_since(self, version: int) -> list[tuple[int, Point]]:
        """Return (index, point) of all that were added or changed after `version`; of all for one below 0."""
        with self._lock:
            return [(i, self._points[i]) for i in sorted(set(self._changes[max(version, 0) :]))]

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
        ]
        return np.array(found, dtype=np.int32)

    def match(self, pattern: str) -> IntArray:
        """Return the indexes of the points that a person's `pattern` names.

        A pattern is a key, a glob over keys, or ``objectId/pointType`` (globs allowed in both parts).
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
        return np.array(names, dtype=np.int32)

    def replace(self, key: str, changes: Mapping[str, object]) -> int:
        """Change some metadata of a known point and return its index.

        Raises
        ------
        KeyError
            If no point has this key.
        """
        return self.register(replace(self._points[self._index[key]], **changes))  # type: ignore[arg-type]
