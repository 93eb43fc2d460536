"""The console behind nginx, configured as the manual says: who a client is, and that nobody can claim to be another."""

import asyncio
import os
import re
from pathlib import Path

import httpx
import pytest
from fastapi import FastAPI
from websockets.asyncio.client import connect

from benchmarks._server_process import ServerProcess, free_port, listening
from dashboard.app import mount
from dashboard.auth import COOKIE
from service import web
from service.server import Gate, Limits
from storage.accounts import Accounts
from storage.records import Records
from tests.unit.dashboard.conftest import Hall

pytestmark = pytest.mark.server("nginx")

MANUAL = Path(__file__).parents[2] / "docs" / "how-to" / "reverse-proxy.md"
MAIN = """
daemon off;
{user}worker_processes 1;
pid {folder}/nginx.pid;
error_log {folder}/nginx-error.log warn;
events {{ worker_connections 256; }}
http {{
  access_log off;
  client_body_temp_path {folder}/tmp-body;
  proxy_temp_path {folder}/tmp-proxy;
  fastcgi_temp_path {folder}/tmp-fastcgi;
  uwsgi_temp_path {folder}/tmp-uwsgi;
  scgi_temp_path {folder}/tmp-scgi;
  {map}
  {server}
}}
"""


def nginx(folder: Path, behind: int) -> tuple[ServerProcess, int]:
    """Return nginx with the manual's configuration, without TLS."""
    folder.mkdir()
    text = MANUAL.read_text()
    server = re.search(r"```nginx\n(.*?)```", text, re.DOTALL)[1]
    mapped = re.search(r"`(map \$http_upgrade .*?\})`", text)[1]
    port = free_port()
    server = re.sub(r"ssl_certificate.*\n", "", server).replace("443 ssl", f"127.0.0.1:{port}")
    server = server.replace("127.0.0.1:8050", f"127.0.0.1:{behind}")
    user = "user root;\n" if os.geteuid() == 0 else ""
    (folder / "nginx.conf").write_text(MAIN.format(folder=folder, user=user, map=mapped, server=server))
    command = ["nginx", "-e", str(folder / "nginx-error.log"), "-c", str(folder / "nginx.conf")]
    return ServerProcess(command, folder, lambda: listening(port)), port


@pytest.fixture
async def proxied(tmp_path):
    hall = await asyncio.to_thread(Hall, tmp_path)
    accounts = Accounts(hall.records)
    accounts.add_user("anna", "night-shift-1")
    app = FastAPI()
    mount(app, hall.data, accounts, "only for tests, and long enough")
    bound = web.listen("127.0.0.1", 0)
    serving = asyncio.create_task(web.serve(app, bound, Gate(Limits(), ("127.0.0.1",))))
    process, port = nginx(tmp_path / "nginx", bound.getsockname()[1])
    await asyncio.to_thread(process.start)
    yield f"http://127.0.0.1:{port}", f"http://127.0.0.1:{bound.getsockname()[1]}", hall.records
    await asyncio.to_thread(process.stop)
    serving.cancel()
    await asyncio.gather(serving, return_exceptions=True)
    bound.close()
    await asyncio.to_thread(hall.close)


def addresses(records: Records) -> list[str]:
    return [e.detail for e in reversed(records.audit_trail()) if e.what == "logged in"]


async def test_the_proxy_tells_who_the_client_is_and_a_client_tells_nothing(proxied):
    url, _, records = proxied
    form = {"name": "anna", "password": "night-shift-1"}
    # nginx speaks for whoever connects to it: here that is 127.0.0.2
    transport = httpx.AsyncHTTPTransport(local_address="127.0.0.2")
    async with httpx.AsyncClient(base_url=url, transport=transport, timeout=60) as client:
        assert (await client.post("/login", data=form)).status_code == 303
        forged = {"x-forwarded-for": "198.51.100.66"}
        assert (await client.post("/login", data=form, headers=forged)).status_code == 303
    assert addresses(records) == ["from 127.0.0.2", "from 127.0.0.2"]


async def test_the_websocket_comes_through_and_other_origins_do_not(proxied):
    url, _, _ = proxied
    async with httpx.AsyncClient(base_url=url, timeout=60) as client:
        origin = {"origin": url}
        answer = await client.post(
            "/login", data={"name": "anna", "password": "night-shift-1"}, headers=origin
        )
        assert answer.status_code == 303
        assert (await client.post("/login", headers={"origin": "http://evil.test"})).status_code == 403
        cookie = {"Cookie": f"{COOKIE}={client.cookies[COOKIE]}"}
    address = url.replace("http", "ws") + "/_dash-ws-callback"
    async with connect(address, origin=url, additional_headers=cookie) as socket:
        await socket.send('{"type": "heartbeat"}')
        assert "heartbeat_ack" in await asyncio.wait_for(socket.recv(), 60)
