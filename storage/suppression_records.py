"""Shelved alarms, maintenance windows, what is out of service; which alerts they keep quiet."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from sqlalchemy import Connection, func, insert, or_, select, update
from sqlalchemy.engine import Row

from domain.batch import now_ms
from domain.errors import InputError
from domain.suppression import Suppression, SuppressionKind
from storage import record_tables as t
from storage.database import Database, inserted

MOST_SUPPRESSIONS = 1000
"""That people made and that hold or are to come, at a time."""
MOST_OF_MODES = 10_000
"""That the equipment's modes made and that hold, at a time."""


class SuppressionRecords(Database):
    """What keeps alarms quiet. Calls block: on the event loop use ``asyncio.to_thread``."""

    def add_suppression(
        self,
        kind: SuppressionKind,
        rule: str,
        object_id: str,
        start: int,
        end: int,
        who: str,
        reason: str,
        below: bool = False,
        once: bool = False,
    ) -> Suppression:
        """Keep alarms of a rule and an object (globs allowed) quiet from `start` to `end`; see `Suppression`.

        Raises
        ------
        InputError
            If `end` does not come after `start`, or too many hold already.
        """
        if end and end <= start:
            raise InputError("it must end after it starts")
        fields = {
            "kind": kind.value,
            "rule": rule,
            "object_id": object_id,
            "below": below,
            "once": once,
            "start": start,
            "end": end,
            "who": who,
            "reason": reason,
        }
        s = t.suppressions.c
        modes = s.kind == SuppressionKind.MODE.value
        mode = kind is SuppressionKind.MODE
        count = select(func.count()).where(s.ended == 0, modes if mode else ~modes)
        with self.writing() as db:
            if int(db.scalar(count) or 0) >= (MOST_OF_MODES if mode else MOST_SUPPRESSIONS):
                raise InputError(
                    f"{MOST_SUPPRESSIONS} suppressions hold or are to come already: end some with "
                    "`hallwatch alerts resume`, or name many objects at once by a glob"
                )
            number = inserted(db, t.suppressions, fields | {"created": now_ms()})
        return Suppression(number, kind, rule, object_id, below, once, start, end, who, reason)

    def end_suppression(self, number: int, now: int, who: str = "", why: str = "") -> Suppression:
        """End a suppression now and return it as it was; one that has not begun never will.

        Raises
        ------
        InputError
            If there is none of that number that still holds or is to come.
        """
        s = t.suppressions
        with self.writing() as db:
            row = db.execute(select(s).where(s.c.id == number, s.c.ended == 0)).first()
            if row is None:
                raise InputError(
                    f"there is no suppression {number} that still holds; see `hallwatch alerts suppressed`"
                )
            db.execute(
                update(s).where(s.c.id == number).values(ended=max(now, 1), ended_by=who, ended_why=why)
            )
        return _suppression(row)

    def suppressions(self, ended_since: int | None = None) -> list[Suppression]:
        """Return those that hold or are to come, the oldest first; and those that ended since then, UTC ms."""
        s = t.suppressions
        wanted = s.c.ended == 0
        if ended_since is not None:
            wanted = or_(wanted, s.c.ended >= max(ended_since, 1))
        with self.reading() as db:
            return [
                _suppression(row) for row in db.execute(select(s).where(wanted).order_by(s.c.start, s.c.id))
            ]

    def cover(self, pairs: Iterable[tuple[int, int]], now: int) -> None:
        """Note that (alert, suppression) pairs begin: the suppression keeps the alert quiet."""
        c = t.suppressed
        with self.writing() as db:
            for alert_id, number in pairs:
                pair = (c.c.alert_id == alert_id) & (c.c.suppression_id == number)
                if db.execute(update(c).where(pair).values(until=0)).rowcount == 0:
                    db.execute(insert(c).values(alert_id=alert_id, suppression_id=number, since=now, until=0))

    def uncover(self, pairs: Sequence[tuple[int, int]], now: int) -> None:
        """Note that (alert, suppression) pairs are over."""
        c = t.suppressed
        with self.writing() as db:
            for alert_id, number in pairs:
                pair = (c.c.alert_id == alert_id) & (c.c.suppression_id == number)
                db.execute(update(c).where(pair).values(until=max(now, 1)))

    def covered(self) -> list[tuple[int, int]]:
        """Return the (alert, suppression) pairs that are noted now."""
        query = select(t.suppressed.c.alert_id, t.suppressed.c.suppression_id)
        with self.reading() as db:
            return [
                (row.alert_id, row.suppression_id)
                for row in db.execute(query.where(t.suppressed.c.until == 0))
            ]

    def suppressed_alerts(self) -> Mapping[int, Suppression]:
        """Return by alert what keeps it quiet now: of several the one that lasts longest."""
        c, s = t.suppressed, t.suppressions
        query = (
            select(c.c.alert_id, s)
            .join(s, s.c.id == c.c.suppression_id)
            .where(c.c.until == 0, s.c.ended == 0)
        )
        with self.reading() as db:
            return longest_of(db.execute(query))


def longest_of(rows: Iterable[Row[Any]]) -> dict[int, Suppression]:
    """Return by alert, of the suppressions that keep it quiet, the one that lasts longest."""
    found: dict[int, Suppression] = {}
    for row in rows:
        new, before = _suppression(row), found.get(row.alert_id)
        if before is None or _lasts(new) > _lasts(before):
            found[row.alert_id] = new
    return found


def suppressed_of(db: Connection, alert_ids: Sequence[int]) -> set[int]:
    """Return which of these alerts something keeps quiet now."""
    c = t.suppressed.c
    return set(db.scalars(select(c.alert_id).where(c.alert_id.in_(alert_ids), c.until == 0)))


def _lasts(suppression: Suppression) -> float:
    return suppression.end or float("inf")


def _suppression(row: Row[Any]) -> Suppression:
    return Suppression(
        row.id,
        SuppressionKind(row.kind),
        row.rule,
        row.object_id,
        row.below,
        row.once,
        row.start,
        row.end,
        row.who,
        row.reason,
        row.ended,
        row.ended_by,
        row.ended_why,
    )
