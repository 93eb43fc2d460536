"""Routes of forecasts: the newest, as of a time, by issue; the archive; what they were worth."""

from __future__ import annotations

from collections.abc import Hashable
from datetime import datetime
from functools import partial
from typing import Annotated, Any

import orjson
from fastapi import APIRouter, Path, Query, Request, Response
from pydantic import BaseModel, Field

from domain.forecast import Forecast
from domain.site import Site
from partners import accuracy
from partners.answers import Answers, NewestForecasts
from partners.desk import DAY_MS, PAGE, Cursor, Desk, Form, Limit, Moment, ObjectId, ms, object_of, span
from partners.door import Door, Kept
from partners.forecasts import PowerForecast, SealTold, iso, rendered, seal_told, select
from partners.formats import Format, negotiated
from partners.problems import ApiError
from partners.replies import Made, chosen, is_unchanged, reply
from partners.routes import answers
from partners.settings import Shows
from storage.forecast_records import Issue

MOST_LEVELS = 100
ISSUED_MAX_AGE = 86_400
"""What was issued does not change: a caller may keep it so many seconds."""
ARCHIVE_MS = 400 * DAY_MS
Quantiles = Annotated[
    str | None,
    Query(description="Levels to answer, separated by commas; all if absent", examples=["0.1,0.5,0.9"]),
]
Start = Annotated[
    Moment | None, Query(alias="from", description="Only intervals that begin at or after this time")
]
End = Annotated[Moment | None, Query(alias="to", description="Only intervals that begin before this time")]


class IssueTold(BaseModel):
    """One issue of a forecast, without its values."""

    issue_time: datetime = Field(description="When it was issued, UTC: its name in `/issues/{issue_time}`")
    data_cutoff: datetime
    intervals: int = Field(description="How many it tells")
    model: str
    quality: str
    seal: SealTold | None


class Issues(BaseModel):
    """A page of the archive, newest first."""

    object_id: str
    issues: list[IssueTold]
    next: str | None = Field(description="`cursor` of the next page; null where this is the last")


def add(api: APIRouter, desk: Desk, newest: NewestForecasts, door: Door) -> None:
    """Add the routes."""
    rendered_answers = Answers(desk.workers)
    whole = answers(PowerForecast, "The forecast", 400, 404, 406, 503, tables=True)

    @desk.readable(
        api,
        Shows.FORECASTS,
        "/forecasts/power",
        summary="The newest power forecast, or the one of a time",
        tags=["forecasts"],
        responses=whole,
    )
    async def power_forecast(
        request: Request,
        object_id: ObjectId = None,
        quantiles: Quantiles = None,
        start: Start = None,
        end: End = None,
        as_of: Annotated[
            Moment | None, Query(description="The forecast that was the newest at this time, as it was then")
        ] = None,
        form: Form = None,
    ) -> Response:
        """Quantiles of the average power of the coming quarter hours: the site's to 48 hours ahead, a node's to 6 hours.

        A new forecast is issued every 15 minutes. Ask as often as you like with `If-None-Match`: an answer that has
        not changed costs 304 and no body.
        """
        headers, now = request.headers, desk.clock()
        how = negotiated(form, headers.get("accept", "*/*"))
        wanted = object_of(request, object_id, desk.site)
        moment = now if as_of is None else min(ms(as_of), now)
        if as_of is None:
            forecast = await newest.of(wanted)
        else:
            forecast = await desk.workers(desk.records.forecast_at, wanted, moment)
        if forecast is None:
            raise _none_yet(wanted, desk.site, as_of)
        selection = _selected(forecast, moment, quantiles, start, end)
        made = await rendered_answers.of(selection, how)
        response, unchanged = reply(made, headers, "power-forecast", changed=selection.changed)
        seen = partial(is_unchanged, made.tag, selection.changed)
        kept = Kept(selection, response, unchanged, seen)
        if as_of is None and request.method == "GET":
            door.keep(request.scope, kept)
        has_it = seen(headers.get("if-none-match"), headers.get("if-modified-since"))
        return unchanged if has_it else response

    @desk.readable(
        api,
        Shows.FORECASTS,
        "/forecasts/power/issues",
        summary="What was issued",
        tags=["forecasts"],
        responses=answers(Issues, "Issues, newest first", 400, 404, 503),
    )
    async def issues(
        request: Request,
        object_id: ObjectId = None,
        start: Annotated[
            Moment | None,
            Query(alias="from", description="Issued at or after this time; a week back if absent"),
        ] = None,
        end: Annotated[
            Moment | None, Query(alias="to", description="Issued before this time; now if absent")
        ] = None,
        limit: Limit = PAGE,
        cursor: Cursor = None,
    ) -> Response:
        """Read the archive: every forecast as it was issued, each sealed by a hash over its content and the hash before.

        The site's are kept for 400 days, those of nodes for 32, unless the site keeps them otherwise.
        """
        wanted = object_of(request, object_id, desk.site)
        # what was issued a moment ago belongs to it
        since, until = span(start, end, desk.clock() + 1, 7 * DAY_MS, ARCHIVE_MS)
        key: tuple[Hashable, ...] = ("issues", wanted, since, until, limit, cursor)
        fresh = 1_000 if end is None or until > desk.clock() else 60_000

        def page() -> bytes:
            before = None if cursor is None else _place(cursor)
            found = desk.records.issues(wanted, since, until, limit + 1, before)
            return _page(wanted, found, limit)

        if end is None:
            key = (*key[:2], "now", start, limit, cursor)
        return await desk.reply(request, key, fresh, Format.JSON, page)

    @desk.readable(
        api,
        Shows.FORECASTS,
        "/forecasts/power/issues/{issue_time}",
        summary="A forecast as it was issued",
        tags=["forecasts"],
        responses=whole,
    )
    async def one_issue(
        request: Request,
        issue_time: Annotated[Moment, Path(description="`issue_time` of an issue")],
        object_id: ObjectId = None,
        quantiles: Quantiles = None,
        start: Start = None,
        end: End = None,
        form: Form = None,
    ) -> Response:
        """Read what never changes: keep it as long as you like."""
        headers = request.headers
        how = negotiated(form, headers.get("accept", "*/*"))
        wanted, moment = object_of(request, object_id, desk.site), ms(issue_time)
        forecast = await desk.workers(desk.records.forecast_at, wanted, moment, exact=True)
        if forecast is None:
            raise ApiError(
                404, f"no forecast of {wanted[:100]!r} was issued at {iso(moment)}, or it is no longer kept"
            )
        selection = _selected(forecast, forecast.issued, quantiles, start, end)
        made = await desk.workers(lambda: Made.of(rendered(selection, how), how))
        return chosen(made, headers, "power-forecast", ISSUED_MAX_AGE, forecast.issued)

    @desk.readable(
        api,
        Shows.FORECASTS,
        "/forecasts/power/accuracy",
        summary="What issued forecasts were worth",
        tags=["forecasts"],
        responses=answers(accuracy.ForecastAccuracy, "Scores by lead time", 400, 404, 503),
    )
    async def power_accuracy(
        request: Request,
        object_id: ObjectId = None,
        start: Annotated[
            Moment | None,
            Query(
                alias="from", description="From this time, rounded down to six hours; a week back if absent"
            ),
        ] = None,
        end: Annotated[
            Moment | None, Query(alias="to", description="Until this time, rounded up; now if absent")
        ] = None,
    ) -> Response:
        """Each issued forecast is compared with what was measured once its time has come, 15 minutes to 48 hours ahead.

        Coverage of the 90 % interval, pinball loss beside two simple rules, and how often the limit was passed where that had
        been foretold with what probability. What was not measured is counted and not scored.
        """
        wanted = object_of(request, object_id, desk.site)
        if start is not None and end is not None and end <= start:
            raise ApiError(400, "'to' must come after 'from'")
        try:
            since, until = accuracy.window(
                None if start is None else ms(start), None if end is None else ms(end), desk.clock()
            )
        except ValueError as error:
            raise ApiError(400, str(error)) from error
        key = ("accuracy", wanted, since, until)
        return await desk.reply(
            request,
            key,
            accuracy.FRESH_MS,
            Format.JSON,
            lambda: accuracy.answer(desk.records, wanted, since, until),
        )


def _selected(
    forecast: Forecast, now: int, quantiles: str | None, start: datetime | None, end: datetime | None
) -> Any:
    if start is not None and end is not None and end <= start:
        raise ApiError(400, "'to' must come after 'from'")
    since, until = (None if moment is None else ms(moment) for moment in (start, end))
    try:
        return select(forecast, now, _levels(quantiles), since, until)
    except ValueError as error:
        raise ApiError(400, str(error)) from error


def _levels(text: str | None) -> tuple[float, ...]:
    """Return the quantile levels in a text such as ``0.1,0.5``, ascending, each once."""
    if text is None:
        return ()
    if text.count(",") >= MOST_LEVELS:
        raise ValueError(f"quantiles: at most {MOST_LEVELS} levels")
    try:
        return tuple(sorted({round(float(part), 6) for part in text.split(",")}))
    except ValueError as error:
        raise ValueError(f"quantiles: {text[:100]!r} is not a list of numbers such as 0.1,0.5,0.9") from error


def _none_yet(object_id: str, site: Site, as_of: datetime | None) -> ApiError:
    if as_of is not None:
        return ApiError(
            404, f"no forecast of {object_id[:100]!r} had been issued by then, or it is no longer kept"
        )
    if object_id == site.id:
        return ApiError(
            503,
            "no forecast has been issued yet: the service has just started or has no history to forecast from",
            {"retry-after": "60"},
        )
    return ApiError(404, f"no forecasts are made for {object_id[:100]!r}; the site is {site.id!r}")


def _place(cursor: str) -> tuple[int, int]:
    issued, _, key = cursor.partition("-")
    return int(issued), int(key or 0)


def _page(object_id: str, found: list[Issue], limit: int) -> bytes:
    shown = found[:limit]
    last = shown[-1] if len(found) > limit else None
    return orjson.dumps(
        {
            "object_id": object_id,
            "issues": [
                {
                    "issue_time": iso(issue.issued),
                    "data_cutoff": iso(issue.data_cutoff),
                    "intervals": issue.intervals,
                    "model": issue.model,
                    "quality": issue.quality,
                    "seal": seal_told(issue.seal),
                }
                for issue in shown
            ],
            "next": None if last is None else f"{last.issued}-{last.key}",
        }
    )
