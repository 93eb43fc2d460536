"""Time travel: which moment an address of the console asks for, and what is read as of it.

A moment is ``?at=``: ``2026-11-27T03:00`` by the site's clocks, the same with a zone of its own, or seconds or milliseconds since 1970
(UTC).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Concatenate, ParamSpec, TypeVar
from zoneinfo import ZoneInfo

from dashboard.cells import moment_of
from dashboard.data import ConsoleData
from dashboard.page import fields_of
from dashboard.threads import reading, reading_past

P = ParamSpec("P")
T = TypeVar("T")


def moment_in(search: str | None, zone: ZoneInfo, now: int) -> int:
    """Return the moment (UTC ms) that an address asks for; 0 where it asks for none, or for one that is still to come."""
    moment = moment_of(fields_of(search).get("at", ""), zone)
    return moment if moment < now else 0


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
