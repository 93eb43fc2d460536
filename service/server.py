"""The web server, bounded: uvicorn's protocols behind a gate of our own.

uvicorn bounds neither connections by address, nor headers, nor the time that a client takes for them, and asyncio's own
accept loop logs thousands of lines when the file handles run out. So connections are accepted here, counted, looked over
once a second, and handed to uvicorn's protocols, which do the rest.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import ipaddress
import resource
import socket
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import httptools
import structlog
import uvicorn
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol
from uvicorn.server import ServerState

from domain.pace import network

log = structlog.get_logger(__name__)

HANDLES = 4096
"""File handles that the process asks for, where the system allows so many."""
WEB_SHARE = 0.5
"""Of the file handles, what the web server takes at most: store, spool and collectors have the rest."""
RETRY_S = 0.5
"""How long no connection is accepted after the file handles ran out."""
TELL_S = 60.0
"""Refusals of one kind are logged once in this time; the counters have all."""
LINGER_S = 1.0
"""How long a refused client may read why."""
MOST_PIPELINED = 16
"""Requests that a client may send ahead without waiting for their answers."""
WINDOW_MESSAGE = 256 * 1024
"""Bytes of one websocket message; a console window sends a few hundred."""

_NO_HANDLES = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM)
_REASONS = {
    400: b"the request cannot be read",
    408: b"the request took too long to arrive",
    431: b"the headers are too large or too many",
    503: b"too many connections",
}


@dataclass(frozen=True, slots=True)
class Limits:
    """What one client, and all of them together, may take.

    Parameters
    ----------
    connections, per_address
        Open at a time: in all, and from one address (a trusted proxy is not counted as one).
    header_seconds, header_bytes, headers
        Of one request's head.
    keep_alive_seconds
        How long a connection may idle between two requests.
    body_rate, body_seconds
        Slowest that a body may come, bytes/s, looked at over so many seconds.
    stall_seconds
        How long a client may take nothing of an answer.
    """

    connections: int = 512
    per_address: int = 128
    header_seconds: float = 10.0
    header_bytes: int = 32 * 1024
    headers: int = 100
    keep_alive_seconds: float = 30.0
    body_rate: float = 1000.0
    body_seconds: float = 10.0
    stall_seconds: float = 30.0
    sweep_seconds: float = 1.0


def raise_handles() -> int:
    """Raise this process's limit of file handles as far as it may and needs; return what it is now."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = HANDLES if hard == resource.RLIM_INFINITY else min(HANDLES, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        with contextlib.suppress(OSError, ValueError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
            soft = wanted
    return HANDLES if soft == resource.RLIM_INFINITY else soft


class Gate:
    """Knows every open connection, and lets another in or not.

    When it is full, a newcomer takes the place of the connection that has idled longest at the address that holds the
    most: who opens thousands and says nothing keeps out nobody.
    """

    def __init__(self, limits: Limits, proxies: Sequence[str] = ()) -> None:
        """Let in as `limits` say; `proxies` are addresses and networks whose word on their clients is believed."""
        self.limits = limits
        self.proxies = tuple(proxies)
        self._networks = [ipaddress.ip_network(p, strict=False) for p in proxies]
        self._open: dict[asyncio.BaseTransport, Http | Window] = {}
        self._by_address: Counter[str] = Counter()
        self._told: dict[str, float] = {}
        self.counters: Counter[str] = Counter()

    def stats(self) -> dict[str, int]:
        """Return how many are open now, from how many addresses, and what was refused or closed since the start."""
        windows = sum(isinstance(c, Window) for c in self._open.values())
        return {
            "connections": len(self._open),
            "addresses": len(self._by_address),
            "websockets": windows,
            **self.counters,
        }

    def admits(self, address: str) -> bool:
        """Return whether one more may come from this address, after making room where somebody idles."""
        customer = network(address)
        crowd = self._by_address[customer] >= self.limits.per_address and not self._is_proxy(address)
        if crowd and not self._evict(customer):
            self.refuse("refused_address", address=address)
            return False
        if len(self._open) >= self.limits.connections and not self._evict(None):
            self.refuse("refused_full", address=address)
            return False
        return True

    def refuse(self, kind: str, **more: object) -> None:
        """Count something that was refused or closed; tell it once a minute."""
        self.counters[kind] += 1
        now = asyncio.get_running_loop().time()
        if now - self._told.get(kind, -TELL_S) >= TELL_S:
            self._told[kind] = now
            log.warning("web connection refused or closed", kind=kind, so_far=self.counters[kind], **more)

    def took(self, transport: asyncio.BaseTransport, connection: Http | Window) -> None:
        """Note who handles a connection: a new one, or the websocket that an open one became."""
        if transport not in self._open:
            self._by_address[connection.address] += 1
        self._open[transport] = connection

    def lost(self, transport: asyncio.BaseTransport) -> None:
        """Note that a connection is gone."""
        connection = self._open.pop(transport, None)
        if connection is not None:
            self._by_address[connection.address] -= 1
            if not self._by_address[connection.address]:
                del self._by_address[connection.address]

    def sweep(self, now: float) -> None:
        """Close whoever took too long."""
        for connection in list(self._open.values()):
            connection.look_over(now)

    def _evict(self, address: str | None) -> bool:
        idle = [
            c
            for c in self._open.values()
            if c.idle_since is not None and (address is None or c.address == address)
        ]
        if not idle:
            return False
        worst = max(idle, key=lambda c: (self._by_address[c.address], -(c.idle_since or 0.0)))
        self.counters["closed_for_newcomer"] += 1
        worst.transport.abort()
        # forgotten at once: the loop tells of the loss only later
        self.lost(worst.transport)
        return True

    def _is_proxy(self, address: str) -> bool:
        if not self._networks:
            return False
        with contextlib.suppress(ValueError):
            here = ipaddress.ip_address(address)
            return any(here in of for of in self._networks)
        return False


class _Slow:
    """When a connection stopped taking what it is sent, and when it began to close."""

    transport: asyncio.Transport
    gate: Gate
    address: str
    idle_since: float | None = None
    _stalled = 0.0
    _closing = 0.0

    def _stuck(self, now: float) -> bool:
        """Cut off a connection that takes nothing more; return whether there is nothing else to look at."""
        limit = self.gate.limits.stall_seconds
        if self.transport.is_closing():
            self._closing = self._closing or now
            if now - self._closing > limit:
                self.transport.abort()
            return True
        if self._stalled and now - self._stalled > limit:
            self.gate.refuse("closed_stalled", address=self.address)
            self.transport.abort()
            return True
        return False


class Http(_Slow, HttpToolsProtocol):
    """uvicorn's HTTP/1.1, with bounds on what a request's head is and on how long a request takes to come."""

    def __init__(
        self,
        config: uvicorn.Config,
        state: ServerState,
        loop: asyncio.AbstractEventLoop,
        gate: Gate,
        address: str,
    ) -> None:
        super().__init__(config, state, {}, loop)
        self.gate = gate
        self.address = address
        self.idle_since = loop.time()
        self._head_since = self.idle_since
        self._head_bytes = 0
        self._headers_seen = 0
        self._unparsed = 0
        self._body_bytes = 0
        self._body_since = 0.0
        self._incoming = False
        self._fault = 400
        self._refused = 0.0

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Begin."""
        super().connection_made(transport)
        self.gate.took(transport, self)

    def connection_lost(self, exc: Exception | None) -> None:
        """End."""
        self.gate.lost(self.transport)
        self._unset_keepalive_if_required()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Parse what came, within bounds."""
        if self._refused or self.transport.is_closing():
            return
        self._unset_keepalive_if_required()
        if not self._incoming and not self._head_since:
            self._head_since = self.loop.time()
        self._unparsed += len(data)
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            # whoever offers another protocol than a websocket is answered as if nothing had been offered
            if self._should_upgrade():
                self.handle_websocket_upgrade()
            return
        except httptools.HttpParserError:
            self._refuse(self._fault)
            return
        if self._unparsed > self.gate.limits.header_bytes:
            self._refuse(431)
        elif len(self.pipeline) > MOST_PIPELINED:
            self._refuse(503)

    def on_message_begin(self) -> None:
        """Begin a request."""
        super().on_message_begin()
        self._head_bytes = self._headers_seen = 0
        self._head_since = self._head_since or self.loop.time()

    def on_url(self, url: bytes) -> None:
        """Take a part of the address."""
        self._count_head(len(url))
        super().on_url(url)

    def on_header(self, name: bytes, value: bytes) -> None:
        """Take a header, or a trailer."""
        self._headers_seen += 1
        if self._headers_seen > self.gate.limits.headers:
            self._too_large()
        self._count_head(len(name) + len(value) + 4)
        super().on_header(name, value)

    def on_headers_complete(self) -> None:
        """Start to answer."""
        self._unparsed = 0
        self._head_since = 0.0
        self.idle_since = None
        self._incoming = True
        self._body_bytes, self._body_since = 0, self.loop.time()
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        """Take a part of the body."""
        self._unparsed = 0
        self._body_bytes += len(body)
        super().on_body(body)

    def on_message_complete(self) -> None:
        """Take the end of the body."""
        self._unparsed = 0
        self._incoming = False
        super().on_message_complete()

    def on_response_complete(self) -> None:
        """Wait for the next request."""
        super().on_response_complete()
        if not self.pipeline and self.cycle.response_complete:
            self.idle_since = self.loop.time()
            self._body_since = self.idle_since

    def pause_writing(self) -> None:
        """Note that the client takes nothing more."""
        self._stalled = self.loop.time()
        super().pause_writing()

    def resume_writing(self) -> None:
        """Note that it does again."""
        self._stalled = 0.0
        super().resume_writing()

    def handle_websocket_upgrade(self) -> None:
        """Become a websocket; it counts as the same connection."""
        # the library tells what is wrong with a handshake in the words of its headers, and fails at those that are no text
        if not all(value.isascii() for name, value in self.headers if _of_handshake(name)):
            self._refuse(400)
            return
        self.connections.discard(self)
        head = [self.scope["method"].encode(), b" ", self.url, b" HTTP/1.1\r\n"]
        for name, value in self.headers:
            head += [name, b": ", value, b"\r\n"]
        window = Window(self.config, self.server_state, self.loop, self.gate, self.address)
        window.connection_made(self.transport)
        window.data_received(b"".join([*head, b"\r\n"]))
        self.transport.set_protocol(window)

    def look_over(self, now: float) -> None:
        """Close the connection where the client takes too long for a head, a body, or taking the answer."""
        limits = self.gate.limits
        if self._stuck(now):
            return
        if self._refused:
            if now - self._refused > LINGER_S:
                self.transport.abort()
        elif self._head_since:
            if now - self._head_since > limits.header_seconds:
                self._refuse(408)
        elif self._incoming and now - self._body_since > limits.body_seconds:
            slow = self._body_bytes < limits.body_rate * (now - self._body_since)
            if self.cycle.response_complete:  # what still comes is for nobody
                self.gate.refuse("closed_answered", address=self.address)
                self.transport.close()
            elif slow and not self.flow.read_paused:
                self._refuse(408)
            self._body_bytes, self._body_since = 0, now

    def _count_head(self, size: int) -> None:
        self._head_bytes += size
        if self._head_bytes > self.gate.limits.header_bytes:
            self._too_large()

    def _too_large(self) -> None:
        self._fault = 431
        raise ValueError("the headers are too large or too many")

    def _refuse(self, status: int) -> None:
        self.gate.refuse(f"refused_{status}", address=self.address)
        if self.cycle is None or not self.cycle.response_started or self.cycle.response_complete:
            self.transport.write(_answer(status))
        # closed at once, with something unread, the client would be told of a reset connection and nothing else
        self._refused = self.idle_since = self.loop.time()
        self.transport.write_eof()
        self.flow.resume_reading()


class Window(_Slow, WebSocketsSansIOProtocol):
    """uvicorn's websocket, counted and looked over like every connection."""

    def __init__(
        self,
        config: uvicorn.Config,
        state: ServerState,
        loop: asyncio.AbstractEventLoop,
        gate: Gate,
        address: str,
    ) -> None:
        super().__init__(config, state, {}, loop)
        self.gate = gate
        self.address = address

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin."""
        super().connection_made(transport)
        self.gate.took(transport, self)

    def connection_lost(self, exc: Exception | None) -> None:
        """End."""
        self.gate.lost(self.transport)
        super().connection_lost(exc)

    def pause_writing(self) -> None:
        """Note that the browser takes nothing more."""
        self._stalled = self.loop.time()
        super().pause_writing()

    def resume_writing(self) -> None:
        """Note that it does again."""
        self._stalled = 0.0
        super().resume_writing()

    def look_over(self, now: float) -> None:
        """Cut off a browser that takes nothing; whether it lives at all is asked by uvicorn's pings."""
        self._stuck(now)


class Server(uvicorn.Server):
    """uvicorn's server on one socket, which it accepts from itself; leaves signals to the process that it is part of."""

    def __init__(self, config: uvicorn.Config, bound: socket.socket, gate: Gate) -> None:
        super().__init__(config)
        self._bound = bound
        self._gate = gate
        self._parts: list[asyncio.Task[None]] = []

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Leave them alone."""
        yield

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Begin to accept."""
        self.servers = []
        self._bound.setblocking(False)
        self._parts = [asyncio.create_task(self._accept()), asyncio.create_task(self._sweep())]
        self.started = True

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Accept no more, and let open requests end; the socket stays with its owner."""
        for part in self._parts:
            part.cancel()
        await super().shutdown()

    async def on_tick(self, counter: int) -> bool:
        """Stop where a part has failed, so that whoever runs the server hears of it."""
        for part in self._parts:
            if part.done():
                for other in self._parts:
                    other.cancel()
                part.result()
        return await super().on_tick(counter)

    async def _accept(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            try:
                connection, peer = await loop.sock_accept(self._bound)
            except OSError as error:
                # a client that is gone before it was accepted is no fault of ours
                self._gate.refuse("accept_failed", error=error.strerror)
                await asyncio.sleep(RETRY_S if error.errno in _NO_HANDLES else 0)
                continue
            try:
                await self._take(connection, str(peer[0]))
            except OSError as error:
                self._gate.refuse("accept_failed", error=error.strerror)
                connection.close()

    async def _take(self, connection: socket.socket, address: str) -> None:
        loop = asyncio.get_running_loop()
        if not self._gate.admits(address):
            with contextlib.suppress(OSError):
                connection.send(_answer(503))
            connection.close()
            return
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        await loop.connect_accepted_socket(
            lambda: Http(self.config, self.server_state, loop, self._gate, network(address)), connection
        )

    async def _sweep(self) -> None:
        while True:
            await asyncio.sleep(self._gate.limits.sweep_seconds)
            self._gate.sweep(asyncio.get_running_loop().time())


def _of_handshake(name: bytes) -> bool:
    return name in (b"upgrade", b"connection", b"origin") or name.startswith(b"sec-websocket-")


def _answer(status: int) -> bytes:
    text = _REASONS[status]
    retry = b"retry-after: 5\r\n" if status == 503 else b""
    return b"".join(
        (
            STATUS_LINE[status],
            b"content-type: text/plain\r\nconnection: close\r\n",
            retry,
            b"content-length: %d\r\n\r\n" % len(text),
            text,
        )
    )


def configured(app: Any, gate: Gate) -> uvicorn.Config:
    """Return uvicorn's part of the configuration."""
    proxies = list(gate.proxies)
    config = uvicorn.Config(
        app,
        log_config=None,
        access_log=False,
        lifespan="off",
        ws_max_size=WINDOW_MESSAGE,
        timeout_keep_alive=int(gate.limits.keep_alive_seconds),
        timeout_graceful_shutdown=2,
        proxy_headers=bool(proxies),
        forwarded_allow_ips=proxies,
        server_header=False,
    )
    config.load()
    return config
