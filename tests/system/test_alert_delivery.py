"""The running engine: what the shipped rules find reaches real mail and webhook receivers, and outlives restarts."""

import asyncio
import contextlib
import resource
import sqlite3
import threading
import time
from pathlib import Path

import numpy as np
import orjson
import pytest

from alerts.actions import acknowledge, retire, shelve
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
from storage.delivery_records import DeliveryStatus
from storage.latest import LatestValues
from storage.open import open_store
from storage.plant import PlantView
from storage.records import Records
from storage.settings import StorageSettings
from tests.contract.notify_receivers import HookReceiver, MailReceiver, PagerDutyReceiver

ROOT = Path(__file__).parents[2]


class Running:
    """The shipped rules on the demo's site, with receivers of the test."""

    def __init__(self, folder, mail, hook, timeout="20 s", more=None, told=("mail", "hook")):
        self.site = load(ROOT / "config/site.yaml", Site)
        shipped = load(ROOT / "config/alerts.yaml", AlertSettings)
        channels = {"mail": mail.settings(), "hook": hook.settings() | {"timeout": timeout}} | (more or {})
        self.settings = AlertSettings.model_validate(
            shipped.model_dump(by_alias=True)
            | {
                "interval": 0.05,
                "channels": channels,
                "routes": [Route(severities=("critical", "warning"), channels=tuple(told))],
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


async def until(condition, seconds=60):
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
    assert leak.startswith("[CRITICAL opened] R017: leak at a rack (taipei-1)")
    assert "Object: rack R017" in leak
    assert "Value: 1\n" in leak
    assert "Limit: 0\n" in leak
    assert "92 % likely to exceed 16.00 MW" in " ".join(breach.split())
    assert "Object: site taipei-1" in breach
    assert "Value: 16.25 MW" in breach
    assert "Limit: 16.00 MW" in breach
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
        await until(lambda: len(mail.got) == 1 and _delivered(plant) == {"mail"})
        (alert,) = plant.records.active_alerts()
        await asyncio.to_thread(acknowledge, plant.records, alert.id, "mei", "on my way", now_ms())
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


async def test_a_state_that_changes_is_looked_at_at_once_and_not_at_the_next_interval(tmp_path, receivers):
    mail, hook = receivers
    plant = Running(tmp_path, mail, hook)
    plant.settings = plant.settings.model_copy(update={"interval": 3600.0})
    async with plant.engine() as engine:
        await until(lambda: engine.counters["ticks"] == 1)
        plant.leak("R001", 1)
        plant.leak("R001", 0)
        await until(lambda: len(mail.got) == len(hook.got) == 1, 60)


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


async def test_a_leak_is_told_in_two_seconds_though_the_records_are_locked_and_told_once(tmp_path, receivers):
    mail, hook = receivers
    plant = Running(tmp_path, mail, hook)
    async with plant.engine() as engine:
        await until(lambda: engine.counters["ticks"] > 2)
        with contextlib.closing(sqlite3.connect(tmp_path / "records.sqlite", isolation_level=None)) as other:
            other.execute("BEGIN EXCLUSIVE")
            plant.leak("R001", 1)
            await until(lambda: len(mail.got) == len(hook.got) == 1, 12)  # the records wait 15 s for a lock
            assert plant.records.active_alerts() == []
            other.execute("ROLLBACK")
        await until(lambda: _delivered(plant) == {"mail", "hook"})
        await until(lambda: not engine.stats()["not_written_down"])
    assert len(mail.got) == len(hook.got) == 1


async def test_a_leak_is_told_though_the_records_take_a_question_and_never_answer(
    tmp_path, receivers, monkeypatch
):
    """As a database does whose machine is gone without a word."""
    mail, hook = receivers
    plant = Running(tmp_path, mail, hook)
    gone = threading.Event()
    async with plant.engine() as engine:
        await until(lambda: engine.counters["ticks"] > 2)
        with monkeypatch.context() as hanging:
            for question in ("latest_forecasts", "active_alerts", "told", "due_deliveries"):
                hanging.setattr(plant.records, question, lambda *_: gone.wait(120) and _unavailable())
            plant.leak("R001", 1)
            try:
                await until(lambda: len(mail.got) == len(hook.got) == 1)
            finally:
                gone.set()
        await until(lambda: _delivered(plant) == {"mail", "hook"})
    assert len(mail.got) == len(hook.got) == 1


async def test_with_the_disk_full_a_new_leak_is_told_and_nothing_twice(tmp_path, receivers):
    mail, hook = receivers
    plant = Running(tmp_path, mail, hook)
    async with plant.engine() as engine:
        await until(lambda: engine.counters["ticks"] > 2)
        with _full_disk(tmp_path):
            plant.leak("R001", 1)
            await until(lambda: len(mail.got) == len(hook.got) == 1)
            ticks = engine.counters["ticks_failed"]
            await until(lambda: engine.counters["ticks_failed"] > ticks + 10)
            assert len(mail.got) == len(hook.got) == 1
        await until(lambda: _delivered(plant) == {"mail", "hook"})
    assert len(mail.got) == len(hook.got) == 1


async def test_what_was_sent_and_cannot_be_noted_is_not_sent_again(tmp_path, receivers, monkeypatch):
    mail, hook = receivers
    plant = Running(tmp_path, mail, hook)
    async with plant.engine() as engine:
        await until(lambda: engine.counters["ticks"] > 2)
        with monkeypatch.context() as full:
            full.setattr(plant.records, "finish_deliveries", lambda *_: _unavailable())
            plant.leak("R001", 1)
            await until(lambda: engine.dispatcher.counters["notes_failed"] > 5)
            assert engine.stats()["notifications_unnoted"] == 2
        await until(lambda: _delivered(plant) == {"mail", "hook"})
    assert len(mail.got) == len(hook.got) == 1


async def test_who_takes_an_alert_ends_the_paging_of_pagerduty_too_though_it_is_shelved(tmp_path):
    async with MailReceiver().serve() as mail, PagerDutyReceiver().serve() as pagerduty:
        plant = Running(tmp_path, mail, pagerduty)
        async with plant.engine():
            plant.leak("R001", 1)
            await until(lambda: list(pagerduty.incidents.values()) == ["triggered"])
            (alert,) = plant.records.active_alerts()
            now = now_ms()
            await asyncio.to_thread(shelve, plant.records, alert.id, "mei", "hoses", now, now + 60_000)
            await asyncio.to_thread(acknowledge, plant.records, alert.id, "mei", "on my way", now)
            await until(lambda: list(pagerduty.incidents.values()) == ["acknowledged"])
            plant.leak("R001", 0)
            await asyncio.to_thread(retire, plant.records, [alert.id], "mei", "dry", now_ms())
            await until(lambda: list(pagerduty.incidents.values()) == ["resolved"])
        events = [(d.channel, d.event) for d in plant.records.deliveries(alert.id)]
        assert ("hook", "acknowledged") in events
        assert ("mail", "acknowledged") not in events
        assert len(pagerduty.triggered) == 1


async def test_an_end_that_is_told_while_the_page_is_still_under_way_comes_after_it(tmp_path):
    async with MailReceiver().serve() as mail, PagerDutyReceiver().serve() as pagerduty:
        pagerduty.hang, pagerduty.hang_on = asyncio.Event(), b"trigger"
        plant = Running(tmp_path, mail, pagerduty, timeout="30 s")
        async with plant.engine() as engine:
            plant.leak("R001", 1)
            await until(lambda: len(mail.got) == 1)
            plant.leak("R001", 0)
            (alert,) = plant.records.active_alerts()
            await asyncio.to_thread(retire, plant.records, [alert.id], "mei", "dry", now_ms())
            await until(lambda: len(mail.got) == 2)  # of the end, too
            await until(lambda: engine.stats()["notifications_under_way"] == 1)
            assert pagerduty.incidents == {}
            pagerduty.hang.set()
            await until(lambda: list(pagerduty.incidents.values()) == ["resolved"])


async def test_a_critical_page_waits_for_no_warning_that_a_receiver_sits_on(tmp_path, receivers):
    mail, hook = receivers
    stalled = asyncio.Event()
    hook.hang_on, hook.hang = b"envelope-breach", stalled
    plant = Running(tmp_path, mail, hook)
    async with plant.engine():
        plant.predict_breach()
        await until(lambda: mail.got)
        for n, rack in enumerate(("R001", "R002", "R003"), 1):
            plant.leak(rack, 1)
            await until(lambda n=n: len(hook.got) == n)
        stalled.set()


async def test_alerts_are_evaluated_in_time_though_every_thread_of_the_service_is_taken(tmp_path, receivers):
    mail, hook = receivers
    plant = Running(tmp_path, mail, hook)
    release = threading.Event()
    taken = [asyncio.create_task(asyncio.to_thread(release.wait, 120)) for _ in range(100)]
    try:
        async with plant.engine() as engine:
            await until(lambda: engine.counters["ticks"] > 2)
            plant.leak("R001", 1)
            await until(lambda: len(mail.got) == len(hook.got) == 1)
            assert not any(task.done() for task in taken)
    finally:
        release.set()
        await asyncio.gather(*taken)


async def test_looks_that_begin_late_are_counted(tmp_path, receivers, monkeypatch):
    plant = Running(tmp_path, *receivers)
    async with plant.engine() as engine:
        await until(lambda: engine.counters["ticks"] > 2)
        before = engine.stats()["late"]
        with monkeypatch.context() as slow:
            slow.setattr(engine.rules[0], "evaluate", lambda *_: time.sleep(0.3) or [])
            await until(lambda: engine.stats()["longest_interval_s"] >= 0.3)
        assert engine.stats()["late"] > before


async def test_alerts_are_evaluated_in_time_though_the_loop_of_the_service_stands(tmp_path, receivers):
    plant = Running(tmp_path, *receivers)
    async with plant.engine() as engine:
        await until(lambda: engine.counters["ticks"] > 2)
        ticks = engine.counters["ticks"]
        deadline = time.monotonic() + 60
        while engine.counters["ticks"] < ticks + 2:
            assert time.monotonic() < deadline
            time.sleep(0.1)  # noqa: ASYNC251 - as a part with a fault would


def _delivered(plant):
    return {
        delivery.channel
        for alert in plant.records.active_alerts()
        for delivery in plant.records.deliveries(alert.id)
        if delivery.status is DeliveryStatus.DELIVERED
    }


@contextlib.contextmanager
def _full_disk(folder):
    """Let no file grow beyond what the records' log has now."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, ((folder / "records.sqlite-wal").stat().st_size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
