"""What booked racks will draw: planned work as announced, and what past work tells of how plans come true.

Work ends before its planned end or after it; unannounced work follows when racks fall free; a rack's power under
work lies around what its intensity lets expect. All of that is taken from the site's own past, and drawn as paths.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from analytics.planned.bookings import Bookings
from domain.envelope import QUARTER_MS
from domain.points import IntArray, TimeArray, ValueArray

PATHS = 1000
SETTLING_MS = 180_000
"""After its start a job loads for about this long; quarter hours that hold it do not tell its level."""
PRIOR_KEPT = 3
"""As many works that ended as planned are taken to have been seen before the first."""
IDLE_SHARE = 0.25
"""Power of an idle rack over that of a busy one, until measured."""
NEWEST = 2000
"""Past works that are learnt from."""
RECENT = 32
"""Quarter hours of a running work that tell its level."""
FEWEST_OWN = 8
"""Quarter hours from which on a running work's own ups and downs count instead of those of past works."""
FEWEST_LEVELS = 5
"""Works with a known intensity that are needed to tell power from it."""


@dataclass(frozen=True, slots=True, eq=False)
class Habits:
    """How plans came true so far.

    Parameters
    ----------
    kept
        Real over planned duration of past works.
    gaps
        From the end of one work to the start of the next on the same rack, ms.
    durations
        Real ones of past works, ms.
    levels
        Power a rack of past works, W.
    base, slope
        Power a rack by intensity, W; NaN where intensities are not told.
    scatter
        Standard deviation of the level around that, W.
    wander
        Quarter hours of past works over their work's level: checkpoints make them lean to one side.
    idle
        Power of a rack without work, W.
    delay
        From the start of a work until it draws its power, ms: what it loads first.
    """

    kept: ValueArray
    gaps: ValueArray
    durations: ValueArray
    levels: ValueArray
    base: float
    slope: float
    scatter: float
    wander: ValueArray
    idle: float
    delay: float

    def expected(self, power: float, intensity: float) -> float:
        """Return the power a rack of a work that was announced with these, W; NaN where nothing tells it."""
        if not np.isnan(power):
            return power
        return self.base + self.slope * intensity


@dataclass(frozen=True, slots=True, eq=False)
class BookedPaths:
    """Drawn futures of the racks that planned work ever took.

    `racks` are their positions among the site's, shape (b,); `group` which path each follows, shape (b,); `power` W a rack,
    shape (groups, paths, steps); `factor` each rack's power over its group's mean, shape (b,).
    """

    racks: IntArray
    group: IntArray
    power: ValueArray
    factor: ValueArray

    def total(self) -> ValueArray:
        """Return the power of all of them together, W, shape (paths, steps)."""
        racks = np.bincount(self.group, self.factor, minlength=len(self.power))
        total: ValueArray = np.tensordot(racks, self.power, axes=1)
        return total


def learn_habits(bookings: Bookings, time: TimeArray, power: ValueArray) -> Habits:
    """Learn from past works.

    Parameters
    ----------
    bookings
        As known at the end of the history.
    time
        Starts of the history's quarter hours, UTC ms, shape (n,).
    power
        Of all racks then, W, NaN where missing, shape (racks, n).
    """
    end = int(time[-1]) + QUARTER_MS
    ran = bookings.ran()
    ran = ran.take(np.argsort(ran.start, kind="stable")[-NEWEST:])
    # what takes racks out of service tells nothing of what runs on them
    ran = ran.take(~(ran.power < IDLE_SHARE * float(np.nanquantile(power, 0.9))))
    stop = np.minimum(ran.until, end)
    ended = (ran.until <= end) & (ran.start < end)
    planned = np.maximum(ran.end - ran.start, 1).astype(float)
    real = (stop - ran.start).astype(float)
    levels = np.array(
        [_level(time, power, on, a, b) for on, a, b in zip(ran.on, ran.start, stop, strict=True)]
    )
    known = ~np.isnan(levels)
    base = slope = scatter = np.nan
    told = known & ~np.isnan(ran.intensity)
    if told.sum() >= FEWEST_LEVELS and np.ptp(ran.intensity[told]) > 0.02:
        slope, base = np.polyfit(ran.intensity[told], levels[told], 1)
        scatter = float(np.std(levels[told] - base - slope * ran.intensity[told]))
    elif known.any():
        scatter = float(np.std(levels[known]))
    busy = float(np.median(levels[known])) if known.any() else float(np.nanmean(power))
    cover = _coverage(ran, stop, time)
    with np.errstate(invalid="ignore", divide="ignore"):
        free = (power - cover * busy) / (1 - cover)
    free = free[(cover < 0.7) & (cover.max(axis=1) > 0)[:, None] & ~np.isnan(power)]
    idle = float(np.clip(np.median(free), 0, busy)) if len(free) >= 8 else IDLE_SHARE * busy
    return Habits(
        np.concatenate([real[ended] / planned[ended], np.ones(PRIOR_KEPT)]),
        _gaps(ran, stop, end),
        real[ended] if ended.any() else planned if len(planned) else np.array([6 * 3.6e6]),
        levels[known] if known.any() else np.array([busy]),
        float(base),
        float(slope),
        float(np.nan_to_num(scatter, nan=0.05 * busy)),
        _wander(ran, stop, time, power),
        idle,
        _delay(ran, stop, levels, idle, time, power),
    )


def booked_paths(
    bookings: Bookings,
    habits: Habits,
    time: TimeArray,
    power: ValueArray,
    steps: int,
    paths: int = PATHS,
    seed: int = 0,
) -> BookedPaths | None:
    """Draw the power of the racks that planned work takes or took; None where there is none.

    Parameters
    ----------
    bookings, time, power
        As for `learn_habits`.
    steps
        Quarter hours ahead, from the end of the history.
    """
    now = int(time[-1]) + QUARTER_MS
    rng = np.random.default_rng([seed, now // QUARTER_MS])
    standing = bookings.standing()
    ahead = standing.take(standing.end > standing.start)
    ahead = ahead.take(np.argsort(ahead.start, kind="stable"))
    past = bookings.ran()
    racks = np.flatnonzero(ahead.on.any(axis=0) | past.on.any(axis=0)).astype(np.int32)
    if len(racks) == 0:
        return None
    # racks that share what is booked on them, and what they did last, go together
    begun = past.take(past.start < now)
    last = np.array([_last(begun, rack) for rack in racks.tolist()])
    marks = np.concatenate([ahead.on[:, racks].T.astype(np.int64), last[:, None]], axis=1)
    _, inverse = np.unique(marks, axis=0, return_inverse=True)
    group = np.asarray(inverse, np.int32).reshape(-1)
    drawn = np.empty((int(group.max()) + 1, paths, steps))
    factor = np.ones(len(racks))
    usual = _mean(power[racks][:, -7 * 96 :])
    for g in range(len(drawn)):
        members = group == g
        mine = ahead.take(ahead.on[:, racks[members][0]])
        one = _Timeline(now, steps, paths, habits, rng)
        newest = power[racks[members], -1]
        before = last[members][0]
        if before < 0 or begun.until[before] <= time[-1]:
            one.take_as_working(newest, mine)
        one.follow(mine, time, power[racks[members]])
        drawn[g] = one.power()
        mean = np.nanmean(usual[members]) if not np.isnan(usual[members]).all() else np.nan
        if mean > 0:
            factor[members] = np.nan_to_num(usual[members] / mean, nan=1.0)
    return BookedPaths(racks, group, drawn, factor)


def planned_steps(bookings: Bookings, habits: Habits, now: int, until: int) -> tuple[TimeArray, ValueArray]:
    """Return the jumps that announced starts and ends bring in [now, until): times (UTC ms) and W, shapes (m,)."""
    standing = bookings.standing()
    racks = standing.on.sum(axis=1)
    usual = float(np.median(habits.levels))
    level = np.array(
        [
            np.nan_to_num(habits.expected(float(p), float(i)), nan=usual)
            for p, i in zip(standing.power, standing.intensity, strict=True)
        ]
    )
    step = racks * (level - habits.idle)
    # a work draws its power once it has loaded
    time = np.concatenate([standing.start + np.int64(habits.delay), standing.end])
    power = np.concatenate([step, -step])
    inside = (time >= now) & (time < until)
    order = np.argsort(time[inside], kind="stable")
    return time[inside][order], power[inside][order]


class _Timeline:
    """One group of racks that work together: its future as covered shares of each step, path by path."""

    def __init__(self, now: int, steps: int, paths: int, habits: Habits, rng: np.random.Generator) -> None:
        self._edges = now + QUARTER_MS * np.arange(steps + 1, dtype=np.int64)
        self._habits = habits
        self._rng = rng
        self._paths = paths
        self._busy = np.zeros((paths, steps))
        self._watts = np.zeros((paths, steps))
        self._cursor = np.full(paths, float(now))

    def follow(self, works: Bookings, time: TimeArray, power: ValueArray) -> None:
        """Go through announced works in the order of their start, `power` being the group's racks' past."""
        now, horizon = float(self._edges[0]), float(self._edges[-1])
        for i in range(len(works)):
            start, end = float(works.start[i]), float(works.end[i])
            if start >= horizon:
                break
            if start > now:
                self._fill(start, fits=True)
            elif end <= now and self._cursor.min() > now:  # overrun, and what runs was taken for unlisted
                continue
            level, wander = self._level(works, i, time, power)
            stops = self._stops(start, end)
            self._cut(start)
            begins = start + self._habits.delay if start > now else now
            self._run(np.full(self._paths, begins), stops, level, wander)
            self._cursor = np.maximum(self._cursor, stops)
        self._fill(horizon)

    def take_as_working(self, newest: ValueArray, works: Bookings) -> None:
        """Let racks that work without being announced go on for a while; `newest` is their last quarter hour, W."""
        habits, now = self._habits, float(self._edges[0])
        known = newest[~np.isnan(newest)]
        level = float(known.mean()) if len(known) else np.nan
        busy = level > (habits.idle + float(np.median(habits.levels))) / 2
        if not busy or ((works.start <= now) & (works.end > now)).any():
            return
        lasts = self._rng.choice(habits.durations, self._paths) * self._rng.random(self._paths)
        self._run(self._cursor, now + lasts, np.full(self._paths, level), habits.wander)
        self._cursor = now + lasts

    def power(self) -> ValueArray:
        """Return W a rack, shape (paths, steps)."""
        watts: ValueArray = self._watts + np.clip(1.0 - self._busy, 0.0, 1.0) * self._habits.idle
        return watts

    def _level(
        self, works: Bookings, i: int, time: TimeArray, power: ValueArray
    ) -> tuple[ValueArray, ValueArray]:
        """Return the power a rack of a work, W, shape (paths,), and how its quarter hours lie around it, as shares.

        As measured where it runs already: how often and how long it stops for checkpoints is its own.
        """
        habits, rng = self._habits, self._rng
        inside = power[:, time >= int(works.start[i]) + SETTLING_MS][:, -RECENT:]
        measured = inside.mean(axis=0)
        measured = measured[~np.isnan(measured)]
        if len(measured):
            level = float(measured.mean())
            own = measured / max(level, 1.0) if len(measured) >= FEWEST_OWN else habits.wander
            # a few quarter hours tell a level only so well
            unsure = float(np.std(habits.wander)) / np.sqrt(len(measured))
            return level * (1.0 + unsure * rng.standard_normal(self._paths)), own
        expected = habits.expected(float(works.power[i]), float(works.intensity[i]))
        if np.isnan(expected):
            return rng.choice(habits.levels, self._paths), habits.wander
        spread = habits.scatter if np.isnan(works.power[i]) else 0.02 * expected
        return np.maximum(expected + spread * rng.standard_normal(self._paths), 0.0), habits.wander

    def _stops(self, start: float, end: float) -> ValueArray:
        """Draw when a work ends that has not ended yet."""
        now, planned = float(self._edges[0]), end - start
        elapsed = (now - start) / planned
        likely = self._habits.kept[self._habits.kept > elapsed]
        if len(likely) == 0:  # it overruns like none before
            return now + self._rng.exponential(0.1 * planned, self._paths)
        return np.maximum(start + planned * self._rng.choice(likely, self._paths), now)

    def _fill(self, until: float, fits: bool = False) -> None:
        """Let unannounced works follow until a time, as they did before; only such as end by then, where `fits`."""
        habits, rng = self._habits, self._rng
        if len(habits.gaps) == 0:  # never seen: free racks stay free
            self._cursor = np.maximum(self._cursor, until)
            return
        while (self._cursor < until).any():
            begin = self._cursor + rng.choice(habits.gaps, self._paths)
            stop = begin + rng.choice(habits.durations, self._paths)
            level = rng.choice(habits.levels, self._paths)
            ready = (self._cursor < until) & (begin < until) & ((stop <= until) | (not fits))
            stop = np.minimum(stop, until)
            self._run(np.where(ready, begin, stop), stop, level, habits.wander)
            self._cursor = np.where(ready, np.maximum(stop, begin), np.maximum(self._cursor, until))

    def _cut(self, start: float) -> None:
        """Work that was booked later takes the racks over: what ran before ends."""
        first = self._edges[:-1] >= start
        self._busy[:, first] = 0.0
        self._watts[:, first] = 0.0
        self._cursor = np.minimum(self._cursor, start)

    def _run(self, begin: ValueArray, stop: ValueArray, level: ValueArray, wander: ValueArray) -> None:
        share = np.clip(
            (np.minimum(self._edges[1:], stop[:, None]) - np.maximum(self._edges[:-1], begin[:, None]))
            / QUARTER_MS,
            0.0,
            1.0,
        )
        share = np.minimum(share, 1.0 - self._busy)
        self._busy += share
        self._watts += share * level[:, None] * self._rng.choice(wander, share.shape)


def _level(time: TimeArray, power: ValueArray, on: NDArray[np.bool_], start: int, stop: int) -> float:
    """Return the mean power a rack of a work over the quarter hours that lie in it; NaN where none does."""
    first, last = np.searchsorted(time, [start + SETTLING_MS, stop - QUARTER_MS + 1])
    inside = power[on, first:last]
    return float(np.nanmean(inside)) if inside.size and not np.isnan(inside).all() else np.nan


def _wander(ran: Bookings, stop: TimeArray, time: TimeArray, power: ValueArray) -> ValueArray:
    """Return the quarter hours that lie in works, as shares of their work's level."""
    shares = []
    for on, a, b in zip(ran.on, ran.start, stop, strict=True):
        first, last = np.searchsorted(time, [a + SETTLING_MS, b - QUARTER_MS + 1])
        if last - first >= 8:
            mean = power[on, first:last].mean(axis=0)
            shares.append(mean / max(float(np.nanmean(mean)), 1.0) if not np.isnan(mean).all() else mean)
    found = np.concatenate(shares) if shares else np.zeros(0)
    found = found[~np.isnan(found)]
    return found if len(found) >= 30 else 1.0 + np.array([-0.03, -0.02, -0.01, 0.0, 0.01, 0.02, 0.03])


def _delay(
    ran: Bookings, stop: TimeArray, levels: ValueArray, idle: float, time: TimeArray, power: ValueArray
) -> float:
    """Return by how much works draw their power later than they start, ms, from the quarter hours that they start in."""
    found = []
    for on, a, b, level in zip(ran.on, ran.start, stop, levels, strict=True):
        here = int(np.searchsorted(time, a, "right")) - 1
        if 0 <= here < len(time) and time[here] + QUARTER_MS <= b and level > 1.2 * idle:
            share = (time[here] + QUARTER_MS - a) / QUARTER_MS
            missing = idle + (level - idle) * share - float(power[on, here].mean())
            found.append(missing / (level - idle) * QUARTER_MS)
    known = [delay for delay in found if not np.isnan(delay)]
    return float(np.clip(np.median(known), 0.0, QUARTER_MS)) if len(known) >= FEWEST_LEVELS else 0.0


def _coverage(ran: Bookings, stop: TimeArray, time: TimeArray) -> ValueArray:
    """Return which share of each quarter hour works took each rack, shape (racks, n)."""
    cover = np.zeros((len(ran.racks), len(time)))
    for on, a, b in zip(ran.on, ran.start, stop, strict=True):
        first, last = max(int(np.searchsorted(time, a, "right")) - 1, 0), int(np.searchsorted(time, b))
        here = time[first:last]
        share = (np.minimum(here + QUARTER_MS, b) - np.maximum(here, a)) / QUARTER_MS
        cover[on, first:last] += np.clip(share, 0.0, 1.0)
    return np.minimum(cover, 1.0)


def _gaps(ran: Bookings, stop: TimeArray, end: int) -> ValueArray:
    """Return how long racks fell free between two works, each pair of works once, ms."""
    found: dict[tuple[int, int], float] = {}
    for rack in np.flatnonzero(ran.on.any(axis=0)).tolist():
        rows = np.flatnonzero(ran.on[:, rack] & (ran.start < end))
        for before, after in zip(rows[:-1].tolist(), rows[1:].tolist(), strict=True):
            found[before, after] = max(0.0, float(ran.start[after] - stop[before]))
    return np.array(list(found.values()))


def _last(past: Bookings, rack: int) -> int:
    rows = np.flatnonzero(past.on[:, rack])
    return int(rows[np.argmax(past.start[rows])]) if len(rows) else -1


def _mean(table: ValueArray) -> ValueArray:
    count = (~np.isnan(table)).sum(axis=1)
    return np.where(count > 0, np.nansum(table, axis=1) / np.maximum(count, 1), np.nan)
