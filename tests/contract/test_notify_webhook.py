"""The webhook in particular: documented schema, signature that a receiver can check."""

import asyncio
import base64
import contextlib
import hashlib
import hmac
import json
import math
from pathlib import Path

import jsonschema
import orjson
import pytest

from alerts.notify.payload import payload
from alerts.notify.sheet import ENGLISH
from alerts.notify.webhook import signature
from domain.errors import ConfigurationError, NotificationError
from storage.delivery_records import Event
from tests.contract.notify_receivers import HookReceiver, channel, notification

SCHEMA = json.loads(
    (Path(__file__).parents[2] / "config/schemas/webhook.schema.json").read_text(encoding="utf-8")
)


@pytest.fixture
async def hook():
    async with HookReceiver().serve() as serving:
        yield serving


@pytest.mark.parametrize("event", sorted({*Event} - {Event.ACKNOWLEDGED}))
def test_every_message_fits_the_published_schema(event):
    told = notification("R001", "R002", event=event)
    object.__setattr__(told.notices[0].alert.condition, "value", math.nan)
    message = orjson.loads(orjson.dumps(payload(told, ENGLISH)))
    jsonschema.validate(message, SCHEMA, format_checker=jsonschema.FormatChecker())


def test_the_schema_describes_every_field():
    message = payload(notification(), ENGLISH)
    assert set(message) == set(SCHEMA["properties"])
    assert set(message["alerts"][0]) == set(SCHEMA["$defs"]["alert"]["properties"])


async def test_a_receiver_can_check_the_signature_with_the_standard_library(hook, monkeypatch):
    key = b"0123456789abcdef0123456789abcdef"
    monkeypatch.setenv("HOOK_SECRET_OF_THE_TEST", "whsec_" + base64.b64encode(key).decode())
    async with channel(hook.settings() | {"secret_env": "HOOK_SECRET_OF_THE_TEST"}) as notifier:
        await notifier.send(notification())
    ((headers, body),) = hook.got
    signed = f"{headers['webhook-id']}.{headers['webhook-timestamp']}.".encode() + body
    expected = base64.b64encode(hmac.new(key, signed, hashlib.sha256).digest()).decode()
    assert headers["webhook-signature"] == f"v1,{expected}"


def test_the_signature_is_that_of_the_standard_s_published_example():
    # Standard Webhooks, specification, example of a signature
    key = base64.b64decode("MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
    content = b'{"test": 2432232314}'
    assert signature(key, "msg_p5jXN8AQM9LWM0D4loKWxJek", "1614265330", content) == (
        "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="
    )


async def test_without_a_secret_there_is_no_signature(hook):
    async with channel(hook.settings()) as notifier:
        await notifier.send(notification())
    assert "webhook-signature" not in hook.got[0][0]


async def test_a_redirect_is_not_followed_with_the_message(hook):
    hook.answer = 302
    async with channel(hook.settings()) as notifier:
        with pytest.raises(NotificationError, match="302"):
            await notifier.send(notification())


async def test_a_secret_that_is_not_base64_is_refused_at_the_start(hook, tmp_path):
    (tmp_path / "secret").write_text("whsec_not base64!")
    with pytest.raises(ConfigurationError, match="not base64"):
        async with channel(hook.settings() | {"secret_file": str(tmp_path / "secret")}):
            pass


@pytest.mark.parametrize(
    ("url", "again"),
    [("http://[::1", False), ("http://\x00/", False), ("http://a..b/", True), ("http://h:99999/", True)],
)
async def test_an_address_that_cannot_be_asked_is_told(url, again):
    async with channel({"kind": "webhook", "url": url}) as notifier:
        with pytest.raises(NotificationError, match="webhook: ") as told:
            await notifier.send(notification())
    assert told.value.retryable == again


@pytest.mark.parametrize(
    ("head", "timeout"),
    [(b"HTTP/1.1 200 OK\r\n", 0.5), (b"HTTP/1.1 200 OK\r\nContent-Length: 1000000000\r\n\r\n", 30)],
)
async def test_a_receiver_that_drips_takes_no_longer_than_the_timeout(head, timeout):
    async def drip(_reader, writer):
        with contextlib.suppress(OSError):
            writer.write(head)
            while not writer.is_closing():
                writer.write(b"x-a: b\r\n")
                await asyncio.sleep(0.02)

    async with await asyncio.start_server(drip, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        hook = {"kind": "webhook", "url": f"http://127.0.0.1:{port}/", "timeout": timeout}
        async with channel(hook) as notifier, asyncio.timeout(60):
            if head.endswith(b"\r\n\r\n"):
                await notifier.send(
                    notification()
                )  # it was taken; what follows the status is nobody's business
            else:
                with pytest.raises(NotificationError) as told:
                    await notifier.send(notification())
                assert told.value.retryable
