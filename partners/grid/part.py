"""Everything of the grid that runs in the service: desk, watch and connections."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any

import structlog

from analytics.flexibility.plan import Offer, Plan, expected_power, offer, plan
from analytics.flexibility.plan import as_json as flexibility_json
from analytics.flexibility.racks import FlexibleRack, flexible_racks, under
from domain.batch import Sink, now_ms
from domain.errors import ConfigurationError, InputError, Problem, StorageError
from domain.grid import signal_over
from domain.points import PointRegistry, Quality
from partners.grid.desk import GridDesk, as_json
from partners.grid.flex.agent import FlexAgent
from partners.grid.flex.settings import FlexSettings
from partners.grid.openadr.events import Usual
from partners.grid.openadr.reports import Reporter
from partners.grid.openadr.ven import Ven
from partners.grid.settings import GridSettings
from partners.grid.watch import GridWatch
from storage.plant import PlantView
from storage.records import Records

log = structlog.get_logger(__name__)

LOOK_S = 5.0
BREACHES = "grid-breaches.json"
LATE_MS = 30 * 86_400_000
"""Work that runs on beyond its planned end is known for so long."""
KWH_J = 3.6e6
LONGEST_PLAN_MS = 7 * 86_400_000
MOST_LISTED = 1000
"""Requests in one answer."""


class Grid:
    """The grid's requests and what becomes of them.

    Parameters
    ----------
    settings
        Connections and policy.
    plant
        Whose limits change.
    records
        Where requests are kept.
    registry, sink
        Where its points are registered, and go to.
    fresh_ms
        A reading older than this is missing.
    usual
        Returns baselines for reports.
    folder
        The data folder.

    Raises
    ------
    ConfigurationError
        If a key cannot be used.
    """

    def __init__(
        self,
        settings: GridSettings,
        plant: PlantView,
        records: Records,
        registry: PointRegistry,
        sink: Sink,
        fresh_ms: int,
        usual: Usual,
        folder: Path,
    ) -> None:
        self.settings = settings
        self._plant = plant
        self._records = records
        self._sink = sink
        self._fresh_ms = fresh_ms
        self.desk = GridDesk(settings, plant, records)
        self.watch = GridWatch(settings, self.desk, plant, records, registry)
        self.flex: FlexAgent | None = None
        if settings.flex is not None:
            _known_nodes(settings.flex.feeds, plant, "grid.flex.feeds")
            self.flex = FlexAgent(
                _with_session(settings.flex, plant.site.id),
                self.desk,
                plant,
                self.racks,
                settings,
                folder / BREACHES,
            )

        reporter = Reporter(plant, records, self.racks, usual)
        for ven in settings.openadr:
            _known_nodes(ven.nodes, plant, f"grid.openadr {ven.name}")
        self.vens = {ven.name: Ven(ven, self.desk, plant, reporter, usual) for ven in settings.openadr}

    def parts(self) -> dict[str, Callable[[], Awaitable[None]]]:
        """Return what has to run, by name."""
        found: dict[str, Callable[[], Awaitable[None]]] = {"grid": self.run}
        if self.flex is not None:
            found["grid flex"] = self.flex.run
        return found | {f"grid {name}": ven.run for name, ven in self.vens.items()}

    async def run(self) -> None:
        """Look at requests and limits again and again until cancelled."""
        while True:
            try:
                for batch in await asyncio.to_thread(self._look):
                    await self._sink(batch)
            except StorageError as error:
                log.warning("requests of the grid cannot be read now", error=str(error))
            await asyncio.sleep(LOOK_S)

    def racks(self, now: int, at: int = 0) -> list[FlexibleRack]:
        """Return the racks in the order in which they would give power, now or at a later time (UTC ms). Blocks."""
        works = self._records.planned_work(now - LATE_MS, max(now, at) + 1, known_at=now)
        return flexible_racks(self._plant, works, self.settings.flexibility, now, self._fresh_ms, at)

    def flexibility(
        self, node: str = "", target: float | None = None, start: int = 0, end: int = 0
    ) -> dict[str, Any]:
        """Return what a node could shed or raise now, the headroom of its feeds, and a plan where a target is given. Blocks.

        Parameters
        ----------
        node
            Its id; the site if empty.
        target
            W, or None.
        start, end
            When the target holds, UTC ms; not looked at without one.

        Raises
        ------
        InputError
            If there is no such node, or the time is none.
        """
        now = now_ms()
        node = node or self._plant.site.id
        if node not in self._plant.envelope.nodes:
            raise InputError(f"the site has no node {node!r}; name the site, a feed, UPS, busway or rack")
        racks = self.racks(now)
        feeds = [n.id for n in self._plant.envelope if n.kind == "Feed" and node == self._plant.site.id]
        told: dict[str, Any] = {
            "time": now,
            **flexibility_json(self._offer(node, racks, now)),
            "feeds": [flexibility_json(self._offer(feed, racks, now)) for feed in feeds],
            "plan": None,
        }
        if target is None:
            return told
        if not max(start, now) < end <= start + LONGEST_PLAN_MS or not target >= 0:
            raise InputError(
                "a target is no negative power, and its time ends after it begins and now, within a week"
            )
        power = self._power(node, now)
        forecast = self._records.latest_forecast(node)
        expected = expected_power(forecast, power, start, end)
        if math.isnan(expected[0]):
            raise InputError(f"the power of {node} is neither foretold then nor measured now")
        giving = under(self._plant, node, self.racks(now, start))
        made = plan(node, target, max(start, now), end, expected, giving)
        told["plan"] = flexibility_json(made) | self._worth(made)
        return told

    def _worth(self, made: Plan) -> dict[str, Any]:
        """Return what the energy that a plan sheds would have cost and emitted by the grid's own signals; None where it told none."""
        kwh = made.shed * (made.end - made.start) / 1000 / KWH_J
        price = signal_over(self.desk.told, made.start, made.end, emissions=False)
        emitted = signal_over(self.desk.told, made.start, made.end, emissions=True)
        currency, _, per = ("", "", "") if price is None else price[1].partition("/")
        scale = {"KWH": 1.0, "MWH": 1e-3}.get(per.upper())
        saves = None if price is None or scale is None else price[0] * scale * kwh
        avoided = None if emitted is None else emitted[0] * kwh / 1000
        return {"saves": saves, "currency": "" if saves is None else currency, "avoided_kg": avoided}

    def _offer(self, node: str, racks: list[FlexibleRack], now: int) -> Offer:
        below = under(self._plant, node, racks)
        limit = self._plant.envelope[node].limit_at(now)
        return offer(node, self._power(node, now), limit, below)

    def _power(self, node: str, now: int) -> float:
        reading = self._plant.power_now(node)
        known = reading.observed >= now - self._fresh_ms and reading.quality != Quality.BAD
        return reading.value if known else math.nan

    def links(self) -> dict[str, bool]:
        """Return which connections are up, by name."""
        flex = {} if self.flex is None else {"flex": self.flex.up}
        return flex | {name: ven.up for name, ven in self.vens.items()}

    def requests(self, since: int | None = None) -> list[dict[str, Any]]:
        """Return requests, the newest first, as plain values. Blocks."""
        return [as_json(r) for r in self.desk.requests(now_ms(), since)[::-1][:MOST_LISTED]]

    def status(self) -> dict[str, Any]:
        """Return limits, how nodes stand against them, what waits, and the connections, as plain values."""
        return {
            "limits": [
                {"node": h.node, "start": h.start, "end": h.end, "limit": h.limit, "request": h.request.id}
                for h in self.desk.held
            ],
            "nodes": self.watch.as_json(),
            "waiting": [as_json(r) for r in self.desk.waiting],
            "told": [as_json(r) for r in self.desk.told],
            "links": self.stats(),
        }

    def stats(self) -> dict[str, Any]:
        """Return counters for the health page, by connection."""
        flex = {} if self.flex is None else {"flex": self.flex.stats()}
        return flex | {name: ven.stats() for name, ven in self.vens.items()}

    def _look(self) -> list[Any]:
        now = now_ms()
        self.desk.refresh(now)
        return self.watch.look(now, self.links())


def _known_nodes(nodes: Mapping[str, str], plant: PlantView, key: str) -> None:
    unknown = sorted(set(nodes.values()) - plant.envelope.nodes.keys())
    if unknown:
        what = f"the site has no {', '.join(unknown)}"
        raise ConfigurationError(
            Problem("hallwatch.yaml", key, what, "Name the site, a feed or another node.")
        )


def _with_session(settings: FlexSettings, site: str) -> FlexSettings:
    """Return the settings with a lasting session: the broker keeps what comes while this process is away."""
    if settings.broker.client_id:
        return settings
    broker = settings.broker.model_copy(update={"client_id": f"hallwatch-{site}-flex"})
    return settings.model_copy(update={"broker": broker})
