"""What is worked out all the time from live readings, and written back as points of our own.

Every few seconds: an anomaly score a rack and CDU, the incidents and faulty instruments behind them, where the running quarter hour of each node above the racks will end, the
tokens that a joule makes. Every minute: the probability that a rack passes a temperature limit within the hour.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import structlog

from analytics.anomaly.incidents import Grouping
from analytics.anomaly.watch import FactoryWatch
from analytics.excursions import QuarterOutlook, quarter_outlook
from analytics.found import FoundPoints, as_text
from analytics.gather import PlantReader, along_rack
from analytics.points import worked_out
from analytics.settings import AnalyticsSettings
from analytics.thermal import RackHistory, temperature_outlook
from domain.batch import Batch, Sink, now_ms
from domain.catalogue import POINT_TYPES
from domain.points import Quality, ValueArray
from storage.plant import PlantView
from storage.telemetry import Aggregate

log = structlog.get_logger(__name__)

FRESH_MS = 60_000
"""A reading older than this is not used: the models would explain the past."""
HOUR_MS = 3_600_000
OUTLOOK_STEP_MS = 300_000


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
        self._nodes = [node for node in plant.envelope if node.kind != "Rack"]
        self._power: deque[tuple[int, ValueArray]] = deque()
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
        return Batch.concat([self._anomalies(now), self._quarters(now), self._efficiency(now)])

    def look_ahead(self) -> Batch:
        """Foretell the racks' temperatures; returns the probability of passing a limit within the hour."""
        now = self._clock()
        history = RackHistory(
            power=self._rack_history("RackPower", now),
            supply=self._rack_history("RackLiquidSupplyTemperature", now),
            ret=self._rack_history("RackLiquidReturnTemperature", now),
            flow=self._rack_history("RackLiquidFlow", now),
            gpu=self._gpu_history(now),
        )
        steps = HOUR_MS // OUTLOOK_STEP_MS
        outlook = temperature_outlook(history, steps, OUTLOOK_STEP_MS / 1000, self._plant.site.thermal)
        worst = np.stack(
            [o.breach_probability.max(axis=1) for o in (outlook.supply, outlook.ret, outlook.gpu)]
        )
        known = ~np.isnan(worst).all(axis=0)
        breach = np.nan_to_num(worst).max(axis=0)
        self.counters["outlooks"] += 1
        return self._readings(
            "Rack", "TemperatureBreachProbability", self._plant.site.racks, breach, known, now
        )

    def _anomalies(self, now: int) -> Batch:
        """Watch racks, CDUs, taps, GPUs and instruments; returns scores, incidents and verdicts as readings."""
        if self._reader.refresh():
            grouping = Grouping.of(self._plant.topology())
            self.watch.rewire(self._reader.taps, self._reader.gpu_ids, grouping)
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
                known = ~np.isnan(scores.score)
                batches.append(self._readings(kind, "AnomalyScore", ids, scores.score, known, now))
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

    def _quarters(self, now: int) -> Batch:
        if not self._power:
            self._seed(now)
        present = [self._plant.power_now(node.id) for node in self._nodes]
        fresh = [r.value if r.observed > now - FRESH_MS else np.nan for r in present]
        self._power.append((now, np.array(fresh)))
        while self._power[0][0] < now - HOUR_MS:
            self._power.popleft()
        time = np.array([t for t, _ in self._power], np.int64)
        power = np.stack([p for _, p in self._power], axis=1)
        outlooks: list[QuarterOutlook] = [
            quarter_outlook(time, power[i], now + 1, node.limit_at(now)) for i, node in enumerate(self._nodes)
        ]
        batches = []
        for point_type, values in (
            ("QuarterHourPower", [o.expected for o in outlooks]),
            ("QuarterHourBreachProbability", [o.breach_probability for o in outlooks]),
        ):
            for node, value in zip(self._nodes, values, strict=True):
                found = np.array([value])
                batches.append(self._readings(node.kind, point_type, [node.id], found, ~np.isnan(found), now))
        return Batch.concat(batches)

    def _seed(self, now: int) -> None:
        """Take the last hour from the store, so that a restart does not make the outlook forget."""
        step = int(self._settings.rack_interval_seconds * 1000)
        start = now - HOUR_MS
        grids = [self._plant.power_history(node.id, start, now, step) for node in self._nodes]
        for i, moment in enumerate(grids[0].start):
            if moment < now:
                self._power.append((int(moment), np.array([g.values[0, i] for g in grids])))

    def _efficiency(self, now: int) -> Batch:
        plant = self._plant
        rates = plant.values(plant.registry.select("Tray", "TokenRate"), now - FRESH_MS)
        power = plant.power_now(plant.site.id)
        value = np.array([np.nansum(rates) / power.value if power.value > 0 and len(rates) else np.nan])
        known = ~np.isnan(value) & bool(np.isfinite(rates).any())
        return self._readings("Site", "TokenEfficiency", [plant.site.id], value, known, now)

    def _rack_history(self, point_type: str, now: int) -> ValueArray:
        return self._history(self._plant.rack_points(point_type)[:, None], now)

    def _gpu_history(self, now: int) -> ValueArray:
        return self._history(self._plant.gpu_points("GpuTemperature"), now)

    def _history(self, points: np.ndarray[tuple[int, int], np.dtype[np.int32]], now: int) -> ValueArray:
        """Return the highest of each row's points per step over the last six hours, shape (rows, steps)."""
        end = now - now % OUTLOOK_STEP_MS + OUTLOOK_STEP_MS
        start = end - 6 * HOUR_MS
        wanted = points[points >= 0]
        result = np.full((len(points), (end - start) // OUTLOOK_STEP_MS), np.nan)
        if len(wanted) == 0:
            return result
        grid = self._plant.store.aggregate(wanted, start, end, OUTLOOK_STEP_MS, Aggregate.MAX)
        row_of = dict(zip(grid.point.tolist(), grid.values, strict=True))
        for i, row in enumerate(points):
            members = [row_of[p] for p in row.tolist() if p in row_of]
            if members:
                result[i] = along_rack(np.nanmax, np.stack(members, axis=1))
        return result

    def _readings(
        self,
        object_type: str,
        point_type: str,
        objects: Sequence[str],
        value: ValueArray,
        known: ValueArray,
        now: int,
    ) -> Batch:
        unit = POINT_TYPES[point_type].unit
        register = self._plant.registry.register
        index = [register(worked_out(object_type, point_type, name, unit)) for name in objects]
        keep = np.asarray(known, bool)
        return Batch.of(np.array(index, np.int32)[keep], now, value[keep], Quality.GOOD, now)
