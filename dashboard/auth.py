"""Who looks: login with a password, a signed session cookie, and the guard before every page of the console.

The cookie is HttpOnly and SameSite=Lax, and everything that changes something is refused when it comes from a page of
another origin. The partner API has its own keys and never sees this module.
"""

from __future__ import annotations

import asyncio
import html
import secrets
import time
from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextvars import ContextVar
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated
from urllib.parse import quote, urlsplit

import structlog
from fastapi import APIRouter, Form, Request
from fastapi.responses import HTMLResponse, RedirectResponse
from itsdangerous import BadSignature, URLSafeTimedSerializer
from starlette.datastructures import Headers
from starlette.requests import HTTPConnection
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from storage.accounts import Accounts

log = structlog.get_logger(__name__)

COOKIE = "hallwatch_session"
OPEN_PATHS = ("/assets/console.css",)
"""What may be seen without a login."""

_LOGIN_PAGE = (Path(__file__).parent / "login.html").read_text(encoding="utf-8")


@dataclass(frozen=True, slots=True)
class Session:
    """A person who is logged in: name, the session's own id, and when it began (seconds since 1970)."""

    user: str
    id: str
    began: float


current_session: ContextVar[Session | None] = ContextVar("current_session", default=None)
"""The session that the present request, or the present websocket, belongs to."""


class Sessions:
    """Makes and checks session cookies.

    Parameters
    ----------
    secret
        Signs the cookies; at least 16 characters. Whoever knows it can be anybody.
    hours
        How long a login lasts.
    secure
        Whether the cookie is for HTTPS only.
    """

    def __init__(self, secret: str, hours: float = 24.0, secure: bool = False) -> None:
        if len(secret) < 16:
            raise ValueError("the session secret needs at least 16 characters")
        self._signer = URLSafeTimedSerializer(secret, salt="hallwatch console session")
        self._seconds = hours * 3600
        self._secure = secure
        self._ended: OrderedDict[str, float] = OrderedDict()
        self._locked_out: frozenset[str] = frozenset()

    def begin(self, user: str, response: Response) -> Session:
        """Start a session and set its cookie."""
        session = Session(user, secrets.token_urlsafe(16), time.time())
        response.set_cookie(
            COOKIE,
            self._signer.dumps([session.user, session.id, session.began]),
            max_age=int(self._seconds),
            httponly=True,
            samesite="lax",
            secure=self._secure,
        )
        return session

    def of(self, connection: HTTPConnection) -> Session | None:
        """Return the session that a request or websocket carries, or None."""
        cookie = connection.cookies.get(COOKIE, "")
        try:
            user, session_id, began = self._signer.loads(cookie, max_age=int(self._seconds))
        except (BadSignature, TypeError, ValueError):
            return None
        session = Session(str(user), str(session_id), float(began))
        return session if self.alive(session) else None

    def alive(self, session: Session) -> bool:
        """Return whether a session still counts: not logged out, not too old, its person not locked out."""
        young = time.time() < session.began + self._seconds
        return young and session.id not in self._ended and session.user not in self._locked_out

    def lock_out(self, names: Iterable[str]) -> None:
        """End all sessions of these people, and only of these, until told otherwise."""
        self._locked_out = frozenset(names)

    def end(self, session: Session) -> None:
        """Log out: the cookie is worthless from now on, wherever a copy of it is."""
        now = time.time()
        self._ended[session.id] = now + self._seconds
        while self._ended and next(iter(self._ended.values())) < now:
            self._ended.popitem(last=False)


class LoginThrottle:
    """Counts failed logins by key; who fails too often waits.

    Parameters
    ----------
    most
        Failures within `window_s` seconds after which a key is refused.
    clock
        Monotonic seconds.
    """

    def __init__(
        self, most: int = 5, window_s: float = 300.0, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._most = most
        self._window = window_s
        self._clock = clock
        self._failures: OrderedDict[str, list[float]] = OrderedDict()

    def wait(self, key: str) -> float:
        """Return the seconds until this key may try again, 0 where it may now."""
        recent = [t for t in self._failures.get(key, ()) if t > self._clock() - self._window]
        return recent[-self._most] + self._window - self._clock() if len(recent) >= self._most else 0.0

    def failed(self, key: str) -> None:
        """Count one failure."""
        times = self._failures.pop(key, [])
        self._failures[key] = [*times[-self._most + 1 :], self._clock()]
        while len(self._failures) > 10_000:  # an attacker with many addresses must not fill the memory
            self._failures.popitem(last=False)

    def succeeded(self, key: str) -> None:
        """Forget the failures of a key."""
        self._failures.pop(key, None)


def same_origin(headers: Headers) -> bool:
    """Return whether a request comes from a page of this very origin, or from no page at all."""
    origin = headers.get("origin")
    if origin is None:
        return headers.get("sec-fetch-site", "none") in ("same-origin", "none")
    return urlsplit(origin).netloc == headers.get("host")


def login_router(accounts: Accounts, sessions: Sessions, site_name: str) -> APIRouter:
    """Return the routes of the login page and of logging out."""
    router = APIRouter(include_in_schema=False)
    throttle = LoginThrottle()
    per_address = LoginThrottle(most=30)

    def page(message: str = "", following: str = "/", status: int = 200) -> HTMLResponse:
        text = _LOGIN_PAGE
        for key, value in (("SITE", site_name), ("MESSAGE", message), ("NEXT", following)):
            text = text.replace(f"{{{key}}}", html.escape(value, quote=True))
        return HTMLResponse(text, status_code=status, headers=security_headers())

    @router.get("/login")
    async def show(next: str = "/") -> HTMLResponse:
        return page(following=_inside(next))

    @router.post("/login")
    async def log_in(
        request: Request,
        name: Annotated[str, Form(max_length=200)] = "",
        password: Annotated[str, Form(max_length=1000)] = "",
        next: Annotated[str, Form()] = "/",
    ) -> Response:
        if not same_origin(request.headers):
            return page("This login came from another site and was refused.", status=403)
        address = request.client.host if request.client else ""
        key = f"{address} {name}"
        wait = max(throttle.wait(key), per_address.wait(address))
        if wait:
            answer = page(f"Too many failed logins. Try again in {wait:.0f} seconds.", _inside(next), 429)
            answer.headers["Retry-After"] = f"{wait:.0f}"
            return answer
        # counted before the check, so that parallel tries cannot slip through
        throttle.failed(key)
        per_address.failed(address)
        user = await asyncio.to_thread(accounts.verify_password, name, password)
        if user is None:
            log.warning("login failed", user=name, address=address)
            return page("Name or password is wrong.", _inside(next), 401)
        throttle.succeeded(key)
        per_address.succeeded(address)
        response = RedirectResponse(_inside(next), status_code=303)
        sessions.begin(user.name, response)
        log.info("login", user=user.name, address=address)
        return response

    @router.post("/logout")
    async def log_out(request: Request) -> Response:
        if not same_origin(request.headers):
            return PlainTextResponse("This request came from another site and was refused.", 403)
        session = sessions.of(request)
        if session is not None:
            sessions.end(session)
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

    def __init__(self, app: ASGIApp, sessions: Sessions, headers: Mapping[str, str]) -> None:
        self._app = app
        self._sessions = sessions
        self._headers = [(k.lower().encode(), v.encode()) for k, v in headers.items()]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let a logged-in request through, with its session in `current_session`; refuse others."""
        if scope["type"] not in ("http", "websocket"):
            await self._app(scope, receive, send)
            return
        connection = HTTPConnection(scope)
        session = self._sessions.of(connection)
        if session is None and scope["path"] not in OPEN_PATHS:
            await self._refuse(connection, scope, receive, send)
            return
        changes = scope["type"] == "http" and scope["method"] not in ("GET", "HEAD")
        if changes and not same_origin(connection.headers):
            await PlainTextResponse("from another site: refused", 403)(scope, receive, send)
            return
        token = current_session.set(session)
        try:
            await self._app(scope, receive, self._adding_headers(send) if scope["type"] == "http" else send)
        finally:
            current_session.reset(token)

    @staticmethod
    async def _refuse(connection: HTTPConnection, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "websocket":
            await receive()
            await send({"type": "websocket.close", "code": 4401, "reason": "log in first"})
            return
        response: Response
        if scope["method"] == "GET" and "text/html" in connection.headers.get("accept", ""):
            response = RedirectResponse(f"/login?next={quote(scope['path'])}", status_code=303)
        else:
            response = JSONResponse({"error": "log in first"}, status_code=401)
        await response(scope, receive, send)

    def _adding_headers(self, send: Send) -> Send:
        async def add(message: Message) -> None:
            if message["type"] == "http.response.start":
                message = {**message, "headers": [*message.get("headers", ()), *self._headers]}
            await send(message)

        return add
