"""Overrides and swaps as people make them, the same from the command and the API. Calls block."""

from __future__ import annotations

from zoneinfo import ZoneInfo

from alerts.oncall.people import OnCall
from domain.errors import InputError
from storage.oncall_records import Override
from storage.records import Records

LONGEST_NOTE = 500


def begin(
    on_call: OnCall,
    records: Records,
    schedule: str,
    person: str,
    start: int,
    end: int,
    who: str,
    other: str = "",
    note: str = "",
) -> Override:
    """Put `person` on call by a schedule in [start, end), UTC ms; with `other`, let the two swap.

    Raises
    ------
    InputError
        If there is no such schedule or person, they are one and the same, or the times cannot be.
    """
    zone_of(on_call, schedule)
    for named in (person, *([other] if other else [])):
        if named not in on_call.settings.people:
            known = ", ".join(on_call.settings.people) or "nobody"
            raise InputError(f"there is nobody called {named[:100]!r}; alerts.yaml names {known}")
    if person == other:
        raise InputError("somebody swaps with somebody else")
    made = records.add_override(schedule, person, start, end, who, other, note[:LONGEST_NOTE])
    what = f"{person} and {other} swap" if other else person
    records.audit(who, "changed on call", f"{made.id} {schedule}: {what} {note[:LONGEST_NOTE]}".strip())
    return made


def end(records: Records, number: int, who: str, now: int) -> None:
    """End an override or swap now.

    Raises
    ------
    InputError
        If there is none of that number that still holds.
    """
    records.end_override(number, now)
    records.audit(who, "ended change of on call", str(number))


def zone_of(on_call: OnCall, schedule: str) -> ZoneInfo:
    """Return the zone whose clocks a schedule goes by.

    Raises
    ------
    InputError
        If there is no such schedule.
    """
    if schedule not in on_call.rotas():
        known = ", ".join(on_call.rotas()) or "none"
        raise InputError(f"there is no schedule {schedule[:100]!r}; alerts.yaml has {known}")
    return on_call.rotas()[schedule].zone
