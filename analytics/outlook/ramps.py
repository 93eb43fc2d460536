"""The largest ramps to expect: how far power rises and falls within seconds, from what it did in hours like the one to come.

A job that starts or ends moves megawatts within seconds, and one that runs swings with its iterations and stands still
to evaluate. The mean of a quarter hour tells nothing of that, so the largest changes within each quarter hour are kept as such. What
the coming hour will bring is drawn from the hours that followed moments like this one: as lively as the last hour was, with as
large a part of the node's racks at the start or the end of planned work.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from analytics.outlook.ramp_tails import RampTails
from analytics.planned.bookings import Bookings
from domain.envelope import QUARTER_MS
from domain.forecast import RAMP_QUANTILES, RAMP_WINDOWS_S, Ramps
from domain.points import TimeArray, ValueArray

STEP_MS = 2000
HOUR = 4
"""Quarter hours over which the ramps to come are the largest."""
HOUR_MS = 3_600_000


def largest_changes(power: ValueArray, steps: int) -> ValueArray:
    """Return the largest rise and fall within each window, among those that end in the last `steps` values.

    Parameters
    ----------
    power
        W, a value every `STEP_MS`, NaN where missing, shape (nodes, n); what lies before the last `steps` is looked back at.

    Returns
    -------
    W, both positive, shape (nodes, windows, 2); NaN where less than half of the values are known.
    """
    known = np.isfinite(power)
    low, high = np.where(known, power, np.inf), np.where(known, power, -np.inf)
    found = np.full((len(power), len(RAMP_WINDOWS_S), 2), np.nan)
    for i, window in enumerate(RAMP_WINDOWS_S):
        size = window * 1000 // STEP_MS + 1  # a window ends at the value itself
        least, most = _trailing(np.minimum, low, size, steps), _trailing(np.maximum, high, size, steps)
        rise = np.where(known[:, -steps:], power[:, -steps:] - least, 0.0).max(axis=1)
        fall = np.where(known[:, -steps:], most - power[:, -steps:], 0.0).max(axis=1)
        found[:, i] = np.stack([rise, fall], axis=1)
    found[known[:, -steps:].mean(axis=1) < 0.5] = np.nan
    return found


def _trailing(better: np.ufunc, power: ValueArray, size: int, steps: int) -> ValueArray:
    """Return the best of the last `size` values at each of the last `steps`; of fewer where there are not so many."""
    missing = max(0, size - 1 + steps - power.shape[1])
    best = np.pad(power, ((0, 0), (missing, 0)), mode="edge")[:, -(size - 1 + steps) :]
    width = 1
    while width < size:  # the best of twice as many values is that of two halves, which may overlap
        shift = min(width, size - width)
        best = better(best[:, shift:], best[:, :-shift])
        width += shift
    return best


def planned_shares(bookings: Bookings | None, below: NDArray[np.bool_], now: int, until: int) -> ValueArray:
    """Return the largest part of each node's racks at which one announced work starts, and ends, in [now, until).

    Parameters
    ----------
    bookings
        As known now; None where no schedule tells any.
    below
        Which of its racks lie under each node, shape (nodes, racks).
    now, until
        UTC ms.

    Returns
    -------
    0 to 1, shape (nodes, 2).
    """
    found = np.zeros((len(below), 2))
    if bookings is None:
        return found
    standing = bookings.standing()
    racks = np.maximum(below.sum(axis=1), 1)
    for column, moment in enumerate((standing.start, standing.end)):
        works = standing.on[(moment >= now) & (moment < until)]
        if len(works):
            found[:, column] = (below.astype(float) @ works.T.astype(float)).max(axis=1) / racks
    return found


MOST_QUARTERS = 14 * 96
MOST_CELLS = 400_000
"""Quarter hours, and quarter hours times nodes, that are kept: a fortnight of 297 nodes, less of a larger site."""
FEWEST = 2
"""Quarter hours from which on ramps are foretold at all."""
LIKENESS = (0.25, 0.15)
"""How alike hours are: by the factor between their liveliest ramps (a natural logarithm), by the part of planned racks."""
PRIOR = (0.5, 0.8, 1.0, 1.5, 3.0)
PRIOR_WEIGHT = 4.0
"""Before hours were seen: the coming one is so many times as lively as the last; worth so many hours in all."""
FADES = 10 * 96.0
"""After so many quarter hours what was seen counts a third."""


@dataclass(frozen=True, slots=True, eq=False)
class RampBook:
    """The largest changes within each past quarter hour, what was planned for the hour after it, and what was told of that hour.

    Parameters
    ----------
    nodes, kinds
        Ids, and what they are ("Site", "UPS", ...), length m.
    time
        Starts of the quarter hours, UTC ms, ascending, shape (n,).
    changes
        W, NaN where not measured, shape (n, m, windows, 2).
    planned
        `planned_shares` for the hour that began when the quarter hour ended, shape (n, m, 2).
    told
        W, the `RAMP_QUANTILES` that were told when each of the last quarter hours ended, NaN where none,
        shape (at most HOUR, m, windows, 2, quantiles).
    tails
        Where the outer quantiles are read, and how that is learned.
    """

    nodes: tuple[str, ...]
    kinds: tuple[str, ...]
    time: TimeArray
    changes: NDArray[np.float32]
    planned: NDArray[np.float32]
    told: NDArray[np.float32]
    tails: RampTails

    @classmethod
    def empty(cls, nodes: Sequence[str], kinds: Sequence[str]) -> RampBook:
        """Return a book without an entry."""
        shape = (0, len(nodes))
        changes = np.zeros((*shape, len(RAMP_WINDOWS_S), 2), np.float32)
        told = np.zeros((*changes.shape, len(RAMP_QUANTILES)), np.float32)
        planned = np.zeros((*shape, 2), np.float32)
        time = np.zeros(0, np.int64)
        return cls(tuple(nodes), tuple(kinds), time, changes, planned, told, RampTails.nominal(kinds))

    def take(self, time: int, changes: ValueArray, planned: ValueArray) -> RampBook:
        """Return the book with one more quarter hour, and what is told now; the oldest beyond the bound are left out.

        What was told an hour ago is compared with what came since.
        """
        kept = min(MOST_QUARTERS, max(8, MOST_CELLS // max(1, len(self.nodes))))
        new = replace(
            self,
            time=np.append(self.time, np.int64(time))[-kept:],
            changes=np.concatenate([self.changes, changes[None].astype(np.float32)])[-kept:],
            planned=np.concatenate([self.planned, planned[None].astype(np.float32)])[-kept:],
        )
        whole = len(self.told) == HOUR and time == self.time[-HOUR] + HOUR * QUARTER_MS
        if whole:
            came = new.changes[-HOUR:].max(axis=0)
            tails = self.tails.learn(self.kinds, self.told[0], came)
            new = replace(new, tails=tails)
        told = new._foretell()[None].astype(np.float32)
        return replace(new, told=np.concatenate([self.told, told])[-HOUR:])

    def of(self, nodes: Sequence[str], kinds: Sequence[str]) -> RampBook:
        """Return the book of other nodes: what was seen of those that are in both."""
        if (self.nodes, self.kinds) == (tuple(nodes), tuple(kinds)):
            return self
        before = {node: i for i, node in enumerate(self.nodes)}
        both = [(i, before[node]) for i, node in enumerate(nodes) if node in before]
        to, was = (list(part) for part in zip(*both, strict=True)) if both else ([], [])

        def moved(table: NDArray[np.float32], missing: float) -> NDArray[np.float32]:
            found = np.full((len(table), len(nodes), *table.shape[2:]), missing, np.float32)
            found[:, to] = table[:, was]
            return found

        return RampBook(
            tuple(nodes),
            tuple(kinds),
            self.time,
            moved(self.changes, np.nan),
            moved(self.planned, 0.0),
            moved(self.told, np.nan),
            self.tails.of(kinds),
        )

    def save(self, file: Path) -> None:
        """Write it as plain arrays, whole or not at all."""
        file.parent.mkdir(parents=True, exist_ok=True)
        unfinished = file.with_suffix(".unfinished")
        with unfinished.open("wb") as opened:
            np.savez(
                opened,
                nodes=np.array(self.nodes),
                kinds=np.array(self.kinds),
                windows=np.array(RAMP_WINDOWS_S),
                time=self.time,
                changes=self.changes,
                planned=self.planned,
                told=self.told,
                tail_kinds=np.array(self.tails.kinds),
                tails=self.tails.read,
            )
        unfinished.replace(file)

    @classmethod
    def load(cls, file: Path) -> RampBook:
        """Read what `save` wrote.

        Raises
        ------
        OSError, ValueError, KeyError, zipfile.BadZipFile
            If it cannot be read, is damaged, or of another release.
        """
        with np.load(file, allow_pickle=False) as kept:
            nodes, kinds = tuple(kept["nodes"].tolist()), tuple(kept["kinds"].tolist())
            tails = RampTails(tuple(kept["tail_kinds"].tolist()), kept["tails"])
            book = cls(nodes, kinds, kept["time"], kept["changes"], kept["planned"], kept["told"], tails)
            n, m, w = len(book.time), len(nodes), len(RAMP_WINDOWS_S)
            if (
                tuple(kept["windows"].tolist()) != RAMP_WINDOWS_S
                or len(kinds) != m
                or book.changes.shape != (n, m, w, 2)
                or book.planned.shape != (n, m, 2)
                or book.told.shape != (min(n, HOUR), m, w, 2, len(RAMP_QUANTILES))
                or not set(kinds) <= set(tails.kinds)
                or tails.read.shape != (len(tails.kinds), w, 2, 2)
            ):
                raise ValueError(f"{file}: of another release, or damaged")
            return book

    def expected(self) -> dict[str, Ramps]:
        """Return the largest ramps to expect in the hour after the newest quarter hour, by node."""
        if not len(self.told):
            return {}
        newest = self.told[-1].astype(float)
        return {
            node: Ramps(RAMP_WINDOWS_S, RAMP_QUANTILES, newest[i, :, 0], newest[i, :, 1])
            for i, node in enumerate(self.nodes)
            if np.isfinite(newest[i]).all()
        }

    def _foretell(self) -> ValueArray:
        """Return quantiles of the largest change in the coming hour, W, shape (m, windows, 2, quantiles); NaN where unknown.

        They are those of the hours that followed past moments, weighted by how like those were to now: by the largest change
        of the hour before, and by the planned works that start and end. Hours that were livelier than now, or calmer, are
        taken for as much less, or more, as the next hour follows the last one among them (a local regression of logarithms).
        """
        n, m = self.changes.shape[:2]
        shape = (m, len(RAMP_WINDOWS_S), 2)
        if n < FEWEST:
            return np.full((*shape, len(RAMP_QUANTILES)), np.nan)
        hours = np.log(
            _largest(np.maximum(self.changes.astype(float), 1.0))
        )  # over the hour that ends with each
        now = hours[-1]
        past = max(0, n - HOUR)
        apart, after = hours[:past] - now, hours[HOUR:] - now
        plans = (self.planned[:past] - self.planned[-1]).astype(float) / LIKENESS[1]
        far = (apart / LIKENESS[0]) ** 2 + (plans**2).sum(-1)[:, :, None, None]
        age = np.arange(past, 0, -1)[:, None, None, None] / FADES
        unknown = np.isnan(apart) | np.isnan(after)
        weights = np.where(unknown, 0.0, np.exp(-0.5 * far - age))
        apart, after = np.where(unknown, 0.0, apart), np.where(unknown, 0.0, after)
        guess = np.broadcast_to(np.log(PRIOR)[:, None, None, None], (len(PRIOR), *shape))
        apart, after = np.concatenate([apart, np.zeros(guess.shape)]), np.concatenate([after, guess])
        weights = np.concatenate([weights, np.full(guess.shape, PRIOR_WEIGHT / len(PRIOR))])
        after -= _slope(apart, after, weights) * apart
        levels = self.tails.levels(self.kinds).reshape(-1, len(RAMP_QUANTILES))
        found = weighted_quantiles(after.reshape(len(after), -1), weights.reshape(len(after), -1), levels)
        quantiles: ValueArray = np.exp(now[..., None] + found.reshape(*shape, -1))
        return quantiles


def _slope(x: ValueArray, y: ValueArray, weights: ValueArray) -> ValueArray:
    """Return by how much y grows with x in each column, 0 to 1: the first axis is summed over."""
    total = weights.sum(axis=0)
    x, y = x - (weights * x).sum(axis=0) / total, y - (weights * y).sum(axis=0) / total
    found: ValueArray = np.clip(
        (weights * x * y).sum(axis=0) / np.maximum((weights * x * x).sum(axis=0), 1e-9), 0.0, 1.0
    )
    return found


def weighted_quantiles(values: ValueArray, weights: ValueArray, levels: ValueArray) -> ValueArray:
    """Return quantiles of each column; `values` and `weights` have shape (n, columns), `levels` and result (columns, quantiles)."""
    order = np.argsort(values, axis=0)
    ranked, weight = np.take_along_axis(values, order, 0), np.take_along_axis(weights, order, 0)
    sums = np.cumsum(weight, axis=0)
    share = (sums - weight / 2) / np.maximum(sums[-1], 1e-12)
    found = np.empty(levels.shape)
    for column, wanted in enumerate(levels):
        found[column] = np.interp(wanted, share[:, column], ranked[:, column])
    return found


def _largest(changes: ValueArray) -> ValueArray:
    """Return the largest over each quarter hour and the three before it, NaN where all are unknown."""
    filled = np.concatenate(
        [np.full((HOUR - 1, *changes.shape[1:]), -np.inf), np.nan_to_num(changes, nan=-np.inf)]
    )
    most = np.maximum.reduce([filled[i : i + len(changes)] for i in range(HOUR)])
    return np.where(np.isfinite(most), most, np.nan)
