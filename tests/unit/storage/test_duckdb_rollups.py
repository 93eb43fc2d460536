"""Rollups of the embedded store: a function of the readings, whatever the order in which they came."""

import threading
import time

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from domain.batch import Batch, now_ms
from storage import duckdb_tables
from storage.duckdb_store import DuckDBStore
from storage.settings import DAY, HOUR, MINUTE, QUARTER, DuckDBSettings, Retention, StorageSettings
from storage.steps import combine, roll
from storage.telemetry import Aggregate
from storage.tiers import TIERS, TieredStore

HOUR0 = now_ms() // HOUR * HOUR
START, END = HOUR0 - 2 * HOUR, HOUR0 + 2 * HOUR
POINTS = np.arange(3, dtype=np.int32)

rows = st.lists(
    st.tuples(
        st.integers(0, 2),
        st.integers(0, (END - START) // 20_000 - 1).map(lambda n: START + n * 20_000),
        st.integers(-100, 100),
        st.sampled_from([1, 1, 1, 1, 0]),
    ),
    min_size=1,
    max_size=60,
    unique_by=lambda r: (r[0], r[1]),
)


def batch_of(rows) -> Batch:
    return Batch.of(*([r[i] for r in rows] for i in range(4)))


@pytest.fixture(autouse=True, scope="module")
def opened_in_that_hour():
    """A store begins its rollups in the hour in which it is made: let that be HOUR0, whatever the clock has done since."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("storage.duckdb_store.now_ms", lambda: HOUR0 + MINUTE)
        yield


def new_store(folder, **duckdb) -> DuckDBStore:
    return DuckDBStore(folder / "t.duckdb", StorageSettings(path=folder, duckdb=DuckDBSettings(**duckdb)))


def assert_tiers_are_those_of(store: DuckDBStore, readings: Batch) -> None:
    ordered = readings.take(np.lexsort((readings.observed, readings.point)).astype(np.int32))
    made = roll(ordered, START, END, MINUTE, store.max_gap)
    for name, step in TIERS.items():
        made = made if step == MINUTE else combine(made, step)
        kept = store.read_tier(name, POINTS, START, END)
        for column in ("point", "start", "count", "held"):
            assert getattr(kept, column).tolist() == getattr(made, column).tolist(), f"{name}.{column}"
        for column in ("minimum", "maximum", "last", "mean", "weighted"):
            assert getattr(kept, column) == pytest.approx(getattr(made, column), nan_ok=True), (
                f"{name}.{column}"
            )


@settings(
    max_examples=25,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(rows=rows, data=st.data())
def test_any_order_duplication_and_lateness_gives_the_tiers_of_the_sorted_stream(
    rows, data, tmp_path_factory
):
    arrivals = data.draw(st.permutations(rows + data.draw(st.lists(st.sampled_from(rows), max_size=20))))
    cuts = sorted(data.draw(st.lists(st.integers(0, len(arrivals)), max_size=6)))
    upkeep = data.draw(st.lists(st.integers(START, END), min_size=len(cuts), max_size=len(cuts)).map(sorted))
    store = new_store(tmp_path_factory.mktemp("store"), seal_rows=1000, seal_after_s=1e-6)
    store.points_at_once = data.draw(st.sampled_from([1, 2, 20_000]))
    at = 0
    for cut, now in zip(cuts, upkeep, strict=True):
        if at < cut:
            store.write(batch_of(arrivals[at:cut]))
        store.maintain(now)
        at = max(at, cut)
    if at < len(arrivals):
        store.write(batch_of(arrivals[at:]))
    store.maintain(END + MINUTE)
    assert_tiers_are_those_of(store, batch_of(rows))
    assert len(store.read(POINTS, START, END)) == len(rows)
    store.close()


def test_corrected_values_correct_the_rollups(tmp_path):
    store = new_store(tmp_path, seal_rows=1000, seal_after_s=1e-6)
    times = np.arange(START, END, 30_000)
    store.write(Batch.of(np.zeros(len(times)), times, np.ones(len(times))))
    store.maintain(END + MINUTE)
    store.write(Batch.of([0], [START + 60_000], [50]))
    store.maintain(END + MINUTE)
    readings = store.read(POINTS, START, END)
    assert len(readings) == len(times)
    assert_tiers_are_those_of(store, readings)
    store.close()


def test_the_corrected_newest_value_is_the_newest_after_opening_again(tmp_path):
    store = new_store(tmp_path, seal_rows=1000, seal_after_s=1e-6)
    store.write(Batch.of([0, 1], [START, START], [1, 2]))
    assert store.maintain(HOUR0 + MINUTE)["sealed"] > 0
    store.write(Batch.of([0], [START], [50]))
    store.close()
    store = new_store(tmp_path)
    assert store.latest(POINTS).value.tolist() == [50, 2]
    store.close()


def test_a_write_and_a_read_wait_for_no_rollup(tmp_path, monkeypatch):
    store = new_store(tmp_path)
    store.write(Batch.of([0], [HOUR0 + MINUTE], [1]))
    begun, go_on, read = threading.Event(), threading.Event(), store.read

    def read_slowly(*question):
        begun.set()
        assert go_on.wait(60)
        return read(*question)

    monkeypatch.setattr(store, "read", read_slowly)
    upkeep = threading.Thread(target=store.maintain, args=(HOUR0 + 5 * MINUTE,))
    upkeep.start()
    assert begun.wait(60)
    store.write(Batch.of([0], [HOUR0 + 2 * MINUTE], [2]))  # late by now: it is rolled up again
    assert read(POINTS, HOUR0, END).value.tolist() == [1, 2]
    go_on.set()
    upkeep.join()
    monkeypatch.undo()
    store.maintain(END + MINUTE)
    assert_tiers_are_those_of(store, store.read(POINTS, START, END))
    store.close()


def test_rollups_go_on_after_the_service_stood_still_for_days(tmp_path):
    store = new_store(tmp_path)
    store.write(Batch.of([0], [HOUR0 + MINUTE], [1]))
    assert store.maintain(HOUR0 + 5 * MINUTE)["rolled"] > 0
    later = HOUR0 + 3 * DAY
    store.write(Batch.of([0], [later], [2]))
    store.maintain(later + 2 * HOUR)
    grid = store.aggregate(POINTS, HOUR0, later + HOUR, HOUR, Aggregate.COUNT)
    assert np.nansum(grid.values) == 2
    assert store.rolled_until > later
    store.close()


def test_retention_drops_whole_partitions_and_keeps_the_tiers(tmp_path):
    settings = StorageSettings(
        path=tmp_path,
        retention=Retention(raw_hours=48),
        duckdb=DuckDBSettings(seal_rows=1000, seal_after_s=1e-6),
    )
    store = DuckDBStore(tmp_path / "t.duckdb", settings)
    old = HOUR0 - 5 * DAY
    store.write(Batch.of(np.zeros(8), old + np.arange(8) * QUARTER, np.arange(8)))
    store.write(Batch.of([0], [HOUR0], [5]))
    dropped = [store.maintain(HOUR0 + HOUR)["dropped"] for _ in range(2)]
    assert sum(dropped) > 0
    assert len(store.read(POINTS, old, old + DAY)) == 0
    grid = store.aggregate(POINTS[:1], old, old + 2 * HOUR, QUARTER, Aggregate.LAST)
    assert grid.values[0].tolist() == list(range(8))
    assert len(store.read(POINTS, HOUR0, HOUR0 + 1)) == 1
    assert store.raw_from > old
    store.close()


def test_a_partial_import_of_old_readings_does_not_replace_fuller_rollups(tmp_path):
    store = new_store(tmp_path, seal_rows=1000, seal_after_s=1e-6)
    old = HOUR0 - 5 * DAY
    store.write(Batch.of(np.zeros(60), old + np.arange(60) * MINUTE, np.ones(60)))
    for _ in range(2):
        store.maintain(HOUR0 + HOUR)
    assert len(store.read(POINTS, old, old + HOUR)) == 0, "the readings are past their retention"
    store.write(Batch.of([0], [old + 30 * MINUTE], [999]))
    store.maintain(HOUR0 + HOUR)
    hour = store.aggregate(POINTS[:1], old, old + HOUR, HOUR, Aggregate.COUNT)
    assert hour.values.tolist() == [[60]]
    store.close()


def test_rows_are_sorted_into_partitions_and_stay_readable(tmp_path):
    store = new_store(tmp_path, seal_rows=1000, seal_after_s=1e-6)
    times = np.arange(HOUR0 - 20 * HOUR, HOUR0, MINUTE)
    for point in range(3):
        store.write(Batch.of(np.full(len(times), point), times, np.arange(len(times)) + point))
    before = store.read(POINTS, 0, END)
    assert store.maintain(HOUR0 + MINUTE)["sealed"] > 0
    after = store.read(POINTS, 0, END)
    for column in ("point", "observed", "value", "quality"):
        assert getattr(before, column).tolist() == getattr(after, column).tolist()
    assert store.write(before).duplicate == len(before)
    store.close()


def test_newest_values_are_known_after_opening_whether_sealed_or_not(tmp_path):
    store = new_store(tmp_path, seal_rows=1000, seal_after_s=1e-6)
    store.write(Batch.of([0, 1], HOUR0, [1, 2]))
    store.maintain(HOUR0 + HOUR)
    store.write(Batch.of([1, 2], HOUR0 + 1000, [3, 4]))
    store.close()
    again = new_store(tmp_path)
    assert again.latest(POINTS).value.tolist() == [1, 3, 4]
    assert again.write(Batch.of([0, 1, 2], [HOUR0, HOUR0 + 1000, HOUR0 + 1000], [1, 3, 4])).duplicate == 3
    again.close()


def test_a_file_that_another_process_holds_is_told_so(tmp_path):
    import subprocess
    import sys

    from domain.errors import StorageError

    store = new_store(tmp_path)
    code = (
        "import sys; from pathlib import Path; from storage.duckdb_store import DuckDBStore; "
        "from domain.errors import StoreUnavailable\n"
        "try: DuckDBStore(Path(sys.argv[1]))\n"
        "except StoreUnavailable as e: print('told', e)"
    )
    told = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "t.duckdb")], capture_output=True, text=True, check=False
    )
    assert "one process" in told.stdout, told.stderr
    store.close()
    (tmp_path / "broken.duckdb").write_bytes(b"this is no database" * 1000)
    with pytest.raises(StorageError, match=r"cannot be opened|one process"):
        DuckDBStore(tmp_path / "broken.duckdb")


@pytest.mark.parametrize("how", Aggregate)
@pytest.mark.parametrize("step", [MINUTE, 5 * MINUTE, QUARTER, HOUR, 2 * HOUR])
def test_aggregates_made_by_sql_equal_those_made_of_whole_rows(tmp_path, how, step):
    store = new_store(tmp_path)
    rng = np.random.default_rng(3)
    for point in range(3):
        times = np.unique(rng.integers(START // 1000, END // 1000, 400)) * 1000
        quality = rng.choice([1, 1, 1, 0], len(times))
        store.write(Batch.of(np.full(len(times), point), times, rng.integers(-9, 9, len(times)), quality))
    store.maintain(END + HOUR)
    name = [n for n, s in TIERS.items() if step % s == 0][-1]
    point, cell, value = store._tier_cells(name, POINTS, START, END, step, how)
    order = np.lexsort((cell, point))
    expected = TieredStore._tier_cells(store, name, POINTS, START, END, step, how)
    assert point[order].tolist() == expected[0].tolist()
    assert cell[order].tolist() == expected[1].tolist()
    assert value[order] == pytest.approx(expected[2], nan_ok=True)
    sums = store.total(POINTS, START, END, step).values[0]
    parts = store.aggregate(POINTS, START, END, step, Aggregate.TIME_WEIGHTED).values
    assert sums == pytest.approx(parts.sum(axis=0), nan_ok=True)
    store.close()


def test_the_file_stays_bounded_while_partitions_come_and_go(tmp_path):
    settings = StorageSettings(
        path=tmp_path,
        retention=Retention(raw_hours=12, minute_days=1, quarter_days=2, hour_days=3),
        duckdb=DuckDBSettings(seal_rows=1000, seal_after_s=1e-6),
    )
    store = DuckDBStore(tmp_path / "t.duckdb", settings)
    points = np.arange(300, dtype=np.int32)
    rng = np.random.default_rng(0)
    sizes = []
    for hour in range(0, 24 * 7, 4):
        start = HOUR0 + hour * HOUR
        times = np.arange(start, start + 4 * HOUR, 10 * MINUTE)
        batch = Batch.of(
            np.tile(points, len(times)), np.repeat(times, len(points)), rng.random(len(points) * len(times))
        )
        store.write(batch)
        store.maintain(start + 4 * HOUR + MINUTE)
        sizes.append(store.path.stat().st_size)
    assert max(sizes[-12:]) < 1.5 * max(sizes[12:24])
    assert len(store.read(points[:1], HOUR0, HOUR0 + DAY)) == 0
    store.close()


def test_who_reads_while_a_table_is_sealed_waits_until_it_is_told_what_is_there_now(store, monkeypatch):
    dropped, layout = threading.Event(), duckdb_tables.Layout

    def held_up(hot, parts):  # after the transaction, as on a busy machine
        if len(hot) == 1:
            dropped.set()
            time.sleep(0.3)
        return layout(hot, parts)

    store.write(Batch.of([0], [HOUR0], [1]))
    monkeypatch.setattr(duckdb_tables, "Layout", held_up)
    sealing = threading.Thread(target=store.maintain, args=(HOUR0 + MINUTE,))
    sealing.start()
    assert dropped.wait(60)
    found = store.read(np.array([0], np.int32), 0, 1 << 60)
    sealing.join()
    assert found.value.tolist() == [1]
