"""Telling people: what the records say is still to be told, channel by channel, until it is told."""

from __future__ import annotations

import asyncio
import hashlib
from collections import Counter, defaultdict
from collections.abc import Awaitable, Callable, Mapping, Sequence

import structlog
from tenacity import (
    AsyncRetrying,
    retry_if_exception,
    stop_after_attempt,
    wait_exponential_jitter,
)

from alerts.notify.message import Notice, Notification, Notifier
from domain.alert import Alert
from domain.errors import NotificationError
from domain.site import Site
from storage.alert_records import Delivery, DeliveryStatus
from storage.records import Records

log = structlog.get_logger(__name__)

Due = tuple[Delivery, Alert]

ATTEMPTS = 4
"""Attempts in a row before a delivery waits for a longer while."""
POSTPONE_MS = 60_000
FOREVER_MS = 2**62
GIVE_UP_MS = 24 * 3600 * 1000
"""A page that nobody could be given for a day is given up, and counted."""


class Dispatcher:
    """Delivers what is queued. A delivery is at least once: a crash after sending and before noting repeats it.

    Parameters
    ----------
    records, notifiers, site
        The queue, the channels by name, and whose alerts they are.
    clock
        UTC ms.
    advice
        What to do first, by rule name.
    console_url
        For links in messages.
    pause
        How to wait between attempts, seconds.
    """

    def __init__(
        self,
        records: Records,
        notifiers: Mapping[str, Notifier],
        site: Site,
        clock: Callable[[], int],
        advice: Mapping[str, str],
        console_url: str = "",
        pause: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._records = records
        self._notifiers = notifiers
        self._site = site
        self._clock = clock
        self._advice = advice
        self._console_url = console_url
        self._pause = pause
        self.counters: Counter[str] = Counter()

    async def deliver(self, channel: str | None = None) -> None:
        """Send what is due now, on one channel or on all at once; a channel that fails holds up no other."""
        due = await asyncio.to_thread(self._records.due_deliveries, self._clock())
        by_channel: dict[str, list[Due]] = defaultdict(list)
        for delivery, alert in due:
            if channel in (None, delivery.channel) and delivery.channel in self._notifiers:
                by_channel[delivery.channel].append((delivery, alert))
        async with asyncio.TaskGroup() as group:
            for name, waiting in by_channel.items():
                group.create_task(self._deliver_channel(name, waiting))

    async def retire(self) -> None:
        """Give up what waits for channels that are not configured any more."""
        waiting = await asyncio.to_thread(self._records.due_deliveries, FOREVER_MS)
        orphans = [d.id for d, _ in waiting if d.channel not in self._notifiers]
        if orphans:
            log.error("channels are gone, their pages are given up", pages=len(orphans))
            await self._finish(orphans, DeliveryStatus.FAILED, 0, "its channel is not configured any more")

    async def _deliver_channel(self, channel: str, waiting: Sequence[Due]) -> None:
        by_subject: dict[tuple[str, str], list[Due]] = defaultdict(list)
        for delivery, alert in waiting:
            by_subject[alert.condition.rule, delivery.event.value].append((delivery, alert))
        for together in by_subject.values():
            await self._send(channel, together)

    async def _send(self, channel: str, together: Sequence[Due]) -> None:
        ids = [delivery.id for delivery, _ in together]
        notifier = self._notifiers[channel]
        notification = self._notification(ids, together)
        attempts = 0
        try:
            async for attempt in AsyncRetrying(
                sleep=self._pause,
                stop=stop_after_attempt(ATTEMPTS),
                wait=wait_exponential_jitter(initial=1, max=20),
                retry=retry_if_exception(lambda e: isinstance(e, NotificationError) and e.retryable),
                reraise=True,
            ):
                with attempt:
                    attempts += 1
                    remark = await notifier.send(notification)
        except NotificationError as error:
            await self._not_delivered(channel, together, attempts, error)
            return
        except Exception as error:  # a fault in one channel must not silence the others
            log.exception("a channel broke", channel=channel)
            broken = NotificationError(f"{type(error).__name__}: {error}", retryable=True)
            await self._not_delivered(channel, together, attempts, broken)
            return
        await self._finish(ids, DeliveryStatus.DELIVERED, attempts, remark)
        log.info("told", channel=channel, alerts=len(ids), remark=remark)

    async def _not_delivered(
        self, channel: str, together: Sequence[Due], attempts: int, error: NotificationError
    ) -> None:
        now = self._clock()
        late = [d.id for d, _ in together if not error.retryable or now - d.created > GIVE_UP_MS]
        later = [d.id for d, _ in together if d.id not in set(late)]
        log.error("not told", channel=channel, error=str(error), given_up=len(late), again=len(later))
        if late:
            await self._finish(late, DeliveryStatus.FAILED, attempts, str(error))
        if later:
            self.counters["postponed"] += len(later)
            await asyncio.to_thread(
                self._records.postpone_deliveries, later, now + POSTPONE_MS, attempts, str(error)
            )

    async def _finish(self, ids: Sequence[int], status: DeliveryStatus, attempts: int, detail: str) -> None:
        self.counters[status.value] += len(ids)
        await asyncio.to_thread(self._records.finish_deliveries, ids, status, self._clock(), attempts, detail)

    def _notification(self, ids: Sequence[int], together: Sequence[Due]) -> Notification:
        digest = hashlib.sha256(",".join(map(str, sorted(ids))).encode()).hexdigest()[:16]
        return Notification(
            f"{self._site.id}-{min(ids)}-{digest}",
            self._site.id,
            self._site.name,
            self._site.zone,
            tuple(
                Notice(d.event, alert, self._advice.get(alert.condition.rule, ""), d.id)
                for d, alert in together
            ),
            self._console_url,
        )
