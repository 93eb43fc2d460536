"""Receivers that are in trouble: ``python -m benchmarks.receivers [--minutes 10] [--leaks 12]``.

The alert engine runs with its records on disk. Racks leak one after the other while the mail server is down (nothing listens
at its port), one webhook stalls, one answers 429 with ``Retry-After: 20``, one answers 500, and one is well. After so many
minutes all are well again. Prints one JSON object: of each receiver what it got of all that was opened, how long after the
leak, what twice, and what in another order than it happened.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import email
import itertools
import json
import os
import re
import socket
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator
from email.policy import default
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import structlog
from aiosmtpd.controller import Controller

from alerts.engine import AlertEngine
from alerts.notify.build import build_notifiers
from alerts.settings import AlertSettings
from alerts.view import View
from benchmarks._alerting_process import RULES, registry
from benchmarks.ingest import figure, machine
from domain.batch import Batch, now_ms
from domain.site import Site
from service.configuration import SHIPPED, load
from storage.latest import LatestValues
from storage.plant import PlantView
from storage.records import Records

HOST = "127.0.0.1"
TROUBLES = {"well": "", "stalls": "stall", "too-many": "429", "fails": "500"}
TIMEOUT_S = 5
AFTER_S = 150.0
"""So long is waited once all are well: the longest pause between two attempts is a minute."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=10.0, help="of trouble")
    parser.add_argument("--leaks", type=int, default=12, help="racks that leak meanwhile, evenly spread")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        figures, details = asyncio.run(measure(Path(folder), options.minutes * 60, options.leaks))
    figures["load_average"] = figure(os.getloadavg()[0], "processes")
    print(
        json.dumps(
            {"name": "receivers", "machine": machine(), "figures": figures, "details": details}, indent=1
        )
    )


class Mail:
    """A mail server that is down until it is started; keeps when it was told of which rack."""

    def __init__(self) -> None:
        self.got: list[tuple[float, str]] = []
        with socket.socket() as free:
            free.bind((HOST, 0))
            self.port = free.getsockname()[1]
        self._controller = Controller(self, hostname=HOST, port=self.port)

    async def handle_DATA(self, server: object, session: object, envelope: Any) -> str:  # noqa: N802 - aiosmtpd calls it so
        """Take a mail."""
        message = email.message_from_bytes(envelope.original_content, policy=default)
        body = message.get_body(("plain",))
        text = f"{message['subject']}\n{body.get_content() if body else ''}"
        self.got += [(time.time(), rack) for rack in dict.fromkeys(re.findall(r"\bR\d{3}\b", text))]
        return "250 OK"

    def start(self) -> None:
        """Come up."""
        self._controller.start()

    def stop(self) -> None:
        """Go down for good."""
        self._controller.stop()


@contextlib.contextmanager
def hook(trouble: str, well: threading.Event, got: list[tuple[float, str]]) -> Iterator[int]:
    """Serve a webhook that has a trouble until it is `well`; `got` takes when it took which rack. Yields its port."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["content-length"])))
            if trouble and not well.is_set():
                if trouble == "stall":
                    well.wait(60)
                    return
                self.send_response(int(trouble))
                if trouble == "429":
                    self.send_header("Retry-After", "20")
                self.send_header("Content-Length", "0")
                self.end_headers()
                return
            got.extend((time.time(), a["object_id"]) for a in body["alerts"] if a["event"] == "opened")
            self.send_response(204)
            self.end_headers()

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer((HOST, 0), Handler)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield server.server_address[1]
    finally:
        server.shutdown()


async def measure(folder: Path, trouble_s: float, leaks: int) -> tuple[dict[str, Any], dict[str, Any]]:
    """Let racks leak while receivers are in trouble; return figures, and what reached whom and when."""
    well = threading.Event()
    got: dict[str, list[tuple[float, str]]] = {name: [] for name in TROUBLES}
    mail = Mail()
    with contextlib.ExitStack() as stack:
        channels: dict[str, Any] = {
            "mail": {
                "kind": "smtp",
                "host": HOST,
                "port": mail.port,
                "security": "none",
                "sender": "hallwatch@example.net",
                "recipients": ["night@example.net"],
                "timeout": TIMEOUT_S,
            }
        }
        for name, trouble in TROUBLES.items():
            port = stack.enter_context(hook(trouble, well, got[name]))
            channels[name] = {"kind": "webhook", "url": f"http://{HOST}:{port}/", "timeout": TIMEOUT_S}
        told = await _run(folder, channels, trouble_s, leaks, mail, well)
        mail.stop()
    got["mail"] = mail.got
    figures: dict[str, Any] = {"leaks": figure(len(told), "leaks"), "trouble_s": figure(trouble_s, "s")}
    details: dict[str, Any] = {}
    for name, taken in got.items():
        first: dict[str, float] = {}
        for at, rack in taken:
            first.setdefault(rack, at)
        times = [at for at, _ in taken]
        waited = [first[rack] - at for rack, at in told.items() if rack in first]
        key = name.replace("-", "_")
        figures[f"{key}_told"] = figure(len(first), "leaks", reference=len(told))
        figures[f"{key}_twice"] = figure(sum(n > 1 for n in Counter(r for _, r in taken).values()), "leaks")
        figures[f"{key}_median_s"] = figure(float(np.median(waited)) if waited else float("nan"), "s")
        order = [told[rack] for rack in first]
        figures[f"{key}_out_of_order"] = figure(
            sum(later < earlier for earlier, later in itertools.pairwise(order)), "leaks"
        )
        details[name] = {rack: round(at - min(told.values()), 1) for rack, at in first.items()}
        if name != "well" and times:
            end = min(told.values()) + trouble_s
            figures[f"{key}_all_told_after_s"] = figure(max(first.values()) - end, "s")
    details["leaked"] = {rack: round(at - min(told.values()), 1) for rack, at in told.items()}
    return figures, details


async def _run(
    folder: Path, channels: dict[str, Any], trouble_s: float, leaks: int, mail: Mail, well: threading.Event
) -> dict[str, float]:
    """Run the engine; return when which rack leaked."""
    site = load(SHIPPED / "site.yaml", Site)
    points = registry(site, 0)
    latest = LatestValues(points)
    routes = [{"severities": ["critical"], "channels": list(channels)}]
    settings = AlertSettings.model_validate({"rules": RULES[:1], "channels": channels, "routes": routes})
    records = Records(f"sqlite:///{folder}/records.sqlite")
    view = View(PlantView(site, points, latest, None), records)  # type: ignore[arg-type]
    engine = AlertEngine(settings, view, records, build_notifiers(settings.channels))
    racks = list(site.racks)
    latest.update(Batch.of(range(len(racks)), now_ms(), [0.0] * len(racks)))
    running = asyncio.create_task(engine.run())
    told: dict[str, float] = {}
    begun = time.monotonic()
    for number in range(leaks):
        await asyncio.sleep(max(begun + trouble_s * number / leaks - time.monotonic(), 0.1))
        told[racks[number]] = time.time()
        latest.update(Batch.of([number], now_ms(), [1.0]))
    await asyncio.sleep(max(begun + trouble_s - time.monotonic(), 0))
    well.set()
    mail.start()
    await asyncio.sleep(AFTER_S)
    running.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await running
    records.close()
    return told


if __name__ == "__main__":
    # standard output belongs to the figures
    structlog.configure(
        wrapper_class=structlog.make_filtering_bound_logger(40),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
    )
    main()
