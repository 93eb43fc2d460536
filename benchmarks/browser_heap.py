"""What a console window holds: ``python -m benchmarks.browser_heap [--minutes 30] [--url URL --user NAME --password P]``.

Each page is open in a window of its own (headless chromium), and is sent figures as in service. Four times a minute the
window's JavaScript heap is cleaned and measured. Without a URL the full-size hall of ``benchmarks.console`` is served
here, changing every two seconds.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import platform
import sys
import tempfile
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import numpy as np
import uvicorn
from fastapi import FastAPI

from benchmarks.console import PASSWORD, Hall
from dashboard.app import mount

PAGES = {"overview": "/", "rack": "/rack/R001", "alerts": "/alerts", "health": "/health"}
EVERY_S = 15.0
SETTLING = 0.2
"""Of the measurements the first part, in which charts and tables are made, that does not count towards growth."""
ARGUMENTS = [
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--no-first-run",
]


@contextlib.asynccontextmanager
async def hall_served() -> AsyncIterator[str]:
    """Serve the hall and return its address."""
    with tempfile.TemporaryDirectory() as folder:
        hall = Hall(Path(folder))
        await asyncio.to_thread(hall.lay_down, 6.0)
        app = FastAPI()
        console = mount(app, hall.data, hall.accounts, "a secret for the benchmark")
        server = uvicorn.Server(uvicorn.Config(app, port=0, log_level="error", timeout_graceful_shutdown=1))
        parts = [asyncio.create_task(p) for p in (hall.change(), console.run())]
        serving = asyncio.create_task(server.serve())
        while not server.started:  # noqa: ASYNC110 - the server tells it no other way
            await asyncio.sleep(0.05)
        try:
            yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
        finally:
            server.should_exit = True
            await serving
            for part in parts:
                part.cancel()
            hall.store.close()
            hall.records.close()


async def measure(url: str, user: str, password: str, seconds: float) -> dict[str, Any]:
    """Return the heap's growth of each page, MB an hour, and its size at the end."""
    from playwright.async_api import async_playwright

    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path="/usr/bin/chromium", args=ARGUMENTS)
        sizes: dict[str, list[tuple[float, float]]] = {name: [] for name in PAGES}
        wires = {}
        for name, path in PAGES.items():
            context = await browser.new_context()
            page = await context.new_page()
            await page.goto(url)
            await page.fill("#name", user)
            await page.fill("#password", password)
            await page.click("#log-in")
            await page.wait_for_selector("#site-power:has-text('W')")
            await page.goto(url + path)
            await page.wait_for_selector("#site-power:has-text('W')")
            wires[name] = await context.new_cdp_session(page)
            await wires[name].send("HeapProfiler.enable")
        began = time.monotonic()
        while (now := time.monotonic() - began) < seconds:
            for name, wire in wires.items():
                await wire.send("HeapProfiler.collectGarbage")
                used = (await wire.send("Runtime.getHeapUsage"))["usedSize"]
                sizes[name].append((now, used / 1e6))
            await asyncio.sleep(min(EVERY_S, seconds / 8))
        await browser.close()
    figures = {}
    for name, points in sizes.items():
        at, heap = np.array(points[int(SETTLING * len(points)) :]).T
        figures[f"{name}_growth"] = _figure(float(np.polyfit(at / 3600, heap, 1)[0]), "MB/h")
        figures[f"{name}_heap"] = _figure(float(heap[-1]), "MB")
    return figures


def _figure(value: float, unit: str) -> dict[str, Any]:
    return {"value": round(value, 3), "unit": unit, "reference": None, "ratio": None}


async def run(options: argparse.Namespace) -> dict[str, Any]:
    """Measure a service that runs, or the hall."""
    if options.url:
        return await measure(options.url, options.user, options.password, options.minutes * 60)
    async with hall_served() as url:
        return await measure(url, "bench", PASSWORD, options.minutes * 60)


def main() -> None:
    parser = argparse.ArgumentParser(prog="hallwatch bench browser_heap", description=__doc__)
    parser.add_argument("--minutes", type=float, default=30.0)
    parser.add_argument("--url", default="", help="of a service that runs already")
    parser.add_argument("--user", default="demo")
    parser.add_argument("--password", default="")
    options = parser.parse_args()
    figures = asyncio.run(run(options))
    machine = {"cpus": os.cpu_count(), "python": platform.python_version(), "load": os.getloadavg()[0]}
    json.dump({"name": "browser_heap", "machine": machine, "figures": figures}, sys.stdout, indent=1)
    print()


if __name__ == "__main__":
    main()
