"""Signs of life: a real watcher gets them while alerts are evaluated and told, and at no other time."""

import asyncio
import math
import threading

import pytest

from alerts.heartbeat import Heartbeat
from alerts.settings import HeartbeatSettings
from domain.errors import ConfigurationError, StoreUnavailable
from tests.contract.notify_receivers import HookReceiver, MailReceiver
from tests.system.test_alert_delivery import Running, until


@pytest.fixture
async def plant(tmp_path):
    async with (
        MailReceiver().serve() as mail,
        HookReceiver().serve() as hook,
        HookReceiver().serve() as watcher,
    ):
        plant = Running(tmp_path, mail, hook)
        plant.watcher, plant.receivers = watcher, (mail, hook)
        told = HeartbeatSettings(url=f"http://127.0.0.1:{watcher.port}/ping/abc", interval=0.05)
        plant.settings = plant.settings.model_copy(update={"heartbeat": told})
        yield plant


async def silent(plant, engine, reason):
    """Wait until no sign is given for this reason, and none comes while alerting would have looked many times."""
    await until(lambda: engine.stats()["heartbeat"]["reason"] == reason)
    await quiet(plant)


async def quiet(plant):
    """See that no sign comes for half a second, ten times the interval; one that was under way may still arrive."""
    before = len(plant.watcher.got)
    await asyncio.sleep(0.5)
    assert len(plant.watcher.got) <= before + 1


async def again(plant):
    before = len(plant.watcher.got)
    await until(lambda: len(plant.watcher.got) > before + 2)


async def test_signs_are_given_at_the_interval_while_alerting_works(plant):
    async with plant.engine() as engine:
        await until(lambda: len(plant.watcher.got) > 5)
        assert engine.stats()["heartbeat"]["reason"] == ""
        assert engine.stats()["heartbeat"]["given"] >= 5
    assert set(plant.watcher.methods) == {"POST"}
    await quiet(plant)


async def test_no_sign_is_given_while_an_evaluation_hangs(plant, monkeypatch):
    monkeypatch.setattr("alerts.engine.LATE_S", 0.5)
    hangs = threading.Event()
    async with plant.engine() as engine:
        await again(plant)
        with monkeypatch.context() as slow:
            slow.setattr(engine.rules[0], "evaluate", lambda *_: hangs.wait(30) and [])
            try:
                await silent(plant, engine, "alerts are not evaluated")
            finally:
                hangs.set()
        await again(plant)


async def test_no_sign_is_given_while_no_rule_can_be_evaluated(plant, monkeypatch):
    monkeypatch.setattr("alerts.engine.LATE_S", 0.5)
    async with plant.engine() as engine:
        await again(plant)
        with monkeypatch.context() as broken:
            for rule in engine.rules:
                broken.setattr(rule, "evaluate", lambda *_: 1 / 0)
            await silent(plant, engine, "alerts are not evaluated")
        await again(plant)


async def test_no_sign_is_given_while_nobody_looks_for_what_is_to_be_told(plant, monkeypatch):
    monkeypatch.setattr("alerts.dispatch.LATE_S", 0.5)
    async with plant.engine() as engine:
        await again(plant)
        with monkeypatch.context() as stuck:
            stuck.setattr(engine.dispatcher, "deliver", lambda: asyncio.sleep(3))
            await silent(plant, engine, "nobody looks for what is to be told")
        await again(plant)


async def test_no_sign_is_given_while_nothing_can_be_written_down_for_long(plant, monkeypatch):
    monkeypatch.setattr("alerts.engine.UNWRITTEN_S", 0.5)

    def away():
        raise StoreUnavailable("records: connection refused")

    async with plant.engine() as engine:
        await again(plant)
        with monkeypatch.context() as records:
            records.setattr(plant.records, "active_alerts", away)
            await silent(plant, engine, "alerts cannot be written down")
        await again(plant)


async def test_no_sign_is_given_while_every_channel_fails_and_signs_come_while_one_works(plant, monkeypatch):
    monkeypatch.setattr("alerts.dispatch.NOBODY_S", 0.5)
    mail, hook = plant.receivers
    mail.answer, hook.answer = mail.temporary, hook.permanent
    async with plant.engine() as engine:
        plant.leak("R001", 1)
        await silent(plant, engine, "nobody can be told: hook, mail")
        mail.answer = "250 OK"
        await again(plant)
        assert len(mail.got) == 1
        assert engine.stats()["notifications_channels_failing"] == 1


async def test_a_watcher_that_takes_no_sign_is_tried_again_soon(plant, monkeypatch):
    monkeypatch.setattr("alerts.heartbeat.AGAIN_S", 0.05)
    plant.watcher.answer = 500
    plant.settings.heartbeat.__dict__["interval"] = math.inf
    async with plant.engine() as engine:
        await until(lambda: engine.stats()["heartbeat"]["failed"] > 2)
        plant.watcher.answer = 200
        await until(lambda: len(plant.watcher.got) == 1)


async def test_the_watcher_s_address_comes_from_a_file_and_is_shown_nowhere(tmp_path, free_port):
    (tmp_path / "url").write_text(f"http://127.0.0.1:{free_port}/ping/c0ffee-c0ffee\n")
    heartbeat = Heartbeat(HeartbeatSettings(url_file=str(tmp_path / "url"), timeout=2))
    with pytest.raises(Exception, match="heartbeat") as told:
        await heartbeat.give()
    assert "c0ffee" not in str(told.value)
    (tmp_path / "url").write_text("ping me")
    with pytest.raises(ConfigurationError, match="is no http address"):
        Heartbeat(HeartbeatSettings(url_file=str(tmp_path / "url")))
