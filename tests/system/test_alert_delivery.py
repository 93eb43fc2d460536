"""The running engine: what the shipped rules find reaches real mail and webhook receivers, and outlives restarts."""

import asyncio
import contextlib
from pathlib import Path

import numpy as np
import orjson
import pytest

from alerts.engine import AlertEngine
from alerts.notify.build import build_notifiers
from alerts.settings import AlertSettings, Route
from alerts.view import View
from domain.batch import Batch, now_ms
from domain.envelope import QUARTER_MS, quarter_start
from domain.errors import StoreUnavailable
from domain.forecast import QUANTILES, Forecast
from domain.points import Point, PointRegistry
from domain.site import Site
from service.configuration import load
from storage.latest import LatestValues
from storage.open import open_store
from storage.plant import PlantView
from storage.records import Records
from storage.settings import StorageSettings
from tests.contract.notify_receivers import HookReceiver, MailReceiver

ROOT = Path(__file__).parents[2]


class Running:
    """The shipped rules on the demo's site, with receivers of the test."""

    def __init__(self, folder, mail, hook):
        self.site = load(ROOT / "config/site.yaml", Site)
        shipped = load(ROOT / "config/alerts.yaml", AlertSettings)
        channels = {"mail": mail.settings(), "hook": hook.settings()}
        self.settings = AlertSettings.model_validate(
            shipped.model_dump(by_alias=True)
            | {
                "interval": 0.05,
                "channels": channels,
                "routes": [Route(severities=("critical", "warning"), channels=("mail", "hook"))],
            }
        )
        self.url = f"sqlite:///{folder}/records.sqlite"
        self.registry = PointRegistry()
        self.latest = LatestValues(self.registry)
        self.sensors = {
            rack: self.registry.register(
                Point(
                    f"Rack/RackLeakDetect/{rack}",
                    "Rack",
                    "RackLeakDetect",
                    rack,
                    state_text=((0, "NoLeak"), (1, "Leak")),
                    source="dsx:bms",
                )
            )
            for rack in self.site.racks
        }

    def leak(self, rack, state):
        self.latest.update(Batch.of([self.sensors[rack]], now_ms(), [state]))

    @contextlib.asynccontextmanager
    async def engine(self):
        records = Records(self.url)
        self.records = records
        view = View(PlantView(self.site, self.registry, self.latest, None), records)
        engine = AlertEngine(self.settings, view, records, build_notifiers(self.settings.channels))
        task = asyncio.create_task(engine.run())
        try:
            yield engine
        finally:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task
            records.close()

    def predict_breach(self):
        now = now_ms()
        start = quarter_start(now) + QUARTER_MS * np.arange(8, dtype=np.int64)
        self.records.save_forecast(
            Forecast(
                self.site.id,
                "ActivePower",
                "W",
                now,
                quarter_start(now),
                15,
                start,
                QUANTILES,
                np.full((8, 19), 16.25e6),
                np.full(8, 16e6),
                np.array([0.1, 0.1, 0.2, 0.85, 0.9, 0.4, 0.1, 0.1]),
                "test 1",
            )
        )


@pytest.fixture
async def receivers():
    async with MailReceiver().serve() as mail, HookReceiver().serve() as hook:
        yield mail, hook


async def until(condition, seconds=10):
    async with asyncio.timeout(seconds):
        while not condition():  # noqa: ASYNC110 - the receivers tell nobody when they got something
            await asyncio.sleep(0.01)


async def test_a_predicted_breach_and_a_leak_reach_the_mailbox_with_object_value_and_limit(
    tmp_path, receivers
):
    mail, hook = receivers
    plant = Running(tmp_path, mail, hook)
    async with plant.engine():
        plant.leak("R017", 1)
        plant.predict_breach()
        await until(lambda: len(mail.got) >= 2 and len(hook.got) >= 2)
    mails = [text.replace("\r\n", "\n") for text in mail.texts()]
    texts = {text.split("]")[1].split(":")[0].strip(): text for text in mails}
    leak, breach = texts["R017"], texts["taipei-1"]
    assert leak.startswith("[CRITICAL opened] R017: Leak (Leak at a rack) (taipei-1)")
    assert "Object:   R017" in leak
    assert "Value:    1\n" in leak
    assert "Limit:    0\n" in leak
    assert "85% likely to exceed 16.00 MW" in " ".join(breach.split())
    assert "Object:   taipei-1" in breach
    assert "Value:    16.25 MW" in breach
    assert "Limit:    16.00 MW" in breach
    assert " CST" in breach
    told = {a["key"]: a for _, body in hook.got for a in orjson.loads(body)["alerts"]}
    assert set(told) == {"leak/R017", "envelope-breach-predicted/taipei-1"}
    assert told["envelope-breach-predicted/taipei-1"]["limit"] == 16e6


async def test_a_restart_repeats_nothing_and_delivers_what_was_left(tmp_path, receivers):
    mail, hook = receivers
    hook.answer = 503
    plant = Running(tmp_path, mail, hook)
    async with plant.engine() as engine:
        plant.leak("R017", 1)
        await until(lambda: len(mail.got) == 1)
        (alert,) = plant.records.active_alerts()
        await asyncio.to_thread(engine.acknowledge, alert.id, "mei", "on my way")
    hook.answer = 204
    async with plant.engine() as engine:
        await until(lambda: len(hook.got) == 1)
        await until(lambda: engine.counters["ticks"] > 5)
        (alert,) = plant.records.active_alerts()
        assert (alert.acknowledged_by, alert.note) == ("mei", "on my way")
    assert len(mail.got) == 1


async def test_a_restart_within_a_quarter_hour_does_not_forget_what_it_has_drawn(tmp_path):
    site = load(ROOT / "config/site.yaml", Site)
    registry = PointRegistry()
    store = open_store(StorageSettings(path=tmp_path), registry)
    feeds = [
        registry.register(Point(f"PowerMeter/ActivePower/{f}", "PowerMeter", "ActivePower", f, unit="W"))
        for f in ("FEED-A", "FEED-B")
    ]
    store.save_points(list(enumerate(registry)))
    start = quarter_start(now_ms()) - QUARTER_MS
    for second in range(0, 600, 10):
        store.write(Batch.of(feeds, start + second * 1000, [9e6, 8e6]))
    store.maintain(now_ms())  # to the store these are late readings
    records = Records(f"sqlite:///{tmp_path}/records.sqlite")
    view = View(PlantView(site, registry, LatestValues(registry), store), records)
    view.seed(start + 600_000)
    view.refresh(start + 600_000)
    assert view.demand.certain()[0] == pytest.approx(17e6 * 600 / 900, rel=0.02)
    store.close()
    records.close()


async def test_a_dead_webhook_holds_up_no_mail(tmp_path, receivers):
    mail, hook = receivers
    hook.hang = asyncio.Event()
    plant = Running(tmp_path, mail, hook)
    async with plant.engine():
        plant.leak("R001", 1)
        await until(lambda: len(mail.got) == 1)
        plant.leak("R002", 1)
        await until(lambda: len(mail.got) == 2)
    assert hook.got == []


async def test_the_engine_goes_on_after_the_records_were_away(tmp_path, receivers, monkeypatch):
    mail, hook = receivers
    plant = Running(tmp_path, mail, hook)
    async with plant.engine() as engine:
        await until(lambda: engine.counters["ticks"] > 2)
        with monkeypatch.context() as away:
            away.setattr(plant.records, "active_alerts", _unavailable)
            await until(lambda: engine.counters["ticks_failed"] > 0)
        plant.leak("R001", 1)
        await until(lambda: len(mail.got) == 1)


def _unavailable():
    raise StoreUnavailable("records: connection refused")
