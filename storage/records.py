"""Records that change: alerts and what became of them, silences, deliveries, issued forecasts, audit.

SQLite by default (write-ahead log, safe from several threads and processes); any SQLAlchemy URL, such as
PostgreSQL's, beyond one machine. Calls block: on the event loop use ``asyncio.to_thread``.
"""

from __future__ import annotations

import json
import math
import zlib
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from enum import StrEnum
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import numpy as np
from sqlalchemy import Connection, Engine, create_engine, event, insert, select, update
from sqlalchemy.engine import Row, make_url
from sqlalchemy.exc import ArgumentError, DBAPIError, IntegrityError, NoSuchModuleError

from domain.alert import Alert, AlertState, Condition, Severity
from domain.batch import now_ms
from domain.errors import InputError, StorageError, StoreUnavailable
from domain.forecast import Forecast
from storage import record_tables as t

ACTIVE = (AlertState.OPEN.value, AlertState.ACKNOWLEDGED.value)


class Event(StrEnum):
    """What there is to tell about an alert."""

    OPENED = "opened"
    WORSENED = "worsened"
    ESCALATED = "escalated"
    CLEARED = "cleared"


class DeliveryStatus(StrEnum):
    """Where a delivery stands. Superseded: a later event of the same alert was told instead."""

    PENDING = "pending"
    DELIVERED = "delivered"
    FAILED = "failed"
    SUPERSEDED = "superseded"


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
    """What of an alert was queued or told: its events, and the worst severity that was told."""

    events: frozenset[Event]
    severity: Severity


@dataclass(frozen=True, slots=True)
class Silence:
    """Alerts of matching rule and object page nobody from `start` to before `end` (UTC ms); they are shown still.

    `rule` and `object_id` may be globs; ``*`` matches everything.
    """

    id: int
    rule: str
    object_id: str
    start: int
    end: int
    who: str
    note: str

    def covers(self, condition: Condition, now: int) -> bool:
        """Return whether an alert on `condition` is silenced at `now`."""
        return (
            self.start <= now < self.end
            and fnmatchcase(condition.rule, self.rule)
            and fnmatchcase(condition.object_id, self.object_id)
        )


@dataclass(frozen=True, slots=True)
class AuditEntry:
    """Who did what, when (UTC ms)."""

    at: int
    who: str
    what: str
    detail: str


class Records:
    """The records of one site.

    Parameters
    ----------
    url
        SQLAlchemy URL, such as ``sqlite:///data/records.sqlite`` or ``postgresql+psycopg://host/hallwatch``.

    Raises
    ------
    InputError
        If the URL cannot be used, or the records were made by a newer Hallwatch.
    StoreUnavailable
        If the database cannot be reached.
    """

    def __init__(self, url: str) -> None:
        self.engine = _engine(url)
        self._writer = self.engine.execution_options(hallwatch_writes=True)
        self._newest: dict[tuple[str, str], tuple[int, Forecast]] = {}
        with self.writing() as db:
            t.metadata.create_all(db)
            found = db.scalar(select(t.schema.c.version))
            if found is None:
                db.execute(insert(t.schema).values(version=t.SCHEMA_VERSION))
            elif found != t.SCHEMA_VERSION:
                raise InputError(
                    f"the records at {self.engine.url!r} have schema version {found}, this Hallwatch "
                    f"uses {t.SCHEMA_VERSION}: install the release that wrote them, or point at other records"
                )

    def close(self) -> None:
        """Let go of the database."""
        self.engine.dispose()

    @contextmanager
    def writing(self) -> Iterator[Connection]:
        """Open a transaction that writes; it is committed at the end, or not at all."""
        with _translated(), self._writer.begin() as db:
            yield db

    @contextmanager
    def reading(self) -> Iterator[Connection]:
        """Open a transaction that only reads."""
        with _translated(), self.engine.connect() as db:
            yield db

    # --- alerts ---------------------------------------------------------------------------------------------

    def open_alerts(self, conditions: Sequence[Condition], now: int) -> list[Alert]:
        """Open one alert per condition, in one transaction, and return them in the same order.

        Raises
        ------
        InputError
            If an alert of the same rule and object is active already.
        """
        opened = []
        with self.writing() as db:
            for condition in conditions:
                fields = _condition_fields(condition) | {
                    "rule": condition.rule,
                    "object_id": condition.object_id,
                    "state": AlertState.OPEN.value,
                    "opened": now,
                    "updated": now,
                }
                number = _inserted(db, t.alerts, fields)
                opened.append(Alert(number, condition, AlertState.OPEN, now, now))
                _log(db, number, now, AlertState.OPEN, condition.severity)
        return opened

    def update_alerts(self, updates: Sequence[tuple[int, Condition]], now: int) -> None:
        """Refresh the figures, the sentence and the severity of active alerts, in one transaction."""
        with self.writing() as db:
            for alert_id, condition in updates:
                row = _alert_row(db, alert_id)
                db.execute(
                    update(t.alerts)
                    .where(t.alerts.c.id == alert_id)
                    .values(**_condition_fields(condition), updated=now)
                )
                if row.severity != condition.severity.value:
                    _log(db, alert_id, now, AlertState(row.state), condition.severity)

    def acknowledge_alert(self, alert_id: int, who: str, note: str, now: int) -> Alert:
        """Note that somebody has taken an alert, and return it as it is now.

        Acknowledging again replaces who and note. Both are kept in the alert's transitions.

        Raises
        ------
        InputError
            If there is no such alert, or it is cleared already.
        """
        with self.writing() as db:
            row = _alert_row(db, alert_id)
            if row.state == AlertState.CLEARED.value:
                raise InputError(f"alert {alert_id} is cleared already; there is nothing left to acknowledge")
            db.execute(
                update(t.alerts)
                .where(t.alerts.c.id == alert_id)
                .values(
                    state=AlertState.ACKNOWLEDGED.value,
                    acknowledged_at=now,
                    acknowledged_by=who,
                    note=note,
                    updated=now,
                )
            )
            _log(db, alert_id, now, AlertState.ACKNOWLEDGED, Severity(row.severity), who, note)
            return _alert(_alert_row(db, alert_id))

    def clear_alerts(self, alert_ids: Sequence[int], now: int, who: str = "", note: str = "") -> list[Alert]:
        """Clear active alerts and return them; those cleared already are left alone.

        In the same transaction it queues the news for every channel that was, or is to be, told of the alert.
        """
        cleared = []
        with self.writing() as db:
            for alert_id in alert_ids:
                row = _alert_row(db, alert_id)
                if row.state == AlertState.CLEARED.value:
                    continue
                db.execute(
                    update(t.alerts)
                    .where(t.alerts.c.id == alert_id)
                    .values(state=AlertState.CLEARED.value, cleared_at=now, updated=now)
                )
                _log(db, alert_id, now, AlertState.CLEARED, Severity(row.severity), who, note)
                _queue_cleared(db, alert_id, row.severity, now)
                cleared.append(_alert(_alert_row(db, alert_id)))
        return cleared

    def active_alerts(self) -> list[Alert]:
        """Return all open and acknowledged alerts, newest first."""
        query = select(t.alerts).where(t.alerts.c.state.in_(ACTIVE))
        with self.reading() as db:
            return [
                _alert(row) for row in db.execute(query.order_by(t.alerts.c.opened.desc(), t.alerts.c.id))
            ]

    def alert(self, alert_id: int) -> Alert:
        """Return one alert.

        Raises
        ------
        InputError
            If there is none of that number.
        """
        with self.reading() as db:
            return _alert(_alert_row(db, alert_id))

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

    def queue_deliveries(self, wanted: Iterable[tuple[int, Event, str, int]], now: int) -> int:
        """Queue (alert id, event, channel, not before), in one transaction; return how many were new.

        An event of an alert is told once per channel: what was queued before changes nothing. ``WORSENED``
        may come more than once: it is queued again once it was told.
        """
        added = 0
        d = t.deliveries
        with self.writing() as db:
            for alert_id, what, channel, not_before in wanted:
                same = (d.c.alert_id == alert_id) & (d.c.event == what.value) & (d.c.channel == channel)
                known = db.execute(select(d.c.id, d.c.status).where(same)).first()
                fields = {
                    "severity": _alert_row(db, alert_id).severity,
                    "status": DeliveryStatus.PENDING.value,
                    "created": now,
                    "not_before": not_before,
                }
                if known is None:
                    db.execute(
                        insert(d).values(alert_id=alert_id, event=what.value, channel=channel, **fields)
                    )
                    added += 1
                elif what is Event.WORSENED:
                    db.execute(update(d).where(d.c.id == known.id).values(**fields))
                    added += known.status != DeliveryStatus.PENDING.value
        return added

    def due_deliveries(self, now: int) -> list[tuple[Delivery, Alert]]:
        """Return what is pending and due, oldest first, each with its alert as it is now."""
        d = t.deliveries
        query = (
            select(d)
            .where(d.c.status == DeliveryStatus.PENDING.value, d.c.not_before <= now)
            .order_by(d.c.id)
        )
        with self.reading() as db:
            due = [_delivery(row) for row in db.execute(query)]
            ids = {delivery.alert_id for delivery in due}
            found = {
                row.id: _alert(row) for row in db.execute(select(t.alerts).where(t.alerts.c.id.in_(ids)))
            }
        return [(delivery, found[delivery.alert_id]) for delivery in due]

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
            select(d.c.alert_id, d.c.event, d.c.severity)
            .join(t.alerts, t.alerts.c.id == d.c.alert_id)
            .where(t.alerts.c.state.in_(ACTIVE))
            .distinct()
        )
        found: dict[int, Told] = {}
        with self.reading() as db:
            for row in db.execute(query):
                before = found.get(row.alert_id, Told(frozenset(), Severity.INFO))
                severity = max(before.severity, Severity(row.severity), key=lambda s: s.rank)
                found[row.alert_id] = Told(before.events | {Event(row.event)}, severity)
        return found

    def _settle(self, ids: Sequence[int], attempts: int, detail: str, fields: dict[str, Any]) -> None:
        d = t.deliveries
        change = (
            update(d).where(d.c.id.in_(ids)).values(**fields, attempts=d.c.attempts + attempts, detail=detail)
        )
        with self.writing() as db:
            db.execute(change)

    # --- silences -------------------------------------------------------------------------------------------

    def add_silence(
        self, rule: str, object_id: str, start: int, end: int, who: str, note: str = ""
    ) -> Silence:
        """Silence alerts of a rule and an object (globs allowed) from `start` to before `end`.

        Raises
        ------
        InputError
            If `end` does not come after `start`.
        """
        if end <= start:
            raise InputError("a silence must end after it starts")
        fields = {"rule": rule, "object_id": object_id, "start": start, "end": end, "who": who, "note": note}
        with self.writing() as db:
            number = _inserted(db, t.silences, fields | {"created": now_ms()})
        return Silence(number, rule, object_id, start, end, who, note)

    def end_silence(self, silence_id: int, now: int) -> None:
        """End a silence now; one that has not begun never will."""
        s = t.silences
        with self.writing() as db:
            db.execute(update(s).where(s.c.id == silence_id, s.c.end > now).values(end=now))

    def silences(self, now: int) -> list[Silence]:
        """Return the silences that hold at `now` or will later."""
        s = t.silences
        query = select(s).where(s.c.end > now).order_by(s.c.start, s.c.id)
        with self.reading() as db:
            return [
                Silence(row.id, row.rule, row.object_id, row.start, row.end, row.who, row.note)
                for row in db.execute(query)
            ]

    # --- issued forecasts: all are kept ------------------------------------------------------------------------

    def save_forecast(self, forecast: Forecast) -> int:
        """Keep an issued forecast and return its number."""
        fields = {
            "object_id": forecast.object_id,
            "point_type": forecast.point_type,
            "unit": forecast.unit,
            "issued": forecast.issued,
            "data_cutoff": forecast.data_cutoff,
            "interval_minutes": forecast.interval_minutes,
            "quantiles": json.dumps(forecast.quantiles),
            "intervals": len(forecast.start),
            "arrays": _pack(forecast),
            "model": forecast.model,
            "quality": forecast.quality,
        }
        with self.writing() as db:
            return _inserted(db, t.forecasts, fields)

    def latest_forecast(self, object_id: str, point_type: str = "ActivePower") -> Forecast | None:
        """Return the newest forecast of a quantity, or None where none was issued."""
        f = t.forecasts
        key = (object_id, point_type)
        newest = (
            select(f.c.id)
            .where(f.c.object_id == object_id, f.c.point_type == point_type)
            .order_by(f.c.issued.desc(), f.c.id.desc())
            .limit(1)
        )
        with self.reading() as db:
            number = db.scalar(newest)
            if number is None:
                return None
            kept = self._newest.get(key)
            if kept is None or kept[0] != number:
                kept = (number, _forecast(db.execute(select(f).where(f.c.id == number)).one()))
                self._newest[key] = kept
        return kept[1]

    def forecasts(
        self, object_id: str, point_type: str, start: int, end: int, limit: int = 1000
    ) -> list[Forecast]:
        """Return the forecasts that were issued in [start, end), oldest first, `limit` at most."""
        f = t.forecasts
        query = (
            select(f)
            .where(f.c.object_id == object_id, f.c.point_type == point_type)
            .where(f.c.issued >= start, f.c.issued < end)
            .order_by(f.c.issued, f.c.id)
            .limit(limit)
        )
        with self.reading() as db:
            return [_forecast(row) for row in db.execute(query)]

    # --- audit ----------------------------------------------------------------------------------------------

    def audit(self, who: str, what: str, detail: str = "") -> None:
        """Note that somebody did something."""
        with self.writing() as db:
            db.execute(insert(t.audit).values(at=now_ms(), who=who, what=what, detail=detail))

    def audit_trail(self, start: int = 0, end: int | None = None, limit: int = 1000) -> list[AuditEntry]:
        """Return what was done in [start, end), newest first, `limit` at most."""
        query = select(t.audit).where(t.audit.c.at >= start)
        if end is not None:
            query = query.where(t.audit.c.at < end)
        with self.reading() as db:
            rows = db.execute(query.order_by(t.audit.c.id.desc()).limit(limit))
            return [AuditEntry(row.at, row.who, row.what, row.detail) for row in rows]


def _engine(url: str) -> Engine:
    try:
        address = make_url(url)
        if address.get_backend_name() != "sqlite":
            return create_engine(address, pool_pre_ping=True)
    except (ArgumentError, NoSuchModuleError, ImportError) as error:
        raise InputError(
            f"records URL {url!r} cannot be used ({error}); write one such as sqlite:///data/records.sqlite"
        ) from error
    if address.database in (None, "", ":memory:"):
        raise InputError("records in memory are lost at the end and not shared by threads; name a file")
    try:
        Path(str(address.database)).parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(
            f"no folder can be made for the records at {address.database} ({error.strerror})"
        ) from error
    engine = create_engine(address)

    @event.listens_for(engine, "connect")
    def _configure(connection: Any, _record: object) -> None:
        # The driver's own implicit BEGIN comes too late for IMMEDIATE; ours is below.
        connection.isolation_level = None
        for pragma in ("journal_mode=WAL", "busy_timeout=15000", "synchronous=FULL", "foreign_keys=ON"):
            connection.execute(f"PRAGMA {pragma}")

    @event.listens_for(engine, "begin")
    def _begin(connection: Connection) -> None:
        # A transaction that reads first and writes then would fail at once when another wrote between.
        writes = connection.get_execution_options().get("hallwatch_writes", False)
        connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")

    return engine


@contextmanager
def _translated() -> Iterator[None]:
    try:
        yield
    except IntegrityError as error:
        raise InputError(f"the records hold this already: {error.orig}") from error
    except DBAPIError as error:
        kind = StoreUnavailable if error.connection_invalidated or _busy(error) else StorageError
        raise kind(f"records: {error.orig}") from error


def _busy(error: DBAPIError) -> bool:
    text = str(error.orig)
    return any(
        part in text for part in ("locked", "unable to open", "connection", "refused", "could not translate")
    )


def _inserted(db: Connection, table: Any, fields: dict[str, Any]) -> int:
    key = db.execute(insert(table).values(**fields)).inserted_primary_key
    if key is None:  # both databases tell it; the type checker cannot know
        raise StorageError(f"no key came back for a new row of {table.name}")
    return int(key[0])


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


def _queue_cleared(db: Connection, alert_id: int, severity: str, now: int) -> None:
    d = t.deliveries
    told = select(d.c.channel).where(d.c.alert_id == alert_id, d.c.status != DeliveryStatus.FAILED.value)
    for channel in db.scalars(told.distinct()).all():
        db.execute(
            insert(d).values(
                alert_id=alert_id,
                event=Event.CLEARED.value,
                severity=severity,
                channel=channel,
                status=DeliveryStatus.PENDING.value,
                created=now,
                not_before=now,
            )
        )


def _number(value: float) -> float | None:
    return None if math.isnan(value) else float(value)


def _condition_fields(condition: Condition) -> dict[str, Any]:
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


def _pack(forecast: Forecast) -> bytes:
    """Pack start (int64), then values, limit and breach probability (float64), little endian, compressed."""
    parts = (
        forecast.start.astype("<i8"),
        *(a.astype("<f8") for a in (forecast.values, forecast.limit, forecast.breach_probability)),
    )
    return zlib.compress(b"".join(np.ascontiguousarray(part).tobytes() for part in parts))


def _forecast(row: Row[Any]) -> Forecast:
    levels = tuple(json.loads(row.quantiles))
    n, q = row.intervals, len(levels)
    data = zlib.decompress(row.arrays)
    start = np.frombuffer(data, "<i8", n).astype(np.int64)
    numbers = np.frombuffer(data, "<f8", offset=8 * n).astype(np.float64)
    values, limit, breach = np.split(numbers, [n * q, n * q + n])
    return Forecast(
        row.object_id,
        row.point_type,
        row.unit,
        row.issued,
        row.data_cutoff,
        row.interval_minutes,
        start,
        levels,
        values.reshape(n, q),
        limit,
        breach,
        row.model,
        row.quality,
    )
