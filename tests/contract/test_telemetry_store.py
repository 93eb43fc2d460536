"""What every telemetry store does; run on DuckDB and on a real InfluxDB.

``tests/contract/run_against.sh URL TOKEN`` runs it against any InfluxDB.
"""

import os
import secrets
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest

from domain.batch import Batch, now_ms
from domain.points import Point, PointRegistry, Quality
from storage.open import open_store
from storage.settings import DAY, HOUR, MINUTE, QUARTER, InfluxSettings, StorageSettings, StoreKind
from storage.telemetry import Aggregate, TelemetryStore

POINTS = [
    *(Point(f"Rack/RackPower/R{i:03}", "Rack", "RackPower", f"R{i:03}", unit="W") for i in range(8)),
    Point(
        "CDU/LiquidTemperature/Pod 1, east=A/CDU\\1",
        "CDU",
        "LiquidTemperature",
        "P01 CDU=1,a",
        object_name='the "first" one',
        unit="Cel",
        serves=("R001", "R002"),
        process_area=("LiquidSupply",),
    ),
    Point("CDU/OperatingState/x", "CDU", "OperatingState", "x", state_text=((0, "off"), (1, "läuft"))),
]
# Two whole hours in the past: late for the rollups of a store opened now, and within the raw retention.
T0 = now_ms() // HOUR * HOUR - 4 * HOUR


@dataclass
class Bench:
    """A store of its own, that can be closed and opened again."""

    settings: StorageSettings
    registry: PointRegistry
    store: TelemetryStore

    def reopen(self) -> None:
        self.store.close()
        self.registry = PointRegistry()
        self.store = open_store(self.settings, self.registry)

    def write(self, point, observed, value, quality=Quality.GOOD):
        return self.store.write(Batch.of(point, observed, value, quality))

    def points(self, *index: int):
        return np.array(index, dtype=np.int32)


URL = os.environ.get("HALLWATCH_TEST_INFLUXDB_URL", "")
"""A server that runs somewhere: then none needs to be installed here."""


@pytest.fixture(
    params=[
        "duckdb",
        pytest.param(
            "influxdb", marks=[] if URL else [pytest.mark.server("influxd"), pytest.mark.server("nginx")]
        ),
    ]
)
def bench(request, tmp_path: Path, monkeypatch) -> Iterator[Bench]:
    settings = StorageSettings(path=tmp_path)
    if request.param == "influxdb":
        url, token = URL, os.environ.get("HALLWATCH_TEST_INFLUXDB_TOKEN")
        if not url:
            server = request.getfixturevalue("shared_influxdb")
            url, token = server.url, server.token
        monkeypatch.setenv("HALLWATCH_INFLUXDB_TOKEN", token or "")
        settings = StorageSettings(
            path=tmp_path,
            kind=StoreKind.INFLUXDB,
            influxdb=InfluxSettings(
                url=url,
                database=os.environ.get("HALLWATCH_TEST_INFLUXDB_DATABASE", f"test_{secrets.token_hex(4)}"),
                org=os.environ.get("HALLWATCH_TEST_INFLUXDB_ORG", "-"),
            ),
        )
    registry = PointRegistry()
    store = open_store(settings, registry)
    store.save_points([(registry.register(p), p) for p in POINTS])
    bench = Bench(settings, registry, store)
    yield bench
    bench.store.close()


def test_points_come_back_as_they_were_kept(bench):
    bench.reopen()
    assert list(bench.registry) == POINTS


def test_changed_metadata_replaces_the_old_under_the_same_index(bench):
    moved = replace(POINTS[2], object_name="moved", serves=("R005",))
    bench.store.save_points([(2, moved)])
    bench.reopen()
    assert bench.registry[2] == moved
    assert len(bench.registry) == len(POINTS)


def test_raw_readings_come_back_by_point_and_time_with_quality(bench):
    bench.write([8, 0, 0, 9], [T0 + 5, T0 + 2000, T0 + 1000, T0], [32.5, 2e6, 0.1, 1.0], [1, 0, 2, 1])
    got = bench.store.read(bench.points(0, 8, 9), T0, T0 + MINUTE)
    assert got.point.tolist() == [0, 0, 8, 9]
    assert got.observed.tolist() == [T0 + 1000, T0 + 2000, T0 + 5, T0]
    assert got.value.tolist() == [0.1, 2e6, 32.5, 1.0]
    assert got.quality.tolist() == [2, 0, 1, 1]


def test_a_range_holds_its_start_and_not_its_end(bench):
    bench.write([0, 0, 0], [T0, T0 + 10, T0 + 20], [1, 2, 3])
    assert bench.store.read(bench.points(0), T0, T0 + 20).value.tolist() == [1, 2]


def test_a_read_gives_only_the_points_asked_for(bench):
    bench.write(range(8), T0, range(8))
    assert bench.store.read(bench.points(6, 1), T0, T0 + 1).point.tolist() == [1, 6]


def test_the_same_reading_twice_changes_nothing(bench):
    rows = Batch.of([0, 1, 0], [T0, T0, T0 + 1000], [1, 2, 3])
    bench.store.write(rows)
    bench.store.write(rows)
    bench.store.write(rows.take(np.array([0], np.int32)))
    assert bench.store.read(bench.points(0, 1), T0, T0 + HOUR).value.tolist() == [1, 3, 2]


def test_the_same_reading_twice_in_one_batch_is_one_reading(bench):
    bench.write([0, 0, 1], [T0, T0, T0], [5, 5, 6])
    assert len(bench.store.read(bench.points(0, 1), T0, T0 + 1)) == 2


def test_a_corrected_value_replaces_the_old(bench):
    bench.write([0, 1, 0], [T0, T0, T0 + 1000], [1, 2, 3])
    bench.write([0], [T0], [10])
    assert bench.store.read(bench.points(0), T0, T0 + HOUR).value.tolist() == [10, 3]


def test_late_readings_land_where_they_belong(bench):
    bench.write([0], [T0 + 3000], [3])
    bench.write([0, 0], [T0 + 1000, T0 + 2000], [1, 2])
    assert bench.store.read(bench.points(0), T0, T0 + HOUR).value.tolist() == [1, 2, 3]


def test_readings_survive_closing_and_opening(bench):
    bench.write([0, 8], [T0, T0 + 1], [1.5, 2.5])
    bench.reopen()
    assert bench.store.read(bench.points(0, 8), T0, T0 + HOUR).value.tolist() == [1.5, 2.5]
    assert bench.store.latest(bench.points(8)).value.tolist() == [2.5]


def test_latest_is_the_newest_of_each_point_that_has_one(bench):
    bench.write([0, 1], [T0 + 5000, T0 + 1000], [5, 1])
    bench.write([0], [T0 + 2000], [2])
    got = bench.store.latest(bench.points(0, 1, 2))
    assert dict(zip(got.point.tolist(), got.value.tolist(), strict=True)) == {0: 5, 1: 1}
    assert sorted(got.observed.tolist()) == [T0 + 1000, T0 + 5000]


def test_the_newest_of_a_range_is_told_of_each_point_that_has_readings_in_it(bench):
    bench.write(
        [0, 0, 0, 1, 2], [T0, T0 + 10, T0 + 20, T0 + 5, T0 - 10], [1.0, 2.0, 3.0, 4.0, 5.0], Quality.BAD
    )
    assert bench.store.raw_from <= T0
    found = bench.store.newest(bench.points(0, 1, 2, 3), T0, T0 + 20)
    assert found.point.tolist() == [0, 1]
    assert found.observed.tolist() == [T0 + 10, T0 + 5]
    assert found.value.tolist() == [2.0, 4.0]
    assert set(found.quality.tolist()) == {Quality.BAD}
    assert len(bench.store.newest(bench.points(), T0, T0 + 20)) == 0


def test_nothing_stored_is_an_empty_answer_everywhere(bench):
    points = bench.points(0, 1)
    assert len(bench.store.read(points, T0, T0 + HOUR)) == 0
    assert len(bench.store.latest(points)) == 0
    assert np.isnan(bench.store.aggregate(points, T0, T0 + HOUR, MINUTE, Aggregate.MEAN).values).all()
    assert np.isnan(bench.store.total(points, T0, T0 + HOUR, MINUTE).values).all()
    assert len(bench.store.top(points, T0, T0 + HOUR, Aggregate.MAX, 3)) == 0
    assert bench.store.maintain(now_ms())["rolled"] == 0


def test_no_points_is_an_empty_answer_everywhere(bench):
    none = bench.points()
    assert len(bench.store.read(none, T0, T0 + HOUR)) == 0
    assert bench.store.aggregate(none, T0, T0 + HOUR, QUARTER, Aggregate.MAX).values.shape == (0, 4)


def fill(bench: Bench, hours: int = 2) -> Callable[[int], float]:
    """Two points every 20 s for some hours; point 0 counts the minutes, with a spike to 1e6 in minute 7."""

    def value(t: int) -> float:
        return 1e6 if t == T0 + 7 * MINUTE + 20_000 else float((t - T0) // MINUTE)

    times = np.arange(T0, T0 + hours * HOUR, 20_000)
    bench.write(np.zeros(len(times), np.int32), times, [value(t) for t in times])
    bench.write(np.ones(len(times), np.int32), times, np.full(len(times), 100.0))
    return value


@pytest.mark.parametrize(
    ("how", "first", "spiky"),
    [
        (Aggregate.MIN, 0, 5),
        (Aggregate.MAX, 4, 1e6),
        (Aggregate.LAST, 4, 9),
        (Aggregate.COUNT, 15, 15),
        (Aggregate.MEAN, 2, (3 * (5 + 6 + 8 + 9) + 14 + 1e6) / 15),
        (Aggregate.TIME_WEIGHTED, 2, (3 * (5 + 6 + 8 + 9) + 14 + 1e6) / 15),
    ],
)
def test_five_minutes_are_aggregated(bench, how, first, spiky):
    fill(bench)
    assert bench.store.maintain(now_ms())["repaired"] > 0
    grid = bench.store.aggregate(bench.points(0, 1), T0, T0 + 2 * HOUR, 5 * MINUTE, how)
    assert grid.values.shape == (2, 24)
    assert grid.start[0] == T0
    assert grid.values[0, :2] == pytest.approx([first, spiky])
    assert grid.values[1] == pytest.approx(15 if how is Aggregate.COUNT else 100)


def test_a_spike_never_vanishes_in_a_rollup(bench):
    fill(bench)
    bench.store.maintain(now_ms())
    for step in (MINUTE, QUARTER, HOUR, 2 * HOUR):
        grid = bench.store.aggregate(bench.points(0), T0, T0 + 2 * HOUR, step, Aggregate.MAX)
        assert np.nanmax(grid.values) == 1e6


def test_steps_below_a_minute_come_from_raw_readings(bench):
    bench.write([0, 0, 0], [T0, T0 + 4000, T0 + 10_000], [1, 3, 7])
    grid = bench.store.aggregate(bench.points(0), T0, T0 + 20_000, 10_000, Aggregate.MEAN)
    assert grid.values.tolist() == [[2, 7]]


def test_rows_of_a_grid_are_in_the_order_asked_for(bench):
    bench.write([0, 1, 2], T0, [10, 11, 12])
    grid = bench.store.aggregate(bench.points(2, 0, 1, 0), T0, T0 + 1000, 1000, Aggregate.LAST)
    assert grid.point.tolist() == [2, 0, 1, 0]
    assert grid.values[:, 0].tolist() == [12, 10, 11, 10]


def test_a_grid_covers_every_step_that_the_range_touches(bench):
    bench.write([0], [T0], [1])
    grid = bench.store.aggregate(bench.points(0), T0 + 15_000, T0 + 25_000, 10_000, Aggregate.LAST)
    assert grid.start.tolist() == [T0 + 10_000, T0 + 20_000]


def test_a_value_weighs_as_long_as_it_holds(bench):
    # 100 W for 10 s, 200 W for 50 s; and the last value holds into the next minute
    bench.write([0, 0], [T0, T0 + 10_000], [100, 200])
    grid = bench.store.aggregate(bench.points(0), T0, T0 + 2 * MINUTE, 30_000, Aggregate.TIME_WEIGHTED)
    assert grid.values[0] == pytest.approx([(100 * 10 + 200 * 20) / 30, 200, 200, 200])
    bench.store.maintain(now_ms())
    grid = bench.store.aggregate(bench.points(0), T0, T0 + 2 * MINUTE, MINUTE, Aggregate.TIME_WEIGHTED)
    assert grid.values[0] == pytest.approx([(100 * 10 + 200 * 50) / 60, 200])


def test_a_value_holds_no_longer_than_the_gap(bench):
    bench.write([0], [T0], [7])
    whole = bench.store.aggregate(bench.points(0), T0, T0 + 10 * MINUTE, 30_000, Aggregate.TIME_WEIGHTED)
    assert np.isfinite(whole.values[0]).sum() == 10  # five minutes by default
    short = bench.store.aggregate(
        bench.points(0), T0, T0 + 10 * MINUTE, 30_000, Aggregate.TIME_WEIGHTED, max_gap=45_000
    )
    assert np.isfinite(short.values[0]).sum() == 2


def test_what_held_before_the_range_is_carried_into_it(bench):
    bench.write([0], [T0 - 40_000], [9])
    grid = bench.store.aggregate(bench.points(0), T0, T0 + 30_000, 30_000, Aggregate.TIME_WEIGHTED)
    assert grid.values[0].tolist() == [9]
    plain = bench.store.aggregate(bench.points(0), T0, T0 + 30_000, 30_000, Aggregate.MEAN)
    assert np.isnan(plain.values[0]).all()


def test_a_bad_reading_takes_part_in_no_aggregate_and_ends_the_hold_of_the_one_before(bench):
    bench.write([0, 0], [T0, T0 + 30_000], [10, 999], [Quality.GOOD, Quality.BAD])
    mean = bench.store.aggregate(bench.points(0), T0, T0 + MINUTE, 30_000, Aggregate.TIME_WEIGHTED)
    assert mean.values[0, 0] == 10
    assert np.isnan(mean.values[0, 1])
    assert len(bench.store.read(bench.points(0), T0, T0 + MINUTE)) == 2


def test_a_sum_with_a_member_missing_is_missing(bench):
    fill(bench)
    times = np.arange(T0, T0 + HOUR, 20_000)
    bench.write(np.full(len(times), 2), times, np.full(len(times), 1000.0))
    bench.store.maintain(now_ms())
    total = bench.store.total(bench.points(1, 2), T0, T0 + 2 * HOUR, QUARTER)
    assert total.point.tolist() == [-1]
    assert total.values[0, :4] == pytest.approx(1100)
    assert np.isfinite(total.values[0, 4])  # held for five minutes more
    assert np.isnan(total.values[0, 5:]).all()


def test_top_points_come_highest_first(bench):
    for step, n in ((10_000, 6), (MINUTE, 120)):
        times = T0 + 500 + np.arange(n) * step
        for point, value in ((0, 5.0), (1, 50.0), (2, 20.0), (3, 1.0)):
            bench.write(np.full(n, point), times, np.full(n, value))
    for end in (T0 + MINUTE, T0 + 2 * HOUR + 1):
        got = bench.store.top(bench.points(0, 1, 2, 3), T0 + 100, end, Aggregate.MAX, 3)
        assert got.point.tolist() == [1, 2, 0]
        assert got.value.tolist() == [50, 20, 5]
        assert set(got.observed.tolist()) == {T0 + 100}
        bench.store.maintain(now_ms())


def test_late_data_repairs_the_rollups(bench):
    fill(bench)
    bench.store.maintain(now_ms())
    bench.write([1], [T0 + 90_000], [5000])
    bench.store.maintain(now_ms())
    for step in (MINUTE, QUARTER, HOUR):
        grid = bench.store.aggregate(bench.points(1), T0, T0 + HOUR, step, Aggregate.MAX)
        assert np.nanmax(grid.values) == 5000
    count = bench.store.aggregate(bench.points(1), T0, T0 + HOUR, HOUR, Aggregate.COUNT)
    assert count.values.tolist() == [[181]]


def test_late_data_that_carries_into_the_next_hour_repairs_it_too(bench):
    bench.write([0], [T0 + HOUR + 2 * MINUTE], [2])
    bench.store.maintain(now_ms())
    bench.write([0], [T0 + HOUR - MINUTE], [1])
    bench.store.maintain(now_ms())
    grid = bench.store.aggregate(
        bench.points(0), T0 + HOUR, T0 + HOUR + 3 * MINUTE, MINUTE, Aggregate.TIME_WEIGHTED
    )
    assert grid.values[0].tolist() == [1, 1, 2]


def test_rollups_are_made_as_time_passes(bench):
    """Beyond the hour in which the store was opened, upkeep rolls forward instead of repairing."""
    hour = now_ms() // HOUR * HOUR
    times = np.arange(hour, hour + HOUR, 30_000)
    bench.write(np.zeros(len(times), np.int32), times, np.arange(len(times), dtype=float))
    for minute in range(0, 61, 20):
        bench.store.maintain(hour + minute * MINUTE + 30_000)
    grid = bench.store.aggregate(bench.points(0), hour, hour + HOUR, MINUTE, Aggregate.MEAN)
    assert grid.values[0] == pytest.approx(np.arange(60) * 2 + 0.5)
    quarter = bench.store.aggregate(bench.points(0), hour, hour + HOUR, QUARTER, Aggregate.MAX)
    assert quarter.values[0].tolist() == [29, 59, 89, 119]
    whole = bench.store.aggregate(bench.points(0), hour, hour + HOUR, HOUR, Aggregate.COUNT)
    assert whole.values[0].tolist() == [120]


def test_history_older_than_the_raw_retention_reaches_the_tiers(bench):
    start = T0 - 10 * DAY
    times = start + np.arange(8) * QUARTER
    bench.write(np.zeros(8, np.int32), times, np.arange(8, dtype=float) * 100)
    bench.store.maintain(now_ms())
    grid = bench.store.aggregate(bench.points(0), start, start + 2 * HOUR, QUARTER, Aggregate.TIME_WEIGHTED)
    assert grid.values[0] == pytest.approx(np.arange(8) * 100)


@pytest.mark.parametrize(
    ("days", "lacking"), [(3, 6), (20, 90)], ids=["while minutes are kept", "while quarters are kept"]
)
def test_old_readings_in_several_batches_make_the_rollups_of_all_of_them(bench, days, lacking):
    """Of a step of the finest tier that is kept, and that two batches share, the larger part counts."""
    start = T0 - days * DAY
    times = start + np.arange(0, HOUR, 10_000)
    values = np.arange(len(times), dtype=float)
    for part in (slice(0, 100), slice(100, 250), slice(250, 360), slice(0, 100)):  # the last one again
        bench.write(np.zeros(len(times[part]), np.int32), times[part], values[part])
    bench.store.maintain(now_ms())
    hour = bench.store.read_tier("hour", bench.points(0), start, start + HOUR)
    assert 360 - lacking <= hour.count[0] <= 360
    assert (hour.minimum[0], hour.maximum[0], hour.last[0]) == (0, 359, 359)
    assert hour.mean[0] == pytest.approx(values.mean(), rel=0.05)
    assert hour.held[0] == pytest.approx(HOUR, rel=0.1)


def test_one_old_reading_does_not_take_the_place_of_the_rollups_of_many(bench):
    start = T0 - 3 * DAY
    times = start + np.arange(0, HOUR, 10_000)
    bench.write(np.zeros(len(times), np.int32), times, np.full(len(times), 100.0))
    bench.store.maintain(now_ms())
    bench.write([0], [start + 20 * MINUTE + 5], [900.0])
    bench.store.maintain(now_ms())
    for tier, count in (("minute", 6), ("quarter", 90), ("hour", 360)):
        rows = bench.store.read_tier(tier, bench.points(0), start, start + HOUR)
        assert rows.count.min() >= count, tier
        assert rows.maximum.max() == 900, "no spike is lost"
        assert rows.mean.max() < 250


def test_removed_readings_are_gone_from_every_tier_and_those_of_others_are_not(bench):
    times = T0 + np.arange(0, HOUR, 30_000)
    odd = 8  # its key has a comma, an equals sign and a backslash
    for point in (0, 1, odd):
        bench.write(np.full(len(times), point), times, np.ones(len(times)))
    bench.store.maintain(now_ms())
    bench.store.check_removal()
    bench.store.remove(bench.points(0, odd))
    bench.store.maintain(now_ms())
    asked = bench.points(0, 1, odd)
    assert set(bench.store.read(asked, T0, T0 + HOUR).point.tolist()) == {1}
    assert bench.store.latest(asked).point.tolist() == [1]
    for tier in ("minute", "quarter", "hour"):
        assert set(bench.store.read_tier(tier, asked, T0, T0 + HOUR).point.tolist()) == {1}
    bench.reopen()
    assert list(bench.registry) == POINTS, "what they are stays known"
    assert bench.store.latest(asked).point.tolist() == [1]


def test_many_points_are_written_and_read_at_once(bench):
    more = [Point(f"GPU/GpuPower/n/{i}", "GPU", "GpuPower", f"G{i}", unit="W") for i in range(3000)]
    bench.store.save_points([(bench.registry.register(p), p) for p in more])
    index = np.arange(len(POINTS), len(POINTS) + 3000, dtype=np.int32)
    for k in range(3):
        bench.store.write(Batch.of(index, T0 + k * 1000, index * 1.5 + k))
    got = bench.store.read(index, T0, T0 + 2000)
    assert len(got) == 6000
    assert (got.value == got.point * 1.5 + (got.observed - T0) / 1000).all()
    some = index[::5]
    assert bench.store.latest(some).value.tolist() == (some * 1.5 + 2).tolist()


def test_threads_read_while_one_writes(bench):
    stop = threading.Event()
    wrong: list[str] = []

    def look() -> None:
        while not stop.is_set():
            got = bench.store.read(bench.points(0, 1), T0, T0 + HOUR)
            # a batch is seen whole or not at all
            if len(got) % 2 and bench.settings.kind is StoreKind.DUCKDB:
                wrong.append(f"{len(got)} rows")

    readers = [threading.Thread(target=look) for _ in range(2)]
    for r in readers:
        r.start()
    for k in range(40):
        bench.write([0, 1], T0 + k * 1000, [k, k])
        if k % 10 == 9:
            bench.store.maintain(now_ms())
    stop.set()
    for r in readers:
        r.join()
    assert wrong == []
    assert len(bench.store.read(bench.points(0, 1), T0, T0 + HOUR)) == 80


def test_health_tells_kind_and_version(bench):
    health = bench.store.health()
    assert health.available
    assert health.kind == bench.settings.kind.value
    assert any(c.isdigit() for c in health.version)
