"""Who a caller is, and what its contract and its key show."""

from __future__ import annotations

from dataclasses import dataclass

from domain.envelope import Envelope
from domain.pace import Pace
from partners.settings import PartnerSettings, Shows, visible
from storage.api_keys import ApiKey

MOST_CALLERS = 1000
"""Callers that are remembered; then all are worked out anew."""


@dataclass(frozen=True, slots=True)
class Caller:
    """A partner with the key that it uses.

    Attributes
    ----------
    shows
        What it may read: what its contract shows, and its key or token too.
    objects
        Ids of the objects that it may read of: the site, and what is published to it.
    per_minute
        Calls that it may make, at once or spread.
    """

    key: ApiKey
    shows: frozenset[Shows]
    objects: frozenset[str]
    per_minute: int
    pace: Pace

    @property
    def partner(self) -> str:
        """Its name."""
        return self.key.partner


class Access:
    """What each partner may read, by configuration and by key.

    Parameters
    ----------
    settings
        What is published and shown to whom.
    envelope
        The site and its nodes.
    per_minute
        Calls that a partner may make whose contract does not say.
    """

    def __init__(self, settings: PartnerSettings, envelope: Envelope, per_minute: int) -> None:
        self._settings = settings
        self._envelope = envelope
        self._per_minute = per_minute
        self._known: dict[tuple[ApiKey, frozenset[str]], Caller] = {}
        self._paces: dict[int, Pace] = {}

    def of(self, key: ApiKey, narrowed: frozenset[str] = frozenset()) -> Caller:
        """Return the caller with a key; `narrowed` are the scopes of its token, all of the key's if empty."""
        known = self._known.get((key, narrowed))
        if known is not None:
            return known
        contract = self._settings.contract(key.partner)
        shows = frozenset(contract.shows or ())
        for scopes in (key.scopes, narrowed):
            if scopes:
                shows = frozenset(s for s in shows if s in scopes)
        per_minute = contract.calls_per_minute or self._per_minute
        pace = self._paces.setdefault(per_minute, Pace(per_minute / 60, per_minute))
        objects = visible(contract.published or (), self._envelope)
        if len(self._known) >= MOST_CALLERS:
            self._known.clear()
        found = self._known[key, narrowed] = Caller(key, shows, objects, per_minute, pace)
        return found
