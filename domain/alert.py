"""What an alert is: a condition on one object that holds, from when, and who knows."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any

from domain.languages import Language
from domain.said import Said, told


class Severity(StrEnum):
    """How soon somebody must act: the priority of an alarm, as ISA-18.2 calls it.

    Critical: page now, act in minutes. High: page, act within the hour. Warning: tell in working hours. Info: shown only.
    """

    CRITICAL = "critical"
    HIGH = "high"
    WARNING = "warning"
    INFO = "info"

    @property
    def rank(self) -> int:
        """Order of severities: 0 for info, higher is worse."""
        return _RANKS[self]


_RANKS = {Severity.INFO: 0, Severity.WARNING: 1, Severity.HIGH: 2, Severity.CRITICAL: 3}


class AlertState(StrEnum):
    """Where an alarm stands between its condition and the person who takes it, as in ISA-18.2.

    Open: the condition holds and nobody has taken it (unacknowledged). Acknowledged: it holds and somebody has.
    Returned: the condition is gone and nobody took it (returned to normal, unacknowledged). Cleared: it is over.
    """

    OPEN = "open"
    ACKNOWLEDGED = "acknowledged"
    RETURNED = "returned"
    CLEARED = "cleared"


@dataclass(frozen=True, slots=True)
class Condition:
    """What an evaluated rule found on one object, now.

    Parameters
    ----------
    rule
        Name of the rule.
    object_id
        The plant object that it holds on.
    severity
        How bad it is.
    said
        A sentence for the person who is paged: object, value, limit. A string is told as it is written; an empty one is said
        of an alert of which nothing can be known now.
    value, limit, unit
        The figures behind it, canonical unit; NaN where there is none.
    observed
        When the reading behind it was taken, UTC ms.
    """

    rule: str
    object_id: str
    severity: Severity
    said: Said | str
    value: float
    limit: float
    unit: str
    observed: int

    @property
    def summary(self) -> str:
        """The sentence in English."""
        return told(self.said)

    @property
    def limit_told(self) -> float:
        """The limit as people are told it: NaN where any number at all is too many, which says nothing to them."""
        return math.nan if self.unit == "count" and self.limit < 1 else self.limit

    @property
    def known(self) -> bool:
        """Whether anything is known of it now."""
        return self.said != ""

    def told(self, language: Language) -> str:
        """Return the sentence in a language."""
        return told(self.said, language)

    @property
    def key(self) -> str:
        """Identity of the alert that this condition raises: one per rule and object."""
        return f"{self.rule}/{self.object_id}"


@dataclass(frozen=True, slots=True)
class Alert:
    """An alert as it is kept, shown and told.

    `opened`, `updated`, `acknowledged_at`, `cleared_at` are UTC ms (0 where it has not happened). `cleared_at` is when the
    condition was gone, also of an alert that is `AlertState.RETURNED`.
    """

    id: int
    condition: Condition
    state: AlertState
    opened: int
    updated: int
    acknowledged_at: int = 0
    acknowledged_by: str = ""
    note: str = ""
    cleared_at: int = 0


def plain(alert: Alert) -> dict[str, Any]:
    """Return an alert as JSON tells it: its sentence is the English `summary` of its condition."""
    fields = asdict(alert)
    condition = fields["condition"]
    del condition["said"]
    condition["summary"] = alert.condition.summary
    return fields
