"""What is told: events of alerts, as text and as JSON, with times as the site's clocks show them."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Protocol, runtime_checkable
from urllib.parse import quote, urlencode
from zoneinfo import ZoneInfo

from alerts.languages import Language
from alerts.notify.facts import Facts
from alerts.runbooks import Runbook
from domain.alert import Alert, Severity
from domain.errors import printable
from domain.units import shown
from storage.alert_records import Event

MOST_IN_MESSAGE = 500
MOST_LISTED = 50
"""A message lists this many alerts and counts the rest."""
MOST_OF_LINE = 500
"""Characters of one line of a text, such as a name that a device gave itself."""
MOST_OF_SUBJECT = 250


@dataclass(frozen=True, slots=True)
class Notice:
    """One event of one alert.

    Parameters
    ----------
    event, alert
        What there is to tell, and of what.
    advice
        What to do first, where the rule says it itself.
    delivery
        Number of the delivery.
    facts
        What is known about its surroundings.
    runbooks
        Its runbook, by language.
    """

    event: Event
    alert: Alert
    advice: str = ""
    delivery: int = 0
    facts: Facts = field(default_factory=Facts)
    runbooks: Mapping[Language, Runbook] = field(default_factory=dict)
    link: str = ""
    """By which its recipient takes the alert without a login; empty where it is nobody's own."""

    @property
    def over(self) -> bool:
        """Whether it tells that the alert has ended."""
        return self.event is Event.CLEARED

    def title(self, language: Language = "en") -> str:
        """Return what the runbook calls the condition; the rule's name where there is none."""
        runbook = self.runbooks.get(language)
        return runbook.title if runbook is not None and runbook.title else self.alert.condition.rule

    def first_action(self, language: Language = "en") -> str:
        """Return what to do first; nothing where it is over."""
        if self.over:
            return ""
        runbook = self.runbooks.get(language)
        return self.advice or (runbook.first_action if runbook is not None else "")


@dataclass(frozen=True, slots=True)
class Notification:
    """What one message tells.

    Parameters
    ----------
    id
        The same for every attempt to deliver it, so that a receiver can tell a repetition.
    site_id, site_name, zone
        Where.
    notices
        One or more events.
    console_url
        Address of the console, empty where not configured.
    """

    id: str
    site_id: str
    site_name: str
    zone: ZoneInfo
    notices: tuple[Notice, ...]
    console_url: str = ""
    language: Language = "en"
    """Of its recipient."""

    @property
    def severity(self) -> Severity:
        """The worst severity of what it tells."""
        return max((n.alert.condition.severity for n in self.notices), key=lambda s: s.rank)


class Notifier(Protocol):
    """A way to tell people; `most` is how many alerts one message tells of."""

    most: int

    async def send(self, notification: Notification) -> str:
        """Deliver a message and return a remark worth keeping, or an empty text.

        Raises
        ------
        NotificationError
            If it was not delivered; it says whether trying again makes sense.
        """

    async def reach(self) -> str:
        """Try as much as can be tried without telling anybody, and return what was found.

        Raises
        ------
        NotificationError
            If the receiver cannot be reached, or does not know us.
        """


@runtime_checkable
class Reminded(Protocol):
    """A receiver that forgets: it is told every `remind_every` seconds what holds still."""

    remind_every: float

    async def remind(self, notification: Notification) -> str:
        """Tell again what holds (there may be nothing), and return a remark worth keeping.

        Raises
        ------
        NotificationError
            If it was not taken.
        """


def subject(notification: Notification) -> str:
    """Return one line: how bad, what, where."""
    first = notification.notices[0]
    condition = first.alert.condition
    tag = f"{notification.severity.value.upper()} {first.event.value}"
    if len(notification.notices) == 1:
        return f"[{tag}] {line(condition.summary, MOST_OF_SUBJECT)} ({notification.site_id})"
    objects = [line(n.alert.condition.object_id, MOST_OF_SUBJECT // 5) for n in notification.notices]
    named = ", ".join(objects[:4]) + (f" and {len(objects) - 4} more" if len(objects) > 4 else "")
    return f"[{tag}] {condition.rule}: {named} ({notification.site_id})"


def body(notification: Notification, listed: int = MOST_LISTED) -> str:
    """Return the message as plain text: object, value, limit and time of each alert, `listed` of them at most."""
    parts = [_paragraph(notice, notification.zone) for notice in notification.notices[:listed]]
    left = len(notification.notices) - listed
    if left > 0:
        parts.append(f"... and {left} more.")
    parts += sorted({f"What to do first: {a}" for n in notification.notices if (a := n.first_action())})
    foot = f"{notification.site_name} ({notification.site_id})"
    parts.append(f"{foot}\n{notification.console_url}" if notification.console_url else foot)
    return "\n\n".join(parts) + "\n"


def payload(notification: Notification) -> dict[str, Any]:
    """Return the message as JSON-ready data, as `config/schemas/webhook.schema.json` describes it."""
    return {
        "version": 1,
        "id": notification.id,
        "site": {
            "id": notification.site_id,
            "name": notification.site_name,
            "timezone": str(notification.zone),
        },
        "console_url": notification.console_url or None,
        "alerts": [_record(notice, notification.zone) for notice in notification.notices],
    }


def local(time: int, zone: ZoneInfo) -> str:
    """Return a time (UTC ms) as the site's clocks show it, with the zone."""
    return datetime.fromtimestamp(time / 1000, zone).strftime("%Y-%m-%d %H:%M:%S %Z")


def runbook_url(console_url: str, rule: str) -> str:
    """Return where the console shows the runbook of a rule; empty where the console's address is not known."""
    return f"{console_url.rstrip('/')}/runbooks/{quote(rule, safe='')}" if console_url else ""


def moment_url(console_url: str, alert: Alert) -> str:
    """Return where the console shows an alert as it was when it opened; empty where its address is not known."""
    if not console_url:
        return ""
    about = {"alert": alert.id} if alert.id > 0 else {}
    return f"{console_url.rstrip('/')}/alerts?{urlencode({**about, 'at': iso(alert.opened)})}"


def figure(value: float, unit: str) -> str:
    """Return a value as people read it, empty where there is none."""
    if math.isnan(value):
        return ""
    return shown(value, unit, 4) if unit else f"{value:g}"


def line(text: str, most: int) -> str:
    """Return a text that somebody else wrote as one line of so many characters, whatever is in it."""
    told = printable(" ".join(text.split()))
    return told if len(told) <= most else told[: most - 3] + "..."


def details(notice: Notice, zone: ZoneInfo) -> list[tuple[str, str]]:
    """Return what there is to know of an alert, by name; what there is not is left out."""
    alert, condition = notice.alert, notice.alert.condition
    rows = [
        ("Alert", f"{alert.id}, {condition.rule}, {condition.severity.value}, {notice.event.value}"),
        ("Object", condition.object_id),
        ("Value", figure(condition.value, condition.unit)),
        ("Limit", figure(condition.limit, condition.unit)),
        ("Since", local(alert.opened, zone)),
        ("Observed", local(condition.observed, zone) if condition.observed else ""),
        ("Cleared", local(alert.cleared_at, zone) if alert.cleared_at else ""),
        ("Taken by", f"{alert.acknowledged_by}: {alert.note}".rstrip(": ") if alert.acknowledged_by else ""),
        ("What to do first", notice.first_action()),
        ("Take it", notice.link),
    ]
    return [(name, line(text, MOST_OF_LINE)) for name, text in rows if text]


def _paragraph(notice: Notice, zone: ZoneInfo) -> str:
    rows = [row for row in details(notice, zone) if row[0] != "What to do first"]
    lines = [
        line(notice.alert.condition.summary, MOST_OF_LINE),
        *(f"  {name + ':':<10}{text}" for name, text in rows),
    ]
    return "\n".join(lines)


def _record(notice: Notice, zone: ZoneInfo) -> dict[str, Any]:
    alert, condition = notice.alert, notice.alert.condition
    return {
        "event": notice.event.value,
        "alert_id": alert.id,
        "key": condition.key,
        "rule": condition.rule,
        "object_id": condition.object_id,
        "severity": condition.severity.value,
        "state": alert.state.value,
        "summary": condition.summary,
        "advice": notice.first_action(),
        "value": None if math.isnan(condition.value) else condition.value,
        "limit": None if math.isnan(condition.limit) else condition.limit,
        "unit": condition.unit,
        "opened": iso(alert.opened),
        "opened_local": local(alert.opened, zone),
        "observed": iso(condition.observed),
        "acknowledged": iso(alert.acknowledged_at),
        "acknowledged_by": alert.acknowledged_by or None,
        "note": alert.note or None,
        "cleared": iso(alert.cleared_at),
    }


def iso(time: int) -> str | None:
    """Return a time (UTC ms) as RFC 3339 has it; None where it has not come."""
    if not time:
        return None
    return datetime.fromtimestamp(time / 1000, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
