"""JSON by HTTP POST, signed the way of Standard Webhooks where a secret is configured.

Headers: ``webhook-id`` (the same for every attempt), ``webhook-timestamp`` (Unix seconds) and, with a secret,
``webhook-signature``: ``v1,`` and the base64 of HMAC-SHA256 over ``id.timestamp.body``.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import time

import orjson

from alerts.notify.message import MOST_IN_MESSAGE, Notification
from alerts.notify.payload import payload
from alerts.notify.post import post, reach
from alerts.notify.sheet import ENGLISH, Reader
from alerts.settings import Webhook
from domain.errors import ConfigurationError, Problem
from domain.secret import read_secret
from domain.trust import trusted


class WebhookNotifier:
    """Posts one JSON object per notification; any 2xx answer counts as delivered.

    Raises
    ------
    ConfigurationError
        If the secret that the settings name is not there or is not usable.
    """

    most = MOST_IN_MESSAGE
    trends = 0

    def __init__(self, settings: Webhook, reader: Reader = ENGLISH) -> None:
        self._settings = settings
        self._reader = reader
        self._key = _key(read_secret(settings.secret_env, settings.secret_file, "alerts.yaml", "secret"))
        self._tls = trusted(settings.ca_file, "alerts.yaml")

    async def send(self, notification: Notification) -> str:
        """Post the message; see `alerts.notify.Notifier`."""
        content = orjson.dumps(payload(notification, self._reader.of_page(notification)))
        moment = str(int(time.time()))
        headers = {
            "content-type": "application/json",
            "user-agent": "hallwatch",
            "webhook-id": notification.id,
            "webhook-timestamp": moment,
        }
        if self._key:
            headers["webhook-signature"] = signature(self._key, notification.id, moment, content)
        await post("webhook", self._settings.url, content, headers, self._settings.timeout, self._tls)
        return ""

    async def reach(self) -> str:
        """Open a connection to the receiver; nothing is posted."""
        return await reach("webhook", self._settings.url, self._settings.timeout, self._tls)


def signature(key: bytes, message_id: str, timestamp: str, content: bytes) -> str:
    """Return the signature header of a message."""
    signed = b".".join((message_id.encode(), timestamp.encode(), content))
    return "v1," + base64.b64encode(hmac.new(key, signed, hashlib.sha256).digest()).decode()


def _key(text: str) -> bytes:
    """Return the signing key: base64 after ``whsec_``, any other text as it stands."""
    if not text.startswith("whsec_"):
        return text.encode()
    try:
        return base64.b64decode(text.removeprefix("whsec_"), validate=True)
    except binascii.Error as error:
        raise ConfigurationError(
            Problem(
                "alerts.yaml", "secret", f"what follows whsec_ is not base64 ({error})", "Write it again."
            )
        ) from error
