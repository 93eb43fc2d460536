"""Ingest of a whole factory through a real mosquitto: `python -m benchmarks.ingest [--seconds 120]`.

1,728 trays of four GPUs with 25 fields each, once a second, at QoS 1, and 5,000 DSX messages a second at QoS 0; collector,
ingest and embedded store in one process, as the service runs them. Then a burst, against paho and DuckDB as they come.
Broker and generator are processes of their own on the same machine. Prints one JSON object.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import psutil


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--seconds", type=float, default=120.0, help="length of the steady load (default 120)"
    )
    parser.add_argument("--trays", type=int, default=1728)
    parser.add_argument("--dsx", type=int, default=5000, help="DSX messages a second")
    parser.add_argument(
        "--burst", type=float, default=15.0, help="seconds' worth of messages in the burst; 0: none"
    )
    parser.add_argument("--json", action="store_true", help="the only form there is")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        print(json.dumps(measure(options, Path(folder)), indent=1))


def measure(options: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """Run both phases and return the figures."""
    load = ("--trays", str(options.trays), "--dsx", str(options.dsx))
    with Broker(folder) as broker:
        with Receiver("hallwatch", broker.port, folder) as ours:
            # first, so that every point is known: a factory starts once
            warm = generate(broker.port, *load, "--seconds", str(WARM_S))
            ours.settle()
            ours.report()
            steady, cpu, generator = ours.during(
                lambda: generate(
                    broker.port, *load, "--seconds", str(options.seconds), "--first", str(WARM_S)
                )
            )
            burst = None
            if options.burst:
                burst = ours.burst(
                    broker.port, *load, "--first", str(WARM_S + int(options.seconds)), seconds=options.burst
                )
        reference = None
        if options.burst:
            with Receiver("simple", broker.port, folder) as simple:
                reference = simple.burst(broker.port, *load, seconds=options.burst)
    lost = generator["values"] - steady["rows"]
    figures = {
        "lost": figure(lost, "values"),
        "lost_sweeps": figure(generator["sweeps"] + warm["sweeps"] - steady["sweeps"], "sweeps"),
        "duplicates": figure(steady["duplicate"], "values"),
        "values_per_s": figure(generator["values"] / generator["seconds"], "values/s"),
        "messages_per_s": figure(
            (generator["sweeps"] + generator["dsx_values"]) / generator["seconds"], "messages/s"
        ),
        "duration_s": figure(generator["seconds"], "s"),
        "core_share": figure(cpu / generator["seconds"], "cores"),
        "delay_p50_s": figure(steady.get("delay_p50_s", float("nan")), "s"),
        "delay_p99_s": figure(steady.get("delay_p99_s", float("nan")), "s"),
        "delay_max_s": figure(steady.get("delay_max_s", float("nan")), "s"),
        "generator_lag_s": figure(generator["worst_lag_s"], "s"),
        "generator_core_share": figure(generator["cpu_s"] / generator["seconds"], "cores"),
    }
    if burst and reference:
        figures["burst_values_per_s"] = figure(burst["rate"], "values/s", reference["rate"])
        figures["burst_values_per_core_second"] = figure(burst["per_cpu"], "values/s", reference["per_cpu"])
    return {
        "name": "ingest",
        "machine": machine(),
        "figures": figures,
        "violations": steady["violations"],
    }


WARM_S = 6
LOAD_BEFORE = os.getloadavg()[0]


def machine() -> dict[str, Any]:
    """Return what the figures were measured on."""
    return {
        "cpus": os.cpu_count(),
        "python": platform.python_version(),
        "system": platform.platform(),
        "load_average_before": LOAD_BEFORE,
    }


def figure(value: float, unit: str, reference: float | None = None) -> dict[str, Any]:
    """Return one figure; reference is the simple way in the same run."""
    return {
        "value": round(value, 4),
        "unit": unit,
        "reference": None if reference is None else round(reference, 4),
        "ratio": round(value / reference, 4) if reference else None,
    }


def generate(port: int, *arguments: str) -> dict[str, Any]:
    """Run the generator and return what it sent."""
    command = [sys.executable, "-m", "benchmarks._plant_load", "--port", str(port), *arguments]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    told: dict[str, Any] = json.loads(done.stdout)
    return told


class Broker:
    """A real mosquitto that never drops a queued message."""

    def __init__(self, folder: Path) -> None:
        program = shutil.which("mosquitto", path=os.environ.get("PATH", "") + ":/usr/sbin")
        if program is None:
            raise SystemExit("this benchmark needs mosquitto; on Debian: apt-get install mosquitto")
        with socket.socket() as s:
            s.bind(("127.0.0.1", 0))
            self.port = int(s.getsockname()[1])
        config = folder / "mosquitto.conf"
        config.write_text(
            f"listener {self.port} 127.0.0.1\nallow_anonymous true\nmax_queued_messages 0\n"
            "max_inflight_messages 0\nlog_dest none\n"
        )
        self._process = subprocess.Popen([program, "-c", str(config)])
        time.sleep(0.5)

    def __enter__(self) -> Broker:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.terminate()
        self._process.wait(10)


class Receiver:
    """One of the receivers of `benchmarks._ingest_processes`, and what it costs."""

    def __init__(self, which: str, port: int, folder: Path, *more: str) -> None:
        command = [sys.executable, "-m", "benchmarks._ingest_processes", which, "--port", str(port)]
        self._process = subprocess.Popen(
            [*command, "--data", str(folder), *more], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        self._psutil = psutil.Process(self._process.pid)
        self._log = ""
        while not self.report()["ready"]:
            time.sleep(0.2)

    def __enter__(self) -> Receiver:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.terminate()
        self._process.wait(30)

    def kill(self) -> None:
        """End it with SIGKILL."""
        self._process.kill()
        self._process.wait(30)

    def report(self) -> dict[str, Any]:
        """Return what was received since the last report."""
        assert self._process.stdin
        assert self._process.stdout
        self._process.stdin.write("report\n")
        self._process.stdin.flush()
        while True:
            line = self._process.stdout.readline()
            if not line:
                raise SystemExit(f"the receiver ended:\n{self._log[-3000:]}")
            if line.startswith("{"):
                told: dict[str, Any] = json.loads(line)
                return told
            self._log += line

    def cpu(self) -> float:
        """Return the CPU seconds that the process has used."""
        times = self._psutil.cpu_times()
        return float(times.user + times.system)

    def settle(self, quiet: float = 1.0) -> dict[str, Any]:
        """Wait until nothing more arrives; return the sum of what did."""
        total: dict[str, Any] = {"rows": 0}
        still = 0
        while still < 3:
            time.sleep(quiet)
            told = self.report()
            still = 0 if told["rows"] or told.get("queued") else still + 1
            worse = {k: max(v, total.get(k, 0.0)) for k, v in told.items() if k.startswith("delay")}
            times = {
                "first": total.get("first") or told["first"],
                "last": told["last"] or total.get("last", 0.0),
            }
            total = {**total, **told, **worse, **times, "rows": total["rows"] + told["rows"]}
        return total

    def during(self, generate_load: Any) -> tuple[dict[str, Any], float, dict[str, Any]]:
        """Return what was received during a load and just after it, the CPU seconds, and what was sent."""
        before = self.cpu()
        generator = generate_load()
        time.sleep(3)
        steady = self.report()
        used = self.cpu() - before
        rest = self.settle()
        return {**steady, "rows": steady["rows"] + rest["rows"]}, used, generator

    def burst(self, port: int, *load: str, seconds: float) -> dict[str, float]:
        """Return values a second, and a second of CPU, while everything comes at once."""
        self.report()
        before = self.cpu()
        generate(port, *load, "--seconds", str(seconds), "--at-once")
        told = self.settle()
        used = self.cpu() - before
        return {"rate": told["rows"] / max(told["last"] - told["first"], 0.1), "per_cpu": told["rows"] / used}


if __name__ == "__main__":
    main()
