"""The console as it runs: real store, real ingest, real web server, fed with a plant's readings."""

from __future__ import annotations

import asyncio
import dataclasses
import socket
import threading
from pathlib import Path
from typing import Any

import uvicorn
from fastapi import FastAPI

from analytics.contract.tariff import Tariff
from analytics.flexibility.settings import FlexibilitySettings, JobClass
from analytics.outlook.quarters import QuarterWatch
from benchmarks._server_process import free_port
from dashboard.app import Console, mount
from dashboard.data import ConsoleData
from domain.batch import Batch, now_ms
from domain.forecast import Forecast
from domain.points import PointRegistry
from domain.role import Role
from domain.site import Site
from partners.grid.part import Grid
from partners.grid.settings import GridSettings
from partners.settings import Shows
from service.configuration import SHIPPED, load
from service.contract import Contract
from service.web import energy_calls
from storage.accounts import Accounts
from storage.ingest import Ingest
from storage.open import open_store
from storage.plant import PlantView
from storage.records import Records
from storage.settings import StorageSettings
from tests.system.console_plant import Plant

USER, PASSWORD = "anna", "night-shift-1"
FLEXIBLE = FlexibilitySettings(
    classes=(JobClass(name="batch", jobs=("*",), sheds=0.5, within=60),), unbooked="batch"
)
ADMINISTRATOR = "root"
"""Has the same password."""
SECRET = "only for tests, and long enough"


class LiveConsole:
    """Runs the console in a thread of its own until the context ends.

    `plant.change` changes what is measured from the next tick on; `feeding` cleared stops the readings; `stop_web` and
    `start_web` take the web server away and bring it back on the same port.
    """

    def __init__(
        self, folder: Path, site: Site, *, gpus: bool = True, tick_s: float = 0.5, note: str = ""
    ) -> None:
        self.site = site
        self.registry = PointRegistry()
        settings = StorageSettings(path=folder)
        self.store = open_store(settings, self.registry)
        self.ingest = Ingest.open(settings, self.registry, self.store)
        self.records = Records(f"sqlite:///{folder}/records.sqlite")
        self.accounts = Accounts(self.records)
        self.accounts.add_user(USER, PASSWORD)
        self.accounts.add_user(ADMINISTRATOR, PASSWORD, Role.ADMINISTRATOR)
        self.plant = Plant(site, self.registry, gpus)
        view = PlantView(site, self.registry, self.ingest.latest, self.store)
        self.sources: dict[str, dict[str, Any]] = {"mqtt:bms": {"connected": True, "messages": 0}}
        self.newest: dict[str, Forecast] = {}
        self.tariff = load(SHIPPED / "examples" / "tariffs" / "taiwan-illustrative.yaml", Tariff)
        self.quarters = QuarterWatch(view, 1000)
        grid = GridSettings(consent="always", flexibility=FLEXIBLE)
        self.grid = Grid(
            grid, view, self.records, self.registry, self.ingest.accept, 60_000, lambda _a, _b: 0.0, folder
        )
        calls = energy_calls(Contract(view, self.records, self.tariff), lambda: self.quarters.told, self.grid)
        self.data = ConsoleData(
            site,
            self.registry,
            self.ingest.latest,
            self.store,
            self.records,
            view,
            sources=lambda: self.sources,
            counters=lambda: dataclasses.asdict(self.ingest.counters),
            note=note,
            clocks=self.ingest.clocks.stats,
            newest=lambda: self.newest,
            partners=["taipower"],
            scopes=[part.value for part in Shows],
            energy_calls=calls,
        )
        self.feeding = threading.Event()
        self.feeding.set()
        self._tick = tick_s
        self._started = threading.Event()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run, name="console", daemon=True)
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"

    def __enter__(self) -> LiveConsole:
        self._thread.start()
        assert self._started.wait(60), "the console did not start"
        return self

    def __exit__(self, *exc: object) -> None:
        if not self._web[0].done():
            self.stop_web()
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(60)
        self.store.close()
        self.records.close()

    def accept(self, batch: Batch) -> None:
        """Put readings through the ingest, from any thread."""
        asyncio.run_coroutine_threadsafe(self.ingest.accept(batch), self._loop).result(60)

    def stop_web(self) -> None:
        """Take the web server down; viewers lose their connection."""
        asyncio.run_coroutine_threadsafe(self._stop_web(), self._loop).result(60)

    def start_web(self) -> None:
        """Bring the web server back on the same port."""
        asyncio.run_coroutine_threadsafe(self._start_web(), self._loop).result(60)

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        self._loop.run_until_complete(self._main())
        self._loop.close()

    async def _main(self) -> None:
        self._stop = asyncio.Event()
        await self.ingest.accept(self.plant.batch(now_ms()))
        async with asyncio.TaskGroup() as group:
            parts = [group.create_task(self.ingest.run()), group.create_task(self._feed())]
            parts.append(group.create_task(self.grid.run()))
            await self._start_web()
            self._started.set()
            await self._stop.wait()
            for part in parts:
                part.cancel()
        await self.ingest.close()

    async def _feed(self) -> None:
        tick = 0
        while True:
            if self.feeding.is_set():
                quick = (
                    frozenset() if tick % 10 == 0 else frozenset({"PowerMeter", "Rack", "CDU", "UPS", "Site"})
                )
                await self.ingest.accept(self.plant.batch(now_ms(), quick))
                await asyncio.to_thread(self.quarters.look, now_ms())
            tick += 1
            await asyncio.sleep(self._tick)

    async def _start_web(self) -> None:
        app = FastAPI(docs_url=None, redoc_url=None, openapi_url=None)

        @app.get("/healthz")
        async def healthz() -> dict[str, str]:
            return {"status": "ok"}

        @app.get("/api/v1/there")
        async def there() -> dict[str, str]:
            return {"api": "reached"}

        self.console: Console = mount(app, self.data, self.accounts, SECRET)
        # bound here, so that a browser may come before the server is ready
        listening = socket.create_server(("127.0.0.1", self.port))
        self._server = uvicorn.Server(uvicorn.Config(app, log_level="error", timeout_graceful_shutdown=1))
        self._web = [
            asyncio.create_task(self._server.serve([listening])),
            asyncio.create_task(self.console.run()),
        ]

    async def _stop_web(self) -> None:
        serving, looking = self._web
        self._server.should_exit = True
        await serving
        looking.cancel()
        await asyncio.gather(looking, return_exceptions=True)
