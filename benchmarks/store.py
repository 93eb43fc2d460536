"""How fast readings are stored, beside the bare library: ``python -m benchmarks.store``.

One sweep is what 1,728 tray agents send in a second: a batch of 100 values each. It goes through ingest (many small
batches, group commit), and as one batch straight into each store. The references are a DuckDB insert of the same
columns as an Arrow table, and an influxdb-client write of lines prepared beforehand, in the same run. Then the same rate
for `--latency-s` seconds with rollups, sealing and reads: how long the longest write and read took (reference of a read: the
same while nothing is written; of the longest write: while no upkeep ran). About `--latency-s` and two minutes in all.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import platform
import resource
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pyarrow as pa

from benchmarks._write_latency import measure_latency
from domain.batch import Batch, now_ms
from domain.points import Point, PointRegistry
from storage.duckdb_store import DuckDBStore
from storage.influxdb_lines import prefix, reading_lines
from storage.influxdb_store import InfluxStore
from storage.ingest import Ingest
from storage.open import open_store
from storage.settings import HOUR, DuckDBSettings, InfluxSettings, IngestSettings, StorageSettings, StoreKind

TRAYS, PER_TRAY = 1728, 100
RATE = TRAYS * PER_TRAY
"""Values a second of the full factory at 1 Hz."""


def registry_of(n: int) -> PointRegistry:
    return PointRegistry(
        Point(
            f"GPU/Field{i % 25}/nvml/R{i // 1800 + 1:03}/T{i // 100 % 18}/{i // 25 % 4}",
            "GPU",
            f"Field{i % 25}",
            f"G{i // 25}",
        )
        for i in range(n)
    )


def sweeps(points: int, count: int, start: int) -> list[Batch]:
    """Return readings of all points at 1 Hz: powers, temperatures, clocks and counters as GPUs tell them."""
    rng = np.random.default_rng(0)
    index = np.arange(points, dtype=np.int32)
    kind = index % 25
    base = rng.uniform(30, 1000, points)
    made = []
    for k in range(count):
        noise = rng.normal(0, 5, points)
        value = np.where(
            kind < 8,
            np.round(base + noise, 1),
            np.where(kind < 20, np.round(base), np.round(base * 1e4 + k * 700)),
        )
        made.append(Batch.of(index, start + k * 1000, value))
    return made


def cpu() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def timed(work: Callable[[Batch], Any], batches: list[Batch]) -> tuple[float, float]:
    """Return seconds and CPU seconds of writing the batches, the first of which does not count."""
    work(batches[0])
    began, used = time.perf_counter(), cpu()
    for batch in batches[1:]:
        work(batch)
    return time.perf_counter() - began, cpu() - used


def bare_duckdb(folder: Path, batches: list[Batch]) -> tuple[float, float]:
    con = duckdb.connect(str(folder / "bare.duckdb"), config={"memory_limit": "1GB"})
    con.execute("SET checkpoint_threshold='64MB'")
    con.execute("CREATE TABLE r (point INTEGER, observed BIGINT, value DOUBLE, quality UTINYINT)")

    def insert(b: Batch) -> None:
        con.register("t", pa.table({"p": b.point, "o": b.observed, "v": b.value, "q": b.quality}))
        con.execute("INSERT INTO r SELECT * FROM t")

    taken = timed(insert, batches)
    con.close()
    return taken


def our_duckdb(folder: Path, batches: list[Batch]) -> tuple[float, float]:
    store = DuckDBStore(folder / "ours.duckdb", StorageSettings(path=folder))
    taken = timed(store.write, batches)
    store.close()
    return taken


def through_ingest(folder: Path, batches: list[Batch]) -> tuple[float, float, float]:
    """Return seconds, CPU seconds, and bytes that a raw reading takes once it is sealed."""
    settings = StorageSettings(
        path=folder / "ingest",
        duckdb=DuckDBSettings(seal_after_s=0.001),
        ingest=IngestSettings(commit_interval_ms=10),
    )
    registry = registry_of(len(batches[0]))
    store = open_store(settings, registry)

    async def run() -> tuple[float, float]:
        ingest = Ingest.open(settings, registry, store)
        parts = [
            [b.take(np.arange(t, t + PER_TRAY, dtype=np.int32)) for t in range(0, len(b), PER_TRAY)]
            for b in batches
        ]
        await asyncio.gather(*map(ingest.accept, parts[0]))
        began, used = time.perf_counter(), cpu()
        for sweep in parts[1:]:
            await asyncio.gather(*map(ingest.accept, sweep))
        taken = time.perf_counter() - began, cpu() - used
        assert ingest.counters.stored == sum(map(len, batches)), ingest.counters
        await ingest.close()
        return taken

    seconds, used = asyncio.run(run())
    store.maintain(int(batches[-1].observed[0]) + 2 * HOUR)
    store.maintain(int(batches[-1].observed[0]) + 2 * HOUR)
    store.close()
    with duckdb.connect(str(settings.path / "telemetry.duckdb")) as con:
        con.execute("CHECKPOINT")
        tables = con.execute(
            "SELECT table_name FROM duckdb_tables() WHERE table_name LIKE 'raw_%'"
        ).fetchall()
        blocks = sum(
            len(
                con.execute(
                    f"SELECT DISTINCT block_id FROM pragma_storage_info('{t}') WHERE block_id >= 0"
                ).fetchall()
            )
            for (t,) in tables
        )
    return seconds, used, blocks * 262_144 / sum(map(len, batches))


def influxdb(folder: Path, batches: list[Batch]) -> tuple[tuple[float, float], tuple[float, float]]:
    """Return (seconds, CPU seconds) of the bare client and of the store, in turns on one server."""
    import influxdb_client
    from influxdb_client.client.write_api import SYNCHRONOUS

    from benchmarks._influxdb_server import InfluxServer

    library: Any = influxdb_client  # not typed

    registry = registry_of(len(batches[0]))
    prefixes = [prefix(p) for p in registry]
    with InfluxServer(folder / "influxdb") as server:
        os.environ["HALLWATCH_INFLUXDB_TOKEN"] = server.token
        at = InfluxSettings(url=server.url, timeout_s=60)
        store = InfluxStore(StorageSettings(kind=StoreKind.INFLUXDB, path=folder, influxdb=at), registry)
        client = library.InfluxDBClient(
            url=server.url, token=server.token, org="-", enable_gzip=True, timeout=60_000
        )
        api = client.write_api(write_options=SYNCHRONOUS)
        prepared = {
            id(b): [
                "\n".join(lines[i : i + at.lines_per_request]) for i in range(0, len(b), at.lines_per_request)
            ]
            for b in batches
            if (lines := reading_lines(b, prefixes))
        }

        def bare(b: Batch) -> None:
            for body in prepared[id(b)]:
                api.write(bucket="hallwatch/raw", record=body, write_precision="ms")

        store.write(batches[0])  # makes the series
        ours: list[tuple[float, float]] = []
        theirs: list[tuple[float, float]] = []
        for batch in batches[1:]:
            theirs.append(timed(bare, [batch, batch]))
            live = Batch.of(batch.point, now_ms(), batch.value)
            ours.append(timed(store.write, [live, live]))
        client.close()
        store.close()
    middle = [tuple(statistics.median(x) for x in zip(*rows, strict=True)) for rows in (theirs, ours)]
    return middle[0], middle[1]


def figure(value: float, unit: str, reference: float | None = None) -> dict[str, Any]:
    return {
        "value": round(value, 4),
        "unit": unit,
        "reference": None if reference is None else round(reference, 4),
        "ratio": round(value / reference, 3) if reference else None,
    }


def measure(count: int, folder: Path, latency_s: float) -> tuple[dict[str, Any], list[str]]:
    """Return the figures, and the slowest writes in words."""
    start = now_ms() // HOUR * HOUR
    batches = sweeps(RATE, count, start)
    values = RATE * (count - 1)
    # in turns, so that what else the machine does falls on both
    rounds = [
        (bare_duckdb(_sub(folder, f"b{i}"), batches), our_duckdb(_sub(folder, f"o{i}"), batches))
        for i in range(3)
    ]
    bare, ours = (min(r[k] for r in rounds) for k in (0, 1))
    bare_cpu, our_cpu = (min(r[k][1] for r in rounds) for k in (0, 1))
    ingest_s, ingest_cpu, size = through_ingest(folder, batches)
    figures = {
        "duckdb_values_per_s": figure(values / ours[0], "1/s", values / bare[0]),
        "duckdb_values_per_cpu_s": figure(values / our_cpu, "1/s", values / bare_cpu),
        "duckdb_core_share": figure(our_cpu / values * RATE, "1", bare_cpu / values * RATE),
        "ingest_values_per_s": figure(values / ingest_s, "1/s", values / bare[0]),
        "ingest_core_share": figure(ingest_cpu / values * RATE, "1", bare_cpu / values * RATE),
        "bytes_per_value": figure(size, "B", 21.0),
        "values": figure(values, "1"),
    }
    slowest: list[str] = []
    if latency_s > 0:
        told = measure_latency(_sub(folder, "latency"), registry_of(RATE), latency_s)
        slowest = told.pop("slowest_writes")
        figures |= {name: figure(*three) for name, three in told.items()}
    try:
        client, store = influxdb(folder, sweeps(20_000, 6, start))
    except (ImportError, FileNotFoundError) as e:
        print(
            f"InfluxDB left out, it needs a checkout and the programs influxd and nginx: {e}", file=sys.stderr
        )
        return figures, slowest
    figures |= {
        "influxdb_values_per_s": figure(20_000 / store[0], "1/s", 20_000 / client[0]),
        "influxdb_core_share": figure(store[1] / 20_000 * RATE, "1", client[1] / 20_000 * RATE),
    }
    return figures, slowest


def _sub(folder: Path, name: str) -> Path:
    (folder / name).mkdir()
    return folder / name


def main() -> None:
    parser = argparse.ArgumentParser(prog="hallwatch bench store", description=__doc__)
    parser.add_argument("--sweeps", type=int, default=31, help="sweeps of 172,800 values (default 31)")
    parser.add_argument(
        "--latency-s", type=float, default=180, help="seconds of the latency part (default 180; 0: none)"
    )
    options = parser.parse_args()
    folder = Path(tempfile.mkdtemp())
    try:
        figures, slowest = measure(options.sweeps, folder, options.latency_s)
    finally:
        shutil.rmtree(folder)
    machine = {"cpus": os.cpu_count(), "python": platform.python_version(), "duckdb": duckdb.__version__}
    told = {"name": "store", "machine": machine, "figures": figures, "slowest_writes": slowest}
    json.dump(told, sys.stdout, indent=1)
    print()


if __name__ == "__main__":
    main()
