"""The one web application: console, partner API, internal calls; and the server that it runs in."""

from __future__ import annotations

import asyncio
import contextlib
import os
import secrets
import socket
import tempfile
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import structlog
from fastapi import FastAPI

from alerts.oncall.people import OnCall
from analytics.outlook.quarters import QuartersTold
from dashboard.answer import Answering, answer_router
from dashboard.app import Console, mount
from dashboard.data import ConsoleData
from dashboard.energy import EnergyCalls, GridCalls
from domain.batch import now_ms
from domain.errors import HallwatchError
from partners.api import router as partner_router
from partners.grid.part import Grid
from partners.settings import Shows
from partners.sources import Sources
from service import internal
from service.bodies import BodyLimit
from service.contract import Contract
from service.grid_routes import notices
from service.server import WEB_SHARE, Gate, Limits, Server, configured, raise_handles
from service.settings import WebSettings
from service.system import System

BACKLOG = 256
"""Connections that the system keeps until they are accepted."""
SECRET_FILE = "session.secret"  # noqa: S105 - a file's name
TOKENS_FILE = "partner-tokens.secret"
SHORTEST_SECRET = 16

log = structlog.get_logger(__name__)


def gate(settings: WebSettings) -> Gate:
    """Return who lets connections in, by the settings and by the file handles that this process has."""
    most = min(settings.connections, int(raise_handles() * WEB_SHARE))
    return Gate(Limits(most, min(settings.connections_per_address, most)), settings.trusted_proxies)


def build(system: System, token: str, gate: Gate, note: str = "") -> tuple[FastAPI, Console]:
    """Return the application and its console, whose `run` must run beside the server."""
    app = FastAPI(docs_url=None, redoc_url=None, openapi_url=None)
    app.add_middleware(BodyLimit)

    @app.get("/healthz")
    async def healthz() -> dict[str, str]:
        return {"status": "ok"}

    web = system.configuration.settings.web
    app.include_router(
        partner_router(
            system.records,
            system.accounts,
            system.site,
            system.partner_calls,
            per_minute=web.partner_calls_per_minute,
            settings=system.configuration.settings.partners,
            secret=kept_secret(system.configuration.data, TOKENS_FILE),
            sources=Sources(
                system.plant,
                lambda: system.live.quarters.told,
                lambda: system.issuer.steps,
                system.contract.month,
                system.configuration.settings.energy,
            ),
            events=system.partner_events,
        )
    )
    app.include_router(internal.router(system, token, lambda: {**gate.stats(), **console.stats()}))
    if system.grid is not None:
        app.include_router(notices(system.grid))
    on_call = OnCall(system.configuration.alerts, system.site.zone)
    if system.links is not None:
        advice = {rule.name: rule.advice for rule in system.configuration.alerts.rules}
        answering = Answering(
            system.links,
            on_call,
            system.records,
            advice,
            system.runbooks,
            system.configuration.alerts.shelving,
            system.site.name,
        )
        app.include_router(answer_router(answering, system.answers))
    data = ConsoleData(
        system.site,
        system.registry,
        system.latest,
        system.store,
        system.records,
        system.plant,
        sources=lambda: {
            **system.source_stats(),
            "web": {**gate.stats(), **console.stats()},
            "event loop": {**system.loop_watch.stats(), **system.collections.stats()},
        },
        counters=system.ingest_counters,
        upkeep=lambda: system.live.upkeep,
        instruments=lambda: system.live.instruments,
        clocks=system.ingest.clocks.stats,
        worth=lambda: system.scorer.worth,
        on_call=on_call,
        alert_settings=system.configuration.alerts,
        newest=system.issuer.newest,
        ramps_from=system.issuer.ramps.known_from,
        watched=lambda: system.live.incidents,
        energy=system.configuration.settings.energy,
        energy_calls=energy_calls(system.contract, lambda: system.live.quarters.told, system.grid),
        note=note,
        runbooks=system.runbooks,
        partners=[c.name for c in system.configuration.settings.partners.contracts],
        scopes=[part.value for part in Shows],
    )
    secret = kept_secret(system.configuration.data)
    console = mount(app, data, system.accounts, secret, secure_cookie=web.secure_cookie)
    _make_ready(app.routes)
    return app, console


def energy_calls(
    contract: Contract, quarters: Callable[[], QuartersTold | None], grid: Grid | None
) -> EnergyCalls:
    """Return what the console asks of contract and grid: what the partner API and the commands ask too."""
    asked = None
    if grid is not None:
        desk = grid.desk
        asked = GridCalls(grid.status, grid.requests, grid.flexibility, desk.consent, desk.refuse)
    return EnergyCalls(
        lambda: contract.month(now_ms()), lambda by: contract.energy(now_ms(), by), quarters, asked
    )


def _make_ready(routes: Iterable[Any]) -> None:
    """Make the routes of included routers ready, which FastAPI does at the first request, on the event loop, in 0.1 s."""
    for route in routes:
        if hasattr(route, "effective_candidates"):
            _make_ready(route.effective_candidates())
            route.effective_low_priority_routes()


def kept_secret(folder: Path, name: str = SECRET_FILE) -> str:
    """Return the secret that signs session cookies, or another; made once, kept in the data folder for its user only."""
    path = folder / name
    if path.exists() and len(path.read_text()) < SHORTEST_SECRET:  # the write of it was cut short
        path.unlink()
    if not path.exists():
        handle, fresh = tempfile.mkstemp(dir=folder, prefix=name)  # mode 0600
        with os.fdopen(handle, "w") as file:
            file.write(secrets.token_urlsafe(48))
        with contextlib.suppress(FileExistsError):  # another process was first
            os.link(fresh, path)
        os.unlink(fresh)
    if path.stat().st_mode & 0o077:
        log.warning("others could read a secret of the console or the API; now they cannot", file=str(path))
        path.chmod(0o600)
    return path.read_text()


def listen(host: str, port: int) -> socket.socket:
    """Return a bound socket, so that the address is known and taken before anything else starts.

    Raises
    ------
    HallwatchError
        If the address cannot be had.
    """
    try:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        return socket.create_server((host, port), family=family, backlog=BACKLOG)
    except OSError as error:
        raise HallwatchError(
            f"cannot listen on {host}:{port} ({error.strerror}); choose another port, 0 for any free one"
        ) from error


async def serve(app: FastAPI, bound: socket.socket, gate: Gate) -> None:
    """Serve until cancelled, letting in whom `gate` does."""
    server = Server(configured(app, gate), bound, gate)
    task = asyncio.create_task(server.serve())
    try:
        await asyncio.shield(task)
    except asyncio.CancelledError:
        server.should_exit = True
        await task
        raise
