"""E-mail through an SMTP server."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from email.message import EmailMessage
from email.utils import format_datetime

import aiosmtplib

from alerts.notify.mail_page import Picture, page, pictures
from alerts.notify.message import MOST_IN_MESSAGE, Notification
from alerts.notify.sheet import ENGLISH, Reader, subject
from alerts.notify.text import body
from alerts.settings import Smtp
from domain.alert import Severity
from domain.errors import NotificationError
from domain.secret import read_secret
from domain.trust import trusted
from storage.delivery_records import Event

DRAWING_S = 2.0
"""How long a mail waits for its pictures."""
_DRAWING = ThreadPoolExecutor(1, thread_name_prefix="alerts-pictures")


class SmtpNotifier:
    """Sends one mail per notification, to all recipients.

    Raises
    ------
    ConfigurationError
        If the password that the settings name is not there.
    """

    most = MOST_IN_MESSAGE
    trends = 3
    """Alerts of one mail that have a picture."""

    def __init__(self, settings: Smtp, reader: Reader = ENGLISH) -> None:
        self._settings = settings
        self._reader = reader
        self._password = read_secret(settings.password_env, settings.password_file, "alerts.yaml", "password")
        self._tls: ssl.SSLContext | None = None
        if settings.security != "none":
            self._tls = trusted(settings.ca_file, "alerts.yaml")

    async def send(self, notification: Notification) -> str:
        """Send the mail; see `alerts.notify.Notifier`."""
        s = self._settings
        message = await self._written(notification)
        try:
            async with asyncio.timeout(s.timeout):  # the library's own is for each step
                refused, _answer = await aiosmtplib.send(
                    message,
                    sender=s.sender,
                    recipients=list(s.recipients),
                    hostname=s.host,
                    port=s.port,
                    username=s.username or None,
                    password=self._password or None,
                    use_tls=s.security == "tls",
                    start_tls=s.security == "starttls",
                    tls_context=self._tls,
                    timeout=s.timeout,
                )
        except (aiosmtplib.SMTPException, OSError, ValueError) as error:
            raise NotificationError(
                f"mail server {s.host}:{s.port}: {error}", retryable=_retryable(error)
            ) from error
        if refused:
            return "refused: " + ", ".join(f"{who} ({response.code})" for who, response in refused.items())
        return ""

    async def reach(self) -> str:
        """Greet the server, and log in where a user is configured; no mail is sent."""
        s = self._settings
        client = aiosmtplib.SMTP(
            hostname=s.host,
            port=s.port,
            use_tls=s.security == "tls",
            start_tls=s.security == "starttls",
            tls_context=self._tls,
            timeout=s.timeout,
        )
        try:
            async with asyncio.timeout(s.timeout):
                await client.connect()
                if s.username:
                    await client.login(s.username, self._password)
                await client.quit()
        except aiosmtplib.SMTPAuthenticationError as error:
            said = (
                f"mail server {s.host}:{s.port} refuses the login ({error}): are username and password right?"
            )
            raise NotificationError(said, retryable=False) from error
        except (aiosmtplib.SMTPException, OSError, ValueError) as error:
            raise NotificationError(
                f"mail server {s.host}:{s.port}: {error}", retryable=_retryable(error)
            ) from error
        finally:
            client.close()
        return f"the mail server answers{' and knows the user' if s.username else ''}"

    async def _written(self, notification: Notification) -> EmailMessage:
        """Return the mail; pictures are drawn in a thread, and left out where that takes long."""
        reader = self._reader.of_page(notification)
        shown: dict[int, Picture] = {}
        if any(n.facts.trend is not None for n in notification.notices):
            drawing = asyncio.get_running_loop().run_in_executor(_DRAWING, pictures, notification, reader)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(DRAWING_S):
                    shown = await asyncio.shield(drawing)
        return self._message(notification, reader, shown)

    def _message(
        self, notification: Notification, reader: Reader, shown: Mapping[int, Picture]
    ) -> EmailMessage:
        title = subject(notification, reader)
        message = EmailMessage()
        message["From"] = self._settings.sender
        message["To"] = ", ".join(self._settings.recipients)
        message["Subject"] = title
        message["Date"] = format_datetime(datetime.now(notification.zone))
        message["Message-ID"] = f"<{notification.id}@{notification.site_id}.hallwatch>"
        message["Auto-Submitted"] = "auto-generated"
        threads = sorted({n.alert.id for n in notification.notices})
        message["References"] = " ".join(
            f"<alert-{alert}@{notification.site_id}.hallwatch>" for alert in threads[:20]
        )
        opened = any(n.event is not Event.CLEARED for n in notification.notices)
        if opened and notification.severity.rank >= Severity.HIGH.rank:
            message["Importance"] = "high"
        message.set_content(body(notification, reader))
        message.add_alternative(page(notification, reader, title, shown), subtype="html")
        inside = list(message.iter_parts())[1]
        for picture in shown.values():
            inside.add_related(
                picture.png,
                "image",
                "png",
                cid=f"<{picture.cid}>",
                disposition="inline",
                filename="trend.png",
            )
        return message


def _retryable(error: Exception) -> bool:
    if isinstance(error, aiosmtplib.SMTPRecipientsRefused):
        return any(400 <= refused.code < 500 for refused in error.recipients)
    if isinstance(error, aiosmtplib.SMTPResponseException):
        return 400 <= error.code < 500
    # the bare class: the server lacks what the settings ask for, such as STARTTLS
    misfit = type(error) is aiosmtplib.SMTPException
    return not misfit and not isinstance(
        error, ssl.SSLCertVerificationError | aiosmtplib.SMTPNotSupported | ValueError
    )
