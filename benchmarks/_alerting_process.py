"""The alert engine of the shipped site in a process of its own: ``python -m benchmarks._alerting_process FOLDER HOOK_URL``.

Tells ``ready`` on standard output, then takes lines of JSON from standard input: ``{"point": state, ...}`` by number of the
point. Points 0 to 95 are leak sensors of the racks, the others states of so many other objects; ends with its input.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import sys
from pathlib import Path

import structlog

from alerts.engine import AlertEngine
from alerts.notify.build import build_notifiers
from alerts.settings import AlertSettings
from alerts.view import View
from domain.batch import Batch, now_ms
from domain.points import Point, PointRegistry
from domain.site import Site
from service.configuration import SHIPPED, load
from storage.latest import LatestValues
from storage.plant import PlantView
from storage.records import Records

STATES = ((0, "Normal"), (1, "Abnormal"))
RULES = [
    {"name": "leak", "kind": "state", "points": ["RackLeakDetect"], "normal": ["Normal"], "severity": "critical",
     "never_muted": True, "keep_firing_for": 1},
    {"name": "odd", "kind": "state", "points": ["Status"], "normal": ["Normal"], "severity": "warning"},
]  # fmt: skip


def registry(site: Site, others: int) -> PointRegistry:
    """Return the points: a leak sensor a rack, and so many states of other objects."""
    made = PointRegistry()
    for rack in site.racks:
        made.register(Point(f"leak/{rack}", "Rack", "RackLeakDetect", rack, state_text=STATES))
    for n in range(others):
        made.register(Point(f"state/{n}", "Sensor", "Status", f"S{n:05}", state_text=STATES))
    return made


async def work(folder: Path, url: str, others: int) -> None:
    site = load(SHIPPED / "site.yaml", Site)
    points = registry(site, others)
    latest = LatestValues(points)
    channels = {"hook": {"kind": "webhook", "url": url}}
    routes = [{"severities": ["critical", "high", "warning"], "channels": ["hook"]}]
    settings = AlertSettings.model_validate({"rules": RULES, "channels": channels, "routes": routes})
    records = Records(f"sqlite:///{folder}/records.sqlite")
    view = View(PlantView(site, points, latest, None), records)  # type: ignore[arg-type]
    engine = AlertEngine(settings, view, records, build_notifiers(settings.channels))
    latest.update(Batch.of(range(len(points)), now_ms(), [0.0] * len(points)))
    running = asyncio.create_task(engine.run())
    while not engine.counters["ticks"]:  # noqa: ASYNC110 - the engine tells nobody
        await asyncio.sleep(0.01)
    print("ready", flush=True)
    lines = asyncio.StreamReader(limit=2**24)
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(lines), sys.stdin)
    while line := await lines.readline():
        told = {int(n): float(state) for n, state in json.loads(line).items()}
        latest.update(Batch.of(list(told), now_ms(), list(told.values())))
    running.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await running


if __name__ == "__main__":
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    # standard output belongs to that one line
    structlog.configure(
        wrapper_class=structlog.make_filtering_bound_logger(40),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
    )
    asyncio.run(work(Path(sys.argv[1]), sys.argv[2], int(sys.argv[3])))
