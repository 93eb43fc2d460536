"""How long the console's questions take, and how large the answers' readings are: ``python -m benchmarks.query``.

Lays down a plant's history in the embedded store (rack, meter and CDU points, and the GPUs of ten racks, every 10 s:
raw for 48 h, minutes for 7 days, quarters for 30), in sorted runs and hot tables as the pipeline leaves them, and asks up to
the present while ingest and upkeep run. The reference of each figure is SQL written by hand on the same tables. Takes
`--lay-down-min` (10) and about two minutes; what of the raw readings did not fit in is missing, `raw_hours` tells. `--influxdb`
asks a real InfluxDB, the embedded store (its reference) and plain SQL for the same of one smaller history. `--scale 0.1`
takes a tenth of the points.
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
from collections.abc import Callable
from pathlib import Path
from typing import Any

import duckdb
import numpy as np

from benchmarks._plant_history import PERIOD, Plant, lay_down, steps_of
from domain.batch import Batch, now_ms
from domain.points import IntArray
from storage.duckdb_store import DuckDBStore
from storage.settings import DAY, HOUR, MINUTE, QUARTER, InfluxSettings, StorageSettings, StoreKind
from storage.telemetry import Aggregate
from storage.tiers import TIERS, TieredStore

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


def ask_all(
    store: DuckDBStore, plant: Plant, times: int, before: str = ""
) -> tuple[dict[str, Any], dict[str, list[float]]]:
    """Ask every question of the embedded store and by hand while ingest and upkeep run; return figures and times."""
    figures: dict[str, Any] = {}
    taken: dict[str, list[float]] = {}
    ours: dict[str, list[float]] = {"day": [], "month": [], "other": []}
    plain: dict[str, list[float]] = {"day": [], "month": [], "other": []}
    with Ingest(store, len(plant.registry)) as ingest:
        for name, kind, ask, text in questions(plant, now_ms()):
            mine = timed(lambda ask=ask: ask(store), times)  # type: ignore[misc]
            theirs = timed(by_hand(store, text), max(3, times // 3))
            ours[kind] += mine
            plain[kind] += theirs
            taken[name] = mine
            for q in (50, 95):
                figures[f"{before}{name}_p{q}_ms"] = figure(
                    float(np.percentile(mine, q)), "ms", float(np.percentile(theirs, q))
                )
        figures[f"{before}ingested_meanwhile"] = figure(ingest.written, "1")
    for kind in ("day", "month"):
        for q in (50, 95):
            figures[f"{before}{kind}_p{q}_ms"] = figure(
                float(np.percentile(ours[kind], q)), "ms", float(np.percentile(plain[kind], q))
            )
    return figures, taken


def ask_duckdb(scale: float, raw_hours: float, times: int, folder: Path, lay_down_s: float) -> dict[str, Any]:
    plant = Plant(scale)
    file = folder / "telemetry.duckdb"
    began = time.monotonic()
    rows = lay_down(file, plant, now_ms() // MINUTE * MINUTE, raw_hours, began + lay_down_s)
    laid = time.monotonic() - began
    size = file.stat().st_size
    store = DuckDBStore(file, StorageSettings(path=folder))
    figures, _ = ask_all(store, plant, times)
    store.close()
    total = sum(rows.values())
    return figures | {
        "points": figure(len(plant.registry), "1"),
        "rows": figure(total, "1"),
        **{f"rows_{tier}": figure(n, "1") for tier, n in rows.items()},
        "raw_hours": figure(rows["raw"] * PERIOD / HOUR / len(plant.registry), "h"),
        "bytes_per_row": figure(size / total, "B"),
        "file_bytes": figure(size, "B"),
        "laid_down_rows_per_s": figure(total / laid, "1/s"),
        "laid_down_s": figure(laid, "s"),
    }


SMALL = 0.02
"""Share of the points of which InfluxDB is asked."""
SMALL_RAW_HOURS = 2.0


def ask_influxdb(times: int, folder: Path) -> dict[str, Any]:
    """Ask a real InfluxDB behind nginx, the embedded store and plain SQL for the same of the same small history."""
    from benchmarks._influxdb_server import InfluxServer

    plant = Plant(SMALL)
    every = np.arange(len(plant.registry), dtype=np.int32)
    small = folder / "small"
    small.mkdir()
    now = now_ms() // MINUTE * MINUTE
    rows = lay_down(small / "telemetry.duckdb", plant, now, SMALL_RAW_HOURS)
    embedded = DuckDBStore(small / "telemetry.duckdb", StorageSettings(path=small))
    figures, reference = ask_all(embedded, plant, times, "small_")
    embedded.close()
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
        for tier, kept in (("minute", 26 * HOUR), ("quarter", 30 * DAY)):  # what the questions reach
            step = TIERS[tier]
            last = now // step * step
            for first in range(last - kept, last, 500 * step):
                starts = np.arange(first, min(first + 500 * step, last), step)
                store.write_tier(tier, steps_of(every, starts, step))
        for t in range(now - int(SMALL_RAW_HOURS * HOUR), now, PERIOD):
            store.write(Batch.of(every, t, np.round(1000 + np.random.rand(len(every)), 1)))
        store._rolled = {n: now // s * s for n, s in TIERS.items()}
        store._save_progress()
        taken: dict[str, list[float]] = {"day": [], "month": [], "other": []}
        theirs: dict[str, list[float]] = {"day": [], "month": [], "other": []}
        with Ingest(store, len(plant.registry)):
            for name, kind, ask, _ in questions(plant, now_ms()):
                mine = timed(lambda ask=ask: ask(store), max(3, times // 3))  # type: ignore[misc]
                taken[kind] += mine
                theirs[kind] += reference[name]
                for q in (50, 95):
                    figures[f"influxdb_{name}_p{q}_ms"] = figure(
                        float(np.percentile(mine, q)), "ms", float(np.percentile(reference[name], q))
                    )
        for kind in ("day", "month"):
            figures[f"influxdb_{kind}_p95_ms"] = figure(
                float(np.percentile(taken[kind], 95)), "ms", float(np.percentile(theirs[kind], 95))
            )
        store.close()
    return figures | {
        "small_points": figure(len(every), "1"),
        "small_rows": figure(sum(rows.values()), "1"),
    }


def main() -> None:
    parser = argparse.ArgumentParser(prog="hallwatch bench query", description=__doc__)
    parser.add_argument(
        "--scale", type=float, default=1.0, help="share of the points (default 1: about 28,000)"
    )
    parser.add_argument("--raw-hours", type=float, default=48, help="raw readings laid down (default 48)")
    parser.add_argument(
        "--lay-down-min",
        type=float,
        default=10,
        help="minutes after which no more raw readings are laid down (default 10)",
    )
    parser.add_argument("--times", type=int, default=20, help="how often each question is asked")
    parser.add_argument("--influxdb", action="store_true", help="ask a real InfluxDB too")
    parser.add_argument(
        "--folder", type=Path, help="where the store is laid down (default: a temporary folder)"
    )
    options = parser.parse_args()
    folder = Path(tempfile.mkdtemp(dir=options.folder))
    try:
        figures = ask_duckdb(
            options.scale, options.raw_hours, options.times, folder, options.lay_down_min * 60
        )
        if options.influxdb:
            figures |= ask_influxdb(options.times, folder)
    finally:
        shutil.rmtree(folder)
    machine = {"cpus": os.cpu_count(), "python": platform.python_version(), "duckdb": duckdb.__version__}
    json.dump({"name": "query", "machine": machine, "figures": figures}, sys.stdout, indent=1)
    print()


if __name__ == "__main__":
    main()
