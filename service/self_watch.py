"""How Hallwatch itself is, as points like any others: rules alert on them, history keeps them.

Each process tells of itself, under its role's name; sources that stand still are told each by its own name.
"""

from __future__ import annotations

import asyncio
import shutil
from collections import deque
from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np

from analytics.points import results
from domain.batch import Batch, now_ms
from domain.points import PointRegistry
from service.supervisor import PartState
from storage.ingest import Ingest

EVERY_S = 10.0
REFUSED_OVER_S = 300.0
FEWEST = 100
"""Readings of that time below which no share of refused ones is told: one of three means nothing."""
MOST_SOURCES = 10_000
"""Sources that are told to stand still; what else does is on the health page."""


class SelfWatch:
    """Publishes how this process is, every `EVERY_S` seconds.

    Parameters
    ----------
    name
        What its object is called, such as ``hallwatch``.
    registry, ingest
        What it looks at.
    parts
        Returns how the parts of the process are.
    folder
        The data folder, whose disk is looked at.
    spool_bytes
        Room of the spool.
    evaluation
        Returns the time between the last two looks of alerting, s; NaN where there is none.
    clock
        UTC ms.
    """

    def __init__(
        self,
        name: str,
        registry: PointRegistry,
        ingest: Ingest,
        parts: Callable[[], Iterable[PartState]],
        folder: Path,
        spool_bytes: float,
        evaluation: Callable[[], float] | None = None,
        clock: Callable[[], int] = now_ms,
    ) -> None:
        self._name = name
        self._registry = registry
        self._ingest = ingest
        self._parts = parts
        self._folder = folder
        self._spool_bytes = spool_bytes
        self._evaluation = evaluation
        self._clock = clock
        self._counted: deque[tuple[int, int]] = deque(maxlen=int(REFUSED_OVER_S / EVERY_S) + 1)
        self._still: set[str] = set()

    async def run(self) -> None:
        """Publish until cancelled."""
        while True:
            for batch in self.look():
                await self._ingest.accept(batch)
            await asyncio.sleep(EVERY_S)

    def look(self) -> list[Batch]:
        """Return how this process is now."""
        now = self._clock()
        figures = {
            "ServiceClockOffset": abs(self._ingest.clocks.own_offset()),
            "ServiceReadingsRefused": self._refused(),
            "ServiceSpoolFill": self._ingest.spool.size_bytes / self._spool_bytes,
            "ServiceDiskFree": self._disk_free(),
            "ServicePartsDown": float(sum(not part.running for part in self._parts())),
        }
        if self._evaluation is not None:
            figures["ServiceEvaluationInterval"] = self._evaluation()
        told = [
            results(self._registry, "Service", kind, [self._name], np.array([value]), now)
            for kind, value in figures.items()
        ]
        return [*told, *self._frozen(now)]

    def _frozen(self, now: int) -> list[Batch]:
        """Return how much of each source stands still, of those that have some that does, or had."""
        shares = self._ingest.frozen.shares()
        self._still.update(list(shares)[: MOST_SOURCES - len(self._still)])
        if not self._still:
            return []
        names = sorted(self._still)
        values = np.array([shares.get(name, 0.0) for name in names])
        self._still.intersection_update(shares)  # that all is well again is told once
        return [results(self._registry, "Service", "SourceFrozen", names, values, now)]

    def _refused(self) -> float:
        counters = self._ingest.counters
        self._counted.append((counters.received, counters.quarantined))
        received, refused = (new - old for new, old in zip(self._counted[-1], self._counted[0], strict=True))
        return refused / received if received >= FEWEST else 0.0

    def _disk_free(self) -> float:
        try:
            disk = shutil.disk_usage(self._folder)
        except OSError:
            return float("nan")
        return disk.free / disk.total
