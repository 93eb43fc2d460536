"""Who may come in: people with passwords, partners with API keys. Neither is kept in the clear."""

from __future__ import annotations

import hashlib
import hmac
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
from domain.role import Role
from storage import record_tables as t
from storage.records import Records

SHORTEST_PASSWORD = 8
_KEY_START = "hw"
_LAST_USED_STEP = 60_000
"""`last_used` is written at most this often per key, ms: an answer should not cost a write."""


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
        self._hash = PasswordHash((Argon2Hasher(),))
        self._used: dict[int, int] = {}
        self._lock = threading.Lock()
        self._nobody = ""

    # --- people ---------------------------------------------------------------------------------------------

    def add_user(self, name: str, password: str, role: Role = Role.OPERATOR) -> User:
        """Add a person.

        Raises
        ------
        InputError
            If the name is taken or empty, or the password is too short.
        """
        name = name.strip()
        if not name:
            raise InputError("a user needs a name")
        _check_password(password)
        if self.user(name) is not None:
            raise InputError(f"there is a user {name!r} already; choose another name or set the password")
        with self._records.writing() as db:
            db.execute(
                insert(t.users).values(
                    name=name, password_hash=self._hash.hash(password), role=role, created=now_ms()
                )
            )
        return self._known(name)

    def set_password(self, name: str, password: str) -> None:
        """Give a person a new password.

        Raises
        ------
        InputError
            If there is no such user, or the password is too short.
        """
        _check_password(password)
        self._known(name)
        self._change(name, password_hash=self._hash.hash(password))

    def set_active(self, name: str, active: bool) -> None:
        """Lock a person out, or let them in again.

        Raises
        ------
        InputError
            If there is no such user.
        """
        self._known(name)
        self._change(name, active=active)

    def verify_password(self, name: str, password: str) -> User | None:
        """Return the user whose password this is, or None; notes the login."""
        # an unknown name must cost what a wrong password costs, or names could be guessed by the clock
        self._nobody = self._nobody or self._hash.hash(secrets.token_hex())
        with self._records.reading() as db:
            row = db.execute(select(t.users).where(t.users.c.name == name.strip())).first()
        right, renewed = self._hash.verify_and_update(
            password, self._nobody if row is None else row.password_hash
        )
        if row is None or not right or not row.active:
            return None
        changes: dict[str, Any] = {"last_login": now_ms()}
        if renewed is not None:
            changes["password_hash"] = renewed
        self._change(row.name, **changes)
        return self._known(row.name)

    def user(self, name: str) -> User | None:
        """Return the user of this name, or None."""
        with self._records.reading() as db:
            row = db.execute(select(t.users).where(t.users.c.name == name)).first()
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

    def _change(self, name: str, **changes: Any) -> None:
        with self._records.writing() as db:
            db.execute(update(t.users).where(t.users.c.name == name).values(**changes))

    # --- partners -------------------------------------------------------------------------------------------

    def add_api_key(self, partner: str, expires: int = 0) -> tuple[str, ApiKey]:
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
        return f"{_KEY_START}_{prefix}_{secret}", _api_key(row)

    def verify_api_key(self, key: str) -> ApiKey | None:
        """Return the record of a key that is known, neither revoked nor expired; else None."""
        start, _, rest = key.partition("_")
        prefix, _, secret = rest.partition("_")
        if start != _KEY_START or not secret:
            return None
        with self._records.reading() as db:
            row = db.execute(select(t.api_keys).where(t.api_keys.c.prefix == prefix)).first()
        if row is None or not hmac.compare_digest(row.secret_hash, _digest(secret)):
            return None
        now = now_ms()
        if row.revoked or (row.expires and row.expires <= now):
            return None
        self._note_use(row.id, now)
        return _api_key(row)

    def revoke_api_key(self, prefix: str) -> None:
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
        if changed.rowcount == 0:
            raise InputError(f"there is no API key {prefix!r}; list them to see their prefixes")

    def api_keys(self) -> list[ApiKey]:
        """Return all keys, oldest first, without their secrets."""
        with self._records.reading() as db:
            return [_api_key(row) for row in db.execute(select(t.api_keys).order_by(t.api_keys.c.id))]

    def _note_use(self, key_id: int, now: int) -> None:
        with self._lock:
            if now - self._used.get(key_id, 0) < _LAST_USED_STEP:
                return
            self._used[key_id] = now
        with self._records.writing() as db:
            db.execute(update(t.api_keys).where(t.api_keys.c.id == key_id).values(last_used=now))


def _check_password(password: str) -> None:
    if len(password) < SHORTEST_PASSWORD:
        raise InputError(f"a password needs at least {SHORTEST_PASSWORD} characters")


def _digest(secret: str) -> str:
    return hashlib.sha256(secret.encode()).hexdigest()


def _user(row: Row[Any]) -> User:
    return User(row.id, row.name, Role(row.role), row.active, row.created, row.last_login)


def _api_key(row: Row[Any]) -> ApiKey:
    return ApiKey(row.id, row.prefix, row.partner, row.created, row.expires, row.revoked, row.last_used)
