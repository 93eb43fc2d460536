"""A bus with 55 planted violations: `probe mqtt` names each, the service keeps every good value, and no wrong one is good."""

import asyncio
import json
import sys
import time
from collections import Counter
from pathlib import Path

import numpy as np
import orjson
import pytest

from collectors.mqtt.collector import MqttCollector
from collectors.mqtt.connection import Connection, connected
from collectors.mqtt.settings import BrokerSettings, MqttSettings
from domain.batch import now_ms
from domain.points import PointRegistry, Quality
from storage.ingest import Ingest
from storage.open import open_store
from storage.settings import IngestSettings, StorageSettings
from tests.servers.mosquitto import Mosquitto

pytestmark = [pytest.mark.server("mosquitto"), pytest.mark.xdist_group("mosquitto")]

LISTEN_S = 9.0
RACK = {"engUnit": "kW", "rackLocationId": "R1", "rackLocationName": "R1"}
METER = {"engUnit": "kW", "objectId": "M1", "objectName": "M1", "servesId": []}
CDU = {"objectId": "C1", "objectName": "C1"}
WRONG = 666.0
"""What a planted value tells where it must not be taken for good."""


def metadata(key, **fields):
    object_type, point_type, _ = key.split("/", 2)
    told = {"objectType": object_type, "pointType": point_type} | fields
    return f"BMS/v1/PUB/Metadata/{key}", orjson.dumps({k: v for k, v in told.items() if v is not ...}), True


def value(key, number=1.0, publisher="PUB", **fields):
    told = {"value": number, "timestamp": now_ms(), "quality": 1} | fields
    told = {k: v for k, v in told.items() if v is not ...}
    return f"BMS/v1/{publisher}/Value/{key}", json.dumps(told).encode(), False


def raw(key, payload):
    return f"BMS/v1/PUB/Value/{key}", payload, False


def rack(name, **fields):
    """Metadata of a rack of its own, so that it breaks nothing but what it is to break."""
    return metadata(
        f"Rack/RackPower/{name}/t", **(RACK | {"rackLocationId": name, "rackLocationName": name} | fields)
    )


def meter(name, **fields):
    return metadata(
        f"PowerMeter/ActivePower/{name}/t", **(METER | {"objectId": name, "objectName": name} | fields)
    )


def rack_key(name):
    return f"Rack/RackPower/{name}/t"


def state(name, key=None):
    texts = [{"value": 0, "text": "Off"}, {"value": 1, "text": "On"}]
    return metadata(key or f"CDU/Status/{name}/t", objectId=name, objectName=name, stateText=texts)


TICK = Counter()


def values_of(name, *rows):
    """Values of a rack whose metadata is right."""
    return lambda: [rack(name), *(row() for row in rows)]


def of(name, payload):
    return lambda: [rack(name), raw(rack_key(name), payload)]


def tick(name):
    TICK[name] += 1
    return TICK[name]


# reason, part of the topic, what is published again and again
PLANTED = [
    ("bad_topic", "BMS/v1/PUB/Value/Rack", lambda: [("BMS/v1/PUB/Value/Rack", b"{}", False)]),
    ("bad_topic", "'BMS/v1/PUB/Value/Rack/RackPower/xxx", lambda: [value("Rack/RackPower/" + "x" * 1200)]),
    ("bad_topic", "/trays/", lambda: [("hallwatch/v1/trays/R1/" + "T" * 99 + "/sweep", b"{}", False)]),
    ("wrong_length", "R1/T1/sweep", lambda: [
        ("hallwatch/v1/trays/R1/T1/sweep", b'{"format":1,"run":1,"seq":1,"t":1,"gpus":4,"values":[]}', False)]),
    ("bad_json", "v1/t", of("v1", b"{nonsense")),
    ("bad_json", "v2/t", of("v2", b'{"value":NaN,"timestamp":1,"quality":1}')),
    ("too_deep", "v3/t", of("v3", b"[" * 3000)),
    ("too_large", "v4/t", of("v4", b" " * 300_000)),
    ("not_an_object", "v5/t", of("v5", b"[1,2,3]")),
    ("missing_field", "v6/t", values_of("v6", lambda: value(rack_key("v6"), WRONG, quality=...))),
    ("bad_value", "v7/t", values_of("v7", lambda: value(rack_key("v7"), "666"))),
    ("bad_timestamp", "v8/t", values_of("v8", lambda: value(rack_key("v8"), WRONG, timestamp="2026-11-27T10:00:00Z"))),
    ("bad_quality", "v9/t", values_of("v9", lambda: value(rack_key("v9"), WRONG, quality="GOOD"))),
    ("unexpected_field", "Value/Rack/RackPower/v10/t", values_of("v10", lambda: value(rack_key("v10"), unit="kW"))),
    ("absurd_time", "v11/t", values_of("v11", lambda: value(rack_key("v11"), WRONG, timestamp=now_ms() + 3_600_000))),
    ("absurd_time", "v12/t", values_of("v12", lambda: value(rack_key("v12"), WRONG, timestamp=now_ms() // 1000))),
    ("clock_off", "v13/t", values_of("v13", lambda: value(rack_key("v13"), timestamp=now_ms() + 60_000))),
    ("time_backwards", "v14/t", values_of("v14", lambda: value(rack_key("v14")),
                                          lambda: value(rack_key("v14"), timestamp=now_ms() - 30_000))),
    ("one_time_twice", "v15/t", values_of("v15", lambda: value(rack_key("v15"), 1, timestamp=now_ms() // 1000 * 1000),
                                          lambda: value(rack_key("v15"), 2, timestamp=now_ms() // 1000 * 1000))),
    ("unknown_state", "v16/t", lambda: [state("v16"), value("CDU/Status/v16/t", WRONG)]),
    ("impossible_value", "v17/t", values_of("v17", lambda: value(rack_key("v17"), 90e6))),
    ("impossible_value", "PowerFactor/v18/t", lambda: [
        metadata("PowerMeter/PowerFactor/v18/t", objectId="v18", objectName="v18", servesId=[]),
        value("PowerMeter/PowerFactor/v18/t", 98)]),
    ("impossible_value", "LiquidTemperature/v19/t", lambda: [
        metadata("CDU/LiquidTemperature/v19/t", engUnit="C", objectId="v19", objectName="v19"),
        value("CDU/LiquidTemperature/v19/t", -273)]),
    ("wrong_publisher", "ROGUE/Value/Rack/RackPower/v20/t",
     values_of("v20", lambda: value(rack_key("v20"), 20), lambda: value(rack_key("v20"), WRONG, "ROGUE"))),
    ("wrong_publisher", "PUB/Value/CDU/LiquidTemperatureSpRequest/v21/t", lambda: [
        metadata("CDU/LiquidTemperatureSpRequest/v21/t", engUnit="C", **CDU, integration="MEPAI"),
        value("CDU/LiquidTemperatureSpRequest/v21/t", 21, "MEPAI"),
        value("CDU/LiquidTemperatureSpRequest/v21/t", WRONG)]),
    ("retained_value", "v22/t", lambda: [rack("v22"), (*value(rack_key("v22"))[:2], True)]),
    ("type_mismatch", "m1/t", lambda: [rack("m1", objectType="PowerMeter")]),
    ("missing_field", "m2/t", lambda: [rack("m2", pointType=...)]),
    ("unexpected_field", "Metadata/Rack/RackPower/m3/t", lambda: [rack("m3", colour="red")]),
    ("metadata_not_from_bms", "ROGUE/Metadata", lambda: [
        (f"BMS/v1/ROGUE/Metadata/{rack_key('m4')}", rack("m4")[1], True)]),
    ("unknown_object_type", "Teleporter", lambda: [
        metadata("Teleporter/ActivePower/m5/t", engUnit="W", objectId="m5", objectName="m5")]),
    ("unknown_point_type", "FluxCapacity", lambda: [metadata("CDU/FluxCapacity/m6/t", engUnit="W", **CDU)]),
    ("point_not_allowed", "Rack/Sound/m7/t", lambda: [
        metadata("Rack/Sound/m7/t", **(RACK | {"engUnit": "dB", "rackLocationId": "m7", "rackLocationName": "m7"}))]),
    ("unit_and_state", "m8/t", lambda: [rack("m8", stateText=[{"value": 0, "text": "x"}])]),
    ("no_unit", "m9/t", lambda: [rack("m9", engUnit=...)]),
    ("unknown_unit", "m10/t", lambda: [rack("m10", engUnit="furlong")]),
    ("wrong_unit", "m11/t", lambda: [rack("m11", engUnit="V")]),
    ("unusual_unit", "m12/t", lambda: [
        metadata("Sensor/AirTemperature/m12/t", engUnit="degF", objectId="m12", objectName="m12")]),
    ("unwanted_unit", "m13/t", lambda: [
        metadata("PowerMeter/PowerFactor/m13/t", **(METER | {"objectId": "m13", "objectName": "m13", "engUnit": "%"}))]),
    ("bad_state_text", "m14/t", lambda: [metadata("CDU/Status/m14/t", **CDU, stateText=[{"value": 0}])]),
    ("object_and_associate", "m15/t", lambda: [meter("m15", associateId="M1")]),
    ("no_identity", "m16/t", lambda: [meter("m16", objectId=..., objectName=...)]),
    ("bad_phase", "m17/t", lambda: [
        metadata("PowerMeter/PhaseCurrent/m17/t", engUnit="A", objectId="m17", objectName="m17", servesId=[], phase="L4")]),
    ("missing_field", "m18/t", lambda: [meter("m18", servesId=...)]),
    ("missing_field", "RackLeakDetectTray/m19/t", lambda: [
        metadata("Rack/RackLeakDetectTray/m19/t", rackLocationId="m19", rackLocationName="m19",
                 stateText=[{"value": 0, "text": "No leak"}])]),
    ("wrong_type", "m20/t", lambda: [
        metadata("CDU/LiquidTemperature/m20/t", engUnit="C", objectId="m20", objectName="m20", isSetpoint="true")]),
    ("too_long", "m21/t", lambda: [rack("m21", rackLocationName="x" * 300)]),
    ("metadata_not_retained", "m22/t", lambda: [(*rack("m22")[:2], False)]),
    ("metadata_changed", "m23/t", lambda: [meter("m23", objectName=f"m23 {tick('m23') % 2}")]),
    ("serves_cycle", "p1/t", lambda: [meter("p1", servesId=["p2"]), meter("p2", servesId=["p1"])]),
    ("unknown_target", "p3/t", lambda: [meter("p3", servesId=["NOWHERE"])]),
    ("told_twice", "p4/a", lambda: [
        metadata(f"Rack/RackPower/p4/{tag}", **(RACK | {"rackLocationId": "p4", "rackLocationName": "p4"}))
        for tag in "ab"]),
    ("tag_used_twice", "PowerMeter/ApparentPower/p5/t", lambda: [
        meter("p5"), metadata("PowerMeter/ApparentPower/p5/t", **(METER | {"engUnit": "kVA", "objectId": "p5", "objectName": "p5"}))]),
    ("differs_by_case", "Rack/RackPower/P6/t", lambda: [rack("p6"), rack("P6")]),
    ("heartbeat_stopped", "HeartbeatTimestampBms/b1/t", lambda: [
        metadata("System/HeartbeatTimestampBms/b1/t", objectId="BMS", objectName="BMS"),
        *([value("System/HeartbeatTimestampBms/b1/t", time.time())] if tick("b1") < 8 else [])]),
]  # fmt: skip


class Bus:
    """Publishes the planted violations, and 20 meters that do all right, until it is told to stop."""

    def __init__(self, url):
        self.connection = Connection(BrokerSettings(url=url))
        self.sent = set()
        self.good = [f"PowerMeter/ActivePower/good{n}/t" for n in range(20)]

    async def run(self, until):
        for n, key in enumerate(self.good):
            self._publish(metadata(key, **(METER | {"objectId": f"good{n}", "objectName": f"good{n}"})))
        round_ = 0
        while not until():
            for _, _, messages in PLANTED:
                for message in messages():
                    self._publish(message)
            for n, key in enumerate(self.good):
                at = now_ms()
                self._publish(value(key, 100.0 + n + round_ / 1000, timestamp=at))
                self.sent.add((key, at, round((100.0 + n + round_ / 1000) * 1000)))
            round_ += 1
            await asyncio.sleep(0.25)

    def _publish(self, message):
        assert self.connection.publish(*message[:2], retain=message[2]) is not None


@pytest.fixture
def mosquitto(tmp_path):
    settings = "max_queued_messages 0\nmax_inflight_messages 0\nsys_interval 1"
    with Mosquitto(tmp_path / "mosquitto", settings) as broker:
        yield broker


@pytest.fixture
def clients(mosquitto):
    """How many clients the broker has, as it tells it each second."""
    counts = [0]
    counting = Connection(
        BrokerSettings(url=mosquitto.url),
        lambda _t, payload, _m: counts.append(int(payload)),
        ["$SYS/broker/clients/connected"],
    )
    counting.start()
    connected(counting, 60.0, subscribed=True)
    yield counts
    counting.stop()


async def test_each_violation_is_named_every_good_value_kept_and_no_wrong_one_good(
    mosquitto, clients, tmp_path
):
    TICK.clear()
    registry = PointRegistry()
    storage = StorageSettings(path=tmp_path / "data", ingest=IngestSettings(commit_interval_ms=5))
    store = open_store(storage, registry)
    ingest = Ingest.open(storage, registry, store)
    reach = BrokerSettings(url=mosquitto.url, client_id="service")
    collector = MqttCollector(
        MqttSettings(broker=reach, data=tmp_path / "mqtt"), registry, ingest.accept, racks={"R1"}
    )
    collecting = asyncio.create_task(collector.run())
    await asyncio.to_thread(connected, collector.connection, 60.0, subscribed=True)
    bus = Bus(mosquitto.url)
    bus.connection.start()
    await asyncio.to_thread(connected, bus.connection, 60.0)
    probing = await asyncio.create_subprocess_exec(
        str(Path(sys.executable).with_name("hallwatch")), "probe", "mqtt", mosquitto.url, "--for", str(LISTEN_S), "--json",
        stdout=asyncio.subprocess.PIPE,
    )  # fmt: skip
    printed = asyncio.create_task(probing.communicate())
    TICK["b1"] = -1000  # the heartbeat goes on until the probe is there
    sending = asyncio.create_task(bus.run(printed.done))
    await asyncio.sleep(0)
    while not printed.done():
        # a heartbeat that stops is one that was heard before: the service, the bus and the one who counts are there too
        if TICK["b1"] < 0 and clients[-1] >= 4:
            TICK["b1"] = 1
        await asyncio.sleep(0.05)
    await sending
    told = json.loads((await printed)[0])
    found = [(v["reason"], v["topic"]) for v in told["violations"]]
    unnamed = [
        (reason, part)
        for reason, part, _ in PLANTED
        if not any(r == reason and part.strip("'") in t for r, t in found)
    ]
    assert len(PLANTED) == 55
    assert unnamed == []
    assert all(v["meaning"] and v["count"] for v in told["violations"])

    points = np.arange(len(registry), dtype=np.int32)

    def kept():
        batch = store.read(points, 0, 1 << 60)
        return zip(
            batch.point.tolist(),
            batch.observed.tolist(),
            batch.value.tolist(),
            batch.quality.tolist(),
            strict=True,
        )

    def good_ones():
        return {(registry[p].key, at, round(v)) for p, at, v, q in kept() if q == Quality.GOOD}

    async with asyncio.timeout(60):
        while not bus.sent <= good_ones() or collector.stats()["queued"] or ingest.pending_rows:  # noqa: ASYNC110
            await asyncio.sleep(0.05)
    await asyncio.sleep(0.3)
    collecting.cancel()
    await asyncio.wait([collecting])
    rows = [(registry[p].key, at, round(v), q) for p, at, v, q in kept()]
    good = {(key, at, v) for key, at, v, q in rows if q == Quality.GOOD}
    assert bus.sent - good == set()
    wrong = {(key, v) for key, _, v in good if v in (WRONG, WRONG * 1000)}
    impossible = {
        ("PowerMeter/PowerFactor/v18/t", 98),
        ("CDU/LiquidTemperature/v19/t", -273),
        (rack_key("v17"), 9 * 10**10),
    }
    assert wrong | (impossible & {(key, v) for key, _, v in good}) == set()
    assert {v for key, _, v in good if key == rack_key("v20")} == {20_000}
    await ingest.close()
    store.close()
