"""Runbooks in the console: what a link in a message opens."""

import httpx
import pytest
from fastapi import FastAPI

from alerts.runbooks import Runbooks
from dashboard.runbooks import runbook_router


@pytest.fixture
async def browser(tmp_path):
    (tmp_path / "leak.md").write_text(
        "# Water <script>alert(1)</script>\n\n## First action\n\n[x](javascript:alert(2))\n"
    )
    app = FastAPI()
    app.include_router(runbook_router(Runbooks(tmp_path)))
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://console") as client:
        yield client


async def test_a_runbook_is_a_page_in_each_language(browser):
    english = await browser.get("/runbooks/cdu-stopped")
    assert english.status_code == 200
    assert "<h1>CDU stopped</h1>" in english.text
    assert '<h2 class="first">First action</h2>' in english.text
    assert 'href="?lang=zh-Hant"' in english.text
    chinese = await browser.get("/runbooks/cdu-stopped", params={"lang": "zh-Hant"})
    assert '<html lang="zh-Hant" ' in chinese.text
    assert "<h1>冷卻液分配裝置停止</h1>" in chinese.text


async def test_all_of_them_are_listed(browser):
    page = await browser.get("/runbooks")
    assert 'href="/runbooks/leak"' in page.text
    assert 'href="/runbooks/ups-on-battery"' in page.text


async def test_what_a_runbook_or_an_address_says_is_no_markup(browser):
    page = await browser.get("/runbooks/leak")
    assert "<script>" not in page.text
    assert 'href="javascript' not in page.text
    unknown = await browser.get("/runbooks/%3Cb%3Ex")
    assert unknown.status_code == 404
    assert "<b>" not in unknown.text
