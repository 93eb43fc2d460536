"""Answers that are ready: the newest forecast as it was read, and each selection of it as it was rendered."""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass

from domain.forecast import Forecast
from partners.forecasts import Selection, rendered
from partners.formats import Format
from partners.replies import Made
from partners.workers import MOST_ANSWERS, Workers
from storage.records import Records

FRESH_S = 1.0
"""What another process issued is seen within this time; what this one did, at once."""
MOST_OBJECTS = 1000


@dataclass(slots=True)
class _Newest:
    forecast: Forecast | None
    saved: int
    read: float


class NewestForecasts:
    """The newest forecast of each object, read from the records when it may have changed."""

    def __init__(
        self, records: Records, workers: Workers, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._records = records
        self._workers = workers
        self._clock = clock
        self._kept: OrderedDict[str, _Newest] = OrderedDict()

    def known(self, object_id: str) -> Forecast | None:
        """Return the newest forecast of an object's power if nobody need be asked for it; never blocks."""
        fresh = self._fresh(object_id)
        return None if fresh is None else fresh.forecast

    def _fresh(self, object_id: str) -> _Newest | None:
        kept = self._kept.get(object_id)
        if kept is None or kept.saved != self._records.forecasts_saved:
            return None
        return kept if self._clock() - kept.read < FRESH_S else None

    async def of(self, object_id: str) -> Forecast | None:
        """Return the newest forecast of an object's power, or None where none was issued.

        Raises
        ------
        StorageError
            If the records do not answer.
        """
        fresh = self._fresh(object_id)
        if fresh is not None:
            return fresh.forecast
        saved, read = self._records.forecasts_saved, self._clock()
        found = await self._workers(self._records.latest_forecast, object_id, "ActivePower")
        self._kept[object_id] = _Newest(found, saved, read)
        self._kept.move_to_end(object_id)
        while len(self._kept) > MOST_OBJECTS:
            self._kept.popitem(last=False)
        return found


@dataclass(frozen=True, slots=True)
class _Rendered:
    forecast: Forecast
    made: Made


class Answers:
    """Rendered selections of the newest forecasts; the one that was asked for longest ago is dropped first."""

    def __init__(self, workers: Workers) -> None:
        self._workers = workers
        self._kept: OrderedDict[tuple[object, ...], _Rendered] = OrderedDict()

    async def of(self, selection: Selection, form: Format) -> Made:
        """Return a selection in one of the forms, once for all who ask for the same."""
        key = (
            selection.forecast.object_id,
            selection.rows.tobytes(),
            selection.columns,
            selection.quality,
            form,
        )
        kept = self._kept.get(key)
        if kept is None or kept.forecast is not selection.forecast:
            made = await self._workers(lambda: Made.of(rendered(selection, form), form))
            kept = self._kept[key] = _Rendered(selection.forecast, made)
            while len(self._kept) > MOST_ANSWERS:
                self._kept.popitem(last=False)
        self._kept.move_to_end(key)
        return kept.made
