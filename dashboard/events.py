"""What happened when: the marks on the time slider, each a moment that the console can be taken to."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from fastapi import APIRouter

from dashboard import cells
from dashboard.data import ConsoleData
from dashboard.threads import reading
from dashboard.words import language, say, term
from domain.alert import Severity
from domain.suppression import SuppressionKind
from domain.units import shown

MOST_EVENTS = 300
"""Events of one answer; the newest, where there are more."""
MOST_ALERTS = 2000
"""Alerts of the time that are looked at."""
TOLD = (Severity.CRITICAL, Severity.HIGH, Severity.WARNING)
"""Alerts of these priorities are marked; what is for information only would hide them."""
WORKS = (SuppressionKind.MAINTENANCE, SuppressionKind.OUT_OF_SERVICE)


@dataclass(frozen=True, slots=True)
class Event:
    """Something that happened at a moment (UTC ms): an alert of a severity that leads, ``works``, a ``limit``, or a ``note``."""

    at: int
    kind: str
    text: str


def events(data: ConsoleData, start: int, end: int) -> list[Event]:
    """Return what happened in [start, end), UTC ms, the oldest first; of an incident its lead, not what it explains."""
    found = [
        one
        for kind in (_alerts, _works, _limits, _notes)
        for one in kind(data, start, end)
        if start <= one.at < end
    ]
    return sorted(found, key=lambda e: (e.at, e.text))[-MOST_EVENTS:]


def _alerts(data: ConsoleData, start: int, end: int) -> Iterator[Event]:
    opened = [
        a for a in data.records.alert_history(start, end, limit=MOST_ALERTS) if a.condition.severity in TOLD
    ]
    explained = data.records.explained([a.id for a in opened])
    for alert in opened:
        if alert.id not in explained:
            what = f"{alert.condition.object_id}, {data.alarms.title(alert.condition.rule, language())}"
            yield Event(alert.opened, alert.condition.severity.value, what)


def _works(data: ConsoleData, start: int, _end: int) -> Iterator[Event]:
    for one in data.records.suppressions(start):
        if one.kind in WORKS:
            yield Event(one.start, "works", f"{one.object_id}, {term('suppression', one.kind)}: {one.reason}")


def _limits(data: ConsoleData, _start: int, _end: int) -> Iterator[Event]:
    for change in data.plant.envelope.site.schedule:
        limit = say("time.limit", limit=shown(change.limit, "W"))
        yield Event(change.start, "limit", f"{limit}: {change.reason}" if change.reason else limit)


def _notes(data: ConsoleData, start: int, end: int) -> Iterator[Event]:
    for note in data.records.moment_notes(start, end, MOST_EVENTS):
        yield Event(note.at, "note", f"{note.object_id or say('notes.site')}, {note.who}: {note.note}")


def events_router(data: ConsoleData) -> APIRouter:
    """Return the route of what happened when; mount it behind the console's guard."""
    router = APIRouter(include_in_schema=False)

    @router.get("/events")
    async def between(start: int, end: int) -> list[dict[str, Any]]:
        """Return what happened in [start, end), UTC ms; nothing of what is still to come."""
        last = min(end, data.clock())
        return [
            {"at": e.at, "kind": e.kind, "time": cells.date(e.at, data.site.zone, "long"), "text": e.text}
            for e in await reading(events, data, max(start, 0), last)
        ]

    return router
