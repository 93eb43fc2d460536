"""What a signal should be, given the others: in a loop whose load varies, flow follows power.

Judging such a flow by its level alone would need limits as wide as its whole range.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from analytics.anomaly.frames import FloatArray

EXPLAINED = 0.9
"""Share of a signal's variance that the others must foretell on rows that the fit has not seen."""
RIDGE = 1e-3
LEAST_ROWS = 200


@dataclass(frozen=True, slots=True)
class Relations:
    """Linear relations between the signals of a loop.

    Parameters
    ----------
    weights, offset
        Prediction of signal k is ``row @ weights[:, k] + offset[k]``; shapes (signals, signals) and (signals,).
        Signals without a relation have noughts.
    """

    weights: FloatArray
    offset: FloatArray

    @classmethod
    def learn(cls, rows: FloatArray, judged: np.ndarray) -> Relations:
        """Find the signals that the others foretell.

        Each is fitted on one half of the training and tried on the other, both ways, so that two signals that
        merely drifted together do not count as related.

        Parameters
        ----------
        rows
            Training, shape (rows, signals), NaN where missing.
        judged
            Signals to look for relations of, boolean, shape (signals,).
        """
        size = rows.shape[1]
        weights, offset = np.zeros((size, size)), np.zeros(size)
        complete = rows[np.isfinite(rows).all(axis=1)]
        if len(complete) < LEAST_ROWS:
            return cls(weights, offset)
        half = len(complete) // 2
        for k in np.flatnonzero(judged):
            others = np.arange(size) != k
            tries = [
                _explained(
                    complete[a][:, others], complete[a][:, k], complete[b][:, others], complete[b][:, k]
                )
                for a, b in ((slice(half), slice(half, None)), (slice(half, None), slice(half)))
            ]
            if min(tries) >= EXPLAINED:
                weights[others, k], offset[k] = _fit(complete[:, others], complete[:, k])
        return cls(weights, offset)

    @property
    def related(self) -> np.ndarray:
        """Which signals are foretold by others."""
        return np.asarray(self.weights.any(axis=0))

    def unexplained(self, rows: FloatArray) -> FloatArray:
        """Return the rows with the foretold part of related signals taken off; NaN where a signal needed is missing."""
        if not self.related.any():
            return rows
        needed = self.weights != 0
        missing = (~np.isfinite(rows)).astype(float) @ needed > 0
        out = rows - np.nan_to_num(rows) @ self.weights - self.offset
        return np.where(missing, np.nan, out)


def _fit(x: FloatArray, y: FloatArray) -> tuple[FloatArray, float]:
    """Ridge regression on standardised signals, so that units do not matter."""
    centre, scale = x.mean(axis=0), x.std(axis=0)
    scale = np.where(scale > 1e-9 * np.abs(centre), scale, np.inf)  # a constant tells nothing
    z = (x - centre) / scale
    gram = z.T @ z / len(z) + RIDGE * np.eye(x.shape[1])
    slopes = np.linalg.solve(gram, z.T @ (y - y.mean()) / len(z)) / scale
    return slopes, float(y.mean() - centre @ slopes)


def _explained(x: FloatArray, y: FloatArray, new_x: FloatArray, new_y: FloatArray) -> float:
    slopes, offset = _fit(x, y)
    variance = float(new_y.var())
    return 1.0 - float(((new_y - new_x @ slopes - offset) ** 2).mean()) / variance if variance > 0 else 0.0
