"""Who may read what: contracts, keys and tokens, narrow, expired, revoked or forged; each refusal is logged."""

import asyncio
import re
import time
from types import SimpleNamespace

import pytest
from fastapi import FastAPI
from typer.testing import CliRunner

from domain.batch import now_ms
from partners.api import router
from partners.settings import PartnerSettings
from partners.tokens import LIFETIME_S
from partners.usage import Calls
from service.cli import app as command
from storage.accounts import Accounts
from tests.unit.partners.conftest import Client, site_forecast
from tests.unit.partners.test_power_forecast_api import PATH, assert_problem

TOKEN = "/api/v1/oauth/token"
SETTINGS = PartnerSettings.model_validate(
    {
        "published": ["FEED-A"],
        "contracts": [
            {"name": "Grid", "shows": ["forecasts", "demand"], "published": [], "calls_per_minute": 1000},
            {"name": "Auditor", "shows": ["energy"]},
        ],
    }
)


@pytest.fixture
def gate(api):
    """The API with contracts; `ask(key, path)` asks with a key or token."""
    calls, app = Calls(), FastAPI()
    app.include_router(
        router(api.records, api.accounts, api.site, calls, lambda: now_ms() + gate.ahead, 600, SETTINGS)
    )
    api.records.save_forecasts([site_forecast(now_ms(), object_id=o) for o in ("lab", "FEED-A")])
    gate = SimpleNamespace(
        records=api.records, accounts=api.accounts, calls=calls, app=app, ahead=0,
        ask=lambda key, path=PATH, **more: Client(app, {"Authorization": f"Bearer {key}"}).get(path, **more),
    )  # fmt: skip
    return gate


def token(gate, key, form=None, prefix=None):
    """Ask for a token as any OAuth client does, by HTTP Basic."""
    import httpx

    async def ask():
        transport = httpx.ASGITransport(gate.app)
        async with httpx.AsyncClient(transport=transport, base_url="http://api") as client:
            auth = httpx.BasicAuth(prefix or key.split("_")[1], key)
            data = {"grant_type": "client_credentials", **(form or {})}
            return await client.post(TOKEN, data=data, auth=auth)

    return asyncio.run(ask())


def reasons(gate):
    gate.calls.write(gate.records)
    return [(r.partner, r.status, r.reason) for r in gate.records.refusals(0, now_ms() + 1)]


def test_a_partner_reads_what_its_contract_shows_and_nothing_else(gate):
    grid, _ = gate.accounts.add_api_key("Grid")
    other, _ = gate.accounts.add_api_key("Other")
    auditor, _ = gate.accounts.add_api_key("Auditor")
    assert gate.ask(grid).status_code == 200
    assert gate.ask(other, params={"object_id": "FEED-A"}).status_code == 200
    assert_problem(gate.ask(grid, params={"object_id": "FEED-A"}), 404, "FEED-A")
    refused = gate.ask(auditor)
    assert_problem(refused, 403, "'forecasts' is not shown")
    assert 'error="insufficient_scope"' in refused.headers["www-authenticate"]
    assert reasons(gate) == [("Auditor", 403, "no scope forecasts")]


def test_an_answer_that_is_kept_is_not_told_to_who_may_not_read_it(gate):
    other, _ = gate.accounts.add_api_key("Other")
    for _ in range(3):
        assert gate.ask(other, params={"object_id": "FEED-A"}).status_code == 200
        assert gate.ask(other).status_code == 200
    grid, auditor = (gate.accounts.add_api_key(name)[0] for name in ("Grid", "Auditor"))
    for _ in range(3):
        assert gate.ask(grid, params={"object_id": "FEED-A"}).status_code == 404
        assert gate.ask(auditor).status_code == 403


def test_a_narrow_key_shows_less_than_its_contract_and_never_more(gate):
    narrow, _ = gate.accounts.add_api_key("Grid", scopes=["demand", "energy"])
    assert_problem(gate.ask(narrow), 403, "'forecasts'")


def test_wrong_expired_and_revoked_keys_are_refused_and_logged_with_the_partner(gate):
    expired, _ = gate.accounts.add_api_key("Old", now_ms() - 1)
    revoked, record = gate.accounts.add_api_key("Gone")
    assert gate.ask(revoked).status_code == 200
    gate.accounts.revoke_api_key(record.prefix)
    for key in (expired, revoked, revoked[:-1] + "x", "hw_00000000_wrong"):
        assert_problem(gate.ask(key), 401, "ask the site's operator")
    assert reasons(gate) == [
        ("", 401, "unknown key"),
        ("", 401, "unknown key"),
        ("Gone", 401, "key revoked"),
        ("Old", 401, "key expired"),
    ]


def test_a_token_shows_what_was_asked_for_and_ends_with_its_key(gate):
    key, record = gate.accounts.add_api_key("Grid")
    answer = token(gate, key)
    assert (answer.status_code, answer.headers["cache-control"]) == (200, "no-store")
    body = answer.json()
    assert (body["token_type"], body["expires_in"], body["scope"]) == ("Bearer", 3600, "demand forecasts")
    assert gate.ask(body["access_token"]).status_code == 200
    narrow = token(gate, key, {"scope": "demand"}).json()
    assert narrow["scope"] == "demand"
    assert_problem(gate.ask(narrow["access_token"]), 403, "'forecasts'")
    gate.accounts.revoke_api_key(record.prefix)
    assert_problem(gate.ask(body["access_token"]), 401, "access token")


def test_a_token_ends_after_its_hour_and_a_forged_one_never_begins(gate):
    key, _ = gate.accounts.add_api_key("Grid")
    good = token(gate, key).json()["access_token"]
    assert gate.ask(good).status_code == 200
    for bad in (good[:-2] + "xx", "hwt_", f"hwt_{good[4:].replace('.', '', 1)}", good + "."):
        assert_problem(gate.ask(bad), 401, "access token")
    gate.ahead = LIFETIME_S * 1000 + 2000
    assert_problem(gate.ask(good), 401, "access token")


@pytest.mark.parametrize(
    ("form", "status", "error"),
    [
        ({"grant_type": "password"}, 400, "unsupported_grant_type"),
        ({"grant_type": ""}, 400, "invalid_request"),
        ({"scope": "demand energy"}, 400, "invalid_scope"),
    ],
)
def test_a_wrong_request_for_a_token_is_told_as_oauth_does(gate, form, status, error):
    key, _ = gate.accounts.add_api_key("Grid")
    answer = token(gate, key, form)
    assert (answer.status_code, answer.json()["error"]) == (status, error)


def test_a_client_that_is_not_known_gets_no_token(gate):
    key, record = gate.accounts.add_api_key("Grid")
    for wrong, prefix in ((key[:-1] + "x", None), (key, "00000000")):
        answer = token(gate, wrong, prefix=prefix)
        assert (answer.status_code, answer.json()["error"]) == (401, "invalid_client")
    gate.accounts.revoke_api_key(record.prefix)
    assert token(gate, key).status_code == 401
    assert {reason for _, _, reason in reasons(gate)} == {"bad client credentials"}


def test_a_contract_has_a_pace_of_its_own(api):
    settings = PartnerSettings.model_validate({"contracts": [{"name": "Slow", "calls_per_minute": 2}]})
    calls, app = Calls(), FastAPI()
    app.include_router(router(api.records, api.accounts, api.site, calls, per_minute=100, settings=settings))
    api.records.save_forecast(site_forecast())
    slow, other = (api.accounts.add_api_key(name)[0] for name in ("Slow", "Other"))
    asked = [Client(app, {"Authorization": f"Bearer {slow}"}).get(PATH).status_code for _ in range(3)]
    assert asked == [200, 200, 429]
    assert Client(app, {"Authorization": f"Bearer {other}"}).get(PATH).status_code == 200
    calls.write(api.records)
    assert [(r.partner, r.reason) for r in api.records.refusals(0, now_ms() + 1)] == [
        ("Slow", "too many calls")
    ]


def test_a_flood_of_refusals_is_counted_and_only_its_beginning_listed(gate):
    for _ in range(110):
        gate.ask("hw_00000000_wrong")
    gate.calls.write(gate.records)
    assert len(gate.records.refusals(0, now_ms() + 1)) == 100
    assert sum(u.calls for u in gate.records.usage(0, now_ms() + 1)) == 110


def test_a_key_is_rotated_with_an_overlap(gate):
    old, record = gate.accounts.add_api_key("Grid", now_ms() + 10**9, scopes=["forecasts"])
    new, fresh = gate.accounts.rotate_api_key(record.prefix, 500)
    assert (fresh.partner, fresh.scopes) == ("Grid", ("forecasts",))
    assert abs(fresh.expires - (now_ms() + 10**9)) < 60_000
    assert gate.ask(new).status_code == 200
    assert gate.ask(old).status_code == 200 or now_ms() > fresh.created + 500
    until = time.monotonic() + 60
    while gate.ask(old).status_code != 401 and time.monotonic() < until:
        time.sleep(0.05)
    assert gate.ask(old).status_code == 401
    assert gate.ask(new).status_code == 200


def test_keys_and_their_use_at_the_command_line(gate, tmp_path):
    def hallwatch(*words):
        done = CliRunner().invoke(command, ["apikey", *words, "--data", str(tmp_path)])
        assert done.exit_code == 0, done.output
        return done.output

    key = hallwatch("add", "Grid", "--shows", "forecasts", "--expires", "365d").strip()
    rotated = hallwatch("rotate", key.split("_")[1], "--overlap", "1h").strip()
    listed = hallwatch("list")
    assert key.split("_")[2] not in listed
    assert len(re.findall(r"Grid +forecasts", listed)) == 2
    accounts = Accounts(gate.records)
    assert accounts.verify_api_key(rotated).scopes == ("forecasts",)
    gate.ask(rotated)
    gate.ask(rotated, "/api/v1/nothing")
    gate.ask("hw_00000000_wrong")
    gate.calls.write(gate.records)
    used = hallwatch("usage", "--since", "1d")
    assert re.search(r"Grid +/api/v1/forecasts/power +1", used)
    assert "unknown key" in used
    assert '"reason": "unknown key"' in hallwatch("usage", "--json")
