"""What the partner API answers: ``python -m benchmarks.partner_api [--partners 50] [--seconds 10] [--rate 500]``.

The API is served as in service, by a process of its own on one core. So many partners, each with a key and a connection of its own,
ask for the newest forecast (48 hours, 19 quantiles, JSON): whole, compressed, and with the tag of what they have (304). First
each asks as soon as the answer before is there, which tells how many answers there are in a second, and what of a core each takes; then all together ask `rate`
times a second, which tells how long one takes (from when it was due). The reference is a bare FastAPI route on the same
server that answers the same bytes, without key, limit or freshness.

Then another such process also ingests 34,560 values a second into its embedded store, in the same event loop, as the service does, on all cores: how long a
batch takes from its reading until it is stored, while all partners ask together `rate` times a second; the reference is the same with
nobody asking, taken in turns.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import multiprocessing
import os
import platform
import sys
import tempfile
import time
from collections.abc import Iterator
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import yaml
from fastapi import FastAPI, Response

from benchmarks._busy_ingest import WARM_S, BusyIngest
from domain.batch import now_ms
from domain.envelope import QUARTER_MS, quarter_start
from domain.forecast import QUANTILES, Forecast
from domain.site import Site
from partners.api import router
from partners.forecasts import as_json, select
from service import web
from service.server import Gate, Limits
from storage.accounts import Accounts
from storage.records import Records

SITE = Path(__file__).parent.parent / "config" / "site.yaml"
PATH = "/api/v1/forecasts/power"


def forecast(site: Site) -> Forecast:
    """Return a forecast of 48 hours as the service issues it."""
    issued = now_ms()
    start = quarter_start(issued) + QUARTER_MS * np.arange(192, dtype=np.int64)
    noise = np.random.default_rng(1)
    values = np.sort(noise.normal(14e6, 4e5, (192, len(QUANTILES))), axis=1)
    breach = noise.uniform(0, 0.1, 192)
    return Forecast(
        site.id, "ActivePower", "W", issued, issued, 15, start, QUANTILES, values, np.full(192, site.limit), breach,
        "PowerForecaster", "good",
    )  # fmt: skip


async def serve(pipe: Connection, partners: int, ingesting: bool) -> None:
    """Serve the API and tell where it is and with which keys, and what became of batches when asked; until told to stop."""
    with tempfile.TemporaryDirectory() as folder:
        records = Records(f"sqlite:///{folder}/records.sqlite")
        accounts = Accounts(records)
        site = Site.model_validate(yaml.safe_load(SITE.read_text(encoding="utf-8")))
        issued = forecast(site)
        records.save_forecast(issued)
        keys = [accounts.add_api_key(f"partner {i}")[0] for i in range(partners)]
        app = FastAPI(docs_url=None, redoc_url=None, openapi_url=None)
        app.include_router(router(records, accounts, site, per_minute=10_000_000))
        content = as_json(select(issued, issued.issued, (), None, None))

        @app.get("/bare")
        async def bare() -> Response:
            return Response(content, media_type="application/json")

        bound = web.listen("127.0.0.1", 0)
        serving = asyncio.create_task(web.serve(app, bound, Gate(Limits())))
        parts = [serving]
        busy = BusyIngest(Path(folder) / "telemetry") if ingesting else None
        if busy is not None:
            parts.append(asyncio.create_task(busy.run()))
        pipe.send((bound.getsockname()[1], keys))
        while (asked := await asyncio.to_thread(pipe.recv)) is not None:
            pipe.send([] if busy is None else busy.between(*asked))
        for part in parts:
            part.cancel()
        await asyncio.gather(*parts, return_exceptions=True)
        records.close()


def run_server(pipe: Connection, partners: int, ingesting: bool) -> None:
    if not ingesting and hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    asyncio.run(serve(pipe, partners, ingesting))


@contextlib.contextmanager
def server(partners: int, ingesting: bool = False) -> Iterator[tuple[Connection, int, int, list[str]]]:
    """Serve in a process of its own; yield the pipe to it, its id, its port and the keys."""
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=run_server, args=(theirs, partners, ingesting))
    process.start()
    port, keys = ours.recv()
    try:
        yield ours, process.pid or 0, port, keys
    finally:
        ours.send(None)
        process.join()


def beside_ingest(partners: int, seconds: float, rate: float, turns: int) -> dict[str, Any]:
    """Return how long batches take until they are stored, with and without the partners, in turns."""
    with server(partners, ingesting=True) as (pipe, _, port, keys):
        known = [{"Authorization": f"Bearer {key}"} for key in keys]
        time.sleep(WARM_S)
        asyncio.run(ask(port, PATH, known, 1.0, rate))
        spans: dict[bool, list[tuple[float, float]]] = {True: [], False: []}
        for asking in [False, True] * turns:
            began = time.monotonic()
            if asking:
                asyncio.run(ask(port, PATH, known, seconds, rate))
            else:
                time.sleep(seconds)
            spans[asking].append((began, time.monotonic()))
        time.sleep(1.0)  # the last batches are stored
        took = {
            asking: [1000 * t for span in told for t in _asked(pipe, span)] for asking, told in spans.items()
        }
    figures = {}
    for name, share in (("median", 0.5), ("p99", 0.99)):
        beside, alone = (float(np.quantile(took[asking], share)) for asking in (True, False))
        figures[f"stored_{name}_ms"] = _figure(beside, "ms", alone)
    return figures


def _asked(pipe: Connection, span: tuple[float, float]) -> list[float]:
    pipe.send(span)
    told: list[float] = pipe.recv()
    return told


async def ask(
    port: int, path: str, headers: list[dict[str, str]], seconds: float, rate: float = 0.0
) -> list[float]:
    """Return how long each answer took, s; one connection for each of `headers`, `rate` questions a second in all if named."""
    began = time.monotonic() + 0.1
    took: list[float] = []

    async def one(number: int) -> None:
        head = "".join(f"{k}: {v}\r\n" for k, v in {"Host": "localhost", **headers[number]}.items())
        request = f"GET {path} HTTP/1.1\r\n{head}\r\n".encode()
        reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=1 << 20)
        every = len(headers) / rate if rate else 0.0
        due = began + every * number / len(headers)
        while due < began + seconds:
            if rate:
                await asyncio.sleep(max(0.0, due - time.monotonic()))
            else:
                due = time.monotonic()
            writer.write(request)
            answer = await reader.readuntil(b"\r\n\r\n")
            status = int(answer[9:12])
            if status == 200:
                lengths = (
                    line for line in answer.lower().split(b"\r\n") if line.startswith(b"content-length")
                )
                await reader.readexactly(int(next(lengths).split(b":")[1]))
            elif status != 304:
                raise RuntimeError(f"answered {status}")
            took.append(time.monotonic() - due)
            due += every
        writer.close()

    await asyncio.gather(*(one(i) for i in range(len(headers))))
    return took


async def tag(port: int, headers: dict[str, str]) -> str:
    """Return the tag of the newest forecast."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    head = "".join(f"{k}: {v}\r\n" for k, v in {"Host": "localhost", **headers}.items())
    writer.write(f"GET {PATH} HTTP/1.1\r\n{head}\r\n".encode())
    answer = (await reader.readuntil(b"\r\n\r\n")).decode()
    writer.close()
    return next(line for line in answer.split("\r\n") if line.lower().startswith("etag")).split(": ")[1]


def measure(partners: int, seconds: float, rate: float) -> dict[str, Any]:
    with server(partners) as (_, process, port, keys):
        if hasattr(os, "sched_setaffinity") and len(os.sched_getaffinity(0)) > 1:
            os.sched_setaffinity(0, os.sched_getaffinity(0) - {min(os.sched_getaffinity(0))})
        return answered(process, port, keys, seconds, rate)


def answered(process: int, port: int, keys: list[str], seconds: float, rate: float) -> dict[str, Any]:
    """Return how many answers there are in a second, what of a core each takes, and how long."""
    known = [{"Authorization": f"Bearer {key}"} for key in keys]
    told = asyncio.run(tag(port, known[0]))
    cases: dict[str, tuple[str, list[dict[str, str]]]] = {
        "bare": ("/bare", [{} for _ in keys]),
        "200": (PATH, known),
        "gzip": (PATH, [of | {"Accept-Encoding": "gzip"} for of in known]),
        "304": (PATH, [of | {"If-None-Match": told} for of in known]),
    }
    watched = psutil.Process(process)

    def spent() -> float:
        times = watched.cpu_times()
        return float(times.user + times.system)

    found, paced, cost = {}, {}, {}
    for name, (path, headers) in cases.items():
        asyncio.run(ask(port, path, headers, 1.0))
        before, began = spent(), time.monotonic()
        answers = len(asyncio.run(ask(port, path, headers, seconds)))
        found[name] = answers / (time.monotonic() - began)
        cost[name] = 1000 * (spent() - before) / answers
        took = np.array(asyncio.run(ask(port, path, headers, seconds, rate)))
        paced[name] = 1000 * float(np.quantile(took, 0.99))
    figures = {}
    for name in ("200", "gzip", "304"):
        figures[f"answers_{name}_per_s"] = _figure(found[name], "1/s", found["bare"])
        figures[f"answers_{name}_core_ms"] = _figure(cost[name], "ms", cost["bare"])
        figures[f"answers_{name}_p99_ms"] = _figure(paced[name], "ms", paced["bare"])
    return figures


def _figure(value: float, unit: str, reference: float) -> dict[str, Any]:
    return {"value": value, "unit": unit, "reference": reference, "ratio": value / reference}


def main() -> None:
    parser = argparse.ArgumentParser(prog="hallwatch bench partner_api", description=__doc__)
    parser.add_argument("--partners", type=int, default=50)
    parser.add_argument("--seconds", type=float, default=10.0, help="length of each measurement")
    parser.add_argument("--rate", type=float, default=500.0, help="questions a second, of all together")
    parser.add_argument(
        "--turns", type=int, default=3, help="of ingest alone and beside the partners; 0: none"
    )
    options = parser.parse_args()
    figures = {}
    if options.turns:
        figures = beside_ingest(options.partners, options.seconds, options.rate, options.turns)
    figures = measure(options.partners, options.seconds, options.rate) | figures
    machine = {"cpus": os.cpu_count(), "python": platform.python_version(), "load": os.getloadavg()[0]}
    json.dump({"name": "partner_api", "machine": machine, "figures": figures}, sys.stdout, indent=1)
    print()


if __name__ == "__main__":
    main()
