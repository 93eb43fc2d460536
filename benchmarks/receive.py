"""Receiving small MQTT messages: the collectors' client against paho's own: `python -m benchmarks.receive`.

30,000 messages of 60 bytes from a real mosquitto, at QoS 0 and at QoS 1 with acknowledgement; CPU time of the network thread
a message, best of three. Prints one JSON object.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from benchmarks._plant_load import Wire
from benchmarks.ingest import Broker, figure
from collectors.mqtt.receive import BulkClient

_ACKNOWLEDGED_AT_ONCE = 300
_TOPIC = b"BMS/v1/PUB/Value/PowerMeter/ActivePower/site/p%04d/value"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--messages", type=int, default=30_000)
    parser.add_argument("--json", action="store_true", help="the only form there is")
    count = parser.parse_args().messages
    figures = {}
    with tempfile.TemporaryDirectory() as folder, Broker(Path(folder)) as broker:
        for qos in (0, 1):
            ours, simple = (
                min(cpu_us(broker.port, qos, count, bulk=bulk) for _ in range(3)) for bulk in (True, False)
            )
            figures[f"qos{qos}_us_per_message"] = figure(ours, "us", simple)
    machine = {"cpus": os.cpu_count(), "python": platform.python_version(), "system": platform.platform()}
    print(json.dumps({"name": "receive", "machine": machine, "figures": figures}, indent=1))


def cpu_us(port: int, qos: int, count: int, *, bulk: bool) -> float:
    """Return the CPU time of the network thread for one message, in microseconds."""
    told: list[float] = []
    got, acknowledged = 0, list[int]()
    ready, done = threading.Event(), threading.Event()

    def take(_topic: bytes, _payload: bytes, mid: int) -> None:
        nonlocal got
        got += 1
        if mid:
            acknowledged.append(mid)
            if len(acknowledged) == _ACKNOWLEDGED_AT_ONCE:
                answer(acknowledged)
                acknowledged.clear()
        if got in (1, count):
            told.append(time.thread_time())
        if got == count:
            done.set()

    def answer(mids: list[int]) -> None:
        if isinstance(client, BulkClient):
            client.acknowledge(mids)
        else:
            for mid in mids:
                client.ack(mid, 1)

    client: paho.Client
    if bulk:
        client = BulkClient(CallbackAPIVersion.VERSION2, protocol=paho.MQTTv5, manual_ack=True, take=take)
    else:
        client = paho.Client(CallbackAPIVersion.VERSION2, protocol=paho.MQTTv5, manual_ack=True)
        client.on_message = lambda _c, _u, m: take(m.topic.encode(), bytes(m.payload), m.mid)
    properties: Any = Properties(PacketTypes.CONNECT)  # type: ignore[no-untyped-call]
    properties.ReceiveMaximum = 20_000
    client.on_connect = lambda c, *_: c.subscribe("BMS/#", qos=1)
    client.on_subscribe = lambda *_: ready.set()
    client.connect("127.0.0.1", port, properties=properties)
    client.loop_start()
    ready.wait(10)
    wire = Wire(port, f"receive-{qos}-{bulk}-{time.time()}")
    for n in range(count):
        wire.publish(_TOPIC % (n % 5000), b"x" * 60, qos)
        if n % 500 == 0:
            wire.move()
    end = time.time() + 60
    while not done.wait(0.01) and time.time() < end:
        wire.move()
    wire.socket.close()
    client.disconnect()
    client.loop_stop()
    if len(told) < 2:
        raise SystemExit(f"only {got} of {count} messages came")
    return (told[1] - told[0]) / count * 1e6


if __name__ == "__main__":
    main()
