"""The alert engine: evaluates rules, opens and clears alerts, and sees to it that people are told.

What is open, acknowledged, told or still to be told lies in the records, so that a restart forgets nothing and
repeats nothing. The engine itself keeps only since when conditions hold or are gone.
"""

from __future__ import annotations

import asyncio
import math
import threading
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import structlog

from alerts.dispatch import Dispatcher
from alerts.notify.message import Notifier
from alerts.routing import Routing
from alerts.rules import Rule, build
from alerts.settings import AlertSettings
from alerts.view import View
from domain.alert import Alert, Condition
from domain.batch import now_ms
from domain.errors import HallwatchError
from storage.records import Records

log = structlog.get_logger(__name__)

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
    clock
        UTC ms.
    pause
        How to wait between attempts to deliver, seconds.
    """

    def __init__(
        self,
        rules: AlertSettings,
        view: View,
        records: Records,
        notifiers: Mapping[str, Notifier],
        clock: Callable[[], int] = now_ms,
        pause: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self.settings = rules
        self.rules: list[Rule] = [build(rule) for rule in rules.rules if rule.enabled]
        self.counters: Counter[str] = Counter()
        self.dispatcher = Dispatcher(
            records,
            notifiers,
            view.site,
            clock,
            {rule.name: rule.advice for rule in rules.rules},
            rules.console_url,
            pause,
        )
        self._view = view
        self._records = records
        self._notifiers = notifiers
        self._clock = clock
        self._routing = Routing(rules)
        self._pending: dict[str, int] = {}  # key -> since when the condition holds, not alerted yet
        self._seen: dict[str, int] = {}  # key of an active alert -> when its condition last held
        self._lock = threading.Lock()
        self._evaluation_ms = math.nan
        self._queued: dict[str, asyncio.Event] = {}

    async def run(self) -> None:
        """Evaluate and deliver until cancelled."""
        await asyncio.to_thread(self._view.seed, self._clock())
        await self.dispatcher.retire()
        self._queued = {channel: asyncio.Event() for channel in self._notifiers}
        async with asyncio.TaskGroup() as group:
            group.create_task(self._evaluate_forever())
            for channel in self._notifiers:
                group.create_task(self._deliver_forever(channel))

    def tick(self, now: int | None = None) -> None:
        """Evaluate every rule once and bring the records up to date. Blocks; telling people is `deliver`'s part.

        Raises
        ------
        StorageError
            If the records cannot be read or written now; nothing is lost, the next tick does it.
        """
        with self._lock:
            self._tick(self._clock() if now is None else now)

    async def deliver(self) -> None:
        """Tell people what is due to be told now."""
        await self.dispatcher.deliver()

    def acknowledge(self, alert_id: int, who: str, note: str = "") -> Alert:
        """Note that somebody has taken an alert: it escalates no more. Blocks.

        Raises
        ------
        InputError
            If there is no such alert, or it is cleared already.
        """
        alert = self._records.acknowledge_alert(alert_id, who, note, self._clock())
        self._records.audit(who, "acknowledge alert", f"{alert_id} {alert.condition.key} {note}".strip())
        return alert

    def clear(self, alert_id: int, who: str, note: str = "") -> None:
        """Clear an alert by hand, such as that of a device that was taken away. Blocks.

        It opens again if its condition is found again.

        Raises
        ------
        InputError
            If there is no such alert.
        """
        self._records.clear_alerts([alert_id], self._clock(), who, note)
        self._records.audit(who, "clear alert", f"{alert_id} {note}".strip())

    def stats(self) -> dict[str, Any]:
        """Return counters for the health page."""
        return {
            **self.counters,
            **{f"notifications_{name}": n for name, n in self.dispatcher.counters.items()},
            "rules": len(self.rules),
            "pending": len(self._pending),
            "evaluation_ms": self._evaluation_ms,
        }

    # --- one evaluation -------------------------------------------------------------------------------------

    def _tick(self, now: int) -> None:
        active = {alert.condition.key: alert for alert in self._records.active_alerts()}
        found, failed = self._evaluate(now, active)
        opened = self._open(found, active, now)
        self._update(found, active, now)
        gone = self._clear(found, active, failed, now)
        self.counters["ticks"] += 1
        self.counters["opened"] += len(opened)
        self.counters["cleared"] += len(gone)
        self._tell(now)

    def _evaluate(self, now: int, active: Mapping[str, Alert]) -> tuple[dict[str, Condition], set[str]]:
        """Return the conditions that hold by key, and the names of the rules that could not be evaluated."""
        begun = time.perf_counter()
        self._view.refresh(now)
        found: dict[str, Condition] = {}
        failed: set[str] = set()
        for rule in self.rules:
            name = rule.settings.name
            objects = {a.condition.object_id for a in active.values() if a.condition.rule == name}
            try:
                for condition in rule.evaluate(now, self._view, objects):
                    found.setdefault(condition.key, condition)
            except Exception:  # one broken rule must not silence the others
                failed.add(name)
                self.counters["rule_errors"] += 1
                log.exception("a rule could not be evaluated", rule=name)
        self._evaluation_ms = (time.perf_counter() - begun) * 1000
        return found, failed

    def _open(self, found: Mapping[str, Condition], active: Mapping[str, Alert], now: int) -> list[Alert]:
        hold_for = {rule.settings.name: rule.settings.hold_for * 1000 for rule in self.rules}
        holding = {key: c for key, c in found.items() if key not in active}
        self._pending = {key: self._pending.get(key, now) for key in holding}
        due = [c for key, c in holding.items() if now - self._pending[key] >= hold_for[c.rule]]
        if not due:
            return []
        opened = self._records.open_alerts(due, now)
        for alert in opened:
            del self._pending[alert.condition.key]
            log.warning(
                "alert opened", id=alert.id, alert=alert.condition.key, summary=alert.condition.summary
            )
        return opened

    def _update(self, found: Mapping[str, Condition], active: Mapping[str, Alert], now: int) -> None:
        """Write new figures of active alerts: a new severity at once, the rest now and then."""
        changes: list[tuple[int, Condition]] = []
        for key, alert in active.items():
            condition = found.get(key)
            if condition is None or not condition.summary:  # gone, or not known now
                continue
            changed = condition != alert.condition
            if condition.severity != alert.condition.severity or (
                changed and now - alert.updated >= REFRESH_MS
            ):
                changes.append((alert.id, condition))
        if changes:
            self._records.update_alerts(changes, now)

    def _clear(
        self, found: Mapping[str, Condition], active: Mapping[str, Alert], failed: set[str], now: int
    ) -> list[Alert]:
        keep = {rule.settings.name: rule.settings.keep_firing_for * 1000 for rule in self.rules}
        # an alert from before a restart has its time to keep firing counted from the restart
        self._seen = {
            key: now if key in found or alert.condition.rule in failed else self._seen.get(key, now)
            for key, alert in active.items()
        }
        gone = [
            alert
            for key, alert in active.items()
            if key not in found
            and alert.condition.rule not in failed
            and now - self._seen[key] >= keep.get(alert.condition.rule, 0)
        ]
        if not gone:
            return []
        for alert in gone:
            log.info("alert cleared", id=alert.id, alert=alert.condition.key)
        return self._records.clear_alerts([alert.id for alert in gone], now)

    def _tell(self, now: int) -> None:
        alerts = self._records.active_alerts()
        if alerts:
            told, silences = self._records.told(), self._records.silences(now)
            wanted = self._routing.wanted(alerts, told, silences, self._view.topology, now)
            if wanted:
                self._records.queue_deliveries(wanted, now)

    # --- tasks ----------------------------------------------------------------------------------------------

    async def _evaluate_forever(self) -> None:
        while True:
            try:
                await asyncio.to_thread(self.tick)
            except HallwatchError as error:
                self.counters["ticks_failed"] += 1
                log.error("alerts could not be evaluated", error=str(error))
            except (
                Exception
            ):  # a fault of ours must not end alerting: it is counted, and the next look may work
                self.counters["ticks_failed"] += 1
                log.exception("alerts could not be evaluated")
            for event in self._queued.values():
                event.set()
            await asyncio.sleep(self.settings.interval)

    async def _deliver_forever(self, channel: str) -> None:
        while True:
            await self._queued[channel].wait()
            self._queued[channel].clear()
            try:
                await self.dispatcher.deliver(channel)
            except* HallwatchError as errors:
                self.counters["deliveries_failed"] += 1
                log.error("alerts could not be told", channel=channel, error=str(errors.exceptions[0]))
