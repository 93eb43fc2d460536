"""Hallwatch as a DSX publisher, and encrypted connections, on a real mosquitto."""

import asyncio
import contextlib

import jsonschema
import orjson
import pytest
import yaml

from collectors.mqtt.collector import MqttCollector
from collectors.mqtt.connection import Connection, connected
from collectors.mqtt.publisher import DsxPublisher
from collectors.mqtt.settings import BrokerSettings, MqttSettings, PublisherSettings
from domain.batch import Batch, now_ms
from domain.dsx import METADATA, VALUES
from domain.points import Point, PointRegistry
from tests.servers.mosquitto import Mosquitto

pytestmark = [pytest.mark.server("mosquitto"), pytest.mark.xdist_group("mosquitto")]

POINTS = (
    Point(
        "PowerMeter/ActivePower/snmp/pdu1",
        "PowerMeter",
        "ActivePower",
        "R1-PDU-A",
        unit="W",
        associate="R1",
        source="snmp:pdu1",
    ),
    Point(
        "UPS/Status/snmp/ups1",
        "UPS",
        "Status",
        "UPS-A1",
        state_text=((2, "Normal"), (3, "Battery")),
        source="snmp:ups1",
    ),
    Point("Outlet/Current/snmp/pdu1/3", "Outlet", "Current", "R1-PDU-A/3", unit="A", source="snmp:pdu1"),
    Point("GPU/GpuPower/nvml/x", "GPU", "GpuPower", "X", unit="W", source="tray:x"),
)


@contextlib.asynccontextmanager
async def running(part):
    task = asyncio.create_task(part.run())
    await asyncio.to_thread(connected, part.connection, 60.0)
    try:
        yield part
    finally:
        task.cancel()
        await asyncio.wait([task])


class Bus:
    """Everything that is on the bus."""

    def __init__(self, url):
        self.messages = {}
        self.connection = Connection(BrokerSettings(url=url, retry_max=0.5), self._take, [VALUES, METADATA])

    def _take(self, topic, payload, mid):
        self.messages.setdefault(topic.decode(), []).append(orjson.loads(payload))
        self.connection.acknowledge([mid])

    async def __aenter__(self):
        self.connection.start()
        await asyncio.to_thread(connected, self.connection, 60.0, subscribed=True)
        return self

    async def __aexit__(self, *_):
        await asyncio.to_thread(self.connection.stop)

    async def until(self, condition, timeout=60):
        async with asyncio.timeout(timeout):
            while not condition(self.messages):  # noqa: ASYNC110
                await asyncio.sleep(0.05)


async def test_snmp_readings_join_the_bus_under_the_contract(mosquitto, testdata):
    registry = PointRegistry(POINTS)
    publisher = DsxPublisher(PublisherSettings(broker=BrokerSettings(url=mosquitto.url)), registry)
    async with Bus(mosquitto.url) as bus, running(publisher):
        publisher.offer(Batch.of([0, 1, 2, 3], now_ms(), [5200.0, 2.0, 1.5, 700.0]))
        power = "BMS/v1/PUB/Value/PowerMeter/ActivePower/hallwatch/PowerMeter/ActivePower/snmp/pdu1"
        beat = "BMS/v1/PUB/Value/System/HeartbeatTimestampBms/hallwatch/heartbeat"
        await bus.until(lambda m: power in m and beat in m and len(m) >= 8)
        assert bus.messages[power][0]["value"] == 5.2  # kW
        publisher.offer(Batch.of([0], now_ms(), [5200.0]))  # unchanged: not told again
        publisher.offer(Batch.of([0], now_ms(), [5300.0]))
        await bus.until(lambda m: len(m[power]) >= 2)
    assert [v["value"] for v in bus.messages[power]] == [5.2, 5.3]
    assert not any("nvml" in topic for topic in bus.messages)
    told = {t.split("/", 4)[4]: m[0] for t, m in bus.messages.items() if "/Metadata/" in t}
    assert told["PowerMeter/ActivePower/hallwatch/PowerMeter/ActivePower/snmp/pdu1"]["servesId"] == ["R1"]
    contract = yaml.load((testdata / "dsx" / "bms.asyncapi.yaml").read_text(), Loader=yaml.CSafeLoader)[
        "components"
    ]
    schemas = {
        "PowerMeter/ActivePower": "PowerMeterActivePowerMetadata",
        "UPS/Status": "UPSStatusMetadata",
        "GenericObject/GenericPoint": "GenericEquipmentPointMetadata",
        "System/HeartbeatTimestampBms": "SystemHeartbeatTimestampBmsMetadata",
    }
    assert len(told) == len(schemas)
    for key, payload in told.items():
        name = schemas["/".join(key.split("/")[:2])]
        schema = {"$ref": f"#/components/schemas/{name}", "components": contract}
        jsonschema.Draft202012Validator(schema).validate(payload)


async def test_another_collector_reads_what_was_published_in_canonical_units(mosquitto):
    publisher = DsxPublisher(
        PublisherSettings(broker=BrokerSettings(url=mosquitto.url)), PointRegistry(POINTS)
    )
    registry, rows = PointRegistry(), {}

    async def sink(batch):
        rows.update(
            {registry[int(p)].object_id: v for p, v in zip(batch.point, batch.value.tolist(), strict=True)}
        )

    settings = MqttSettings(broker=BrokerSettings(url=mosquitto.url), ignore_tags=())
    async with running(MqttCollector(settings, registry, sink)), running(publisher):
        publisher.offer(Batch.of([0, 1, 2], now_ms(), [5200.0, 3.0, 1.5]))
        async with asyncio.timeout(60):
            while len(rows) < 4:  # noqa: ASYNC110
                await asyncio.sleep(0.05)
    assert (rows["R1-PDU-A"], rows["UPS-A1"], rows["R1-PDU-A/3"]) == (5200.0, 3.0, 1.5)


async def test_after_a_broker_restart_everything_is_told_again(mosquitto):
    publisher = DsxPublisher(
        PublisherSettings(broker=BrokerSettings(url=mosquitto.url, retry_max=0.5)), PointRegistry(POINTS)
    )
    async with running(publisher):
        publisher.offer(Batch.of([0], now_ms(), [5200.0]))
        async with Bus(mosquitto.url) as bus:
            await bus.until(lambda m: len(m) >= 4)
        mosquitto.kill()
        (mosquitto.folder / "mosquitto.db").unlink(missing_ok=True)
        mosquitto.start()
        async with Bus(mosquitto.url) as bus:
            await bus.until(lambda m: any("Metadata/PowerMeter" in t for t in m) and len(m) >= 4)


async def test_with_client_certificates_messages_arrive_and_without_them_they_do_not(
    certificates, tmp_path, free_port
):
    c = certificates
    settings = (
        f"listener {free_port} 127.0.0.1\ncafile {c}/ca.pem\ncertfile {c}/server.pem\nkeyfile {c}/server.key\n"
        "require_certificate true\nallow_anonymous true"
    )
    with Mosquitto(tmp_path / "mosquitto", settings):
        url = f"mqtts://127.0.0.1:{free_port}"
        known = BrokerSettings(
            url=url,
            ca_file=c / "ca.pem",
            cert_file=c / "client.pem",
            key_file=c / "client.key",
            retry_max=0.5,
        )
        got = asyncio.Event()
        loop = asyncio.get_running_loop()
        count = []

        def take(topic, payload, mid):
            count.append(len(payload))
            if len(count) == 300:
                loop.call_soon_threadsafe(got.set)

        listener = Connection(known, take, ["a/#"])
        listener.start()
        await asyncio.to_thread(connected, listener, 60.0, subscribed=True)
        for n in range(300):
            listener.publish(f"a/{n}", b"x" * 1000)
        await asyncio.wait_for(got.wait(), 60)
        await asyncio.to_thread(listener.stop)
        assert count == [1000] * 300

        stranger = Connection(BrokerSettings(url=url, ca_file=c / "ca.pem", retry_max=0.5))
        stranger.start()
        async with asyncio.timeout(60):
            while not stranger.state.error:  # noqa: ASYNC110
                await asyncio.sleep(0.05)
        assert stranger.state.connects == 0
        await asyncio.to_thread(stranger.stop)
