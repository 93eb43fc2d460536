"""What Hallwatch tells of itself, as points."""

import math
import shutil
from types import SimpleNamespace

import numpy as np
import pytest

from domain.batch import Batch
from domain.points import Point, PointRegistry
from service.self_watch import SelfWatch
from service.supervisor import PartState
from storage.duckdb_store import DuckDBStore
from storage.ingest import Ingest
from storage.settings import DAY, IngestSettings, StorageSettings

NOW = 1_790_000_000_000


@pytest.fixture
async def own(tmp_path):
    """A real ingest, watched; `told()` returns what is told of it."""
    registry = PointRegistry(
        Point(f"Rack/RackPower/R{i:03}", "Rack", "RackPower", f"R{i:03}", unit="W", source="dsx:bms")
        for i in range(200)
    )
    settings = StorageSettings(path=tmp_path, ingest=IngestSettings(commit_interval_ms=0, spool_mb=0.1))
    store = DuckDBStore(tmp_path / "t.duckdb", settings)
    ingest = Ingest.open(settings, registry, store)
    parts = [PartState("ingest", running=True)]
    interval = [2.0]
    watch = SelfWatch(
        "hallwatch", registry, ingest, lambda: parts, tmp_path, 1e5, lambda: interval[0], lambda: NOW
    )

    def told():
        return {
            (registry[int(b.point[i])].object_id, registry[int(b.point[i])].point_type): float(b.value[i])
            for b in watch.look()
            for i in range(len(b.point))
        }

    yield SimpleNamespace(ingest=ingest, registry=registry, parts=parts, interval=interval, told=told)
    await ingest.close()
    store.close()


async def test_a_service_that_is_well_says_so(own, tmp_path):
    disk = shutil.disk_usage(tmp_path)
    told = own.told()
    assert told.pop(("hallwatch", "ServiceDiskFree")) == pytest.approx(disk.free / disk.total, abs=0.01)
    assert told == {
        ("hallwatch", "ServiceClockOffset"): 0,
        ("hallwatch", "ServiceReadingsRefused"): 0,
        ("hallwatch", "ServiceSpoolFill"): 0,
        ("hallwatch", "ServicePartsDown"): 0,
        ("hallwatch", "ServiceEvaluationInterval"): 2.0,
    }


async def test_the_share_of_readings_that_are_refused_is_that_of_the_last_five_minutes(own):
    own.told()
    points = np.arange(200, dtype=np.int32)
    old = np.where(points < 50, NOW - 900 * DAY, NOW)
    await own.ingest.accept(Batch.of(points, old, points + 1.0))
    assert own.told()["hallwatch", "ServiceReadingsRefused"] == 0.25
    for _ in range(28):
        own.told()
    assert own.told()["hallwatch", "ServiceReadingsRefused"] == 0.25
    assert own.told()["hallwatch", "ServiceReadingsRefused"] == 0, "it is over five minutes ago"


async def test_one_bad_reading_of_three_is_no_share(own):
    own.told()
    await own.ingest.accept(Batch.of([0, 1, 2], [NOW - 900 * DAY, NOW, NOW], [1.0, 2.0, 3.0]))
    assert own.told()["hallwatch", "ServiceReadingsRefused"] == 0


async def test_a_part_that_is_down_and_alerting_that_is_late_are_told(own):
    own.parts.append(PartState("mqtt bms", running=False, error="refused"))
    own.interval[0] = 31.0
    told = own.told()
    assert told["hallwatch", "ServicePartsDown"] == 1
    assert told["hallwatch", "ServiceEvaluationInterval"] == 31
    own.interval[0] = math.nan
    assert ("hallwatch", "ServiceEvaluationInterval") not in own.told(), (
        "before the first look nothing is known"
    )


async def test_a_source_that_stands_still_is_told_by_its_name_and_once_more_when_it_moves(own):
    kinds = [("ActivePower", "W"), ("Current", "A"), ("Voltage", "V")]
    points = [
        own.registry.register(
            Point(f"PowerMeter/{kind}/{pdu}", "PowerMeter", kind, pdu, unit=unit, source="snmp:gateway")
        )
        for pdu in ("PDU-1", "PDU-2")
        for kind, unit in kinds
    ]

    def tell(minute, values):
        now = NOW + minute * 60_000
        own.ingest.latest.update(Batch.of(points, now, values, received=now))
        own.ingest.frozen.look(now, own.ingest.latest)

    still = [500.0, 10.0, 230.0]
    for minute in range(62):
        tell(minute, [*still, 400.0 + minute, 8.0, 231.0])
    assert own.told()["snmp:gateway", "SourceFrozen"] == 0.5
    for minute in range(62, 130):
        tell(minute, [*still, 400.0, 8.0, 231.0])
    assert own.told()["snmp:gateway", "SourceFrozen"] == 1.0
    tell(130, [501.0, 10.0, 230.0, 401.0, 8.0, 231.0])
    assert own.told()["snmp:gateway", "SourceFrozen"] == 0
    assert ("snmp:gateway", "SourceFrozen") not in own.told()
