"""What the grid asked, and what became of it: every request is kept, and decided on once."""

from __future__ import annotations

import json
import math
from collections.abc import Collection
from typing import Any

from sqlalchemy import insert, select, update
from sqlalchemy.engine import Row

from domain.errors import InputError
from domain.grid import GridRequest, Kind, Part, Standing
from storage import record_tables as t
from storage.database import Database, inserted

MOST_LASTING = 2_000
"""Requests of one source that wait or are agreed to and are not over, at a time."""
OPEN = (Standing.WAITING, Standing.AGREED)
"""Standings that may still change."""


class TakenBefore(InputError):
    """A request whose very content was taken before."""


class GridRecords(Database):
    """Requests of the grid. Calls block: on the event loop use ``asyncio.to_thread``."""

    def keep_grid_request(self, request: GridRequest, digest: str) -> GridRequest:
        """Keep a request; return it with its number. Its `id` does not count.

        Parameters
        ----------
        request
            As it came.
        digest
            Names its content (64 characters at most): the same content is taken once.

        Raises
        ------
        TakenBefore
            If the very same was.
        InputError
            If its source has too many that last.
        """
        g = t.grid_requests
        with self.writing() as db:
            if db.scalar(select(g.c.id).where(g.c.digest == digest)) is not None:
                raise TakenBefore(f"{request.reference} was taken before")
            lasting = (
                select(g.c.id)
                .where(g.c.source == request.source, g.c.end > request.received, g.c.standing.in_(OPEN))
                .limit(MOST_LASTING)
            )
            if len(db.execute(lasting).all()) >= MOST_LASTING:
                raise InputError(f"{MOST_LASTING:,} requests of {request.source} last already")
            fields = {
                "source": request.source,
                "party": request.party,
                "series": request.series,
                "reference": request.reference,
                "version": request.version,
                "kind": request.kind.value,
                "parts": json.dumps(
                    [
                        [p.node, p.start, p.end, None if math.isnan(p.value) else p.value]
                        for p in request.parts
                    ]
                ),
                "unit": request.unit,
                "text": request.text,
                "best_effort": request.best_effort,
                "digest": digest,
                "received": request.received,
                "start": request.start,
                "end": request.end,
                "standing": request.standing.value,
                "decided": request.decided,
                "decided_by": request.decided_by,
                "note": request.note,
            }
            number = inserted(db, g, fields)
            return _request(db.execute(select(g).where(g.c.id == number)).one())

    def grid_requests(self, ending_after: int = 0, limit: int = 10_000) -> list[GridRequest]:
        """Return requests that end after a time (UTC ms), in the order in which they came, the newest `limit` at most."""
        g = t.grid_requests
        query = select(g).where(g.c.end > ending_after).order_by(g.c.id.desc()).limit(limit)
        with self.reading() as db:
            return [_request(row) for row in db.execute(query)][::-1]

    def lasting_grid_requests(self, now: int, source: str | None = None) -> list[GridRequest]:
        """Return requests that wait or are agreed to and are not over at `now` (UTC ms), of one source or of all."""
        g = t.grid_requests
        query = select(g).where(g.c.end > now, g.c.standing.in_(OPEN))
        if source is not None:
            query = query.where(g.c.source == source)
        with self.reading() as db:
            return [_request(row) for row in db.execute(query.order_by(g.c.id))]

    def decide_grid_request(
        self,
        number: int,
        standing: Standing,
        who: str,
        note: str,
        now: int,
        of: Collection[Standing] = OPEN,
    ) -> GridRequest:
        """Let a request stand otherwise, and note in the audit who wanted it.

        Raises
        ------
        InputError
            If there is none of that number, or it stands as none of `of`, or is over.
        """
        g = t.grid_requests
        with self.writing() as db:
            row = db.execute(select(g).where(g.c.id == number)).one_or_none()
            if row is None:
                raise InputError(f"the grid made no request {number}; 'hallwatch grid events' lists them")
            if row.standing not in of:
                raise InputError(f"request {number} is {row.standing} already")
            if row.end <= now:
                raise InputError(f"request {number} is over")
            changed = {"standing": standing.value, "decided": now, "decided_by": who, "note": note}
            db.execute(update(g).where(g.c.id == number).values(changed))
            detail = f"{number} {row.reference} {note}".strip()
            what = f"grid request {standing.value}"
            db.execute(insert(t.audit).values(at=now, who=who, what=what, detail=detail))
            return _request(db.execute(select(g).where(g.c.id == number)).one())


def _request(row: Row[Any]) -> GridRequest:
    parts = tuple(
        Part(node, start, end, math.nan if value is None else value)
        for node, start, end, value in json.loads(row.parts)
    )
    return GridRequest(
        row.id,
        row.source,
        row.party,
        row.series,
        row.reference,
        row.version,
        Kind(row.kind),
        parts,
        row.unit,
        row.text,
        bool(row.best_effort),
        row.received,
        Standing(row.standing),
        row.decided,
        row.decided_by,
        row.note,
    )
