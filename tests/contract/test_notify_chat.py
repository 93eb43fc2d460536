"""Chat services in particular: limits, mark-up, recipients, calls that hang."""

import asyncio

import orjson
import pytest

from alerts.notify.chat import fitting
from alerts.notify.sheet import ENGLISH
from domain.errors import ConfigurationError, NotificationError
from storage.delivery_records import Event
from tests.contract.notify_receivers import ChatReceiver, channel, notification

AWKWARD = "R001 <!channel> @everyone *b* [a](http://x/) `c` \"q\" 'r' & <b>\x1b[31m\u202e\x00 機架 🔥\r\nnext"


@pytest.fixture
async def chat():
    async with ChatReceiver().serve() as serving:
        yield serving


@pytest.mark.parametrize(
    ("service", "path", "field"),
    [
        ("json", "room", "message"),
        ("ntfy", "room", "message"),
        ("mmost", "a" * 26, "text"),
        ("gotify", "t" * 15, "message"),
    ],
)
async def test_what_a_device_calls_itself_calls_nobody_and_commands_nothing(chat, service, path, field):
    chat.service, chat.path = service, path
    async with channel(chat.settings()) as notifier:
        await notifier.send(notification(AWKWARD, summary=AWKWARD))
    ((_, body),) = chat.got
    text = orjson.loads(body)[field]
    assert "@" not in text
    assert not set(text) & set("\x00\x1b\u202e")
    for part in ("＠everyone", "機架 🔥", '"q"', "16.25 MW"):
        assert part in text
    assert "github.com" not in body.decode()


async def test_a_message_is_cut_to_what_the_service_takes_by_leaving_out_alerts(chat):
    told = notification(*(f"R{n:03d}" for n in range(1, 97)))
    text = fitting(told, ENGLISH, 2000)
    assert 1000 < len(text) <= 2000
    listed = text.count("  Object: ")
    assert f"... and {96 - listed} more." in text
    chat.service = "ntfy"  # takes 7,800 characters
    async with channel(chat.settings()) as notifier:
        await notifier.send(told)
    message = orjson.loads(chat.got[0][1])["message"]
    assert len(message) <= 7800
    assert "more." in message


async def test_a_name_of_any_length_fits(chat):
    async with channel(chat.settings()) as notifier:
        await notifier.send(notification("x" * 10_000, summary="y" * 10_000))
        await notifier.send(notification("x" * 10_000, event=Event.CLEARED))
    assert all(len(body) < 4000 for _, body in chat.got)


@pytest.mark.parametrize(
    ("answer", "again"), [(400, False), (401, False), (404, False), (429, True), (500, True), (503, True)]
)
async def test_the_service_s_answer_says_whether_to_try_again(chat, answer, again):
    chat.answer = answer
    async with channel(chat.settings()) as notifier:
        with pytest.raises(NotificationError, match=f"chat ops: .*error={answer}") as told:
            await notifier.send(notification())
    assert told.value.retryable is again


async def test_calls_that_hang_are_bounded_and_end_when_the_service_does(chat):
    chat.hang = asyncio.Event()
    async with channel(chat.settings() | {"timeout": 0.3}) as notifier:
        tries = await asyncio.gather(
            *(notifier.send(notification()) for _ in range(12)), return_exceptions=True
        )
        told = [str(t) for t in tries]
        assert sum("no answer within 0.3 s" in t for t in told) == 8
        assert sum("8 calls have not ended" in t for t in told) == 4
        chat.hang.set()
        async with asyncio.timeout(60):
            while not await taken(notifier):  # noqa: ASYNC110 - the threads that hung tell nobody that they ended
                await asyncio.sleep(0.05)


async def taken(notifier):
    try:
        await notifier.send(notification())
    except NotificationError:
        return False
    return True


async def test_every_recipient_is_told(chat):
    settings = chat.settings(lin="lin", mei="mei")
    async with channel(settings) as notifier:
        await notifier.send(notification())
    assert chat.paths == ["/room", "/lin", "/mei"]


@pytest.mark.parametrize(
    "address", ["", "R001", "nosuch://host/", "http://\x00", "slack://", "json://a json://b"]
)
async def test_an_address_that_is_none_is_a_fault_of_the_configuration(chat, monkeypatch, address):
    settings = chat.settings()
    monkeypatch.setattr("alerts.notify.chat.read_secret", lambda *_: address)
    with pytest.raises(ConfigurationError, match=r"recipients.ops.url: is no address that apprise knows"):
        async with channel(settings):
            pass
