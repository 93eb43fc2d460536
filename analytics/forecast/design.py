"""Features of the direct multi-horizon models: one row per origin and lead time.

An origin ``o`` is the position of the first step that is not known yet, so everything a row may use lies at
positions below ``o``. The target is at ``o + lead`` with ``lead`` from 0. Every value enters relative to the
level at the origin (the mean of the last day), which makes one model serve all levels that a series has had.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from analytics.forecast.calendar import PLAIN_COLUMNS

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

DAILY_LAGS = 7
WEEKLY_LAGS = 4
JUMP = 0.5
"""A change within an hour by more than this share of the series' spread starts a new state."""


@dataclass(frozen=True, slots=True)
class Rows:
    """A block of design rows.

    Attributes
    ----------
    features : array, shape (origins, leads, features)
        For trees.
    linear : array, shape (origins, leads, linear features)
        For linear models.
    target : array, shape (origins, leads)
        Relative to ``level``, divided by ``scale``; NaN where unmeasured or in the future.
    level, scale : arrays, shape (origins,)
        In the unit of the series.
    last : array, shape (origins,)
        The newest value, relative to ``level``, divided by ``scale``.
    outside : int
        How many of the last columns of ``features`` come from covariates known up to the origin only.
    origins : int array, shape (origins,)
    """

    features: NDArray[np.float32]
    linear: Floats
    target: Floats
    level: Floats
    scale: Floats
    last: Floats
    outside: int
    origins: Ints


def trailing_mean(values: Floats, width: int) -> Floats:
    """Mean of the ``width`` values before each position 0..n (fewer at the start; the first value at 0)."""
    total = np.r_[0.0, np.cumsum(values)]
    position = np.arange(len(values) + 1)
    first = np.maximum(position - width, 0)
    mean: Floats = (total - total[first]) / np.maximum(position - first, 1)
    mean[0] = values[0]
    return mean


def _trailing_std(values: Floats, width: int) -> Floats:
    centred = values - values.mean()
    variance = trailing_mean(centred**2, width) - trailing_mean(centred, width) ** 2
    deviation: Floats = np.sqrt(np.maximum(variance, 0.0))
    return deviation


def _known_mean(values: Floats) -> Floats:
    """Mean along the first axis over what is not NaN; NaN where all is."""
    known = ~np.isnan(values)
    total = np.where(known, values, 0.0).sum(axis=0)
    mean: Floats = np.where(known.any(axis=0), total / np.maximum(known.sum(axis=0), 1), np.nan)
    return mean


class Design:
    """Builds design rows from one filled series, its calendar and its covariates.

    Parameters
    ----------
    values : array, shape (n,)
        The series without gaps (filled from its past).
    measured : bool array, shape (n,)
        False where ``values`` was filled: such a step is no training target.
    calendar : array, shape (n + ahead, c)
        Calendar features of the known steps and of the steps to come.
    steps_per_day, steps_per_week : int
    past : array, shape (n, p), optional
        Covariates known up to the origin only.
    known : array, shape (n + ahead, k), optional
        Covariates known in advance.
    trained : int, optional
        How many of the steps were there when the models were fitted: the unit of measure comes from them,
        so that it stays while values arrive. All of them by default.
    """

    def __init__(
        self,
        values: Floats,
        measured: NDArray[np.bool_],
        calendar: Floats,
        steps_per_day: int,
        steps_per_week: int,
        past: Floats | None = None,
        known: Floats | None = None,
        trained: int | None = None,
    ) -> None:
        self.values = values
        self.measured = measured
        self.calendar = calendar
        self.day = steps_per_day
        self.week = steps_per_week
        self.hour = max(1, round(steps_per_day / 24))
        self.past = np.zeros((len(values), 0)) if past is None else past
        self.known = np.zeros((len(calendar), 0)) if known is None else known
        day, week, hour = self.day, self.week, self.hour
        self._level = trailing_mean(values, day)
        self._means = [trailing_mean(values, width) for width in sorted({hour, 3 * hour, 6 * hour} - {1})]
        self._slow_means = [trailing_mean(values, week), trailing_mean(values, 4 * week)]
        self._std = _trailing_std(values, day)
        self._std_week = _trailing_std(values, week)
        rolling = pd.Series(values).rolling(day, min_periods=1)
        self._low = np.r_[values[0], rolling.min().to_numpy()]
        self._high = np.r_[values[0], rolling.max().to_numpy()]
        measure = values[:trained][-26 * week :]
        spread = float(np.std(measure))
        self._spread = spread if spread > 1e-9 * max(1.0, float(np.abs(measure).max())) else 1.0
        self._calm = self._hours_since_jump()
        self._past_means = [trailing_mean(column, day) for column in self.past.T]
        self._two_hours = trailing_mean(values, 2 * hour)

    def _hours_since_jump(self) -> Floats:
        """Logarithm of the hours since the series last changed its state, at positions 0..n."""
        count, hour = len(self.values), self.hour
        position = np.arange(count)
        jumped = np.zeros(count, dtype=bool)
        jumped[hour:] = np.abs(self.values[hour:] - self.values[:-hour]) > JUMP * self._spread
        newest = np.maximum.accumulate(np.where(jumped, position, 0))
        calm: Floats = np.log1p(np.r_[0, position - newest] / hour)
        return calm

    def scale_at(self, origins: Ints) -> Floats:
        """Scale of the targets: larger where the last week was lively, never far below the whole's."""
        scale: Floats = np.sqrt(0.5 * self._std_week[origins] ** 2 + 0.5 * self._spread**2)
        return scale

    def standing(self, origins: Ints) -> tuple[Floats, Floats, Floats]:
        """Level, scale and last value (relative to the level, in scales) at each origin."""
        level, scale = self._level[origins], self.scale_at(origins)
        return level, scale, (self.values[origins - 1] - level) / scale

    def looks(self, origins: Ints) -> Floats:
        """Describe what a moment looks like, for finding others like it: shape (origins, looks).

        The last value and means, the course of the last day, the hour, the days off around it and how lively
        the series is, weighted by how much they matter; their squared differences add up to a distance.
        """
        level, scale, last = self.standing(origins)

        def relative(x: Floats) -> Floats:
            return (x - level) / scale

        course = [self._two_hours[np.maximum(origins - k * 2 * self.hour, 0)] for k in range(12)]
        hour = 2 * np.pi * self.calendar[origins, 0] / 24
        off = [
            self.calendar[np.minimum(origins + ahead, len(self.calendar) - 1), 2]
            for ahead in (0, self.day // 2, self.day + self.day // 2)
        ]
        columns = [
            1.5 * last,
            *(relative(mean[origins]) for mean in self._means),
            *(0.5 * relative(mean[origins]) for mean in self._slow_means),
            *(0.9 * relative(mean) for mean in course),
            3.0 * np.cos(hour),
            3.0 * np.sin(hour),
            0.7 * off[0],
            off[1],
            0.7 * off[2],
            self._std[origins] / scale,
            0.15 * level / self._spread,
            0.15 * self.values[origins - 1] / self._spread,
            0.4 * self._calm[origins],
        ]
        return np.stack(columns, axis=1)

    def _lags(self, at: Ints, origins: Ints, period: int, count: int) -> Floats:
        """Find the ``count`` newest known values whole periods before ``at``; NaN where there is none.

        Shape (count, origins, leads).
        """
        behind = -(-(at - origins[:, None] + 1) // period)
        position = at[None] - (behind[None] + np.arange(count)[:, None, None]) * period
        return np.where(position >= 0, self.values[np.maximum(position, 0)], np.nan)

    def _rises(self, origins: Ints, leads: Ints, period: int, count: int) -> Floats:
        """How far the series then stood above its level, seen from whole periods ago; NaN where unknown."""
        behind = -(-(leads + 1) // period)
        base = origins[None, :, None] - (behind + np.arange(count)[:, None, None]) * period
        known = base >= 1
        base = np.maximum(base, 1)
        then = np.minimum(base + leads, len(self.values) - 1)
        return np.where(known, self.values[then] - self._level[base], np.nan)

    def rows(self, origins: Ints, leads: Ints) -> Rows:
        """Design rows of all pairs of the given origins (from 1) and leads (from 0)."""
        at = origins[:, None] + leads[None, :]
        level, scale = self._level[origins], self.scale_at(origins)
        last = self.values[origins - 1]

        def relative(x: Floats) -> Floats:
            """Value relative to the level, in scales; 0 where unknown."""
            column = x if x.ndim == 2 else x[:, None]
            return np.nan_to_num((column - level[:, None]) / scale[:, None])

        def size(x: Floats) -> Floats:
            """Difference or spread, in scales; 0 where unknown."""
            column = x if x.ndim == 2 else x[:, None]
            return np.nan_to_num(column / scale[:, None])

        def before(steps: int) -> Floats:
            return self.values[np.maximum(origins - 1 - steps, 0)]

        daily = self._lags(at, origins, self.day, DAILY_LAGS)
        weekly = self._lags(at, origins, self.week, WEEKLY_LAGS)
        weekly = np.where(np.isnan(weekly), daily[:1], weekly)
        rise_daily = self._rises(origins, leads, self.day, DAILY_LAGS)
        rise_weekly = self._rises(origins, leads, self.week, WEEKLY_LAGS)
        rise_weekly = np.where(np.isnan(rise_weekly), daily[:1] - level[:, None], rise_weekly)
        mean_daily = _known_mean(daily)
        newest = (origins - 1)[:, None]
        usual_daily = _known_mean(self._lags(newest, origins - 1, self.day, DAILY_LAGS))[:, 0]
        usual_weekly = _known_mean(self._lags(newest, origins - 1, self.week, WEEKLY_LAGS))[:, 0]
        usual_weekly = np.where(np.isnan(usual_weekly), usual_daily, usual_weekly)

        recent = [relative(last), *(relative(mean[origins]) for mean in self._means)]
        slow = [relative(mean[origins]) for mean in self._slow_means]
        slopes = [size(last - before(self.hour)), size(last - before(3 * self.hour))]
        lags = [relative(lag) for lag in daily]
        weekly_lags = [relative(lag) for lag in weekly[:2]]
        profile = [
            relative(mean_daily),
            relative(_known_mean(weekly)),
            size(_known_mean(rise_daily)),
            size(_known_mean(rise_weekly)),
            size(rise_weekly[0]),
        ]
        deviation = [size(last - usual_daily), size(last - usual_weekly)]
        state = [
            relative(self._low[origins]),
            relative(self._high[origins]),
            size(self._std[origins]),
            self._std_week[origins][:, None] / self._spread,
            size(np.sqrt(np.maximum(_known_mean(daily**2) - mean_daily**2, 0.0))),
            level[:, None] / self._spread,
            last[:, None] / self._spread,
            self._calm[origins][:, None],
        ]
        calendar = list(np.moveaxis(self.calendar[at], -1, 0))
        planned: list[Floats] = []
        for column in self.known.T:
            planned += [column[at], column[at] - column[origins - 1][:, None]]
        outside = [column[origins - 1][:, None] for column in self.past.T]
        outside += [
            (column[origins - 1] - mean[origins])[:, None]
            for column, mean in zip(self.past.T, self._past_means, strict=True)
        ]
        lead = [(leads / self.hour)[None, :]]
        shared = [*recent, *slow, *slopes, *weekly_lags, *profile, *deviation, *planned, *outside]
        return Rows(
            features=_block([*lead, *lags[:3], *state, *calendar[:PLAIN_COLUMNS], *shared], at.shape).astype(
                np.float32
            ),
            linear=_block([*lags, *calendar[2:], *shared], at.shape),
            target=self._target(at, level, scale),
            level=level,
            scale=scale,
            last=(last - level) / scale,
            outside=len(outside),
            origins=origins,
        )

    def _target(self, at: Ints, level: Floats, scale: Floats) -> Floats:
        position = np.minimum(at, len(self.values) - 1)
        known = (at < len(self.values)) & self.measured[position]
        return (np.where(known, self.values[position], np.nan) - level[:, None]) / scale[:, None]


def _block(columns: list[Floats], shape: tuple[int, ...]) -> Floats:
    """Put columns, each of the shape or spread out to it, side by side."""
    block = np.empty((*shape, len(columns)))
    for j, column in enumerate(columns):
        block[..., j] = column
    return block
