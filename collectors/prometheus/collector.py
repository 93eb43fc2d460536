"""The Prometheus scraper: plants that run NVIDIA's dcgm-exporter keep it; its metrics become the same GPU points."""

from __future__ import annotations

import asyncio
import ssl
import time
from collections import Counter
from pathlib import Path
from typing import Any

import httpx
import structlog
import yaml

from collectors.prometheus.exposition import Exposition, Memory, Reading
from collectors.prometheus.settings import ExporterMapping, PrometheusSettings, Target
from domain.batch import Batch, Sink, now_ms
from domain.errors import ConfigurationError, HallwatchError, Problem, SourceProtocolError
from domain.points import Point, PointRegistry
from domain.secret import read_secret
from domain.tray import tray_points

log = structlog.get_logger(__name__)


class PrometheusCollector:
    """Scrapes exporters for ever.

    Parameters
    ----------
    settings
        Targets and how often.
    mapping
        The exporter's metrics.
    registry
        Where points are registered.
    sink
        Takes each scrape's batch.
    """

    def __init__(
        self, settings: PrometheusSettings, mapping: ExporterMapping, registry: PointRegistry, sink: Sink
    ) -> None:
        self.settings = settings
        self.exposition = Exposition(mapping, settings.place)
        self._registry = registry
        self._sink = sink
        self._memory: dict[str, Memory] = {}
        self._indexes: dict[tuple[str, str, int, str], int] = {}
        self._files: dict[Path, tuple[float, list[Target]]] = {}
        self._errors: dict[str, str] = {}
        self.counts: Counter[str] = Counter()

    async def run(self) -> None:
        """Scrape all targets every `interval`, until cancelled."""
        places = asyncio.Semaphore(self.settings.at_once)
        token = read_secret(self.settings.bearer_token_env, None, "prometheus", "bearer_token")
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        tls = ssl.create_default_context(cafile=self.settings.ca_file and str(self.settings.ca_file))
        async with httpx.AsyncClient(timeout=self.settings.timeout, headers=headers, verify=tls) as client:
            while True:
                due = time.monotonic() + self.settings.interval
                async with asyncio.TaskGroup() as group:
                    for target in self.targets():
                        group.create_task(self._scrape(client, target, places))
                await asyncio.sleep(max(0.0, due - time.monotonic()))

    def targets(self) -> list[Target]:
        """Return the targets of the settings and of the discovery files, each URL once."""
        found = {t.url: t for t in self.settings.targets}
        for path in self.settings.files:
            found.update((t.url, t) for t in self._discovered(path))
        return list(found.values())

    async def _scrape(self, client: httpx.AsyncClient, target: Target, places: asyncio.Semaphore) -> None:
        async with places:
            begun = time.monotonic()
            try:
                answer = await client.get(target.url)
                answer.raise_for_status()
                memory = self._memory.setdefault(target.url, Memory())
                readings = await asyncio.to_thread(
                    self.exposition.readings, answer.text, target, memory, time.monotonic()
                )
                self._errors.pop(target.url, None)
            except (httpx.HTTPError, SourceProtocolError) as error:
                self.counts["failed_scrapes"] += 1
                self._errors[target.url] = f"{type(error).__name__}: {error}"
                readings = None
            self.counts["scrapes"] += 1
            batch = self._batch(target, readings, time.monotonic() - begun)
            try:
                await self._sink(batch)
            except HallwatchError as error:
                self.counts["rows_not_accepted"] += len(batch)
                log.error("scrape not accepted", target=target.url, error=str(error))

    def _batch(self, target: Target, readings: list[Reading] | None, seconds: float) -> Batch:
        up = self._registry.register(self._device_point(target, "DeviceUp", ((0, "Down"), (1, "Up"))))
        indexes, values = [up], [float(readings is not None)]
        if readings is not None:
            indexes.append(self._registry.register(self._device_point(target, "DeviceLatency")))
            values.append(seconds)
        for reading in readings or ():
            indexes.append(self._index(reading))
            values.append(reading.value)
        self.counts["values"] += len(values)
        return Batch.of(indexes, now_ms(), values)

    def _index(self, reading: Reading) -> int:
        key = (reading.rack, reading.tray, reading.gpu, reading.point_type)
        if key not in self._indexes:
            source = f"prometheus:{self.settings.name}"
            gpu_id = f"{reading.rack}-{reading.tray}-G{reading.gpu}"
            for point in tray_points(reading.rack, reading.tray, reading.gpu + 1, source=source):
                if point.object_id == gpu_id:
                    index = self._registry.register(point)
                    self._indexes[reading.rack, reading.tray, reading.gpu, point.point_type] = index
        return self._indexes[key]

    def _device_point(
        self, target: Target, point_type: str, states: tuple[tuple[int, str], ...] = ()
    ) -> Point:
        name = f"{target.rack}-{target.tray}" if target.rack else httpx.URL(target.url).host
        key = f"Device/{point_type}/prometheus/{target.url}"
        unit = "" if states else "s"
        source = f"prometheus:{self.settings.name}"
        return Point(
            key,
            "Device",
            point_type,
            f"exporter/{name}",
            name,
            unit,
            states,
            associate=target.rack,
            source=source,
        )

    def _discovered(self, path: Path) -> list[Target]:
        """Return the targets of a file_sd file; while it is unreadable, those that it had."""
        changed, targets = self._files.get(path, (0.0, []))
        try:
            now_changed = path.stat().st_mtime
            if now_changed != changed:
                targets = file_targets(yaml.safe_load(path.read_text()))
                self._files[path] = now_changed, targets
                self._errors.pop(str(path), None)
        except (OSError, yaml.YAMLError, ValueError, TypeError) as error:
            self.counts["discovery_failures"] += 1
            self._errors[str(path)] = str(error)
        return targets

    def stats(self) -> dict[str, Any]:
        """Return counters for the health page."""
        return {
            "targets": len(self.targets()),
            **self.counts,
            **self.exposition.counts,
            "errors": dict(list(self._errors.items())[:20]),
        }


def file_targets(groups: Any) -> list[Target]:
    """Return the targets of a parsed file_sd file: a list of ``{targets: [host:port], labels: {rack, tray}}``.

    Labels ``__scheme__`` and ``__metrics_path__`` are honoured as Prometheus does.
    """
    found = []
    for group in groups or ():
        labels = group.get("labels") or {}
        scheme, path = labels.get("__scheme__", "http"), labels.get("__metrics_path__", "/metrics")
        place = {"rack": str(labels.get("rack", "")), "tray": str(labels.get("tray", ""))}
        found += [Target(url=f"{scheme}://{address}{path}", **place) for address in group["targets"]]
    return found


def load_mapping(file: Path) -> ExporterMapping:
    """Return the mapping in a YAML file.

    Raises
    ------
    ConfigurationError
        If it cannot be read or does not fit.
    """
    try:
        return ExporterMapping.model_validate(yaml.safe_load(file.read_text()))
    except (OSError, ValueError, yaml.YAMLError) as error:
        problem = Problem(
            str(file), "", str(error), "See config/prometheus/dcgm-exporter.yaml for a mapping that works"
        )
        raise ConfigurationError(problem) from error
