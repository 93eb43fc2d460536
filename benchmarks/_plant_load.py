"""A factory's worth of messages, from one process: tray sweeps at QoS 1, DSX values at QoS 0.

Packets are built by hand from prepared parts, so that the generator costs less than what it measures. It never waits for
the receiver: what it cannot send in time is late, and it says by how much.
"""

from __future__ import annotations

import argparse
import json
import random
import selectors
import socket
import struct
import time
from collections import deque
from typing import Any

from domain import dsx
from domain.points import Point
from domain.tray import FORMAT, GPU_FIELDS, TRAY_FIELDS, sweep_topic

FIELDS_TOLD = 25  # of each GPU; the others have no reading
GPUS = 4
VARIANTS = 64
VALUES_IN_SWEEP = GPUS * FIELDS_TOLD + 3
_LINKS = 4
_MOST_OPEN = 4000
_CATCH_UP = 40


class Wire:
    """A connection that sends prepared packets and counts the answers."""

    def __init__(self, port: int, name: str) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port))
        body = b"\x00\x04MQTT\x04\x02\x00\x00" + struct.pack(">H", len(name)) + name.encode()
        self.socket.sendall(b"\x10" + _length(len(body)) + body)
        self.socket.recv(4)
        self.socket.setblocking(False)
        self.waiting = bytearray()
        self.mid = 0
        self.answered = 0

    def publish(self, topic: bytes, payload: bytes, qos: int = 0, retain: bool = False) -> None:
        body = struct.pack(">H", len(topic)) + topic
        if qos:
            self.mid = self.mid % 65_535 + 1
            body += struct.pack(">H", self.mid)
        size = _length(len(body) + len(payload))
        self.waiting += bytes([0x30 | qos << 1 | retain]) + size + body + payload

    def move(self) -> None:
        """Send and receive what can be without waiting."""
        try:
            while self.waiting:
                sent = self.socket.send(self.waiting[:262_144])
                del self.waiting[:sent]
        except BlockingIOError:
            pass
        try:
            while answer := self.socket.recv(65_536):
                self.answered += len(answer)
        except BlockingIOError:
            pass

    @property
    def acknowledged(self) -> int:
        return self.answered // 4


class KeptWire(Wire):
    """A connection of senders that keep what the broker has not acknowledged, as tray agents do, and send it again.

    Everything goes out at QoS 1 whatever is asked for. After an outage it catches up at up to `_CATCH_UP` messages a move.
    """

    def __init__(self, port: int, name: str) -> None:
        super().__init__(port, name)
        self._port, self._name = port, name
        self._queue: deque[tuple[bytes, bytes, bool]] = deque()
        self._open: dict[int, tuple[bytes, bytes, bool]] = {}
        self._answers = b""
        self._again = 0.0
        self._away = False
        self.done = 0

    def publish(self, topic: bytes, payload: bytes, qos: int = 0, retain: bool = False) -> None:
        self._queue.append((topic, payload, retain))

    @property
    def acknowledged(self) -> int:
        return self.done

    def move(self) -> None:
        if self._away:
            self._come_back()
            return
        for _ in range(min(_CATCH_UP, len(self._queue), _MOST_OPEN - len(self._open))):
            message = self._queue.popleft()
            super().publish(message[0], message[1], 1, message[2])
            self._open[self.mid] = message
        try:
            while self.waiting:
                sent = self.socket.send(self.waiting[:262_144])
                del self.waiting[:sent]
        except BlockingIOError:
            pass
        except OSError:
            self._away = True
        try:
            while answer := self.socket.recv(65_536):
                self._answers += answer
            self._away = True  # the end of the stream
        except BlockingIOError:
            pass
        except OSError:
            self._away = True
        whole = len(self._answers) // 4 * 4
        for at in range(0, whole, 4):
            mid = self._answers[at + 2] << 8 | self._answers[at + 3]
            if self._open.pop(mid, None) is not None:
                self.done += 1
        self._answers = self._answers[whole:]

    def _come_back(self) -> None:
        if time.time() < self._again:
            return
        try:
            Wire.__init__(self, self._port, self._name)
        except OSError:
            self._again = time.time() + 0.5
            return
        self._queue.extendleft(reversed(self._open.values()))
        self._open.clear()
        self._answers = b""
        self._away = False


def _length(n: int) -> bytes:
    out = bytearray()
    while True:
        n, digit = n >> 7, n & 127
        out.append(digit | (128 if n else 0))
        if not n:
            return bytes(out)


def sweep_variants() -> list[bytes]:
    """Return the GPU parts of sweep messages, with values as a tray has them."""
    rng = random.Random(1)
    parts = []
    for _ in range(VARIANTS):
        told: list[float | int | None] = []
        for _ in range(GPUS):
            row: list[float | int | None] = [round(rng.uniform(200, 1200), 3) for _ in range(FIELDS_TOLD)]
            told += row + [None] * (len(GPU_FIELDS) - FIELDS_TOLD)
        parts.append(json.dumps(told, separators=(",", ":"))[:-1].encode())
    return parts


def meters(count: int) -> list[Point]:
    """Return the DSX points that are published."""
    return [
        Point(
            f"PowerMeter/ActivePower/site/hall/meter{n:05d}/activePower/value",
            "PowerMeter",
            "ActivePower",
            f"METER-{n:05d}",
            unit="W",
            serves=(f"RACK-{n:05d}",),
        )
        for n in range(count)
    ]


class Load:
    """Sends the sweeps of `trays` and the values of `points`, each once a second, spread over the second."""

    def __init__(self, port: int, trays: int, points: int, first: int = 0, kept: bool = False) -> None:
        names = [(f"R{t // 18 + 1:03d}", f"T{t % 18 + 1:02d}") for t in range(trays)]
        self.sweeps = [sweep_topic(*name).encode() for name in names]
        self.points = meters(points)
        self.values = [dsx.value_topic(p.key).encode() for p in self.points]
        wire = KeptWire if kept else Wire
        self.links: list[Wire] = [wire(port, f"load-{first}-{n}") for n in range(_LINKS)]
        self.bms = wire(port, f"bms-{first}")
        self.variants = sweep_variants()
        self.kept = kept
        self.run = int(time.time() * 1000)
        self.sequence = [first] * trays
        self.sent_sweeps = self.sent_values = 0

    def tell_metadata(self) -> None:
        for point in self.points:
            topic = dsx.metadata_topic(point.key).encode()
            self.bms.publish(topic, json.dumps(dsx.metadata_payload(point, "kW")).encode(), retain=True)
        while self.bms.waiting or (self.kept and self.bms.acknowledged < len(self.points)):
            self.bms.move()
            time.sleep(0.01)

    def send_sweep(self, tray: int, now: int) -> None:
        sequence = self.sequence[tray]
        self.sequence[tray] += 1
        told = FORMAT, self.run, sequence, now
        head = b'{"format":%d,"run":%d,"seq":%d,"t":%d,"gpus":4,"values":' % told
        before = TRAY_FIELDS.index("SweepsTaken")
        after = len(TRAY_FIELDS) - before - 3
        tail = b"," + b"null," * before + b"%d,0,0" % sequence + b",null" * after + b"]}"
        payload = head + self.variants[(tray + sequence) % VARIANTS] + tail
        self.links[tray % _LINKS].publish(self.sweeps[tray], payload, qos=1)
        self.sent_sweeps += 1

    def send_value(self, point: int, now: int) -> None:
        payload = b'{"value":%d.%03d,"timestamp":%d,"quality":1}' % (100 + point % 50, now % 1000, now)
        self.bms.publish(self.values[point], payload)
        self.sent_values += 1

    def run_at_rate(self, seconds: float) -> float:
        """Send for some seconds at the plant's own pace; return the worst delay of a message behind its time."""
        begun, worst = time.time(), 0.0
        done = 0.0  # seconds of load sent
        while done < seconds:
            now = min(time.time() - begun, seconds)
            for topics, send in ((self.sweeps, self.send_sweep), (self.values, self.send_value)):
                count = len(topics)
                for n in range(int(done * count), int(now * count)):
                    send(n % count, int(time.time() * 1000))
            worst = max(worst, now - done)
            done = now
            self.move()
            time.sleep(0.01)
        self.finish()
        return worst

    def run_at_once(self, seconds: float, most_unanswered: int) -> float:
        """Send some seconds' worth of messages as fast as they are taken; return how long that took."""
        begun = time.time()
        for second in range(round(seconds)):
            for tray in range(len(self.sweeps)):
                self.send_sweep(tray, int(begun * 1000) - 60_000 + second * 1000)
                if tray % 50 == 0:
                    self.move()
            for point in range(len(self.values)):
                self.send_value(point, int(begun * 1000) - 60_000 + second * 1000)
            while self.sent_sweeps - self.acknowledged > most_unanswered or self.bms.waiting:
                self.move()
                time.sleep(0.002)
        self.finish()
        return time.time() - begun

    def move(self) -> None:
        for wire in (*self.links, self.bms):
            wire.move()

    def finish(self, timeout: float = 60.0) -> None:
        """Wait until everything is sent and every sweep is acknowledged by the broker."""
        selector = selectors.DefaultSelector()
        for wire in (*self.links, self.bms):
            selector.register(wire.socket, selectors.EVENT_READ)
        end = time.time() + timeout
        while time.time() < end and (self.bms.waiting or self.acknowledged < self.to_acknowledge):
            self.move()
            selector.select(0.05)

    @property
    def acknowledged(self) -> int:
        return sum(link.acknowledged for link in self.links) + self.kept * self.bms.acknowledged

    @property
    def to_acknowledge(self) -> int:
        return self.sent_sweeps + self.kept * (self.sent_values + len(self.points))

    def report(self) -> dict[str, Any]:
        return {
            "sweeps": self.sent_sweeps,
            "sweeps_acknowledged": self.acknowledged,
            "dsx_values": self.sent_values,
            "unacknowledged": self.to_acknowledge - self.acknowledged,
            "values": self.sent_sweeps * VALUES_IN_SWEEP + self.sent_values,
            "cpu_s": time.process_time(),
        }


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--trays", type=int, default=1728)
    parser.add_argument("--dsx", type=int, default=5000)
    parser.add_argument("--seconds", type=float, required=True)
    parser.add_argument("--at-once", action="store_true")
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument(
        "--kept", action="store_true", help="all at QoS 1; what is not acknowledged is sent again"
    )
    options = parser.parse_args()
    load = Load(options.port, options.trays, options.dsx, options.first, options.kept)
    load.tell_metadata()
    begun = time.time()
    if options.at_once:
        load.run_at_once(options.seconds, most_unanswered=20_000)
        worst = 0.0
    else:
        worst = load.run_at_rate(options.seconds)
    print(json.dumps(load.report() | {"seconds": time.time() - begun, "worst_lag_s": worst}))


if __name__ == "__main__":
    main()
