"""One series alone, of any kind: what was foretold of each row, and how unusual is the error."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from analytics.anomaly.episodes import episodes
from analytics.anomaly.frames import FloatArray, numeric_columns, readings
from domain.errors import InputError

LEVELS = {"reading": 1, "level 3": 3, "level 10": 10, "level 40": 40}  # rows over which the error is averaged
QUESTIONS = (*LEVELS, "spread")
SPREAD_ROWS = 60  # the present spread is the standard deviation of these
PAST_ROWS = 1000  # the long-run mean, the usual spread and what a rhythm is worth are taken over these
WARM_LEVEL, WARM_USUAL = 20, 50  # earlier rows needed before there is an answer
DAYS, WEEKS = 5, 3  # a rhythm's foretelling is the median of the same time in so many days (weeks) before
RHYTHM_MARGIN = 1.25  # a rhythm must foretell better than the long-run mean by this factor
LEAST_DAY_ROWS = 4  # of steps longer than six hours no rhythm of the day is learnt
CLIP = 2.0  # one question alone counts at most this much
CONDITION_LEVEL = "level 10"  # tells whether a condition still lasts
CONDITION_CLIP = 3.0  # a lasting condition scores at most this much
CLEAR_ROWS = 20  # a condition is over after this many rows back within what was usual
TRIM_ROWS = 3  # extreme rows left out when asking whether a changed spread lasts: a spike is no spread
SPREAD_FLOOR = 1e-3  # of the training's standard deviation, so that a flat stretch has a logarithm
ROUNDING = 1e-9  # of the level: differences below it come from arithmetic


@dataclass(slots=True)
class Judged:
    """What is asked of valid rows, in time order; every array has one entry a row.

    Attributes
    ----------
    values, mean, error : ndarray
        The readings, the long-run mean before each, and the reading minus what was foretold, in the reading's unit.
    rhythmic : ndarray of bool
        Whether the same time of earlier days or weeks foretold, not the long-run mean.
    usual_spread : ndarray
        Mean logarithm of the spread before each row.
    limits, answers : ndarray, shape (rows, questions)
        Usual largest answer before each row, and the answer divided by it, 0 to `CLIP`.
    """

    values: FloatArray
    mean: FloatArray
    error: FloatArray
    rhythmic: np.ndarray
    usual_spread: FloatArray
    limits: FloatArray
    answers: FloatArray


@dataclass(slots=True)
class Condition:
    """What was unusual when an episode began, judged by what was usual before: tells how long it lasts."""

    rows: Judged
    onset: int
    floor: float
    clear: int = 0

    def excess(self, row: int) -> FloatArray:
        """How far level and spread are from what was usual before the onset; above 1 is still unusual."""
        limits = self.rows.limits[self.onset]
        level = self._off(row, LEVELS[CONDITION_LEVEL]) / limits[QUESTIONS.index(CONDITION_LEVEL)]
        if row < SPREAD_ROWS or not np.isfinite(limits[-1]):
            return np.array([level, 0.0])
        recent = self.rows.values[row - SPREAD_ROWS + 1 : row + 1]
        near = np.argsort(np.abs(recent - np.median(recent)), kind="stable")[:-TRIM_ROWS]
        now = np.log(recent[near].std(ddof=1) + self.floor)
        return np.array([level, abs(now - self.rows.usual_spread[self.onset]) / limits[-1]])

    def worse(self, row: int) -> bool:
        """Whether a row is farther off than the condition was so far; one that goes away is no news."""
        level = QUESTIONS.index(CONDITION_LEVEL)
        known = self._off(row, LEVELS[CONDITION_LEVEL]) + self.rows.limits[self.onset, level]
        return bool(self._off(row, 1) > known)

    def _off(self, row: int, count: int) -> float:
        """Distance of the last rows' mean from what was foretold when it began; a rhythm goes on."""
        recent = slice(max(row - count + 1, 0), row + 1)
        if self.rows.rhythmic[self.onset]:
            return float(abs(self.rows.error[recent].mean()))
        return float(abs(self.rows.values[recent].mean() - self.rows.mean[self.onset]))


class StreamDetector:
    """Anomalies of one series, causal.

    Each row is foretold: by the mean of the last 1,000 rows or, where that foretells better, by the same time of
    the last days or weeks. The error, averaged over 1, 3, 10 and 40 rows, and the change of the spread over 60
    rows are each divided by the high quantile of their own past, so the questions are comparable and the detector
    needs no unit; their mean over `limit` is the score. No question can raise an alarm alone. An episode lasts
    while level or spread stay outside what was usual before it began, for at most 1,000 rows: what stays becomes
    usual. A condition that gets worse alarms again, one that goes away does not.

    A missing value repeats the last score for at most `quiet` rows.

    Parameters
    ----------
    usual : int
        Rows over which each answer's usual maximum is taken.
    quantile : float
        Which of the past answers counts as their usual maximum.
    limit : float
        Mean of the answers from which a row is anomalous.
    quiet : int
        Rows without anything unusual before the next alarm.
    value : str, optional
        Column that holds the series; by default the one called `value`, else the only numeric one.

    Attributes
    ----------
    value_ : str
        The column that is judged.
    day_ : int
        Rows of a day, from the times of the training; 0 where it has none.
    past_ : ndarray
        The training, NaN where a value is missing.
    """

    def __init__(
        self,
        usual: int = 5000,
        quantile: float = 0.995,
        limit: float = 0.875,
        quiet: int = 80,
        value: str | None = None,
    ) -> None:
        self.usual = usual
        self.quantile = quantile
        self.limit = limit
        self.quiet = quiet
        self.value = value

    def fit(self, train: pd.DataFrame) -> StreamDetector:
        """Learn the past from rows in time order, evenly spaced.

        Raises
        ------
        InputError
            Parameters that make no sense, no or several candidate columns, or fewer than 50 readings.
        """
        self._check_parameters()
        self.columns_ = numeric_columns(train)
        self.value_ = self._choose(self.columns_)
        values = readings(train, [self.value_], self.columns_)[:, 0]
        valid = values[np.isfinite(values)]
        if len(valid) < WARM_USUAL:
            raise InputError(
                f"training has {len(valid)} readings of {self.value_!r}; a past of at least {WARM_USUAL} "
                "is needed to tell what is usual"
            )
        self.day_ = _rows_of_a_day(train)
        self.spread_floor_ = (
            SPREAD_FLOOR * float(valid.std()) + ROUNDING * float(np.abs(valid).mean()) + 1e-12
        )
        self.past_ = values
        return self

    def score(self, frame: pd.DataFrame) -> pd.Series:
        """Anomaly score of each row, above 1 for as long as the condition lasts.

        The frame is taken as the continuation of the training; nothing is remembered of it.
        """
        return self.contributions(frame).sum(axis=1).rename("score")

    def predict(self, frame: pd.DataFrame) -> pd.Series:
        """Return 1 where an episode begins, else 0: one episode is one alarm."""
        _, alarms = self._run(frame)
        return alarms

    def contributions(self, frame: pd.DataFrame) -> pd.DataFrame:
        """Return what each question (`QUESTIONS`) adds to the score of each row; they sum to it."""
        parts, _ = self._run(frame)
        return parts

    def explain(self, frame: pd.DataFrame) -> pd.DataFrame:
        """Episodes of the frame with start, end, rows, peak and the questions behind them."""
        parts = self.contributions(frame)
        return episodes(parts.sum(axis=1), parts, quiet=self.quiet)

    def _run(self, frame: pd.DataFrame) -> tuple[pd.DataFrame, pd.Series]:
        past = self._fitted()
        values = np.concatenate([past, readings(frame, [self.value_], self.columns_)[:, 0]])
        valid = np.flatnonzero(np.isfinite(values))
        rows = self._judge(values, valid)
        parts, alarms = self._watch(rows, int(np.searchsorted(valid, len(past))))
        everywhere = pd.DataFrame(parts, index=valid, columns=list(QUESTIONS)).reindex(range(len(values)))
        held = everywhere.ffill(limit=self.quiet).fillna(0.0).iloc[len(past) :].set_axis(frame.index, axis=0)
        begun = np.zeros(len(values), dtype=int)
        begun[valid[alarms]] = 1
        return held, pd.Series(begun[len(past) :], index=frame.index, name="alarm")

    def _judge(self, values: FloatArray, valid: np.ndarray) -> Judged:
        """Ask every valid row; each answer rests on that row and earlier ones only."""
        series = pd.Series(values[valid])
        mean = series.shift(1).rolling(PAST_ROWS, min_periods=WARM_LEVEL).mean()
        error, rhythmic = self._foretold(series, mean, values, valid)
        spread = _log_spread(series, self.spread_floor_)
        usual_spread = spread.shift(1).rolling(PAST_ROWS, min_periods=WARM_USUAL).mean()
        raw = [error.rolling(count, min_periods=1).mean().abs() for count in LEVELS.values()]
        raw.append((spread - usual_spread).abs().fillna(0.0))
        least = ROUNDING * np.maximum(series.abs().to_numpy(), 1e-3)
        floors = [least] * len(LEVELS) + [np.full(len(series), ROUNDING)]
        limits = np.column_stack(
            [np.maximum(self._usual_maximum(z), floor) for z, floor in zip(raw, floors, strict=True)]
        )
        return Judged(
            values=series.to_numpy(),
            mean=mean.fillna(0.0).to_numpy(),
            error=error.to_numpy(),
            rhythmic=rhythmic,
            usual_spread=usual_spread.fillna(0.0).to_numpy(),
            limits=limits,
            answers=np.minimum(np.column_stack(raw) / limits, CLIP),
        )

    def _foretold(
        self, series: pd.Series, mean: pd.Series, values: FloatArray, valid: np.ndarray
    ) -> tuple[pd.Series, np.ndarray]:
        """Return each row's error against what foretold best so far, and whether that was a rhythm."""
        errors = [(series - mean).fillna(0.0)]
        costs = [_cost(errors[0], WARM_USUAL, 1.0)]
        for period, count in ((self.day_, DAYS), (7 * self.day_, WEEKS)):
            if 0 < 2 * period < len(values):
                errors.append((series - _same_time(values, period, count)[valid]).reset_index(drop=True))
                needed = min(max(self.day_, WARM_USUAL), PAST_ROWS)
                costs.append(_cost(errors[-1], needed, RHYTHM_MARGIN))
        best = np.argmin(np.where(np.isnan(costs), np.inf, costs), axis=0)
        chosen = np.array(errors)[best, np.arange(len(series))]
        lost = np.isnan(chosen)  # the same time of earlier days is missing
        return pd.Series(np.where(lost, errors[0], chosen)), (best > 0) & ~lost

    def _usual_maximum(self, answers: pd.Series) -> FloatArray:
        """High quantile of the answers before each row; infinite while too few are known."""
        past = answers.shift(1).rolling(self.usual, min_periods=WARM_USUAL)
        return np.asarray(past.quantile(self.quantile).fillna(np.inf), dtype=float)

    def _watch(self, rows: Judged, first: int) -> tuple[FloatArray, list[int]]:
        """Hold the score while a condition lasts; return what each question adds to it, and the rows of alarms.

        What happened before `first`, in training, is no news, and no alarm is held back by it.
        """
        parts = rows.answers / (len(QUESTIONS) * self.limit)
        unusual = parts.sum(axis=1) > 1.0
        onsets = first + np.flatnonzero(unusual[first:])
        alarms: list[int] = []
        last = first - self.quiet - 1  # unusual row that was news
        known: Condition | None = None
        row = int(onsets[0]) if len(onsets) else len(parts)
        while row < len(parts):
            if unusual[row] and (known is None or known.worse(row)):
                alarm = row - last > self.quiet
                if alarm:
                    alarms.append(row)
                if alarm or known is None:
                    known = Condition(rows, row, self.spread_floor_)
                last = row
            if known is not None and not self._hold(known, row, parts):
                known = None
            if known is not None:
                row += 1
            else:  # nothing happens before the next unusual row
                following = int(np.searchsorted(onsets, row, side="right"))
                row = int(onsets[following]) if following < len(onsets) else len(parts)
        return parts, alarms

    def _hold(self, known: Condition, row: int, parts: FloatArray) -> bool:
        """Keep the score up though the past has begun to absorb the condition; return whether it lasts."""
        level, spread = known.excess(row)
        strongest = min(max(level, spread), CONDITION_CLIP)
        known.clear = 0 if strongest > 1.0 else known.clear + 1
        if known.clear > CLEAR_ROWS or row - known.onset > PAST_ROWS:
            return False
        if strongest > max(1.0, parts[row].sum()):
            parts[row] = 0.0
            parts[row, QUESTIONS.index(CONDITION_LEVEL) if level >= spread else -1] = strongest
        return True

    def _choose(self, columns: list[str]) -> str:
        wanted = self.value or "value"
        if wanted in columns:
            return wanted
        if self.value is None and len(columns) == 1:
            return columns[0]
        raise InputError(
            f"no column {wanted!r} of numbers among {', '.join(columns)}; name the series with value=..."
        )

    def _fitted(self) -> FloatArray:
        if not hasattr(self, "past_"):
            raise InputError("this StreamDetector has not seen any training; call fit first")
        return self.past_

    def _check_parameters(self) -> None:
        if self.usual < WARM_USUAL or self.quiet < 1:
            raise InputError(
                f"usual must be at least {WARM_USUAL} rows and quiet 1; got usual={self.usual}, "
                f"quiet={self.quiet}"
            )
        if not 0.0 < self.quantile <= 1.0 or self.limit <= 0:
            raise InputError(
                "quantile must lie within (0, 1] and limit above 0; got "
                f"quantile={self.quantile}, limit={self.limit}"
            )


def _rows_of_a_day(frame: pd.DataFrame) -> int:
    """Rows of a day by the frame's time index or first column of times; 0 without one, or with long steps."""
    times = [pd.Series(frame.index), *(frame[c] for c in frame.columns)]
    known = next((t for t in times if pd.api.types.is_datetime64_any_dtype(t)), None)
    if known is None:
        return 0
    steps = known.diff().dt.total_seconds().dropna()
    step = float(steps.median()) if len(steps) else 0.0
    rows = round(86_400.0 / step) if step > 0 else 0
    return rows if rows >= LEAST_DAY_ROWS else 0


def _same_time(values: FloatArray, period: int, count: int) -> FloatArray:
    """Median of the readings 1 to `count` periods before each row; NaN with fewer than two."""
    series = pd.Series(values)
    before = pd.concat([series.shift(period * k) for k in range(1, count + 1)], axis=1)
    return np.asarray(before.median(axis=1).where(before.notna().sum(axis=1) >= 2), dtype=float)


def _cost(error: pd.Series, needed: int, margin: float) -> FloatArray:
    """Mean size of the errors before each row, times the margin; NaN while fewer than needed are known."""
    past = error.abs().shift(1).rolling(PAST_ROWS, min_periods=needed)
    return margin * np.asarray(past.mean(), dtype=float)


def _log_spread(series: pd.Series, floor: float) -> pd.Series:
    """Logarithm of the standard deviation of the last rows; NaN before there are enough."""
    return pd.Series(np.log(series.rolling(SPREAD_ROWS).std() + floor))
