"""What every channel must do, whatever it is: real receivers on loopback, one suite over all of them."""

import asyncio
import math

import pytest

from domain.errors import ConfigurationError, NotificationError
from storage.delivery_records import Event
from tests.contract.notify_receivers import (
    AlertmanagerReceiver,
    ChatReceiver,
    HookReceiver,
    MailReceiver,
    PagerDutyReceiver,
    channel,
    notification,
)


@pytest.fixture(
    params=[MailReceiver, HookReceiver, PagerDutyReceiver, ChatReceiver, AlertmanagerReceiver],
    ids=lambda receiver: receiver.kind,
)
async def receiver(request):
    async with request.param().serve() as serving:
        yield serving


async def test_a_message_names_object_value_limit_and_the_site_s_local_time(receiver):
    async with channel(receiver.settings()) as notifier:
        assert await notifier.send(notification()) == ""
    (text,) = receiver.texts()
    for part in ("CRITICAL", "opened", "taipei-1", "16.00 MW", "2026-09-21 22:13:20 CST", "Plan less load."):
        assert part in text
    assert "16.25 MW" in text or "16250000.0" in text


async def test_several_alerts_are_one_message(receiver):
    async with channel(receiver.settings()) as notifier:
        await notifier.send(notification("R001", "R002", "R003"))
    (text,) = receiver.texts()
    assert all(rack in text for rack in ("R001", "R002", "R003"))


async def test_that_an_alert_cleared_is_told_as_such(receiver):
    async with channel(receiver.settings()) as notifier:
        await notifier.send(notification(event=Event.CLEARED))
    assert "cleared" in receiver.texts()[0]


async def test_the_same_message_sent_again_can_be_told_by_its_id(receiver):
    async with channel(receiver.settings()) as notifier:
        await notifier.send(notification())
        await notifier.send(notification())
    if receiver.id_of_the_message is None:  # a chat has no ids: the two are alike, word for word
        first, second = receiver.texts()
        assert first == second
    else:
        first, second = receiver.ids()
        assert first == second
        assert receiver.id_of_the_message in first


async def test_names_that_devices_give_themselves_break_nothing(receiver):
    awkward = notification("R001\r\nBcc: x@y.example 機架 \x07<b>", summary="line one\nline two 機架")
    async with channel(receiver.settings()) as notifier:
        await notifier.send(awkward)
    assert len(receiver.got) == 1
    assert "機架" in receiver.texts()[0]


async def test_figures_that_are_missing_are_left_out(receiver):
    told = notification()
    condition = told.notices[0].alert.condition
    for field in ("value", "limit"):
        object.__setattr__(condition, field, math.nan)
    async with channel(receiver.settings()) as notifier:
        await notifier.send(told)
    assert "nan" not in receiver.texts()[0].lower()


async def test_a_temporary_refusal_may_be_tried_again(receiver):
    receiver.answer = receiver.temporary
    async with channel(receiver.settings()) as notifier:
        with pytest.raises(NotificationError) as told:
            await notifier.send(notification())
        assert told.value.retryable
        receiver.answer = type(receiver)().answer
        await notifier.send(notification())
    assert len(receiver.got) == 1


async def test_a_refusal_for_good_may_not(receiver):
    receiver.answer = receiver.permanent
    async with channel(receiver.settings()) as notifier:
        with pytest.raises(NotificationError) as told:
            await notifier.send(notification())
    assert not told.value.retryable
    assert str(receiver.permanent)[:3] in str(told.value)


async def test_a_receiver_that_is_down_may_be_tried_again(receiver, free_port):
    receiver.port = free_port
    async with channel(receiver.settings()) as notifier:
        with pytest.raises(NotificationError) as told:
            await notifier.send(notification())
    assert told.value.retryable


async def test_a_receiver_that_never_answers_is_given_up_in_time(receiver):
    receiver.hang = asyncio.Event()
    settings = receiver.settings() | {"timeout": "0.2 s"}
    async with channel(settings) as notifier:
        with pytest.raises(NotificationError) as told:
            await asyncio.wait_for(notifier.send(notification()), 60)
    assert told.value.retryable


async def test_a_look_whether_it_can_be_reached_tells_nobody(receiver, free_port):
    async with channel(receiver.settings()) as notifier:
        assert await notifier.reach()
    assert receiver.got == []
    receiver.port = free_port
    async with channel(receiver.settings()) as notifier:
        with pytest.raises(NotificationError):
            await notifier.reach()


async def test_a_certificate_that_is_none_is_a_fault_of_the_configuration(receiver, tmp_path):
    (tmp_path / "ca.pem").write_text("nothing")
    settings = receiver.settings() | {"ca_file": str(tmp_path / "ca.pem"), "security": "tls"}
    if receiver.kind != "smtp":
        del settings["security"]
    # a chat service takes the certificates of the system
    said = "ca_file" if receiver.kind == "apprise" else "must hold certificates in PEM"
    with pytest.raises(ValueError if receiver.kind == "apprise" else ConfigurationError, match=said):
        async with channel(settings):
            pass
