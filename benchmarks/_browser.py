"""Windows of a real browser on the console, for the benchmarks of what it costs there."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import platform
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from benchmarks._console_hall import PASSWORD, USER, hall_served
from dashboard.pages import PAGES

if TYPE_CHECKING:
    from playwright.async_api import Browser, BrowserContext, Page

CHROMIUM = "/usr/bin/chromium"
ARGUMENTS = ["--headless=new", "--no-sandbox", "--disable-gpu", "--disable-background-networking", "--no-first-run"]  # fmt: skip
VIEWPORT = {"width": 1440, "height": 900}
SHOWN_MS = 60_000
ONE_OF = {"rack": "R001", "object": "UPS-A1"}
"""Which of their objects a page is opened with; an incident's number is the hall's, or told."""


@dataclass(frozen=True, slots=True)
class Served:
    """A console that runs: its address, who looks, and the incident that is looked at (its page is left out without one).

    `only` names the pages that are looked at, where it is not all.
    """

    url: str
    user: str
    password: str
    incident: str
    only: Sequence[str] = ()

    def pages(self) -> dict[str, str]:
        """Return the path of every page that is looked at, by its name."""
        objects = ONE_OF | {"incident": self.incident}
        paths = {
            page.name: page.path.format(object=objects[page.name]) if page.of_objects else page.path
            for page in PAGES
            if not self.only or page.name in self.only
        }
        return {name: path for name, path in paths.items() if not path.endswith("/") or path == "/"}


@contextlib.asynccontextmanager
async def chromium() -> AsyncIterator[Browser]:
    """Start a headless browser that ends with the context."""
    from playwright.async_api import async_playwright

    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        yield browser
        await browser.close()


async def logged_in(browser: Browser, served: Served, **options: Any) -> tuple[BrowserContext, Page]:
    """Return a context whose cookie is that of a login, and its window, which shows the overview."""
    context = await browser.new_context(viewport=VIEWPORT, **options)  # type: ignore[arg-type]  # a typed dict
    page = await context.new_page()
    await page.goto(served.url)
    await page.fill("#name", served.user)
    await page.fill("#password", served.password)
    await page.click("#log-in")
    await live(page)
    return context, page


async def live(page: Page) -> None:
    """Wait until figures arrive in a window."""
    await page.wait_for_selector("#site-power:has-text('W')", timeout=SHOWN_MS)


def figure(value: float, unit: str) -> dict[str, Any]:
    """Return a figure without a reference."""
    return {"value": round(value, 3), "unit": unit, "reference": None, "ratio": None}


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add those that name a console that runs already."""
    parser.add_argument(
        "--url", default="", help="of a service that runs already; else the full-size hall is served"
    )
    parser.add_argument("--user", default="demo")
    parser.add_argument("--password", default="")
    parser.add_argument("--incident", default="", help="number of an incident of that service, for its page")
    parser.add_argument(
        "--pages", nargs="+", default=[], choices=[page.name for page in PAGES], help="only these (all)"
    )


def report(
    name: str, options: argparse.Namespace, measure: Callable[[Served], Awaitable[dict[str, Any]]]
) -> None:
    """Measure a service that runs, or the hall, and print the figures."""

    async def measured() -> dict[str, Any]:
        if options.url:
            return await measure(
                Served(options.url, options.user, options.password, options.incident, options.pages)
            )
        async with hall_served() as (url, hall):
            return await measure(Served(url, USER, PASSWORD, str(hall.incident), options.pages))

    figures = asyncio.run(measured())
    machine = {"cpus": os.cpu_count(), "python": platform.python_version(), "load": os.getloadavg()[0]}
    json.dump({"name": name, "machine": machine, "figures": figures}, sys.stdout, indent=1)
    print()
