"""What the online scorers of racks and CDUs are built of: lags, lines through the fleet, tracked residuals."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np

from domain.plant.lag import toward
from domain.points import ValueArray

MARGIN = 7.0
"""An anomaly lies this many mean absolute residuals out (5.6 standard deviations of a normal one)."""
WILDEST = 4.0
"""A single residual counts at most this many limits: one wild reading must not carry the mean over its own."""
SETTLE = 300.0
"""Time that an object must be known before it is judged: what it shows then is its nature, within bounds, s."""
ARRIVING = 600.0
"""What joins a plant that is watched already must have been there for so long before its nature is looked at, s: it warms up."""
DRIFT = 1.5
"""How many of its least limits an object's offset may move away from what it was on its first day."""
A_DAY = 86_400.0
"""Age at which the offsets become the reference that slow changes are measured by, s."""
NOISIEST = 3.0
"""By how many least limits noise may widen a limit: what creeps must not pass for noise."""


@dataclass(slots=True)
class Lagged:
    """A quantity that follows its cause with a lag, and how unsure it is while the cause jumps.

    Between two readings the cause may have changed at once or at the very end; the difference is the slack.
    """

    now: ValueArray
    cause: ValueArray
    slack: ValueArray

    @classmethod
    def settled(cls, cause: ValueArray) -> Lagged:
        """Begin as if the cause had been there for long; gaps are filled with the median."""
        middle = median(cause)
        known = np.where(np.isfinite(cause), cause, 0.0 if math.isnan(middle) else middle)
        return cls(known, known, np.zeros(len(cause)))

    def follow(self, cause: ValueArray, dt: float, tau: ValueArray | float) -> None:
        """Move on by `dt` seconds with time constant `tau`; where the cause is missing it stays."""
        cause = np.where(np.isfinite(cause), cause, self.cause)
        at_once = toward(self.now, cause, dt, tau)
        at_the_end = toward(self.now, self.cause, dt, tau)
        fading: ValueArray = self.slack * np.exp(-dt / np.asarray(tau))
        self.slack = np.maximum(fading, np.abs(at_once - at_the_end))
        self.now, self.cause = at_once, cause


class FleetLine:
    """Line y = a + b x through all objects, forgetting slowly; objects far off don't count.

    Parameters
    ----------
    slope, spread
        Slope to begin with, and the spread of x that the data must show before they may change it.
    """

    def __init__(self, slope: float, spread: float) -> None:
        self.slope, self.spread = slope, spread
        self.offset = math.nan
        self.moments = np.zeros(5)  # weight, x, y, xx, xy
        self.prior = slope

    def residual(self, x: ValueArray, y: ValueArray) -> ValueArray:
        """Return y minus the line."""
        if math.isnan(self.offset):
            self.offset = median(y - self.prior * x)
        return y - self.offset - self.slope * x

    def learn(self, x: ValueArray, y: ValueArray, keep: float, healthy: np.ndarray) -> None:
        """Take in one moment; `keep` is the share of the past that stays."""
        good = healthy & np.isfinite(x) & np.isfinite(y)
        x, y = x[good], y[good]
        self.moments *= keep
        self.moments += (len(x), x.sum(), y.sum(), (x * x).sum(), (x * y).sum())
        n, sx, sy, sxx, sxy = self.moments
        if n < 1e-9:
            return
        # as if the prior slope had been seen at as much spread as is asked of the data
        ridge = self.spread**2
        vx = sxx / n - (sx / n) ** 2
        cxy = sxy / n - sx * sy / n**2
        self.slope = (cxy + ridge * self.prior) / (vx + ridge)
        self.offset = (sy - self.slope * sx) / n


@dataclass(slots=True)
class ResidualTrack:
    """Residuals of many objects over time, each against what is usual for it.

    Of three residuals the middle one counts; it is smoothed, freed of the object's own offset, and divided by the larger of `least` and `MARGIN`
    times its usual size. Parts differ from their peers from the first day: what an object shows while it is new, within what is `natural`, is its offset
    from the start. Offset and usual size follow from then on only while nothing is wrong: a fault must not become
    usual. What is missing stays as it was. An offset that creeps away from that of the first day is anomalous too: what takes
    days would else become usual on its way.

    Parameters
    ----------
    least
        Residuals below these mean nothing, shape (signals, 1).
    size
        Number of objects.
    smoothing, memory
        Time constants of the smoothed residual, and of offset and usual size, s.
    natural
        By how much an object may by nature differ from its peers, shape (signals, 1).
    """

    least: ValueArray
    size: int
    smoothing: float
    memory: float
    natural: ValueArray
    age: float = field(init=False, default=0.0)
    offset: ValueArray = field(init=False)
    reference: ValueArray = field(init=False)
    """The offsets of the first day, NaN before."""
    usual: ValueArray = field(init=False)
    smooth: ValueArray = field(init=False)
    last: ValueArray = field(init=False)
    """The two residuals before this one, shape (2, signals, objects)."""
    known: ValueArray = field(init=False)
    """For how long each has been known, s, below 0 while it arrives: a plant is commissioned bit by bit."""
    met: np.ndarray = field(init=False)
    """Which have ever been known."""
    calm: np.ndarray = field(init=False)
    """Where nothing was wrong at the last update, shape (signals, objects)."""

    def __post_init__(self) -> None:
        shape = (len(self.least), self.size)
        self.offset, self.smooth = np.zeros(shape), np.zeros(shape)
        self.known, self.calm, self.met = np.zeros(shape), np.zeros(shape, bool), np.zeros(shape, bool)
        self.last = np.full((2, *shape), np.nan)
        self.reference = np.full(shape, np.nan)
        self.usual = np.repeat(self.least / MARGIN, self.size, axis=1)

    def update(self, residual: ValueArray, slack: ValueArray | float, seconds: float) -> ValueArray:
        """Take in one moment; return the score of every signal, shape (signals, objects), NaN where never known.

        Parameters
        ----------
        residual
            Shape (signals, objects), NaN where missing.
        slack
            What a change under way may explain of it.
        seconds
            Since the last moment.
        """
        # what is open is where between its own offset and what was read the object is
        beyond = residual - self.offset
        residual = self.offset + np.sign(beyond) * np.maximum(np.abs(beyond) - slack, 0.0)
        deviation = self._middle(residual) - self.offset
        known = np.isfinite(deviation)
        limit = np.clip(MARGIN * self.usual, self.least, NOISIEST * self.least)
        bounded = np.clip(deviation, -WILDEST * limit, WILDEST * limit)
        self.smooth += np.where(known, -math.expm1(-seconds / self.smoothing) * (bounded - self.smooth), 0.0)
        score = np.fmax(
            np.abs(self.smooth) / limit, np.abs(self.offset - self.reference) / (DRIFT * self.least)
        )
        if self.age > SETTLE:
            self.known[known & ~self.met] = -ARRIVING
        self.met |= known
        new = self.known < SETTLE
        score[new] = 0.0
        self.calm = known & (score < 1.0)
        # what a change under way may explain teaches little
        worth = np.where(known, seconds / (1.0 + (slack / self.least) ** 2), 0.0)
        # the nature of what is new must not be drawn to nought by what is open
        self._learn(
            np.where(new, np.clip(beyond, -4.0 * self.natural, 4.0 * self.natural), deviation),
            new,
            worth,
            seconds,
        )
        self.known += worth
        self.age += seconds
        score[~self.met] = np.nan
        return score

    def _middle(self, residual: ValueArray) -> ValueArray:
        """Return the middle one of this residual and the two before it: a single wild reading is none."""
        one, two = (np.where(np.isfinite(past), past, residual) for past in self.last)
        self.last = np.stack([self.last[1], residual])
        return np.maximum(np.minimum(one, two), np.minimum(np.maximum(one, two), residual))

    def accept(self, member: int, but: Sequence[int] = ()) -> None:
        """Take the present state of an object as usual, after work on it; `but` are signals that have no usual state.

        What it shows from now on, until it has been known for `SETTLE`, is its nature anew: not everything can be seen at any moment.
        """
        self.smooth[list(but), member] = self.offset[list(but), member] = 0.0
        self.offset[:, member] += self.smooth[:, member]
        self.smooth[:, member] = 0.0
        anew = self.natural[:, 0] > 0
        anew[list(but)] = False
        self.known[anew, member] = np.minimum(self.known[anew, member], 0.0)
        self.reference[:, member] = np.where(anew, np.nan, self.offset[:, member])

    def _learn(self, deviation: ValueArray, new: np.ndarray, worth: ValueArray, seconds: float) -> None:
        slow = -math.expm1(-seconds / self.memory)
        # young means learn fast: the mean of what was seen so far, later an exponential one
        gain = np.maximum(worth / (np.maximum(self.known, 0.0) + seconds), slow * worth / seconds)
        gain[self.known < 0] = 0.0
        offset = self.offset + np.where(self.calm, gain * deviation, 0.0)
        # what differs from its peers by more than parts do is not usual either
        bounded = np.clip(offset, -self.natural, self.natural)
        self.offset = np.where(self.calm, bounded, self.offset)
        self.smooth[new] = 0.0
        # where nothing is natural, nothing is noise: what builds up towards the limit would else lift it on its way
        noise = self.calm & ~new & (self.natural > 0)
        self.usual += np.where(noise, slow * (np.abs(self.smooth) - self.usual), 0.0)
        settled = np.isnan(self.reference) & (self.known >= A_DAY)
        self.reference = np.where(settled, self.offset, self.reference)


@dataclass(slots=True)
class Stopped:
    """What ran within the last day and stands now; what stands for longer, or never ran, does so on purpose.

    Parameters
    ----------
    size
        Number of things.
    """

    size: int
    rested: ValueArray = field(init=False)
    """For how long each has stood, s."""

    def __post_init__(self) -> None:
        self.rested = np.full(self.size, np.inf)

    def update(self, running: np.ndarray, seconds: float) -> np.ndarray:
        """Take in one moment; return which have stopped, shape (size,) both."""
        self.rested = np.where(running, 0.0, self.rested + seconds)
        return (self.rested > 0) & (self.rested < A_DAY)

    def accept(self, member: int) -> None:
        """Take it that one stands on purpose."""
        self.rested[member] = np.inf


@dataclass(slots=True)
class Steps:
    """The smallest step that each instrument has been seen to make: what lies within half of it, it cannot tell.

    Parameters
    ----------
    size
        Number of instruments.
    """

    size: int
    step: ValueArray = field(init=False)
    last: ValueArray = field(init=False)

    def __post_init__(self) -> None:
        self.step, self.last = np.full(self.size, np.inf), np.full(self.size, np.nan)

    def update(self, reading: ValueArray) -> ValueArray:
        """Take in one moment; return the steps, 0 where none has been seen, shapes (size,)."""
        change = np.abs(reading - self.last)
        self.step = np.where(change > 0, np.fmin(self.step, change), self.step)
        self.last = np.where(np.isfinite(reading), reading, self.last)
        return self.known()

    def known(self) -> ValueArray:
        """Return the steps, 0 where none has been seen."""
        return np.where(np.isfinite(self.step), self.step, 0.0)


@dataclass(slots=True)
class Standstill:
    """How far things should have moved since they last did: what sticks stands still while what it follows moves.

    Judged by what is wanted itself, for a thing that has followed has nothing left to do, and by the middle of its last
    values, for nothing follows a dip of seconds: the smaller of the two ranges counts.

    Parameters
    ----------
    size
        Number of things.
    step
        A reading that changes by this much has moved.
    patience
        For how long what follows late may stand, s.
    looks
        Number of values of which the middle is taken; 1 where what is wanted does not flicker.
    """

    TIMES: ClassVar[float] = 3.0
    """What sticks has stood through so many times as much as it ever did,"""
    COARSE: ClassVar[float] = 2.5
    """and through so many of its own steps."""
    MOVES: ClassVar[int] = 20
    """So often a thing must have moved before its habits are known."""

    size: int
    step: float
    patience: float = 0.0
    looks: int = 1
    rested: ValueArray = field(init=False)
    """For how long each has not moved, s."""
    held: ValueArray = field(init=False)
    recent: ValueArray = field(init=False)
    low: ValueArray = field(init=False)
    high: ValueArray = field(init=False)
    through: ValueArray = field(init=False)
    """The widest range that each has stood through before it moved."""
    moves: ValueArray = field(init=False)
    """How often each has moved."""
    top: ValueArray = field(init=False)
    """The highest that each has read twice in a row."""
    steps: Steps = field(init=False)

    def __post_init__(self) -> None:
        self.through, self.moves, self.steps = np.zeros(self.size), np.zeros(self.size), Steps(self.size)
        self.top = np.full(self.size, np.nan)
        self.held = np.full(self.size, np.nan)
        self.recent = np.full((self.looks, self.size), np.nan)
        self.low, self.high = np.full((2, 2, self.size), np.nan)
        self.rested = np.zeros(self.size)

    def update(self, reading: ValueArray, wanted: ValueArray, seconds: float = 0.0) -> ValueArray:
        """Take in one moment; return the range of `wanted` since the last movement, NaN where unknown, shapes (size,).

        Nought while it has not stood for longer than the patience.
        """
        known = np.isfinite(reading) & np.isfinite(wanted)
        first = known & ~np.isfinite(self.recent[-1])
        passed = np.concatenate([self.recent[1:], wanted[None]])
        self.recent = np.where(first, wanted, np.where(known, passed, self.recent))
        both = np.stack([wanted, np.median(self.recent, axis=0)])
        moved = known & ~(np.abs(reading - self.held) < self.step)
        stood = np.nan_to_num((self.high - self.low).min(axis=0))
        # what was taken for stuck, and moves, may stand through more than was known: but not through anything
        stood = np.minimum(stood, self.TIMES * np.where(self.through > 0, self.through, np.inf))
        self.through = np.where(moved, np.maximum(self.through, stood), self.through)
        self.moves += moved & np.isfinite(self.held)
        self.top = np.fmax(self.top, np.minimum(reading, self.steps.last))
        self.steps.update(reading)
        self.held = np.where(moved, reading, self.held)
        self.low = np.where(moved, both, np.where(known, np.fmin(self.low, both), self.low))
        self.high = np.where(moved, both, np.where(known, np.fmax(self.high, both), self.high))
        self.rested = np.where(moved, 0.0, self.rested + seconds)
        span = (self.high - self.low).min(axis=0)
        return np.where(known, np.where(self.rested >= self.patience, span, 0.0), np.nan)

    def free(self, reading: ValueArray, ends: tuple[float, float]) -> np.ndarray:
        """Return which may go either way: between the `ends`, or well below what each has reached before; shapes (size,)."""
        below = reading < self.top - self.COARSE * np.maximum(self.steps.known(), self.step)
        return np.asarray((reading > ends[0]) & ((reading < ends[1]) | below))

    def accept(self, member: int) -> None:
        """Learn the habits of one anew, after work on it."""
        self.through[member] = self.moves[member] = 0.0
        self.steps.step[member], self.top[member] = np.inf, np.nan

    def sharpness(self, least: float, floor: float, gain: ValueArray | float = 1.0) -> ValueArray:
        """Return by how much smaller a range than `least` proves each thing stuck, by its habits, shape (size,).

        At most `least` / `floor`, at least a third: of what stands through much, more is asked.

        Parameters
        ----------
        least, floor
            Range that says enough of a thing that nothing is known of, and the least that ever does.
        gain
            By how much what is wanted moves when a reading does, shape (size,).
        """
        usual = np.maximum(self.TIMES * self.through, self.COARSE * self.steps.known() * gain)
        return np.where(self.moves >= self.MOVES, least / np.clip(usual, floor, NOISIEST * least), 1.0)


def median(values: ValueArray) -> float:
    """Median of the known values, NaN without one; several times faster than `numpy.nanmedian`."""
    known = np.sort(values[np.isfinite(values)])
    n = len(known)
    return float(0.5 * (known[(n - 1) // 2] + known[n // 2])) if n else math.nan


def milder(one: ValueArray, other: ValueArray) -> ValueArray:
    """Return what two views of the same deviation agree on: the smaller one, nought where their signs differ."""
    smaller = np.where(np.abs(one) < np.abs(other), one, other)
    return np.where(one * other > 0, smaller, np.where(np.isfinite(one * other), 0.0, np.nan))
