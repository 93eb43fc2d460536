"""Outages while a whole factory is collected: `python -m benchmarks.outages [--influxdb]`.

1,728 trays (173,000 values/s) at QoS 1 and 5,000 DSX values a second at QoS 1 through a real mosquitto into the embedded
store, and three real tray agents beside them. One after the other: the collector is killed, an agent is killed, the network
of an agent is cut, the broker is stopped for a minute, while the disk of one agent's spool is full. Then every sweep is
looked for in the store by its sequence number, and every DSX value by its time.

`--influxdb` instead stops a real InfluxDB for five minutes, under a load that it can take on this machine.

Prints one JSON object; takes about 8 minutes, with `--influxdb` 15.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.ingest import Receiver, figure, machine
from domain.batch import now_ms
from domain.points import PointRegistry
from domain.tray import TRAY_FIELDS
from storage.influxdb_store import InfluxStore
from storage.open import open_store
from storage.settings import InfluxSettings, StorageSettings, StoreKind
from storage.telemetry import TelemetryStore
from tests.nvml_standin import build
from tests.servers import InfluxServer
from tests.servers.mosquitto import Mosquitto
from tests.servers.tray_agent import Cable, TrayAgentProcess

SETTLE_S = 240
SMALL_DISK = 48 * 1024
"""Bytes of the third agent's spool disk: half a minute of sweeps."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--influxdb", action="store_true")
    parser.add_argument("--trays", type=int, default=None, help="default 1728; with --influxdb 120")
    parser.add_argument("--dsx", type=int, default=None, help="default 5000; with --influxdb 500")
    parser.add_argument(
        "--away", type=float, default=None, help="seconds that broker (default 60) or InfluxDB (300) is away"
    )
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        measure = away_influxdb if options.influxdb else outages
        figures = measure(options, Path(folder))
    print(json.dumps({"name": "outages", "machine": machine(), "figures": figures}, indent=1))


def outages(options: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """Run the load and the outages on the embedded store; return the figures."""
    trays, dsx = options.trays or 1728, options.dsx or 5000
    away = options.away or 60.0
    seconds = 170 + 2 * away
    for name in ("nvml", "data"):
        (folder / name).mkdir()
    library = build(folder / "nvml").parent
    with contextlib.ExitStack() as stack:
        cable = stack.enter_context(Cable())
        small = stack.enter_context(small_disk(folder / "small", SMALL_DISK))
        broker = Mosquitto(folder / "broker", "max_queued_messages 0\nmax_inflight_messages 0\nlog_dest none")
        settings = broker.folder / "mosquitto.conf"
        settings.write_text(
            settings.read_text() + f"listener {broker.port} {cable.near}\nallow_anonymous true\n"
        )
        stack.enter_context(broker)
        receiver = Receiver("hallwatch", broker.port, folder / "data")
        stack.callback(lambda: receiver.kill())
        agents = {
            "killed": agent(folder, library, broker.url, "T01"),
            "cut": agent(folder, library, f"mqtt://{cable.near}:{broker.port}", "T02", prefix=cable.prefix),
            "full": agent(folder, library, broker.url, "T03", spool=str(small)),
        }
        for one in agents.values():
            stack.enter_context(one)
        load = start_load(broker.port, trays, dsx, seconds)
        begun = time.monotonic()

        def at(moment: float, what: str) -> None:
            time.sleep(max(0.0, begun + moment - time.monotonic()))
            print(f"{time.monotonic() - begun:6.1f} s  {what}", file=sys.stderr)

        at(20, "collector killed")
        receiver.kill()
        receiver = Receiver("hallwatch", broker.port, folder / "data")
        at(50, "agent killed")
        agents["killed"].kill()
        time.sleep(5)
        agents["killed"].start()
        at(70, "cable of an agent cut")
        cable.cut()
        time.sleep(30)
        cable.mend()
        at(110, "broker stopped")
        broker.stop()
        time.sleep(away)
        broker.start()
        at(110 + away, "broker back")
        sent = json.loads(load.communicate(timeout=seconds + SETTLE_S)[0])
        at(0, "load ended")
        for one in agents.values():
            one.stop()
        told = settled(receiver)
        at(0, "all received")
        receiver.__exit__()
        registry = PointRegistry()
        store = open_store(StorageSettings(path=folder / "data"), registry)
        try:
            real = {what: accounted(store, registry, "R999", one.tray) for what, one in agents.items()}
            figures = missing_figures(store, registry, sent, trays, dsx)
        finally:
            store.close()
    for what, (sweeps, gone, dropped) in real.items():
        figures[f"agent_{what}_sweeps"] = figure(sweeps, "sweeps")
        figures[f"agent_{what}_missing"] = figure(gone, "sweeps")
        figures[f"agent_{what}_dropped_by_its_own_count"] = figure(dropped, "sweeps")
    figures["collector_saw_broker_away_s"] = figure(told["outage_s"], "s")
    figures["delay_max_after_last_outage_s"] = figure(told.get("delay_max_s", float("nan")), "s")
    return figures


def away_influxdb(options: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """Stop InfluxDB under load; return the figures."""
    trays, dsx = options.trays or 120, options.dsx or 500
    away = options.away or 300.0
    seconds = 30 + 2 * away
    (folder / "data").mkdir()
    with contextlib.ExitStack() as stack:
        server = stack.enter_context(InfluxServer(folder / "influxdb"))
        os.environ["HALLWATCH_INFLUXDB_TOKEN"] = server.token
        broker = Mosquitto(folder / "broker", "max_queued_messages 0\nmax_inflight_messages 0\nlog_dest none")
        stack.enter_context(broker)
        receiver = stack.enter_context(
            Receiver("hallwatch", broker.port, folder / "data", "--influxdb", server.url)
        )
        load = start_load(broker.port, trays, dsx, seconds)
        time.sleep(30)
        receiver.report()
        server.influxd.stop()
        stopped = time.monotonic()
        time.sleep(away)
        during = receiver.report()
        server.influxd.start()
        started = time.monotonic()
        drained, live = float("nan"), []
        while load.poll() is None:
            time.sleep(2)
            told = receiver.report()
            live.append(told.get("delay_p99_s", float("nan")))
            if not told["spool_rows"] and np.isnan(drained):
                drained = time.monotonic() - started
                while_draining = list(live)
        sent = json.loads(load.communicate()[0])
        told = settled(receiver)
        registry = PointRegistry()
        settings = StorageSettings(
            kind=StoreKind.INFLUXDB,
            path=folder / "audit",
            influxdb=InfluxSettings(url=server.url, timeout_s=120),
        )
        store = InfluxStore(settings, registry)
        for point in store.load_points():
            registry.register(point)
        try:
            figures = missing_figures(store, registry, sent, trays, dsx)
        finally:
            store.close()
    if np.isnan(drained):
        while_draining = live
    return figures | {
        "values_per_s": figure(sent["values"] / seconds, "values/s"),
        "influxdb_away_s": figure(started - stopped, "s"),
        "spooled": figure(told["spooled"], "values"),
        "drained": figure(told["drained"], "values"),
        "dropped": figure(told["dropped"], "values"),
        "delay_p99_while_away_s": figure(during["delay_p99_s"], "s"),
        "spool_empty_after_s": figure(drained, "s"),
        "delay_p99_while_draining_s": figure(float(np.nanmax(while_draining)), "s"),
    }


def agent(
    folder: Path, library: Path, url: str, tray: str, prefix: tuple[str, ...] = (), **settings: object
) -> TrayAgentProcess:
    """Return a real agent at 1 Hz."""
    settings = {"rack": "R999", "tray": tray, "interval": 1.0, "replay_rate": 50, **settings}
    return TrayAgentProcess(folder / tray, library, url, prefix, **settings)


@contextlib.contextmanager
def small_disk(folder: Path, size: int) -> Iterator[Path]:
    """Yield the folder of a file system of so many bytes in memory; needs root."""
    folder.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(folder)], check=True)
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=False)


def start_load(port: int, trays: int, dsx: int, seconds: float) -> subprocess.Popen[str]:
    """Start the generator; it prints what it sent."""
    arguments = ["--port", str(port), "--trays", str(trays), "--dsx", str(dsx), "--seconds", str(seconds)]
    command = [sys.executable, "-m", "benchmarks._plant_load", *arguments, "--kept"]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


def settled(receiver: Receiver) -> dict[str, Any]:
    """Wait until nothing arrives any more and the spool is empty; return the last report."""
    end = time.monotonic() + SETTLE_S
    told = receiver.settle()
    while told["spool_rows"] and time.monotonic() < end:
        time.sleep(2)
        told = receiver.report()
    return told


def missing_figures(
    store: TelemetryStore, registry: PointRegistry, sent: dict[str, Any], trays: int, dsx: int
) -> dict[str, Any]:
    """Look for every sweep and DSX value that was sent."""
    start, end = now_ms() - 86_400_000, now_ms() + 60_000
    of_tray = {point.object_id: i for i, point in enumerate(registry) if point.point_type == "SweepsTaken"}
    names = [f"R{t // 18 + 1:03d}-T{t % 18 + 1:02d}" for t in range(trays)]
    found = store.read(np.array([of_tray[name] for name in names], np.int32), start, end)
    there = len(np.unique(np.stack([found.point, found.value.astype(np.int64)]), axis=1).T)
    gpus = np.array(
        [
            i
            for i, p in enumerate(registry)
            if p.point_type == "GpuPower" and not p.object_id.startswith("R999")
        ],
        np.int32,
    )
    powers = sum(len(store.read(part, start, end)) for part in np.array_split(gpus, 20))
    meters = np.array([i for i, p in enumerate(registry) if p.object_id.startswith("METER-")], np.int32)
    values = sum(len(store.read(part, start, end)) for part in np.array_split(meters, 10))
    return {
        "sweeps_sent": figure(sent["sweeps"], "sweeps"),
        "sweeps_missing": figure(sent["sweeps"] - there, "sweeps"),
        "sweeps_stored_twice": figure(len(found) - there, "sweeps"),
        "gpu_power_readings_missing": figure(4 * sent["sweeps"] - powers, "values"),
        "dsx_values_sent": figure(sent["dsx_values"], "values"),
        "dsx_values_missing": figure(sent["dsx_values"] - values, "values"),
        "unacknowledged_at_the_end": figure(sent["unacknowledged"], "messages"),
    }


def accounted(store: TelemetryStore, registry: PointRegistry, rack: str, tray: str) -> tuple[int, int, int]:
    """Return a real agent's sweeps: highest number taken, missing in the store, dropped as it says itself."""
    point = {
        p.point_type: i
        for i, p in enumerate(registry)
        if p.object_id == f"{rack}-{tray}" and p.point_type in TRAY_FIELDS
    }
    start, end = now_ms() - 86_400_000, now_ms() + 60_000
    taken = store.read(np.array([point["SweepsTaken"]], np.int32), start, end).value.astype(int)
    dropped = store.read(np.array([point["SweepsDropped"]], np.int32), start, end).value
    return int(taken.max()) + 1, int(taken.max()) + 1 - len(set(taken.tolist())), int(dropped.max())


if __name__ == "__main__":
    main()
