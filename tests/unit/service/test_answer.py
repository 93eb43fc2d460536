"""The page behind the link in a message: asked for, it changes nothing; its button takes the alert, as the person."""

import asyncio
import math
import re

import httpx
import pytest
import yaml

from dashboard.answer import FORGED_PACE, PACE
from domain.alert import AlertState, Condition, Severity
from domain.batch import now_ms
from service import web
from service.configuration import SHIPPED
from service.server import Gate, Limits
from service.settings import read_configuration
from service.system import System
from storage.settings import DAY

SMTP = {
    "kind": "smtp",
    "host": "127.0.0.1",
    "sender": "a@b.example",
    "recipients": ["mei@b.example", "lin@b.example"],
}
ALERTS = {
    "console_url": "https://hall.example",
    "rules": [
        {
            "name": "leak",
            "kind": "state",
            "points": ["RackLeakDetect"],
            "normal": ["NoLeak"],
            "severity": "critical",
            "advice": "Send <somebody>.",
        }
    ],
    "channels": {"mail": SMTP},
    "on_call": {
        "people": {
            "mei": {"name": "Mei Chen", "reach": ["mail/mei@b.example"], "timezone": "America/New_York"},
            "lin": {"name": "林小姐", "reach": ["mail/lin@b.example"], "language": "zh-Hant"},
        },
        "schedules": {"primary": {"layers": [{"people": ["mei", "lin"], "start": "2026-01-05"}]}},
    },
}


@pytest.fixture(scope="module")
def system(tmp_path_factory):
    folder = tmp_path_factory.mktemp("service") / "config"
    folder.mkdir()
    (folder / "site.yaml").write_text((SHIPPED / "site.yaml").read_text())
    (folder / "alerts.yaml").write_text(yaml.safe_dump(ALERTS))
    (folder / "hallwatch.yaml").write_text("data: ../data\n")
    made = System(read_configuration(folder))
    yield made
    asyncio.run(made.close())


@pytest.fixture
async def client(system):
    app = web.build(system, "token", Gate(Limits()))[0]
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="https://hall.example") as made:
        yield made


@pytest.fixture
def alert(system):
    summary = 'R001: Leak <script>alert("x")</script>\x1b[31m'
    condition = Condition("leak", "R001", Severity.CRITICAL, summary, 1.0, math.nan, "", now_ms())
    (opened,) = system.records.open_alerts([condition], now_ms())
    yield opened
    system.records.clear_alerts([opened.id], now_ms())


def records_of(system):
    return [
        (a.state, a.acknowledged_by, a.note, a.updated) for a in system.records.alert_history()
    ], system.records.audit_trail()


async def test_asking_for_the_page_tells_what_it_is_and_changes_nothing(system, client, alert):
    url = system.links.make(alert.id, "mei")
    before = records_of(system)
    for method in ("GET", "HEAD", "GET"):
        answer = await client.request(method, url)
        assert answer.status_code == 200
    assert records_of(system) == before
    page = answer.text
    assert "R001: Leak &lt;script&gt;" in page
    assert "<script" not in page
    assert "\x1b" not in page
    assert "Send &lt;somebody&gt;." in page
    assert "You answer as Mei Chen" in page
    assert f'href="/alerts?alert={alert.id}"' in page  # where it can be looked up
    assert '<span class="severity critical">CRITICAL</span>' in page
    assert re.search(r"\d\d:\d\d E[SD]T", page)  # by her own clocks
    assert answer.headers["cache-control"] == "no-store"
    assert answer.headers["referrer-policy"] == "same-origin"
    assert "script-src 'self'" in answer.headers["content-security-policy"]


async def test_its_button_takes_the_alert_as_the_person_and_everybody_sees_it(system, client, alert):
    url = system.links.make(alert.id, "mei")
    answer = await client.post(url, data={"action": "acknowledge", "note": " on my way "})
    assert answer.status_code == 303
    taken = system.records.alert(alert.id)
    assert (taken.state, taken.acknowledged_by, taken.note) == (
        AlertState.ACKNOWLEDGED,
        "Mei Chen",
        "on my way",
    )
    newest = system.records.audit_trail()[0]
    assert (newest.who, newest.what) == ("Mei Chen", "acknowledged alert")
    page = await client.get(answer.headers["location"])
    assert "It is yours." in page.text
    assert "taken by Mei Chen at" in page.text
    assert 'id="take"' not in page.text
    # it is hers, and lin sees so in his words
    other = await client.get(system.links.make(alert.id, "lin"))
    assert "Mei Chen 已於" in other.text
    assert '<html lang="zh-Hant">' in other.text


async def test_it_comments_and_shelves_with_a_reason_and_for_hours_that_it_offers(system, client, alert):
    url = system.links.make(alert.id, "mei")
    page = (await client.get(url)).text
    assert re.findall(r'<option value="(\d+)"', page) == ["1", "4", "8"]
    said = await client.post(url, data={"action": "comment", "note": "seen on camera 3"})
    assert "Your comment is kept." in (await client.get(said.headers["location"])).text
    for data in ({"note": "  "}, {"note": "hoses", "hours": "100"}, {"note": "hoses"}):
        refused = await client.post(
            url, data={"action": "shelve", "hours": "1"} | data | {"hours": data.get("hours", "")}
        )
        assert refused.status_code == 409
    assert (await client.post(url, data={"action": "comment", "note": ""})).status_code == 409
    before = now_ms()
    shelved = await client.post(url, data={"action": "shelve", "note": "hoses", "hours": "4"})
    assert shelved.status_code == 303
    (shelf,) = [s for s in system.records.suppressions() if s.object_id == "R001"]
    assert (shelf.who, shelf.reason) == ("Mei Chen", "hoses")
    assert 0 <= shelf.end - before - 4 * 3_600_000 < 60_000
    assert [e.who for e in system.records.audit_trail(limit=2)] == ["Mei Chen", "Mei Chen"]
    assert system.records.alert(alert.id).state is AlertState.OPEN
    system.records.end_suppression(shelf.id, now_ms(), "mei", "")


async def test_what_is_over_can_be_looked_at_and_not_be_taken(system, client, alert):
    url = system.links.make(alert.id, "mei")
    system.records.clear_alerts([alert.id], now_ms())
    page = await client.get(url)
    assert page.status_code == 200
    assert "over since" in page.text
    assert "<form" not in page.text
    answer = await client.post(url, data={"action": "acknowledge"})
    assert answer.status_code == 409
    assert system.records.alert(alert.id).state is AlertState.CLEARED


async def test_what_the_page_does_not_offer_is_refused(system, client, alert):
    url = system.links.make(alert.id, "mei")
    for data in ({}, {"action": "retire"}, {"action": "acknowledge", **{f"f{n}": "x" for n in range(20)}}):
        answer = await client.post(url, data=data)
        assert answer.status_code in (400, 409)
    answer = await client.post(url, content=b"x" * 20_000)
    assert answer.status_code == 413
    assert system.records.alert(alert.id).state is AlertState.OPEN


async def test_a_link_of_somebody_who_left_or_of_an_alert_that_is_gone_does_nothing(system, client, alert):
    for number, person in ((alert.id, "tom"), (10**9, "mei")):
        for method in ("GET", "POST"):
            answer = await client.request(method, system.links.make(number, person))
            assert answer.status_code == 410
            assert "not known here any more" in answer.text
    assert system.records.alert(alert.id).state is AlertState.OPEN


async def test_an_expired_link_says_so(system, client, alert, monkeypatch):
    url = system.links.make(alert.id, "mei")
    monkeypatch.setattr(system.links, "_clock", lambda: now_ms() + DAY + 1000)
    for method in ("GET", "POST"):
        answer = await client.request(method, url)
        assert answer.status_code == 410
        assert "Its time is over" in answer.text
    assert system.records.alert(alert.id).state is AlertState.OPEN


async def test_forged_links_are_refused_and_after_some_not_even_looked_at(system, client, alert):
    url = system.links.make(alert.id, "mei")
    codes = [
        (
            await client.request(
                "POST" if n % 2 else "GET", f"{url[:-4]}{n:04d}", headers={"accept-language": "zh-TW"}
            )
        )
        for n in range(FORGED_PACE[1] + 5)
    ]
    assert {a.status_code for a in codes[:10]} == {403}
    assert "連結不是由本系統發出" in codes[0].text
    assert codes[-1].status_code == 429
    assert int(codes[-1].headers["retry-after"]) > 0
    # whoever has a real one at the same address is let in
    assert (await client.get(url)).status_code == 200
    assert system.records.alert(alert.id).state is AlertState.OPEN


async def test_one_link_answers_so_often_and_then_waits(system, client, alert):
    url = system.links.make(alert.id, "mei")
    codes = [(await client.post(url, data={"action": "acknowledge"})).status_code for _ in range(PACE[1] + 2)]
    assert codes[0] == 303
    assert codes[-1] == 429


async def test_the_rota_is_asked_for_and_changed_by_the_internal_api(system, client):
    headers = {"authorization": "Bearer token"}
    now = now_ms()
    change = {"schedule": "primary", "person": "lin", "start": now - 1000, "end": now + DAY, "who": "anna"}
    made = (await client.post("/internal/v1/oncall/changes", json=change, headers=headers)).json()
    (roster,) = (await client.get("/internal/v1/oncall?days=3", headers=headers)).json()["schedules"]
    assert roster["shifts"][0]["person"] == "lin"
    assert [o["id"] for o in roster["overrides"]] == [made["id"]]
    ended = await client.post(
        "/internal/v1/oncall/changes/end", json={"number": made["id"], "who": "anna"}, headers=headers
    )
    assert ended.status_code == 200
    assert [e.what for e in system.records.audit_trail(limit=2)] == [
        "ended change of on call",
        "changed on call",
    ]
    for wrong in ({**change, "person": "tom"}, {**change, "schedule": "x"}, {**change, "end": now - 2000}):
        answer = await client.post("/internal/v1/oncall/changes", json=wrong, headers=headers)
        assert answer.status_code == 400
    assert (await client.get("/internal/v1/oncall")).status_code == 401
