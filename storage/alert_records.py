"""Alerts and what became of them, what was told to whom, and what is still to be told."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, TypeVar

from sqlalchemy import Connection, case, func, insert, literal_column, select, update
from sqlalchemy.engine import Row

from domain.alert import Alert, AlertState, Condition, Severity
from domain.errors import InputError
from storage import record_tables as t
from storage.alert_notes import AlertNotes, add_note
from storage.oncall_records import Progress, keep_progress
from storage.suppression_records import SuppressionRecords, suppressed_of

T = TypeVar("T")
IDS_OF_A_STATEMENT = 1000
ACTIVE = (AlertState.OPEN.value, AlertState.ACKNOWLEDGED.value)
LISTED = t.alerts.c.state != literal_column(f"'{AlertState.CLEARED.value}'")
"""What is not over: in the words of an index, so that it is found among a million that are."""


class Event(StrEnum):
    """What there is to tell about an alert. Resumed: what kept it quiet has ended, and it still holds."""

    OPENED = "opened"
    WORSENED = "worsened"
    ESCALATED = "escalated"
    REMINDED = "reminded"
    RESUMED = "resumed"
    ACKNOWLEDGED = "acknowledged"
    CLEARED = "cleared"


REPEATED = (Event.WORSENED, Event.ESCALATED, Event.REMINDED, Event.RESUMED)
"""What may be told of an alert on a channel more than once."""


class DeliveryStatus(StrEnum):
    """Where a delivery stands. Superseded: a later event of the same alert was told instead."""

    PENDING = "pending"
    DELIVERED = "delivered"
    FAILED = "failed"
    SUPERSEDED = "superseded"


NOT_TOLD = (DeliveryStatus.FAILED.value, DeliveryStatus.SUPERSEDED.value)
"""Of what was superseded, what came after it says whether anybody was told."""


@dataclass(frozen=True, slots=True)
class Transition:
    """One step in an alert's life; `at` is UTC ms, `who` is empty where nobody but the rule did it."""

    at: int
    state: AlertState
    severity: Severity
    who: str
    note: str


@dataclass(frozen=True, slots=True)
class Delivery:
    """One event of one alert that one channel is to tell, or has told."""

    id: int
    alert_id: int
    event: Event
    channel: str
    status: DeliveryStatus
    created: int
    not_before: int
    attempts: int
    finished: int
    detail: str


@dataclass(frozen=True, slots=True)
class Told:
    """What of an alert was queued or told: its events, the worst severity that was told, and on which channels."""

    events: frozenset[Event]
    severity: Severity
    channels: frozenset[str]


class AlertRecords(SuppressionRecords, AlertNotes):
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
            for part in _parts(conditions):
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
            for alert_id, condition in updates:
                row = _alert_row(db, alert_id)
                db.execute(
                    update(t.alerts)
                    .where(t.alerts.c.id == alert_id)
                    .values(**condition_fields(condition), updated=now)
                )
                if row.severity != condition.severity.value:
                    _log(db, alert_id, now, AlertState(row.state), condition.severity)

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
            return _alert(_alert_row(db, alert_id))

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
            for part in _parts(list(dict.fromkeys(alert_ids))):
                over += _end(db, part, now, who, note, keep)
        return over

    def close_returned(self, before: int, now: int, note: str) -> int:
        """Close what returned before then (UTC ms) and nobody took since; return how many those were."""
        a = t.alerts.c
        query = select(a.id, a.severity).where(
            LISTED, a.state == AlertState.RETURNED.value, a.cleared_at < before
        )
        with self.writing() as db:
            rows = db.execute(query).all()
            for row in rows:
                fields = {"state": AlertState.CLEARED.value, "updated": now}
                db.execute(update(t.alerts).where(a.id == row.id).values(**fields))
                _log(db, row.id, now, AlertState.CLEARED, Severity(row.severity), "", note)
        return len(rows)

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
                _alert(row) for row in db.execute(query.order_by(t.alerts.c.cleared_at.desc(), t.alerts.c.id))
            ]

    def active_alerts(self) -> list[Alert]:
        """Return all open and acknowledged alerts, newest first."""
        query = select(t.alerts).where(LISTED, t.alerts.c.state.in_(ACTIVE))
        with self.reading() as db:
            found = [_alert(row) for row in db.execute(query)]
        # here, as the database would walk a million that are over, in the order asked for
        return sorted(found, key=lambda a: (-a.opened, a.id))

    def standing_alerts(self, channel: str) -> list[Alert]:
        """Return the active alerts of which a channel was told, oldest first."""
        d = t.deliveries
        told = select(d.c.alert_id).where(
            d.c.channel == channel, d.c.status == DeliveryStatus.DELIVERED.value
        )
        query = select(t.alerts).where(LISTED, t.alerts.c.state.in_(ACTIVE), t.alerts.c.id.in_(told))
        with self.reading() as db:
            return [_alert(row) for row in db.execute(query.order_by(t.alerts.c.opened, t.alerts.c.id))]

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
            return _alert(_alert_row(db, alert_id))

    def alerts(self, ids: Sequence[int]) -> list[Alert]:
        """Return the alerts of these numbers, oldest first; numbers that there are none of are left out."""
        found: list[Alert] = []
        with self.reading() as db:
            for first in range(0, len(ids), IDS_OF_A_STATEMENT):
                part = ids[first : first + IDS_OF_A_STATEMENT]
                found += [_alert(row) for row in db.execute(select(t.alerts).where(t.alerts.c.id.in_(part)))]
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
            return [_alert(row) for row in db.execute(query)]

    def transitions(self, alert_id: int) -> list[Transition]:
        """Return the steps of one alert's life, oldest first."""
        query = select(t.transitions).where(t.transitions.c.alert_id == alert_id).order_by(t.transitions.c.id)
        with self.reading() as db:
            return [
                Transition(row.at, AlertState(row.state), Severity(row.severity), row.who, row.note)
                for row in db.execute(query)
            ]

    # --- deliveries: what is still to be told outlives a restart -----------------------------------------------

    def queue_deliveries(
        self, wanted: Iterable[tuple[int, Event, str, int]], now: int, progress: Iterable[Progress] = ()
    ) -> int:
        """Queue (alert id, event, channel, not before), in one transaction; return how many were new.

        An event of an alert is told once per channel: what was queued before changes nothing. What may come more than
        once (`REPEATED`) is queued again once it was told. What of the alert still waits on the channel is superseded.
        In the same transaction it notes how far escalations are then.
        """
        added = 0
        d = t.deliveries
        with self.writing() as db:
            asked = list(wanted)
            ids = list({alert_id for alert_id, *_ in asked})
            severities = _severities(db, ids)
            known = _known_deliveries(db, ids)
            new: list[dict[str, Any]] = []
            for alert_id, what, channel, not_before in asked:
                if alert_id not in severities:
                    raise InputError(f"there is no alert {alert_id}")
                before = known.get((alert_id, what.value, channel))
                fields = {
                    "severity": severities[alert_id],
                    "status": DeliveryStatus.PENDING.value,
                    "created": now,
                    "not_before": not_before,
                }
                told = any((alert_id, event.value, channel) in known for event in Event)
                if told and (before is None or what in REPEATED):
                    _supersede(db, alert_id, channel, now)
                    for row in (r for r in new if (r["alert_id"], r["channel"]) == (alert_id, channel)):
                        row |= {"status": DeliveryStatus.SUPERSEDED.value, "finished": now}
                if before is None:
                    place = {"alert_id": alert_id, "event": what.value, "channel": channel}
                    new.append(place | fields | {"finished": 0})
                    known[alert_id, what.value, channel] = (0, DeliveryStatus.PENDING.value)
                elif what in REPEATED and before[0]:
                    db.execute(update(d).where(d.c.id == before[0]).values(**fields))
                    added += before[1] != DeliveryStatus.PENDING.value
            if new:
                db.execute(insert(d), new)
                added += len(new)
            keep_progress(db, progress)
        return added

    def channels_due(self, now: int) -> set[str]:
        """Return the channels on which something is pending and due."""
        d = t.deliveries
        due = d.c.status == DeliveryStatus.PENDING.value, d.c.not_before <= now
        with self.reading() as db:
            return set(db.scalars(select(d.c.channel).where(*due).distinct()))

    def due_deliveries(self, now: int, channel: str, most: int = 2000) -> list[tuple[Delivery, Alert]]:
        """Return what is pending and due on a channel, the worst and then the oldest first, `most` at a time.

        Each comes with its alert as it is now.
        """
        d = t.deliveries
        rank = case({severity.value: severity.rank for severity in Severity}, value=d.c.severity)
        due = d.c.status == DeliveryStatus.PENDING.value, d.c.not_before <= now, d.c.channel == channel
        query = select(d).where(*due).order_by(rank.desc(), d.c.id).limit(most)
        with self.reading() as db:
            found = [_delivery(row) for row in db.execute(query)]
            ids = {delivery.alert_id for delivery in found}
            alerts = {
                row.id: _alert(row) for row in db.execute(select(t.alerts).where(t.alerts.c.id.in_(ids)))
            }
        return [(delivery, alerts[delivery.alert_id]) for delivery in found]

    def give_up_deliveries(self, channels: Iterable[str], now: int, detail: str) -> int:
        """Give up what waits for other channels than these; return how much that was."""
        d = t.deliveries
        waiting = d.c.status == DeliveryStatus.PENDING.value, d.c.channel.not_in(list(channels))
        change = update(d).where(*waiting)
        given_up = {"status": DeliveryStatus.FAILED.value, "finished": now, "detail": detail}
        with self.writing() as db:
            return int(db.execute(change.values(**given_up)).rowcount)

    def finish_deliveries(
        self, ids: Sequence[int], status: DeliveryStatus, now: int, attempts: int = 0, detail: str = ""
    ) -> None:
        """Note that deliveries were made, failed for good, or were superseded."""
        self._settle(ids, attempts, detail, {"status": status.value, "finished": now})

    def postpone_deliveries(self, ids: Sequence[int], not_before: int, attempts: int, detail: str) -> None:
        """Note that deliveries failed for now and are to be tried again at `not_before`."""
        self._settle(ids, attempts, detail, {"not_before": not_before})

    def deliveries(self, alert_id: int) -> list[Delivery]:
        """Return what was told, or is to be told, about one alert, oldest first."""
        query = select(t.deliveries).where(t.deliveries.c.alert_id == alert_id).order_by(t.deliveries.c.id)
        with self.reading() as db:
            return [_delivery(row) for row in db.execute(query)]

    def told(self) -> dict[int, Told]:
        """Return by active alert what was queued or told already, on any channel; alerts never told are left out."""
        d = t.deliveries
        query = (
            select(d.c.alert_id, d.c.event, d.c.severity, d.c.channel)
            .join(t.alerts, t.alerts.c.id == d.c.alert_id)
            .where(LISTED, t.alerts.c.state.in_(ACTIVE))
            .distinct()
        )
        found: dict[int, Told] = {}
        with self.reading() as db:
            for row in db.execute(query):
                before = found.get(row.alert_id, Told(frozenset(), Severity.INFO, frozenset()))
                severity = max(before.severity, Severity(row.severity), key=lambda s: s.rank)
                channels = before.channels | {row.channel}
                found[row.alert_id] = Told(before.events | {Event(row.event)}, severity, channels)
        return found

    def _settle(self, ids: Sequence[int], attempts: int, detail: str, fields: dict[str, Any]) -> None:
        d = t.deliveries
        change = update(d).values(**fields, attempts=d.c.attempts + attempts, detail=detail)
        with self.writing() as db:
            for first in range(0, len(ids), IDS_OF_A_STATEMENT):
                db.execute(change.where(d.c.id.in_(ids[first : first + IDS_OF_A_STATEMENT])))


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


def _severities(db: Connection, ids: Sequence[int]) -> dict[int, str]:
    a = t.alerts
    return {
        row.id: row.severity
        for part in _parts(ids)
        for row in db.execute(select(a.c.id, a.c.severity).where(a.c.id.in_(part)))
    }


def _known_deliveries(db: Connection, ids: Sequence[int]) -> dict[tuple[int, str, str], tuple[int, str]]:
    """Return id and status of the deliveries of alerts, by alert, event and channel."""
    d = t.deliveries
    return {
        (row.alert_id, row.event, row.channel): (row.id, row.status)
        for part in _parts(ids)
        for row in db.execute(select(d).where(d.c.alert_id.in_(part)))
    }


def _parts(items: Sequence[T]) -> Iterator[Sequence[T]]:
    """Yield as many items at a time as one statement takes."""
    yield from (items[i : i + IDS_OF_A_STATEMENT] for i in range(0, len(items), IDS_OF_A_STATEMENT))


def close_returned_of(db: Connection, keys: set[str], now: int) -> None:
    """Close what of these keys was returned: it is there again."""
    a = t.alerts.c
    for row in db.execute(select(t.alerts).where(LISTED, a.state == AlertState.RETURNED.value)).all():
        if f"{row.rule}/{row.object_id}" in keys:
            fields = {"state": AlertState.CLEARED.value, "updated": now}
            db.execute(update(t.alerts).where(a.id == row.id).values(**fields))
            _log(db, row.id, now, AlertState.CLEARED, Severity(row.severity), "", "it came again")


def _end(db: Connection, alert_ids: Sequence[int], now: int, who: str, note: str, keep: bool) -> list[Alert]:
    """End alerts, as many as one statement takes, and return those that were not over; see `_over`."""
    a = t.alerts
    rows = {row.id: row for row in db.execute(select(a).where(a.c.id.in_(alert_ids)))}
    for alert_id in alert_ids:
        if alert_id not in rows:
            raise InputError(f"there is no alert {alert_id}")
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
    _queue_cleared(db, [rows[n] for (_, active), ids in ends.items() if active for n in ids], now)
    ended = {n for ids in ends.values() for n in ids}
    after = {row.id: _alert(row) for row in db.execute(select(a).where(a.c.id.in_(ended)))}
    return [after[n] for n in alert_ids if n in after]


def _queue_cleared(db: Connection, rows: Sequence[Row[Any]], now: int) -> None:
    """Queue the news of alerts for every channel that was told of each, or to which telling it is due."""
    d = t.deliveries
    severity = {row.id: row.severity for row in rows}
    waits = (d.c.status == DeliveryStatus.PENDING.value) & (d.c.attempts == 0) & (d.c.not_before > now)
    told = select(d.c.alert_id, d.c.channel).where(
        d.c.alert_id.in_(list(severity)), d.c.status.not_in(NOT_TOLD), ~waits
    )
    places = db.execute(told.distinct().order_by(d.c.alert_id, d.c.channel)).all()
    pending = d.c.alert_id.in_(list(severity)) & (d.c.status == DeliveryStatus.PENDING.value)
    db.execute(update(d).where(pending).values(status=DeliveryStatus.SUPERSEDED.value, finished=now))
    news: dict[str, Any] = {"event": Event.CLEARED.value, "status": DeliveryStatus.PENDING.value}
    news |= {"created": now, "not_before": now}
    if places:
        db.execute(
            insert(d),
            [
                {"alert_id": p.alert_id, "channel": p.channel, "severity": severity[p.alert_id]} | news
                for p in places
            ],
        )


def _supersede(db: Connection, alert_id: int, channel: str, now: int) -> None:
    """Give up what of an alert still waits on a channel: something newer is to be told."""
    d = t.deliveries
    waiting = (d.c.alert_id == alert_id) & (d.c.status == DeliveryStatus.PENDING.value)
    waiting &= d.c.channel == channel
    db.execute(update(d).where(waiting).values(status=DeliveryStatus.SUPERSEDED.value, finished=now))


def _number(value: float) -> float | None:
    return None if math.isnan(value) else float(value)


def condition_fields(condition: Condition) -> dict[str, Any]:
    """Return what an alert's row keeps of its condition, but for rule and object."""
    return {
        "severity": condition.severity.value,
        "summary": condition.summary,
        "value": _number(condition.value),
        "limit": _number(condition.limit),
        "unit": condition.unit,
        "observed": int(condition.observed),
    }


def _alert_row(db: Connection, alert_id: int) -> Row[Any]:
    row = db.execute(select(t.alerts).where(t.alerts.c.id == alert_id)).first()
    if row is None:
        raise InputError(f"there is no alert {alert_id}")
    return row


def _alert(row: Row[Any]) -> Alert:
    condition = Condition(
        row.rule,
        row.object_id,
        Severity(row.severity),
        row.summary,
        math.nan if row.value is None else row.value,
        math.nan if row.limit is None else row.limit,
        row.unit,
        row.observed,
    )
    return Alert(
        row.id,
        condition,
        AlertState(row.state),
        row.opened,
        row.updated,
        row.acknowledged_at,
        row.acknowledged_by,
        row.note,
        row.cleared_at,
    )


def _delivery(row: Row[Any]) -> Delivery:
    return Delivery(
        row.id,
        row.alert_id,
        Event(row.event),
        row.channel,
        DeliveryStatus(row.status),
        row.created,
        row.not_before,
        row.attempts,
        row.finished,
        row.detail,
    )
