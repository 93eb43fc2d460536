"""The console on a wall, a tablet and a phone, light and dark, by keyboard and for a screen reader."""

from __future__ import annotations

import re

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Page, expect

from dashboard.pages import PAGES
from domain.alert import AlertState, Severity
from domain.batch import now_ms
from tests.servers.hallwatch import eventually
from tests.system.console_plant import condition, less_is_asked
from tests.system.console_service import ADMINISTRATOR

pytestmark = [pytest.mark.server("chromium"), pytest.mark.xdist_group("console")]

WCAG = {"runOnly": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa"], "resultTypes": ["violations"]}
REACHED = """[...document.querySelectorAll('.panel-body')].every((b) => b.tabIndex === 0
  || (b.scrollHeight <= b.clientHeight + 1 && b.scrollWidth <= b.clientWidth + 1)
  || b.querySelector('a, button, input, select, [tabindex]'))"""
PHONE, TABLET = {"width": 390, "height": 844}, {"width": 820, "height": 1180}
WALL = {"width": 3840, "height": 2160}
GROUND = "getComputedStyle(document.body).backgroundColor"


def grey(page: Page) -> float:
    """How light the ground is, 0 to 1."""
    red, green, blue = map(int, re.findall(r"\d+", page.evaluate(GROUND))[:3])
    return (red + green + blue) / 765


def troubles(page: Page) -> list[str]:
    """What axe-core finds serious or critical."""
    found = Axe().run(page, options=WCAG).response["violations"]
    return [
        f"{v['id']}: {node['html'][:150]} {node['failureSummary'][:200]}"
        for v in found
        if v["impact"] in ("serious", "critical")
        for node in v["nodes"][:3]
    ]


def shown(page: Page, console, one) -> None:
    """Open a page, of rack R005 or of the first incident where it is of an object, and wait for its live sections."""
    which = next((name for name in ("R005", "1") if one.known(console.data, name)), "R005")
    live = one.live if not one.of_objects or one.known(console.data, which) else {}
    page.goto(console.url + one.path.format(object=which))
    expect(page.locator("#site-power")).to_contain_text("MW")
    expect(page.locator("#page > *").first).to_be_visible()
    for name in live:
        page.wait_for_function(f"window.hallwatch.latest['live-{name}'] !== undefined")
    page.wait_for_function(REACHED)
    page.wait_for_function("!document.querySelector('.dash-dropdown-focus-target[tabindex=\"0\"]')")


@pytest.fixture
def storm(console):
    """Alerts of every priority: one explains another, one is taken."""
    records = console.records
    opened = records.open_alerts(
        [
            condition("supply-lost", "FEED-A", Severity.CRITICAL, 0, 0, ""),
            condition("ups-on-battery", "UPS-A1", Severity.CRITICAL),
            condition("cdu-stopped", "P01-CDU1", Severity.HIGH),
            condition("coolant-return-too-warm", "R005"),
            condition("maintenance-due", "R006", Severity.INFO),
        ],
        now_ms(),
    )
    records.keep_incidents([opened[0].id], {opened[1].id: opened[0].id}, now_ms())
    asked = console.grid.desk.take(less_is_asked("FEED-A", 1e6, now_ms()), str(now_ms()))
    yield opened
    console.grid.desk.refuse(asked.id, ADMINISTRATOR)
    records.clear_alerts([alert.id for alert in opened], now_ms())


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_no_page_has_a_serious_finding_calm_or_in_alarm(open_page, console, storm, theme):
    # axe-core is evaluated in the page, which the console's own policy forbids
    page = open_page(ADMINISTRATOR, color_scheme=theme, bypass_csp=True)
    assert (grey(page) > 0.5) == (theme == "light")
    found = {}
    for one in PAGES:
        shown(page, console, one)
        found[one.path] = troubles(page)
    page.click("#time-open")
    expect(page.locator("#time-events button").first).to_be_visible()
    found["time bar"] = troubles(page)
    page.click("#time-back")
    expect(page.locator("#past-told")).to_contain_text("not live")
    found["past"] = troubles(page)
    console.records.clear_alerts([alert.id for alert in storm], now_ms())
    for one in PAGES[:2]:
        shown(page, console, one)
        expect(page.locator("#alert-count")).to_have_text("0")
        found[f"{one.path} calm"] = troubles(page)
    assert {path: what for path, what in found.items() if what} == {}


def test_the_login_has_no_serious_finding(browser, console):
    for theme in ("light", "dark"):
        context = browser.new_context(color_scheme=theme, bypass_csp=True)
        page = context.new_page()
        page.set_default_timeout(60_000)
        page.goto(console.url)
        assert troubles(page) == []
        context.close()


def test_the_theme_follows_the_system_until_somebody_chooses(open_page):
    page = open_page(color_scheme="dark")
    assert grey(page) < 0.3
    page.emulate_media(color_scheme="light")
    eventually(lambda: grey(page) > 0.7)
    page.select_option("#theme-choice", "dark")
    expect(page.locator("html")).to_have_attribute("data-theme", "dark")
    assert grey(page) < 0.3
    page.reload()
    expect(page.locator("#theme-choice")).to_have_value("dark")
    assert grey(page) < 0.3


def test_text_grows_on_a_wall_so_that_it_reads_from_five_metres(open_page, storm):
    """A wall of 2 m with 3,840 pixels: 40 of them are 21 mm, a 240th of five metres."""
    page = open_page(viewport=WALL, bypass_csp=True)
    expect(page.locator("#alert-list .alert")).to_have_count(4)
    expect(page.locator("#cooling-rows tr")).to_have_count(4)
    expect(page.locator("#supply-rows tr")).to_have_count(4)
    expect(page.locator("#rack-R001 .rack-value")).not_to_be_empty()
    heights = page.evaluate(
        """() => {
          const walk = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT), found = [];
          while (walk.nextNode()) {
            const range = document.createRange();
            range.selectNode(walk.currentNode);
            const box = range.getBoundingClientRect();
            const own = walk.currentNode.parentElement;
            if (box.height && own.checkVisibility() && !own.closest('.chart, script, .skip'))
              found.push([box.height, walk.currentNode.textContent]);
          }
          return found;
        }"""
    )
    assert len(heights) > 100
    assert [(height, text) for height, text in heights if height < 40] == []
    assert page.locator("#site-power").bounding_box()["height"] > 100
    overflow = page.evaluate("[document.body.scrollHeight - document.documentElement.clientHeight]")
    assert max(overflow) <= 1
    expect(page.locator("#log-out")).to_be_hidden()
    chart = "document.getElementById('power-chart')"
    page.wait_for_function(
        f"{chart}._fullLayout?.yaxis._length > 0.5 * {chart}.clientHeight"
    )  # labels leave it room


@pytest.mark.parametrize("screen", [PHONE, TABLET], ids=["phone", "tablet"])
def test_a_person_on_call_takes_an_alarm_with_the_thumb_and_looks_a_rack_up(
    open_page, console, storm, screen
):
    page = open_page(viewport=screen, has_touch=True, is_mobile=True, device_scale_factor=2)
    for path in ("/alerts", "/", "/rack/R005", "/health", "/oncall"):
        page.goto(console.url + path)
        expect(page.locator("#site-power")).to_contain_text("MW")
        expect(page.locator("#page > *").first).to_be_visible()
        assert page.evaluate("document.documentElement.scrollWidth") <= screen["width"], path
    lead = storm[0]
    page.goto(f"{console.url}/alerts?alert={lead.id}")
    button = page.locator(f"#alert-table #ack-{lead.id}")
    button.tap(timeout=60_000)
    note = f"on my way {screen['width']}"  # the last note on such an alert is shown as well
    page.fill(f"#ack-note-{lead.id}", note)
    yes = page.locator(f"#ack-confirm-{lead.id}")
    assert yes.bounding_box()["height"] >= 24  # WCAG 2.2, 2.5.8
    yes.tap()
    expect(page.locator(f"#alert-row-{lead.id}")).to_contain_text(note)
    assert console.records.alert(lead.id).state is AlertState.ACKNOWLEDGED


def test_an_alarm_is_taken_by_keyboard_alone(open_page, console, storm):
    page = open_page()
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.className") == "skip"
    page.keyboard.press("Enter")
    button = page.locator(f"#alert-list #ack-{storm[0].id}")
    expect(button).to_be_visible()
    for _ in range(150):
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement.id") == f"ack-{storm[0].id}":
            break
    outline = page.evaluate("getComputedStyle(document.activeElement).outlineStyle")
    assert outline != "none"
    page.keyboard.press("Enter")
    page.keyboard.type("seen")
    page.keyboard.press("Enter")
    eventually(lambda: console.records.alert(storm[0].id).note == "seen")


def test_a_choice_is_made_with_the_arrow_keys_and_kept(open_page, console):
    page = open_page()
    page.locator("[data-choice=floor-metric] input").first.focus()
    page.keyboard.press("ArrowRight")
    expect(page.locator("#floor-high")).to_contain_text("\u00b0C")
    page.reload()
    expect(page.locator("#floor-high")).to_contain_text("\u00b0C")
