"""Scripts and styles as browsers get them: packed once, and kept by a browser for as long as they stay as they are."""

from __future__ import annotations

import asyncio
import gzip
import hashlib
import re
from dataclasses import dataclass
from pathlib import Path

from dash.fingerprint import check_fingerprint
from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from dashboard.threads import reading

PLACES = ("/assets/", "/_dash-component-suites/", "/words/")
MOST_KEPT = 400
"""Files that are kept packed: more than the console and what it is made with have."""
FOR_EVER = "public, max-age=31536000, immutable"
ASK_AGAIN = "no-cache"
"""Kept, but not shown before the server was asked whether it is still the same."""


def mark_of(content: bytes) -> str:
    """Return a mark that changes with the content."""
    return hashlib.sha256(content).hexdigest()[:16]


def marked(page: str, marks: dict[str, str]) -> str:
    """Return a page whose addresses of assets carry the mark of their content, whenever the files were laid down."""
    return re.sub(
        r'(/assets/([^"?]+))\?m=[\d.]+', lambda found: f"{found[1]}?m={marks.get(found[2], '')}", page
    )


def marks_of(folder: Path) -> dict[str, str]:
    """Return the mark of each file, by its path in a folder of assets."""
    files = [file for file in sorted(folder.rglob("*")) if file.is_file()]
    return {file.relative_to(folder).as_posix(): mark_of(file.read_bytes()) for file in files}


@dataclass(frozen=True, slots=True)
class Packed:
    """A file as it is sent: packed by gzip, what it is, and its mark."""

    body: bytes
    media: str
    mark: str


class Static:
    """Pure ASGI before the console: answers for scripts and styles, and hands on whatever else is asked for.

    A file is asked for once of `app`, which knows where it lies, and packed in a thread: never for each browser.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app
        self._kept: dict[str, asyncio.Future[Packed | None]] = {}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer for a file, or hand on."""
        if scope["type"] != "http" or scope["method"] != "GET" or not scope["path"].startswith(PLACES):
            await self._app(scope, receive, send)
            return
        path, fingerprint = check_fingerprint(scope["path"])  # type: ignore[no-untyped-call]
        packed = await self._packed(path, scope)
        if packed is None:
            await self._app(scope, receive, send)
            return
        query = scope["query_string"].decode("latin-1")
        kept = FOR_EVER if fingerprint or query.removeprefix("m=") == packed.mark else ASK_AGAIN
        headers = {"ETag": f'"{packed.mark}"', "Cache-Control": kept, "Vary": "Accept-Encoding"}
        asked = Headers(scope=scope)
        if packed.mark in asked.get("if-none-match", ""):
            response = Response(None, 304, headers)
        elif "gzip" in asked.get("accept-encoding", ""):
            response = Response(packed.body, 200, headers | {"Content-Encoding": "gzip"}, packed.media)
        else:
            whole = await reading(gzip.decompress, packed.body)
            response = Response(whole, 200, headers, packed.media)
        await response(scope, receive, send)

    async def _packed(self, path: str, scope: Scope) -> Packed | None:
        """Return a file, packed by whoever asks for it first; None where there is no such file, or too many are kept."""
        if path not in self._kept:
            if len(self._kept) >= MOST_KEPT:
                return None
            self._kept[path] = asyncio.ensure_future(self._pack(scope))
        packed = None
        try:
            packed = await asyncio.shield(self._kept[path])  # who goes away leaves it to the others
        finally:
            done = self._kept.get(path)
            if packed is None and done is not None and done.done():
                del self._kept[path]
        return packed

    async def _pack(self, scope: Scope) -> Packed | None:
        """Ask the console for a file."""
        status, head, parts = 0, MutableHeaders(), []

        async def take(message: Message) -> None:
            nonlocal status, head
            if message["type"] == "http.response.start":
                status, head = message["status"], MutableHeaders(raw=list(message["headers"]))
            else:
                parts.append(message.get("body", b""))

        async def stays() -> Message:
            gone: asyncio.Future[Message] = asyncio.get_running_loop().create_future()
            return await gone  # never: what is packed for all does not depend on one of them

        await self._app({**scope, "headers": []}, stays, take)  # nothing of who asks: it is the same for all
        if status != 200:
            return None
        content = b"".join(parts)
        body = await reading(gzip.compress, content, 9, mtime=0)
        return Packed(body, head.get("content-type", "application/octet-stream"), mark_of(content))
