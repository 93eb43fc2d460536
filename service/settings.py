"""A whole configuration folder as settings: `hallwatch.yaml`, the site file and the alerting file it names."""

from __future__ import annotations

import os
from collections import Counter
from dataclasses import dataclass
from ipaddress import ip_network
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, field_validator

from alerts.settings import AlertSettings
from analytics.contract.energy import EnergySettings
from analytics.contract.tariff import Tariff
from analytics.settings import AnalyticsSettings
from collectors.mqtt.settings import BrokerSettings, MqttSettings, PublisherSettings
from collectors.nvml.settings import AgentSettings
from collectors.prometheus.settings import PrometheusSettings
from collectors.schedule.settings import ScheduleSettings
from collectors.snmp.settings import SnmpSettings
from domain.configuration import SettingsModel
from domain.errors import ConfigurationError, InputError, Problem
from domain.gpu_health import GpuHealth
from domain.site import Site
from partners.grid.settings import GridSettings
from partners.settings import PartnerSettings
from service.configuration import load, load_gpu_health
from service.running import data_folder
from storage.settings import StorageSettings

MAIN_FILE = "hallwatch.yaml"
AGENT_FILE = "agent.yaml"
RECORDS_FILE = "records.sqlite"


class WebSettings(SettingsModel):
    """Where console and API are served; on loopback unless told otherwise."""

    host: str = Field("127.0.0.1", description="Address to listen on; 0.0.0.0 for all")
    port: int = Field(8050, ge=0, le=65535, description="0: any free port")
    secure_cookie: bool = Field(
        False, description="Set behind HTTPS: the session cookie is then sent over TLS only"
    )
    trusted_proxies: tuple[str, ...] = Field(
        (),
        description="Addresses and networks of reverse proxies: what they say in `X-Forwarded-For` of the client is "
        "believed, and they may hold as many connections as there are",
    )
    connections: int = Field(
        512, ge=8, le=10_000, description="Open connections at most; never more than half of the file handles"
    )
    connections_per_address: int = Field(128, ge=4, description="Open connections from one address at most")

    partner_calls_per_minute: int = Field(
        30_000,
        ge=1,
        description="Calls that one partner may make of the API in a minute; more are answered 429",
    )

    @field_validator("trusted_proxies")
    @classmethod
    def _networks(cls, proxies: tuple[str, ...]) -> tuple[str, ...]:
        for proxy in proxies:
            try:
                ip_network(proxy, strict=False)
            except ValueError:
                raise ValueError(
                    f"{proxy!r} is no address and no network; write one such as 127.0.0.1 or 10.0.0.0/24"
                ) from None
        return proxies


class LogSettings(SettingsModel):
    """What is logged, and how."""

    level: Literal["debug", "info", "warning", "error"] = Field(
        "info", description="Least severe that is logged"
    )
    format: Literal["auto", "text", "json"] = Field("auto", description="auto: text on a terminal, else JSON")


class Settings(SettingsModel):
    """`hallwatch.yaml`. Paths are relative to its folder."""

    site: Path = Field(Path("site.yaml"), description="The site file")
    alerts: Path = Field(Path("alerts.yaml"), description="The alerting file")
    tariff: Path | None = Field(
        None, description="The energy contract: seasons, periods, prices, contracted demand"
    )
    data: Path = Field(Path("../data"), description="Data folder: store, spool, records, models")
    devices: Path | None = Field(
        None, description="Folder of device profiles beside those that come with Hallwatch"
    )
    gpu_health: Path | None = Field(
        None, description="Catalogue of GPU health instead of the one that comes with Hallwatch"
    )
    records: str = Field(
        "",
        description="SQLAlchemy URL of the records, such as postgresql+psycopg://user@host/name; SQLite in the data folder if empty",
    )
    storage: StorageSettings = StorageSettings()
    mqtt: tuple[MqttSettings, ...] = ()
    snmp: SnmpSettings | None = None
    prometheus: tuple[PrometheusSettings, ...] = ()
    schedule: tuple[ScheduleSettings, ...] = Field((), description="Schedules of jobs and maintenance")
    publish: PublisherSettings | None = Field(None, description="Republish SNMP readings as DSX points")
    analytics: AnalyticsSettings = AnalyticsSettings()
    web: WebSettings = WebSettings()
    partners: PartnerSettings = PartnerSettings()
    energy: EnergySettings = EnergySettings()
    grid: GridSettings | None = Field(
        None, description="What energy partners may ask of the site: docs/grid.md"
    )
    log: LogSettings = LogSettings()

    @field_validator("storage", mode="before")
    @classmethod
    def _short_form(cls, value: Any) -> Any:
        return {"kind": value} if isinstance(value, str) else value

    @field_validator("mqtt", "prometheus", "schedule")
    @classmethod
    def _told_apart(cls, sources: tuple[Any, ...]) -> tuple[Any, ...]:
        # the health page and their points know them by name
        for name, count in Counter(source.name for source in sources).items():
            if count > 1:
                raise ValueError(f"{count} are called {name!r}: give each a name of its own")
        return sources


class AgentFile(AgentSettings):
    """`agent.yaml`: the tray agent and the broker that it publishes on."""

    broker: BrokerSettings = BrokerSettings()


@dataclass(frozen=True, slots=True)
class Configuration:
    """A configuration folder, read and validated; `folder` and `data` are absolute."""

    folder: Path
    settings: Settings
    site: Site
    alerts: AlertSettings
    data: Path
    tariff: Tariff | None = None

    @property
    def records_url(self) -> str:
        """SQLAlchemy URL of the records."""
        url = self.settings.records or f"sqlite:///{self.data / RECORDS_FILE}"
        kind, _, file = url.partition(":///")
        relative = kind.startswith("sqlite") and file and file != ":memory:"
        return f"{kind}:///{self.folder / file}" if relative else url

    @property
    def gpu_health(self) -> GpuHealth:
        """The catalogue of GPU health.

        Raises
        ------
        ConfigurationError
            If it cannot be read, or is faulty.
        """
        named = self.settings.gpu_health
        return load_gpu_health(None if named is None else self.folder / named)

    @property
    def storage(self) -> StorageSettings:
        """Storage settings with the data folder filled in."""
        if "path" in self.settings.storage.model_fields_set:
            return self.settings.storage
        return self.settings.storage.model_copy(update={"path": self.data})


def read_configuration(folder: Path, data: Path | None = None) -> Configuration:
    """Read and validate a configuration folder; nothing of the network or the store is touched.

    Parameters
    ----------
    folder
        With a `hallwatch.yaml`.
    data
        Data folder, instead of the one that the file names.

    Raises
    ------
    ConfigurationError
        With every problem of every file.
    """
    folder = folder.resolve()
    settings = load(folder / MAIN_FILE, Settings)
    problems: list[Problem] = []
    site: Site | None = None
    alerts: AlertSettings | None = None
    try:
        site = load(folder / settings.site, Site)
    except ConfigurationError as error:
        problems += error.problems
    try:
        alerts = load(folder / settings.alerts, AlertSettings)
    except ConfigurationError as error:
        problems += error.problems
    try:
        load_gpu_health(None if settings.gpu_health is None else folder / settings.gpu_health)
    except ConfigurationError as error:
        problems += error.problems
    tariff: Tariff | None = None
    if settings.tariff is not None:
        try:
            tariff = load(folder / settings.tariff, Tariff)
        except ConfigurationError as error:
            problems += error.problems
    if site is None or alerts is None or problems:
        raise ConfigurationError(*problems)
    settings, alerts = anchored(settings, folder), anchored(alerts, folder)
    data = data or folder / settings.data
    return Configuration(folder, settings, site, alerts, data.resolve(), tariff)


def anchored(value: Any, folder: Path) -> Any:
    """Return settings with every path that they name relative to the folder of the configuration.

    Paths are fields that hold a `Path` (or several), and texts named ``..._file``. Defaults stay as they are.
    """
    if isinstance(value, Path):
        return folder / value.expanduser()
    if isinstance(value, SettingsModel):
        changes: dict[str, Any] = {}
        for name in value.model_fields_set:
            before = getattr(value, name)
            if name.endswith("_file") and isinstance(before, str) and before:
                changes[name] = str(folder / Path(before).expanduser())
            elif (after := anchored(before, folder)) is not before:
                changes[name] = after
        return value.model_copy(update=changes) if changes else value
    if isinstance(value, (list, tuple)):
        items = [anchored(item, folder) for item in value]
        return value if all(a is b for a, b in zip(items, value, strict=True)) else type(value)(items)
    if isinstance(value, dict):
        return {key: anchored(item, folder) for key, item in value.items()}
    return value


def data_of(config: Path | None, data: Path | None) -> Path:
    """Return the data folder of a configuration, or else the one given.

    Raises
    ------
    ConfigurationError
        If the configuration is faulty.
    """
    return data_folder(data) if config is None else read_configuration(config, data).data


def records_url(config: Path | None, data: Path | None) -> str:
    """Return the URL of the records that belong to a configuration folder, or else to a data folder.

    Raises
    ------
    ConfigurationError
        If the configuration is faulty.
    InputError
        If neither is given, and there are no records where they would be by default.
    """
    if config is not None:
        return read_configuration(config, data).records_url
    folder = data_folder(data).resolve()
    if data is None and "HALLWATCH_DATA" not in os.environ and not (folder / RECORDS_FILE).exists():
        # nobody would ever look into records that are made here by accident
        raise InputError(
            f"there are no records in {folder}: name the configuration with -c, or the data folder with --data"
        )
    return f"sqlite:///{folder / RECORDS_FILE}"
