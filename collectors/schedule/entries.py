"""From a schedule's answer to planned work: each entry read by itself, and what is wrong with it told by name."""

from __future__ import annotations

import math
from collections.abc import Collection
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from domain.errors import SourceProtocolError, UnitError
from domain.planned import PlannedWork
from domain.site import expand
from domain.units import parse_quantity

LONGEST_MS = 400 * 86_400_000
"""A work that lasts longer is a mistake of units or years."""


@dataclass(frozen=True, slots=True)
class Reading:
    """One look at a schedule: works, what is wrong with the other entries by their name, and entries left out twice."""

    works: tuple[PlannedWork, ...]
    faults: dict[str, str]


def read_entries(answer: Any, source: str, racks: Collection[str]) -> Reading:
    """Read a schedule's answer: a list of entries, or an object that holds it as ``work`` or ``jobs``.

    Parameters
    ----------
    answer
        Parsed JSON or YAML.
    source
        Name of the schedule.
    racks
        Ids of the site's racks.

    Raises
    ------
    SourceProtocolError
        If the answer as a whole is no schedule.
    """
    if isinstance(answer, dict):
        answer = next((answer[key] for key in ("work", "jobs") if key in answer), None)
    if not isinstance(answer, list):
        raise SourceProtocolError(
            f"schedule {source} is no list of planned work: see collectors/schedule/README.md"
        )
    known = frozenset(racks)
    works: dict[str, PlannedWork] = {}
    faults: dict[str, str] = {}
    for number, entry in enumerate(answer, 1):
        name = str(entry.get("name") or f"entry {number}") if isinstance(entry, dict) else f"entry {number}"
        try:
            if name in works:
                raise ValueError("announced twice; the first one counts")
            works[name] = _work(entry, source, known)
        except (ValueError, TypeError, UnitError) as error:
            faults[name] = str(error)
    return Reading(tuple(works.values()), faults)


def _work(entry: Any, source: str, known: frozenset[str]) -> PlannedWork:
    if not isinstance(entry, dict):
        raise ValueError(f"{entry!r} is no mapping")
    name = entry.get("name")
    if not isinstance(name, str) or not name.strip():
        raise ValueError("it has no name")
    start, end = _time(entry, "start"), _time(entry, "planned_end", "end")
    if not start < end <= start + LONGEST_MS:
        raise ValueError("its planned end must come after its start, at most 400 days")
    return PlannedWork(source, name, _racks(entry, known), start, end, _power(entry), _intensity(entry))


def _racks(entry: dict[str, Any], known: frozenset[str]) -> tuple[str, ...]:
    told = entry.get("racks")
    listed = [told] if isinstance(told, str) else told
    if not isinstance(listed, list) or not listed:
        raise ValueError("it names no racks")
    racks = tuple(dict.fromkeys(rack for text in listed for rack in expand(str(text))))
    strange = [rack for rack in racks if rack not in known]
    if strange:
        raise ValueError(f"the site has no rack {', '.join(strange[:5])}")
    return racks


def _time(entry: dict[str, Any], *keys: str) -> int:
    told = next((entry[key] for key in keys if entry.get(key) is not None), None)
    if isinstance(told, str):
        told = datetime.fromisoformat(told)
    if isinstance(told, datetime):
        if told.tzinfo is None:
            raise ValueError(f"{keys[0]} {told.isoformat()} has no time zone")
        return int(told.astimezone(UTC).timestamp() * 1000)
    if isinstance(told, bool) or not isinstance(told, (int, float)) or not math.isfinite(told):
        raise ValueError(f"{keys[0]} is missing, or neither an ISO time nor UTC milliseconds")
    if told < 1e11:
        raise ValueError(f"{keys[0]} {told:g} must be in milliseconds")
    return int(told)


def _power(entry: dict[str, Any]) -> float:
    told = entry.get("power")
    if told is None:
        return math.nan
    watts = parse_quantity(told, "W")
    if not 0 <= watts < 1e7:
        raise ValueError(f"power {told} is no power of one rack")
    return watts


def _intensity(entry: dict[str, Any]) -> float:
    told = entry.get("intensity")
    if told is None:
        return math.nan
    if isinstance(told, bool) or not isinstance(told, (int, float)) or not 0 <= told <= 1:
        raise ValueError(f"intensity {told!r} must lie between 0 and 1")
    return float(told)
