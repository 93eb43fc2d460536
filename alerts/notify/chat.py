"""Chat services (LINE, Slack, Teams, Telegram, ntfy and many others) through the library apprise.

The library blocks, and a receiver that drips may hold a call for ever: calls run in threads of their own, so many at a
time and recipient, and are waited for so long. It is told that a text is plain, and escapes it as each service needs.
"""

from __future__ import annotations

import asyncio
import json
import re
import threading
from collections.abc import Callable

import apprise
from apprise import NotifyFormat, NotifyType
from apprise.common import OverflowMode, PersistentStoreMode
from apprise.plugins.ntfy import NotifyNtfy

from alerts.notify.message import MOST_IN_MESSAGE, Notification
from alerts.notify.post import TRY_AGAIN, reach
from alerts.notify.sheet import ENGLISH, Reader, subject
from alerts.notify.text import MOST_LISTED, body
from alerts.settings import Chat
from domain.alert import Severity
from domain.errors import ConfigurationError, NotificationError, Problem, printable
from domain.secret import read_secret
from domain.trust import trusted
from storage.delivery_records import Event

AT_ONCE = 8
"""Calls of one recipient that may be under way, those that were given up counted."""
MOST_OF_TEXT = 15_000
MOST_FOR_NTFY = 6000
MOST_OF_REASON = 300
_ROOM = 300  # for what escaping and the title, where it goes into the text, add
_STATUS = re.compile(r"error=(\d{3})\b")
_TYPES = {
    Severity.CRITICAL: NotifyType.FAILURE,
    Severity.HIGH: NotifyType.FAILURE,
    Severity.WARNING: NotifyType.WARNING,
    Severity.INFO: NotifyType.INFO,
}


class ChatNotifier:
    """Sends a text to each recipient.

    Raises
    ------
    ConfigurationError
        If the address of a recipient is not there, or is none that the library knows.
    """

    most = MOST_IN_MESSAGE
    trends = 0

    def __init__(self, settings: Chat, reader: Reader = ENGLISH) -> None:
        self._settings = settings
        self._recipients = {
            name: _Recipient(
                name, reader, read_secret(who.url_env, who.url_file, "alerts.yaml", f"recipients.{name}.url")
            )
            for name, who in settings.recipients.items()
        }

    async def send(self, notification: Notification) -> str:
        """Send the text; see `alerts.notify.Notifier`."""
        errors: list[NotificationError] = []
        for recipient in self._recipients.values():
            try:
                await recipient.send(notification, self._settings.timeout)
            except NotificationError as error:
                errors.append(error)
        if len(errors) == len(self._recipients):
            raise errors[0]
        return "; ".join(map(str, errors))

    async def reach(self) -> str:
        """Open a connection to where each recipient's service is, as far as the library tells; nothing is sent."""
        told = [await recipient.reach(self._settings.timeout) for recipient in self._recipients.values()]
        return "; ".join(dict.fromkeys(told))


class _Recipient:
    def __init__(self, name: str, reader: Reader, url: str) -> None:
        self._name = name
        self._reader = reader
        self._url = url
        self._under_way = 0
        self._lock = threading.Lock()
        self._plugin = self._fresh()[0]
        title, text = int(self._plugin.title_maxlen), int(self._plugin.body_maxlen)
        self._most = max(min(text - (0 if title else _ROOM), MOST_OF_TEXT), 1)
        self._measure: Callable[[str], int] = len
        if isinstance(self._plugin, NotifyNtfy):
            self._most, self._measure = MOST_FOR_NTFY, _ntfy_length

    async def send(self, notification: Notification, timeout: float) -> None:
        reason = await self._in_thread(lambda: self._call(notification), timeout)
        if reason is None:
            return
        codes = [int(code) for code in _STATUS.findall(reason)]
        for_good = bool(codes) and all(400 <= code < 500 and code not in TRY_AGAIN for code in codes)
        told = printable(" ".join(reason.split()))[:MOST_OF_REASON]
        raise NotificationError(f"chat {self._name}: {told}", retryable=not for_good)

    async def reach(self, timeout: float) -> str:
        address = _address(self._plugin)
        if not address:
            return "the address is one that the library knows; only a page tells more"
        return await reach(f"chat {self._name}", address, timeout, trusted("", "alerts.yaml"))

    def _fresh(self) -> apprise.Apprise:
        """Return the library's object, a new one for each message: it keeps state that no two threads may share."""
        asset = apprise.AppriseAsset(
            app_id="Hallwatch",
            app_desc="Hallwatch",
            app_url="",
            image_url_mask="",  # of a server far away
            image_url_logo="",
            async_mode=False,
            http_redirects=False,
            interpret_emojis=False,
            pgp_autogen=False,
            pem_autogen=False,
            storage_mode=PersistentStoreMode.MEMORY,
            allow_templates=False,
            service_timeout=0,  # ours is outside, and knows of threads that hang
            secure_logging=True,
        )
        made = apprise.Apprise(asset=asset)
        if not made.add(self._url) or len(made) != 1:
            what = "is no address that apprise knows"
            remedy = "Write one such as ntfy://host/topic; the library's documentation lists the services."
            raise ConfigurationError(Problem("alerts.yaml", f"recipients.{self._name}.url", what, remedy))
        made[0].overflow_mode = OverflowMode.TRUNCATE
        return made

    def _call(self, notification: Notification) -> str | None:
        """Send, and return why it was not taken; None where it was."""
        cleared = all(n.event is Event.CLEARED for n in notification.notices)
        reader = self._reader.of_page(notification)
        kind = NotifyType.SUCCESS if cleared else _TYPES[notification.severity]
        sent = self._fresh().notify(
            title=_quiet(subject(notification, reader)),
            body=_quiet(fitting(notification, reader, self._most, self._measure)),
            notify_type=kind,
            body_format=NotifyFormat.TEXT,
        )
        if sent:
            return None
        return "; ".join(entry.message for entry in sent.logs()) or "not delivered"

    async def _in_thread(self, call: Callable[[], str | None], timeout: float) -> str | None:
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[str | None] = loop.create_future()

        def settle(result: str | None, error: Exception | None) -> None:
            if answer.done():
                return
            if error is None:
                answer.set_result(result)
            else:
                answer.set_exception(error)

        def work() -> None:
            result: str | None = None
            fault: Exception | None = None
            try:
                result = call()
            except Exception as error:  # of a plugin: told as any other failure
                fault = NotificationError(
                    f"chat {self._name}: {type(error).__name__} {error}", retryable=True
                )
            with self._lock:
                self._under_way -= 1
            if not loop.is_closed():
                loop.call_soon_threadsafe(settle, result, fault)

        with self._lock:
            if self._under_way >= AT_ONCE:
                told = f"chat {self._name}: {AT_ONCE} calls have not ended"
                raise NotificationError(told, retryable=True)
            self._under_way += 1
        # a thread of a pool would be waited for when the process ends
        threading.Thread(target=work, name="alerts-chat", daemon=True).start()
        try:
            async with asyncio.timeout(timeout):
                return await answer
        except TimeoutError as error:
            told = f"chat {self._name}: no answer within {timeout:g} s"
            raise NotificationError(told, retryable=True) from error


def fitting(
    notification: Notification, reader: Reader, most: int, measure: Callable[[str], int] = len
) -> str:
    """Return the text of a message with as many alerts written out as fit into `most` by `measure`, one at least."""
    listed = MOST_LISTED
    text = body(notification, reader, listed)
    while measure(text) > most and listed > 1:
        listed = max(min(listed - 1, listed * most // measure(text)), 1)
        text = body(notification, reader, listed)
    while measure(text) > most:
        text = text[: min(len(text) * most // measure(text), len(text) - 1)]
    return text


def _ntfy_length(text: str) -> int:
    """Return how much a text is to ntfy: it takes 4,096 bytes, and the library 8,000 of ASCII JSON, or attaches a file."""
    return max(len(text.encode(errors="replace")) * MOST_FOR_NTFY // 4000, len(json.dumps(text)))


def _quiet(text: str) -> str:
    """Return a text that calls nobody by name, such as @everyone: some services look for that in plain text, too."""
    return text.replace("@", "\N{FULLWIDTH COMMERCIAL AT}")


def _address(plugin: apprise.NotifyBase) -> str:
    """Return where a service listens, as far as it can be told; what may be a key is never taken for a host."""
    for name in ("notify_url", "webhook_url", "cloud_notify_url"):
        value = getattr(plugin, name, None)
        if isinstance(value, str) and value.startswith("http") and "{" not in value.split("/")[2]:
            return value
    templates: tuple[str, ...] = plugin.templates
    if any("{host}" in template for template in templates) and plugin.host:
        return f"http{'s' if plugin.secure else ''}://{plugin.host}" + (
            f":{plugin.port}" if plugin.port else ""
        )
    return ""
