"""The records as they stood at a past moment: alerts by their steps until then, incidents, what was quiet, forecasts as issued."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

from sqlalchemy import Connection, or_, select
from sqlalchemy.engine import Row

from domain.alert import Alert, AlertState, Severity
from domain.errors import InputError
from domain.forecast import Forecast
from domain.planned import PlannedWork
from domain.scores import SLOT_MS, ScoreSlot
from domain.suppression import Suppression
from storage import record_tables as t
from storage.alert_notes import AlertNote
from storage.alert_records import Transition
from storage.alert_rows import alert_of, parts
from storage.incident_records import FORETOLD, MOST_LISTED, OPEN, Incident
from storage.records import AuditEntry, Records
from storage.suppression_records import longest_of

_ACTIVE = (AlertState.OPEN, AlertState.ACKNOWLEDGED)
_OVER = (AlertState.RETURNED, AlertState.CLEARED)


class RecordsAt(Records):
    """What `Records` would have answered at a moment; nothing can be changed through it.

    An alert has the state, the severity and the taker that it had then. Its sentence and figures are not kept for each
    moment: they are those that were told last, which `Alert.updated` dates, also where that is later than the moment.

    Parameters
    ----------
    records
        The records of the present, whose connections are used.
    moment
        UTC ms.
    """

    def __init__(self, records: Records, moment: int) -> None:
        # the tables are there: nothing is made
        self.engine = records.engine
        self.forecasts_saved = 0
        self._moment = moment

    @contextmanager
    def writing(self) -> Iterator[Connection]:
        """Refuse: the past cannot be changed.

        Raises
        ------
        InputError
            Always.
        """
        raise InputError("this is the past, which nothing changes: go back to now first")
        yield

    # --- alerts -----------------------------------------------------------------------------------------------

    def active_alerts(self) -> list[Alert]:
        """Return what was open or acknowledged, newest first."""
        found = [a for a in self._standing() if a.state in _ACTIVE]
        return sorted(found, key=lambda a: (-a.opened, a.id))

    def returned_alerts(self) -> list[Alert]:
        """Return what was over and nobody had taken, the latest first."""
        found = [a for a in self._standing() if a.state is AlertState.RETURNED]
        return sorted(found, key=lambda a: (-a.cleared_at, a.id))

    def alert_history(
        self,
        start: int = 0,
        end: int | None = None,
        object_id: str | None = None,
        rule: str | None = None,
        limit: int = 1000,
    ) -> list[Alert]:
        """Return alerts in any state that had opened in [start, end), newest first, `limit` at most."""
        until = self._moment + 1 if end is None else min(end, self._moment + 1)
        return self._as_then(super().alert_history(start, until, object_id, rule, limit))

    def alert(self, alert_id: int) -> Alert:
        """Return one alert as it was.

        Raises
        ------
        InputError
            If there was none of that number.
        """
        found = self._as_then([super().alert(alert_id)])
        if not found:
            raise InputError(f"alert {alert_id} had not opened then")
        return found[0]

    def alerts(self, ids: Sequence[int]) -> list[Alert]:
        """Return the alerts of these numbers that had opened, oldest first."""
        return self._as_then(super().alerts(ids))

    def transitions(self, alert_id: int) -> list[Transition]:
        """Return the steps of one alert's life until then, oldest first."""
        return [step for step in super().transitions(alert_id) if step.at <= self._moment]

    def transitions_of(
        self, alert_ids: Sequence[int], limit: int, until: int | None = None
    ) -> list[tuple[int, Transition]]:
        """Return what had happened to some alerts, oldest first, the newest `limit` at most."""
        return super().transitions_of(alert_ids, limit, self._moment if until is None else until)

    def alert_notes(self, rule: str, object_id: str) -> list[AlertNote]:
        """Return the notes on one alarm until then, oldest first."""
        return [note for note in super().alert_notes(rule, object_id) if note.at <= self._moment]

    def newest_notes(self, objects: Sequence[str]) -> dict[tuple[str, str], AlertNote]:
        """Return the newest note on each alarm of these objects that was there then."""
        n = t.alert_notes
        found = {}
        with self.reading() as db:
            for part in parts(sorted(set(objects))):
                query = select(n).where(n.c.object_id.in_(part), n.c.at <= self._moment)
                for row in db.execute(query.order_by(n.c.at, n.c.id)):
                    found[row.rule, row.object_id] = AlertNote(row.at, row.who, row.note, row.alert_id)
        return found

    def _standing(self) -> list[Alert]:
        """Return what had opened and was not cleared."""
        a = t.alerts.c
        # whatever ended later was touched later
        later = or_(a.state != AlertState.CLEARED.value, a.updated > self._moment)
        with self.reading() as db:
            rows = [
                alert_of(row) for row in db.execute(select(t.alerts).where(a.opened <= self._moment, later))
            ]
        return [alert for alert in self._as_then(rows) if alert.state is not AlertState.CLEARED]

    def _as_then(self, alerts: Iterable[Alert]) -> list[Alert]:
        """Return alerts as their steps until the moment had left them, in the same order; later ones are left out."""
        there = [alert for alert in alerts if alert.opened <= self._moment]
        steps: dict[int, list[Row[Any]]] = {alert.id: [] for alert in there}
        s = t.transitions
        with self.reading() as db:
            for part in parts(list(steps)):
                for row in db.execute(select(s).where(s.c.alert_id.in_(part)).order_by(s.c.id)):
                    steps[row.alert_id].append(row)
        return [_folded(alert, steps[alert.id], self._moment) for alert in there]

    # --- what was quiet -----------------------------------------------------------------------------------------

    def suppressions(self, ended_since: int | None = None) -> list[Suppression]:
        """Return those that held or were to come, the oldest first."""
        s = t.suppressions.c
        with self.reading() as db:
            made = set(db.scalars(select(s.id).where(s.created <= self._moment)))
        found = super().suppressions(self._moment + 1)
        return [replace(one, ended=0, ended_by="", ended_why="") for one in found if one.id in made]

    def suppressed_alerts(self) -> Mapping[int, Suppression]:
        """Return by alert what kept it quiet: of several the one that lasted longest."""
        c, s = t.suppressed, t.suppressions
        query = select(c.c.alert_id, s).join(s, s.c.id == c.c.suppression_id)
        query = query.where(c.c.since <= self._moment, or_(c.c.until == 0, c.c.until > self._moment))
        with self.reading() as db:
            return longest_of(db.execute(query))

    # --- incidents ----------------------------------------------------------------------------------------------

    def incidents(self, since: int | None = None, limit: int = MOST_LISTED) -> list[Incident]:
        """Return the incidents that lasted, or those that had opened at `since` or later too, the newest first."""
        i = t.incidents
        which = or_(i.c.closed == OPEN, i.c.closed > self._moment) if since is None else i.c.opened >= since
        return self._then(self._incidents(which & (i.c.opened <= self._moment), limit))

    def incident(self, lead: int) -> Incident:
        """Return the incident that an alert led.

        Raises
        ------
        InputError
            If it led none.
        """
        found = self._then([super().incident(lead)])
        if not found:
            raise InputError(f"alert {lead} led no incident then")
        return found[0]

    def incident_members(self, incident_id: int, limit: int = MOST_LISTED) -> list[Alert]:
        """Return the alerts that an incident explained or had explained, the oldest first."""
        return self.alerts([member for _, member in self._joined([incident_id])][:limit])

    def leads(self) -> dict[int, int]:
        """Return by active alert that was explained the id of the alert that explained it."""
        m, i = t.incident_members, t.incidents
        query = select(m.c.alert_id, i.c.alert_id.label("lead")).join(i, i.c.id == m.c.incident_id)
        query = query.where(m.c.joined <= self._moment, or_(m.c.left == OPEN, m.c.left > self._moment))
        active = {alert.id for alert in self._standing() if alert.state in _ACTIVE}
        with self.reading() as db:
            return {row.alert_id: row.lead for row in db.execute(query) if row.alert_id in active}

    def _joined(self, incidents: Collection[int]) -> list[tuple[int, int]]:
        """Return (incident, alert) of what had been explained until then, in the order of time."""
        m = t.incident_members
        found: list[tuple[int, int]] = []
        with self.reading() as db:
            for part in parts(list(incidents)):
                query = select(m).where(m.c.incident_id.in_(part), m.c.joined <= self._moment)
                found += [(row.incident_id, row.alert_id) for row in db.execute(query.order_by(m.c.id))]
        return found

    def _then(self, incidents: Sequence[Incident]) -> list[Incident]:
        """Return incidents with what they had explained until then."""
        there = [i for i in incidents if i.opened <= self._moment]
        joined = self._joined([i.id for i in there])
        members = {alert.id: alert for alert in self.alerts([member for _, member in joined])}
        rules: dict[int, Counter[str]] = {i.id: Counter() for i in there}
        active: Counter[int] = Counter()
        for incident_id, member in joined:
            if member in members:
                rules[incident_id][members[member].condition.rule] += 1
                active[incident_id] += members[member].state in _ACTIVE
        return [
            replace(
                i,
                closed=i.closed if i.closed <= self._moment else OPEN,
                members=dict(rules[i.id]),
                active=active[i.id],
            )
            for i in there
        ]

    # --- forecasts ----------------------------------------------------------------------------------------------

    def latest_forecasts(
        self, object_ids: Sequence[str], point_type: str = "ActivePower"
    ) -> dict[str, Forecast]:
        """Return by object the forecast that was the newest then; objects for which none was issued are left out."""
        found = {name: self.forecast_at(name, self._moment, point_type=point_type) for name in object_ids}
        return {name: forecast for name, forecast in found.items() if forecast is not None}

    def scores(self, point_type: str, start: int, end: int) -> list[ScoreSlot]:
        """Return the slots in [start, end) that were over, oldest first: the last one told what was still to come."""
        found = super().scores(point_type, start, min(end, self._moment))
        return [slot for slot in found if slot.start + SLOT_MS <= self._moment]

    def planned_work(self, start: int, end: int, known_at: int | None = None) -> list[PlannedWork]:
        """Return announcements of work between `start` and `end` as they were known then."""
        known = self._moment if known_at is None else min(known_at, self._moment)
        return super().planned_work(start, end, known)

    # --- audit --------------------------------------------------------------------------------------------------

    def audit_trail(
        self, start: int = 0, end: int | None = None, limit: int = 1000, who: str = "", words: str = ""
    ) -> list[AuditEntry]:
        """Return what had been done in [start, end), newest first, `limit` at most."""
        until = self._moment + 1 if end is None else min(end, self._moment + 1)
        return super().audit_trail(start, until, limit, who, words)


def _folded(alert: Alert, steps: Sequence[Row[Any]], moment: int) -> Alert:
    """Return an alert as its steps until the moment had left it."""
    state, severity, cleared = AlertState.OPEN, alert.condition.severity, 0
    taken_at, taken_by, note, rule = 0, "", "", alert.condition.rule
    for step in steps:
        if step.at > moment:
            if step.note.startswith(FORETOLD):  # until then it was what had been foretold
                rule = step.note.removeprefix(FORETOLD)
                break
            continue
        became = AlertState(step.state)
        if became in _OVER and not cleared:
            cleared = step.at
        # a remark leaves the state as it was; who takes what is over ends it
        taken = became is AlertState.ACKNOWLEDGED and state is not AlertState.ACKNOWLEDGED
        if taken or (step.who and step.at == alert.acknowledged_at):
            taken_at, taken_by, note = step.at, step.who, step.note
        state, severity = became, Severity(step.severity)
    condition = replace(alert.condition, severity=severity, rule=rule)
    return replace(
        alert,
        condition=condition,
        state=state,
        acknowledged_at=taken_at,
        acknowledged_by=taken_by,
        note=note,
        cleared_at=cleared,
    )
