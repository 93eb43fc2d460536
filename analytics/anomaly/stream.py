"""One series alone, of any kind: four questions asked of every row."""

from __future__ import annotations

import copy
import math
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from analytics.anomaly.episodes import episodes
from analytics.anomaly.frames import FloatArray, numeric_columns, readings
from analytics.anomaly.rolling import SlidingMean, SlidingOrder
from domain.errors import InputError

QUESTIONS = ("level", "jump", "rank", "spread")
LEVEL_ROWS = 10  # the present level is the mean of these
RANK_ROWS = 40  # ranks are averaged over these
SPREAD_ROWS = 60  # the present spread is the standard deviation of these
WARM_LEVEL, WARM_USUAL = 20, 50  # earlier rows needed before there is an answer
CLIP = 3.0  # one question alone counts at most this much
RHYTHM_QUANTILE, RHYTHM_MARGIN = 0.95, 1.3  # answers that usually peak together must peak higher than that
CLEAR_ROWS = 20  # a condition is over after this many rows back within what was usual
TRIM_ROWS = 3  # extreme rows left out when asking whether a changed spread lasts: a spike is no spread
SPREAD_FLOOR = 1e-3  # of the training's standard deviation, so that a flat stretch has a logarithm
ROUNDING = 1e-9  # of the level: differences below it come from arithmetic


@dataclass(slots=True)
class Condition:
    """What was unusual when an episode began, judged by what was usual before: tells how long it lasts.

    Attributes
    ----------
    mean, log_spread : float
        Long-run level and log spread before the onset.
    level_limit, spread_limit : float
        Their usual largest changes before the onset.
    age, clear : int
        Rows since the onset, and rows since the condition was last seen.
    """

    mean: float
    log_spread: float
    level_limit: float
    spread_limit: float
    age: int = 0
    clear: int = 0

    def excess(self, level: deque[float], spread: deque[float], floor: float) -> tuple[float, float]:
        """How far level and spread still are from what was usual, above 1 is still unusual."""
        off = abs(_mean(level) - self.mean) / self.level_limit
        if len(spread) < SPREAD_ROWS:
            return off, 0.0
        now = math.log(_deviation(_trimmed(spread)) + floor)
        return off, abs(now - self.log_spread) / self.spread_limit


class StreamState:
    """What the detector carries from row to row: some thousand numbers."""

    def __init__(self, parameters: StreamDetector, spread_floor: float) -> None:
        history, usual = parameters.history, parameters.usual
        self.quantile = parameters.quantile
        self.least = parameters.limit
        self.together = SlidingOrder(usual)  # past means of the answers
        self.longest = history
        self.pause = parameters.quiet
        self.spread_floor = spread_floor
        self.mean = SlidingMean(history)
        self.order = SlidingOrder(history)
        self.level: deque[float] = deque(maxlen=LEVEL_ROWS)
        self.ranks: deque[float] = deque(maxlen=RANK_ROWS)
        self.spread: deque[float] = deque(maxlen=SPREAD_ROWS)
        self.log_spread = SlidingMean(history)
        self.usual = [SlidingOrder(usual) for _ in QUESTIONS]
        self.condition: Condition | None = None
        self.last = np.zeros(len(QUESTIONS))  # contributions of the last valid row, held over gaps
        self.missing = 0  # rows since that row
        self.quiet = self.pause  # rows since the last unusual row that was news

    def step(self, value: float) -> tuple[FloatArray, bool]:
        """Take in one row; return what each question contributes to its score, and whether it is an alarm."""
        if not math.isfinite(value):
            self.missing += 1
            return (self.last if self.missing <= self.pause else np.zeros(len(QUESTIONS))), False
        self.missing = 0
        before = self._reference()
        news = self._is_news(value)
        raw = self._ask(value)
        limits = [self._limit(k, abs(value)) for k in range(len(QUESTIONS))]
        answers = np.array([min((z or 0.0) / limit, CLIP) for z, limit in zip(raw, limits, strict=True)])
        for past, z in zip(self.usual, raw, strict=True):
            past.push(z or 0.0)
        self.last = answers / (len(QUESTIONS) * self._limit_together())
        self.together.push(float(answers.mean()))
        unusual = bool(self.last.sum() > 1.0)
        alarm = unusual and news and self.quiet >= self.pause
        self.quiet = 0 if unusual and news else self.quiet + 1
        if alarm or (unusual and self.condition is None):
            self.condition = Condition(
                *before,
                level_limit=limits[0],
                spread_limit=limits[3],
            )
        self._hold(value)
        return self.last, alarm

    def _ask(self, value: float) -> tuple[float | None, ...]:
        """Raw answers; None where too little has been seen."""
        jump = abs(value - self.level[-1]) if self.level else None
        self.level.append(value)
        level = abs(_mean(self.level) - self.mean.mean) if len(self.mean) >= WARM_LEVEL else None
        self.mean.push(value)
        self.order.push(value)
        rank = None
        if len(self.order) >= WARM_LEVEL:
            self.ranks.append(self.order.rank(value) - 0.5)
            rank = abs(_mean(self.ranks)) if len(self.ranks) == RANK_ROWS else None
        self.spread.append(value)
        return level, jump, rank, self._spread()

    def _spread(self) -> float | None:
        if len(self.spread) < SPREAD_ROWS:
            return None
        now = math.log(_deviation(self.spread) + self.spread_floor)
        change = abs(now - self.log_spread.mean) if len(self.log_spread) >= WARM_USUAL else None
        self.log_spread.push(now)
        return change

    def _limit(self, question: int, level: float) -> float:
        """Usual maximum of a question's answers; infinite while too few are known."""
        past = self.usual[question]
        if len(past) < WARM_USUAL:
            return math.inf
        floor = ROUNDING * (max(level, 1e-3) if QUESTIONS[question] in ("level", "jump") else 1.0)
        return max(past.quantile(self.quantile), floor)

    def _limit_together(self) -> float:
        """Mean answer at which a row is anomalous: in a series with a rhythm, answers peak together."""
        if len(self.together) < WARM_USUAL:
            return self.least
        return max(self.least, RHYTHM_MARGIN * self.together.quantile(RHYTHM_QUANTILE))

    def _reference(self) -> tuple[float, float]:
        mean = self.mean.mean if len(self.mean) else 0.0
        return mean, self.log_spread.mean if len(self.log_spread) else 0.0

    def _is_news(self, value: float) -> bool:
        """Whether a row makes a known condition worse; one that goes away again is no news."""
        known = self.condition
        return (
            known is None or abs(value - known.mean) > abs(_mean(self.level) - known.mean) + known.level_limit
        )

    def _hold(self, value: float) -> None:
        """Keep the score up while the condition lasts, though the past has begun to absorb it."""
        known = self.condition
        if known is None:
            return
        known.age += 1
        level, spread = known.excess(self.level, self.spread, self.spread_floor)
        strongest = min(max(level, spread), CLIP)
        known.clear = 0 if strongest > 1.0 else known.clear + 1
        if known.clear > CLEAR_ROWS or known.age > self.longest:
            self.condition = None
        elif strongest > max(1.0, self.last.sum()):
            self.last = np.zeros(len(QUESTIONS))
            self.last[0 if level >= spread else 3] = strongest


class StreamDetector:
    """Anomalies of one series, causal and online.

    Every row is asked four questions: has the level left the long-run mean, did the value jump, does it
    stand elsewhere among the values of the past, has the spread changed. Each answer is divided by the high
    quantile of its own past, so the questions are comparable and the detector needs no unit; their mean over
    `limit` is the score (over a higher limit where a daily rhythm makes the answers peak together). An episode lasts while level or spread stay outside what was usual before it began,
    for at most `history` rows: what stays becomes usual. A condition that gets worse alarms again, one that
    goes away does not.

    A missing value repeats the last score for at most `quiet` rows.

    Parameters
    ----------
    history : int
        Rows that make up the past of level, rank and spread.
    usual : int
        Rows over which each answer's usual maximum is taken.
    quantile : float
        Which of the past answers counts as their usual maximum.
    limit : float
        Mean of the four answers from which a row may be anomalous.
    quiet : int
        Rows without anything unusual before the next alarm.
    value : str, optional
        Column that holds the series; by default the one called `value`, else the only numeric one.

    Attributes
    ----------
    value_ : str
        The column that is judged.
    """

    def __init__(
        self,
        history: int = 1000,
        usual: int = 2000,
        quantile: float = 0.99,
        limit: float = 0.825,
        quiet: int = 120,
        value: str | None = None,
    ) -> None:
        self.history = history
        self.usual = usual
        self.quantile = quantile
        self.limit = limit
        self.quiet = quiet
        self.value = value

    def fit(self, train: pd.DataFrame) -> StreamDetector:
        """Learn the past from rows in time order.

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
        floor = SPREAD_FLOOR * float(valid.std()) + ROUNDING * float(np.abs(valid).mean()) + 1e-12
        self.state_ = StreamState(self, floor)
        for value in values:
            self.state_.step(float(value))
        self.state_.condition = None
        self.state_.quiet = self.quiet  # what happened in training is no news, and none is held back by it
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
        state = copy.deepcopy(self._fitted())
        values = readings(frame, [self.value_], self.columns_)[:, 0]
        parts = np.zeros((len(values), len(QUESTIONS)))
        alarms = np.zeros(len(values), dtype=int)
        for row, value in enumerate(values):
            parts[row], alarms[row] = state.step(float(value))
        return (
            pd.DataFrame(parts, index=frame.index, columns=list(QUESTIONS)),
            pd.Series(alarms, index=frame.index, name="alarm"),
        )

    def _choose(self, columns: list[str]) -> str:
        wanted = self.value or "value"
        if wanted in columns:
            return wanted
        if self.value is None and len(columns) == 1:
            return columns[0]
        raise InputError(
            f"no column {wanted!r} of numbers among {', '.join(columns)}; name the series with value=..."
        )

    def _fitted(self) -> StreamState:
        if not hasattr(self, "state_"):
            raise InputError("this StreamDetector has not seen any training; call fit first")
        return self.state_

    def _check_parameters(self) -> None:
        if self.history < WARM_LEVEL or self.usual < WARM_USUAL or self.quiet < 1:
            raise InputError(
                f"history must be at least {WARM_LEVEL} rows, usual {WARM_USUAL} and quiet 1; got "
                f"history={self.history}, usual={self.usual}, quiet={self.quiet}"
            )
        if not 0.0 < self.quantile <= 1.0 or self.limit <= 0:
            raise InputError(
                "quantile must lie within (0, 1] and limit above 0; got "
                f"quantile={self.quantile}, limit={self.limit}"
            )


def _mean(values: Sequence[float]) -> float:
    return math.fsum(values) / len(values)


def _deviation(values: Sequence[float]) -> float:
    centre = _mean(values)
    return math.sqrt(math.fsum((v - centre) ** 2 for v in values) / (len(values) - 1))


def _trimmed(values: deque[float]) -> list[float]:
    """Leave out the values farthest from the median."""
    ordered = sorted(values)
    centre = ordered[len(ordered) // 2]
    return sorted(ordered, key=lambda v: abs(v - centre))[:-TRIM_ROWS]
