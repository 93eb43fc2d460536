"""Abuse of the running full-size demo: ``python -m benchmarks.abuse [--minutes 15] [--calm 3] [--racks 96]``.

The demo runs as its users run it, with 1,024 file handles, watching besides its own factory some devices, exporters and a
schedule that misbehave, and paging a receiver beside one that stalls. After some calm minutes everybody abuses it at once,
from processes of their own (`benchmarks._abuse` says how). All the while a well-behaved publisher tells numbered values at
QoS 1, a user asks the console and a partner the API. In the calm and in the middle of the abuse a rack leaks.

Prints one JSON object: what the well-behaved lost, how late alerts and pages were, what user and partner waited, memory and
disk before and after, and what the abusers did.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import resource
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import paho.mqtt.client as mqtt
import psutil
from paho.mqtt.enums import CallbackAPIVersion
from websockets.exceptions import WebSocketException
from websockets.sync.client import connect
from websockets.typing import Origin

from benchmarks._server_process import free_port
from benchmarks.ingest import figure, machine
from dashboard.auth import COOKIE
from domain.dsx import metadata_topic, value_topic

HANDLES = 1024
PUBLISHED = [f"Sensor/AirTemperature/bench/S{n:02}" for n in range(20)]
RATE = 2.0
"""Values a second of each of the well-behaved publisher's points."""
PATIENCE_S = 60.0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=15.0, help="of abuse (default 15)")
    parser.add_argument("--calm", type=float, default=3.0, help="minutes before it (default 3)")
    parser.add_argument("--racks", type=int, default=96)
    parser.add_argument("--only", default="bus,web,devices", help="which abusers")
    parser.add_argument("--log", type=Path, default=None, help="keep the service's log here")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        figures, details = measure(options, Path(folder))
    print(
        json.dumps({"name": "abuse", "machine": machine(), "figures": figures, "details": details}, indent=1)
    )


def measure(options: argparse.Namespace, folder: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """Run the demo calm and abused; return figures and details."""
    calm, abused = options.calm * 60, options.minutes * 60
    log = options.log or folder / "service.log"
    with Pages() as pages, demo(folder / "data", options.racks, pages.port, log) as service:
        user, partner = User(service), Partner(service)
        publisher = Publisher(service.ports["mqtt"])
        window = Window(service, user)
        for one in (user, partner, publisher, window):
            one.start()
        time.sleep(20)  # what a start costs is not the calm
        begun = service.note()
        user.samples.clear()
        partner.samples.clear()
        pages_calm = leak(service, pages, "R010", calm / 2)
        time.sleep(calm / 2)
        before = service.note()
        waits = {"calm_console": user.taken(), "calm_api": partner.taken()}
        abusers = [
            subprocess.Popen(
                [sys.executable, "-m", "benchmarks._abuse", name, str(abused), json.dumps(service.where())],
                stdout=subprocess.PIPE,
                text=True,
            )
            for name in options.only.split(",")
        ]
        try:
            pages_abused = leak(service, pages, "R040", abused / 2)
            did = {
                n: json.loads(p.communicate(timeout=abused + 120)[0] or "{}")
                for n, p in zip(options.only.split(","), abusers, strict=True)
            }
        finally:
            for abuser in abusers:
                if abuser.poll() is None:
                    abuser.kill()
        during = service.note()
        waits |= {"abused_console": user.taken(), "abused_api": partner.taken()}
        for one in (user, partner, publisher, window):
            one.stop()
        time.sleep(5)
        stored, repeated = service.stored()
        lost = publisher.sent - stored
        sweeps = service.missing_sweeps()
        after = service.note()
    seconds = during["at"] - before["at"]
    figures = {
        "lost": figure(lost, "values"),
        "repeated": figure(repeated, "values"),
        "sent": figure(publisher.sent, "values"),
        "sweeps_missing": figure(sweeps, "sweeps"),
        "page_calm_s": figure(pages_calm, "s"),
        "page_abused_s": figure(pages_abused, "s"),
        **{
            f"{name}_p{p}_ms": figure(float(np.percentile(w, p)) * 1000, "ms")
            for name, w in waits.items()
            for p in (50, 95)
            if len(w)
        },
        **{f"{name}_max_ms": figure(float(np.max(w)) * 1000, "ms") for name, w in waits.items() if len(w)},
        "failed_requests": figure(user.failed + partner.failed + window.failed, "requests"),
        "window_headers": figure(window.pushed["live-header"], "pushes"),
        "loop_slow_calm": figure(before["loop"]["slow"], "callbacks"),
        "loop_slow_abused": figure(during["loop"]["slow"] - before["loop"]["slow"], "callbacks"),
        "loop_longest_calm_s": figure(before["loop"]["longest_busy_s"], "s"),
        "loop_longest_s": figure(during["loop"]["longest_busy_s"], "s"),
        "load_average": figure(os.getloadavg()[0], "processes"),
        "alert_evaluations_per_s": figure((during["ticks"] - before["ticks"]) / seconds, "1/s"),
        "alert_interval_longest_s": figure(service.longest_interval, "s"),
        "core_share_calm": figure((before["cpu"] - begun["cpu"]) / (before["at"] - begun["at"]), "cores"),
        "core_share_abused": figure((during["cpu"] - before["cpu"]) / seconds, "cores"),
        "memory_before_mb": figure(before["memory"] / 1e6, "MB"),
        "memory_after_mb": figure(after["memory"] / 1e6, "MB"),
        "disk_before_mb": figure(before["disk"] / 1e6, "MB"),
        "disk_after_mb": figure(after["disk"] / 1e6, "MB"),
        "points_before": figure(before["points"], "points"),
        "points_after": figure(after["points"], "points"),
        "log_mb": figure(log.stat().st_size / 1e6 if log.exists() else 0, "MB"),
    }
    return figures, {
        "abusers": did,
        "parts": after["parts"],
        "collectors": after["collectors"],
        "loop": after["loop"],
    }


# --- the service ----------------------------------------------------------------------------------------------------


class Demo:
    """The running demo, seen from outside; `watch` notes how far its alert evaluations lie apart."""

    def __init__(self, data: Path, process: subprocess.Popen[bytes], hostile: dict[str, int]) -> None:
        self.data = data
        self.hostile = hostile
        self.process = psutil.Process(process.pid)
        told = json.loads((data / "running.json").read_text())
        self.url, self.token = told["url"], told["token"]
        self.credentials = json.loads((data / "demo-credentials.json").read_text())
        self.ports = json.loads((data / "config" / "ports.json").read_text())
        self.longest_interval = 0.0
        self._inside = httpx.Client(
            base_url=f"{self.url}/internal/v1",
            timeout=PATIENCE_S,
            headers={"Authorization": f"Bearer {self.token}"},
        )
        self._ended = threading.Event()
        self._watch = threading.Thread(target=self._watch_alerts, daemon=True)
        self._watch.start()

    def where(self) -> dict[str, Any]:
        """Return what the abusers must know."""
        return {
            **self.hostile,
            "mqtt": self.ports["mqtt"],
            "web": int(self.url.rsplit(":", 1)[1]),
            "api_key": self.credentials["api_key"],
            "rack": "R001",
            "known_key": self.key_of("R001/RackPower"),
        }

    def key_of(self, pattern: str) -> str:
        now = int(time.time() * 1000)
        found = self._inside.get(
            "/query", params={"pattern": pattern, "start": now - 60_000, "end": now}
        ).json()
        return str(found[0]["key"])

    def health(self) -> dict[str, Any]:
        """Return the health page, waited for: a service that answers nothing for minutes raises."""
        for _ in range(30):
            with contextlib.suppress(httpx.HTTPError, ValueError):
                answer = self._inside.get("/health")
                if answer.status_code == 200:
                    found: dict[str, Any] = answer.json()
                    return found
            time.sleep(5)
        raise RuntimeError("the service does not say how it is")

    def note(self) -> dict[str, Any]:
        """Return memory, CPU time, disk, points and alert evaluations, now."""
        health = self.health()
        cpu = self.process.cpu_times()
        return {
            "at": time.monotonic(),
            "memory": self.process.memory_info().rss,
            "cpu": cpu.user + cpu.system,
            "disk": sum(f.stat().st_size for f in self.data.rglob("*") if f.is_file()),
            "points": health["points"],
            "ticks": health["alerts"]["ticks"],
            "parts": health["parts"],
            "collectors": health["collectors"],
            "loop": health["loop"],
        }

    def stored(self) -> tuple[int, int]:
        """Return how many of the well-behaved publisher's values are in the store, and how many of them twice."""
        found = [entry for key in PUBLISHED for entry in self._query(key)]
        told = sum(len(set(entry["value"])) for entry in found)
        return told, sum(len(entry["value"]) for entry in found) - told

    def missing_sweeps(self) -> int:
        """Return how many sweeps of a sample of trays are missing between the first and the last stored."""
        missing = 0
        for rack in ("R002", "R050", "R090"):
            for entry in self._query(f"{rack}-T*/SweepsTaken"):
                told = sorted(set(entry["value"]))
                missing += int(told[-1] - told[0] + 1) - len(told) if told else 0
        return missing

    def _query(self, pattern: str) -> list[dict[str, Any]]:
        """Return raw readings; nothing where the service does not know the point, or does not answer for a minute."""
        now = int(time.time() * 1000)
        asked: dict[str, str | int] = {"pattern": pattern, "start": now - 7_200_000, "end": now + 60_000}
        for _ in range(12):
            with contextlib.suppress(httpx.HTTPError, ValueError):
                answer = self._inside.get("/query", params=asked)
                if answer.status_code == 400:
                    return []
                if answer.status_code == 200:
                    found: list[dict[str, Any]] = answer.json()
                    return found
            time.sleep(5)
        return []

    def raise_leak(self, rack: str) -> None:
        control = f"http://127.0.0.1:{self.ports['control']}"
        httpx.post(f"{control}/faults", json={"name": "leak", "target": rack}, timeout=10).raise_for_status()

    def end(self) -> None:
        self._ended.set()

    def _watch_alerts(self) -> None:
        ticks, since = -1, time.monotonic()
        with httpx.Client(
            base_url=f"{self.url}/internal/v1",
            timeout=PATIENCE_S,
            headers={"Authorization": f"Bearer {self.token}"},
        ) as client:
            while not self._ended.wait(0.5):
                with contextlib.suppress(httpx.HTTPError, KeyError, ValueError):
                    told = client.get("/health").json()["alerts"]
                    now = time.monotonic()
                    if told["ticks"] != ticks:
                        if ticks >= 0:
                            self.longest_interval = max(
                                self.longest_interval, (now - since) / max(1, told["ticks"] - ticks)
                            )
                        ticks, since = told["ticks"], now


@contextlib.contextmanager
def demo(data: Path, racks: int, pages: int, log: Path) -> Iterator[Demo]:
    """Run the demo with hostile sources configured, in a process with few file handles."""
    hostile = {
        "http": free_port(),
        "agent": free_port(socket.SOCK_DGRAM),
        "traps": free_port(socket.SOCK_DGRAM),
        "pages": pages,
    }

    def few_handles() -> None:
        _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (HANDLES, min(hard, HANDLES)))

    command = [sys.executable, "-m", "benchmarks._abused_demo", str(data), str(racks), json.dumps(hostile)]
    with log.open("wb") as out:
        process = subprocess.Popen(command, stdout=out, stderr=out, preexec_fn=few_handles)
    try:
        deadline = time.monotonic() + 300
        while not _serves(data):
            if process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"the demo did not start:\n{log.read_text()[-4000:]}")
            time.sleep(0.5)
        service = Demo(data, process, hostile)
        try:
            yield service
        finally:
            service.end()
    finally:
        process.send_signal(2)
        try:
            process.wait(30)
        except subprocess.TimeoutExpired:
            process.kill()


def _serves(data: Path) -> bool:
    try:
        told = json.loads((data / "running.json").read_text())
        answer = httpx.get(
            f"{told['url']}/internal/v1/health",
            headers={"Authorization": f"Bearer {told['token']}"},
            timeout=5,
        )
        return answer.status_code == 200 and answer.json()["alerts"]["ticks"] > 0
    except (OSError, ValueError, KeyError, httpx.HTTPError):
        return False


# --- the well-behaved -----------------------------------------------------------------------------------------------


class Worker(threading.Thread):
    """Does something again and again until it is stopped."""

    def __init__(self, every: float) -> None:
        super().__init__(daemon=True)
        self._every = every
        self._ended = threading.Event()
        self.samples: list[float] = []
        self.failed = 0

    def stop(self) -> None:
        self._ended.set()
        self.join(PATIENCE_S)

    def taken(self) -> list[float]:
        """Return the samples since the last call."""
        samples, self.samples = self.samples, []
        return samples

    def run(self) -> None:
        while not self._ended.wait(self._every):
            begun = time.monotonic()
            try:
                self.do()
            except (httpx.HTTPError, WebSocketException, OSError, AssertionError):
                self.failed += 1
            self.samples.append(time.monotonic() - begun)

    def do(self) -> None:
        """Do it once; override."""
        raise NotImplementedError


class User(Worker):
    """A person at the console: logged in, asks for the page and for its layout as a browser does."""

    def __init__(self, service: Demo) -> None:
        super().__init__(1.0)
        self._client = httpx.Client(base_url=service.url, timeout=PATIENCE_S)
        told = service.credentials
        answer = self._client.post("/login", data={"name": told["user"], "password": told["password"]})
        if answer.status_code != 303:
            raise RuntimeError(f"the login gave {answer.status_code}")

    def window(self) -> tuple[str, str]:
        """Return the session's cookie, and the callback that a window starts to be told what changes."""
        callbacks = self._client.get("/_dash-dependencies").json()
        return self._client.cookies[COOKIE], next(c["output"] for c in callbacks if c.get("websocket"))

    def do(self) -> None:
        for path in ("/", "/_dash-layout"):
            answer = self._client.get(path)
            assert answer.status_code == 200, answer.status_code


class Window(Worker):
    """A browser's window on the overview: takes what is pushed and says where it is, all the time."""

    def __init__(self, service: Demo, user: User) -> None:
        super().__init__(0.0)
        cookie, live = user.window()
        self._socket = connect(
            service.url.replace("http", "ws") + "/_dash-ws-callback",
            origin=Origin(service.url),
            additional_headers={"Cookie": f"{COOKIE}={cookie}"},
        )
        asked = {"output": live, "outputs": [], "inputs": [], "state": [], "changedPropIds": []}
        self._send({"type": "callback_request", "requestId": "1", "payload": asked})
        self.pushed: Counter[str] = Counter()

    def do(self) -> None:
        with contextlib.suppress(TimeoutError):
            told = json.loads(self._socket.recv(1.0))
            for message in told if isinstance(told, list) else [told]:
                if message["type"] == "get_props_request":
                    answer = {"requestId": message["requestId"], "payload": {"href": "/"}}
                    self._send({"type": "get_props_response"} | answer)
                else:
                    self.pushed[message.get("payload", {}).get("componentId", "")] += 1

    def _send(self, message: dict[str, Any]) -> None:
        self._socket.send(json.dumps({"rendererId": "window"} | message))


class Partner(Worker):
    """A partner who asks for the forecast, each second."""

    def __init__(self, service: Demo) -> None:
        super().__init__(1.0)
        headers = {"Authorization": f"Bearer {service.credentials['api_key']}"}
        self._client = httpx.Client(base_url=service.url, timeout=PATIENCE_S, headers=headers)

    def do(self) -> None:
        answer = self._client.get("/api/v1/forecasts/power")
        assert answer.status_code in (200, 503), answer.status_code


class Publisher(Worker):
    """A well-behaved BMS: metadata, then numbered values at QoS 1; `sent` counts those that the broker has acknowledged."""

    def __init__(self, port: int) -> None:
        super().__init__(1 / RATE)
        self.sent = 0
        self._number = 0
        self._client = mqtt.Client(CallbackAPIVersion.VERSION2, client_id="well-behaved")
        self._client.connect("127.0.0.1", port)
        self._client.loop_start()
        for key in PUBLISHED:
            name = key.rsplit("/", 1)[1]
            about = {
                "objectType": "Sensor",
                "pointType": "AirTemperature",
                "objectId": f"BENCH-{name}",
                "objectName": f"BENCH-{name}",
                "engUnit": "C",
            }
            self._client.publish(metadata_topic(key), json.dumps(about), qos=1, retain=True).wait_for_publish(
                30
            )

    def do(self) -> None:
        self._number += 1
        now = int(time.time() * 1000)
        # numbered by value: 20 to 40 degrees in steps that tell each apart
        value = 20 + self._number / 1000
        told = [
            self._client.publish(
                value_topic(key), json.dumps({"value": value, "timestamp": now, "quality": 1}), qos=1
            )
            for key in PUBLISHED
        ]
        for one in told:
            one.wait_for_publish(PATIENCE_S)
            self.sent += 1


class Pages:
    """A receiver of webhooks that notes when which text arrived."""

    def __init__(self) -> None:
        self.got: list[tuple[float, str]] = []
        pages = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"])).decode()
                pages.got.append((time.monotonic(), body))
                self.send_response(204)
                self.end_headers()

            def log_message(self, *_: Any) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.port = self._server.server_address[1]

    def __enter__(self) -> Pages:
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()


def leak(service: Demo, pages: Pages, rack: str, after: float) -> float:
    """Let a rack leak after so many seconds; return how long its page took, s (NaN: it did not come)."""
    time.sleep(after)
    begun = time.monotonic()
    service.raise_leak(rack)
    while time.monotonic() < begun + 300:
        for at, text in list(pages.got):
            if at >= begun and rack in text and "leak" in text.lower():
                return at - begun
        time.sleep(0.05)
    return float("nan")


if __name__ == "__main__":
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    main()
