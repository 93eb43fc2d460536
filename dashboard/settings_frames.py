"""What the settings page shows: finished texts, so that the browser only lays them out."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from alerts.oncall.people import OnCall
from alerts.oncall.roster import Roster
from dashboard import alarm_frames, cells
from dashboard.data import ConsoleData
from dashboard.words import say, several, term
from domain.role import Role
from storage.accounts import User
from storage.api_keys import ApiKey
from storage.oncall_records import Override

Payload = dict[str, Any]


def settings(data: ConsoleData, viewer: str) -> Payload:
    """Return all that the page shows to a person."""
    on_call, rosters, now = data.rosters()
    desk = data.settings
    return {
        "people": [_person(user, viewer, data) for user in desk.people()],
        "roles": [[role.value, term("role", role)] for role in Role],
        "keys": [_key(key, now, data) for key in desk.api_keys()],
        "scopes": [[scope, term("scope", scope)] for scope in desk.scopes],
        "partners": list(desk.partners),
        "onCall": [] if on_call is None else [_schedule(on_call, r, data) for r in rosters],
        "changes": []
        if on_call is None
        else [_change(on_call, change, data) for r in rosters for change in r.overrides],
        "staff": [] if on_call is None else [[p, on_call.name_of(p)] for p in on_call.settings.people],
        "quiet": alarm_frames.quiet(data)["rows"],
    }


def heads() -> dict[str, Sequence[str]]:
    """Return the heads of the page's tables, by table."""
    return {
        "people": several("settings", "name", "role", "state", "last_login", "acts"),
        "keys": several("settings", "prefix", "partner", "shows", "made", "expires", "used", "state", "acts"),
        "oncall": several("settings", "schedule", "person", "until"),
        "changes": several("settings", "number", "schedule", "what", "from", "until", "by", "acts"),
        "quiet": several("settings", "kind", "alarms_of", "until", "by", "acts"),
    }


def _person(user: User, viewer: str, data: ConsoleData) -> Payload:
    return {
        "name": user.name,
        "role": user.role.value,
        "active": user.active,
        "state": say("settings.may_log_in" if user.active else "settings.is_locked_out"),
        "last": _when(user.last_login, data, "settings.never_yet"),
        "self": user.name == viewer,
    }


def _key(key: ApiKey, now: int, data: ConsoleData) -> Payload:
    fault = key.fault(now)
    comma = say("text.comma")
    return {
        "prefix": key.prefix,
        "partner": key.partner,
        "shows": comma.join(term("scope", s) for s in key.scopes) or say("settings.whole_contract"),
        "made": _when(key.created, data),
        "expires": _when(key.expires, data, "settings.never"),
        "used": _when(key.last_used, data, "settings.never_yet"),
        "state": term("key_state", fault) if fault else say("settings.key_works"),
        "works": not fault,
    }


def _schedule(on_call: OnCall, roster: Roster, data: ConsoleData) -> Payload:
    shift = roster.now
    return {
        "schedule": roster.schedule,
        "person": on_call.name_of(shift.person) or say("oncall.nobody"),
        "nobody": not shift.person,
        "until": cells.date(shift.end, data.site.zone),
    }


def _change(on_call: OnCall, change: Override, data: ConsoleData) -> Payload:
    one, other = on_call.name_of(change.person), on_call.name_of(change.other)
    return {
        "id": change.id,
        "schedule": change.schedule,
        "what": say("oncall.swap", one=one, other=other)
        if change.other
        else say("oncall.stands_in", name=one),
        "from": cells.date(change.start, data.site.zone),
        "until": cells.date(change.end, data.site.zone),
        "by": f"{change.who}: {change.note}" if change.note else change.who,
    }


def _when(at: int, data: ConsoleData, never: str = "") -> str:
    if not at:
        return say(never) if never else "\u2014"
    return cells.date(at, data.site.zone, "year")  # of a key it may be another one
