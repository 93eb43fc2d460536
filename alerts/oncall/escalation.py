"""Escalation: who is told next of an alert that nobody has taken.

How far it is lies in the records, written together with what it tells: after a restart it goes on where it was, and
repeats nothing. Time since its first step goes by the monotonic clock; over a restart, by the wall clock.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass

import structlog

from alerts.oncall.people import OnCall, Reached
from alerts.oncall.settings import Escalation
from domain.alert import Alert, AlertState
from storage.delivery_records import Event, Told
from storage.oncall_records import Progress

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Taken:
    """What steps that are due tell: (event, target, not before when), and how far the escalation is then."""

    told: tuple[tuple[Event, str, int], ...]
    progress: Progress | None = None


class Escalations:
    """Decides which steps are due.

    Parameters
    ----------
    on_call
        Who is told by a step.
    monotonic
        Seconds that nobody sets back.
    """

    def __init__(self, on_call: OnCall, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._on_call = on_call
        self._monotonic = monotonic
        self._began: dict[tuple[int, str], float] = {}  # when the first step was told, by the monotonic clock

    def forget(self, active: Collection[int]) -> None:
        """Forget what is over: all but these alerts."""
        self._began = {key: began for key, began in self._began.items() if key[0] in active}

    def due(
        self, alert: Alert, name: str, progress: Progress | None, told: Told | None, now: int, wait: int = 0
    ) -> Taken:
        """Return what an escalation of an alert tells now.

        Parameters
        ----------
        alert, name, progress
            Of which alert, by which escalation, how far it is; None where it has not begun.
        told
            What of the alert was queued before.
        now, wait
            UTC ms, and how long the first step waits for more of the same rule, ms.
        """
        escalation = self._on_call.settings.escalations[name]
        worse = told is not None and alert.condition.severity.rank > told.severity.rank
        if progress is None:
            if told is not None and not worse:
                return Taken(())
            return self._first(
                alert, name, escalation, Event.OPENED if told is None else Event.WORSENED, now, wait
            )
        found: list[tuple[Event, str, int]] = []
        if worse:
            steps = range(min(progress.taken, len(escalation.steps)))
            found += self._tell(alert, escalation, steps, Event.WORSENED, now)
        if alert.state is not AlertState.OPEN:
            return Taken(tuple(found))
        elapsed = self._elapsed(progress, now)
        due = _due(escalation, elapsed)
        if due <= progress.taken:
            return Taken(tuple(found))
        # of rounds that nobody was there to tell, only the newest is told
        numbers = range(max(progress.taken, due - len(escalation.steps)), due)
        first_round = due <= len(escalation.steps)
        found += self._tell(
            alert, escalation, numbers, Event.ESCALATED if first_round else Event.REMINDED, now
        )
        taken = Progress(alert.id, name, due, progress.began, now, elapsed)
        return Taken(tuple(found), taken)

    def _first(
        self, alert: Alert, name: str, escalation: Escalation, event: Event, now: int, wait: int
    ) -> Taken:
        reached = self._step(alert, escalation, 0, now)
        told = tuple((event, r.target, max(r.not_before, now + wait)) for r in reached)
        # nobody can have taken what nobody was told: it begins when the first of them may be
        began = min((not_before for _, _, not_before in told), default=now)
        if alert.id > 0 and began <= now:
            self._began[alert.id, name] = self._monotonic()
        return Taken(told, Progress(alert.id, name, 1, began, now, 0))

    def _tell(
        self, alert: Alert, escalation: Escalation, numbers: Iterable[int], event: Event, now: int
    ) -> list[tuple[Event, str, int]]:
        reached = {r.target: r for n in numbers for r in self._step(alert, escalation, n, now)}
        return [(event, r.target, r.not_before) for r in reached.values()]

    def _step(self, alert: Alert, escalation: Escalation, number: int, now: int) -> list[Reached]:
        step = escalation.steps[number % len(escalation.steps)]
        reached = self._on_call.step(step, alert.condition.severity, now)
        if not reached:
            log.error("nobody is on call, and nobody stands in", alert=alert.condition.key, step=number + 1)
        return reached

    def _elapsed(self, progress: Progress, now: int) -> int:
        """Return how long ago the first step was told, ms; below 0 where it is told later."""
        key = (progress.alert_id, progress.escalation)
        if key not in self._began:
            if now < progress.began:
                return -1
            ago = progress.elapsed + max(0, now - max(progress.at, progress.began))
            self._began[key] = self._monotonic() - ago / 1000
        return round((self._monotonic() - self._began[key]) * 1000)


def _due(escalation: Escalation, elapsed: int) -> int:
    """Return how many steps are due so long (ms) after the first, counted over the rounds."""
    size = len(escalation.steps)
    number = 1
    if elapsed > 0:
        done = min(int(elapsed / 1000 // escalation.after(size)), escalation.rounds - 1)
        number = int(done) * size + 1
    while number < escalation.rounds * size and escalation.after(number) * 1000 <= elapsed:
        number += 1
    return number
