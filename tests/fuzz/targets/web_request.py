"""Bytes on the web server's wire: its protocol answers or closes, and holds no more than its bounds."""

import asyncio
import functools
from types import SimpleNamespace

import uvicorn
from uvicorn.server import ServerState

from service.server import Gate, Http, Limits, configured


class _Wire(asyncio.Transport):
    def __init__(self) -> None:
        super().__init__()
        self.written = bytearray()
        self.closed = False

    def get_extra_info(self, name, default=None):
        return ("192.0.2.1", 1) if name in ("peername", "sockname") else default

    def write(self, data):
        self.written += data

    def write_eof(self):
        pass

    def close(self):
        self.closed = True

    abort = close

    def is_closing(self):
        return self.closed

    def pause_reading(self):
        pass

    resume_reading = pause_reading

    def set_protocol(self, protocol):
        pass


async def _app(scope, receive, send):
    if scope["type"] == "http":
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"0")]})
        await send({"type": "http.response.body"})


@functools.cache
def _server() -> SimpleNamespace:
    gate = Gate(Limits(header_bytes=4096, headers=20))
    config: uvicorn.Config = configured(_app, gate)
    return SimpleNamespace(gate=gate, config=config, loop=asyncio.new_event_loop())


def fuzz(data: bytes) -> None:
    server = _server()
    server.loop.run_until_complete(_talk(server, data))


async def _talk(server: SimpleNamespace, data: bytes) -> None:
    loop = asyncio.get_running_loop()
    wire = _Wire()
    protocol = Http(server.config, ServerState(), loop, server.gate, "192.0.2.1")
    protocol.connection_made(wire)
    for part in (data[: len(data) // 2], data[len(data) // 2 :]):
        protocol.data_received(part)
        await asyncio.sleep(0)
    assert protocol.headers is None or len(protocol.headers) <= 20
    protocol.look_over(loop.time() + 100)
    server.gate.lost(wire)
    await asyncio.sleep(0)
