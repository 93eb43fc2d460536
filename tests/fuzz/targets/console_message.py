"""A message of a browser window on the console's websocket: it closes its own window at most."""

import asyncio
import functools
from types import SimpleNamespace

from dash import Dash, Input, Output, dcc, html
from fastapi import FastAPI

from dashboard.windows import POLICY, Windows


@functools.cache
def _console() -> SimpleNamespace:
    server = FastAPI()
    app = Dash("fuzz", server=server, backend="fastapi", add_log_handler=False)  # type: ignore[arg-type]
    app.layout = html.Div([dcc.Input(id="a"), html.Div(id="b")])

    @app.callback(websocket=True, persistent=True)
    async def live() -> None:
        return

    @app.callback(Output("b", "children"), Input("a", "value"))
    def answer(value: object) -> str:
        return str(value)[:10]

    return SimpleNamespace(server=server, loop=asyncio.new_event_loop())


def fuzz(data: bytes) -> None:
    console = _console()
    sent = console.loop.run_until_complete(_talk(console.server, data.decode("utf-8", "replace")))
    assert sent[0]["type"] == "websocket.accept"
    closes = [m for m in sent if m["type"] == "websocket.close"]
    assert all(m["code"] == POLICY for m in closes)


async def _talk(app: FastAPI, text: str) -> list[dict[str, object]]:
    told: list[dict[str, object]] = []
    coming = [{"type": "websocket.connect"}, {"type": "websocket.receive", "text": text}]

    async def receive() -> dict[str, object]:
        await asyncio.sleep(0)
        return coming.pop(0) if coming else {"type": "websocket.disconnect", "code": 1000}

    async def send(message: dict[str, object]) -> None:
        told.append(message)

    path = "/_dash-ws-callback"
    scope = {
        "type": "websocket", "path": path, "raw_path": path.encode(), "query_string": b"", "scheme": "ws",
        "headers": [(b"host", b"hall"), (b"origin", b"http://hall")], "client": ("192.0.2.1", 1),
        "server": ("hall", 80), "root_path": "", "subprotocols": [], "asgi": {"version": "3.0"}, "state": {},
        "http_version": "1.1", "extensions": {},
    }  # fmt: skip
    await Windows().talk(app, scope, receive, send, "anna")
    return told
