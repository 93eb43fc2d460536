"""Login, session cookie and guard, over real HTTP messages to the real application."""

import asyncio
import html
import re
import threading
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest
from fastapi import FastAPI
from pwdlib import PasswordHash
from pwdlib.hashers.argon2 import Argon2Hasher
from starlette.responses import Response
from starlette.websockets import WebSocket

from dashboard import auth
from dashboard.auth import (
    COOKIE,
    MOST_WAITING,
    Guard,
    Passwords,
    Sessions,
    current_session,
    login_router,
    security_headers,
)
from dashboard.windows import Windows
from domain.errors import StoreUnavailable
from domain.role import Role
from storage.accounts import Accounts
from storage.records import Records
from storage.sessions import MOST_SESSIONS, LoginSessions

SECRET = "only for tests, and long enough"
FORM = {"name": "anna", "password": "night-shift-1"}


@pytest.fixture
def records(tmp_path):
    made = Records(f"sqlite:///{tmp_path}/records.sqlite")
    yield made
    made.close()


@pytest.fixture
def accounts(records):
    made = Accounts(records)
    made._hash = PasswordHash(
        (Argon2Hasher(time_cost=1, memory_cost=64, parallelism=1),)
    )  # not what is tested here
    made.add_user("anna", FORM["password"])
    return made


@pytest.fixture
def sessions(records):
    return Sessions(SECRET, LoginSessions(records))


def console(accounts, sessions):
    """The login, and behind it a page that tells who looks."""
    inner = FastAPI()

    @inner.get("/{path:path}")
    @inner.post("/{path:path}")
    async def who(path: str) -> str:
        session = current_session.get()
        return session.user if session else "nobody"

    app = FastAPI()
    app.include_router(login_router(Passwords(accounts, sessions), sessions, "Site <1>"))
    app.mount("/", Guard(inner, sessions, security_headers(), Windows()))
    return app


def browser(app, address="192.0.2.1"):
    transport = httpx.ASGITransport(app, client=(address, 1234))
    return httpx.AsyncClient(transport=transport, base_url="http://console.test")


@pytest.fixture
def app(accounts, sessions):
    return console(accounts, sessions)


@pytest.fixture
async def client(app):
    async with browser(app) as made:
        yield made


async def test_a_page_sends_to_the_login_and_a_callback_is_refused(client):
    page = await client.get("/rack/R001", headers={"accept": "text/html"})
    assert (page.status_code, page.headers["location"]) == (303, "/login?next=/rack/R001")
    assert (await client.post("/_dash-update-component", json={})).status_code == 401


async def test_the_right_password_lets_in_and_the_cookie_is_not_for_scripts(client):
    answer = await client.post("/login", data={**FORM, "next": "/alerts"})
    assert (answer.status_code, answer.headers["location"]) == (303, "/alerts")
    cookie = answer.headers["set-cookie"].lower()
    assert "httponly" in cookie
    assert "samesite=lax" in cookie
    assert (await client.get("/")).json() == "anna"


async def test_the_link_of_a_message_leads_to_its_moment_after_the_login(client):
    link = "/rack/R001?alert=17&at=2026-09-21T14%3A13%3A20.000Z"
    refused = await client.get(link, headers={"accept": "text/html"})
    login = await client.get(refused.headers["location"])
    (following,) = re.findall(r'name="next" value="(.*?)"', login.text)
    answer = await client.post("/login", data={**FORM, "next": html.unescape(following)})
    assert answer.headers["location"] == link


async def test_the_login_goes_nowhere_else(client):
    for target in ("https://evil.test/", "//evil.test", "/\\evil.test", "javascript:alert(1)"):
        assert (await client.post("/login", data={**FORM, "next": target})).headers["location"] == "/"


async def test_what_a_stranger_writes_into_the_address_is_not_markup(client):
    page = (await client.get("/login", params={"next": '/"><script>alert(1)</script>'})).text
    assert "<script>" not in page
    assert "Site &lt;1&gt;" in page


async def test_a_changed_or_foreign_cookie_is_worthless(client, sessions):
    await client.post("/login", data=FORM)
    good = client.cookies[COOKIE]
    client.cookies.clear()
    for forged in (
        good[:-2] + "xx",
        Sessions("another secret, also long", sessions._kept)._signer.dumps("x"),
        sessions._signer.dumps("rightly signed, and in no record"),
        sessions._signer.dumps({"a": [1]}),
        "x",
    ):
        answer = await client.get("/", headers={"cookie": f"{COOKIE}={forged}"})
        assert answer.status_code == 401


async def test_a_copy_of_the_cookie_is_worthless_after_the_logout(client):
    await client.post("/login", data=FORM)
    stolen = client.cookies[COOKIE]
    assert (await client.post("/logout")).status_code == 303
    assert (await client.get("/", headers={"cookie": f"{COOKIE}={stolen}"})).status_code == 401


async def test_a_logged_out_cookie_stays_worthless_after_a_restart(client, accounts, records):
    await client.post("/login", data=FORM)
    stolen, kept = client.cookies[COOKIE], None
    await client.post("/logout")
    await client.post("/login", data=FORM)
    kept = client.cookies[COOKIE]
    restarted = console(accounts, Sessions(SECRET, LoginSessions(records)))
    async with browser(restarted) as again:
        assert (await again.get("/", headers={"cookie": f"{COOKIE}={stolen}"})).status_code == 401
        assert (await again.get("/", headers={"cookie": f"{COOKIE}={kept}"})).json() == "anna"


@pytest.mark.parametrize(
    "change",
    [
        lambda accounts: accounts.set_password("anna", "another-password"),
        lambda accounts: accounts.set_role("anna", Role.VIEWER),
        lambda accounts: accounts.set_active("anna", False),
        lambda accounts: (accounts.set_active("anna", False), accounts.set_active("anna", True)),
    ],
    ids=["password", "role", "locked out", "let in again"],
)
async def test_what_changes_a_person_ends_their_sessions_and_no_others(
    client, app, accounts, monkeypatch, change
):
    monkeypatch.setattr(auth, "FRESH_S", 0.0)
    accounts.add_user("ben", "bens password")
    async with browser(app) as bens:
        await bens.post("/login", data={"name": "ben", "password": "bens password"})
        await client.post("/login", data=FORM)
        assert (await client.get("/")).status_code == 200
        change(accounts)  # as a command does, in a process of its own
        assert (await client.get("/")).status_code == 401
        assert (await bens.get("/")).json() == "ben"


async def test_a_session_that_another_process_began_counts_at_once(accounts, records, sessions):
    other = Sessions(SECRET, LoginSessions(records))
    sessions.refresh()
    answer = Response()
    other.give(answer, *other.begin(accounts.user("anna")))
    cookie = answer.headers["set-cookie"].split(";")[0]
    async with browser(console(accounts, sessions)) as here:
        assert (await here.get("/", headers={"cookie": cookie})).json() == "anna"


async def test_while_the_records_do_not_answer_known_sessions_go_on_and_others_are_told_so(
    client, sessions, monkeypatch
):
    await client.post("/login", data=FORM)
    known = client.cookies[COOKIE]

    def down():
        raise StoreUnavailable("away")

    monkeypatch.setattr(auth, "FRESH_S", -1.0)
    monkeypatch.setattr(sessions._kept, "live", down)
    assert (await client.get("/", headers={"cookie": f"{COOKIE}={known}"})).json() == "anna"
    unknown = sessions._signer.dumps("somebody else")
    client.cookies.clear()
    assert (await client.get("/", headers={"cookie": f"{COOKIE}={unknown}"})).status_code == 503


def test_a_login_ends_after_its_hours(accounts, records):
    short = Sessions(SECRET, LoginSessions(records), hours=0)
    _, session = short.begin(accounts.user("anna"))
    assert not short.alive(session)
    long = Sessions(SECRET, LoginSessions(records), hours=1)
    _, session = long.begin(accounts.user("anna"))
    assert long.alive(session)


def test_a_person_has_so_many_sessions_and_the_oldest_gives_way(accounts, records):
    kept = LoginSessions(records)
    first = kept.begin("anna", Role.OPERATOR, 3600)[1]
    for _ in range(MOST_SESSIONS):
        last = kept.begin("anna", Role.OPERATOR, 3600)[1]
    live = kept.live()
    assert len(live) == MOST_SESSIONS
    assert first.key not in live
    assert last.key in live


async def test_logins_and_logouts_are_in_the_audit_with_their_address(client, records):
    await client.post("/login", data={**FORM, "password": "guess"})
    await client.post("/login", data={"name": "nobody\x1b[2J\x00", "password": "guess"})
    await client.post("/login", data=FORM)
    await client.post("/logout")
    told = [(e.who, e.what, e.detail) for e in reversed(records.audit_trail())]
    assert told[1:] == [
        ("anna", "login failed", "from 192.0.2.1: wrong password"),
        ("nobody\ufffd[2J\ufffd", "login failed", "from 192.0.2.1: unknown name"),
        ("anna", "logged in", "from 192.0.2.1"),
        ("anna", "logged out", ""),
    ]


async def test_every_answer_tells_the_browser_to_load_nothing_from_elsewhere(client):
    for answer in (
        await client.get("/login"),
        await client.post("/login", data=FORM) and await client.get("/"),
    ):
        policy = answer.headers["content-security-policy"]
        assert "default-src 'self'" in policy
        assert "unsafe-inline" not in policy.split("script-src")[1].split(";")[0]


async def test_another_site_can_neither_log_in_nor_change_anything(client):
    foreign = {"origin": "https://evil.test"}
    assert (await client.post("/login", data=FORM, headers=foreign)).status_code == 403
    await client.post("/login", data=FORM)
    assert (await client.post("/change", headers=foreign)).status_code == 403
    assert (await client.post("/change", headers={"sec-fetch-site": "cross-site"})).status_code == 403
    assert (await client.post("/change", headers={"origin": "http://console.test"})).status_code == 200
    assert (await client.post("/logout", headers=foreign)).status_code == 403


async def wrong(client, times=5, name="anna"):
    for _ in range(times):
        assert (await client.post("/login", data={"name": name, "password": "guess"})).status_code == 401


async def test_after_five_wrong_passwords_even_the_right_one_waits(client):
    await wrong(client)
    refused = await client.post("/login", data=FORM)
    assert refused.status_code == 429
    assert 0 < int(refused.headers["retry-after"]) <= 300


@pytest.mark.parametrize("name", ["anna ", " anna", "ANNA", "\uff41nna", "anna\t"])
async def test_another_spelling_of_the_name_is_the_same_name(client, name):
    await wrong(client)
    assert (await client.post("/login", data={**FORM, "name": name})).status_code == 429


async def test_ones_own_login_wins_no_tries_at_other_names(client, accounts):
    accounts.add_user("mallory", "mallorys own")
    for _ in range(5):
        await wrong(client, 1)
        await client.post("/login", data={"name": "mallory", "password": "mallorys own"})
    assert (await client.post("/login", data=FORM)).status_code == 429


async def test_a_forged_forwarded_address_wins_no_tries(client):
    for n in range(5):
        headers = {"x-forwarded-for": f"198.51.100.{n}"}
        await client.post("/login", data={**FORM, "password": "guess"}, headers=headers)
    assert (await client.post("/login", data=FORM, headers={"x-forwarded-for": "9.9.9.9"})).status_code == 429


async def test_a_neighbour_who_guesses_locks_out_nobody_who_was_here_before(client, app):
    await client.post("/login", data=FORM)
    async with browser(app) as neighbour:  # the same proxy, so the same address
        for n in range(60):
            await neighbour.post("/login", data={"name": f"name{n}", "password": "guess"})
        await neighbour.post("/login", data={**FORM, "password": "guess"})
        refused = await neighbour.post("/login", data={"name": "newcomer", "password": "guess"})
        assert refused.status_code == 429
        assert (
            int(refused.headers["retry-after"]) <= 5
        )  # who comes first from here waits a moment, not minutes
    assert (await client.post("/login", data=FORM)).status_code == 303


async def test_a_known_browser_is_no_licence_to_guess(client):
    await client.post("/login", data=FORM)
    await wrong(client)
    assert (await client.post("/login", data=FORM)).status_code == 429


async def test_for_an_address_that_guessed_too_often_no_form_is_taken_apart(app):
    async with browser(app, "198.51.100.7") as crowd:
        for n in range(30):
            await crowd.post("/login", data={"name": f"name{n}", "password": "guess"})
    sent = []

    async def body():
        raise AssertionError("the form was asked for")

    async def send(message):
        sent.append(message)

    scope = {
        **{"type": "http", "http_version": "1.1", "method": "POST", "path": "/login", "raw_path": b"/login"},
        **{"query_string": b"", "scheme": "http", "server": ("console.test", 80), "root_path": ""},
        **{"client": ("198.51.100.7", 1234)},
        "headers": [(b"content-type", b"application/x-www-form-urlencoded"), (b"host", b"console.test")],
    }
    await app(scope, body, send)
    assert sent[0]["status"] == 429


async def test_few_wait_for_their_password_to_be_checked_and_others_are_told_to_come_again(
    app, accounts, monkeypatch
):
    asyncio.get_running_loop().set_default_executor(
        ThreadPoolExecutor(2)
    )  # the threads that everybody shares
    over, check = threading.Event(), accounts.verify_password

    def takes_long(*arguments):
        assert over.wait(60)
        return check(*arguments)

    async def one(n):
        async with browser(app, f"198.51.100.{n}") as stranger:
            return await stranger.post("/login", data={"name": f"name{n}", "password": "guess"})

    monkeypatch.setattr(accounts, "verify_password", takes_long)
    asked = [asyncio.create_task(one(n)) for n in range(60)]
    async with asyncio.timeout(50):
        while sum(task.done() for task in asked) < 60 - MOST_WAITING:  # noqa: ASYNC110
            await asyncio.sleep(0.01)
        await asyncio.to_thread(int)  # nobody else waits behind a password
    over.set()
    answers = await asyncio.gather(*asked)
    told = [a.status_code for a in answers]
    assert (told.count(401), told.count(503)) == (MOST_WAITING, 60 - MOST_WAITING)
    assert "retry-after" in next(a for a in answers if a.status_code == 503).headers


async def test_a_websocket_without_a_login_is_refused_before_it_opens(sessions):
    reached, sent = [], []

    async def inner(scope, receive, send):
        reached.append(WebSocket(scope, receive, send))

    async def receive():
        return {"type": "websocket.connect"}

    async def send(message):
        sent.append(message)

    scope = {"type": "websocket", "path": "/_dash-ws-callback", "headers": [], "query_string": b""}
    await Guard(inner, sessions, security_headers(), Windows())(scope, receive, send)
    assert reached == []
    assert sent == [{"type": "websocket.close", "code": 4401, "reason": "log in first"}]


def test_a_short_secret_is_refused(records):
    with pytest.raises(ValueError, match="16 characters"):
        Sessions("short", LoginSessions(records))
