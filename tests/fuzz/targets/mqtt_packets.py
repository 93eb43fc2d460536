"""What a broker sends, in pieces: what is cut from it are whole messages, and what is no MQTT ends the connection."""

import contextlib
import socket

import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion

from collectors.mqtt.receive import BufferedSocket, BulkClient

GOOD = b"\x30\x06\x00\x01g\x00ok"


def fuzz(data: bytes) -> None:
    got: list[tuple[bytes, bytes, int]] = []
    client = BulkClient(
        CallbackAPIVersion.VERSION2,
        protocol=paho.MQTTv5,
        manual_ack=True,
        reconnect_on_failure=False,
        take=lambda *message: got.append(message),
        largest=4096,
    )
    near, far = socket.socketpair()
    near.setblocking(False)
    client._sock = BufferedSocket(near)
    size = data[0] + 1 if data else 1
    # `Connection` closes the connection on whatever paho raises, and begins anew
    with contextlib.suppress(Exception):
        for piece in (
            GOOD,
            *(data[at : at + size * 64] for at in range(1, min(len(data), 65_536), size * 64)),
        ):
            far.send(piece)
            if client.loop_read() or client._sock is None:
                break
    near.close()
    far.close()
    assert got[0] == (b"g", b"ok", 0)
    assert all(len(payload) < len(data) + len(GOOD) for _, payload, _ in got)
