"""From a leak to a thumb: the running service tells who is on call by mail, and the link in it takes the alert on a phone."""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import shutil
from pathlib import Path

import pytest
import yaml
from playwright.async_api import async_playwright, expect

from benchmarks._server_process import free_port
from domain.alert import AlertState
from domain.batch import Batch, now_ms
from domain.points import Point
from service.application import run_service
from service.settings import read_configuration
from tests.contract.notify_receivers import MailReceiver
from tests.system.console_fixtures import ARGUMENTS

pytestmark = [pytest.mark.server("chromium"), pytest.mark.xdist_group("console")]

ROOT = Path(__file__).parents[2]
PICTURES = os.environ.get("HALLWATCH_TEST_PICTURES", "")
"""A folder for pictures of the pages, to be looked at."""
PATIENCE_MS = 60_000
MEI, LIN = "mei@site.example", "lin@site.example"


def configured(folder: Path, mail: MailReceiver, port: int) -> Path:
    config = folder / "config"
    config.mkdir()
    shutil.copy(ROOT / "config/site.yaml", config / "site.yaml")
    office = [{"days": "mon-fri", "from": "08:00", "to": "20:00"}]
    alerts = {
        "interval": 0.2,
        "console_url": f"http://127.0.0.1:{port}",
        "rules": [
            {
                "name": "leak",
                "kind": "state",
                "points": ["RackLeakDetect"],
                "normal": ["NoLeak"],
                "severity": "critical",
            }
        ],
        "channels": {"mail": mail.settings() | {"recipients": [MEI, LIN], "timeout": "20 s"}},
        "routes": [{"severities": ["critical"], "escalation": "plant"}],
        "on_call": {
            "people": {
                "mei": {"name": "Mei Chen", "reach": [f"mail/{MEI}"], "timezone": "America/New_York"},
                "lin": {"name": "Lin Hsu", "reach": [f"mail/{LIN}"]},
            },
            "schedules": {
                "primary": {"layers": [{"people": ["mei"], "start": "2026-01-05"}]},
                "secondary": {
                    "layers": [
                        {"people": ["lin", "mei"], "start": "2026-01-05", "turn_days": 2, "only": office}
                    ]
                },
            },
            "escalations": {
                "plant": {
                    "steps": [{"schedules": ["primary"]}, {"after": "30 min", "people": ["lin"]}],
                    "repeat": "until taken",
                }
            },
            "fallback": ["lin"],
        },
    }
    (config / "alerts.yaml").write_text(yaml.safe_dump(alerts))
    (config / "hallwatch.yaml").write_text(yaml.safe_dump({"data": "../data", "web": {"port": port}}))
    return config


@contextlib.asynccontextmanager
async def running(config: Path):
    """Yield the system of a service that runs."""
    ready: asyncio.Future = asyncio.get_running_loop().create_future()

    async def announce(system, _url):
        ready.set_result(system)

    task = asyncio.create_task(run_service(read_configuration(config), ready=announce))
    try:
        await asyncio.wait({task, ready}, return_when=asyncio.FIRST_COMPLETED)
        yield ready.result() if ready.done() else task.result()
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


async def picture(page, name: str) -> None:
    if PICTURES:
        await page.screenshot(path=f"{PICTURES}/{name}.png")


async def leaks(system, rack: str) -> None:
    states = ((0, "NoLeak"), (1, "Leak"))
    key = f"Rack/RackLeakDetect/{rack}"
    point = system.registry.register(
        Point(key, "Rack", "RackLeakDetect", rack, state_text=states, source="dsx:bms")
    )
    await system.ingest.accept(Batch.of([point], now_ms(), [1], received=now_ms()))


async def test_one_tap_on_a_phone_takes_the_alert_and_the_console_shows_who_is_on_call(tmp_path):
    port = free_port()
    async with (
        MailReceiver().serve() as mail,
        running(configured(tmp_path, mail, port)) as system,
        async_playwright() as playwright,
    ):
        system.accounts.add_user("mei", "night-shift-1")
        await leaks(system, "R017")
        async with asyncio.timeout(60):
            while not mail.got:  # noqa: ASYNC110 - the receiver tells nobody when it got something
                await asyncio.sleep(0.05)
        assert mail.to == [[MEI]]
        text = mail.got[0].get_body(("plain",)).get_content()
        assert re.search(r" E[SD]T", text)  # by her own clocks
        (link,) = set(re.findall(rf"http://127\.0\.0\.1:{port}/answer/[\w.-]+", text.replace("=\n", "")))

        browser = await playwright.chromium.launch(executable_path="/usr/bin/chromium", args=ARGUMENTS)
        phone = await browser.new_context(
            viewport={"width": 390, "height": 844}, is_mobile=True, has_touch=True, device_scale_factor=2
        )
        page = await phone.new_page()
        page.set_default_timeout(PATIENCE_MS)
        await page.goto(link)
        await expect(page.locator("h1")).to_contain_text("R017: leak", timeout=PATIENCE_MS)
        take = page.locator("#take")
        box = await take.bounding_box()
        assert box["height"] >= 48  # a thumb's width
        assert box["y"] + box["height"] <= 844  # without scrolling
        assert await page.evaluate("document.documentElement.scrollWidth") <= 390
        await picture(page, "answer")
        (alert,) = system.records.active_alerts()
        assert alert.state is AlertState.OPEN  # looking takes nothing
        await page.locator("#note").fill("on my way")
        await take.tap()
        await expect(page.locator("#done")).to_be_visible(timeout=PATIENCE_MS)
        await expect(page.locator("#answer")).to_contain_text("taken by Mei Chen", timeout=PATIENCE_MS)
        await picture(page, "answered")
        taken = system.records.alert(alert.id)
        assert (taken.state, taken.acknowledged_by, taken.note) == (
            AlertState.ACKNOWLEDGED, "Mei Chen", "on my way"
        )  # fmt: skip
        assert system.records.audit_trail()[0].who == "Mei Chen"
        await page.goto(link[:-3] + "xyz")
        await expect(page.locator("[role=alert]")).to_contain_text("none of ours", timeout=PATIENCE_MS)
        await picture(page, "refused")

        desk = await browser.new_context(viewport={"width": 1440, "height": 900})
        page = await desk.new_page()
        page.set_default_timeout(PATIENCE_MS)
        await page.goto(f"http://127.0.0.1:{port}/oncall")
        await page.fill("#name", "mei")
        await page.fill("#password", "night-shift-1")
        await page.click("#log-in")
        await expect(page.locator("#oncall-now-primary")).to_contain_text("Mei Chen", timeout=PATIENCE_MS)
        await expect(page.locator("#oncall-clocks")).to_contain_text("America/New_York", timeout=PATIENCE_MS)
        # nights and week-ends of the second
        assert await page.locator("#oncall-gaps tbody tr").count() >= 10
        assert await page.locator(".oncall-bar").count() >= 20
        assert await page.evaluate("document.documentElement.scrollWidth") <= 1440
        await picture(page, "oncall")
        await browser.close()
