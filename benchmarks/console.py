"""What the console costs: ``python -m benchmarks.console [--viewers 10] [--seconds 30]``.

A full-size hall (96 racks, 6,912 GPUs) changes every two seconds; viewers in a process of their own watch the overview
over real websockets, as browsers do. Measured are the service process's share of a core and the bytes that reach a
viewer. The reference is the simple way: every viewer has its own snapshot built each second and is sent all of it (the
building and serialising alone, without the web server that would carry it).
"""

from __future__ import annotations

import argparse
import asyncio
import json
import multiprocessing
import os
import platform
import sys
import tempfile
import time
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import orjson
import uvicorn
import yaml
from fastapi import FastAPI
from websockets.asyncio.client import connect

from dashboard.app import mount
from dashboard.auth import COOKIE
from dashboard.data import ConsoleData
from dashboard.registry import section, sections_of
from domain.batch import Batch, now_ms
from domain.points import Point, PointRegistry
from domain.site import Site
from storage.accounts import Accounts
from storage.latest import LatestValues
from storage.open import open_store
from storage.plant import PlantView
from storage.records import Records
from storage.settings import StorageSettings

SITE = Path(__file__).parent.parent / "config" / "site.yaml"
USER, PASSWORD = "bench", "benchmark-only"
PEOPLE, WINDOWS = 10, 15
"""Who watches, and how many windows each has: a person may have 20."""
MINUTE = 60_000


class Hall:
    """The points that the overview shows, and values for them."""

    def __init__(self, folder: Path) -> None:
        self.site = Site.model_validate(yaml.safe_load(SITE.read_text(encoding="utf-8")))
        self.registry = PointRegistry()
        self.store = open_store(StorageSettings(path=folder), self.registry)
        self.latest = LatestValues(self.registry)
        self.records = Records(f"sqlite:///{folder}/records.sqlite")
        self.accounts = Accounts(self.records)
        for user in (USER, *(f"{USER}{n}" for n in range(PEOPLE))):
            self.accounts.add_user(user, PASSWORD)
        self._level: list[float] = []
        self._register()
        self._noise = np.random.default_rng(1)
        plant = PlantView(self.site, self.registry, self.latest, self.store)
        self.data = ConsoleData(self.site, self.registry, self.latest, self.store, self.records, plant)

    def _add(self, kind: str, what: str, of: str, level: float, unit: str = "W", **more: Any) -> None:
        tag = "/".join(more.get("process_area", ()))
        self.registry.register(Point(f"{kind}/{what}/{of}{tag}", kind, what, of, of, unit, **more))
        self._level.append(level)

    def _register(self) -> None:
        for node in self.site.nodes:
            kind = "UPS" if node.type == "UPS" else "PowerMeter"
            self._add(kind, "ActivePower", node.id, node.limit * 0.44, serves=node.serves)
        for pod in self.site.pods:
            for cdu in pod.cdus:
                self._add("CDU", "LiquidTemperature", cdu, 32.5, "Cel", process_area=("Secondary", "Supply"))
                self._add("CDU", "LiquidTemperature", cdu, 44.0, "Cel", process_area=("Secondary", "Return"))
                self._add("CDU", "LiquidFlow", cdu, 580.0, "L/min", process_area=("Secondary",))
                self._add("CDU", "PumpSpeed", cdu, 0.6, "1", process_area=("Secondary",))
            for rack in pod.racks:
                self._add("Rack", "RackPower", rack, 126e3)
                self._add("Rack", "RackLiquidReturnTemperature", rack, 44.0, "Cel")
                for n in range(self.site.rack_gpus):
                    name = f"{rack}-T{n // 4 + 1:02d}-G{n % 4}"
                    self._add("GPU", "GpuTemperature", name, 68.0, "Cel", associate=rack)

    def batch(self, now: int, points: np.ndarray[Any, np.dtype[np.int32]]) -> Batch:
        """Return a reading of each of these points, a little off its level."""
        level = np.array(self._level)[points]
        return Batch.of(points, now, level * (1 + 0.01 * self._noise.standard_normal(len(points))))

    def lay_down(self, hours: float) -> None:
        """Store the feeds' past, for the power chart."""
        feeds = np.concatenate([self.registry.select(None, "ActivePower", f) for f in ("FEED-A", "FEED-B")])
        now = now_ms()
        times = range(now - int(hours * 3_600_000), now, MINUTE)
        self.store.write(Batch.concat([self.batch(t, feeds) for t in times]))
        self.store.maintain(now)

    async def change(self) -> None:
        """Measure everything every two seconds."""
        every = np.arange(len(self.registry), dtype=np.int32)
        while True:
            self.latest.update(self.batch(now_ms(), every))
            await asyncio.sleep(2)


def watch(url: str, viewers: int, seconds: float, result: Connection) -> None:
    """Be so many browser windows; tell bytes and frames."""
    cookies = []
    for person in range(-(-viewers // WINDOWS)):
        with httpx.Client(base_url=url) as client:
            client.post("/login", data={"name": f"{USER}{person}", "password": PASSWORD})
            cookies.append(client.cookies[COOKIE])
    with httpx.Client(base_url=url, cookies={COOKIE: cookies[0]}) as client:
        live = next(c["output"] for c in client.get("/_dash-dependencies").json() if c.get("websocket"))
    asked = {"output": live, "outputs": [], "inputs": [], "state": [], "changedPropIds": []}
    result.send(asyncio.run(_watch(url, viewers, seconds, asked, cookies)))


async def _watch(
    url: str, viewers: int, seconds: float, asked: dict[str, Any], cookies: list[str]
) -> tuple[float, float]:
    """Return the bytes and the frames that a window is sent in a second."""
    received, told = 0, 0

    async def window(cookie: str) -> None:
        nonlocal received, told
        address = url.replace("http", "ws") + "/_dash-ws-callback"
        options: dict[str, Any] = {
            "origin": url,
            "additional_headers": {"Cookie": f"{COOKIE}={cookie}"},
            "compression": None,
        }
        async with connect(address, **options) as socket:
            request = {"type": "callback_request", "rendererId": "w", "requestId": "1", "payload": asked}
            await socket.send(json.dumps(request))
            async for text in socket:
                received += len(text)
                messages = json.loads(text)
                for message in messages if isinstance(messages, list) else [messages]:
                    if message["type"] == "get_props_request":
                        where = {"pathname": "/", "href": f"{url}/"}
                        answer = {"type": "get_props_response", "requestId": message["requestId"]}
                        await socket.send(json.dumps(answer | {"rendererId": "w", "payload": where}))
                    else:
                        told += message.get("payload", {}).get("componentId") == "live-header"

    began = time.monotonic()
    windows = [asyncio.create_task(window(cookies[n // WINDOWS])) for n in range(viewers)]
    await asyncio.wait(windows, timeout=seconds)
    took = time.monotonic() - began
    for one in windows:
        one.cancel()
    await asyncio.gather(*windows, return_exceptions=True)
    return received / took / viewers, told / took / viewers


async def measure(viewers: int, seconds: float) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as folder:
        hall = Hall(Path(folder))
        await asyncio.to_thread(hall.lay_down, 6.0)
        app = FastAPI()
        console = mount(app, hall.data, hall.accounts, "a secret for the benchmark")
        server = uvicorn.Server(uvicorn.Config(app, port=0, log_level="error"))
        parts = [asyncio.create_task(p) for p in (hall.change(), console.run())]
        serving = asyncio.create_task(server.serve())
        while not server.started:  # noqa: ASYNC110 - the server tells it no other way
            await asyncio.sleep(0.05)
        url = f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
        idle = await _share(seconds / 2)
        one = await _watched(url, 1, seconds)
        many = await _watched(url, viewers, seconds)
        simple = await asyncio.to_thread(_simple, hall)
        server.should_exit = True
        await serving
        for part in parts:
            part.cancel()
        hall.store.close()
        hall.records.close()
    return {
        "core_share_idle": _figure(idle, "cores"),
        "core_share_one_viewer": _figure(one[0], "cores"),
        f"core_share_{viewers}_viewers": _figure(many[0], "cores", viewers * simple["cpu"]),
        "bytes_per_viewer_and_second": _figure(many[1], "By/s", simple["bytes"]),
        "frames_per_viewer_and_second": _figure(many[2], "1/s"),
    }


async def _share(seconds: float) -> float:
    cpu, began = time.process_time(), time.monotonic()
    await asyncio.sleep(seconds)
    return (time.process_time() - cpu) / (time.monotonic() - began)


async def _watched(url: str, viewers: int, seconds: float) -> tuple[float, float, float]:
    """Return the share of a core while so many watch, and bytes and frames per viewer and second."""
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=watch, args=(url, viewers, seconds + 8, theirs))
    process.start()
    await asyncio.sleep(6)  # logins and first frames are no steady state
    share = await _share(seconds)
    size, rate = await asyncio.to_thread(ours.recv)
    await asyncio.to_thread(process.join)
    return share, size, rate


def _simple(hall: Hall) -> dict[str, float]:
    """Return CPU seconds and bytes of one viewer's second, when everything is built and sent for each viewer."""
    names = sections_of("/", hall.data)
    cpu, sent, rounds = time.thread_time(), 0, 10
    for _ in range(rounds):
        for name in names:
            sent += len(orjson.dumps(section(hall.data, name)))
    return {"cpu": (time.thread_time() - cpu) / rounds, "bytes": sent / rounds}


def _figure(value: float, unit: str, reference: float | None = None) -> dict[str, Any]:
    return {
        "value": value,
        "unit": unit,
        "reference": reference,
        "ratio": value / reference if reference else None,
    }


def main() -> None:
    parser = argparse.ArgumentParser(prog="hallwatch bench console", description=__doc__)
    parser.add_argument("--viewers", type=int, default=10, help=f"{PEOPLE * WINDOWS} at most")
    parser.add_argument("--seconds", type=float, default=30.0, help="length of each measurement")
    options = parser.parse_args()
    figures = asyncio.run(measure(options.viewers, options.seconds))
    machine = {"cpus": os.cpu_count(), "python": platform.python_version(), "load": os.getloadavg()[0]}
    json.dump({"name": "console", "machine": machine, "figures": figures}, sys.stdout, indent=1)
    print()


if __name__ == "__main__":
    main()
