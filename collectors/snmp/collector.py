"""The SNMP collector: polls every device at its own pace and hands what it read to a sink."""

from __future__ import annotations

import asyncio
import random
import time
import zlib
from collections import deque
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import structlog

from collectors.snmp.client import PatientClient
from collectors.snmp.device import PolledDevice
from collectors.snmp.profiles import Profile, shipped_profiles
from collectors.snmp.settings import Polling, SnmpSettings, Target
from domain.batch import Batch, Sink
from domain.errors import HallwatchError, brief
from domain.points import PointRegistry

if TYPE_CHECKING:
    from collectors.snmp.traps import TrapReceiver

log = structlog.get_logger(__name__)

GATHER = 0.1
"""Seconds over which batches of several devices are joined before they go to the sink."""
EXTRA_POLL_EVERY = 5.0
"""Seconds between two polls of one device that notifications cause; those meanwhile make one poll more."""
LOG_EVERY = 60.0
"""Seconds between two log lines on what is left out of one device; a device that goes or comes is told at once."""
MOST_TOLD = 10
"""Doubtful or corrected scales of one device that the counters tell."""
TRAPS_AGAIN = 60.0
"""Seconds after which a receiver of notifications that failed is started again."""
MOST_WAITING = 4096
"""Batches that may wait for the sink; then polls wait too, so that nothing is dropped."""


class SnmpCollector:
    """Polls the devices of its settings until it is cancelled.

    Parameters
    ----------
    settings
        Devices, credentials, pace.
    registry
        Where points are registered.
    sink
        Called with batches; one call at a time.
    profiles
        By name; those that come with Hallwatch by default.

    Notes
    -----
    Each device has one task and one session, and at most one request under way, so a sick one delays nobody. Polls
    spread over the interval by the device's id. A device that failed `breaker_after` times in a row is asked one
    object at growing intervals until it answers again.
    """

    def __init__(
        self,
        settings: SnmpSettings,
        registry: PointRegistry,
        sink: Sink,
        *,
        profiles: Mapping[str, Profile] | None = None,
    ) -> None:
        self._settings = settings
        self._registry = registry
        self._sink = sink
        self._profiles = profiles if profiles is not None else shipped_profiles()
        self._queue: asyncio.Queue[Batch] = asyncio.Queue(MOST_WAITING)
        self._lateness: deque[float] = deque(maxlen=2000)
        self._wake: dict[str, asyncio.Event] = {}
        self._rejected = 0
        self._extra_polls = self._coalesced = 0
        self.devices: dict[str, PolledDevice] = {t.id: self._device(t) for t in settings.targets}
        self._by_host: dict[str, list[str]] = {}
        for target in settings.targets:
            for name in {target.host, target.id}:
                self._by_host.setdefault(name, []).append(target.id)
        self.traps: TrapReceiver | None = None
        self._traps_failed = ""
        if settings.traps is not None:
            from collectors.snmp.traps import TrapReceiver  # pysnmp takes a second to load

            self.traps = TrapReceiver(settings.traps, self.poll_soon, self._by_host.__contains__)

    async def run(self) -> None:
        """Poll until cancelled."""
        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self._hand_over(), name="snmp sink")
                for device in self.devices.values():
                    self._wake[device.target.id] = asyncio.Event()
                    tasks.create_task(self._keep_polling(device), name=f"snmp {device.target.id}")
                if self.traps is not None:
                    tasks.create_task(self._keep_listening(self.traps), name="snmp traps")
        finally:
            for device in self.devices.values():
                device.client.close()

    def poll_soon(self, host: str) -> bool:
        """Poll the devices at this address now; return whether there are any."""
        found = self._by_host.get(host)
        if found is None:  # configured by name
            found = [d.target.id for d in self.devices.values() if d.client.address == host]
        for device_id in found:
            if device_id in self._wake:
                self._coalesced += self._wake[device_id].is_set()
                self._wake[device_id].set()
        return bool(found)

    def forget_lateness(self) -> None:
        """Begin the statistics of lateness anew."""
        self._lateness.clear()

    def stats(self) -> dict[str, Any]:
        """Return counters for the health page."""
        devices = self.devices.values()
        late = sorted(self._lateness)
        return {
            "devices": len(self.devices),
            "up": sum(d.state == 1 for d in devices),
            "points": sum(d.point_count for d in devices),
            "polls": sum(d.polls for d in devices),
            "readings": sum(d.readings for d in devices),
            "requests": sum(d.client.traffic.requests for d in devices),
            "timeouts": sum(d.client.traffic.timeouts for d in devices),
            "errors": sum(d.client.traffic.errors for d in devices),
            "rejected": self._rejected,
            "strays": sum(d.client.traffic.strays for d in devices),
            "unreadable": sum(d.client.traffic.unreadable for d in devices),
            "left_out": sum(d.left_out for d in devices),
            "notifications": self.traps.received if self.traps is not None else 0,
            "notifications_coalesced": self._coalesced,
            **({"traps": self.traps.stats()} if self.traps is not None else {}),
            "extra_polls": self._extra_polls,
            "waiting": self._queue.qsize(),
            "lateness_p99_s": late[int(0.99 * (len(late) - 1))] if late else 0.0,
            "down": {d.target.id: d.reason for d in devices if d.state != 1 and d.polls},
            "partly": {d.target.id: d.reason for d in devices if d.state == 1 and d.reason},
            "doubts": {d.target.id: list(d.doubts[:MOST_TOLD]) for d in devices if d.doubts},
            "corrections": {d.target.id: list(d.corrections[:MOST_TOLD]) for d in devices if d.corrections},
            **({"traps_failed": self._traps_failed} if self._traps_failed else {}),
        }

    def _device(self, target: Target) -> PolledDevice:
        polling = target.polling or self._settings.polling
        secrets = (target.credentials or self._settings.credentials).secrets()
        client = PatientClient(
            target.host,
            target.port,
            secrets,
            timeout=polling.timeout,
            retries=polling.retries,
            max_varbinds=polling.max_varbinds,
            any_address=target.any_address,
        )
        return PolledDevice(target, polling, client, self._registry, self._profiles)

    async def _keep_polling(self, device: PolledDevice) -> None:
        polling, wake = device.polling, self._wake[device.target.id]
        due = time.monotonic() + polling.interval * first_offset(device.target.id)
        extra_from, told = 0.0, -LOG_EVERY
        while True:
            woken = await _sleep_until(due, wake, extra_from)
            if woken:
                self._extra_polls += 1
                extra_from = time.monotonic() + EXTRA_POLL_EVERY
            else:
                self._lateness.append(time.monotonic() - due)
            was, reason = device.state, device.reason
            if device.failures >= polling.breaker_after and not await self._knock(device):
                await self._queue.put(device.health())
                due = time.monotonic() + breaker_wait(device.failures, polling)
                continue
            await self._queue.put(await self._poll(device))
            changed = device.reason != reason and device.state == 1 and time.monotonic() - told > LOG_EVERY
            if device.state != was or changed:
                told = time.monotonic()
                log.info("device", id=device.target.id, up=device.state == 1, reason=device.reason[:500])
            # Slots that were missed are skipped, not made up for.
            due = max(due + polling.interval, time.monotonic()) if not woken else due

    async def _poll(self, device: PolledDevice) -> Batch:
        try:
            return await device.poll()
        except Exception as error:  # whatever one device sends must not stop the others
            self._internal(device, "poll failed", error)
            return device.health()

    async def _knock(self, device: PolledDevice) -> bool:
        try:
            return await device.knock()
        except Exception as error:  # as above
            self._internal(device, "knock failed", error)
            return False

    @staticmethod
    def _internal(device: PolledDevice, what: str, error: Exception) -> None:
        """Note a fault of ours, with its traceback once."""
        reason = f"internal error: {brief(error, 300)}"
        if device.reason != reason:
            log.error(what, id=device.target.id, exc_info=error)
        device.fail(reason)

    async def _keep_listening(self, traps: TrapReceiver) -> None:
        """Hear notifications; a port that cannot be had stops no polling."""
        while True:
            try:
                await traps.run()
            except Exception as error:
                self._traps_failed = str(error)[:300]
                log.exception("notifications are not heard", error=self._traps_failed, again_in_s=TRAPS_AGAIN)
            await asyncio.sleep(TRAPS_AGAIN)
            self._traps_failed = ""

    async def _hand_over(self) -> None:
        while True:
            batches = [await self._queue.get()]
            await asyncio.sleep(GATHER)
            while not self._queue.empty():
                batches.append(self._queue.get_nowait())
            batch = Batch.concat(batches)
            wait = 0.5
            while True:
                try:
                    await self._sink(batch)
                    break
                except Exception as error:  # whatever it is, the next readings go on
                    if not (isinstance(error, HallwatchError) and error.retryable):
                        self._rejected += len(batch)
                        log.error("readings rejected", count=len(batch), error=brief(error, 300))
                        break
                    log.warning("sink not ready", error=str(error), again_in_s=wait)
                    await asyncio.sleep(wait)
                    wait = min(2 * wait, 30.0)


def first_offset(device_id: str) -> float:
    """Return where in the interval a device is polled, 0 to 1, the same at each start."""
    return zlib.crc32(device_id.encode()) / 2**32


def breaker_wait(failures: int, polling: Polling, chance: Callable[[], float] = random.random) -> float:
    """Return the seconds to the next knock at a device that failed so often in a row."""
    steps = min(failures - polling.breaker_after, 16)
    return float(min(polling.interval * 2.0**steps, polling.breaker_longest) * (0.9 + 0.2 * chance()))


async def _sleep_until(due: float, wake: asyncio.Event, wake_from: float = 0.0) -> bool:
    """Sleep until `due`, or until `wake` is set, which counts from `wake_from` only; return whether it was."""
    early = min(wake_from, due) - time.monotonic()
    if early > 0:
        await asyncio.sleep(early)
    try:
        async with asyncio.timeout(max(0.0, due - time.monotonic())):
            await wake.wait()
    except TimeoutError:
        return False
    wake.clear()
    return True
