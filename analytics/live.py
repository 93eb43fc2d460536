"""What is worked out all the time from live readings, and written back as points of our own.

Every few seconds: an anomaly score a rack and CDU, the incidents and faulty instruments behind them, where the running quarter hour of each node above the racks will end, the
tokens that a joule makes. Every minute: the probability that a rack passes a temperature limit within the hour.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import numpy as np
import structlog

from analytics.anomaly.incidents import Grouping
from analytics.anomaly.watch import FactoryWatch
from analytics.found import FoundPoints, as_text
from analytics.gather import PlantReader
from analytics.points import results
from analytics.quarters import FRESH_MS, QuarterWatch
from analytics.settings import AnalyticsSettings
from analytics.temperatures import TemperatureWatch
from domain.batch import Batch, Sink, now_ms
from storage.plant import PlantView

log = structlog.get_logger(__name__)


class LiveAnalytics:
    """Watches racks and quarter hours until it is cancelled.

    Parameters
    ----------
    settings
        How often.
    plant
        Where readings come from.
    sink
        Where the results go, like any other reading.
    clock
        UTC ms.
    """

    def __init__(
        self, settings: AnalyticsSettings, plant: PlantView, sink: Sink, clock: Callable[[], int] = now_ms
    ) -> None:
        self._settings = settings
        self._plant = plant
        self._sink = sink
        self._clock = clock
        site = plant.site
        self.watch = FactoryWatch(site)
        self._reader = PlantReader(plant)
        self._found = FoundPoints(plant.registry)
        self._scored = 0
        self._quarters = QuarterWatch(plant, int(settings.rack_interval_seconds * 1000))
        self.temperatures = TemperatureWatch(plant)
        self.counters: dict[str, int] = {"rounds": 0, "outlooks": 0, "anomalous_objects": 0, "incidents": 0}
        self.reasons: dict[str, str] = {}

    async def run(self) -> None:
        """Watch until cancelled."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._every(self._settings.rack_interval_seconds, self.look))
            group.create_task(self._every(self._settings.outlook_interval_seconds, self.look_ahead))

    async def _every(self, seconds: float, work: Callable[[], Batch]) -> None:
        loop = asyncio.get_running_loop()
        due = loop.time()
        while True:
            batch = await asyncio.to_thread(work)
            if len(batch):
                await self._sink(batch)
            due = max(due + seconds, loop.time())
            await asyncio.sleep(due - loop.time())

    def look(self) -> Batch:
        """Score racks and CDUs, diagnose, and foretell the running quarter hours; returns the results as readings."""
        now = self._clock()
        self.counters["rounds"] += 1
        return Batch.concat([self._anomalies(now), self._quarters.look(now), self._efficiency(now)])

    def look_ahead(self) -> Batch:
        """Foretell the racks' temperatures; returns the probability of passing a limit within the hour."""
        self.counters["outlooks"] += 1
        return self.temperatures.look(self._clock())

    def _anomalies(self, now: int) -> Batch:
        """Watch racks, CDUs, taps, GPUs and instruments; returns scores, incidents and verdicts as readings."""
        if self._reader.refresh():
            grouping = Grouping.of(self._plant.topology())
            self.watch.rewire(self._reader.equipment, grouping)
        seconds = (now - self._scored) / 1000 if self._scored else self._settings.rack_interval_seconds
        self._scored = now
        for incident in self.watch.update(now, self._reader.read(now), min(seconds, 60.0)):
            cause = incident.cause
            log.info("incident", root=cause.root, fault=cause.fault, evidence="; ".join(cause.evidence))
            self.counters["incidents"] += 1
        watch, site = self.watch, self._plant.site
        batches = [
            self._found.readings(
                now, watch.book.open, watch.faulty, watch.book.grouping.types, over=watch.settled
            )
        ]
        for kind, ids, scores in (
            ("Rack", site.racks, watch.rack_scores),
            ("CDU", site.cdus, watch.cdu_scores),
        ):
            if scores is not None:
                registry = self._plant.registry
                batches.append(results(registry, kind, "AnomalyScore", ids, scores.score, now))
        self.reasons = watch.reasons()
        self.counters["anomalous_objects"] = len(self.reasons)
        return Batch.concat(batches)

    @property
    def incidents(self) -> list[dict[str, Any]]:
        """The open incidents, ready for JSON."""
        return [as_text(incident) for incident in list(self.watch.book.open)]

    @property
    def instruments(self) -> list[dict[str, str]]:
        """The instruments that misbehave, ready for JSON."""
        return [
            {"object": name, "quantity": quantity, "verdict": verdict.name.lower()}
            for (name, quantity), verdict in list(self.watch.faulty.items())
        ]

    def _efficiency(self, now: int) -> Batch:
        plant = self._plant
        rates = plant.values(plant.registry.select("Tray", "TokenRate"), now - FRESH_MS)
        power = plant.power_now(plant.site.id)
        value = np.array([np.nansum(rates) / power.value if power.value > 0 and len(rates) else np.nan])
        if not np.isfinite(rates).any():
            value[:] = np.nan
        return results(plant.registry, "Site", "TokenEfficiency", [plant.site.id], value, now)
