"""Records have an end: what is over for longer than its retention is removed, a little at a time."""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Callable
from typing import Any

from sqlalchemy import ColumnElement, Connection, Select, Table, delete, or_, select

from domain.alert import AlertState
from domain.batch import now_ms
from domain.errors import StorageError
from domain.grid import Standing
from storage import record_tables as t
from storage.database import Database
from storage.forecast_seals import forget
from storage.planned_records import STANDING
from storage.push_records import PENDING
from storage.settings import DAY, RecordRetention

log = logging.getLogger(__name__)

AT_ONCE = 2000
"""Rows removed in one transaction: whoever writes meanwhile waits for no more than that."""
EVERY_S = 3600.0
PUSH_DAYS = 7
"""Days that it is kept what became of webhooks' messages."""
SNAPSHOT_DAYS = 2
"""Days that forecasts are kept that serve only to be scored within hours; so long an outage may last."""


class RecordUpkeep:
    """Removes issued forecasts and their scores, cleared alerts with their deliveries, ended suppressions and plans, requests of the grid, and audit entries.

    Parameters
    ----------
    records
        The records' database.
    retention
        How long each kind is kept.
    site
        Object whose forecasts are kept longest: partners were told them.
    """

    def __init__(self, records: Database, retention: RecordRetention, site: str) -> None:
        self._records = records
        self._retention = retention
        self._site = site
        self.removed: Counter[str] = Counter()
        """Rows removed since the start, by kind."""

    async def run(self) -> None:
        """Keep the records in bounds until cancelled."""
        while True:
            try:
                await asyncio.to_thread(self.once, now_ms())
            except StorageError as e:
                log.error("old records were not removed, it is tried again: %s", e)
            await asyncio.sleep(EVERY_S)

    def once(self, now: int) -> Counter[str]:
        """Remove all that is too old at `now` (UTC ms); return the rows removed by kind."""
        keep = self._retention
        f, p = t.forecasts.c, t.planned_work.c
        done: Counter[str] = Counter()

        def remove(kind: str, table: Table, *of: ColumnElement[bool]) -> None:
            def those(db: Connection, ids: list[int]) -> None:
                db.execute(delete(table).where(table.c.id.in_(ids)))

            done[kind] = self._remove(select(table.c.id).where(*of), those)

        def before(days: float) -> int:
            return now - int(days * DAY)

        site = f.object_id == self._site
        for kind, of, days in (
            ("forecasts", site, keep.forecasts_days),
            ("node forecasts", ~site, keep.node_forecasts_days),
        ):
            old = select(t.forecasts.c.id).where(of, f.issued < before(days)).order_by(f.issued, f.id)
            done[kind] = self._remove(old, forget)
        s = t.forecast_scores
        remove("forecast scores", s, s.c.slot < before(keep.scores_days))
        snapshots = t.forecast_snapshots
        remove("forecast snapshots", snapshots, snapshots.c.issued < before(SNAPSHOT_DAYS))
        remove("usage", t.api_usage, t.api_usage.c.hour < before(keep.usage_days))
        remove("refusals", t.api_refusals, t.api_refusals.c.at < before(keep.usage_days))
        pushes = t.partner_pushes
        remove("pushes", pushes, pushes.c.created < before(PUSH_DAYS), pushes.c.status != PENDING)
        remove("overrides", t.oncall_overrides, t.oncall_overrides.c.end < before(keep.alerts_days))
        remove("hand-overs", t.hand_overs, t.hand_overs.c.at < before(keep.alerts_days))
        over = before(keep.planned_days)
        remove("planned", t.planned_work, or_(p.until == STANDING, p.until < over), p.end < over)
        g = t.grid_requests
        # what was asked until further notice has no end: it is old when it came long ago and something took its place
        lasting = g.c.standing.in_((Standing.WAITING.value, Standing.AGREED.value))
        closed = or_(g.c.end < before(keep.alerts_days), ~lasting)
        remove("grid requests", g, g.c.received < before(keep.alerts_days), closed)
        remove("moment notes", t.moment_notes, t.moment_notes.c.at < before(keep.alerts_days))
        remove("audit", t.audit, t.audit.c.at < before(keep.audit_days))
        a = t.alerts.c
        cleared = select(a.id).where(
            a.state == AlertState.CLEARED.value, a.cleared_at < before(keep.alerts_days)
        )
        done["alerts"] = self._remove(cleared, _delete_alerts)
        kept = t.suppressions.c
        ended = select(kept.id).where(kept.ended > 0, kept.ended < before(keep.alerts_days))
        done["suppressions"] = self._remove(ended, _delete_suppressions)
        self.removed += done
        if done.total():
            log.info("old records removed: %s", ", ".join(f"{n} {kind}" for kind, n in done.items() if n))
        return done

    def _remove(self, which: Select[Any], those: Callable[[Connection, list[int]], None]) -> int:
        removed = 0
        while True:
            with self._records.writing() as db:
                ids = [int(row[0]) for row in db.execute(which.limit(AT_ONCE))]
                if ids:
                    those(db, ids)
            removed += len(ids)
            if len(ids) < AT_ONCE:
                return removed


def _delete_alerts(db: Connection, ids: list[int]) -> None:
    led = select(t.incidents.c.id).where(t.incidents.c.alert_id.in_(ids))
    db.execute(delete(t.incident_members).where(t.incident_members.c.incident_id.in_(led)))
    for table in (
        t.incident_members,
        t.incidents,
        t.transitions,
        t.deliveries,
        t.escalations,
        t.suppressed,
        t.alert_notes,
    ):
        db.execute(delete(table).where(table.c.alert_id.in_(ids)))
    db.execute(delete(t.alerts).where(t.alerts.c.id.in_(ids)))


def _delete_suppressions(db: Connection, ids: list[int]) -> None:
    db.execute(delete(t.suppressed).where(t.suppressed.c.suppression_id.in_(ids)))
    db.execute(delete(t.suppressions).where(t.suppressions.c.id.in_(ids)))
