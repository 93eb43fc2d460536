"""Pages of the running engine, with the plant's readings behind them: where, what hangs on it, how it went, what to do."""

import asyncio
import contextlib
import re
import threading

import numpy as np
import pytest

from alerts.engine import AlertEngine
from alerts.notify.build import build_notifiers
from alerts.settings import AlertSettings, Route
from alerts.view import View
from domain.batch import Batch, now_ms
from domain.points import Point, PointRegistry
from domain.site import Site
from service.configuration import load
from storage.latest import LatestValues
from storage.open import open_store
from storage.plant import PlantView
from storage.records import Records
from storage.settings import StorageSettings
from tests.contract.notify_receivers import HookReceiver, MailReceiver
from tests.system.test_alert_delivery import ROOT, until


class Plant:
    """A rack whose coolant gets warm, an hour of it in a real store, the shipped rules on the demo's site."""

    def __init__(self, folder, **channels):
        self.site = load(ROOT / "config/site.yaml", Site)
        shipped = load(ROOT / "config/alerts.yaml", AlertSettings).model_dump(by_alias=True)
        for rule in shipped["rules"]:
            rule["for"] = 0.0
        routes = [Route(severities=("critical", "high"), channels=tuple(channels))]
        more = {
            "interval": 0.05,
            "channels": channels,
            "routes": routes,
            "console_url": "https://console.example",
        }
        self.settings = AlertSettings.model_validate(shipped | more)
        self.registry = PointRegistry()
        self.latest = LatestValues(self.registry)
        self.store = open_store(StorageSettings(path=folder), self.registry)
        self.records = Records(f"sqlite:///{folder}/records.sqlite")

        def point(point_type, unit):
            key = f"Rack/{point_type}/R017"
            return self.registry.register(Point(key, "Rack", point_type, "R017", unit=unit, source="dsx:bms"))

        self.supply = point("RackLiquidSupplyTemperature", "Cel")
        self.left = point("TimeToLimitWithoutFlow", "s")
        self.store.save_points(list(enumerate(self.registry)))

    def warm(self, now):
        for minute, value in enumerate(np.linspace(33.0, 41.5, 60)):
            self.store.write(Batch.of([self.supply], now - (60 - minute) * 60_000, [float(value)]))
        self.now_at(41.5)

    def now_at(self, value):
        self.latest.update(Batch.of([self.supply, self.left], now_ms(), [value, 95.0]))

    @contextlib.asynccontextmanager
    async def engine(self):
        view = View(PlantView(self.site, self.registry, self.latest, self.store), self.records)
        notifiers = build_notifiers(self.settings.channels)
        task = asyncio.create_task(AlertEngine(self.settings, view, self.records, notifiers).run())
        try:
            yield
        finally:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task
            self.records.close()
            self.store.close()


@pytest.fixture
async def plant(tmp_path):
    async with MailReceiver().serve() as mail, HookReceiver().serve() as hook:
        patient = {"timeout": "30 s"}
        plant = Plant(tmp_path, mail=mail.settings() | patient, hook=hook.settings() | patient)
        plant.box, plant.hook = mail, hook
        yield plant


async def test_a_page_of_the_running_engine_says_all_of_it(plant, monkeypatch):
    monkeypatch.setattr("alerts.notify.smtp.DRAWING_S", 60.0)  # on a busy machine, too
    monkeypatch.setattr("alerts.composing.TREND_S", 60.0)
    plant.warm(now_ms())
    async with plant.engine():
        await until(lambda: plant.box.got, 60)
    (mail,) = plant.box.got
    text = plant.box.texts()[0]
    for part in (
        "R017: coolant temperature into a rack is 41.5 °C, limit 40.0 °C",
        "Where: pod P03, row 2, position 1",
        "loop P03-CDU1, P03-CDU2",
        "if coolant stops, a limit is passed in 95 s",
        "Behind it: 1 rack, 72 GPUs",
        "What to do first: Check the pod's CDUs",
        "https://console.example/runbooks/coolant-supply-too-warm",
    ):
        assert part in text
    assert [part.get_content_type() for part in mail.walk()].count("image/png") == 1
    (shown,) = plant.box.pages()
    (alt,) = re.findall('alt="(.*?)"', shown)
    assert alt.startswith("Picture of Coolant supply temperature of R017, last hour: from ")
    assert alt.endswith("to 41.50 °C, limit 40.00 °C")


async def test_a_store_that_hangs_keeps_no_page_back(plant, monkeypatch):
    plant.warm(now_ms())
    free = threading.Event()
    monkeypatch.setattr(plant.store, "aggregate", lambda *_arguments, **_more: free.wait(120))
    try:
        async with plant.engine():
            await until(lambda: plant.box.got and plant.hook.got, 60)
    finally:
        free.set()
    (mail,) = plant.box.got
    assert "Where: pod P03" in plant.box.texts()[0]
    assert not [part for part in mail.walk() if part.get_content_type() == "image/png"]
