"""Those who misbehave: ``python -m benchmarks._abuse NAME SECONDS JSON``, bounded in rate and time, loopback only.

They come from 127.0.0.2, so that a bound per address meets them and not the well-behaved user at 127.0.0.1. Each prints
one JSON object of what it did.
"""

from __future__ import annotations

import asyncio
import contextlib
import gzip
import json
import os
import random
import socket
import sys
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from typing import Any

import paho.mqtt.client as mqtt
from paho.mqtt.enums import CallbackAPIVersion

from simulator.snmp import ber

FROM = "127.0.0.2"
BOMB = b"[" * 1000 + b"]" * 1000
Where = dict[str, Any]


# --- on the bus ---------------------------------------------------------------------------------------------------


def bus(seconds: float, where: Where) -> Counter[str]:
    """Deep nesting, unknown racks, values without metadata, values from the future, foreign publishers."""
    did: Counter[str] = Counter()
    client = mqtt.Client(CallbackAPIVersion.VERSION2, client_id="abuse", clean_session=True)
    client.max_queued_messages_set(20_000)
    client.connect("127.0.0.1", where["mqtt"])
    client.loop_start()

    def publish(what: str, topic: str, payload: bytes, retain: bool = False) -> None:
        client.publish(topic, payload, qos=1, retain=retain)
        did[what] += 1

    rack = where["rack"]
    known = where["known_key"]  # a point of the plant that is none of ours
    end = time.monotonic() + seconds
    n = 0
    while time.monotonic() < end:
        now = int(time.time() * 1000)
        n += 1
        publish("deep", f"hallwatch/v1/trays/{rack}/T01/sweep", BOMB)
        publish("deep", f"BMS/v1/PUB/Value/{known}", b'{"value":1,"timestamp":%d,"quality":%s}' % (now, BOMB))
        publish("deep", f"BMS/v1/PUB/Metadata/Rack/RackPower/abuse/{n}", BOMB)
        publish("binary", f"BMS/v1/PUB/Value/{known}", random.randbytes(200))
        publish(
            "future",
            f"BMS/v1/ROGUE/Value/{known}",
            json.dumps({"value": 1e9, "timestamp": now + 290_000, "quality": 1}).encode(),
        )
        publish(
            "absurd",
            f"BMS/v1/ROGUE/Value/{known}",
            json.dumps({"value": 1e300, "timestamp": 1 << 62, "quality": 1}).encode(),
        )
        for k in range(5):  # values without metadata, each on a topic of its own
            publish(
                "orphans",
                f"BMS/v1/PUB/Value/Rack/RackPower/orphan/{n}-{k}",
                json.dumps({"value": 5, "timestamp": now, "quality": 1, "pad": "x" * 2000}).encode(),
            )
        if n <= 600:  # racks that the site does not have, 64 GPUs each
            values = [1.0] * (64 * 30 + 6)
            body = {"format": 1, "run": now, "seq": n, "t": now, "gpus": 64, "values": values}
            publish("unknown_racks", f"hallwatch/v1/trays/Z{n:05}/T01/sweep", json.dumps(body).encode())
        if n % 10 == 0:
            body = {"format": 1, "run": 1 << 61, "seq": 1 << 61, "t": now, "gpus": 0, "values": [0.0] * 6}
            publish("sequence", f"hallwatch/v1/trays/{rack}/T02/sweep", json.dumps(body).encode())
            meta = {
                "objectType": "Rack",
                "pointType": "RackPower",
                "rackLocationId": f"Z{n}",
                "rackLocationName": "\x1b[31m" + "n" * 5000,
                "engUnit": "kW",
            }
            publish(
                "metadata", f"BMS/v1/PUB/Metadata/Rack/RackPower/abuse/flood/{n}", json.dumps(meta).encode()
            )
        time.sleep(0.1)
    client.loop_stop()
    client.disconnect()
    return did


# --- at the web server --------------------------------------------------------------------------------------------


async def web(seconds: float, where: Where) -> Counter[str]:
    """Idle connections, endless headers, bodies without a token, logins, and 64 clients of the API."""
    did: Counter[str] = Counter()
    port = where["web"]
    end = time.monotonic() + seconds

    async def connect() -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        return await asyncio.wait_for(asyncio.open_connection("127.0.0.1", port, local_addr=(FROM, 0)), 10)

    async def idle() -> None:
        while time.monotonic() < end:
            try:
                _, writer = await connect()
                writer.write(b"GET / HTTP/1.1\r\nHost: x\r\nX-Half:")
                await writer.drain()
                did["idle_opened"] += 1
                await asyncio.sleep(30)
                writer.close()
            except (OSError, TimeoutError):
                did["idle_refused"] += 1
                await asyncio.sleep(1)

    async def headers() -> None:
        while time.monotonic() < end:
            sent = 0
            try:
                _, writer = await connect()
                writer.write(b"GET /healthz HTTP/1.1\r\nHost: x\r\n")
                while sent < 300 << 20 and time.monotonic() < end:
                    writer.write(b"X-Long: " + b"a" * 65_536 + b"\r\n")
                    await asyncio.wait_for(writer.drain(), 10)
                    sent += 65_546
                writer.close()
            except (OSError, TimeoutError):
                did["headers_cut"] += 1
            did["header_bytes"] += sent
            await asyncio.sleep(2)

    async def bodies() -> None:
        body = b'{"points":' + b"[" * 500 + b"1," * (15 << 19)
        while time.monotonic() < end:
            try:
                reader, writer = await connect()
                for path in ("/internal/v1/store/backup", "/internal/v1/what-if", "/login"):
                    writer.write(
                        f"POST {path} HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n".encode()
                    )
                    for at in range(0, len(body), 1 << 18):
                        writer.write(body[at : at + (1 << 18)])
                        await asyncio.wait_for(writer.drain(), 20)
                    await asyncio.wait_for(reader.read(4096), 20)
                    did["bodies"] += 1
                writer.close()
            except (OSError, TimeoutError):
                did["bodies_cut"] += 1
            await asyncio.sleep(2)

    async def request(text: bytes) -> bytes:
        reader, writer = await connect()
        try:
            writer.write(text)
            await writer.drain()
            return await asyncio.wait_for(reader.read(300), 20)
        finally:
            writer.close()

    async def logins() -> None:
        n = 0
        while time.monotonic() < end:
            n += 1
            form = f"name=demo{' ' * (n % 5)}&password=wrong{n}".encode()
            text = (
                b"POST /login HTTP/1.1\r\nHost: x\r\nConnection: close\r\nX-Forwarded-For: 10.0.%d.%d\r\nContent-Type: application/x-www-form-urlencoded\r\nContent-Length: %d\r\n\r\n%s"
                % (n // 250 % 250, n % 250, len(form), form)
            )
            with contextlib.suppress(OSError, TimeoutError):
                answer = await request(text)
                did[f"login_{answer[9:12].decode(errors='replace')}"] += 1
            await asyncio.sleep(0.5)

    async def partner() -> None:
        text = f"GET /api/v1/forecasts/power HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {where['api_key']}\r\n\r\n".encode()
        while time.monotonic() < end:
            try:
                reader, writer = await connect()
                while time.monotonic() < end:
                    writer.write(text)
                    head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 20)
                    length = next(
                        (
                            int(line.split(b":")[1])
                            for line in head.lower().split(b"\r\n")
                            if line.startswith(b"content-length")
                        ),
                        0,
                    )
                    await asyncio.wait_for(reader.readexactly(length), 20)
                    did[f"partner_{head[9:12].decode(errors='replace')}"] += 1
                    await asyncio.sleep(0.5)
            except (OSError, TimeoutError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
                did["partner_cut"] += 1
                await asyncio.sleep(1)

    await asyncio.gather(
        *(idle() for _ in range(1100)),
        headers(),
        bodies(),
        *(logins() for _ in range(60)),
        *(partner() for _ in range(64)),
    )
    return did


# --- devices and services that Hallwatch asks -----------------------------------------------------------------------


def page(kind: str) -> bytes:
    """Return the whole page of a hostile exporter, or of the good one."""
    good = "".join(
        f'DCGM_FI_DEV_GPU_TEMP{{gpu="{gpu}",Hostname="x"}} {40 + gpu}\nDCGM_FI_DEV_POWER_USAGE{{gpu="{gpu}",Hostname="x"}} {500 + gpu}\n'
        for gpu in range(4)
    )
    one = 'DCGM_FI_DEV_GPU_TEMP{{gpu="{}",Hostname="x"}} 41\n'
    return {
        "good": good,
        "drip": good,
        "labels": one.format("\u00b2") + one.format("1" * 5000) + one.format("50000") + good,
        "digits": one.format("0") + "DCGM_FI_DEV_GPU_TEMP 9" + "9" * 20_000 + "\n" + good,
        "samples": "".join(one.format(n) for n in range(20_000)),
        "gzip": good,
        "cut": good[: len(good) // 2] + 'DCGM_FI_DEV_GPU_TEMP{gpu="',
    }[kind].encode()


SCHEDULE = json.dumps(
    [
        {"name": "empty", "racks": [], "start": 1, "power": []},
        {"name": "late", "racks": ["R001"], "start": 1 << 70, "end": 1 << 71},
        {"name": "year", "racks": ["R001"], "start": "9999-12-31T23:59:59Z", "end": "9999-12-31T23:59:59Z"},
        {"name": "range", "racks": "R0..300000", "start": 1, "end": 2},
        {"name": "digits", "racks": "R" + "1" * 20_000 + "..", "start": "1" * 20_000},
        {"name": "deep", "racks": json.loads("[" * 400 + "]" * 400)},
    ]
).encode()


def _trap() -> bytes:
    """Return an APC trap, version 2c, community public."""

    def bind(name: tuple[int, ...], value: bytes) -> bytes:
        return ber.tlv(0x30, ber.tlv(6, ber.oid(name)) + value)

    binds = [
        bind((1, 3, 6, 1, 2, 1, 1, 3, 0), ber.integer(12345, 0x43)),
        bind((1, 3, 6, 1, 6, 3, 1, 1, 4, 1, 0), ber.tlv(6, ber.oid((1, 3, 6, 1, 4, 1, 318, 0, 5)))),
    ]
    numbers = ber.integer(7) + ber.integer(0) + ber.integer(0)
    pdu = ber.tlv(0xA7, numbers + ber.tlv(0x30, b"".join(binds)))
    return ber.tlv(0x30, ber.integer(1) + ber.tlv(4, b"public") + pdu)


async def devices(seconds: float, where: Where) -> Counter[str]:
    """Serve hostile pages, a hostile schedule, a webhook that trickles, a hostile SNMP agent; flood the trap port."""
    did: Counter[str] = Counter()
    end = time.monotonic() + seconds

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError, TimeoutError, asyncio.IncompleteReadError, asyncio.CancelledError):
            head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 10)
            kind = head.split(b" ")[1].decode().strip("/")
            did[kind] += 1
            start = b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Type: text/plain\r\n"
            if kind in ("drip", "trickle"):
                writer.write(start + b"\r\n")
                while time.monotonic() < end:
                    writer.write(b"# a line\n")
                    await writer.drain()
                    await asyncio.sleep(1)
            elif kind == "gzip":
                writer.write(start + b"Content-Encoding: gzip\r\n\r\n" + GZIP)
                await writer.drain()
            else:
                body = SCHEDULE if kind == "schedule" else page(kind)
                writer.write(start + b"Content-Length: %d\r\n\r\n" % len(body) + body)
                await writer.drain()
        writer.close()

    class Agent(asyncio.DatagramProtocol):
        """Answers every request with a zero-length OID, or with noise."""

        def connection_made(self, transport: Any) -> None:
            self.transport = transport

        def datagram_received(self, data: bytes, address: Any) -> None:
            did["snmp_requests"] += 1
            at = data.find(b"\x02\x04", 10)
            number = data[at : at + 6] if at > 0 else b"\x02\x01\x00"
            bind = b"\x30\x04\x06\x00\x05\x00"
            pdu = number + b"\x02\x01\x00\x02\x01\x00\x30" + bytes([len(bind)]) + bind
            message = b"\x02\x01\x01\x04\x06public\xa2" + bytes([len(pdu)]) + pdu
            self.transport.sendto(b"\x30" + bytes([len(message)]) + message, address)
            if did["snmp_requests"] % 3 == 0:
                self.transport.sendto(random.randbytes(300), address)

    server = await asyncio.start_server(serve, "127.0.0.1", where["http"], limit=1 << 16)
    loop = asyncio.get_running_loop()
    transport, _ = await loop.create_datagram_endpoint(Agent, local_addr=("127.0.0.1", where["agent"]))
    trap = _trap()
    noise = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    noise.setblocking(False)
    while time.monotonic() < end:
        for _ in range(20):
            with contextlib.suppress(OSError):
                noise.sendto(
                    trap if random.random() < 0.8 else random.randbytes(200), ("127.0.0.1", where["traps"])
                )
                did["traps"] += 1
        await asyncio.sleep(0.1)
    server.close()
    transport.close()
    noise.close()
    return did


GZIP = b""


def _main() -> None:
    global GZIP
    name, seconds, where = sys.argv[1], float(sys.argv[2]), json.loads(sys.argv[3])
    os.nice(10)  # on hosts of their own they would not take our processors
    if name == "devices":
        GZIP = gzip.compress(b"# " + b"0" * (300 << 20) + b"\n", 9)
    if name == "bus":
        did = bus(seconds, where)
    else:
        part: Callable[[float, Where], Awaitable[Counter[str]]] = {"web": web, "devices": devices}[name]
        did = asyncio.run(part(seconds, where))  # type: ignore[arg-type]
    print(json.dumps(dict(did)))


if __name__ == "__main__":
    _main()
