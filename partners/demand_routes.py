"""Routes of demand: 15-minute demand as metered, the running quarter hour, limits, planned changes."""

from __future__ import annotations

from typing import Annotated

import orjson
from fastapi import APIRouter, Query, Request, Response

from domain.envelope import QUARTER_MS
from partners import demand
from partners.desk import DAY_MS, Cursor, Desk, Form, Limit, Moment, ObjectId, ms, object_of, span
from partners.formats import Format, negotiated, records_of, written
from partners.problems import ApiError
from partners.routes import answers
from partners.settings import Shows
from partners.sources import Sources

DEMAND_MS = 400 * DAY_MS
PAGE = 3_000
"""Quarter hours of one answer unless told otherwise: a month."""
AHEAD_MS = 7 * DAY_MS
FRESH_MS, RUNNING_MS = 15_000, 1_000


def add(api: APIRouter, desk: Desk, sources: Sources) -> None:
    """Add the routes."""

    @desk.readable(
        api,
        Shows.DEMAND,
        "/demand",
        summary="15-minute demand as metered",
        tags=["demand"],
        responses=answers(demand.Demand, "Quarter hours, oldest first", 400, 404, 406, 503, tables=True),
    )
    async def demand_history(
        request: Request,
        object_id: ObjectId = None,
        start: Annotated[
            Moment | None,
            Query(alias="from", description="Begun at or after this time; a day back if absent"),
        ] = None,
        end: Annotated[Moment | None, Query(alias="to", description="Begun before this time")] = None,
        limit: Limit = PAGE,
        cursor: Cursor = None,
        form: Form = None,
    ) -> Response:
        """Average power of each quarter hour that is over: the billing figure, from the meters' own energy counters where they have them.

        Of the last hour it is provisional: readings that come late may still change it.
        """
        how = negotiated(form, request.headers.get("accept", "*/*"))
        wanted = object_of(request, object_id, desk.site)
        now = desk.clock()
        since, until = span(start, end, now, DAY_MS, DEMAND_MS)
        since = max(since, int((cursor or "0").partition("-")[0]))
        since += -since % QUARTER_MS

        def made() -> bytes:
            last = min(until, since + limit * QUARTER_MS)
            rows = demand.demand_rows(sources, wanted, since, last, now)
            n = len(rows["start"])
            more = last < until and last <= now - now % QUARTER_MS
            document = {
                "object_id": wanted,
                "unit": "W",
                "interval_minutes": 15,
                "interval_label": "start",
                "intervals": records_of(rows),
                "next": str(last) if more else None,
            }
            columns = {
                "object_id": [wanted] * n,
                "start": rows["start"],
                "interval_minutes": [15] * n,
                "unit": ["W"] * n,
                "power": rows["power"],
                "quality": rows["quality"],
                "provisional": rows["provisional"],
            }
            return written(how, document, columns, "intervals")

        key = ("demand", wanted, since, until if end is not None else "now", limit)
        return await desk.reply(request, key, FRESH_MS, how, made, 15)

    @desk.readable(
        api,
        Shows.DEMAND,
        "/demand/running",
        summary="The running quarter hour",
        tags=["demand"],
        responses=answers(demand.RunningQuarter, "Where it stands and where it will end", 400, 404, 503),
    )
    async def running(request: Request, object_id: ObjectId = None) -> Response:
        """Tell where the average of this quarter hour stands, where it will end, and with what probability above the limit."""
        wanted = object_of(request, object_id, desk.site)
        if sources.plant.envelope[wanted].kind == "Rack":
            raise ApiError(404, "the running quarter hour is told of the site, feeds, UPSes and busways")
        told = demand.running_quarter(sources, wanted, desk.clock())
        if told is None:
            raise ApiError(
                503,
                "nothing is known of the running quarter hour: its meters are silent",
                {"retry-after": "10"},
            )
        key = ("running", wanted, told["time"])
        return await desk.reply(request, key, RUNNING_MS, Format.JSON, lambda: orjson.dumps(told), 1)

    @desk.readable(
        api,
        Shows.LIMITS,
        "/limits",
        summary="Limits and their schedule",
        tags=["demand"],
        responses=answers(demand.Limits, "The limit and its changes", 400, 404),
    )
    async def limits(
        request: Request,
        object_id: ObjectId = None,
        start: Annotated[
            Moment | None, Query(alias="from", description="Changes that end after this time; now if absent")
        ] = None,
        end: Annotated[
            Moment | None,
            Query(alias="to", description="Changes that begin before this time; 400 days if absent"),
        ] = None,
    ) -> Response:
        """Tell what the 15-minute average may reach: standing, scheduled by the contract, and as agreed with the grid."""
        wanted = object_of(request, object_id, desk.site)
        now = desk.clock()
        since = now if start is None else ms(start)
        until = since + DEMAND_MS if end is None else ms(end)
        if until <= since:
            raise ApiError(400, "'to' must come after 'from'")
        told = orjson.dumps(demand.limits(sources.plant.envelope[wanted], since, until, now))
        return await desk.reply(request, ("limits", told), FRESH_MS, Format.JSON, lambda: told, 15)

    @desk.readable(
        api,
        Shows.PLANS,
        "/plans",
        summary="Planned changes of the site's power",
        tags=["demand"],
        responses=answers(demand.Plans, "Jumps and blocks of planned work", 400, 503),
    )
    async def plans(
        request: Request,
        start: Annotated[
            Moment | None, Query(alias="from", description="From this time; now if absent")
        ] = None,
        end: Annotated[
            Moment | None, Query(alias="to", description="Until this time; a week ahead if absent")
        ] = None,
    ) -> Response:
        """Tell what jobs and maintenance that are scheduled will change, as known now: when, and by how much; neither names nor places."""
        now = desk.clock()
        since = now if start is None else ms(start)
        until = since + AHEAD_MS if end is None else ms(end)
        if not since < until <= since + DEMAND_MS:
            raise ApiError(400, "'to' must come after 'from', within 400 days")

        def made() -> bytes:
            works = desk.records.planned_work(since, until, known_at=now)
            return orjson.dumps(demand.plans(sources, works, since, until))

        given = (None if start is None else since, None if end is None else until)
        return await desk.reply(request, ("plans", *given), FRESH_MS, Format.JSON, made, 15)
