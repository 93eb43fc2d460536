"""The MQTT collector: receives, decodes in bulk, hands batches to the sink, and acknowledges once it has them.

paho's network thread only appends messages to a queue; the event loop empties it a few times a second. When the
queue is full the network thread waits, the socket fills, and the broker is held back instead of memory growing.
Decoding, and the disk under what is parked, have a thread of their own: the event loop waits for neither.
"""

from __future__ import annotations

import asyncio
import threading
from collections import deque
from collections.abc import Callable, Collection, Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any, ParamSpec, TypeVar

import structlog

from collectors.mqtt.connection import Connection
from collectors.mqtt.decoder import Decoder, Message
from collectors.mqtt.settings import MqttSettings
from domain.batch import Batch, Sink, now_ms
from domain.dsx import METADATA, VALUES
from domain.errors import brief
from domain.points import PointRegistry
from domain.tray import PRESENCES, SWEEPS

log = structlog.get_logger(__name__)
P = ParamSpec("P")
T = TypeVar("T")

_COUNTED = (
    *(
        "messages",
        "dsx_values",
        "tray_values",
        "metadata",
        "refused",
        "ignored",
        "null_values",
        "parked",
        "unparked",
    ),
    *("units_changed", "points_changed", "sweeps", "sweeps_skipped", "sweeps_late", "sweeps_repeated"),
    *("sequences_doubted", "points_retired", "points_moved"),
)
"""What `stats` counts, zero until it happens."""
MOST_TOLD = 50
"""Violations of the contract, by reason and topic, that the counters tell."""
_BATCHES_UNDER_WAY = 3
"""Batches that the sink may have at a time: while it writes one, the next is decoded."""
_LEAVE_S = 5.0
"""How long a collector that leaves its group may take to finish."""
_TICK_S = 5.0
"""How often the heartbeat watch speaks."""


class MqttCollector:
    """Collects DSX Exchange points and tray sweeps from one broker.

    Parameters
    ----------
    settings
        Broker, subscriptions, limits.
    registry
        Where points are registered as their metadata comes.
    sink
        Takes each batch; its messages are acknowledged after it returned.
    racks
        The racks that the site has, for `MqttSettings.unknown_racks`; None where nobody knows.
    chassis
        Racks by the serial number of their chassis, by which trays may name them.
    """

    def __init__(
        self,
        settings: MqttSettings,
        registry: PointRegistry,
        sink: Sink,
        racks: Collection[str] | None = None,
        chassis: Mapping[str, str] | None = None,
    ) -> None:
        self.settings = settings
        self.decoder = Decoder(settings, registry, racks, chassis)
        self._sink = sink
        self._messages: deque[Message] = deque()
        self._taken_bytes = 0  # written by the network thread alone
        self._read_bytes = 0  # written by the event loop alone
        self._longest = settings.max_payload
        self._most_bytes = int(settings.queue_mb * 1e6)
        self._signalled = False
        self._room = threading.Condition()
        self._running = False
        self._arrived = asyncio.Event()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._places = asyncio.Semaphore(_BATCHES_UNDER_WAY)
        self._storing = 0
        self._held_back = 0
        self._sink_failures = 0
        share = f"$share/{settings.share}/" if settings.share else ""
        self._mine = [f"{share}{VALUES}", f"{share}{SWEEPS}"]
        # Everybody needs metadata, presence and heartbeats; values and sweeps are shared among collectors.
        everybody = [METADATA, PRESENCES, *(["BMS/v1/+/Value/System/#"] if share else [])]
        self.connection = Connection(
            settings.broker, self._take, [*everybody, *self._mine], largest=settings.max_payload
        )

    async def run(self) -> None:
        """Collect until cancelled."""
        self._loop = asyncio.get_running_loop()
        self._arrived = asyncio.Event()
        self._arrived.set()  # a run that was cancelled may have left messages
        self._signalled = True
        self._places = asyncio.Semaphore(_BATCHES_UNDER_WAY)
        self._running = True
        self._worker = ThreadPoolExecutor(1, thread_name_prefix=f"mqtt {self.settings.name}")
        self.connection.start()
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._hand_over())
                group.create_task(self._watch_heartbeats())
        finally:
            if self.settings.share:
                await self._leave_group()
            with self._room:
                self._running = False
                self._room.notify_all()
            await asyncio.to_thread(self.connection.stop)
            await asyncio.to_thread(self._worker.shutdown)

    def _take(self, topic: bytes, payload: bytes, mid: int) -> None:
        """Keep a message; runs in the network thread."""
        if len(payload) > self._longest:
            payload = payload[
                : self._longest + 1
            ]  # the decoder refuses it; the rest need not be kept till then
        self._messages.append((topic, payload, mid))
        self._taken_bytes += len(topic) + len(payload)
        if not self._signalled and self._loop is not None:
            self._signalled = True
            self._loop.call_soon_threadsafe(self._arrived.set)
        if self._full():
            self._held_back += 1
            with self._room:
                while self._running and self._full():
                    self._room.wait(1.0)

    def _full(self) -> bool:
        return (
            len(self._messages) >= self.settings.queue_messages
            or self._taken_bytes - self._read_bytes >= self._most_bytes
        )

    async def _hand_over(self) -> None:
        async with asyncio.TaskGroup() as stores:
            while True:
                await self._arrived.wait()
                self._arrived.clear()
                await asyncio.sleep(self.settings.batch_ms / 1000)
                # Before the queue is emptied: a message that comes meanwhile signals again.
                self._signalled = False
                while self._messages:
                    await self._places.acquire()
                    messages, batch = await self._decoded()
                    stores.create_task(self._store(messages, batch)).add_done_callback(
                        lambda _: self._places.release()
                    )

    async def _decoded(self) -> tuple[list[Message], Batch]:
        """Take the next messages off the queue and decode them."""
        take = self._messages.popleft
        messages = [take() for _ in range(min(len(self._messages), self.settings.batch_messages))]
        self._read_bytes += sum(len(topic) + len(payload) for topic, payload, _ in messages)
        with self._room:
            self._room.notify_all()
        decoding = self._working(self.decoder.decode, messages, now_ms())
        try:
            return messages, await asyncio.shield(decoding)
        except asyncio.CancelledError:
            self._back(messages)
            raise

    def _working(self, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> asyncio.Future[T]:
        """Have something done in the decoder's thread."""
        return asyncio.get_running_loop().run_in_executor(self._worker, partial(work, *args, **kwargs))

    def _back(self, messages: list[Message]) -> None:
        """Put messages back that were not stored: stored twice is better than never."""
        self._messages.extendleft(reversed(messages))
        self._read_bytes -= sum(len(topic) + len(payload) for topic, payload, _ in messages)

    async def _leave_group(self) -> None:
        """Let the others take all from now on, and finish what the broker has given already."""
        self.connection.unsubscribe(self._mine)
        try:
            async with asyncio.timeout(_LEAVE_S):
                await asyncio.sleep(self.settings.batch_ms / 1000)
                while self._messages:
                    await self._store(*await self._decoded())
        except TimeoutError:
            log.warning(
                "left the group with messages unacknowledged; they wait at the broker for this collector"
            )

    async def _store(self, messages: list[Message], batch: Batch) -> None:
        self._storing += 1
        try:
            while len(batch):
                try:
                    await self._sink(batch)
                    break
                except Exception as error:
                    # Not acknowledged: kept here, and the broker is held back, until the sink takes it. Whatever it
                    # raises, the other batches go on.
                    self._sink_failures += 1
                    log.error("batch not accepted, trying again", error=brief(error, 200), rows=len(batch))
                    await asyncio.sleep(1.0)
            if self.decoder.parked.unsaved:
                await self._working(self.decoder.parked.save)
        except asyncio.CancelledError:
            self._back(messages)
            raise
        finally:
            self._storing -= 1
        self.connection.acknowledge(mid for _, _, mid in messages if mid)
        if not self._storing and self.decoder.parked.untidy:
            await self._working(self.decoder.parked.tidy)

    async def _watch_heartbeats(self) -> None:
        while True:
            await asyncio.sleep(_TICK_S)
            # Without a broker nothing is known about the BMS.
            alive = self.decoder.alive_rows(now_ms()) if self.connection.state.connected else None
            if alive is not None:
                try:
                    await self._sink(alive)
                except Exception as error:
                    self._sink_failures += 1
                    log.error("heartbeat states not accepted", error=brief(error, 200))

    def stats(self) -> dict[str, Any]:
        """Return counters for the health page: connection, messages, violations by reason, trays, heartbeats."""
        state, decoder = self.connection.state, self.decoder
        return {
            "connected": state.connected,
            "protocol": state.protocol,
            "connects": state.connects,
            "outage_s": round(state.outage_s, 1),
            "error": state.error,
            "subscriptions_refused": dict(state.refused),
            "queued": len(self._messages),
            "held_back": self._held_back,
            "sink_failures": self._sink_failures,
            **dict.fromkeys(_COUNTED, 0),
            **decoder.counts,
            "points": decoder.known,
            "queued_bytes": self._taken_bytes - self._read_bytes,
            "waiting_for_metadata": decoder.parked.keys(20),
            "parked_now": len(decoder.parked),
            "parked_bytes": decoder.parked.size,
            **decoder.parked.counts,
            "parked_dropped": decoder.parked.dropped,
            "violations": dict(decoder.quarantine.counts),
            "violations_by_topic": sorted(decoder.findings.rows(), key=lambda f: -f["count"])[:MOST_TOLD],
            "violations_untold": decoder.findings.overflow,
            "violations_recent": list(decoder.quarantine.recent)[-20:],
            "trays": len(decoder.trays.known),
            "trays_online": sum(list(decoder.trays.online.values())),
            **decoder.trays.counts,
            "sweeps_missing": None if self.settings.share else decoder.trays.missing(),
            "heartbeats": {
                b.name: {"alive": b.told, "gone": b.gone} for b in list(decoder.heartbeats.beats.values())
            },
        }
