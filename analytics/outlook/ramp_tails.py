"""Where the outer quantiles of expected ramps are read, so that they hold what they say, learned from what came.

Past hours that are like now are never wholly alike, and a job that repeats itself is more alike than they are: read at 5 and
95 % their quantiles may hold too much or too little. So after each hour the level of each tail moves a little: outwards where
more came beyond it than a twentieth of the nodes of a kind, inwards where less (adaptive conformal inference: Gibbs and
Candès, "Adaptive conformal inference under distribution shift", NeurIPS 2021, arXiv 2106.00543). Over time as much
comes beyond each as was said, however wrong the quantiles are.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from domain.forecast import RAMP_QUANTILES, RAMP_WINDOWS_S
from domain.points import ValueArray

TAIL = RAMP_QUANTILES[0]
"""What should come beyond either outer quantile."""
RATE = 0.005
"""How far a level moves in a quarter hour in which all nodes of a kind were beyond it: from one end to the other in days."""
LEAST, MOST = 0.005, 0.25
"""Within which a tail is read, whatever came."""


@dataclass(frozen=True, slots=True, eq=False)
class RampTails:
    """At which share of the weight the outer quantiles lie, by kind of node.

    Parameters
    ----------
    kinds
        Kinds of nodes ("Site", "UPS", ...), length k.
    read
        Share below the lowest quantile, and above the highest, shape (k, windows, 2 (rise, fall), 2).
    """

    kinds: tuple[str, ...]
    read: NDArray[np.float64]

    @classmethod
    def nominal(cls, kinds: Sequence[str]) -> RampTails:
        """Return those that take quantiles at their word."""
        names = tuple(dict.fromkeys(kinds))
        return cls(names, np.full((len(names), len(RAMP_WINDOWS_S), 2, 2), TAIL))

    def of(self, kinds: Sequence[str]) -> RampTails:
        """Return those of other kinds: what was learned of those that are in both."""
        found = RampTails.nominal(kinds)
        for i, kind in enumerate(found.kinds):
            if kind in self.kinds:
                found.read[i] = self.read[self.kinds.index(kind)]
        return found

    def levels(self, kinds: Sequence[str]) -> ValueArray:
        """Return the levels at which each node's quantiles are read, shape (nodes, windows, 2, quantiles)."""
        rows = [self.kinds.index(kind) for kind in kinds]
        found: ValueArray = np.broadcast_to(
            RAMP_QUANTILES, (len(rows), len(RAMP_WINDOWS_S), 2, len(RAMP_QUANTILES))
        ).copy()
        found[..., 0], found[..., -1] = self.read[rows][..., 0], 1 - self.read[rows][..., 1]
        return found

    def learn(self, kinds: Sequence[str], told: NDArray[np.float32], came: NDArray[np.float32]) -> RampTails:
        """Return them after one more hour.

        Parameters
        ----------
        kinds
            Of each node, length m.
        told
            W, the quantiles that were told, NaN where none, shape (m, windows, 2, quantiles).
        came
            W, NaN where not measured, shape (m, windows, 2).
        """
        read = self.read.copy()
        beyond = np.stack([came < told[..., 0], came > told[..., -1]], axis=-1)
        known = np.isfinite(came) & np.isfinite(told[..., 0])
        of_kind = np.array([self.kinds.index(kind) for kind in kinds])
        for i in range(len(self.kinds)):
            counted = known & (of_kind == i)[:, None, None]
            count = counted.sum(axis=0)[..., None]
            share = (beyond & counted[..., None]).sum(axis=0) / np.maximum(count, 1)
            read[i] += np.where(count > 0, RATE * (TAIL - share), 0.0)
        return replace(self, read=np.clip(read, LEAST, MOST))
