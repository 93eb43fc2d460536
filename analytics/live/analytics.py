"""What is worked out all the time from live readings, and written back as points of our own.

Every few seconds: an anomaly score a rack and CDU, the incidents and faulty instruments behind them, where the running quarter hour of each node above the racks will end, the
tokens that a joule makes. Every minute: the probability that a rack passes a temperature limit within the hour.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import structlog

from analytics.anomaly import indicators, memory
from analytics.anomaly.incidents import Grouping
from analytics.anomaly.sensors import Verdict
from analytics.anomaly.watch import FactoryWatch
from analytics.anomaly.wear import WornPart
from analytics.live.found import FoundPoints, as_text
from analytics.live.gather import PlantReader
from analytics.live.gpus import GpuWatch
from analytics.live.substitutes import Substitutes
from analytics.live.upkeep import Upkeep
from analytics.outlook.quarters import FRESH_MS, QuarterWatch
from analytics.outlook.temperatures import TemperatureWatch
from analytics.points import results
from analytics.settings import AnalyticsSettings
from domain.batch import Batch, Sink, now_ms
from domain.errors import InputError, StorageError
from domain.forecast import Forecast
from domain.gpu_health import GpuHealth
from domain.said import told
from domain.units import shown
from storage.batteries import power_for_work
from storage.plant import NO_POINT, PlantView
from storage.tellers import Disagreement

log = structlog.get_logger(__name__)

REMEMBER_S = 300.0
"""How often what was learnt is kept."""
MOST_TOLD = 200
"""Quantities that two tags tell differently and that are listed one by one; all of them are counted."""
UPKEEP_DELAY_S = 120.0
"""After the start the past may still be being made ready."""


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
    folder
        Where what was learnt is kept over a restart; nowhere if not given.
    substitutes
        Through which readings come in; told which of them to replace.
    foretold
        Gives the newest power forecast of every node.
    planned
        By how much the site's mean power from one time to another (UTC ms) is planned to differ from now, W.
    gpu_health
        What readings and XIDs of GPUs mean; without it nobody looks.
    """

    def __init__(
        self,
        settings: AnalyticsSettings,
        plant: PlantView,
        sink: Sink,
        clock: Callable[[], int] = now_ms,
        folder: Path | None = None,
        substitutes: Substitutes | None = None,
        foretold: Callable[[], Mapping[str, Forecast]] | None = None,
        planned: Callable[[int, int], float] | None = None,
        gpu_health: GpuHealth | None = None,
    ) -> None:
        self._settings = settings
        self._plant = plant
        self._sink = sink
        self._clock = clock
        site = plant.site
        self.watch = FactoryWatch(site)
        self._substitutes = substitutes or Substitutes(plant.registry, sink)
        self._reader = PlantReader(plant, self._substitutes.as_measured)
        self._upkeep = Upkeep(plant, PlantReader(plant))
        self._file = None if folder is None else folder / "watch.npz"
        self._remembers = False
        self.worn: list[WornPart] = []
        """Parts that wear, soonest due first."""
        self._found = FoundPoints(plant.registry)
        self._scored = 0
        self._busy = threading.Lock()
        self.quarters = QuarterWatch(plant, int(settings.rack_interval_seconds * 1000), planned)
        self.temperatures = TemperatureWatch(plant, foretold)
        self.counters: dict[str, int] = {"rounds": 0, "outlooks": 0, "anomalous_objects": 0, "incidents": 0}
        self.disagreements: list[Disagreement] = []
        """Quantities that two tags tell differently."""
        self.counters |= {
            "disagreeing_tags": 0,
            "incidents_untold": 0,
            "estimated_instruments": 0,
            "worn_parts": 0,
            "rounds_failed": 0,
        }
        self.reasons: dict[str, str] = {}
        self.gpus = None if gpu_health is None else GpuWatch(plant, gpu_health)

    async def run(self) -> None:
        """Watch until cancelled; then keep what was learnt."""
        settings = self._settings
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._every(settings.rack_interval_seconds, self.look))
                group.create_task(self._every(settings.outlook_interval_seconds, self.look_ahead))
                group.create_task(
                    self._every(settings.upkeep_interval_seconds, self.look_back, UPKEEP_DELAY_S)
                )
                group.create_task(self._every(REMEMBER_S, self.remember, REMEMBER_S))
        finally:
            self.remember()

    async def _every(self, seconds: float, work: Callable[[], Batch | None], delay: float = 0.0) -> None:
        loop = asyncio.get_running_loop()
        await asyncio.sleep(delay)
        due = loop.time()
        while True:
            try:
                batch = await asyncio.to_thread(work)
                if batch is not None and len(batch):
                    await self._sink(batch)
            except Exception as error:  # one kind of look must not end the others, nor itself
                self._failed(work.__name__, error)
            due = max(due + seconds, loop.time())
            await asyncio.sleep(due - loop.time())

    def look(self) -> Batch:
        """Score racks and CDUs, diagnose, and foretell the running quarter hours; returns the results as readings."""
        now = self._clock()
        self.counters["rounds"] += 1
        found = []
        for name, part in (
            ("anomalies", self._anomalies),
            ("quarter hours", self.quarters.look),
            ("efficiency", self._efficiency),
            ("GPU health", self._gpu_health),
        ):
            try:
                found.append(part(now))
            except Exception as error:  # what the plant told may be what one of them was not made for
                self._failed(name, error)
        return Batch.concat(found) if found else Batch.of([], now, [], received=now)

    def _failed(self, name: str, error: Exception) -> None:
        self.counters["rounds_failed"] += 1
        log.error("a look at the plant failed", look=name, exc_info=error)

    def look_ahead(self) -> Batch:
        """Foretell the racks' temperatures; returns the probability of passing a limit within the hour."""
        self.counters["outlooks"] += 1
        return self.temperatures.look(self._clock())

    def look_back(self) -> None:
        """Look through the kept readings for parts that wear."""
        try:
            self.worn = self._upkeep.look(self._clock())
        except StorageError as error:
            log.warning(
                "the list of worn parts is that of before: the store does not answer", error=str(error)
            )
        self.counters["worn_parts"] = len(self.worn)

    def remember(self) -> None:
        """Keep what was learnt, for the time after a restart."""
        if self._file is None or not self.watch.warm:
            return
        try:
            with self._busy:
                memory.save(self.watch, self._scored, self._file)
        except OSError as error:
            log.warning("what was learnt cannot be kept", error=str(error))

    def accept(self, object_id: str) -> None:
        """Take the present state of a rack or CDU as usual, after work on it; from any thread.

        Raises
        ------
        InputError
            If the site has no such rack or CDU.
        """
        with self._busy:
            self.watch.accept(object_id)
        log.info("the present state is usual from now on", object=object_id)

    def _recall(self, now: int) -> None:
        """Go on from what was learnt before a restart, once the plant is known as it was then."""
        if self._remembers or self._file is None or self.watch.warm or not self._file.exists():
            return
        try:
            age = memory.load(self.watch, now, self._file)
        except InputError as error:
            log.info("nothing is taken over from before", reason=str(error))
            return
        self._remembers = True
        log.info("the watch goes on with what it had learnt", age_seconds=age / 1000)

    def _mistrust(self, now: int) -> Batch:
        """Let readings of instruments that lie be replaced; returns those of the ones that have fallen silent."""
        if not self._settings.replace_faulty_readings:
            return Batch.concat([self._substitutes.stand_in(np.zeros(0, np.int32), now)])
        points = {self._reader.point_of(*key): (key, value) for key, value in self.watch.estimates().items()}
        points.pop(NO_POINT, None)
        self._substitutes.mistrust({point: value for point, (_, value) in points.items()})
        self.counters["estimated_instruments"] = sum(np.isfinite(v) for _, v in points.values())
        silent = [p for p, (key, _) in points.items() if self.watch.faulty.get(key) is Verdict.SILENT]
        return self._substitutes.stand_in(np.array(silent, np.int32), now)

    def _anomalies(self, now: int) -> Batch:
        """Watch racks, CDUs, taps, GPUs and instruments; returns scores, incidents and verdicts as readings."""
        if self._reader.refresh():
            grouping = Grouping.of(self._plant.topology())
            self.watch.rewire(self._reader.equipment, grouping)
            self._recall(now)
        seconds = (now - self._scored) / 1000 if self._scored else self._settings.rack_interval_seconds
        self._scored = now
        with self._busy:
            opened = self.watch.update(now, self._reader.read(now), min(seconds, 60.0))
        for incident in opened:
            cause = incident.cause
            log.info(
                "incident", root=cause.root, fault=cause.fault, evidence="; ".join(map(told, cause.evidence))
            )
            self.counters["incidents"] += 1
        watch, site = self.watch, self._plant.site
        batches = [
            self._found.readings(
                now,
                watch.book.open,
                watch.faulty | self._disagreeing(),
                watch.book.grouping.types,
                over=watch.settled,
                worn=self.worn,
            ),
            self._mistrust(now),
        ]
        for kind, ids, scores in (
            ("Rack", site.racks, watch.rack_scores),
            ("CDU", site.cdus, watch.cdu_scores),
        ):
            if scores is not None:
                registry = self._plant.registry
                batches.append(results(registry, kind, "AnomalyScore", ids, scores.score, now))
        self.counters["incidents_untold"] = watch.book.untold
        self.reasons = watch.reasons()
        self.counters["anomalous_objects"] = len(self.reasons)
        return Batch.concat(batches)

    def _disagreeing(self) -> dict[tuple[str, str], Verdict]:
        """Return the quantities that two tags tell differently, by object and quantity."""
        self.disagreements = self._plant.tellers.compare()
        self.counters["disagreeing_tags"] = len(self.disagreements)
        points = [self._plant.registry[d.used] for d in self.disagreements]
        return {(p.object_id, p.point_type): Verdict.DISAGREEING for p in points}

    @property
    def incidents(self) -> list[dict[str, Any]]:
        """The open incidents, ready for JSON."""
        return [as_text(incident) for incident in list(self.watch.book.open)]

    @property
    def upkeep(self) -> list[dict[str, object]]:
        """The parts that wear, soonest due first, ready for JSON."""
        return indicators.as_text(self.worn, indicators.ADVICE)

    @property
    def instruments(self) -> list[dict[str, object]]:
        """The instruments that misbehave, ready for JSON; `estimated` where another reading stands in."""
        estimates = self.watch.estimates() if self._settings.replace_faulty_readings else {}
        misbehaving: list[dict[str, object]] = [
            {
                "object": name,
                "quantity": quantity,
                "verdict": verdict.name.lower(),
                "estimated": bool(np.isfinite(estimates.get((name, quantity), np.nan))),
            }
            for (name, quantity), verdict in self.watch.mistrusted().items()
        ]
        return misbehaving + [self._differing(d) for d in list(self.disagreements)[:MOST_TOLD]]

    def _differing(self, d: Disagreement) -> dict[str, object]:
        used, other = self._plant.registry[d.used], self._plant.registry[d.other]
        told = f"{shown(d.value, used.unit)} is used, {shown(d.other_value, other.unit)} says {other.key}"
        return {
            "object": used.object_id,
            "quantity": used.point_type,
            "verdict": f"two tags differ: {told}",
            "estimated": False,
        }

    def _gpu_health(self, now: int) -> Batch:
        if self.gpus is None:
            return Batch.of([], now, [], received=now)
        found = self.gpus.look(now)
        self.counters |= self.gpus.counters
        return found

    def _efficiency(self, now: int) -> Batch:
        plant = self._plant
        points = plant.tellers.one_each(plant.registry.select("Tray", "TokenRate"))
        rates = plant.values(points, now - FRESH_MS)
        power = power_for_work(plant, now - FRESH_MS)
        known = power > 0 and np.isfinite(rates).any()
        value = np.array([np.nansum(rates) / power if known else np.nan])
        return results(plant.registry, "Site", "TokenEfficiency", [plant.site.id], value, now)
