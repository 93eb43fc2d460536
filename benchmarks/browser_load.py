"""What whoever opens the console waits for: ``python -m benchmarks.browser_load [--stay 10] [--loads 1] [--pages NAME ...]``.

Told are, of a browser that was never here, what a first visit fetches; of one whose cache is warm, and of every page of the
console in turn: the first paint, the first live figure, the first chart, the longest task of the main thread while the page
loads and while it then stays open, and how old a reading is when its figure is on the screen; the median of so many loads of
the page. A task's length is the processor's time that it takes: on a busy machine the clock would tell how long it was kept
waiting. Without a URL (`--url URL --user NAME --password P`) a full-size hall in trouble is served here, changing every two
seconds.
"""

from __future__ import annotations

import argparse
import asyncio
import functools
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from benchmarks._browser import SHOWN_MS, Served, add_options, chromium, figure, live, logged_in, report

if TYPE_CHECKING:
    from playwright.async_api import Browser, BrowserContext

CATEGORIES = ["toplevel", "blink.user_timing", "devtools.timeline"]
PROFILE = ["disabled-by-default-v8.cpu_profiler"]
SETTLED_MS = 5000
"""So long after the last of its first live figure and its first chart, where it has a place for one, a page is there."""
WATCH = """
window.seen = {};
window.ages = [];
const note = (what) => { if (!(what in window.seen)) window.seen[what] = performance.now(); };
let observed = 0;
new MutationObserver(() => {
  const power = document.querySelector('#site-power');
  if (power?.textContent.includes('W')) note('live');
  if (document.querySelector('.js-plotly-plot .main-svg')) note('chart');
  const told = Number(power?.dataset.observed || 0);
  if (told > observed) {
    if (observed) requestAnimationFrame(() => setTimeout(() => window.ages.push(Date.now() - told)));
    observed = told;
  }
}).observe(document, { childList: true, subtree: true, characterData: true, attributes: true, attributeFilter: ['data-observed'] });
"""
THERE = f"""(window.seen.chart || !document.querySelector('.chart'))
  && performance.now() - Math.max(window.seen.live, window.seen.chart || 0) > {SETTLED_MS}"""
TOLD = """() => ({
  paint: performance.getEntriesByName('first-contentful-paint')[0].startTime,
  nodes: document.getElementsByTagName('*').length,
  ages: window.ages,
  ...window.seen,
})"""
FETCHED = """() => performance.getEntriesByType('resource').concat(performance.getEntriesByType('navigation'))
  .reduce(([sent, whole], r) => [sent + r.transferSize, whole + r.decodedBodySize], [0, 0])"""


async def measure(served: Served, stay: float, loads: int, traces: Path | None) -> dict[str, Any]:
    """Return what is waited for on each page."""
    async with chromium() as browser:
        figures = await first_visit(browser, served)
        context, _ = await logged_in(browser, served, bypass_csp=True)
        await context.add_init_script(WATCH)
        for name, path in served.pages().items():
            seen = [
                await one_page(browser, context, name, served.url + path, stay, traces) for _ in range(loads)
            ]
            for what in dict.fromkeys(what for one in seen for what in one):
                told = [one[what] for one in seen if what in one]
                figures[f"{name}_{what}"] = figure(
                    float(np.median([one["value"] for one in told])), told[0]["unit"]
                )
    return figures


async def first_visit(browser: Browser, served: Served) -> dict[str, Any]:
    """Return what the overview fetches after a login, with nothing but the login page in the cache: MB sent, and unpacked."""
    context, page = await logged_in(browser, served)
    await page.wait_for_selector("#power-chart .main-svg", state="attached", timeout=SHOWN_MS)
    sent, whole = await page.evaluate(FETCHED)
    await context.close()
    return {"first_visit_sent": figure(sent / 1e6, "MB"), "first_visit_unpacked": figure(whole / 1e6, "MB")}


async def one_page(
    browser: Browser, context: BrowserContext, name: str, url: str, stay: float, traces: Path | None
) -> dict[str, Any]:
    """Open a page in a new window, let it stay, and return its figures."""
    page = await context.new_page()
    await browser.start_tracing(page=page, categories=CATEGORIES + PROFILE * (traces is not None))
    await page.goto(url)
    await live(page)
    await page.wait_for_function(THERE, timeout=SHOWN_MS)
    await page.evaluate("performance.mark('hallwatch-there')")
    await asyncio.sleep(stay)
    told = await page.evaluate(TOLD)
    trace = await browser.stop_tracing()
    await page.close()
    if traces is not None:
        (traces / f"{name}.json").write_bytes(trace)
    loading, later = longest_tasks(json.loads(trace)["traceEvents"])
    figures = {
        "first_paint": figure(told["paint"], "ms"),
        "first_live": figure(told["live"], "ms"),
        "longest_task_loading": figure(loading, "ms"),
        "longest_task": figure(later, "ms"),
        "nodes": figure(told["nodes"], "count"),
    }
    if "chart" in told:
        figures["first_chart"] = figure(told["chart"], "ms")
    if told["ages"]:
        figures["reading_to_screen_p95"] = figure(float(np.percentile(told["ages"], 95)), "ms")
    return figures


def longest_tasks(events: list[dict[str, Any]]) -> tuple[float, float]:
    """Return the processor time of the longest task of the page's main thread, ms, until it was there and from then on."""
    there = next(e for e in events if e["name"] == "hallwatch-there" and e["cat"] == "blink.user_timing")
    ours = [
        e for e in events
        if e["name"] == "ThreadControllerImpl::RunTask" and (e["pid"], e["tid"]) == (there["pid"], there["tid"])
    ]  # fmt: skip
    before = [e["tdur"] / 1000 for e in ours if e["ts"] < there["ts"] and "tdur" in e]
    after = [e["tdur"] / 1000 for e in ours if e["ts"] >= there["ts"] and "tdur" in e]
    return max(before, default=0.0), max(after, default=0.0)


def main() -> None:
    parser = argparse.ArgumentParser(prog="hallwatch bench browser_load", description=__doc__)
    parser.add_argument(
        "--stay", type=float, default=10.0, metavar="SECONDS", help="how long each page is open"
    )
    parser.add_argument("--loads", type=int, default=1, help="of each page")
    parser.add_argument(
        "--traces", type=Path, metavar="DIR", help="keep what chrome://tracing shows of each page's last load"
    )
    add_options(parser)
    options = parser.parse_args()
    if options.traces is not None:
        options.traces.mkdir(parents=True, exist_ok=True)
    report("browser_load", options, functools.partial(
        measure, stay=options.stay, loads=options.loads, traces=options.traces
    ))  # fmt: skip


if __name__ == "__main__":
    main()
