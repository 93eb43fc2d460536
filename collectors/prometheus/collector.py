"""The Prometheus scraper: plants that run NVIDIA's dcgm-exporter keep it; its metrics become the same GPU points."""

from __future__ import annotations

import asyncio
import time
import zlib
from collections import Counter
from collections.abc import Collection
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from typing import Any
from urllib.parse import urlsplit

import httpx
import structlog

from collectors.fetch import CONNECTIONS, fetch, without_secrets
from collectors.prometheus.discovery import Discovery
from collectors.prometheus.exposition import Exposition, Memory, Page, Reading
from collectors.prometheus.settings import ExporterMapping, PrometheusSettings, Target
from domain.batch import Batch, Sink, now_ms
from domain.errors import ContractViolation, HallwatchError, SourceError
from domain.points import Point, PointRegistry
from domain.secret import read_secret
from domain.tray import gpu_point
from domain.trust import trusted

log = structlog.get_logger(__name__)

_LOOK_S = 10.0
"""Seconds between two looks for new targets, at most."""
_SLOW_SHARE = 0.25
"""Share of the timeout beyond which a target waits in the lane of the slow ones the next time."""
_SHOWN = 20
_UP = ((0, "Down"), (1, "Up"))


@dataclass(slots=True, eq=False)
class _Exporter:
    """One target: its own schedule, what it said before, how it is."""

    target: Target
    shown: str
    memory: Memory = field(default_factory=Memory)
    points: set[int] = field(default_factory=set)
    error: str = ""
    aside: dict[str, str] = field(default_factory=dict)
    slow: bool = False
    unchanged_s: float = 0.0
    frozen: bool = False
    answered: float = -1e9


class _Lane:
    """Places for scrapes under way, and a thread that reads their pages."""

    def __init__(self, places: int, name: str) -> None:
        self.places = asyncio.Semaphore(places)
        self.worker = ThreadPoolExecutor(1, thread_name_prefix=name)


class PrometheusCollector:
    """Scrapes exporters for ever, each on a schedule of its own: what one of them does costs no other anything.

    Parameters
    ----------
    settings
        Targets, how often, bounds.
    mapping
        The exporter's metrics.
    registry
        Where points are registered.
    sink
        Takes each scrape's batch.
    racks
        Ids of the site's racks; None: every rack is one.
    """

    def __init__(
        self,
        settings: PrometheusSettings,
        mapping: ExporterMapping,
        registry: PointRegistry,
        sink: Sink,
        racks: Collection[str] | None = None,
    ) -> None:
        self.settings = settings
        self.exposition = Exposition(mapping, settings, racks)
        self.counts: Counter[str] = Counter()
        self._discovery = Discovery(settings)
        self._registry = registry
        self._sink = sink
        self._exporters: dict[Target, _Exporter] = {}
        self._indexes: dict[tuple[str, str, int, str], int] = {}
        self._owners: dict[int, _Exporter] = {}
        self._error = ""

    async def run(self) -> None:
        """Scrape every target each `interval`, until cancelled."""
        settings = self.settings
        token = read_secret(settings.bearer_token_env, None, "prometheus", "bearer_token")
        headers = {"authorization": f"Bearer {token}"} if token else {}
        lanes = _Lane(settings.at_once, "prometheus"), _Lane(settings.at_once, "prometheus-slow")
        looking = ThreadPoolExecutor(1, thread_name_prefix="prometheus-files")
        scrapes: dict[Target, asyncio.Task[None]] = {}
        try:
            # the system's certificates take a tenth of a second to load, and so does what the first client imports
            tls = await asyncio.get_running_loop().run_in_executor(
                looking, trusted, settings.ca_file, "prometheus"
            )
            made = await asyncio.get_running_loop().run_in_executor(
                looking, partial(httpx.AsyncClient, headers=headers, verify=tls, limits=CONNECTIONS)
            )
            async with made as client, asyncio.TaskGroup() as group:
                while True:
                    wanted = await asyncio.get_running_loop().run_in_executor(looking, self.targets)
                    for target in scrapes.keys() - wanted:
                        scrapes.pop(target).cancel()
                        self._exporters.pop(target, None)
                    new = [target for target in wanted if target not in scrapes]
                    for number, target in enumerate(new):
                        exporter = self._exporters[target] = _Exporter(target, without_secrets(target.url))
                        # many are spread over the interval, a few begin at once
                        wait = settings.interval * number / len(new) if len(new) > settings.at_once else 0.0
                        scrapes[target] = group.create_task(
                            self._keep_scraping(client, exporter, lanes, wait)
                        )
                    await asyncio.sleep(min(settings.interval, _LOOK_S))
        finally:
            for pool in (looking, *(lane.worker for lane in lanes)):
                pool.shutdown(wait=False, cancel_futures=True)

    def targets(self) -> list[Target]:
        """Return the targets of the settings and of the discovery files, each address once; blocks."""
        return self._discovery.targets()

    async def _keep_scraping(
        self, client: httpx.AsyncClient, exporter: _Exporter, lanes: tuple[_Lane, _Lane], wait: float
    ) -> None:
        await asyncio.sleep(wait)
        due = time.monotonic()
        while True:
            try:
                await self._scrape(client, exporter, lanes[exporter.slow])
            except Exception as error:  # of this target alone, whatever it is
                self.counts["failed_scrapes"] += 1
                exporter.error = f"{type(error).__name__}: {str(error)[:300]}"
                log.exception("a scrape failed in a way that nobody expected", target=exporter.shown)
            now = time.monotonic()
            due = max(due + self.settings.interval, now)  # what was missed is not made up for
            await asyncio.sleep(due - now)

    async def _scrape(self, client: httpx.AsyncClient, exporter: _Exporter, lane: _Lane) -> None:
        begun = now = time.monotonic()
        page: Page | None = None
        async with lane.places:
            begun = time.monotonic()
            try:
                body = await fetch(
                    client,
                    exporter.target.url,
                    deadline=self.settings.timeout,
                    max_bytes=self.settings.max_bytes,
                    headers={"accept": "text/plain;version=0.0.4"},
                )
                page = await asyncio.get_running_loop().run_in_executor(
                    lane.worker, self._read, body, exporter, begun
                )
                exporter.error = ""
            except SourceError as error:
                self.counts["failed_scrapes"] += 1
                exporter.error = f"{type(error).__name__}: {error}"
            now = time.monotonic()
        self.counts["scrapes"] += 1
        exporter.slow = now - begun > self.settings.timeout * _SLOW_SHARE
        if page is not None:
            exporter.answered = now
            self._note(exporter, page)
        batch = self._batch(exporter, page, now - begun)
        if not len(batch):
            return
        try:
            await self._sink(batch)
        except HallwatchError as error:
            self.counts["rows_not_accepted"] += len(batch)
            log.error("scrape not accepted", target=exporter.shown, error=str(error))

    def _read(self, body: bytes, exporter: _Exporter, at: float) -> Page:
        text = body.decode("utf-8", "replace")
        return self.exposition.read(text, exporter.target, exporter.memory, at)

    def _note(self, exporter: _Exporter, page: Page) -> None:
        self.counts.update(page.counts)
        exporter.aside = page.examples
        exporter.unchanged_s = page.unchanged_s
        if page.frozen != exporter.frozen:
            exporter.frozen = page.frozen
            log.warning(
                "exporter is frozen, its readings are bad"
                if page.frozen
                else "exporter tells new values again",
                target=exporter.shown,
                unchanged_s=round(page.unchanged_s),
            )

    def _batch(self, exporter: _Exporter, page: Page | None, seconds: float) -> Batch:
        rows: list[tuple[int | None, float, int]] = [
            (self._device_index(exporter, "DeviceUp", _UP), float(page is not None), 1)
        ]
        if page is not None:
            rows.append((self._device_index(exporter, "DeviceLatency"), seconds, 1))
            rows += [
                (self._index(reading, exporter), reading.value, reading.quality) for reading in page.readings
            ]
        kept = [(index, value, quality) for index, value, quality in rows if index is not None]
        now, told = now_ms(), Counter[int]()
        observed = []
        for index, _, _ in kept:  # two events of one GPU in one scrape are two readings
            observed.append(now + told[index])
            told[index] += 1
        self.counts["values"] += len(kept)
        return Batch.of([i for i, _, _ in kept], observed, [v for _, v, _ in kept], [q for _, _, q in kept])

    def _index(self, reading: Reading, exporter: _Exporter) -> int | None:
        """Return the index of a reading's point; None where it may not be told, or not by this target."""
        key = (reading.rack, reading.tray, reading.gpu, reading.point_type)
        index = self._indexes.get(key)
        if index is None:
            if len(exporter.points) >= self.settings.max_points:
                self._refuse(exporter, "too_many_points_of_target", f"more than {self.settings.max_points:,}")
                return None
            point = gpu_point(*key, source=f"prometheus:{self.settings.name}")
            index = self._registered(point, exporter)
            if index is None:
                return None
            self._indexes[key] = index
        owner = self._owners.get(index)
        if owner is not exporter:
            if owner is not None and self._holds(owner):
                self._refuse(
                    exporter, "told_by_another", f"{self._registry[index].key} is told by {owner.shown}"
                )
                return None
            self._owners[index] = exporter
            exporter.points.add(index)
        return index

    def _holds(self, owner: _Exporter) -> bool:
        """Whether a target still tells its points, so that no other may."""
        alive = time.monotonic() - owner.answered < 3 * self.settings.interval + self.settings.timeout
        return alive and self._exporters.get(owner.target) is owner

    def _device_index(
        self, exporter: _Exporter, point_type: str, states: tuple[tuple[int, str], ...] = ()
    ) -> int | None:
        target = exporter.target
        name = f"{target.rack}-{target.tray}" if target.rack else _host(target.url)
        point = Point(
            f"Device/{point_type}/prometheus/{exporter.shown}",
            "Device",
            point_type,
            f"exporter/{name}",
            name,
            "" if states else "s",
            states,
            associate=target.rack,
            source=f"prometheus:{self.settings.name}",
        )
        return self._registered(point, exporter)

    def _registered(self, point: Point, exporter: _Exporter) -> int | None:
        try:
            return self._registry.register(point)
        except ContractViolation as error:
            self._refuse(exporter, error.reason, str(error))
            return None

    def _refuse(self, exporter: _Exporter, reason: str, example: str) -> None:
        self.counts[reason] += 1
        exporter.aside.setdefault(reason, example[:200])

    def stats(self) -> dict[str, Any]:
        """Return counters for the health page, and of each target what went wrong and an example of what was set aside."""
        exporters = list(self._exporters.values())
        errors = {e.shown: e.error for e in exporters if e.error}
        errors |= {without_secrets(name): fault for name, fault in self._discovery.faults.items()}
        return {
            "targets": len(exporters),
            **self.counts,
            "discovery_failures": self._discovery.failures,
            "slow": sum(e.slow for e in exporters),
            "frozen": [e.shown for e in exporters if e.frozen][:_SHOWN],
            "errors": dict(list(errors.items())[:_SHOWN]),
            "set_aside": dict([(e.shown, e.aside) for e in exporters if e.aside][:_SHOWN]),
        }


def _host(url: str) -> str:
    try:
        host = urlsplit(url).hostname
    except ValueError:
        host = None
    return host or f"{zlib.crc32(url.encode()):08x}"
