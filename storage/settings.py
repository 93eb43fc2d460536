"""Settings of storage: which telemetry store, how long each tier is kept, what ingest accepts."""

from __future__ import annotations

import os
from enum import StrEnum
from pathlib import Path
from typing import Literal

from pydantic import ConfigDict, Field, model_validator

from domain.configuration import SettingsModel
from domain.errors import ConfigurationError, Problem
from domain.redaction import keep_secret

MINUTE = 60_000
QUARTER = 15 * MINUTE
HOUR = 60 * MINUTE
DAY = 24 * HOUR


class StoreKind(StrEnum):
    """Which telemetry store is used."""

    DUCKDB = "duckdb"
    INFLUXDB = "influxdb"


class _Settings(SettingsModel):
    model_config = ConfigDict(use_attribute_docstrings=True)


class Retention(_Settings):
    """How long each tier is kept; ``None`` means for ever."""

    raw_hours: float | None = Field(48, gt=0)
    """Hours that raw readings are kept; at least 3."""
    minute_days: float | None = Field(7, gt=0)
    """Days that one-minute rollups are kept."""
    quarter_days: float | None = Field(400, gt=0)
    """Days that quarter-hour rollups are kept."""
    hour_days: float | None = Field(None, gt=0)
    """Days that hourly rollups are kept."""

    def milliseconds(self) -> dict[str, int | None]:
        """Return the time kept by tier name (``raw``, ``minute``, ``quarter``, ``hour``), ms."""
        return {
            "raw": None if self.raw_hours is None else int(self.raw_hours * HOUR),
            "minute": None if self.minute_days is None else int(self.minute_days * DAY),
            "quarter": None if self.quarter_days is None else int(self.quarter_days * DAY),
            "hour": None if self.hour_days is None else int(self.hour_days * DAY),
        }


class RecordRetention(_Settings):
    """How long records are kept once they are over; what is open, standing or in force stays."""

    forecasts_days: float = Field(400, gt=0)
    """Days that issued forecasts of the site are kept (about 5 kB each, 96 a day)."""
    node_forecasts_days: float = Field(32, gt=0)
    """Days that issued forecasts of other objects are kept: there are a hundred times as many, 17 MB a day of a full hall."""
    scores_days: float = Field(400, gt=0)
    """Days that it is kept what forecasts were worth (0.5 MB a day of a full hall)."""
    usage_days: float = Field(400, gt=0)
    """Days that it is kept how partners used the API, and what was refused."""
    alerts_days: float = Field(1100, gt=0)
    """Days that cleared alerts are kept, with what became of them and who was told; ended suppressions, requests of the grid and pinned notes too."""
    planned_days: float = Field(1100, gt=0)
    """Days that planned work is kept after it ended or was called off."""
    audit_days: float = Field(1100, gt=0)
    """Days that it is kept who did what."""


class InfluxSettings(_Settings):
    """How InfluxDB is reached. The token comes from the environment or from a file, never from the settings."""

    url: str = "http://127.0.0.1:8086"
    """Address of the server or of the proxy before it."""
    database: str = Field("hallwatch", pattern=r"^[A-Za-z0-9_.-]+$")
    """Database (1.x), and first half of the bucket names (2.x, 3.x): ``hallwatch/raw`` and so on."""
    org: str = "-"
    """Organization (2.x only)."""
    token_env: str = "HALLWATCH_INFLUXDB_TOKEN"  # noqa: S105 - the name of a variable, not a secret
    """Environment variable that holds the token; for 1.8 the token is ``user:password``."""
    token_file: Path | None = None
    """File that holds the token, instead of the variable."""
    ca_file: Path | None = None
    """Certificate authority to trust, PEM; the system's own by default."""
    verify_tls: bool = True
    """Whether the server's certificate is verified."""
    timeout_s: float = Field(10, gt=0)
    """Seconds that one request may take."""
    lines_per_request: int = Field(10_000, ge=1, le=100_000)
    """Readings in one write request."""
    manage_retention: bool = True
    """Create database, retention policies or buckets where the server and the token allow it."""

    def token(self) -> str:
        """Return the token, or an empty one where none is set.

        Raises
        ------
        ConfigurationError
            If the token file cannot be read.
        """
        if self.token_file is not None:
            try:
                token = self.token_file.read_text(encoding="utf-8").strip()
            except OSError as e:
                raise ConfigurationError(
                    Problem(
                        str(self.token_file), "storage.influxdb.token_file", str(e), "Put the token there"
                    )
                ) from e
        else:
            token = os.environ.get(self.token_env, "").strip()
        keep_secret(token)
        return token


class DuckDBSettings(_Settings):
    """How the embedded store works; the defaults suit up to 200,000 points."""

    memory_limit_mb: int = Field(1024, ge=128)
    """Memory that the database may use; what needs more spills into the data folder."""
    threads: int | None = Field(None, ge=1)
    """Threads of the database; one per core by default."""
    seal_rows: int = Field(10_000_000, ge=1000)
    """Rows that arrive before they are sorted by point into their partition."""
    seal_after_s: float = Field(3600, gt=0)
    """Age at which fewer rows are sorted too; tiers wait longer, by their step."""


class IngestSettings(_Settings):
    """What ingest accepts, how it commits, and what happens while the store is away."""

    commit_interval_ms: int = Field(100, ge=0, le=5000)
    """Batches that arrive within this time share one commit."""
    max_pending_rows: int = Field(1_000_000, ge=1000)
    """Above this, `accept` makes its callers wait: backpressure instead of memory."""
    max_points: int = Field(500_000, ge=1000)
    """Points at most, of all sources together; a new one beyond is refused, counted by source on the health page."""
    max_points_per_source: int = Field(400_000, ge=1000)
    """Points at most of one kind of source (``dsx``, ``tray``, ``snmp``, ...), so that none takes all the room."""
    future_s: float = Field(300, ge=0)
    """A reading dated further ahead of its arrival is not stored under the time that it tells."""
    ahead: Literal["correct", "quarantine"] = "correct"
    """What becomes of those: stored under a corrected time (by how far the clock of their source is off; refused only
    where their source tells another time otherwise), or refused. Either way the log and the health page tell the clock."""
    clock_offsets: dict[str, float] = Field(default_factory=dict)
    """Seconds that the clocks of sources are known to be ahead (behind: below 0), by name or glob such as ``dsx:bms``;
    the times that these tell are corrected by so much."""
    clock_warn_s: float = Field(30, gt=0)
    """A source's clock that is further off is told in the log."""
    past_days: float = Field(400, gt=0)
    """A reading observed earlier than this before its arrival is quarantined."""
    spool_mb: float = Field(4096, gt=0)
    """Room on disk for readings while the store is away; the oldest go first when it is full."""
    quarantine_mb: float = Field(64, gt=0)
    """Room on disk for refused readings and messages; the oldest go first."""
    retry_s: float = Field(2, gt=0)
    """How long the store is left alone after it was unavailable."""
    frozen_s: float = Field(3600, ge=60)
    """An object whose readings have not moved for so long under load is named; with its energy counter, they are bad."""
    maintain_s: float = Field(10, gt=0)
    """How often rollups, sealing and retention are seen to."""


class StorageSettings(_Settings):
    """Everything about keeping telemetry."""

    kind: StoreKind = StoreKind.DUCKDB
    """``duckdb`` (embedded, one process) or ``influxdb``."""
    path: Path = Path("data")
    """Folder of the embedded store, the spool and the quarantine."""
    retention: Retention = Retention()
    """How long each tier is kept."""
    records: RecordRetention = RecordRetention()
    """How long alerts, forecasts, plans and the audit trail are kept."""
    max_gap_s: float = Field(300, gt=0)
    """How long a value holds when nothing follows it (DSX republishes every 100 s)."""
    tier_delay_s: float = Field(10, ge=0)
    """How long after its end a minute waits for stragglers before its rollup is made."""
    duckdb: DuckDBSettings = DuckDBSettings()
    """The embedded store."""
    influxdb: InfluxSettings = InfluxSettings()
    """The server."""
    ingest: IngestSettings = IngestSettings()
    """What is accepted, and what happens while the store is away."""

    @model_validator(mode="after")
    def _raw_outlives_an_hour(self) -> StorageSettings:
        # hourly repair reads the raw readings of the hour before
        if self.retention.raw_hours is not None and self.retention.raw_hours < 3:
            raise ValueError(
                "retention.raw_hours must be 3 or more: late readings are rolled up from raw ones"
            )
        return self
