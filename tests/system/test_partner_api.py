"""The partner API behind a real server, asked the way a partner asks."""

import asyncio
import contextlib
import socket

import httpx
import pytest
import uvicorn
from fastapi import FastAPI

from domain.site import Site
from partners.api import router
from partners.usage import Calls
from service.configuration import SHIPPED, load
from storage.accounts import Accounts
from storage.records import Records
from tests.unit.partners.conftest import ISSUED, site_forecast


@pytest.fixture
async def served(tmp_path):
    records = Records(f"sqlite:///{tmp_path}/records.sqlite")
    accounts = Accounts(records)
    calls = Calls()
    app = FastAPI(docs_url=None, redoc_url=None, openapi_url=None)
    app.include_router(router(records, accounts, load(SHIPPED / "site.yaml", Site), calls))
    listening = socket.create_server(("127.0.0.1", 0))
    server = uvicorn.Server(uvicorn.Config(app, log_level="error", lifespan="off"))
    server.capture_signals = contextlib.nullcontext
    task = asyncio.create_task(server.serve([listening]))
    key, _ = accounts.add_api_key("Taipower")
    async with httpx.AsyncClient(
        base_url=f"http://127.0.0.1:{listening.getsockname()[1]}/api/v1",
        headers={"Authorization": f"Bearer {key}"},
        timeout=60,
    ) as client:
        yield client, records, calls
    server.should_exit = True
    await task
    records.close()


async def test_a_partner_reads_json_then_csv_then_asks_only_for_news(served):
    client, records, calls = served
    assert (await client.get("/forecasts/power")).status_code == 503
    await asyncio.to_thread(records.save_forecast, site_forecast(object_id="taipei-1", n=192))
    answer = await client.get("/forecasts/power")
    assert answer.status_code == 200
    assert len(answer.json()["intervals"]) == 192
    table = await client.get("/forecasts/power", headers={"Accept": "text/csv"})
    assert len(table.text.splitlines()) == 193
    news = await client.get("/forecasts/power", headers={"If-None-Match": answer.headers["etag"]})
    assert news.status_code == 304
    await asyncio.to_thread(
        records.save_forecast, site_forecast(ISSUED + 900_000, object_id="taipei-1", n=192)
    )
    news = await client.get("/forecasts/power", headers={"If-None-Match": answer.headers["etag"]})
    assert news.status_code == 200
    assert calls.stats()["calls"] == 5


async def test_many_calls_at_once_are_all_answered_alike(served):
    client, records, calls = served
    await asyncio.to_thread(records.save_forecast, site_forecast(object_id="taipei-1", n=192))
    answers = await asyncio.gather(*(client.get("/forecasts/power") for _ in range(40)))
    assert {a.status_code for a in answers} == {200}
    assert len({a.content for a in answers}) == 1
    assert calls.stats()["status_200"] == 40


async def test_specification_and_page_need_no_key(served):
    client, _, _ = served
    del client.headers["Authorization"]
    assert (await client.get("/openapi.json")).json()["info"]["title"].startswith("Taipei AI Factory 1")
    assert (await client.get("/docs")).status_code == 200
