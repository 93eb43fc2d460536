"""What is pushed to partners: an event for every issued forecast, to open streams and to webhooks."""

from __future__ import annotations

import asyncio
import hashlib
from collections import Counter
from collections.abc import AsyncIterator, Callable, Collection
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import orjson
import structlog

from domain.batch import now_ms
from domain.envelope import Envelope
from domain.errors import StorageError
from domain.forecast import Forecast
from partners.forecasts import iso, seal_told
from partners.revisions import revision
from partners.settings import ForecastEvent, PartnerSettings, visible
from partners.webhooks import Webhooks
from storage.records import Records

log = structlog.get_logger(__name__)

LOOK_S = 1.0
"""What this process issued is seen within this time."""
ELSEWHERE_S = 15.0
"""What another process issued is seen within this time."""
MISSED_MS = 900_000
"""What was issued so long before the start is still told to webhooks that were not told it."""
MOST_WAITING = 100
"""Events that a stream may be behind."""


@dataclass(frozen=True, slots=True)
class Event:
    """A forecast that was issued; `body` is its JSON document, the same for everybody."""

    object_id: str
    issued: int
    kind: ForecastEvent
    body: str

    @property
    def key(self) -> str:
        """The event's id: the same however often it is told."""
        return hashlib.sha256(f"{self.object_id} {self.issued}".encode()).hexdigest()[:24]


def event_of(new: Forecast, old: Forecast | None) -> Event:
    """Return the event of an issue."""
    changed = revision(new, old)
    kind = ForecastEvent.ISSUED if changed is None else ForecastEvent.REVISED
    body: dict[str, Any] = {
        "type": kind.value,
        "timestamp": iso(new.issued),
        "data": {
            "object_id": new.object_id,
            "issue_time": iso(new.issued),
            "data_cutoff": iso(new.data_cutoff),
            "quality": new.quality,
            "seal": seal_told(new.seal),
            "revision": changed,
            "href": f"/api/v1/forecasts/power/issues/{iso(new.issued)}?object_id={new.object_id}",
        },
    }
    return Event(new.object_id, new.issued, kind, orjson.dumps(body).decode())


class Stream:
    """An open stream of events: what it is behind is bounded."""

    def __init__(self, objects: Collection[str]) -> None:
        self.objects = objects
        self.lost = False
        """Whether it was too slow to be told everything."""
        self._waiting: asyncio.Queue[Event | None] = asyncio.Queue(MOST_WAITING)

    def offer(self, event: Event | None) -> None:
        """Hand over an event, or the end; never blocks."""
        try:
            self._waiting.put_nowait(event)
        except asyncio.QueueFull:
            self.lost = True

    async def next(self, seconds: float) -> Event | None:
        """Return the next event.

        Raises
        ------
        TimeoutError
            If none came in so many seconds.
        """
        async with asyncio.timeout(seconds):
            return await self._waiting.get()


class Events:
    """Sees what is issued and tells it.

    Parameters
    ----------
    records
        Where issued forecasts are kept, and what is still to be told.
    settings
        What is published to whom, and their webhooks.
    envelope
        The site and its nodes.
    """

    def __init__(
        self,
        records: Records,
        settings: PartnerSettings,
        envelope: Envelope,
        clock: Callable[[], int] = now_ms,
    ) -> None:
        self._records = records
        self._clock = clock
        self.webhooks = Webhooks(records, settings, envelope, clock)
        named = {p for c in settings.contracts for p in c.published or ()} | set(settings.published)
        self._objects = sorted(visible(named, envelope))
        self._newest: dict[str, Forecast] = {}
        self._streams: set[Stream] = set()
        self._saved = -1
        self._first = True
        self._ended = False
        self.counters: Counter[str] = Counter()

    def stats(self) -> dict[str, int]:
        """Return counts for the health page."""
        return {"streams": len(self._streams), **self.counters, **self.webhooks.counters}

    async def run(self) -> None:
        """Tell what is issued until cancelled; then open streams end."""
        self._ended = False
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._watch())
                group.create_task(self.webhooks.run())
        finally:
            self._ended = True
            for stream in self._streams:
                stream.offer(None)

    @asynccontextmanager
    async def stream(self, objects: Collection[str]) -> AsyncIterator[Stream]:
        """Open a stream of the events of some objects."""
        stream = Stream(objects)
        self._streams.add(stream)
        if self._ended:
            stream.offer(None)
        try:
            yield stream
        finally:
            self._streams.discard(stream)

    @property
    def open_streams(self) -> int:
        """How many are open."""
        return len(self._streams)

    async def _watch(self) -> None:
        looked = -ELSEWHERE_S
        loop = asyncio.get_running_loop()
        while True:
            if self._records.forecasts_saved != self._saved or loop.time() - looked >= ELSEWHERE_S:
                looked, saved = loop.time(), self._records.forecasts_saved
                try:
                    found = await asyncio.to_thread(self._look)
                    self._saved = saved
                except StorageError as error:
                    log.warning("issued forecasts cannot be told now", error=str(error))
                else:
                    self._tell(found)
            await asyncio.sleep(LOOK_S)

    def _look(self) -> list[Event]:
        """Return events of what is new, and queue them for webhooks; blocks."""
        found = []
        first, self._first = self._first, False
        for object_id, new in self._records.latest_forecasts(self._objects).items():
            old = self._newest.get(object_id)
            if old is not None and old.issued >= new.issued:
                continue
            if old is None:
                old = self._records.forecast_at(object_id, new.issued - 1)
            self._newest[object_id] = new
            if not first or self._clock() - new.issued < MISSED_MS:
                found.append(event_of(new, old))
        self.webhooks.queue([(e.object_id, e.kind, e.key, e.body) for e in found])
        return [] if first else found

    def _tell(self, events: list[Event]) -> None:
        self.counters["events"] += len(events)
        for event in events:
            for stream in self._streams:
                if event.object_id in stream.objects:
                    stream.offer(event)
