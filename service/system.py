"""The parts of a running Hallwatch, put together from a configuration."""

from __future__ import annotations

import asyncio
import math
import platform
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import asdict
from enum import Flag, auto
from functools import partial
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import structlog

from alerts.engine import AlertEngine
from alerts.notify.build import build_notifiers
from alerts.oncall.links import LinkKeys, Links
from alerts.performance import MonthlyReports
from alerts.runbooks import Runbooks
from alerts.view import View
from analytics.issuing.issue import ForecastIssuer
from analytics.live.analytics import LiveAnalytics
from analytics.live.substitutes import Substitutes
from analytics.outlook.whatif import Answer, Present, Scenario, WhatIf
from analytics.scoring.scorer import ForecastScorer
from collectors.mqtt.collector import MqttCollector
from collectors.mqtt.publisher import DsxPublisher
from collectors.mqtt.settings import PublisherSettings
from collectors.prometheus.collector import PrometheusCollector
from collectors.schedule.collector import ScheduleCollector
from collectors.snmp.collector import SnmpCollector
from collectors.snmp.profiles import load_profiles, shipped_profiles
from domain.batch import Batch, Sink, now_ms
from domain.errors import ConfigurationError, Problem, StorageError
from domain.points import PointRegistry
from domain.redaction import redacted_all
from partners.events import Events
from partners.grid.part import Grid
from partners.usage import Calls
from service import logs, threads
from service.configuration import mapping_named
from service.contract import Contract
from service.garbage import ShortCollections
from service.loop_watch import LoopWatch
from service.self_watch import SelfWatch
from service.settings import Configuration, read_configuration
from service.supervisor import Supervisor
from storage.accounts import Accounts
from storage.ingest import Ingest
from storage.open import open_store
from storage.plant import PlantView
from storage.private import keep_private
from storage.record_upkeep import RecordUpkeep
from storage.records import Records
from storage.settings import StorageSettings, StoreKind

log = structlog.get_logger(__name__)

FOLLOW_S = 2.0
"""How often a process without collectors asks the store for the newest values, at most."""


ANNOUNCED_S = 10.0
"""How often it asks for points that are new, at most."""
SLICE = 2_000
"""Points that are taken over without a pause."""


class Role(Flag):
    """What a process does: gather readings, or look at them (console, API, analytics, alerts)."""

    COLLECT = auto()
    SERVE = auto()


OWN_NAMES = {
    Role.COLLECT | Role.SERVE: "hallwatch",
    Role.COLLECT: f"hallwatch-collect-{platform.node()}",
    Role.SERVE: "hallwatch-serve",
}
"""What the object of a process is called."""


class Collector(Protocol):
    """What every collector offers."""

    async def run(self) -> None:
        """Collect until cancelled."""

    def stats(self) -> dict[str, Any]:
        """Return counters for the health page."""


class System:
    """Everything that one process runs, in the order in which it depends on each other.

    Raises
    ------
    ConfigurationError
        If the configuration cannot work: a secret that is not there, a profile that cannot be read.
    StorageError
        If the store or the records cannot be opened.
    """

    def __init__(self, configuration: Configuration, role: Role = Role.COLLECT | Role.SERVE) -> None:
        storage = configuration.storage
        whole = Role.COLLECT | Role.SERVE
        if storage.kind is StoreKind.DUCKDB and role != whole:
            raise ConfigurationError(
                Problem(
                    str(configuration.folder / "hallwatch.yaml"),
                    "storage",
                    "a DuckDB file has one process",
                    "Use 'hallwatch run', or 'storage: influxdb' for separate processes.",
                )
            )
        keep_private(configuration.data)
        if role == Role.SERVE:
            # its own spool: a collecting process may use the same data folder
            storage = storage.model_copy(update={"path": storage.path / "serve"})
        self.configuration = configuration
        self.role = role
        self.site = configuration.site
        limits = storage.ingest
        self.registry = PointRegistry(
            max_points=limits.max_points, max_per_source=limits.max_points_per_source
        )
        self.store = open_store(storage, self.registry)
        self.ingest = Ingest.open(storage, self.registry, self.store, self.site.racks)
        self.latest = self.ingest.latest
        self.incoming = Substitutes(self.registry, self.ingest.accept)
        self.records = Records(configuration.records_url)
        self.accounts = Accounts(self.records)
        self.plant = PlantView(self.site, self.registry, self.latest, self.store)
        self.contract = Contract(
            self.plant, self.records, configuration.tariff, configuration.settings.energy
        )
        self.partner_calls = Calls()
        self.loop_watch = LoopWatch()
        self.collections = ShortCollections()
        self.collectors: dict[str, Collector] = {}
        # of the processes on one InfluxDB the one that serves makes the rollups: there is one, and it knows all points
        ingest = partial(self.ingest.run, upkeep=Role.SERVE in role)
        parts: dict[str, Callable[[], Awaitable[None]]] = {"ingest": ingest}
        if Role.COLLECT in role:
            self._add_collectors()
            parts |= {name: collector.run for name, collector in self.collectors.items()}
        else:
            parts["follow store"] = self._follow
        if Role.SERVE in role:
            settings = configuration.settings
            self.links = links_of(configuration)
            self.answers: Counter[str] = Counter()
            """What came of the links in messages."""
            # connections of its own: no console that asks for all there are holds up alerting
            self.alert_records = Records(configuration.records_url)
            self.runbooks = Runbooks(configuration.folder / "runbooks")
            self.engine = AlertEngine(
                configuration.alerts,
                View(self.plant, self.alert_records, int(configuration.alerts.max_age * 1000)),
                self.alert_records,
                build_notifiers(configuration.alerts.channels),
                runbooks=self.runbooks,
                link=self.links.make if self.links is not None else None,
            )
            self.issuer = ForecastIssuer(
                settings.analytics,
                self.plant,
                self.records,
                self.ingest.accept,
                configuration.data / "models",
                history_ready=self.ingest.maintained,
            )
            self.live = LiveAnalytics(
                settings.analytics,
                self.plant,
                self.ingest.accept,
                folder=configuration.data,
                substitutes=self.incoming,
                # power and temperature are foretold from the same load
                foretold=self.issuer.newest,
                planned=self.issuer.planned_change,
                gpu_health=configuration.gpu_health,
            )
            self.scorer = ForecastScorer(
                self.plant,
                self.records,
                self.ingest.accept,
                self.live.quarters,
                self.live.temperatures,
                self.issuer.ramps,
                self.issuer.newest,
            )
            self.grid: Grid | None = None
            if settings.grid is not None:
                self.grid = Grid(
                    settings.grid,
                    self.plant,
                    self.records,
                    self.registry,
                    self.ingest.accept,
                    int(configuration.alerts.max_age * 1000),
                    self.contract.usual,
                    configuration.data,
                )
                parts |= self.grid.parts()
            self.record_upkeep = RecordUpkeep(self.records, configuration.storage.records, self.site.id)
            parts["records upkeep"] = self.record_upkeep.run
            parts |= {"alerts": self.engine.run, "forecast": self.issuer.run, "analytics": self.live.run}
            parts["forecast scores"] = self.scorer.run
            self.alarm_reports = MonthlyReports(
                self.records, configuration.alerts, self.site.zone, configuration.data
            )
            parts["alarm reports"] = self.alarm_reports.run
            self.partner_events = Events(self.records, settings.partners, self.plant.envelope)
            parts["partner events"] = self.partner_events.run
            parts["partner usage"] = partial(self.partner_calls.run, self.records)
        self.self_watch = SelfWatch(
            OWN_NAMES[role],
            self.registry,
            self.ingest,
            lambda: self.supervisor.states.values(),
            configuration.data,
            limits.spool_mb * 1e6,
            self.engine.interval if Role.SERVE in role else None,
        )
        parts["self watch"] = self.self_watch.run
        self.supervisor = Supervisor(parts)

    def _add_collectors(self) -> None:
        settings = self.configuration.settings
        for mqtt in settings.mqtt:
            name = f"mqtt {mqtt.name}"
            if mqtt.data is None:
                mqtt = mqtt.model_copy(update={"data": self.configuration.data / "mqtt" / mqtt.name})
            if not mqtt.broker.client_id:
                # a lasting session: the broker keeps what comes while this process is away
                node = f"-{platform.node()}" if mqtt.share else ""
                session = f"hallwatch-{self.site.id}-{mqtt.name}{node}"
                mqtt = mqtt.model_copy(
                    update={"broker": mqtt.broker.model_copy(update={"client_id": session})}
                )
            self.collectors[name] = MqttCollector(
                mqtt, self.registry, self.incoming.accept, self.site.racks, self.site.chassis
            )
        if settings.snmp is not None:
            profiles = shipped_profiles()
            if settings.devices is not None:
                profiles = load_profiles(settings.devices, known=profiles)
            sink = self.incoming.accept if settings.publish is None else self._republished(settings.publish)
            self.collectors["snmp"] = SnmpCollector(settings.snmp, self.registry, sink, profiles=profiles)
        for scraper in settings.prometheus:
            self.collectors[f"prometheus {scraper.name}"] = PrometheusCollector(
                scraper,
                mapping_named(scraper.mapping),
                self.registry,
                self.incoming.accept,
                self.site.racks,
            )
        for schedule in settings.schedule:
            self.collectors[f"schedule {schedule.name}"] = ScheduleCollector(
                schedule, self.site.racks, self.records.keep_schedule
            )

    def _republished(self, settings: PublisherSettings) -> Sink:
        """Return a sink that also offers its readings to the bus."""
        publisher = DsxPublisher(settings, self.registry)
        self.collectors["publish"] = publisher

        async def sink(batch: Batch) -> None:
            publisher.offer(batch)
            await self.incoming.accept(batch)

        return sink

    async def run(self) -> None:
        """Run all parts until cancelled; then write what is pending and close."""
        try:
            await self.supervisor.run()
        finally:
            await self.close()

    async def close(self) -> None:
        """Write what is pending and let go of store and records."""
        await self.ingest.close()
        await asyncio.to_thread(self.store.close)
        self.records.close()
        if Role.SERVE in self.role:
            self.alert_records.close()

    async def _follow(self) -> None:
        """Keep the newest values in step with the store, where another process collects."""
        announced = -math.inf
        while True:
            began = time.monotonic()
            try:
                if began - announced >= ANNOUNCED_S:
                    await asyncio.to_thread(self._take_over_points)
                    announced = began
                await asyncio.to_thread(self._take_over_values)
            except StorageError as error:
                log.warning("the store does not answer", error=str(error))
            # a server that takes long to answer is asked half of the time at most
            await asyncio.sleep(max(FOLLOW_S, time.monotonic() - began))

    def _take_over_points(self) -> None:
        points = self.store.load_points()
        for first in range(0, len(points), SLICE):
            for point in points[first : first + SLICE]:
                self.registry.restore(point)
            time.sleep(0.001)  # this thread and the loop share one interpreter

    def _take_over_values(self) -> None:
        self.latest.update(self.store.latest(np.arange(len(self.registry), dtype=np.int32)))

    def source_stats(self) -> dict[str, dict[str, Any]]:
        """Return each collector's counters."""
        return {name: _shown(collector) for name, collector in self.collectors.items()}

    def ingest_counters(self) -> dict[str, Any]:
        """Return what ingest has done since the start, and what the quarantine holds by reason."""
        return {
            **self.ingest.counters.as_dict(),
            "waiting": self.ingest.pending_rows,
            "spool_waiting": len(self.ingest.spool),
            "spool_bytes": self.ingest.spool.size_bytes,
            "quarantine": dict(self.ingest.quarantine.counts),
            "quarantine_recent": list(self.ingest.quarantine.recent)[-20:],
            "frozen_objects": self.ingest.frozen.told(),
            "points_moved": self.registry.moves,
            "points_restless": self.registry.restless,
        }

    def what_if(self, scenario: Scenario) -> Answer:
        """Answer a what-if question from what is measured and forecast now.

        Raises
        ------
        InputError
            If the scenario names what the site does not have.
        """
        now = now_ms()
        # as alerts have it: what was told longer ago is not how the plant is now
        present = Present.of(self.plant, now - int(self.configuration.alerts.max_age * 1000))
        forecast = self.records.latest_forecast(self.site.id, "ActivePower")
        return WhatIf(self.site).ask(scenario, present, forecast, now)

    def accept_state(self, object: str, who: str, note: str) -> dict[str, Any]:
        """Take the present state of a rack or CDU as usual, after work on it; note who said so. Blocks.

        Raises
        ------
        InputError
            If the site has no such rack or CDU.
        """
        self.live.accept(object)
        self.records.audit(who, "accepted present state", f"{object} {note}".strip())
        return {"object": object}

    def health(self) -> dict[str, Any]:
        """Return how every part is, ready for JSON."""
        report: dict[str, Any] = {
            "site": self.site.id,
            "points": self.registry.in_use.total(),
            "points_by_source": dict(self.registry.in_use),
            "points_refused": dict(self.registry.refused),
            "parts": {name: asdict(state) for name, state in self.supervisor.states.items()},
            "collectors": self.source_stats(),
            "ingest": self.ingest_counters(),
            "clocks": self.ingest.clocks.stats(),
            "store": redacted_all(asdict(self.store.health())),
            "logs": logs.stats(),
            "threads": threads.stats(),
            "loop": {**self.loop_watch.stats(), **self.collections.stats()},
        }
        if Role.SERVE in self.role:
            report["forecast"] = self.issuer.counters
            report["forecast_scores"] = {**self.scorer.counters, "worth": self.scorer.worth}
            report["analytics"] = {
                **self.live.counters,
                "reasons": self.live.reasons,
                "incidents": self.live.incidents,
                "instruments": self.live.instruments,
                "upkeep": self.live.upkeep,
                "replaced_readings": self.incoming.replaced,
            }
            report["alerts"] = {**self.engine.stats(), **self.answers}
            report["records_removed"] = dict(self.record_upkeep.removed)
            report["partners"] = {**self.partner_calls.stats(), **self.partner_events.stats()}
            report["grid"] = {} if self.grid is None else redacted_all(self.grid.stats())
        return report


def links_of(configuration: Configuration) -> Links | None:
    """Return what makes and reads the links in messages; None where nobody told the console's address."""
    alerts = configuration.alerts
    if not alerts.console_url:
        return None
    lifetime = int(alerts.on_call.link_lifetime * 1000)
    return Links(LinkKeys(configuration.data, lifetime), alerts.console_url, lifetime)


def _shown(collector: Collector) -> dict[str, Any]:
    """Return a collector's counters as anybody may see them."""
    stats: dict[str, Any] = redacted_all(collector.stats())
    return stats


def storage_settings(config: Path | None, data: Path) -> StorageSettings:
    """Return the storage settings of a configuration folder, or the embedded defaults on a data folder.

    Raises
    ------
    ConfigurationError
        If the configuration is faulty.
    """
    return StorageSettings(path=data) if config is None else read_configuration(config, data).storage


@asynccontextmanager
async def open_ingest(config: Path | None, data: Path) -> AsyncIterator[tuple[PointRegistry, Ingest]]:
    """Open store and ingest without a service, for a command that writes; closes both."""
    settings = storage_settings(config, data)
    keep_private(settings.path)
    registry = PointRegistry()
    store = open_store(settings, registry)
    ingest = Ingest.open(settings, registry, store)
    try:
        yield registry, ingest
    finally:
        await ingest.close()
        store.close()
