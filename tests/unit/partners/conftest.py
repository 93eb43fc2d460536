"""The partner API on real records, asked through its ASGI application."""

import asyncio
from types import SimpleNamespace

import httpx
import numpy as np
import pytest
from fastapi import FastAPI

from domain.forecast import QUANTILES, Forecast
from domain.site import Site
from partners.api import router
from partners.settings import PartnerSettings
from partners.usage import Calls
from storage.accounts import Accounts
from storage.records import Records

ISSUED = 1_790_000_000_000 - 1_790_000_000_000 % 900_000  # 2026-09-21T14:00:00Z


def site_forecast(issued=ISSUED, n=8, object_id="lab", quality="good"):
    start = issued + 900_000 * np.arange(n, dtype=np.int64)
    values = 500e3 + 1e3 * np.arange(n)[:, None] + 10e3 * np.array(QUANTILES)[None, :]
    limit = np.where(np.arange(n) < n - 1, 600e3, np.nan)
    breach = np.where(np.isnan(limit), np.nan, np.linspace(0.01, 0.9, n))
    return Forecast(
        object_id, "ActivePower", "W", issued, issued - 60_000, 15, start, QUANTILES, values, limit, breach,
        "PowerForecaster 1", quality,
    )  # fmt: skip


class Client:
    """Asks the application without a server between; `headers` go with every call."""

    def __init__(self, app, headers=None):
        self.app = app
        self.headers = headers or {}

    def get(self, path, **more):
        return self.call("GET", path, **more)

    def call(self, method, path, params=None, headers=None):
        async def ask():
            transport = httpx.ASGITransport(self.app)
            async with httpx.AsyncClient(transport=transport, base_url="http://api") as client:
                sent = headers if isinstance(headers, list) else {**self.headers, **(headers or {})}
                return await client.request(method, path, params=params, headers=sent)

        return asyncio.run(ask())


@pytest.fixture
def api(tmp_path):
    records = Records(f"sqlite:///{tmp_path}/records.sqlite")
    accounts = Accounts(records)
    site = Site.model_validate(
        {
            "id": "lab",
            "name": "Lab <1>",
            "timezone": "Asia/Taipei",
            "limit": 600e3,
            "installed": 700e3,
            "rack_limit": 150e3,
            "nodes": [{"id": "FEED-A", "type": "Feed", "limit": 600e3, "serves": "R001..004"}],
            "pods": [{"id": "P1", "racks": "R001..004", "row": 1}],
        }
    )
    clock = SimpleNamespace(now=ISSUED + 60_000)
    calls = Calls()
    app = FastAPI(docs_url=None, redoc_url=None, openapi_url=None)
    settings = PartnerSettings(published=("FEED-A", "R001"))
    app.include_router(router(records, accounts, site, calls, lambda: clock.now, settings=settings))
    key, record = accounts.add_api_key("Taipower")
    client = Client(app, headers={"Authorization": f"Bearer {key}"})

    def get(path="/api/v1/forecasts/power", **parameters):
        headers = parameters.pop("headers", {})
        return client.get(path, params=parameters, headers=headers)

    yield SimpleNamespace(
        records=records,
        accounts=accounts,
        clock=clock,
        calls=calls,
        client=client,
        get=get,
        key=record,
        app=app,
        site=site,
    )
    records.close()
