"""A leak told by a BMS whose clock is off, stepped or drifting, over a real broker: paged within seconds."""

import json
import time
from datetime import UTC, datetime

import paho.mqtt.client as mqtt
import pytest

from storage.records import Records
from tests.servers.hallwatch import SITE, Service, eventually, write_configuration

LEAK = {
    "name": "leak",
    "kind": "state",
    "points": ["RackLeakDetect"],
    "normal": [0],
    "severity": "critical",
}
RACK = {"rackLocationId": "Pod1C-E01", "rackLocationName": "Pod1C-E01"}
TAGS = {
    "Rack/RackPower/s/power": {"objectType": "Rack", "pointType": "RackPower", "engUnit": "kW", **RACK},
    "Rack/RackLeakDetect/s/leak": {
        "objectType": "Rack",
        "pointType": "RackLeakDetect",
        "stateText": [{"value": 0, "text": "No Leak"}, {"value": 1, "text": "Leak"}],
        **RACK,
    },
}


class Bms:
    """Tells power and leak of a rack every two seconds, by a clock that is `ahead` of ours, s."""

    def __init__(self, port):
        self.client = mqtt.Client(mqtt.CallbackAPIVersion.VERSION2, protocol=mqtt.MQTTv5)
        self.client.connect("127.0.0.1", port)
        self.client.loop_start()
        for tag, told in TAGS.items():
            self.client.publish(f"BMS/v1/PUB/Metadata/{tag}", json.dumps(told), qos=1, retain=True)

    def tell(self, ahead, leak):
        at = int((time.time() + ahead) * 1000)
        for tag, value in zip(TAGS, (100.0, leak), strict=True):
            payload = json.dumps({"value": value, "timestamp": at, "quality": 1})
            self.client.publish(f"BMS/v1/PUB/Value/{tag}", payload, qos=1).wait_for_publish(10)

    def run(self, clock, seconds):
        begin = time.monotonic()
        while (since := time.monotonic() - begin) < seconds:
            self.tell(clock(since), 0)
            time.sleep(1)


@pytest.mark.server("mosquitto")
@pytest.mark.parametrize(
    ("before", "with_leak"),
    [
        (lambda _: 420.0, 420.0),
        (lambda _: -420.0, -420.0),
        (lambda _: 0.0, -240.0),
        (lambda since: 60 + since / 60, 60.2),
    ],
    ids=["7 min ahead", "7 min behind", "stepped back by 4 min with the leak", "drifting 1 s a minute"],
)
def test_a_leak_is_an_alert_within_seconds(tmp_path, mosquitto, before, with_leak):
    broker = {"url": f"mqtt://127.0.0.1:{mosquitto.port}"}
    config = write_configuration(
        tmp_path / "config", {"mqtt": [{"name": "bms", "broker": broker}]}, SITE, {"rules": [LEAK]}
    )
    service = Service(config)
    service.start()
    try:
        eventually(lambda: service.health()["collectors"]["mqtt bms"]["connected"])
        bms = Bms(mosquitto.port)
        bms.run(before, 5)
        records = Records(f"sqlite:///{service.data}/records.sqlite")
        assert records.active_alerts() == []
        begin = time.monotonic()
        while not (alerts := records.active_alerts()):
            bms.tell(with_leak, 1)
            time.sleep(0.5)
            assert time.monotonic() - begin < 60
        delay = time.monotonic() - begin
        print(f"delay from the leak to its alert: {delay:.1f} s")
        assert delay < 20  # 1 to 2 s on a quiet machine; a clock that is not believed costs minutes
        assert alerts[0].condition.object_id == "Pod1C-E01"
        clock = service.health()["clocks"]
        offset = clock["off"]["dsx:bms"]["offset_s"]
        assert offset == pytest.approx(with_leak, abs=2)
        ingest = service.health()["ingest"]
        if with_leak > 300:
            assert ingest["quarantined"] <= 10  # until its clock was believed
            assert clock["corrected_readings"] > 0
        else:
            assert ingest["quarantined"] == 0
        until = datetime.fromtimestamp(time.time() + 120, UTC).isoformat()
        assert service.query("Pod1C-E01/RackPower", "--since", "10m", "--until", until)[0]["value"]
    finally:
        records.close()
        bms.client.disconnect()
        bms.client.loop_stop()
        service.stop()
