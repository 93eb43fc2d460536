"""Pictures of every page of a running console: ``python docs/console_pictures.py URL --password P [--out DIR]``.

To be looked at before a release, calm and in trouble: start `hallwatch demo`, let something fail (docs/simulator.md), and take
them. Each is ``SCREEN-THEME-LANGUAGE-PAGE.png``.
"""

from __future__ import annotations

import argparse
import asyncio
from pathlib import Path
from urllib.parse import urlsplit

from playwright.async_api import Browser, Page, async_playwright

SCREENS = {
    "laptop": {"width": 1440, "height": 900},
    "desk": {"width": 1920, "height": 1080},
    "wall": {"width": 3840, "height": 2160},
    "tablet": {"width": 820, "height": 1180},
    "phone": {"width": 390, "height": 844},
}
PAGES = {
    "overview": "/",
    "energy": "/energy",
    "reports": "/reports",
    "power": "/power",
    "cooling": "/cooling",
    "forecast": "/forecast",
    "incidents": "/incidents",
    "incident": "",  # the first that lasts, where one does
    "alerts": "/alerts",
    "oncall": "/oncall",
    "rack": "/rack/R001",
    "object": "/object/UPS-A1",
    "health": "/health",
    "audit": "/audit",
    "settings": "/settings",
    "runbook": "/runbooks/leak",
}
SETTLED_S = 2.5
"""Charts and slow sections come after the first live figures."""


async def take(browser: Browser, options: argparse.Namespace) -> None:
    """Take all pictures that are asked for, one window after the other."""
    login = await browser.new_context()
    page = await login.new_page()
    await page.goto(options.url + "/login")
    await page.screenshot(path=options.out / "login.png")
    await page.fill("#name", options.user)
    await page.fill("#password", options.password)
    await page.click("#log-in")
    await page.wait_for_url(options.url + "/")
    cookies = await login.cookies()
    for screen in options.screens:
        for theme in options.themes:
            for language in options.languages:
                host = urlsplit(options.url).hostname
                wanted = [
                    {"name": f"hallwatch_{what}", "value": value, "domain": host, "path": "/"}
                    for what, value in (("language", language), ("theme", theme))
                ]
                own = [c for c in cookies if c["name"] not in ("hallwatch_language", "hallwatch_theme")]
                context = await browser.new_context(
                    viewport=SCREENS[screen], color_scheme=theme, bypass_csp=True
                )
                await context.add_cookies([*own, *wanted])  # type: ignore[list-item]
                window = await context.new_page()
                for name in options.pages:
                    target = (
                        options.out / f"{screen}-{theme}-{language}-{name.strip('/').replace('/', '-')}.png"
                    )
                    where = PAGES.get(name, name) or await newest_incident(window, options.url)
                    if where:
                        await picture(window, options.url + where, target, screen in ("phone", "tablet"))
                await context.close()
    await login.close()


async def newest_incident(page: Page, url: str) -> str:
    """Return the address of the first incident that lasts, or nothing."""
    await page.goto(url + "/incidents")
    await page.wait_for_selector("#incident-open > *", timeout=60_000)
    links = page.locator("#incident-open a[href^='/incident/']")
    return (await links.first.get_attribute("href") or "") if await links.count() else ""


async def picture(page: Page, url: str, target: Path, whole: bool) -> None:
    """Open an address, wait for its figures, and keep what is seen."""
    await page.goto(url)
    if "/runbooks/" not in url:
        await page.wait_for_function(
            "document.querySelector('#site-power')?.textContent.includes('W')", timeout=60_000
        )
    await page.wait_for_timeout(SETTLED_S * 1000)
    await page.screenshot(path=target, full_page=whole)


async def main() -> None:
    """Run it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("url", help="of the console")
    parser.add_argument("--user", default="demo")
    parser.add_argument("--password", required=True)
    parser.add_argument("--out", type=Path, default=Path("console-pictures"))
    parser.add_argument("--screens", nargs="+", choices=SCREENS, default=list(SCREENS))
    parser.add_argument("--themes", nargs="+", choices=("dark", "light"), default=["dark", "light"])
    parser.add_argument("--languages", nargs="+", choices=("en", "zh-Hant"), default=["en", "zh-Hant"])
    parser.add_argument(
        "--pages", nargs="+", default=list(PAGES), help="names, or addresses such as /incident/7"
    )
    parser.add_argument("--chromium", default="/usr/bin/chromium")
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(
            executable_path=options.chromium, args=["--no-sandbox", "--disable-gpu"]
        )
        await take(browser, options)
        await browser.close()


if __name__ == "__main__":
    asyncio.run(main())
