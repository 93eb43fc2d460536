"""Notes pinned to a moment: of the whole site, or of an object of the plant."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import func, insert, select

from domain.errors import InputError
from storage import record_tables as t
from storage.database import Database, inserted
from storage.settings import DAY

MOST_OF_A_DAY = 200
"""Notes on moments of one day (UTC); a further one is refused."""
LONGEST_NOTE = 500


@dataclass(frozen=True, slots=True)
class MomentNote:
    """What `who` noted, at `written`, on a moment `at` (UTC ms); `object_id` is empty where it is of the whole site."""

    id: int
    at: int
    object_id: str
    who: str
    note: str
    written: int


class MomentNotes(Database):
    """Notes by their moment. Calls block: on the event loop use ``asyncio.to_thread``."""

    def pin_note(self, at: int, object_id: str, who: str, note: str, now: int) -> MomentNote:
        """Pin a note to a moment, and record in the audit trail who did.

        Raises
        ------
        InputError
            If it says nothing or too much, the moment is still to come, or its day has too many already.
        """
        text = note.strip()
        if not text:
            raise InputError("a note must say something")
        if len(text) > LONGEST_NOTE:
            raise InputError(f"a note has {LONGEST_NOTE} characters at most, this one {len(text)}")
        if not 0 < at <= now:
            raise InputError("a note is pinned to a moment that has come")
        n = t.moment_notes
        day = at - at % DAY
        with self.writing() as db:
            count = select(func.count()).where(n.c.at >= day, n.c.at < day + DAY)
            if int(db.scalar(count) or 0) >= MOST_OF_A_DAY:
                raise InputError(
                    f"there are {MOST_OF_A_DAY} notes on that day already: write into the last of them"
                )
            fields = {"at": at, "object_id": object_id, "who": who, "note": text, "written": now}
            number = inserted(db, n, fields)
            what = f"{number} {object_id or 'site'} at {at}: {text}"
            db.execute(insert(t.audit).values(at=now, who=who, what="pinned a note", detail=what))
        return MomentNote(number, at, object_id, who, text, now)

    def moment_notes(self, start: int, end: int, limit: int) -> list[MomentNote]:
        """Return the notes on moments in [start, end), UTC ms, the newest moment first, `limit` at most."""
        n = t.moment_notes
        query = select(n).where(n.c.at >= start, n.c.at < end).order_by(n.c.at.desc(), n.c.id.desc())
        with self.reading() as db:
            return [
                MomentNote(row.id, row.at, row.object_id, row.who, row.note, row.written)
                for row in db.execute(query.limit(limit))
            ]
