"""What may be stored of readings that came: those that can be, judged and dated; the rest is set aside with the reason."""

from __future__ import annotations

import logging
from collections.abc import Collection, Mapping
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from domain.batch import Batch
from domain.errors import TooManyPoints, brief
from domain.points import IntArray, PointRegistry, Retired, TimeArray
from storage.clocks import Clocks
from storage.frozen import FrozenWatch
from storage.ingest_counters import IngestCounters
from storage.latest import LatestValues
from storage.plausibility import Plausibility
from storage.quarantine import Quarantine
from storage.settings import DAY, IngestSettings

log = logging.getLogger(__name__)

ISOLATING = 200
"""Tries at most to find the readings that the store can never take, or that our own code fails on."""


class Screening:
    """Looks readings through on their way to the store; one thread at a time.

    Parameters
    ----------
    registry
        The points that readings refer to.
    latest
        Newest values, which tell a clock that was corrected from late readings.
    quarantine
        Where refused ones are kept.
    settings
        Bounds on time, clocks that are known to be off, how long a source may say the same.
    counters
        Where what is set aside, impossible or frozen is counted.
    racks
        Ids of the site's racks.
    """

    def __init__(
        self,
        registry: PointRegistry,
        latest: LatestValues,
        quarantine: Quarantine,
        settings: IngestSettings,
        counters: IngestCounters,
        racks: Collection[str] = (),
    ) -> None:
        self.clocks = Clocks(registry, latest, settings.clock_warn_s, settings.clock_offsets)
        self.frozen = FrozenWatch(registry, settings.frozen_s)
        self.plausibility = Plausibility(registry, racks)
        self._registry = registry
        self._quarantine = quarantine
        self._settings = settings
        self._counters = counters

    def passed(self, batch: Batch, received: TimeArray) -> list[Batch]:
        """Return what may be stored, in parts; `received` is when each reading came, UTC ms, shape (rows,).

        A reading on which our own code fails costs itself, and not those beside it.
        """
        kept: list[Batch] = []
        todo, tries = [(batch, received)], 0
        while todo:
            part, came = todo.pop()
            try:
                kept.append(self._believed(part, came))
            except Exception as e:
                tries += 1
                if tries > ISOLATING:  # not of some readings: whoever sent them keeps them
                    raise
                if tries == 1:
                    log.exception(
                        "%d readings cannot be looked through, those at fault are searched", len(part)
                    )
                if len(part) == 1:
                    self.set_aside(part, "unforeseen", f"{type(e).__name__}: {brief(e.args[:1], 200)}")
                    continue
                first = np.arange(len(part)) < len(part) // 2
                todo += [(part.take(half), came[half]) for half in (~first, first)]
        return [rows for rows in kept if len(rows)]

    def set_aside(self, rows: Batch, reason: str, why: str = "") -> None:
        """Count readings, and keep them in the quarantine with the reason instead of storing them."""
        self._counters.quarantined += len(rows)
        self._quarantine.readings(rows, reason, self._registry, lambda _point, _value: why)

    def _believed(self, batch: Batch, received: TimeArray) -> Batch:
        """Return the readings that can be, judged and dated; the others are set aside."""
        batch, received = self._usable(batch, received)
        batch = self.clocks.adjusted(batch)
        self.clocks.look(batch, received)
        batch, received = self._in_time(batch, received)
        if not len(batch):
            return batch
        rows = self._judged(batch)
        self.clocks.take_in(rows, received)
        return self._dated(rows, received)

    def _usable(self, batch: Batch, received: TimeArray) -> tuple[Batch, TimeArray]:
        """Return the readings that are some; set the others aside with the reason."""
        return self._without(
            batch,
            received,
            {
                "unknown_point": (batch.point < 0) | (batch.point >= len(self._registry)),
                **self._retired(batch.point),
                "not_finite": ~np.isfinite(batch.value),
            },
        )

    def _in_time(self, batch: Batch, received: TimeArray) -> tuple[Batch, TimeArray]:
        """Return the readings whose times may be; set the others aside with the reason."""
        faults = {"past": batch.observed < received - int(self._settings.past_days * DAY)}
        ahead = self._ahead(batch, received)
        if self._settings.ahead == "quarantine":
            faults["future"] = ahead
        else:
            faults["future"] = wild = self.clocks.wild(batch, received, ahead)
            if wild.any():
                self.clocks.doubt(batch.take(wild), received[wild])
        return self._without(batch, received, faults)

    def _ahead(self, batch: Batch, received: TimeArray) -> NDArray[np.bool_]:
        found: NDArray[np.bool_] = batch.observed > received + int(self._settings.future_s * 1000)
        return found

    def _dated(self, batch: Batch, received: TimeArray) -> Batch:
        """Return readings with the times of those that are dated ahead corrected."""
        ahead = self._ahead(batch, received)
        if not ahead.any():
            return batch
        return replace(batch, observed=self.clocks.corrected_times(batch, received, ahead))

    def _without(
        self, batch: Batch, received: TimeArray, faults: Mapping[str, NDArray[np.bool_]]
    ) -> tuple[Batch, TimeArray]:
        good = np.ones(len(batch), dtype=bool)
        for reason, fault in faults.items():
            bad = fault & good
            if bad.any():
                self.set_aside(batch.take(bad), reason)
                good &= ~fault
        return (batch, received) if good.all() else (batch.take(good), received[good])

    def _judged(self, rows: Batch) -> Batch:
        """Return the readings with those as bad that cannot be, or are frozen; tell the former with their reason."""
        rows, frozen = self.frozen.marked(rows)
        self._counters.frozen += frozen
        impossible = self.plausibility.impossible(rows)
        if not impossible.any():
            return rows
        self._counters.impossible += int(impossible.sum())
        self._quarantine.readings(
            rows.take(impossible), "impossible", self._registry, self.plausibility.reason
        )
        return self.plausibility.marked(rows, impossible)

    def _retired(self, point: IntArray) -> dict[str, NDArray[np.bool_]]:
        """Return which readings are of points that stay out, by reason; those of points only gone bring them back."""
        out = self._registry.are_retired(point)
        if not out.any():
            return {}
        refused, no_room = [], []
        for index in np.unique(point[out]).tolist():
            how = self._registry[index].retired
            if how == Retired.MOVED:  # its history goes on growing, it does not come back
                continue
            if how == Retired.REFUSED:
                refused.append(index)
                continue
            try:
                self._registry.retire(index, None)
            except TooManyPoints:
                no_room.append(index)
        return {"refused_point": np.isin(point, refused), "too_many_points": np.isin(point, no_room)}
