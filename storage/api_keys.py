"""Keys of partners: hashed, of some scopes, expiring, renewed with an overlap."""

from __future__ import annotations

import hashlib
import hmac
import secrets
import threading
import time
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any

from sqlalchemy import Connection, insert, select, update
from sqlalchemy.engine import Row

from domain.batch import now_ms
from domain.errors import InputError
from storage import record_tables as t
from storage.database import Database

LONGEST_NAME = 200
KEY_START = "hw"
_LAST_USED_STEP = 60_000
"""`last_used` is written at most this often per key, ms."""
_KEYS_FRESH_S = 1.0


@dataclass(frozen=True, slots=True)
class ApiKey:
    """A partner's key, without its secret; `expires` and `revoked` are UTC ms, 0 for never.

    `scopes` are what it shows of what its partner's contract shows; all of that if empty.
    """

    id: int
    prefix: str
    partner: str
    created: int
    expires: int
    revoked: int
    last_used: int
    scopes: tuple[str, ...] = ()

    def fault(self, now: int) -> str:
        """Return why it is refused at a time (UTC ms): ``revoked``, ``expired``, or nothing."""
        return "revoked" if self.revoked else "expired" if self.expires and self.expires <= now else ""


class ApiKeys:
    """API keys in the records; safe to call from several threads."""

    def __init__(self, records: Database) -> None:
        self._records = records
        self._used: dict[int, int] = {}
        self._use_lock = threading.Lock()
        self._known_keys: dict[str, tuple[str, ApiKey]] = {}
        self._keys_read = -_KEYS_FRESH_S

    def add_api_key(
        self, partner: str, expires: int = 0, by: str = "hallwatch", scopes: Iterable[str] = ()
    ) -> tuple[str, ApiKey]:
        """Make a key for a partner and return (key, record). The key is shown now and never again.

        The secret is 256 random bits, so that a plain SHA-256 of it is safe to keep.

        Raises
        ------
        InputError
            If the partner has no name, or a name that is too long or no plain text.
        """
        partner = partner.strip()
        if not partner or not partner.isprintable() or len(partner) > LONGEST_NAME:
            raise InputError(
                f"an API key needs the name of the partner it is for: printable, {LONGEST_NAME} characters at most"
            )
        with self._records.writing() as db:
            key, found = self._add(db, partner, expires, tuple(dict.fromkeys(scopes)))
            audit(db, by, "made API key", f"{found.prefix} for {partner}")
        self._keys_read = -_KEYS_FRESH_S
        return key, found

    def rotate_api_key(self, prefix: str, overlap_ms: int, by: str = "hallwatch") -> tuple[str, ApiKey]:
        """Make a key in place of another and return (key, record); the old one works for `overlap_ms` more.

        The new one has the partner, the scopes and the lifetime of the old one.

        Raises
        ------
        InputError
            If no key has this prefix, or it works no longer.
        """
        now = now_ms()
        with self._records.writing() as db:
            old = next((k for k in _all(db) if k.prefix == prefix), None)
            if old is None:
                raise _unknown(prefix)
            if old.fault(now):
                raise InputError(f"API key {prefix!r} is {old.fault(now)}: make a new one with 'apikey add'")
            expires = now + old.expires - old.created if old.expires else 0
            key, found = self._add(db, old.partner, expires, old.scopes)
            ends = min(filter(None, (old.expires, now + overlap_ms)))
            db.execute(update(t.api_keys).where(t.api_keys.c.id == old.id).values(expires=ends))
            audit(db, by, "rotated API key", f"{prefix} for {old.partner}, now {found.prefix}")
        self._keys_read = -_KEYS_FRESH_S
        return key, found

    def _add(self, db: Connection, partner: str, expires: int, scopes: tuple[str, ...]) -> tuple[str, ApiKey]:
        prefix, secret = secrets.token_hex(4), secrets.token_urlsafe(32)
        fields = {"prefix": prefix, "partner": partner, "created": now_ms(), "expires": expires}
        key = db.scalar(
            insert(t.api_keys).values(secret_hash=_digest(secret), **fields).returning(t.api_keys.c.id)
        )
        if scopes:
            db.execute(insert(t.api_key_scopes).values(key_id=key, scopes=" ".join(scopes)))
        found = next(k for k in _all(db) if k.prefix == prefix)
        return f"{KEY_START}_{prefix}_{secret}", found

    def verify_api_key(self, key: str) -> ApiKey | None:
        """Return the record of a key that is known, neither revoked nor expired; else None.

        The keys are read from the records once a second at most: a call costs a digest, and a key that is revoked,
        by whichever process, is refused within a second.
        """
        found = self.whose(key)
        return None if found is None or found.fault(now_ms()) else found

    def whose(self, key: str) -> ApiKey | None:
        """Return the record of a key, also of one that works no longer; None where there is none."""
        start, _, rest = key.partition("_")
        prefix, _, secret = rest.partition("_")
        if start != KEY_START or not secret:
            return None
        known = self._keys().get(prefix)
        if known is None or not hmac.compare_digest(known[0], _digest(secret)):
            return None
        return known[1]

    def api_key(self, prefix: str) -> ApiKey | None:
        """Return the record of the key with this prefix that is neither revoked nor expired; else None."""
        known = self._keys().get(prefix)
        return None if known is None or known[1].fault(now_ms()) else known[1]

    def keys_are_fresh(self) -> bool:
        """Return whether `verify_api_key` will answer from memory, without the database."""
        return time.monotonic() - self._keys_read < _KEYS_FRESH_S

    def _keys(self) -> dict[str, tuple[str, ApiKey]]:
        if not self.keys_are_fresh():
            with self._records.reading() as db:
                hashes = {r.id: r.secret_hash for r in db.execute(select(t.api_keys))}
                found = _all(db)
            # a key that has not changed stays the same object: what is known of its caller holds on
            before = {of.id: of for _, of in self._known_keys.values()}
            same = {
                k.id: b for k in found if (b := before.get(k.id)) and replace(k, last_used=b.last_used) == b
            }
            self._known_keys = {k.prefix: (hashes[k.id], same.get(k.id, k)) for k in found if k.id in hashes}
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
                audit(db, by, "revoked API key", prefix)
        self._keys_read = -_KEYS_FRESH_S
        if changed.rowcount == 0:
            raise _unknown(prefix)

    def api_keys(self) -> list[ApiKey]:
        """Return all keys, oldest first, without their secrets."""
        with self._records.reading() as db:
            return _all(db)

    def note_use(self, key: ApiKey) -> None:
        """Note when a key was last used; written once a minute, for an answer should not cost a write."""
        now = now_ms()
        with self._use_lock:
            if not self.use_is_due(key, now):
                return
            self._used[key.id] = now
        with self._records.writing() as db:
            db.execute(update(t.api_keys).where(t.api_keys.c.id == key.id).values(last_used=now))

    def use_is_due(self, key: ApiKey, now: int) -> bool:
        """Return whether `note_use` would write."""
        return now - self._used.get(key.id, 0) >= _LAST_USED_STEP


def audit(db: Connection, who: str, what: str, detail: str = "") -> None:
    """Note that somebody did something, in the same transaction."""
    db.execute(insert(t.audit).values(at=now_ms(), who=who[:LONGEST_NAME], what=what, detail=detail))


def _unknown(prefix: str) -> InputError:
    return InputError(f"there is no API key {prefix!r}; list them to see their prefixes")


def _digest(secret: str) -> str:
    return hashlib.sha256(secret.encode()).hexdigest()


def _all(db: Connection) -> list[ApiKey]:
    k, s = t.api_keys, t.api_key_scopes
    query = select(k, s.c.scopes).select_from(k.outerjoin(s, s.c.key_id == k.c.id)).order_by(k.c.id)
    return [_api_key(row) for row in db.execute(query)]


def _api_key(row: Row[Any]) -> ApiKey:
    return ApiKey(
        row.id,
        row.prefix,
        row.partner,
        row.created,
        row.expires,
        row.revoked,
        row.last_used,
        tuple((row.scopes or "").split()),
    )
