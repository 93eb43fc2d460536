"""Notifiers from the configuration; a channel's libraries are loaded only where it is used."""

from __future__ import annotations

from collections.abc import Mapping

from alerts.notify.message import Notifier
from alerts.notify.sheet import Reader
from alerts.settings import Alertmanager, Channel, Chat, PagerDuty, Smtp


def build_notifiers(channels: Mapping[str, Channel]) -> dict[str, Notifier]:
    """Return a notifier per channel name, and one per recipient of those that have several: channel/recipient.

    Raises
    ------
    ConfigurationError
        If a secret that a channel names is not there.
    """
    ways = dict(channels)
    for name, settings in channels.items():
        ways |= {f"{name}/{who}": one for who, one in settings.each().items()}
    return {name: _notifier(one, Reader.of(one.language, one.timezone)) for name, one in ways.items()}


def _notifier(settings: Channel, reader: Reader) -> Notifier:
    if isinstance(settings, Smtp):
        from alerts.notify.smtp import SmtpNotifier

        return SmtpNotifier(settings, reader)
    if isinstance(settings, PagerDuty):
        from alerts.notify.pagerduty import PagerDutyNotifier

        return PagerDutyNotifier(settings, reader)
    if isinstance(settings, Chat):
        from alerts.notify.chat import ChatNotifier

        return ChatNotifier(settings, reader)
    if isinstance(settings, Alertmanager):
        from alerts.notify.alertmanager import AlertmanagerNotifier

        return AlertmanagerNotifier(settings, reader)
    from alerts.notify.webhook import WebhookNotifier

    return WebhookNotifier(settings, reader)
