"""Settings of the MQTT collector, its broker and what it publishes; `sample.yaml` shows them."""

from __future__ import annotations

from pathlib import Path
from typing import Literal
from urllib.parse import unquote, urlsplit

from pydantic import Field, field_validator

from domain.configuration import SettingsModel
from domain.secret import read_secret


class BrokerSettings(SettingsModel):
    """How to reach an MQTT broker."""

    url: str = Field("mqtt://127.0.0.1:1883", description="mqtt://host:port, or mqtts:// with TLS")
    client_id: str = Field(
        "",
        description="Stable id, so that the broker keeps messages while this is away; the site's and source's names where empty",
    )
    username: str = Field("", description="Login name; none for an anonymous connection")
    password_env: str = Field("", description="Environment variable that holds the password")
    password_file: Path | None = Field(None, description="File that holds the password")
    ca_file: Path | None = Field(None, description="Certificates to trust, PEM; the system's where absent")
    cert_file: Path | None = Field(None, description="Client certificate, PEM")
    key_file: Path | None = Field(None, description="Key of the client certificate, PEM")
    protocol: Literal["auto", "5", "3.1.1"] = Field("auto", description="auto: 5, else 3.1.1")
    keepalive: int = Field(30, ge=5, le=3600, description="Seconds")
    session_expiry: int = Field(
        3600, ge=0, description="Seconds that the broker keeps an absent client's messages"
    )
    receive_maximum: int = Field(
        20_000, ge=1, le=65_535, description="Unacknowledged messages in flight (MQTT 5)"
    )
    retry_max: float = Field(15.0, gt=0, description="Longest wait between attempts to connect, seconds")

    @field_validator("url")
    @classmethod
    def _readable(cls, url: str) -> str:
        parts = urlsplit(url if "://" in url else f"mqtt://{url}")
        if parts.scheme not in ("mqtt", "mqtts") or not parts.hostname:
            raise ValueError("no broker; write mqtt://host:1883 or mqtts://host:8883")
        if not 0 < (parts.port or 1883) < 65_536:
            raise ValueError("the port is a number from 1 to 65535")
        return parts.geturl()

    @property
    def shown(self) -> str:
        """The URL without the password, for logs and pages."""
        parts = urlsplit(self.url)
        host = parts.netloc.rpartition("@")[2]
        return parts._replace(netloc=f"{parts.username}@{host}" if parts.username else host).geturl()

    @property
    def host(self) -> str:
        """The broker's host name or address."""
        return urlsplit(self.url).hostname or ""

    @property
    def port(self) -> int:
        """The broker's port; 1883, or 8883 with TLS, where the URL names none."""
        return urlsplit(self.url).port or (8883 if self.tls else 1883)

    @property
    def tls(self) -> bool:
        """Whether the connection is encrypted."""
        return urlsplit(self.url).scheme == "mqtts"

    def credentials(self) -> tuple[str, str] | None:
        """Return (user, password), or None for an anonymous connection.

        Raises
        ------
        ConfigurationError
            If the named environment variable or file is absent.
        """
        parts = urlsplit(self.url)
        user = self.username or unquote(parts.username or "")
        if not user:
            return None
        if self.password_env or self.password_file:
            return user, read_secret(self.password_env, self.password_file, "mqtt", "broker.password")
        return user, unquote(parts.password or "")


class MqttSettings(SettingsModel):
    """The MQTT collector: DSX Exchange messages and tray sweeps from one broker."""

    name: str = Field("bms", description="Names the source in points and on the health page")
    broker: BrokerSettings = BrokerSettings()
    share: str = Field("", description="Shared-subscription group: collectors of one group split the load")
    batch_ms: int = Field(100, ge=10, le=5000, description="How long messages are gathered into one batch")
    batch_messages: int = Field(5000, ge=1, description="Messages in one batch at most")
    queue_messages: int = Field(
        50_000, ge=1, description="Messages held at most; then the broker is held back"
    )
    queue_mb: float = Field(
        64.0, ge=1, description="Megabytes of messages held at most; then the broker is held back"
    )
    max_payload: int = Field(262_144, ge=1024, description="Bytes; a larger message is quarantined")
    heartbeat_timeout: float = Field(
        22.0, gt=0, description="Seconds without a heartbeat until a BMS counts as gone"
    )
    parked_values: int = Field(50_000, ge=0, description="Values kept while their metadata has not come")
    parked_mb: float = Field(
        32.0, gt=0, description="Megabytes that they take at most; on disk twice as many, and one"
    )
    unknown_racks: Literal["refuse", "park", "accept"] = Field(
        "refuse",
        description="Tray sweeps of racks that the site does not have: set aside and counted, kept with the parked values "
        "until the site has the rack, or taken in",
    )
    trays_per_rack: int = Field(64, ge=1, description="Trays of one rack at most; those of more are refused")
    ignore_tags: tuple[str, ...] = Field(
        ("hallwatch/",), description="Beginnings of tagPaths to leave out: what Hallwatch itself publishes"
    )
    data: Path | None = Field(
        None, description="Folder for quarantined and parked messages; memory only if absent"
    )


class PublisherSettings(SettingsModel):
    """Hallwatch as a DSX publisher: which of its points go onto the bus."""

    broker: BrokerSettings = BrokerSettings()
    name: str = Field("hallwatch", description="objectId of the heartbeat")
    sources: tuple[str, ...] = Field(("snmp:*",), description="Globs over the sources of points")
    republish: float = Field(
        100.0, gt=0, description="Seconds after which unchanged values and metadata are told again"
    )
    heartbeat: float = Field(10.0, gt=0, description="Seconds between heartbeats")
    qos: Literal[0, 1] = Field(1, description="MQTT quality of service; 1 loses nothing")
