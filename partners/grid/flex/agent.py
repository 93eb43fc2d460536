"""The site on the bus of DSX Flex: takes load targets, tells the state of its power and breaches. It switches nothing."""

from __future__ import annotations

import asyncio
import math
from collections import Counter, deque
from collections.abc import Callable, Collection
from dataclasses import asdict
from pathlib import Path
from typing import Any, Protocol

import orjson
import structlog

from analytics.flexibility.racks import FlexibleRack, chosen, under
from collectors.mqtt.connection import Connection
from domain.batch import now_ms
from domain.errors import StorageError
from domain.grid import OPEN_END, HeldLimit
from partners.grid.desk import GridDesk
from partners.grid.flex.feeds import BreachNews, BreachWatch, OpenBreach, Ramp
from partners.grid.flex.keys import Signer
from partners.grid.flex.messages import LARGEST, event, moment, watts
from partners.grid.flex.settings import FlexSettings
from partners.grid.flex.targets import SOURCE, TargetDoor
from partners.grid.watch import RecentPower
from storage.plant import PlantView

log = structlog.get_logger(__name__)

TARGETS = "grid/v1/isv/+/loadtarget/set"
LOOK_S = 2.0
MOST_WAITING = 1000
"""Messages that came and are not read yet; more are left with the broker."""
MOST_UNSENT = 1000
"""Breach alerts that wait for the broker; then the oldest goes."""
MOST_HINTS = 200
MOST_TOLD = 300
"""Targets in one status, shared among the feeds; the next to come are told."""
WHOLE = "main"
"""Tag of the whole site where no feeds are configured."""

Racks = Callable[[int], list[FlexibleRack]]
"""Returns the racks in the order in which they would give power, at a time (UTC ms)."""


class Policy(Protocol):
    """When a target counts as kept (`partners.grid.settings.GridSettings`)."""

    @property
    def settle(self) -> float:
        """Seconds after a target begins in which power may come down to it."""

    @property
    def mean(self) -> float:
        """Seconds over which power is averaged."""

    @property
    def tolerance(self) -> float:
        """Share of a target by which power may exceed it and still keep it."""


class FlexAgent:
    """Runs DSX Flex for one site.

    Parameters
    ----------
    settings
        Broker, keys and feeds.
    desk
        Where targets are agreed to.
    plant
        Where power comes from.
    racks
        Who would give power.
    policy
        When a target counts as kept.
    file
        Where breaches that last are kept over a restart.

    Raises
    ------
    ConfigurationError
        If a key cannot be used.
    """

    def __init__(
        self,
        settings: FlexSettings,
        desk: GridDesk,
        plant: PlantView,
        racks: Racks,
        policy: Policy,
        file: Path,
        clock: Callable[[], int] = now_ms,
    ) -> None:
        self._settings = settings
        self._desk = desk
        self._plant = plant
        self._racks = racks
        self._settle_ms = int(policy.settle * 1000)
        self._tolerance = policy.tolerance
        self._clock = clock
        self.feeds = dict(settings.feeds) or {WHOLE: plant.site.id}
        self.door = TargetDoor(settings, self.feeds, desk)
        self._signer = Signer(settings.sign)
        self._power = RecentPower(plant, policy.mean)
        self._ramps = {tag: Ramp() for tag in self.feeds}
        self._file = file
        kept = _kept(file)
        self._breaches = {tag: BreachWatch(settings, kept.get(tag)) for tag in self.feeds}
        self._seen = 0
        self._agreed: frozenset[int] = frozenset()
        self._told = -math.inf
        self._came: deque[tuple[str, bytes, int]] = deque()
        self._unsent: deque[bytes] = deque(maxlen=MOST_UNSENT)
        self._something = asyncio.Event()
        self._loop: asyncio.AbstractEventLoop | None = None
        self.counts: Counter[str] = Counter()
        self.connection = Connection(settings.broker, self._arrived, [TARGETS], largest=LARGEST)

    @property
    def up(self) -> bool:
        """Whether the broker is connected and grants the subscription."""
        return self.connection.state.connected and not self.connection.unheard

    async def run(self) -> None:
        """Take targets and tell the state of power until cancelled."""
        self._loop = asyncio.get_running_loop()
        self._something.clear()
        self.connection.start()
        try:
            while True:
                try:
                    await asyncio.to_thread(self._step)
                except StorageError as error:  # what came is read again at the next look
                    log.warning("grid requests cannot be kept now", error=str(error))
                try:
                    async with asyncio.timeout(LOOK_S):
                        await self._something.wait()
                except TimeoutError:
                    continue
                self._something.clear()
        finally:
            await asyncio.to_thread(self.connection.stop)

    def stats(self) -> dict[str, Any]:
        """Return counters for the health page, and what was refused lately."""
        state = self.connection.state
        return {
            "connected": state.connected,
            "error": state.error,
            **self.counts,
            **self.door.counts,
            "refusals": [asdict(refusal) for refusal in self.door.refusals],
        }

    def _arrived(self, topic: bytes, payload: bytes, mid: int) -> None:
        """Take note of a message, in the network thread."""
        if len(self._came) >= MOST_WAITING:
            self.counts["left_with_broker"] += 1  # not acknowledged: it comes again at the next connection
            return
        self._came.append((topic.decode("utf-8", "replace"), payload, mid))
        if self._loop is not None and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._something.set)

    def _step(self) -> None:
        while self._came:
            topic, payload, mid = self._came[0]
            self.door.take(topic, payload, self._clock())
            self._came.popleft()
            self.connection.acknowledge([mid])
        self._look(self._clock())

    def _look(self, now: int) -> None:
        held = [h for h in self._desk.held if h.request.source == SOURCE and h.end > now]
        news: dict[str, list[str]] = {tag: [] for tag in self.feeds}
        power = {tag: self._power.mean(node, now) for tag, node in self.feeds.items()}
        agreed = frozenset(h.request.id for h in held)
        fresh = agreed - self._agreed
        self._agreed = agreed
        for tag, node in self.feeds.items():
            if math.isnan(power[tag]):
                continue  # what is not measured is not told
            mine = [h for h in held if h.node == node]
            if any(h.request.id in fresh for h in mine):
                news[tag].append("target_set")
            target = min((h for h in mine if h.holds(now)), key=lambda h: h.limit, default=None)
            limit = math.inf if target is None else target.limit
            news[tag] += self._ramps[tag].look(limit, power[tag], now, self._settle_ms)
            breach = self._breaches[tag].look(target, power[tag], now, self._settle_ms)
            if breach is not None:
                self._unsent.append(self._alert(tag, node, breach, now))
                self._keep()
        self._tell(held, power, news, now)
        self._send_alerts()

    def _tell(
        self, held: Collection[HeldLimit], power: dict[str, float], news: dict[str, list[str]], now: int
    ) -> None:
        """Publish a status for each round of events, or the regular one when it is due."""
        if not self.connection.state.connected or all(math.isnan(p) for p in power.values()):
            return
        rounds = max(len(events) for events in news.values())
        if rounds == 0 and now - self._told < self._settings.heartbeat * 1000:
            return
        for i in range(max(rounds, 1)):
            told = {tag: events[i] if i < len(events) else "periodic" for tag, events in news.items()}
            feeds = {
                tag: self._state(tag, node, [h for h in held if h.node == node], power[tag], told[tag], now)
                for tag, node in self.feeds.items()
                if not math.isnan(power[tag])
            }
            newest = max((h.request for h in held), key=lambda r: r.id, default=None)
            answers = newest is not None and "target_set" in told.values()
            reference = newest.reference if newest is not None and answers else ""
            message = event(
                self._settings.identifier,
                "grid.powerstate.status.v1",
                "powerstate",
                self._signer.sign({"snapshot_time": moment(now), "feeds": feeds}),
                now,
                reference,
                self.door.traces.get(reference, ""),
            )
            if self.connection.publish(self._topic("powerstate/status"), message, 1) is not None:
                self.counts["statuses"] += 1
                self._told = now

    def _state(
        self, tag: str, node: str, held: Collection[HeldLimit], power: float, told: str, now: int
    ) -> dict[str, Any]:
        ramp = self._ramps[tag]
        limits = self._plant.envelope[node]
        idle = self._plant.site.idle if node == self._plant.site.id else 0.0
        return {
            "metadata": {
                "power_minimum": watts(idle),
                "power_maximum": watts(limits.limit),
                "default_constraint": watts(limits.limit),
            },
            "targets": [_target(h, now) for h in list(held)[: max(MOST_TOLD // len(self.feeds), 1)]],
            "calculated_load": watts(power),
            "in_flight": bool(ramp.direction),
            "event": told,
            **({"power_event_start_time": moment(ramp.since)} if ramp.since else {}),
            "compliant": power <= ramp.limit * (1 + self._tolerance),
        }

    def _alert(self, tag: str, node: str, breach: BreachNews, now: int) -> bytes:
        over = breach.status != "resolved"
        hints = self._hints(node, breach.power - breach.limit, now) if over else []
        self.counts[f"breaches_{breach.status}"] += 1
        data = {
            "feed_tag": tag,
            "status": breach.status,
            "severity": breach.severity,
            "breach": {
                "breach_id": breach.id,
                "detected_at": moment(breach.detected),
                **({} if over else {"resolved_at": moment(breach.resolved)}),
            },
            "target": {
                "correlation_id": breach.reference,
                "load_constraint": watts(breach.limit),
            },
            "measured_load": watts(breach.power),
            **({"shed_hints": hints} if over else {}),
            # the site's own people decide: nothing that cuts or trips is ever asked for
            "infrastructure_actions": [],
        }
        return event(
            self._settings.identifier,
            "grid.powerbreach.alert.v1",
            "powerbreach",
            self._signer.sign(data),
            now,
            breach.reference,
            self.door.traces.get(breach.reference, ""),
        )

    def _keep(self) -> None:
        lasting = {
            tag: breach.open.model_dump() for tag, breach in self._breaches.items() if breach.open is not None
        }
        part = self._file.with_suffix(".part")
        try:
            part.write_bytes(orjson.dumps(lasting))
            part.replace(self._file)
        except OSError as error:
            log.warning("breaches are not kept over a restart", error=str(error))

    def _hints(self, node: str, excess: float, now: int) -> list[dict[str, Any]]:
        """Return which racks would come down, the first to give first."""
        giving = chosen(under(self._plant, node, self._racks(now)), excess)
        return [
            {
                "resource_id": rack.rack,
                "resource_type": "chassis",
                "action": "power_cap",
                "priority": place,
                "target_power": watts(rack.cap),
            }
            for place, rack in enumerate(giving[:MOST_HINTS], 1)
        ]

    def _send_alerts(self) -> None:
        while (
            self._unsent
            and self.connection.publish(self._topic("powerbreach"), self._unsent[0], 2) is not None
        ):
            self._unsent.popleft()

    def _topic(self, rest: str) -> str:
        return f"grid/v1/dsx-flex-agent/{self._settings.identifier}/{rest}"


def _kept(file: Path) -> dict[str, OpenBreach]:
    try:
        told = orjson.loads(file.read_bytes())
        return {tag: OpenBreach.model_validate(breach) for tag, breach in told.items()}
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, AttributeError) as error:
        log.warning("breaches from before the start are not known", error=str(error))
        return {}


def _target(held: HeldLimit, now: int) -> dict[str, Any]:
    return {
        "active": held.holds(now),
        "load_constraint": watts(held.limit),
        "interval": {
            "start_time": moment(held.start),
            **({} if held.end >= OPEN_END else {"end_time": moment(held.end)}),
        },
        "strategy": {"best_effort": held.request.best_effort},
        "correlation_id": held.request.reference,
    }
