"""The operator console, mounted on the service's web application."""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import orjson
import structlog
from dash import ClientsideFunction, Dash, Input, Output, State, ctx, html, no_update, set_props
from fastapi import Depends, FastAPI
from starlette.middleware.gzip import GZipMiddleware
from starlette.types import ASGIApp, Receive, Scope, Send

from dashboard.auth import (
    FRESH_S,
    Guard,
    Passwords,
    Sessions,
    login_router,
    role_needed,
    security_headers,
    session_now,
)
from dashboard.broadcast import Broadcaster
from dashboard.components.frame import frame, nothing
from dashboard.data import ConsoleData
from dashboard.events import events_router
from dashboard.page import Payload
from dashboard.pages import PAGES
from dashboard.past import BEAT_S, Past, where
from dashboard.preferences import preferences_router, preferred
from dashboard.registry import (
    ALWAYS,
    LIVE,
    asked,
    page_at,
    sections_of,
    slow,
    spoken,
    spoken_section,
    unspoken,
)
from dashboard.runbooks import runbook_router
from dashboard.search import Search, search_router
from dashboard.static import Static, marked, marks_of
from dashboard.threads import background_done, reading
from dashboard.windows import Windows
from dashboard.words import chosen, say, script, words_router
from dashboard.zoomed import zoom_router
from domain.errors import HallwatchError, StorageError
from storage.accounts import Accounts
from storage.sessions import LoginSessions

log = structlog.get_logger(__name__)

ANSWER_S = 30.0
"""A browser that does not answer for so long is asked again; frames are not piled up for it."""
MOST_UNANSWERED = 20
"""A window that answered nothing so many times is gone; one that only slept notices, and loads itself anew."""
LONGEST_NOTE = 500
ASSETS = Path(__file__).parent / "assets"
PLOTLY = "/assets/plotly/plotly-basic.min.js?m=0"
"""Plotly with the charts that the console draws, a quarter of what Dash would serve; of the version that Dash brings."""
_INDEX = """<!doctype html>
<html lang="{language}" data-theme="{theme}" data-plotly="{plotly}">
<head>
{metas}
<title>{title}</title>
{favicon}
{css}
</head>
<body>
{app_entry}
<footer>
{words}
{config}
{scripts}
{renderer}
</footer>
</body>
</html>"""


@dataclass(slots=True)
class Console:
    """The mounted console. `run` it beside the web server; without it the figures stand still."""

    broadcaster: Broadcaster
    sessions: Sessions
    passwords: Passwords
    windows: Windows

    async def run(self) -> None:
        """Look at the plant for all viewers, and at who is still logged in, until cancelled."""
        try:
            async with asyncio.TaskGroup() as parts:
                parts.create_task(self.broadcaster.run())
                parts.create_task(self._watch_sessions())
        finally:
            await reading(background_done)  # its store is closed next

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
    """
    sessions = Sessions(secret, LoginSessions(data.records), session_hours, secure_cookie)
    passwords = Passwords(accounts, sessions)
    windows = Windows()
    broadcaster = Broadcaster(lambda name: spoken_section(data, name), slow=slow)
    inner = FastAPI(docs_url=None, redoc_url=None, openapi_url=None)
    inner.add_api_route("/alive", _alive, include_in_schema=False)
    inner.include_router(runbook_router(data.runbooks))
    inner.include_router(
        preferences_router(lambda wanted: sessions.remember(session_now().user, wanted), secure=secure_cookie)
    )
    inner.include_router(words_router())
    inner.include_router(search_router(Search(data, PAGES)))
    inner.include_router(events_router(data))
    inner.include_router(zoom_router(data))
    for page in PAGES:
        if page.routes is not None:
            inner.include_router(page.routes(data), dependencies=[Depends(role_needed(page.role))])
    dash = _build(inner, data, broadcaster, sessions, windows)
    headers = security_headers(dash.csp_hashes())
    app.include_router(login_router(passwords, sessions, data.site.name))
    answers = Static(_OnePage(GZipMiddleware(inner, minimum_size=1000, compresslevel=5)))
    app.mount("/", Guard(answers, sessions, headers, windows), name="console")
    return Console(broadcaster, sessions, passwords, windows)


async def _alive() -> dict[str, bool]:
    """Answer a browser that lost its connection and asks whether the console is back."""
    return {"alive": True}


class _OnePage:
    """Serves the one page of the console at every address that a page of it has, and nothing at others."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and scope["method"] == "GET" and page_at(scope.get("path", "")):
            scope = {**scope, "path": "/", "raw_path": b"/"}
        await self._app(scope, receive, send)


class _SpokenDash(Dash):
    """Dash whose one page is in the language and theme of whoever asks, with the words that the scripts need."""

    def interpolate_index(self, **parts: Any) -> str:  # type: ignore[override]  # all are handed on
        """Return the page that carries all of the console."""
        wanted = preferred()
        mark = script(wanted.language)[1]
        words = f'<script src="/words/{wanted.language}.js?{mark}"></script>'
        page = _INDEX.format(
            **parts, words=words, language=wanted.language, theme=wanted.theme, plotly=PLOTLY
        )
        return marked(page, _marks())


@cache
def _marks() -> dict[str, str]:
    return marks_of(ASSETS)


def _build(
    server: FastAPI, data: ConsoleData, broadcaster: Broadcaster, sessions: Sessions, windows: Windows
) -> Dash:
    app = _SpokenDash(
        "hallwatch",
        server=server,  # type: ignore[arg-type]  # Dash's own types know only Flask
        backend="fastapi",
        assets_folder=str(ASSETS),
        assets_ignore="plotly-basic",  # comes when the first chart is drawn
        serve_locally=True,
        eager_loading=False,  # Plotly and what no page shows are most of it
        suppress_callback_exceptions=True,
        add_log_handler=False,
        title=data.site.name,
        update_title=None,  # type: ignore[arg-type]  # None is how Dash is told to leave the title alone
        websocket_inactivity_timeout=0,
        websocket_heartbeat_interval=10_000,
        websocket_batch_delay=0,  # gathered, fast updates of one property get lost (Dash issue 3981)
    )

    def layout() -> html.Div:
        session = session_now()
        return frame(
            data.site.name,
            data.note,
            session.user,
            session.role,
            [*LIVE, "session", "past"],
            data.site.zone.key,
        )

    app.layout = layout
    _register_live(app, data, broadcaster, sessions, windows)
    _register_pages(app, data)
    for page in PAGES:
        if page.connect is not None:
            page.connect(app, data, broadcaster)
    _register_acknowledge(app, data, broadcaster)
    _register_alarm_acts(app, data, broadcaster)
    _register_notes(app, data, broadcaster)
    _register_painting(app)
    return app


def _register_live(
    app: Dash, data: ConsoleData, broadcaster: Broadcaster, sessions: Sessions, windows: Windows
) -> None:
    past = Past(data)

    @app.callback(websocket=True, persistent=True)
    async def live() -> None:
        """Send one viewer what changed, for as long as its window is open.

        The browser is asked where it is before each frame: its answer says that it has taken the frame before, and
        which page it shows, and of which moment. So one frame at most is under way, and a slow browser gets fewer of them.
        """
        socket, session = ctx.websocket, session_now()
        minute, unanswered, language = -1, 0, None
        greeted = False
        then = past.window()
        with broadcaster.viewer() as viewer, windows.opened(session.user) as window:
            # a browser's windows share one socket: of a closed one only the silence tells
            while not socket.is_shutdown and not window.ended and unanswered < MOST_UNANSWERED:
                if not sessions.alive(session):
                    push("session", {"ended": True})
                    return
                try:
                    if language is None:  # the socket may have been opened by a window of another language
                        language = chosen(await socket.get_prop("language", "data", timeout=ANSWER_S))
                    path, moment = where(await socket.get_prop("url", "href", timeout=ANSWER_S), data)
                except TimeoutError:
                    viewer.look_at(frozenset())
                    unanswered += 1
                    continue
                unanswered = 0
                if moment:
                    viewer.leave()
                    names = sections_of(path, data, session.role, past=True)
                    for name, payload in (await then.changes(names, moment, language)).items():
                        push(
                            name.partition(":")[0],
                            payload if name != "past" else payload | {"now": data.clock()},
                        )
                    await asyncio.sleep(BEAT_S)
                    continue
                if then.left():
                    push("past", {"moment": 0, "now": data.clock()})
                live_names = sections_of(path, data, session.role) if greeted else ALWAYS
                greeted = True  # what every page shows does not wait for the floor and the charts
                wanted = {spoken(name, language) for name in live_names}
                for name, payload in (await viewer.changes(wanted)).items():
                    push(unspoken(name)[0].partition(":")[0], payload)
                if data.clock() // 60_000 != minute:
                    minute = data.clock() // 60_000
                    set_props("minute", {"data": minute})


def push(section: str, payload: Payload) -> None:
    """Send a section to the window whose live callback runs."""
    options = orjson.OPT_SERIALIZE_NUMPY | orjson.OPT_NON_STR_KEYS
    set_props(f"live-{section}", {"children": orjson.dumps(payload, option=options).decode()})


def _register_pages(app: Dash, data: ConsoleData) -> None:
    @app.callback(Output("page", "children"), Input("url", "pathname"), State("url", "search"))
    async def page(path: str | None, search: str | None) -> Any:
        """Return the page at an address."""
        found, session = page_at(path or "/"), session_now()
        if found is None or not session.role.includes(found[0].role):
            return nothing(path or "/")
        return found[0].layout(asked(data, found[1], search, session.user, session.role))


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
        who = session_now().user
        try:
            if not session_now().role.may("acknowledge"):
                return {"error": say("done.no_acknowledge", who=who)}
            number, note = int(request["id"]), str(request.get("note", ""))[:LONGEST_NOTE].strip()
            await reading(data.alarms.acknowledge, number, who, note)
        except (HallwatchError, KeyError, TypeError, ValueError) as error:
            return {"error": str(error)}
        broadcaster.refresh()
        return {"id": number, "text": say("done.taken", number=number, who=who)}


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
        who = session_now().user
        try:
            if not session_now().role.may(str(request["act"])):
                return {"error": say("done.no_change", who=who)}
            text = await reading(data.alarms.act, request, who)
        except (HallwatchError, KeyError, TypeError, ValueError) as error:
            return {"error": str(error)}
        broadcaster.refresh()
        return {"text": text, "act": str(request["act"])}


def _register_notes(app: Dash, data: ConsoleData, broadcaster: Broadcaster) -> None:
    @app.callback(Output("note-answer", "data"), Input("note-request", "data"), prevent_initial_call=True)
    async def pin(request: dict[str, Any] | None) -> Any:
        """Pin a note to a moment: in the name of the session, never of the browser."""
        if not request:
            return no_update
        who = session_now().user
        try:
            if not session_now().role.may("annotate"):
                return {"error": say("done.no_change", who=who)}
            text = await reading(data.notes.pin, request, who)
        except (HallwatchError, KeyError, TypeError, ValueError) as error:
            return {"error": str(error)}
        broadcaster.refresh()
        return {"text": text}


def _register_painting(app: Dash) -> None:
    """Connect the stores to the functions of ``assets/`` that paint them."""
    stores = [name for page in PAGES for name in page.stores]
    for name in (*stores, "acknowledge-answer", "alarm-act-answer", "note-answer"):
        app.clientside_callback(  # type: ignore[no-untyped-call]
            ClientsideFunction("console", "take"), Input(name, "data"), State(name, "id")
        )
    for name in [name for page in PAGES for name in page.choices]:
        app.clientside_callback(  # type: ignore[no-untyped-call]
            ClientsideFunction("console", "choose"), Input(name, "value"), State(name, "id")
        )
