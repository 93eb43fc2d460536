"""From a schedule's answer to planned work: each entry read by itself, and what is wrong with it told by name."""

from __future__ import annotations

import math
from collections.abc import Collection
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from domain.errors import SourceProtocolError, UnitError, brief
from domain.planned import PlannedWork
from domain.site import expand, span
from domain.units import parse_quantity

LONGEST_MS = 400 * 86_400_000
"""A work that lasts longer is a mistake of units or years."""
HORIZON_MS = 5 * 366 * 86_400_000
"""A work that starts further ahead is one, too."""
MOST_ENTRIES = 10_000
"""Entries of a schedule that are read."""
LONGEST_NAME = 200
_LONGEST_TEXT = 64  # of a time, a quantity
_FIRST_MS, _LAST_MS = 100_000_000_000, 4_102_444_800_000  # 1973, below which they are seconds, to 2100


@dataclass(frozen=True, slots=True)
class Reading:
    """One look at a schedule: works, and what is wrong with the other entries by their name."""

    works: tuple[PlannedWork, ...]
    faults: dict[str, str]


def read_entries(answer: Any, source: str, racks: Collection[str], now: int | None = None) -> Reading:
    """Read a schedule's answer: a list of entries, or an object that holds it as ``work`` or ``jobs``.

    Parameters
    ----------
    answer
        Parsed JSON or YAML.
    source
        Name of the schedule.
    racks
        Ids of the site's racks.
    now
        UTC ms, for the horizon; None: none.

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
    latest = _LAST_MS if now is None else now + HORIZON_MS
    works: dict[str, PlannedWork] = {}
    faults: dict[str, str] = {}
    for number, entry in enumerate(answer, 1):
        name = _called(entry, number)
        try:
            if number > MOST_ENTRIES:
                raise ValueError(f"only the first {MOST_ENTRIES:,} entries are read")
            if name in works:
                raise ValueError("announced twice; the first one counts")
            work = _work(entry, source, known)
            if work.start > latest:
                raise ValueError(f"start {_told(work.start)} lies more than five years ahead")
            works[name] = work
        except (ValueError, UnitError) as error:
            faults[name] = str(error)[:300]
        except Exception as error:  # one entry, whatever it holds, costs itself
            faults[name] = f"cannot be read ({type(error).__name__})"
    return Reading(tuple(works.values()), faults)


def _called(entry: Any, number: int) -> str:
    name = entry.get("name") if isinstance(entry, dict) else None
    return name[:LONGEST_NAME] if isinstance(name, str) and name.strip() else f"entry {number}"


def _work(entry: Any, source: str, known: frozenset[str]) -> PlannedWork:
    if not isinstance(entry, dict):
        raise ValueError(f"{brief(entry)} is no mapping")
    name = entry.get("name")
    if not isinstance(name, str) or not name.strip():
        raise ValueError("it has no name")
    if len(name) > LONGEST_NAME or not name.isprintable():
        raise ValueError(f"its name is no printable text of {LONGEST_NAME} characters at most")
    start, end = _time(entry, "start"), _time(entry, "planned_end", "end")
    if not start < end <= start + LONGEST_MS:
        raise ValueError("its planned end must come after its start, at most 400 days")
    return PlannedWork(source, name, _racks(entry, known), start, end, _power(entry), _intensity(entry))


def _racks(entry: dict[str, Any], known: frozenset[str]) -> tuple[str, ...]:
    told = entry.get("racks")
    listed = [told] if isinstance(told, str) else told
    if not isinstance(listed, list) or not listed:
        raise ValueError("it names no racks")
    racks: dict[str, None] = {}
    named = 0
    for text in listed:
        if not isinstance(text, str):
            raise ValueError(f"{brief(text)} is no id of a rack")
        # before a range is written out: one of more ids than there are racks names some that there are not
        named += max(span(text), 1)
        if span(text) > max(len(known), 1):
            raise ValueError(f"the site has not all of the racks {brief(text)}")
        if named > 10 * max(len(known), 1):
            raise ValueError("it names its racks again and again")
        racks |= dict.fromkeys(expand(text))
    strange = [rack for rack in racks if rack not in known]
    if strange:
        raise ValueError(f"the site has no rack {', '.join(rack[:50] for rack in strange[:5])}")
    return tuple(racks)


def _time(entry: dict[str, Any], *keys: str) -> int:
    told = next((entry[key] for key in keys if entry.get(key) is not None), None)
    if isinstance(told, str):
        if len(told) > _LONGEST_TEXT:
            raise ValueError(f"{keys[0]} {brief(told)} is no time")
        try:
            told = datetime.fromisoformat(told)
        except ValueError:
            raise ValueError(
                f"{keys[0]} {brief(told)} is no time, such as 2026-07-01T14:00:00+08:00"
            ) from None
    if isinstance(told, datetime):
        if told.tzinfo is None:
            raise ValueError(f"{keys[0]} {told.isoformat()} has no time zone, such as +08:00 or Z at its end")
        try:
            told = told.astimezone(UTC).timestamp() * 1000
        except OverflowError:
            raise ValueError(f"{keys[0]} {brief(told)} is no time that can be reckoned with") from None
    if isinstance(told, bool) or not isinstance(told, (int, float)):
        raise ValueError(f"{keys[0]} is missing, or neither an ISO time nor UTC milliseconds")
    if told < _FIRST_MS:
        raise ValueError(f"{keys[0]} {told:g} must be in milliseconds")
    if not told <= _LAST_MS:
        raise ValueError(f"{keys[0]} {brief(told)} lies after the year 2100")
    return int(told)


def _told(ms: int) -> str:
    return datetime.fromtimestamp(ms / 1000, UTC).isoformat()


def _power(entry: dict[str, Any]) -> float:
    told = entry.get("power")
    if told is None:
        return math.nan
    if isinstance(told, bool) or not isinstance(told, (int, float, str)) or len(str(told)) > _LONGEST_TEXT:
        raise ValueError(f"power {brief(told)} is no quantity, such as '3 kW'")
    watts = parse_quantity(told, "W")
    if not 0 <= watts < 1e7:
        raise ValueError(f"power {brief(told)} is no power of one rack")
    return watts


def _intensity(entry: dict[str, Any]) -> float:
    told = entry.get("intensity")
    if told is None:
        return math.nan
    if isinstance(told, bool) or not isinstance(told, (int, float)) or not 0 <= told <= 1:
        raise ValueError(f"intensity {brief(told)} must lie between 0 and 1")
    return float(told)
