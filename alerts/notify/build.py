"""Notifiers from the configuration; a channel's libraries are loaded only where it is used."""

from __future__ import annotations

from collections.abc import Mapping

from alerts.notify.message import Notifier
from alerts.settings import Alertmanager, Channel, Chat, PagerDuty, Smtp


def build_notifiers(channels: Mapping[str, Channel]) -> dict[str, Notifier]:
    """Return a notifier per channel name, and one per recipient of those that have several: channel/recipient.

    Raises
    ------
    ConfigurationError
        If a secret that a channel names is not there.
    """
    found = {name: _notifier(settings) for name, settings in channels.items()}
    for name, settings in channels.items():
        found |= {f"{name}/{who}": _notifier(one) for who, one in settings.each().items()}
    return found


def _notifier(settings: Channel) -> Notifier:
    if isinstance(settings, Smtp):
        from alerts.notify.smtp import SmtpNotifier

        return SmtpNotifier(settings)
    if isinstance(settings, PagerDuty):
        from alerts.notify.pagerduty import PagerDutyNotifier

        return PagerDutyNotifier(settings)
    if isinstance(settings, Chat):
        from alerts.notify.chat import ChatNotifier

        return ChatNotifier(settings)
    if isinstance(settings, Alertmanager):
        from alerts.notify.alertmanager import AlertmanagerNotifier

        return AlertmanagerNotifier(settings)
    from alerts.notify.webhook import WebhookNotifier

    return WebhookNotifier(settings)
