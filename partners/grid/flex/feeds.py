"""A feed against its target: how power comes down to it, whether it is kept, and when that is a breach."""

from __future__ import annotations

import math
import uuid
from dataclasses import dataclass

from domain.grid import GridRequest, HeldLimit
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
    """What is to be told of a breach: ``active``, ``escalated`` or ``resolved``, of which severity."""

    status: str
    severity: str
    id: str
    detected: int
    resolved: int
    request: GridRequest
    limit: float
    power: float


@dataclass(slots=True)
class BreachWatch:
    """Tells breaches of one feed: begun, escalated, over; each has one id all along."""

    settings: FlexSettings
    _over_since: int = 0
    _id: str = ""
    _detected: int = 0
    _escalated: bool = False
    _severity: str = ""
    _target: HeldLimit | None = None

    def look(self, target: HeldLimit | None, power: float, now: int, settle_ms: int) -> BreachNews | None:
        """Take in the target in force and the power (W); return what is news, None where nothing is."""
        if self._id and (
            target is None or self._target is None or target.request.id != self._target.request.id
        ):
            return self._resolved(power, now)
        if target is None:
            self._over_since = 0
            return None
        excess = power / target.limit - 1
        if self._id and excess <= 0:
            return self._resolved(power, now)
        settling = now < target.start + settle_ms
        if excess <= self.settings.breach_above or (settling and not self._id):
            if not self._id:
                self._over_since = 0
            return None
        self._over_since = self._over_since or now
        if now - self._over_since < self.settings.breach_after * 1000:
            return None
        severity = "critical" if excess > CRITICAL_ABOVE else "warning"
        if not self._id:
            self._id, self._detected, self._escalated = str(uuid.uuid4()), self._over_since, False
            self._target, self._severity = target, severity
            return self._news("active", power, 0)
        worse = severity == "critical" and self._severity == "warning"
        late = now - self._detected >= self.settings.escalate_after * 1000
        if (worse or late) and not self._escalated:
            self._escalated, self._severity = True, severity
            return self._news("escalated", power, 0)
        return None

    def _resolved(self, power: float, now: int) -> BreachNews:
        news = self._news("resolved", power, now)
        self._id, self._target, self._over_since = "", None, 0
        return news

    def _news(self, status: str, power: float, resolved: int) -> BreachNews:
        assert self._target is not None
        return BreachNews(
            status,
            self._severity,
            self._id,
            self._detected,
            resolved,
            self._target.request,
            self._target.limit,
            power,
        )
