"""Time travel: which moment an address asks for.

A moment is ``?at=`` in any address of the console: ``2026-11-27T03:00`` by the site's clocks, the same with a zone of its own, or
seconds or milliseconds since 1970 (UTC).
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Concatenate, ParamSpec, TypeVar
from zoneinfo import ZoneInfo

from dashboard.data import ConsoleData
from dashboard.page import fields_of
from dashboard.threads import reading, reading_past

P = ParamSpec("P")
T = TypeVar("T")

SECONDS = 100_000_000_000
"""A number below this is seconds since 1970, any other milliseconds."""
_EPOCH = datetime.fromtimestamp(0, UTC)


def moment_in(search: str | None, zone: ZoneInfo, now: int) -> int:
    """Return the moment (UTC ms) that an address asks for; 0 where it asks for none, or for one that is still to come."""
    text = fields_of(search).get("at", "")
    if text.isdecimal() and len(text) <= 14:
        number = int(text)
        moment = number * 1000 if number < SECONDS else number
    elif ":" in text:  # a day is no moment
        try:
            told = datetime.fromisoformat(text)
            moment = round((told.replace(tzinfo=told.tzinfo or zone) - _EPOCH).total_seconds() * 1000)
        except (ValueError, OverflowError):
            return 0
    else:
        return 0
    return moment if 0 < moment < now else 0


async def seen(
    data: ConsoleData,
    search: str | None,
    work: Callable[Concatenate[ConsoleData, P], T],
    *args: P.args,
    **kwargs: P.kwargs,
) -> T:
    """Run what reads stores, in a thread of the console, on the data of the moment that an address asks for."""
    moment = moment_in(search, data.site.zone, data.clock())
    if not moment:
        return await reading(work, data, *args, **kwargs)
    return await reading_past(lambda: work(data.at(moment), *args, **kwargs))
