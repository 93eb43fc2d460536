"""Demand, limits and planned changes as partners read them."""

from __future__ import annotations

import math
from datetime import datetime
from enum import StrEnum
from typing import Any

import numpy as np
from pydantic import BaseModel, Field

from domain.envelope import QUARTER_MS, EnvelopeNode
from domain.planned import PlannedWork
from partners.forecasts import iso
from partners.sources import Sources

SETTLED_MS = 3_600_000
"""A quarter hour may still change for so long: readings that come late land where they belong."""
FRESH_MS = 120_000
"""What was said of the running quarter hour longer ago than this is not told."""


class Origin(StrEnum):
    """How a quarter hour is known."""

    METERED = "metered"
    AVERAGED = "averaged"
    MISSING = "missing"


class DemandInterval(BaseModel):
    """One quarter hour as metered."""

    start: datetime
    power: float | None = Field(description="Average power, W; null where it was not measured")
    quality: Origin = Field(
        description="`metered`: by the meters' energy counters; `averaged`: the mean of their power; `missing`"
    )
    provisional: bool = Field(description="Whether readings that come late may still change it")


class Demand(BaseModel):
    """15-minute demand: what is billed."""

    object_id: str
    unit: str = Field(description="Always `W`")
    interval_minutes: int
    interval_label: str = Field(description="Always `start`")
    intervals: list[DemandInterval]
    next: str | None = Field(description="`cursor` of the next page; null where this is the last")


class RunningQuarter(BaseModel):
    """The quarter hour that runs."""

    object_id: str
    time: datetime = Field(description="When this was reckoned")
    start: datetime
    end: datetime
    elapsed: float = Field(description="Share of it that is over")
    unit: str
    power: float | None = Field(description="Power now")
    so_far: float | None = Field(description="Average power so far")
    expected: float | None = Field(description="Where its average is expected to end")
    deviation: float | None = Field(description="Standard deviation of that")
    limit: float | None = Field(description="What it may reach")
    breach_probability: float | None = Field(description="Probability that it ends above the limit")


class LimitPeriod(BaseModel):
    """A limit that holds for a time instead of the standing one."""

    start: datetime
    end: datetime
    limit: float
    reason: str


class Limits(BaseModel):
    """What an object's 15-minute average may reach, now and by schedule."""

    object_id: str
    unit: str
    limit: float = Field(description="That holds now")
    standing: float = Field(description="That holds where nothing else is scheduled")
    changes: list[LimitPeriod] = Field(
        description="Scheduled, by their start; of those that overlap the lowest holds"
    )


class PlannedChange(BaseModel):
    """A jump of the site's power that planned work brings, within about a minute."""

    time: datetime
    change: float = Field(description="W, negative for a fall")


class PlannedBlock(BaseModel):
    """Planned work, without its name and place."""

    start: datetime
    end: datetime
    power: float | None = Field(
        description="Expected while it lasts, W; null where the schedule does not say"
    )
    known_since: datetime


class Plans(BaseModel):
    """Planned changes of the site's power."""

    object_id: str
    unit: str
    changes: list[PlannedChange]
    work: list[PlannedBlock]


def demand_rows(sources: Sources, object_id: str, start: int, end: int, now: int) -> dict[str, list[Any]]:
    """Return the quarter hours that are over by `now`, as columns of a `Demand`; blocks."""
    end = min(end, now - now % QUARTER_MS)
    if end <= start:
        return {"start": [], "power": [], "quality": [], "provisional": []}
    grid, told = sources.plant.demand_by_origin(object_id, start, end)
    inside = (grid.start >= start) & (grid.start < end)
    starts, values, told = grid.start[inside], grid.values[0, inside], told[inside]
    known = ~np.isnan(values)
    quality = np.where(known, np.where(told, Origin.METERED, Origin.AVERAGED), Origin.MISSING)
    return {
        "start": [iso(int(t)) for t in starts],
        "power": [round(float(v), 1) if k else None for v, k in zip(values, known, strict=True)],
        "quality": [str(q) for q in quality],
        "provisional": [bool(now - t - QUARTER_MS < SETTLED_MS) for t in starts],
    }


def running_quarter(sources: Sources, object_id: str, now: int) -> dict[str, Any] | None:
    """Return a `RunningQuarter`, or None where nothing was said of it just now."""
    told = sources.quarters()
    if told is None or now - told.at > FRESH_MS or object_id not in told.nodes:
        return None
    i = told.nodes.index(object_id)
    outlook = told.outlooks[i]
    return {
        "object_id": object_id,
        "time": iso(told.at),
        "start": iso(outlook.start),
        "end": iso(outlook.start + QUARTER_MS),
        "elapsed": round(float(outlook.elapsed), 4),
        "unit": "W",
        "power": number(float(told.present[i]), 1),
        "so_far": number(outlook.used, 1),
        "expected": number(outlook.expected, 1),
        "deviation": number(outlook.deviation, 1),
        "limit": number(float(told.limits[i]), 1),
        "breach_probability": number(outlook.breach_probability, 4),
    }


def limits(node: EnvelopeNode, start: int, end: int, now: int) -> dict[str, Any]:
    """Return `Limits` with the changes that touch [start, end)."""
    coming = sorted((c for c in node.schedule if c.end > start and c.start < end), key=lambda c: c.start)
    return {
        "object_id": node.id,
        "unit": "W",
        "limit": node.limit_at(now),
        "standing": node.limit,
        "changes": [
            {"start": iso(c.start), "end": iso(c.end), "limit": c.limit, "reason": c.reason} for c in coming
        ],
    }


def plans(sources: Sources, works: list[PlannedWork], start: int, end: int) -> dict[str, Any]:
    """Return `Plans` between two times: neither names of jobs nor racks, only what the site will draw."""
    steps = sources.steps()
    inside = (steps.time >= start) & (steps.time < end)
    return {
        "object_id": sources.plant.site.id,
        "unit": "W",
        "changes": [
            {"time": iso(int(t)), "change": round(float(p), 1)}
            for t, p in zip(steps.time[inside], steps.power[inside], strict=True)
        ],
        "work": [
            {
                "start": iso(work.start),
                "end": iso(work.end),
                "power": number(work.power * len(work.racks), 1),
                "known_since": iso(work.known_since),
            }
            for work in works
        ],
    }


def number(value: float, digits: int) -> float | None:
    """Return a figure for JSON; None where it is not known."""
    return None if not math.isfinite(value) else round(float(value), digits)
