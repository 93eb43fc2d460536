"""What schedules announced, version by version: what was known when stays known."""

from __future__ import annotations

import json
import math
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from typing import Any

from sqlalchemy import insert, or_, select, update
from sqlalchemy.engine import Row

from domain.planned import PlannedWork
from storage import record_tables as t
from storage.database import Database

STANDING = 0
"""`until` of an announcement that still holds."""


@dataclass(frozen=True, slots=True)
class ScheduleChange:
    """What one look at a schedule brought: works that are new, that changed, that ended or were called off."""

    new: int
    changed: int
    gone: int


class PlannedRecords(Database):
    """Announcements of planned work. Calls block: on the event loop use ``asyncio.to_thread``."""

    def keep_schedule(
        self,
        source: str,
        works: Iterable[PlannedWork],
        now: int,
        unclear: Collection[str] = (),
        since: int = 0,
    ) -> ScheduleChange:
        """Keep what a schedule announces now; what it no longer announces ended, or was called off.

        Parameters
        ----------
        source
            The schedule.
        works
            All that it announces, each name once; their `source`, `known_since`, `until` and `replaced` do not count.
        now
            UTC ms.
        unclear
            Names of entries that could not be read: what they said before still holds.
        since
            When the schedule was last looked at, UTC ms; what has gone since then went at its planned end, or as near to
            it as the two looks allow.
        """
        p = t.planned_work
        coming = {work.name: work for work in works}
        with self.writing() as db:
            rows = db.execute(select(p).where(p.c.source == source, p.c.until == STANDING))
            standing = {row.name: (row.id, _work(row)) for row in rows}
            same = {n for n, w in coming.items() if n in standing and standing[n][1].same_plan(w)}
            gone = set(standing) - set(coming) - set(unclear)
            changed = (set(standing) & set(coming)) - same
            for name in gone:
                number, work = standing[name]
                went = min(max(work.end, since), now)
                db.execute(update(p).where(p.c.id == number).values(until=went))
            if changed:
                ids = [standing[name][0] for name in changed]
                db.execute(update(p).where(p.c.id.in_(ids)).values(until=now, replaced=True))
            fresh = [_fields(work, source, now) for name, work in coming.items() if name not in same]
            if fresh:
                db.execute(insert(p), fresh)
        return ScheduleChange(len(fresh) - len(changed), len(changed), len(gone))

    def keep_past_schedule(self, works: Iterable[PlannedWork]) -> None:
        """Keep announcements as they are, with their own `known_since` and `until`: a schedule's past."""
        fresh = [
            _fields(work, work.source, work.known_since) | {"until": work.until, "replaced": work.replaced}
            for work in works
        ]
        if fresh:
            with self.writing() as db:
                db.execute(insert(t.planned_work), fresh)

    def planned_work(self, start: int, end: int, known_at: int | None = None) -> list[PlannedWork]:
        """Return announcements of work between `start` and `end` (UTC ms), in the order of their start.

        Parameters
        ----------
        start, end
            Left out is what was to begin later than `end`, and what had ended, or ceased to be announced, by `start`.
        known_at
            Only what held at this time, UTC ms; all versions if not given.
        """
        p = t.planned_work
        query = select(p).where(p.c.start < end, p.c.end > start)
        query = query.where(or_(p.c.until == STANDING, p.c.until > start))
        if known_at is not None:
            query = query.where(p.c.known_since <= known_at)
            query = query.where(or_(p.c.until == STANDING, p.c.until > known_at))
        with self.reading() as db:
            return [_work(row) for row in db.execute(query.order_by(p.c.start, p.c.id))]

    def forget_schedule(self, before: int) -> int:
        """Remove announcements that ceased before a time (UTC ms); returns how many."""
        p = t.planned_work
        with self.writing() as db:
            found = db.execute(select(p.c.id).where(p.c.until != STANDING, p.c.until < before)).all()
            if found:
                db.execute(p.delete().where(p.c.id.in_([row.id for row in found])))
        return len(found)


def _fields(work: PlannedWork, source: str, known_since: int) -> dict[str, Any]:
    return {
        "source": source,
        "name": work.name,
        "racks": json.dumps(work.racks),
        "start": work.start,
        "end": work.end,
        "power": None if math.isnan(work.power) else work.power,
        "intensity": None if math.isnan(work.intensity) else work.intensity,
        "known_since": known_since,
        "until": STANDING,
        "replaced": False,
    }


def _work(row: Row[Any]) -> PlannedWork:
    return PlannedWork(
        row.source,
        row.name,
        tuple(json.loads(row.racks)),
        row.start,
        row.end,
        math.nan if row.power is None else row.power,
        math.nan if row.intensity is None else row.intensity,
        row.known_since,
        row.until,
        bool(row.replaced),
    )
