"""JSON by HTTP POST, signed the way of Standard Webhooks where a secret is configured.

Headers: ``webhook-id`` (the same for every attempt), ``webhook-timestamp`` (Unix seconds) and, with a secret,
``webhook-signature``: ``v1,`` and the base64 of HMAC-SHA256 over ``id.timestamp.body``.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import hashlib
import hmac
import time

import httpx
import orjson

from alerts.notify.message import Notification, payload
from alerts.settings import Webhook
from domain.errors import ConfigurationError, NotificationError, Problem
from domain.secret import read_secret
from domain.trust import trusted

_TRY_AGAIN = frozenset({408, 425, 429})
"""Client errors that pass by themselves; every other 4xx needs somebody to change something."""


class WebhookNotifier:
    """Posts one JSON object per notification; any 2xx answer counts as delivered.

    Raises
    ------
    ConfigurationError
        If the secret that the settings name is not there or is not usable.
    """

    def __init__(self, settings: Webhook) -> None:
        self._settings = settings
        self._key = _key(read_secret(settings.secret_env, settings.secret_file, "alerts.yaml", "secret"))
        self._tls = trusted(settings.ca_file, "alerts.yaml")

    async def send(self, notification: Notification) -> str:
        """Post the message; see `alerts.notify.Notifier`."""
        content = orjson.dumps(payload(notification))
        moment = str(int(time.time()))
        headers = {
            "content-type": "application/json",
            "user-agent": "hallwatch",
            "webhook-id": notification.id,
            "webhook-timestamp": moment,
        }
        if self._key:
            headers["webhook-signature"] = signature(self._key, notification.id, moment, content)
        try:
            async with (
                asyncio.timeout(self._settings.timeout),
                httpx.AsyncClient(timeout=self._settings.timeout, verify=self._tls) as client,
                client.stream("POST", self._settings.url, content=content, headers=headers) as response,
            ):
                pass  # the answer's body is not read: it may be of any length
        except Exception as error:
            # what is no HTTPError (httpx.InvalidURL, UnicodeError of a host's name) comes of the address, as some of these do
            passes = isinstance(error, (httpx.HTTPError, TimeoutError, OSError))
            broken = isinstance(error, httpx.UnsupportedProtocol | httpx.LocalProtocolError)
            reason = f"{type(error).__name__} {str(error)[:300]}".strip()
            raise NotificationError(f"webhook: {reason}", retryable=passes and not broken) from error
        if response.is_success:
            return ""
        again = response.is_server_error or response.status_code in _TRY_AGAIN
        wait = response.headers.get("retry-after", "")
        raise NotificationError(
            f"webhook: the receiver answered {response.status_code}",
            retryable=again,
            retry_after=float(wait) if wait.isascii() and wait.isdigit() and len(wait) < 7 else None,
        )

    async def reach(self) -> str:
        """Open a connection to the receiver, with TLS where the address says so; nothing is posted."""
        try:
            url = httpx.URL(self._settings.url)
            port = url.port or (443 if url.scheme == "https" else 80)
            tls = self._tls if url.scheme == "https" else None
            async with asyncio.timeout(self._settings.timeout):
                _, writer = await asyncio.open_connection(url.host, port, ssl=tls)
            writer.close()
        except Exception as error:  # of the resolver, TLS, or an address that is none
            told = str(error) or f"no answer within {self._settings.timeout:g} s"
            raise NotificationError(f"webhook: {type(error).__name__} {told}", retryable=True) from error
        return "the receiver takes connections; whether it takes pages, only a page tells"


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
