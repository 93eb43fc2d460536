"""The collector on a real mosquitto: everything arrives, is acknowledged late, and survives the broker."""

import asyncio
import contextlib

import orjson
import pytest

from collectors.mqtt.collector import MqttCollector
from collectors.mqtt.connection import Connection, connected
from collectors.mqtt.probe import probe
from collectors.mqtt.replay import replay
from collectors.mqtt.settings import BrokerSettings, MqttSettings
from domain.batch import now_ms
from domain.errors import SourceError, StorageError
from domain.points import PointRegistry
from domain.tray import Sweep, encode, sweep_topic, value_count

pytestmark = [pytest.mark.server("mosquitto"), pytest.mark.xdist_group("mosquitto")]


class Kept:
    """A sink that keeps what it gets, and may be made to refuse or to wait."""

    def __init__(self):
        self.rows = []
        self.refusing = None
        self.open = asyncio.Event()
        self.open.set()
        self.grew = asyncio.Event()

    async def __call__(self, batch):
        if self.refusing:
            raise self.refusing
        await self.open.wait()
        self.rows += zip(batch.point.tolist(), batch.observed.tolist(), batch.value.tolist(), strict=True)
        self.grew.set()

    async def wait_for(self, enough, timeout=60):
        async with asyncio.timeout(timeout):
            while not enough(self.rows):
                self.grew.clear()
                await self.grew.wait()


async def until(condition, timeout=60):
    """Wait for something that tells nobody when it happens."""
    async with asyncio.timeout(timeout):
        while not condition():  # noqa: ASYNC110
            await asyncio.sleep(0.02)


@contextlib.asynccontextmanager
async def collecting(broker, sink, registry=None, **settings):
    client_id = settings.pop("client_id", "test-collector")
    broker_settings = BrokerSettings(
        url=broker.url, client_id=client_id, retry_max=0.5, **settings.pop("reach", {})
    )
    collector = MqttCollector(
        MqttSettings(broker=broker_settings, **settings),
        PointRegistry() if registry is None else registry,
        sink,
    )
    running = asyncio.create_task(collector.run())
    await asyncio.to_thread(connected, collector.connection, 60.0, subscribed=True)
    try:
        yield collector
    finally:
        running.cancel()
        await asyncio.wait([running])


@contextlib.contextmanager
def publishing(broker, **settings):
    connection = Connection(BrokerSettings(url=broker.url, retry_max=0.5, **settings))
    connection.start()
    connected(connection, 60.0)
    yield connection
    connection.stop()


def sweep(sequence, tray="T01", value=1.0):
    told = Sweep(1, sequence, now_ms(), 1, [value] * value_count(1))
    return sweep_topic("R001", tray), orjson.dumps(encode(told))


def metadata(key="PowerMeter/ActivePower/site/m1", unit="kW"):
    return f"BMS/v1/PUB/Metadata/{key}", orjson.dumps(
        {
            "objectType": "PowerMeter",
            "pointType": "ActivePower",
            "engUnit": unit,
            "objectId": "M1",
            "objectName": "M1",
            "servesId": [],
        }
    )


def value(number, key="PowerMeter/ActivePower/site/m1"):
    told = {"value": number, "timestamp": now_ms(), "quality": 1}
    return f"BMS/v1/PUB/Value/{key}", orjson.dumps(told)


async def test_the_exemplar_arrives_whole(mosquitto, testdata):
    sink = Kept()
    async with collecting(mosquitto, sink) as collector:
        report = await replay(
            testdata / "dsx" / "exemplar.csv", mosquitto.url, speed=0, start=now_ms() - 200_000
        )
        await sink.wait_for(lambda rows: len(rows) >= 4545)
        stats = collector.stats()
    assert report.messages == stats["messages"] == 4711
    assert len(sink.rows) == 4545
    assert (stats["points"], stats["violations"], stats["protocol"]) == (166, {}, "5")


async def test_a_broker_that_speaks_only_3_1_1_is_understood(mosquitto):
    sink = Kept()
    async with collecting(mosquitto, sink, reach={"protocol": "3.1.1"}) as collector:
        with publishing(mosquitto, protocol="3.1.1") as bus:
            bus.publish(*sweep(0))
            await sink.wait_for(lambda rows: len(rows) >= value_count(1))
        assert collector.stats()["protocol"] == "3.1.1"


async def test_a_thousand_malformed_messages_are_counted_and_every_good_one_is_stored(mosquitto):
    bad = {
        "bad_json": [(value(1)[0], b"{nonsense"), (value(1)[0], b'{"value":NaN,"timestamp":1,"quality":1}')],
        "bad_value": [(value(1)[0], b'{"value":"1","timestamp":1,"quality":1}')],
        "bad_topic": [("BMS/v1/PUB/Value/Rack", b"{}")],
        "missing_field": [(value(1)[0], b'{"value":1}')],
        "wrong_length": [(sweep(0)[0], b'{"format":1,"run":1,"seq":1,"t":1,"gpus":4,"values":[]}')],
        "unit_and_state": [
            (
                "BMS/v1/PUB/Metadata/PowerMeter/ActivePower/x",
                b'{"objectType":"PowerMeter","pointType":"ActivePower","engUnit":"W","stateText":[]}',
            )
        ],
        "type_mismatch": [
            ("BMS/v1/PUB/Metadata/PowerMeter/ActivePower/y", b'{"objectType":"Rack","pointType":"RackPower"}')
        ],
    }
    kinds = [(reason, message) for reason, messages in bad.items() for message in messages]
    sink = Kept()
    async with collecting(mosquitto, sink) as collector:
        with publishing(mosquitto) as bus:
            bus.publish(*metadata())
            bus.publish(value(1)[0], b" " * 10_000_000)
            for n in range(1000):
                bus.publish(*kinds[n % len(kinds)][1])
                bus.publish(*value(float(n)))
            await sink.wait_for(lambda rows: len(rows) >= 1000)
        stats = collector.stats()
    wanted = {"too_large": 1}
    for n in range(1000):
        reason = kinds[n % len(kinds)][0]
        wanted[reason] = wanted.get(reason, 0) + 1
    assert stats["violations"] == wanted
    assert sorted(v for _, _, v in sink.rows) == pytest.approx([1000.0 * n for n in range(1000)])


async def test_a_message_of_brackets_is_acknowledged_and_does_not_come_again(mosquitto):
    """It once left the decoder as a RecursionError, was never acknowledged, and came back at every reconnect."""
    deep = b"[" * 1000 + b"]" * 1000
    nested = b'{"value":1,"timestamp":1,"quality":' + deep + b"}"

    async def refused(*messages, rows):
        sink = Kept()
        async with collecting(mosquitto, sink) as collector:
            with publishing(mosquitto) as bus:
                for message in messages:
                    bus.publish(*message)
                await sink.wait_for(lambda kept: len(kept) >= rows)
            return collector.stats()["refused"]

    bad = ((sweep(0)[0], deep), (value(1)[0], nested))
    assert await refused(metadata(), *bad, sweep(0), value(1.0), rows=value_count(1) + 1) == 2
    assert await refused(sweep(1), rows=value_count(1)) == 0


async def test_what_was_not_stored_is_not_acknowledged_and_comes_again_to_the_next_collector(mosquitto):
    stuck, registry = Kept(), PointRegistry()
    stuck.open.clear()
    with publishing(mosquitto) as bus:
        async with collecting(mosquitto, stuck, registry) as collector:
            for n in range(50):
                bus.publish(*sweep(n))
            await until(lambda: collector.stats()["sweeps"] + collector.stats()["queued"] >= 50)
        assert stuck.rows == []
        fresh = Kept()
        async with collecting(mosquitto, fresh, registry):
            await fresh.wait_for(lambda rows: len(rows) >= 50 * value_count(1))
    taken = registry.index("Tray/SweepsTaken/nvml/R001/T01")
    assert len([row for row in fresh.rows if row[0] == taken]) == 50


@pytest.mark.parametrize("error", [StorageError("away"), RuntimeError("a fault of ours")])
async def test_while_the_sink_refuses_nothing_is_lost(mosquitto, error):
    sink = Kept()
    sink.refusing = error
    async with collecting(mosquitto, sink) as collector:
        with publishing(mosquitto) as bus:
            for n in range(200):
                bus.publish(*sweep(n))
            await until(lambda: collector.stats()["sink_failures"])
            sink.refusing = None
            await sink.wait_for(lambda rows: len(rows) >= 200 * value_count(1))


async def test_a_full_queue_holds_the_broker_back_instead_of_growing(mosquitto):
    sink = Kept()
    sink.open.clear()
    async with collecting(mosquitto, sink, queue_messages=100, batch_messages=50) as collector:
        with publishing(mosquitto) as bus:
            for n in range(2000):
                bus.publish(*sweep(n))
            await until(lambda: collector.stats()["held_back"])
            assert collector.stats()["queued"] <= 100
            sink.open.set()
            await sink.wait_for(lambda rows: len(rows) >= 2000 * value_count(1))
        assert collector.stats()["sweeps_missing"] == 0


async def test_after_the_broker_was_killed_the_collector_subscribes_again(mosquitto):
    sink = Kept()
    async with collecting(mosquitto, sink) as collector:
        mosquitto.kill()
        await until(lambda: not collector.stats()["connected"])
        mosquitto.start()
        await asyncio.to_thread(connected, collector.connection, 60.0, subscribed=True)
        with publishing(mosquitto) as bus:
            bus.publish(*sweep(0))
            await sink.wait_for(lambda rows: len(rows) >= value_count(1))
        stats = collector.stats()
    assert stats["connects"] == 2
    assert stats["outage_s"] > 0


async def test_two_collectors_share_the_load_and_one_takes_all_when_the_other_ends(mosquitto):
    first, second = Kept(), Kept()
    async with collecting(mosquitto, second, client_id="c2", share="g"):
        async with collecting(mosquitto, first, client_id="c1", share="g"):
            with publishing(mosquitto) as bus:
                for n in range(400):
                    bus.publish(*sweep(n))
                await until(lambda: len(first.rows) + len(second.rows) >= 400 * value_count(1))
        assert min(len(first.rows), len(second.rows)) > 100 * value_count(1)
        alone = len(second.rows)
        with publishing(mosquitto) as bus:
            for n in range(400, 500):
                bus.publish(*sweep(n))
            await second.wait_for(lambda rows: len(rows) >= alone + 100 * value_count(1))


async def test_what_waited_for_a_killed_member_of_a_group_comes_when_it_is_back(mosquitto):
    """Some brokers, mosquitto among them, keep queueing a share for a member that is away: late, but not lost."""
    here, back = Kept(), Kept()
    async with collecting(mosquitto, here, client_id="c2", share="g"):
        gone = Connection(
            BrokerSettings(url=mosquitto.url, client_id="c1"),
            subscriptions=["$share/g/hallwatch/v1/trays/+/+/sweep"],
        )
        gone.start()
        await asyncio.to_thread(connected, gone, 60.0, subscribed=True)
        gone._client._sock.close()  # as a kill does: no goodbye
        gone._stop.set()
        with publishing(mosquitto) as bus:
            for n in range(100):
                bus.publish(*sweep(n))
            await asyncio.sleep(0.5)
        async with collecting(mosquitto, back, client_id="c1", share="g"):
            await until(lambda: len(here.rows) + len(back.rows) >= 100 * value_count(1))


async def test_probe_shows_points_and_violations(mosquitto):
    with publishing(mosquitto) as bus:
        bus.publish(*metadata(), retain=True)
        bus.publish(*metadata("PowerMeter/ActivePower/site/bad", unit="V"), retain=True)
        looking = asyncio.create_task(asyncio.to_thread(probe, mosquitto.url, 2.0))
        while not looking.done():
            bus.publish(*value(28.7))
            bus.publish(*value(1.0, "Rack/RackPower/site/unknown"))
            await asyncio.sleep(0.1)
        told = await looking
    (point,) = [p for p in told["points"] if p["key"] == "PowerMeter/ActivePower/site/m1"]
    assert point["value"] == pytest.approx(28_700)
    assert told["waiting"] == ["Rack/RackPower/site/unknown"]
    assert [v["reason"] for v in told["violations"]] == ["wrong_unit"]


def test_probe_says_why_there_is_no_connection(free_port):
    with pytest.raises(SourceError, match=r"nothing listens .* is the broker running"):
        probe(f"mqtt://127.0.0.1:{free_port}", 1.0)
