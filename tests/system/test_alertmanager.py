"""The running engine and a real Alertmanager: what holds here holds there, whatever is stopped and started meanwhile."""

import asyncio
import contextlib

import pytest

from alerts.actions import acknowledge, shelve
from domain.batch import now_ms
from tests.contract.notify_receivers import HookReceiver, MailReceiver
from tests.system.test_alert_delivery import Running, until

pytestmark = pytest.mark.server("prometheus-alertmanager")


@contextlib.asynccontextmanager
async def plant(folder, alertmanager, **more):
    async with MailReceiver().serve() as mail, HookReceiver().serve() as hook:
        settings = {"kind": "alertmanager", "urls": [alertmanager.url], "resend": "1 s", "expire": "1 min"}
        yield Running(folder, mail, hook, more={"am": settings | more}, told=["am"]), mail


def objects(alertmanager):
    return [a["labels"]["object"] for a in alertmanager.alerts()]


async def test_a_leak_holds_there_until_it_clears_though_both_sides_are_started_anew(tmp_path, alertmanager):
    async with plant(tmp_path, alertmanager) as (running, _):
        async with running.engine():
            running.leak("R017", 1)
            await until(lambda: objects(alertmanager) == ["R017"], 60)
            (alert,) = alertmanager.alerts()
            assert alert["labels"]["area"] == "P03"
            alertmanager.kill()
            alertmanager.start()
            await until(lambda: objects(alertmanager) == ["R017"], 60)
        alertmanager.kill()
        alertmanager.start()
        async with running.engine():  # what was told before a restart of ours is told again
            await until(lambda: objects(alertmanager) == ["R017"], 60)
            (alert,) = running.records.active_alerts()
            await asyncio.to_thread(acknowledge, running.records, alert.id, "mei", "on my way", now_ms())
            await until(lambda: alertmanager.alerts()[0]["annotations"].get("acknowledged_by") == "mei", 60)
            until_then = now_ms() + 600_000
            await asyncio.to_thread(
                shelve, running.records, alert.id, "ops", "hose work", now_ms(), until_then
            )
            await until(lambda: alertmanager.alerts()[0]["annotations"].get("silenced_by") == "ops", 60)
            await asyncio.to_thread(running.records.clear_alerts, [alert.id], now_ms(), "mei")
            running.leak("R017", 0)
            await until(lambda: objects(alertmanager) == [], 60)


async def test_while_it_is_down_others_are_told_and_it_is_told_when_it_is_back(tmp_path, alertmanager):
    async with plant(tmp_path, alertmanager, fallback="mail", fallback_after="0.2 s") as (running, mail):
        alertmanager.stop()
        async with running.engine():
            running.leak("R001", 1)
            await until(lambda: len(mail.got) == 1, 60)
            alertmanager.start()
            await until(lambda: objects(alertmanager) == ["R001"], 60)
