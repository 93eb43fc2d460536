"""A paho client that reads the many small messages of a plant in bulk.

paho reads each packet in three or more calls of ``recv`` and builds objects, locks and log lines around it: about 30 us a
message, against 1 to 3 us here (`benchmarks/receive.py`). Here the socket is read in large pieces, and whole PUBLISH packets
(QoS 0 and 1) are cut from them; every other packet, and a PUBLISH that does not fit the simple form, is left to paho. Of a
message that is larger than anybody wants only the beginning is kept: MQTT allows 256 MB.
"""

from __future__ import annotations

import ssl
from collections.abc import Callable
from typing import Any

import paho.mqtt.client as paho
from paho.mqtt.enums import MQTTErrorCode

Take = Callable[[bytes, bytes, int], None]
"""Called in the network thread for each message: topic, payload, message id (0 at QoS 0) and flags above it."""
RETAINED = 1 << 40
"""Flag beside the message id: the broker had kept the message (or, where the subscription asks so, was told to)."""

_PIECE = 1 << 18
_LARGE = 1 << 20  # a packet longer than this is streamed by paho rather than gathered here
_HEAD = 70_000  # bytes before the payload: topic, message id, properties
NO_LIMIT = 1 << 28
"""Bytes of the largest packet that MQTT allows."""


class BufferedSocket:
    """A socket with a read buffer, made so that paho can use it in place of the socket itself."""

    def __init__(self, inner: Any) -> None:
        self.inner: Any = inner
        self.data = b""
        self.position = 0

    def fill(self) -> bool:
        """Read what has arrived; False at the end of the stream."""
        more = self.inner.recv(_PIECE)
        self.data = self.data[self.position :] + more
        self.position = 0
        return bool(more)

    def recv(self, size: int) -> bytes:
        """Return up to `size` bytes, from the buffer while it lasts."""
        if self.position < len(self.data):
            piece = self.data[self.position : self.position + size]
            self.position += len(piece)
            return piece
        rest: bytes = self.inner.recv(size)
        return rest

    def pending(self) -> int:
        """Return whether something can be read without waiting; paho then does not wait."""
        return int(self.inner.pending()) if isinstance(self.inner, ssl.SSLSocket) else 0

    def fileno(self) -> int:
        """Return the descriptor, for select."""
        return int(self.inner.fileno())

    def __getattr__(self, name: str) -> Any:
        return getattr(self.inner, name)


class BulkClient(paho.Client):
    """paho's client with a fast way in for PUBLISH packets, which go to `take`.

    Parameters
    ----------
    take
        Called for each message.
    largest
        Of a payload longer than this only one byte more is kept, which tells that it is too long.
    """

    def __init__(self, *args: Any, take: Take, largest: int = NO_LIMIT, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._take = take
        self._largest = largest
        self._cut: tuple[bytes, bytes, int] | None = None  # the beginning of a message that is too large
        self._skip = 0  # what is still to come of it
        self.on_message = lambda _c, _u, m: take(
            m._topic, bytes(m.payload), (m.mid if m.qos else 0) | (RETAINED if m.retain else 0)
        )

    def _create_socket(self) -> Any:
        return BufferedSocket(super()._create_socket())

    def loop_read(self, max_packets: int = 1) -> MQTTErrorCode:
        """Read what has arrived: PUBLISH packets here, all else by paho."""
        sock: Any = self._sock
        if sock is None:
            return MQTTErrorCode.MQTT_ERR_NO_CONN
        if not isinstance(sock, BufferedSocket) or self._in_packet["command"]:
            return super().loop_read(max_packets)
        try:
            open_ = sock.fill()
        except (BlockingIOError, ssl.SSLWantReadError):
            return MQTTErrorCode.MQTT_ERR_SUCCESS
        except OSError:
            open_ = False
        if not open_:
            return self._loop_rc_handle(MQTTErrorCode.MQTT_ERR_CONN_LOST)
        if self._skip and not self._skipped(sock):
            return MQTTErrorCode.MQTT_ERR_SUCCESS
        while self._publishes(sock):
            rc = super().loop_read(1)
            if rc or self._sock is None or self._in_packet["command"]:
                return rc
        return MQTTErrorCode.MQTT_ERR_SUCCESS

    def _publishes(self, sock: BufferedSocket) -> bool:
        """Take whole PUBLISH packets off the buffer; return whether the next packet is one for paho."""
        data, start, end = sock.data, sock.position, len(sock.data)
        take, mqtt5 = self._take, self._protocol == paho.MQTTv5
        for_paho = False
        while end - start >= 2:
            kind = data[start]
            body, length = _remaining_length(data, start + 1, end)
            stop = body + length
            if not body or stop > end:
                for_paho = length > _LARGE
                if for_paho and length > self._largest + _HEAD and kind & 0xF4 == 0x30 and body:
                    for_paho = False
                    if end - body > self._largest + _HEAD:
                        self._begin_to_skip(data[body:], kind, stop - end)
                        start = end
                break
            if kind & 0xF4 != 0x30:  # not PUBLISH, or PUBLISH at QoS 2
                for_paho = True
                break
            at = body + 2 + (data[body] << 8 | data[body + 1])
            topic = data[body + 2 : at]
            mid = RETAINED if kind & 0x01 else 0
            if kind & 0x02:
                mid |= data[at] << 8 | data[at + 1]
                at += 2
            if mqtt5 and at < stop:
                if data[at] & 128:  # 128 bytes of properties or more
                    for_paho = True
                    break
                at += 1 + data[at]
            if at > stop:  # malformed: paho closes the connection
                for_paho = True
                break
            take(topic, data[at:stop], mid)
            start = stop
        sock.position = start
        self._last_bytes_received = paho.time_func()
        return for_paho

    def _begin_to_skip(self, packet: bytes, kind: int, rest: int) -> None:
        at = 2 + (packet[0] << 8 | packet[1])
        topic, mid = packet[2:at], RETAINED if kind & 0x01 else 0
        if kind & 0x02:
            mid |= packet[at] << 8 | packet[at + 1]
            at += 2
        # properties are left in: nobody reads what is cut off anyway
        self._cut, self._skip = (topic, packet[at : at + self._largest + 1], mid), rest

    def _skipped(self, sock: BufferedSocket) -> bool:
        """Let go of what comes of a message that is too large; return whether it has ended."""
        there = min(self._skip, len(sock.data) - sock.position)
        sock.position += there
        self._skip -= there
        self._last_bytes_received = paho.time_func()
        if self._skip or self._cut is None:
            return False
        cut, self._cut = self._cut, None
        self._take(*cut)
        return True

    def acknowledge(self, mids: list[int]) -> None:
        """Send PUBACKs for these message ids in one write."""
        if mids:
            packets = b"".join([b"\x40\x02" + mid.to_bytes(2, "big") for mid in mids])
            self._packet_queue(paho.PUBACK, packets, 0, 0)


def _remaining_length(data: bytes, at: int, end: int) -> tuple[int, int]:
    """Return (start of the packet's body, its length): 7 bits a byte, least significant first; (0, 0) if cut off."""
    length = data[at]
    if not length & 128:
        return at + 1, length
    length &= 127
    for shift in (7, 14, 21):
        at += 1
        if at >= end:
            return 0, 0
        length |= (data[at] & 127) << shift
        if not data[at] & 128:
            return at + 1, length
    return 0, _LARGE + 1  # no valid length: paho closes the connection
