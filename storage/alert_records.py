"""Alerts and what became of them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, bindparam, func, insert, select, update
from sqlalchemy.engine import Row

from domain.alert import Alert, AlertState, Condition, Severity
from domain.errors import InputError
from storage import record_tables as t
from storage.alert_notes import AlertNotes, add_note
from storage.alert_rows import (
    ACTIVE,
    IDS_OF_A_STATEMENT,
    LISTED,
    SEVERITIES,
    STATES,
    alert_of,
    condition_fields,
    parts,
)
from storage.delivery_records import DeliveryRecords, queue_cleared
from storage.suppression_records import SuppressionRecords, suppressed_of


@dataclass(frozen=True, slots=True)
class Transition:
    """One step in an alert's life; `at` is UTC ms, `who` is empty where nobody but the rule did it."""

    at: int
    state: AlertState
    severity: Severity
    who: str
    note: str


class AlertRecords(DeliveryRecords, SuppressionRecords, AlertNotes):
    """Alerts and deliveries. Calls block: on the event loop use ``asyncio.to_thread``."""

    def open_alerts(self, conditions: Sequence[Condition], now: int) -> list[Alert]:
        """Open one alert per condition, in one transaction, and return them in the same order.

        What was returned and is there again is a new alert; the one before is over.

        Raises
        ------
        InputError
            If an alert of the same rule and object is active already.
        """
        opened: list[Alert] = []
        with self.writing() as db:
            close_returned_of(db, {condition.key for condition in conditions}, now)
            for part in parts(conditions):
                rows = [
                    condition_fields(condition)
                    | {"rule": condition.rule, "object_id": condition.object_id}
                    | {"state": AlertState.OPEN.value, "opened": now, "updated": now}
                    for condition in part
                ]
                made = insert(t.alerts).returning(t.alerts.c.id, sort_by_parameter_order=True)
                numbers = db.scalars(made, rows).all()
                opened += [
                    Alert(n, condition, AlertState.OPEN, now, now)
                    for n, condition in zip(numbers, part, strict=True)
                ]
            _log_all(db, now, [(alert.id, AlertState.OPEN, alert.condition.severity) for alert in opened])
        return opened

    def update_alerts(self, updates: Sequence[tuple[int, Condition]], now: int) -> None:
        """Refresh the figures, the sentence and the severity of active alerts, in one transaction."""
        with self.writing() as db:
            for part in parts(updates):
                before = _rows(db, [alert_id for alert_id, _ in part])
                fields = [condition_fields(condition) | {"which": n, "updated": now} for n, condition in part]
                db.execute(update(t.alerts).where(t.alerts.c.id == bindparam("which")), fields)
                steps = [
                    (n, STATES[before[n].state], condition.severity)
                    for n, condition in part
                    if before[n].severity != condition.severity.value
                ]
                _log_all(db, now, steps)

    def acknowledge_alert(self, alert_id: int, who: str, note: str, now: int) -> Alert:
        """Note that somebody has taken an alert, and return it as it is now; one whose condition is gone is over then.

        Acknowledging again replaces who and note. Both are kept in the alert's transitions, the note in its notes too.

        Raises
        ------
        InputError
            If there is no such alert, or it is cleared already.
        """
        with self.writing() as db:
            row = _alert_row(db, alert_id)
            if row.state == AlertState.CLEARED.value:
                raise InputError(f"alert {alert_id} is cleared already; there is nothing left to acknowledge")
            over = row.state == AlertState.RETURNED.value
            state = AlertState.CLEARED if over else AlertState.ACKNOWLEDGED
            taken = {"acknowledged_at": now, "acknowledged_by": who, "note": note, "updated": now}
            db.execute(update(t.alerts).where(t.alerts.c.id == alert_id).values(state=state.value, **taken))
            _log(db, alert_id, now, state, Severity(row.severity), who, note)
            if note:
                add_note(db, row, now, who, note)
            return alert_of(_alert_row(db, alert_id))

    def return_alerts(self, alert_ids: Sequence[int], now: int) -> list[Alert]:
        """Note that the conditions of active alerts are gone, and return the alerts.

        One that nobody took is kept as returned until somebody does, unless it is for information or was kept quiet:
        it is over at once, as is one that somebody took. The news is queued as by `clear_alerts`.
        """
        return self._over(alert_ids, now, "", "", keep=True)

    def clear_alerts(self, alert_ids: Sequence[int], now: int, who: str = "", note: str = "") -> list[Alert]:
        """Clear alerts by hand and return them; those cleared already are left alone.

        In the same transaction it queues the news for every channel that was, or is to be, told of the alert.
        """
        return self._over(alert_ids, now, who, note, keep=False)

    def _over(self, alert_ids: Sequence[int], now: int, who: str, note: str, keep: bool) -> list[Alert]:
        over: list[Alert] = []
        with self.writing() as db:
            for part in parts(list(dict.fromkeys(alert_ids))):
                over += _end(db, part, now, who, note, keep)
        return over

    def close_returned(self, before: int, now: int, note: str) -> int:
        """Close what returned before then (UTC ms) and nobody took since; return how many those were."""
        a = t.alerts.c
        query = select(a.id, a.severity).where(
            LISTED, a.state == AlertState.RETURNED.value, a.cleared_at < before
        )
        with self.writing() as db:
            closed = {row.id: SEVERITIES[row.severity] for row in db.execute(query)}
            _close(db, closed, now, note)
        return len(closed)

    def reopen_alerts(self, alert_ids: Sequence[int], now: int, note: str) -> None:
        """Let active alerts be open again, whoever took them before: what kept them quiet has ended."""
        with self.writing() as db:
            for alert_id in alert_ids:
                row = _alert_row(db, alert_id)
                if row.state in ACTIVE:
                    fields = {"state": AlertState.OPEN.value, "updated": now}
                    db.execute(update(t.alerts).where(t.alerts.c.id == alert_id).values(**fields))
                    _log(db, alert_id, now, AlertState.OPEN, Severity(row.severity), "", note)

    def remark(self, alert_ids: Sequence[int], who: str, note: str, now: int) -> None:
        """Note something among the steps of alerts; their state stays."""
        with self.writing() as db:
            for alert_id in alert_ids:
                row = _alert_row(db, alert_id)
                _log(db, alert_id, now, AlertState(row.state), Severity(row.severity), who, note)

    def returned_alerts(self) -> list[Alert]:
        """Return the alerts whose condition is gone and that nobody took, the latest first."""
        query = select(t.alerts).where(LISTED, t.alerts.c.state == AlertState.RETURNED.value)
        with self.reading() as db:
            return [
                alert_of(row)
                for row in db.execute(query.order_by(t.alerts.c.cleared_at.desc(), t.alerts.c.id))
            ]

    def active_alerts(self) -> list[Alert]:
        """Return all open and acknowledged alerts, newest first."""
        query = select(t.alerts).where(LISTED, t.alerts.c.state.in_(ACTIVE))
        with self.reading() as db:
            found = [alert_of(row) for row in db.execute(query)]
        # here, as the database would walk a million that are over, in the order asked for
        return sorted(found, key=lambda a: (-a.opened, a.id))

    def openings(self, since: int) -> list[tuple[str, int]]:
        """Return the key and time (UTC ms) of every alert that opened since then, oldest first."""
        a = t.alerts.c
        query = select(a.rule, a.object_id, a.opened).where(a.opened > since).order_by(a.opened)
        with self.reading() as db:
            return [(f"{row.rule}/{row.object_id}", row.opened) for row in db.execute(query)]

    def times_opened(self, within: int) -> dict[int, int]:
        """Return by active alert how often its alarm had opened in `within` ms when it did, itself counted."""
        a, before = t.alerts, t.alerts.alias("before")
        same = (before.c.object_id == a.c.object_id) & (before.c.rule == a.c.rule)
        lately = (before.c.opened > a.c.opened - within) & (before.c.opened <= a.c.opened)
        query = select(a.c.id, func.count().label("times")).join(before, same & lately)
        with self.reading() as db:
            rows = db.execute(query.where(LISTED, a.c.state.in_(ACTIVE)).group_by(a.c.id))
            return {row.id: row.times for row in rows}

    def alert(self, alert_id: int) -> Alert:
        """Return one alert.

        Raises
        ------
        InputError
            If there is none of that number.
        """
        with self.reading() as db:
            return alert_of(_alert_row(db, alert_id))

    def alerts(self, ids: Sequence[int]) -> list[Alert]:
        """Return the alerts of these numbers, oldest first; numbers that there are none of are left out."""
        found: list[Alert] = []
        with self.reading() as db:
            for first in range(0, len(ids), IDS_OF_A_STATEMENT):
                part = ids[first : first + IDS_OF_A_STATEMENT]
                found += [
                    alert_of(row) for row in db.execute(select(t.alerts).where(t.alerts.c.id.in_(part)))
                ]
        return sorted(found, key=lambda alert: (alert.opened, alert.id))

    def alert_history(
        self,
        start: int = 0,
        end: int | None = None,
        object_id: str | None = None,
        rule: str | None = None,
        limit: int = 1000,
    ) -> list[Alert]:
        """Return alerts in any state that were opened in [start, end), newest first, `limit` at most."""
        query = select(t.alerts).where(t.alerts.c.opened >= start)
        if end is not None:
            query = query.where(t.alerts.c.opened < end)
        if object_id is not None:
            query = query.where(t.alerts.c.object_id == object_id)
        if rule is not None:
            query = query.where(t.alerts.c.rule == rule)
        query = query.order_by(t.alerts.c.opened.desc(), t.alerts.c.id.desc()).limit(limit)
        with self.reading() as db:
            return [alert_of(row) for row in db.execute(query)]

    def transitions(self, alert_id: int) -> list[Transition]:
        """Return the steps of one alert's life, oldest first."""
        query = select(t.transitions).where(t.transitions.c.alert_id == alert_id).order_by(t.transitions.c.id)
        with self.reading() as db:
            return [
                Transition(row.at, AlertState(row.state), Severity(row.severity), row.who, row.note)
                for row in db.execute(query)
            ]


def _log(
    db: Connection,
    alert_id: int,
    at: int,
    state: AlertState,
    severity: Severity,
    who: str = "",
    note: str = "",
) -> None:
    db.execute(
        insert(t.transitions).values(
            alert_id=alert_id, at=at, state=state.value, severity=severity.value, who=who, note=note
        )
    )


def _log_all(
    db: Connection,
    at: int,
    steps: Sequence[tuple[int, AlertState, Severity]],
    who: str = "",
    note: str = "",
) -> None:
    rows = [
        {"alert_id": n, "at": at, "state": state.value, "severity": severity.value, "who": who, "note": note}
        for n, state, severity in steps
    ]
    if rows:
        db.execute(insert(t.transitions), rows)


def close_returned_of(db: Connection, keys: set[str], now: int) -> None:
    """Close what of these keys was returned: it is there again."""
    a = t.alerts.c
    query = select(a.id, a.rule, a.object_id, a.severity).where(LISTED, a.state == AlertState.RETURNED.value)
    again = {
        row.id: SEVERITIES[row.severity] for row in db.execute(query) if f"{row.rule}/{row.object_id}" in keys
    }
    _close(db, again, now, "it came again")


def _close(db: Connection, returned: Mapping[int, Severity], now: int, note: str) -> None:
    """Close what was returned."""
    fields = {"state": AlertState.CLEARED.value, "updated": now}
    for part in parts([*returned]):
        db.execute(update(t.alerts).where(t.alerts.c.id.in_(part)).values(**fields))
    _log_all(db, now, [(n, AlertState.CLEARED, severity) for n, severity in returned.items()], "", note)


def _rows(db: Connection, alert_ids: Sequence[int]) -> dict[int, Row[Any]]:
    """Return the rows of alerts, as many as one statement takes, by id."""
    rows = {row.id: row for row in db.execute(select(t.alerts).where(t.alerts.c.id.in_(alert_ids)))}
    for alert_id in alert_ids:
        if alert_id not in rows:
            raise InputError(f"there is no alert {alert_id}")
    return rows


def _end(db: Connection, alert_ids: Sequence[int], now: int, who: str, note: str, keep: bool) -> list[Alert]:
    """End alerts, as many as one statement takes, and return those that were not over; see `_over`."""
    a = t.alerts
    rows = _rows(db, alert_ids)
    quiet = suppressed_of(db, alert_ids)
    ends: dict[tuple[AlertState, bool], list[int]] = defaultdict(list)
    for row in (rows[alert_id] for alert_id in alert_ids):
        active = row.state in ACTIVE
        if row.state == AlertState.CLEARED.value or (keep and not active):
            continue
        asked = row.state == AlertState.OPEN.value and row.severity != Severity.INFO.value
        wait = keep and asked and row.id not in quiet
        ends[AlertState.RETURNED if wait else AlertState.CLEARED, active].append(row.id)
    for (state, active), ids in ends.items():
        fields = {"state": state.value, "updated": now} | ({"cleared_at": now} if active else {})
        db.execute(update(a).where(a.c.id.in_(ids)).values(**fields))
        _log_all(db, now, [(n, state, Severity(rows[n].severity)) for n in ids], who, note)
    queue_cleared(db, [rows[n] for (_, active), ids in ends.items() if active for n in ids], now)
    ended = {n for ids in ends.values() for n in ids}
    after = {row.id: alert_of(row) for row in db.execute(select(a).where(a.c.id.in_(ended)))}
    return [after[n] for n in alert_ids if n in after]


def _alert_row(db: Connection, alert_id: int) -> Row[Any]:
    row = db.execute(select(t.alerts).where(t.alerts.c.id == alert_id)).first()
    if row is None:
        raise InputError(f"there is no alert {alert_id}")
    return row
