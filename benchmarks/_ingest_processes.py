"""The two receivers that `benchmarks.ingest` compares, each a process: Hallwatch, and the simple way.

Each reads lines from its input: ``report`` prints one JSON object of what was received since the last one.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import threading
import time
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import numpy.typing as npt
import orjson
import paho.mqtt.client as paho
import pyarrow as pa
from paho.mqtt.enums import CallbackAPIVersion

from collectors.mqtt.collector import MqttCollector
from collectors.mqtt.settings import BrokerSettings, MqttSettings
from domain.batch import Batch, now_ms
from domain.points import PointRegistry
from storage.ingest import Ingest
from storage.open import open_store
from storage.settings import InfluxSettings, StorageSettings, StoreKind

_EDGES = np.arange(0, 120_001, 10)  # delays, ms


class Delays:
    """How long after its observation each reading was durable."""

    def __init__(self) -> None:
        self.counts: npt.NDArray[np.int64] = np.zeros(len(_EDGES) - 1, np.int64)
        self.rows = 0
        self.first = self.last = 0.0

    def add(self, observed: npt.NDArray[np.int64]) -> None:
        delay = np.clip(now_ms() - observed, 0, int(_EDGES[-1]) - 1)
        self.counts += np.bincount(delay // 10, minlength=len(self.counts))
        self.rows += len(observed)
        self.last = time.time()
        self.first = self.first or self.last

    def report(self) -> dict[str, Any]:
        total = np.cumsum(self.counts)
        told = {"rows": self.rows, "first": self.first, "last": self.last}
        if self.rows:
            for name, share in (("p50", 0.5), ("p99", 0.99), ("max", 1.0)):
                told[f"delay_{name}_s"] = (
                    float(_EDGES[int(np.searchsorted(total, share * total[-1])) + 1]) / 1000
                )
        self.__init__()  # type: ignore[misc]
        return told


def on_lines(answer: Any) -> None:
    """Answer each line of the input in a thread of its own."""

    def read() -> None:
        for line in sys.stdin:
            if line.strip() == "report":
                print(json.dumps(answer()), flush=True)

    threading.Thread(target=read, daemon=True).start()


async def hallwatch(port: int, folder: Path, influxdb: str) -> None:
    """Collector, ingest and store, as the service runs them."""
    settings = StorageSettings(path=folder)
    if influxdb:
        settings = StorageSettings(
            kind=StoreKind.INFLUXDB, path=folder, influxdb=InfluxSettings(url=influxdb, timeout_s=30)
        )
    registry = PointRegistry()
    store = await asyncio.to_thread(open_store, settings, registry)
    ingest = Ingest.open(settings, registry, store)
    delays = Delays()

    async def sink(batch: Batch) -> None:
        await ingest.accept(batch)
        delays.add(batch.observed)

    broker = BrokerSettings(url=f"mqtt://127.0.0.1:{port}", client_id="bench-collector")
    collector = MqttCollector(MqttSettings(broker=broker), registry, sink)

    def answer() -> dict[str, Any]:
        stats = collector.stats()
        names = (
            "sweeps",
            "sweeps_missing",
            "sweeps_repeated",
            "refused",
            "held_back",
            "queued",
            "points",
            "error",
        )
        return {
            **delays.report(),
            "ready": collector.connection.subscribed.is_set(),
            **{name: stats.get(name) for name in names},
            **ingest.counters.as_dict(),
            "spool_rows": ingest.spool.rows,
            "outage_s": collector.connection.state.outage_s,
            "violations": stats["violations"],
        }

    on_lines(answer)
    try:
        async with asyncio.TaskGroup() as group:
            group.create_task(collector.run())
            group.create_task(ingest.run())
    finally:
        await ingest.close()
        store.close()


def simple(port: int, folder: Path) -> None:
    """Paho as it comes, and an append to DuckDB ten times a second: no units, no duplicates, no acknowledgement."""
    database = duckdb.connect(str(folder / "simple.duckdb"))
    database.execute("CREATE TABLE reading (point INTEGER, observed BIGINT, value DOUBLE, quality UTINYINT)")
    names: dict[str, int] = {}
    rows: list[tuple[int, int, list[float | None], int]] = []
    taken: list[tuple[int, int, list[float | None], int]] = []
    delays = Delays()

    def on_message(_client: Any, _data: Any, message: Any) -> None:
        told = orjson.loads(message.payload)
        point = names.setdefault(message.topic, 1000 * len(names))
        if "values" in told:
            rows.append((point, told["t"], told["values"], 1))
        elif "timestamp" in told:
            rows.append((point, told["timestamp"], [told["value"]], told["quality"]))

    client = paho.Client(CallbackAPIVersion.VERSION2)
    client.on_message = on_message
    client.on_connect = lambda c, *_: c.subscribe(
        [("BMS/v1/+/Value/#", 1), ("hallwatch/v1/trays/+/+/sweep", 1)]
    )
    subscribed = threading.Event()
    client.on_subscribe = lambda *_: subscribed.set()
    client.connect("127.0.0.1", port)
    client.loop_start()
    on_lines(lambda: delays.report() | {"ready": subscribed.is_set(), "queued": len(rows) + len(taken)})
    while True:
        time.sleep(0.1)
        taken[:] = rows[:]
        del rows[: len(taken)]
        if taken:
            lengths = [len(r[2]) for r in taken]
            steps = np.concatenate([np.arange(n) for n in lengths])
            values = np.array([v for r in taken for v in r[2]], np.float64)
            readings = pa.table(
                {
                    "point": (np.repeat([r[0] for r in taken], lengths) + steps).astype(np.int32),
                    "observed": np.repeat([r[1] for r in taken], lengths),
                    "value": values,
                    "quality": np.repeat([r[3] for r in taken], lengths).astype(np.uint8),
                }
            ).filter(pa.array(~np.isnan(values)))
            database.execute("INSERT INTO reading SELECT * FROM readings")
            delays.add(readings["observed"].to_numpy())
            taken.clear()


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("which", choices=("hallwatch", "simple"))
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--influxdb", default="", help="URL of the server; the embedded store without")
    options = parser.parse_args()
    if options.which == "simple":
        simple(options.port, options.data)
    else:
        asyncio.run(hallwatch(options.port, options.data, options.influxdb))


if __name__ == "__main__":
    main()
