"""Links by which a person answers a message without a login: signed, for one alert and one person, and soon over.

The keys lie in the data folder, for its user only. A new one is made every week; one that is not used any more is
dropped once no link that it signed can hold.
"""

from __future__ import annotations

import hashlib
import json
import os
import secrets
import tempfile
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import structlog
from itsdangerous import BadSignature, URLSafeSerializer

from domain.batch import now_ms
from domain.errors import LinkExpired, LinkRefused

log = structlog.get_logger(__name__)

KEYS_FILE = "links.secret"
ROTATE_MS = 7 * 86_400_000
"""A key signs for so long."""
MOST_KEYS = 5
LONGEST_TOKEN = 400
"""Characters; a longer one is none of ours."""
PURPOSE = "hallwatch answer to an alert"
PLACE = "/answer/"
"""Where the console answers links."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What a link allows: `person` (by key) may answer for one alert until `expires`, UTC ms."""

    alert_id: int
    person: str
    expires: int


class LinkKeys:
    """The keys that sign links, the newest last; another process may use the same file.

    Parameters
    ----------
    folder
        The data folder.
    lifetime
        How long a link holds, ms.
    clock
        UTC ms.
    """

    def __init__(self, folder: Path, lifetime: int, clock: Callable[[], int] = now_ms) -> None:
        self._file = folder / KEYS_FILE
        self._lifetime = lifetime
        self._clock = clock
        self._lock = threading.Lock()
        self._seen = -1
        self._keys: list[tuple[int, str]] = []

    def signing(self) -> list[str]:
        """Return the keys with one that may sign now as the last; it is made where there is none."""
        with self._lock:
            self._read()
            now = self._clock()
            # one from the future: our clock was set back since
            if not self._keys or not 0 <= now - self._keys[-1][0] < ROTATE_MS:
                ends = [made for made, _ in self._keys[1:]] + [
                    now
                ]  # of each key, when the next one took over
                kept = [k for k, end in zip(self._keys, ends, strict=False) if now - end <= self._lifetime]
                self._keys = [*kept[1 - MOST_KEYS :], (now, secrets.token_urlsafe(48))]
                self._write()
            return [key for _, key in self._keys]

    def known(self) -> list[str]:
        """Return the keys that may have signed a link that holds still; there may be none."""
        with self._lock:
            self._read()
            return [key for _, key in self._keys]

    def _read(self) -> None:
        try:
            changed = self._file.stat().st_mtime_ns
            if changed == self._seen:
                return
            self._keys = [(int(made), str(key)) for made, key in json.loads(self._file.read_text())]
            self._file.chmod(0o600)
            self._seen = changed
        except FileNotFoundError:
            self._keys, self._seen = [], -1
        except (
            ValueError,
            TypeError,
        ) as error:  # cut short by a crash of another release: links end, nothing else
            log.error(
                "the keys of links cannot be read; new ones are made", file=str(self._file), error=str(error)
            )
            self._keys, self._seen = [], -1

    def _write(self) -> None:
        handle, name = tempfile.mkstemp(dir=self._file.parent, prefix=KEYS_FILE)  # mode 0600
        with os.fdopen(handle, "w") as file:
            json.dump(self._keys, file)
            file.flush()
            os.fsync(file.fileno())
        os.replace(name, self._file)
        self._seen = self._file.stat().st_mtime_ns


class Links:
    """Makes and reads links.

    Parameters
    ----------
    keys
        What signs them.
    console_url
        Address of the console.
    lifetime
        How long a link holds, ms.
    clock
        UTC ms.
    """

    def __init__(
        self, keys: LinkKeys, console_url: str, lifetime: int, clock: Callable[[], int] = now_ms
    ) -> None:
        self._keys = keys
        self._url = console_url.rstrip("/")
        self._lifetime = lifetime
        self._clock = clock

    def make(self, alert_id: int, person: str) -> str:
        """Return the address by which a person (by key) answers for an alert.

        Raises
        ------
        OSError
            If a new key cannot be kept.
        """
        expires = (self._clock() + self._lifetime) // 1000
        token = _serializer(self._keys.signing()).dumps([alert_id, person, expires])
        return f"{self._url}{PLACE}{token if isinstance(token, str) else token.decode()}"

    def read(self, token: str) -> Answer:
        """Return what a token allows.

        Raises
        ------
        LinkRefused
            If it is none of ours, or was changed; `LinkExpired` if its time is over.
        """
        keys = self._keys.known()
        if len(token) > LONGEST_TOKEN or not keys:
            raise LinkRefused("this link is none of ours")
        try:
            alert_id, person, expires = _serializer(keys).loads(token)
            answer = Answer(int(alert_id), str(person), int(expires) * 1000)
        except (BadSignature, ValueError, TypeError) as error:
            raise LinkRefused("this link is none of ours, or was changed on its way") from error
        if self._clock() >= answer.expires:
            raise LinkExpired("this link has expired")
        return answer


def _serializer(keys: list[str]) -> URLSafeSerializer:
    return URLSafeSerializer(
        keys, salt=PURPOSE, signer_kwargs={"digest_method": hashlib.sha256, "key_derivation": "hmac"}
    )
