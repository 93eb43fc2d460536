"""Tables of the records that change: alerts, deliveries, forecasts, planned work, users, sessions, API keys, audit.

Times are UTC, milliseconds. They run unchanged on SQLite and PostgreSQL.
"""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Float,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    Text,
    UniqueConstraint,
)

from domain.alert import AlertState

SCHEMA_VERSION = 1
"""Grows with every change to these tables; what is new and may be absent (a table, an index, a column that may be null) is made
where it is, and changes nothing: the release before works with it too."""

metadata = MetaData()

_ID = BigInteger().with_variant(Integer, "sqlite")
"""SQLite numbers rows by itself only where the key is spelled INTEGER."""


def _id() -> Column[int]:
    return Column("id", _ID, primary_key=True, autoincrement=True)


def _time(name: str, default: int | None = None) -> Column[int]:
    return Column(name, BigInteger, nullable=False, default=default)


def _text(name: str, length: int = 200, default: str | None = None) -> Column[str]:
    return Column(name, String(length), nullable=False, default=default)


schema = Table("schema_version", metadata, Column("version", Integer, primary_key=True))

alerts = Table(
    "alerts",
    metadata,
    _id(),
    _text("rule"),
    _text("object_id"),
    _text("severity", 20),
    Column("summary", Text, nullable=False),  # in English
    Column("said", Text),  # the same as key and fields (`domain.said`); null of what somebody wrote
    Column("value", Float(53)),  # null where the condition has none: SQLite has no NaN
    Column("limit", Float(53)),
    _text("unit", 20),
    _time("observed"),
    _text("state", 20),
    _time("opened"),
    _time("updated"),
    _time("acknowledged_at", 0),
    _text("acknowledged_by", default=""),
    Column("note", Text, nullable=False, default=""),
    _time("cleared_at", 0),
)
Index("alerts_opened", alerts.c.opened)
Index("alerts_object", alerts.c.object_id, alerts.c.opened)
_active = alerts.c.state != AlertState.CLEARED.value
Index(
    "alerts_one_active_per_rule_and_object",
    alerts.c.rule,
    alerts.c.object_id,
    unique=True,
    sqlite_where=_active,
    postgresql_where=_active,
)

transitions = Table(
    "alert_transitions",
    metadata,
    _id(),
    Column("alert_id", _ID, ForeignKey("alerts.id"), nullable=False, index=True),
    _time("at"),
    _text("state", 20),
    _text("severity", 20),
    _text("who", default=""),
    Column("note", Text, nullable=False, default=""),
)

deliveries = Table(
    "deliveries",
    metadata,
    _id(),
    Column("alert_id", _ID, ForeignKey("alerts.id"), nullable=False),
    _text("event", 20),
    _text("severity", 20),
    _text("channel"),
    _text("status", 20),
    _time("created"),
    _time("not_before"),
    Column("attempts", Integer, nullable=False, default=0),
    _time("finished", 0),
    Column("detail", Text, nullable=False, default=""),
    UniqueConstraint("alert_id", "event", "channel"),
)
Index("deliveries_status", deliveries.c.status, deliveries.c.not_before)

incidents = Table(
    "incidents",
    metadata,
    _id(),
    Column("alert_id", _ID, ForeignKey("alerts.id"), nullable=False, unique=True),  # its lead
    _time("opened"),
    _time("closed", 0),
)
Index("incidents_closed", incidents.c.closed)
Index("incidents_opened", incidents.c.opened)

incident_members = Table(
    "incident_members",
    metadata,
    _id(),
    Column("incident_id", _ID, ForeignKey("incidents.id"), nullable=False),
    Column("alert_id", _ID, ForeignKey("alerts.id"), nullable=False, index=True),
    _time("joined"),
    _time("left", 0),
    UniqueConstraint("incident_id", "alert_id"),
)

suppressions = Table(
    "suppressions",
    metadata,
    _id(),
    _text("kind", 20),
    _text("rule"),
    _text("object_id"),
    Column("below", Boolean, nullable=False),
    Column("once", Boolean, nullable=False),
    _time("start"),
    _time("end"),
    _text("who"),
    Column("reason", Text, nullable=False),
    _time("created"),
    _time("ended", 0),
    _text("ended_by", default=""),
    Column("ended_why", Text, nullable=False, default=""),
)
Index("suppressions_ended", suppressions.c.ended, suppressions.c.start)

suppressed = Table(  # which alerts a suppression kept quiet
    "alerts_suppressed",
    metadata,
    _id(),
    Column("alert_id", _ID, ForeignKey("alerts.id"), nullable=False),
    Column("suppression_id", _ID, ForeignKey("suppressions.id"), nullable=False),
    _time("since"),
    _time("until", 0),
    UniqueConstraint("alert_id", "suppression_id"),
)
Index("alerts_suppressed_by", suppressed.c.suppression_id)
Index("alerts_suppressed_now", suppressed.c.until, suppressed.c.alert_id)

alert_notes = Table(  # by rule and object: they are there when the alert comes again
    "alert_notes",
    metadata,
    _id(),
    _text("rule"),
    _text("object_id"),
    Column("alert_id", _ID, ForeignKey("alerts.id"), nullable=False),
    _time("at"),
    _text("who"),
    Column("note", Text, nullable=False),
)
Index("alert_notes_of", alert_notes.c.object_id, alert_notes.c.rule, alert_notes.c.at)
Index("alert_notes_alert", alert_notes.c.alert_id)

moment_notes = Table(  # pinned to a moment, of the site (no object) or of an object
    "moment_notes",
    metadata,
    _id(),
    _time("at"),
    _text("object_id", 250, default=""),
    _text("who"),
    Column("note", Text, nullable=False),
    _time("written"),
)
Index("moment_notes_at", moment_notes.c.at)

escalations = Table(
    "escalations",
    metadata,
    _id(),
    Column("alert_id", _ID, ForeignKey("alerts.id"), nullable=False),
    _text("escalation", 100),
    Column("taken", Integer, nullable=False),
    _time("began"),
    _time("at"),
    _time("elapsed"),
    UniqueConstraint("alert_id", "escalation"),
)

oncall_overrides = Table(
    "oncall_overrides",
    metadata,
    _id(),
    _text("schedule", 100),
    _text("person", 100),
    _text("other", 100, default=""),
    _time("start"),
    _time("end"),
    _text("who"),
    Column("note", Text, nullable=False, default=""),
    _time("created"),
)
Index("oncall_overrides_end", oncall_overrides.c.end)

hand_overs = Table(
    "hand_overs",
    metadata,
    _id(),
    _text("schedule", 100),
    _time("at"),
    _text("person", 100),
    _time("told", 0),
    UniqueConstraint("schedule", "at", "person"),
)
Index("hand_overs_at", hand_overs.c.at)

forecasts = Table(
    "forecasts",
    metadata,
    _id(),
    _text("object_id"),
    _text("point_type"),
    _text("unit", 20),
    _time("issued"),
    _time("data_cutoff"),
    Column("interval_minutes", Integer, nullable=False),
    _text("quantiles", 400),
    Column("intervals", Integer, nullable=False),
    _text("model"),
    Column("quality", Text, nullable=False, default="good"),
    # last: SQLite reads all that stands before a column, and these fill pages
    Column("arrays", LargeBinary, nullable=False),
)
Index("forecasts_newest", forecasts.c.object_id, forecasts.c.point_type, forecasts.c.issued)
Index("forecasts_issued", forecasts.c.issued)

forecast_chains = Table(  # of each object and quantity: its sealed forecasts, numbered without a gap
    "forecast_chains",
    metadata,
    _id(),
    _text("object_id"),
    _text("point_type"),
    Column("first", BigInteger, nullable=False),  # older ones were removed when their time was over
    Column("before", LargeBinary, nullable=False),  # the hash before the first
    Column("last", BigInteger, nullable=False),
    Column("hash", LargeBinary, nullable=False),  # that of the last
    UniqueConstraint("object_id", "point_type"),
)

forecast_seals = Table(
    "forecast_seals",
    metadata,
    Column("forecast_id", _ID, ForeignKey("forecasts.id"), primary_key=True, autoincrement=False),
    Column("chain_id", _ID, ForeignKey("forecast_chains.id"), nullable=False),
    Column("number", BigInteger, nullable=False),
    Column("hash", LargeBinary, nullable=False),
    Column("ramps", LargeBinary),
    UniqueConstraint("chain_id", "number"),
)

forecast_scores = Table(
    "forecast_scores",
    metadata,
    _id(),
    _text("point_type"),
    _time("slot"),
    _text("unit", 20),
    _time("updated"),
    Column("arrays", LargeBinary, nullable=False),
    UniqueConstraint("point_type", "slot"),
)

forecast_snapshots = Table(
    "forecast_snapshots",
    metadata,
    _id(),
    _text("point_type"),
    _time("issued"),
    Column("arrays", LargeBinary, nullable=False),
)
Index("forecast_snapshots_issued", forecast_snapshots.c.point_type, forecast_snapshots.c.issued)

planned_work = Table(
    "planned_work",
    metadata,
    _id(),
    _text("source"),
    _text("name", 400),
    Column("racks", Text, nullable=False),
    _time("start"),
    _time("end"),
    Column("power", Float(53)),  # null where the schedule does not say
    Column("intensity", Float(53)),
    _time("known_since"),
    _time("until", 0),
    Column("replaced", Boolean, nullable=False, default=False),
)
Index("planned_work_time", planned_work.c.end, planned_work.c.start)
Index("planned_work_standing", planned_work.c.source, planned_work.c.until)

grid_requests = Table(
    "grid_requests",
    metadata,
    _id(),
    _text("source"),
    _text("party"),
    _text("series", 300),
    _text("reference", 300),
    Column("version", Integer, nullable=False, default=0),
    _text("kind", 20),
    Column("parts", Text, nullable=False),  # JSON: node, start, end, value
    _text("unit", 40, default=""),
    Column("text", Text, nullable=False, default=""),
    Column("best_effort", Boolean, nullable=False, default=False),
    Column("digest", String(64), nullable=False, unique=True),  # of what was signed: nothing is taken twice
    _time("received"),
    _time("start"),
    _time("end"),
    _text("standing", 20),
    _time("decided", 0),
    _text("decided_by", default=""),
    Column("note", Text, nullable=False, default=""),
)
Index("grid_requests_end", grid_requests.c.end)
Index("grid_requests_reference", grid_requests.c.source, grid_requests.c.reference)

users = Table(
    "users",
    metadata,
    _id(),
    Column("name", String(200), nullable=False, unique=True),
    Column("password_hash", Text, nullable=False),
    _text("role", 40),
    Column("active", Boolean, nullable=False, default=True),
    _time("created"),
    _time("last_login", 0),
)

sessions = Table(
    "console_sessions",
    metadata,
    _id(),
    Column("key", String(64), nullable=False, unique=True),  # a digest: who reads the records gets no session
    _text("user"),
    _time("began"),
    _time("expires"),
    _time("ended", 0),
    _text("address", 100, default=""),
)
Index("console_sessions_user", sessions.c.user, sessions.c.ended)

api_keys = Table(
    "api_keys",
    metadata,
    _id(),
    Column("prefix", String(20), nullable=False, unique=True),
    Column("secret_hash", String(64), nullable=False),
    _text("partner"),
    _time("created"),
    _time("expires", 0),
    _time("revoked", 0),
    _time("last_used", 0),
)

api_key_scopes = Table(  # of keys that show less than their partner's contract
    "api_key_scopes",
    metadata,
    Column("key_id", _ID, ForeignKey("api_keys.id"), primary_key=True, autoincrement=False),
    _text("scopes", 400),
)

api_usage = Table(
    "api_usage",
    metadata,
    _id(),
    _time("hour"),
    _text("partner"),
    _text("route"),
    Column("status", Integer, nullable=False),
    Column("calls", BigInteger, nullable=False),
    UniqueConstraint("hour", "partner", "route", "status"),
)

api_refusals = Table(
    "api_refusals",
    metadata,
    _id(),
    _time("at"),
    _text("partner"),
    _text("prefix", 20),
    _text("address", 100),
    _text("route"),
    Column("status", Integer, nullable=False),
    _text("reason"),
)
Index("api_refusals_at", api_refusals.c.at)

partner_pushes = Table(
    "partner_pushes",
    metadata,
    _id(),
    _text("hook", 400),
    _text("event", 100),
    Column("body", Text, nullable=False),
    _time("created"),
    _text("status", 20),
    _time("not_before"),
    Column("attempts", Integer, nullable=False, default=0),
    Column("detail", Text, nullable=False, default=""),
    UniqueConstraint("hook", "event"),
)
Index("partner_pushes_due", partner_pushes.c.status, partner_pushes.c.not_before)

preferences = Table(
    "preferences",
    metadata,
    Column("user", String(200), primary_key=True),
    _text("language", 20),
    _text("theme", 20),
)

audit = Table(
    "audit",
    metadata,
    _id(),
    _time("at"),
    _text("who"),
    _text("what"),
    Column("detail", Text, nullable=False, default=""),
)
Index("audit_at", audit.c.at)
