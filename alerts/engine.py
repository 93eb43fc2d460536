"""The alert engine: evaluates rules, opens and clears alerts, and sees to it that people are told.

What is open, acknowledged, told or still to be told lies in the records, so that a restart forgets nothing and
repeats nothing. In memory lies only since when conditions hold or are gone (`alerts.evaluation`).

All of it runs on an event loop of its own, with threads of its own: nothing that the rest of the service waits for
holds it up. Looking (`look`) needs memory only and has a thread for itself; writing down what was found (`keep`) has
another, and where that takes long or fails, what is new is told from memory meanwhile.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import math
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence, Set
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import structlog

from alerts.composing import Composer
from alerts.dispatch import Dispatcher
from alerts.evaluation import Evaluation, Look
from alerts.flapping import Flaps
from alerts.heartbeat import Heartbeat
from alerts.incidents.causes import Causes
from alerts.incidents.reach import Reach
from alerts.modes import Modes
from alerts.notify.message import Notifier
from alerts.oncall.addressing import Addressing, Link
from alerts.oncall.hand_over import LATE_MS, HandOvers
from alerts.remind import Reminder
from alerts.routing import Routing
from alerts.runbooks import Runbooks
from alerts.settings import AlertSettings
from alerts.suppressor import Suppressor
from alerts.surroundings import Surroundings
from alerts.trends import Trends
from alerts.view import View
from domain.alert import Alert, AlertState, Condition
from domain.batch import now_ms
from domain.errors import HallwatchError
from domain.said import Said, told
from storage.delivery_records import Event, Told
from storage.incident_records import Lead
from storage.records import Records

log = structlog.get_logger(__name__)

PATIENCE_S = 0.5
"""How long telling waits for a writing down that is under way, from its beginning."""
SOONEST_S = 0.25
"""A state that changes is looked at at once, but this long after the look before at the soonest."""
LATE_S = 10.0
"""Alerting does not work while no look has ended for so long, or for five intervals where that is more."""
UNWRITTEN_S = 300.0
"""Nor while nothing could be written down for so long: nobody is escalated to, and nothing clears."""
LOOK_CLOSED_MS = 60_000
"""Time between two looks for what returned long ago."""
REFRESH_MS = 30_000
"""Figures of an active alert are written to the records at most this often."""


class AlertEngine:
    """Alerts of one site.

    Parameters
    ----------
    rules
        The alerting configuration.
    view
        What rules look at.
    records
        Where alerts live.
    notifiers
        Channels by name.
    clock, monotonic
        UTC ms; seconds that nobody sets back.
    runbooks
        Of the site; those that ship, if none are given.
    link
        Makes the links by which people answer; None where nobody told the console's address.
    """

    def __init__(
        self,
        rules: AlertSettings,
        view: View,
        records: Records,
        notifiers: Mapping[str, Notifier],
        clock: Callable[[], int] = now_ms,
        monotonic: Callable[[], float] = time.monotonic,
        runbooks: Runbooks | None = None,
        link: Link | None = None,
    ) -> None:
        self.settings = rules
        self.counters: Counter[str] = Counter()
        by_name = {rule.name: rule for rule in rules.rules}
        runbooks = runbooks or Runbooks()
        runbooks.load(rule.name for rule in rules.rules)
        self._routing = Routing(rules, view.site.zone, view.topology, view.process_areas, monotonic)
        advice = {rule.name: rule.advice for rule in rules.rules}
        facts, trend = Surroundings(view, by_name).facts, Trends(view, by_name).of
        composer = Composer(view.site, clock, advice, rules.console_url, facts, runbooks, trend)
        addressed, quiet = Addressing(rules, link).addressed, self._routing.on_call.quiet
        self.dispatcher = Dispatcher(records, notifiers, composer, clock, rules.fallbacks(), addressed, quiet)
        self._reminder = Reminder(records, notifiers, composer.page, composer.notice, clock)
        self._view = view
        self._records = records
        self._clock = clock
        self.hand_overs = HandOvers(
            self._routing.on_call, records, self.dispatcher, self._routing.tells_what_is_no_alert, clock
        )
        self._causes = Causes(rules, Reach(view.site, view.topology))
        self._past: list[Lead] = []  # leads that cleared lately
        self._active: dict[str, Alert] | None = None  # as the records were when they were read last
        self._told: Mapping[int, Told] = {}
        self._suppressor = Suppressor(rules, view, records)
        self._flaps = Flaps(rules.flapping)
        self._evaluation = Evaluation(rules, view, self._causes.reach, self._flaps, self.counters)
        self.rules = self._evaluation.rules
        self._of_points = frozenset(rule.name for rule in rules.rules if rule.kind in ("limit", "state"))
        self._closed = -math.inf  # when what returned long ago was looked for, UTC ms
        self._early: dict[str, Alert] = {}  # what cannot be written down now; ids below 0
        self._early_channels: dict[str, set[str]] = {}
        self._numbers = itertools.count(-1, -1)
        self._changed = asyncio.Event()
        self._began = self._interval_s = self._longest_s = math.nan
        self._looked = self._written = -math.inf
        self._heartbeat = Heartbeat(rules.heartbeat, self.unwell) if rules.heartbeat else None

    async def run(self) -> None:
        """Evaluate and deliver until cancelled, on a loop in a thread of its own."""
        runner = asyncio.Runner()
        apart = runner.get_loop()
        thread = ThreadPoolExecutor(1, thread_name_prefix="alerts-loop")

        def work() -> None:
            with runner, contextlib.suppress(asyncio.CancelledError):
                runner.run(self._run())

        def stop() -> None:
            for task in asyncio.all_tasks(apart):
                task.cancel()

        working = asyncio.get_running_loop().run_in_executor(thread, work)
        try:
            await asyncio.shield(working)
        except asyncio.CancelledError:
            with contextlib.suppress(RuntimeError):  # it has ended by itself just now
                apart.call_soon_threadsafe(stop)
            await working
            raise
        finally:
            thread.shutdown(wait=False)

    async def _run(self) -> None:
        looking = ThreadPoolExecutor(1, thread_name_prefix="alerts")
        keeping = ThreadPoolExecutor(1, thread_name_prefix="alerts-kept")
        loop = asyncio.get_running_loop()

        def changed() -> None:
            with contextlib.suppress(RuntimeError):  # the loop has ended just now
                loop.call_soon_threadsafe(self._changed.set)

        try:
            self._view.on_change(changed)
            await loop.run_in_executor(looking, self._view.seed, self._clock())
            async with asyncio.TaskGroup() as group:
                group.create_task(self._evaluate_forever(looking, keeping))
                group.create_task(self.dispatcher.run())
                group.create_task(self.hand_overs.run())
                group.create_task(self._reminder.run())
                if self._heartbeat is not None:
                    group.create_task(self._heartbeat.run())
        finally:
            self._view.on_change(None)
            looking.shutdown(wait=False)
            keeping.shutdown(wait=False)

    def look(self, now: int) -> Look:
        """Evaluate every rule once, in memory; the records are read only the first time. Does not wait for anything else.

        Raises
        ------
        StorageError
            If the records cannot be read the first time.
        """
        if self._active is None:
            self._read(now)
        return self._evaluation.look(now, self._active or {}, self._early.copy())

    def keep(self, look: Look) -> None:
        """Bring the records up to date with what a look found, and queue what is to be told. Blocks.

        Raises
        ------
        StorageError
            If the records cannot be read or written now; nothing is lost, the next look finds it again.
        """
        active = {alert.condition.key: alert for alert in self._records.active_alerts()}
        taken = self._take_over(look, active)
        due = [c for c in look.due if c.key not in active and c.key not in taken]
        new = [self._flaps.opening(condition, look.now) for condition in due]
        opened = self._records.open_alerts(new, look.now) if new else []
        self._flaps.opened((alert.condition.key for alert in opened), look.now)
        for alert in opened:
            log.warning(
                "alert opened", id=alert.id, alert=alert.condition.key, summary=alert.condition.summary
            )
        self._update(look.found, active, look.now)
        gone = [active[alert.condition.key].id for alert in look.gone if alert.condition.key in active]
        cleared = self._records.return_alerts(gone, look.now) if gone else []
        self._flaps.over(alert.condition.key for alert in cleared)
        for alert in cleared:
            log.info("alert cleared", id=alert.id, alert=alert.condition.key)
        self.counters["ticks"] += 1
        self.counters["opened"] += len(opened)
        self.counters["cleared"] += len(cleared)
        self._tell(look.now, look.modes)
        self._close_returned(look.now)
        self._read(look.now)
        self._view.read()

    def unwell(self) -> str:
        """Return why alerts are not evaluated, kept or told now; an empty text while they are."""
        now = time.monotonic()
        if now - self._looked > max(LATE_S, 5 * self.settings.interval):
            return "alerts are not evaluated"
        if now - self._written > UNWRITTEN_S:
            return "alerts cannot be written down"
        return self.dispatcher.unwell()

    def interval(self) -> float:
        """Return the time between the last two looks, or since the last one where that is more, s; NaN before the first."""
        return max(self._interval_s, time.monotonic() - self._began)

    def stats(self) -> dict[str, Any]:
        """Return counters for the health page; `late` looks began over twice the interval after the one before."""
        return {
            "late": 0,
            **self.counters,
            **{f"notifications_{name}": n for name, n in self.dispatcher.stats().items()},
            **{f"reminders_{name}": n for name, n in self._reminder.counters.items()},
            "rules": len(self.rules),
            "pending": self._evaluation.pending,
            "flapping": len(self._flaps),
            "not_written_down": len(self._early),
            "evaluation_ms": self._evaluation.took_ms,
            "interval_s": self._interval_s,
            "longest_interval_s": self._longest_s,
            "heartbeat": None if self._heartbeat is None else self._heartbeat.stats(),
        }

    def _take_over(self, look: Look, active: dict[str, Alert]) -> set[str]:
        """Let active alerts become those of the rules that they foretold; return the keys of these."""
        changes: list[tuple[int, Condition]] = []
        for condition in look.due:
            rules = self._evaluation.takes_over.get(condition.rule, ())
            keys = [f"{rule}/{condition.object_id}" for rule in rules]
            before = next((key for key in keys if key in active), None)
            if condition.key not in active and before is not None:
                changes.append((active.pop(before).id, condition))
        for alert in self._records.take_over_alerts(changes, look.now) if changes else []:
            log.warning("what was foretold is there", id=alert.id, alert=alert.condition.key)
        return {condition.key for _, condition in changes}

    def _update(self, found: Mapping[str, Condition], active: Mapping[str, Alert], now: int) -> None:
        """Write new figures of active alerts: a new severity at once, the rest now and then."""
        changes: list[tuple[int, Condition]] = []
        for key, alert in active.items():
            condition = found.get(key)
            if condition is None or not condition.known:  # gone, or not known now
                condition = self._without(alert, condition)
                if condition is None:
                    continue
            condition = self._flaps.named(condition)
            worse = condition.severity != alert.condition.severity
            if worse or (now - alert.updated >= REFRESH_MS and condition != alert.condition):
                changes.append((alert.id, condition))
        if changes:
            self._records.update_alerts(changes, now)

    def _without(self, alert: Alert, unknown: Condition | None) -> Condition | None:
        """Return what is to be said of an alert that only a person can end, once; None for every other."""
        said, why = alert.condition.said, ""
        if alert.condition.rule not in self._evaluation.known:
            why = "no_such_rule"
        elif (
            unknown is not None
            and alert.condition.rule in self._of_points
            and not self._view.tells_of(alert.condition.object_id)
        ):
            why = "nothing_tells"
        if not why or told(Said.of(why, said="")) in alert.condition.summary:
            return None
        return replace(alert.condition, said=Said.of(why, said=said))

    def _tell(self, now: int, modes: Modes | None = None) -> None:
        self._routing.on_call.change(self._records.overrides(now - LATE_MS))
        alerts = self._records.active_alerts()
        suppressed = self._suppressor.keep(alerts, modes, now)
        if suppressed.resumed:  # they are open again
            alerts = self._records.active_alerts()
        explained = self._group(alerts, now)
        if alerts:
            told = self._records.told()
            quiet = self._quiet(alerts, explained, told, suppressed.alerts, now)
            progress = self._records.escalations()
            decided = self._routing.wanted(alerts, told, quiet, now, progress, suppressed.resumed)
            if decided.wanted or decided.progress:
                self._records.queue_deliveries(decided.wanted, now, decided.progress)
        self._suppressor.noted(suppressed, now)
        self._routing.forget({alert.id for alert in alerts})

    def _close_returned(self, now: int) -> None:
        """Close what returned long ago and nobody took."""
        if abs(now - self._closed) < LOOK_CLOSED_MS:
            return
        self._closed = now
        self._flaps.forget(now)
        note = f"nobody took it within {self.settings.returned_for / 3600:g} h"
        self._records.close_returned(now - int(self.settings.returned_for * 1000), now, note)

    def _group(self, alerts: Sequence[Alert], now: int) -> dict[int, int]:
        """Return which alerts are explained, by the id of what explains them, and keep it in the records."""
        if not self._causes.leading:
            return {}
        self._past = self._records.leads_since(now - self._causes.longest_ms)
        explained = self._causes.explained(alerts, self._past, now)
        leads = [alert.id for alert in alerts if alert.condition.rule in self._causes.leading]
        self.counters["incidents"] += self._records.keep_incidents(leads, explained, now)
        return explained

    def _quiet(
        self,
        alerts: Sequence[Alert],
        explained: Mapping[int, int],
        told: Mapping[int, Told],
        suppressed: Set[int],
        now: int,
    ) -> set[int]:
        """Return the ids of alerts that are not told now: kept quiet, explained by another, or new so that they may be.

        What is kept quiet hides nothing else: what it explains is told.
        """
        waiting = {a.id for a in alerts if a.id not in told and self._causes.waits(a, now)}
        return waiting | {member for member, lead in explained.items() if lead not in suppressed} | suppressed

    def _read(self, now: int) -> None:
        """Take over from the records what people and `keep` changed in them."""
        if self._active is None:
            within = int(self.settings.flapping.within * 1000)
            active = {alert.id: alert for alert in self._records.active_alerts()}
            openings, counts = self._records.openings(now - within), self._records.times_opened(within)
            self._flaps.read(openings, active, counts)
            self._suppressor.read()
        self._told = self._records.told()
        self._active = {alert.condition.key: alert for alert in self._records.active_alerts()}

    # --- what cannot be written down now ----------------------------------------------------------------------

    def tell_early(self, look: Look) -> None:
        """Tell from memory what is new and cannot be written down, by the routes as if it could."""
        now = look.now
        active = self._active or {}
        gone = {alert.condition.key: alert for alert in look.gone if alert.id < 0}
        for condition in look.due:
            if condition.key not in self._early:
                self._early[condition.key] = Alert(next(self._numbers), condition, AlertState.OPEN, now, now)
                log.error("alert opened, and cannot be written down now", alert=condition.key)
        for key, alert in gone.items():
            del self._early[key]
            over = replace(alert, state=AlertState.CLEARED, cleared_at=now)
            self.dispatcher.queue_early(over, Event.CLEARED, self._early_channels.pop(key, set()))
        self.dispatcher.forget_early(gone)
        by_id = {alert.id: alert for alert in self._early.values()}
        alerts = [*active.values(), *by_id.values()]
        explained = self._causes.explained(alerts, self._past, now)
        quiet = self._quiet(alerts, explained, self._told, self._suppressor.quiet(alerts, now), now)
        decided = self._routing.wanted(alerts, self._told, quiet, now, {})
        for number, event, channel, not_before in decided.wanted:
            new = by_id.get(number)
            if new is None or event is not Event.OPENED or not_before - now > now - new.opened:
                continue
            told = self._early_channels.setdefault(new.condition.key, set())
            if channel not in told:
                told.add(channel)
                self.dispatcher.queue_early(new, event, [channel])

    def _written_down(self, look: Look) -> None:
        """Forget what was told from memory until then: the records have it now."""
        for key in (look.early | {condition.key for condition in look.due}) & self._early.keys():
            del self._early[key]
            self._early_channels.pop(key, None)

    # --- tasks ----------------------------------------------------------------------------------------------

    async def _evaluate_forever(self, looking: ThreadPoolExecutor, keeping: ThreadPoolExecutor) -> None:
        loop = asyncio.get_running_loop()
        kept: asyncio.Future[None] | None = None
        written: Look | None = None
        began = 0.0
        while True:
            self._measure()
            try:
                look = await loop.run_in_executor(looking, self.look, self._clock())
                if not self.rules or len(look.failed) < len(self.rules):
                    self._looked = time.monotonic()
                if kept is None or written is None or kept.done():
                    began, written = loop.time(), look
                    kept = loop.run_in_executor(keeping, self.keep, look)
                await asyncio.wait({kept}, timeout=max(0.0, began + PATIENCE_S - loop.time()))
                if kept.done() and kept.exception() is None:
                    self._written = time.monotonic()
                    self._written_down(written)
                else:
                    self.tell_early(look)
                if kept.done():
                    kept.result()
            except HallwatchError as error:
                self.counters["ticks_failed"] += 1
                log.error("alerts could not be written down", error=str(error))
            except (
                Exception
            ):  # a fault of ours must not end alerting: it is counted, and the next look may work
                self.counters["ticks_failed"] += 1
                log.exception("alerts could not be evaluated")
            self.dispatcher.wake()
            await self._next()

    async def _next(self) -> None:
        """Wait for the next look: the interval, or less where a state changes meanwhile."""
        soonest = min(SOONEST_S, self.settings.interval)
        await asyncio.sleep(max(soonest - (time.monotonic() - self._began), 0.0))
        left = max(self.settings.interval - (time.monotonic() - self._began), 0.0)
        with contextlib.suppress(TimeoutError):
            # `wait_for` of Python 3.11 swallows a cancellation that comes together with the event
            async with asyncio.timeout(left):
                await self._changed.wait()
        self._changed.clear()

    def _measure(self) -> None:
        now = time.monotonic()
        if not math.isnan(self._began):
            self._interval_s = now - self._began
            self._longest_s = max(self._interval_s, 0.0 if math.isnan(self._longest_s) else self._longest_s)
            self.counters["late"] += self._interval_s > 2 * self.settings.interval
        self._began = now
