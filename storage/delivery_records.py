"""What was told of alerts to whom, and what is still to be told: it outlives a restart."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from sqlalchemy import Connection, case, insert, select, update
from sqlalchemy.engine import Row

from domain.alert import Alert, Severity
from domain.errors import InputError
from storage import record_tables as t
from storage.alert_rows import ACTIVE, IDS_OF_A_STATEMENT, LISTED, SEVERITIES, alert_of, parts
from storage.database import Database
from storage.oncall_records import Progress, keep_progress


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


class DeliveryRecords(Database):
    """What is told about alerts. Calls block: on the event loop use ``asyncio.to_thread``."""

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
                row.id: alert_of(row) for row in db.execute(select(t.alerts).where(t.alerts.c.id.in_(ids)))
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

    def standing_alerts(self, channel: str) -> list[Alert]:
        """Return the active alerts of which a channel was told, oldest first."""
        d = t.deliveries
        told = select(d.c.alert_id).where(
            d.c.channel == channel, d.c.status == DeliveryStatus.DELIVERED.value
        )
        query = select(t.alerts).where(LISTED, t.alerts.c.state.in_(ACTIVE), t.alerts.c.id.in_(told))
        with self.reading() as db:
            return [alert_of(row) for row in db.execute(query.order_by(t.alerts.c.opened, t.alerts.c.id))]

    def told(self) -> dict[int, Told]:
        """Return by active alert what was queued or told already, on any channel; alerts never told are left out."""
        d = t.deliveries
        query = (
            select(d.c.alert_id, d.c.event, d.c.severity, d.c.channel)
            .join(t.alerts, t.alerts.c.id == d.c.alert_id)
            .where(LISTED, t.alerts.c.state.in_(ACTIVE))
            .distinct()
        )
        found: defaultdict[int, list[tuple[str, str, str]]] = defaultdict(list)
        with self.reading() as db:
            for alert_id, event, severity, channel in db.execute(query):
                found[alert_id].append((event, severity, channel))
        return {
            alert_id: Told(
                frozenset(Event(event) for event in {event for event, _, _ in rows}),
                max((SEVERITIES[severity] for _, severity, _ in rows), key=lambda s: s.rank),
                frozenset(channel for _, _, channel in rows),
            )
            for alert_id, rows in found.items()
        }

    def _settle(self, ids: Sequence[int], attempts: int, detail: str, fields: dict[str, Any]) -> None:
        d = t.deliveries
        change = update(d).values(**fields, attempts=d.c.attempts + attempts, detail=detail)
        with self.writing() as db:
            for first in range(0, len(ids), IDS_OF_A_STATEMENT):
                db.execute(change.where(d.c.id.in_(ids[first : first + IDS_OF_A_STATEMENT])))


def _severities(db: Connection, ids: Sequence[int]) -> dict[int, str]:
    a = t.alerts
    return {
        row.id: row.severity
        for part in parts(ids)
        for row in db.execute(select(a.c.id, a.c.severity).where(a.c.id.in_(part)))
    }


def _known_deliveries(db: Connection, ids: Sequence[int]) -> dict[tuple[int, str, str], tuple[int, str]]:
    """Return id and status of the deliveries of alerts, by alert, event and channel."""
    d = t.deliveries
    return {
        (row.alert_id, row.event, row.channel): (row.id, row.status)
        for part in parts(ids)
        for row in db.execute(select(d).where(d.c.alert_id.in_(part)))
    }


def queue_cleared(db: Connection, rows: Sequence[Row[Any]], now: int) -> None:
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
