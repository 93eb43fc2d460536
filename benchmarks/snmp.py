"""SNMP: what polling a fleet costs, beside net-snmp's own walk and beside pysnmp, in one run.

Devices are rack PDUs of 60 readings, answered over loopback by a process of their own.

- `readings_per_s`: readings that one collector takes in when nothing makes it wait; reference: objects a second of
  `snmpbulkwalk` on the same agents, one after the other.
- `core_share`: part of a core that 400 devices x 60 readings every 10 s cost, 40 devices silent and 20 answering
  after 3 s; reference: the same number of readings a second through pysnmp.
- `snmpd_objects_per_s`, `pysnmp_snmpd_objects_per_s`: walking a real snmpd; reference: `snmpbulkwalk` there.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import platform
import resource
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import structlog

from benchmarks._snmp_agents import READINGS, rack_pdu
from collectors.snmp.client import PatientClient, SnmpClient
from collectors.snmp.collector import SnmpCollector
from collectors.snmp.pysnmp_client import PysnmpClient
from collectors.snmp.settings import Secrets, SnmpSettings
from domain.batch import Batch
from domain.points import PointRegistry

INTERVAL = 10.0
PATIENCE = 300.0
"""Seconds in which all devices must have answered."""
SYSTEM_TREE = "1.3.6.1.2.1"


@contextmanager
def agents(healthy: int, silent: int = 0, slow: int = 0) -> Iterator[list[int]]:
    """Run agents in a process of their own and yield their ports."""
    process = subprocess.Popen(
        [sys.executable, "-m", "benchmarks._snmp_agents", str(healthy), str(silent), str(slow)],
        stdout=subprocess.PIPE,
        text=True,
        cwd=Path(__file__).parent.parent,
    )
    try:
        assert process.stdout is not None
        yield json.loads(process.stdout.readline())
    finally:
        process.kill()
        process.wait()


@contextmanager
def snmpd() -> Iterator[int | None]:
    """Run a real agent and yield its port; None where net-snmp is not installed."""
    program = shutil.which("snmpd", path=os.environ["PATH"] + ":/usr/sbin:/sbin")
    if program is None:
        yield None
        return
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
        s.bind(("127.0.0.1", 0))
        port = s.getsockname()[1]
    with tempfile.TemporaryDirectory() as folder:
        config = Path(folder) / "snmpd.conf"
        config.write_text("rocommunity public 127.0.0.1\n")
        process = subprocess.Popen(
            [program, "-f", "-Lf", os.devnull, "-C", "-c", str(config), f"udp:127.0.0.1:{port}"],
            env={**os.environ, "SNMP_PERSISTENT_DIR": folder, "MIBS": ""},
        )
        try:
            time.sleep(1.0)
            yield port
        finally:
            process.terminate()
            process.wait()


def bulkwalk(port: int, root: str) -> int:
    """Return the number of objects that net-snmp's own walk finds."""
    done = subprocess.run(
        ["snmpbulkwalk", "-v2c", "-c", "public", "-Cr40", "-Oqn", f"127.0.0.1:{port}", root],
        capture_output=True,
        check=True,
        env={**os.environ, "MIBS": ""},
    )
    return done.stdout.count(b"\n") - (b"No more variables" in done.stdout)


def rate(work: Callable[[], int], seconds: float = 2.0) -> float:
    """Return what `work` counts, a second, over about `seconds`."""
    began, count = time.perf_counter(), 0
    while time.perf_counter() - began < seconds:
        count += work()
    return count / (time.perf_counter() - began)


async def walk_rate(client: SnmpClient, seconds: float = 2.0) -> float:
    """Return the objects a second of walking a real agent over and over."""
    began, count = time.perf_counter(), 0
    while time.perf_counter() - began < seconds:
        count += len(await client.walk(SYSTEM_TREE, count=40, most=20_000))
    return count / (time.perf_counter() - began)


async def collected(
    ports: Sequence[int], interval: float, seconds: float, warm: float, up: int
) -> dict[str, float]:
    """Run a collector and return what it did in `seconds`, once `up` devices answer and `warm` seconds have passed.

    Raises
    ------
    TimeoutError
        Where fewer answer within PATIENCE seconds.
    """
    registry, rows = PointRegistry(), 0

    async def sink(batch: Batch) -> None:
        nonlocal rows
        rows += len(batch)

    targets = [{"host": "127.0.0.1", "port": p, "object_id": f"PDU-{i}"} for i, p in enumerate(ports)]
    polling = {"interval": interval, "timeout": 1.0, "deadline": max(0.9 * interval, 5.0)}
    collector = SnmpCollector(
        SnmpSettings.model_validate({"polling": polling, "targets": targets}), registry, sink
    )
    task = asyncio.create_task(collector.run())
    began = time.perf_counter()
    async with asyncio.timeout(PATIENCE):
        while collector.stats()["up"] < up:  # noqa: ASYNC110
            await asyncio.sleep(0.1)
    all_up = time.perf_counter() - began
    await asyncio.sleep(warm)
    collector.forget_lateness()
    before = collector.stats()["readings"]
    cpu, began = time.process_time(), time.perf_counter()
    rss, tasks = _rss(), len(asyncio.all_tasks())
    await asyncio.sleep(seconds)
    took, cpu = time.perf_counter() - began, time.process_time() - cpu
    stats = collector.stats()
    grown = {"rss": _rss() - rss, "tasks": len(asyncio.all_tasks()) - tasks}
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task
    readings = stats["readings"] - before
    return {
        "readings_per_s": readings / took,
        "core_share": cpu / took,
        "cpu_s_per_reading": cpu / max(1, readings),
        "lateness_p99_s": stats["lateness_p99_s"],
        "up": stats["up"],
        "all_up_s": all_up,
        **grown,
    }


async def pysnmp_cpu_per_reading(port: int, seconds: float = 4.0) -> float:
    """Return the CPU seconds that pysnmp takes for one reading, 40 in a request."""
    client = PysnmpClient("127.0.0.1", port, Secrets(), timeout=3.0)
    oids = [oid for oid, _ in await client.walk("1.3.6.1.4.1.318", count=40)][:40]
    await client.get(oids)
    cpu, until, count = time.process_time(), time.perf_counter() + seconds, 0
    while time.perf_counter() < until:
        count += len(await client.get(oids))
    return (time.process_time() - cpu) / count


def _rss() -> float:
    with open("/proc/self/statm") as pages:
        return int(pages.read().split()[1]) * resource.getpagesize()


def figure(value: float, unit: str, reference: float | None = None) -> dict[str, Any]:
    """Return a figure as every benchmark prints it."""
    return {
        "value": round(value, 6),
        "unit": unit,
        "reference": None if reference is None else round(reference, 6),
        "ratio": round(value / reference, 3) if reference else None,
    }


def measure(devices: int, seconds: float) -> dict[str, Any]:
    """Return all figures."""
    silent, slow = devices // 10, devices // 20
    figures: dict[str, Any] = {}
    has_walk = shutil.which("snmpbulkwalk") is not None
    with agents(64) as ports:
        objects = len(rack_pdu()) - 3
        reference = rate(lambda: bulkwalk(ports[0], "1.3.6.1.4.1.318")) if has_walk else None
        assert not has_walk or bulkwalk(ports[0], "1.3.6.1.4.1.318") == objects
        fast = asyncio.run(collected(ports, 0.05, 8.0, 2.0, 64))
        figures["readings_per_s"] = figure(fast["readings_per_s"], "1/s", reference)
        figures["readings_per_cpu_s"] = figure(1 / fast["cpu_s_per_reading"], "1/s")
        other = asyncio.run(pysnmp_cpu_per_reading(ports[0]))
        figures["pysnmp_readings_per_cpu_s"] = figure(1 / other, "1/s")
    with agents(devices - silent - slow, silent, slow) as ports:
        fleet = asyncio.run(collected(ports, INTERVAL, seconds, 2 * INTERVAL, devices - silent - slow))
    due = (devices - silent - slow) * READINGS / INTERVAL
    figures |= {
        "core_share": figure(fleet["core_share"], "1", other * due),
        "fleet_readings_per_s": figure(fleet["readings_per_s"], "1/s", due),
        "fleet_lateness_p99_s": figure(fleet["lateness_p99_s"], "s"),
        "fleet_all_up_s": figure(fleet["all_up_s"], "s"),
        "fleet_devices_up": figure(fleet["up"], "1", devices - silent - slow),
        "fleet_memory_growth": figure(fleet["rss"], "B"),
        "fleet_task_growth": figure(fleet["tasks"], "1"),
    }
    with snmpd() as port:
        if port is not None and has_walk:
            reference = rate(lambda: bulkwalk(port, SYSTEM_TREE))
            ours = asyncio.run(walk_rate(PatientClient("127.0.0.1", port, Secrets(), timeout=5.0)))
            slower = asyncio.run(walk_rate(PysnmpClient("127.0.0.1", port, Secrets(), timeout=5.0)))
            figures["snmpd_objects_per_s"] = figure(ours, "1/s", reference)
            figures["pysnmp_snmpd_objects_per_s"] = figure(slower, "1/s", reference)
    return figures


def main() -> None:
    parser = argparse.ArgumentParser(prog="hallwatch bench snmp", description=__doc__)
    parser.add_argument("--devices", type=int, default=400, help="devices of the fleet (default 400)")
    parser.add_argument(
        "--seconds", type=float, default=30.0, help="how long the fleet is watched (default 30)"
    )
    parser.add_argument("--json", action="store_true", help="as always: the figures are JSON")
    options = parser.parse_args()
    structlog.configure(logger_factory=structlog.PrintLoggerFactory(sys.stderr))
    figures = measure(options.devices, options.seconds)
    machine = {"cpus": os.cpu_count(), "python": platform.python_version(), "load": os.getloadavg()[0]}
    json.dump({"name": "snmp", "machine": machine, "figures": figures}, sys.stdout, indent=1)
    print()


if __name__ == "__main__":
    main()
