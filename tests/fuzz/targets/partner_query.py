"""The partner API's parameters and conditional headers: one line each, as a caller sends them."""

import asyncio
import functools
import tempfile
from types import SimpleNamespace

import numpy as np
from fastapi import FastAPI

from domain.forecast import QUANTILES, Forecast
from domain.site import Site
from partners.api import router
from storage.accounts import Accounts
from storage.records import Records

NAMES = ("if-none-match", "if-modified-since", "accept")


@functools.cache
def _api() -> SimpleNamespace:
    folder = tempfile.TemporaryDirectory()
    records = Records(f"sqlite:///{folder.name}/records.sqlite")
    accounts = Accounts(records)
    site = Site.model_validate(
        {
            "id": "lab",
            "name": "Lab",
            "timezone": "UTC",
            "limit": 6e5,
            "installed": 7e5,
            "rack_limit": 1.5e5,
            "pods": [{"id": "P1", "racks": "R001..004", "row": 1}],
        }
    )
    start = 1_790_000_000_000 + 900_000 * np.arange(4, dtype=np.int64)
    values = np.sort(np.random.default_rng(1).normal(5e5, 1e4, (4, len(QUANTILES))), axis=1)
    records.save_forecast(
        Forecast(
            "lab", "ActivePower", "W", int(start[0]), int(start[0]), 15, start, QUANTILES, values,
            np.full(4, 6e5), np.full(4, 0.1), "model", "good",
        )
    )  # fmt: skip
    app = FastAPI()
    app.include_router(router(records, accounts, site, per_minute=10_000_000))
    return SimpleNamespace(
        app=app, key=accounts.add_api_key("fuzz")[0], folder=folder, loop=asyncio.new_event_loop()
    )


def fuzz(data: bytes) -> None:
    api = _api()
    query, *rest = data.split(b"\n")
    headers = [(b"authorization", f"Bearer {api.key}".encode())]
    headers += [(name.encode(), value) for name, value in zip(NAMES, rest, strict=False)]
    assert api.loop.run_until_complete(_ask(api.app, query, headers)) in (200, 304, 400, 404, 406)
    assert api.loop.run_until_complete(_ask(api.app, b"quantiles=0.5", headers[:1])) == 200


async def _ask(app: FastAPI, query: bytes, headers: list[tuple[bytes, bytes]]) -> int:
    told = []

    async def receive() -> dict[str, object]:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: dict[str, object]) -> None:
        told.append(message)

    path = "/api/v1/forecasts/power"
    scope = {
        "type": "http", "method": "GET", "path": path, "raw_path": path.encode(), "query_string": query,
        "headers": headers, "http_version": "1.1", "scheme": "http", "client": ("192.0.2.1", 1),
        "server": ("hall", 80), "root_path": "", "asgi": {"version": "3.0"}, "extensions": {}, "state": {},
    }  # fmt: skip
    await app(scope, receive, send)
    return told[0]["status"]
