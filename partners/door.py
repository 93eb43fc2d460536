"""Answers that need no framework: a refusal, and the answer to a question that was asked before.

Reading a request by its declared parameters costs many times what such an answer costs, and all of it on the event loop
that everybody shares. What is not settled here (a new question, a wrong parameter) takes the usual way.
"""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

from fastapi import Response
from starlette.types import Scope

from partners.access import Access, Caller
from partners.answers import NewestForecasts
from partners.forecasts import Selection, is_late
from partners.problems import ApiError, refused
from partners.replies import takes_gzip
from partners.settings import Shows
from partners.tokens import START, Tokens
from partners.usage import Calls, address
from partners.workers import MOST_ANSWERS
from storage.accounts import Accounts

LONGEST_QUESTION = 1_000
"""Characters of a question whose answer is kept."""
Question: TypeAlias = tuple[str, bytes, str, bool]
"""Path, query and Accept header, as they came, and whether the answer may be compressed."""
INVALID = {"www-authenticate": 'Bearer error="invalid_token"'}


@dataclass(frozen=True, slots=True)
class Kept:
    """The answer to one question: whole, and for who has it already."""

    selection: Selection
    whole: Response
    unchanged: Response
    is_unchanged: Callable[[str | None, str | None], bool]
    """Tells from If-None-Match and If-Modified-Since whether the caller has it."""


class Door:
    """Who is let in, and what can be answered at once.

    Parameters
    ----------
    accounts
        Who has an API key.
    access
        What a key shows.
    tokens
        Reads access tokens.
    newest
        The newest forecasts.
    calls
        Counts every call.
    clock
        UTC ms.
    """

    def __init__(
        self,
        accounts: Accounts,
        access: Access,
        tokens: Tokens,
        newest: NewestForecasts,
        calls: Calls,
        clock: Callable[[], int],
    ) -> None:
        self._accounts = accounts
        self._access = access
        self._tokens = tokens
        self._newest = newest
        self._calls = calls
        self._clock = clock
        self._kept: OrderedDict[Question, Kept] = OrderedDict()

    def admit(self, told: str | None) -> Caller:
        """Return a caller who may go on, by its key or token, and count the call to its partner's limit; may block.

        Raises
        ------
        ApiError
            401 where the key is missing or not valid, 429 above the limit.
        """
        if told is None:
            raise ApiError(
                401,
                "no API key; send the header 'Authorization: Bearer KEY'",
                {"www-authenticate": "Bearer"},
                reason="no key",
            )
        caller = self._by_token(told) if told.startswith(START) else self._by_key(told)
        wait = caller.pace.take(caller.partner)
        if wait:
            raise ApiError(
                429,
                f"more than {caller.per_minute} calls a minute; a new forecast is issued every 15 minutes",
                {"retry-after": str(math.ceil(wait))},
                caller.partner,
                caller.key.prefix,
                "too many calls",
            )
        return caller

    def _by_key(self, told: str) -> Caller:
        key = self._accounts.verify_api_key(told)
        if key is not None:
            return self._access.of(key)
        known = self._accounts.whose(told)
        raise ApiError(
            401,
            "the API key is not known, has expired or was revoked; ask the site's operator for a new one",
            INVALID,
            "" if known is None else known.partner,
            "" if known is None else known.prefix,
            "unknown key" if known is None else f"key {known.fault(self._clock()) or 'ended'}",
        )

    def _by_token(self, told: str) -> Caller:
        token = self._tokens.read(told, self._clock() / 1000)
        key = None if token is None else self._accounts.api_key(token.prefix)
        if token is None or key is None:
            raise ApiError(
                401,
                "the access token is not valid, has expired, or its key was revoked; ask for another one",
                INVALID,
                prefix="" if token is None else token.prefix,
                reason="bad token" if token is None else "key of the token ended",
            )
        return self._access.of(key, token.scopes)

    def still(self, caller: Caller) -> bool:
        """Return whether the key of a caller who was let in still works; may block."""
        return self._accounts.api_key(caller.key.prefix) is not None

    def answer(self, scope: Scope, route: str) -> Response | None:
        """Return the answer to a request if there is one at once; it never blocks.

        Who was let in and has no answer yet stands in the request's state (`caller`), and is not counted again.
        """
        headers = first_headers(scope)
        scheme, _, told = headers.get("authorization", "").partition(" ")
        key_told = told if scheme.lower() == "bearer" and told else None
        if key_told is not None and not self._accounts.keys_are_fresh():
            return None
        try:
            caller = self.admit(key_told)
        except ApiError as error:
            self._calls.note(error.partner, error.status, route)
            self._calls.refuse(error, route, address(scope))
            return refused(error)
        scope.setdefault("state", {}).update(caller=caller)
        now = self._clock()
        kept = self._kept.get(_question(scope, headers))
        if kept is None or self._accounts.use_is_due(caller.key, now):
            return None
        if Shows.FORECASTS not in caller.shows or kept.selection.forecast.object_id not in caller.objects:
            return None
        if not self._is_current(kept.selection, now):
            return None
        unchanged = kept.is_unchanged(headers.get("if-none-match"), headers.get("if-modified-since"))
        answer = kept.unchanged if unchanged else kept.whole
        self._calls.note(caller.partner, answer.status_code, route)
        return answer

    def _is_current(self, selection: Selection, now: int) -> bool:
        newest = self._newest.known(selection.forecast.object_id)
        return newest is selection.forecast and selection.late == is_late(newest, now)

    def keep(self, scope: Scope, kept: Kept) -> None:
        """Keep the answer to the question that a request asked."""
        question = _question(scope, first_headers(scope))
        if sum(map(len, question[:3])) > LONGEST_QUESTION:
            return
        self._kept[question] = kept
        self._kept.move_to_end(question)
        while len(self._kept) > MOST_ANSWERS:
            self._kept.popitem(last=False)


def first_headers(scope: Scope) -> dict[str, str]:
    """Return the headers; of one that was sent several times the first, as the framework has it."""
    return {name.decode("latin-1"): value.decode("latin-1") for name, value in reversed(scope["headers"])}


def _question(scope: Scope, headers: dict[str, str]) -> Question:
    packed = takes_gzip(headers.get("accept-encoding", ""))
    return scope["path"], scope["query_string"], headers.get("accept", "*/*"), packed
