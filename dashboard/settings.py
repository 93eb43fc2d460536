"""What administrators change on the console: people, keys of partners, stand-ins and swaps, what is kept quiet. All of it blocks.

Each act is that of the command (`hallwatch user`, `hallwatch apikey`, `hallwatch oncall`, `hallwatch alerts`), and is in the
audit trail as such.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

from alerts.oncall import changes
from alerts.oncall.people import OnCall
from dashboard.alarms import Alarms
from dashboard.words import say, term
from domain.errors import InputError
from domain.role import Role
from storage.accounts import Accounts, User
from storage.api_keys import LONGEST_NAME, ApiKey
from storage.records import Records

DAY_MS = 86_400_000
LONGEST_DAYS = 3660
"""Days that a key may last from the console; 0 is for ever."""
LONGEST_PASSWORD = 1000
MOST_LISTED = 500
"""People, and keys, that are listed: of keys the newest."""


@dataclass(frozen=True, slots=True)
class Done:
    """What was done, in a sentence; `secret` is a new key, which is shown this once."""

    text: str
    secret: str = ""


class SettingsDesk:
    """Answers the settings page, and does what it asks for.

    Parameters
    ----------
    records, alarms, clock
        Where settings live, what is kept quiet, and the present, UTC ms.
    on_call
        People and schedules; None where there are none.
    partners, scopes
        Partners that the configuration names, and what a key may show of a contract.
    """

    def __init__(
        self,
        records: Records,
        alarms: Alarms,
        clock: Callable[[], int],
        on_call: OnCall | None = None,
        partners: Sequence[str] = (),
        scopes: Sequence[str] = (),
    ) -> None:
        self._records = records
        self._accounts = Accounts(records)
        self._alarms = alarms
        self._clock = clock
        self._on_call = on_call
        self.partners = tuple(partners)
        self.scopes = tuple(scopes)

    def people(self) -> list[User]:
        """Return who may log in or was locked out, by name."""
        return self._accounts.users()[:MOST_LISTED]

    def api_keys(self) -> list[ApiKey]:
        """Return the keys of partners, the newest first."""
        return self._accounts.api_keys()[: -MOST_LISTED - 1 : -1]

    def act(self, request: Mapping[str, Any], who: str) -> Done:
        """Do what the settings page asks for.

        Parameters
        ----------
        request
            ``act`` (one of `domain.role.RIGHTS`) and what it needs: ``name``, ``role``, ``password`` of a person; ``partner``,
            ``scopes``, ``days``, ``prefix`` of a key; ``schedule``, ``person``, ``other``, ``start``, ``end``, ``note`` of a
            stand-in (times by the schedule's clocks, no start is now); ``id``, ``reason`` of what is kept quiet.
        who
            Does it, by the login.

        Raises
        ------
        InputError
            If it cannot be done.
        KeyError, TypeError, ValueError
            If the request is none.
        """
        act = str(request["act"])
        match act:
            case "add person" | "change role" | "set password" | "lock out" | "let in":
                return Done(self._person(act, request, who))
            case "make key" | "renew key" | "revoke key":
                return self._key(act, request, who)
            case "stand in":
                return Done(self._stand_in(request, who))
            case "end stand-in":
                changes.end(self._records, int(request["id"]), who, self._clock())
                return Done(say("settings.stand_in_ended", number=int(request["id"])))
            case "resume":
                return Done(self._alarms.act(request, who))
            case _:
                raise InputError(f"nothing is called {act[:50]!r}")

    def _person(self, act: str, request: Mapping[str, Any], who: str) -> str:
        name, accounts = _text(request, "name"), self._accounts
        if name == who and act in ("change role", "lock out"):
            raise InputError(say("settings.not_yourself"))  # so that one administrator is always left
        match act:
            case "add person":
                role = Role(request["role"])
                name = accounts.add_user(name, _password(request), role, who).name
                return say("settings.added", name=name, role=term("role", role))
            case "change role":
                role = Role(request["role"])
                accounts.set_role(name, role, who)
                return say("settings.role_changed", name=name, role=term("role", role))
            case "set password":
                accounts.set_password(name, _password(request), who)
                return say("settings.password_set", name=name)
            case _:
                accounts.set_active(name, act == "let in", who)
                return say("settings.let_in" if act == "let in" else "settings.locked_out", name=name)

    def _key(self, act: str, request: Mapping[str, Any], who: str) -> Done:
        accounts = self._accounts
        match act:
            case "make key":
                scopes = [str(scope) for scope in request.get("scopes", ())]
                unknown = [scope[:50] for scope in scopes if scope not in self.scopes]
                if unknown:
                    raise InputError(f"a key shows {', '.join(self.scopes)}; not {', '.join(unknown)}")
                days = _days(request)
                expires = self._clock() + days * DAY_MS if days else 0
                secret, key = accounts.add_api_key(_text(request, "partner"), expires, who, scopes)
                return Done(say("settings.key_made", prefix=key.prefix, partner=key.partner), secret)
            case "renew key":
                secret, key = accounts.rotate_api_key(_text(request, "prefix"), _days(request) * DAY_MS, who)
                return Done(say("settings.key_made", prefix=key.prefix, partner=key.partner), secret)
            case _:
                prefix = _text(request, "prefix")
                accounts.revoke_api_key(prefix, who)
                return Done(say("settings.key_revoked", prefix=prefix))

    def _stand_in(self, request: Mapping[str, Any], who: str) -> str:
        if self._on_call is None:
            raise InputError(say("oncall.no_schedule"))
        schedule, person = _text(request, "schedule"), _text(request, "person")
        zone = changes.zone_of(self._on_call, schedule)
        made = changes.begin(
            self._on_call,
            self._records,
            schedule,
            person,
            _moment(request["start"], zone) if request.get("start") else self._clock(),
            _moment(request["end"], zone),
            who,
            str(request.get("other") or ""),
            str(request.get("note") or "").strip(),
        )
        return say("settings.stand_in_begun", number=made.id, schedule=schedule)


def _text(request: Mapping[str, Any], field: str) -> str:
    text = str(request[field]).strip()
    if not text or len(text) > LONGEST_NAME:
        raise InputError(say("settings.needed", field=say(f"settings.{field}"), most=LONGEST_NAME))
    return text


def _password(request: Mapping[str, Any]) -> str:
    password = str(request["password"])
    if len(password) > LONGEST_PASSWORD:
        raise InputError(f"a password has {LONGEST_PASSWORD} characters at most")
    return password


def _days(request: Mapping[str, Any]) -> int:
    days = int(request.get("days") or 0)
    if not 0 <= days <= LONGEST_DAYS:
        raise InputError(f"a number of days lies between 0 and {LONGEST_DAYS}")
    return days


def _moment(text: object, zone: ZoneInfo) -> int:
    """Return a moment, UTC ms, as a field of a form has it: by the clocks of a zone."""
    told = datetime.fromisoformat(str(text))
    return int((told if told.tzinfo else told.replace(tzinfo=zone)).timestamp() * 1000)
