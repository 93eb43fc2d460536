"""Tray sweeps and presence: decoded into arrays, every sweep accounted for by its sequence number."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from domain.batch import Batch
from domain.dsx import TEXT_LENGTH
from domain.errors import ContractViolation
from domain.points import IntArray, PointRegistry
from domain.tray import (
    GPU_FIELDS,
    GPUS_MAX,
    Sweep,
    decode,
    product_point,
    tray_keys,
    tray_points,
    value_count,
)

_NUMBERS = frozenset((float, int, type(None)))
_GAPS_KEPT = 1000  # of one tray; the oldest are forgotten
_JUMP = 1000
_SHORTEST_MS = 100
# A sequence may jump by as many sweeps as fit into the time that has passed, and some more.
_REFUSED_KEPT = 1000
_REFUSED_MS = 60_000  # a tray whose points were refused is not tried again for so long


class Gaps:
    """Sequence numbers that were skipped and may still come out of the agent's spool, as ranges."""

    def __init__(self) -> None:
        self._ranges: list[tuple[int, int]] = []  # [first, end), ascending

    def __len__(self) -> int:
        return sum(end - first for first, end in self._ranges)

    def add(self, first: int, end: int) -> None:
        """Note a gap that lies after all others."""
        self._ranges.append((first, end))
        del self._ranges[:-_GAPS_KEPT]

    def close(self, sequence: int) -> bool:
        """Take a number out; return whether it was missing."""
        for n, (first, end) in enumerate(self._ranges):
            if first <= sequence < end:
                rest = [(first, sequence), (sequence + 1, end)]
                self._ranges[n : n + 1] = [r for r in rest if r[0] < r[1]]
                return True
        return False

    def clear(self) -> None:
        """Forget them all."""
        self._ranges.clear()


@dataclass(slots=True)
class Tray:
    """One tray as it was last heard.

    `last` is the newest number of its sequence, `observed` the newest time that any sweep told, `doubted` the number that
    would confirm a sequence which does not follow from the one before.
    """

    rack: str
    name: str
    points: IntArray
    gpu_count: int
    run: int = -1
    last: int = -1
    observed: int = 0
    doubted: int = -1
    missing: Gaps = field(default_factory=Gaps)

    def points_of(self, gpu_count: int) -> IntArray:
        """Return the points of a sweep over `gpu_count` GPUs, which may be fewer than the tray has slots."""
        values = value_count(self.gpu_count)
        if gpu_count == self.gpu_count:
            return self.points[:values]
        own = self.gpu_count * len(GPU_FIELDS)
        return np.concatenate([self.points[: gpu_count * len(GPU_FIELDS)], self.points[own:values]])

    def xid_point(self, gpu: int) -> int:
        """Return the point of a GPU's error events."""
        return int(self.points[value_count(self.gpu_count) + gpu])


class Trays:
    """Turns tray messages into rows.

    Parameters
    ----------
    registry
        Where the trays' points are registered.
    source
        Names the collector in the points.
    racks
        The racks that the site has; None takes trays of any.
    per_rack
        Trays of one rack at most.
    """

    def __init__(
        self, registry: PointRegistry, source: str, racks: Collection[str] | None = None, per_rack: int = 64
    ) -> None:
        self._registry = registry
        self._source = source
        self._racks = None if racks is None else frozenset(racks)
        self._per_rack = per_rack
        self._in_rack: Counter[str] = Counter()
        self._refused: dict[tuple[str, str], tuple[int, ContractViolation]] = {}
        self.known: dict[tuple[str, str], Tray] = {}
        self.counts: Counter[str] = Counter()
        self.online: dict[tuple[str, str], bool] = {}
        self._points: list[IntArray] = []
        self._values: list[float | None] = []
        self._observed: list[int] = []
        self._late: list[bool] = []
        self._events: list[tuple[int, int, float]] = []

    def knows(self, rack: str) -> bool:
        """Return whether trays of this rack are taken in."""
        return self._racks is None or rack in self._racks

    def sweep(self, rack: str, name: str, message: Any, received: int) -> None:
        """Take in one sweep message.

        Raises
        ------
        ContractViolation
            If it is none, or not of a tray that can be here.
        """
        told = decode(message)
        if not _NUMBERS.issuperset(map(type, told.values)):
            raise ContractViolation("wrong_type", "values are numbers or null")
        tray = self.known.get((rack, name))
        if tray is None or tray.gpu_count < told.gpu_count:
            tray = self._register(rack, name, told.gpu_count, received)
        observed = told.observed if told.observed < received else received
        self._late.append(self._account(tray, told, observed))
        self._points.append(tray.points_of(told.gpu_count))
        self._values += told.values
        self._observed.append(told.observed)
        self._events += [(tray.xid_point(e.gpu), e.observed, float(e.xid)) for e in told.events]

    def presence(self, rack: str, name: str, message: Any, received: int) -> None:
        """Take in one presence message, which is also the agent's Will.

        Raises
        ------
        ContractViolation
            If it is none, or not of a tray that can be here.
        """
        online = message.get("online") if isinstance(message, dict) else None
        if not isinstance(online, bool):
            raise ContractViolation("missing_field", "online is true or false")
        gpus = message.get("gpus")
        gpu_count = len(gpus) if isinstance(gpus, list) and len(gpus) <= GPUS_MAX else 0
        host = message.get("host")
        tray = self.known.get((rack, name))
        if tray is None or gpu_count > tray.gpu_count:
            tray = self._register(
                rack, name, gpu_count, received, _name(host) if isinstance(host, str) else ""
            )
        self.online[rack, name] = online
        self._events.append((int(tray.points[-1]), received, float(online)))
        if gpu_count and isinstance(gpus, list) and (product := _product(gpus)):
            point = product_point(rack, name, product, self._registry[int(tray.points[-1])].source)
            self._events.append((self._registry.register(point), received, 1.0))

    def rows(self, received: int) -> Batch:
        """Return what all messages taken in since the last call told; readings only."""
        counts = [len(p) for p in self._points]
        points = np.concatenate([*self._points, np.array([e[0] for e in self._events], np.int32)])
        observed = np.concatenate(
            [
                np.repeat(np.array(self._observed, np.int64), counts),
                np.array([e[1] for e in self._events], np.int64),
            ]
        )
        values = np.array([*self._values, *(e[2] for e in self._events)], np.float64)  # None becomes NaN
        late = None
        if any(self._late):
            late = np.append(np.repeat(np.array(self._late), counts), np.zeros(len(self._events), bool))
        self._points, self._values, self._observed, self._events, self._late = [], [], [], [], []
        there = ~np.isnan(values)
        batch = Batch.of(points[there], observed[there], values[there], received=received)
        return batch if late is None else replace(batch, late=late[there])

    @property
    def pending(self) -> bool:
        """Whether `rows` has something to give."""
        return bool(self._points or self._events)

    def missing(self) -> int:
        """Return how many sweeps are known to exist that have not come."""
        return sum(len(tray.missing) for tray in list(self.known.values()))

    def _register(self, rack: str, name: str, gpu_count: int, received: int, host: str = "") -> Tray:
        before = self.known.get((rack, name))
        until, why = self._refused.get((rack, name), (0, None))
        if why is not None and received < until:
            raise why
        if not self.knows(rack):
            raise ContractViolation("unknown_rack", f"{rack} of tray {name} is no rack of the site")
        if before is None and self._in_rack[rack] >= self._per_rack:
            raise ContractViolation("too_many_trays", f"{rack} has {self._per_rack} trays already")
        try:
            indexes = np.array(self._indexes(rack, name, gpu_count, host), np.int32)
        except ContractViolation as violation:
            if len(self._refused) >= _REFUSED_KEPT:
                self._refused.clear()
            self._refused[rack, name] = (received + _REFUSED_MS, violation)
            raise
        tray = Tray(rack, name, indexes, gpu_count)
        if before is None:
            self._in_rack[rack] += 1
        else:
            tray.run, tray.last, tray.missing = before.run, before.last, before.missing
            tray.observed, tray.doubted = before.observed, before.doubted
        self.known[rack, name] = tray
        return tray

    def _indexes(self, rack: str, name: str, gpu_count: int, host: str) -> list[int]:
        source = f"{self._source}:{rack}-{name}"
        found = [self._registry.index(key) for key in tray_keys(rack, name, gpu_count)]
        # after a restart all trays speak up within seconds: points that are known as they are need not be made again
        online = found[-1]
        if None not in found and online is not None:
            known = self._registry[online]
            if known.source == source and known.object_name == (host or f"{rack}-{name}"):
                return [i for i in found if i is not None]
        points = tray_points(rack, name, gpu_count, host, source=source)
        return [self._registry.register(point) for point in points]

    def _account(self, tray: Tray, told: Sweep, observed: int) -> bool:
        """Compare the sequence number with the last one: next, a gap, a late one, a repetition, another sequence.

        What does not follow is doubted until the next number confirms it: one wrong message must not spoil the count.
        Returns whether newer sweeps have come already.
        """
        self.counts["sweeps"] += 1
        if told.sequence == tray.last + 1 and tray.last >= 0:
            tray.last, tray.run, tray.observed, tray.doubted = told.sequence, told.run, observed, -1
            return False
        newer = observed > tray.observed
        fits = _JUMP + max(0, observed - tray.observed) // _SHORTEST_MS
        if tray.last < 0 or (told.sequence == tray.doubted and tray.doubted >= 0):
            # First contact, or an agent that lost its spool and counts from its start again.
            self.counts["sequences_begun"] += 1
            tray.missing.clear()
            self._follow(tray, told, observed)
        elif tray.last < told.sequence <= tray.last + fits:
            self.counts["sweeps_skipped"] += told.sequence - tray.last - 1
            tray.missing.add(tray.last + 1, told.sequence)
            self._follow(tray, told, observed)
        elif told.sequence <= tray.last and tray.missing.close(told.sequence):
            self.counts["sweeps_late"] += 1
            return True
        elif told.sequence > tray.last or told.run > tray.run or newer:
            self.counts["sequences_doubted"] += 1
            tray.doubted = told.sequence + 1
        else:
            self.counts["sweeps_repeated"] += 1
            return True
        return False

    @staticmethod
    def _follow(tray: Tray, told: Sweep, observed: int) -> None:
        tray.last, tray.run, tray.observed, tray.doubted = told.sequence, told.run, observed, -1


def _product(gpus: list[Any]) -> str:
    """Return what most of a tray's GPUs are called."""
    names = Counter(
        _name(gpu["name"]) for gpu in gpus if isinstance(gpu, dict) and isinstance(gpu.get("name"), str)
    )
    del names[""]
    return names.most_common(1)[0][0] if names else ""


def _name(text: str) -> str:
    return "".join(c for c in text[:TEXT_LENGTH] if c.isprintable())
