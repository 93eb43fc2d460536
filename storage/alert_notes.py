"""Notes on alarms. They belong to rule and object: they are there when the alarm comes again."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, delete, func, insert, select
from sqlalchemy.engine import Row

from domain.errors import InputError
from storage import record_tables as t
from storage.database import Database

MOST_NOTES = 50
"""Of a rule and object; a further one takes the place of the oldest."""
_KEYS_OF_A_STATEMENT = 500


@dataclass(frozen=True, slots=True)
class AlertNote:
    """What `who` said about an alarm at `at`, UTC ms; `alert_id` is the alert it was then."""

    at: int
    who: str
    note: str
    alert_id: int


class AlertNotes(Database):
    """Notes by rule and object. Calls block: on the event loop use ``asyncio.to_thread``."""

    def add_alert_note(self, alert_id: int, who: str, note: str, now: int) -> None:
        """Keep a note on the alarm of an alert, in whatever state.

        Raises
        ------
        InputError
            If there is no such alert.
        """
        with self.writing() as db:
            row = db.execute(select(t.alerts).where(t.alerts.c.id == alert_id)).first()
            if row is None:
                raise InputError(f"there is no alert {alert_id}")
            add_note(db, row, now, who, note)

    def alert_notes(self, rule: str, object_id: str) -> list[AlertNote]:
        """Return the notes on one alarm, oldest first."""
        n = t.alert_notes
        query = select(n).where(n.c.rule == rule, n.c.object_id == object_id).order_by(n.c.at, n.c.id)
        with self.reading() as db:
            return [AlertNote(row.at, row.who, row.note, row.alert_id) for row in db.execute(query)]

    def newest_notes(self, objects: Sequence[str]) -> dict[tuple[str, str], AlertNote]:
        """Return the newest note on each alarm of these objects, by rule and object."""
        n = t.alert_notes
        found: dict[tuple[str, str], AlertNote] = {}
        wanted = sorted(set(objects))
        with self.reading() as db:
            for first in range(0, len(wanted), _KEYS_OF_A_STATEMENT):
                some = wanted[first : first + _KEYS_OF_A_STATEMENT]
                query = select(n).where(n.c.object_id.in_(some)).order_by(n.c.at, n.c.id)
                for row in db.execute(query):
                    found[row.rule, row.object_id] = AlertNote(row.at, row.who, row.note, row.alert_id)
        return found


def add_note(db: Connection, alert: Row[Any], now: int, who: str, note: str) -> None:
    """Keep a note on the alarm of an alert's row."""
    n = t.alert_notes
    same = (n.c.rule == alert.rule) & (n.c.object_id == alert.object_id)
    if int(db.scalar(select(func.count()).where(same)) or 0) >= MOST_NOTES:
        oldest = select(n.c.id).where(same).order_by(n.c.at, n.c.id).limit(1).scalar_subquery()
        db.execute(delete(n).where(n.c.id == oldest))
    db.execute(
        insert(n).values(
            rule=alert.rule, object_id=alert.object_id, alert_id=alert.id, at=now, who=who, note=note
        )
    )
