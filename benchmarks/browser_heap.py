"""What a console window holds: ``python -m benchmarks.browser_heap [--minutes 30] [--rounds 0] [--pages NAME ...]``.

Every page of the console is open in a window of its own (headless chromium), and is sent figures as in service. Every so often
each window's garbage is collected, and its JavaScript heap, DOM nodes, documents and event listeners are counted. With `--rounds`
one more window goes from page to page, so many times, and what each round leaves behind is counted. Without a URL (`--url URL
--user NAME --password P`) a full-size hall in trouble is served here, changing every two seconds. `--out` keeps each look as a
line of JSON.
"""

from __future__ import annotations

import argparse
import asyncio
import functools
import json
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from benchmarks._browser import Served, add_options, chromium, figure, live, logged_in, report

if TYPE_CHECKING:
    from playwright.async_api import Browser

SETTLING = 0.2
"""Of the looks the first part, in which charts and tables are made, that does not count towards growth."""
FEWEST_LOOKS = 8
STOP_MS = 2500
"""How long a tour stops at a page: until its charts are drawn."""
UNITS = {"heap": "MB", "nodes": "count", "documents": "count", "listeners": "count"}


async def measure(
    served: Served, seconds: float, every: float, rounds: int, out: Path | None
) -> dict[str, Any]:
    """Return what each page's window holds at the end and its growth per hour, and what a round of all pages leaves behind."""
    figures: dict[str, Any] = {}
    looks: dict[str, list[tuple[float, dict[str, float]]]] = {}
    async with chromium() as browser:
        if rounds:
            figures |= await tour(browser, served, rounds)
        wires = {}
        for name, path in served.pages().items() if seconds else ():
            context, page = await logged_in(browser, served)
            await page.goto(served.url + path)
            await live(page)
            wires[name] = await context.new_cdp_session(page)
            await wires[name].send("HeapProfiler.enable")
        began = time.monotonic()
        while (now := time.monotonic() - began) < seconds:
            for name, wire in wires.items():
                held = await look(wire)
                looks.setdefault(name, []).append((now, held))
                if out is not None:
                    with out.open("a") as file:
                        print(json.dumps({"page": name, "at_s": round(now), **held}), file=file)
            await asyncio.sleep(min(every, seconds / FEWEST_LOOKS))
    for name, points in looks.items():
        settled = points[int(SETTLING * len(points)) :]
        hours = np.array([at for at, _ in settled]) / 3600
        for what, unit in UNITS.items():
            held_then = np.array([held[what] for _, held in settled])
            figures[f"{name}_{what}"] = figure(float(held_then[-1]), unit)
            figures[f"{name}_{what}_growth"] = figure(float(np.polyfit(hours, held_then, 1)[0]), f"{unit}/h")
    return figures


async def tour(browser: Browser, served: Served, rounds: int) -> dict[str, Any]:
    """Go to every page so many times in one window, and return what each round but the first two leaves behind."""
    _, page = await logged_in(browser, served)
    wire = await page.context.new_cdp_session(page)
    await wire.send("HeapProfiler.enable")
    after: list[dict[str, float]] = []
    for _ in range(rounds):
        for path in served.pages().values():
            await page.evaluate("(path) => window.hallwatch.go(path)", path)
            await page.wait_for_timeout(STOP_MS)
        await page.evaluate("window.hallwatch.go('/settings')")
        await page.wait_for_timeout(STOP_MS)
        after.append(await look(wire))
    await page.context.close()
    later = after[2:]
    return {
        f"round_{what}_growth": figure(
            float(np.polyfit(np.arange(len(later)), [a[what] for a in later], 1)[0]), unit
        )
        for what, unit in UNITS.items()
    }


async def look(wire: Any) -> dict[str, float]:
    """Return what a window holds once its garbage is collected: heap in MB, nodes, documents and listeners."""
    await wire.send("HeapProfiler.collectGarbage")
    used = (await wire.send("Runtime.getHeapUsage"))["usedSize"]
    counted = await wire.send("Memory.getDOMCounters")
    return {
        "heap": round(used / 1e6, 3),
        "nodes": counted["nodes"],
        "documents": counted["documents"],
        "listeners": counted["jsEventListeners"],
    }


def main() -> None:
    parser = argparse.ArgumentParser(prog="hallwatch bench browser_heap", description=__doc__)
    parser.add_argument("--minutes", type=float, default=30.0)
    parser.add_argument("--every", type=float, default=15.0, metavar="SECONDS", help="between two looks")
    parser.add_argument("--rounds", type=int, default=0, help="of all pages in one window, 5 at least")
    parser.add_argument("--out", type=Path, help="file for each look, as it is made")
    add_options(parser)
    options = parser.parse_args()
    report("browser_heap", options, functools.partial(
        measure, seconds=options.minutes * 60, every=options.every, rounds=options.rounds, out=options.out
    ))  # fmt: skip


if __name__ == "__main__":
    main()
