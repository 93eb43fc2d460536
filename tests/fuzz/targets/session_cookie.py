"""What a browser says that its session and its known browser are: nobody is let in by it, and nothing fails."""

import asyncio
import functools
import tempfile
from types import SimpleNamespace

from starlette.requests import HTTPConnection

from dashboard.auth import COOKIE, DEVICE_COOKIE, Sessions
from dashboard.throttle import LoginThrottle
from storage.records import Records
from storage.sessions import LoginSessions


@functools.cache
def _console() -> SimpleNamespace:
    folder = tempfile.TemporaryDirectory()
    sessions = Sessions(
        "only for tests, and long enough", LoginSessions(Records(f"sqlite:///{folder.name}/r.sqlite"))
    )
    return SimpleNamespace(folder=folder, sessions=sessions, loop=asyncio.new_event_loop())


def fuzz(data: bytes) -> None:
    console = _console()
    cookie = data.replace(b"\n", b"").replace(b"\r", b"")
    for header in (cookie, COOKIE.encode() + b"=" + cookie, DEVICE_COOKIE.encode() + b"=" + cookie):
        connection = HTTPConnection({"type": "http", "headers": [(b"cookie", header)]})
        assert console.loop.run_until_complete(console.sessions.of(connection)) is None
        assert console.sessions.device(connection, "anna") == ""
    text = data.decode("utf-8", "replace")
    LoginThrottle().begin(text, text)
