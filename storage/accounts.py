"""Who may come in: people with passwords, partners with API keys. Neither is kept in the clear.

Whatever changes here is in the audit, with who did it; `by` is a person and where they did it from.
"""

from __future__ import annotations

import secrets
import threading
from dataclasses import dataclass
from typing import Any

from pwdlib import PasswordHash
from pwdlib.hashers.argon2 import Argon2Hasher
from sqlalchemy import insert, select, update
from sqlalchemy.engine import Row

from domain.batch import now_ms
from domain.errors import InputError
from domain.pace import Pace
from domain.role import Role
from storage import record_tables as t
from storage.api_keys import LONGEST_NAME, ApiKeys, audit
from storage.records import Records
from storage.sessions import end_sessions

FAILURES_LISTED = (0.1, 100)
"""Failed logins that go into the audit, a second and at once: a flood must not fill the records."""
SHORTEST_PASSWORD = 8


@dataclass(frozen=True, slots=True)
class User:
    """A person who may log in; times are UTC ms, `last_login` is 0 before the first."""

    id: int
    name: str
    role: Role
    active: bool
    created: int
    last_login: int


class Accounts(ApiKeys):
    """Users and API keys in the records; safe to call from several threads."""

    def __init__(self, records: Records) -> None:
        super().__init__(records)
        # one lane: a login takes one core for its tenth of a second, not every core
        self._hash = PasswordHash((Argon2Hasher(parallelism=1),))
        self._lock = threading.Lock()
        self._nobody = ""
        self._failures = Pace(*FAILURES_LISTED, most=1)
        self._unlisted = 0

    # --- people ---------------------------------------------------------------------------------------------

    def add_user(self, name: str, password: str, role: Role = Role.OPERATOR, by: str = "hallwatch") -> User:
        """Add a person.

        Raises
        ------
        InputError
            If the name is taken, empty, too long or no plain text, or the password is too short.
        """
        name = name.strip()
        if not name or not name.isprintable() or len(name) > LONGEST_NAME:
            raise InputError(f"a user needs a name of printable characters, {LONGEST_NAME} at most")
        _check_password(password)
        if self.user(name) is not None:
            raise InputError(f"there is a user {name!r} already; choose another name or set the password")
        secret = self._hash.hash(password)
        with self._records.writing() as db:
            db.execute(insert(t.users).values(name=name, password_hash=secret, role=role, created=now_ms()))
            audit(db, by, "added user", f"{name} as {role}")
        return self._known(name)

    def set_password(self, name: str, password: str, by: str = "hallwatch") -> None:
        """Give a person a new password; whoever is logged in with the old one is no longer.

        Raises
        ------
        InputError
            If there is no such user, or the password is too short.
        """
        _check_password(password)
        self._known(name)
        self._change(name, by, "changed password of", password_hash=self._hash.hash(password))

    def set_role(self, name: str, role: Role, by: str = "hallwatch") -> None:
        """Give a person another role; they log in anew to have it.

        Raises
        ------
        InputError
            If there is no such user.
        """
        self._known(name)
        self._change(name, by, f"made {role}", role=role)

    def set_active(self, name: str, active: bool, by: str = "hallwatch") -> None:
        """Lock a person out at once, or let them in again.

        Raises
        ------
        InputError
            If there is no such user.
        """
        self._known(name)
        self._change(name, by, "let in again" if active else "locked out", active=active)

    def verify_password(self, name: str, password: str, address: str = "") -> User | None:
        """Return the user whose password this is, or None; notes the login, good or bad, in the audit.

        Takes a tenth of a second of a core and 64 MiB: never call it on an event loop, and only a few at a time.
        """
        name = name.strip()
        # an unknown name must cost what a wrong password costs, or names could be guessed by the clock
        self._nobody = self._nobody or self._hash.hash(secrets.token_hex())
        row = self._row(name)
        right, renewed = self._hash.verify_and_update(
            password, self._nobody if row is None else row.password_hash
        )
        where = f"from {address}" if address else ""
        if row is None or not right or not row.active:
            why = "unknown name" if row is None else "wrong password" if not right else "locked out"
            self._note_failure(name, f"{where}: {why}".lstrip(": "))
            return None
        changes: dict[str, Any] = {"last_login": now_ms()}
        if renewed is not None:
            changes["password_hash"] = renewed
        with self._records.writing() as db:
            db.execute(update(t.users).where(t.users.c.name == row.name).values(**changes))
            audit(db, row.name, "logged in", where)
        return self._known(row.name)

    def _note_failure(self, name: str, detail: str) -> None:
        """Note a failed login; of a flood only so many, and with the next one how many were left out."""
        with self._lock:
            if self._failures.take(""):
                self._unlisted += 1
                return
            left_out, self._unlisted = self._unlisted, 0
        more = f" (and {left_out} more since the last that is listed)" if left_out else ""
        with self._records.writing() as db:
            audit(db, plain(name), "login failed", detail + more)

    def user(self, name: str) -> User | None:
        """Return the user of this name, or None."""
        row = self._row(name)
        return None if row is None else _user(row)

    def users(self) -> list[User]:
        """Return all users, by name."""
        with self._records.reading() as db:
            return [_user(row) for row in db.execute(select(t.users).order_by(t.users.c.name))]

    def _known(self, name: str) -> User:
        user = self.user(name)
        if user is None:
            raise InputError(f"there is no user {name!r}")
        return user

    def _row(self, name: str) -> Row[Any] | None:
        if not name.isprintable():  # no name has it, and PostgreSQL refuses a NUL
            return None
        with self._records.reading() as db:
            return db.execute(select(t.users).where(t.users.c.name == name)).first()

    def _change(self, name: str, by: str, what: str, **changes: Any) -> None:
        """Change a person, end their sessions, and note who did it: all of it or nothing."""
        with self._records.writing() as db:
            db.execute(update(t.users).where(t.users.c.name == name).values(**changes))
            end_sessions(db, name)
            audit(db, by, what, name)


def plain(text: str) -> str:
    """Return a stranger's text as it may stand in the records: printable, and not endless."""
    return "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in text[:LONGEST_NAME])


def _check_password(password: str) -> None:
    if len(password) < SHORTEST_PASSWORD:
        raise InputError(f"a password needs at least {SHORTEST_PASSWORD} characters")


def _user(row: Row[Any]) -> User:
    return User(row.id, row.name, Role(row.role), row.active, row.created, row.last_login)
