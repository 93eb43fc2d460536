"""A lean MQTT 3.1.1 publisher: one connection, kept up; packets are put together here, in bulk.

A general client spends tens of microseconds on a message; a BMS that tells hundreds of values a second from the
process that also computes the plant can't afford that.
"""

from __future__ import annotations

import asyncio
import contextlib
import struct
from collections.abc import Callable

import structlog

log = structlog.get_logger(__name__)

KEEPALIVE_S = 30
_RETRY_S = 2.0
_CONNACK_S = 5.0
_BACKLOG = 8 * 2**20  # bytes that a slow broker may be behind before messages are given up


def encode_length(n: int) -> bytes:
    """Return MQTT's variable-length encoding of a remaining length."""
    out = bytearray()
    while True:
        n, digit = n >> 7, n & 0x7F
        out.append(digit | 0x80 if n else digit)
        if not n:
            return bytes(out)


def encode_text(text: str) -> bytes:
    """Return a length-prefixed UTF-8 string."""
    raw = text.encode()
    return struct.pack(">H", len(raw)) + raw


def publish_packet(topic: bytes, payload: bytes, retain: bool = False, number: int | None = None) -> bytes:
    """Return a PUBLISH packet: of QoS 1 with a packet number (1 to 65,535), else of QoS 0; `topic` is of `encode_text`."""
    flags = 0x30 | retain | (0 if number is None else 0x02)
    named = topic if number is None else topic + struct.pack(">H", number)
    return bytes((flags,)) + encode_length(len(named) + len(payload)) + named + payload


class Publisher:
    """Publishes to one broker for as long as `run` runs.

    Parameters
    ----------
    host, port
        The broker.
    client_id
        Our name there.
    on_connect
        Called after each connect, to tell what must be told from the beginning.
    """

    def __init__(self, host: str, port: int, client_id: str, on_connect: Callable[[], None]) -> None:
        self._host, self._port, self._client_id, self._on_connect = host, port, client_id, on_connect
        self._writer: asyncio.StreamWriter | None = None
        self.published = 0
        self.dropped = 0
        self.connects = 0

    @property
    def connected(self) -> bool:
        """Whether messages go out now."""
        return self._writer is not None

    def send(self, packets: list[bytes]) -> None:
        """Send packets of `publish_packet`; while there is no connection, or no room, they are dropped and counted."""
        writer = self._writer
        if writer is None or writer.transport.get_write_buffer_size() > _BACKLOG:
            self.dropped += len(packets)
            return
        writer.write(b"".join(packets))
        self.published += len(packets)

    async def run(self) -> None:
        """Keep the connection up until cancelled."""
        while True:
            try:
                await self._session()
            except (OSError, TimeoutError, asyncio.IncompleteReadError) as error:
                log.warning("simulator.mqtt_lost", broker=f"{self._host}:{self._port}", error=str(error))
            await asyncio.sleep(_RETRY_S)

    async def _session(self) -> None:
        reader, writer = await asyncio.open_connection(self._host, self._port)
        try:
            body = encode_text("MQTT") + bytes((4, 2)) + struct.pack(">H", 2 * KEEPALIVE_S)
            body += encode_text(self._client_id)
            writer.write(bytes((0x10,)) + encode_length(len(body)) + body)
            answer = await asyncio.wait_for(reader.readexactly(4), _CONNACK_S)
            if answer[0] != 0x20 or answer[3] != 0:
                raise ConnectionRefusedError(f"the broker answered CONNECT with {answer.hex()}")
            self._writer = writer
            self.connects += 1
            self._on_connect()
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self._ping(writer))
                tasks.create_task(self._listen(reader))
        except* (OSError, asyncio.IncompleteReadError) as group:
            raise ConnectionResetError(str(group.exceptions[0])) from group
        finally:
            self._writer = None
            writer.close()
            with contextlib.suppress(OSError):
                await writer.wait_closed()

    async def _ping(self, writer: asyncio.StreamWriter) -> None:
        while True:
            await asyncio.sleep(KEEPALIVE_S)
            writer.write(b"\xc0\x00")
            await writer.drain()

    async def _listen(self, reader: asyncio.StreamReader) -> None:
        while await reader.read(4096):
            pass  # PINGRESP and PUBACK: after a break all that is so is told anew, no message is repeated
        raise ConnectionResetError("the broker closed the connection")
