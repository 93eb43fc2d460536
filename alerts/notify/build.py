"""Notifiers from the configuration; a channel's libraries are loaded only where it is used."""

from __future__ import annotations

from collections.abc import Mapping

from alerts.notify.message import Notifier
from alerts.settings import Channel, PagerDuty, Smtp


def build_notifiers(channels: Mapping[str, Channel]) -> dict[str, Notifier]:
    """Return a notifier per channel name.

    Raises
    ------
    ConfigurationError
        If a secret that a channel names is not there.
    """
    return {name: _notifier(settings) for name, settings in channels.items()}


def _notifier(settings: Channel) -> Notifier:
    if isinstance(settings, Smtp):
        from alerts.notify.smtp import SmtpNotifier

        return SmtpNotifier(settings)
    if isinstance(settings, PagerDuty):
        from alerts.notify.pagerduty import PagerDutyNotifier

        return PagerDutyNotifier(settings)
    from alerts.notify.webhook import WebhookNotifier

    return WebhookNotifier(settings)
