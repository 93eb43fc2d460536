"""Who may come in: people with passwords, partners with API keys. Neither is kept in the clear.

Whatever changes here is in the audit, with who did it; `by` is a person and where they did it from.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
import threading
import time
from dataclasses import dataclass
from typing import Any

from pwdlib import PasswordHash
from pwdlib.hashers.argon2 import Argon2Hasher
from sqlalchemy import Connection, insert, select, update
from sqlalchemy.engine import Row

from domain.batch import now_ms
from domain.errors import InputError
from domain.pace import Pace
from domain.role import Role
from storage import record_tables as t
from storage.records import Records
from storage.sessions import end_sessions

LONGEST_NAME = 200
FAILURES_LISTED = (0.1, 100)
"""Failed logins that go into the audit, a second and at once: a flood must not fill the records."""
SHORTEST_PASSWORD = 8
_KEY_START = "hw"
_LAST_USED_STEP = 60_000
"""`last_used` is written at most this often per key, ms."""
_KEYS_FRESH_S = 1.0


@dataclass(frozen=True, slots=True)
class User:
    """A person who may log in; times are UTC ms, `last_login` is 0 before the first."""

    id: int
    name: str
    role: Role
    active: bool
    created: int
    last_login: int


@dataclass(frozen=True, slots=True)
class ApiKey:
    """A partner's key, without its secret; `expires` and `revoked` are UTC ms, 0 for never."""

    id: int
    prefix: str
    partner: str
    created: int
    expires: int
    revoked: int
    last_used: int


class Accounts:
    """Users and API keys in the records; safe to call from several threads."""

    def __init__(self, records: Records) -> None:
        self._records = records
        # one lane: a login takes one core for its tenth of a second, not every core
        self._hash = PasswordHash((Argon2Hasher(parallelism=1),))
        self._used: dict[int, int] = {}
        self._lock = threading.Lock()
        self._nobody = ""
        self._failures = Pace(*FAILURES_LISTED, most=1)
        self._unlisted = 0
        self._known_keys: dict[str, tuple[str, ApiKey]] = {}
        self._keys_read = -_KEYS_FRESH_S

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
            _audit(db, by, "added user", f"{name} as {role}")
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
            _audit(db, row.name, "logged in", where)
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
            _audit(db, plain(name), "login failed", detail + more)

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
            _audit(db, by, what, name)

    # --- partners -------------------------------------------------------------------------------------------

    def add_api_key(self, partner: str, expires: int = 0, by: str = "hallwatch") -> tuple[str, ApiKey]:
        """Make a key for a partner and return (key, record). The key is shown now and never again.

        The secret is 256 random bits, so that a plain SHA-256 of it is safe to keep.

        Raises
        ------
        InputError
            If the partner has no name.
        """
        partner = partner.strip()
        if not partner:
            raise InputError("an API key needs the name of the partner it is for")
        prefix, secret = secrets.token_hex(4), secrets.token_urlsafe(32)
        with self._records.writing() as db:
            db.execute(
                insert(t.api_keys).values(
                    prefix=prefix,
                    secret_hash=_digest(secret),
                    partner=partner,
                    created=now_ms(),
                    expires=expires,
                )
            )
            row = db.execute(select(t.api_keys).where(t.api_keys.c.prefix == prefix)).one()
            self._keys_read = -_KEYS_FRESH_S
            _audit(db, by, "made API key", f"{prefix} for {partner}")
        return f"{_KEY_START}_{prefix}_{secret}", _api_key(row)

    def verify_api_key(self, key: str) -> ApiKey | None:
        """Return the record of a key that is known, neither revoked nor expired; else None.

        The keys are read from the records once a second at most: a call costs a digest, and a key that is revoked,
        by whichever process, is refused within a second.
        """
        start, _, rest = key.partition("_")
        prefix, _, secret = rest.partition("_")
        if start != _KEY_START or not secret:
            return None
        known = self._keys().get(prefix)
        if known is None or not hmac.compare_digest(known[0], _digest(secret)):
            return None
        found, now = known[1], now_ms()
        return None if found.revoked or (found.expires and found.expires <= now) else found

    def keys_are_fresh(self) -> bool:
        """Return whether `verify_api_key` will answer from memory, without the database."""
        return time.monotonic() - self._keys_read < _KEYS_FRESH_S

    def _keys(self) -> dict[str, tuple[str, ApiKey]]:
        if not self.keys_are_fresh():
            with self._records.reading() as db:
                rows = db.execute(select(t.api_keys)).all()
            self._known_keys = {row.prefix: (row.secret_hash, _api_key(row)) for row in rows}
            self._keys_read = time.monotonic()
        return self._known_keys

    def revoke_api_key(self, prefix: str, by: str = "hallwatch") -> None:
        """Make a key worthless from now on.

        Raises
        ------
        InputError
            If no key has this prefix.
        """
        with self._records.writing() as db:
            changed = db.execute(
                update(t.api_keys).where(t.api_keys.c.prefix == prefix).values(revoked=now_ms())
            )
            if changed.rowcount:
                _audit(db, by, "revoked API key", prefix)
        self._keys_read = -_KEYS_FRESH_S
        if changed.rowcount == 0:
            raise InputError(f"there is no API key {prefix!r}; list them to see their prefixes")

    def api_keys(self) -> list[ApiKey]:
        """Return all keys, oldest first, without their secrets."""
        with self._records.reading() as db:
            return [_api_key(row) for row in db.execute(select(t.api_keys).order_by(t.api_keys.c.id))]

    def note_use(self, key: ApiKey) -> None:
        """Note when a key was last used; written once a minute, for an answer should not cost a write."""
        now = now_ms()
        with self._lock:
            if not self.use_is_due(key, now):
                return
            self._used[key.id] = now
        with self._records.writing() as db:
            db.execute(update(t.api_keys).where(t.api_keys.c.id == key.id).values(last_used=now))

    def use_is_due(self, key: ApiKey, now: int) -> bool:
        """Return whether `note_use` would write."""
        return now - self._used.get(key.id, 0) >= _LAST_USED_STEP


def plain(text: str) -> str:
    """Return a stranger's text as it may stand in the records: printable, and not endless."""
    return "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in text[:LONGEST_NAME])


def _audit(db: Connection, who: str, what: str, detail: str = "") -> None:
    db.execute(insert(t.audit).values(at=now_ms(), who=who[:LONGEST_NAME], what=what, detail=detail))


def _check_password(password: str) -> None:
    if len(password) < SHORTEST_PASSWORD:
        raise InputError(f"a password needs at least {SHORTEST_PASSWORD} characters")


def _digest(secret: str) -> str:
    return hashlib.sha256(secret.encode()).hexdigest()


def _user(row: Row[Any]) -> User:
    return User(row.id, row.name, Role(row.role), row.active, row.created, row.last_login)


def _api_key(row: Row[Any]) -> ApiKey:
    return ApiKey(row.id, row.prefix, row.partner, row.created, row.expires, row.revoked, row.last_used)
