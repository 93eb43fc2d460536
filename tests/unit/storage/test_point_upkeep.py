"""Points as people look after them: what is listed, what is retired, what becomes of it."""

import numpy as np
import pytest

from domain.batch import Batch, now_ms
from domain.errors import InputError, TooManyPoints
from domain.points import Point, PointRegistry, Retired
from storage.ingest import Ingest
from storage.latest import LatestValues
from storage.open import open_store
from storage.point_upkeep import PointUpkeep, Selection
from storage.quarantine import Quarantine
from storage.reading_spool import ReadingSpool
from storage.settings import DAY, HOUR, MINUTE, StorageSettings
from storage.tiers import TIERS
from tests.unit.storage.conftest import QUICK, all_points, everything


def point(n, source):
    return Point(f"Rack/RackPower/R{n:03}", "Rack", "RackPower", f"R{n:03}", unit="W", source=source)


SOURCES = ["dsx:bms"] * 4 + ["tray:R004-T01"] * 3 + ["snmp:pdu-1", "snmp:pdu-2", ""]


@pytest.fixture
def registry():
    return PointRegistry([point(n, source) for n, source in enumerate(SOURCES)], max_points=10)


@pytest.fixture
def upkeep(registry, store):
    """Points 0 to 7 were heard of: one two days ago, the others a minute ago; 8 and 9 never."""
    now = now_ms()
    store.save_points(list(enumerate(registry)))
    times = [now - 2 * DAY, *[now - MINUTE] * 7]
    store.write(Batch.of(np.arange(8), times, np.arange(8.0)))
    latest = LatestValues(registry)
    latest.update(store.latest(all_points()))
    return PointUpkeep(registry, store, latest)


def chosen(upkeep, **wanted):
    return upkeep.select(Selection(**wanted), now_ms()).tolist()


def test_points_are_named_by_glob_source_and_age_and_all_of_it_holds(upkeep):
    assert chosen(upkeep) == list(range(10))
    assert chosen(upkeep, pattern="R00[0-4]/*") == [0, 1, 2, 3, 4]
    assert chosen(upkeep, source="snmp:*") == [7, 8]
    assert chosen(upkeep, source="tray:R004-T01", pattern="R005/RackPower") == [5]
    assert chosen(upkeep, older_than=DAY) == [0, 8, 9]
    assert chosen(upkeep, older_than=DAY, source="dsx:*") == [0]
    assert chosen(upkeep, older_than=3 * DAY) == [8, 9]


def test_a_report_counts_by_source_and_tells_the_age_of_the_newest_reading(upkeep):
    told = upkeep.report(Selection(), 8, now_ms())
    assert told["total"] == 10
    assert told["by_source"] == {"": 1, "dsx:bms": 4, "snmp:pdu-1": 1, "snmp:pdu-2": 1, "tray:R004-T01": 3}
    assert len(told["points"]) == 8
    assert told["points"][0]["age_s"] == pytest.approx(2 * DAY / 1000, abs=60)
    assert told["points"][7]["source"] == "snmp:pdu-1"
    assert upkeep.report(Selection("R009/*"), 8, now_ms())["points"][0]["newest"] is None


def test_retired_points_leave_the_lists_make_room_and_have_no_newest_value(upkeep, registry, store):
    with pytest.raises(TooManyPoints):
        registry.register(point(10, "dsx:bms"))
    done = upkeep.retire(Selection(source="dsx:bms"), False, False, now_ms())
    assert done == {"retired": 4, "readings_removed": 0}
    assert registry.select("Rack", "RackPower").tolist() == [4, 5, 6, 7, 8, 9]
    assert chosen(upkeep, pattern="R00[0-4]/*") == [4]
    assert chosen(upkeep, retired=True) == [0, 1, 2, 3]
    assert np.isnan(upkeep._latest.value[:4]).all()
    assert upkeep._latest.read(all_points(4)).point.tolist() == []
    assert registry.register(point(10, "dsx:bms")) == 10
    assert everything(store).value.tolist() == list(range(8)), "their history stays"


def test_retiring_lasts_over_a_restart_and_so_does_that_their_newest_value_is_forgotten(tmp_path):
    settings = StorageSettings(path=tmp_path / "data")
    registry = PointRegistry()
    store = open_store(settings, registry)
    registry.register(point(0, "dsx:bms"))
    registry.register(point(1, "dsx:bms"))
    store.save_points(list(enumerate(registry)))
    store.write(Batch.of([0, 1], now_ms(), [1.0, 2.0]))
    PointUpkeep(registry, store, LatestValues(registry)).retire(Selection("R000/*"), False, False, now_ms())
    store.close()
    again = PointRegistry()
    store = open_store(settings, again)
    ingest = Ingest.open(settings, again, store)
    assert [p.retired for p in again] == [Retired.GONE, ""]
    assert ingest.latest.read(all_points(2)).point.tolist() == [1]
    ingest.spool.close()
    store.close()


def test_a_retired_point_comes_back_with_its_next_reading_and_a_refused_one_does_not(
    upkeep, registry, store, tmp_path
):
    import asyncio

    upkeep.retire(Selection("R001/*"), False, False, now_ms())
    upkeep.retire(Selection("R002/*"), True, False, now_ms())
    spool, quarantine = ReadingSpool(tmp_path / "s", registry, 1 << 20), Quarantine(tmp_path / "q")
    ingest = Ingest(registry, store, spool, quarantine, QUICK)

    async def told():
        await ingest.accept(Batch.of([1, 2], now_ms(), [7.0, 8.0]))
        await ingest.close()

    asyncio.run(told())
    assert chosen(upkeep, retired=True) == [2]
    assert ingest.latest.read(all_points()).value.tolist() == [7.0]
    assert ingest.quarantine.counts == {"refused_point": 1}
    assert upkeep.readmit(Selection("R002/*", retired=True), now_ms()) == {"readmitted": 1}
    assert chosen(upkeep, retired=True) == []
    assert store.load_points()[2].retired == ""


def test_what_was_retired_does_not_come_back_beyond_the_limit(upkeep, registry, store, tmp_path):
    import asyncio

    upkeep.retire(Selection("R001/*"), False, False, now_ms())
    registry.register(point(10, "dsx:bms"))
    spool, quarantine = ReadingSpool(tmp_path / "s", registry, 1 << 20), Quarantine(tmp_path / "q")
    ingest = Ingest(registry, store, spool, quarantine, QUICK)

    async def told():
        await ingest.accept(Batch.of([0, 1], now_ms(), [7.0, 8.0]))
        await ingest.close()

    asyncio.run(told())
    assert ingest.quarantine.counts == {"too_many_points": 1}
    assert registry.in_use.total() == 10
    with pytest.raises(TooManyPoints):
        upkeep.readmit(Selection("R001/*", retired=True), now_ms())


def test_readings_go_with_the_point_where_that_is_asked_for_whatever_table_they_lie_in(
    upkeep, registry, store
):
    now = now_ms()
    store.write(
        Batch.of(np.repeat([0, 1], 120), np.tile(now - 3 * HOUR + np.arange(120) * 30_000, 2), np.ones(240))
    )
    store.maintain(now)  # sealed, and rolled up
    store.write(Batch.of([0, 1], [now, now], [6.0, 6.0]))  # not yet
    done = upkeep.retire(Selection("R000/*"), False, True, now)
    assert done["retired"] == 1
    assert done["readings_removed"] > 122
    rows = everything(store)
    assert 0 not in rows.point
    assert (rows.point == 1).sum() == 122
    for tier in TIERS:
        assert set(store.read_tier(tier, all_points(), 0, now).point.tolist()) >= {1}
        assert 0 not in store.read_tier(tier, all_points(), 0, now).point
    store.maintain(now + 2 * MINUTE)
    assert 0 not in store.read_tier("minute", all_points(), 0, now + 2 * MINUTE).point
    assert store.latest(all_points(2)).point.tolist() == [1]
    store.write(Batch.of([0], [now - 3 * HOUR], [9.0]))  # and the same reading told again is stored anew
    assert everything(store).value[0] == 9.0


def test_all_points_are_not_retired_by_a_word_that_was_forgotten(upkeep):
    with pytest.raises(InputError, match="say which points"):
        upkeep.retire(Selection(), False, False, now_ms())


def test_many_retired_points_cost_a_commit_nothing(registry):
    many = PointRegistry(point(n, "x:y") for n in range(20_000))
    for n in range(0, 20_000, 2):
        many.retire(n, Retired.REFUSED)
    some = np.array([-1, 0, 1, 19_998, 19_999, 20_000, 1 << 30], np.int32)
    assert many.are_retired(some).tolist() == [False, True, False, True, False, False, False]
    many.retire(0, None)
    assert not many.are_retired(np.array([0], np.int32))[0]
