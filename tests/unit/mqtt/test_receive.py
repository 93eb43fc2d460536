"""The bulk client against a socket: whatever the pieces in which packets arrive, the messages are the same."""

import contextlib
import select
import socket
import struct
import threading

import paho.mqtt.client as paho
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from paho.mqtt.enums import CallbackAPIVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.reasoncodes import ReasonCode

from collectors.mqtt.receive import BulkClient
from collectors.mqtt.trouble import Losses


def length(n):
    out = b""
    while True:
        n, digit = n >> 7, n & 127
        out += bytes([digit | (128 if n else 0)])
        if not n:
            return out


def publish(topic, payload, mid=0, properties=b"", mqtt5=True, retain=0):
    body = struct.pack(">H", len(topic)) + topic
    if mid:
        body += struct.pack(">H", mid)
    if mqtt5:
        body += length(len(properties)) + properties
    body += payload
    return bytes([0x30 | (2 if mid else 0) | retain]) + length(len(body)) + body


SUBACK5 = b"\x90\x04\x00\x01\x00\x01"
PINGRESP = b"\xd0\x00"


class Broker:
    """Accepts one client, answers CONNECT, and sends what it is told to."""

    def __init__(self, mqtt5=True):
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        self.connack = b"\x20\x03\x00\x00\x00" if mqtt5 else b"\x20\x02\x00\x00"
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self):
        self.connection, _ = self.listener.accept()
        self.connection.recv(4096)
        self.connection.sendall(self.connack)

    def close(self):
        self.connection.close()
        self.listener.close()


@contextlib.contextmanager
def client(mqtt5=True, **options):
    broker = Broker(mqtt5)
    got = []
    bulk = BulkClient(
        CallbackAPIVersion.VERSION2,
        protocol=paho.MQTTv5 if mqtt5 else paho.MQTTv311,
        manual_ack=True,
        reconnect_on_failure=False,
        take=lambda topic, payload, mid: got.append((topic, payload, mid)),
        **options,
    )
    bulk.on_socket_register_write = lambda *_: None
    bulk.connect("127.0.0.1", broker.port)
    while not bulk.is_connected():
        bulk.loop(0.1)
    yield bulk, broker.connection, got
    bulk.disconnect()
    broker.close()


def receive(bulk, got, count):
    for _ in range(200):
        if len(got) >= count:
            return
        bulk.loop(0.05)


def test_messages_of_both_qualities_of_service_arrive():
    with client() as (bulk, wire, got):
        wire.sendall(publish(b"a/b", b"one") + publish(b"c", b"two", mid=7))
        receive(bulk, got, 2)
    assert got == [(b"a/b", b"one", 0), (b"c", b"two", 7)]


def test_a_3_1_1_broker_is_understood():
    with client(mqtt5=False) as (bulk, wire, got):
        wire.sendall(publish(b"a/b", b"one", mqtt5=False) + publish(b"c", b"two", mid=7, mqtt5=False))
        receive(bulk, got, 2)
    assert got == [(b"a/b", b"one", 0), (b"c", b"two", 7)]


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    sizes=st.lists(st.integers(0, 20_000), min_size=1, max_size=12),
    cuts=st.lists(st.integers(1, 5000), min_size=1, max_size=20),
    properties=st.sampled_from([b"", b"\x01\x01", b"\x26\x00\x01k\x00\xc8" + b"v" * 200]),
)
def test_packets_cut_anywhere_give_the_same_messages(sizes, cuts, properties):
    packets = b""
    wanted = []
    for n, size in enumerate(sizes):
        mid = n if n % 2 else 0
        packets += publish(b"t/%d" % n, b"x" * size, mid, properties) + (PINGRESP if n % 3 == 0 else b"")
        wanted.append((b"t/%d" % n, b"x" * size, mid))
    with client() as (bulk, wire, got):
        at, n = 0, 0
        while at < len(packets):
            step = cuts[n % len(cuts)]
            wire.sendall(packets[at : at + step])
            at, n = at + step, n + 1
            bulk.loop(0.01)
        receive(bulk, got, len(wanted))
    assert got == wanted


def test_a_message_of_ten_megabytes_arrives_between_small_ones():
    large = b"y" * 10_000_000
    with client() as (bulk, wire, got):
        data = publish(b"s", b"1") + publish(b"l", large, mid=5) + publish(b"s", b"2")
        sender = threading.Thread(target=wire.sendall, args=(data,))
        sender.start()
        for _ in range(3000):
            if len(got) == 3:
                break
            bulk.loop(0.1)
        sender.join()
    assert [(t, len(p)) for t, p, _ in got] == [(b"s", 1), (b"l", 10_000_000), (b"s", 1)]


@pytest.mark.parametrize("mid", [0, 5])
@pytest.mark.parametrize("mqtt5", [True, False])
def test_of_a_message_that_is_too_large_only_the_beginning_is_kept(mid, mqtt5):
    small = [publish(b"s", bytes([n]), mqtt5=mqtt5) for n in range(3)]
    data = small[0] + publish(b"l", b"y" * 20_000_000, mid, mqtt5=mqtt5) + small[1] + small[2]
    most = 0
    with client(mqtt5, largest=100_000) as (bulk, wire, got):
        sender = threading.Thread(target=wire.sendall, args=(data,))
        sender.start()
        for _ in range(3000):
            if len(got) == 4:
                break
            bulk.loop(0.1)
            most = max(most, len(bulk._sock.data), len(bulk._in_packet["packet"]))
        sender.join()
    assert [(t, len(p), m) for t, p, m in got] == [
        (b"s", 1, 0),
        (b"l", 100_001, mid),
        (b"s", 1, 0),
        (b"s", 1, 0),
    ]
    assert most < 1_000_000


def test_acknowledgements_go_out_in_one_piece():
    with client() as (bulk, wire, _):
        bulk.acknowledge([1, 2, 300])
        bulk.loop(0.2)
        assert select.select([wire], [], [], 2)[0]
        assert wire.recv(100) == b"\x40\x02\x00\x01\x40\x02\x00\x02\x40\x02\x01\x2c"


def test_the_end_of_the_stream_ends_the_connection():
    with client() as (bulk, wire, _):
        wire.shutdown(socket.SHUT_RDWR)
        assert any(bulk.loop(0.1) for _ in range(10))


def test_why_the_broker_ends_the_connection_is_handed_on():
    with client() as (bulk, wire, _):
        told = []
        bulk.on_disconnect = lambda _c, _u, flags, reason, _p: told.append((flags[0], reason.value))
        wire.sendall(b"\xe0\x02\x8e\x00")
        for _ in range(10):
            bulk.loop(0.1)
    assert told == [(True, 0x8E)]


def test_a_session_that_another_client_took_over_is_named():
    taken = ReasonCode(PacketTypes.DISCONNECT, identifier=0x8E)
    assert "another client uses the client id 'c1'" in Losses("c1").lost(100.0, taken)
    told = Losses("c1")
    assert [told.lost(1.0, None) for _ in range(2)] == ["connection lost"] * 2
    assert "another client may use the client id 'c1'" in told.lost(1.0, None)
    assert told.lost(100.0, None) == "connection lost"


@pytest.mark.parametrize(
    "junk", [b"\xff\xff\xff\xff\xff\xff\xff\xff", b"\x30\xff\xff\xff\xff\x01", b"\x30\x02\x00\x09"]
)
def test_a_stream_that_is_no_mqtt_ends_the_connection(junk):
    with client() as (bulk, wire, _):
        wire.sendall(junk + bytes(64))
        assert any(bulk.loop(0.05) for _ in range(20))
