"""What people changed in schedules, how far each escalation is, and which hand-overs were told."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from sqlalchemy import Connection, insert, select, update

from domain.alert import AlertState
from domain.batch import now_ms
from domain.errors import InputError
from storage import record_tables as t
from storage.database import Database, inserted

MOST_OVERRIDES = 1000
"""Overrides and swaps that hold or are to come, at a time."""
LONGEST_OVERRIDE_MS = 366 * 86_400_000


@dataclass(frozen=True, slots=True)
class Override:
    """In [start, end), UTC ms, `person` is on call by a schedule; or, with `other`, those two stand in for each other."""

    id: int
    schedule: str
    person: str
    other: str
    start: int
    end: int
    who: str
    note: str

    def instead(self, person: str) -> str:
        """Return who is on call instead of a person while it holds."""
        if not self.other:
            return self.person
        return {self.person: self.other, self.other: self.person}.get(person, person)


@dataclass(frozen=True, slots=True)
class Progress:
    """How far an escalation of an alert is.

    Attributes
    ----------
    alert_id, escalation
        Of which alert, and by which escalation.
    taken
        Steps that were taken, counted over its rounds.
    began
        When its first step was told, UTC ms: not yet where its people were in their quiet hours.
    at, elapsed
        When the newest step was taken, UTC ms, and how long after the first that was, ms.
    """

    alert_id: int
    escalation: str
    taken: int
    began: int
    at: int
    elapsed: int


class OnCallRecords(Database):
    """Overrides, escalations under way, hand-overs told. Calls block: on the event loop use ``asyncio.to_thread``."""

    def add_override(
        self, schedule: str, person: str, start: int, end: int, who: str, other: str = "", note: str = ""
    ) -> Override:
        """Put `person` on call in [start, end), UTC ms; with `other`, let the two stand in for each other.

        Raises
        ------
        InputError
            If `end` does not come after `start`, it is longer than a year, or too many hold already.
        """
        if not 0 < end - start <= LONGEST_OVERRIDE_MS:
            raise InputError("an override must end after it starts, and within a year")
        if len(self.overrides(now_ms())) >= MOST_OVERRIDES:
            raise InputError(f"{MOST_OVERRIDES} overrides hold or are to come already: end some first")
        fields = {
            "schedule": schedule,
            "person": person,
            "other": other,
            "start": start,
            "end": end,
            "who": who,
            "note": note,
        }
        with self.writing() as db:
            number = inserted(db, t.oncall_overrides, fields | {"created": now_ms()})
        return Override(number, schedule, person, other, start, end, who, note)

    def end_override(self, number: int, now: int) -> None:
        """End an override or swap now; one that has not begun never will.

        Raises
        ------
        InputError
            If there is none of that number that still holds.
        """
        o = t.oncall_overrides
        with self.writing() as db:
            if not db.execute(update(o).where(o.c.id == number, o.c.end > now).values(end=now)).rowcount:
                raise InputError(f"there is no override {number} that still holds")

    def overrides(self, since: int) -> list[Override]:
        """Return the overrides and swaps that hold at a moment (UTC ms) or later, the oldest first."""
        o = t.oncall_overrides
        with self.reading() as db:
            rows = db.execute(select(o).where(o.c.end > since).order_by(o.c.id))
            return [
                Override(r.id, r.schedule, r.person, r.other, r.start, r.end, r.who, r.note)
                for r in rows
                if r.start < r.end
            ]

    def escalations(self) -> dict[int, list[Progress]]:
        """Return by active alert how far its escalations are."""
        e = t.escalations
        query = (
            select(e)
            .join(t.alerts, t.alerts.c.id == e.c.alert_id)
            .where(t.alerts.c.state.in_((AlertState.OPEN.value, AlertState.ACKNOWLEDGED.value)))
            .order_by(e.c.id)
        )
        found: dict[int, list[Progress]] = {}
        with self.reading() as db:
            for r in db.execute(query):
                progress = Progress(r.alert_id, r.escalation, r.taken, r.began, r.at, r.elapsed)
                found.setdefault(r.alert_id, []).append(progress)
        return found

    # --- hand-overs: told once, also over a restart --------------------------------------------------------------

    def begin_hand_over(self, schedule: str, at: int, person: str) -> None:
        """Note that a person is to be told of a hand-over; what was noted before stays as it is."""
        h = t.hand_overs
        with self.writing() as db:
            known = db.scalar(
                select(h.c.id).where(h.c.schedule == schedule, h.c.at == at, h.c.person == person)
            )
            if known is None:
                db.execute(insert(h).values(schedule=schedule, at=at, person=person))

    def end_hand_over(self, schedule: str, at: int, person: str, now: int) -> None:
        """Note that the person was told, at `now`."""
        h = t.hand_overs
        same = (h.c.schedule == schedule) & (h.c.at == at) & (h.c.person == person)
        with self.writing() as db:
            db.execute(update(h).where(same).values(told=now))

    def hand_overs(self, since: int) -> dict[tuple[str, int, str], int]:
        """Return by schedule, time (`since` or later) and person when each hand-over was told, UTC ms; 0: not yet."""
        h = t.hand_overs
        with self.reading() as db:
            rows = db.execute(select(h).where(h.c.at >= since))
            return {(r.schedule, r.at, r.person): r.told for r in rows}


def keep_progress(db: Connection, steps: Iterable[Progress]) -> None:
    """Write down how far escalations are, within the transaction that queues what they tell."""
    e = t.escalations
    for step in steps:
        fields = {"taken": step.taken, "began": step.began, "at": step.at, "elapsed": step.elapsed}
        same = (e.c.alert_id == step.alert_id) & (e.c.escalation == step.escalation)
        if not db.execute(update(e).where(same).values(**fields)).rowcount:
            db.execute(insert(e).values(alert_id=step.alert_id, escalation=step.escalation, **fields))
