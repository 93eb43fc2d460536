"""The largest ramps to expect: how far power rises and falls within seconds, from what it did in hours like the one to come.

A job that starts or ends moves megawatts within seconds, and one that runs swings with its iterations and stands still
to evaluate. The mean of a quarter hour tells nothing of that, so the largest changes within each quarter hour are kept as such. What
the coming hour will bring is drawn from the hours that followed moments like this one: as lively as the last hour was, with as
large a part of the node's racks at the start or the end of planned work.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from analytics.planned.bookings import Bookings
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
    """The largest changes within each past quarter hour, and what was planned for the hour after it.

    Parameters
    ----------
    nodes
        Ids, length m.
    time
        Starts of the quarter hours, UTC ms, ascending, shape (n,).
    changes
        W, NaN where not measured, shape (n, m, windows, 2).
    planned
        `planned_shares` for the hour that began when the quarter hour ended, shape (n, m, 2).
    """

    nodes: tuple[str, ...]
    time: TimeArray
    changes: NDArray[np.float32]
    planned: NDArray[np.float32]

    @classmethod
    def empty(cls, nodes: Sequence[str]) -> RampBook:
        """Return a book without an entry."""
        shape = (0, len(nodes))
        changes = np.zeros((*shape, len(RAMP_WINDOWS_S), 2), np.float32)
        return cls(tuple(nodes), np.zeros(0, np.int64), changes, np.zeros((*shape, 2), np.float32))

    def take(self, time: int, changes: ValueArray, planned: ValueArray) -> RampBook:
        """Return the book with one more quarter hour; the oldest beyond the bound are left out."""
        kept = min(MOST_QUARTERS, max(8, MOST_CELLS // max(1, len(self.nodes))))
        return RampBook(
            self.nodes,
            np.append(self.time, np.int64(time))[-kept:],
            np.concatenate([self.changes, changes[None].astype(np.float32)])[-kept:],
            np.concatenate([self.planned, planned[None].astype(np.float32)])[-kept:],
        )

    def of(self, nodes: Sequence[str]) -> RampBook:
        """Return the book of other nodes: what was seen of those that are in both."""
        if self.nodes == tuple(nodes):
            return self
        place = {node: i for i, node in enumerate(self.nodes)}
        shape = (len(self.time), len(nodes))
        changes = np.full((*shape, *self.changes.shape[2:]), np.nan, np.float32)
        planned = np.zeros((*shape, 2), np.float32)
        for i, node in enumerate(nodes):
            if node in place:
                changes[:, i], planned[:, i] = self.changes[:, place[node]], self.planned[:, place[node]]
        return RampBook(tuple(nodes), self.time, changes, planned)

    def save(self, file: Path) -> None:
        """Write it as plain arrays, whole or not at all."""
        file.parent.mkdir(parents=True, exist_ok=True)
        unfinished = file.with_suffix(".unfinished")
        with unfinished.open("wb") as opened:
            np.savez(
                opened,
                nodes=np.array(self.nodes),
                windows=np.array(RAMP_WINDOWS_S),
                time=self.time,
                changes=self.changes,
                planned=self.planned,
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
            book = cls(tuple(kept["nodes"].tolist()), kept["time"], kept["changes"], kept["planned"])
            n, m, w = len(book.time), len(book.nodes), len(RAMP_WINDOWS_S)
            if (
                tuple(kept["windows"].tolist()) != RAMP_WINDOWS_S
                or book.changes.shape != (n, m, w, 2)
                or book.planned.shape != (n, m, 2)
            ):
                raise ValueError(f"{file}: of another release, or damaged")
            return book

    def expected(self) -> dict[str, Ramps]:
        """Return the largest ramps to expect in the hour after the newest quarter hour, by node.

        The quantiles are those of the hours that followed past moments, weighted by how like those were to now: by the
        largest change of the hour before, and by the planned works that start and end.
        """
        n, m = self.changes.shape[:2]
        if n < FEWEST:
            return {}
        shape = (m, len(RAMP_WINDOWS_S), 2)
        changes = np.maximum(self.changes.astype(float), 1.0)
        hours = _largest(changes)  # (n, m, w, 2): over the hour that ends with each quarter hour
        now = hours[-1]
        past = max(0, n - HOUR)
        targets, before = hours[HOUR:], hours[:past]
        age = np.arange(past, 0, -1) / FADES
        apart = (np.log(before) - np.log(now)) / LIKENESS[0]
        plans = (self.planned[:past] - self.planned[-1]).astype(float) / LIKENESS[1]
        far = apart**2 + (plans**2).sum(-1)[:, :, None, None]
        weight = np.exp(-0.5 * np.nan_to_num(far, nan=1e3) - age[:, None, None, None])
        weight = np.where(np.isnan(targets), 0.0, weight)
        guess = now * np.array(PRIOR)[:, None, None, None]
        each = PRIOR_WEIGHT / len(PRIOR)
        values = np.concatenate([np.nan_to_num(targets), guess])
        weights = np.concatenate([weight, np.full(guess.shape, each)])
        found = weighted_quantiles(
            values.reshape(len(values), -1), weights.reshape(len(values), -1), RAMP_QUANTILES
        ).reshape(*shape, len(RAMP_QUANTILES))
        return {
            node: Ramps(RAMP_WINDOWS_S, RAMP_QUANTILES, found[i, :, 0], found[i, :, 1])
            for i, node in enumerate(self.nodes)
            if np.isfinite(now[i]).all()
        }


def weighted_quantiles(values: ValueArray, weights: ValueArray, quantiles: Sequence[float]) -> ValueArray:
    """Return quantiles of each column, shape (columns, quantiles); `values` and `weights` have shape (n, columns)."""
    order = np.argsort(values, axis=0)
    ranked, weight = np.take_along_axis(values, order, 0), np.take_along_axis(weights, order, 0)
    sums = np.cumsum(weight, axis=0)
    share = (sums - weight / 2) / np.maximum(sums[-1], 1e-12)
    found = np.empty((values.shape[1], len(quantiles)))
    for column in range(values.shape[1]):
        found[column] = np.interp(quantiles, share[:, column], ranked[:, column])
    return found


def _largest(changes: ValueArray) -> ValueArray:
    """Return the largest over each quarter hour and the three before it, NaN where all are unknown."""
    filled = np.concatenate(
        [np.full((HOUR - 1, *changes.shape[1:]), -np.inf), np.nan_to_num(changes, nan=-np.inf)]
    )
    most = np.maximum.reduce([filled[i : i + len(changes)] for i in range(HOUR)])
    return np.where(np.isfinite(most), most, np.nan)
