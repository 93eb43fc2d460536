"""Local hours as moments: what the clocks of a zone show, also on the days on which they are changed.

A time that the clocks skip is the moment at which they would have shown it (02:30 on the night that 02:00 becomes 03:00
is 03:30); one that they show twice is the first of both (PEP 495, fold 0).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo

from alerts.oncall.settings import WEEK, Window

DAY_MINUTES = 24 * 60
_DAY = timedelta(days=1)


def moment(day: date, minutes: int, zone: ZoneInfo) -> int:
    """Return the moment (UTC ms) at which a zone's clocks show so many minutes from midnight of a day."""
    days, minutes = divmod(minutes, DAY_MINUTES)
    shown = datetime.combine(day + days * _DAY, time(minutes // 60, minutes % 60), zone)
    return int(shown.timestamp() * 1000)


def day_of(at: int, zone: ZoneInfo) -> date:
    """Return the day that a zone's calendar shows at a moment, UTC ms."""
    return datetime.fromtimestamp(at / 1000, zone).date()


def days_between(start: int, end: int, zone: ZoneInfo) -> Iterator[date]:
    """Yield the days of [start, end), UTC ms, and the one before: its hours may reach into it."""
    day, last = day_of(start, zone) - _DAY, day_of(end, zone)
    while day <= last:
        yield day
        day += _DAY


def spans(windows: Sequence[Window], start: int, end: int, zone: ZoneInfo) -> Iterator[tuple[int, int]]:
    """Yield the [begin, end) of windows, UTC ms, that touch [start, end)."""
    for day in days_between(start, end, zone):
        for window in windows:
            if WEEK[day.weekday()] not in window.days:
                continue
            over = DAY_MINUTES if window.end <= window.begin else 0
            begin, ending = moment(day, window.begin, zone), moment(day, window.end + over, zone)
            if begin < end and start < ending:
                yield begin, ending


def within(windows: Sequence[Window], at: int, zone: ZoneInfo) -> int:
    """Return when (UTC ms) the last of the windows ends that hold at a moment, 0 where none does."""
    return max((end for _, end in spans(windows, at, at + 1, zone)), default=0)


def shown(at: int, zone: ZoneInfo) -> str:
    """Return a moment (UTC ms) as a zone's clocks and calendar show it, such as ``Mon 2026-03-30 09:00 CEST``."""
    return datetime.fromtimestamp(at / 1000, zone).strftime("%a %Y-%m-%d %H:%M %Z")


def iso(at: int) -> str:
    """Return a moment (UTC ms) in UTC as programs read it."""
    return datetime.fromtimestamp(at / 1000, UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
