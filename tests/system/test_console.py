"""The operator's console, driven in a real browser against a live service fed through the real ingest."""

from __future__ import annotations

import re

import pytest
from playwright.sync_api import Browser, expect

from alerts.actions import acknowledge
from domain.alert import AlertState, Severity
from domain.batch import now_ms
from domain.role import Role
from tests.servers.hallwatch import eventually
from tests.system.console_plant import condition
from tests.system.console_service import ADMINISTRATOR, PASSWORD, USER, LiveConsole

pytestmark = [pytest.mark.server("chromium"), pytest.mark.xdist_group("console")]


def test_nobody_sees_the_console_without_a_login(browser: Browser, console: LiveConsole):
    page = browser.new_page()
    page.set_default_timeout(60_000)
    page.goto(console.url + "/rack/R001")
    expect(page).to_have_url(re.compile(r"/login\?next=/rack/R001$"))
    page.fill("#name", USER)
    page.fill("#password", "wrong password")
    page.click("#log-in")
    expect(page.locator("#login-message")).to_have_text("Name or password is wrong.")
    page.fill("#name", USER)
    page.fill("#password", PASSWORD)
    page.click("#log-in")
    expect(page.locator("#rack-title")).to_have_text("R001")
    page.close()


def test_the_power_figure_follows_the_feeds_within_seconds_and_without_a_reload(open_page, console):
    page = open_page()
    expect(page.locator("#power-chart .main-svg").first).to_be_visible()  # nothing is loaded any more
    page.evaluate("document.body.dataset.loaded = 'once'")
    before = page.text_content("#site-power")
    normal = console.plant.change

    def more(values: dict[str, float]) -> None:
        normal(values)
        for feed in ("FEED-A", "FEED-B"):
            values[f"PowerMeter/ActivePower/{feed}"] = 1.111e6

    console.plant.change = more
    expect(page.locator("#site-power")).to_have_text("2.222 MW")
    console.plant.change = normal
    assert before != "2.222 MW"
    assert page.evaluate("document.body.dataset.loaded") == "once"
    age = now_ms() - int(page.get_attribute("#site-power", "data-observed"))
    assert age < 60_000  # a busy machine; `hallwatch bench console` measures it


def test_an_alert_appears_and_acknowledging_it_sticks_with_who_and_why(open_page, console):
    page = open_page()
    alert = console.records.open_alerts([condition("leak", "R003", Severity.CRITICAL, 1, 0, "")], now_ms())[0]
    row = page.locator(f"#alert-row-{alert.id}")
    expect(row).to_be_visible()
    expect(page.locator("#alert-count")).to_have_text("1")
    expect(page.locator("#rack-R003")).to_have_class(re.compile("critical"))

    page.click(f"#ack-{alert.id}")
    page.fill(f"#ack-note-{alert.id}", "on my way")
    page.keyboard.press("Enter")
    expect(row).to_contain_text(f"taken by {USER}: on my way")
    expect(page.locator("#alert-count")).to_have_text("0")

    kept = console.records.alert(alert.id)
    assert (kept.state, kept.acknowledged_by, kept.note) == (AlertState.ACKNOWLEDGED, USER, "on my way")
    assert console.records.audit_trail()[0].who == USER
    page.reload()
    expect(row).to_contain_text(f"taken by {USER}")
    console.records.clear_alerts([alert.id], now_ms())
    expect(row).to_have_count(0)
    page.click("#nav-alerts")
    page.get_by_text("Cleared", exact=True).click()
    expect(page.locator(f"#alert-row-{alert.id}")).to_contain_text("leak")


def test_an_alarm_is_shelved_noted_and_put_back_from_the_alerts_page(open_page, console):
    records = console.records
    alert = records.open_alerts([condition("warm", "R005", Severity.HIGH)], now_ms())[0]
    page = open_page()
    page.click("#nav-alerts")
    row = page.locator(f"#alert-table #alert-row-{alert.id}")
    expect(row).to_contain_text("high")
    page.click(f"#more-{alert.id}")
    row.locator("select").select_option("comment")
    row.locator("input[name=reason]").fill("valve 3 sticks")
    page.click(f"#act-confirm-{alert.id}")
    expect(row).to_contain_text(f"{USER}: valve 3 sticks")

    page.click(f"#more-{alert.id}")
    row.locator("select").select_option("shelve 4")
    row.locator("input[name=reason]").fill("part is ordered")
    page.click(f"#act-confirm-{alert.id}")
    kept = page.locator("#quiet-list .quiet-row")
    expect(kept).to_contain_text(f"{USER}: part is ordered")
    (shelf,) = records.suppressions()
    assert (shelf.rule, shelf.object_id, shelf.who) == ("warm", "R005", USER)
    records.cover([(alert.id, shelf.id)], now_ms())  # as the engine does at its next look
    expect(row).to_contain_text("shelved until")

    page.fill("#window-form input[name=object]", "P01-CDU1")
    page.fill("#window-form input[name=reason]", "filters")
    page.click("#window-form button")
    expect(kept).to_have_count(2)
    page.click(f"#quiet-{shelf.id} .resume")
    expect(kept).to_have_count(1)
    expect(kept).to_contain_text("P01-CDU1")
    expect(page.locator("#alarm-measures")).to_contain_text("per operator and hour")
    records.clear_alerts([alert.id], now_ms())


def test_alerts_are_put_in_order_and_groups_and_tell_what_became_of_them(open_page, console):
    now = now_ms()
    found = [
        condition("temperature", "R009", Severity.WARNING),
        condition("power", "R002", Severity.HIGH),
        condition("temperature", "R001", Severity.WARNING),
    ]
    first, power, last = console.records.open_alerts(found, now - 60_000)
    acknowledge(console.records, first.id, "anna", "fan ordered", now - 30_000)
    page = open_page()
    page.goto(f"{console.url}/alerts")
    objects = page.locator("#alert-table .alert .object")
    expect(objects).to_have_text(["R002", "R001", "R009"])
    page.select_option("#alert-sort", "object")
    expect(objects).to_have_text(["R001", "R002", "R009"])
    page.select_option("#alert-group", "rule")
    expect(page.locator("#alert-table .alert-group")).to_have_text(["temperature \u00b7 2", "power \u00b7 1"])
    expect(objects).to_have_text(["R001", "R009", "R002"])
    page.reload()  # this browser keeps how somebody likes the list
    expect(page.locator("#alert-table .alert-group").first).to_have_text("temperature \u00b7 2")
    page.click(f"#more-{first.id}")
    steps = page.locator(f"#alert-row-{first.id} .alert-timeline li")
    expect(steps).to_have_count(2)
    expect(steps.last).to_contain_text("anna: fan ordered")
    page.evaluate("localStorage.clear()")
    console.records.clear_alerts([first.id, power.id, last.id], now_ms())


def test_a_lost_connection_is_shown_and_resumes_by_itself(open_page, console):
    page = open_page()
    page.evaluate("document.body.dataset.loaded = 'once'")
    banner = page.locator("#connection")
    expect(banner).to_be_hidden()
    console.stop_web()
    expect(banner).to_contain_text("DISCONNECTED")
    expect(banner).to_contain_text(re.compile(r"\d+ s old"))
    console.start_web()
    expect(banner).to_be_hidden()
    stamp = page.get_attribute("#site-power", "data-observed")
    expect(page.locator("#site-power")).not_to_have_attribute("data-observed", stamp)
    assert page.evaluate("document.body.dataset.loaded") == "once"


def test_a_click_on_the_floor_leads_to_the_rack(open_page):
    page = open_page()
    page.click("#rack-R002")
    expect(page.locator("#rack-title")).to_have_text("R002")
    expect(page.locator("#rack-power")).to_contain_text("kW")
    expect(page.locator("#gpus .gpu")).to_have_count(72)
    expect(page.locator("#gpu-71")).to_have_text(re.compile(r"^\d+$"))
    for station in ("FEED-A", "UPS-A1", "P01-BUS-A", "R002-TAP-A", "P01-CDU1"):
        expect(page.locator("#rack-paths")).to_contain_text(station)
    expect(page.locator("#rack-chart-power .scatterlayer path.js-line")).to_have_count(1)
    expect(page.locator("#rack-points")).to_contain_text("RackLiquidReturnTemperature")
    page.click("#rack-after")
    expect(page.locator("#rack-title")).to_have_text("R003")
    expect(page.locator("#rack-power")).to_contain_text("kW")


def test_missing_is_shown_as_missing_and_bad_as_bad_never_as_zero(open_page):
    page = open_page()
    expect(page.locator("#rack-R016 .rack-value")).to_have_text("\u2014")
    expect(page.locator("#rack-R016")).to_have_class(re.compile("hatched"))
    expect(page.locator("#rack-R015")).to_have_class(re.compile(r"\bbad\b"))
    page.goto(page.url + "rack/R016")
    expect(page.locator("#rack-power")).to_have_text("\u2014")
    expect(page.locator("#rack-power")).to_have_class(re.compile("missing"))


def test_logging_out_ends_the_live_updates_of_every_window_of_that_session(open_page):
    page = open_page()
    other = page.context.new_page()
    other.set_default_timeout(60_000)
    other.goto(page.url)
    expect(other.locator("#site-power")).to_contain_text("MW")
    page.click("#log-out")
    expect(page).to_have_url(re.compile("/login"))
    expect(other).to_have_url(re.compile("/login"))


def test_the_overview_fits_both_screens(open_page, console):
    page = open_page()
    troubles: list[str] = []
    page.on("pageerror", lambda error: troubles.append(str(error)))
    page.on("console", lambda line: troubles.append(line.text) if line.type == "error" else None)
    for width, height in ((1440, 900), (1920, 1080)):
        page.set_viewport_size({"width": width, "height": height})
        page.goto(console.url)
        expect(page.locator("#site-power")).to_contain_text("MW")
        expect(page.locator("#power-chart .scatterlayer path.js-line").first).to_be_attached()
        for ident in (
            "#data-age",
            "#quarter-end",
            "#floor",
            "#cooling-rows",
            "#supply-rows",
            "#token-rate",
            "#alert-list",
        ):
            expect(page.locator(ident)).to_be_in_viewport()
        overflow = page.evaluate(
            "[document.documentElement.scrollHeight - innerHeight, document.documentElement.scrollWidth - innerWidth]"
        )
        assert max(overflow) <= 0
    assert troubles == []


def test_the_browser_keeps_nothing_of_what_was_pushed_before(open_page):
    """Dash's renderer keeps for ever, to undo it, what a callback takes as its input: pushes are not among that."""
    page = open_page()
    history = "window.dash_stores[0].getState().history.past.length"
    frames = "window.hallwatch.latest['live-header'].now"
    before, frame = page.evaluate(history), page.evaluate(frames)
    eventually(lambda: page.evaluate(frames) > frame + 5000)
    assert page.evaluate(history) - before <= 1  # the minute, and what a person chooses


def test_the_health_page_tells_sources_ingest_store_and_forecast(open_page):
    page = open_page()
    page.click("#nav-health")
    expect(page.locator("#source-mqtt\\:bms")).to_contain_text("connected yes")
    expect(page.locator("#age-dsx\\:bms")).to_contain_text(re.compile(r"\d\.\d s"))
    expect(page.locator("#counter-stored")).to_contain_text(re.compile(r"\d"))
    expect(page.locator("#store-answers")).to_contain_text("yes")
    expect(page.locator("#clocks-none")).to_contain_text("None is off")
    expect(page.locator("#forecast-quality")).to_contain_text("good")
    expect(page.locator("#worth-none")).to_contain_text("None has come due yet")


def test_search_leads_by_keyboard_to_a_gpu_and_its_past(open_page):
    page = open_page()
    page.keyboard.press("Control+k")
    expect(page.locator("#search-text")).to_be_focused()
    page.keyboard.type("R002-T03-G1 temperature")
    expect(page.locator("#search-0")).to_contain_text("GpuTemperature")
    page.keyboard.press("Enter")
    expect(page.locator("#object-title")).to_have_text("R002-T03-G1")
    # its own line, and the range and the median of its peers
    expect(page.locator("#object-chart .scatterlayer .trace")).to_have_count(4)
    expect(page.locator("#object-points a[aria-current]")).to_have_text("GpuTemperature")
    page.keyboard.press("Control+k")
    page.keyboard.type("no such thing")
    expect(page.locator("#search-told")).to_have_text("Nothing is called that")
    page.keyboard.press("Escape")
    expect(page.locator("#search")).to_be_hidden()


def test_the_hottest_gpu_is_three_clicks_away_and_the_past_of_any_reading_of_it_a_fourth(open_page, console):
    normal = console.plant.change

    def hot(values: dict[str, float]) -> None:
        normal(values)
        values["GPU/GpuTemperature/nvml/R011-T02-G1"] = 83.0

    console.plant.change = hot
    page = open_page()
    page.evaluate("document.body.dataset.loaded = 'once'")
    page.click("text=Hottest GPU")
    expect(page.locator("#rack-R011 .rack-value")).to_have_text("83")
    page.click("#rack-R011")
    expect(page.locator("#gpu-5")).to_have_text("83")
    page.click("#gpu-5")
    expect(page.locator("#object-title")).to_have_text("R011-T02-G1")
    # its own line, and the range and the median of its peers
    expect(page.locator("#object-chart .scatterlayer .trace")).to_have_count(4)
    page.click("#object-points >> text=GpuPower")
    expect(page).to_have_url(re.compile("point=GPU/GpuPower"))
    expect(page.locator("#object-points a[aria-current]")).to_have_text("GpuPower")
    assert page.evaluate("document.body.dataset.loaded") == "once"
    console.plant.change = normal


def test_objects_are_links_in_tables_and_alerts(open_page, console):
    alert = console.records.open_alerts([condition("cdu-stopped", "P01-CDU1", Severity.HIGH)], now_ms())[0]
    page = open_page()
    page.click("#cdu-P01-CDU1 a")
    expect(page.locator("#object-title")).to_have_text("P01-CDU1")
    expect(page.locator("#object-around")).to_contain_text("R001")
    expect(page.locator(f"#object-alerts #alert-row-{alert.id}")).to_be_visible()
    page.go_back()
    page.click(f"#alert-row-{alert.id} .object")
    expect(page).to_have_url(re.compile("/object/P01-CDU1$"))
    console.records.clear_alerts([alert.id], now_ms())


def test_who_did_what_is_shown_to_an_administrator_and_to_nobody_else(open_page, console):
    alert = console.records.open_alerts([condition("leak", "R009", Severity.CRITICAL)], now_ms())[0]
    acknowledge(console.records, alert.id, USER, "bucket is there", now_ms())
    page = open_page(ADMINISTRATOR)
    page.click("#nav-audit")
    rows = page.locator("#audit-rows tr")
    expect(rows.filter(has_text="bucket is there")).to_contain_text([f"{USER}acknowledged alert"])
    page.fill("#audit-words", "BUCKET")
    expect(rows).to_have_count(1)
    page.fill("#audit-who", ADMINISTRATOR)
    expect(rows).to_have_count(0)
    other = open_page()
    expect(other.locator("#nav-audit")).to_have_count(0)
    other.goto(console.url + "/audit")
    expect(other.locator("#page")).to_contain_text("Nothing here")
    console.records.clear_alerts([alert.id], now_ms())


def test_an_administrator_lets_people_and_partners_in_and_out_on_the_settings_page(open_page, console):
    page = open_page(ADMINISTRATOR)
    page.click("#nav-settings")
    form = page.locator("#settings-people-form")
    form.locator("[name=name]").fill("wu")
    form.locator("[name=role]").select_option("viewer")
    form.locator("[name=password]").fill("a-night-shift")
    form.locator("button").click()
    row = page.locator("#person-wu")
    expect(row).to_contain_text("may log in")
    expect(page.locator("#message")).to_have_text("wu may log in as viewer")
    other = open_page("wu", "a-night-shift")
    expect(other.locator("#nav-settings")).to_have_count(0)
    row.get_by_role("button", name="Lock wu out").click()
    row.get_by_role("button", name="Press again").click()
    expect(row).to_contain_text("locked out")
    expect(other).to_have_url(re.compile("/login"))

    form = page.locator("#settings-keys-form")
    form.locator("[name=partner]").fill("taipower")
    form.get_by_label("demand").check()
    form.locator("button").click()
    expect(page.locator("#settings-new-key")).to_have_text(re.compile(r"\S{20}"))
    secret = page.locator("#settings-new-key").text_content()
    key = console.accounts.verify_api_key(secret)
    assert (key.partner, key.scopes) == ("taipower", ("demand",))
    row = page.locator(f"#key-{key.prefix}")
    expect(row).to_contain_text("works")
    page.click("#settings-put-away")
    assert secret not in page.content()
    row.get_by_role("button", name="Revoke").click()
    row.get_by_role("button", name="Press again").click()
    expect(row).to_contain_text("revoked")
    eventually(lambda: console.accounts.verify_api_key(secret) is None)

    page.click("#nav-audit")
    rows = page.locator("#audit-rows tr")
    for what in ("added userwu as viewer", "locked outwu", "made API key", "revoked API key"):
        expect(rows.filter(has_text=f"{ADMINISTRATOR}{what}")).to_have_count(1)


def test_a_viewer_is_offered_nothing_to_do_and_may_do_nothing(open_page, console):
    console.accounts.add_user("vera", "may-only-look", Role.VIEWER)
    alert = console.records.open_alerts([condition("leak", "R010", Severity.CRITICAL)], now_ms())[0]
    page = open_page("vera", "may-only-look", bypass_csp=True)
    expect(page.locator(f"#alert-row-{alert.id}")).to_be_visible()
    expect(page.locator(f"#ack-{alert.id}")).to_be_hidden()
    page.evaluate(f"dash_clientside.set_props('acknowledge-request', {{data: {{id: {alert.id}, note: ''}}}})")
    expect(page.locator("#message")).to_contain_text("may look, but not acknowledge")
    assert console.records.alert(alert.id).state is AlertState.OPEN
    console.records.clear_alerts([alert.id], now_ms())
