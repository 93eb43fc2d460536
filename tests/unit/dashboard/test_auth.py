"""Login, session cookie and guard, over real HTTP messages to the real application."""

import httpx
import pytest
from fastapi import FastAPI
from starlette.responses import Response
from starlette.websockets import WebSocket

from dashboard.auth import (
    COOKIE,
    Guard,
    LoginThrottle,
    Sessions,
    current_session,
    login_router,
    security_headers,
)
from storage.accounts import Accounts
from storage.records import Records

SECRET = "only for tests, and long enough"
FORM = {"name": "anna", "password": "night-shift-1"}


@pytest.fixture(scope="module")
def accounts(tmp_path_factory):
    records = Records(f"sqlite:///{tmp_path_factory.mktemp('records')}/records.sqlite")
    made = Accounts(records)
    made.add_user("anna", FORM["password"])
    yield made
    records.close()


@pytest.fixture
def sessions():
    return Sessions(SECRET)


@pytest.fixture
async def client(accounts, sessions):
    inner = FastAPI()

    @inner.get("/{path:path}")
    @inner.post("/{path:path}")
    async def who(path: str) -> str:
        session = current_session.get()
        return session.user if session else "nobody"

    app = FastAPI()
    app.include_router(login_router(accounts, sessions, "Site <1>"))
    app.mount("/", Guard(inner, sessions, security_headers()))
    transport = httpx.ASGITransport(app)
    async with httpx.AsyncClient(transport=transport, base_url="http://console.test") as made:
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


async def test_the_login_goes_nowhere_else(client):
    for target in ("https://evil.test/", "//evil.test", "/\\evil.test", "javascript:alert(1)"):
        assert (await client.post("/login", data={**FORM, "next": target})).headers["location"] == "/"


async def test_what_a_stranger_writes_into_the_address_is_not_markup(client):
    page = (await client.get("/login", params={"next": '/"><script>alert(1)</script>'})).text
    assert "<script>" not in page
    assert "Site &lt;1&gt;" in page


async def test_a_changed_or_foreign_cookie_is_worthless(client, accounts):
    await client.post("/login", data=FORM)
    good = client.cookies[COOKIE]
    client.cookies.clear()
    for forged in (
        good[:-2] + "xx",
        Sessions("another secret, also long")._signer.dumps(["anna", "x", 0]),
        "x",
    ):
        answer = await client.get("/", headers={"cookie": f"{COOKIE}={forged}"})
        assert answer.status_code == 401


async def test_a_copy_of_the_cookie_is_worthless_after_the_logout(client):
    await client.post("/login", data=FORM)
    stolen = client.cookies[COOKIE]
    assert (await client.post("/logout")).status_code == 303
    assert (await client.get("/", headers={"cookie": f"{COOKIE}={stolen}"})).status_code == 401


def test_a_login_ends_after_its_hours():
    assert Sessions(SECRET, hours=1).alive(Sessions(SECRET, hours=1).begin("anna", Response()))
    past = Sessions(SECRET, hours=0)
    assert not past.alive(past.begin("anna", Response()))


async def test_whoever_is_locked_out_is_out_at_once_and_others_are_not(client, sessions):
    await client.post("/login", data=FORM)
    sessions.lock_out(["ben"])
    assert (await client.get("/")).status_code == 200
    sessions.lock_out(["anna"])
    assert (await client.get("/")).status_code == 401


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


async def test_after_five_wrong_passwords_even_the_right_one_waits(client):
    for _ in range(5):
        assert (await client.post("/login", data={**FORM, "password": "guess"})).status_code == 401
    refused = await client.post("/login", data=FORM)
    assert refused.status_code == 429
    assert 0 < int(refused.headers["retry-after"]) <= 300


def test_the_throttle_forgets_with_time_and_after_a_success():
    now = [0.0]
    throttle = LoginThrottle(most=2, window_s=100, clock=lambda: now[0])
    throttle.failed("a")
    now[0] = 10
    throttle.failed("a")
    assert throttle.wait("a") == 90
    assert throttle.wait("b") == 0
    now[0] = 101
    assert throttle.wait("a") == 0
    throttle.failed("a")
    throttle.succeeded("a")
    assert throttle.wait("a") == 0


def test_the_throttle_stays_small_however_many_addresses_try():
    throttle = LoginThrottle()
    for n in range(10_500):
        throttle.failed(str(n))
    assert len(throttle._failures) == 10_000


async def test_a_websocket_without_a_login_is_refused_before_it_opens(sessions):
    reached, sent = [], []

    async def inner(scope, receive, send):
        reached.append(WebSocket(scope, receive, send))

    async def receive():
        return {"type": "websocket.connect"}

    async def send(message):
        sent.append(message)

    scope = {"type": "websocket", "path": "/_dash-ws-callback", "headers": [], "query_string": b""}
    await Guard(inner, sessions, security_headers())(scope, receive, send)
    assert reached == []
    assert sent == [{"type": "websocket.close", "code": 4401, "reason": "log in first"}]


def test_a_short_secret_is_refused():
    with pytest.raises(ValueError, match="16 characters"):
        Sessions("short")
