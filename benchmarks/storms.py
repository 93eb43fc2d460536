"""Storms of the full-size demo: ``python -m benchmarks.storms [--racks 96] [--only feed,cdu] [--lasts 90]``.

The demo runs as its users run it, its service a process of its own, telling a webhook of ours. One after the other it meets
what shows at many places at once; each storm is over, and its alerts are, before the next begins. Prints one JSON object: of
each storm the causes, the alerts that were recorded and told, the messages, and how long the first page of each cause took,
from the fault and from the reading behind it.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import psutil
import yaml

from benchmarks.ingest import figure, machine
from domain.alert import Alert, Condition
from service.configuration import SHIPPED
from storage.records import Records

READY_S, CALM_S = 420.0, 60.0
OVER_S = 420.0
"""So long at most is waited until the alerts of a storm have cleared."""


@dataclass(frozen=True, slots=True)
class Storm:
    """What happens, and what ought to be told: words that the page of each cause holds."""

    name: str
    causes: tuple[str, ...]
    faults: tuple[tuple[str, str], ...] = ()
    broker: bool = False
    spread: float = 0.0
    """Seconds from the first fault to the last."""


STORMS = (
    Storm("feed lost", ("supply-lost/FEED-A",), (("feed-loss", "FEED-A"),)),
    Storm("cdu lost", ("cdu-stopped/P03-CDU1",), (("cdu-trip", "P03-CDU1"),)),
    Storm("pod cooling lost", ("cooling-lost/P05-cooling",), (("pod-cooling-loss", "P05"),)),
    Storm("ten leaks", tuple(f"leak/R{n:03}" for n in range(3, 93, 9)),
          tuple(("leak", f"R{n:03}") for n in range(3, 93, 9)), spread=10.0),
    Storm("feed and cdu", ("supply-lost/FEED-B", "cdu-stopped/P08-CDU2"),
          (("feed-loss", "FEED-B"), ("cdu-trip", "P08-CDU2"))),
    Storm("clock jump", (), (("bms-clock-ahead", "taipei-1"),)),
    Storm("broker lost", ("source-silent/MQTT broker",), broker=True),
)  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--racks", type=int, default=96)
    parser.add_argument(
        "--gpus",
        type=int,
        default=None,
        help="of a rack; fewer than the site's spare a busy machine their sweeps",
    )
    parser.add_argument("--only", default="", help="words of the storms' names, with commas")
    parser.add_argument("--lasts", type=float, default=90.0, help="seconds of each storm")
    parser.add_argument("--log", type=Path, default=None, help="keep the service's log here")
    options = parser.parse_args()
    chosen = [s for s in STORMS if any(w in s.name for w in options.only.split(",") or [""])]
    with tempfile.TemporaryDirectory() as folder:
        figures, details = measure(options, chosen, Path(folder))
    print(
        json.dumps({"name": "storms", "machine": machine(), "figures": figures, "details": details}, indent=1)
    )


def measure(
    options: argparse.Namespace, storms: list[Storm], folder: Path
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Run one storm after the other; return figures and what was told in each."""
    log = options.log or folder / "service.log"
    figures: dict[str, Any] = {}
    details: dict[str, Any] = {}
    delays: list[float] = []
    leaks: list[float] = []
    with Pages() as pages, demo(folder / "data", options, pages.port, log) as plant:
        time.sleep(CALM_S)
        plant.until_calm()
        for storm in storms:
            seen = raise_storm(plant, pages, storm, options.lasts)
            name = storm.name.replace(" ", "_")
            figures[f"{name}_causes"] = figure(len(storm.causes), "causes")
            figures[f"{name}_alerts_told"] = figure(seen["told"], "alerts")
            figures[f"{name}_messages"] = figure(seen["messages"], "messages")
            figures[f"{name}_alarms_recorded"] = figure(seen["recorded"], "alarms")
            figures[f"{name}_from_fault_s"] = figure(seen["from_fault_s"], "s")
            details[storm.name] = seen
            (leaks if "leak" in storm.name else delays).extend(seen["from_reading_s"].values())
            print(json.dumps({storm.name: seen}), file=sys.stderr, flush=True)
    for name, taken in (("page", delays), ("leak", leaks)):
        if taken:
            figures[f"{name}_median_s"] = figure(float(np.median(taken)), "s")
            figures[f"{name}_p99_s"] = figure(float(np.percentile(taken, 99)), "s")
    figures["load_average"] = figure(os.getloadavg()[0], "processes")
    return figures, details


def raise_storm(plant: Plant, pages: Pages, storm: Storm, lasts: float) -> dict[str, Any]:
    """Let a storm happen and end; return what became of it."""
    load = os.getloadavg()[0]
    begun, begun_ms = time.time(), int(time.time() * 1000)
    if storm.broker:
        plant.broker.suspend()
    for number, (fault, target) in enumerate(storm.faults):
        plant.raise_fault(fault, target, storm.spread * number / max(len(storm.faults) - 1, 1))
    until(lambda: set(storm.causes) <= pages.first(begun).keys(), max(lasts, 200.0 if storm.broker else 0.0))
    time.sleep(max(begun + lasts - time.time(), 0))
    if storm.broker:
        plant.broker.resume()
    plant.end_faults()
    calm_s = plant.until_calm()
    first = pages.first(begun)
    told = pages.told(begun)
    recorded = plant.history(begun_ms)
    opened = [key for key, event in told if event in ("opened", "worsened", "escalated")]
    wanted = {key: first[key] for key in storm.causes if key in first}
    return {
        "told": len(opened),
        "told_alerts": opened,
        "not_told": sorted(set(storm.causes) - first.keys()),
        "messages": pages.messages(begun),
        "recorded": len(recorded),
        "recorded_by_rule": _counted(recorded),
        "from_fault_s": max((at - begun for at, _ in wanted.values()), default=float("nan")),
        "from_reading_s": {key: at - read for key, (at, read) in wanted.items() if read > begun - 5},
        "summaries": {a.condition.key: a.condition.summary for a in recorded if a.condition.key in first},
        "calm_after_s": calm_s,
        "load_average": load,
    }


def _pages(condition: Condition) -> bool:
    # the demo's grid asks for consent, which nobody gives here
    return condition.severity.rank > 0 and condition.rule != "grid-consent-needed"


def _counted(alerts: list[Alert]) -> dict[str, int]:
    rules = [a.condition.rule for a in alerts]
    return {rule: rules.count(rule) for rule in sorted(set(rules))}


def until(condition: Callable[[], bool], seconds: float) -> float:
    """Wait until a condition holds, so many seconds at most; return how long that was."""
    begun = time.monotonic()
    while not condition() and time.monotonic() < begun + seconds:
        time.sleep(0.1)
    return time.monotonic() - begun


class Plant:
    """The running demo, seen from outside."""

    def __init__(self, data: Path, control: str, process: psutil.Process) -> None:
        self.records = Records(f"sqlite:///{data}/records.sqlite")
        self._control = httpx.Client(base_url=control, timeout=30)
        self.broker = next(p for p in process.children(recursive=True) if "mosquitto" in p.name())

    def raise_fault(self, name: str, target: str, after: float) -> None:
        """Let a fault of the catalogue happen to an object."""
        asked: Mapping[str, Any] = {"name": name, "target": target, "after_s": after, "duration_s": 3600.0}
        self._control.post("/faults", json=asked).raise_for_status()

    def end_faults(self) -> None:
        """End all faults."""
        self._control.delete("/faults").raise_for_status()

    def history(self, since: int) -> list[Alert]:
        """Return the alerts that were opened since (UTC ms), oldest first."""
        return self.records.alert_history(start=since, limit=10_000)[::-1]

    def until_calm(self) -> float:
        """Wait until no alert is active that pages anybody, but for what waits for a person; return how long that was, s."""
        return until(lambda: not any(_pages(a.condition) for a in self.records.active_alerts()), OVER_S)


@contextlib.contextmanager
def demo(data: Path, options: argparse.Namespace, pages: int, log: Path) -> Iterator[Plant]:
    """Run the demo with the shipped rules and a webhook of ours."""
    folder = data / "config"
    folder.mkdir(parents=True)
    shutil.copy(SHIPPED / "alerts.yaml", folder)
    alerts = yaml.safe_load((folder / "alerts.yaml").read_text(encoding="utf-8"))
    alerts["channels"] = {"pages": {"kind": "webhook", "url": f"http://127.0.0.1:{pages}/"}}
    alerts["routes"] = [{"severities": ["critical", "high", "warning"], "channels": ["pages"]}]
    (folder / "alerts.yaml").write_text(yaml.safe_dump(alerts, sort_keys=False), encoding="utf-8")
    command = [
        sys.executable,
        "-m",
        "service",
        "demo",
        "--racks",
        str(options.racks),
        "--port",
        "0",
        "--data",
        str(data),
    ]
    with log.open("wb") as out:
        process = subprocess.Popen(command, stdout=out, stderr=subprocess.STDOUT)
    try:
        until(lambda: b"History:" in log.read_bytes() or process.poll() is not None, READY_S)
        found = re.search(r"curl (http://127\.0\.0\.1:\d+)/catalogue", log.read_text())
        if found is None or process.poll() is not None:
            raise RuntimeError(f"the demo did not start:\n{log.read_text()[-4000:]}")
        yield Plant(data, found.group(1), psutil.Process(process.pid))
    finally:
        process.send_signal(signal.SIGINT)
        try:
            process.wait(30)
        except subprocess.TimeoutExpired:
            process.kill()


@dataclass
class Pages:
    """A receiver of webhooks: what was told when, by wall clock (s since 1970)."""

    got: list[tuple[float, dict[str, Any]]] = field(default_factory=list)

    def __enter__(self) -> Pages:
        got = self.got

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["content-length"])))
                got.append((time.time(), body))
                self.send_response(204)
                self.end_headers()

            def log_message(self, *_: Any) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.port = self._server.server_address[1]
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()

    def _alerts(self, since: float) -> Iterator[tuple[float, dict[str, Any]]]:
        for at, body in list(self.got):
            if at >= since:
                yield from ((at, alert) for alert in body["alerts"])

    def told(self, since: float) -> list[tuple[str, str]]:
        """Return key and event of everything told since, in order."""
        return [(alert["key"], alert["event"]) for _, alert in self._alerts(since)]

    def first(self, since: float) -> dict[str, tuple[float, float]]:
        """Return by key when an alert was first told since, and when the reading behind it was taken."""
        found: dict[str, tuple[float, float]] = {}
        for at, alert in self._alerts(since):
            read = alert["observed"] or alert["opened"]
            found.setdefault(alert["key"], (at, datetime.fromisoformat(read).timestamp()))
        return found

    def messages(self, since: float) -> int:
        """Return how many messages since told that something opened or worsened."""
        return sum(
            any(a["event"] in ("opened", "worsened", "escalated") for a in body["alerts"])
            for at, body in list(self.got)
            if at >= since
        )


if __name__ == "__main__":
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    main()
