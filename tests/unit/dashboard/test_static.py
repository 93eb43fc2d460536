"""Scripts and styles of the console over real HTTP messages: packed, kept by browsers, and the same whoever asks."""

import gzip
import os
import re
import time

import httpx
import plotly
import pytest
from fastapi import FastAPI

from dashboard import app as console
from dashboard import static
from storage.accounts import Accounts

SCRIPT = "10-console.js"
PASSWORD = "night-shift-1"
gzip_compress = gzip.compress


@pytest.fixture
async def browser(bare, quick):
    """A browser that is logged in and takes gzip."""
    accounts = Accounts(bare.records)
    accounts.add_user("anna", PASSWORD)
    served = FastAPI()
    console.mount(served, bare.data, accounts, "only for tests, and long enough")
    wire = httpx.ASGITransport(served)
    async with httpx.AsyncClient(transport=wire, base_url="http://console.test") as client:
        assert (await client.post("/login", data={"name": "anna", "password": PASSWORD})).status_code == 303
        yield client


async def addresses(browser):
    """Return what the page loads."""
    page = (await browser.get("/")).text
    return re.findall(r'(?:src|href|data-plotly)="(/(?:assets|words|_dash-component-suites)/[^"]+)"', page)


async def test_all_that_a_page_loads_is_packed_and_kept_for_ever(browser):
    loaded = await addresses(browser)
    assert len(loaded) > 30
    assert [a for a in loaded if "plotly" in a] == [
        f"/assets/plotly/plotly-basic.min.js?m={mark('plotly/plotly-basic.min.js')}"
    ]
    for address in loaded:
        answer = await browser.get(address)
        told = answer.headers
        assert (answer.status_code, told["content-encoding"], told["vary"]) == (
            200,
            "gzip",
            "Accept-Encoding",
        )
        assert told["cache-control"] == "public, max-age=31536000, immutable"
        assert re.match(r"text/(javascript|css)", told["content-type"])


def mark(name):
    return static.mark_of((console.ASSETS / name).read_bytes())


async def test_a_first_visit_fetches_less_than_a_megabyte(browser):
    sent = 0
    for address in await addresses(browser):
        async with browser.stream("GET", address) as answer:
            sent += sum([len(part) async for part in answer.aiter_raw()])
    assert sent < 1_000_000


async def test_a_script_is_the_same_packed_and_unpacked(browser):
    content = (console.ASSETS / SCRIPT).read_bytes()
    packed = await browser.get(f"/assets/{SCRIPT}")
    plain = await browser.get(f"/assets/{SCRIPT}", headers={"accept-encoding": "identity"})
    assert packed.content == plain.content == content
    assert "content-encoding" not in plain.headers


async def test_an_address_without_its_mark_or_with_an_old_one_is_asked_for_again_and_not_sent_twice(browser):
    for address in (f"/assets/{SCRIPT}", f"/assets/{SCRIPT}?m=123.4"):
        first = await browser.get(address)
        assert first.headers["cache-control"] == "no-cache"
        again = await browser.get(address, headers={"if-none-match": first.headers["etag"]})
        assert (again.status_code, again.content) == (304, b"")


async def test_a_file_is_packed_once_for_all(browser, monkeypatch):
    packed = []

    def compress(content, level, mtime):
        packed.append(len(content))
        return gzip_compress(content, level, mtime=mtime)

    monkeypatch.setattr(gzip, "compress", compress)
    for _ in range(3):
        assert (await browser.get(f"/assets/{SCRIPT}")).status_code == 200
    assert packed == [(console.ASSETS / SCRIPT).stat().st_size]


async def test_what_is_not_there_is_not_there_and_not_kept(browser, monkeypatch):
    for _ in range(2):
        assert (await browser.get("/assets/none.js")).status_code == 404
    monkeypatch.setattr(static, "MOST_KEPT", 1)
    assert (await browser.get(f"/assets/{SCRIPT}")).headers["content-encoding"] == "gzip"
    beyond = await browser.get("/assets/20-heatmap.js")
    assert beyond.status_code == 200
    assert beyond.content == (console.ASSETS / "20-heatmap.js").read_bytes()


async def test_nobody_gets_a_script_without_a_login(browser):
    address = (await addresses(browser))[0]
    assert (await browser.get(address)).status_code == 200
    browser.cookies.clear()
    assert (await browser.get(address)).status_code == 401


async def test_pages_and_answers_of_some_size_are_packed(browser):
    for address in ("/", "/_dash-layout", "/_dash-dependencies"):
        assert (await browser.get(address)).headers["content-encoding"] == "gzip"
    assert "content-encoding" not in (await browser.get("/alive")).headers


def test_a_mark_is_that_of_the_content_whenever_the_file_was_laid_down(tmp_path):
    (tmp_path / "a.js").write_text("one")
    before = static.marks_of(tmp_path)
    os.utime(tmp_path / "a.js", (0, time.time() - 1e6))
    assert static.marks_of(tmp_path) == before
    assert static.marked('src="/assets/a.js?m=17.5"', before) == f'src="/assets/a.js?m={before["a.js"]}"'
    (tmp_path / "a.js").write_text("two")
    assert static.marks_of(tmp_path) != before


def test_the_library_of_the_charts_is_of_the_version_that_dash_brings():
    def version(text):
        return re.search(r"plotly\.js (?:\(basic - minified\) )?v([\d.]+)", text)[1]

    shipped = console.ASSETS / "plotly" / "plotly-basic.min.js"
    whole = os.path.join(os.path.dirname(plotly.__file__), "package_data", "plotly.min.js")
    with shipped.open(encoding="utf-8") as ours, open(whole, encoding="utf-8") as theirs:
        assert version(ours.read(500)) == version(theirs.read(500))


def test_the_library_of_the_charts_asks_to_be_made_ready_while_it_comes():
    with (console.ASSETS / "plotly" / "plotly-basic.min.js").open(encoding="utf-8") as shipped:
        assert shipped.readline() == "//# allFunctionsCalledOnLoad\n"
