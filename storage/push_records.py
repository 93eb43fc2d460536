"""Webhooks of partners: what is to be told, until it is told or given up."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass

from sqlalchemy import func, insert, select, update

from storage import record_tables as t
from storage.database import Database

PENDING, DELIVERED, FAILED = "pending", "delivered", "failed"
_p = t.partner_pushes


@dataclass(frozen=True, slots=True)
class Push:
    """One event for one webhook; `event` is the same for every attempt. Times are UTC ms.

    `hook` names the webhook: the partner and the address.
    """

    hook: str
    event: str
    body: str
    created: int


@dataclass(frozen=True, slots=True)
class WaitingPush:
    """A push that waits to be delivered, after so many attempts."""

    id: int
    hook: str
    event: str
    body: str
    created: int
    attempts: int


class PushRecords(Database):
    """Pushes. Calls block: on the event loop use ``asyncio.to_thread``."""

    def queue_pushes(self, pushes: Sequence[Push], most: int) -> int:
        """Queue what is not queued yet; of a webhook `most` wait, the oldest gives way. Return how many gave way."""
        dropped = 0
        with self.writing() as db:
            for push in pushes:
                same = (_p.c.hook == push.hook) & (_p.c.event == push.event)
                if db.scalar(select(_p.c.id).where(same)) is None:
                    db.execute(insert(_p).values(**asdict(push), status=PENDING, not_before=push.created))
            for hook in dict.fromkeys(push.hook for push in pushes):
                mine = (_p.c.hook == hook) & (_p.c.status == PENDING)
                over = (db.scalar(select(func.count()).select_from(_p).where(mine)) or 0) - most
                if over > 0:
                    oldest = list(db.scalars(select(_p.c.id).where(mine).order_by(_p.c.id).limit(over)))
                    why = {"status": FAILED, "detail": "newer ones waited"}
                    db.execute(update(_p).where(_p.c.id.in_(oldest)).values(**why))
                    dropped += over
        return dropped

    def due_pushes(self, now: int, limit: int) -> list[WaitingPush]:
        """Return what may be tried now, oldest first."""
        query = (
            select(_p).where(_p.c.status == PENDING, _p.c.not_before <= now).order_by(_p.c.id).limit(limit)
        )
        with self.reading() as db:
            rows = db.execute(query).all()
        return [WaitingPush(r.id, r.hook, r.event, r.body, r.created, r.attempts) for r in rows]

    def settle_push(self, number: int, status: str, detail: str = "", not_before: int = 0) -> None:
        """Note what became of an attempt."""
        fields = {"status": status, "detail": detail[:500], "not_before": not_before}
        with self.writing() as db:
            db.execute(update(_p).where(_p.c.id == number).values(attempts=_p.c.attempts + 1, **fields))
