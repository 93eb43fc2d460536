"""PagerDuty by its Events API v2: one event an alert, under a key that stays the same for the alert's life.

A page triggers an incident, somebody who takes the alert acknowledges it, and that the alert cleared resolves it.
Limits are those of PagerDuty's documentation: 1,024 characters of summary, 255 of key, 512 kB in all. Answers: 202 is
accepted, 429 and 5xx may be tried again, 400 is for good.
"""

from __future__ import annotations

import hashlib
from typing import Any

import orjson

from alerts.notify.message import Notice, Notification, line
from alerts.notify.post import post, reach
from alerts.notify.sheet import ENGLISH, Reader, sheet
from alerts.settings import PagerDuty
from domain.alert import Alert, Severity
from domain.errors import ConfigurationError, Problem, printable
from domain.secret import read_secret
from domain.trust import trusted
from storage.delivery_records import Event

MOST_OF_SUMMARY = 1024
MOST_OF_KEY = 255
MOST_OF_FIELD = 200
EARLY = 1000
"""Alerts told before they had a number that are remembered, so that the incident of each is resolved."""
_SEVERITIES = {Severity.HIGH: "error"}
"""Where PagerDuty's name is another than ours."""
_ACTIONS = {Event.ACKNOWLEDGED: "acknowledge", Event.CLEARED: "resolve"}


class PagerDutyNotifier:
    """Posts one event per alert.

    Raises
    ------
    ConfigurationError
        If the integration key that the settings name is not there or is not usable.
    """

    most = 1
    trends = 0
    """An event tells of one alert; each is a delivery, and is tried again, by itself."""

    def __init__(self, settings: PagerDuty, reader: Reader = ENGLISH) -> None:
        self._settings = settings
        self._reader = reader
        self._key = read_secret(
            settings.routing_key_env, settings.routing_key_file, "alerts.yaml", "routing_key"
        )
        if not self._key.isalnum():
            what = "is no integration key: letters and digits are wanted"
            raise ConfigurationError(Problem("alerts.yaml", "routing_key", what, "PagerDuty's page has it."))
        self._tls = trusted(settings.ca_file, "alerts.yaml")
        self._early: dict[str, None] = {}

    async def send(self, notification: Notification) -> str:
        """Post an event per alert; see `alerts.notify.Notifier`."""
        for notice in notification.notices:
            for key in self._keys(notification, notice):
                await self._post(
                    event(notification, notice, self._key, key, self._reader.of_page(notification))
                )
            self._remember(notification, notice)
        return ""

    async def reach(self) -> str:
        """Open a connection to PagerDuty; nothing is posted."""
        return await reach("PagerDuty", self._settings.url, self._settings.timeout, self._tls)

    async def _post(self, message: dict[str, Any]) -> None:
        headers = {"content-type": "application/json", "user-agent": "hallwatch"}
        content = orjson.dumps(message)
        await post("PagerDuty", self._settings.url, content, headers, self._settings.timeout, self._tls)

    def _keys(self, notification: Notification, notice: Notice) -> list[str]:
        """Return the key of the incident; of two, where the alert was told before it had a number."""
        own, early = (_dedup_key(notification, notice.alert, n) for n in (notice.alert.id, 0))
        return [own, early] if early in self._early and notice.event in _ACTIONS and own != early else [own]

    def _remember(self, notification: Notification, notice: Notice) -> None:
        early = _dedup_key(notification, notice.alert, 0)
        if notice.event is Event.CLEARED:
            self._early.pop(early, None)
        elif not notice.alert.id:
            self._early[early] = None
            if len(self._early) > EARLY:
                del self._early[next(iter(self._early))]


def event(
    notification: Notification, notice: Notice, routing_key: str, dedup_key: str, reader: Reader
) -> dict[str, Any]:
    """Return what is posted about one alert."""
    condition = notice.alert.condition
    action = _ACTIONS.get(notice.event, "trigger")
    message: dict[str, Any] = {"routing_key": routing_key, "event_action": action, "dedup_key": dedup_key}
    if action != "trigger":
        return message
    message["client"] = "Hallwatch"
    if notification.console_url:
        message["client_url"] = notification.console_url
    told = sheet(notification, notice, reader)
    if told.links:
        message["links"] = [{"href": url, "text": text} for text, url in told.links]
    rows = [*told.rows, (reader.words("label", "first_action"), told.first_action)]
    message["payload"] = {
        "summary": line(f"{told.headline} ({notification.site_id})", MOST_OF_SUMMARY),
        "severity": _SEVERITIES.get(condition.severity, condition.severity.value),
        "source": line(condition.object_id, MOST_OF_FIELD) or notification.site_id,
        "component": line(condition.object_id, MOST_OF_FIELD),
        "group": line(notification.site_id, MOST_OF_FIELD),
        "class": line(condition.rule, MOST_OF_FIELD),
        "custom_details": {name.lower(): text for name, text in rows if text},
    }
    return message


def _dedup_key(notification: Notification, alert: Alert, number: int) -> str:
    # an alert may become another rule's: its number stays
    key = f"{notification.site_id}/{number}" if number else f"{notification.site_id}/{alert.condition.key}/0"
    if len(key) <= MOST_OF_KEY and key.isprintable():
        return key
    return f"{notification.site_id[:100]}/{hashlib.sha256(printable(key).encode()).hexdigest()}/{number}"
