"""Hand-overs: who takes over, and who is relieved, is told a little before; a gap is told to whoever stands in.

That somebody is to be told is written down first, and that they were told when a channel took it: a restart between
repeats it at most, and forgets nobody.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import pairwise
from typing import Protocol

import structlog

from alerts.oncall.calendar import iso, shown
from alerts.oncall.people import OnCall, Reached
from alerts.oncall.schedule import Shift
from domain.alert import Alert, AlertState, Condition, Severity
from domain.errors import HallwatchError
from domain.languages import Language
from storage.delivery_records import Event
from storage.records import Records

log = structlog.get_logger(__name__)

LOOK_S = 20.0
NEW_MS = 5 * 60_000
"""A hand-over that was so long ago when it is first seen is told nobody any more."""
LATE_MS = 12 * 3_600_000
"""Nor one that could not be told for so long, as in quiet hours."""
AHEAD_MS = 62 * 86_400_000
"""How far ahead the end of a turn is looked for."""
RULE = "on-call"
NOBODY = ""
"""In the place of a person: there is a gap, and whoever stands in is told."""

TEXTS: dict[Language, dict[str, str]] = {
    "en": {
        "on": "You are on call ({schedule}) from {start} until {end}",
        "off": "You are relieved ({schedule}) at {start} by {next}",
        "off_nobody": "Your turn ({schedule}) ends at {start}; NOBODY is on call after you",
        "gap": "NOBODY is on call ({schedule}) from {start} until {end}",
    },
    "zh-Hant": {
        "on": "您輪值（{schedule}）：自 {start} 至 {end}",
        "off": "您的輪值（{schedule}）將於 {start} 由 {next} 接班",
        "off_nobody": "您的輪值（{schedule}）將於 {start} 結束，之後無人輪值",
        "gap": "{start} 至 {end} 無人輪值（{schedule}）",
    },
}


@dataclass(frozen=True, slots=True)
class HandOver:
    """Somebody (by key; `NOBODY` for whoever stands in) is to be told of what a schedule does at `at`, UTC ms."""

    schedule: str
    at: int
    person: str
    alert: Alert
    targets: tuple[str, ...]

    @property
    def identity(self) -> tuple[str, int, str]:
        """What it is kept by."""
        return self.schedule, self.at, self.person


class Teller(Protocol):
    """What tells people, as the dispatcher does."""

    def queue_early(self, alert: Alert, event: Event, channels: Iterable[str]) -> None:
        """Tell of what the records do not have as an alert."""

    def was_told(self, key: str, channel: str) -> bool:
        """Return whether a channel took it."""

    def forget_early(self, keys: Iterable[str]) -> None:
        """Forget it."""


class HandOvers:
    """Tells of hand-overs.

    Parameters
    ----------
    on_call
        The schedules as they are.
    records, teller
        Where it is kept who is to be told, and what tells them.
    able
        Whether a channel may tell of something that is no alert: one that keeps incidents open may not.
    clock
        UTC ms.
    """

    def __init__(
        self,
        on_call: OnCall,
        records: Records,
        teller: Teller,
        able: Callable[[str], bool],
        clock: Callable[[], int],
    ) -> None:
        self._on_call = on_call
        self._records = records
        self._teller = teller
        self._able = able
        self._clock = clock
        self._queued: dict[tuple[str, int, str], HandOver] = {}

    async def run(self) -> None:
        """Tell until cancelled."""
        if not self._on_call.rotas():
            return
        apart = ThreadPoolExecutor(1, thread_name_prefix="alerts-hand-over")
        loop = asyncio.get_running_loop()
        try:
            while True:
                try:
                    self.tell(await loop.run_in_executor(apart, self.due, self._clock()))
                    await loop.run_in_executor(apart, self.note, self._clock())
                except HallwatchError as error:
                    log.error("hand-overs cannot be told now", error=str(error))
                await asyncio.sleep(LOOK_S)
        finally:
            apart.shutdown(wait=False)

    def due(self, now: int) -> list[HandOver]:
        """Return who is to be told now, and keep that; blocks.

        Raises
        ------
        StorageError
            If the records cannot be read or written now.
        """
        known = self._records.hand_overs(now - LATE_MS)
        found = []
        for one in self._coming(now):
            if known.get(one.identity):
                continue
            if one.identity not in known:
                if one.at < now - NEW_MS:
                    continue
                self._records.begin_hand_over(*one.identity)
            if one.identity not in self._queued and one.targets:
                found.append(one)
        return found

    def tell(self, due: Iterable[HandOver]) -> None:
        """Hand over to what tells them; does not block."""
        for one in due:
            self._queued[one.identity] = one
            self._teller.queue_early(one.alert, Event.OPENED, one.targets)

    def note(self, now: int) -> None:
        """Note who was told; blocks.

        Raises
        ------
        StorageError
            If the records cannot be written now; it is noted at the next look.
        """
        for identity, one in list(self._queued.items()):
            told = any(self._teller.was_told(one.alert.condition.key, target) for target in one.targets)
            if told:
                self._records.end_hand_over(*identity, now)
            if told or one.at < now - LATE_MS:
                self._teller.forget_early([one.alert.condition.key])
                del self._queued[identity]

    def _coming(self, now: int) -> Iterator[HandOver]:
        """Yield what is to be told of now, by the schedules as they are, where the person may be told now."""
        for name, rota in self._on_call.rotas().items():
            if rota.settings.notice is None:
                continue
            until = now + int(rota.settings.notice * 1000)
            for before, after in pairwise(rota.shifts(now - LATE_MS, until + 1)):
                end = rota.shifts(after.start, after.start + AHEAD_MS)[0].end
                yield from self._of(name, before, Shift(after.start, end, after.person), now)

    def _of(self, schedule: str, before: Shift, after: Shift, now: int) -> Iterator[HandOver]:
        if after.person:
            yield self._told(schedule, after.person, "on", after, "", now)
        else:
            yield self._told(schedule, NOBODY, "gap", after, "", now)
        if before.person:
            what = "off" if after.person else "off_nobody"
            yield self._told(schedule, before.person, what, after, after.person, now)

    def _told(
        self, schedule: str, person: str, what: str, shift: Shift, following: str, now: int
    ) -> HandOver:
        people = self._on_call.settings.people
        zone = self._on_call.zone_of(person)
        text = TEXTS[people[person].language if person else "en"][what].format(
            schedule=schedule,
            start=shown(shift.start, zone),
            end=shown(shift.end, zone),
            next=self._on_call.name_of(following),
        )
        severity = Severity.INFO if person else Severity.WARNING
        reached = (
            self._on_call.person(person, severity, now) if person else self._on_call.instead(severity, now)
        )
        # one place for each: what one channel took is not taken for the other's
        place = f"{schedule} {iso(shift.start)} {person or 'gap'}"
        condition = Condition(RULE, place, severity, text, math.nan, math.nan, "", 0)
        alert = Alert(-1, condition, AlertState.OPEN, now, now)
        return HandOver(schedule, shift.start, person, alert, self._targets(reached, now))

    def _targets(self, reached: Iterable[Reached], now: int) -> tuple[str, ...]:
        return tuple(r.target for r in reached if r.not_before <= now and self._able(r.target))
