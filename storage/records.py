"""Records that change: alerts and what became of them, issued forecasts, planned work, requests of the grid, audit; accounts lie there too."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import insert, or_, select

from domain.batch import now_ms
from storage import record_tables as t
from storage.forecast_records import ForecastRecords
from storage.grid_records import GridRecords
from storage.incident_records import IncidentRecords
from storage.moment_notes import MomentNotes
from storage.oncall_records import OnCallRecords
from storage.planned_records import PlannedRecords
from storage.push_records import PushRecords
from storage.score_records import ScoreRecords
from storage.usage_records import UsageRecords


@dataclass(frozen=True, slots=True)
class AuditEntry:
    """Who did what, when (UTC ms)."""

    at: int
    who: str
    what: str
    detail: str


class Records(
    ForecastRecords,
    GridRecords,
    IncidentRecords,
    MomentNotes,
    OnCallRecords,
    PlannedRecords,
    PushRecords,
    ScoreRecords,
    UsageRecords,
):
    """The records of one site. Calls block: on the event loop use ``asyncio.to_thread``.

    Parameters
    ----------
    url
        SQLAlchemy URL, such as ``sqlite:///data/records.sqlite`` or ``postgresql+psycopg://host/hallwatch``.

    Raises
    ------
    InputError
        If the URL cannot be used, or the records were made by another version of the tables.
    StoreUnavailable
        If the database cannot be reached.
    """

    # --- audit ----------------------------------------------------------------------------------------------

    def audit(self, who: str, what: str, detail: str = "") -> None:
        """Note that somebody did something."""
        with self.writing() as db:
            db.execute(insert(t.audit).values(at=now_ms(), who=who, what=what, detail=detail))

    def audit_trail(
        self, start: int = 0, end: int | None = None, limit: int = 1000, who: str = "", words: str = ""
    ) -> list[AuditEntry]:
        """Return what was done in [start, end), by one person if named, newest first, `limit` at most.

        With `words`, only what holds them in the act, its detail or the name of who did it.
        """
        query = select(t.audit).where(t.audit.c.at >= start)
        if who:
            query = query.where(t.audit.c.who == who)
        if end is not None:
            query = query.where(t.audit.c.at < end)
        if words:
            parts = (t.audit.c.what, t.audit.c.detail, t.audit.c.who)
            query = query.where(or_(*(part.icontains(words, autoescape=True) for part in parts)))
        with self.reading() as db:
            rows = db.execute(query.order_by(t.audit.c.id.desc()).limit(limit))
            return [AuditEntry(row.at, row.who, row.what, row.detail) for row in rows]
