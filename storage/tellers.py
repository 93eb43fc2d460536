"""Which tag tells a quantity of an object, where more than one does: one rule for racks, feeds, UPSes and all else.

A plant's contract is one tag a quantity; plants have two, from two gateways or as a value and its maximum. The
quantity is told by one of them (`Tellers.one_each`), never by their sum:

1. one whose name does not say that it is something else than the present value (a maximum, an average, a rating),
2. of these one that is up to date: not silent for longer than `LAG_MS` while another is heard,
3. of these one of the best quality,
4. of these the one that told it so far, and at first the one that was announced first.

The others are kept like any point, and compared: what differs by more than `tolerance` for `HOLDS_MS` is told. Two readings that
one SNMP device tells under names of its own are not: it has a probe at the inlet and one at the outlet, and no word for either.
"""

from __future__ import annotations

import re
import threading
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from domain.batch import now_ms
from domain.points import IntArray, Point, PointRegistry, Quality, TimeArray, ValueArray
from storage.latest import LatestValues

LAG_MS = 150_000
"""DSX repeats what does not change every 100 s: a tag that was heard so much earlier than another is silent."""
LOOK_MS = 5_000
"""How often the choice is looked at again."""
HOLDS_MS = 180_000
"""Two tags that are read one after the other differ while the load moves; a disagreement is one that lasts."""

_NOT_NOW = frozenset(
    [
        "max",
        "maximum",
        "min",
        "minimum",
        "peak",
        "highest",
        "lowest",
        "avg",
        "average",
        "mean",
        "demand",
        "rated",
        "rating",
        "nominal",
        "limit",
        "design",
        "contract",
        "forecast",
        "predicted",
        "expected",
    ]
)
_NO_QUANTITY = frozenset(["Count", "GenericPoint"])
"""Points of these types have nothing in common but the type: lines that were bad, alarms that stand."""
_WORD = re.compile(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])")
_RANK = np.array([2, 0, 1], np.int64)  # of Quality: good before estimated before bad
_MEMBERS_AT_MOST = 8
"""Tags of one quantity that are looked at; a plant that has more of one has no quantity but a list."""


@dataclass(frozen=True, slots=True)
class Disagreement:
    """Two tags for one quantity of one object that have differed for a while; values in the canonical unit."""

    used: int
    other: int
    value: float
    other_value: float
    since: int


@dataclass(frozen=True, slots=True, eq=False)
class _Groups:
    """Quantities that more than one point tells: point indexes, shape (g, m), padded with the first of each row.

    `member` says which entries are not padding, `not_now` which tell something else than the present value.
    """

    points: IntArray
    member: NDArray[np.bool_]
    not_now: NDArray[np.bool_]
    tolerance: ValueArray


class Tellers:
    """Chooses among the points that tell one quantity of one object. Safe from several threads.

    Parameters
    ----------
    registry, latest
        The points and their newest readings.
    clock
        UTC ms.
    """

    def __init__(
        self, registry: PointRegistry, latest: LatestValues, clock: Callable[[], int] = now_ms
    ) -> None:
        self._registry = registry
        self._latest = latest
        self._clock = clock
        self._lock = threading.Lock()
        self._registered = -1
        self._due = 0
        self._kinds: dict[tuple[str, str], tuple[IntArray, list[list[int]]]] = {}
        self._groups = _grouped([], registry)
        self._used: dict[int, int] = {}  # by each point of a group: the one that is used
        self._since: dict[tuple[int, int], int] = {}
        self.version = 0
        """Grows when another point is used than before."""

    def look(self) -> None:
        """Choose again, if points were announced or the last time is `LOOK_MS` ago."""
        now = self._clock()
        version = self._registry.version
        with self._lock:
            if version != self._registered:
                self._regroup()
                self._registered = version
            elif self._due - LOOK_MS <= now < self._due:
                return
            self._due = now + LOOK_MS
            self._choose()

    def one_each(self, points: IntArray) -> IntArray:
        """Return the points with each that another stands for replaced by that one; no point twice."""
        used = self._used  # replaced as a whole
        if not used:
            return points
        found = dict.fromkeys(used.get(i, i) for i in points.tolist())
        return np.array(list(found), np.int32)

    def used_for(self, point: int) -> int:
        """Return the point that is used for the quantity of this one; itself where it is the only one."""
        return self._used.get(point, point)

    def present(self, points: IntArray) -> IntArray:
        """Return the points without those that tell a maximum, an average or a rating of what another tells as it is.

        A limit is for the present value. Of several instruments that tell it each counts, unlike in a sum.
        """
        self.look()
        groups = self._groups
        past = groups.points[groups.not_now & ~groups.not_now.all(axis=1, keepdims=True)]
        return points[~np.isin(points, past)] if len(past) else points

    def compare(self) -> list[Disagreement]:
        """Return what has been told differently by two tags since `HOLDS_MS` or longer."""
        self.look()
        now = self._clock()
        with self._lock:
            groups, used = self._groups, self._used
        if not len(groups.points):
            return []
        first = np.array([used[int(row[0])] for row in groups.points], np.int32)[:, None]
        newest = self._latest.at(np.concatenate([first, groups.points], axis=1))
        value, chosen = newest.value[:, 1:], newest.value[:, :1]
        comparable = groups.member & ~groups.not_now & (groups.points != first)
        comparable &= _heard(newest.received[:, 1:], groups.member)
        comparable &= (newest.quality[:, 1:] != Quality.BAD) & (newest.quality[:, :1] != Quality.BAD)
        apart = np.abs(value - chosen)
        allowed = np.maximum(groups.tolerance, _RELATIVE * np.maximum(np.abs(value), np.abs(chosen)))
        differ = comparable & (apart > allowed)
        pairs = {
            (int(first[row, 0]), int(groups.points[row, column])): (
                float(chosen[row, 0]),
                float(value[row, column]),
            )
            for row, column in np.argwhere(differ)
            if not self._of_one_device(int(first[row, 0]), int(groups.points[row, column]))
        }
        with self._lock:
            self._since = {pair: self._since.get(pair, now) for pair in pairs}
            return [
                Disagreement(*pair, *pairs[pair], since)
                for pair, since in self._since.items()
                if now - since >= HOLDS_MS
            ]

    def _of_one_device(self, one: int, other: int) -> bool:
        source = self._registry[one].source
        return source.startswith("snmp:") and source == self._registry[other].source

    def _regroup(self) -> None:
        kinds = self._registry.kinds()
        for kind in set(self._kinds) - set(kinds):
            del self._kinds[kind]
        for kind in kinds:
            points = self._registry.select(*kind)
            known = self._kinds.get(kind)
            if known is None or known[0] is not points:
                told = [] if kind[1] in _NO_QUANTITY else _told_twice(points, self._registry)
                self._kinds[kind] = points, told
        self._groups = _grouped(
            [group for _, groups in self._kinds.values() for group in groups], self._registry
        )

    def _choose(self) -> None:
        groups = self._groups
        if not len(groups.points):
            if self._used:
                self._used, self.version = {}, self.version + 1
            return
        newest = self._latest.at(groups.points)
        quality = _RANK[np.minimum(newest.quality, Quality.ESTIMATED)]
        worse = 100 * groups.not_now + 10 * ~_heard(newest.received, groups.member) + quality
        worse = np.where(groups.member, worse, np.iinfo(np.int64).max)
        best = worse.min(axis=1)
        used: dict[int, int] = {}
        for row, (points, rank) in enumerate(zip(groups.points.tolist(), worse.tolist(), strict=True)):
            members = points[: int(groups.member[row].sum())]
            before = self._used.get(members[0], -1)
            keeps = before in members and rank[members.index(before)] == best[row]
            used.update(dict.fromkeys(members, before if keeps else members[rank.index(best[row])]))
        if used != self._used:
            self._used, self.version = used, self.version + 1


def _heard(received: TimeArray, member: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Return which members of each row were heard no longer than `LAG_MS` before the one heard last."""
    received = np.where(member, received, 0)
    newest = received.max(axis=1, keepdims=True)
    return np.asarray((received > 0) & (newest - received <= LAG_MS))


_RELATIVE = 0.05
_ABSOLUTE = {
    "Cel": 3.0,
    "1": 0.05,
    "Hz": 0.1,
    "W": 500.0,
    "VA": 500.0,
    "A": 2.0,
    "V": 5.0,
    "L/min": 10.0,
    "Pa": 2000.0,
}
"""Two tags of one quantity may differ by 5 %, and by so much in any case: their meters, and their moments, do."""


def _told_twice(points: IntArray, registry: PointRegistry) -> list[list[int]]:
    """Return the points of one kind that tell the same quantity of the same object, by quantity."""
    described: list[tuple[int, Point]] = [(i, registry[i]) for i in points.tolist()]
    if len({p.object_id for _, p in described}) == len(described):
        return []
    groups: dict[tuple[str, str, frozenset[str]], list[int]] = defaultdict(list)
    for i, p in described:
        # several states of one kind are several things that may be wrong, such as leak sensors: each counts
        if not p.is_state and p.object_id:
            groups[p.object_id, p.phase, frozenset(p.process_area)].append(i)
    return [group[:_MEMBERS_AT_MOST] for group in groups.values() if len(group) > 1]


def _grouped(groups: Sequence[Sequence[int]], registry: PointRegistry) -> _Groups:
    width = max(map(len, groups), default=0)
    points = np.array([[*g, *[g[0]] * (width - len(g))] for g in groups], np.int32).reshape(
        len(groups), width
    )
    member = np.array([[n < len(g) for n in range(width)] for g in groups], bool).reshape(points.shape)
    not_now = np.zeros(points.shape, bool)
    for row, group in enumerate(groups):
        words = [_words(registry[i]) for i in group]
        common = frozenset.intersection(*words)
        not_now[row, : len(group)] = [bool((w - common) & _NOT_NOW) for w in words]
    tolerance = np.array([_ABSOLUTE.get(registry[g[0]].unit, 0.0) for g in groups])[:, None]
    return _Groups(points, member, not_now, tolerance.reshape(len(groups), 1))


def _words(point: Point) -> frozenset[str]:
    """Return the words of a point's own name, lower case: `ActivePowerMax` is active, power, max."""
    return frozenset(word.lower() for word in _WORD.findall(point.key))
