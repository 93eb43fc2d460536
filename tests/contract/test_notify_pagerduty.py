"""PagerDuty in particular: one incident an alert, its life, its limits."""

import orjson
import pytest

from domain.alert import Severity
from domain.errors import ConfigurationError, NotificationError
from storage.delivery_records import Event
from tests.contract.notify_receivers import PagerDutyReceiver, channel, notification


@pytest.fixture
async def pagerduty():
    async with PagerDutyReceiver().serve() as serving:
        yield serving


def numbered(number, event, rack="R001"):
    told = notification(rack, event=event)
    object.__setattr__(told.notices[0].alert, "id", number)
    return told


def events(pagerduty):
    return [orjson.loads(body) for _, body in pagerduty.got]


async def test_an_alert_is_one_incident_from_the_page_to_the_end(pagerduty):
    async with channel(pagerduty.settings()) as notifier:
        for event, state in (
            (Event.OPENED, "triggered"),
            (Event.WORSENED, "triggered"),
            (Event.ACKNOWLEDGED, "acknowledged"),
            (Event.CLEARED, "resolved"),
        ):
            await notifier.send(notification("R001", event=event))
            assert pagerduty.incidents == {"taipei-1/1": state}


async def test_what_is_told_names_the_object_the_rule_and_what_to_do(pagerduty):
    async with channel(pagerduty.settings()) as notifier:
        await notifier.send(notification("R001"))
    (event,) = events(pagerduty)
    about = event["payload"]
    assert (about["source"], about["class"], about["severity"]) == (
        "R001",
        "envelope-breach-predicted",
        "critical",
    )
    assert about["custom_details"]["value"] == "16.25 MW"
    assert about["custom_details"]["what to do first"] == "Plan less load."


@pytest.mark.parametrize(
    ("ours", "theirs"), [*zip(Severity, ("critical", "error", "warning", "info"), strict=True)]
)
async def test_each_of_four_priorities_is_one_of_pagerduty_s(pagerduty, ours, theirs):
    async with channel(pagerduty.settings()) as notifier:
        await notifier.send(notification("R001", severity=ours))
    assert events(pagerduty)[0]["payload"]["severity"] == theirs


async def test_nothing_that_a_device_says_is_refused_for_its_length_or_its_characters(pagerduty):
    name = "R001 \x1b[31m\u202e\x00\ud83d 機架 🔥 " + "x" * 10_000
    async with channel(pagerduty.settings()) as notifier:
        await notifier.send(notification(name, summary=name * 3))
        await notifier.send(notification(name, event=Event.CLEARED))
    trigger, resolve = events(pagerduty)
    assert 500 < len(trigger["payload"]["summary"]) <= 1024
    assert trigger["payload"]["summary"].startswith("R001 \\x1b[31m\\u202e\\x00\\ud83d 機架 🔥 xx")
    assert trigger["dedup_key"] == resolve["dedup_key"]


async def test_of_an_alert_told_before_it_had_a_number_the_incident_is_acknowledged_and_resolved(pagerduty):
    async with channel(pagerduty.settings()) as notifier:
        await notifier.send(numbered(0, Event.OPENED))
        await notifier.send(numbered(7, Event.ACKNOWLEDGED))
        assert list(pagerduty.incidents.values()) == ["acknowledged"]
        await notifier.send(numbered(7, Event.CLEARED))
        assert list(pagerduty.incidents.values()) == ["resolved"]


async def test_so_many_incidents_told_from_memory_are_remembered(pagerduty, monkeypatch):
    monkeypatch.setattr("alerts.notify.pagerduty.EARLY", 2)

    async with channel(pagerduty.settings()) as notifier:
        for rack in ("R001", "R002", "R003"):
            await notifier.send(numbered(0, Event.OPENED, rack))
        for rack in ("R001", "R002", "R003"):
            await notifier.send(numbered(7, Event.CLEARED, rack))
    assert list(pagerduty.incidents.values()) == ["triggered", "resolved", "resolved"]


@pytest.mark.parametrize(
    ("retry_after", "seconds"), [("37", 37), ("Wed, 21 Oct 2015 07:28:00 GMT", 0), ("soon", None), ("", None)]
)
async def test_when_it_is_too_much_the_pause_that_it_asks_for_is_handed_on(pagerduty, retry_after, seconds):
    pagerduty.answer, pagerduty.headers = 429, {"retry-after": retry_after}
    async with channel(pagerduty.settings()) as notifier:
        with pytest.raises(NotificationError) as told:
            await notifier.send(notification())
    assert told.value.retryable
    assert told.value.retry_after == seconds


async def test_a_refusal_is_told_with_its_reason_and_without_the_key(pagerduty, monkeypatch):
    settings = pagerduty.settings()
    monkeypatch.setenv("PAGERDUTY_KEY_OF_THE_TEST", "0123456789")
    async with channel(settings) as notifier:
        with pytest.raises(NotificationError, match="routing_key is wrong") as told:
            await notifier.send(notification())
    assert not told.value.retryable
    assert "0123456789" not in str(told.value)


async def test_a_key_that_is_none_is_refused_at_the_start(pagerduty, monkeypatch):
    settings = pagerduty.settings()
    monkeypatch.setenv("PAGERDUTY_KEY_OF_THE_TEST", "no key!")
    with pytest.raises(ConfigurationError, match="no integration key"):
        async with channel(settings):
            pass
