"""What is pushed when a forecast is issued: streams and signed webhooks, over real HTTP."""

import asyncio
import contextlib
import json
import os
import socket
from dataclasses import replace
from types import SimpleNamespace

import httpx
import numpy as np
import pytest
import uvicorn
from fastapi import FastAPI, Request, Response
from standardwebhooks.webhooks import Webhook, WebhookVerificationError

from domain.batch import now_ms
from domain.errors import ConfigurationError
from domain.site import Site
from partners import event_routes
from partners.api import router
from partners.events import Events
from partners.forecasts import iso
from partners.revisions import revision
from partners.settings import PartnerSettings
from partners.usage import Calls
from storage.accounts import Accounts
from storage.record_upkeep import RecordUpkeep
from storage.records import Records
from storage.settings import DAY, RecordRetention
from tests.unit.partners.conftest import ISSUED, site_forecast

QUARTER = 900_000
SECRET = "whsec_" + "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
SITE = Site.model_validate(
    {
        "id": "lab", "name": "Lab", "timezone": "UTC", "limit": 6e5, "installed": 7e5, "rack_limit": 1.5e5,
        "nodes": [{"id": "FEED-A", "type": "Feed", "limit": 6e5, "serves": "R1..2"}],
        "pods": [{"id": "P1", "racks": "R1..2", "row": 1}],
    }
)  # fmt: skip


def shifted(forecast, watts):
    return replace(forecast, values=forecast.values + watts)


def forecast(i, **more):
    """The issue of so many quarter hours from now, whose intervals tell the same as those of the others."""
    made = site_forecast(now_ms() // QUARTER * QUARTER + i * QUARTER, n=96, **more)
    course = 500e3 + 1e3 * ((made.start // QUARTER) % 96)
    spread = made.values[0] - made.values[0, 9]
    chance = np.full(96, 0.01)
    return replace(made, values=course[:, None] + spread, breach_probability=chance, limit=np.full(96, 600e3))


@contextlib.asynccontextmanager
async def listening(app):
    """Serve an application on loopback; yields its address."""
    bound = socket.create_server(("127.0.0.1", 0))
    config = uvicorn.Config(app, log_level="error", lifespan="off", timeout_graceful_shutdown=1)
    server = uvicorn.Server(config)
    server.capture_signals = contextlib.nullcontext
    task = asyncio.create_task(server.serve([bound]))
    try:
        yield f"http://127.0.0.1:{bound.getsockname()[1]}"
    finally:
        server.should_exit = True
        await task


@pytest.fixture
async def receiver():
    """A partner's endpoint: keeps what comes, answers as `answers` says, then 204."""
    app, came, answers = FastAPI(), [], []

    @app.post("/hook")
    async def hook(request: Request):
        came.append((dict(request.headers), await request.body()))
        return Response(status_code=answers.pop(0) if answers else 204, headers={"retry-after": "0"})

    async with listening(app) as url:
        yield SimpleNamespace(url=f"{url}/hook", came=came, answers=answers)


def settings_of(url, **more):
    os.environ["TEST_PARTNER_SECRET"] = SECRET
    hook = {"url": url, "secret_env": "TEST_PARTNER_SECRET", **more}
    contract = {"name": "Grid", "shows": ["forecasts"], "published": ["FEED-A"], "webhooks": [hook]}
    return PartnerSettings.model_validate({"contracts": [contract]})


@contextlib.asynccontextmanager
async def telling(folder, settings):
    """The records, and events that run."""
    records = Records(f"sqlite:///{folder}/records.sqlite")
    events = Events(records, settings, SITE.envelope())
    task = asyncio.create_task(events.run())
    try:
        yield SimpleNamespace(records=records, events=events)
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        records.close()


async def until(condition, seconds=60):
    async with asyncio.timeout(seconds):
        while not condition():  # noqa: ASYNC110 - what is waited for happens elsewhere
            await asyncio.sleep(0.05)


async def issue(records, *forecasts):
    await asyncio.to_thread(records.save_forecasts, forecasts)


def test_a_revision_is_material_by_median_breach_or_limit_and_by_nothing_else():
    old = forecast(0)
    assert revision(forecast(1), old) is None
    assert revision(forecast(1), None) is None
    assert revision(shifted(forecast(1), 3e3), old) is None
    found = revision(shifted(forecast(1), 30e3), old)
    assert (found["reasons"], found["largest_change"]) == (["median"], 30e3)
    likely = replace(forecast(1), breach_probability=np.full(96, 0.6))
    assert revision(likely, old)["reasons"] == ["breach"]
    lower = replace(forecast(1), limit=np.full(96, 500e3))
    assert revision(lower, old)["reasons"] == ["limit"]
    late = forecast(1)
    late.values[30:] += 1e6  # beyond six hours
    assert revision(late, old) is None


async def test_a_webhook_is_signed_as_the_standard_says_and_tells_what_was_issued(tmp_path, receiver):
    async with telling(tmp_path, settings_of(receiver.url)) as told:
        await issue(told.records, forecast(0), forecast(0, object_id="FEED-A"), forecast(0, object_id="R1"))
        await until(lambda: len(receiver.came) == 2)
        await issue(told.records, shifted(forecast(1), 50e3))
        await until(lambda: len(receiver.came) == 3)
    bodies = [Webhook(SECRET).verify(body, headers) for headers, body in receiver.came]
    assert sorted(b["data"]["object_id"] for b in bodies[:2]) == ["FEED-A", "lab"]
    assert bodies[2]["type"] == "forecast.revised"
    assert bodies[2]["data"]["revision"]["reasons"] == ["median"]
    assert bodies[2]["data"]["seal"]["number"] == 2
    headers, body = receiver.came[2]
    with pytest.raises(WebhookVerificationError):
        Webhook(SECRET).verify(body.replace(b"lab", b"lob"), headers)


async def test_a_webhook_is_tried_again_under_the_same_id_until_it_is_taken(tmp_path, receiver):
    receiver.answers += [503, 500]
    async with telling(tmp_path, settings_of(receiver.url)) as told:
        await issue(told.records, forecast(0))
        await until(lambda: len(receiver.came) == 3)
        await until(lambda: told.events.webhooks.counters["webhooks_delivered"] == 1)
    assert len({headers["webhook-id"] for headers, _ in receiver.came}) == 1
    assert told.events.webhooks.counters["webhooks_postponed"] == 2


async def test_what_is_refused_for_good_is_given_up_and_the_next_is_told(tmp_path, receiver):
    receiver.answers += [410]
    async with telling(tmp_path, settings_of(receiver.url)) as told:
        await issue(told.records, forecast(0))
        await until(lambda: told.events.webhooks.counters["webhooks_failed"] == 1)
        await issue(told.records, forecast(1))
        await until(lambda: told.events.webhooks.counters["webhooks_delivered"] == 1)
    assert len(receiver.came) == 2


async def test_who_wants_revisions_only_gets_no_others(tmp_path, receiver):
    async with telling(tmp_path, settings_of(receiver.url, events=["forecast.revised"])) as told:
        await issue(told.records, forecast(0))
        await issue(told.records, forecast(1))
        await issue(told.records, shifted(forecast(2), 50e3))
        await until(lambda: receiver.came)
    (told_once,) = receiver.came
    assert json.loads(told_once[1])["type"] == "forecast.revised"


async def test_after_a_restart_what_waited_is_delivered_once(tmp_path, receiver):
    receiver.answers += [503] * 50
    async with telling(tmp_path, settings_of(receiver.url)) as told:
        await issue(told.records, forecast(0))
        await until(lambda: receiver.came)
    receiver.answers.clear()
    before = len(receiver.came)
    async with telling(tmp_path, settings_of(receiver.url)) as told:
        await until(lambda: told.events.webhooks.counters["webhooks_delivered"] == 1)
        await issue(told.records, forecast(1))
        await until(lambda: told.events.webhooks.counters["webhooks_delivered"] == 2)
    ids = [headers["webhook-id"] for headers, _ in receiver.came[before:]]
    assert len(set(ids)) == 2
    assert ids[0] == receiver.came[0][0]["webhook-id"]


def test_of_a_webhook_that_takes_nothing_so_many_messages_wait_and_they_have_an_end(tmp_path):
    from storage.push_records import Push

    records = Records(f"sqlite:///{tmp_path}/records.sqlite")
    for i in range(5):
        dropped = records.queue_pushes([Push("Grid x", f"msg_{i}", "{}", ISSUED)], 3)
    assert dropped == 1
    assert [p.event for p in records.due_pushes(ISSUED, 10)] == ["msg_2", "msg_3", "msg_4"]
    upkeep = RecordUpkeep(records, RecordRetention(), "lab")
    assert upkeep.once(ISSUED + 8 * DAY)["pushes"] == 2
    records.close()


def test_a_secret_that_is_none_is_told_at_the_start(tmp_path):
    records = Records(f"sqlite:///{tmp_path}/records.sqlite")
    settings = settings_of("http://127.0.0.1:1/hook")
    os.environ["TEST_PARTNER_SECRET"] = "whsec_&&&"
    with pytest.raises(ConfigurationError, match="Grid's webhook"):
        Events(records, settings, SITE.envelope())
    records.close()


async def lines(response):
    """Yield events as (kind, id, data); comments are left out."""
    found = {}
    async for line in response.aiter_lines():
        if line:
            name, _, value = line.partition(": ")
            found[name] = value
        else:
            if "data" in found:
                yield found["event"], found["id"], json.loads(found["data"])
            found = {}


async def test_a_stream_tells_what_is_issued_and_what_was_missed_and_ends_with_the_key(tmp_path, monkeypatch):
    monkeypatch.setattr(event_routes, "BEAT_S", 0.2)
    settings = PartnerSettings(published=("FEED-A",))
    async with telling(tmp_path, settings) as told:
        accounts = Accounts(told.records)
        key, record = await asyncio.to_thread(accounts.add_api_key, "Grid")
        app = FastAPI()
        app.include_router(
            router(told.records, accounts, SITE, Calls(), settings=settings, events=told.events)
        )
        await issue(told.records, forecast(0), forecast(0, object_id="R1"))
        async with listening(app) as url:
            headers = {"Authorization": f"Bearer {key}"}
            async with httpx.AsyncClient(base_url=url, headers=headers, timeout=60) as client:
                async with client.stream("GET", "/api/v1/events") as answer:
                    assert answer.headers["content-type"].startswith("text/event-stream")
                    events = lines(answer)
                    await until(lambda: told.events.open_streams == 1)
                    second = forecast(1)
                    await issue(told.records, second, forecast(1, object_id="R1"))
                    kind, first, data = await anext(events)
                    if data["data"]["issue_time"] != iso(second.issued):  # that before it was told only now
                        kind, first, data = await anext(events)
                    assert (kind, data["data"]["object_id"]) == ("forecast.issued", "lab")
                    await issue(told.records, shifted(forecast(2), 50e3))
                    assert (await anext(events))[0] == "forecast.revised"
                await until(lambda: told.events.open_streams == 0)
                resumed = {"Last-Event-ID": first}
                async with client.stream("GET", "/api/v1/events", headers=resumed) as answer:
                    events = lines(answer)
                    assert (await anext(events))[0] == "forecast.revised"
                    await asyncio.to_thread(accounts.revoke_api_key, record.prefix)
                    with pytest.raises(StopAsyncIteration):
                        await anext(events)


async def test_a_partner_has_so_many_streams_and_all_end_with_the_service(tmp_path, monkeypatch):
    monkeypatch.setattr(event_routes, "OF_PARTNER", 2)
    async with telling(tmp_path, PartnerSettings()) as told:
        accounts = Accounts(told.records)
        key, _ = await asyncio.to_thread(accounts.add_api_key, "Grid")
        app = FastAPI()
        app.include_router(router(told.records, accounts, SITE, Calls(), events=told.events))
        async with listening(app) as url, contextlib.AsyncExitStack() as stack:
            headers = {"Authorization": f"Bearer {key}"}
            client = await stack.enter_async_context(
                httpx.AsyncClient(base_url=url, headers=headers, timeout=60)
            )
            answers = [
                await stack.enter_async_context(client.stream("GET", "/api/v1/events")) for _ in range(2)
            ]
            await until(lambda: told.events.open_streams == 2)
            refused = await client.get("/api/v1/events")
            assert (refused.status_code, refused.headers["retry-after"]) == (429, "60")
            ended = asyncio.create_task(told.events.run())
            await asyncio.sleep(0)
            ended.cancel()
            await asyncio.gather(ended, return_exceptions=True)
            for answer in answers:
                assert "here" in (await answer.aread()).decode()
