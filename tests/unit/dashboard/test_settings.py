"""The settings page's routes, over real HTTP messages to the mounted console: what they do, for whom, and what is recorded."""

from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import httpx
import pytest
from fastapi import FastAPI

from alerts.oncall.people import OnCall
from alerts.settings import AlertSettings
from dashboard.app import mount
from dashboard.settings import SettingsDesk
from domain.batch import now_ms
from domain.role import RIGHTS, Role
from domain.suppression import SuppressionKind
from storage.accounts import Accounts
from tests.system.console_plant import condition

PASSWORD = "night-shift-1"
MAIL = {"kind": "smtp", "host": "127.0.0.1", "sender": "a@b.example"}
STAFF = AlertSettings.model_validate(
    {
        "channels": {name: {**MAIL, "recipients": [f"{name}@b.example"]} for name in ("mei", "jun")},
        "on_call": {
            "people": {
                "mei": {"name": "Chen Mei-ling", "reach": ["mei"]},
                "jun": {"name": "Lin Jun", "reach": ["jun"]},
            },
            "schedules": {
                "night": {
                    "timezone": "Asia/Taipei",
                    "layers": [{"people": ["mei"], "start": "2026-01-05"}],
                }
            },
        },
    }
)


@pytest.fixture
def hall(bare, quick):
    """A console with a person of each role, a schedule, and two scopes."""
    on_call = OnCall(STAFF, bare.site.zone)
    bare.data._on_call = on_call
    bare.data.settings = SettingsDesk(
        bare.records,
        bare.data.alarms,
        lambda: bare.now,
        on_call,
        partners=["taipower"],
        scopes=["forecasts", "demand"],
    )
    bare.accounts = Accounts(bare.records)
    for role in Role:
        bare.accounts.add_user(f"{role}-1", PASSWORD, role)
    bare.app = FastAPI()
    mount(bare.app, bare.data, bare.accounts, "only for tests, and long enough")
    return bare


async def person(hall, name="administrator-1", password=PASSWORD, **headers):
    client = httpx.AsyncClient(
        transport=httpx.ASGITransport(hall.app), base_url="http://console.test", headers=headers
    )
    assert (await client.post("/login", data={"name": name, "password": password})).status_code == 303
    return client


async def act(client, **request):
    return await client.post("/settings/act", json=request)


async def told(client):
    return (await client.get("/settings/all")).json()


def audited(hall):
    return [(e.who, e.what, e.detail) for e in hall.records.audit_trail(0) if e.what != "logged in"]


async def test_a_person_is_added_promoted_given_a_password_locked_out_and_let_in_and_it_is_recorded(hall):
    root = await person(hall)
    answer = await act(root, act="add person", name="wu", role="viewer", password="a long one")
    assert answer.json() == {"text": "wu may log in as viewer", "secret": ""}
    await act(root, act="change role", name="wu", role="operator")
    await act(root, act="set password", name="wu", password="another one")
    (await person(hall, "wu", "another one")).cookies.clear()
    await act(root, act="lock out", name="wu")
    row = next(p for p in (await told(root))["people"] if p["name"] == "wu")
    assert (row["role"], row["state"]) == ("operator", "locked out")
    await act(root, act="let in", name="wu")
    assert hall.accounts.user("wu").active
    who = "administrator-1"
    assert audited(hall)[:5] == [
        (who, "let in again", "wu"),
        (who, "locked out", "wu"),
        (who, "changed password of", "wu"),
        (who, "made operator", "wu"),
        (who, "added user", "wu as viewer"),
    ]


async def test_a_new_key_is_told_once_works_and_is_revoked(hall):
    hall.now = now_ms()  # as the keys' own clock has it
    root = await person(hall)
    made = (await act(root, act="make key", partner="taipower", scopes=["demand"], days=30)).json()
    key = hall.accounts.verify_api_key(made["secret"])
    assert key is not None
    assert key.scopes == ("demand",)
    listed = (await root.get("/settings/all")).text
    assert made["secret"] not in listed
    (row,) = (await told(root))["keys"]
    assert (row["prefix"], row["partner"], row["shows"], row["state"], row["used"]) == (
        key.prefix,
        "taipower",
        "demand",
        "works",
        "not yet",
    )
    renewed = (await act(root, act="renew key", prefix=key.prefix, days=7)).json()["secret"]
    assert Accounts(hall.records).whose(renewed).scopes == ("demand",)
    answer = await act(root, act="revoke key", prefix=key.prefix)
    assert answer.json()["text"] == f"{key.prefix} is revoked"
    assert Accounts(hall.records).verify_api_key(made["secret"]) is None
    assert [what for _, what, _ in audited(hall)[:3]] == [
        "revoked API key",
        "rotated API key",
        "made API key",
    ]


async def test_somebody_is_put_on_call_by_the_schedules_clocks_and_it_is_ended(hall):
    hall.now = int(datetime(2026, 3, 2, tzinfo=UTC).timestamp() * 1000)
    root = await person(hall)
    assert (await told(root))["onCall"][0]["person"] == "Chen Mei-ling"
    span = {"start": "2026-03-02T07:00", "end": "2026-03-02T20:00"}
    answer = await act(root, act="stand in", schedule="night", person="jun", note="dentist", **span)
    assert answer.status_code == 200, answer.text
    shown = await told(root)
    assert shown["onCall"][0]["person"] == "Lin Jun"
    (change,) = hall.records.overrides(hall.now)
    assert change.end == int(datetime(2026, 3, 2, 20, tzinfo=ZoneInfo("Asia/Taipei")).timestamp() * 1000)
    assert shown["changes"][0]["by"] == "administrator-1: dentist"
    await act(root, act="end stand-in", id=change.id)
    assert (await told(root))["onCall"][0]["person"] == "Chen Mei-ling"


async def test_what_is_kept_quiet_is_listed_and_ended(hall):
    hall.records.open_alerts([condition()], hall.now)
    kept = hall.records.add_suppression(
        SuppressionKind.MAINTENANCE, "*", "R003", hall.now, hall.now + 3_600_000, "anna", "pump"
    )
    root = await person(hall)
    assert [q["id"] for q in (await told(root))["quiet"]] == [kept.id]
    assert (await act(root, act="resume", id=kept.id)).status_code == 200
    assert (await told(root))["quiet"] == []


async def test_lesser_roles_see_and_do_nothing_of_it(hall):
    for name in ("viewer-1", "operator-1"):
        client = await person(hall, name)
        for answer in (
            await client.get("/settings/all"),
            await act(client, act="add person", name="eve", role="administrator", password="a long one"),
            await act(client, act="make key", partner="eve", days=0),
            await act(client, act="resume", id=1),
        ):
            assert answer.status_code == 403
            assert "administrator" in answer.json()["detail"]
    assert hall.accounts.user("eve") is None
    assert hall.accounts.api_keys() == []


async def test_a_page_of_another_site_changes_nothing(hall):
    root = await person(hall)
    request = {"act": "add person", "name": "eve", "role": "administrator", "password": "a long one"}
    answer = await root.post("/settings/act", json=request, headers={"origin": "https://evil.test"})
    assert answer.status_code == 403
    plain = await root.post(
        "/settings/act", content=b'{"act": "lock out"}', headers={"content-type": "text/plain"}
    )
    assert plain.status_code == 422
    assert hall.accounts.user("eve") is None


async def test_what_cannot_be_is_refused_with_the_reason(hall):
    root = await person(hall)
    for request, why in (
        ({"act": "change role", "name": "administrator-1", "role": "viewer"}, "another administrator"),
        ({"act": "lock out", "name": "administrator-1"}, "another administrator"),
        ({"act": "add person", "name": "wu", "role": "viewer", "password": "short"}, "at least 8"),
        ({"act": "add person", "name": "wu", "role": "king", "password": "a long one"}, "did not understand"),
        ({"act": "add person", "name": " ", "role": "viewer", "password": "a long one"}, "Name is needed"),
        ({"act": "set password", "name": "nobody", "password": "a long one"}, "there is no user"),
        ({"act": "set password", "name": "viewer-1"}, "did not understand"),
        ({"act": "make key", "partner": "p", "scopes": ["everything"]}, "forecasts, demand"),
        ({"act": "make key", "partner": "p", "days": 100_000}, "between 0 and"),
        ({"act": "revoke key", "prefix": "none"}, "there is no API key"),
        ({"act": "stand in", "schedule": "day", "person": "jun", "end": "2026-03-02T20:00"}, "no schedule"),
        ({"act": "stand in", "schedule": "night", "person": "jun", "end": "soon"}, "did not understand"),
    ):
        answer = await act(root, **request)
        assert (answer.status_code, why in answer.json()["error"]) == (400, True), (request, answer.text)


async def test_what_is_no_act_takes_a_right_that_nobody_has(hall):
    assert (await act(await person(hall), act="reboot")).status_code == 403
    assert "reboot" not in RIGHTS


async def test_a_list_has_a_bound(hall, monkeypatch):
    monkeypatch.setattr("dashboard.settings.MOST_LISTED", 2)
    for n in range(3):
        hall.accounts.add_api_key(f"partner {n}")
    assert [k.partner for k in hall.data.settings.api_keys()] == ["partner 2", "partner 1"]
    assert len(hall.data.settings.people()) == 2
