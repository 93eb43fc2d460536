"""Tray sweeps and presence: decoded into arrays, every sweep accounted for by its sequence number."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from domain.errors import ContractViolation
from domain.points import IntArray, PointRegistry
from domain.tray import Sweep, decode, tray_keys, tray_points

_NUMBERS = frozenset((float, int, type(None)))
_GAPS_KEPT = 1000  # of one tray; the oldest are forgotten


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
    """One tray as it was last heard."""

    rack: str
    name: str
    points: IntArray
    gpu_count: int
    run: int = -1
    last: int = -1
    missing: Gaps = field(default_factory=Gaps)


class Trays:
    """Turns tray messages into rows.

    Parameters
    ----------
    registry
        Where the trays' points are registered.
    source
        Names the collector in the points.
    """

    def __init__(self, registry: PointRegistry, source: str) -> None:
        self._registry = registry
        self._source = source
        self.known: dict[tuple[str, str], Tray] = {}
        self.counts: Counter[str] = Counter()
        self.online: dict[tuple[str, str], bool] = {}
        self._points: list[IntArray] = []
        self._values: list[float | None] = []
        self._observed: list[int] = []
        self._events: list[tuple[int, int, float]] = []

    def sweep(self, rack: str, name: str, message: Any) -> None:
        """Take in one sweep message.

        Raises
        ------
        ContractViolation
            If it is none.
        """
        told = decode(message)
        if not _NUMBERS.issuperset(map(type, told.values)):
            raise ContractViolation("wrong_type", "values are numbers or null")
        tray = self.known.get((rack, name))
        if tray is None or tray.gpu_count != told.gpu_count:
            tray = self._register(rack, name, told.gpu_count)
        self._account(tray, told)
        self._points.append(tray.points[: len(told.values)])
        self._values += told.values
        self._observed.append(told.observed)
        for event in told.events:
            self._events.append(
                (int(tray.points[len(told.values) + event.gpu]), event.observed, float(event.xid))
            )

    def presence(self, rack: str, name: str, message: Any, received: int) -> None:
        """Take in one presence message, which is also the agent's Will.

        Raises
        ------
        ContractViolation
            If it is none.
        """
        online = message.get("online") if isinstance(message, dict) else None
        if not isinstance(online, bool):
            raise ContractViolation("missing_field", "online is true or false")
        gpus = message.get("gpus")
        gpu_count = len(gpus) if isinstance(gpus, list) and len(gpus) <= 64 else 0
        host = message.get("host")
        tray = self.known.get((rack, name))
        if tray is None or gpu_count > tray.gpu_count:
            tray = self._register(rack, name, gpu_count, host if isinstance(host, str) else "")
        self.online[rack, name] = online
        self._events.append((int(tray.points[-1]), received, float(online)))

    def rows(self) -> tuple[IntArray, np.ndarray[Any, Any], np.ndarray[Any, Any]]:
        """Return (point, observed, value) of all messages taken in since the last call; readings only."""
        counts = [len(p) for p in self._points]
        points = np.concatenate([*self._points, np.array([e[0] for e in self._events], np.int32)])
        observed = np.concatenate(
            [
                np.repeat(np.array(self._observed, np.int64), counts),
                np.array([e[1] for e in self._events], np.int64),
            ]
        )
        values = np.array([*self._values, *(e[2] for e in self._events)], np.float64)  # None becomes NaN
        self._points, self._values, self._observed, self._events = [], [], [], []
        there = ~np.isnan(values)
        return points[there], observed[there], values[there]

    @property
    def pending(self) -> bool:
        """Whether `rows` has something to give."""
        return bool(self._points or self._events)

    def missing(self) -> int:
        """Return how many sweeps are known to exist that have not come."""
        return sum(len(tray.missing) for tray in self.known.values())

    def _register(self, rack: str, name: str, gpu_count: int, host: str = "") -> Tray:
        indexes = np.array(self._indexes(rack, name, gpu_count, host), np.int32)
        before = self.known.get((rack, name))
        tray = Tray(rack, name, indexes, gpu_count)
        if before is not None:
            tray.run, tray.last, tray.missing = before.run, before.last, before.missing
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

    def _account(self, tray: Tray, told: Sweep) -> None:
        """Compare the sequence number with the last one: next, a gap, a late one, a repetition, a new sequence."""
        self.counts["sweeps"] += 1
        if told.sequence == tray.last + 1 and tray.last >= 0:
            tray.last, tray.run = told.sequence, max(tray.run, told.run)
        elif tray.last < 0 or (told.run > tray.run and told.sequence <= tray.last):
            # First contact, or an agent that lost its spool and counts from its start again.
            self.counts["sequences_begun"] += 1
            tray.missing.clear()
            tray.last, tray.run = told.sequence, told.run
        elif told.sequence > tray.last:
            self.counts["sweeps_skipped"] += told.sequence - tray.last - 1
            tray.missing.add(tray.last + 1, told.sequence)
            tray.last, tray.run = told.sequence, max(tray.run, told.run)
        elif tray.missing.close(told.sequence):
            self.counts["sweeps_late"] += 1
        else:
            self.counts["sweeps_repeated"] += 1
