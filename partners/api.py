"""The REST API for energy partners."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Request, Response
from fastapi.responses import HTMLResponse, JSONResponse
from fastapi.routing import APIRoute
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer

from domain.batch import now_ms
from domain.site import Site
from partners import demand_routes, event_routes, forecast_routes, site_routes, token_route
from partners.access import Access, Caller
from partners.answers import NewestForecasts
from partners.desk import Desk, only_known_parameters
from partners.door import Door
from partners.events import Events
from partners.openapi import PREFIX, specification
from partners.problems import ApiError
from partners.reference import CONTENT_SECURITY, reference_page
from partners.replies import Replies
from partners.routes import not_allowed, route_class
from partners.settings import PartnerSettings, Shows
from partners.sources import Sources
from partners.tokens import Tokens
from partners.usage import Calls
from partners.workers import Workers
from storage.accounts import Accounts
from storage.records import Records

CALLS_PER_MINUTE = 30_000
METHODS = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "CONNECT", "QUERY"]

_bearer = HTTPBearer(
    auto_error=False,
    scheme_name="API key",
    description=f"The key that the site's operator gave you, or an access token from `{PREFIX}{token_route.PATH}`",
)


def router(
    records: Records,
    accounts: Accounts,
    site: Site,
    calls: Calls | None = None,
    clock: Callable[[], int] = now_ms,
    per_minute: int = CALLS_PER_MINUTE,
    settings: PartnerSettings | None = None,
    secret: str = "",
    sources: Sources | None = None,
    events: Events | None = None,
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
        Calls that a partner may make, at once or spread, whose contract says nothing else.
    settings
        What is published and shown to whom.
    secret
        Signs access tokens; of this process alone if empty.
    sources
        Where demand and all else comes from; without them the API tells forecasts only.
    events
        What is pushed; without them there is no stream.
    """
    counted = calls or Calls()
    workers = Workers()
    newest = NewestForecasts(records, workers)
    access = Access(settings or PartnerSettings(), site.envelope(), per_minute)
    tokens = Tokens(secret)
    door = Door(accounts, access, tokens, newest, counted, clock)
    api = APIRouter(prefix=PREFIX, route_class=route_class(counted, door.answer))

    async def admitted(request: Request, told: str | None) -> Caller:
        caller: Caller | None = getattr(request.state, "caller", None)
        if caller is None:  # the keys have to be read first
            caller = await workers(door.admit, told)
            request.state.caller = caller
        if accounts.use_is_due(caller.key, clock()):
            await workers(accounts.note_use, caller.key)
        return caller

    def needs(part: Shows) -> Any:
        async def shown(
            request: Request, credentials: Annotated[HTTPAuthorizationCredentials | None, Depends(_bearer)]
        ) -> None:
            caller = await admitted(request, None if credentials is None else credentials.credentials)
            if part not in caller.shows:
                raise ApiError(
                    403,
                    f"{part.value!r} is not shown to you: by your contract, or by this key or token",
                    {"www-authenticate": f'Bearer error="insufficient_scope", scope="{part.value}"'},
                    caller.partner,
                    caller.key.prefix,
                    f"no scope {part.value}",
                )
            only_known_parameters(request)

        return Depends(shown)

    desk = Desk(site, records, clock, workers, Replies(workers, clock), needs)
    forecast_routes.add(api, desk, newest, door)
    if sources is not None:
        demand_routes.add(api, desk, sources)
        site_routes.add(api, desk, sources)
    if events is not None:
        event_routes.add(api, desk, events, door)
    token_route.add(api, accounts, access, tokens, counted, workers)

    spec = specification(api, site)
    page = reference_page(spec)
    told = [route for route in api.routes if isinstance(route, APIRoute)]

    @api.api_route("/openapi.json", methods=["GET", "HEAD"], include_in_schema=False)
    def openapi() -> Response:
        return JSONResponse(spec, headers={"cache-control": "public, max-age=3600"})

    @api.api_route("/docs", methods=["GET", "HEAD"], include_in_schema=False)
    def docs() -> Response:
        return HTMLResponse(page, headers={"content-security-policy": CONTENT_SECURITY})

    @api.api_route("/{rest:path}", methods=METHODS, include_in_schema=False)
    def anything_else(request: Request) -> Response:
        for route in told:
            if route.path_regex.match(request.url.path):
                raise not_allowed(request.method, route)
        raise ApiError(404, f"there is nothing at this address; see {PREFIX}/docs")

    return api
