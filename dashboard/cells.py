"""How a figure is written: text, marks, tooltip. One place, so that every page writes a value the same way.

A cell is ``[text, marks, tooltip, observed ms]``; marks are CSS classes. A missing value is an em dash and the mark
``missing``, a value of bad quality keeps its number and carries ``bad``, an old one ``old``.
"""

from __future__ import annotations

import math
import re
from collections.abc import Collection, Mapping
from datetime import UTC, datetime, tzinfo
from typing import Any
from urllib.parse import quote

import numpy as np

from dashboard.views import LOST, SILENT, STALE_MS, Now, PointNow
from dashboard.words import count, say, state, term
from domain.points import Point, Quality, TimeArray, ValueArray
from domain.possible import why_not
from domain.units import shown
from storage.plant import Reading

Cell = list[Any]

DASH = "\u2014"
SECONDS = 100_000_000_000
"""A number below this is seconds since 1970, any other milliseconds."""
_EPOCH = datetime.fromtimestamp(0, UTC)
THIN_SPACE = "\u2009"
_THROTTLE = {
    0x1: "idle",
    0x2: "clock_setting",
    0x4: "power_cap",
    0x8: "slowdown",
    0x10: "sync_boost",
    0x20: "software_thermal",
    0x40: "hardware_thermal",
    0x80: "power_brake",
    0x100: "display",
}
_WORD = re.compile(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])")
_WELL = frozenset(
    [
        "normal",
        "ok",
        "good",
        "online",
        "well",
        "passed",
        "protected",
        "powered",
        "charged",
        "charging",
        "floating",
        "resting",
    ]
)
ENDING = 3
"""How much attention a state demands that says that the supply is about to end."""
_ENDING = frozenset(["battery", "discharging", "depleted", "off", "none", "shutdown", "unavailable"])
_FAULTY = frozenset(
    [
        "bypass",
        "low",
        "high",
        "overload",
        "overloaded",
        "fault",
        "faulty",
        "failed",
        "failure",
        "bad",
        "lost",
        "replace",
        "alarm",
        "warning",
        "critical",
        "boost",
        "booster",
        "boosting",
        "reducer",
        "reducing",
        "buck",
        "trim",
        "overtemperature",
    ]
)
_UNCLEAR = frozenset(["unknown", "other", "no"])
PLAIN = frozenset({"AnomalyScore", "PowerFactor", "CrestFactor", "EnergyEfficiencyRatio"})
"""Ratios that nobody reads as a percentage."""


def thing(object_id: str) -> Cell:
    """Return the cell that names an object of the plant: a link to its page."""
    return [object_id, "name", "", 0, f"/object/{quote(object_id, safe='')}"]


def reading(
    r: Reading, unit: str, now: int, digits: int = 3, mark: str = "", *, bare: bool = False, hint: str = ""
) -> Cell:
    """Return the cell of a figure in its canonical `unit`, to `digits` significant digits; `bare` drops the unit."""
    written = quantity(r.value, unit, digits)
    return _cell(r, written.split(" ")[0] if bare else written, now, mark, hint)


def number(r: Reading, scale: float, digits: int, now: int, unit: str = "", mark: str = "") -> Cell:
    """Return the cell of a figure times `scale`, with `digits` after the point and `unit` as it stands."""
    written = DASH if math.isnan(r.value) else f"{r.value * scale:z.{digits}f}{unit}"
    return _cell(r, written, now, mark)


def trust(r: Reading, now: int) -> str:
    """Return the mark that tells how far a reading may be trusted; empty where fully."""
    if math.isnan(r.value):
        return "missing"
    if r.quality == Quality.BAD:
        return "bad"
    if r.quality == SILENT or (r.observed and now - r.observed > STALE_MS):
        return "old"
    return "estimated" if r.quality == Quality.ESTIMATED else ""


def marked(readings: Now, now: int) -> dict[str, str]:
    """Return the marks of those readings of an array that carry one, by position."""
    known = ~np.isnan(readings.value)
    bad = known & (readings.quality == Quality.BAD)
    old = known & ((readings.observed < now - STALE_MS) | (readings.quality == SILENT)) & ~bad
    lost = readings.quality == LOST
    return {
        str(i): mark
        for mark, which in (("bad", bad), ("old", old), ("lost", lost))
        for i in np.flatnonzero(which)
    }


def absent(value: float) -> str:
    """Return the mark of a worked-out value: ``missing`` where it could not be worked out."""
    return "missing" if math.isnan(value) else ""


def batteries(quarters: int) -> str:
    """Return why a PUE leaves quarter hours out in which batteries carried load; empty where it does not."""
    return count("report.batteries", quarters) if quarters else ""


def quantity(value: float, unit: str, digits: int = 3) -> str:
    """Return a value as people read it, an em dash where it is missing."""
    return DASH if math.isnan(value) else shown(value, unit, digits)


def signed(value: float, unit: str) -> str:
    """Return a quantity with its sign."""
    return f"{'-' if value < 0 else '+'}{shown(abs(value), unit)}"


def percent(share: float) -> str:
    """Return a share of one in per cent; a small one that is not nothing as ``<1 %``."""
    if math.isnan(share):
        return DASH
    return "<1 %" if 0 < share < 0.01 else f"{100 * share:.0f} %"


def numbers(values: ValueArray, digits: int) -> list[float | None]:
    """Return rounded numbers for a chart, null for not-a-number."""
    return [None if math.isnan(v) else v for v in np.round(values, digits).tolist()]


def rounded(value: float, digits: int) -> float | None:
    """Return one rounded number, null for not-a-number."""
    return None if math.isnan(value) else round(float(value), digits)


def point_value(p: PointNow) -> str:
    """Return a point's value in its unit, or its state in words."""
    if math.isnan(p.value):
        return DASH
    if p.point.is_state:
        return state(p.point, p.value)
    if p.point.point_type == "GpuThrottleReasons":
        return throttle_reasons(int(p.value))
    return amount(p.point, p.value, 4)


def amount(point: Point, value: float, digits: int) -> str:
    """Return what a point may tell, in its unit: a span of time in the largest sensible one, a score without."""
    if point.point_type in PLAIN:
        return f"{value:.2f}"
    return duration(1000 * value) if point.unit == "s" and value >= 120 else shown(value, point.unit, digits)


def throttle_reasons(mask: int) -> str:
    """Return the clock event reasons of NVML's bit mask (``nvmlClocksEventReason*``) in words."""
    told = [say(f"throttle.{name}") for bit, name in _THROTTLE.items() if mask & bit]
    return say("text.comma").join(told) or say("cell.none")


def quality_word(quality: int, value: float) -> str:
    """Return a quality in a word; DSX qualities other than 1 are all bad."""
    if math.isnan(value):
        return DASH
    if quality == SILENT:
        return say("quality.silent")
    return say(
        f"quality.{Quality(quality).name.lower()}"
        if quality in (Quality.GOOD, Quality.ESTIMATED)
        else "quality.bad"
    )


def alarming(state: str) -> int:
    """Return how much a state in the words of whatever maker demands attention.

    0 normal, 1 unclear, 2 to be looked at, 3 the supply is about to end: on battery, off.
    """
    told = {word.lower() for word in _WORD.findall(state)}
    if "test" in told:
        return 2 if told & _FAULTY else 1
    if told & _WELL and not told & {"not", "no"}:
        return 2 if told & _FAULTY else 0
    if told & _ENDING:
        return ENDING
    return 2 if told & (_FAULTY | {"not"}) else 1 if told & _UNCLEAR else 0


def on_battery(state: str) -> bool:
    """Return whether a UPS's state in the words of whatever maker says that its batteries carry the load."""
    return alarming(state) == ENDING and any(word in state.lower() for word in ("battery", "discharging"))


def quality_told(p: PointNow, racks: Collection[str]) -> str:
    """Return a point's quality in a word, and why where it is bad as its value cannot be."""
    word = quality_word(p.quality, p.value)
    reason = why_not(p.point, p.value, racks) if word == say("quality.bad") else ""
    return f"{word}: {reason}" if reason else word


def missing_members(r: Reading) -> str:
    """Return how many of a figure's members tell nothing, in words."""
    return count("cell.silent_meters", r.missing) if r.missing else ""


def counter(value: Any) -> str:
    """Return a counter, or a table or list of counters, as text."""
    if isinstance(value, Mapping):
        return " \u00b7 ".join(f"{words(str(k))} {counter(v)}" for k, v in value.items()) or say("cell.none")
    if isinstance(value, list | tuple):
        return " \u00b7 ".join(counter(v) for v in value) or say("cell.none")
    if isinstance(value, bool) or value is None:
        return DASH if value is None else say("cell.yes" if value else "cell.no")
    if isinstance(value, float):
        return DASH if math.isnan(value) else f"{value:,.2f}".replace(",", THIN_SPACE)
    return thousands(value) if isinstance(value, int) else str(value) or DASH


def thousands(value: int) -> str:
    """Return a whole number with its thousands set apart."""
    return f"{value:,}".replace(",", THIN_SPACE)


def words(name: str) -> str:
    """Return the name of a counter as words."""
    text = name.replace("_", " ")
    told = term("counter", text)
    return told if told != text else term("reason", text)


def clock(ms: int, zone: tzinfo, form: str = "%H:%M:%S") -> str:
    """Return a UTC time (ms) on the clock of a zone."""
    return datetime.fromtimestamp(ms / 1000, zone).strftime(form)


def date(ms: int, zone: tzinfo, kind: str = "short") -> str:
    """Return a UTC time (ms) on the clock of a zone with its day, as one of the texts ``date.KIND`` has it."""
    when = datetime.fromtimestamp(ms / 1000, zone)
    weekday = say("date.weekdays").split()[when.weekday()]
    return when.strftime(say(f"date.{kind}").replace("%a", weekday))


def duration(ms: float) -> str:
    """Return a span of time in its largest sensible unit: ``3.2 s``, ``14 min``, ``5 h 20 min``, ``3 d``."""
    seconds = max(0.0, ms / 1000)
    if seconds < 120:
        return say("span.seconds", s=f"{seconds:.1f}" if seconds < 10 else f"{seconds:.0f}")
    minutes = int(seconds // 60)
    if minutes < 120:
        return say("span.minutes", m=minutes)
    if minutes < 48 * 60:
        return say("span.hours", h=minutes // 60, m=f"{minutes % 60:02d}")
    return say("span.days", d=minutes // 1440)


def moment_of(text: str, zone: tzinfo) -> int:
    """Return the moment (UTC ms) that a text tells, by the clocks of a place unless it names a zone; 0 where it tells none."""
    if text.isdecimal() and len(text) <= 14:
        number = int(text)
        return number * 1000 if number < SECONDS else number
    if ":" not in text:  # a day is no moment
        return 0
    try:
        told = datetime.fromisoformat(text)
        return max(0, round((told.replace(tzinfo=told.tzinfo or zone) - _EPOCH).total_seconds() * 1000))
    except (ValueError, OverflowError):
        return 0


def wall(times: TimeArray, zone: tzinfo) -> TimeArray:
    """Return UTC ms moved so that a chart which knows no time zones shows the site's clock."""
    if len(times) == 0:
        return times
    first, last = _offset(int(times.min()), zone), _offset(int(times.max()), zone)
    if first == last:
        return times + first
    return times + np.array([_offset(int(t), zone) for t in times], np.int64)


def _cell(r: Reading, written: str, now: int, mark: str, hint: str = "") -> Cell:
    trusted = trust(r, now)
    reason = {
        "missing": missing_members(r) or say("cell.no_reading"),
        "bad": say("cell.bad"),
        "old": say("cell.old_silent" if r.quality == SILENT else "cell.old", age=duration(now - r.observed)),
        "estimated": say("cell.estimated"),
    }.get(trusted, "")
    return [written, f"{trusted} {mark}".strip(), hint or reason, r.observed]


def _offset(ms: int, zone: tzinfo) -> int:
    offset = datetime.fromtimestamp(ms / 1000, zone).utcoffset()
    return 0 if offset is None else int(offset.total_seconds() * 1000)
