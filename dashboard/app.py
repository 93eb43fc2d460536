"""The operator console, mounted on the service's web application."""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote

import orjson
import structlog
from dash import ClientsideFunction, Dash, Input, Output, State, ctx, html, no_update, set_props
from fastapi import FastAPI
from starlette.types import ASGIApp, Receive, Scope, Send

from alerts.runbooks import Runbooks
from dashboard import alarm_frames, frames
from dashboard.auth import (
    FRESH_S,
    Guard,
    Passwords,
    Sessions,
    current_session,
    login_router,
    security_headers,
)
from dashboard.broadcast import Broadcaster
from dashboard.components.frame import frame
from dashboard.data import ConsoleData
from dashboard.pages import alerts, health, oncall, overview, rack
from dashboard.runbooks import runbook_router
from dashboard.threads import reading
from dashboard.views import SPANS
from dashboard.windows import Windows
from domain.errors import HallwatchError, StorageError
from domain.role import Role
from storage.accounts import Accounts
from storage.sessions import LoginSessions, Session

log = structlog.get_logger(__name__)

PAGES = ("/", "/alerts", "/oncall", "/health")
ANSWER_S = 30.0
"""A browser that does not answer for so long is asked again; frames are not piled up for it."""
MOST_UNANSWERED = 20
"""A window that answered nothing so many times is gone; one that only slept notices, and loads itself anew."""
SLOW = {"power": 10.0}
"""The chart of the last hours reads the store; its tip moves with every header."""
LONGEST_NOTE = 500


@dataclass(slots=True)
class Console:
    """The mounted console. `run` it beside the web server; without it the figures stand still."""

    broadcaster: Broadcaster
    sessions: Sessions
    passwords: Passwords
    windows: Windows

    async def run(self) -> None:
        """Look at the plant for all viewers, and at who is still logged in, until cancelled."""
        async with asyncio.TaskGroup() as parts:
            parts.create_task(self.broadcaster.run())
            parts.create_task(self._watch_sessions())

    async def _watch_sessions(self) -> None:
        while True:
            with contextlib.suppress(StorageError):  # whoever was logged in stays so
                await reading(self.sessions.refresh)
            await asyncio.sleep(FRESH_S)

    def stats(self) -> dict[str, float]:
        """Return the counters of broadcaster, logins and windows."""
        return {**self.broadcaster.counters, **self.passwords.counters, **self.windows.counters}


def mount(
    app: FastAPI,
    data: ConsoleData,
    accounts: Accounts,
    secret: str,
    *,
    session_hours: float = 24.0,
    secure_cookie: bool = False,
    runbooks: Runbooks | None = None,
) -> Console:
    """Put the console at ``/`` and its login at ``/login``.

    Call it after every other route of `app` is there: the console answers whatever nobody else does.

    Parameters
    ----------
    app
        The service's web application.
    data
        What the console shows.
    accounts
        The people who may log in.
    secret
        Signs the session cookies; at least 16 characters, the same over restarts if logins are to last.
    session_hours
        How long a login lasts.
    secure_cookie
        Whether the cookie is for HTTPS only; set it wherever the console is reached over HTTPS.
    runbooks
        Of the site; those that ship, if none are given.
    """
    sessions = Sessions(secret, LoginSessions(data.records), session_hours, secure_cookie)
    passwords = Passwords(accounts, sessions)
    windows = Windows()
    broadcaster = Broadcaster(lambda name: frames.section(data, name), slow=SLOW)
    inner = FastAPI(docs_url=None, redoc_url=None, openapi_url=None)
    inner.add_api_route("/alive", _alive, include_in_schema=False)
    inner.include_router(runbook_router(runbooks or Runbooks()))
    dash = _build(inner, data, broadcaster, sessions, windows)
    headers = security_headers(dash.csp_hashes())
    app.include_router(login_router(passwords, sessions, data.site.name))
    app.mount("/", Guard(_OnePage(inner), sessions, headers, windows), name="console")
    return Console(broadcaster, sessions, passwords, windows)


def sections_of(path: str, data: ConsoleData) -> frozenset[str]:
    """Return the sections that the page at `path` shows."""
    always = {"header", "alerts"}
    if path == "/":
        return frozenset(always | set(overview.SECTIONS))
    if path == "/alerts":
        return frozenset(always | {"alarms"})
    if path == "/health":
        return frozenset(always | {"health"})
    name = rack_in(path, data)
    return frozenset(always | {f"rack:{name}"} if name else always)


def rack_in(path: str, data: ConsoleData) -> str:
    """Return the rack that a path names, or an empty string where the site has no such rack."""
    name = unquote(path.removeprefix("/rack/")) if path.startswith("/rack/") else ""
    return name if name in data.site.racks else ""


def moment_in(search: str | None) -> int:
    """Return the moment (UTC ms) that an address asks for, such as the link of a message: 0 where it asks for none."""
    try:
        text = parse_qs((search or "").removeprefix("?"), max_num_fields=20)["at"][0]
        moment = datetime.fromisoformat(text)
    except (KeyError, ValueError):
        return 0
    if moment.tzinfo is None:
        return 0
    return max(int((moment - datetime.fromtimestamp(0, UTC)).total_seconds() * 1000), 0)


async def _alive() -> dict[str, bool]:
    """Answer a browser that lost its connection and asks whether the console is back."""
    return {"alive": True}


class _OnePage:
    """Serves the one page of the console at every address that a page of it has, and nothing at others."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        path = scope.get("path", "")
        is_page = path in PAGES or (path.startswith("/rack/") and "/" not in path[6:])
        if scope["type"] == "http" and scope["method"] == "GET" and is_page:
            scope = {**scope, "path": "/", "raw_path": b"/"}
        await self._app(scope, receive, send)


def _build(
    server: FastAPI, data: ConsoleData, broadcaster: Broadcaster, sessions: Sessions, windows: Windows
) -> Dash:
    app = Dash(
        "hallwatch",
        server=server,  # type: ignore[arg-type]  # Dash's own types know only Flask
        backend="fastapi",
        assets_folder=str(Path(__file__).parent / "assets"),
        serve_locally=True,
        eager_loading=True,
        suppress_callback_exceptions=True,
        add_log_handler=False,
        title=data.site.name,
        update_title=None,  # type: ignore[arg-type]  # None is how Dash is told to leave the title alone
        websocket_inactivity_timeout=0,
        websocket_heartbeat_interval=10_000,
    )

    def layout() -> html.Div:
        return frame(data.site.name, data.note, _session().user, _session().role)

    app.layout = layout
    _register_live(app, data, broadcaster, sessions, windows)
    _register_pages(app, data)
    _register_acknowledge(app, data, broadcaster)
    _register_alarm_acts(app, data, broadcaster)
    _register_painting(app)
    return app


def _session() -> Session:
    session = current_session.get()
    if session is None:
        raise RuntimeError("a console callback ran without a session: the guard is not in place")
    return session


def _register_live(
    app: Dash, data: ConsoleData, broadcaster: Broadcaster, sessions: Sessions, windows: Windows
) -> None:
    @app.callback(websocket=True, persistent=True)
    async def live() -> None:
        """Send one viewer what changed, for as long as its window is open.

        The browser is asked where it is before each frame: its answer says that it has taken the frame before, and
        which page it shows. So one frame at most is under way, and a slow browser gets fewer of them.
        """
        socket, session = ctx.websocket, _session()
        minute, unanswered = -1, 0
        with broadcaster.viewer() as viewer, windows.opened(session.user) as window:
            # a browser's windows share one socket: of a closed one only the silence tells
            while not socket.is_shutdown and not window.ended and unanswered < MOST_UNANSWERED:
                if not sessions.alive(session):
                    push("session", {"ended": True})
                    return
                try:
                    path = await socket.get_prop("url", "pathname", timeout=ANSWER_S)
                except TimeoutError:
                    viewer.look_at(frozenset())
                    unanswered += 1
                    continue
                unanswered = 0
                changed = await viewer.changes(sections_of(path or "/", data))
                for name, payload in changed.items():
                    push(name.partition(":")[0], payload)
                if data.clock() // 60_000 != minute:
                    minute = data.clock() // 60_000
                    set_props("minute", {"data": minute})


def push(section: str, payload: frames.Payload) -> None:
    """Send a section to the window whose live callback runs."""
    options = orjson.OPT_SERIALIZE_NUMPY | orjson.OPT_NON_STR_KEYS
    set_props(f"live-{section}", {"children": orjson.dumps(payload, option=options).decode()})


def _register_pages(app: Dash, data: ConsoleData) -> None:
    @app.callback(Output("page", "children"), Input("url", "pathname"))
    async def page(path: str | None) -> Any:
        """Return the page at an address."""
        path = path or "/"
        if path == "/":
            return overview.layout(data.site)
        if path == "/alerts":
            return alerts.layout()
        if path == "/oncall":
            return oncall.layout()
        if path == "/health":
            return health.layout()
        name = rack_in(path, data)
        if name:
            return rack.layout(data.site, name)
        if path.startswith("/rack/"):
            return rack.unknown(unquote(path.removeprefix("/rack/")))
        return _nothing(path)

    @app.callback(
        Output("rack-history", "data"),
        Input("rack-span", "value"),
        Input("rack-shown", "data"),
        Input("url", "search"),
        Input("minute", "data"),
    )
    async def history(span: str, rack_id: str, search: str | None, _minute: int) -> Any:
        """Return a rack's history, anew each minute (the minute is pushed, not polled)."""
        if span not in SPANS or rack_id not in data.site.racks:
            return no_update
        return await reading(frames.rack_charts, data, rack_id, span, moment_in(search))

    @app.callback(Output("oncall-body", "children"), Input("minute", "data"))
    async def on_call(_minute: int) -> Any:
        """Return who is on call, anew each minute."""
        people, known, now = await reading(data.rosters)
        return oncall.body(people, known, now, _session().user)

    @app.callback(Output("alert-history", "data"), Input("alert-change", "data"))
    async def alert_history(_change: str) -> Any:
        """Return the newest alerts of every state, whenever an alert opened, was taken or cleared."""
        return await reading(alarm_frames.alert_history, data)


def _nothing(path: str) -> html.Div:
    return html.Div([html.H1("Nothing here"), html.P(f"The console has no page {path}.")], className="plain")


def _register_acknowledge(app: Dash, data: ConsoleData, broadcaster: Broadcaster) -> None:
    @app.callback(
        Output("acknowledge-answer", "data"),
        Input("acknowledge-request", "data"),
        prevent_initial_call=True,
    )
    async def acknowledge(request: dict[str, Any] | None) -> Any:
        """Record who took an alert: the name comes from the session, never from the browser."""
        if not request:
            return no_update
        who = _session().user
        try:
            if _session().role is Role.VIEWER:
                return {"error": f"{who} may look, but not acknowledge: that takes the role operator"}
            number, note = int(request["id"]), str(request.get("note", ""))[:LONGEST_NOTE].strip()
            await reading(data.alarms.acknowledge, number, who, note)
        except (HallwatchError, KeyError, TypeError, ValueError) as error:
            return {"error": str(error)}
        broadcaster.refresh()
        return {"id": number, "text": f"Alert {number} acknowledged by {who}"}


def _register_alarm_acts(app: Dash, data: ConsoleData, broadcaster: Broadcaster) -> None:
    @app.callback(
        Output("alarm-act-answer", "data"),
        Input("alarm-act-request", "data"),
        prevent_initial_call=True,
    )
    async def act(request: dict[str, Any] | None) -> Any:
        """Shelve, comment, retire, announce work, ...: in the name of the session, never of the browser."""
        if not request:
            return no_update
        who = _session().user
        try:
            if _session().role is Role.VIEWER:
                return {"error": f"{who} may look, but change nothing: that takes the role operator"}
            text = await reading(data.alarms.act, request, who)
        except (HallwatchError, KeyError, TypeError, ValueError) as error:
            return {"error": str(error)}
        broadcaster.refresh()
        return {"text": text, "act": str(request["act"])}


def _register_painting(app: Dash) -> None:
    """Connect the stores to the functions of ``assets/`` that paint them."""
    for name in ("rack-history", "alert-history", "acknowledge-answer", "alarm-act-answer"):
        app.clientside_callback(  # type: ignore[no-untyped-call]
            ClientsideFunction("console", "take"), Input(name, "data"), State(name, "id")
        )
    for name in (
        "floor-metric",
        "forecast-span",
        "gpu-metric",
        "alert-state",
        "alert-severity",
        "alert-text",
    ):
        app.clientside_callback(  # type: ignore[no-untyped-call]
            ClientsideFunction("console", "choose"), Input(name, "value"), State(name, "id")
        )
