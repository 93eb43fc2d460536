"""What waits and cannot be stored, or cannot be read back, is set aside: the rest goes on."""

import asyncio
from dataclasses import replace

import numpy as np
import orjson
import pytest

from domain.batch import Batch, now_ms
from domain.errors import SpoolFull
from domain.points import Point, PointRegistry, Retired
from storage.ingest import Ingest
from storage.quarantine import Quarantine
from storage.reading_spool import ReadingSpool
from tests.unit.storage.conftest import everything, until


async def test_a_part_that_can_never_be_stored_is_set_aside_and_its_neighbours_are_stored(
    make_ingest, store, tmp_path
):
    ingest = make_ingest()
    store.away = True
    now = now_ms()
    for n in range(20):
        await ingest.accept(Batch.of([n % 10, 3], [now + n, now + n], [n, 666 if n in (7, 16) else n]))
    store.away, store.poison = False, frozenset([666.0])
    running = asyncio.create_task(ingest.run(upkeep=False))
    await until(lambda: len(ingest.spool) == 0)
    assert ingest.counters.set_aside == 2
    assert ingest.quarantine.counts == {"not_storable": 2}
    assert len(everything(store)) == 38 - 2  # n = 3 and 13 told point 3 twice at one time
    aside = (tmp_path / "spool" / "aside" / "not-storable.jsonl").read_bytes().splitlines()
    assert [orjson.loads(line)["value"] for line in aside] == [666, 666]
    running.cancel()
    await ingest.close()


async def test_a_live_batch_with_a_row_that_cannot_be_stored_stops_nobody(make_ingest, store):
    ingest = make_ingest()
    store.poison = frozenset([666.0])
    now = now_ms()
    await asyncio.gather(*(ingest.accept(Batch.of([n], now, [666.0 if n == 4 else n])) for n in range(10)))
    assert not ingest.store_away
    await ingest.accept(Batch.of([1], now + 1, [11.0]))
    assert everything(store).value.tolist() == [11.0]  # the next commit went to the store
    running = asyncio.create_task(ingest.run(upkeep=False))
    await until(lambda: len(ingest.spool) == 0)
    assert sorted(everything(store).value.tolist()) == [0, 1, 2, 3, 5, 6, 7, 8, 9, 11]
    assert (ingest.counters.set_aside, ingest.counters.failed) == (1, 0)
    running.cancel()
    await ingest.close()


async def test_a_part_of_which_nothing_goes_waits_until_others_are_stored(make_ingest, store):
    """The store may be at fault: only its taking others shows that the rows are."""
    ingest = make_ingest()
    store.poison = frozenset([666.0])
    now = now_ms()
    await ingest.accept(Batch.of([1], now, [666.0]))
    for _ in range(10):
        ingest._drain_after = 0
        assert not ingest._drain_part()
    assert ingest.spool.rows == 1
    for n in range(5):
        await ingest.accept(Batch.of([2], now + n, [n]))
        ingest._drain_after = 0
        ingest._drain_part()
    assert (ingest.spool.rows, ingest.counters.set_aside) == (0, 1)
    await ingest.close()


async def test_a_point_that_the_store_refuses_keeps_no_other_point_out(make_ingest, store, registry):
    ingest = make_ingest()
    store.poison = frozenset(["bad"])
    bad = registry.register(Point("bad", "Rack", "RackPower", "bad", unit="W"))
    await ingest.accept(Batch.of([bad, 1], now_ms(), [1.0, 2.0]))
    assert everything(store, 11).value.tolist() == [2.0]
    assert ingest.quarantine.counts == {"point_not_storable": 1}
    assert len(store.load_points()) == 10
    await ingest.close()


def filled(folder, registry, rows=3) -> ReadingSpool:
    spool = ReadingSpool(folder, registry, 1 << 24)
    for n in range(rows):
        spool.append(Batch.of([n], now_ms(), [float(n)]))
    spool.close()
    return spool


@pytest.mark.parametrize(
    "line",
    [
        b"{",
        b"\x00",
        b"[1]",
        b"{}",
        b"[" * 5000,
        b'{"key": 7}',
        b'{"key":"a","nonsense":1}',
        "\u00e9".encode("utf-16"),
    ],
    ids=range(8),
)
def test_a_damaged_line_of_the_points_is_set_aside_with_its_readings_and_the_start_goes_on(
    tmp_path, registry, line
):
    filled(tmp_path, registry)
    lines = (tmp_path / "points.jsonl").read_bytes().splitlines()
    lines[1] = line
    (tmp_path / "points.jsonl").write_bytes(b"\n".join(lines) + b"\n")
    spool = ReadingSpool(tmp_path, PointRegistry(), 1 << 24)
    taken, rows = spool.peek(1000)
    assert rows is not None
    assert rows.value.tolist() == [0.0, 2.0]
    spool.peek(1000)
    assert spool.unreadable == 1
    assert {f.name for f in (tmp_path / "aside").iterdir()} == {"points.damaged", "records.unreadable"}
    spool.done(taken)
    assert (len(spool), spool.rows) == (0, 0)


def test_a_record_that_holds_no_readings_is_set_aside(tmp_path, registry):
    spool = filled(tmp_path, registry)
    spool._spool.append(b"", b"short", b"\xff" * 40)
    again = ReadingSpool(tmp_path, registry, 1 << 24)
    _, rows = again.peek(1000)
    assert rows is not None
    assert rows.value.tolist() == [0.0, 1.0, 2.0]
    assert again.unreadable >= 3


def test_the_list_of_points_does_not_grow_with_restarts_or_changed_metadata(tmp_path, registry):
    filled(tmp_path, registry, rows=10)
    size = (tmp_path / "points.jsonl").stat().st_size
    for n in range(5):
        registry.register(replace(registry[3], object_name=f"moved {n}"))
        filled(tmp_path, registry, rows=10)
    assert (tmp_path / "points.jsonl").stat().st_size == size
    spool = ReadingSpool(tmp_path, registry, 1 << 24)
    while True:
        taken, _ = spool.peek(1000)
        if not taken:
            break
        spool.done(taken)
    assert not (tmp_path / "points.jsonl").exists()


async def test_readings_of_a_refused_point_stay_out_and_bring_a_gone_one_back(make_ingest, store, registry):
    ingest = make_ingest()
    registry.retire(1, Retired.REFUSED)
    registry.retire(2, Retired.GONE)
    await ingest.accept(Batch.of([0, 1, 2], now_ms(), [0.0, 1.0, 2.0]))
    assert everything(store).value.tolist() == [0.0, 2.0]
    assert ingest.quarantine.counts == {"refused_point": 1}
    assert [bool(registry[n].retired) for n in range(3)] == [False, True, False]
    await ingest.close()


def test_a_full_disk_leaves_no_half_line_of_points(tmp_path, registry):
    spool = ReadingSpool(tmp_path, registry, 1 << 24)
    spool._points_file = tmp_path / "full"
    (tmp_path / "full").symlink_to("/dev/full")
    with pytest.raises(SpoolFull, match="No space left"):
        spool.append(Batch.of(np.arange(1, 10, dtype=np.int32), now_ms(), np.zeros(9)))
    spool._points_file = tmp_path / "points.jsonl"
    spool.append(Batch.of([0], now_ms(), [0.0]))
    assert ReadingSpool(tmp_path, registry, 1 << 24).peek(1000)[1].value.tolist() == [0.0]


def test_an_ingest_starts_whatever_lies_in_its_spool(tmp_path, registry, store):
    folder = tmp_path / "spool"
    folder.mkdir()
    (folder / "points.jsonl").write_bytes(b"\x00\xff{\n\n[]\n")
    (folder / "position").write_bytes(b"\x00" * 5000)
    (folder / "000000000001.spool").write_bytes(b"HWsp" * 3000)
    (folder / "000000000002.spool").mkdir()
    ingest = Ingest(registry, store, ReadingSpool(folder, registry, 1 << 24), Quarantine(None))
    assert len(ingest.spool) == 0
