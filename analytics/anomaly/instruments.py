"""Which instruments misbehave, all the time: the last ten minutes of each, judged every other minute.

Told here: stuck, spiking, noisy, silent, wrong unit, swapped. Whether one that is merely off tells the truth is asked by
the scorers' residuals, and answered by the diagnosis of an incident ("flow sensor"): several instruments share one balance.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from analytics.anomaly.peers import group_median
from analytics.anomaly.residuals import Steps
from analytics.anomaly.sensors import (
    COARSE,
    NOISE_LIMIT,
    SensorHabits,
    Verdict,
    classify,
    row_noise,
    spikes,
    swapped,
)
from domain.points import IntArray, ValueArray

ROWS = 60
"""Readings that are judged together: ten minutes at 10 s."""
LEARN_ROWS = 30
"""Readings from which noise and resolution are learnt before anything is judged."""
FINE = 0.1
"""Noise below four times this share of the tolerance is no fault."""
SPIKES = 3
"""Wild readings within the window that make an instrument a spiking one; a single one is soon forgotten."""
FAR = 1.5
"""A spike stands out by so many times as much as what the load moves the reading at that moment."""
CALM = 0.5
"""Noise is told from readings between which what is expected moves by less than this share of the tolerance."""
STILL_ROWS = 120
"""Equal readings in a row that make an instrument a stuck one although nothing says that the quantity moved."""
LIVELY, LIVELY_ROWS = 0.5, 20
"""An instrument that changes at less than this share of its readings, or of which fewer have been seen, may stand still for long,"""
AWAY_ROWS = 10
"""unless it is away from what it should read, by the middle one of so many readings. So may a lively one while its load stands."""
STILL_TIMES = 3
"""So many times longer than it ever stood still before, and while so many times as much was asked of it."""
LOOKS = 5
"""What is expected counts by the middle of so many values: nothing answers to a dip of seconds."""
SILENT_ROWS = 18
"""Missing readings in a row that make an instrument a silent one."""
CONFIRM = 2
"""Verdicts in a row before one is told."""
TOLD = (Verdict.STUCK, Verdict.SPIKING, Verdict.NOISY, Verdict.SILENT, Verdict.WRONG_UNIT, Verdict.SWAPPED)


class InstrumentWatch:
    """Judges instruments of one kind of object.

    Parameters
    ----------
    names
        (object id, point type) of each instrument, in the order of the columns.
    tolerance
        How far an instrument may stray from what its neighbours tell before it is suspected, in its unit, shape (instruments,).
    group
        Instruments that the plant moves together, such as flow meters of one pod, have the same number; shape (instruments,).
    pairs
        Columns that could be exchanged, such as supply and return of one CDU.
    """

    def __init__(
        self,
        names: Sequence[tuple[str, str]],
        tolerance: ValueArray,
        group: IntArray,
        pairs: Sequence[tuple[int, int]] = (),
    ) -> None:
        self.names = tuple(names)
        self._place = {name: i for i, name in enumerate(self.names)}
        self.tolerance = tolerance
        self.group = group
        self.pairs = tuple(pairs)
        self.verdict = np.zeros(len(self.names), np.int8)
        self._values = np.full((ROWS, len(self.names)), np.nan)
        self._expected = np.full((ROWS, len(self.names)), np.nan)
        self._rows = 0
        self._habits: SensorHabits | None = None
        self._suspected = np.zeros(len(self.names), np.int8)
        self._times = np.zeros(len(self.names), np.int16)
        self._known = np.zeros(len(self.names), bool)
        self._run = np.zeros(len(self.names), np.int32)
        self._longest = np.zeros(len(self.names), np.int32)
        self._heard = np.zeros(len(self.names), np.int32)
        self._moves = np.zeros(len(self.names), np.int32)
        self._steps = Steps(len(self.names))
        # what was expected while each stood still: lowest and highest now, and the widest that it stood through before it moved
        self._low, self._high = np.full((2, len(self.names)), np.nan)
        self._through = np.zeros(len(self.names))

    def take(self, values: ValueArray, expected: ValueArray) -> None:
        """Remember one moment: readings and what they should be by the others, shape (instruments,) each, NaN where missing.

        A moment at which most say nothing is left out: their source is away, and that is the fault of no instrument.
        """
        there = self._heard > 0
        if np.isnan(values[there]).sum() > there.sum() / 2:
            return
        same = values == self._values[-1]
        self._longest = np.where(same, self._longest, np.maximum(self._longest, self._run))
        self._run = np.where(same, self._run + 1, 0).astype(np.int32)
        heard = np.isfinite(values)
        self._heard += heard
        self._moves += heard & ~same
        self._steps.update(values)
        self._values[:-1] = self._values[1:]
        self._expected[:-1] = self._expected[1:]
        self._values[-1], self._expected[-1] = values, expected
        self._rows += 1
        self._stand(same)

    def _stand(self, same: np.ndarray) -> None:
        """Follow what is expected of those that stand still: a controller tells nothing of what moves by less than its deadband."""
        due = np.sort(self._expected[-LOOKS:], axis=0)[LOOKS // 2]
        stood = (self._high - self._low) * (self.verdict != Verdict.STUCK)
        self._through = np.where(same, self._through, np.fmax(self._through, stood))
        self._low = np.where(same, np.fmin(self._low, due), due)
        self._high = np.where(same, np.fmax(self._high, due), due)

    def expected(self, name: tuple[str, str]) -> float:
        """Return what the others last said that an instrument should read; NaN where they say nothing, or there is no such one."""
        place = self._place.get(name)
        return float("nan") if place is None else float(self._expected[-1, place])

    def judge(self) -> dict[tuple[str, str], Verdict]:
        """Return the instruments that misbehave."""
        rows = min(self._rows, ROWS)
        if rows < LEARN_ROWS or not self.names:
            return {}
        values, expected = self._values[-rows:], self._expected[-rows:]
        # one that was never heard is not there; silent is what was heard and is no more
        heard = np.isfinite(values).any(axis=0)
        if self._habits is None:
            habits = SensorHabits.learn(values - np.nan_to_num(expected), self.tolerance)
            # noise well within the tolerance is nobody's business
            self._habits = replace(habits, resolution=np.maximum(habits.resolution, FINE * self.tolerance))
        self._known |= heard
        # how coarse an instrument is shows in its own readings only
        coarse = np.where(np.isfinite(self._steps.step), self._steps.step, 0.0)
        habits = replace(self._habits, resolution=np.maximum(self._habits.resolution, coarse))
        found = classify(values, expected, habits)
        wild = _spiking_or_noisy(found)
        spiked, noisy = self._beyond_load(values, expected, habits)
        alone = wild & np.where(found == Verdict.SPIKING, spiked >= SPIKES, noisy)
        # where several are wild beyond what the load explains, the plant is
        company = np.bincount(self.group, weights=alone)[self.group] > 1
        found = np.where(wild & (company | ~alone), Verdict.GOOD, found)
        # one that spikes is well between its spikes; it is trusted again once a whole window holds none
        still_spiking = (self.verdict == Verdict.SPIKING) & (spiked > 0) & (found == Verdict.GOOD)
        found = np.where(still_spiking, Verdict.SPIKING, found)
        telling = self._telling()
        found = np.where((found == Verdict.STUCK) & ~telling, Verdict.GOOD, found)
        found = np.where(self._still() & telling, Verdict.STUCK, found)
        silent = ~np.isfinite(self._values[-min(rows, SILENT_ROWS) :]).any(axis=0)
        fellows = np.bincount(self.group)[self.group]
        # where most of a group are silent, what tells of them is away, and not each of them broken
        together = (fellows > 1) & (np.bincount(self.group, weights=silent)[self.group] > fellows / 2)
        found = np.where(silent, np.where(together, Verdict.GOOD, Verdict.SILENT), found)
        found = np.where(swapped(values, expected, self.pairs, self.tolerance), Verdict.SWAPPED, found)
        found = np.where(np.isin(found, TOLD) & self._known, found, Verdict.GOOD).astype(np.int8)
        self._times = np.where(found == self._suspected, self._times + 1, 1).astype(np.int16)
        self._suspected = found
        self.verdict = np.where(self._times >= CONFIRM, found, self.verdict)
        return {self.names[i]: Verdict(int(self.verdict[i])) for i in np.flatnonzero(self.verdict)}

    def _still(self) -> np.ndarray:
        """Whether each reading stands still for far longer than ever, and than its fellows do now."""
        fellows = group_median(self._run.astype(float), self.group, int(self.group.max(initial=-1)) + 1)
        least = np.maximum(STILL_ROWS, STILL_TIMES * np.maximum(self._longest, fellows[self.group]))
        return np.asarray(self._run >= least)

    def _telling(self) -> np.ndarray:
        """Whether a standstill says anything: of what never stands still for long while so much is asked of it, or of what should read otherwise."""
        before = self._heard - self._run
        lively = (before >= LIVELY_ROWS) & (self._moves > LIVELY * before)
        # of one that never moved nobody knows how coarse it is
        step = np.where(np.isfinite(self._steps.step), self._steps.step, self.tolerance)
        # where nothing tells what should be read, its own ways have to do
        lively &= ~(self._high - self._low <= np.maximum(STILL_TIMES * self._through, COARSE * step))
        # a load that dips for a moment moves what is expected before a slow instrument has noticed
        away = np.sort(np.abs(self._values[-AWAY_ROWS:] - self._expected[-AWAY_ROWS:]), axis=0)
        return np.asarray(lively | (away[AWAY_ROWS // 2] > np.maximum(COARSE * step, self.tolerance)))

    def _beyond_load(
        self, values: ValueArray, expected: ValueArray, habits: SensorHabits
    ) -> tuple[np.ndarray, np.ndarray]:
        """Return how many spikes each reading has that its load does not explain, and whether it is noisy while its load is calm.

        What is expected moves with the load; an instrument that lags, holds or is read at another moment follows it late.
        """
        told = np.isfinite(expected).any(axis=0)
        rest = np.where(told, values - expected, values)
        move = np.abs(np.diff(np.where(told, expected, 0.0), axis=0))
        around = np.fmax(move[:-1], move[1:])
        spiked = spikes(rest, habits, FAR * np.nan_to_num(around)).sum(axis=0)
        calm = np.full(rest.shape, np.nan)
        calm[1:] = np.where(move < CALM * self.tolerance, rest[1:], np.nan)
        enough = np.isfinite(calm).sum(axis=0) >= LEARN_ROWS // 2
        usual = np.maximum(habits.noise, habits.resolution)
        return spiked, np.asarray(enough & (row_noise(calm) > NOISE_LIMIT * usual))


def _spiking_or_noisy(verdict: np.ndarray) -> np.ndarray:
    return np.asarray(np.isin(verdict, (Verdict.SPIKING, Verdict.NOISY)))
