"""What all routes of the API share."""

from __future__ import annotations

import re
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import Annotated, Any, TypeVar

from fastapi import APIRouter, Query, Request, Response
from pydantic import AfterValidator, AwareDatetime, BeforeValidator

from domain.site import Site
from partners.access import Caller
from partners.formats import Format
from partners.problems import ApiError
from partners.replies import Replies, chosen
from partners.settings import Shows
from partners.workers import Workers
from storage.records import Records

Answered = TypeVar("Answered", bound=Callable[..., Any])
DAY_MS = 86_400_000
FIRST, LAST = datetime(1970, 1, 1, tzinfo=UTC), datetime(9000, 1, 1, tzinfo=UTC)


def _reckoned(moment: datetime) -> datetime:
    if not FIRST <= moment < LAST:
        raise ValueError(f"write a time of the years {FIRST.year} to {LAST.year - 1}")
    return moment


_TIME = re.compile(r"\d{4}-\d\d-\d\d[T t]\d\d:")
_DAY = re.compile(r"\d{4}-\d\d-\d\d")


def _time_text(value: object) -> object:
    """Return a time as it was sent; a number, which other programs take for seconds, is none."""
    if isinstance(value, str) and not _TIME.match(value):
        raise ValueError("write a time with its zone, such as 2026-07-15T16:00:00+08:00 (RFC 3339)")
    # an unescaped + arrives as a space
    return value[:11] + value[11:].replace(" ", "+") if isinstance(value, str) else value


def _day_text(value: object) -> object:
    if isinstance(value, str) and not _DAY.fullmatch(value):
        raise ValueError("write a day such as 2026-07-15")
    return value


Moment = Annotated[AwareDatetime, BeforeValidator(_time_text), AfterValidator(_reckoned)]
Day = Annotated[date, BeforeValidator(_day_text)]
ObjectId = Annotated[
    str | None,
    Query(
        description="The site (default), or a node of its power path that the site publishes", max_length=200
    ),
]
Form = Annotated[Format | None, Query(alias="format", description="Overrides the Accept header")]
PAGE = 100
MOST_ROWS = 10_000
Limit = Annotated[int, Query(ge=1, le=MOST_ROWS, description="Entries of one answer at most")]
Cursor = Annotated[
    str | None,
    Query(
        description="`next` of the answer before; everything else as asked there",
        pattern=r"^[0-9]{1,15}(-[0-9]{1,18})?$",
    ),
]


@dataclass(frozen=True, slots=True)
class Desk:
    """What an answer is made with.

    Attributes
    ----------
    clock
        UTC ms.
    needs
        Returns the dependency that lets in who may read a part.
    """

    site: Site
    records: Records
    clock: Callable[[], int]
    workers: Workers
    replies: Replies
    needs: Callable[[Shows], Any]

    def readable(
        self, api: APIRouter, part: Shows, path: str, **options: Any
    ) -> Callable[[Answered], Answered]:
        """Register a function of a part for GET, and for HEAD beside it."""
        needed = [self.needs(part)]

        def register(function: Answered) -> Answered:
            extra = {"x-shows": part.value}
            api.get(path, response_model=None, dependencies=needed, openapi_extra=extra, **options)(function)
            api.head(path, response_model=None, dependencies=needed, include_in_schema=False)(function)
            return function

        return register

    async def reply(
        self,
        request: Request,
        key: tuple[Hashable, ...],
        fresh_ms: int,
        form: Format,
        make: Callable[[], bytes],
        max_age: int = 60,
    ) -> Response:
        """Answer what `make` returns, or returned for this key within `fresh_ms`; 304 to who has it. `key` begins with its name."""
        made = await self.replies.of(key, fresh_ms, form, make)
        return chosen(made, request.headers, str(key[0]), max_age)


def caller_of(request: Request) -> Caller:
    """Return who asks."""
    caller: Caller = request.state.caller
    return caller


def object_of(request: Request, object_id: str | None, site: Site) -> str:
    """Return the object that is asked for.

    Raises
    ------
    ApiError
        404 where it is not published to who asks, or does not exist: nobody learns the plant by asking.
    """
    wanted = object_id or site.id
    if wanted not in caller_of(request).objects:
        raise ApiError(404, f"there is nothing of {wanted[:100]!r} here; the site is {site.id!r}")
    return wanted


def only_known_parameters(request: Request) -> None:
    """See that a question has no parameter that its route does not know: one that is misspelt must not be ignored.

    Raises
    ------
    ApiError
        400 if it has.
    """
    known = {field.alias for field in request.scope["route"].dependant.query_params}
    strange = [name for name in request.query_params if name not in known]
    if strange:
        possible = ", ".join(sorted(known)) or "none"
        raise ApiError(400, f"there is no parameter {strange[0][:100]!r} here; possible are: {possible}")


def ms(moment: datetime) -> int:
    """Return a time as UTC ms."""
    return int(moment.timestamp() * 1000)


def span(
    start: datetime | None, end: datetime | None, now: int, usual_ms: int, most_ms: int
) -> tuple[int, int]:
    """Return the time that is asked for, [start, end) in UTC ms: the last `usual_ms` if nothing is.

    Raises
    ------
    ApiError
        400 where it ends before it begins, or is longer than `most_ms`.
    """
    until = now if end is None else ms(end)
    since = until - usual_ms if start is None else ms(start)
    if until <= since:
        raise ApiError(400, "'to' must come after 'from'")
    if until - since > most_ms:
        raise ApiError(400, f"at most {most_ms // DAY_MS} days can be asked for at once")
    return since, until
