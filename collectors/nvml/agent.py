"""The tray agent: sweeps the GPUs, keeps each sweep until the broker has it, and says that it is there.

It publishes through a `Link`, so that it knows no MQTT; `collectors.mqtt.link.TrayLink` is the real one.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from itertools import islice
from typing import Any, Protocol

import httpx
import orjson
import structlog

from collectors.nvml.settings import AgentSettings
from collectors.nvml.spool import SweepSpool
from collectors.nvml.sweeper import Sweeper
from collectors.nvml.tokens import TokenCounter
from domain import __version__
from domain.batch import now_ms
from domain.tray import GPU_FIELDS, Sweep, XidEvent, encode, presence_topic, sweep_topic

log = structlog.get_logger(__name__)

_POWER = GPU_FIELDS.index("GpuPower")
_EVENT_WAIT_MS = 1000


Parts = dict[str, Callable[[], Awaitable[None]]]
Supervise = Callable[[Parts], Awaitable[None]]


class Link(Protocol):
    """The way to the broker."""

    @property
    def number(self) -> int:
        """Which connection stands, from 1; 0 while there is none. A message sent on an earlier one may be lost."""

    def send(self, topic: str, payload: bytes, retain: bool, answered: Callable[[bool], None]) -> bool:
        """Send a message; False if it was not sent.

        `answered` is called, in any thread, when the broker has answered: True where it took the message, False where
        it refused it or has nobody to give it to.
        """


class TraySweeps:
    """Makes the sweep messages of one tray: the sweeper, and what the agent adds to it.

    Parameters
    ----------
    rack, tray
        Which tray, such as ``R001`` and ``T01``.
    sweeper
        Reads the GPUs.
    run
        When the agent started, UTC ms.
    """

    def __init__(self, rack: str, tray: str, sweeper: Sweeper, run: int) -> None:
        self.rack, self.tray = rack, tray
        self.sweeper = sweeper
        self.topic = sweep_topic(rack, tray)
        self._run = run

    def take(
        self,
        sequence: int,
        now: int,
        token_rate: float | None = None,
        tokens: float | None = None,
        spooled: int = 0,
        dropped: int = 0,
    ) -> Sweep:
        """Sweep once; blocks for as long as NVML does."""
        values = self.sweeper.sweep(now)
        gpu_count = len(self.sweeper.slots)
        per_joule = None
        if token_rate is not None:
            power = sum(values[gpu * len(GPU_FIELDS) + _POWER] or 0.0 for gpu in range(gpu_count))
            per_joule = token_rate / power if power else None
        values += [token_rate, tokens, per_joule, float(sequence), float(spooled), float(dropped)]
        values.append(self.sweeper.module_power)
        return Sweep(self._run, sequence, now, gpu_count, values, self._events())

    def message(self, sweep: Sweep) -> bytes:
        """Return the message of a sweep."""
        return orjson.dumps(encode(sweep))

    def presence(self, host: str = "") -> bytes:
        """Return the message that says that the agent is there, and what it found."""
        gpus = [
            {"uuid": slot.uuid, "name": slot.name, "serial": slot.place.serial} for slot in self.sweeper.slots
        ]
        driver = self.sweeper.driver
        return orjson.dumps(
            {"online": True, "host": host, "agent": __version__, "driver": driver, "gpus": gpus}
        )

    def _events(self) -> tuple[XidEvent, ...]:
        events = self.sweeper.events
        return tuple(events.popleft() for _ in range(len(events)))


class TrayAgent:
    """Runs one tray's sweeps.

    Parameters
    ----------
    settings
        Which tray, how often, where the spool is.
    nvml
        ``pynvml``, or an object that answers the same calls.
    link
        The way to the broker.
    host
        Name of this node.
    """

    def __init__(self, settings: AgentSettings, nvml: Any, link: Link, host: str = "") -> None:
        self.settings = settings
        self.sweeper = Sweeper(nvml, settings.gpus, settings.slow_every, poll_events=False)
        self.sweeps = TraySweeps(settings.rack, settings.tray, self.sweeper, now_ms())
        self.spool = SweepSpool(settings.spool, settings.spool_bytes)
        self.tokens = TokenCounter(settings.inference)
        self._link = link
        self._host = host
        self._in_flight: dict[int, int] = {}  # sequence number -> connection that it was sent on
        self._greeted = 0
        self._loop: asyncio.AbstractEventLoop | None = None
        self._late = 0
        self._sent = 0
        self._refused = 0
        self._heard = True

    async def run(self, supervise: Supervise) -> None:
        """Sweep until cancelled.

        Parameters
        ----------
        supervise
            Runs the agent's parts, each by its name, and starts one again that fails: it must not take the others along.
        """
        self._loop = asyncio.get_running_loop()
        parts: Parts = {"sweeps": self._sweep_for_ever, "XID events": self._watch_events}
        if self.settings.inference:
            parts["tokens"] = self._count_tokens
        try:
            await supervise(parts)
        finally:
            self.spool.close()
            await asyncio.to_thread(self.sweeper.close)

    async def _sweep_for_ever(self) -> None:
        interval = self.settings.interval
        due = time.monotonic()
        while True:
            await self.sweep_once()
            due += interval
            wait = due - time.monotonic()
            if wait < 0:  # a sweep that took too long: the missed ones are left out, not made up for
                self._late += 1
                due = time.monotonic()
            await asyncio.sleep(max(wait, 0.0))

    async def sweep_once(self) -> None:
        """Take one sweep, put it into the spool, and send what waits."""
        spool, tokens = self.spool, self.tokens
        sweep = await asyncio.to_thread(
            self.sweeps.take,
            spool.next_sequence,
            now_ms(),
            tokens.rate,
            tokens.total,
            max(0, len(spool) - len(self._in_flight)),
            spool.dropped,
        )
        newest = spool.append(self.sweeps.message(sweep))
        self._send_waiting(newest)

    def _send_waiting(self, newest: int) -> None:
        """Send the newest sweep, so that the present is seen at once, and some of those that wait, oldest first."""
        number = self._link.number
        if not number:
            return
        if self._greeted != number:
            greeting = self.sweeps.presence(self._host)
            topic = presence_topic(self.sweeps.rack, self.sweeps.tray)
            if self._link.send(topic, greeting, True, lambda _taken: None):
                self._greeted = number
        if not self._send(newest, number) or not self._heard:
            # While nobody listens, each sweep asks again; those that wait stay where they are safe.
            return
        room = max(1, round(self.settings.replay_rate * self.settings.interval))
        for sequence in list(islice(self.spool.waiting(), room + len(self._in_flight))):
            if not room:
                break
            if self._in_flight.get(sequence) != number:
                room -= 1
                if not self._send(sequence, number):
                    break

    def _send(self, sequence: int, number: int) -> bool:
        message = self.spool.read(sequence)
        if message is None:
            return True
        self._in_flight[sequence] = number
        sent = self._link.send(
            self.sweeps.topic, message, False, lambda taken: self._answered_in_thread(sequence, taken)
        )
        if not sent:
            del self._in_flight[sequence]
        return sent

    def _answered_in_thread(self, sequence: int, taken: bool) -> None:
        if self._loop is not None and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._answered, sequence, taken)

    def _answered(self, sequence: int, taken: bool) -> None:
        self._in_flight.pop(sequence, None)
        if taken != self._heard:
            self._heard = taken
            log.log(
                logging.INFO if taken else logging.WARNING,
                "the broker takes sweeps again" if taken else "the broker has no subscriber, sweeps wait",
                topic=self.sweeps.topic,
                waiting=len(self.spool),
            )
        if taken:
            self._sent += 1
            self.spool.taken(sequence)
        else:
            self._refused += 1

    async def _watch_events(self) -> None:
        while True:
            if self.sweeper.driver:
                await asyncio.to_thread(self.sweeper.fetch_events, None, _EVENT_WAIT_MS)
            # Returns at once where the GPUs have no events.
            await asyncio.sleep(0.2)

    async def _count_tokens(self) -> None:
        # made in a thread: the system's certificates take a tenth of a second to load
        async with await asyncio.to_thread(httpx.AsyncClient) as client:
            while True:
                await self.tokens.scrape(client)
                await asyncio.sleep(self.settings.interval)

    def stats(self) -> dict[str, Any]:
        """Return counters: sweeps taken, delivered, spooled, dropped; GPUs; time spent."""
        return {
            "sweeps": self.spool.next_sequence,
            "delivered": self._sent,
            "refused": self._refused,
            "waiting": len(self.spool),
            "dropped": self.spool.dropped,
            "spool_failures": self.spool.failures,
            "late": self._late,
            "gpus": len(self.sweeper.slots),
            "gpus_present": sum(s.handle is not None for s in self.sweeper.slots),
            "gpus_lost": self.sweeper.lost,
            "token_errors": self.tokens.errors,
        }
