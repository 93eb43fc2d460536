"""What issued forecasts were worth: sums of scores by object and lead time, and what they say.

Sums can be added: of quarter hours to hours, of objects to groups, of days to months.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from domain.points import TimeArray, ValueArray

Objects = NDArray[np.str_]
Leads = NDArray[np.int32]

SLOT_MS = 6 * 3_600_000
"""Scores are summed over so long; a slot begins with a multiple of it, UTC."""
CHANCE_EDGES = (0.01, 0.05, 0.2, 0.4, 0.6, 0.8, 0.95)
"""Between these the breach probabilities are counted together."""
_BINS = range(len(CHANCE_EDGES) + 1)
STATISTICS: tuple[str, ...] = (
    "scored", "missing", "revised", "below", "above", "error", "absolute", "width", "pinball",
    "persistence", "beside_persistence", "naive", "beside_naive",
    "limited", "breaches", "brier", "brier_before", "brier_beside",
    *(f"chances_{i}" for i in _BINS), *(f"foretold_{i}" for i in _BINS), *(f"happened_{i}" for i in _BINS),
)  # fmt: skip
"""Columns of sums. `missing` came due without a measured value; `revised` were scored again. `below` and `above` the 90 %
interval; `error` (median less actual), `absolute` and `width` in the quantity's unit; `pinball` the mean over the issued
levels, `persistence` and `naive` theirs with `beside_...` ours on the same values; `limited` had a limit, of which
`breaches` passed it; squared errors of the probability, and of "as before" with ours beside it; reliability by bin."""
COLUMN = {name: i for i, name in enumerate(STATISTICS)}


@dataclass(frozen=True, slots=True, eq=False)
class ScoreSlot:
    """Scores of one quantity over one slot; a cell is an object at a lead time.

    Parameters
    ----------
    point_type, unit
        What was forecast.
    start
        Of the slot, UTC ms.
    objects, lead
        Of each cell: id, and minutes from the newest reading that was seen to the end of what was foretold (of the
        largest ramps the seconds of their window: they all look an hour ahead); shape (c,).
    sums
        Shape (c, len(STATISTICS)).
    interval
        Starts of the intervals that have been scored, UTC ms, shape (m,).
    actual
        The values that they were scored against, NaN where there was none, infinite where nothing was foretold;
        shape (m, c).
    """

    point_type: str
    unit: str
    start: int
    objects: Objects
    lead: Leads
    sums: ValueArray
    interval: TimeArray
    actual: ValueArray


@dataclass(frozen=True, slots=True)
class Reliability:
    """Of breach probabilities between two edges: how many, their mean, and the share of which came true."""

    low: float
    high: float
    forecasts: int
    mean: float
    happened: float


@dataclass(frozen=True, slots=True)
class Accuracy:
    """What sums say. Shares are 0 to 1; NaN where nothing was scored.

    Parameters
    ----------
    lead
        Minutes.
    scored, missing, revised
        How many.
    coverage, below, above
        Share within the 90 % interval, under and over it.
    bias, error, width
        Mean error of the median (positive: foretold too much), mean absolute error, width of the interval.
    pinball
        Mean loss; `to_persistence` and `to_naive` its ratio to theirs on the same values, below 1 is better.
    limited, breaches, brier, brier_persistence
        Breach probabilities, how many came true, their squared error and that of "as it was before".
    reliability
        By bin.
    """

    lead: int
    scored: int
    missing: int
    revised: int
    coverage: float
    below: float
    above: float
    bias: float
    error: float
    width: float
    pinball: float
    to_persistence: float
    to_naive: float
    limited: int
    breaches: int
    brier: float
    brier_persistence: float
    reliability: tuple[Reliability, ...]


def accuracy(lead: int, sums: ValueArray) -> Accuracy:
    """Return what a row of sums says."""
    of = dict(zip(STATISTICS, sums.tolist(), strict=True))
    n, limited = of["scored"], of["limited"]
    edges = (0.0, *CHANCE_EDGES, 1.0)
    return Accuracy(
        lead,
        round(n),
        round(of["missing"]),
        round(of["revised"]),
        _ratio(n - of["below"] - of["above"], n),
        _ratio(of["below"], n),
        _ratio(of["above"], n),
        _ratio(of["error"], n),
        _ratio(of["absolute"], n),
        _ratio(of["width"], n),
        _ratio(of["pinball"], n),
        _ratio(of["beside_persistence"], of["persistence"]),
        _ratio(of["beside_naive"], of["naive"]),
        round(limited),
        round(of["breaches"]),
        _ratio(of["brier"], limited),
        # on other values than ours where what was before is not always known
        _ratio(of["brier"], limited) * _ratio(of["brier_before"], of["brier_beside"]),
        tuple(
            Reliability(
                edges[i],
                edges[i + 1],
                round(of[f"chances_{i}"]),
                _ratio(of[f"foretold_{i}"], of[f"chances_{i}"]),
                _ratio(of[f"happened_{i}"], of[f"chances_{i}"]),
            )
            for i in _BINS
            if of[f"chances_{i}"] > 0.5
        ),
    )


def by_lead(slots: Iterable[ScoreSlot], objects: Iterable[str] | None = None) -> dict[int, Accuracy]:
    """Return the accuracy by lead time (minutes) over slots and objects, all objects if none are named."""
    wanted = None if objects is None else np.array(sorted(objects))
    total: dict[int, ValueArray] = {}
    for slot in slots:
        rows = np.ones(len(slot.lead), bool) if wanted is None else np.isin(slot.objects, wanted)
        for lead in np.unique(slot.lead[rows]).tolist():
            found = slot.sums[rows & (slot.lead == lead)].sum(axis=0)
            total[lead] = total.get(lead, np.zeros(len(STATISTICS))) + found
    return {lead: accuracy(lead, total[lead]) for lead in sorted(total)}


def _ratio(part: float, whole: float) -> float:
    return part / whole if whole > 0 else math.nan
