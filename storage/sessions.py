"""Who is logged in to the console: kept in the records, so that a logout holds over restarts and in every process."""

from __future__ import annotations

import hashlib
import secrets
from dataclasses import dataclass

from sqlalchemy import Connection, delete, insert, select, update

from domain.batch import now_ms
from domain.role import Role
from storage import record_tables as t
from storage.records import Records

MOST_SESSIONS = 20
"""Of one person at a time; the oldest ends when another begins."""
_KEPT_MS = 86_400_000
"""How long an ended session's row stays."""


@dataclass(frozen=True, slots=True)
class Session:
    """A person who is logged in; times are UTC ms. `key` is a digest of the secret that the browser holds."""

    key: str
    user: str
    role: Role
    began: int
    expires: int


class LoginSessions:
    """Sessions in the records; safe to call from several threads."""

    def __init__(self, records: Records) -> None:
        self._records = records

    def begin(self, user: str, role: Role, seconds: float, address: str = "") -> tuple[str, Session]:
        """Begin a session and return the secret for the browser's cookie, and the session."""
        secret, now = secrets.token_urlsafe(24), now_ms()
        session = Session(digest(secret), user, role, now, now + int(seconds * 1000))
        s = t.sessions
        with self._records.writing() as db:
            db.execute(
                delete(s).where((s.c.expires < now) | ((s.c.ended > 0) & (s.c.ended < now - _KEPT_MS)))
            )
            live = select(s.c.id).where(s.c.user == user, s.c.ended == 0).order_by(s.c.id.desc())
            surplus = db.scalars(live.offset(MOST_SESSIONS - 1)).all()
            if surplus:
                db.execute(update(s).where(s.c.id.in_(surplus)).values(ended=now))
            db.execute(
                insert(s).values(
                    key=session.key, user=user, began=now, expires=session.expires, address=address[:100]
                )
            )
        return secret, session

    def live(self) -> dict[str, Session]:
        """Return the sessions that count, by key, each with the role that its person has now."""
        s, u = t.sessions, t.users
        query = (
            select(s.c.key, s.c.user, u.c.role, s.c.began, s.c.expires)
            .join(u, u.c.name == s.c.user)
            .where(s.c.ended == 0, s.c.expires > now_ms(), u.c.active)
        )
        with self._records.reading() as db:
            return {
                row.key: Session(row.key, row.user, Role(row.role), row.began, row.expires)
                for row in db.execute(query)
            }

    def preferences(self, user: str) -> tuple[str, str] | None:
        """Return the language and the theme that a person chose last, or None where nobody chose any."""
        p = t.preferences
        with self._records.reading() as db:
            row = db.execute(select(p.c.language, p.c.theme).where(p.c.user == user)).first()
        return None if row is None else (row.language, row.theme)

    def keep_preferences(self, user: str, language: str, theme: str) -> None:
        """Keep the language and the theme that a person chose."""
        p = t.preferences
        with self._records.writing() as db:
            db.execute(delete(p).where(p.c.user == user))
            db.execute(insert(p).values(user=user, language=language, theme=theme))

    def end(self, session: Session) -> None:
        """Log out: the cookie is worthless from now on, wherever a copy of it is."""
        s = t.sessions
        with self._records.writing() as db:
            db.execute(update(s).where(s.c.key == session.key).values(ended=now_ms()))
            db.execute(insert(t.audit).values(at=now_ms(), who=session.user, what="logged out", detail=""))


def end_sessions(db: Connection, user: str) -> None:
    """End all sessions of a person, in a transaction that is open."""
    s = t.sessions
    db.execute(update(s).where(s.c.user == user, s.c.ended == 0).values(ended=now_ms()))


def digest(secret: str) -> str:
    """Return what the records keep of a session's secret."""
    return hashlib.sha256(secret.encode()).hexdigest()
