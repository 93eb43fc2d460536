"""What the grid asks of the site: limits for a time, each from one party, agreed to or not; advice to people, never a command."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from enum import StrEnum

from domain.envelope import LimitChange

OPEN_END = 4_102_444_800_000
"""End of what holds until something takes its place, UTC ms: the year 2100."""


class Standing(StrEnum):
    """How a request stands."""

    WAITING = "waiting"
    AGREED = "agreed"
    REFUSED = "refused"
    REPLACED = "replaced"
    CANCELLED = "cancelled"


class Kind(StrEnum):
    """What a request asks for; a limit, and a dispatch taken as one, change the envelope."""

    LIMIT = "limit"
    DISPATCH = "dispatch"
    PRICE = "price"
    NOTICE = "notice"


BOUNDING = (Kind.LIMIT, Kind.DISPATCH)
"""Kinds that bound power."""


@dataclass(frozen=True, slots=True)
class Part:
    """One interval [start, end) of a request, UTC ms, on one node of the envelope.

    `value` is in W for a limit or a dispatch, in the request's unit otherwise; NaN lifts what was asked before.
    """

    node: str
    start: int
    end: int
    value: float


@dataclass(frozen=True, slots=True)
class GridRequest:
    """One request as it came, and what became of it. Times are UTC ms.

    Parameters
    ----------
    id
        Its number; 0 before it is kept.
    source
        Which connection it came over, such as ``flex`` or the name of an OpenADR program.
    party
        Who asks.
    series
        Of one series a later part takes the place of earlier ones for the time and node that it covers.
    reference
        The party's own name for it, such as a correlation or event id.
    version
        Which version of `reference` it is, from 0.
    kind
        What it asks for.
    parts
        Intervals.
    unit
        Of the parts' values.
    text
        What people are shown of it.
    best_effort
        Whether the party takes what can be had.
    received
        When it came.
    standing
        How it stands now.
    decided, decided_by, note
        When, by whom and why it came to stand so.
    """

    id: int
    source: str
    party: str
    series: str
    reference: str
    version: int
    kind: Kind
    parts: tuple[Part, ...]
    unit: str
    text: str
    best_effort: bool
    received: int
    standing: Standing
    decided: int = 0
    decided_by: str = ""
    note: str = ""

    @property
    def start(self) -> int:
        """When its first part begins, UTC ms."""
        return min(part.start for part in self.parts)

    @property
    def end(self) -> int:
        """When its last part ends, UTC ms."""
        return max(part.end for part in self.parts)


@dataclass(frozen=True, slots=True)
class HeldLimit:
    """A limit in [start, end), UTC ms, that a request which was agreed to brings to a node, W."""

    node: str
    start: int
    end: int
    limit: float
    request: GridRequest

    def holds(self, now: int) -> bool:
        """Return whether it is in force at `now`, UTC ms."""
        return self.start <= now < self.end


def held_limits(requests: Iterable[GridRequest]) -> list[HeldLimit]:
    """Return the limits of requests that are agreed to, in the order of their start.

    Of one series the request with the higher number wins where two cover the same time; of several series all hold.
    """
    series: dict[tuple[str, str, str], list[HeldLimit]] = defaultdict(list)
    for request in sorted(requests, key=lambda r: r.id):
        if request.standing is not Standing.AGREED or request.kind not in BOUNDING:
            continue
        for part in request.parts:
            key = (request.source, request.series, part.node)
            kept = [piece for held in series[key] for piece in _without(held, part)]
            if not math.isnan(part.value):
                kept.append(HeldLimit(part.node, part.start, part.end, part.value, request))
            series[key] = kept
    return sorted((h for held in series.values() for h in held), key=lambda h: (h.start, h.node, h.limit))


def _without(held: HeldLimit, part: Part) -> Iterator[HeldLimit]:
    """Return what is left of a limit beside a part that takes its place."""
    for start, end in ((held.start, min(held.end, part.start)), (max(held.start, part.end), held.end)):
        if start < end:
            yield HeldLimit(held.node, start, end, held.limit, held.request)


def changes_of(held: Iterable[HeldLimit]) -> dict[str, tuple[LimitChange, ...]]:
    """Return what limits do to the envelope, by node: they lower what else holds and never raise it."""
    found: dict[str, list[LimitChange]] = defaultdict(list)
    for h in held:
        reason = f"{h.request.source}: {h.request.party} asks"
        found[h.node].append(LimitChange(h.start, h.end, h.limit, reason, lowers_only=True))
    return {node: tuple(changes) for node, changes in found.items()}


EMISSIONS = "g/kWh"
"""Unit of the grid's emission signals; what has another is a price."""


def signal_over(
    requests: Iterable[GridRequest], start: int, end: int, emissions: bool
) -> tuple[float, str] | None:
    """Return the mean price (or marginal emissions) that the grid told for [start, end), UTC ms, and its unit.

    None where no request covers all of that time; of several that do the newest counts.
    """
    for request in sorted(requests, key=lambda r: -r.id):
        agreed = request.kind is Kind.PRICE and request.standing is Standing.AGREED
        if not agreed or (request.unit == EMISSIONS) != emissions:
            continue
        times = {(p.start, p.end): p.value for p in request.parts}  # once, however many nodes it names
        shares = [(max(0, min(e, end) - max(s, start)), value) for (s, e), value in times.items()]
        if sum(share for share, _ in shares) >= end - start > 0:
            return sum(s * v for s, v in shares) / sum(s for s, _ in shares), request.unit
    return None
