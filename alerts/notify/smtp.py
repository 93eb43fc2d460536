"""E-mail through an SMTP server."""

from __future__ import annotations

import asyncio
import ssl
from datetime import datetime
from email.message import EmailMessage
from email.utils import format_datetime

import aiosmtplib

from alerts.notify.message import MOST_IN_MESSAGE, Notification, body, subject
from alerts.settings import Smtp
from domain.alert import Severity
from domain.errors import NotificationError
from domain.secret import read_secret
from domain.trust import trusted
from storage.alert_records import Event


class SmtpNotifier:
    """Sends one mail per notification, to all recipients.

    Raises
    ------
    ConfigurationError
        If the password that the settings name is not there.
    """

    most = MOST_IN_MESSAGE

    def __init__(self, settings: Smtp) -> None:
        self._settings = settings
        self._password = read_secret(settings.password_env, settings.password_file, "alerts.yaml", "password")
        self._tls: ssl.SSLContext | None = None
        if settings.security != "none":
            self._tls = trusted(settings.ca_file, "alerts.yaml")

    async def send(self, notification: Notification) -> str:
        """Send the mail; see `alerts.notify.Notifier`."""
        s = self._settings
        try:
            async with asyncio.timeout(s.timeout):  # the library's own is for each step
                refused, _answer = await aiosmtplib.send(
                    self._message(notification),
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

    def _message(self, notification: Notification) -> EmailMessage:
        message = EmailMessage()
        message["From"] = self._settings.sender
        message["To"] = ", ".join(self._settings.recipients)
        message["Subject"] = subject(notification)
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
        message.set_content(body(notification))
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
