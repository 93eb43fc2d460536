"""Whose signatures are believed, and the site's own: JWS (RFC 7515), ES256 or RS256."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import orjson
from joserfc import jws
from joserfc.errors import JoseError
from joserfc.jwk import ECKey, RSAKey, import_key

from domain.errors import ConfigurationError, HallwatchError, Problem, brief
from partners.grid.flex.settings import PartyKey, SigningKey

FEWEST_BITS = 2048
"""Of an RSA key."""


class Refused(HallwatchError):
    """A target that is not taken; `reason` is what it is counted under."""

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(f"{reason}: {detail}")
        self.reason = reason


class KeyRegistry:
    """Public keys of energy partners by their ids.

    Raises
    ------
    ConfigurationError
        If a key cannot be read or used.
    """

    def __init__(self, keys: Iterable[PartyKey]) -> None:
        self._keys = {key.id: (key.party, *_read(key.key_file, key.id, private=False)) for key in keys}

    def opened(self, signed: str, party: str) -> tuple[bytes, dict[str, Any]]:
        """Return the payload and the protected header of what a party signed.

        The algorithm is the key's, whatever the header says otherwise.

        Raises
        ------
        Refused
            If the key is not known, is another party's, or the signature is not its.
        """
        try:
            header = jws.extract_compact(signed.encode()).headers()
        except (JoseError, ValueError) as error:
            raise Refused("malformed", f"no signed data ({error})") from error
        kid = header.get("kid")
        if not isinstance(kid, str) or kid not in self._keys:
            raise Refused("unknown_key", f"no key {brief(kid)} is registered")
        owner, key, algorithm = self._keys[kid]
        if owner != party:
            raise Refused("wrong_party", f"key {brief(kid)} is not {brief(party)}'s")
        try:
            opened = jws.deserialize_compact(
                signed, key, registry=jws.JWSRegistry(algorithms=[algorithm], strict_check_header=False)
            )
        except (JoseError, ValueError) as error:
            raise Refused("forged", f"the signature is not that of key {brief(kid)}") from error
        return opened.payload, header


class Signer:
    """Signs what the site tells.

    Raises
    ------
    ConfigurationError
        If its key cannot be read or used.
    """

    def __init__(self, settings: SigningKey) -> None:
        self._key, self._algorithm = _read(settings.key_file, settings.id, private=True)
        self._id = settings.id

    def sign(self, payload: dict[str, Any]) -> str:
        """Return a payload, signed."""
        header = {"alg": self._algorithm, "kid": self._id}
        return jws.serialize_compact(header, orjson.dumps(payload), self._key)


def digest(signed: str) -> str:
    """Return what names a signed content, whoever sends it again: the signature itself can be varied, this cannot."""
    return hashlib.sha256(signed.rpartition(".")[0].encode()).hexdigest()


def _read(file: Path, key_id: str, private: bool) -> tuple[ECKey | RSAKey, str]:
    where = f"grid: key {key_id}"
    try:
        key = _imported(file.read_bytes())
    except (OSError, ValueError, TypeError, JoseError) as error:
        remedy = "Name a PEM or JWK file of a P-256 or an RSA key."
        raise ConfigurationError(
            Problem(where, "key_file", f"{file} cannot be used ({error})", remedy)
        ) from error
    if private and not key.is_private:
        raise ConfigurationError(
            Problem(where, "key_file", f"{file} holds no private key", "Name the private one.")
        )
    if isinstance(key, ECKey) and key.curve_name == "P-256":
        return key, "ES256"
    if isinstance(key, RSAKey) and key.raw_value.key_size >= FEWEST_BITS:
        return key, "RS256"
    remedy = f"Use a P-256 key (ES256), or an RSA key of {FEWEST_BITS:,} bits or more (RS256)."
    raise ConfigurationError(Problem(where, "key_file", f"{file} holds another kind of key", remedy))


def _imported(content: bytes) -> Any:
    if content.lstrip().startswith(b"{"):
        return import_key(orjson.loads(content))
    try:
        return ECKey.import_key(content)
    except (ValueError, TypeError, JoseError):
        return RSAKey.import_key(content)
