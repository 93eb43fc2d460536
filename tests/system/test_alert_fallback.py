"""Every recipient is told by itself, and who stands in for a channel that takes nothing is told instead."""

import asyncio

import pytest

from alerts.actions import retire
from alerts.settings import AlertSettings
from domain.batch import now_ms
from tests.contract.notify_receivers import ChatReceiver, HookReceiver, MailReceiver
from tests.system.test_alert_delivery import Running, until

MEI, LIN = "mei@site.example", "lin@site.example"


@pytest.fixture
async def receivers():
    async with MailReceiver().serve() as mail, HookReceiver().serve() as hook:
        yield mail, hook


def changed(plant, routes, **channels):
    told = plant.settings.model_dump(by_alias=True)
    told["routes"] = [{"severities": ["critical", "warning"], "channels": routes}]
    for name, change in channels.items():
        told["channels"][name] |= change
    plant.settings = AlertSettings.model_validate(told)
    return plant


def told(plant, alert):
    return {
        (d.channel, d.event.value): (d.status.value, d.attempts) for d in plant.records.deliveries(alert.id)
    }


async def test_of_two_recipients_only_the_one_that_was_refused_is_tried_again(tmp_path, receivers):
    mail, hook = receivers
    mail.of_recipients[LIN] = "450 mailbox is busy"
    plant = changed(Running(tmp_path, mail, hook), ["mail"], mail={"recipients": [MEI, LIN]})
    async with plant.engine() as engine:
        plant.leak("R001", 1)
        await until(lambda: mail.to == [[MEI]] and engine.stats().get("notifications_postponed", 0) >= 1)
        (alert,) = plant.records.active_alerts()
        mail.of_recipients.clear()
        await until(lambda: len(mail.to) == 2)
        await until(lambda: told(plant, alert)[f"mail/{LIN}", "opened"][0] == "delivered")
    assert mail.to == [[MEI], [LIN]]
    assert told(plant, alert)[f"mail/{MEI}", "opened"] == ("delivered", 1)


async def test_a_recipient_that_is_refused_for_good_is_told_of_as_such(tmp_path, receivers):
    mail, hook = receivers
    mail.of_recipients[LIN] = "550 no such mailbox"
    plant = changed(Running(tmp_path, mail, hook), ["mail"], mail={"recipients": [MEI, LIN]})
    async with plant.engine():
        plant.leak("R001", 1)
        await until(lambda: plant.records.active_alerts())
        (alert,) = plant.records.active_alerts()
        await until(lambda: {s for s, _ in told(plant, alert).values()} == {"delivered", "failed"})
    assert told(plant, alert)[f"mail/{LIN}", "opened"] == ("failed", 1)


async def test_of_two_chat_recipients_each_has_a_record_of_its_own(tmp_path):
    async with MailReceiver().serve() as mail, ChatReceiver().serve() as chat:
        chat.refused = {"/lin": 503}
        plant = Running(tmp_path, mail, chat)
        plant = changed(plant, ["hook"], hook=chat.settings(lin="lin") | {"timeout": 5})
        async with plant.engine() as engine:
            plant.leak("R001", 1)
            await until(lambda: len(chat.got) == 1 and engine.stats().get("notifications_postponed", 0) >= 1)
            (alert,) = plant.records.active_alerts()
            chat.refused.clear()
            await until(lambda: {state for state, _ in told(plant, alert).values()} == {"delivered"})
        assert len(chat.got) == 2
        assert {channel for channel, _ in told(plant, alert)} == {"hook/ops", "hook/lin"}
        assert told(plant, alert)["hook/ops", "opened"] == ("delivered", 1)


async def test_a_fallback_is_told_what_its_channel_has_not_taken_for_so_long(
    tmp_path, receivers, monkeypatch
):
    monkeypatch.setattr("alerts.engine.PATIENCE_S", 30.0)  # records that are slow are another matter
    mail, hook = receivers
    hook.answer = hook.temporary
    plant = changed(Running(tmp_path, mail, hook), ["hook"], hook={"fallback": "mail", "fallback_after": 3.0})
    async with plant.engine() as engine:
        plant.leak("R001", 1)
        await until(lambda: engine.stats()["notifications_channels_failing"] == 1)
        assert mail.got == []
        await until(lambda: len(mail.got) == 1)
        # it is known to fail now: nothing further waits for it
        plant.leak("R002", 1)
        await until(lambda: len(mail.got) == 2)
        hook.answer = 204
        await until(lambda: len(hook.texts()) == 2)
        plant.leak("R003", 1)
        await until(lambda: len(hook.texts()) == 3)
        assert len(mail.got) == 2
        # who was told of an alert is told of its end
        alert = next(a for a in plant.records.active_alerts() if a.condition.object_id == "R001")
        plant.leak("R001", 0)
        await asyncio.to_thread(retire, plant.records, [alert.id], "mei", "dry", now_ms())
        await until(lambda: "cleared" in hook.texts()[-1] and "cleared" in mail.texts()[-1])
        assert engine.stats()["notifications_fallbacks"] == 2


async def test_a_fallback_is_told_at_once_what_its_channel_refuses_for_good(tmp_path, receivers):
    mail, hook = receivers
    hook.answer = hook.permanent
    plant = changed(Running(tmp_path, mail, hook), ["hook"], hook={"fallback": "mail"})
    async with plant.engine():
        plant.leak("R001", 1)
        await until(lambda: len(mail.got) == 1)
        (alert,) = plant.records.active_alerts()
        await until(lambda: told(plant, alert).get(("mail", "opened")) == ("delivered", 1))
        assert told(plant, alert)["hook", "opened"] == ("failed", 1)


async def test_a_fallback_is_told_the_worst_first(tmp_path, receivers):
    mail, hook = receivers
    hook.answer = hook.temporary
    plant = changed(Running(tmp_path, mail, hook), ["hook"], hook={"fallback": "mail", "fallback_after": 1.0})
    mail.hang = asyncio.Event()
    async with plant.engine() as engine:
        plant.predict_breach()
        plant.leak("R001", 1)
        await until(lambda: engine.stats().get("notifications_fallbacks", 0) == 2)
        # counted a moment before it is written down
        await until(lambda: len(plant.records.due_deliveries(now_ms(), "mail")) == 2)
        due = plant.records.due_deliveries(now_ms(), "mail")
        assert [alert.condition.severity.value for _, alert in due] == ["critical", "warning"]
        mail.hang.set()
        await until(lambda: len(mail.got) == 2)
