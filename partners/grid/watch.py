"""Whether what is agreed with the grid is kept, and can be: measured power, and the forecast, against the limits."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from analytics.outlook.excursions import exceedance
from analytics.points import SOURCE, results
from domain.batch import Batch
from domain.grid import EMISSIONS, HeldLimit, Kind, Standing
from domain.points import Point, PointRegistry, Quality
from partners.grid.desk import GridDesk
from partners.grid.settings import GridSettings
from storage.plant import PlantView
from storage.records import Records

FRESH_MS = 120_000
LIKELY = 0.5
"""Probability that a quarter hour passes its limit from which the forecast says that it cannot be kept."""

PHASES = ((0, "None"), (1, "Coming"), (2, "In force"))
FEASIBLE = ((0, "Not by the forecast"), (1, "Yes"))
KEPT = ((0, "No"), (1, "Yes"))
LINKS = ((0, "Down"), (1, "Up"))


class RecentPower:
    """The mean power of a node over the last `seconds`, from looks at its newest readings: jobs swing by megawatts."""

    def __init__(self, plant: PlantView, seconds: float) -> None:
        self._plant = plant
        self._mean_ms = int(seconds * 1000)
        self._seen: dict[str, deque[tuple[int, float]]] = {}

    def mean(self, node: str, now: int) -> float:
        """Return the mean, W, of what was seen at the looks so far; NaN where the node is not measured."""
        seen = self._seen.setdefault(node, deque(maxlen=600))
        reading = self._plant.power_now(node)
        if (
            reading.observed >= now - FRESH_MS
            and reading.quality != Quality.BAD
            and not math.isnan(reading.value)
        ):
            seen.append((now, reading.value))
        while seen and seen[0][0] <= now - self._mean_ms:
            seen.popleft()
        return sum(value for _, value in seen) / len(seen) if seen else math.nan


@dataclass(frozen=True, slots=True)
class NodeStanding:
    """A node against what the grid asked of it.

    Parameters
    ----------
    node
        Its id.
    phase
        ``None``, ``Coming`` or ``In force``.
    limit
        The lowest limit in force, or of those that come the first, W; None without one.
    start, end
        Of that limit, UTC ms; 0 without one.
    request
        Number of the request that brings it; 0 without one.
    power
        Its mean power of late, W; None where it is not measured.
    kept
        Whether the limit in force is kept; None where none is, power is not known, or it still comes down.
    feasible
        Whether the forecast says that limits of the next day can be kept; None without a limit or a forecast.
    short
        How much the median of the forecast exceeds a limit at most, W; 0 where it does not.
    """

    node: str
    phase: str
    limit: float | None
    start: int
    end: int
    request: int
    power: float | None
    kept: bool | None
    feasible: bool | None
    short: float


class GridWatch:
    """Looks at every node that a limit of the grid concerns, or did since the start.

    Parameters
    ----------
    settings
        Notice, settling time and tolerance.
    desk
        What is agreed to.
    plant, records
        Where power and forecasts come from.
    registry
        Where its own points are registered.
    """

    def __init__(
        self,
        settings: GridSettings,
        desk: GridDesk,
        plant: PlantView,
        records: Records,
        registry: PointRegistry,
    ) -> None:
        self._settings = settings
        self._desk = desk
        self._plant = plant
        self._records = records
        self._registry = registry
        self._power = RecentPower(plant, settings.mean)
        self._nodes: dict[str, None] = {plant.site.id: None}
        self.standings: list[NodeStanding] = []

    def look(self, now: int, links: dict[str, bool]) -> list[Batch]:
        """Return how nodes stand, how many requests wait, and which connections are up, as readings. Blocks."""
        held = [h for h in self._desk.held if h.end > now]
        self._nodes |= dict.fromkeys(h.node for h in held if h.node in self._plant.envelope.nodes)
        self.standings = [
            self._standing(node, [h for h in held if h.node == node], now) for node in self._nodes
        ]
        told = [
            results(
                self._registry,
                "Service",
                "GridRequestsWaiting",
                ["hallwatch"],
                np.array([float(len([r for r in self._desk.waiting if r.end > now]))]),
                now,
            ),
            *self._told(now),
            self._states("GridLimitPhase", PHASES, {s.node: s.phase for s in self.standings}, now),
            self._states("GridLimitKept", KEPT, _kept(self.standings), now),
            self._states("GridLimitFeasible", FEASIBLE, _feasible(self.standings), now),
            self._states(
                "GridLink", LINKS, {n: "Up" if up else "Down" for n, up in links.items()}, now, "Service"
            ),
        ]
        return [batch for batch in told if len(batch)]

    def as_json(self) -> list[dict[str, Any]]:
        """Return how nodes stand, as plain values."""
        return [asdict(s) for s in self.standings]

    def _told(self, now: int) -> list[Batch]:
        """Return the prices, emissions and notices of now as readings: what is kept of them can be a covariate."""
        found: dict[str, float] = {}
        notices = 0
        for request in self._desk.told:
            for part in request.parts:
                if not part.start <= now < part.end or request.standing is not Standing.AGREED:
                    continue
                if request.kind is Kind.NOTICE:
                    notices += 1
                else:
                    found["GridEmissions" if request.unit == EMISSIONS else "GridPrice"] = part.value
        site = [self._plant.site.id]
        told = [results(self._registry, "Site", k, site, np.array([v]), now) for k, v in found.items()]
        count = np.array([float(notices)])
        return [*told, results(self._registry, "Site", "GridNotices", site, count, now)]

    def _standing(self, node: str, held: list[HeldLimit], now: int) -> NodeStanding:
        power = self._power.mean(node, now)
        known = None if math.isnan(power) else power
        active = [h for h in held if h.holds(now)]
        coming = [h for h in held if now < h.start <= now + self._settings.notice * 1000]
        if not (active or coming):
            return NodeStanding(node, "None", None, 0, 0, 0, known, None, None, 0.0)
        tightest = min(active, key=lambda h: h.limit) if active else min(coming, key=lambda h: h.start)
        kept = None
        if active and known is not None:
            kept = known <= tightest.limit * (1 + self._settings.tolerance)
            if not kept and now < tightest.start + self._settings.settle * 1000:
                kept = None
        feasible, short = self._foretold(node, held, now)
        return NodeStanding(
            node,
            "In force" if active else "Coming",
            tightest.limit,
            tightest.start,
            tightest.end,
            tightest.request.id,
            known,
            kept,
            feasible,
            short,
        )

    def _foretold(self, node: str, held: Iterable[HeldLimit], now: int) -> tuple[bool | None, float]:
        """Return whether the forecast lets limits be kept, and by how much its median exceeds one at most, W."""
        forecast = self._records.latest_forecast(node)
        if forecast is None:
            return None, 0.0
        end = forecast.start + forecast.interval_minutes * 60_000
        settled = int(self._settings.settle * 1000)
        limit = np.full(len(forecast.start), np.inf)
        for h in held:
            # a quarter hour in which power may still come down, or that has passed, says nothing
            inside = (forecast.start >= h.start + settled) & (forecast.start < h.end) & (end > now)
            limit[inside] = np.minimum(limit[inside], h.limit)
        rows = np.flatnonzero(np.isfinite(limit))
        if len(rows) == 0:
            return None, 0.0
        likely = exceedance(forecast.values[rows], forecast.quantiles, limit[rows])
        short = float(np.max(forecast.quantile(0.5)[rows] - limit[rows], initial=0.0))
        return bool(likely.max() < LIKELY), max(short, 0.0)

    def _states(
        self,
        point_type: str,
        states: tuple[tuple[int, str], ...],
        told: dict[str, str],
        now: int,
        object_type: str = "",
    ) -> Batch:
        value = {label: number for number, label in states}
        rows = []
        for name in told:
            kind = object_type or self._plant.envelope[name].kind
            point = Point(
                f"{kind}/{point_type}/hallwatch/{name}",
                kind,
                point_type,
                name,
                name,
                state_text=states,
                source=SOURCE,
            )
            rows.append(self._registry.register(point))
        return Batch.of(rows, now, [float(value[label]) for label in told.values()], Quality.GOOD, now)


def _kept(standings: list[NodeStanding]) -> dict[str, str]:
    """Return the state of each node; of one in force whose power is not measured nothing is known."""
    known = [s for s in standings if s.phase != "In force" or s.power is not None]
    return {s.node: "No" if s.kept is False else "Yes" for s in known}


def _feasible(standings: list[NodeStanding]) -> dict[str, str]:
    return {s.node: "Not by the forecast" if s.feasible is False else "Yes" for s in standings}
