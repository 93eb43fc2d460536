"""The one idea: everything that is measured is a Point with Values.

The vocabulary is that of NVIDIA's DSX Exchange contract (objectType, pointType, objectId, servesId, ...);
what DSX has no word for is listed in `domain.catalogue` and marked as ours.
"""

from __future__ import annotations

import re
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from enum import IntEnum, StrEnum
from fnmatch import translate
from itertools import takewhile
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from domain.errors import PointRefused, TooManyPoints
from domain.point_index import NO_POINTS, PointIndex, array_of

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
    """It comes back when its source tells it again."""
    REFUSED = "refused"
    """It stays out, whatever its source tells."""
    MOVED = "moved"
    """Its tag is told of another object now, as a point of its own; this one keeps what was told before."""


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
        How it was taken out of use (`Retired`): no list shows it any more. Empty for a point in use.
    since, until
        When its tag moved to this place, and away from it, UTC ms; 0 where it did not (`moved`).
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
    since: int = 0
    until: int = 0

    @property
    def is_state(self) -> bool:
        """Whether the value is an integer state rather than a measurement."""
        return bool(self.state_text)

    def state_label(self, value: float) -> str:
        """Return the label of a state value, or the number where the point names none for it."""
        return dict(self.state_text).get(int(value), str(int(value)))

    @property
    def place(self) -> Place:
        """Where the point's object stands in the plant."""
        return Place(self.object_id, self.object_type, self.object_name, self.associate, self.serves)


PLACES_MAX = 20
"""Places that a tag has had, at most; one that moves on after that takes its history along, as a tag that flaps would."""


def moved(before: Point, now: Point) -> bool:
    """Return whether a tag tells of something else than before: another object, or one that is elsewhere in the plant.

    What is told in addition to what was known is no move.
    """
    return (
        now.object_id != before.object_id
        or (before.associate != "" and now.associate != before.associate)
        or not set(before.serves) <= set(now.serves)
    )


def tag_key(point: Point) -> str:
    """Return the key that a point's source knows: that of the first place of its tag."""
    return _LATER.sub("", point.key) if point.since else point.key


_LATER = re.compile(r"~\d+$")


class Place(NamedTuple):
    """What a point tells of its object: what it is, what it is part of, and what it serves (words of `Point`)."""

    object_id: str
    object_type: str
    object_name: str
    associate: str
    serves: tuple[str, ...]


OURS = "hallwatch"
"""Source of what is worked out here: as many points as the site has objects, no limit."""


def source_kind(point: Point) -> str:
    """Return the kind of source that tells a point: its source's name before the colon."""
    return point.source.partition(":")[0] or OURS


@dataclass(frozen=True, slots=True, eq=False)
class Sources:
    """The sources of all points.

    `names` has length s; `order` lists point indexes source by source; `offsets`, shape (s,), is where each begins.
    """

    names: tuple[str, ...]
    order: IntArray
    offsets: IntArray


class PointRegistry:
    """Every point known to this process, each with a small index that batches and arrays use.

    Indexes are dense, start at 0 and are never reused. With the embedded store they are loaded from it at the
    start, so that they are stable over restarts. Safe to call from several threads.

    Points are looked up by what they have in common (`select`, `of_object`, `of_source`, `members`, `places`) in an
    index that follows each registration: nobody needs one of his own. Arrays that are returned cannot be written,
    and the same array is returned until one of its points changes: comparing by identity tells whether something
    that was worked out from it still holds.

    Parameters
    ----------
    points
        Registered at once.
    max_points
        Points in use at most, of all sources together; one more is refused. None: no limit.
    max_per_source
        Points in use at most of one kind of source, which is what its name says before the colon (``dsx``, ``tray``,
        ``snmp``): one that runs wild leaves the others room.
    clock
        The present, UTC ms: when a tag moved.
    """

    def __init__(
        self,
        points: Iterable[Point] = (),
        max_points: int | None = None,
        max_per_source: int | None = None,
        clock: Callable[[], int] = lambda: time.time_ns() // 1_000_000,
    ) -> None:
        self._lock = threading.Lock()
        self._clock = clock
        self.max_points = max_points
        self.max_per_source = max_per_source
        self._refused: Counter[str] = Counter()
        self._in_use: Counter[str] = Counter()
        self._points: list[Point] = []
        self._index: dict[str, int] = {}
        self._version = 0
        self._changed: dict[int, int] = {}  # version at which each point changed last, in that order
        self._plant_version = 0
        self._by = PointIndex()
        self._out = np.zeros(1024, dtype=bool)  # which are retired; at least as long as the highest that is
        self._outs = 0
        self._places: dict[
            str, list[str]
        ] = {}  # the later keys of a tag that has moved, in order, by its first
        self._away: set[int] = set()
        self._moved: IntArray | None = NO_POINTS
        self.moves = 0
        """How often a tag has moved since this process began."""
        self.restless = 0
        """How often one moved that had moved so often that it took its history along."""
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
        """Grows with every new, changed or retired point."""
        return self._version

    @property
    def plant_version(self) -> int:
        """Grows when what the points tell of the plant's objects changes: what they are, serve and belong to."""
        return self._plant_version

    @property
    def in_use(self) -> Counter[str]:
        """How many points are in use, by kind of source."""
        with self._lock:
            return +self._in_use

    @property
    def refused(self) -> Counter[str]:
        """How often a point was refused, by kind of source."""
        with self._lock:
            return self._refused.copy()

    # --- registration ------------------------------------------------------------------------------------------

    def register(self, point: Point) -> int:
        """Return the index of `point`, adding it, or replacing its metadata where the key is known.

        A tag that is told of something else than before (`moved`) becomes a point of its own from now on, with a number
        behind its key; the one before is retired and keeps what was told of it.

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
            if limited:
                point = self._at_its_place(point)
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
            self._note(index, known, point)
            return index

    def _at_its_place(self, point: Point) -> Point:
        """Return a point under the key of the place where its tag is now, which may be a new one."""
        key = self._places.get(point.key, [point.key])[-1]
        index = self._index.get(key)
        if index is None:
            return point
        known = self._points[index]
        if known.retired == Retired.REFUSED or not moved(known, point):
            return replace(point, key=key, since=known.since)
        places = len(self._places.get(point.key, ())) + 1
        if places >= PLACES_MAX:
            self.restless += 1
            return replace(point, key=key, since=known.since)
        now = self._clock()
        number = places + 1
        while f"{point.key}~{number}" in self._index:
            number += 1
        after = replace(point, key=f"{point.key}~{number}", since=now)
        if known.retired:
            self._need_room(after)
        gone = replace(known, retired=Retired.MOVED.value, until=now)
        self._points[index] = gone
        self._note(index, known, gone)
        self.moves += 1
        return after

    def retire(self, index: int, how: Retired | None) -> None:
        """Take a point out of use, or back into it (None).

        Raises
        ------
        TooManyPoints
            If it is to come back and there are as many as there may be.
        """
        with self._lock:
            before = self._points[index]
            after = replace(before, retired="" if how is None else how.value)
            if before.retired and not after.retired:
                self._need_room(after)
            if after != before:
                self._points[index] = after
                self._note(index, before, after)

    def _note(self, index: int, before: Point | None, after: Point) -> None:
        """Bring counts, index and the order of changes up to a point that was added or changed."""
        moved = False
        if before is not None and not before.retired:
            self._in_use[source_kind(before)] -= 1
            moved = self._by.remove(index, before)
        if not after.retired:
            self._in_use[source_kind(after)] += 1
            moved |= self._by.add(index, after)
        self._note_retired(index, bool(after.retired))
        if before is None and after.since:
            self._places.setdefault(tag_key(after), []).append(after.key)
        if (after.retired == Retired.MOVED) != (index in self._away):
            self._away ^= {index}
            self._moved = None
        self._plant_version += moved
        self._version += 1
        self._changed.pop(index, None)
        self._changed[index] = self._version

    def _note_retired(self, index: int, out: bool) -> None:
        if index >= len(self._out):
            if not out:
                return
            self._out = np.append(self._out, np.zeros(index + 1, dtype=bool))
        self._outs += int(out) - int(self._out[index])
        self._out[index] = out

    def _admit(self, point: Point, known: Point | None) -> None:
        """Refuse a point that may not come into use, and count that."""
        kind = source_kind(point)
        if kind == OURS:  # as many as the site has; the analytics of all would end with one that is refused
            return
        if known is not None and known.retired == Retired.REFUSED and not point.retired:
            self._refused[kind] += 1
            raise PointRefused(point.key)
        if not point.retired and (known is None or known.retired):
            self._need_room(point)

    def _need_room(self, point: Point) -> None:
        """Refuse a point that would come into use beyond a limit, and count that."""
        kind = source_kind(point)
        if kind == OURS:
            return
        for used, limit, of in (
            (self._in_use.total(), self.max_points, ""),
            (self._in_use[kind], self.max_per_source, kind),
        ):
            if limit is not None and used >= limit:
                self._refused[kind] += 1
                raise TooManyPoints(point.key, of, limit)

    # --- look-up -----------------------------------------------------------------------------------------------

    def index(self, key: str) -> int | None:
        """Return the index of the point with this key, or None."""
        return self._index.get(key)

    def current(self, key: str) -> int | None:
        """Return the index of the point that a source's key stands for at present, or None."""
        return self._index.get(self._places.get(key, [key])[-1])

    @property
    def moved(self) -> IntArray:
        """The points whose tags have moved on, ascending; the same array until another does."""
        with self._lock:
            if self._moved is None:
                self._moved = np.array(sorted(self._away), np.int32)
                self._moved.flags.writeable = False
            return self._moved

    def are_retired(self, points: IntArray) -> NDArray[np.bool_]:
        """Return which of these points are out of use; of indexes that no point has, none is."""
        found = np.zeros(len(points), dtype=bool)
        if self._outs:
            out = self._out
            known = (points >= 0) & (points < len(out))
            found[known] = out[points[known]]
        return found

    def changed_since(self, version: int) -> list[tuple[int, Point]]:
        """Return (index, point) of all that were added, changed or retired after `version`, by index.

        Of all points for a version below 1. Ask for `version` before this, not after: then nothing is missed.
        """
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
        with self._lock:
            if object_id is None:
                found = self._of_kind(object_type, point_type)
                if phase is None and not area:
                    return found
            else:
                found = array_of(self._by.objects.get(object_id))
            return np.array(
                [
                    i
                    for i in found.tolist()
                    if (point_type is None or self._points[i].point_type == point_type)
                    and (object_type is None or self._points[i].object_type == object_type)
                    and (phase is None or self._points[i].phase == phase)
                    and (not area or area.issubset(self._points[i].process_area))
                    and not self._points[i].setpoint
                ],
                np.int32,
            )

    def of_object(self, object_id: str) -> IntArray:
        """Return the indexes of an object's points, ascending, setpoints among them."""
        with self._lock:
            return array_of(self._by.objects.get(object_id))

    def of_source(self, source: str) -> IntArray:
        """Return the indexes of a source's points, ascending, setpoints among them."""
        with self._lock:
            return array_of(self._by.sources.get(source))

    def sources(self) -> dict[str, int]:
        """Return how many points each source has, in the order in which the sources were first heard of."""
        with self._lock:
            return {source: len(points) for source, points in self._by.sources.items()}

    def by_source(self) -> Sources:
        """Return the points of every source; points without one are left out."""
        with self._lock:
            found = {name: of.array() for name, of in self._by.sources.items() if name and len(of)}
        lengths = [len(of) for of in found.values()]
        order = np.concatenate([*found.values()]) if found else NO_POINTS
        return Sources(tuple(found), order, np.cumsum([0, *lengths[:-1]]).astype(np.int32)[: len(found)])

    def kinds(self) -> list[tuple[str, str]]:
        """Return the object types and point types that there are points of, setpoints left out."""
        with self._lock:
            return list(self._by.kinds)

    def members(self, object_id: str) -> list[str]:
        """Return the ids of the objects that are part of an object by association, in order."""
        with self._lock:
            return sorted(self._by.members.get(object_id, ()))

    def places(self) -> list[Place]:
        """Return what the points tell of the plant's objects, each once."""
        with self._lock:
            return list(self._by.places)

    def match(self, pattern: str, retired: bool = False) -> IntArray:
        """Return the indexes of the points that a person's `pattern` names.

        A pattern is a key, a glob over keys, or ``objectId/pointType`` (globs allowed in both parts). Points that
        are retired are named by their key alone, or by a glob if it asks for `retired` ones only; one whose tag has
        moved on is still named by what it told.
        """
        exact = self._index.get(pattern)
        if exact is not None:
            return np.array([exact], dtype=np.int32)
        if not _GLOB.search(pattern):
            object_id, _, point_type = pattern.rpartition("/")
            return np.array(
                [
                    i
                    for i in sorted([*self.of_object(object_id).tolist(), *self.moved.tolist()])
                    if (self[i].object_id, self[i].point_type) == (object_id, point_type)
                ],
                np.int32,
            )
        wanted = re.compile(translate(pattern)).match
        return np.array(
            [
                i
                for i, p in enumerate(self)
                if (bool(p.retired) is retired or p.retired == Retired.MOVED)
                and (wanted(p.key) or wanted(f"{p.object_id}/{p.point_type}"))
            ],
            dtype=np.int32,
        )

    def _of_kind(self, object_type: str | None, point_type: str | None) -> IntArray:
        kinds = self._by.kinds
        if object_type is not None and point_type is not None:
            return array_of(kinds.get((object_type, point_type)))
        arrays = [
            points.array()
            for (of, what), points in kinds.items()
            if object_type in (None, of) and point_type in (None, what)
        ]
        return np.sort(np.concatenate(arrays)) if arrays else NO_POINTS


_GLOB = re.compile(r"[*?\[]")
