"""Access tokens by OAuth 2 client credentials (RFC 6749, 4.4): signed by this service, read by nobody else.

The client's id is the first part of its API key, the secret is the key. A token names the key that it came from, so that
a key that is revoked ends its tokens within a second; it is signed and timed by itsdangerous. (Authlib's authorization
server serves Flask and Django only; nobody outside reads these tokens, so that a JWT would tell no one anything.)
"""

from __future__ import annotations

import hashlib
import secrets
from collections import OrderedDict
from dataclasses import dataclass

from itsdangerous import BadData, URLSafeTimedSerializer

from storage.api_keys import ApiKey

START = "hwt_"
LIFETIME_S = 3600
MOST_KNOWN = 1000
"""Tokens whose signature was looked at are remembered: looking costs more than all the rest of a call."""


@dataclass(frozen=True, slots=True)
class Token:
    """What a token says: of which key, since when (seconds since 1970), of which scopes (all of the key's if empty)."""

    prefix: str
    issued: float
    scopes: frozenset[str]


class Tokens:
    """Makes tokens and reads them.

    Parameters
    ----------
    secret
        Signs them; of this process alone if empty: then tokens end with it.
    """

    def __init__(self, secret: str = "") -> None:
        self._signer = URLSafeTimedSerializer(
            secret or secrets.token_urlsafe(32),
            salt="hallwatch partner token",
            signer_kwargs={"key_derivation": "hmac", "digest_method": hashlib.sha256},
        )
        self._known: OrderedDict[str, Token] = OrderedDict()

    def make(self, key: ApiKey, scopes: frozenset[str]) -> str:
        """Return a token of a key, of these scopes."""
        return START + str(self._signer.dumps([key.prefix, *sorted(scopes)]))

    def read(self, told: str, now: float) -> Token | None:
        """Return what a token says at a time (seconds since 1970); None where it is forged, spoilt or expired."""
        token = self._known.get(told)
        if token is None:
            try:
                (prefix, *scopes), issued = self._signer.loads(
                    told.removeprefix(START), return_timestamp=True
                )
            except BadData:
                return None
            token = self._known[told] = Token(prefix, issued.timestamp(), frozenset(scopes))
            while len(self._known) > MOST_KNOWN:
                self._known.popitem(last=False)
        return token if now - token.issued < LIFETIME_S else None
