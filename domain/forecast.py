"""What a forecast is, whoever made it and whoever reads it."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from domain.points import TimeArray, ValueArray

QUANTILES: tuple[float, ...] = tuple(round(0.05 * i, 2) for i in range(1, 20))
"""The quantiles that are issued: 0.05 to 0.95 in steps of 0.05."""

RAMP_WINDOWS_S: tuple[int, ...] = (2, 10, 60, 900)
"""Within how many seconds the largest change of power is foretold."""
RAMP_QUANTILES: tuple[float, ...] = (0.05, 0.5, 0.95)

PERSISTENCE = 0.9
"""Correlation of neighbouring quarter hours' normal scores: a course that begins high stays high for a while."""


@dataclass(frozen=True, slots=True, eq=False)
class Ramps:
    """The largest changes of power to expect in the hour that a forecast begins with.

    Parameters
    ----------
    windows_s
        Within how many seconds, ascending, length w.
    quantiles
        Levels, ascending, length q.
    up, down
        The largest rise and the largest fall within each window, W, both positive, shape (w, q), ascending along a row.
    minutes
        Length of the time over which they are the largest.
    """

    windows_s: tuple[int, ...]
    quantiles: tuple[float, ...]
    up: ValueArray
    down: ValueArray
    minutes: int = 60

    def bounded(self, least: float, most: float, can: float) -> Ramps:
        """Return the same of something that draws between `least` and `most` in that hour, and can draw `can`, W."""
        return replace(
            self,
            up=np.minimum(self.up, max(can - least, 0.0)),
            down=np.minimum(self.down, max(most, 0.0)),
        )


@dataclass(frozen=True, slots=True)
class Seal:
    """The place of an issued forecast in the archive: what was issued cannot change unnoticed.

    Parameters
    ----------
    number
        Which of its object's forecasts it is, from 1 without a gap.
    hash
        SHA-256 over its content and the hash before, hexadecimal.
    previous
        The hash before, hexadecimal.
    """

    number: int
    hash: str
    previous: str


@dataclass(frozen=True, slots=True, eq=False)
class Forecast:
    """Quantiles of one quantity of one plant object over coming intervals.

    Parameters
    ----------
    object_id, point_type, unit
        What is forecast, in its canonical unit.
    issued, data_cutoff
        When it was issued, and the end of the newest interval that it saw, UTC ms.
    interval_minutes
        Length of an interval; a value is its average. `start` labels its beginning.
    start
        UTC ms, shape (n,).
    quantiles
        Levels, ascending, length q.
    values
        Shape (n, q), ascending along a row.
    limit
        The limit in force, shape (n,); NaN where there is none.
    breach_probability
        Probability that the interval's average exceeds the limit, shape (n,); NaN without a limit.
    model
        Name and version of what made it.
    quality
        ``"good"``, or why it is less: ``"short history"``, ``"last good model"``, ``"stale data"``, ...
    ramps
        The largest changes of power to expect in its first hour; None where they are not foretold.
    seal
        Its place in the archive; None before it is kept, and for what was kept before there was one.
    persistence
        Correlation of neighbouring intervals' normal scores, 0 to 1, by which the chances of several come together.
    """

    object_id: str
    point_type: str
    unit: str
    issued: int
    data_cutoff: int
    interval_minutes: int
    start: TimeArray
    quantiles: tuple[float, ...]
    values: ValueArray
    limit: ValueArray
    breach_probability: ValueArray
    model: str
    quality: str = "good"
    ramps: Ramps | None = None
    seal: Seal | None = None
    persistence: float = PERSISTENCE

    def head(self, intervals: int) -> Forecast:
        """Return the forecast of the first intervals only."""
        return replace(
            self,
            start=self.start[:intervals],
            values=self.values[:intervals],
            limit=self.limit[:intervals],
            breach_probability=self.breach_probability[:intervals],
        )

    def quantile(self, level: float) -> ValueArray:
        """Return one quantile over all intervals, shape (n,).

        Raises
        ------
        ValueError
            If that level was not issued.
        """
        return self.values[:, self.quantiles.index(level)]
