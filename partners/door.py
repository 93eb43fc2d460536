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

from domain.pace import Pace
from partners.answers import MOST_ANSWERS, NewestForecasts
from partners.forecasts import Selection, is_late
from partners.problems import ApiError, Calls, refused
from storage.accounts import Accounts, ApiKey

LONGEST_QUESTION = 1_000
"""Characters of a question whose answer is kept."""
Question: TypeAlias = tuple[str, bytes, str]
"""Path, query and Accept header, as they came."""


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
    newest
        The newest forecasts.
    calls
        Counts every call.
    clock
        UTC ms.
    per_minute
        Calls that a partner may make, at once or spread.
    """

    def __init__(
        self,
        accounts: Accounts,
        newest: NewestForecasts,
        calls: Calls,
        clock: Callable[[], int],
        per_minute: int,
    ) -> None:
        self._accounts = accounts
        self._newest = newest
        self._calls = calls
        self._clock = clock
        self._per_minute = per_minute
        self._pace = Pace(per_minute / 60, per_minute)
        self._kept: OrderedDict[Question, Kept] = OrderedDict()

    def admit(self, told: str | None) -> ApiKey:
        """Return the key of a caller who may go on, and count the call to its partner's limit; may block.

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
            )
        key = self._accounts.verify_api_key(told)
        if key is None:
            raise ApiError(
                401,
                "the API key is not known, has expired or was revoked; ask the site's operator for a new one",
                {"www-authenticate": 'Bearer error="invalid_token"'},
            )
        wait = self._pace.take(key.partner)
        if wait:
            raise ApiError(
                429,
                f"more than {self._per_minute} calls a minute; a new forecast is issued every 15 minutes",
                {"retry-after": str(math.ceil(wait))},
                key.partner,
            )
        return key

    def answer(self, scope: Scope) -> Response | None:
        """Return the answer to a request if there is one at once; it never blocks.

        Who was let in and has no answer yet stands in the request's state (`key`, `partner`), and is not counted again.
        """
        headers = _first(scope)
        scheme, _, told = headers.get("authorization", "").partition(" ")
        key_told = told if scheme.lower() == "bearer" and told else None
        if key_told is not None and not self._accounts.keys_are_fresh():
            return None
        try:
            key = self.admit(key_told)
        except ApiError as error:
            self._calls.note(error.partner, error.status)
            return refused(error)
        scope.setdefault("state", {}).update(key=key, partner=key.partner)
        now = self._clock()
        kept = self._kept.get(_question(scope, headers))
        if kept is None or self._accounts.use_is_due(key, now) or not self._is_current(kept.selection, now):
            return None
        unchanged = kept.is_unchanged(headers.get("if-none-match"), headers.get("if-modified-since"))
        answer = kept.unchanged if unchanged else kept.whole
        self._calls.note(key.partner, answer.status_code)
        return answer

    def _is_current(self, selection: Selection, now: int) -> bool:
        newest = self._newest.known(selection.forecast.object_id)
        return newest is selection.forecast and selection.late == is_late(newest, now)

    def keep(self, scope: Scope, kept: Kept) -> None:
        """Keep the answer to the question that a request asked."""
        question = _question(scope, _first(scope))
        if sum(map(len, question)) > LONGEST_QUESTION:
            return
        self._kept[question] = kept
        self._kept.move_to_end(question)
        while len(self._kept) > MOST_ANSWERS:
            self._kept.popitem(last=False)


def _first(scope: Scope) -> dict[str, str]:
    """Return the headers; of one that was sent several times the first, as the framework has it."""
    return {name.decode("latin-1"): value.decode("latin-1") for name, value in reversed(scope["headers"])}


def _question(scope: Scope, headers: dict[str, str]) -> Question:
    return scope["path"], scope["query_string"], headers.get("accept", "*/*")
