"""Tags that move to another rack: what they told before stays with the old one, over real MQTT and SNMP, in both stores."""

import asyncio
import secrets
from contextlib import asynccontextmanager

import numpy as np
import orjson
import pytest

from collectors.mqtt.collector import MqttCollector
from collectors.mqtt.connection import Connection, connected
from collectors.mqtt.settings import BrokerSettings, MqttSettings
from collectors.snmp.collector import SnmpCollector
from collectors.snmp.settings import SnmpSettings
from domain.batch import now_ms
from domain.points import PointRegistry, Retired
from domain.site import Site
from service.query import run_query
from storage.ingest import Ingest
from storage.open import open_store
from storage.plant import PlantView
from storage.settings import HOUR, InfluxSettings, IngestSettings, StorageSettings, StoreKind
from storage.telemetry import Aggregate
from storage.transfer import Form, export_store, import_store
from tests.system.snmp_agent import agent, target

pytestmark = [pytest.mark.server("mosquitto"), pytest.mark.xdist_group("mosquitto")]

SITE = Site.model_validate(
    {
        "id": "lab",
        "name": "Lab",
        "limit": "1 MW",
        "installed": "1 MW",
        "rack_limit": "150 kW",
        "pods": [{"id": "P1", "racks": "R1..2", "row": 1}],
    }
)
STEP = 500
TAG = "Rack/RackPower/hall/tag1"
TAP = "PowerMeter/ActivePower/hall/tap1"


class Hall:
    """Ingest, store and plant view as the service has them."""

    def __init__(self, settings):
        self.settings = settings
        self.begun = now_ms() // STEP * STEP - STEP
        self.open()

    def open(self):
        self.registry = PointRegistry()
        self.store = open_store(self.settings, self.registry)
        self.ingest = Ingest.open(self.settings, self.registry, self.store)
        self.plant = PlantView(SITE, self.registry, self.ingest.latest, self.store)

    async def close(self):
        await self.ingest.close()
        self.store.close()

    def power(self, rack):
        """Return what a rack is said to have drawn since the beginning, W: each value once, in order."""
        told = self.plant.power_history(rack, self.begun, now_ms() + STEP, STEP).values[0]
        return list(dict.fromkeys(told[~np.isnan(told)].round().tolist()))

    async def until(self, condition):
        async with asyncio.timeout(60):
            while not condition():  # noqa: ASYNC110
                await asyncio.sleep(0.02)

    async def a_step_passes(self):
        """Wait until the next step has begun, so that no step has both places."""
        now = now_ms()
        await asyncio.sleep((STEP - now % STEP + 20) / 1000)


@pytest.fixture(
    params=[
        "duckdb",
        pytest.param("influxdb", marks=[pytest.mark.server("influxd"), pytest.mark.server("nginx")]),
    ]
)
async def hall(request, tmp_path, monkeypatch):
    more = {}
    if request.param == "influxdb":
        server = request.getfixturevalue("shared_influxdb")
        monkeypatch.setenv("HALLWATCH_INFLUXDB_TOKEN", server.token)
        more = {
            "kind": StoreKind.INFLUXDB,
            "influxdb": InfluxSettings(url=server.url, database=f"test_{secrets.token_hex(4)}"),
        }
    hall = Hall(StorageSettings(path=tmp_path / "data", ingest=IngestSettings(commit_interval_ms=5), **more))
    yield hall
    await hall.close()


@asynccontextmanager
async def listening(hall, mosquitto, tmp_path):
    reach = BrokerSettings(url=mosquitto.url, client_id="service", retry_max=0.5)
    collector = MqttCollector(
        MqttSettings(broker=reach, data=tmp_path / "mqtt"), hall.registry, hall.ingest.accept
    )
    running = asyncio.create_task(collector.run())
    await asyncio.to_thread(connected, collector.connection, 60.0, subscribed=True)
    bus = Connection(BrokerSettings(url=mosquitto.url, retry_max=0.5))
    bus.start()
    await asyncio.to_thread(connected, bus, 60.0)
    try:
        yield collector, bus
    finally:
        bus.stop()
        running.cancel()
        await asyncio.wait([running])


def rack(bus, name):
    told = {"objectType": "Rack", "pointType": "RackPower", "engUnit": "kW"}
    told |= {"rackLocationId": name, "rackLocationName": name}
    bus.publish(f"BMS/v1/PUB/Metadata/{TAG}", orjson.dumps(told), retain=True)


def tap(bus, *serves):
    told = {"objectType": "PowerMeter", "pointType": "ActivePower", "engUnit": "kW"}
    told |= {"objectId": "TAP1", "objectName": "Tap 1", "servesId": serves}
    bus.publish(f"BMS/v1/PUB/Metadata/{TAP}", orjson.dumps(told), retain=True)


async def tell(hall, bus, key, kilowatts):
    at = now_ms()
    bus.publish(f"BMS/v1/PUB/Value/{key}", orjson.dumps({"value": kilowatts, "timestamp": at, "quality": 1}))
    await hall.until(
        lambda: (
            at in hall.ingest.latest.observed[: len(hall.registry)].tolist() and not hall.ingest.pending_rows
        )
    )


@pytest.mark.parametrize("announce", [rack, tap])
async def test_a_tag_that_moves_leaves_its_history_with_the_old_rack(hall, mosquitto, tmp_path, announce):
    key = TAG if announce is rack else TAP
    async with listening(hall, mosquitto, tmp_path) as (collector, bus):
        announce(bus, "R1")
        await hall.until(lambda: hall.registry.index(key) is not None)
        await tell(hall, bus, key, 10.0)
        await hall.a_step_passes()
        announce(bus, "R2")
        await hall.until(lambda: collector.stats()["points_moved"] == 1)
        await tell(hall, bus, key, 20.0)
        assert (hall.power("R1"), hall.power("R2")) == ([10_000], [20_000])
        assert hall.plant.power_now("R2").value == 20_000
        assert len(hall.plant.power_points("R1")) == 0
    await hall.close()
    hall.open()  # and so it stays after a restart, when the broker tells its retained metadata again
    async with listening(hall, mosquitto, tmp_path) as (collector, bus):
        await hall.until(lambda: collector.stats()["metadata"] >= 1)
        await hall.a_step_passes()
        await tell(hall, bus, key, 30.0)
        assert collector.stats()["points_moved"] == 0
        told = hall.power("R2")
        assert (hall.power("R1"), told[0], told[-1]) == ([10_000], 20_000, 30_000)
    assert sum(point.key.startswith(key) for point in hall.registry) == 2


async def test_two_racks_whose_tags_change_places_keep_their_own_history(hall, mosquitto, tmp_path):
    other = TAG.replace("tag1", "tag2")

    def announce(bus, first, second):
        rack(bus, first)
        told = {"objectType": "Rack", "pointType": "RackPower", "engUnit": "kW"}
        told |= {"rackLocationId": second, "rackLocationName": second}
        bus.publish(f"BMS/v1/PUB/Metadata/{other}", orjson.dumps(told), retain=True)

    async with listening(hall, mosquitto, tmp_path) as (collector, bus):
        announce(bus, "R1", "R2")
        await hall.until(lambda: None not in (hall.registry.index(TAG), hall.registry.index(other)))
        await tell(hall, bus, TAG, 10.0)
        await tell(hall, bus, other, 20.0)
        await hall.a_step_passes()
        announce(bus, "R2", "R1")
        await hall.until(lambda: collector.stats()["points_moved"] == 2)
        await hall.a_step_passes()
        await tell(hall, bus, TAG, 30.0)
        await tell(hall, bus, other, 40.0)
        assert (hall.power("R1"), hall.power("R2")) == ([10_000, 40_000], [20_000, 30_000])
        points = hall.plant.rack_points("RackPower")
        grid = hall.plant.history(points, hall.begun, now_ms() + STEP, STEP, Aggregate.MEAN)
        told = [list(dict.fromkeys(row[~np.isnan(row)].tolist())) for row in grid.values]
        assert told == [[10_000, 40_000], [20_000, 30_000]]
        site = hall.power("lab")
        assert set(site) >= {30_000, 70_000}
        assert set(site) <= {30_000, 40_000, 50_000, 60_000, 70_000}
        asked = run_query(hall.registry, hall.store, "R1/RackPower", hall.begun, now_ms() + STEP)
        assert sorted(v for entry in asked for v in entry["value"]) == [10_000, 40_000]


async def test_a_tag_whose_metadata_was_deleted_in_between_has_moved_too_and_one_that_is_told_more_has_not(
    hall, mosquitto, tmp_path
):
    async with listening(hall, mosquitto, tmp_path) as (collector, bus):
        tap(bus, "R1")
        await hall.until(lambda: hall.registry.index(TAP) is not None)
        await tell(hall, bus, TAP, 10.0)
        tap(bus, "R1", "R9")
        await hall.until(lambda: collector.stats()["points_changed"] == 1)
        assert (collector.stats()["points_moved"], len(hall.registry)) == (0, 1)
        bus.publish(f"BMS/v1/PUB/Metadata/{TAP}", b"", retain=True)
        tap(bus, "R2")
        await hall.until(lambda: hall.registry.moves == 1)
        await tell(hall, bus, TAP, 20.0)
        assert hall.registry[0].retired == Retired.MOVED
        assert hall.power("R2") == [20_000]


async def test_a_pdu_that_serves_another_rack_by_configuration_leaves_its_history_with_the_old_one(
    hall, caplog
):
    async def polled(rack_served):
        async with agent() as a:
            settings = SnmpSettings.model_validate(
                {
                    "polling": {"interval": 0.2, "timeout": 5, "deadline": 30, "retries": 0},
                    "targets": [target(a, serves=rack_served)],
                }
            )
            collector = SnmpCollector(settings, hall.registry, hall.ingest.accept)
            began, running = now_ms(), asyncio.create_task(collector.run())
            await hall.until(lambda: hall.plant.power_now(rack_served).observed > began)
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)
            await hall.until(lambda: not hall.ingest.pending_rows)

    await polled("R1")
    assert (hall.power("R1"), hall.power("R2")) == ([5130], [])
    await hall.close()
    hall.open()
    await hall.a_step_passes()
    moved = now_ms()
    await polled("R2")
    assert "told of another place than before" in caplog.text
    assert "PDU-1 serving R1 -> PDU-1 serving R2" in caplog.text
    assert (hall.power("R1"), hall.power("R2")) == ([5130], [5130])
    grid = hall.plant.power_history("R2", hall.begun, now_ms() + STEP, STEP)
    taken_over = grid.start[~np.isnan(grid.values[0])].min()
    assert taken_over + STEP > moved
    told = hall.plant.power_history("R1", hall.begun, now_ms() + STEP, STEP)
    assert told.start[~np.isnan(told.values[0])].max() <= taken_over  # until then it holds what it told last
    assert hall.registry.moves == hall.registry.restless + len(hall.registry.moved)


async def test_an_export_carries_over_what_was_where(hall, mosquitto, tmp_path):
    async with listening(hall, mosquitto, tmp_path) as (collector, bus):
        rack(bus, "R1")
        await hall.until(lambda: hall.registry.index(TAG) is not None)
        await tell(hall, bus, TAG, 10.0)
        await hall.a_step_passes()
        rack(bus, "R2")
        await hall.until(lambda: collector.stats()["points_moved"] == 1)
        await tell(hall, bus, TAG, 20.0)
    end = now_ms() + STEP
    export_store(
        hall.store,
        hall.registry,
        tmp_path / "export",
        hall.begun // HOUR * HOUR,
        end,
        Form.CSV,
        tiers=("raw",),
    )
    there = Hall(StorageSettings(path=tmp_path / "there"))
    there.begun = hall.begun
    import_store(there.store, there.registry, tmp_path / "export")
    assert (there.power("R1"), there.power("R2")) == ([10_000], [20_000])
    # the tag's next metadata finds it where it is
    point = hall.registry[hall.registry.current(TAG)]
    assert there.registry[there.registry.current(TAG)] == point
    await there.close()
