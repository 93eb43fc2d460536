"""The pages of the operations console, each along the way of somebody who has a question, in a real browser."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path

import numpy as np
import pytest
from playwright.sync_api import Browser, Page, expect

from domain.alert import Severity
from domain.batch import now_ms
from domain.forecast import Ramps
from domain.role import Role
from tests.system.console_fixtures import log_in
from tests.system.console_plant import condition, demo_site, forecast_of, less_is_asked
from tests.system.console_service import USER, LiveConsole

pytestmark = [pytest.mark.server("chromium"), pytest.mark.xdist_group("console")]

WAIT = 60_000
INSIDE = """[...document.querySelectorAll('.energy-page .panel')].every((panel) => [...panel.querySelectorAll('table, .chart')].every(
  (part) => part.getBoundingClientRect().bottom <= panel.getBoundingClientRect().bottom + 1))"""
"""No panel of the energy page is lower than what it holds."""
DRAWN = """
window.drawn = [];
let plotly;
Object.defineProperty(window, 'Plotly', { get: () => plotly, set: (loaded) => {
  plotly = loaded;
  const react = plotly.react;
  plotly.react = (place, traces, ...more) => {
    drawn.push(place.id + (traces.length ? '' : ' axes'));
    setTimeout(() => drawn.push('a click may come'));
    return react(place, traces, ...more);
  };
} });
"""
"""Keeps which charts are drawn in which order, and where a task ends: what is asked for then comes before the next."""


@pytest.fixture(scope="module")
def console(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveConsole]:
    live = LiveConsole(tmp_path_factory.mktemp("pages"), demo_site(pods=2), gpus=False, tick_s=1.0)
    forecast = forecast_of(live.site, now_ms(), peak=1.2)
    up = np.outer([0.2e6, 0.5e6, 0.8e6, 1.1e6], [0.3, 0.6, 1.0])
    live.newest = {live.site.id: replace(forecast, ramps=Ramps((2, 10, 60, 900), (0.05, 0.5, 0.95), up, up))}
    live.records.save_forecasts([forecast_of(live.site, now_ms() - 6 * 3_600_000), forecast])
    with live:
        live.accept(live.plant.history(now_ms() - 60_000, 1.0, 60_000))
        yield live


@pytest.fixture(scope="module")
def session(browser: Browser, console: LiveConsole) -> dict:
    """The cookies of one login, for all windows."""
    context = browser.new_context()
    page = context.new_page()
    page.set_default_timeout(60_000)
    log_in(page, console.url)
    state = context.storage_state()
    context.close()
    return state


@pytest.fixture
def open_page(browser: Browser, console: LiveConsole, session: dict) -> Iterator[Callable[[str], Page]]:
    """Opens a window at an address; at its end nothing may have gone wrong in it."""
    contexts, troubles = [], []

    def at(path: str) -> Page:
        contexts.append(browser.new_context(storage_state=session, viewport={"width": 1440, "height": 900}))
        page = contexts[-1].new_page()
        page.set_default_timeout(60_000)
        page.on("pageerror", lambda error: troubles.append(str(error)))
        page.on("console", lambda line: troubles.append(line.text) if line.type == "error" else None)
        page.goto(console.url + path)
        expect(page.locator("#site-power")).to_contain_text("MW", timeout=WAIT)
        return page

    yield at
    for context in contexts:
        context.close()
    assert troubles == []


def test_what_happens_if_a_ups_fails_now_and_at_tonights_peak(open_page, console):
    page = open_page("/")
    # at a glance: any one unit may be lost now, and a feed not at tonight's peak
    expect(page.locator("#reserve")).to_have_text("not at the peak", timeout=WAIT)
    expect(page.locator("#reserve-units")).to_contain_text("FEED-A")
    page.click("#reserve a")
    unit = page.locator("#unit-UPS-A1")
    expect(unit).to_contain_text(re.compile(r"\d [kM]W"), timeout=WAIT)
    expect(page.locator("#reserve-answer")).to_contain_text("N+1", timeout=WAIT)
    unit.click()
    expect(page.locator("#unit-fails-now")).to_contain_text("UPS-B1", timeout=WAIT)
    expect(page.locator("#unit-fails-then")).to_contain_text(re.compile(r"at the peak, \d\d:\d\d"))
    expect(page.locator("#unit-name")).to_have_text("UPS-A1")
    expect(page).to_have_url(re.compile("unit=UPS-A1"))  # what is looked at is a link
    expect(page.locator("#room-rows tr")).to_have_count(2)

    page.locator("#loss-FEED-B").click()  # so does a row of the table
    expect(page.locator("#unit-rows")).to_contain_text("2.75")
    page.locator("#unit-P01-BUS-A").focus()
    page.keyboard.press("Enter")
    expect(page.locator("#unit-name")).to_have_text("P01-BUS-A")


def test_a_ups_that_goes_on_battery_is_seen_on_the_diagram(open_page, console):
    page = open_page("/power?unit=UPS-B1")
    expect(page.locator("#unit-UPS-B1")).to_be_visible(timeout=WAIT)
    console.plant.change = lambda values: values.update(
        {"UPS/Status/UPS-B1": 0, "PowerMeter/ActivePower/FEED-B": 0.0}
    )
    try:
        expect(page.locator("#unit-UPS-B1")).to_have_class(re.compile(r"\bbattery\b"), timeout=WAIT)
        expect(page.locator("#unit-UPS-B1")).to_contain_text("\u25b2 battery")
        expect(page.locator("#unit-rows")).to_contain_text("on battery")
        expect(page.locator("#unit-fails-emptied")).to_contain_text("UPS-A1", timeout=WAIT)
    finally:
        console.plant.change = None


def test_what_if_a_ups_is_lost_and_the_weather_is_hotter_is_answered_on_the_chart(open_page, console):
    page = open_page("/")
    page.click("#nav-forecast")
    expect(page.locator("#foretold-issued")).to_contain_text("issued", timeout=WAIT)
    expect(page.locator("#ramp-10")).to_contain_text("+500 kW")
    expect(page.locator("#foretold-chart")).to_have_attribute("data-shows", "issued", timeout=WAIT)
    page.locator("#whatif-form select[name=lose]").first.select_option("UPS-A1")
    page.fill("#whatif-form input[name=warmer]", "8")
    page.click("#whatif-ask")
    expect(page.locator("#whatif-lines")).to_contain_text("UPS-B1", timeout=WAIT)
    expect(page.locator("#foretold-chart")).to_have_attribute("data-shows", "whatif")
    page.fill("#whatif-form input[name=racks]", "99")
    page.click("#whatif-ask")
    expect(page.locator("#whatif-lines .alarm")).to_contain_text("a job on 99 racks", timeout=WAIT)
    page.click("#whatif-clear")
    expect(page.locator("#foretold-chart")).to_have_attribute("data-shows", "issued", timeout=WAIT)
    page.get_by_text("6 h", exact=True).click()
    expect(page.locator("#foretold-came")).to_contain_text("quarter hours are over", timeout=WAIT)


def test_a_breach_that_is_foretold_is_noticed_looked_into_and_taken(open_page, console):
    told = "taipei-1: 71% likely to exceed 2.667 MW"
    (alert,) = console.records.open_alerts(
        [condition("envelope-breach-predicted", console.site.id, Severity.WARNING, summary=told)], now_ms()
    )
    page = open_page("/forecast")
    expect(page.locator("#breach-in")).to_have_text(re.compile(r"^(now|\d+ min|> 6 h)$"), timeout=WAIT)
    expect(page.locator("#breach-risk")).to_contain_text("risk")
    page.click("#nav-overview")
    row = page.locator(f"#alert-list #alert-row-{alert.id}")
    expect(row).to_contain_text("71% likely", timeout=WAIT)
    page.click("#nav-forecast")
    expect(page.locator("#foretold-chart")).to_have_attribute("data-shows", "issued", timeout=WAIT)
    page.click("#nav-alerts")
    page.click(f"#alert-table #ack-{alert.id}")
    page.fill(f"#ack-note-{alert.id}", "job moved to the night")
    page.keyboard.press("Enter")
    expect(page.locator(f"#alert-row-{alert.id}")).to_contain_text("job moved to the night", timeout=WAIT)
    console.records.clear_alerts([alert.id], now_ms())


def test_in_a_storm_the_cause_leads_to_all_that_hangs_on_it_and_a_note_is_kept(open_page, console):
    records = console.records
    lead, *below = records.open_alerts(
        [
            condition("cdu-down", "P02-CDU1", Severity.HIGH, summary="P02-CDU1 is down"),
            condition("temperature", "R010", Severity.WARNING),
            condition("temperature", "R011", Severity.WARNING),
        ],
        now_ms(),
    )
    records.keep_incidents([lead.id], {a.id: lead.id for a in below}, now_ms())
    page = open_page("/")
    first = page.locator("#alert-list .alert").first
    expect(first).to_contain_text("P02-CDU1", timeout=WAIT)
    expect(page.locator("#alert-list .alert")).to_have_count(1)  # not its consequences
    first.locator(".explains").click()
    expect(page.locator("#incident-title")).to_contain_text("P02-CDU1", timeout=WAIT)
    expect(page.locator("#incident-members .alert")).to_have_count(2)
    expect(page.locator("#incident-affected .incident-rack")).to_have_count(8)
    page.fill("#incident-note-form input", "hose is replaced")
    page.keyboard.press("Enter")
    expect(page.locator("#incident-notes")).to_contain_text("hose is replaced", timeout=WAIT)
    page.click("#incident-back")
    expect(page.locator(f"#incident-open #incident-{lead.id}")).to_contain_text(
        "2 alarms beneath", timeout=WAIT
    )
    records.clear_alerts([lead.id, *(a.id for a in below)], now_ms())


def test_a_cdu_that_stands_still_is_seen_with_what_is_left_of_its_pod(open_page, console):
    page = open_page("/")
    page.click("#nav-cooling")
    expect(page.locator("#cool-standing")).to_have_text("4 of 4", timeout=WAIT)
    console.plant.change = lambda values: values.update({"CDU/Status/P02-CDU1": 0})
    try:
        expect(page.locator("#cool-standing")).to_have_text("3 of 4", timeout=WAIT)
        expect(page.locator("#loop-name")).to_have_text("P02", timeout=WAIT)  # the troubled loop is drawn
        expect(page.locator("#loop-drawing")).to_contain_text("\u25b2 P02-CDU1")
        page.locator("#loop-P01").click()
        expect(page.locator("#loop-name")).to_have_text("P01")
    finally:
        console.plant.change = None


def test_the_shift_report_is_read_printed_and_kept_as_a_file(open_page, console):
    page = open_page("/")
    page.click("#nav-reports")
    expect(page.locator("#report-title")).to_have_text(re.compile(r"^20\d\d-\d\d-\d\d$"), timeout=WAIT)
    page.get_by_text("Shift", exact=True).click()
    expect(page.locator("#report-title")).to_have_text(re.compile(r"^20\d\d-\d\d-\d\d \d\d:00"), timeout=WAIT)
    expect(page.locator("#report-parts tr").first).to_contain_text(":00")
    now = page.text_content("#report-title")
    page.click("#report-before")
    expect(page.locator("#report-title")).not_to_have_text(now, timeout=WAIT)
    expect(page).to_have_url(
        re.compile(r"span=shift.*back=1|back=1.*span=shift")
    )  # what is looked at is a link
    page.click("#report-after")
    expect(page.locator("#report-title")).to_have_text(now, timeout=WAIT)

    with page.expect_download() as kept:
        page.click("#report-file")
    text = Path(kept.value.path()).read_text(encoding="utf-8")
    assert text.startswith("start,start_utc,site_W,it_W,limit_W,pue,over_limit")
    with page.expect_download() as tables:
        page.click("#report-tables")
    assert "Envelope" in Path(tables.value.path()).read_text(encoding="utf-8")

    page.emulate_media(media="print", color_scheme="dark")
    expect(page.locator("header")).to_be_hidden()
    expect(page.locator(".reports-page .panel").first).to_have_css("background-color", "rgb(255, 255, 255)")
    expect(page.locator("body")).to_have_css("color", "rgb(0, 0, 0)")
    expect(page.locator(".report-acts")).to_be_hidden()
    expect(page.locator("#report-envelope")).to_be_visible()
    assert page.pdf(format="A4").startswith(b"%PDF")


def test_what_the_grid_asks_is_seen_and_agreed_to_on_the_energy_page(open_page, console):
    now, site = now_ms(), console.site
    asked = console.grid.desk.take(less_is_asked(site.id, 0.9 * site.limit, now), "first")
    page = open_page("/")
    page.click("#nav-energy")
    expect(page.locator("#energy-ends")).to_contain_text("MW", timeout=WAIT)
    expect(page.locator("#energy-elapsed")).to_contain_text("left, until")
    expect(page.locator("#energy-tariff tr").first).to_contain_text("TWD/kWh", timeout=WAIT)
    expect(page.locator("#energy-peaks")).to_contain_text("15.20 MW")
    expect(page.locator("#energy-costs")).to_contain_text("TWD")
    expect(page.locator("#energy-offers tr").first).to_contain_text(site.id)
    expect(page.locator("#energy-jobs tr").first).to_contain_text("class batch, gives")
    row = page.locator(f"#energy-request-{asked.id}")
    expect(row).to_contain_text("waits for consent")
    expect(row).to_contain_text("\u2264")
    expect(page.locator("#energy-waiting")).to_have_text("1 request waits for consent")
    assert page.evaluate(INSIDE)
    row.locator("input").fill("the night shift knows")
    page.click(f"#grid-consent-{asked.id}")
    expect(page.locator("#message")).to_contain_text(f"{asked.id} is agreed to by {USER}")
    expect(row).to_contain_text("agreed", timeout=WAIT)
    expect(page.locator(f"#grid-consent-{asked.id}")).to_have_count(0)
    (held,) = console.grid.desk.held
    assert (held.node, held.limit) == (site.id, pytest.approx(0.9 * site.limit))
    entry = console.records.audit_trail(now, limit=5, who=USER, words="grid request agreed")[0]
    assert "the night shift knows" in entry.detail

    page.click(f"#grid-refuse-{asked.id}")  # what was agreed to may be withdrawn
    expect(row).to_contain_text("refused", timeout=WAIT)
    assert console.grid.desk.held == []


def test_what_happened_at_three_yesterday(open_page, console):
    zone = console.site.zone
    three = datetime.now(zone).replace(hour=3, minute=0, second=0, microsecond=0) - timedelta(days=1)
    then = int(three.timestamp() * 1000)
    high = condition("temperature", "R003", Severity.HIGH)
    console.plant.change = lambda values: values.update({"Rack/RackPower/R003": 155e3})
    console.accept(console.plant.batch(then - 4_000))
    console.plant.change = None
    (alert,) = console.records.open_alerts([high], then - 60_000)
    console.records.clear_alerts([alert.id], then + 600_000)

    page = open_page(f"/?at={three:%Y-%m-%dT%H:%M}")
    told = page.locator("#past-told")
    expect(told).to_contain_text(f"Past: {three.day} {three:%b} 03:00", timeout=WAIT)
    expect(told).to_contain_text("not live")
    expect(page.locator("#clock-site")).to_have_text("03:00:00")
    expect(page.locator("#data-age")).to_have_text("4.0 s")
    row = page.locator(f"#alert-row-{alert.id}")
    expect(row).to_contain_text("R003")
    expect(row.locator("button")).to_be_hidden()

    mark = page.locator("#time-events button[aria-label*=R003]")  # what happened is marked over the slider
    expect(mark).to_contain_text("\u25a0", timeout=WAIT)
    page.locator("#time-events button[tabindex='0']").focus()
    mark.focus()
    page.keyboard.press("Enter")
    expect(page.locator("#clock-site")).to_have_text("02:59:00", timeout=WAIT)
    expect(page.locator("#time-event")).to_contain_text("R003, temperature")
    page.click("#event-back")
    expect(page.locator("#time-event")).to_have_text("Nothing happened in the 30 days before")
    page.click("#time-forward")
    expect(page.locator("#clock-site")).to_have_text("03:00:00", timeout=WAIT)
    expect(page.locator("#time-event")).to_be_hidden()

    (other,) = console.records.open_alerts([condition("leak", "R009", Severity.CRITICAL)], now_ms())
    expect(page.locator("#past-waiting")).to_have_text("\u25b2 now: 1 open alert", timeout=WAIT)
    console.records.clear_alerts([other.id], now_ms())
    expect(page.locator("#past-waiting")).to_be_hidden(timeout=WAIT)

    page.click("#rack-R003")  # links stay at the moment
    expect(page.locator("#rack-power")).to_contain_text("155", timeout=WAIT)
    expect(page).to_have_url(re.compile(r"/rack/R003\?at="))
    page.click("#nav-health")
    expect(page.locator("#past-none")).to_be_visible(timeout=WAIT)
    page.go_back()
    page.locator("#time-forward").focus()  # by keyboard
    page.keyboard.press("Enter")
    expect(page.locator("#clock-site")).to_have_text("03:01:00", timeout=WAIT)
    page.select_option("#time-step", "3600")
    page.click("#time-forward")
    expect(page.locator("#clock-site")).to_have_text("04:01:00", timeout=WAIT)
    expect(page.locator("#rack-power")).to_have_text("\u2014")  # nothing was measured: it is missing

    page.click("#time-now")
    expect(page.locator("#rack-power")).to_contain_text("kW", timeout=WAIT)
    expect(page.locator("#time-bar")).to_be_hidden()
    expect(page).not_to_have_url(re.compile("at="))
    page.click("#time-open")
    page.fill("#time-field", f"{three:%Y-%m-%dT%H:%M}")
    page.locator("#time-field").blur()
    expect(page.locator("#rack-power")).to_contain_text("155", timeout=WAIT)


def test_an_incident_is_played_from_its_opening_to_its_end(open_page, console):
    opened = now_ms() // 1000 * 1000 - 40 * 60_000
    lead, member = console.records.open_alerts(
        [condition("ups", "UPS-A1", Severity.CRITICAL), condition("power", "R004", Severity.HIGH)], opened
    )
    console.records.keep_incidents([lead.id], {member.id: lead.id}, opened + 15_000)
    console.records.clear_alerts([lead.id, member.id], opened + 30_000)
    console.records.keep_incidents([], {}, opened + 30_000)
    page = open_page(f"/incident/{lead.id}")
    expect(page.locator("#incident-replay")).to_be_visible(timeout=WAIT)
    page.evaluate("""() => {
        const clock = document.getElementById('clock-site');
        window.played = [];
        new MutationObserver(() => window.played.push(clock.textContent)).observe(clock, { childList: true });
    }""")
    page.click("#incident-replay")
    expect(page.locator("#past-told")).to_contain_text("not live", timeout=WAIT)
    end = datetime.fromtimestamp(opened / 1000 + 30, console.site.zone)
    expect(page.locator("#clock-site")).to_have_text(f"{end:%H:%M:%S}", timeout=WAIT)  # by itself
    expect(page.locator("#incident-active")).to_have_text("0", timeout=WAIT)
    expect(page.locator("#time-play")).to_have_text("Play", timeout=WAIT)  # and no further
    steps = [datetime.fromtimestamp(opened / 1000 + s, console.site.zone) for s in (0, 10, 20, 30)]
    assert page.evaluate("window.played.slice(-4)") == [f"{step:%H:%M:%S}" for step in steps]
    page.click("#time-now")
    expect(page.locator("#time-bar")).to_be_hidden()
    page.click("#incident-moment")
    expect(page.locator(f"#alert-row-{lead.id}")).to_be_visible(timeout=WAIT)


def test_a_note_is_pinned_to_a_moment_and_marked_in_the_charts(open_page, console):
    then = now_ms() // 60_000 * 60_000 - 20 * 60_000
    at = datetime.fromtimestamp(then / 1000, console.site.zone)
    page = open_page(f"/rack/R002?at={at:%Y-%m-%dT%H:%M}")
    expect(page.locator("#past-told")).to_contain_text("not live", timeout=WAIT)
    page.click("#notes-open")
    expect(page.locator("#note-object")).to_have_value("R002")
    expect(page.locator("#note-text")).to_be_focused()
    page.keyboard.type("filters changed by <b>night</b> shift")
    page.keyboard.press("Enter")
    expect(page.locator("#message")).to_contain_text("Note pinned to", timeout=WAIT)
    expect(page.locator("#notes-open")).to_have_text("Notes 1", timeout=WAIT)
    expect(page.locator("#rack-chart-power .annotation", has_text="\u270e")).to_be_visible(timeout=WAIT)
    (note,) = console.records.moment_notes(then, then + 1, 9)
    assert (note.object_id, note.who) == ("R002", USER)
    assert console.records.audit_trail(words="filters changed")[0].who == USER

    page.goto(f"{console.url}/")
    expect(page.locator("#notes-open")).to_have_text("Notes 1", timeout=WAIT)
    page.click("#notes-open")
    row = page.locator(f"#note-{note.id}")
    expect(row).to_contain_text("filters changed by <b>night</b> shift")
    row.locator("a").click()
    expect(page.locator("#clock-site")).to_have_text(f"{at:%H:%M}:00", timeout=WAIT)


def test_a_viewer_reads_notes_and_pins_none(browser, console):
    console.accounts.add_user("vera", "only-for-looking", Role.VIEWER)
    context = browser.new_context()
    page = context.new_page()
    page.set_default_timeout(60_000)
    log_in(page, console.url, "vera", "only-for-looking")
    page.click("#notes-open")
    expect(page.locator("#notes-list")).to_be_visible()
    expect(page.locator("#notes-form")).to_be_hidden()
    page.evaluate("dash_clientside.set_props('note-request', { data: { note: 'I was here' } })")
    expect(page.locator("#message")).to_contain_text("vera may look", timeout=WAIT)
    assert console.records.audit_trail(words="I was here") == []
    context.close()


def test_links_of_the_navigation_never_lie_behind_what_stands_beside_it(open_page):
    page = open_page("/")
    page.set_viewport_size({"width": 1150, "height": 900})
    ends = page.evaluate(
        """[Math.max(...[...document.querySelectorAll('nav a')].map((a) => a.getBoundingClientRect().right)),
          document.getElementById('search-open').getBoundingClientRect().left]"""
    )
    assert ends[0] <= ends[1]


def test_a_chart_is_zoomed_by_dragging_or_by_keyboard_and_its_line_comes_finer(open_page):
    page = open_page("/")
    chart = page.locator("#power-chart")
    expect(chart).to_have_attribute("data-zooms", "yes", timeout=WAIT)
    box = chart.locator(".nsewdrag").first.bounding_box()
    x, y = box["x"] + 0.02 * box["width"], box["y"] + 0.4 * box["height"]
    page.mouse.move(x, y)
    page.mouse.down()
    page.mouse.move(x + 100, y, steps=5)
    page.mouse.up()
    expect(chart).to_have_attribute("data-step", re.compile(r"\d+"), timeout=WAIT)
    assert int(chart.get_attribute("data-step")) > 2000
    page.mouse.dblclick(x, y)
    expect(chart).not_to_have_attribute("data-step", re.compile(r"\d+"), timeout=WAIT)
    chart.focus()
    for _ in range(7):
        page.keyboard.press("+")
    expect(chart).to_have_attribute("data-step", "2000", timeout=WAIT)
    page.keyboard.press("Escape")
    expect(chart).not_to_have_attribute("data-step", re.compile(r"\d+"), timeout=WAIT)


def test_each_chart_of_a_page_is_drawn_in_a_task_of_its_own_and_axes_that_are_known_before_the_lines(
    open_page, console
):
    page = open_page("/")
    page.add_init_script(DRAWN)
    page.goto(f"{console.url}/rack/R002")
    expect(page.locator("#rack-chart-flow .main-svg").first).to_be_attached(timeout=WAIT)
    charts = [f"rack-chart-{what}" for what in ("power", "temperature", "flow")]
    assert page.evaluate("drawn.slice(0, 5)") == [
        charts[0], "a click may come", charts[1], "a click may come", charts[2],
    ]  # fmt: skip
    page.goto(f"{console.url}/")
    expect(page.locator("#power-chart .barlayer .point").first).to_be_attached(timeout=WAIT)
    assert page.evaluate("drawn.slice(0, 3)") == ["power-chart axes", "a click may come", "power-chart"]


def test_a_page_that_is_printed_before_its_chart_was_drawn_has_it_on_paper(open_page):
    page = open_page("/reports")
    expect(page.locator("#report-chart .main-svg").first).to_be_attached(timeout=WAIT)
    drawn = page.evaluate("""() => {
      const chart = document.getElementById('report-chart');
      Plotly.purge(chart);
      dispatchEvent(new Event('beforeprint'));
      const lines = chart.querySelectorAll('.scatterlayer .trace').length;
      dispatchEvent(new Event('afterprint'));
      return lines;
    }""")
    assert drawn == 3


def test_nothing_moves_when_the_figures_of_a_page_come(open_page):
    page = open_page("/")
    expect(page.locator("#power-chart .barlayer .point").first).to_be_attached(timeout=WAIT)
    there, before = page.evaluate("""() => {
      const tops = () => [...document.querySelectorAll('#page, #page .panel')].map((part) => part.getBoundingClientRect().top);
      const there = tops();
      document.querySelectorAll('.figure .value').forEach((value) => value.replaceChildren());
      return [there, tops()];
    }""")
    assert before == there
