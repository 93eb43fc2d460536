"""Alarms that are kept from paging for a while: shelved, under maintenance, out of service, by the equipment's mode.

The words are those of ISA-18.2 and OPC UA Part 9: shelved by an operator; suppressed by design (maintenance window, mode
of the equipment); out of service. Whatever the kind, the alarm is shown, with who keeps it quiet, why and until when.
"""

from __future__ import annotations

from collections.abc import Callable, Set
from dataclasses import dataclass
from enum import StrEnum
from fnmatch import fnmatchcase

from domain.alert import Condition


class SuppressionKind(StrEnum):
    """Why alarms page nobody."""

    SHELVED = "shelved"
    MAINTENANCE = "maintenance"
    MODE = "mode"
    OUT_OF_SERVICE = "out of service"


@dataclass(frozen=True, slots=True)
class Suppression:
    """Alarms of a rule and an object page nobody from `start` on.

    Parameters
    ----------
    rule, object_id
        Names or globs; ``*`` is all.
    below
        Whether what hangs under the object (not a glob then) is meant too.
    once
        Whether it ends when the alarm clears (a one-shot shelf), at `end` at the latest.
    start, end
        UTC ms; an `end` of 0 is until somebody ends it.
    who, reason
        Who wants it, and why.
    ended, ended_by, ended_why
        When it ended in fact (UTC ms, 0 while it has not), by whom (empty: by itself), and why.
    """

    id: int
    kind: SuppressionKind
    rule: str
    object_id: str
    below: bool
    once: bool
    start: int
    end: int
    who: str
    reason: str
    ended: int = 0
    ended_by: str = ""
    ended_why: str = ""

    def holds(self, now: int) -> bool:
        """Return whether it is in force at `now`, UTC ms."""
        return not self.ended and self.start <= now and (not self.end or now < self.end)

    def covers(
        self,
        condition: Condition,
        safety: Set[str] = frozenset(),
        below: Callable[[str], Set[str]] = lambda _object: frozenset(),
    ) -> bool:
        """Return whether it keeps the alarm of a condition quiet while it is in force.

        Parameters
        ----------
        safety
            Rules of leaks, smoke and the like: only what names rule and object in full keeps them quiet, and no mode.
        below
            Returns what hangs under an object.
        """
        if condition.rule in safety:
            named = (self.rule, self.object_id) == (condition.rule, condition.object_id)
            return named and self.kind is not SuppressionKind.MODE
        if not fnmatchcase(condition.rule, self.rule):
            return False
        if fnmatchcase(condition.object_id, self.object_id):
            return True
        return self.below and condition.object_id in below(self.object_id)
