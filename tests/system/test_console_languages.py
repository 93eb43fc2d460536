"""The console in Traditional Chinese: chosen once, kept, and without a word of English on any page."""

import re
from dataclasses import replace

import pytest
from playwright.sync_api import expect

from alerts.actions import acknowledge
from dashboard.pages import PAGES
from domain.alert import Severity
from domain.batch import now_ms
from domain.said import Quantity, Said, Span, Term
from tests.system.console_plant import condition
from tests.system.console_service import ADMINISTRATOR, USER

pytestmark = [pytest.mark.server("chromium"), pytest.mark.xdist_group("console")]

TEXTS = """() => {
  const found = new Set();
  const own = '[lang=en], [translate=no], script, style, .name, [hidden], .js-plotly-plot .infolayer .gtitle';
  const walk = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walk.nextNode()) {
    const node = walk.currentNode;
    if (!node.parentElement.closest(own)) found.add(node.textContent);
  }
  for (const name of ['title', 'aria-label', 'placeholder', 'alt'])
    document.querySelectorAll('[' + name + ']').forEach((node) => {
      if (!node.closest(own)) found.add(node.getAttribute(name));
    });
  return [...found];
}"""
NOT_TRANSLATED = re.compile(
    r"\S+\.(?:yaml|md|duckdb)|\b(?:[kMGT]?(?:W|Wh|J|Hz|B|[KMG]iB|VA|Pa)|V|A|L/min|min|K|s|h|d|Auto|English|Language|Hallwatch|API|UTC|CST|GPUs?|CDU|UPS|ISA|EEMUA|CSV|PDF|PUE|ISO|IEC|IT"
    r"|TWD|Brier|pinball|DuckDB|duckdb|nvml|NVML|NVLink|NVIDIA|PCIe|XID|CPU|DSX|BMS|dsx|bms|anna|root|Ctrl)\b"
)
WORD = re.compile(r"[A-Za-z]{3,}")


HOT = Said.of(
    "points_above",
    said=Said.of(
        "above",
        object="R005",
        what=Said.of("measured_of", what=Term("measured", "GPU core temperature"), of="R005-T01-G2"),
        value=Quantity(91.0, "Cel"),
        limit=Quantity(87.0, "Cel"),
    ),
    n=3,
)
LEAK = Said.of("state", object="R003", state=(Term("measured", "leak at a rack"),))
FLAPS = Said.of("flapping", said=LEAK, times=4, within=Span(3600), quiet=Span(600))
SENTENCES = (
    "R005：R005-T01-G2 的GPU 核心溫度 91.0 °C，超出上限 87.0 °C（共 3 個測點超出上限）",
    "R003：機櫃漏液",
    "R003：機櫃漏液；反覆發生：60 分鐘內 4 次，須平靜 10 分鐘才解除",
)


def english(texts: list[str], names: set[str]) -> set[str]:
    """The texts that hold a word which is neither a name, nor a unit, nor one that Taiwan's engineers write so too."""
    left = set()
    for text in texts:
        for name in names:
            text = text.replace(name, "")
        if WORD.search(NOT_TRANSLATED.sub("", text)):
            left.add(text)
    return left


def test_the_language_is_chosen_in_the_frame_and_no_page_has_a_word_of_another_or_asks_the_world_outside(
    open_page, console
):
    records = console.records
    first, second, third = records.open_alerts(
        [
            replace(condition("gpu-too-hot", "R005", Severity.HIGH), said=HOT),
            replace(condition("leak", "R003", Severity.CRITICAL, 1, 0, ""), said=LEAK),
            replace(condition("gpu-too-hot", "R006"), said=FLAPS),
        ],
        now_ms(),
    )
    acknowledge(records, second.id, USER, "", now_ms())
    records.keep_incidents([first.id], {third.id: first.id}, now_ms())
    page = open_page(ADMINISTRATOR, locale="de-DE", bypass_csp=True)
    assert page.get_attribute("html", "lang") == "en"
    expect(page.locator("#nav-alerts")).to_have_text("Alerts")
    page.select_option("#language-choice", "zh-Hant")
    expect(page.locator("#nav-alerts")).to_have_text("警報")
    assert page.get_attribute("html", "lang") == "zh-Hant"

    elsewhere = open_page(ADMINISTRATOR, locale="de-DE")  # another browser of the same person
    expect(elsewhere.locator("#nav-alerts")).to_have_text("警報")

    names = {
        console.site.name, console.site.id, console.data.note, "test", "on_call", *console.site.racks,
        *(p.object_id for p in console.registry), *(p.object_type for p in console.registry),
        *(p.point_type for p in console.registry), *(p.key for p in console.registry),
        *(word for p in console.registry for _, word in p.state_text),
        *(period.name for period in console.tariff.periods),
    }  # fmt: skip
    longest_first = dict.fromkeys(sorted(names, key=len, reverse=True))
    left, asked, troubles = {}, [], []
    page.context.on("request", lambda request: asked.append(request.url))
    page.on("pageerror", lambda error: troubles.append(str(error)))
    page.on("console", lambda line: troubles.append(line.text) if line.type == "error" else None)
    for shown in PAGES:
        which = next((name for name in ("R005", "1") if shown.known(console.data, name)), "R005")
        page.goto(console.url + shown.path.format(object=which))
        expect(page.locator("#site-power")).to_contain_text("MW")
        expect(page.locator("#page > *").first).to_be_visible()
        for name in shown.live if not shown.of_objects or shown.known(console.data, which) else ():
            page.wait_for_function(f"window.hallwatch.latest['live-{name}'] !== undefined")
        for body in page.locator(
            "tbody[id^=settings-], tbody#energy-tariff"
        ).all():  # which a page asks for by itself
            expect(body.locator("tr").first).to_be_attached()
        left[shown.path] = english(page.evaluate(TEXTS), longest_first)
        if shown.path == "/alerts":  # what alerts say is told in the language too
            for sentence in SENTENCES:
                expect(page.get_by_text(sentence, exact=True).first).to_be_visible()
    assert {path: words for path, words in left.items() if words} == {}
    assert len(asked) > len(PAGES)
    assert [url for url in asked if not url.startswith((console.url, "data:", "blob:"))] == []
    assert troubles == []
    records.clear_alerts([first.id, second.id, third.id], now_ms())


def test_a_browser_of_taiwan_is_greeted_in_its_language(browser, console):
    context = browser.new_context(locale="zh-TW")
    page = context.new_page()
    page.set_default_timeout(60_000)
    page.goto(console.url)
    expect(page.locator("#log-in")).to_have_text("登入")
    page.fill("#name", USER)
    page.fill("#password", "wrong")
    page.click("#log-in")
    expect(page.locator("#login-message")).to_have_text("名稱或密碼錯誤。")
    context.close()
