"""Sources that go on talking and say the same for ever: a frozen exporter, gateway or instrument looks healthy.

What a meter measures under load always moves, if only in its last digit. An object whose every restless quantity has
stood still for an hour while it went on being told is named. Where its energy counter stood still too, although its
power says that energy flowed, that is proof, and what it goes on saying is bad.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from domain.batch import Batch
from domain.catalogue import POINT_TYPES
from domain.points import IntArray, Point, PointRegistry, Quality, TimeArray, ValueArray, source_kind
from storage.latest import LatestValues

_RESTLESS = frozenset(("W", "VA", "A", "V", "Cel", "L/min", "Pa", "J"))
_STEADY = ("Limit", "Peak", "Sp", "Default", "Demand")  # of point types that are set, or kept
_LEAST = 3
"""Restless quantities, not zero, that an object must tell for its silence to mean something."""
_HEARD_MS = 300_000
_PROOF_J = {"GPU": 1e3}
_PROOF_OTHERS_J = 36e6
"""Energy that must have flowed while the counter stood still; meters count in steps of up to some kWh."""
_SHOWN = 50


class FrozenWatch:
    """Watches values stand still, by point index.

    Parameters
    ----------
    registry
        The points.
    after_s
        How long is for ever, seconds.

    Notes
    -----
    The newest values are compared minute by minute, so that a reading costs nothing while all is well.
    """

    def __init__(self, registry: PointRegistry, after_s: float) -> None:
        self._registry = registry
        self._after_ms = int(after_s * 1000)
        self._value: ValueArray = np.zeros(0)
        self._since: TimeArray = np.zeros(0, np.int64)
        self._proved: tuple[ValueArray, NDArray[np.bool_]] | None = None
        self._version = 0
        self._objects: dict[tuple[str, str], list[int]] = {}
        self._numbers: dict[tuple[str, str], int] = {}
        self._group_of: IntArray = np.full(1024, -1, np.int32)
        self._told: dict[str, str] = {}
        self._by_source: Counter[str] = Counter()
        self._shares: dict[str, float] = {}

    def marked(self, batch: Batch) -> tuple[Batch, int]:
        """Return the batch with those readings as bad that are known to be frozen, and how many they are."""
        if self._proved is None:
            return batch, 0
        value, proved = self._proved
        known = np.minimum(batch.point, len(proved) - 1)
        frozen = proved[known] & (batch.value == value[known]) & (known == batch.point)
        quality = np.where(frozen, np.uint8(Quality.BAD), batch.quality)
        return replace(batch, quality=quality), int(frozen.sum())

    def look(self, now: int, latest: LatestValues) -> None:
        """Find the objects that stand still, `now` in UTC ms; blocks for milliseconds."""
        self._group()
        heard = latest.received
        value = latest.value.copy()
        size = min(len(value), len(heard), len(self._group_of))
        value, heard = value[:size], heard[:size]
        since = np.full(size, now, np.int64)
        before = min(size, len(self._value))
        same = value[:before] == self._value[:before]
        since[:before][same] = self._since[:before][same]
        proved = np.zeros(size, bool)
        told: dict[str, str] = {}
        by_source: Counter[str] = Counter()
        telling = (now - heard < _HEARD_MS) & (value != 0) & np.isfinite(value)
        still = telling & (now - since >= self._after_ms)
        group = self._group_of[:size]
        groups = len(self._objects)
        # in arrays first: of thousands of objects hardly one stands still
        tell = np.bincount(group[telling & (group >= 0)], minlength=groups)
        stand = np.bincount(group[still & (group >= 0)], minlength=groups)
        objects = list(self._objects.items())
        for number in np.flatnonzero((tell >= _LEAST) & (tell == stand)).tolist():
            (source, object_id), indexes = objects[number]
            known = [i for i in indexes if i < size and telling[i]]
            minutes = (now - max(int(since[i]) for i in known)) / 60_000
            proof = self._proof(known, value, minutes * 60)
            if proof:
                proved[[i for i in indexes if i < size]] = True
            by_source[source] += 1
            told[f"{object_id} ({source})"] = (
                f"{len(known)} quantities have not moved for {minutes:.0f} min"
                + (", nor has the energy counter, under load: its readings are bad" if proof else "")
            )
        self._value, self._since = value, since
        self._proved = (value, proved) if proved.any() else None  # at once: others read it
        self._told, self._by_source = told, by_source
        self._shares = self._of_all(by_source, tell) if by_source else {}

    def shares(self) -> dict[str, float]:
        """Return which share of its objects stands still, by source, of those that have one that does."""
        return self._shares

    def told(self) -> dict[str, Any]:
        """Return for the health page how many objects stand still by source, and some of them with what was seen."""
        return {"by_source": dict(self._by_source), "objects": dict(list(self._told.items())[:_SHOWN])}

    def _of_all(self, by_source: Counter[str], tell: NDArray[np.int64]) -> dict[str, float]:
        numbers = np.flatnonzero(tell >= _LEAST).tolist()
        objects = list(self._objects)
        every = Counter(objects[n][0] for n in numbers)
        return {source: n / every[source] for source, n in by_source.items()}

    def _proof(self, known: list[int], value: ValueArray, seconds: float) -> bool:
        points = [self._registry[i] for i in known]
        if not any(POINT_TYPES[p.point_type].counter for p in points):
            return False
        powers = [abs(float(value[i])) for i, p in zip(known, points, strict=True) if p.unit == "W"]
        flowed = max(powers, default=0.0) * seconds
        return flowed > _PROOF_J.get(points[0].object_type, _PROOF_OTHERS_J)

    def _group(self) -> None:
        version = self._registry.version
        if version == self._version:
            return
        changed = self._registry.changed_since(self._version)
        self._version = version
        size = max((index for index, _ in changed), default=0) + 1
        if size > len(self._group_of):
            more = max(size, 2 * len(self._group_of)) - len(self._group_of)
            self._group_of = np.append(self._group_of, np.full(more, -1, np.int32))
        for index, point in changed:
            if self._group_of[index] < 0 and _is_restless(point):
                key = point.source, point.object_id
                self._group_of[index] = self._numbers.setdefault(key, len(self._numbers))
                self._objects.setdefault(key, []).append(index)


def _is_restless(point: Point) -> bool:
    return (
        point.unit in _RESTLESS
        and not point.is_state
        and not point.setpoint
        and source_kind(point) != "ours"
        and point.point_type in POINT_TYPES
        and not any(word in point.point_type for word in _STEADY)
    )
