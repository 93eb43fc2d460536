"""Evaluates the rules once: what holds, what has held for long enough, and what is gone for long enough. Needs memory only."""

from __future__ import annotations

import math
import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

import structlog

from alerts.flapping import Flaps
from alerts.incidents.reach import Reach
from alerts.modes import Modes
from alerts.modes import look as look_at_modes
from alerts.rules import Rule, build
from alerts.rules.settings import EvaluationError, SharedCause
from alerts.rules.sources import StaleSourceRule
from alerts.settings import AlertSettings
from alerts.view import View
from domain.alert import Alert, Condition

log = structlog.get_logger(__name__)

MOST_OF_A_RULE = 10_000
"""Alerts of one rule at a time; what else it finds meanwhile is counted."""
MOST_OF_ERROR = 200
"""Characters of an error that are told."""


@dataclass(frozen=True, slots=True)
class Look:
    """What one evaluation found.

    Attributes
    ----------
    now
        UTC ms.
    found
        The conditions that hold, by key.
    failed
        Names of the rules that could not be evaluated.
    due
        Conditions that have held long enough to be alerted.
    gone
        Active alerts whose condition is gone for long enough.
    modes
        Which equipment is in a mode in which its alarms are expected.
    early
        Keys of the alerts that were told from memory before it.
    """

    now: int
    found: Mapping[str, Condition]
    failed: frozenset[str]
    due: tuple[Condition, ...]
    gone: tuple[Alert, ...]
    modes: Modes
    early: frozenset[str]


class Evaluation:
    """The rules of one site, and since when their conditions hold or are gone.

    Parameters
    ----------
    settings
        The alerting configuration.
    view
        What rules look at.
    reach
        Told which objects a silent source stands for.
    flaps
        Which alarms are held once their conditions are gone.
    counters
        Where ``left_out`` and ``rule_errors`` are counted.
    """

    def __init__(
        self, settings: AlertSettings, view: View, reach: Reach, flaps: Flaps, counters: Counter[str]
    ) -> None:
        # a cause that several share is found in what the others find, and an error where they fail
        last = sorted(
            settings.rules, key=lambda r: (isinstance(r, EvaluationError), isinstance(r, SharedCause))
        )
        self.rules: list[Rule] = [build(rule) for rule in last if rule.enabled]
        self.takes_over = {rule.name: rule.takes_over for rule in settings.rules if rule.takes_over}
        self.known = frozenset(rule.name for rule in settings.rules if rule.enabled)
        self.took_ms = math.nan
        """Of the last evaluation of the rules."""
        self._settings = settings
        self._view = view
        self._reach = reach
        self._flaps = flaps
        self._counters = counters
        self._pending: dict[str, int] = {}  # key -> since when the condition holds, not alerted yet
        self._seen: dict[str, int] = {}  # key of an active alert -> when its condition last held
        self._over: set[str] = set()  # keys of active alerts whose condition was gone when it was known last

    @property
    def pending(self) -> int:
        """How many conditions hold that are not alerted yet."""
        return len(self._pending)

    def look(self, now: int, active: Mapping[str, Alert], early: Mapping[str, Alert]) -> Look:
        """Evaluate every rule, given the alerts that are active and those that were only told from memory, by key."""
        watched = {**early, **active}
        found, failed = self._evaluate(now, watched)
        return Look(
            now,
            found,
            frozenset(failed),
            self._due(found, active, early, now),
            self._gone(found, watched, failed, now),
            look_at_modes(self._settings.modes, self._view),
            frozenset(early),
        )

    def _evaluate(self, now: int, active: Mapping[str, Alert]) -> tuple[dict[str, Condition], set[str]]:
        """Return the conditions that hold by key, and the names of the rules that could not be evaluated."""
        begun = time.perf_counter()
        self._view.refresh(now)
        found: dict[str, Condition] = {}
        failed: set[str] = set()
        left_out = 0
        behind: dict[str, frozenset[str]] = {}
        for rule in self.rules:
            name = rule.settings.name
            objects = {a.condition.object_id for a in active.values() if a.condition.rule == name}
            room = MOST_OF_A_RULE - sum(a.condition.rule == name for a in active.values())
            try:
                conditions = self._view.found[name] = rule.evaluate(now, self._view, objects)
                for condition in conditions:
                    new = condition.key not in active and condition.key not in found
                    if new and room <= 0:
                        left_out += 1
                        continue
                    room -= new
                    found.setdefault(condition.key, condition)
            except Exception as error:  # one broken rule must not silence the others
                failed.add(name)
                self._view.failing[name] = f"{type(error).__name__}: {error}"[:MOST_OF_ERROR]
                self._counters["rule_errors"] += 1
                log.exception("a rule could not be evaluated", rule=name)
            if isinstance(rule, StaleSourceRule):
                behind |= rule.behind(self._view)
        self._reach.sources(behind)
        self._counters["left_out"] = left_out
        self.took_ms = (time.perf_counter() - begun) * 1000
        return found, failed

    def _due(
        self,
        found: Mapping[str, Condition],
        active: Mapping[str, Alert],
        early: Mapping[str, Alert],
        now: int,
    ) -> tuple[Condition, ...]:
        hold_for = {rule.settings.name: rule.settings.hold_for * 1000 for rule in self.rules}
        holding = {key: c for key, c in found.items() if key not in active}
        # what was told from memory is to be written down, also where it was there for a moment only
        unwritten = {key: alert.condition for key, alert in early.items() if key not in active}
        # none since later than now: our clock may have been set back
        self._pending = {key: min(self._pending.get(key, now), now) for key in holding}
        due = {key: c for key, c in holding.items() if now - self._pending[key] >= hold_for[c.rule]}
        # what is there is not foretold any more
        there = due.keys() | active.keys() | unwritten.keys()
        foretold = {
            f"{before}/{object_id}"
            for key in there
            for rule, _, object_id in (key.partition("/"),)
            for before in self.takes_over.get(rule, ())
        }
        return tuple(c for key, c in (unwritten | due).items() if key not in foretold)

    def _gone(
        self, found: Mapping[str, Condition], watched: Mapping[str, Alert], failed: set[str], now: int
    ) -> tuple[Alert, ...]:
        keep = {rule.settings.name: rule.settings.keep_firing_for * 1000 for rule in self.rules}
        # what is not known for a moment neither clears an alert nor has its time to keep firing begin again
        self._over = {
            key
            for key, alert in watched.items()
            if alert.condition.rule not in failed
            and (key not in found or (not found[key].known and key in self._over))
        }
        # an alert from before a restart has its time to keep firing counted from the restart
        self._seen = {
            key: min(self._seen.get(key, now), now) if key in self._over else now for key in watched
        }
        return tuple(
            alert
            for key, alert in watched.items()
            if key not in found
            and alert.condition.rule not in failed
            and alert.condition.rule
            in self.known  # of a rule that is gone nobody knows: it is retired by hand
            and now - self._seen[key] >= max(keep.get(alert.condition.rule, 0), self._flaps.hold(key))
        )
