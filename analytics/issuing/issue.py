"""Issuing the power forecast: on schedule, in a child process, and always with an answer."""

from __future__ import annotations

import asyncio
import math
import multiprocessing
import os
from collections import Counter
from collections.abc import Callable, Mapping
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import numpy as np
import structlog

from analytics.issuing.exchange import NODE_STEPS, Made, Task, persistence_of
from analytics.issuing.measured import node_histories
from analytics.issuing.ramps import RampWatch, racks_below
from analytics.outlook.excursions import exceedance
from analytics.outlook.power import NodeOutlook, PlannedSteps
from analytics.outlook.ramps import HOUR
from analytics.planned.bookings import Bookings
from analytics.points import worked_out
from analytics.settings import AnalyticsSettings
from domain.batch import Batch, Sink, now_ms
from domain.breaches import AHEAD_S, BreachesAhead
from domain.catalogue import POINT_TYPES
from domain.envelope import QUARTER_MS, EnvelopeNode, quarter_start
from domain.errors import ForecastError, StorageError
from domain.forecast import QUANTILES, RAMP_QUANTILES, RAMP_WINDOWS_S, Forecast, Ramps
from domain.points import ValueArray
from storage.plant import PlantView
from storage.records import Records

log = structlog.get_logger(__name__)

INTERVAL_MINUTES = QUARTER_MS // 60_000
DAY_MS = 86_400_000
DRIFT_FORECASTS = 24
TOLD = (RAMP_WINDOWS_S.index(10), RAMP_QUANTILES.index(0.95))
"""Of the ramps to expect this one is told as a reading: within ten seconds, exceeded once in twenty hours."""
DRIFT_COVERAGE = 0.75
"""Where the 90 % interval held less than this over the last day, the model is fitted anew."""


def _make_forecast(task: Task) -> Made:
    # imported only in the child: what these libraries weigh, the service need not carry
    from analytics.issuing.fitting import make_forecast

    return make_forecast(task)


def seasonal_naive(task: Task) -> Made:
    """Repeat the last day, with the quantiles of that rule's own errors: what answers when fitting fails."""
    known = ~np.isnan(task.power)
    if not known.any():
        raise ForecastError("the history holds no value")
    position = np.arange(len(task.power))
    power = np.interp(position, position[known], task.power[known])
    day = min(DAY_MS // QUARTER_MS, len(power))
    point = np.resize(power[-day:], task.horizon)
    errors = power[day:] - power[:-day] if len(power) > day + 8 else power - power.mean()
    spread = np.quantile(errors, QUANTILES) - np.median(errors)
    values = np.clip(point[:, None] + spread[None, :], task.idle, task.installed)
    return Made(values, "seasonal naive", "simple model")


class ForecastIssuer:
    """Issues the site's power forecast at the start and after every quarter hour.

    With `history_ready`, the first one waits for it: quarter hours that are not rolled up yet would be missing.

    `counters` tells how many were issued, how many of them by the simple model, and the seconds of the last one.
    """

    def __init__(
        self,
        settings: AnalyticsSettings,
        plant: PlantView,
        records: Records,
        sink: Sink,
        shelf: Path,
        clock: Callable[[], int] = now_ms,
        history_ready: asyncio.Event | None = None,
    ) -> None:
        self._settings = settings
        self._sink = sink
        self._shelf = shelf
        self._history_ready = history_ready
        self._plant = plant
        self._records = records
        self._clock = clock
        self.counters: dict[str, float] = {"issued": 0, "by_simple_model": 0, "last_seconds": math.nan}
        self.issued_once = asyncio.Event()
        self.nodes: dict[str, Forecast] = {}
        """The newest forecast of every node of the envelope that has a history."""
        self.outlooks: dict[str, NodeOutlook] = {}
        """What each of them means over the coming hours: time to breach, power to shed, ramps."""
        self.steps = PlannedSteps.none()
        self._breaches = BreachesAhead()
        self.ramps = RampWatch(plant, shelf.parent / "ramps.npz")
        self._waiting = False

    def newest(self) -> dict[str, Forecast]:
        """Return the newest forecast of every node of the envelope that has a history."""
        return self.nodes

    def planned_change(self, start: int, end: int) -> float:
        """Return by how much the site's mean power from one time to another (UTC ms) is planned to differ from now, W."""
        return self.steps.mean_change(start, end)

    async def run(self) -> None:
        """Issue until cancelled; the first time as soon as `history_ready` is set."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._issue_forever())
            group.create_task(self._tell_risks())

    async def _issue_forever(self) -> None:
        if self._history_ready is not None:
            await self._history_ready.wait()
        while True:
            await self.issue()
            now = self._clock()
            due = quarter_start(now) + QUARTER_MS + self._settings.settle_seconds * 1000
            # before there is any power to forecast from, look again soon
            wait = (due - now) / 1000 if self.issued_once.is_set() else 5.0
            await asyncio.sleep(wait)

    async def _tell_risks(self) -> None:
        """Tell the nodes' risks again and again: a reading that is minutes old says nothing to an alert rule."""
        await self.issued_once.wait()
        while True:
            await self._sink(self._risks(self._clock()))
            await asyncio.sleep(self._settings.outlook_interval_seconds)

    async def issue(self) -> Forecast | None:
        """Issue a forecast of the site and of every node with a history, and keep them; None where there is none yet."""
        began = self._clock()
        cutoff = quarter_start(began)
        task = await asyncio.to_thread(self._task, cutoff)
        if task is None:
            if not self._waiting:  # looked at every few seconds, said once
                meters = ", ".join(self._plant.site.site_meters())
                log.info(
                    "no forecast before the site's power is known; no meter of it has told any", meters=meters
                )
            self._waiting = True
            return None
        self._waiting = False
        answer = await self._answer(task)
        ramps = await asyncio.to_thread(self._expected_ramps, cutoff, task.bookings)
        site = self._plant.envelope.site
        forecast = self._forecast(site, answer.values, answer, cutoff, began, ramps)
        self.nodes = {
            name: self._forecast(self._plant.envelope[name], values, answer, cutoff, began, ramps)
            for name, values in answer.nodes.items()
        } | {site.id: forecast}
        self.steps = PlannedSteps(answer.step_time, answer.step_power)
        self.outlooks = await asyncio.to_thread(
            lambda: {name: NodeOutlook.of(node, NODE_STEPS) for name, node in self.nodes.items()}
        )
        await asyncio.to_thread(self._records.save_forecasts, list(self.nodes.values()))
        self.counters["issued"] += 1
        self.counters["last_seconds"] = (self._clock() - began) / 1000
        self.issued_once.set()
        log.info("forecast issued", model=forecast.model, quality=forecast.quality, **self.counters)
        return forecast

    def _risks(self, now: int) -> Batch:
        """Return the outlook of each node's coming hours as readings: breach, power to shed, time to breach; and the ramp.

        A breach is asked for as the rule on issued forecasts and the console do (`domain.breaches`); the site's own
        probability is in its issued forecast.
        """
        registry, site = self._plant.registry, self._plant.site
        index, value = [], []
        for name, outlook in list(self.outlooks.items()):
            kind = self._plant.envelope[name].kind
            ahead = self._breaches.of(outlook.forecast, now, AHEAD_S)
            if ahead is None:  # what is over says nothing of what comes
                continue
            end = math.inf if ahead.likely is None else (ahead.likely + QUARTER_MS - now) / 1000
            readings = {
                "PowerBreachProbability": ahead.chance,
                "PowerToShed": float(outlook.shed[ahead.coming].max()),
                "TimeToBreach": min(end, AHEAD_S),
            }
            if (ramps := outlook.forecast.ramps) is not None:
                readings |= {"ExpectedRise": float(ramps.up[TOLD]), "ExpectedFall": float(ramps.down[TOLD])}
            if name == site.id:
                del readings["PowerBreachProbability"]
                readings["ExpectedRamp"] = self._ramp(outlook, now)
            for point_type, reading in readings.items():
                index.append(
                    registry.register(worked_out(kind, point_type, name, POINT_TYPES[point_type].unit))
                )
                value.append(reading)
        return Batch.of(index, now, value, received=now)

    def _ramp(self, outlook: NodeOutlook, now: int) -> float:
        """Return the steepest change expected in the coming hour, W per minute: planned jumps, or the median's course."""
        ahead = (outlook.forecast.start > now) & (outlook.forecast.start <= now + 4 * QUARTER_MS)
        course = np.nan_to_num(outlook.ramp[ahead, 1])
        found = [self.steps.steepest(now, now + 4 * QUARTER_MS), *course.tolist()]
        return float(max(found, key=abs))

    def _expected_ramps(self, cutoff: int, bookings: Bookings | None) -> Mapping[str, Ramps]:
        try:
            return self.ramps.expected(cutoff, bookings)
        except StorageError as error:  # the forecast does not wait for its ramps
            log.warning("no ramps are foretold: the store does not answer", error=str(error))
            return {}

    def _task(self, cutoff: int) -> Task | None:
        site = self._plant.site
        grid = self._plant.demand_history(site.id, cutoff - self._settings.history_days * DAY_MS, cutoff)
        known = np.flatnonzero(~np.isnan(grid.values[0]))
        if len(known) < 4:
            return None
        horizon = self._settings.horizon_hours * 4
        first = known[0]
        start = int(grid.start[first])
        nodes, parts = self._nodes(start, cutoff)
        return Task(
            site.id,
            grid.start[first:],
            grid.values[0, first:],
            horizon,
            site.idle,
            site.installed,
            site.country,
            site.timezone,
            self._shelf,
            self._clock(),
            int(self._settings.refit_hours * 3_600_000),
            self._drifted(cutoff),
            nodes,
            parts,
            {n.id: racks_below(self._plant, n.id) for n in self._plant.envelope if n.id != site.id},
            self._bookings(start, cutoff, horizon),
            self._settings.processes or max(1, (os.cpu_count() or 1) // 2),
        )

    def _bookings(self, start: int, cutoff: int, horizon: int) -> Bookings | None:
        """Return planned work as it had been announced by the cutoff; None where no schedule tells any."""
        self._records.forget_schedule(cutoff - self._settings.history_days * DAY_MS)
        works = self._records.planned_work(start, cutoff + horizon * QUARTER_MS)
        bookings = Bookings.of(works, self._plant.site.racks).as_known(cutoff)
        self.counters["planned_works"] = len(bookings.standing())
        return bookings if len(bookings) else None

    def _drifted(self, cutoff: int) -> bool:
        """Return whether the last day's forecasts missed so often that the model should be fitted anew.

        Looked at are the first quarter hours of each issued forecast: of a calibrated one 90 % lie within its outer
        quantiles.
        """
        site = self._plant.site.id
        past = self._records.forecasts(site, "ActivePower", cutoff - DAY_MS, cutoff)
        if len(past) < DRIFT_FORECASTS:
            return False
        actual = self._plant.demand_history(site, cutoff - DAY_MS, cutoff)
        power = dict(zip(actual.start.tolist(), actual.values[0].tolist(), strict=True))
        hits = [
            bool(row[0] <= power[int(t)] <= row[-1])
            for forecast in past
            for t, row in zip(forecast.start[:4], forecast.values[:4], strict=True)
            if not math.isnan(power.get(int(t), math.nan))
        ]
        self.counters["coverage_of_90"] = sum(hits) / len(hits) if hits else math.nan
        return len(hits) >= 4 * DRIFT_FORECASTS and self.counters["coverage_of_90"] < DRIFT_COVERAGE

    def _nodes(self, start: int, end: int) -> tuple[dict[str, ValueArray], dict[str, tuple[str, ...]]]:
        """Return the quarter hours of every node that is measured, and which nodes are made of which."""
        plant = self._plant
        histories = node_histories(plant, start, end)
        # a rack on two busways is part of neither: only what has one whole adds up
        wholes = Counter(child for node in plant.envelope for child in node.children)
        parts = {
            node.id: node.children
            for node in plant.envelope
            if node.children and all(wholes[child] == 1 for child in node.children)
        }
        return histories, parts

    async def _answer(self, task: Task) -> Made:
        try:
            return await self._in_child(task)
        except Exception as error:
            self.counters["by_simple_model"] += 1
            log.exception("fit failed, the simple model answers")
            simple = await asyncio.to_thread(seasonal_naive, task)
            return Made(simple.values, simple.model, f"{simple.quality}: {type(error).__name__}: {error}")

    async def _in_child(self, task: Task) -> Made:
        # a fresh process each time: what a fit allocates goes back to the system, and a crash stays there
        pool = ProcessPoolExecutor(max_workers=1, mp_context=multiprocessing.get_context("spawn"))
        try:
            return await asyncio.wait_for(
                asyncio.get_running_loop().run_in_executor(pool, _make_forecast, task),
                self._settings.timeout_seconds,
            )
        except BaseException:
            for process in list((pool._processes or {}).values()):
                process.kill()
            raise
        finally:
            pool.shutdown(wait=False, cancel_futures=True)

    def _forecast(
        self,
        node: EnvelopeNode,
        values: ValueArray,
        answer: Made,
        cutoff: int,
        issued: int,
        ramps: Mapping[str, Ramps],
    ) -> Forecast:
        start = cutoff + QUARTER_MS * np.arange(len(values), dtype=np.int64)
        limit = np.array([node.binding_limit(int(t), int(t) + QUARTER_MS) for t in start])
        told = ramps.get(node.id)
        if told is not None:
            least, most = float(values[:HOUR, 0].min()), float(values[:HOUR, -1].max())
            built = self._plant.site.installed if node is self._plant.envelope.site else 0.0
            told = told.bounded(least, most, max(built, most, float(limit[:HOUR].max())))
        return Forecast(
            object_id=node.id,
            point_type="ActivePower",
            unit="W",
            issued=issued,
            data_cutoff=cutoff,
            interval_minutes=INTERVAL_MINUTES,
            start=start,
            quantiles=QUANTILES,
            values=values,
            limit=limit,
            breach_probability=exceedance(values, QUANTILES, limit),
            model=answer.model,
            quality=answer.quality,
            ramps=told,
            persistence=persistence_of(node.kind),
        )
