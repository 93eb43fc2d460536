"""Prometheus Alertmanager, by its API v2: one alert there for one here, under labels that stay the same.

Alertmanager keeps alerts in memory, and no longer than they tell: what holds is told again and again (`remind`), to each of
a cluster by itself, since they share what was notified and silenced, but no alerts. What ended is told for as long, too.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import time
from typing import Any

import orjson

from alerts.notify.message import (
    Notice,
    Notification,
    figure,
    iso,
    line,
    moment_url,
    runbook_url,
)
from alerts.notify.post import post, reach
from alerts.notify.sheet import ENGLISH, Reader, sheet
from alerts.settings import Alertmanager
from domain.errors import NotificationError
from domain.secret import read_secret
from domain.trust import trusted
from storage.delivery_records import Event

MOST_OF_LABEL = 200
MOST_OF_ANNOTATION = 1000
MOST_KEPT = 10_000
"""Label sets that are remembered, to end the old one when a severity changes, and to tell an end again."""
Labels = tuple[tuple[str, str], ...]


class AlertmanagerNotifier:
    """Posts alerts to every Alertmanager of a cluster; that one takes them counts as delivered.

    Raises
    ------
    ConfigurationError
        If a secret that the settings name is not there.
    """

    most = 500
    trends = 0

    def __init__(self, settings: Alertmanager, reader: Reader = ENGLISH) -> None:
        self._settings = settings
        self._reader = reader
        self.remind_every = settings.resend
        password = read_secret(settings.password_env, settings.password_file, "alerts.yaml", "password")
        token = read_secret(settings.token_env, settings.token_file, "alerts.yaml", "token")
        self._headers = {"content-type": "application/json", "user-agent": "hallwatch"}
        if settings.username:
            self._headers["authorization"] = _basic(settings.username, password)
        elif token:
            self._headers["authorization"] = f"Bearer {token}"
        self._tls = trusted(settings.ca_file, "alerts.yaml")
        self._labels: dict[str, Labels] = {}  # by key of the alert: under which labels it is known there
        self._ended: dict[Labels, tuple[float, dict[str, Any]]] = {}  # until when it is told again, monotonic

    async def send(self, notification: Notification) -> str:
        """Post the alerts; see `alerts.notify.Notifier`."""
        found = [posted for n in notification.notices for posted in self._posted(notification, n)]
        return await self._post(found)

    async def remind(self, notification: Notification) -> str:
        """Post again what holds, and what ended lately; return what was remarked.

        Raises
        ------
        NotificationError
            If none of them took it.
        """
        holding = [
            posted
            for notice in notification.notices
            if not self._over(notification, notice)
            for posted in self._posted(notification, notice)
        ]
        now = time.monotonic()
        self._ended = {labels: ended for labels, ended in self._ended.items() if ended[0] > now}
        found = holding + [alert for _, alert in self._ended.values()]
        remarks = [await self._post(found[i : i + self.most]) for i in range(0, len(found), self.most)]
        return "; ".join(dict.fromkeys(filter(None, remarks)))

    async def reach(self) -> str:
        """Open a connection to each; nothing is posted."""
        told = [await reach("Alertmanager", url, self._settings.timeout, self._tls) for url in self._urls()]
        return "; ".join(dict.fromkeys(told))

    def _urls(self) -> list[str]:
        return [f"{url.rstrip('/')}/api/v2/alerts" for url in self._settings.urls]

    async def _post(self, alerts: list[dict[str, Any]]) -> str:
        content = orjson.dumps(alerts)
        whom = self._settings.urls

        async def one(who: str, url: str) -> NotificationError | None:
            try:
                name = f"Alertmanager {who}"
                await post(name, url, content, self._headers, self._settings.timeout, self._tls)
            except NotificationError as error:
                return error
            return None

        answers = await asyncio.gather(*map(one, whom, self._urls()))
        errors = [error for error in answers if error is not None]
        if len(errors) == len(whom):
            raise next((error for error in errors if error.retryable), errors[0])
        return "; ".join(map(str, errors))

    def _posted(self, notification: Notification, notice: Notice) -> list[dict[str, Any]]:
        """Return what is posted about one alert: as it is, and the end of what it was under other labels."""
        alert = notice.alert
        key, labels = alert.condition.key, self._labels_of(notification, notice)
        before = self._labels.get(key)
        told = self._alert(notification, notice, labels)
        found = []
        if before is not None and before != labels:
            ended = {**told, "labels": dict(before), "endsAt": iso(int(time.time() * 1000))}
            self._end(before, ended)
            found.append(ended)
        if notice.event is Event.CLEARED:
            self._labels.pop(key, None)
            self._end(labels, told)
        else:
            self._ended.pop(labels, None)
            self._labels[key] = labels
            if len(self._labels) > MOST_KEPT:
                del self._labels[next(iter(self._labels))]
        return [*found, told]

    def _over(self, notification: Notification, notice: Notice) -> bool:
        """Return whether the end of this very alert was told since it was looked up."""
        ended = self._ended.get(self._labels_of(notification, notice))
        return ended is not None and ended[1]["startsAt"] == iso(notice.alert.opened)

    def _end(self, labels: Labels, told: dict[str, Any]) -> None:
        self._ended[labels] = (time.monotonic() + self._settings.expire, told)
        if len(self._ended) > MOST_KEPT:
            del self._ended[next(iter(self._ended))]

    def _labels_of(self, notification: Notification, notice: Notice) -> Labels:
        condition, place = notice.alert.condition, notice.facts.place
        own = {
            "alertname": condition.rule,
            "severity": condition.severity.value,
            "site": notification.site_id,
            "object": condition.object_id,
            "object_type": place.object_type,
            "area": place.named("pod"),
        }
        found = {**self._settings.labels, **{name: _label(text) for name, text in own.items() if text}}
        return tuple(sorted(found.items()))

    def _alert(self, notification: Notification, notice: Notice, labels: Labels) -> dict[str, Any]:
        alert = notice.alert
        ends = int((time.time() + self._settings.expire) * 1000)
        if notice.event is Event.CLEARED:
            ends = max(alert.cleared_at, alert.opened)
        told: dict[str, Any] = {
            "labels": dict(labels),
            "annotations": _annotations(notification, notice, self._reader.of_page(notification)),
            "startsAt": iso(alert.opened),
            "endsAt": iso(ends),
        }
        if notification.console_url:
            told["generatorURL"] = moment_url(notification.console_url, notice)
        return told


def _annotations(notification: Notification, notice: Notice, reader: Reader) -> dict[str, str]:
    alert, condition, facts = notice.alert, notice.alert.condition, notice.facts
    told, say = sheet(notification, notice, reader), reader.words
    rows = [say("text", "row", label=label, text=text) for label, text in told.rows]
    found = {
        "summary": told.headline,
        "description": say("text", "clauses").join(rows),
        "value": figure(condition.value, condition.unit),
        "limit": figure(condition.limit, condition.unit),
        "first_action": told.first_action,
        "runbook_url": runbook_url(notification.console_url, condition.rule),
        "state": alert.state.value,
        "acknowledged_by": alert.acknowledged_by,
        "acknowledged_at": iso(alert.acknowledged_at) or "",
        "note": alert.note,
        "silenced_by": facts.silenced_by,
        "silenced_until": iso(facts.silenced_until) or "",
        "racks": str(facts.place.racks or ""),
        "gpus": str(facts.place.gpus or ""),
    }
    lines = {name: line(text, MOST_OF_ANNOTATION) for name, text in found.items()}
    return {name: text for name, text in lines.items() if text}


def _label(text: str) -> str:
    """Return a text as the value of a label; one that is cut stays another one than its like."""
    told = line(text, MOST_OF_LABEL)
    if told == text:
        return told
    return f"{told[: MOST_OF_LABEL - 20]} {hashlib.sha256(text.encode(errors='replace')).hexdigest()[:12]}".strip()


def _basic(username: str, password: str) -> str:
    return "Basic " + base64.b64encode(f"{username}:{password}".encode()).decode()
