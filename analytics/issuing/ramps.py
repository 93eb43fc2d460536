"""Keeping the largest ramps of every quarter hour, read from the raw readings when it is over."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from pathlib import Path
from zipfile import BadZipFile

import numpy as np
import structlog

from analytics.outlook.ramps import FEWEST, HOUR, HOUR_MS, STEP_MS, RampBook, largest_changes, planned_shares
from analytics.planned.bookings import Bookings
from domain.envelope import QUARTER_MS, EnvelopeNode, quarter_start
from domain.forecast import Ramps
from domain.points import ValueArray
from storage.plant import PlantView
from storage.telemetry import Aggregate

log = structlog.get_logger(__name__)

BACK = 8
"""Quarter hours that are read after a pause: raw readings are kept for three hours at least."""
HELD_MS = 120_000
"""A value that is told on change holds so long: DSX repeats it every 100 s. Quarter-hourly means are no readings of seconds."""


class RampWatch:
    """Foretells the largest ramps of every node that is measured.

    Parameters
    ----------
    plant
        Where readings come from.
    file
        Where what was seen is kept over a restart.
    """

    def __init__(self, plant: PlantView, file: Path) -> None:
        self._plant = plant
        self._file = file
        self._book: RampBook | None = None
        self._busy = threading.Lock()

    def expected(self, cutoff: int, bookings: Bookings | None) -> Mapping[str, Ramps]:
        """Return the largest ramps to expect in the hour from `cutoff` (UTC ms, a quarter hour's end) on, by node."""
        with self._busy:
            plant = self._plant
            points = {node.id: plant.power_points(node.id) for node in plant.envelope}
            nodes = tuple(name for name, members in points.items() if len(members))
            book = self._of(nodes, tuple(plant.envelope[node].kind for node in nodes))
            below = np.array([np.isin(plant.site.racks, racks_below(plant, node)) for node in nodes], bool)
            last = int(book.time[-1]) if len(book.time) else 0
            first = max(last + QUARTER_MS, cutoff - BACK * QUARTER_MS)
            for start in range(first, cutoff, QUARTER_MS):
                end = start + QUARTER_MS
                power = self._power([points[node] for node in nodes], start - QUARTER_MS, end)
                changes = largest_changes(power, QUARTER_MS // STEP_MS)
                known = None if bookings is None else bookings.as_known(end)
                if np.isfinite(changes).any():
                    book = book.take(start, changes, planned_shares(known, below, end, end + HOUR_MS))
            if book is not self._book:
                self._book = book
                self._keep(book)
            # what was seen before a pause says nothing of now
            return book.expected() if len(book.time) and book.time[-1] + QUARTER_MS == cutoff else {}

    def known_from(self, now: int) -> int:
        """Return when ramps will be foretold at the earliest if none are at `now` (UTC ms): so many quarter hours are seen first."""
        seen = len(self._book.time) if self._book is not None else 0
        return quarter_start(now) + max(1, FEWEST - seen) * QUARTER_MS

    def largest(self, start: int) -> dict[str, ValueArray]:
        """Return the largest rises and falls of the hour from `start` on, W, shape (windows, 2), by node.

        NaN where a quarter hour was not measured; empty where the hour was not seen whole.
        """
        with self._busy:
            book = self._book
        if book is None:
            return {}
        rows = np.flatnonzero((book.time >= start) & (book.time < start + HOUR_MS))
        if len(rows) < HOUR:
            return {}
        most = book.changes[rows].astype(np.float64).max(axis=0)
        return dict(zip(book.nodes, most, strict=True))

    def _power(
        self, points: list[np.ndarray[tuple[int], np.dtype[np.int32]]], start: int, end: int
    ) -> ValueArray:
        every = np.unique(np.concatenate(points))
        grid = self._plant.store.aggregate(every, start, end, STEP_MS, Aggregate.TIME_WEIGHTED, HELD_MS)
        row = {int(point): i for i, point in enumerate(grid.point)}
        unknown = np.full(len(grid.start), np.nan)
        return np.array(
            [
                np.sum([grid.values[row[int(p)]] if int(p) in row else unknown for p in members], axis=0)
                for members in points
            ]
        )

    def _of(self, nodes: tuple[str, ...], kinds: tuple[str, ...]) -> RampBook:
        """Return what was seen of these nodes; one that is new has seen nothing."""
        book = self._book
        if book is None:
            try:
                book = RampBook.load(self._file)
            except (OSError, ValueError, KeyError, BadZipFile) as error:
                if self._file.exists():
                    log.warning("the ramps seen so far cannot be read; they are seen anew", error=str(error))
                book = RampBook.empty(nodes, kinds)
        return book.of(nodes, kinds)

    def _keep(self, book: RampBook) -> None:
        try:
            book.save(self._file)
        except OSError as error:
            log.warning("the ramps seen so far cannot be kept", error=str(error))


def racks_below(plant: PlantView, node_id: str) -> tuple[str, ...]:
    """Return the ids of the racks that a node feeds, of all racks where it is the site."""
    return (
        plant.site.racks
        if node_id == plant.site.id
        else tuple(dict.fromkeys(_below(plant, plant.envelope[node_id])))
    )


def _below(plant: PlantView, node: EnvelopeNode) -> list[str]:
    if node.kind == "Rack":
        return [node.id]
    nodes = plant.envelope.nodes
    return [rack for child in node.children if child in nodes for rack in _below(plant, nodes[child])]
