"""How the partner API is used: calls by hour, partner, route and status, and what was refused."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass

from sqlalchemy import insert, select, update

from storage import record_tables as t
from storage.database import Database

HOUR_MS = 3_600_000


@dataclass(frozen=True, slots=True)
class Refusal:
    """A call that was refused: when (UTC ms), whose, with which key, from where, of what, and why."""

    at: int
    partner: str
    prefix: str
    address: str
    route: str
    status: int
    reason: str


@dataclass(frozen=True, slots=True)
class Usage:
    """Calls of one hour (`start`, UTC ms), partner (empty: unknown), route and status."""

    start: int
    partner: str
    route: str
    status: int
    calls: int


class UsageRecords(Database):
    """Usage of the partner API. Calls block: on the event loop use ``asyncio.to_thread``."""

    def add_usage(
        self, counts: Mapping[tuple[int, str, str, int], int], refusals: Sequence[Refusal] = ()
    ) -> None:
        """Add calls by (hour since 1970, partner, route, status), and refusals: all of it or nothing."""
        u = t.api_usage
        if not counts and not refusals:
            return
        with self.writing() as db:
            for (hour, partner, route, status), calls in counts.items():
                same = (u.c.hour == hour * HOUR_MS) & (u.c.partner == partner)
                same &= (u.c.route == route) & (u.c.status == status)
                if not db.execute(update(u).where(same).values(calls=u.c.calls + calls)).rowcount:
                    fields = {"partner": partner, "route": route, "status": status, "calls": calls}
                    db.execute(insert(u).values(hour=hour * HOUR_MS, **fields))
            if refusals:
                db.execute(insert(t.api_refusals), [asdict(r) for r in refusals])

    def usage(self, start: int, end: int, partner: str = "") -> list[Usage]:
        """Return the calls of the hours that begin in [start, end), of one partner if named."""
        u = t.api_usage
        query = select(u).where(u.c.hour >= start, u.c.hour < end)
        if partner:
            query = query.where(u.c.partner == partner)
        with self.reading() as db:
            rows = db.execute(query.order_by(u.c.hour, u.c.partner, u.c.route, u.c.status)).all()
        return [Usage(r.hour, r.partner, r.route, r.status, r.calls) for r in rows]

    def refusals(self, start: int, end: int, partner: str = "", limit: int = 1000) -> list[Refusal]:
        """Return what was refused in [start, end), newest first, `limit` at most."""
        r = t.api_refusals
        query = select(r).where(r.c.at >= start, r.c.at < end)
        if partner:
            query = query.where(r.c.partner == partner)
        with self.reading() as db:
            rows = db.execute(query.order_by(r.c.id.desc()).limit(limit)).all()
        return [
            Refusal(row.at, row.partner, row.prefix, row.address, row.route, row.status, row.reason)
            for row in rows
        ]
