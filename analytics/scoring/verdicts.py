"""Whether forecasts are what they say: coverage of the 90 % interval, tested; and whether "as now" has been better.

Neighbouring forecasts err together, so hits are not counted as independent draws. Coverage is taken over batches that are
at least twice as long as the forecasts look ahead, and their spread gives its standard error (batch means, as for the mean
of a correlated series; Law, Simulation Modeling and Analysis, 9.5.3). It is called off where it differs from 0.9 both by
more than a calibrated model's may and by more than chance explains.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import IntEnum

import numpy as np

from domain.points import ValueArray
from domain.scores import COLUMN, SLOT_MS

NOMINAL = 0.9
TOLERANCE = 0.05
"""Coverage this far from nominal is of no practical concern."""
SURE = 3.2905
"""Of the normal distribution, two-sided: what chance does once in a thousand looks."""
FEWEST_BATCHES, MOST_BATCHES = 8, 28
MOST_SLOTS = 128
"""No verdict looks back further: 32 days."""
DAY_SLOTS = 4
WORSE_DAYS = 3
WORSE = 1.05
"""Pinball loss over that of persistence, on each of the last days."""


class Calibration(IntEnum):
    """What is told of a kind of forecast."""

    GOOD = 0
    TOO_NARROW = 1
    TOO_WIDE = 2
    WORSE_THAN_PERSISTENCE = 3


STATES = (
    (int(Calibration.GOOD), "Good"),
    (int(Calibration.TOO_NARROW), "Too narrow"),
    (int(Calibration.TOO_WIDE), "Too wide"),
    (int(Calibration.WORSE_THAN_PERSISTENCE), "Worse than persistence"),
)


@dataclass(frozen=True, slots=True)
class Verdict:
    """What is said of forecasts at one lead time.

    `coverage` over the window, `sure` the range that it would be in by chance if it were nominal (both NaN where there are
    too few batches to tell), `state` None where it is not known yet.
    """

    coverage: float
    sure: tuple[float, float]
    state: Calibration | None


def batch_slots(lead: int) -> int:
    """Return how many slots make a batch for a lead time in minutes: at least twice as long as that."""
    return max(1, -(-2 * lead * 60_000 // SLOT_MS))


def window_slots(lead: int) -> int:
    """Return how many slots back a verdict looks: 28 batches, which is a week up to three hours ahead, or 32 days."""
    return min(MOST_BATCHES * batch_slots(lead), MOST_SLOTS)


def verdict(lead: int, sums: Mapping[int, ValueArray], newest: int) -> Verdict:
    """Judge one kind of forecast at one lead time.

    Parameters
    ----------
    lead
        Minutes.
    sums
        By slot (its start, UTC ms) the sums of the kind's objects, shape (len(STATISTICS),).
    newest
        The newest slot.
    """
    size, back = batch_slots(lead), window_slots(lead)
    slots = [newest - i * SLOT_MS for i in range(back)]
    batches = [
        np.sum([sums[s] for s in slots[i : i + size] if s in sums], axis=0)
        for i in range(0, back - size + 1, size)
        if any(s in sums for s in slots[i : i + size])
    ]
    n = np.array([b[COLUMN["scored"]] for b in batches])
    hits = n - np.array([b[COLUMN["below"]] + b[COLUMN["above"]] for b in batches])
    n, hits = n[n > 0], hits[n > 0]
    if len(n) < FEWEST_BATCHES:
        return Verdict(np.nan, (np.nan, np.nan), _worse(sums, slots))
    coverage = float(hits.sum() / n.sum())
    residual = hits - coverage * n
    spread = float(np.sqrt(len(n) / (len(n) - 1) * (residual**2).sum()) / n.sum())
    # where all of them hit, their spread says nothing: as many draws as forecasts that do not overlap
    draws = len(n) * size * SLOT_MS / (lead * 60_000)
    chance = float(np.sqrt(NOMINAL * (1 - NOMINAL) / draws))
    reach = _student(len(n) - 1) * max(spread, chance)
    off = abs(coverage - NOMINAL) > max(TOLERANCE, reach)
    if off:
        state = Calibration.TOO_NARROW if coverage < NOMINAL else Calibration.TOO_WIDE
    else:
        state = _worse(sums, slots) or Calibration.GOOD
    return Verdict(coverage, (NOMINAL - reach, min(1.0, NOMINAL + reach)), state)


def _worse(sums: Mapping[int, ValueArray], slots: Sequence[int]) -> Calibration | None:
    """Return whether persistence was better on each of the last whole days; None where that is not known or not so."""
    whole = slots[1:]  # the running slot is not over
    for day in range(WORSE_DAYS):
        of = [s for s in whole[day * DAY_SLOTS : (day + 1) * DAY_SLOTS] if s in sums]
        if len(of) < DAY_SLOTS:
            return None
        total = np.sum([sums[s] for s in of], axis=0)
        theirs = total[COLUMN["persistence"]]
        if theirs <= 0 or total[COLUMN["beside_persistence"]] <= WORSE * theirs:
            return None
    return Calibration.WORSE_THAN_PERSISTENCE


def _student(freedom: int) -> float:
    """Return the quantile of Student's t that belongs to `SURE` (Cornish and Fisher's expansion)."""
    z = SURE
    first = (z**3 + z) / 4
    second = (5 * z**5 + 16 * z**3 + 3 * z) / 96
    third = (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / 384
    return z + first / freedom + second / freedom**2 + third / freedom**3
