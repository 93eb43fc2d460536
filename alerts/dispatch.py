"""Telling people: what is still to be told, the worst first, until it is told.

Sending waits for no writing: what was sent is remembered here until it can be noted in the records, and what could not
be written down at all (`queue_early`) is sent all the same. A receiver that stalls holds up nothing but its own message.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import math
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import TypeVar

import structlog

from alerts.composing import Composer
from alerts.notify.message import Notification, Notifier
from alerts.notify.retry import GIVE_UP_MS, LONGEST_PAUSE_MS, pause_ms
from alerts.routing import Wanted
from alerts.settings import Fallback
from domain.alert import Alert, Severity
from domain.errors import HallwatchError, NotificationError
from storage.delivery_records import Delivery, DeliveryStatus, Event
from storage.records import Records

log = structlog.get_logger(__name__)

T = TypeVar("T")
Due = tuple[Delivery, Alert]

LONGEST_S = 60.0
"""One attempt to deliver takes this long at most, whatever the channel and the receiver do."""
AT_ONCE = {True: 4, False: 2}
"""Messages under way on one channel: critical ones, and others apart from them."""
LOOK_S = 1.0
PATIENCE_S = 0.5
"""How long a look waits for the records to say what is due."""
DRAIN_S = 3.0
LATE_S = 10.0
"""Telling does not work while no look for what is due has ended for so long."""
NOBODY_S = 300.0
"""Nor while every channel that was tried fails, and one has for so long."""


@dataclass(frozen=True, slots=True)
class _Note:
    """What became of a delivery and is still to be written down."""

    status: DeliveryStatus
    attempts: int
    detail: str
    not_before: int = 0


@dataclass(frozen=True, slots=True)
class _Retry:
    """A delivery that failed for now: how often, when it may be tried again (UTC ms), and in which company.

    `asked` says that the receiver named the pause itself.
    """

    channel: str
    attempts: int
    not_before: int
    company: frozenset[int]
    asked: bool


@dataclass(frozen=True, slots=True)
class _Sending:
    """A message under way: on which channel, whether it is critical, its deliveries, and the keys of its alerts."""

    channel: str
    critical: bool
    numbers: frozenset[int]
    alerts: frozenset[str]


class Dispatcher:
    """Delivers what is queued. A delivery is at least once: a crash after sending and before noting repeats it.

    Parameters
    ----------
    records, notifiers
        The queue, and the channels by name.
    composer
        Says what a message tells.
    clock
        UTC ms.
    fallbacks
        Who is told instead, by channel.
    addressed
        Makes a message that of its recipient, by the name of the delivery.
    quiet
        Whether nothing of a severity may be delivered now, by the name of the delivery and UTC ms.
    """

    def __init__(
        self,
        records: Records,
        notifiers: Mapping[str, Notifier],
        composer: Composer,
        clock: Callable[[], int],
        fallbacks: Mapping[str, Fallback],
        addressed: Callable[[str, Notification], Notification],
        quiet: Callable[[str, Severity, int], bool],
    ) -> None:
        self._records = records
        self._notifiers = notifiers
        self._composer = composer
        self._clock = clock
        self._fallbacks = fallbacks
        self._addressed = addressed
        self._quiet = quiet
        # a write may wait for a lock; looking for what is due must not wait with it
        self._reader = ThreadPoolExecutor(1, thread_name_prefix="alerts-due")
        self._writer = ThreadPoolExecutor(1, thread_name_prefix="alerts-noted")
        self._wake = asyncio.Event()
        self._sending: dict[asyncio.Task[None], _Sending] = {}
        self._noting: asyncio.Task[None] | None = None
        self._asking: asyncio.Task[list[Due]] | None = None
        self._unnoted: dict[int, _Note] = {}
        self._settled: set[int] = set()
        self._retries: dict[int, _Retry] = {}
        self._early: dict[int, Due] = {}  # below 0: the records do not know them
        self._newest_early: dict[tuple[str, str], int] = {}  # key of the alert and channel
        self._numbers = itertools.count(-1, -1)
        self._told_early: dict[tuple[str, str], None] = {}  # key of the alert and channel
        self._failing: dict[str, float] = {}  # channel -> since when it takes nothing, by the monotonic clock
        self._handed: set[int] = set()  # deliveries that a fallback has too
        self._handing: dict[int, list[Wanted]] = {}  # what of them is still to be written down
        self._working: set[str] = set()  # channels that took what they were given last
        self._looked = -math.inf
        self.counters: Counter[str] = Counter()

    async def run(self) -> None:
        """Deliver until cancelled; what is under way then is given a moment to end."""
        retiring = asyncio.create_task(self.retire())
        try:
            while True:
                try:
                    await self.deliver()
                except HallwatchError as error:
                    self.counters["looks_failed"] += 1
                    log.error("what is to be told cannot be read", error=str(error))
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(LOOK_S):
                        await self._wake.wait()
                self._wake.clear()
        finally:
            retiring.cancel()
            if self._asking is not None:
                self._asking.cancel()
            await self.drain(DRAIN_S)
            self._reader.shutdown(wait=False)
            self._composer.close()
            self._writer.shutdown(wait=False)

    def wake(self) -> None:
        """Look at once for what is to be told."""
        self._wake.set()

    async def deliver(self) -> None:
        """Begin to send what is due now, the worst first; what has no room waits for the next look."""
        self._note()
        now = self._clock()
        due = self._audible([*await self._known_due(now), *self._early.values()], now)
        self._fall_back(due)
        for (channel, _), group in _by_urgency(self._grouped(due, now)):
            critical = _critical(group)
            under_way = sum((channel, critical) == (s.channel, s.critical) for s in self._sending.values())
            if under_way < AT_ONCE[critical]:
                task = asyncio.create_task(self._send(channel, group))
                numbers, keys = (
                    frozenset(d.id for d, _ in group),
                    frozenset(a.condition.key for _, a in group),
                )
                self._sending[task] = _Sending(channel, critical, numbers, keys)
                task.add_done_callback(self._ended)
        self._looked = time.monotonic()

    async def deliver_all(self) -> None:
        """Send what is due now and wait until it has ended, however long the records take to say what that is."""
        await self.deliver()
        while self._asking is not None:
            await asyncio.wait({self._asking})
            await self.deliver()
        await self.drain()

    async def drain(self, seconds: float | None = None) -> None:
        """Wait until what is under way has ended and is noted, `seconds` at most."""
        waiting = {*self._sending}
        if waiting:
            _, late = await asyncio.wait(waiting, timeout=seconds)
            for task in late:
                task.cancel()
        self._note()
        if self._noting is not None:
            await asyncio.wait({self._noting}, timeout=seconds)

    def queue_early(self, alert: Alert, event: Event, channels: Iterable[str]) -> None:
        """Tell of an alert that cannot be written down now; once it can, it is not told again.

        What still waits of the alert is superseded: one page a channel waits at most. What ends before anybody was
        tried to be told is not told at all.
        """
        now = self._clock()
        for channel in channels:
            place = (alert.condition.key, channel)
            before = self._newest_early.get(place)
            under_way = any(before in s.numbers for s in self._sending.values())
            if before is not None and not under_way:
                del self._early[before], self._newest_early[place]
                tried = self._retries.pop(before, None) is not None
                if event is Event.CLEARED and not tried:
                    continue
            number = next(self._numbers)
            delivery = Delivery(number, 0, event, channel, DeliveryStatus.PENDING, now, now, 0, 0, "")
            self._early[number] = (delivery, replace(alert, id=0))
            self._newest_early[place] = number
        self.counters["early"] += 1
        self._wake.set()

    def forget_early(self, keys: Iterable[str]) -> None:
        """Forget which of these alerts were told early: they are over."""
        gone = set(keys)
        self._told_early = {told: None for told in self._told_early if told[0] not in gone}

    def was_told(self, key: str, channel: str) -> bool:
        """Return whether a channel took what was told early of an alert, by its key."""
        return (key, channel) in self._told_early

    async def retire(self) -> None:
        """Give up what waits for channels that are not configured any more."""
        detail = "its channel is not configured any more"
        give_up = self._records.give_up_deliveries
        try:
            pages = await self._in(self._writer, give_up, list(self._notifiers), self._clock(), detail)
        except HallwatchError as error:
            log.error("pages for channels that are gone cannot be given up now", error=str(error))
            return
        if pages:
            self.counters[DeliveryStatus.FAILED.value] += pages
            log.error("channels are gone, their pages are given up", pages=pages)

    def unwell(self) -> str:
        """Return why nobody would be told now; an empty text while somebody would."""
        now = time.monotonic()
        if now - self._looked > LATE_S:
            return "nobody looks for what is to be told"
        if not self._working and now - min(self._failing.values(), default=math.inf) > NOBODY_S:
            return f"nobody can be told: {', '.join(sorted(self._failing))}"
        return ""

    def stats(self) -> dict[str, int]:
        """Return counters for the health page."""
        return {
            **self.counters,
            "channels_failing": len(self._failing),
            "under_way": len(self._sending),
            "waiting_again": len(self._retries),
            "waiting_early": len(self._early),
            "unnoted": len(self._unnoted),
        }

    # --- what is due ------------------------------------------------------------------------------------------

    async def _known_due(self, now: int) -> list[Due]:
        """Return what the records say is due; nothing while they take long to say: what is told early does not wait."""
        if self._asking is None:
            self._asking = asyncio.create_task(self._due(now))
        asked = self._asking
        await asyncio.wait({asked}, timeout=PATIENCE_S)
        if not asked.done():
            return []
        self._asking = None
        return [due for due in asked.result() if due[0].id not in self._settled]

    async def _due(self, now: int) -> list[Due]:
        # what is settled while the records are read is in the answer still
        noted = self._settled - self._unnoted.keys()
        due = await self._in(self._reader, self._known, now)
        settled = set(self._settled)
        self._settled -= noted
        under_way = {(a.condition.key, d.channel) for d, a in self._early.values() if d.event is Event.OPENED}
        found: list[Due] = []
        for delivery, alert in due:
            place = (alert.condition.key, delivery.channel)
            if delivery.id in settled:
                continue
            if delivery.event is Event.OPENED and place in self._told_early:
                detail = "told before it could be written down"
                self._settle([delivery.id], _Note(DeliveryStatus.DELIVERED, 0, detail))
            elif delivery.event is not Event.OPENED or place not in under_way:
                found.append((delivery, alert))
        return found

    def _known(self, now: int) -> list[Due]:
        # asked for once: every person of a site may have channels of their own
        channels = self._records.channels_due(now + LONGEST_PAUSE_MS)
        return [
            due
            for channel in self._notifiers
            if channel in channels
            # what waited for a receiver that is back was put off in the records further than it has to wait now
            for due in self._records.due_deliveries(
                now + LONGEST_PAUSE_MS * (channel in self._working), channel
            )
        ]

    def _grouped(self, due: Sequence[Due], now: int) -> dict[tuple[str, str], list[Due]]:
        """Return messages: what was tried together stays together, so that its id and content stay the same."""
        # what came of an alert next is told after what is under way: no receiver is to hear of the end first
        sending = {(s.channel, key) for s in self._sending.values() for key in s.alerts}
        groups: dict[tuple[str, str], list[Due]] = defaultdict(list)
        for delivery, alert in due:
            retry = self._retries.get(delivery.id)
            place = (delivery.channel, alert.condition.key)
            if place in sending or (delivery if retry is None else retry).not_before > now:
                continue
            together = f"{alert.condition.rule} {delivery.event} {alert.condition.severity}"
            if retry is not None:
                together = f"again {max(retry.company)}"
            groups[delivery.channel, together].append((delivery, alert))
        return {
            (channel, f"{together} {first}"): group[first : first + most]
            for (channel, together), group in groups.items()
            for most in (self._notifiers[channel].most,)
            for first in range(0, len(group), most)
        }

    def _audible(self, due: Sequence[Due], now: int) -> list[Due]:
        """Return what may be told now: the rest, such as that something is over, waits for the end of quiet hours."""
        kinds = {(delivery.channel, alert.condition.severity) for delivery, alert in due}
        quiet = {kind for kind in kinds if self._quiet(*kind, now)}
        return [(d, alert) for d, alert in due if (d.channel, alert.condition.severity) not in quiet]

    # --- falling back -----------------------------------------------------------------------------------------

    def _fall_back(self, due: Sequence[Due]) -> None:
        """Hand what is due on a channel that has taken nothing for long to the one that stands in for it."""
        now = time.monotonic()
        for delivery, alert in due:
            fallback, since = self._fallbacks.get(delivery.channel), self._failing.get(delivery.channel)
            if fallback is not None and since is not None and now - since >= fallback.after:
                self._hand_over(delivery, alert, fallback)

    def _hand_over(self, delivery: Delivery, alert: Alert, fallback: Fallback) -> None:
        if delivery.id in self._handed:
            return
        self._handed.add(delivery.id)
        self.counters["fallbacks"] += 1
        log.error("a fallback is told", channel=delivery.channel, alert=alert.condition.key)
        if delivery.id < 0:
            self.queue_early(alert, delivery.event, fallback.targets)
            return
        now = self._clock()
        self._handing[delivery.id] = [(alert.id, delivery.event, target, now) for target in fallback.targets]
        self._note()

    # --- sending ----------------------------------------------------------------------------------------------

    async def _send(self, channel: str, group: Sequence[Due]) -> None:
        try:
            async with asyncio.timeout(LONGEST_S):
                notifier = self._notifiers[channel]
                page = self._addressed(channel, self._composer.message(group, self._company(group)))
                remark = await notifier.send(await self._composer.with_trends(page, notifier.trends))
        except NotificationError as error:
            if error.content and len(group) > 1:  # one odd alert costs itself alone
                error = NotificationError(str(error), retryable=True)
                self._not_delivered(channel, group, error, alone=True)
            else:
                self._not_delivered(channel, group, error)
        except TimeoutError:
            stalled = NotificationError(f"not delivered within {LONGEST_S:g} s", retryable=True)
            self._not_delivered(channel, group, stalled)
        except (
            Exception
        ) as error:  # a fault in one channel, or of one alert in a message, must not silence others
            log.exception("a channel broke", channel=channel)
            broken = NotificationError(f"{type(error).__name__}: {error}", retryable=True)
            self._not_delivered(channel, group, broken, alone=True)
        else:
            if self._failing.pop(channel, None) is not None:
                self._hasten(channel)
            self._working.add(channel)
            self._settle([d.id for d, _ in group], _Note(DeliveryStatus.DELIVERED, 1, remark))
            log.info("told", channel=channel, alerts=len(group), remark=remark)

    def _not_delivered(
        self, channel: str, group: Sequence[Due], error: NotificationError, alone: bool = False
    ) -> None:
        self._failing.setdefault(channel, time.monotonic())
        self._working.discard(channel)
        now = self._clock()
        over = [d.id for d, _ in group if not error.retryable or now - d.created > GIVE_UP_MS]
        again = [d for d, _ in group if d.id not in set(over)]
        log.error("not told", channel=channel, error=str(error), given_up=len(over), again=len(again))
        fallback = self._fallbacks.get(channel)
        if fallback is not None:
            for delivery, alert in group:
                if delivery.id in over:
                    self._hand_over(delivery, alert, fallback)
        if over:
            self._settle(over, _Note(DeliveryStatus.FAILED, 1, str(error)))
        company = frozenset(d.id for d, _ in group)
        for delivery in again:
            before = self._retries.get(delivery.id)
            attempts = (delivery.attempts if before is None else before.attempts) + 1
            not_before = now + pause_ms(attempts, error.retry_after)
            with_whom = frozenset({delivery.id}) if alone else company
            asked = error.retry_after is not None
            self._retries[delivery.id] = _Retry(channel, attempts, not_before, with_whom, asked)
            self.counters["postponed"] += 1
            if delivery.id > 0:
                self._unnoted[delivery.id] = _Note(DeliveryStatus.PENDING, 1, str(error), not_before)

    def _hasten(self, channel: str) -> None:
        """Let what waits for a receiver that is back go now, the worst first, but for pauses that it asked for."""
        now = self._clock()
        for number, retry in self._retries.items():
            if retry.channel == channel and not retry.asked:
                self._retries[number] = replace(retry, not_before=min(retry.not_before, now))

    def _company(self, group: Sequence[Due]) -> frozenset[int]:
        """Return the numbers of those that were in the message when it was tried first, some of which may be settled since."""
        first = min((delivery.id for delivery, _ in group), key=abs)
        retry = self._retries.get(first)
        return frozenset(d.id for d, _ in group) if retry is None else retry.company

    def _ended(self, task: asyncio.Task[None]) -> None:
        del self._sending[task]
        self._wake.set()

    # --- noting -----------------------------------------------------------------------------------------------

    def _settle(self, ids: Sequence[int], note: _Note) -> None:
        self.counters[note.status.value] += len(ids)
        for number in ids:
            self._retries.pop(number, None)
            self._handed.discard(number)
            if number > 0:
                self._unnoted[number] = note
                self._settled.add(number)
            else:
                delivery, alert = self._early.pop(number)
                place = (alert.condition.key, delivery.channel)
                if self._newest_early.get(place) == number:
                    del self._newest_early[place]
                if note.status is DeliveryStatus.DELIVERED and delivery.event is Event.OPENED:
                    self._told_early[place] = None
        self._note()

    def _note(self) -> None:
        """Begin to write down what became of deliveries; one writing at a time."""
        if (self._unnoted or self._handing) and self._noting is None:
            self._noting = asyncio.create_task(self._write_down())

    async def _write_down(self) -> None:
        try:
            while self._unnoted or self._handing:
                notes, handing = dict(self._unnoted), dict(self._handing)
                try:
                    await self._in(self._writer, self._written, notes, handing)
                except HallwatchError as error:
                    self.counters["notes_failed"] += 1
                    log.error("what was told cannot be noted, it is kept", notes=len(notes), error=str(error))
                    return
                self._unnoted = {n: note for n, note in self._unnoted.items() if notes.get(n) is not note}
                self._handing = {n: to for n, to in self._handing.items() if handing.get(n) is not to}
                if handing:
                    self._wake.set()
        finally:
            self._noting = None

    def _written(self, notes: Mapping[int, _Note], handing: Mapping[int, list[Wanted]]) -> None:
        # a fallback is queued before its channel is given up: a crash between tells twice, not nobody
        for wanted in handing.values():
            self._records.queue_deliveries(wanted, self._clock())
        alike: dict[_Note, list[int]] = defaultdict(list)
        for number, note in notes.items():
            alike[note].append(number)
        for note, ids in alike.items():
            if note.status is DeliveryStatus.PENDING:
                self._records.postpone_deliveries(ids, note.not_before, note.attempts, note.detail)
            else:
                self._records.finish_deliveries(ids, note.status, self._clock(), note.attempts, note.detail)

    @staticmethod
    async def _in(executor: ThreadPoolExecutor, call: Callable[..., T], *arguments: object) -> T:
        return await asyncio.get_running_loop().run_in_executor(executor, call, *arguments)


def _critical(group: Sequence[Due]) -> bool:
    return any(alert.condition.severity is Severity.CRITICAL for _, alert in group)


def _by_urgency(groups: Mapping[tuple[str, str], list[Due]]) -> list[tuple[tuple[str, str], list[Due]]]:
    """Return messages, the most severe first, the oldest first among equals."""
    return sorted(
        groups.items(),
        key=lambda item: (
            -max(alert.condition.severity.rank for _, alert in item[1]),
            min(delivery.created for delivery, _ in item[1]),
        ),
    )
