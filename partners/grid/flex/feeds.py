"""A feed against its target: how power comes down to it, whether it is kept, and when that is a breach."""

from __future__ import annotations

import math
import uuid
from dataclasses import dataclass

from domain.configuration import SettingsModel
from domain.grid import HeldLimit
from partners.grid.flex.settings import FlexSettings

CRITICAL_ABOVE = 0.2
"""Share of a target by which power exceeds it from which a breach is critical (DSX Flex 1.7)."""


@dataclass(slots=True)
class Ramp:
    """Power on its way to another target.

    Nothing here moves it: what is told is what the meters say. It goes down until power is at the target or below; it
    goes up until it has passed the former target, or for `settle` at most, since nobody has to use what is allowed.
    """

    limit: float = math.inf
    former: float = math.inf
    direction: str = ""
    since: int = 0
    """When the present event began, UTC ms; 0 where there is none."""

    def look(self, limit: float, power: float, now: int, settle_ms: int) -> list[str]:
        """Take in the target in force (W, infinite without one) and the power; return the events of it, in order."""
        events = []
        if limit != self.limit:
            self.direction = "down" if limit < self.limit else "up"
            self.former, self.limit = self.limit, limit
            self.since = now
            events.append(f"start_ramp_{self.direction}")
        down = self.direction == "down" and power <= self.limit
        up = self.direction == "up" and (power > self.former or now >= self.since + settle_ms)
        if down or up:
            events.append(f"end_ramp_{self.direction}")
            self.direction = ""
        if not self.direction and math.isinf(self.limit):
            self.since = 0
        return events


@dataclass(slots=True)
class BreachNews:
    """What is to be told of a breach: ``active``, ``escalated`` or ``resolved``, of which severity; `reference` of its target."""

    status: str
    severity: str
    id: str
    detected: int
    resolved: int
    reference: str
    limit: float
    power: float


class OpenBreach(SettingsModel):
    """A breach that lasts, as it is kept over a restart; times in UTC ms, the limit in W."""

    id: str
    detected: int
    escalated: bool
    severity: str
    request: int
    reference: str
    limit: float


@dataclass(slots=True)
class BreachWatch:
    """Tells breaches of one feed: begun, escalated, over; each has one id all along, `open` while it lasts."""

    settings: FlexSettings
    open: OpenBreach | None = None
    _over_since: int = 0

    def look(self, target: HeldLimit | None, power: float, now: int, settle_ms: int) -> BreachNews | None:
        """Take in the target in force and the power (W); return what is news, None where nothing is."""
        if self.open is not None and (target is None or target.request.id != self.open.request):
            return self._resolved(self.open, power, now)
        if target is None:
            self._over_since = 0
            return None
        excess = power / target.limit - 1
        if self.open is not None and excess <= 0:
            return self._resolved(self.open, power, now)
        settling = now < target.start + settle_ms
        if excess <= self.settings.breach_above or (settling and self.open is None):
            if self.open is None:
                self._over_since = 0
            return None
        self._over_since = self._over_since or now
        severity = "critical" if excess > CRITICAL_ABOVE else "warning"
        if self.open is None:
            if now - self._over_since < self.settings.breach_after * 1000:
                return None
            request = target.request
            self.open = OpenBreach(
                id=str(uuid.uuid4()),
                detected=self._over_since,
                escalated=False,
                severity=severity,
                request=request.id,
                reference=request.reference,
                limit=target.limit,
            )
            return _news(self.open, "active", power, 0)
        worse = severity == "critical" and self.open.severity == "warning"
        late = now - self.open.detected >= self.settings.escalate_after * 1000
        if (worse or late) and not self.open.escalated:
            self.open = self.open.model_copy(update={"escalated": True, "severity": severity})
            return _news(self.open, "escalated", power, 0)
        return None

    def _resolved(self, breach: OpenBreach, power: float, now: int) -> BreachNews:
        self.open, self._over_since = None, 0
        return _news(breach, "resolved", power, now)


def _news(breach: OpenBreach, status: str, power: float, resolved: int) -> BreachNews:
    return BreachNews(
        status, breach.severity, breach.id, breach.detected, resolved, breach.reference, breach.limit, power
    )
