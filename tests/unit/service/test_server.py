"""The web server's bounds, over real sockets: who takes too much or too long is cut off, and others are answered."""

import asyncio
import contextlib
import resource
import socket
import time
from dataclasses import replace

import httpx
import pytest
from fastapi import FastAPI, Request
from starlette.websockets import WebSocket
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed

from service import web
from service.server import RETRY_S, Gate, Limits, raise_handles

SMALL = Limits(
    connections=12,
    per_address=8,
    header_seconds=60,
    header_bytes=4096,
    headers=20,
    keep_alive_seconds=60,
    body_rate=1000,
    body_seconds=60,
    stall_seconds=60,
    sweep_seconds=0.05,
)
"""A good client on a busy machine may take its time; a test of one of these times makes that one short."""


async def until(true):
    """Return once a condition holds; a test that waits in vain fails."""
    async with asyncio.timeout(60):
        while not true():  # noqa: ASYNC110 - what is waited for is somebody else's
            await asyncio.sleep(0.01)


class Served:
    def __init__(self, port: int, gate: Gate) -> None:
        self.port = port
        self.gate = gate
        self.url = f"http://127.0.0.1:{port}"

    async def raw(self, data: bytes, source: str = "127.0.0.1"):
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port, local_addr=(source, 0))
        writer.write(data)
        with contextlib.suppress(ConnectionError):
            await writer.drain()
        return reader, writer

    async def answer(self, data: bytes) -> bytes:
        """Return everything that is answered until the server closes."""
        reader, writer = await self.raw(data)
        try:
            return await asyncio.wait_for(reader.read(), 60)
        except ConnectionError:
            return b""
        finally:
            writer.close()

    async def fine(self) -> bool:
        async with httpx.AsyncClient(timeout=60) as client:
            return (await client.get(f"{self.url}/healthz", timeout=60)).text == '"fine"'


@contextlib.asynccontextmanager
async def serving(limits: Limits = SMALL, proxies=()):
    app = FastAPI()

    @app.get("/healthz")
    async def healthz():
        return "fine"

    @app.get("/who")
    async def who(request: Request):
        return request.client.host

    @app.get("/large")
    async def large():
        return "x" * 30_000_000

    @app.post("/body")
    async def body(request: Request):
        return len(await request.body())

    @app.post("/uninterested")
    async def uninterested():
        return "answered"

    @app.websocket("/window")
    async def window(socket: WebSocket):
        await socket.accept()
        while True:
            await socket.send_text(await socket.receive_text())

    gate = Gate(limits, proxies)
    bound = web.listen("127.0.0.1", 0)
    task = asyncio.create_task(web.serve(app, bound, gate))
    try:
        yield Served(bound.getsockname()[1], gate)
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        bound.close()


@pytest.fixture
async def served(request):
    async with serving(replace(SMALL, **getattr(request, "param", {}))) as made:
        yield made


def quick(name):
    """Make one of the times short."""
    return pytest.mark.parametrize("served", [{name: 0.3}], indirect=True, ids=["short"])


HALF = b"GET /healthz HTTP/1.1\r\nHost: x\r\nX-Half: "


@quick("header_seconds")
async def test_half_a_header_is_waited_for_only_so_long(served):
    assert b" 408 " in await served.answer(HALF)
    assert b" 408 " in await served.answer(b"")  # and silence too
    assert served.gate.counters["refused_408"] == 2


@quick("header_seconds")
async def test_a_header_that_drips_gains_no_time(served):
    reader, writer = await served.raw(HALF)

    async def drip():
        with contextlib.suppress(ConnectionError):
            while True:
                writer.write(b"x")
                await writer.drain()
                await asyncio.sleep(0.02)

    dripping = asyncio.create_task(drip())
    assert b" 408 " in await asyncio.wait_for(reader.readline(), 60)
    dripping.cancel()
    writer.close()


async def test_headers_are_bounded_in_size_and_number(served):
    for head in (
        b"GET / HTTP/1.1\r\nHost: x\r\nX-Large: " + b"x" * 400_000,
        b"GET /" + b"x" * 5000 + b" HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET / HTTP/1.1\r\n" + b"X-Y: z\r\n" * 30 + b"\r\n",
        b"GET / HTTP/1.1\r\n" + b"X-Y: %s\r\n" % (b"z" * 1000) * 6 + b"\r\n",
    ):
        assert b" 431 " in await served.answer(head)
    assert await served.fine()


async def test_trailers_are_headers_too(served):
    start = b"POST /body HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n0\r\n"
    assert b" 431 " in await served.answer(start + b"X-Trailer: " + b"x" * 400_000)
    assert b" 431 " in await served.answer(start + b"X-Y: z\r\n" * 30)


async def test_what_is_no_http_is_answered_400_and_not_logged_each_time(served, caplog):
    for _ in range(5):
        assert b" 400 " in await served.answer(b"\x16\x03\x01\x02\x00\r\n\r\n")
    assert served.gate.counters["refused_400"] == 5
    assert len([r for r in caplog.records if "Invalid HTTP" in r.getMessage()]) == 0


async def test_requests_sent_ahead_are_bounded(served):
    ahead = b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n"
    last = ahead.replace(b"Host: x", b"Host: x\r\nConnection: close")
    few = await served.answer(9 * ahead + last)
    assert few.count(b" 200 ") == 10
    await served.answer(1000 * ahead)
    assert served.gate.counters["refused_503"] == 1


@quick("body_seconds")
async def test_a_body_that_drips_is_cut_off(served):
    head = b"POST /body HTTP/1.1\r\nHost: x\r\nContent-Length: 100000\r\n\r\n"
    assert b" 408 " in await served.answer(head + b"x")


async def test_a_body_that_comes_is_taken(served):
    async with httpx.AsyncClient(timeout=60) as client:
        assert (await client.post(f"{served.url}/body", content=b"x" * 3_000_000)).json() == 3_000_000


@quick("body_seconds")
async def test_who_is_answered_need_not_be_listened_to_for_ever(served):
    reader, writer = await served.raw(
        b"POST /uninterested HTTP/1.1\r\nHost: x\r\nContent-Length: 100000\r\n\r\nx"
    )
    assert b"answered" in await asyncio.wait_for(reader.read(), 60)
    writer.close()
    assert served.gate.counters["closed_answered"] == 1


async def test_after_an_answer_that_left_the_body_unread_the_connection_serves_on(served):
    async with httpx.AsyncClient(timeout=60) as client:
        for _ in range(3):
            assert (await client.post(f"{served.url}/uninterested", content=b"x" * 50_000)).status_code == 200


@quick("stall_seconds")
async def test_who_takes_nothing_of_a_large_answer_is_cut_off(served):
    _, writer = await served.raw(b"GET /large HTTP/1.1\r\nHost: x\r\n\r\n")
    writer.transport.pause_reading()
    await until(lambda: served.gate.counters["closed_stalled"])
    await until(lambda: not served.gate.stats()["connections"])
    writer.close()


async def test_one_address_takes_only_its_share_and_others_are_let_in(served):
    held = [await served.raw(b"", source="127.0.0.2") for _ in range(30)]
    assert served.gate.stats()["connections"] <= SMALL.per_address
    assert await served.fine()
    for _, writer in held:
        writer.close()


async def test_idle_connections_of_many_addresses_give_way_to_the_newcomer():
    slow = Limits(connections=10, per_address=4, header_seconds=60)
    async with serving(slow) as served:
        held = [await served.raw(HALF, source=f"127.0.0.{2 + n % 5}") for n in range(40)]
        assert served.gate.stats()["connections"] <= 10
        assert await served.fine()
        assert served.gate.counters["closed_for_newcomer"] > 0
        for _, writer in held:
            writer.close()


async def test_where_all_are_busy_a_newcomer_is_told_to_come_again():
    limits = Limits(connections=3, per_address=8, body_seconds=30)
    async with serving(limits) as served:
        busy = b"POST /body HTTP/1.1\r\nHost: x\r\nContent-Length: 100000\r\n\r\nx"
        held = [await served.raw(busy) for _ in range(3)]
        await until(lambda: [c.idle_since for c in served.gate._open.values()] == [None] * 3)
        refused = await served.answer(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
        assert b" 503 " in refused
        assert b"retry-after" in refused
        assert served.gate.counters["refused_full"] == 1
        for _, writer in held:
            writer.close()


@quick("keep_alive_seconds")
async def test_an_idle_connection_ends_after_a_while(served):
    reader, writer = await served.raw(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
    assert b'"fine"' in await asyncio.wait_for(reader.read(), 60)
    writer.close()


async def test_a_websocket_counts_as_its_connection_and_is_forgotten_with_it(served):
    async with connect(served.url.replace("http", "ws") + "/window") as window:
        await window.send("here")
        assert await window.recv() == "here"
        assert served.gate.stats()["websockets"] == 1
        assert served.gate.stats()["connections"] == 1
    await until(lambda: not served.gate.stats()["connections"])


async def test_a_websocket_message_is_bounded(served):
    async with connect(served.url.replace("http", "ws") + "/window", compression=None) as window:
        await window.send("x" * 1_000_000)
        with pytest.raises(ConnectionClosed):
            await window.recv()
    assert await served.fine()


async def test_when_the_file_handles_run_out_the_server_waits_and_goes_on_and_says_so_once(caplog):
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    async with serving(Limits(header_seconds=60)) as served:
        assert await served.fine()
        waiting = [socket.socket() for _ in range(20)]
        taken = []
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (min(soft, 256), hard))
            with contextlib.suppress(OSError):
                while True:
                    taken.append(socket.socket())
            for client in waiting:
                client.setblocking(False)
                client.connect_ex(("127.0.0.1", served.port))
            await until(lambda: served.gate.counters["accept_failed"])
            first, began = served.gate.counters["accept_failed"], time.monotonic()
            await asyncio.sleep(0.2)
            again = served.gate.counters["accept_failed"] - first
            assert again <= 1 + (time.monotonic() - began) / RETRY_S
        finally:
            for client in taken:
                client.close()
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        assert await served.fine()
        assert [
            r for r in caplog.records if r.name == "asyncio" and "accept" in r.getMessage()
        ] == []  # asyncio alone would write thousands of lines
        for client in waiting:
            client.close()


def test_a_process_takes_the_handles_that_it_may_have():
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (200, hard))
        assert raise_handles() == resource.getrlimit(resource.RLIMIT_NOFILE)[0] > 200
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


async def test_answers_are_not_held_back_for_the_clients_acknowledgement(served):
    """Without TCP_NODELAY the second part of an answer waits for the client's delayed acknowledgement."""
    async with httpx.AsyncClient(timeout=60) as client:
        await client.get(f"{served.url}/healthz")
        (connection,) = served.gate._open.values()
        handle = connection.transport.get_extra_info("socket")
        assert handle.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY) == 1


@pytest.mark.parametrize(
    ("proxies", "told"),
    [((), "127.0.0.1"), (("10.0.0.1",), "127.0.0.1"), (("127.0.0.0/8",), "203.0.113.7")],
)
async def test_who_a_client_is_said_to_be_is_believed_from_a_trusted_proxy_only(proxies, told):
    async with serving(SMALL, proxies) as served, httpx.AsyncClient(timeout=60) as client:
        headers = {"x-forwarded-for": "198.51.100.1, 203.0.113.7"}
        assert (await client.get(f"{served.url}/who", headers=headers)).json() == told


async def test_a_trusted_proxy_may_have_more_connections_than_an_address():
    limits = Limits(connections=40, per_address=4, header_seconds=60)
    async with serving(limits, ("127.0.0.1",)) as served:
        held = [await served.raw(HALF) for _ in range(20)]
        await until(lambda: served.gate.stats()["connections"] == 20)
        for _, writer in held:
            writer.close()
