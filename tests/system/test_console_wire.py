"""The console's websocket as a browser speaks it, without a browser: who is let in, and what a silent viewer costs."""

from __future__ import annotations

import contextlib
import json
import math
import threading
import time
from collections.abc import Callable, Iterator

import httpx
import pytest
from sqlalchemy import event
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import ClientConnection, connect

from dashboard.auth import COOKIE
from domain.alert import Condition, Severity
from domain.batch import now_ms
from domain.role import Role
from tests.system.console_plant import demo_site
from tests.system.console_service import PASSWORD, USER, LiveConsole

pytestmark = pytest.mark.xdist_group("console")


@pytest.fixture(scope="module")
def console(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveConsole]:
    with LiveConsole(tmp_path_factory.mktemp("wire"), demo_site(pods=1), gpus=False, tick_s=0.2) as live:
        yield live


@pytest.fixture
def session(console: LiveConsole) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=console.url, timeout=60) as client:
        assert client.post("/login", data={"name": USER, "password": PASSWORD}).status_code == 303
        yield client


class Window:
    """What a browser window does on the wire: start the live callback, say where it is, take what comes."""

    def __init__(self, console: LiveConsole, session: httpx.Client, path: str = "/") -> None:
        callbacks = session.get("/_dash-dependencies").json()
        live = next(c["output"] for c in callbacks if c.get("websocket"))
        self.socket = open_socket(console, session.cookies.get(COOKIE, ""))
        self.path = path
        payload = {"output": live, "outputs": [], "inputs": [], "state": [], "changedPropIds": []}
        self.send({"type": "callback_request", "requestId": "1", "payload": payload})

    def send(self, message: dict[str, object]) -> None:
        self.socket.send(json.dumps({"rendererId": "window"} | message))

    def receive(self, timeout: float) -> list[dict]:
        got = json.loads(self.socket.recv(timeout))
        return got if isinstance(got, list) else [got]

    def until(self, enough: Callable[[list[dict]], bool], answer: bool = True) -> list[dict]:
        """Return what arrives until it is enough."""
        arrived: list[dict] = []
        end = time.monotonic() + 60
        while not enough(arrived):
            assert time.monotonic() < end, arrived
            arrived += self.watch(0.2, answer)
        return arrived

    def watch(self, seconds: float, answer: bool = True) -> list[dict]:
        """Return what arrives; answer where the window is, or leave the questions open."""
        arrived, end = [], time.monotonic() + seconds
        while time.monotonic() < end:
            try:
                messages = self.receive(max(0.01, end - time.monotonic()))
            except TimeoutError:
                break
            for message in messages:
                arrived.append(message)
                if answer and message["type"] == "get_props_request":
                    reply = {
                        "requestId": message["requestId"],
                        "payload": {"href": self.path},
                    }
                    self.send({"type": "get_props_response"} | reply)
        return arrived


def open_socket(console: LiveConsole, cookie: str, origin: str = "") -> ClientConnection:
    return connect(
        console.url.replace("http", "ws") + "/_dash-ws-callback",
        origin=origin or console.url,
        additional_headers={"Cookie": f"{COOKIE}={cookie}"},
    )


def stores(messages: list[dict]) -> list[str]:
    return [m["payload"]["componentId"] for m in messages if m["type"] == "set_props"]


def test_a_websocket_needs_the_cookie_of_a_login(console, session):
    with pytest.raises(InvalidStatus) as refused:
        open_socket(console, "nothing")
    assert refused.value.response.status_code == 403


def test_a_websocket_from_a_page_of_another_site_is_refused_even_with_the_cookie(console, session):
    with pytest.raises(InvalidStatus):
        open_socket(console, session.cookies[COOKIE], origin="https://evil.test")


def test_a_window_gets_the_sections_of_its_page_and_then_what_changes(console, session):
    window = Window(console, session)
    sections = {"live-header", "live-alerts", "live-power", "live-floor", "live-cooling"}
    got = stores(window.until(lambda m: sections <= set(stores(m)) and stores(m).count("live-header") >= 3))
    window.socket.close()
    assert got.count("live-alerts") == 1  # nothing happened, nothing is told again
    assert got.count("live-power") == 1


def test_another_page_gets_other_sections(console, session):
    window = Window(console, session, path="/rack/R003")
    sections = {"live-header", "live-alerts", "live-notes", "live-rack", "minute"}
    messages = window.until(lambda m: sections <= set(stores(m)))
    got = set(stores(messages + window.watch(1.5)))
    window.socket.close()
    assert got == sections


def test_a_window_that_does_not_answer_is_sent_nothing_more_and_one_that_answers_goes_on(console, session):
    silent, lively = Window(console, session), Window(console, session)
    unanswered = silent.until(bool, answer=False)
    assert [m["type"] for m in unanswered] == ["get_props_request"]
    lively.until(lambda m: stores(m).count("live-header") >= 2)
    assert silent.watch(0.2, answer=False) == []
    silent.socket.close()
    lively.socket.close()


def test_closed_windows_leave_nothing_behind(console, session):
    for _ in range(3):
        window = Window(console, session)
        window.watch(0.3)
        window.socket.close()
    end = time.monotonic() + 60
    while console.console.stats()["viewers"] and time.monotonic() < end:
        time.sleep(0.05)
    assert console.console.stats()["viewers"] == 0


def test_a_locked_out_person_is_told_so_and_gets_no_more_figures(console, session):
    console.accounts.add_user("carl", "another-password")
    with httpx.Client(base_url=console.url, timeout=60) as carls:
        carls.post("/login", data={"name": "carl", "password": "another-password"})
        window = Window(console, carls)
        window.until(stores)
        console.accounts.set_active("carl", False)
        messages = window.until(lambda m: "live-session" in stores(m))
        ended = [
            m for m in messages if m["type"] == "set_props" and m["payload"]["componentId"] == "live-session"
        ]
        assert ended[0]["payload"]["props"] == {"children": '{"ended":true}'}
        assert carls.get("/", headers={"accept": "text/html"}).status_code == 303
        with contextlib.suppress(ConnectionClosed):
            assert stores(window.watch(1.5)) == []


def acknowledge(session: httpx.Client, alert: int) -> dict[str, object]:
    """Ask as the console's button does; return the answer."""
    told = {"id": "acknowledge-request", "property": "data", "value": {"id": alert, "note": ""}}
    answer = session.post(
        "/_dash-update-component",
        headers={"sec-fetch-site": "same-origin"},
        json={
            "output": "acknowledge-answer.data",
            "outputs": {"id": "acknowledge-answer", "property": "data"},
            "inputs": [told],
            "changedPropIds": ["acknowledge-request.data"],
            "state": [],
        },
    )
    return answer.json()["response"]["acknowledge-answer"]["data"]


def test_who_may_only_look_acknowledges_nothing(console, session):
    console.accounts.add_user("vera", "another-password", Role.VIEWER)
    now = now_ms()
    leak = Condition("leak", "R001", Severity.CRITICAL, "water under the rack", 1.0, math.nan, "1", now)
    (alert,) = console.records.open_alerts([leak], now)
    try:
        with httpx.Client(base_url=console.url, timeout=60) as veras:
            veras.post("/login", data={"name": "vera", "password": "another-password"})
            assert "may look, but not acknowledge" in acknowledge(veras, alert.id)["error"]
        assert "acknowledged by" in acknowledge(session, alert.id)["text"]
    finally:
        console.records.clear_alerts([alert.id], now_ms())


def test_the_database_is_never_asked_on_the_event_loop(console, session):
    now = now_ms()
    leak = Condition("leak", "R002", Severity.CRITICAL, "water under the rack", 1.0, math.nan, "1", now)
    (alert,) = console.records.open_alerts([leak], now)
    asked: list[str] = []

    def note(_connection, _cursor, statement, *_):
        if threading.current_thread() is console._thread:
            asked.append(statement)

    event.listen(console.records.engine, "before_cursor_execute", note)
    try:
        with httpx.Client(base_url=console.url, timeout=60) as another:
            another.post("/login", data={"name": USER, "password": PASSWORD})
            window = Window(console, another)
            window.until(stores)
            assert another.get("/_dash-layout").status_code == 200
            history = {
                "output": "alert-history.data",
                "outputs": {"id": "alert-history", "property": "data"},
                "inputs": [
                    {"id": "alert-change", "property": "data", "value": ""},
                    {"id": "url", "property": "search", "value": ""},
                ],
                "changedPropIds": ["alert-change.data"],
                "state": [],
            }
            told = another.post("/_dash-update-component", json=history).json()
            rows = told["response"]["alert-history"]["data"]["rows"]
            assert alert.id in [row["id"] for row in rows]
            assert "acknowledged by" in acknowledge(another, alert.id)["text"]
            window.socket.close()
            another.post("/logout")
    finally:
        event.remove(console.records.engine, "before_cursor_execute", note)
        console.records.clear_alerts([alert.id], now_ms())
    assert asked == []


def test_the_api_is_not_behind_the_consoles_login_and_unknown_addresses_are_not_pages(console, session):
    assert httpx.get(console.url + "/api/v1/there", timeout=60).json() == {"api": "reached"}
    assert httpx.get(console.url + "/healthz", timeout=60).status_code == 200
    assert session.get("/api/v1/nowhere", headers={"accept": "text/html"}).status_code == 404
    assert session.get("/rack/R001").status_code == 200
    assert session.get("/rack/../../etc/passwd").status_code == 404
