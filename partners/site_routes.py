"""Routes of the site: facts, the month against the contract, energy with PUE and carbon, tokens."""

from __future__ import annotations

from datetime import date, datetime, timedelta
from typing import Annotated, Any, Literal

import numpy as np
import orjson
from fastapi import APIRouter, Query, Request, Response
from pydantic import BaseModel, Field

from analytics.contract.energy import energy_by, measured_at, midnight, periods, quarters
from domain.errors import InputError
from partners.demand import number
from partners.desk import DAY_MS, Day, Desk, Form, Moment, caller_of, span
from partners.forecasts import iso
from partners.formats import Format, negotiated, records_of, written
from partners.problems import ApiError
from partners.routes import answers
from partners.settings import Shows
from partners.sources import Sources
from storage.settings import QUARTER
from storage.telemetry import Aggregate

FRESH_MS, SLOW_MS = 15_000, 60_000
MOST_DAYS = 400
TOKENS_MS = 7 * DAY_MS
"""Tokens of one question: every tray's rate is read for them."""


class NodeFacts(BaseModel):
    """A node that is published."""

    object_id: str
    kind: str
    limit: float = Field(description="Standing, W")


class SiteFacts(BaseModel):
    """What the site is."""

    object_id: str
    name: str
    timezone: str = Field(description="IANA name: days and months are the site's")
    country: str
    unit: str
    limit: float = Field(description="Standing limit of the 15-minute average")
    installed: float = Field(description="Power with everything at full load")
    idle: float = Field(description="Power that it never falls under")
    nodes: list[NodeFacts] = Field(description="Published to you")
    shows: list[str] = Field(description="What you may read")


class PeakTold(BaseModel):
    """One demand charge of the month; power in W, money in `currency`."""

    name: str
    contracted: float
    so_far: float | None = Field(description="Highest quarter hour so far")
    at: datetime | None = Field(description="When it began")
    end: list[float] | None = Field(
        description="Where the month will end: quantiles of its highest quarter hour"
    )
    exceeds: float | None = Field(description="Probability that the contract is exceeded")
    basic: float = Field(description="Basic charge")
    excess_so_far: float
    excess: float | None = Field(description="Expected cost of exceeding by the month's end")


class PeriodTold(BaseModel):
    """A period of the tariff from `start` until another begins."""

    period: str
    season: str
    start: datetime
    end: datetime
    price: float | None = Field(description="Of a kWh, in `currency`")


class MonthTold(BaseModel):
    """The running month against the contract."""

    object_id: str
    contract: str
    month: str
    season: str
    currency: str
    start: datetime
    end: datetime
    measured: float = Field(description="Share of the quarter hours so far that are known")
    energy: dict[str, float] = Field(description="J by period of the tariff, so far")
    energy_cost: float = Field(description="So far")
    quantiles: list[float] = Field(description="Levels of `end`")
    peaks: list[PeakTold]
    periods: list[PeriodTold] = Field(description="That runs now, and the next three")


class EnergyPeriod(BaseModel):
    """One day or month of the site's calendar."""

    period: str = Field(description="Such as 2026-07-15 or 2026-07")
    start: datetime
    end: datetime
    measured: float = Field(description="Share of its quarter hours so far that are known")
    energy: float | None = Field(description="J of what is known; nothing is made up for the rest")
    it_measured: float
    it_energy: float | None
    pue: float | None = Field(
        description="Over the quarter hours in which both are known and no battery carried load"
    )
    carbon: float | None = Field(description="kg CO2 equivalent; null where a day has no factor")
    highest: float | None = Field(description="Highest quarter hour, W")


class FactorTold(BaseModel):
    """An emission factor of the grid."""

    start: date
    kg_per_kwh: float
    source: str


class Energy(BaseModel):
    """Energy, PUE and carbon by day or month."""

    object_id: str
    timezone: str
    by: str
    it_measured_at: str = Field(
        description="`ups`: ISO/IEC 30134-2, category 1; `racks`: without network and storage"
    )
    factors: list[FactorTold]
    periods: list[EnergyPeriod]


class TokenInterval(BaseModel):
    """Tokens of one quarter hour."""

    start: datetime
    tokens_per_second: float | None
    tokens_per_joule: float | None = Field(description="Over the site's power")
    reporting: float = Field(description="Share of the servers that told any; the others are left out")


class TokensTold(BaseModel):
    """What the site generates."""

    object_id: str
    interval_minutes: int
    intervals: list[TokenInterval]


def add(api: APIRouter, desk: Desk, sources: Sources) -> None:
    """Add the routes."""
    plant, site = sources.plant, desk.site

    @desk.readable(
        api,
        Shows.SITE,
        "/site",
        summary="Facts of the site",
        tags=["site"],
        responses=answers(SiteFacts, "The site"),
    )
    async def facts(request: Request) -> Response:
        """Tell name, time zone, limit and installed power, and which nodes and parts you may read."""
        caller = caller_of(request)
        nodes = [n for n in plant.envelope if n.id in caller.objects and n.id != site.id]
        told = orjson.dumps(
            {
                "object_id": site.id,
                "name": site.name,
                "timezone": site.timezone,
                "country": site.country,
                "unit": "W",
                "limit": site.limit,
                "installed": site.installed,
                "idle": site.idle,
                "nodes": [{"object_id": n.id, "kind": n.kind, "limit": n.limit} for n in nodes],
                "shows": sorted(caller.shows),
            }
        )
        return await desk.reply(request, ("site", told), SLOW_MS, Format.JSON, lambda: told)

    @desk.readable(
        api,
        Shows.CONTRACT,
        "/contract/month",
        summary="This month against the contract",
        tags=["site"],
        responses=answers(MonthTold, "The month so far, and where it will end", 404, 503),
    )
    async def month(request: Request) -> Response:
        """Tell the highest quarter hour so far, where the month will end, and what exceeding the contract costs."""

        def made() -> bytes:
            return orjson.dumps(_month(sources.month(desk.clock())))

        try:
            return await desk.reply(request, ("month",), SLOW_MS, Format.JSON, made)
        except InputError as error:
            raise ApiError(404, "the site has no contract that could be told") from error

    @desk.readable(
        api,
        Shows.ENERGY,
        "/energy",
        summary="Energy, PUE and carbon by day or month",
        tags=["site"],
        responses=answers(Energy, "Days or months, oldest first", 400, 406, 503, tables=True),
    )
    async def energy(
        request: Request,
        by: Annotated[
            Literal["day", "month"], Query(description="Days or months of the site's calendar")
        ] = "day",
        first: Annotated[
            Day | None, Query(alias="from", description="First day; a week back if absent, or this month")
        ] = None,
        last: Annotated[Day | None, Query(alias="to", description="Last day; today if absent")] = None,
        form: Form = None,
    ) -> Response:
        """Tell energy by the meters' counters, IT energy and PUE (ISO/IEC 30134-2), and carbon by the grid's emission factors.

        What was not measured is left out and its share told; across gaps the counters tell the energy.
        """
        how = negotiated(form, request.headers.get("accept", "*/*"))
        now = desk.clock()
        today = datetime.fromtimestamp(now / 1000, site.zone).date()
        until = min(last or today, today)
        since = first or (until.replace(day=1) if by == "month" else until - timedelta(days=6))
        if since > until or (until - since).days > MOST_DAYS:
            raise ApiError(
                400, f"'from' must not come after 'to' or today, and at most {MOST_DAYS} days at once"
            )

        def made() -> bytes:
            found = periods(since, until, by)
            start, end = midnight(found[0][1], site.zone), midnight(found[-1][2], site.zone)
            known = quarters(plant, sources.energy, start, min(end, now))
            told = energy_by(known, site.zone, sources.energy, found, now)
            rows: dict[str, list[Any]] = {
                "period": [e.name for e in told],
                "start": [iso(e.start) for e in told],
                "end": [iso(e.end) for e in told],
                "measured": [round(e.measured, 4) for e in told],
                "energy": [number(e.energy, 0) for e in told],
                "it_measured": [round(e.it_measured, 4) for e in told],
                "it_energy": [number(e.it_energy, 0) for e in told],
                "pue": [number(e.pue, 4) for e in told],
                "carbon": [number(e.carbon, 1) for e in told],
                "highest": [number(e.highest, 1) for e in told],
            }
            document = {
                "object_id": site.id,
                "timezone": site.timezone,
                "by": by,
                "it_measured_at": measured_at(plant, sources.energy)[0],
                "factors": [f.model_dump(mode="json") for f in sources.energy.carbon],
                "periods": records_of(rows),
            }
            return written(how, document, rows, "periods")

        key = ("energy", by, since, until)
        return await desk.reply(request, key, SLOW_MS, how, made)

    @desk.readable(
        api,
        Shows.TOKENS,
        "/tokens",
        summary="Tokens generated, and per joule",
        tags=["site"],
        responses=answers(TokensTold, "Quarter hours, oldest first", 400, 406, 503, tables=True),
    )
    async def tokens(
        request: Request,
        start: Annotated[
            Moment | None,
            Query(alias="from", description="Begun at or after this time; a day back if absent"),
        ] = None,
        end: Annotated[Moment | None, Query(alias="to", description="Begun before this time")] = None,
        form: Form = None,
    ) -> Response:
        """Tell the mean rate of each quarter hour that is over, and what it cost at the site's meters."""
        how = negotiated(form, request.headers.get("accept", "*/*"))
        now = desk.clock()
        since, until = span(start, end, now, DAY_MS, TOKENS_MS)
        since += -since % QUARTER

        def made() -> bytes:
            rows = _tokens(sources, since, min(until, now - now % QUARTER))
            document = {
                "object_id": site.id,
                "interval_minutes": 15,
                "intervals": records_of(rows),
            }
            return written(how, document, rows, "intervals")

        key = ("tokens", since, until if end is not None else "now")
        return await desk.reply(request, key, FRESH_MS, how, made, 15)


def _tokens(sources: Sources, start: int, end: int) -> dict[str, list[Any]]:
    plant = sources.plant
    points = plant.token_points()
    if end <= start or not len(points):
        return {"start": [], "tokens_per_second": [], "tokens_per_joule": [], "reporting": []}
    grid = plant.history(points, start, end, QUARTER, Aggregate.TIME_WEIGHTED)
    power = plant.demand_history(plant.site.id, start, end).values[0]
    known = ~np.isnan(grid.values)
    rate = np.where(known.any(axis=0), np.where(known, grid.values, 0.0).sum(axis=0), np.nan)
    each = [rate, np.divide(rate, power, out=np.full(len(rate), np.nan), where=power > 0)]
    return {
        "start": [iso(int(t)) for t in grid.start],
        "tokens_per_second": [number(float(v), 1) for v in each[0]],
        "tokens_per_joule": [number(float(v), 6) for v in each[1]],
        "reporting": [round(float(share), 4) for share in known.mean(axis=0)],
    }


def _month(found: dict[str, Any]) -> dict[str, Any]:
    return {
        "object_id": found["site"],
        "contract": found["contract"],
        "month": found["name"],
        "season": found["season"],
        "currency": found["currency"],
        "start": iso(found["start"]),
        "end": iso(found["end"]),
        "measured": round(found["measured"], 4),
        "energy": found["energy"],
        "energy_cost": round(found["energy_cost"], 2),
        "quantiles": list(found["levels"]),
        "peaks": [
            {
                "name": peak["name"],
                "contracted": peak["contracted"],
                "so_far": number(peak["so_far"], 1),
                "at": iso(peak["at"]) if peak["at"] else None,
                "end": None if peak["end"] is None else [round(v, 1) for v in peak["end"]],
                "exceeds": peak["exceeds"],
                "basic": round(peak["basic"], 2),
                "excess_so_far": round(peak["excess_so_far"], 2),
                "excess": None if peak["excess"] is None else round(peak["excess"], 2),
            }
            for peak in found["peaks"]
        ],
        "periods": [run | {"start": iso(run["start"]), "end": iso(run["end"])} for run in found["periods"]],
    }
