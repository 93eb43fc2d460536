"""People, keys of partners, who is on call, what is kept quiet: to see and to change, for administrators.

Passwords and new keys go over a route of their own, not through a `dcc.Store`: Dash's renderer keeps what it was told.
"""

from __future__ import annotations

from typing import Annotated, Any

from dash import dcc, html
from fastapi import APIRouter, Body
from fastapi.responses import JSONResponse

from dashboard import settings_frames
from dashboard.auth import session_now
from dashboard.components.panel import live_table, panel
from dashboard.data import ConsoleData
from dashboard.page import Asked, Level, Page
from dashboard.threads import reading
from dashboard.words import say
from domain.errors import HallwatchError
from domain.role import Role

PRIVATE = {"Cache-Control": "no-store"}


def layout(_asked: Asked) -> html.Div:
    """Return the page, which its script fills."""
    heads = settings_frames.heads()

    def table(name: str) -> html.Div:
        return html.Div(live_table(f"settings-{name}", heads[name], say(f"settings.{name}_title")))

    def form(name: str) -> html.Form:
        return html.Form(id=f"settings-{name}-form", className="settings-form")

    return html.Div(
        [
            panel(say("settings.people_title"), table("people"), form("people"), area="area-people"),
            panel(
                say("settings.keys_title"),
                html.Div(id="settings-secret", className="settings-secret", role="status", hidden=True),
                table("keys"),
                form("keys"),
                area="area-keys",
            ),
            panel(
                say("page.oncall"),
                table("oncall"),
                html.H3(say("settings.changes_title")),
                table("changes"),
                form("changes"),
                area="area-oncall",
                extra=dcc.Link(say("settings.whole_schedule"), href="/oncall", id="settings-to-oncall"),
            ),
            panel(
                say("settings.quiet_title"),
                table("quiet"),
                area="area-quiet",
                extra=dcc.Link(say("settings.announce"), href="/alerts", id="settings-to-alerts"),
            ),
        ],
        className="settings-page",
    )


def _routes(data: ConsoleData) -> APIRouter:
    router = APIRouter(prefix="/settings", include_in_schema=False)

    @router.get("/all")
    async def everything() -> JSONResponse:
        try:
            told = await reading(settings_frames.settings, data, session_now().user)
        except HallwatchError as error:
            return JSONResponse({"error": str(error)}, 503, PRIVATE)
        return JSONResponse(told, headers=PRIVATE)

    @router.post("/act")
    async def act(request: Annotated[dict[str, Any], Body()]) -> JSONResponse:
        """Do what is asked, in the name of the session, never of the browser."""
        session = session_now()
        if not session.role.may(str(request.get("act"))):
            return JSONResponse({"error": say("done.no_act", who=session.user)}, 403, PRIVATE)
        try:
            done = await reading(data.settings.act, request, session.user)
        except HallwatchError as error:
            return JSONResponse({"error": str(error)}, 400, PRIVATE)
        except (KeyError, TypeError, ValueError) as error:
            return JSONResponse({"error": say("settings.no_request", why=str(error)[:200])}, 400, PRIVATE)
        return JSONResponse({"text": done.text, "secret": done.secret}, headers=PRIVATE)

    return router


PAGE = Page(
    name="settings",
    path="/settings",
    level=Level.DIAGNOSIS,
    layout=layout,
    routes=_routes,
    role=Role.ADMINISTRATOR,
    of_past=False,
)
