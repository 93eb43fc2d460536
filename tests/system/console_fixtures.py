"""The live console and a browser, for the tests of it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, expect, sync_playwright

from domain.batch import now_ms
from tests.system.console_plant import demo_site, forecast_of
from tests.system.console_service import PASSWORD, USER, LiveConsole

ARGUMENTS = [
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
]


@pytest.fixture(scope="module")
def console(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveConsole]:
    """Two pods; one rack tells nothing and one tells it badly."""
    live = LiveConsole(
        tmp_path_factory.mktemp("console"), demo_site(pods=2), note="Test cadence: every 0.5 s"
    )
    live.plant.change = lambda values: values.pop("Rack/RackPower/R016") and None
    live.plant.bad.add("Rack/RackPower/R015")
    live.records.save_forecast(forecast_of(live.site, now_ms()))
    with live:
        live.accept(live.plant.history(now_ms() - 60_000, 1.0, 60_000))
        yield live


expect.set_options(timeout=60_000)


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Debian's Chromium."""
    with sync_playwright() as playwright:
        launched = playwright.chromium.launch(executable_path="/usr/bin/chromium", args=ARGUMENTS)
        yield launched
        launched.close()


def log_in(page: Page, url: str, user: str = USER, password: str = PASSWORD) -> None:
    """Log in and wait for the first live figures."""
    page.goto(url)
    page.fill("#name", user)
    page.fill("#password", password)
    page.click("#log-in")
    expect(page.locator("#site-power")).to_contain_text("MW")


@pytest.fixture
def open_page(browser: Browser, console: LiveConsole) -> Iterator[Callable[..., Page]]:
    """Returns windows of people who have logged in, each in a session of its own; what a context may have can be said."""
    contexts = []

    def opened(user: str = USER, password: str = PASSWORD, **options: Any) -> Page:
        contexts.append(browser.new_context(**{"viewport": {"width": 1440, "height": 900}} | options))
        page = contexts[-1].new_page()
        page.set_default_timeout(60_000)
        log_in(page, console.url, user, password)
        return page

    yield opened
    for context in contexts:
        context.close()
