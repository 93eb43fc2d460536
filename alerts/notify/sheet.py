"""What a page says of one alert, in the reader's language and time: the same for every channel, whatever it looks like there.

What a device or a person wrote is taken as text only: one line of so many characters, control and bidi characters written
out. What an alert says while it holds is not said of one that has ended.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from zoneinfo import ZoneInfo

import structlog

from alerts.notify.facts import Place
from alerts.notify.message import (
    MOST_OF_LINE,
    Notice,
    Notification,
    figure,
    line,
    local,
    moment_url,
    runbook_url,
)
from domain.alert import Condition
from domain.errors import printable
from domain.languages import Language, Words, words

log = structlog.get_logger(__name__)

MOST_OF_SUBJECT = 250
MOST_NAMED = 4
SAME_MS = 60_000
"""A reading taken as near to the opening is not told apart from it."""
TYPES = frozenset(
    {"Rack", "CDU", "UPS", "Feed", "PowerMeter", "GPU", "Site", "Pod", "CRAH", "Sensor", "Tray"}
)
"""Object types that the languages have a word for, see `config/languages/`."""
_SUPPLY = frozenset({"loop", "busway", "ups", "feed"})
_BEYOND_S = 21_600.0
"""What the outlook foresees at all."""


@dataclass(frozen=True, slots=True)
class Reader:
    """Who reads: in which language, and by which clocks, if not by the site's."""

    language: Language = "en"
    zone: ZoneInfo | None = None

    @classmethod
    def of(cls, language: Language, timezone: str) -> Reader:
        """Return a reader of a language and of an IANA time zone, an empty one being the site's."""
        return cls(language, ZoneInfo(timezone) if timezone else None)

    def of_page(self, notification: Notification) -> Reader:
        """Return who reads this message: the person whose it is, where it is somebody's."""
        return Reader(notification.language or self.language, notification.reader_zone or self.zone)

    @property
    def words(self) -> Words:
        """The texts of the reader's language."""
        return words(self.language)


ENGLISH = Reader()
"""Who reads English by the site's clocks."""


@dataclass(frozen=True, slots=True)
class Sheet:
    """What is told of one alert.

    Parameters
    ----------
    notice
        Of what.
    tone
        `critical`, `high`, `warning`, `info`, or `over`.
    tag, headline
        How bad and what; what, where and how much.
    rows
        Everything else, by label.
    first_action
        What to do first; empty where it is over.
    links
        Text and address.
    """

    notice: Notice
    tone: str
    tag: str
    headline: str
    rows: tuple[tuple[str, str], ...]
    first_action: str
    links: tuple[tuple[str, str], ...]


def sheet(notification: Notification, notice: Notice, reader: Reader) -> Sheet:
    """Return what is told of one alert; of one that cannot be rendered, that it is there."""
    try:
        return _sheet(notification, notice, reader)
    except Exception:  # one alert that is odd must not keep its batch from being told
        log.exception("an alert cannot be rendered", alert=notice.alert.id)
        condition, say = notice.alert.condition, reader.words
        rule = printable(str(condition.rule))[:100]
        text = say("text", "unreadable", id=notice.alert.id, rule=rule)
        return Sheet(notice, "critical", _tag(notice, say), text, (), "", ())


def subject(notification: Notification, reader: Reader) -> str:
    """Return one line: how bad, what, where."""
    say = reader.words
    first = notification.notices[0]
    try:
        if len(notification.notices) == 1:
            headline = _headline(first, reader, MOST_OF_SUBJECT)
        else:
            headline = _several(notification, reader)
    except Exception:
        log.exception("a subject cannot be rendered", alert=first.alert.id)
        headline = say(
            "text", "unreadable", id=first.alert.id, rule=printable(str(first.alert.condition.rule))[:100]
        )
    tag = f"{say('severity', notification.severity.value)} {say('event', first.event.value)}"
    return say("text", "subject", tag=tag, headline=headline, site=line(notification.site_id, 50))


def duration(seconds: float, say: Words) -> str:
    """Return a length of time as people say it."""
    s = max(int(seconds), 0)
    if s < 120:
        return say("duration", "seconds", s=s)
    if s < 2 * 3600:
        return say("duration", "minutes", m=s // 60)
    if s < 48 * 3600:
        return say("duration", "hours", h=s // 3600, m=s // 60 % 60)
    return say("duration", "days", d=s // 86_400, h=s // 3600 % 24)


def _sheet(notification: Notification, notice: Notice, reader: Reader) -> Sheet:
    say, alert = reader.words, notice.alert
    rows = [
        (say("label", key), line(text, MOST_OF_LINE))
        for key, text in _rows(notification, notice, reader)
        if text
    ]
    links = [
        (say("text", "acknowledge"), notice.link if not notice.over else ""),
        (say("text", "console"), moment_url(notification.console_url, notice)),
        (say("text", "runbook"), _runbook(notification, notice, reader)),
    ]
    return Sheet(
        notice,
        "over" if notice.over else alert.condition.severity.value,
        _tag(notice, say),
        _headline(notice, reader, MOST_OF_LINE),
        tuple(rows),
        line(notice.first_action(reader.language), MOST_OF_LINE),
        tuple((text, url) for text, url in links if url),
    )


def _rows(notification: Notification, notice: Notice, reader: Reader) -> Iterable[tuple[str, str]]:
    say, zone = reader.words, notification.zone
    alert, condition, facts = notice.alert, notice.alert.condition, notice.facts
    yield "object", _object(condition.object_id, facts.place, say)
    yield "where", _parts(facts.place, say, supply=False)
    if not notice.over:
        yield "value", figure(condition.value, condition.unit)
        yield "limit", figure(condition.limit_told, condition.unit)
        yield "expected", say("text", "clauses").join(_outlook(notice, say))
    yield "since", local(alert.opened, zone)
    if reader.zone is not None and str(reader.zone) != str(zone):
        yield "since_there", local(alert.opened, reader.zone)
    if notice.over:
        yield "cleared", local(alert.cleared_at, zone)
        yield "lasted", duration((alert.cleared_at - alert.opened) / 1000, say)
    else:
        apart = condition.observed and abs(condition.observed - alert.opened) > SAME_MS
        yield "observed", local(condition.observed, zone) if apart else ""
    yield "hangs_on_it", _hanging(facts.place, say)
    yield "supply", _parts(facts.place, say, supply=True)
    if not notice.over:
        yield "cause", _cause(notice, reader)
    if facts.silenced_until:
        until = local(facts.silenced_until, zone)
        yield "silenced", say("text", "silenced", time=until, who=facts.silenced_by)
    by = alert.acknowledged_by
    yield "taken_by", f"{by}: {alert.note}".rstrip(": ") if by else ""
    severity = say("severity", condition.severity.value)
    yield (
        "alert",
        say("text", "list").join([str(alert.id), condition.rule, severity, say("event", notice.event.value)]),
    )
    if not notice.over and not _spoken(condition, reader):
        yield "original", condition.summary


def _headline(notice: Notice, reader: Reader, most: int) -> str:
    """Return what, where and how much: the rule's own sentence, where it is in the reader's language."""
    say, condition = reader.words, notice.alert.condition
    where = line(_object(condition.object_id, notice.facts.place, say), most)
    title = notice.title(reader.language)
    if notice.over:
        lasted = duration((notice.alert.cleared_at - notice.alert.opened) / 1000, say)
        return line(say("text", "cleared_headline", title=title, object=where, lasted=lasted), most)
    if condition.known and _spoken(condition, reader):
        return line(condition.told(reader.language), most)
    parts = [say("text", "headline", where=where, title=title)]
    if condition.unit and not math.isnan(condition.value):
        value, limit = figure(condition.value, condition.unit), figure(condition.limit_told, condition.unit)
        parts.append(say("text", "figures", value=value, limit=limit) if limit else value)
    return line(say("text", "comma").join(parts), most)


def _spoken(condition: Condition, reader: Reader) -> bool:
    """Whether a condition's sentence is in the reader's language: what somebody wrote is taken for English."""
    return reader.language == "en" or not isinstance(condition.said, str)


def _several(notification: Notification, reader: Reader) -> str:
    say = reader.words
    objects = [line(n.alert.condition.object_id, MOST_OF_SUBJECT // 5) for n in notification.notices]
    named = say("text", "list").join(objects[:MOST_NAMED])
    left = len(objects) - MOST_NAMED
    if left > 0:
        named = say("text", "and_more", objects=named, n=left)
    titles = dict.fromkeys(n.title(reader.language) for n in notification.notices)
    return say("text", "several", title=line(say("text", "list").join(titles), 100), objects=named)


def _tag(notice: Notice, say: Words) -> str:
    if notice.over:
        return say("event", notice.event.value)
    return f"{say('severity', notice.alert.condition.severity.value)} {say('event', notice.event.value)}"


def _object(object_id: str, place: Place, say: Words) -> str:
    name = line(object_id, MOST_OF_LINE)
    return f"{say('type', place.object_type)} {name}" if place.object_type in TYPES else name


def _parts(place: Place, say: Words, *, supply: bool) -> str:
    found = [say("part", kind, name=name) for kind, name in place.parts if (kind in _SUPPLY) is supply]
    return say("text", "list").join(found)


def _hanging(place: Place, say: Words) -> str:
    if place.racks > 1:
        return say("text", "racks_and_gpus", racks=f"{place.racks:,}", gpus=f"{place.gpus:,}")
    if place.racks == 1:
        return say("text", "one_rack", gpus=f"{place.gpus:,}")
    return say("text", "one_gpu") if place.gpus == 1 else ""


def _outlook(notice: Notice, say: Words) -> Iterable[str]:
    for kind, value in notice.facts.outlook.items():
        if kind == "probability":
            yield say("outlook", kind, probability=f"{value:.0%}")
        elif kind == "highest":
            yield say("outlook", kind, value=figure(value, "Cel"))
        elif kind == "breach" and value >= _BEYOND_S:
            yield say("outlook", "breach_beyond", left=duration(value, say))
        else:
            yield say("outlook", kind, left=duration(value, say))


def _cause(notice: Notice, reader: Reader) -> str:
    say = reader.words
    if notice.facts.cause is not None:
        where, what = notice.facts.cause
        return say("text", "found_cause", object=line(where, 100), cause=line(say.term("fault", what), 100))
    runbook = notice.runbooks.get(reader.language)
    if runbook is None or not runbook.causes:
        return ""
    return say("text", "usual_cause", cause=runbook.causes[0].rstrip(".。"))


def _runbook(notification: Notification, notice: Notice, reader: Reader) -> str:
    if not notice.runbooks:
        return ""
    url = runbook_url(notification.console_url, notice.alert.condition.rule)
    return f"{url}?lang={reader.language}" if url and reader.language != "en" else url
