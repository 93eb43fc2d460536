"""How long the console's questions take, and how large the answers' readings are: ``python -m benchmarks.query``.

Lays down a plant's history in the embedded store (rack, meter and CDU points, and the GPUs of ten racks, every 10 s:
raw for 48 h, minutes for 7 days, quarters for 30), in sorted runs as the pipeline makes them, and asks while ingest
and upkeep run. The reference of each figure is SQL written by hand on the same tables. `--influxdb` asks the same of a
real InfluxDB with a smaller history. `--scale 0.1` takes a tenth of the points.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import shutil
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import duckdb
import numpy as np

from domain.batch import Batch, now_ms
from domain.points import IntArray, Point, PointRegistry, TimeArray, ValueArray
from storage.duckdb_store import RAW_SPAN, READING, SPANS, STEP, DuckDBStore
from storage.settings import DAY, HOUR, MINUTE, QUARTER, InfluxSettings, StorageSettings, StoreKind
from storage.telemetry import Aggregate
from storage.tiers import TIERS, TieredStore

PERIOD = 10_000
RACKS = 96
GPU_FIELDS = 25
KEPT = {"raw": 2 * DAY, "minute": 7 * DAY, "quarter": 30 * DAY}
RUN = {"raw": HOUR, "minute": 6 * HOUR, "quarter": 90 * HOUR}
"""Time in one sorted run, as sealing makes them."""


class Plant:
    """The points of the question: two feed meters, rack meters and temperatures, CDUs, GPUs of ten racks."""

    def __init__(self, scale: float) -> None:
        self.registry = PointRegistry()
        register = self.registry.register
        self.feeds = [
            register(Point(f"PowerMeter/ActivePower/FEED-{f}", "PowerMeter", "ActivePower", f"FEED-{f}"))
            for f in "AB"
        ]
        self.energy = [
            register(Point(f"PowerMeter/Energy/FEED-{f}", "PowerMeter", "Energy", f"FEED-{f}")) for f in "AB"
        ]
        racks = [f"R{i:03}" for i in range(1, RACKS + 1)]
        kinds = max(4, int(100 * scale))  # points of a rack: power, temperatures, taps, PDUs
        self.rack = np.array(
            [
                [register(Point(f"Rack/Kind{k}/{r}", "Rack", f"Kind{k}", r)) for k in range(kinds)]
                for r in racks
            ],
            np.int32,
        )
        self.cdu = np.array(
            [
                [register(Point(f"CDU/Kind{k}/C{c}", "CDU", f"Kind{k}", f"C{c}")) for k in range(16)]
                for c in range(24)
            ],
            np.int32,
        )
        gpus = max(8, int(720 * scale))
        self.gpu = np.array(
            [
                [
                    register(Point(f"GPU/Field{f}/G{g}", "GPU", f"Field{f}", f"G{g}"))
                    for f in range(GPU_FIELDS)
                ]
                for g in range(gpus)
            ],
            np.int32,
        )


Question = tuple[str, str, Callable[[TieredStore], Any], str]


def questions(plant: Plant, now: int) -> list[Question]:
    """Return name, class (day, month, or other), how the console asks it, and the same by hand."""
    day, month, two_days = now - DAY, now - 30 * DAY, now - 2 * DAY
    power, hottest, taps = plant.rack[:, 0], plant.rack[:, 1], plant.rack[:, 2:4].ravel()
    gpu, temperatures, loops = plant.gpu[len(plant.gpu) // 2], plant.gpu[:, 1], plant.cdu[:, :3].ravel()
    feeds, energy = np.array(plant.feeds, np.int32), np.array(plant.energy, np.int32)
    every = np.arange(len(plant.registry), dtype=np.int32)
    tw, top = Aggregate.TIME_WEIGHTED, Aggregate.MAX

    def sql(tier: str, points: IntArray, start: int, what: str, group: str) -> str:
        where = f"point IN ({','.join(map(str, points.tolist()))}) AND start >= {start} AND start < {now}"
        return f"SELECT {group}, {what} FROM {{{tier}}} WHERE {where} GROUP BY {group} ORDER BY {group}"

    raw = f"SELECT point, observed, value FROM {{raw}} WHERE point IN ({','.join(map(str, gpu.tolist()))}) AND observed >= {two_days} ORDER BY 1, 2"
    return [
        ("site_power_day_1min", "day", lambda s: s.total(feeds, day, now, MINUTE), sql("minute", feeds, day, "sum(weighted)", "start")),
        ("racks_max_temperature_day_1min", "day", lambda s: s.aggregate(hottest, day, now, MINUTE, top), sql("minute", hottest, day, "max(maximum)", "point, start")),
        ("racks_power_day_15min", "day", lambda s: s.aggregate(power, day, now, QUARTER, tw), sql("quarter", power, day, "max(weighted)", "point, start")),
        ("taps_sum_day_1min", "day", lambda s: s.total(taps, day, now, MINUTE), sql("minute", taps, day, "sum(weighted)", "start")),
        ("cooling_loops_day_1min", "day", lambda s: s.aggregate(loops, day, now, MINUTE, tw), sql("minute", loops, day, "max(weighted)", "point, start")),
        ("one_gpu_48h_raw", "other", lambda s: s.read(gpu, two_days, now), raw),
        ("hottest_gpus_last_hour", "other", lambda s: s.top(temperatures, now - HOUR, now, top, 10), sql("minute", temperatures, now - HOUR, "max(maximum)", "point")),
        ("newest_of_all", "other", lambda s: s.latest(every), "SELECT point, arg_max(last, start) FROM {minute} WHERE start >= " + str(now - 20 * MINUTE) + " GROUP BY point"),
        ("site_power_month_15min", "month", lambda s: s.total(feeds, month, now, QUARTER), sql("quarter", feeds, month, "sum(weighted)", "start")),
        ("racks_max_temperature_month_15min", "month", lambda s: s.aggregate(hottest, month, now, QUARTER, top), sql("quarter", hottest, month, "max(maximum)", "point, start")),
        ("demand_from_meters_month_15min", "month", lambda s: s.aggregate(energy, month, now, QUARTER, Aggregate.LAST), sql("quarter", energy, month, "max(last)", "point, start")),
    ]  # fmt: skip


def lay_down(file: Path, plant: Plant, now: int, raw_hours: float) -> dict[str, int]:
    """Write the history with SQL, sorted run by run; return the rows of each table."""
    settings = StorageSettings(path=file.parent)
    store = DuckDBStore(file, settings)
    store.save_points(list(enumerate(plant.registry)))
    store.close()
    rows = {}
    con = duckdb.connect(
        str(file), config={"memory_limit": "2GB", "temp_directory": str(file.parent / "tmp")}
    )
    n = len(plant.registry)
    rng = np.random.default_rng(0)
    base = 1000.0 + np.arange(n) % 97 * 10
    index = np.arange(n, dtype=np.int32)
    for tier, kept in {**KEPT, "raw": int(raw_hours * HOUR)}.items():
        step = PERIOD if tier == "raw" else TIERS[tier]
        span = RAW_SPAN if tier == "raw" else SPANS[tier]
        name = "raw" if tier == "raw" else f"tier_{tier}"
        columns = READING if tier == "raw" else STEP
        declared = ", ".join(f"{c} {k}" for c, k in columns.items())
        first = now - kept
        rows[tier] = 0
        while first < now:
            last = min((first // RUN[tier] + 1) * RUN[tier], (first // span + 1) * span, now)
            times = np.arange(first, last, step)

            def noise(size: float, times: TimeArray = times) -> ValueArray:
                tenths = np.rint(rng.random(n * len(times), dtype=np.float32) * 10 * size)
                made: ValueArray = tenths.astype(np.float64) / 10
                return made

            daily = 50 * np.sin(times / 1.37e7)
            level = (base[:, None] + daily[None, :]).ravel() + noise(20)
            value = _tenths(level)  # as devices tell them
            run: dict[str, Any] = {
                "point": np.repeat(index, len(times)),
                columns_time(columns): np.tile(times, n),
            }
            if tier == "raw":
                run |= {"value": value, "quality": np.ones(len(value), np.uint8)}
            else:
                mean = value + rng.random(len(value))
                run |= {"minimum": _tenths(value - noise(9)), "maximum": _tenths(value + noise(9))}
                run |= {"mean": mean, "last": value}
                run |= {"weighted": mean, "held": np.full(len(value), step, np.int32)}
                run |= {"count": np.full(len(value), step // PERIOD, np.int32)}
            table = f"{name}_{first // span}"
            con.execute(f"CREATE TABLE IF NOT EXISTS {table} ({declared})")
            con.register("run", run)
            con.execute(f"INSERT INTO {table} SELECT {', '.join(columns)} FROM run")
            con.unregister("run")
            rows[tier] += len(value)
            first = last
    for tier, step in TIERS.items():
        con.execute("UPDATE state SET value = ? WHERE name = ?", [now // step * step, f"rolled_{tier}"])
    con.execute("INSERT INTO newest SELECT point, max(observed), arg_max(value, observed), 1 "
                f"FROM raw_{(now - 1) // RAW_SPAN} GROUP BY point")  # fmt: skip
    con.execute("CHECKPOINT")
    con.close()
    return rows


def _tenths(value: ValueArray) -> ValueArray:
    return np.rint(value * 10) / 10


def columns_time(columns: Mapping[str, str]) -> str:
    """Return the column that holds the time: the second."""
    return list(columns)[1]


class Ingest:
    """Writes all points every ten seconds, a tenth each second, and sees to upkeep, until it is stopped."""

    def __init__(self, store: TieredStore, points: int) -> None:
        self._store, self._points = store, points
        self._stop = threading.Event()
        self.written = 0
        self._threads = [threading.Thread(target=self._write), threading.Thread(target=self._maintain)]

    def _write(self) -> None:
        points = np.arange(self._points, dtype=np.int32)
        tenth = 0
        while not self._stop.wait(1.0):
            some = points[tenth::10]
            self._store.write(Batch.of(some, now_ms(), 1000 + np.round(np.random.rand(len(some)), 1)))
            self.written += len(some)
            tenth = (tenth + 1) % 10

    def _maintain(self) -> None:
        while not self._stop.wait(5.0):
            self._store.maintain(now_ms())

    def __enter__(self) -> Ingest:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()


def timed(ask: Callable[[], Any], times: int) -> list[float]:
    """Return the milliseconds of each of some calls, after one that is not counted."""
    ask()
    taken = []
    for _ in range(times):
        began = time.perf_counter()
        ask()
        taken.append((time.perf_counter() - began) * 1000)
    return taken


def by_hand(store: DuckDBStore, text: str) -> Callable[[], Any]:
    """Return a call that runs hand-written SQL over the tables of a tier."""
    names = [str(r[0]) for r in store.cursor().execute("SELECT table_name FROM duckdb_tables()").fetchall()]
    for tier in ("raw", "minute", "quarter"):
        prefix = "raw_" if tier == "raw" else f"tier_{tier}_"
        union = " UNION ALL ".join(f"SELECT * FROM {n}" for n in names if n.startswith(prefix))
        text = text.replace(f"{{{tier}}}", f"({union})")

    def ask() -> Any:
        with store.cursor() as cursor:
            return cursor.execute(text).fetchnumpy()

    return ask


def figure(value: float, unit: str, reference: float | None = None) -> dict[str, Any]:
    ratio = round(value / reference, 3) if reference else None
    return {
        "value": round(value, 3),
        "unit": unit,
        "reference": None if reference is None else round(reference, 3),
        "ratio": ratio,
    }


def ask_duckdb(scale: float, raw_hours: float, times: int, folder: Path) -> dict[str, Any]:
    plant = Plant(scale)
    now = now_ms() // QUARTER * QUARTER
    file = folder / "telemetry.duckdb"
    began = time.perf_counter()
    rows = lay_down(file, plant, now, raw_hours)
    laid = time.perf_counter() - began
    size = file.stat().st_size
    store = DuckDBStore(file, StorageSettings(path=folder))
    figures: dict[str, Any] = {}
    ours: dict[str, list[float]] = {"day": [], "month": [], "other": []}
    plain: dict[str, list[float]] = {"day": [], "month": [], "other": []}
    with Ingest(store, len(plant.registry)) as ingest:
        for name, kind, ask, text in questions(plant, now):
            mine = timed(lambda ask=ask: ask(store), times)  # type: ignore[misc]
            theirs = timed(by_hand(store, text), max(3, times // 3))
            ours[kind] += mine
            plain[kind] += theirs
            for q in (50, 95):
                figures[f"{name}_p{q}_ms"] = figure(
                    float(np.percentile(mine, q)), "ms", float(np.percentile(theirs, q))
                )
        written = ingest.written
    store.close()
    for kind in ("day", "month"):
        for q in (50, 95):
            figures[f"{kind}_p{q}_ms"] = figure(
                float(np.percentile(ours[kind], q)), "ms", float(np.percentile(plain[kind], q))
            )
    total = sum(rows.values())
    return figures | {
        "points": figure(len(plant.registry), "1"),
        "rows": figure(total, "1"),
        **{f"rows_{tier}": figure(n, "1") for tier, n in rows.items()},
        "bytes_per_row": figure(size / total, "B"),
        "file_bytes": figure(size, "B"),
        "laid_down_rows_per_s": figure(total / laid, "1/s"),
        "ingested_meanwhile": figure(written, "1"),
    }


def ask_influxdb(times: int, folder: Path) -> dict[str, Any]:
    """Ask a real InfluxDB behind nginx the same, with a tenth of the points and written through the store."""
    from tests.servers import InfluxServer

    plant = Plant(0.02)
    now = now_ms() // QUARTER * QUARTER
    every = np.arange(len(plant.registry), dtype=np.int32)
    figures: dict[str, Any] = {}
    with InfluxServer(folder / "influxdb") as server:
        os.environ["HALLWATCH_INFLUXDB_TOKEN"] = server.token
        from storage.influxdb_store import InfluxStore

        store = InfluxStore(
            StorageSettings(
                kind=StoreKind.INFLUXDB, path=folder, influxdb=InfluxSettings(url=server.url, timeout_s=60)
            ),
            plant.registry,
        )
        store.save_points(list(enumerate(plant.registry)))
        rows = 0
        # two hours raw; a day of minutes; thirty days of quarters
        for tier, kept, step in (("minute", DAY, MINUTE), ("quarter", 30 * DAY, QUARTER)):
            for first in range(now - kept, now, 500 * step):
                starts = np.arange(first, min(first + 500 * step, now), step)
                steps = _some_steps(every, starts, step)
                rows += store.write_tier(tier, steps)
        for t in range(now - 2 * HOUR, now, PERIOD):
            rows += store.write(Batch.of(every, t, np.round(1000 + np.random.rand(len(every)), 1))).stored
        store._rolled = {n: now // s * s for n, s in TIERS.items()}
        store._save_progress()
        taken: dict[str, list[float]] = {"day": [], "month": [], "other": []}
        for name, kind, ask, _ in questions(plant, now):
            mine = timed(lambda ask=ask: ask(store), max(3, times // 3))  # type: ignore[misc]
            taken[kind] += mine
            figures[f"influxdb_{name}_p95_ms"] = figure(float(np.percentile(mine, 95)), "ms")
        for kind in ("day", "month"):
            figures[f"influxdb_{kind}_p95_ms"] = figure(float(np.percentile(taken[kind], 95)), "ms")
        store.close()
    return figures | {"influxdb_points": figure(len(every), "1"), "influxdb_rows": figure(rows, "1")}


def _some_steps(points: IntArray, starts: np.ndarray[Any, Any], step: int) -> Any:
    from storage.steps import Steps

    n = len(points) * len(starts)
    value = np.round(1000 + 10 * np.random.rand(n), 1)
    return Steps(
        np.repeat(points, len(starts)), np.tile(starts, len(points)), value, value + 1, value + 0.3, value, value + 0.4,
        np.full(n, step, np.int32), np.full(n, step // PERIOD, np.int32),
    )  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(prog="hallwatch bench query", description=__doc__)
    parser.add_argument(
        "--scale", type=float, default=1.0, help="share of the points (default 1: about 28,000)"
    )
    parser.add_argument("--raw-hours", type=float, default=48, help="raw readings laid down (default 48)")
    parser.add_argument("--times", type=int, default=20, help="how often each question is asked")
    parser.add_argument("--influxdb", action="store_true", help="ask a real InfluxDB too")
    parser.add_argument(
        "--folder", type=Path, help="where the store is laid down (default: a temporary folder)"
    )
    options = parser.parse_args()
    folder = Path(tempfile.mkdtemp(dir=options.folder))
    try:
        figures = ask_duckdb(options.scale, options.raw_hours, options.times, folder)
        if options.influxdb:
            figures |= ask_influxdb(options.times, folder)
    finally:
        shutil.rmtree(folder)
    machine = {"cpus": os.cpu_count(), "python": platform.python_version(), "duckdb": duckdb.__version__}
    json.dump({"name": "query", "machine": machine, "figures": figures}, sys.stdout, indent=1)
    print()


if __name__ == "__main__":
    main()
