"""Honours what keeps alarms quiet: shelves, maintenance windows, modes of the equipment, what is out of service.

Which alarm each of them keeps quiet lies in the records, so that a restart forgets nothing and every command sees it. A
suppression that ends, by itself or by hand, says so: in the audit trail, among the steps of its alarms, and by a page where
one still holds.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import structlog

from alerts.modes import Modes
from alerts.settings import AlertSettings
from alerts.view import View
from domain.alert import Alert
from domain.errors import InputError
from domain.suppression import Suppression, SuppressionKind
from domain.topology import Topology
from storage.records import Records

log = structlog.get_logger(__name__)

MOST_REMEMBERED = 20_000
"""Alarms of which it is remembered what keeps them quiet; all is worked out again then."""
US = "hallwatch"
"""Who, where nobody did it."""


@dataclass(frozen=True, slots=True)
class Quiet:
    """What is quiet now: alerts, and those (still active) whose quiet time has just ended; the pairs to be noted."""

    alerts: frozenset[int] = frozenset()
    resumed: frozenset[int] = frozenset()
    ended: tuple[tuple[int, int], ...] = ()


class Suppressor:
    """Which alerts page nobody now.

    Parameters
    ----------
    settings, view, records
        The configuration, what hangs under what, and where suppressions live.
    """

    def __init__(self, settings: AlertSettings, view: View, records: Records) -> None:
        self._longest = int(settings.shelving.longest * 1000)
        self._grace = int(settings.max_age * 1000)
        self._safety = frozenset(rule.name for rule in settings.rules if rule.is_safety)
        self._view = view
        self._records = records
        self._held: tuple[Suppression, ...] = ()
        self._by_object: Mapping[str, list[Suppression]] = {}
        self._wide: list[Suppression] = []
        self._covering: dict[tuple[str, str], tuple[Suppression, ...]] = {}
        self._below: dict[str, frozenset[str]] = {}
        self._topology: Topology | None = None

    def read(self) -> None:
        """Take over from the records what holds or is to come. Blocks."""
        held = tuple(self._records.suppressions())
        if held == self._held:
            return
        self._held, self._covering = held, {}
        by_object: dict[str, list[Suppression]] = defaultdict(list)
        self._wide = []
        for one in held:
            if one.below or any(c in one.object_id for c in "*?["):
                self._wide.append(one)
            else:
                by_object[one.object_id].append(one)
        self._by_object = by_object

    def quiet(self, alerts: Iterable[Alert], now: int) -> frozenset[int]:
        """Return which of these alerts are quiet, from memory."""
        return frozenset(a.id for a in alerts if any(s.holds(now) for s in self._of(a)))

    def keep(self, alerts: Sequence[Alert], modes: Modes | None, now: int) -> Quiet:
        """Begin and end what is due, note what is quiet now, and return it. Blocks.

        Parameters
        ----------
        alerts
            All active alerts.
        modes
            What a look found; those from before stay without one.
        """
        self.read()
        if modes is not None and self._follow(modes, now):
            self.read()
        over = self._end(alerts, now)
        pairs = {(a.id, s.id): s for a in alerts for s in self._of(a) if s.id not in over and s.holds(now)}
        before = set(self._records.covered())
        begun = [pair for pair in pairs if pair not in before]
        for one in {pairs[pair].id: pairs[pair] for pair in begun}.values():
            covered = [alert_id for alert_id, number in begun if number == one.id]
            self._records.remark(covered, one.who, told(one), now)
        if begun:
            self._records.cover(begun, now)
        quiet = frozenset(alert_id for alert_id, _ in pairs)
        ended = tuple(pair for pair in sorted(before) if pair not in pairs)
        active = {alert.id for alert in alerts}
        resumed = frozenset(number for number, _ in ended if number in active and number not in quiet)
        if resumed:
            self._records.reopen_alerts(sorted(resumed), now, "what kept it quiet has ended")
        return Quiet(quiet, resumed, ended)

    def noted(self, quiet: Quiet, now: int) -> None:
        """Note what ended, once what is to be told of it is queued: a crash between tells twice, not nobody. Blocks."""
        if quiet.ended:
            self._records.uncover(quiet.ended, now)

    def _of(self, alert: Alert) -> tuple[Suppression, ...]:
        """Return what keeps an alarm quiet whenever it is in force."""
        topology = self._view.topology()
        if topology is not self._topology:
            self._topology, self._covering, self._below = topology, {}, {}
        condition = alert.condition
        place = condition.rule, condition.object_id
        found = self._covering.get(place)
        if found is None:
            some = [*self._by_object.get(condition.object_id, ()), *self._wide]
            found = tuple(s for s in some if s.covers(condition, self._safety, self._under))
            if len(self._covering) >= MOST_REMEMBERED:
                self._covering = {}
            self._covering[place] = found
        return found

    def _under(self, object_id: str) -> frozenset[str]:
        found = self._below.get(object_id)
        if found is None:
            found = self._below[object_id] = frozenset(self._view.topology().downstream(object_id))
        return found

    def _end(self, alerts: Sequence[Alert], now: int) -> set[int]:
        standing = {s.id for alert in alerts for s in self._of(alert)}
        over: set[int] = set()
        for one in self._held:
            ends = one.end or now + 1
            if one.kind is SuppressionKind.SHELVED:
                ends = min(ends, one.start + self._longest)
            if now >= ends:
                self._over(one, "its time is over", now)
            elif one.once and one.id not in standing:
                self._over(one, "the alarm cleared", now)
            else:
                continue
            over.add(one.id)
        return over

    def _follow(self, modes: Modes, now: int) -> bool:
        """Begin and end what the modes of the equipment keep quiet; return whether anything changed."""
        held = {(s.object_id, s.rule, s.below): s for s in self._held if s.kind is SuppressionKind.MODE}
        starting = (
            now - self._view.started < self._grace
        )  # what was read before a restart holds until it is read again
        changed = False
        for place, reason in modes.expected.items():
            if place not in held:
                object_id, rule, below = place
                self._records.add_suppression(
                    SuppressionKind.MODE, rule, object_id, now, 0, US, reason, below=below
                )
                changed = True
        for place, one in held.items():
            if place not in modes.expected and not (starting and one.object_id not in modes.known):
                self._over(one, f"{one.object_id} is in that mode no more", now)
                changed = True
        return changed

    def _over(self, one: Suppression, why: str, now: int) -> None:
        try:
            self._records.end_suppression(one.id, now, why=why)
        except InputError:  # somebody has ended it just now
            return
        self._records.audit(US, f"{one.kind} ended", f"{one.id} {one.rule} on {one.object_id}: {why}")
        log.info("a suppression has ended", id=one.id, kind=one.kind.value, object=one.object_id, why=why)


def told(one: Suppression) -> str:
    """Return what keeps an alarm quiet, in words: kind, by whom, why."""
    return f"{one.kind} by {one.who}{' until it clears' if one.once else ''}: {one.reason}"
