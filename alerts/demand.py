"""Power of the envelope's nodes: now, averaged over the quarter hour, and where the quarter hour will end."""

from __future__ import annotations

import numpy as np

from domain.envelope import QUARTER_MS, quarter_start
from domain.points import ValueArray

ENOUGH = 0.8
"""Share of a quarter hour that must have been measured before its average is believed."""


class DemandMeter:
    """Integrates the power of n nodes over quarter hours, as a billing meter does.

    Arrays have shape (n,), W, NaN where not known.

    Parameters
    ----------
    n
        Number of nodes.

    Attributes
    ----------
    power
        Power now.
    completed
        Average of the last completed quarter hour.
    completed_at
        End of that quarter hour, UTC ms (0 before the first).
    """

    def __init__(self, n: int) -> None:
        self.power: ValueArray = np.full(n, np.nan)
        self.completed: ValueArray = np.full(n, np.nan)
        self.completed_at = 0
        self._energy = np.zeros(n)  # W ms of this quarter hour
        self._covered = np.zeros(n)  # ms of this quarter hour in which power was known
        self._time = -1

    def seed(self, now: int, mean_power: ValueArray, covered_ms: ValueArray) -> None:
        """Take over what was stored of the running quarter hour before this process began to watch.

        Parameters
        ----------
        now
            UTC ms.
        mean_power
            Mean power of the covered part, shape (n,), NaN where nothing is known.
        covered_ms
            How much of the quarter hour it covers, shape (n,).
        """
        known = ~np.isnan(mean_power)
        self._energy = np.where(known, np.nan_to_num(mean_power) * covered_ms, 0.0)
        self._covered = np.where(known, covered_ms, 0.0).astype(np.float64)
        self._time = now

    def update(self, now: int, power: ValueArray) -> None:
        """Take in the power at `now` (UTC ms), shape (n,); what was known before holds until now."""
        if now < self._time:  # the clock was set back: what was integrated belongs to another time
            self.seed(now, np.full_like(power, np.nan), np.zeros_like(power))
        elif self._time >= 0:
            start = quarter_start(now)
            if quarter_start(self._time) != start:
                boundary = quarter_start(self._time) + QUARTER_MS
                self._integrate(boundary - self._time)
                average = self._average()
                self.completed = np.where(self._covered >= ENOUGH * QUARTER_MS, average, np.nan)
                self.completed_at = boundary
                if boundary != start:  # a whole quarter hour or more went by unseen
                    self.completed = np.full_like(average, np.nan)
                    self.completed_at = start
                self._energy = np.zeros_like(self._energy)
                self._covered = np.zeros_like(self._covered)
                self._time = start
            self._integrate(now - self._time)
        self._time = now
        self.power = power

    def certain(self) -> ValueArray:
        """Return the average that this quarter hour reaches even if no power flowed from now on."""
        return self._energy / QUARTER_MS

    def projected(self) -> ValueArray:
        """Return the average that this quarter hour ends at if power stays as it is now."""
        elapsed = self._time - quarter_start(self._time)
        so_far = np.where(self._covered > 0, self._average(), self.power)
        return (so_far * elapsed + self.power * (QUARTER_MS - elapsed)) / QUARTER_MS

    def _average(self) -> ValueArray:
        return np.divide(
            self._energy, self._covered, out=np.full_like(self._energy, np.nan), where=self._covered > 0
        )

    def _integrate(self, duration: int) -> None:
        known = ~np.isnan(self.power)
        self._energy[known] += self.power[known] * duration
        self._covered[known] += duration
