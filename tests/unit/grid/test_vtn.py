"""Calls of a VTN: tokens, attempts, bounds; on a real server that misbehaves."""

import socket
import threading
from types import SimpleNamespace

import pytest
import uvicorn
from fastapi import FastAPI, Request, Response

from domain.errors import SourceError, SourceProtocolError, SourceRefused
from partners.grid.openadr import vtn as module
from partners.grid.openadr.messages import Event
from partners.grid.openadr.reports import Reporter
from partners.grid.openadr.settings import VenSettings
from partners.grid.openadr.ven import Ven
from partners.grid.openadr.vtn import Conflict, Unreachable, Vtn


@pytest.fixture
def server(monkeypatch):
    """A server whose answers tests set by path; `settings` reach it."""
    monkeypatch.setenv("VTN_SECRET", "s3cret")
    app = FastAPI()
    made = SimpleNamespace(answers={}, calls=[], tokens=0)

    @app.api_route("/{path:path}", methods=["GET", "POST"])
    async def answer(path: str, request: Request) -> Response:
        made.calls.append(path)
        if path == "auth/token" and path not in made.answers:
            made.tokens += 1
            told = f'{{"access_token": "t{made.tokens}", "token_type": "Bearer", "expires_in": 3600}}'
            return Response(told, media_type="application/json")
        status, content = made.answers.get(path, (404, b"{}"))
        if callable(content):
            content = content(request)
        if isinstance(content, int):
            status, content = content, b"{}"
        return Response(content, status, media_type="application/json")

    bound = socket.create_server(("127.0.0.1", 0))
    made.settings = VenSettings(
        url=f"http://127.0.0.1:{bound.getsockname()[1]}",
        client_id="c",
        client_secret_env="VTN_SECRET",
        ven_name="v",
        timeout=60,
    )
    running = uvicorn.Server(uvicorn.Config(app, log_level="error", lifespan="off"))
    thread = threading.Thread(target=running.run, args=([bound],), daemon=True)
    thread.start()
    yield made
    running.should_exit = True
    thread.join(60)
    bound.close()


async def test_one_token_serves_many_calls_and_a_refused_one_is_renewed_once(server):
    def good(request):
        return b"[]" if request.headers["authorization"] == f"Bearer t{server.tokens}" else 401

    server.answers["events"] = (200, good)
    async with Vtn(server.settings) as vtn:
        assert await vtn.all("events") == []
        assert await vtn.all("events") == []
        assert server.tokens == 1
        server.tokens = 7  # ours is good no more
        assert await vtn.all("events") == []
        server.answers["events"] = (401, b"{}")
        with pytest.raises(SourceRefused, match="401"):
            await vtn.all("events")


async def test_a_refused_secret_is_told_and_not_shown(server):
    server.answers["auth/token"] = (401, b'{"error": "invalid_client"}')
    async with Vtn(server.settings) as vtn:
        with pytest.raises(SourceRefused, match="gives no token: 401") as refused:
            await vtn.all("events")
    assert "s3cret" not in str(refused.value)
    assert server.calls.count("auth/token") == 1


@pytest.mark.parametrize(
    ("status", "error", "tried"),
    [(503, Unreachable, 3), (429, Unreachable, 3), (403, SourceRefused, 1), (409, Conflict, 1)],
)
async def test_a_call_is_tried_three_times_where_that_is_worth_it(server, status, error, tried):
    server.answers["events"] = (status, b'{"detail": "not now"}')
    async with Vtn(server.settings) as vtn:
        with pytest.raises(error, match=f"not now: {status}"):
            await vtn.call("GET", "events")
    assert server.calls.count("events") == tried


async def test_an_answer_and_a_list_have_an_end(server, monkeypatch):
    async with Vtn(server.settings) as vtn:
        server.answers["events"] = (200, b"x" * (module.LARGEST + 1))
        with pytest.raises(SourceProtocolError, match="more than 4,194,304 bytes"):
            await vtn.call("GET", "events")
        server.answers["events"] = (200, b"[" + b"1," * 49 + b"1]")
        with pytest.raises(SourceProtocolError, match="more than 2,000 objects"):
            await vtn.all("events")
    assert server.calls.count("events") == 1 + module.MOST_PAGES


@pytest.mark.parametrize("content", [b"{", b"{}", b'"x"'])
async def test_what_is_no_list_is_no_answer(server, content):
    server.answers["events"] = (200, content)
    async with Vtn(server.settings) as vtn:
        with pytest.raises(SourceProtocolError):
            await vtn.all("events")


async def test_nobody_there_is_told_so(server):
    nowhere = server.settings.model_copy(update={"url": "http://127.0.0.1:9"})
    async with Vtn(nowhere) as vtn:
        with pytest.raises(SourceError, match="ConnectError"):
            await vtn.all("events")


async def test_so_many_reports_wait_and_then_the_oldest_goes(server, hall, monkeypatch):
    monkeypatch.setattr("partners.grid.openadr.ven.MOST_REPORTS", 3)
    server.answers["reports"] = (503, b"{}")
    reporter = Reporter(hall.plant, hall.records, lambda _now: [], lambda _start, _end: 0.0)
    ven = Ven(server.settings, hall.desk(), hall.plant, reporter, lambda _start, _end: 0.0)
    event = Event.model_validate(
        {
            "id": "e1",
            "programID": "p1",
            "modificationDateTime": "x",
            "intervalPeriod": {"start": "0001-01-01T00:00:00Z", "duration": "PT1H"},
            "intervals": [{"id": 0, "payloads": [{"type": "ALERT_OTHER", "values": ["x"]}]}],
            "reportDescriptors": [{"payloadType": "READING", "startInterval": 0, "historical": False}] * 5,
        }
    )
    server.answers["events"] = (200, b"[" + event.model_dump_json().encode() + b"]")
    server.answers["vens"] = (200, b"[]")
    async with ven._vtn:
        with pytest.raises(Unreachable):
            await ven._round()
    assert (ven.stats()["reports_waiting"], ven.counts["reports_dropped"]) == (3, 2)
