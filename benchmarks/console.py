"""What the console costs: ``python -m benchmarks.console [--viewers 10] [--seconds 30]``.

A full-size hall (96 racks, 6,912 GPUs) changes every two seconds; viewers in a process of their own watch the overview
over real websockets, as browsers do. Measured are the service process's share of a core and the bytes that reach a
viewer. The reference is the simple way: every viewer has its own snapshot built each second and is sent all of it (the
building and serialising alone, without the web server that would carry it).
"""

from __future__ import annotations

import argparse
import asyncio
import json
import multiprocessing
import os
import platform
import sys
import time
from multiprocessing.connection import Connection
from typing import Any

import httpx
import orjson
from websockets.asyncio.client import connect

from benchmarks._console_hall import PASSWORD, PEOPLE, USER, Hall, hall_served
from dashboard.auth import COOKIE
from dashboard.registry import section, sections_of

WINDOWS = 15
"""How many windows each person has: they may have 20."""


def watch(url: str, viewers: int, seconds: float, result: Connection) -> None:
    """Be so many browser windows; tell bytes and frames."""
    cookies = []
    for person in range(-(-viewers // WINDOWS)):
        with httpx.Client(base_url=url, timeout=60) as client:
            client.post("/login", data={"name": f"{USER}{person}", "password": PASSWORD})
            cookies.append(client.cookies[COOKIE])
    with httpx.Client(base_url=url, cookies={COOKIE: cookies[0]}, timeout=60) as client:
        live = next(c["output"] for c in client.get("/_dash-dependencies").json() if c.get("websocket"))
    asked = {"output": live, "outputs": [], "inputs": [], "state": [], "changedPropIds": []}
    result.send(asyncio.run(_watch(url, viewers, seconds, asked, cookies)))


async def _watch(
    url: str, viewers: int, seconds: float, asked: dict[str, Any], cookies: list[str]
) -> tuple[float, float]:
    """Return the bytes and the frames that a window is sent in a second."""
    received, told = 0, 0

    async def window(cookie: str) -> None:
        nonlocal received, told
        address = url.replace("http", "ws") + "/_dash-ws-callback"
        options: dict[str, Any] = {
            "origin": url,
            "additional_headers": {"Cookie": f"{COOKIE}={cookie}"},
            "compression": None,
        }
        async with connect(address, **options) as socket:
            request = {"type": "callback_request", "rendererId": "w", "requestId": "1", "payload": asked}
            await socket.send(json.dumps(request))
            async for text in socket:
                received += len(text)
                messages = json.loads(text)
                for message in messages if isinstance(messages, list) else [messages]:
                    if message["type"] == "get_props_request":
                        where = {"pathname": "/", "href": f"{url}/"}
                        answer = {"type": "get_props_response", "requestId": message["requestId"]}
                        await socket.send(json.dumps(answer | {"rendererId": "w", "payload": where}))
                    else:
                        told += message.get("payload", {}).get("componentId") == "live-header"

    began = time.monotonic()
    windows = [asyncio.create_task(window(cookies[n // WINDOWS])) for n in range(viewers)]
    await asyncio.wait(windows, timeout=seconds)
    took = time.monotonic() - began
    for one in windows:
        one.cancel()
    await asyncio.gather(*windows, return_exceptions=True)
    return received / took / viewers, told / took / viewers


async def measure(viewers: int, seconds: float) -> dict[str, Any]:
    async with hall_served() as (url, hall):
        idle = await _share(seconds / 2)
        one = await _watched(url, 1, seconds)
        many = await _watched(url, viewers, seconds)
        simple = await asyncio.to_thread(_simple, hall)
    return {
        "core_share_idle": _figure(idle, "cores"),
        "core_share_one_viewer": _figure(one[0], "cores"),
        f"core_share_{viewers}_viewers": _figure(many[0], "cores", viewers * simple["cpu"]),
        "bytes_per_viewer_and_second": _figure(many[1], "By/s", simple["bytes"]),
        "frames_per_viewer_and_second": _figure(many[2], "1/s"),
    }


async def _share(seconds: float) -> float:
    cpu, began = time.process_time(), time.monotonic()
    await asyncio.sleep(seconds)
    return (time.process_time() - cpu) / (time.monotonic() - began)


async def _watched(url: str, viewers: int, seconds: float) -> tuple[float, float, float]:
    """Return the share of a core while so many watch, and bytes and frames per viewer and second."""
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=watch, args=(url, viewers, seconds + 8, theirs))
    process.start()
    await asyncio.sleep(6)  # logins and first frames are no steady state
    share = await _share(seconds)
    size, rate = await asyncio.to_thread(ours.recv)
    await asyncio.to_thread(process.join)
    return share, size, rate


def _simple(hall: Hall) -> dict[str, float]:
    """Return CPU seconds and bytes of one viewer's second, when everything is built and sent for each viewer."""
    names = sections_of("/", hall.data)
    cpu, sent, rounds = time.thread_time(), 0, 10
    for _ in range(rounds):
        for name in names:
            sent += len(orjson.dumps(section(hall.data, name)))
    return {"cpu": (time.thread_time() - cpu) / rounds, "bytes": sent / rounds}


def _figure(value: float, unit: str, reference: float | None = None) -> dict[str, Any]:
    return {
        "value": value,
        "unit": unit,
        "reference": reference,
        "ratio": value / reference if reference else None,
    }


def main() -> None:
    parser = argparse.ArgumentParser(prog="hallwatch bench console", description=__doc__)
    parser.add_argument("--viewers", type=int, default=10, help=f"{PEOPLE * WINDOWS} at most")
    parser.add_argument("--seconds", type=float, default=30.0, help="length of each measurement")
    options = parser.parse_args()
    figures = asyncio.run(measure(options.viewers, options.seconds))
    machine = {"cpus": os.cpu_count(), "python": platform.python_version(), "load": os.getloadavg()[0]}
    json.dump({"name": "console", "machine": machine, "figures": figures}, sys.stdout, indent=1)
    print()


if __name__ == "__main__":
    main()
