"""Telling receivers that forget what holds still, such as an Alertmanager that was started anew."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import structlog

from alerts.notify.message import Notice, Notification, Notifier, Reminded
from domain.alert import Alert
from domain.errors import HallwatchError
from storage.delivery_records import Event
from storage.records import Records

log = structlog.get_logger(__name__)

LONGEST_S = 60.0
AGAIN_S = 5.0
"""After one that was not taken the next is tried as soon."""


class Reminder:
    """Tells, for each channel that wants it, the alerts that it was told of and that are active still.

    Parameters
    ----------
    records
        Where alerts and what was told of them live.
    notifiers
        Channels by name; those that are `alerts.notify.message.Reminded` are told.
    page
        Makes a message of an id and notices.
    notice
        Makes a notice of an event and an alert.
    clock
        UTC ms.
    """

    def __init__(
        self,
        records: Records,
        notifiers: Mapping[str, Notifier],
        page: Callable[[str, Sequence[Notice]], Notification],
        notice: Callable[[Event, Alert], Notice],
        clock: Callable[[], int],
    ) -> None:
        self._records = records
        self._channels = {name: n for name, n in notifiers.items() if isinstance(n, Reminded)}
        self._page = page
        self._notice = notice
        self._clock = clock
        self.counters: Counter[str] = Counter()

    async def run(self) -> None:
        """Remind until cancelled."""
        if not self._channels:
            return
        reader = ThreadPoolExecutor(1, thread_name_prefix="alerts-standing")
        try:
            async with asyncio.TaskGroup() as group:
                for name, notifier in self._channels.items():
                    group.create_task(self._forever(name, notifier, reader))
        finally:
            reader.shutdown(wait=False)

    async def _forever(self, name: str, notifier: Reminded, reader: ThreadPoolExecutor) -> None:
        pause = 0.0
        while True:
            await asyncio.sleep(pause)
            pause = notifier.remind_every
            try:
                page = await asyncio.get_running_loop().run_in_executor(reader, self._standing, name)
                async with asyncio.timeout(LONGEST_S):
                    remark = await notifier.remind(page)
            except (HallwatchError, TimeoutError) as error:
                pause = min(pause, AGAIN_S)
                self.counters["failed"] += 1
                log.error("what holds cannot be told again now", channel=name, error=str(error))
            except Exception:  # a fault of ours in one round must not end the rounds
                self.counters["failed"] += 1
                log.exception("what holds could not be told again", channel=name)
            else:
                self.counters["told"] += 1
                if remark:
                    pause = min(pause, AGAIN_S)
                    self.counters["partly"] += 1
                    log.warning("what holds was told again in part", channel=name, remark=remark)

    def _standing(self, channel: str) -> Notification:
        """Return what holds as a message. Blocks."""
        now = self._clock()
        suppressed = self._records.suppressed_alerts()
        notices = []
        for alert in self._records.standing_alerts(channel):
            notice = self._notice(Event.OPENED, alert)
            covering = suppressed.get(alert.id)
            if covering is not None:
                facts = replace(notice.facts, silenced_until=covering.end, silenced_by=covering.who)
                notice = replace(notice, facts=facts)
            notices.append(notice)
        return self._page(f"standing-{channel}-{now}", notices)
