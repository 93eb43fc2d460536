"""The REST API for energy partners."""

from __future__ import annotations

from collections.abc import Callable, Collection
from datetime import UTC, datetime
from email.utils import format_datetime, parsedate_to_datetime
from enum import StrEnum
from functools import partial
from typing import Annotated

from fastapi import APIRouter, Depends, Header, Query, Request, Response
from fastapi.responses import HTMLResponse, JSONResponse
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer
from pydantic import AwareDatetime, BeforeValidator

from domain.batch import now_ms
from domain.site import Site
from partners.accuracy import AccuracyAnswers, ForecastAccuracy, window
from partners.answers import Answers, NewestForecasts, Workers
from partners.door import Door, Kept
from partners.forecasts import PowerForecast, as_csv, as_json, select
from partners.openapi import PREFIX, specification
from partners.problems import ApiError, Calls, Problem, route_class
from partners.reference import CONTENT_SECURITY, reference_page
from storage.accounts import Accounts, ApiKey
from storage.records import Records

JSON, CSV = "application/json", "text/csv"
CALLS_PER_MINUTE = 30_000
MOST_LEVELS = 100


class Format(StrEnum):
    """How the answer is written."""

    JSON = "json"
    CSV = "csv"


# an unescaped + in a query arrives as a space, which no time has
_Moment = Annotated[
    AwareDatetime, BeforeValidator(lambda v: v.replace(" ", "+") if isinstance(v, str) else v)
]
_bearer = HTTPBearer(
    auto_error=False, scheme_name="API key", description="The key that the site's operator gave you"
)


def router(
    records: Records,
    accounts: Accounts,
    site: Site,
    calls: Calls | None = None,
    clock: Callable[[], int] = now_ms,
    per_minute: int = CALLS_PER_MINUTE,
    published: Collection[str] = (),
) -> APIRouter:
    """Return the API's routes, to be included in the application as they are.

    Parameters
    ----------
    records
        Where issued forecasts are kept.
    accounts
        Who has an API key.
    site
        Whose forecasts they are.
    calls
        Counts every call, where given.
    clock
        UTC ms.
    per_minute
        Calls that a partner may make, at once or spread.
    published
        Ids of the nodes whose forecasts partners may read beside the site's.
    """
    visible = frozenset({site.id, *published})
    counted = calls or Calls()
    workers = Workers()
    newest, answers = NewestForecasts(records, workers), Answers(workers)
    worth = AccuracyAnswers(records, workers, clock)
    door = Door(accounts, newest, counted, clock, per_minute)
    api = APIRouter(prefix=PREFIX, route_class=route_class(counted, door.answer))

    async def partner(
        request: Request, credentials: Annotated[HTTPAuthorizationCredentials | None, Depends(_bearer)]
    ) -> None:
        key: ApiKey | None = getattr(request.state, "key", None)
        if key is None:  # the keys have to be read first
            try:
                key = await workers(door.admit, None if credentials is None else credentials.credentials)
            except ApiError as error:
                request.state.partner = error.partner
                raise
            request.state.partner = key.partner
        if accounts.use_is_due(key, clock()):
            await workers(accounts.note_use, key)

    @api.get(
        "/forecasts/power",
        summary="The newest power forecast",
        response_model=None,
        dependencies=[Depends(partner)],
        tags=["forecasts"],
        responses={
            200: {
                "model": PowerForecast,
                "description": "The forecast",
                "content": {CSV: {"schema": {"type": "string"}}},
            },
            304: {"description": "Nothing new since the ETag in If-None-Match, or since If-Modified-Since"},
            **{
                status: {"model": Problem, "description": text}
                for status, text in (
                    (400, "A parameter is wrong"),
                    (401, "The API key is missing or not valid"),
                    (404, "No forecasts are made for this object"),
                    (406, "Neither JSON nor CSV is accepted"),
                    (429, f"More than {per_minute} calls a minute; Retry-After tells when to ask again"),
                    (503, "There is no forecast yet; Retry-After tells when to ask again"),
                )
            },
        },
    )
    async def power_forecast(
        request: Request,
        object_id: Annotated[
            str | None,
            Query(description="The site (default), or a node of its power path that the site publishes"),
        ] = None,
        quantiles: Annotated[
            str | None,
            Query(
                description="Levels to answer, separated by commas; all if absent", examples=["0.1,0.5,0.9"]
            ),
        ] = None,
        start: Annotated[
            _Moment | None, Query(alias="from", description="Only intervals that begin at or after this time")
        ] = None,
        end: Annotated[
            _Moment | None, Query(alias="to", description="Only intervals that begin before this time")
        ] = None,
        form: Annotated[
            Format | None, Query(alias="format", description="Overrides the Accept header")
        ] = None,
        accept: Annotated[str, Header(include_in_schema=False)] = "*/*",
        if_none_match: Annotated[str | None, Header(include_in_schema=False)] = None,
        if_modified_since: Annotated[str | None, Header(include_in_schema=False)] = None,
    ) -> Response:
        """Quantiles of the average power of the coming quarter hours: the site's to 48 hours ahead, a node's to 6 hours.

        A new forecast is issued every 15 minutes. Ask as often as you like with `If-None-Match`: an answer that has
        not changed costs 304 and no body. Where many calls come, those of one partner above the limit are answered 429.
        """
        media = _media_type(form, accept)
        if start is not None and end is not None and end <= start:
            raise ApiError(400, "'to' must come after 'from'")
        wanted = object_id or site.id
        # what is not published and what there is not look alike: nobody learns the plant by asking
        forecast = await newest.of(wanted) if wanted in visible else None
        if forecast is None:
            raise _no_forecast(wanted, site)
        try:
            chosen = select(forecast, clock(), _levels(quantiles), _ms(start), _ms(end))
        except ValueError as error:
            raise ApiError(400, str(error)) from error
        answer = await answers.of(chosen, as_csv if media == CSV else as_json)
        headers = {
            "etag": answer.tag,
            "last-modified": format_datetime(
                datetime.fromtimestamp(chosen.changed // 1000, UTC), usegmt=True
            ),
            "cache-control": "private, max-age=60",
            "vary": "Accept, Authorization",
        }
        unchanged = Response(status_code=304, headers=headers)
        if media == CSV:
            headers["content-disposition"] = 'inline; filename="power-forecast.csv"'
        kind = "text/csv; charset=utf-8; header=present" if media == CSV else JSON
        kept = Kept(
            chosen,
            Response(answer.content, headers=headers, media_type=kind),
            unchanged,
            partial(_unchanged, answer.tag, chosen.changed),
        )
        door.keep(request.scope, kept)
        return unchanged if kept.is_unchanged(if_none_match, if_modified_since) else kept.whole

    @api.get(
        "/forecasts/power/accuracy",
        summary="What issued forecasts were worth",
        response_model=None,
        dependencies=[Depends(partner)],
        tags=["forecasts"],
        responses={
            200: {"model": ForecastAccuracy, "description": "Scores by lead time"},
            304: {"description": "Nothing new since the ETag in If-None-Match"},
            **{
                status: {"model": Problem, "description": text}
                for status, text in (
                    (400, "A parameter is wrong"),
                    (401, "The API key is missing or not valid"),
                    (404, "No forecasts are made for this object"),
                    (429, f"More than {per_minute} calls a minute; Retry-After tells when to ask again"),
                    (503, "The records cannot be read now; Retry-After tells when to ask again"),
                )
            },
        },
    )
    async def power_accuracy(
        object_id: Annotated[
            str | None,
            Query(description="The site (default), or a node of its power path that the site publishes"),
        ] = None,
        start: Annotated[
            _Moment | None,
            Query(
                alias="from", description="From this time, rounded down to six hours; a week back if absent"
            ),
        ] = None,
        end: Annotated[
            _Moment | None, Query(alias="to", description="Until this time, rounded up; now if absent")
        ] = None,
        if_none_match: Annotated[str | None, Header(include_in_schema=False)] = None,
    ) -> Response:
        """Each issued forecast is compared with what was measured once its time has come, 15 minutes to 48 hours ahead.

        Coverage of the 90 % interval, pinball loss beside two simple rules, and how often the limit was passed where that had
        been foretold with what probability. What was not measured is counted and not scored.
        """
        wanted = object_id or site.id
        if wanted not in visible:
            raise _no_forecast(wanted, site)
        if start is not None and end is not None and end <= start:
            raise ApiError(400, "'to' must come after 'from'")
        try:
            since, until = window(_ms(start), _ms(end), clock())
        except ValueError as error:
            raise ApiError(400, str(error)) from error
        content, tag = await worth.of(wanted, since, until)
        headers = {"etag": tag, "cache-control": "private, max-age=60", "vary": "Authorization"}
        if _unchanged(tag, clock(), if_none_match, None):
            return Response(status_code=304, headers=headers)
        return Response(content, headers=headers, media_type=JSON)

    spec = specification(api, site)
    page = reference_page(spec)

    @api.get("/openapi.json", include_in_schema=False)
    def openapi() -> Response:
        return JSONResponse(spec, headers={"cache-control": "public, max-age=3600"})

    @api.get("/docs", include_in_schema=False)
    def docs() -> Response:
        return HTMLResponse(page, headers={"content-security-policy": CONTENT_SECURITY})

    known = {
        f"{PREFIX}/forecasts/power",
        f"{PREFIX}/forecasts/power/accuracy",
        f"{PREFIX}/openapi.json",
        f"{PREFIX}/docs",
    }

    @api.api_route(
        "/{rest:path}", methods=["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"], include_in_schema=False
    )
    def anything_else(request: Request) -> Response:
        if request.url.path in known:
            raise ApiError(405, f"{request.method} is not possible here; only GET is", {"allow": "GET"})
        raise ApiError(404, f"there is nothing at this address; see {PREFIX}/docs")

    return api


def _no_forecast(object_id: str, site: Site) -> ApiError:
    if object_id == site.id:
        return ApiError(
            503,
            "no forecast has been issued yet: the service has just started or has no history to forecast from",
            {"retry-after": "60"},
        )
    return ApiError(404, f"no forecasts are made for {object_id[:100]!r}; the site is {site.id!r}")


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


def _media_type(form: Format | None, accept: str) -> str:
    """Return what to answer with: `format` if given, else the best that the Accept header allows."""
    if form is not None:
        return CSV if form is Format.CSV else JSON
    best: tuple[float, str] = (0.0, "")
    for part in accept.split(","):
        kind, *parameters = (piece.strip() for piece in part.split(";"))
        weight = next((p.removeprefix("q=") for p in parameters if p.startswith("q=")), "1")
        media = {JSON: JSON, "application/*": JSON, "*/*": JSON, "": JSON, CSV: CSV, "text/*": CSV}.get(
            kind.lower()
        )
        try:
            share = float(weight)
        except ValueError:
            share = 0.0
        if media is not None and share > best[0]:
            best = (share, media)
    if not best[1]:
        raise ApiError(406, f"'Accept: {accept[:100]}' allows neither {JSON} nor {CSV}")
    return best[1]


def _unchanged(tag: str, changed: int, if_none_match: str | None, if_modified_since: str | None) -> bool:
    if if_none_match is not None:  # takes precedence, RFC 9110 13.1.3
        tags = {part.strip().removeprefix("W/") for part in if_none_match.split(",")}
        return tag in tags or "*" in tags
    if if_modified_since is None:
        return False
    try:
        return changed // 1000 <= parsedate_to_datetime(if_modified_since).timestamp()
    except (ValueError, OverflowError):
        return False


def _ms(moment: datetime | None) -> int | None:
    return None if moment is None else int(moment.timestamp() * 1000)
