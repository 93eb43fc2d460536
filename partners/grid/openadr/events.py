"""From an event to a request: when its intervals are, and what its payloads ask of the site."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from domain.errors import InputError, brief, printable
from domain.grid import EMISSIONS, OPEN_END, GridRequest, Kind, Part, Standing
from domain.units import shown
from partners.grid.openadr.messages import MOST_INTERVALS, Event, Interval, PayloadDescriptor
from partners.grid.openadr.settings import VenSettings

PERCENT = "PERCENT"
WATTS = {"W": 1.0, "KW": 1e3, "MW": 1e6}
ENDLESS = timedelta(days=36_500)
"""A duration from which on it means till further notice (``P9999Y``)."""
CAPACITY = "IMPORT_CAPACITY_SUBSCRIPTION"
RESERVED = "IMPORT_CAPACITY_RESERVATION"
LIMITS = {"IMPORT_CAPACITY_LIMIT": Kind.LIMIT, CAPACITY: Kind.LIMIT, "DISPATCH_SETPOINT": Kind.DISPATCH}
"""Payloads that bound the site's power by their value; a setpoint bounds it from above, nobody is made to draw more."""
RELATIVE = "DISPATCH_SETPOINT_RELATIVE"
"""Says by how much to draw less than the baseline, in power or per cent; its value has no sign, so that it cannot ask for more."""
PRICES = ("PRICE", "GHG")
"""Payloads that are kept as series, and as readings while they hold."""
Usual = Callable[[int, int], float]
"""Returns the site's baseline of a time from one to another (UTC ms), W; raises InputError where it is not known."""
SPOKEN = {"PRICE": "price", "GHG": "marginal emissions"}


@dataclass(frozen=True, slots=True)
class Timed:
    """An interval of an event with its time, UTC ms."""

    id: int
    start: int
    end: int
    interval: Interval


def timed(event: Event, received: int) -> list[Timed]:
    """Return an event's intervals with their times, in their order; those of an event that loops come again.

    An interval without a time of its own follows the one before it. A start in the year 1 is when it was received;
    `randomizeStart` is not applied: a limit holds from its earliest moment.

    Raises
    ------
    InputError
        If an interval has no time, or there are too many.
    """
    default = event.intervalPeriod
    at = None if default is None or default.start is None else _ms(default.start, received)
    length = None if default is None else default.duration
    found: list[Timed] = []
    first = at
    while True:
        for interval in event.intervals or ():
            own = interval.intervalPeriod
            if own is not None and own.start is not None:
                at = _ms(own.start, received)
            span = own.duration if own is not None and own.duration is not None else length
            if at is None or span is None:
                raise InputError(f"interval {interval.id} has no start or no duration")
            if span < timedelta(0):
                raise InputError(f"interval {interval.id} has a negative duration")
            endless = span >= ENDLESS or span == timedelta(0)
            end = OPEN_END if endless else at + int(span.total_seconds() * 1000)
            found.append(Timed(interval.id, at, min(end, OPEN_END), interval))
            if len(found) > MOST_INTERVALS:
                raise InputError(f"it has more than {MOST_INTERVALS:,} intervals")
            at = end
        looped = event.duration is not None and first is not None and event.duration > timedelta(0)
        if not (found and looped) or at is None or at >= OPEN_END or event.duration is None or first is None:
            return found
        if at >= first + event.duration.total_seconds() * 1000 or any(
            i.intervalPeriod is not None and i.intervalPeriod.start is not None for i in event.intervals or ()
        ):
            return found


def request_of(
    event: Event,
    descriptors: Mapping[str, PayloadDescriptor],
    settings: VenSettings,
    site: str,
    received: int,
    usual: Usual,
) -> GridRequest | None:
    """Return what an event asks; None where all of it is over.

    Parameters
    ----------
    event
        As told.
    descriptors
        Units by payload type: the program's, and over them the event's.
    settings
        What targets, levels and missing units mean here.
    site
        Id of the whole site.
    received
        UTC ms.
    usual
        Returns the baseline that a relative dispatch starts from; blocks.

    Raises
    ------
    InputError
        If it cannot be understood.
    """
    nodes = [settings.nodes[t] for t in event.targets or () if t in settings.nodes] or [site]
    found: list[tuple[Kind, str, Part]] = []
    units: dict[str, None] = {}
    for moment in timed(event, received):
        if moment.end <= received:
            continue
        asked = [*_asked(moment.interval, descriptors, settings)]
        if any(payload.type == RELATIVE for payload in moment.interval.payloads):
            asked.append(_relative(moment, descriptors, settings, usual if nodes == [site] else None))
        for kind, value, unit, text in asked:
            units[unit] = None
            found += [
                (kind, text, Part(node, moment.start, moment.end, value)) for node in dict.fromkeys(nodes)
            ]
    if not found:
        return None
    # what bounds power counts before what only informs
    kinds = [
        kind
        for kind in (Kind.LIMIT, Kind.DISPATCH, Kind.PRICE, Kind.NOTICE)
        if kind in {k for k, *_ in found}
    ]
    kind = kinds[0]
    told = [(text, part) for k, text, part in found if k is kind]
    words = list(dict.fromkeys(text for text, _ in told))
    label = f"{event.eventName}: " if event.eventName else ""
    return GridRequest(
        id=0,
        source=settings.name,
        party=settings.name,
        series=event.id,
        reference=event.id,
        version=0,
        kind=kind,
        parts=tuple(part for _, part in told),
        unit="W" if kind in (Kind.LIMIT, Kind.DISPATCH) else next(iter(units), ""),
        text=printable(f"{label}{'; '.join(words[:5])}")[:500],
        best_effort=False,
        received=received,
        standing=Standing.WAITING,
    )


def _asked(
    interval: Interval, descriptors: Mapping[str, PayloadDescriptor], settings: VenSettings
) -> Iterable[tuple[Kind, float, str, str]]:
    """Yield kind, value, unit and words of what an interval asks."""
    values = {payload.type: payload.values for payload in interval.payloads}
    for name, kind in LIMITS.items():
        if name in values:
            limit = _watts(name, values[name], descriptors, settings)
            if name == CAPACITY and RESERVED in values:
                limit += _watts(RESERVED, values[RESERVED], descriptors, settings)
            word = "dispatched to" if kind is Kind.DISPATCH else "at most"
            yield kind, limit, "W", f"{word} {shown(limit, 'W', 4)}"
    if "SIMPLE" in values:
        level = _number("SIMPLE", values["SIMPLE"])
        configured = settings.simple.get(str(int(level)))  # type: ignore[call-overload]
        if level not in (0, 1, 2, 3):
            raise InputError(f"SIMPLE is a level from 0 to 3, not {level:g}")
        if configured is not None:
            yield Kind.LIMIT, float(configured), "W", f"level {level:g}, at most {shown(configured, 'W', 4)}"
        elif level:
            yield Kind.NOTICE, level, "", f"level {level:g}"
    for name in PRICES:
        if name in values:
            descriptor = descriptors.get(name)
            unit = (
                EMISSIONS
                if name == "GHG"
                else "/".join(
                    filter(None, (descriptor.currency, descriptor.units) if descriptor is not None else ())
                )
            )
            price = _number(name, values[name])
            yield Kind.PRICE, price, unit, f"{SPOKEN[name]} {price:g} {unit}".strip()
    for name, told in values.items():
        if name not in (*LIMITS, *PRICES, RESERVED, RELATIVE, "SIMPLE"):
            text = " ".join(str(value)[:128] for value in told[:3])
            yield Kind.NOTICE, math.nan, "", f"{name.lower().replace('_', ' ')} {text}".strip()


def _relative(
    moment: Timed, descriptors: Mapping[str, PayloadDescriptor], settings: VenSettings, usual: Usual | None
) -> tuple[Kind, float, str, str]:
    """Return what a relative dispatch asks: a limit below the baseline of its time, or a notice where that is not known."""
    values = next(p.values for p in moment.interval.payloads if p.type == RELATIVE)
    descriptor = descriptors.get(RELATIVE)
    if descriptor is not None and (descriptor.units or "").upper() == PERCENT:
        share = _number(RELATIVE, values) / 100
        if not 0 < share < 1:
            raise InputError(f"{RELATIVE} is more than 0 and less than 100 per cent, not {100 * share:g}")
        less, words = 0.0, f"{100 * share:.4g} % less than the baseline"
    else:
        share, less = 0.0, _watts(RELATIVE, values, descriptors, settings)
        words = f"{shown(less, 'W', 4)} less than the baseline"
    if usual is None:
        return Kind.NOTICE, math.nan, "", f"{words}, which is known of the whole site only"
    try:
        baseline = usual(moment.start, moment.end)
    except InputError as error:
        return Kind.NOTICE, math.nan, "", f"{words}, which is not known: {error}"
    limit = baseline * (1 - share) - less
    if limit <= 0:
        raise InputError(f"{words} of {shown(baseline, 'W', 4)} leaves nothing")
    return Kind.DISPATCH, limit, "W", f"{words} of {shown(baseline, 'W', 4)}: at most {shown(limit, 'W', 4)}"


def _watts(
    name: str, values: tuple[Any, ...], descriptors: Mapping[str, PayloadDescriptor], settings: VenSettings
) -> float:
    descriptor = descriptors.get(name)
    unit = (descriptor.units if descriptor is not None else None) or settings.power_unit
    if (unit or "").upper() not in WATTS:
        raise InputError(f"{name} is in {brief(unit) if unit else 'no unit that is told'}; see power_unit")
    value = _number(name, values)
    if not 0 < value * WATTS[unit.upper()] <= 1e12:
        raise InputError(f"{name} of {value:g} {unit} is no power of a site")
    return value * WATTS[unit.upper()]


def _number(name: str, values: tuple[Any, ...]) -> float:
    value = values[0] if len(values) == 1 else None
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
        raise InputError(f"{name} is one number, not {brief(values)}")
    return float(value)


def _ms(moment: datetime, received: int) -> int:
    if moment.year == 1:
        return received
    if moment.tzinfo is None:
        raise InputError(f"the time {moment.isoformat()} has no zone")
    return int(moment.astimezone(UTC).timestamp() * 1000)
