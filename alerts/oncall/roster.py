"""Who is on call now and in the days to come, as the command, the API and the console show it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from alerts.oncall.people import OnCall
from alerts.oncall.schedule import Shift
from storage.oncall_records import Override

DAY_MS = 86_400_000
DAYS = 14
MOST_DAYS = 400


@dataclass(frozen=True, slots=True)
class Roster:
    """One schedule from now on.

    Attributes
    ----------
    schedule, timezone
        Its name, and whose clocks it goes by.
    shifts
        Who is on call when, from now on, without a hole; nobody where `person` is empty.
    overrides
        What people changed in it and that holds or is to come.
    """

    schedule: str
    timezone: str
    shifts: tuple[Shift, ...]
    overrides: tuple[Override, ...]

    @property
    def now(self) -> Shift:
        """Who is on call now, and until when (as far as was looked)."""
        return self.shifts[0]

    @property
    def gaps(self) -> tuple[Shift, ...]:
        """When nobody is."""
        return tuple(shift for shift in self.shifts if not shift.person)


def rosters(on_call: OnCall, overrides: Sequence[Override], now: int, days: int = DAYS) -> list[Roster]:
    """Return every schedule with what people changed in it, from now (UTC ms) for so many days."""
    on_call.change(overrides)
    until = now + min(days, MOST_DAYS) * DAY_MS
    return [
        Roster(
            name,
            str(rota.zone),
            tuple(rota.shifts(now, until)),
            tuple(change for change in overrides if change.schedule == name),
        )
        for name, rota in on_call.rotas().items()
    ]


def roster_json(roster: Roster) -> dict[str, Any]:
    """Return a schedule from now on as programs read it; `person` is null where nobody is on call."""
    return {
        "schedule": roster.schedule,
        "timezone": roster.timezone,
        "shifts": [asdict(s) | {"person": s.person or None} for s in roster.shifts],
        "gaps": [{"start": s.start, "end": s.end} for s in roster.gaps],
        "overrides": [asdict(change) for change in roster.overrides],
    }
