"""Incidents: an alert that leads, and the alerts that it explains."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Self

from sqlalchemy import ColumnElement, Connection, func, insert, or_, select, update

from domain.alert import Alert, AlertState, Condition, Severity
from domain.errors import InputError
from storage import record_tables as t
from storage.alert_records import AlertRecords, Transition, close_returned_of
from storage.alert_rows import ACTIVE, condition_fields, parts
from storage.database import inserted

MOST_LISTED = 1000
"""Incidents of one answer."""
FORETOLD = "foretold by "
"""How the step begins that makes an alert one of another rule; the rule before follows."""
OPEN = 0
"""`closed` of an incident whose lead is active, and `left` of a member that it still explains."""


@dataclass(frozen=True, slots=True)
class Lead:
    """An alert that may explain others; `closed` is when it cleared, UTC ms, 0 while it is active."""

    alert_id: int
    rule: str
    object_id: str
    severity: Severity
    closed: int = 0

    @classmethod
    def of(cls, alert: Alert) -> Self:
        """Return what an alert is as a lead."""
        condition = alert.condition
        return cls(alert.id, condition.rule, condition.object_id, condition.severity, alert.cleared_at)


@dataclass(frozen=True, slots=True)
class Incident:
    """What one cause has done. Times are UTC ms, `closed` 0 while it lasts.

    `members` counts by rule what it explains or explained, `active` those of them whose condition holds still.
    """

    id: int
    lead: Alert
    opened: int
    closed: int
    members: Mapping[str, int] = field(default_factory=dict)
    active: int = 0


class IncidentRecords(AlertRecords):
    """Incidents and their members. Calls block: on the event loop use ``asyncio.to_thread``."""

    def leads_since(self, since: int) -> list[Lead]:
        """Return the leads that cleared at `since` (UTC ms) or later, the newest first."""
        i, a = t.incidents, t.alerts
        query = (
            select(a.c.id, a.c.rule, a.c.object_id, a.c.severity, a.c.cleared_at)
            .join(i, i.c.alert_id == a.c.id)
            .where(or_(i.c.closed == OPEN, i.c.closed >= since))
            .where(a.c.state.not_in(ACTIVE), a.c.cleared_at >= since)
            .order_by(a.c.cleared_at.desc())
        )
        with self.reading() as db:
            return [
                Lead(row.id, row.rule, row.object_id, Severity(row.severity), row.cleared_at)
                for row in db.execute(query)
            ]

    def keep_incidents(self, leads: Collection[int], members: Mapping[int, int], now: int) -> int:
        """Bring the incidents up to date, in one transaction, and return how many were opened.

        Parameters
        ----------
        leads
            Ids of the active alerts that lead, or may.
        members
            By active alert that is explained the id of the alert that explains it.
        now
            UTC ms.
        """
        with self.reading() as db:
            if not self._changes(db, leads, members):
                return 0
        i, a = t.incidents, t.alerts
        opened = 0
        with self.writing() as db:
            over = select(a.c.id, a.c.cleared_at).join(i, i.c.alert_id == a.c.id)
            over = over.where(i.c.closed == OPEN, a.c.state.not_in(ACTIVE))
            for row in db.execute(over).all():
                db.execute(update(i).where(i.c.alert_id == row.id).values(closed=row.cleared_at))
            known = _numbers(db, {*leads, *members.values()})
            for lead in sorted({*leads, *members.values()} - known.keys()):
                since = db.scalar(select(a.c.opened).where(a.c.id == lead))
                if since is not None:
                    fields = {"alert_id": lead, "opened": since, "closed": OPEN}
                    known[lead] = inserted(db, i, fields)
                    opened += 1
            self._keep_members(db, {m: known[lead] for m, lead in members.items() if lead in known}, now)
        return opened

    def take_over_alerts(self, changes: Collection[tuple[int, Condition]], now: int) -> list[Alert]:
        """Make active alerts those of other rules: what was foretold is there. Return them as they are now.

        Number, history and who has taken it stay; the worse severity is told as such.
        """
        with self.writing() as db:
            close_returned_of(db, {condition.key for _, condition in changes}, now)
            for alert_id, condition in changes:
                row = db.execute(select(t.alerts).where(t.alerts.c.id == alert_id)).one()
                fields = condition_fields(condition) | {"rule": condition.rule, "updated": now}
                db.execute(update(t.alerts).where(t.alerts.c.id == alert_id).values(**fields))
                step = {"alert_id": alert_id, "at": now, "state": row.state, "who": ""}
                step |= {"severity": condition.severity.value, "note": f"{FORETOLD}{row.rule}"}
                db.execute(insert(t.transitions).values(**step))
        return self.alerts([alert_id for alert_id, _ in changes])

    def incidents(self, since: int | None = None, limit: int = MOST_LISTED) -> list[Incident]:
        """Return the incidents that last, or those opened at `since` (UTC ms) or later too, the newest first.

        Alerts that may lead but have explained nothing are incidents without members.
        """
        i = t.incidents
        return self._incidents(i.c.closed == OPEN if since is None else i.c.opened >= since, limit)

    def incident(self, lead: int) -> Incident:
        """Return the incident that an alert leads.

        Raises
        ------
        InputError
            If it leads none.
        """
        found = self._incidents(t.incidents.c.alert_id == lead, 1)
        if not found:
            raise InputError(
                f"alert {lead} leads no incident; `hallwatch alerts incidents --for 24h` lists them"
            )
        return found[0]

    def _incidents(self, which: ColumnElement[bool], limit: int) -> list[Incident]:
        i = t.incidents
        query = select(i).where(which).order_by(i.c.opened.desc(), i.c.id.desc()).limit(limit)
        with self.reading() as db:
            rows = db.execute(query).all()
            counts, active = _counts(db, [row.id for row in rows])
        leads = {alert.id: alert for alert in self.alerts([row.alert_id for row in rows])}
        return [
            Incident(row.id, leads[row.alert_id], row.opened, row.closed, counts[row.id], active[row.id])
            for row in rows
            if row.alert_id in leads
        ]

    def incident_members(self, incident_id: int, limit: int = MOST_LISTED) -> list[Alert]:
        """Return the alerts that an incident explains or explained, the oldest first."""
        m = t.incident_members
        query = select(m.c.alert_id).where(m.c.incident_id == incident_id).order_by(m.c.id).limit(limit)
        with self.reading() as db:
            ids = list(db.scalars(query))
        return self.alerts(ids)

    def transitions_of(
        self, alert_ids: Sequence[int], limit: int, until: int | None = None
    ) -> list[tuple[int, Transition]]:
        """Return what happened to some alerts until then, each step with its alert's id, oldest first, the newest `limit` at most."""
        s = t.transitions
        query = select(s).where(s.c.alert_id.in_(alert_ids))
        if until is not None:
            query = query.where(s.c.at <= until)
        query = query.order_by(s.c.at.desc(), s.c.id.desc()).limit(limit)
        with self.reading() as db:
            rows = db.execute(query).all()
        return [
            (
                row.alert_id,
                Transition(row.at, AlertState(row.state), Severity(row.severity), row.who, row.note),
            )
            for row in reversed(rows)
        ]

    def leads(self) -> dict[int, int]:
        """Return by active alert that is explained now the id of the alert that explains it."""
        with self.reading() as db:
            return _members(db)

    def explained(self, alert_ids: Sequence[int]) -> set[int]:
        """Return which of these alerts another one explains, or explained at any time."""
        m, found = t.incident_members.c, set[int]()
        with self.reading() as db:
            for part in parts(alert_ids):
                found.update(db.scalars(select(m.alert_id).where(m.alert_id.in_(part))))
        return found

    def _changes(self, db: Connection, leads: Collection[int], members: Mapping[int, int]) -> bool:
        i, a = t.incidents, t.alerts
        open_ = select(i.c.alert_id, a.c.state).join(a, a.c.id == i.c.alert_id).where(i.c.closed == OPEN)
        states = {row.alert_id: row.state for row in db.execute(open_)}
        over = not set(ACTIVE).issuperset(states.values())
        return over or bool(set(leads) - states.keys()) or _members(db) != dict(members)

    @staticmethod
    def _keep_members(db: Connection, wanted: Mapping[int, int], now: int) -> None:
        m = t.incident_members
        before = {
            row.alert_id: row.incident_id
            for row in db.execute(
                select(m.c.alert_id, m.c.incident_id)
                .join(t.alerts, t.alerts.c.id == m.c.alert_id)
                .where(m.c.left == OPEN, t.alerts.c.state.in_(ACTIVE))
            )
        }
        for member, incident in before.items():
            if wanted.get(member) != incident:
                same = (m.c.alert_id == member) & (m.c.incident_id == incident)
                db.execute(update(m).where(same).values(left=now))
        new = [(member, incident) for member, incident in wanted.items() if before.get(member) != incident]
        for member, incident in new:
            same = (m.c.alert_id == member) & (m.c.incident_id == incident)
            if not db.execute(update(m).where(same).values(left=OPEN)).rowcount:
                db.execute(insert(m).values(incident_id=incident, alert_id=member, joined=now, left=OPEN))


def _numbers(db: Connection, leads: Collection[int]) -> dict[int, int]:
    i = t.incidents
    return {row.alert_id: row.id for row in db.execute(select(i).where(i.c.alert_id.in_(list(leads))))}


def _members(db: Connection) -> dict[int, int]:
    m, i, a = t.incident_members, t.incidents, t.alerts
    query = (
        select(m.c.alert_id, i.c.alert_id.label("lead"))
        .join(i, i.c.id == m.c.incident_id)
        .join(a, a.c.id == m.c.alert_id)
        .where(m.c.left == OPEN, a.c.state.in_(ACTIVE))
    )
    return {row.alert_id: row.lead for row in db.execute(query)}


def _counts(db: Connection, ids: Collection[int]) -> tuple[dict[int, dict[str, int]], dict[int, int]]:
    m, a = t.incident_members, t.alerts
    query = (
        select(m.c.incident_id, a.c.rule, a.c.state, func.count().label("n"))
        .join(a, a.c.id == m.c.alert_id)
        .where(m.c.incident_id.in_(list(ids)))
        .group_by(m.c.incident_id, a.c.rule, a.c.state)
    )
    counts: dict[int, dict[str, int]] = defaultdict(dict)
    active: dict[int, int] = defaultdict(int)
    for row in db.execute(query):
        counts[row.incident_id][row.rule] = counts[row.incident_id].get(row.rule, 0) + row.n
        active[row.incident_id] += row.n if row.state in ACTIVE else 0
    return counts, active
