"""Bounds on what may be sent to each part of the web application."""

from __future__ import annotations

from starlette.exceptions import HTTPException
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

CAPTURE = 2 * 1024**3
"""Bytes of a capture that is replayed; it goes to disk as it comes."""
LARGEST = (
    ("/internal/v1/replay", CAPTURE),
    ("/internal/", 256 * 1024),
    ("/login", 16 * 1024),
    ("/logout", 16 * 1024),
    ("/answer/", 16 * 1024),
    ("/api/", 16 * 1024),
    ("/healthz", 0),
    ("/", 1024 * 1024),
)
"""Bytes of a body by the beginning of its path; the first that fits counts. The last is for the console's callbacks."""


def largest(path: str) -> int:
    """Return how many bytes a body to this path may have."""
    return next(size for start, size in LARGEST if path.startswith(start))


class BodyLimit:
    """Pure ASGI: answers 413 before a body is read that says that it is too large, or while it turns out to be."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on with a body that ends in time."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        most = largest(scope["path"])
        told = next((v for k, v in scope["headers"] if k == b"content-length"), b"0")
        if not told.isdigit() or len(told) > 15 or int(told) > most:
            await PlainTextResponse(_too_large(most), 413)(scope, receive, send)
            return
        came = 0

        async def counted() -> Message:
            nonlocal came
            message = await receive()
            came += len(message.get("body", b""))
            if came > most:
                raise HTTPException(413, _too_large(most))
            return message

        await self._app(scope, counted, send)


def _too_large(most: int) -> str:
    return f"too large: at most {most} bytes may be sent here"
