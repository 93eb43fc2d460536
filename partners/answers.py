"""Answers that are ready: the newest forecast as it was read, and each selection of it as it was rendered."""

from __future__ import annotations

import asyncio
import hashlib
import time
from collections import OrderedDict
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import ParamSpec, TypeVar

from domain.forecast import Forecast
from partners.forecasts import Selection
from storage.records import Records

P = ParamSpec("P")
T = TypeVar("T")

THREADS = 2
FRESH_S = 1.0
"""What another process issued is seen within this time; what this one did, at once."""
MOST_OBJECTS = 1000
MOST_ANSWERS = 256
"""Rendered answers that are kept, each some tens of kilobytes."""


class Workers:
    """The API's own threads for what blocks; a caller waits for one while it holds a connection, which are bounded."""

    def __init__(self) -> None:
        self._threads = ThreadPoolExecutor(THREADS, "partners")

    async def __call__(self, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Run in one of them."""
        return await asyncio.get_running_loop().run_in_executor(self._threads, partial(work, *args, **kwargs))


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
class Answer:
    """A rendered selection: the bytes, and the entity tag that names them."""

    forecast: Forecast
    content: bytes
    tag: str


class Answers:
    """Rendered selections of the newest forecasts; the one that was asked for longest ago is dropped first."""

    def __init__(self, workers: Workers) -> None:
        self._workers = workers
        self._kept: OrderedDict[tuple[object, ...], Answer] = OrderedDict()

    async def of(self, selection: Selection, render: Callable[[Selection], bytes]) -> Answer:
        """Return a selection as `render` writes it, once for all who ask for the same."""
        key = (
            selection.forecast.object_id,
            selection.rows.tobytes(),
            selection.columns,
            selection.quality,
            render,
        )
        kept = self._kept.get(key)
        if kept is None or kept.forecast is not selection.forecast:
            kept = await self._workers(_rendered, selection, render)
            self._kept[key] = kept
            while len(self._kept) > MOST_ANSWERS:
                self._kept.popitem(last=False)
        self._kept.move_to_end(key)
        return kept


def _rendered(selection: Selection, render: Callable[[Selection], bytes]) -> Answer:
    content = render(selection)
    return Answer(selection.forecast, content, f'"{hashlib.sha256(content).hexdigest()[:32]}"')
