"""Ingest: what `accept` promises."""

import asyncio
import logging
import time
from dataclasses import replace

import numpy as np
import pytest

from domain.batch import Batch, now_ms
from domain.errors import InputError, SpoolFull
from domain.points import Point, PointRegistry
from storage.reading_spool import ReadingSpool
from storage.settings import DAY, HOUR, IngestSettings
from tests.unit.storage.conftest import QUICK, everything, until


async def test_a_reading_is_in_the_store_when_accept_returns(make_ingest, store):
    ingest = make_ingest()
    await ingest.accept(Batch.of([1, 2], now_ms(), [5.5, 6.5]))
    assert everything(store).value.tolist() == [5.5, 6.5]
    assert ingest.latest.value[[1, 2]].tolist() == [5.5, 6.5]
    await ingest.close()


async def test_points_are_kept_before_their_readings_and_again_when_they_change(make_ingest, store, registry):
    ingest = make_ingest()
    await ingest.accept(Batch.of([0], now_ms(), [1]))
    assert store.load_points() == list(registry)
    index = registry.register(Point("CRAH/FanSpeed/x", "CRAH", "FanSpeed", "x", unit="1"))
    registry.register(replace(registry[registry.index("Rack/RackPower/R003")], object_name="moved"))
    await ingest.accept(Batch.of([index], now_ms(), [0.5]))
    assert store.load_points() == list(registry)
    await ingest.close()


async def test_batches_that_arrive_together_share_a_commit(make_ingest):
    ingest = make_ingest(IngestSettings(commit_interval_ms=50))
    now = now_ms()
    await asyncio.gather(*(ingest.accept(Batch.of([i % 10], now + i, [i])) for i in range(100)))
    assert ingest.counters.batches == 100
    assert ingest.counters.commits <= 3
    assert ingest.counters.stored == 100
    await ingest.close()


async def test_every_reading_is_accounted_for(make_ingest):
    ingest = make_ingest()
    now = now_ms()
    await ingest.accept(Batch.of([0, 1, 2], now, [1, 2, 3]))
    await ingest.accept(Batch.of([0, 1, 99], now, [1, 5, 3]))
    c = ingest.counters
    assert (c.received, c.stored, c.duplicate, c.quarantined) == (6, 4, 1, 1)
    assert c.received == c.stored + c.duplicate + c.quarantined + c.spooled
    await ingest.close()


@pytest.mark.parametrize(
    ("reason", "point", "ahead", "value"),
    [
        ("unknown_point", 10, 0, 1.0),
        ("unknown_point", -1, 0, 1.0),
        ("not_finite", 1, 0, float("nan")),
        ("not_finite", 1, 0, float("inf")),
        ("future", 1, 301_000, 1.0),
        ("past", 1, -400 * DAY - HOUR, 1.0),
    ],
)
async def test_what_cannot_be_believed_is_quarantined_and_its_neighbours_stored(
    make_ingest, store, reason, point, ahead, value
):
    ingest = make_ingest(QUICK.model_copy(update={"ahead": "quarantine"}))
    now = now_ms()
    await ingest.accept(Batch.of([0, point, 2], [now, now + ahead, now], [7, value, 8]))
    assert everything(store).value.tolist() == [7, 8]
    assert ingest.quarantine.counts == {reason: 1}
    entry = ingest.quarantine.recent[-1]
    assert entry["reason"] == reason
    assert entry["observed"] == now + ahead
    assert np.isnan(ingest.latest.value[1])
    await ingest.close()


async def test_a_reading_a_little_ahead_or_long_ago_is_stored(make_ingest, store):
    ingest = make_ingest()
    now = now_ms()
    await ingest.accept(Batch.of([0, 0], [now + 200_000, now - 300 * DAY], [1, 2]))
    assert len(everything(store)) == 2
    await ingest.close()


async def test_a_batch_with_uneven_columns_is_refused_alone(make_ingest, store):
    ingest = make_ingest()
    bad = Batch(np.zeros(2, np.int32), np.zeros(1, np.int64), np.zeros(2), np.zeros(2, np.uint8), 0)
    good = ingest.accept(Batch.of([0], now_ms(), [1]))
    with pytest.raises(InputError, match="columns"):
        await asyncio.gather(good, ingest.accept(bad))
    await until(lambda: ingest.counters.stored == 1)
    await ingest.close()


async def test_accept_makes_its_callers_wait_while_too_much_is_pending(make_ingest):
    ingest = make_ingest(IngestSettings(commit_interval_ms=20, max_pending_rows=1000))
    now = now_ms()
    calls = [
        asyncio.create_task(
            ingest.accept(Batch.of(np.zeros(600, np.int32), now + np.arange(600) + i * 600, np.ones(600)))
        )
        for i in range(20)
    ]
    highest = 0
    while not all(c.done() for c in calls):
        highest = max(highest, ingest.pending_rows)
        await asyncio.sleep(0.001)
    assert highest <= 1000 + 600
    assert ingest.counters.stored == 12_000
    await ingest.close()


async def test_while_the_store_is_away_readings_are_durable_in_the_spool(
    make_ingest, store, tmp_path, registry
):
    ingest = make_ingest()
    store.away = True
    now = now_ms()
    await ingest.accept(Batch.of([1, 2], now, [5, 6]))
    assert ingest.counters.spooled == 2
    assert ingest.store_away
    # as another process would find them after a kill -9
    _, found = ReadingSpool(tmp_path / "spool", registry, 1 << 24).peek(1_000_000)
    assert found is not None
    assert found.value.tolist() == [5, 6]
    assert ingest.latest.value[1] == 5
    await ingest.close()


async def test_when_the_store_is_back_the_spool_drains_in_order_beside_live_readings(make_ingest, store):
    ingest = make_ingest()
    run = asyncio.create_task(ingest.run())
    store.away = True
    now = now_ms()
    for i in range(30):
        await ingest.accept(Batch.of([i % 10], now + i, [i]))
    assert ingest.counters.spooled == 30
    store.away = False
    await asyncio.sleep(0.03)
    await ingest.accept(Batch.of([0], now + 100, [100]))
    await until(lambda: ingest.counters.drained == 30)
    assert [v for v in store.written if v < 100] == list(range(30))
    assert sorted(everything(store).value.tolist()) == [*range(30), 100]
    assert len(ingest.spool) == 0
    run.cancel()
    await ingest.close()


async def test_live_readings_are_not_starved_by_a_large_spool(make_ingest, store):
    ingest = make_ingest(spool_bytes=1 << 26)
    store.away = True
    now = now_ms()
    times = np.repeat(np.arange(10_000), 10)
    for i in range(8):
        past = now - 1_000_000 + i * 10_000
        await ingest.accept(Batch.of(np.tile(np.arange(10), 10_000), past + times, np.ones(100_000)))
    store.away = False
    run = asyncio.create_task(ingest.run())
    await until(lambda: ingest.counters.drained > 0)
    await ingest.accept(Batch.of([0], now, [7]))
    assert len(ingest.spool) > 0, "the live reading waited for the whole spool"
    await until(lambda: ingest.counters.drained == 800_000)
    run.cancel()
    await ingest.close()


async def test_a_slow_store_gets_the_spool_in_small_parts(make_ingest, store, monkeypatch):
    ingest = make_ingest(spool_bytes=1 << 26)
    store.away = True
    now, write, parts = now_ms(), store.write, []
    for i in range(60):
        await ingest.accept(
            Batch.of(np.zeros(1000, np.int32), now + i * 1000 + np.arange(1000), np.ones(1000))
        )

    def slow(batch):
        parts.append(len(batch))
        time.sleep(len(batch) / 20_000)
        return write(batch)

    monkeypatch.setattr(store, "write", slow)
    store.away = False
    run = asyncio.create_task(ingest.run())
    await until(lambda: ingest.counters.drained == 60_000)
    run.cancel()
    assert max(parts) <= 7000, "a live commit would wait for much longer than DRAIN_S"
    await ingest.close()


async def test_a_spool_of_an_earlier_run_is_drained_under_the_new_indexes(
    make_ingest, store, tmp_path, registry
):
    ingest = make_ingest()
    store.away = True
    now = now_ms()
    await ingest.accept(Batch.of([7], now, [77]))
    await ingest.close()
    store.away = False
    other = PointRegistry([Point("New/First/x", "New", "First", "x")])
    spool = ReadingSpool(tmp_path / "spool", other, 1 << 24)
    _, found = spool.peek(1_000_000)
    assert found is not None
    assert other[int(found.point[0])] == registry[7]


async def test_a_full_spool_drops_the_oldest_readings_and_says_how_many(make_ingest, store):
    ingest = make_ingest(spool_bytes=200_000)
    store.away = True
    now = now_ms()
    for i in range(40):
        await ingest.accept(
            Batch.of(np.zeros(500, np.int32), now + i * 500 + np.arange(500), np.full(500, i))
        )
    c = ingest.counters
    assert c.spooled == 20_000
    assert c.dropped == 20_000 - ingest.spool.rows > 0
    store.away = False
    run = asyncio.create_task(ingest.run())
    await until(lambda: ingest.counters.drained == 20_000 - c.dropped)
    assert everything(store).observed.max() == now + 20_000 - 1, "the newest were kept"
    run.cancel()
    await ingest.close()


async def test_when_not_even_the_spool_takes_readings_the_source_is_told(make_ingest, store, caplog):
    ingest = make_ingest(spool_bytes=5000)
    store.away = True
    with caplog.at_level(logging.CRITICAL), pytest.raises(SpoolFull):
        await ingest.accept(Batch.of(np.zeros(2000, np.int32), now_ms() + np.arange(2000), np.ones(2000)))
    assert ingest.counters.failed == 2000
    store.away = False
    await asyncio.sleep(0.03)
    await ingest.accept(Batch.of([0], now_ms(), [1]))
    assert ingest.counters.stored == 1
    await ingest.close()


async def test_a_caller_that_gives_up_disturbs_nobody(make_ingest, store):
    ingest = make_ingest(IngestSettings(commit_interval_ms=30))
    impatient = asyncio.create_task(ingest.accept(Batch.of([0], now_ms(), [1])))
    patient = asyncio.create_task(ingest.accept(Batch.of([1], now_ms(), [2])))
    await asyncio.sleep(0)
    impatient.cancel()
    await patient
    assert len(everything(store)) == 2
    await ingest.close()


async def test_upkeep_runs_beside(make_ingest, store):
    ingest = make_ingest()
    run = asyncio.create_task(ingest.run())
    hour = now_ms() // HOUR * HOUR - 2 * HOUR
    await ingest.accept(Batch.of([0, 0], [hour, hour + 60_000], [1, 2]))
    await until(lambda: len(store.read_tier("hour", np.array([0], np.int32), hour, hour + HOUR)) == 1)
    run.cancel()
    await ingest.close()


async def test_what_cannot_be_is_kept_as_bad_and_told_with_its_reason(make_ingest, store, registry):
    ingest = make_ingest()
    power = registry.index("Rack/RackPower/R003")
    now = now_ms()
    await ingest.accept(Batch.of([power, power], [now, now + 1], [90e9, 70e3]))
    assert everything(store).quality.tolist() == [0, 1]
    assert ingest.counters.impossible == 1
    assert ingest.counters.stored == 2
    (entry,) = [e for e in ingest.quarantine.recent if e["reason"] == "impossible"]
    assert entry["detail"].startswith("90000 MW cannot be: RackPower of a Rack lies within")
    await ingest.close()


async def test_a_point_whose_unit_comes_later_is_judged_by_it(make_ingest, registry):
    ingest = make_ingest()
    index = registry.register(Point("x", "Sensor", "GenericPoint", "x", unit="W"))
    await ingest.accept(Batch.of([index], now_ms(), [-273.0]))
    assert ingest.latest.quality[index] == 1
    registry.register(Point("x", "Sensor", "GenericPoint", "x", unit="Cel"))
    await ingest.accept(Batch.of([index], now_ms() + 1, [-273.0]))
    assert ingest.latest.quality[index] == 0
    await ingest.close()


async def test_what_cannot_be_stays_late_where_it_is(make_ingest, registry):
    ingest = make_ingest()
    power = registry.index("Rack/RackPower/R003")
    batch = replace(Batch.of([power], now_ms(), [90e9]), late=np.array([True]))
    judged = ingest.plausibility.marked(batch, ingest.plausibility.impossible(batch))
    assert judged.quality.tolist() == [0]
    assert judged.late is not None
    assert judged.late.tolist() == [True]
    await ingest.close()


async def test_a_reading_on_which_our_own_code_fails_costs_itself_alone(make_ingest, store, monkeypatch):
    ingest = make_ingest()
    judge = ingest.plausibility.impossible

    def fails(batch):
        if 666.0 in batch.value:
            raise OverflowError("x" * 10_000)
        return judge(batch)

    monkeypatch.setattr(ingest.plausibility, "impossible", fails)
    now = now_ms()
    await asyncio.wait_for(
        ingest.accept(Batch.of(np.arange(1000) % 10, now + np.arange(1000), np.arange(1000.0))), 60
    )
    assert sorted(everything(store).value.tolist()) == [v for v in range(1000) if v != 666]
    assert ingest.quarantine.counts == {"unforeseen": 1}
    assert len(ingest.quarantine.recent[-1]["detail"]) < 300
    c = ingest.counters
    assert (c.received, c.stored, c.quarantined, c.failed) == (1000, 999, 1, 0)
    await ingest.close()


async def test_where_it_fails_on_all_of_them_their_source_is_told(make_ingest, monkeypatch):
    ingest = make_ingest()

    def fails(batch):
        raise OverflowError

    monkeypatch.setattr(ingest.plausibility, "impossible", fails)
    with pytest.raises(OverflowError):
        await ingest.accept(Batch.of(np.arange(1000) % 10, now_ms() + np.arange(1000), np.ones(1000)))
    await ingest.close()


@pytest.mark.parametrize("follows", [True, False], ids=["the source has our clock", "the source has its own"])
@pytest.mark.parametrize("step", [-3_600_000, -240_000, 3_600_000])
async def test_our_own_clock_being_set_hides_no_news(make_ingest, registry, step, follows):
    """A leak is told on change, and must not wait until the time of what is known has come again."""
    ingest = make_ingest()
    source = {"source": "dsx:bms"}
    leak = registry.register(
        Point(
            "Rack/RackLeakDetect/a",
            "Rack",
            "RackLeakDetect",
            "R001",
            state_text=((0, "No"), (1, "Leak")),
            **source,
        )
    )
    for i in range(10):
        registry.register(replace(registry[i], **source))
    begun, ours = now_ms(), 0
    ingest._clock = lambda: ours
    for second in range(0, 60, 2):
        true = begun + second * 1000
        ours = true if second < 20 else true + step
        told = ours if follows else true
        points = [*range(10), leak] if second in (0, 40) else list(range(10))
        values = [50e3 + second] * 10 + [float(second >= 40)]
        await ingest.accept(Batch.of(points, told, values[: len(points)], received=ours))
    assert ingest.latest.value[leak] == 1
    assert ingest.latest.value[0] == 50e3 + 58
    assert ours - 3000 <= ingest.latest.at(np.array([0], np.int32)).seen[0] <= ours
    await ingest.close()
