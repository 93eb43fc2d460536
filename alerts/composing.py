"""What a message says of alerts: what is known around them, what to do first, how their quantities went."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Callable, Collection, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import structlog

from alerts.notify.facts import Facts, Trend
from alerts.notify.message import Notice, Notification
from alerts.runbooks import Runbooks
from domain.alert import Alert
from domain.languages import LANGUAGES
from domain.site import Site
from storage.delivery_records import Delivery, Event

log = structlog.get_logger(__name__)

TREND_S = 1.0
"""How long a page waits for how its quantity went."""
LOOKERS = 3
"""Threads that look for it."""
MOST_LOOKS = 12
"""Looks under way; beyond that a page goes without a picture."""


class Composer:
    """Puts messages together; only trends are waited for, and not for long.

    Parameters
    ----------
    site
        Whose alerts they are.
    clock
        UTC ms.
    advice
        What to do first, by rule name, where the rule says it itself.
    console_url
        For links in messages.
    facts
        What is known about the surroundings of an alert; answers from memory, at once.
    runbooks
        What to do first, where a rule does not say it itself.
    trend
        How the quantity behind an alert went, at a time (UTC ms); it may take long, or fail.
    """

    def __init__(
        self,
        site: Site,
        clock: Callable[[], int],
        advice: Mapping[str, str],
        console_url: str,
        facts: Callable[[Alert], Facts],
        runbooks: Runbooks,
        trend: Callable[[Alert, int], Trend | None],
    ) -> None:
        self._site = site
        self._clock = clock
        self._advice = advice
        self._console_url = console_url
        self._facts = facts
        self._runbooks = runbooks
        self._trend = trend
        self._looker = ThreadPoolExecutor(LOOKERS, thread_name_prefix="alerts-trend")
        self._looking: set[asyncio.Future[Trend | None]] = set()

    def message(self, group: Sequence[tuple[Delivery, Alert]], company: Collection[int]) -> Notification:
        """Return the message of deliveries; its number is the same again for what is tried again in the same company."""
        deliveries = [delivery for delivery, _ in group]
        first = min(deliveries, key=lambda d: abs(d.id))
        # when it was queued, too: an event that comes again has the number that it had before
        queued = {d.created for d in deliveries}
        early = "".join(sorted(a.condition.key for d, a in group if d.id < 0))
        digest = hashlib.sha256(f"{sorted(company)} {min(queued)} {early}".encode()).hexdigest()[:16]
        # an event that comes again has the number of the one before, but another time
        notices = [
            self.notice(d.event, alert, f"{d.id}-{d.created}" if d.id > 0 else "") for d, alert in group
        ]
        return self.page(f"{self._site.id}-{max(first.id, 0)}-{digest}", notices)

    def notice(self, event: Event, alert: Alert, delivery: str = "") -> Notice:
        """Return what there is to tell of one alert, from memory."""
        rule = alert.condition.rule
        found = {language: self._runbooks.find(rule, language) for language in LANGUAGES}
        runbooks = {language: runbook for language, runbook in found.items() if runbook is not None}
        return Notice(event, alert, self._advice.get(rule, ""), delivery, self._facts(alert), runbooks)

    def page(self, number: str, notices: Sequence[Notice]) -> Notification:
        """Return a message of our site."""
        site = self._site
        return Notification(number, site.id, site.name, site.zone, tuple(notices), self._console_url)

    async def with_trends(self, page: Notification, most: int) -> Notification:
        """Return a message with the trends of its first alerts, `most` at most, those that come within `TREND_S`."""
        wanted = [n for n in page.notices[:most] if not n.over]
        if not wanted or len(self._looking) >= MOST_LOOKS:  # a store that hangs holds up no second page
            return page
        loop, now = asyncio.get_running_loop(), self._clock()
        looks: dict[str, asyncio.Future[Trend | None]] = {}
        for notice in wanted:
            look = loop.run_in_executor(self._looker, self._trend, notice.alert, now)
            self._looking.add(look)
            look.add_done_callback(self._looking.discard)
            looks[notice.alert.condition.key] = look
        await asyncio.wait(looks.values(), timeout=TREND_S)
        found = {key: trend for key, look in looks.items() if (trend := _result(look)) is not None}
        return replace(page, notices=tuple(_seen(n, found.get(n.alert.condition.key)) for n in page.notices))

    def close(self) -> None:
        """Look for no further trends."""
        self._looker.shutdown(wait=False, cancel_futures=True)


def _seen(notice: Notice, trend: Trend | None) -> Notice:
    return notice if trend is None else replace(notice, facts=replace(notice.facts, trend=trend))


def _result(look: asyncio.Future[Trend | None]) -> Trend | None:
    if not look.done() or look.cancelled():
        return None
    if look.exception() is not None:
        log.warning("a page goes without a picture", error=str(look.exception()))
        return None
    return look.result()
