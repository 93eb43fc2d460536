"""What is told: events of alerts, and how their figures, times and links read whatever the channel."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Protocol, runtime_checkable
from urllib.parse import quote, urlencode
from zoneinfo import ZoneInfo

from alerts.notify.facts import Facts
from alerts.runbooks import Runbook
from domain.alert import Alert, Severity
from domain.errors import printable
from domain.languages import Language
from domain.units import shown
from storage.delivery_records import Event

MOST_IN_MESSAGE = 500
MOST_OF_LINE = 500
"""Characters of one line of a text, such as a name that a device gave itself."""


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
        Names this telling: the same whenever it is told again, also after a crash and in other company; empty where it is
        told before it could be written down.
    facts
        What is known about its surroundings.
    runbooks
        Its runbook, by language.
    """

    event: Event
    alert: Alert
    advice: str = ""
    delivery: str = ""
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
    language, reader_zone
        Of the person whose it is; None where it is nobody's own, or they have none: the channel's hold.
    """

    id: str
    site_id: str
    site_name: str
    zone: ZoneInfo
    notices: tuple[Notice, ...]
    console_url: str = ""
    language: Language | None = None
    reader_zone: ZoneInfo | None = None

    @property
    def severity(self) -> Severity:
        """The worst severity of what it tells."""
        return max((n.alert.condition.severity for n in self.notices), key=lambda s: s.rank)


class Notifier(Protocol):
    """A way to tell people; `most` is how many alerts one message tells of, of `trends` of which it shows a picture."""

    most: int
    trends: int

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


def local(time: int, zone: ZoneInfo) -> str:
    """Return a time (UTC ms) as the site's clocks show it, with the zone."""
    return datetime.fromtimestamp(time / 1000, zone).strftime("%Y-%m-%d %H:%M:%S %Z")


def runbook_url(console_url: str, rule: str) -> str:
    """Return where the console shows the runbook of a rule; empty where the console's address is not known."""
    return f"{console_url.rstrip('/')}/runbooks/{quote(rule, safe='')}" if console_url else ""


def moment_url(console_url: str, notice: Notice) -> str:
    """Return where the console shows an alert: its rack as it was when it opened, or itself in the list of all."""
    if not console_url:
        return ""
    alert, place = notice.alert, notice.facts.place
    rack = alert.condition.object_id if place.object_type == "Rack" else place.named("rack")
    page = f"rack/{quote(line(rack, 100), safe='')}" if rack else "alerts"
    about = {"alert": alert.id} if alert.id > 0 else {}
    return f"{console_url.rstrip('/')}/{page}?{urlencode({**about, 'at': iso(alert.opened)})}"


def figure(value: float, unit: str) -> str:
    """Return a value as people read it, empty where there is none."""
    if math.isnan(value):
        return ""
    return shown(value, unit, 4) if unit else f"{value:g}"


def line(text: str, most: int) -> str:
    """Return a text that somebody else wrote as one line of so many characters, whatever is in it."""
    told = printable(" ".join(text.split()))
    return told if len(told) <= most else told[: most - 3] + "..."


def iso(time: int) -> str | None:
    """Return a time (UTC ms) as RFC 3339 has it; None where it has not come."""
    if not time:
        return None
    return datetime.fromtimestamp(time / 1000, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
