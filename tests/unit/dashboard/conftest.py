"""A plant's readings in a real store, for what the console makes of them."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest
from pwdlib import PasswordHash
from pwdlib.hashers.argon2 import Argon2Hasher

from dashboard.data import ConsoleData
from dashboard.threads import background_done
from domain.points import PointRegistry
from storage.ingest import Ingest
from storage.open import open_store
from storage.plant import PlantView
from storage.records import Records
from storage.settings import StorageSettings
from tests.system.console_plant import Plant, demo_site

NOW = 1_790_000_000_000 + 4 * 60_000  # four minutes into a quarter hour


class Hall:
    """Two pods, their readings in DuckDB, and a clock that the test moves."""

    def __init__(self, folder, gpus: bool = True) -> None:
        self.now = NOW
        self._loop = asyncio.new_event_loop()
        self.site = demo_site(pods=2)
        self.registry = PointRegistry()
        settings = StorageSettings(path=folder)
        self.store = open_store(settings, self.registry)
        self.ingest = Ingest.open(settings, self.registry, self.store)
        self.ingest._clock = lambda: self.now
        self.records = Records(f"sqlite:///{folder}/records.sqlite")
        self.plant = Plant(self.site, self.registry, gpus)
        self.sources = {}
        self.upkeep: list[dict] = []
        self.instruments: list[dict] = []
        self.clocks: dict = {}
        self.worth: list[dict] = []
        self.newest: dict = {}
        self.ramps_from = 0
        self.watched: list[dict] = []
        view = PlantView(self.site, self.registry, self.ingest.latest, self.store)
        self.data = ConsoleData(
            self.site,
            self.registry,
            self.ingest.latest,
            self.store,
            self.records,
            view,
            sources=lambda: self.sources,
            clock=lambda: self.now,
            upkeep=lambda: self.upkeep,
            instruments=lambda: self.instruments,
            clocks=lambda: self.clocks,
            worth=lambda: self.worth,
            newest=lambda: self.newest,
            ramps_from=lambda _: self.ramps_from,
            watched=lambda: self.watched,
        )

    def tick(self, at: int | None = None) -> None:
        """Measure the whole plant once."""
        self.accept(self.plant.batch(self.now if at is None else at))

    def accept(self, *batches) -> None:
        for batch in batches:
            self._loop.run_until_complete(self.ingest.accept(batch))

    def close(self) -> None:
        background_done()
        self._loop.run_until_complete(self.ingest.close())
        self._loop.close()
        self.store.close()
        self.records.close()


@pytest.fixture
def hall(tmp_path) -> Iterator[Hall]:
    made = Hall(tmp_path)
    yield made
    made.close()


@pytest.fixture
def bare(tmp_path) -> Iterator[Hall]:
    """The same without its GPUs, which most pages do not look at."""
    made = Hall(tmp_path, gpus=False)
    yield made
    made.close()


@pytest.fixture
def quick(monkeypatch):
    """Passwords that cost little: their cost is not what is tested here."""
    hashes = PasswordHash((Argon2Hasher(time_cost=1, memory_cost=64, parallelism=1),))
    monkeypatch.setattr("storage.accounts.PasswordHash", lambda *_: hashes)
