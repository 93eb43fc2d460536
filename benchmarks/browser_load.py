"""What whoever opens the console waits for: ``python -m benchmarks.browser_load [--times 5] [--url URL --user NAME --password P]``.

The overview is opened again and again in one headless chromium, whose cache is warm from the login on. Told are the medians of
the first paint, the first live figure and the first chart, and of a window that stays open for a while the longest task of its
main thread. Without a URL the full-size hall of ``benchmarks.console`` is served here, changing every two seconds.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import platform
import statistics
import sys
from typing import Any

from benchmarks.browser_heap import ARGUMENTS, hall_served
from benchmarks.console import PASSWORD

STAYS_S = 30.0
WATCH = """
window.seen = {};
window.tasks = [];
const note = (what) => { if (!(what in window.seen)) window.seen[what] = performance.now(); };
new MutationObserver(() => {
  if (document.querySelector('#site-power')?.textContent.includes('W')) note('live');
  if (document.querySelector('#power-chart .main-svg')) note('chart');
}).observe(document, { childList: true, subtree: true, characterData: true });
new PerformanceObserver((list) => list.getEntries().forEach((t) => window.tasks.push([t.startTime, t.duration])))
  .observe({ type: 'longtask', buffered: true });
"""
TOLD = """() => ({
  paint: performance.getEntriesByName('first-contentful-paint')[0].startTime,
  scripts: performance.getEntriesByType('resource').filter((r) => r.initiatorType === 'script' || r.name.includes('.js'))
    .reduce((all, r) => all + r.decodedBodySize, 0) / 1e6,
  ...window.seen,
})"""


async def measure(url: str, user: str, password: str, times: int) -> dict[str, Any]:
    """Return what is waited for, ms, the scripts' size, MB, and the longest task of the main thread, ms."""
    from playwright.async_api import async_playwright

    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path="/usr/bin/chromium", args=ARGUMENTS)
        context = await browser.new_context(viewport={"width": 1440, "height": 900}, bypass_csp=True)
        page = await context.new_page()
        await page.goto(url)
        await page.fill("#name", user)
        await page.fill("#password", password)
        await page.click("#log-in")
        await page.wait_for_selector("#power-chart .main-svg", state="attached", timeout=60_000)
        await context.add_init_script(WATCH)
        told = []
        for _ in range(times):
            await page.goto(url)
            await page.wait_for_function("window.seen.live && window.seen.chart", timeout=60_000)
            told.append(await page.evaluate(TOLD))
        loaded = await page.evaluate("performance.now()")
        await asyncio.sleep(STAYS_S)
        tasks = await page.evaluate("window.tasks")
        await browser.close()
    later = [length for began, length in tasks if began > loaded]

    def middle(what: str) -> float:
        return float(statistics.median(t[what] for t in told))

    return {
        "first_paint_ms": _figure(middle("paint"), "ms"),
        "first_live_ms": _figure(middle("live"), "ms"),
        "first_chart_ms": _figure(middle("chart"), "ms"),
        "scripts": _figure(middle("scripts"), "MB"),
        "longest_task_loading_ms": _figure(
            max((length for began, length in tasks if began <= loaded), default=0.0), "ms"
        ),
        "longest_task_ms": _figure(max(later, default=0.0), "ms"),
        "tasks_over_50_ms": _figure(len(later), "count"),
    }


def _figure(value: float, unit: str) -> dict[str, Any]:
    return {"value": round(value, 3), "unit": unit, "reference": None, "ratio": None}


async def run(options: argparse.Namespace) -> dict[str, Any]:
    """Measure a service that runs, or the hall."""
    if options.url:
        return await measure(options.url, options.user, options.password, options.times)
    async with hall_served() as url:
        return await measure(url, "bench", PASSWORD, options.times)


def main() -> None:
    parser = argparse.ArgumentParser(prog="hallwatch bench browser_load", description=__doc__)
    parser.add_argument("--times", type=int, default=5)
    parser.add_argument("--url", default="", help="of a service that runs already")
    parser.add_argument("--user", default="demo")
    parser.add_argument("--password", default="")
    options = parser.parse_args()
    figures = asyncio.run(run(options))
    machine = {"cpus": os.cpu_count(), "python": platform.python_version(), "load": os.getloadavg()[0]}
    json.dump({"name": "browser_load", "machine": machine, "figures": figures}, sys.stdout, indent=1)
    print()


if __name__ == "__main__":
    main()
