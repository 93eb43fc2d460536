"""Who looks: login with a password, a signed session cookie, and the guard before every page of the console.

The cookie is HttpOnly and SameSite=Lax, and everything that changes something is refused when it comes from a page of
another origin. The partner API has its own keys and never sees this module.
"""

from __future__ import annotations

import asyncio
import html
import math
import secrets
import threading
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextvars import ContextVar
from pathlib import Path
from urllib.parse import quote, urlsplit

import structlog
from fastapi import APIRouter, HTTPException, Request
from fastapi.responses import HTMLResponse, RedirectResponse
from itsdangerous import BadSignature, URLSafeTimedSerializer
from starlette.datastructures import Headers
from starlette.requests import HTTPConnection
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from dashboard.preferences import (
    Preferences,
    as_preferred,
    keep,
    known_theme,
    preferences_of,
    preferred,
)
from dashboard.threads import reading
from dashboard.throttle import Attempt, LoginThrottle, same_name
from dashboard.windows import Windows
from dashboard.words import chosen, language, say
from domain.batch import now_ms
from domain.errors import StorageError
from domain.role import Role
from storage.accounts import Accounts, User, plain
from storage.api_keys import LONGEST_NAME
from storage.sessions import LoginSessions, Session, digest

log = structlog.get_logger(__name__)

COOKIE = "hallwatch_session"
DEVICE_COOKIE = "hallwatch_known"
DEVICE_S = 180 * 86_400
FRESH_S = 1.0
"""Which sessions count is asked anew after so long: what another process ended ends here within it."""
MOST_WAITING = 8
"""Logins that wait for their password to be checked; more are told to come again."""
LONGEST_PASSWORD, MOST_FIELDS = 1000, 10
"""Characters, and fields of a login's form."""
OPEN_PATHS = ("/assets/console.css",)
"""What may be seen without a login."""

_LOGIN_PAGE = (Path(__file__).parent / "login.html").read_text(encoding="utf-8")


current_session: ContextVar[Session | None] = ContextVar("current_session", default=None)
"""The session that the present request, or the present websocket, belongs to."""


def session_now() -> Session:
    """Return the session of the request or websocket that runs."""
    session = current_session.get()
    if session is None:
        raise RuntimeError("a console callback ran without a session: the guard is not in place")
    return session


def role_needed(role: Role) -> Callable[[], Awaitable[None]]:
    """Return what refuses, before a route answers, whoever has a lesser role."""

    async def check() -> None:
        if not session_now().role.includes(role):
            raise HTTPException(403, say("done.role_needed", role=say(f"role.{role}")))

    return check


class Sessions:
    """Makes and checks session cookies. Which sessions count lies in the records; here is what they said lately.

    Parameters
    ----------
    secret
        Signs the cookies; at least 16 characters. Whoever knows it still needs a session in the records.
    kept
        The sessions in the records.
    hours
        How long a login lasts.
    secure
        Whether the cookie is for HTTPS only.
    """

    def __init__(self, secret: str, kept: LoginSessions, hours: float = 24.0, secure: bool = False) -> None:
        if len(secret) < 16:
            raise ValueError("the session secret needs at least 16 characters")
        self._signer = URLSafeTimedSerializer(secret, salt="hallwatch console session")
        self._devices = URLSafeTimedSerializer(secret, salt="hallwatch known browser")
        self._kept = kept
        self._seconds = hours * 3600
        self.secure = secure
        self._live: dict[str, Session] = {}
        self._looked = -math.inf
        self._lock = threading.Lock()

    def begin(self, user: User, address: str = "") -> tuple[str, Session]:
        """Begin a session and return its secret; blocks."""
        with self._lock:  # what is looked at meanwhile does not know it yet
            secret, session = self._kept.begin(user.name, user.role, self._seconds, address)
            self._live = self._live | {session.key: session}
        return secret, session

    def give(self, response: Response, secret: str, session: Session) -> None:
        """Set the cookies of a session that began: its own, and the one by which this browser is known again."""
        response.set_cookie(
            COOKIE,
            self._signer.dumps(secret),
            max_age=int(self._seconds),
            httponly=True,
            samesite="lax",
            secure=self.secure,
        )
        response.set_cookie(
            DEVICE_COOKIE,
            self._devices.dumps([same_name(session.user), secrets.token_urlsafe(12)]),
            max_age=DEVICE_S,
            path="/login",
            httponly=True,
            samesite="strict",
            secure=self.secure,
        )

    def device(self, connection: HTTPConnection, name: str) -> str:
        """Return what this browser is known by, where this very person logged in from it before; else nothing."""
        try:
            user, device = self._devices.loads(connection.cookies.get(DEVICE_COOKIE, ""), max_age=DEVICE_S)
        except (BadSignature, TypeError, ValueError):
            return ""
        return str(device) if user == same_name(name) else ""

    async def of(self, connection: HTTPConnection) -> Session | None:
        """Return the session that a request or websocket carries, or None.

        Raises
        ------
        StorageError
            If nobody can tell: the records do not answer, and the session is not known from before.
        """
        try:
            cookie = connection.cookies.get(COOKIE, "")
            secret, given = self._signer.loads(cookie, max_age=int(self._seconds), return_timestamp=True)
        except (BadSignature, TypeError, ValueError):
            return None
        key = digest(str(secret))
        # one that just began, in another process, may be younger than the last look
        new = key not in self._live and time.time() - given.timestamp() < 2 * FRESH_S
        if new or time.monotonic() - self._looked > FRESH_S:
            try:
                await reading(self.refresh)
            except StorageError:
                if key not in self._live:
                    raise
        session = self._live.get(key)
        return session if session is not None and self.alive(session) else None

    def alive(self, session: Session) -> bool:
        """Return whether a session still counts: begun, not ended, not too old, its person not locked out or changed."""
        found = self._live.get(session.key)
        return found is not None and found.role == session.role and now_ms() < found.expires

    def preferences(self, user: str) -> Preferences | None:
        """Return how a person wanted the console when they last chose, or None; blocks."""
        try:
            kept = self._kept.preferences(user)
        except StorageError:  # it is no reason to keep anybody out
            return None
        return None if kept is None else Preferences(chosen(kept[0]), known_theme(kept[1]))

    def remember(self, user: str, wanted: Preferences) -> None:
        """Keep how a person wants the console, for whatever browser they log in from next; blocks."""
        self._kept.keep_preferences(user, wanted.language, wanted.theme)

    def refresh(self) -> None:
        """Ask the records which sessions count; blocks."""
        with self._lock:
            self._live = self._kept.live()
            self._looked = time.monotonic()

    def end(self, session: Session) -> None:
        """Log out: the cookie is worthless from now on, in every process and after a restart; blocks."""
        with self._lock:
            self._live = {k: s for k, s in self._live.items() if k != session.key}
            self._kept.end(session)


def same_origin(headers: Headers) -> bool:
    """Return whether a request comes from a page of this very origin, or from no page at all."""
    origin = headers.get("origin")
    if origin is None:
        return headers.get("sec-fetch-site", "none") in ("same-origin", "none")
    return urlsplit(origin).netloc == headers.get("host")


class Passwords:
    """Checks passwords in a thread of their own: nothing else waits behind them, and few wait for it.

    `counters` tells how many logins were good, bad, and refused unheard.
    """

    def __init__(self, accounts: Accounts, sessions: Sessions) -> None:
        self._accounts = accounts
        self._sessions = sessions
        self._thread = ThreadPoolExecutor(1, "login")
        self._waiting = 0
        self.counters: Counter[str] = Counter()

    async def log_in(self, name: str, password: str, address: str) -> tuple[str, Session] | None:
        """Return the new session of the person whose password this is, with its secret; or None.

        Raises
        ------
        Busy
            If too many wait already.
        """
        if self._waiting >= MOST_WAITING:
            self.counters["logins_refused_busy"] += 1
            raise Busy
        self._waiting += 1
        try:
            loop = asyncio.get_running_loop()
            found = await loop.run_in_executor(self._thread, self._check, name, password, address)
        finally:
            self._waiting -= 1
        self.counters["logins_good" if found else "logins_bad"] += 1
        return found

    def _check(self, name: str, password: str, address: str) -> tuple[str, Session] | None:
        user = self._accounts.verify_password(name, password, address)
        return None if user is None else self._sessions.begin(user, address)


class Busy(Exception):
    """Too many logins wait."""


def login_router(passwords: Passwords, sessions: Sessions, site_name: str) -> APIRouter:
    """Return the routes of the login page and of logging out."""
    router = APIRouter(include_in_schema=False)
    throttle = LoginThrottle()

    def page(message: str = "", following: str = "/", status: int = 200, wait: float = 0.0) -> HTMLResponse:
        text = _LOGIN_PAGE
        fields = {
            "LANGUAGE": language(),
            "THEME": preferred().theme,
            "LOG_IN": say("login.log_in"),
            "CONSOLE": say("login.console"),
            "NAME": say("login.name"),
            "PASSWORD": say("login.password"),
            "MESSAGE": message,
            "NEXT": following,
            "SITE": site_name,
        }
        for key, value in fields.items():
            text = text.replace(f"{{{key}}}", html.escape(value, quote=True))
        headers = security_headers() | ({"Retry-After": str(math.ceil(wait))} if wait else {})
        return HTMLResponse(text, status_code=status, headers=headers)

    def too_many(wait: float, following: str = "/") -> HTMLResponse:
        passwords.counters["logins_throttled"] += 1
        return page(say("login.too_many", seconds=math.ceil(wait)), following, 429, wait)

    @router.get("/login")
    async def show(request: Request, next: str = "/") -> HTMLResponse:
        with as_preferred(preferences_of(request)):
            return page(following=_inside(next))

    @router.post("/login")
    async def log_in(request: Request) -> Response:
        with as_preferred(preferences_of(request)):
            return await answer(request)

    async def answer(request: Request) -> Response:
        if not same_origin(request.headers):
            return page(say("login.elsewhere"), status=403)
        address = request.client.host if request.client else ""
        wait = 0.0 if DEVICE_COOKIE in request.cookies else throttle.wait(address)
        if wait:  # nobody takes the form apart, nor a password, for one who may not try
            return too_many(wait)
        async with request.form(max_files=0, max_fields=MOST_FIELDS) as form:
            name, password, following = (str(form.get(f, "")) for f in ("name", "password", "next"))
            following = _inside(following or "/")
        if not name.strip() or not password or len(name) > LONGEST_NAME or len(password) > LONGEST_PASSWORD:
            return page(say("login.needed"), following, 401)
        attempt = throttle.begin(name, address, sessions.device(request, name))
        if not isinstance(attempt, Attempt):
            return too_many(attempt, following)
        try:
            found = await passwords.log_in(name, password, address)
        except Busy:
            return page(say("login.busy"), following, 503, 2)
        if found is None:
            log.warning("login failed", user=plain(name), address=address)
            return page(say("login.wrong"), following, 401)
        throttle.succeeded(attempt)
        response = RedirectResponse(following, status_code=303)
        sessions.give(response, *found)
        wanted = await reading(sessions.preferences, found[1].user)
        if wanted is not None:
            keep(response, wanted, secure=sessions.secure)
        log.info("login", user=found[1].user, address=address)
        return response

    @router.post("/logout")
    async def log_out(request: Request) -> Response:
        if not same_origin(request.headers):
            return PlainTextResponse("This request came from another site and was refused.", 403)
        session = await sessions.of(request)
        if session is not None:
            await reading(sessions.end, session)
            log.info("logout", user=session.user)
        response = RedirectResponse("/login", status_code=303)
        response.delete_cookie(COOKIE)
        return response

    return router


def _inside(path: str) -> str:
    """Return where to go after the login: a path of this console, never another site."""
    safe = path.startswith("/") and not path.startswith(("//", "/\\")) and "\n" not in path
    return path if safe else "/"


def security_headers(inline_scripts: Sequence[str] = ()) -> dict[str, str]:
    """Return headers by which the browser itself loads nothing from anywhere else.

    `inline_scripts` are the hashes of the inline scripts that may run; no other script in the page does.
    """
    scripts = " ".join(("'self'", *inline_scripts))
    return {
        "Content-Security-Policy": (
            f"default-src 'self'; script-src {scripts}; style-src 'self' 'unsafe-inline'; "
            "img-src 'self' data: blob:; connect-src 'self' ws: wss:; worker-src 'self' blob:; "
            "frame-ancestors 'none'; base-uri 'self'; form-action 'self'"
        ),
        "X-Content-Type-Options": "nosniff",
        "Referrer-Policy": "same-origin",
        "X-Frame-Options": "DENY",
    }


class Guard:
    """Pure ASGI: nobody gets past it to a page, a callback or the websocket without a login.

    `headers` are added to every answer.
    """

    def __init__(
        self, app: ASGIApp, sessions: Sessions, headers: Mapping[str, str], windows: Windows
    ) -> None:
        self._app = app
        self._windows = windows
        self._sessions = sessions
        self._headers = [(k.lower().encode(), v.encode()) for k, v in headers.items()]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let a logged-in request through, with its session in `current_session`; refuse others."""
        if scope["type"] not in ("http", "websocket"):
            await self._app(scope, receive, send)
            return
        connection = HTTPConnection(scope)
        try:
            session = await self._sessions.of(connection)
        except StorageError:
            await self._unknown(scope, receive, send)
            return
        if session is None and scope["path"] not in OPEN_PATHS:
            await self._refuse(connection, scope, receive, send)
            return
        changes = scope["type"] == "http" and scope["method"] not in ("GET", "HEAD")
        if changes and not same_origin(connection.headers):
            await PlainTextResponse("from another site: refused", 403)(scope, receive, send)
            return
        token = current_session.set(session)
        try:
            with as_preferred(preferences_of(connection)):
                if scope["type"] == "websocket":
                    user = session.user if session else ""
                    await self._windows.talk(self._app, scope, receive, send, user)
                else:
                    await self._app(scope, receive, self._adding_headers(send))
        finally:
            current_session.reset(token)

    @staticmethod
    async def _unknown(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "websocket":
            await receive()
            await send({"type": "websocket.close", "code": 1013, "reason": "the records do not answer"})
            return
        text = "The records do not answer, so nobody can tell who is logged in. Try again in a moment."
        await PlainTextResponse(text, 503, {"retry-after": "5"})(scope, receive, send)

    @staticmethod
    async def _refuse(connection: HTTPConnection, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "websocket":
            await receive()
            await send({"type": "websocket.close", "code": 4401, "reason": "log in first"})
            return
        response: Response
        if scope["method"] == "GET" and "text/html" in connection.headers.get("accept", ""):
            asked = scope.get("query_string", b"").decode("latin-1")
            where = scope["path"] + (
                f"?{asked}" if asked else ""
            )  # such as the moment that a message's link names
            response = RedirectResponse(f"/login?next={quote(where)}", status_code=303)
        else:
            response = JSONResponse({"error": "log in first"}, status_code=401)
        await response(scope, receive, send)

    def _adding_headers(self, send: Send) -> Send:
        async def add(message: Message) -> None:
            if message["type"] == "http.response.start":
                message = {**message, "headers": [*message.get("headers", ()), *self._headers]}
            await send(message)

        return add
