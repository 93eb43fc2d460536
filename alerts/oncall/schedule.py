"""Who is on call by a schedule: its layers, and over them what people changed: overrides and swaps."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import timedelta
from itertools import pairwise
from zoneinfo import ZoneInfo

from alerts.oncall.calendar import day_of, days_between, moment, spans, within
from alerts.oncall.settings import Layer, Schedule
from storage.oncall_records import Override


@dataclass(frozen=True, slots=True)
class Shift:
    """Somebody is on call in [start, end), UTC ms; nobody is where `person` is empty."""

    start: int
    end: int
    person: str


class Rota:
    """One schedule as it is with all that people changed.

    Parameters
    ----------
    settings, zone
        The schedule, and the zone whose clocks it goes by.
    overrides
        What people changed in it, the oldest first: a later one goes over an earlier one.
    """

    def __init__(self, settings: Schedule, zone: ZoneInfo, overrides: Sequence[Override] = ()) -> None:
        self.settings = settings
        self.zone = zone
        self._overrides = tuple(overrides)

    def on_call(self, at: int) -> str:
        """Return who is on call at a moment (UTC ms), by key; an empty text is nobody."""
        person = ""
        for layer in self.settings.layers:
            person = _by_layer(layer, at, self.zone) or person
        for change in self._overrides:
            if change.start <= at < change.end:
                person = change.instead(person)
        return person

    def shifts(self, start: int, end: int) -> list[Shift]:
        """Return who is on call when in [start, end), UTC ms, without a hole: gaps are shifts of nobody."""
        found: list[Shift] = []
        moments = [start, *sorted(m for m in set(self._changes(start, end)) if start < m < end), end]
        for begin, until in pairwise(moments):
            person = self.on_call(begin)
            if found and found[-1].person == person:
                found[-1] = Shift(found[-1].start, until, person)
            else:
                found.append(Shift(begin, until, person))
        return found

    def gaps(self, start: int, end: int) -> list[Shift]:
        """Return when nobody is on call in [start, end), UTC ms."""
        return [shift for shift in self.shifts(start, end) if not shift.person]

    def _changes(self, start: int, end: int) -> Iterator[int]:
        """Yield every moment at which somebody else may come to be on call."""
        for change in self._overrides:
            yield from (change.start, change.end)
        for layer in self.settings.layers:
            yield from (edge for span in spans(layer.only, start, end, self.zone) for edge in span)
            for day in days_between(start, end, self.zone):
                if day >= layer.start and (day - layer.start).days % layer.turn_days == 0:
                    yield moment(day, layer.hand_over, self.zone)
            if layer.until is not None:
                yield moment(layer.until, layer.hand_over, self.zone)


def _by_layer(layer: Layer, at: int, zone: ZoneInfo) -> str:
    if layer.only and not within(layer.only, at, zone):
        return ""
    if layer.until is not None and at >= moment(layer.until, layer.hand_over, zone):
        return ""
    turn = (day_of(at, zone) - layer.start).days // layer.turn_days
    # by the calendar it may be the last day of a turn still, or its first day before the hand-over
    if at < moment(layer.start + timedelta(days=turn * layer.turn_days), layer.hand_over, zone):
        turn -= 1
    return "" if turn < 0 else layer.people[turn % len(layer.people)]
