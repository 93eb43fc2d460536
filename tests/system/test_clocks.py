"""A leak told by a BMS whose clock is off, stepped or drifting, over a real broker: paged within seconds."""

import contextlib
import json
import time
from datetime import UTC, datetime

import paho.mqtt.client as mqtt
import pytest

from storage.records import Records
from tests.servers.hallwatch import SITE, Service, eventually, write_configuration
from tests.servers.mosquitto import Mosquitto

LEAK = {
    "name": "leak",
    "kind": "state",
    "points": ["RackLeakDetect"],
    "normal": [0],
    "severity": "critical",
}


def tags(rack):
    place = {"rackLocationId": rack, "rackLocationName": rack}
    return {
        f"Rack/RackPower/s/{rack}": {
            "objectType": "Rack", "pointType": "RackPower", "engUnit": "kW", **place,
        },
        f"Rack/RackLeakDetect/s/{rack}": {
            "objectType": "Rack", "pointType": "RackLeakDetect",
            "stateText": [{"value": 0, "text": "No Leak"}, {"value": 1, "text": "Leak"}], **place,
        },
    }  # fmt: skip


class Bms:
    """Tells power and leak of a rack by a clock of its own."""

    def __init__(self, name, rack, port, clock):
        self.name, self.rack, self.clock = name, rack, clock
        self.tags = tags(rack)
        self.client = mqtt.Client(mqtt.CallbackAPIVersion.VERSION2, protocol=mqtt.MQTTv5)
        self.client.connect("127.0.0.1", port)
        self.client.loop_start()
        for tag, told in self.tags.items():
            self.client.publish(f"BMS/v1/PUB/Metadata/{tag}", json.dumps(told), qos=1, retain=True)

    def tell(self, since, leak):
        at = int((time.time() + self.clock(since, leak)) * 1000)
        for tag, value in zip(self.tags, (100.0, leak), strict=True):
            payload = json.dumps({"value": value, "timestamp": at, "quality": 1})
            self.client.publish(f"BMS/v1/PUB/Value/{tag}", payload, qos=1).wait_for_publish(60)

    def close(self):
        self.client.disconnect()
        self.client.loop_stop()


CLOCKS = {
    "ahead": lambda since, leak: 420.0,
    "behind": lambda since, leak: -420.0,
    "stepped": lambda since, leak: -240.0 if leak else 0.0,
    "drifting": lambda since, leak: 60 + since / 60,
}
"""By how much each is ahead of ours, s, while it told for so long, s: seven minutes ahead and behind, stepped back by four
minutes with the leak, drifting by a second a minute."""


@pytest.mark.server("mosquitto")
def test_a_leak_is_an_alert_within_seconds_whatever_the_clock_that_tells_it(tmp_path):
    with contextlib.ExitStack() as stack:
        brokers = {name: stack.enter_context(Mosquitto(tmp_path / name)) for name in CLOCKS}
        sources = [{"name": name, "broker": {"url": broker.url}} for name, broker in brokers.items()]
        config = write_configuration(tmp_path / "config", {"mqtt": sources}, SITE, {"rules": [LEAK]})
        service = stack.enter_context(Service(config))
        eventually(
            lambda: all(service.health()["collectors"][f"mqtt {name}"]["connected"] for name in CLOCKS)
        )
        plant = [
            Bms(name, f"Pod1C-E0{n}", brokers[name].port, clock)
            for n, (name, clock) in enumerate(CLOCKS.items(), 1)
        ]
        for bms in plant:
            stack.callback(bms.close)
        begin = time.monotonic()
        while (since := time.monotonic() - begin) < 5:
            for bms in plant:
                bms.tell(since, 0)
            time.sleep(1)
        records = Records(f"sqlite:///{service.data}/records.sqlite")
        stack.callback(records.close)
        assert records.active_alerts() == []

        leaks, told = time.monotonic(), {}
        while len(told) < len(plant):
            for bms in plant:
                bms.tell(time.monotonic() - begin, 1)
            time.sleep(0.5)
            for alert in records.active_alerts():
                told.setdefault(alert.condition.object_id, time.monotonic() - leaks)
            # 1 to 2 s on a quiet machine; a clock that is not believed costs minutes
            assert time.monotonic() - leaks < 60, f"told: {told}"
        print(f"delay from the leak to its alert: {told}")
        assert set(told) == {bms.rack for bms in plant}
        health = service.health()
        off = {bms.name: health["clocks"]["off"][f"dsx:{bms.name}"]["offset_s"] for bms in plant}
        assert off == pytest.approx({bms.name: bms.clock(since, 1) for bms in plant}, abs=15)
        assert health["clocks"]["corrected_readings"] > 0
        assert health["ingest"]["quarantined"] <= 10  # of the one far ahead, until its clock was believed
        until = datetime.fromtimestamp(time.time() + 120, UTC).isoformat()
        for bms in plant:
            assert service.query(f"{bms.rack}/RackPower", "--since", "10m", "--until", until)[0]["value"]
