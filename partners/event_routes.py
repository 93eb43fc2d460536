"""The stream of events: server-sent events for every issued forecast."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator
from typing import Annotated

from fastapi import APIRouter, Header, Query, Request
from fastapi.responses import StreamingResponse
from fastapi.sse import format_sse_event

from partners.access import Caller
from partners.desk import Desk, caller_of, object_of
from partners.door import Door
from partners.events import Event, Events, Stream, event_of
from partners.problems import ApiError
from partners.routes import problems
from partners.settings import Shows
from storage.records import Records

PATH = "/events"
BEAT_S = 15.0
"""A stream without events says so often that it lives; then it is also seen whether its key does."""
STREAMS, OF_PARTNER = 100, 5
"""Open streams at most: in all, and of one partner."""
MISSED = 96
"""Events that are told again to who comes back, at most: of a day."""
RETRY_MS = 5_000
_EVENT = {
    "type": "string",
    "description": "`event: forecast.issued` or `forecast.revised`, `id`, and `data`: a JSON object with `type`, `timestamp` and `data`",
}


def add(api: APIRouter, desk: Desk, events: Events, door: Door) -> None:
    """Add the route."""
    of_partner: Counter[str] = Counter()

    @api.get(
        PATH,
        summary="Events: a forecast was issued, or says something else",
        response_model=None,
        dependencies=[desk.needs(Shows.FORECASTS)],
        openapi_extra={"x-shows": Shows.FORECASTS.value},
        tags=["push"],
        responses={
            200: {
                "description": "Events, as long as you listen",
                "content": {"text/event-stream": {"schema": _EVENT}},
            },
            **problems(400, 401, 403, 404, 429, 503),
        },
    )
    async def stream(
        request: Request,
        object_id: Annotated[
            str | None,
            Query(description="Only of this object; of all that you may read if absent", max_length=200),
        ] = None,
        last: Annotated[
            str | None,
            Header(
                alias="Last-Event-ID",
                description="Id of the last event that was seen: what came since is told first, a day's at most",
                pattern=r"^[0-9]{1,15}$",
            ),
        ] = None,
    ) -> StreamingResponse:
        """Listen to server-sent events. `forecast.revised` says that within six hours the median left the 90 % interval that was told before, a breach became likely or is no longer, or the limit changed; all else is `forecast.issued`.

        A comment comes every 15 s where nothing happens. The stream ends when the key does, and when the service stops: come back
        with `Last-Event-ID`, as browsers do by themselves.
        """
        caller = caller_of(request)
        objects = {object_of(request, object_id, desk.site)} if object_id else caller.objects
        if events.open_streams >= STREAMS or of_partner[caller.partner] >= OF_PARTNER:
            raise ApiError(
                429,
                f"too many streams are open: {OF_PARTNER} of a partner, {STREAMS} in all",
                {"retry-after": "60"},
                caller.partner,
                caller.key.prefix,
                "too many streams",
            )
        missed = [] if last is None else await desk.workers(_missed, desk.records, sorted(objects), int(last))

        async def told() -> AsyncIterator[bytes]:
            of_partner[caller.partner] += 1
            try:
                async with events.stream(objects) as stream:
                    yield format_sse_event(comment="here", retry=RETRY_MS)
                    for event in missed:
                        yield _written(event)
                    async for part in _live(stream, desk, door, caller):
                        yield part
            finally:
                of_partner[caller.partner] -= 1

        return StreamingResponse(
            told(),
            media_type="text/event-stream",
            headers={"cache-control": "no-store", "x-accel-buffering": "no"},
        )


async def _live(stream: Stream, desk: Desk, door: Door, caller: Caller) -> AsyncIterator[bytes]:
    while not stream.lost:
        try:
            event = await stream.next(BEAT_S)
        except TimeoutError:
            event = None
            part = format_sse_event(comment="here")
        else:
            if event is None:
                return
            part = _written(event)
        if not await desk.workers(door.still, caller):
            return
        yield part


def _written(event: Event) -> bytes:
    return format_sse_event(event=event.kind.value, id=str(event.issued), data_str=event.body)


def _missed(records: Records, objects: list[str], since: int) -> list[Event]:
    """Return the events of what was issued after a time, oldest first, the newest `MISSED` of each object; blocks."""
    found = []
    for object_id in objects:
        issues = records.issues(object_id, since + 1, 2**53, MISSED)
        if issues:
            first = issues[-1].issued
            before = records.forecast_at(object_id, first - 1)
            for new in records.forecasts(object_id, "ActivePower", first, 2**53, MISSED):
                found.append(event_of(new, before))
                before = new
    return sorted(found, key=lambda e: e.issued)
