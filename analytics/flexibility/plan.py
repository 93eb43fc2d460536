"""What a node could shed or raise, and an advisory plan to come down to a target: who gives, in which order, at what loss.

Nothing here is ever executed. Loss is told in tokens where racks tell their rate, taken as proportional to the power above
idle, and in rack hours of full work lost for every rack.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from itertools import groupby
from typing import Any

import numpy as np

from analytics.flexibility.racks import FlexibleRack
from domain.forecast import Forecast

HOUR_S = 3600.0
CAUTIOUS = 0.95
"""Quantile of the forecast that a plan comes down from."""


@dataclass(frozen=True, slots=True)
class JobOffer:
    """One job's part: the racks of one job and class.

    `place` counts from 1: the first gives first. `shed` and `power` in W, as far as they come over the node, `within` and `longest` in s, `until` UTC ms (0: not
    planned to end), `tokens` and `lost` a second (None where not told). `why` says it in words.
    """

    place: int
    job: str
    kind: str
    racks: tuple[str, ...]
    power: float
    shed: float
    within: float
    longest: float
    until: int
    tokens: float | None
    lost: float | None
    why: str


@dataclass(frozen=True, slots=True)
class Offer:
    """What a node could do now.

    Parameters
    ----------
    node
        Its id.
    power, limit, headroom
        Now, W; None where power is not measured.
    shed
        What all its jobs together could give up, W.
    raised
        What it could draw more: the smaller of its headroom and the room of its racks, W, if there is work for them.
    within
        Seconds until all of that is shed.
    jobs
        Who gives, the first to give first; what gives nothing comes last.
    unmeasured
        Racks whose power is not known; they give nothing.
    """

    node: str
    power: float | None
    limit: float
    headroom: float | None
    shed: float
    raised: float | None
    within: float
    jobs: tuple[JobOffer, ...]
    unmeasured: int


@dataclass(frozen=True, slots=True)
class Step:
    """In [start, end), UTC ms, racks of a job are held to `caps` (W, by rack) and relieve the node together of `shed` W."""

    start: int
    end: int
    job: str
    kind: str
    caps: dict[str, float]
    shed: float
    begin_by: int
    tokens: float | None
    rack_hours: float


@dataclass(frozen=True, slots=True)
class Plan:
    """How a node would come down to a target in [start, end), UTC ms.

    Parameters
    ----------
    expected
        What it is expected to draw at most then (95 % quantile of the highest quarter hour), W; its present power without a
        forecast.
    basis
        ``forecast`` or ``present power``.
    needed, shed, short
        To come down from `expected` to `target`; what the steps shed all of the time; what then is still missing. W.
    tokens, rack_hours
        Lost in all: tokens (None where no rack tells any), and hours of one rack's full work.
    steps
        Who gives when.
    """

    node: str
    target: float
    start: int
    end: int
    expected: float
    basis: str
    needed: float
    shed: float
    short: float
    tokens: float | None
    rack_hours: float
    steps: tuple[Step, ...]


def offer(node: str, power: float, limit: float, racks: Iterable[FlexibleRack]) -> Offer:
    """Return what a node could shed or raise; `racks` are those that it feeds, in the order in which they give."""
    below = list(racks)
    headroom = None if math.isnan(power) else limit - power
    room = sum(rack.room * rack.share for rack in below)
    giving = [rack.kind.within for rack in below if rack.kind is not None and rack.shed > 0]
    return Offer(
        node,
        None if math.isnan(power) else power,
        limit,
        headroom,
        sum(rack.relief for rack in below),
        None if headroom is None else max(min(headroom, room), 0.0),
        max(giving, default=0.0),
        tuple(_jobs(below)),
        sum(math.isnan(rack.power) for rack in below),
    )


def expected_power(forecast: Forecast | None, power: float, start: int, end: int) -> tuple[float, str]:
    """Return what to come down from between two times (UTC ms), W, and on what that rests; NaN where nothing tells it."""
    if forecast is not None:
        ends = forecast.start + forecast.interval_minutes * 60_000
        inside = (forecast.start < end) & (ends > start)
        # a forecast that ends before the time does says too little of it
        if inside.any() and int(ends[-1]) >= end:
            return float(np.max(forecast.quantile(CAUTIOUS)[inside])), "forecast"
    return power, "present power"


def plan(
    node: str, target: float, start: int, end: int, expected: tuple[float, str], racks: Iterable[FlexibleRack]
) -> Plan:
    """Return who would give so that a node comes down to a target.

    Jobs give in the order of their classes, within a class the racks that give most first. A class whose `longest` is shorter
    than the time gives in shifts: its racks in turn, so that some are held all of the time.

    Parameters
    ----------
    node
        Its id.
    target
        W.
    start, end
        UTC ms.
    expected
        What it will draw, W, and on what that rests.
    racks
        Those that the node feeds, in the order in which they give.
    """
    needed = max(expected[0] - target, 0.0)
    left = needed
    steps: list[Step] = []
    for _, group in groupby((r for r in racks if r.shed > 0 and r.kind is not None), key=lambda r: r.rank):
        if left <= 0:
            break
        members = list(group)
        kind = members[0].kind
        assert kind is not None
        shifts = max(math.ceil((end - start) / 1000 / kind.longest), 1)
        chosen = _enough(members, left, shifts)
        turns = [chosen[turn::shifts] for turn in range(shifts)]
        sustained = min(sum(rack.relief for rack in turn) for turn in turns)
        if sustained <= 0:
            continue  # too few racks to take turns
        left -= sustained
        edges = np.linspace(start, end, shifts + 1).astype(np.int64).tolist()
        for turn, first, last in zip(turns, edges[:-1], edges[1:], strict=True):
            steps += _steps(turn, first, last)
    shed = min(needed, needed - left) if left > 0 else needed - left
    tokens = [step.tokens for step in steps if step.tokens is not None]
    return Plan(
        node,
        target,
        start,
        end,
        expected[0],
        expected[1],
        needed,
        shed,
        max(left, 0.0),
        sum(tokens) if tokens else None,
        sum(step.rack_hours for step in steps),
        tuple(steps),
    )


def _enough(racks: list[FlexibleRack], needed: float, shifts: int) -> list[FlexibleRack]:
    """Return the first racks that shed enough in each of so many shifts, or all of them."""
    for count in range(shifts, len(racks) + 1):
        if min(sum(r.relief for r in racks[turn:count:shifts]) for turn in range(shifts)) >= needed:
            return racks[:count]
    return racks


def _steps(racks: Collection[FlexibleRack], start: int, end: int) -> Iterable[Step]:
    hours = (end - start) / 1000 / HOUR_S
    for (job, _), group in groupby(sorted(racks, key=_job), key=_job):
        members = list(group)
        kind = members[0].kind
        assert kind is not None
        lost = [rack.lost for rack in members if not math.isnan(rack.lost)]
        yield Step(
            start,
            end,
            job,
            kind.name,
            {rack.rack: rack.cap for rack in members},
            sum(rack.relief for rack in members),
            start - int(kind.within * 1000),
            sum(lost) * hours * HOUR_S if lost else None,
            sum(rack.shed / rack.power for rack in members) * hours,
        )


def _jobs(racks: list[FlexibleRack]) -> Iterable[JobOffer]:
    found: dict[tuple[int, str], list[FlexibleRack]] = {}
    for rack in racks:
        found.setdefault((rack.rank, rack.job), []).append(rack)
    order = sorted(found.items(), key=lambda item: (item[0][0], -sum(r.relief for r in item[1]), item[0][1]))
    for place, ((_, job), members) in enumerate(order, 1):
        kind = members[0].kind
        tokens = [r.tokens for r in members if not math.isnan(r.tokens)]
        lost = [r.lost for r in members if not math.isnan(r.lost)]
        yield JobOffer(
            place,
            job,
            "" if kind is None else kind.name,
            tuple(r.rack for r in members),
            float(np.nansum([r.power * r.share for r in members])),
            sum(r.relief for r in members),
            0.0 if kind is None else kind.within,
            0.0 if kind is None else kind.longest,
            members[0].until,
            sum(tokens) if tokens else None,
            sum(lost) if lost else None,
            _why(job, members),
        )


def _why(job: str, members: list[FlexibleRack]) -> str:
    kind = members[0].kind
    what = f"job {job}" if job else "no job is known on these racks"
    if kind is None:
        return f"{what}: no class names it, so it gives nothing"
    gives = f"gives up to {kind.sheds:.0%}" if kind.sheds else "gives nothing"
    return f"{what}: of class {kind.name}, number {members[0].rank + 1} to give, which {gives}"


def _job(rack: FlexibleRack) -> tuple[str, int]:
    return rack.job, rack.rank


def as_json(told: Any) -> Any:
    """Return an offer or a plan as plain values."""
    if hasattr(told, "__dataclass_fields__"):
        return {name: as_json(getattr(told, name)) for name in told.__dataclass_fields__}
    if isinstance(told, tuple):
        return [as_json(item) for item in told]
    if isinstance(told, dict):
        return {key: as_json(value) for key, value in told.items()}
    return None if isinstance(told, float) and math.isnan(told) else told
