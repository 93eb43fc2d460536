"""How good would the forecasts have been? Rolling-origin backtests against seasonal naive and persistence."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Protocol

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from analytics.forecast import PowerForecaster
from analytics.forecast.levels import pinball
from domain.errors import InputError
from domain.forecast import QUANTILES

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

LEVELS: Floats = np.array(QUANTILES)
MEDIAN = QUANTILES.index(0.5)
DEFAULT_ORIGINS = 20


class Forecaster(Protocol):
    """What a backtest needs of a forecaster."""

    def fit(self, history: pd.Series, covariates: pd.DataFrame | None = None) -> Forecaster:
        """Learn from a history."""

    def predict(self, horizon: int, quantiles: tuple[float, ...]) -> pd.DataFrame:
        """Forecast the steps after it."""


@dataclass(frozen=True, slots=True)
class Score:
    """How good forecasts were, over all origins and leads with a measured value.

    Attributes
    ----------
    mae, rmse
        Of the median, in the unit of the series.
    pinball
        Mean over the quantiles 0.05 to 0.95.
    coverage_90
        Share of values within the 5 % and 95 % quantiles; 0.9 is right.
    width_90
        Mean width of that interval.
    values
        How many values were scored.
    """

    mae: float
    rmse: float
    pinball: float
    coverage_90: float
    width_90: float
    values: int


@dataclass(frozen=True, slots=True)
class LeadScore:
    """The same by lead time: hours from ``first_hour`` to below ``last_hour`` after the origin."""

    first_hour: float
    last_hour: float
    coverage_90: float
    pinball_to_seasonal_naive: float


@dataclass(frozen=True, slots=True)
class Backtest:
    """Outcome of a rolling-origin backtest.

    Attributes
    ----------
    model, seasonal_naive, persistence
        Scores on the same points.
    season_hours
        Season of the seasonal naive forecast: a day or a week, whichever fits the past better.
    by_lead
        In blocks of an eighth of the horizon.
    origins
        Times of the last known values.
    horizon
        Steps.
    """

    model: Score
    seasonal_naive: Score
    persistence: Score
    season_hours: float
    by_lead: tuple[LeadScore, ...]
    origins: tuple[pd.Timestamp, ...]
    horizon: int

    @property
    def beats_baselines(self) -> bool:
        """Whether the model may be promoted: better pinball loss than both baselines."""
        return self.model.pinball < min(self.seasonal_naive.pinball, self.persistence.pinball)

    def as_dict(self) -> dict[str, object]:
        """Give plain values that JSON can hold, with the ratios to the baselines (below 1 is better)."""
        plain = asdict(self)
        plain["origins"] = [time.isoformat() for time in self.origins]
        for name, baseline in (("seasonal_naive", self.seasonal_naive), ("persistence", self.persistence)):
            plain[f"pinball_to_{name}"] = _ratio(self.model.pinball, baseline.pinball)
            plain[f"mae_to_{name}"] = _ratio(self.model.mae, baseline.mae)
        plain["beats_baselines"] = self.beats_baselines
        return plain


def backtest(
    series: pd.Series,
    horizon: int,
    *,
    covariates: pd.DataFrame | None = None,
    origins: int = DEFAULT_ORIGINS,
    make: Callable[[], Forecaster] | None = None,
    share: float = 0.3,
) -> Backtest:
    """Forecast from past origins with what was known then, and score against what came.

    Parameters
    ----------
    series : pandas.Series
        Regular DatetimeIndex; gaps as NaN, which are not scored.
    horizon : int
        Steps ahead.
    covariates : pandas.DataFrame, optional
        Past-only: cut at each origin.
    origins : int
        How many, spread over the end of the series so that they pass through the hours of the day.
    make : callable, optional
        Makes an unfitted forecaster; by default one that learns to look as far as ``horizon``, 48 hours or more.
    share : float
        Share of the series, at its end, that is forecast.

    Raises
    ------
    InputError
        If the series is too short for one origin, or ``origins`` or ``share`` make no sense.
    """
    if origins < 1 or not 0 < share < 1:
        raise InputError(
            f"a backtest needs origins from 1 and a share between 0 and 1, not {origins} and {share}"
        )
    places = _origins(len(series), horizon, origins, share)
    values = series.to_numpy(dtype=float)
    step = series.index[1] - series.index[0]
    day = max(1, round(pd.Timedelta(days=1) / step))
    ahead = max(pd.Timedelta(hours=48), horizon * step)
    make = make or (lambda: PowerForecaster(horizon=str(ahead)))
    season = best_season(values[: places[0]], day)
    actual = np.stack([values[o : o + horizon] for o in places])
    forecasts: dict[str, list[Floats]] = {"model": [], "seasonal_naive": [], "persistence": []}
    for origin in places:
        past = None if covariates is None else covariates.loc[covariates.index < series.index[origin]]
        fitted = make().fit(series.iloc[:origin], past)
        forecasts["model"].append(fitted.predict(horizon, QUANTILES).to_numpy(dtype=float))
        known = _held(values[:origin])
        forecasts["seasonal_naive"].append(seasonal_naive(known, horizon, season))
        forecasts["persistence"].append(persistence(known, horizon))
    stacked = {name: np.stack(of) for name, of in forecasts.items()}
    if np.isnan(actual).all():
        raise InputError("nothing was measured behind any origin: no forecast can be scored")
    return Backtest(
        **{name: score(actual, of) for name, of in stacked.items()},
        season_hours=season * 24 / day,
        by_lead=_by_lead(actual, stacked["model"], stacked["seasonal_naive"], day),
        origins=tuple(series.index[o - 1] for o in places),
        horizon=horizon,
    )


def score(actual: Floats, forecast: Floats) -> Score:
    """Score forecasts of shape (..., 19 quantiles) against actual values, NaN where unmeasured."""
    known = ~np.isnan(actual)
    y, q = actual[known], forecast[known]
    error = y - q[:, MEDIAN]
    return Score(
        mae=float(np.abs(error).mean()),
        rmse=float(np.sqrt((error**2).mean())),
        pinball=float(pinball(y, q, LEVELS).mean()),
        coverage_90=float(((y >= q[:, 0]) & (y <= q[:, -1])).mean()),
        width_90=float((q[:, -1] - q[:, 0]).mean()),
        values=int(known.sum()),
    )


def seasonal_naive(known: Floats, horizon: int, season: int) -> Floats:
    """Forecast the value of one season ago, with quantiles of that rule's own past errors; shape (horizon, 19)."""
    season = min(season, max(1, len(known) // 3))
    lag = -(-(np.arange(horizon) + 1) // season) * season
    result = np.empty((horizon, len(LEVELS)))
    for one in np.unique(lag):
        steps = np.flatnonzero(lag == one)
        usable = one if len(known) > one else max(1, len(known) - 1)
        point = known[np.minimum(len(known) + steps - one, len(known) - 1)]
        errors = (known[usable:] - known[:-usable])[-60 * season :] if len(known) > 1 else np.zeros(1)
        spread = np.quantile(errors, LEVELS)
        result[steps] = point[:, None] + spread - spread[MEDIAN]
    return result


def persistence(known: Floats, horizon: int) -> Floats:
    """Forecast the last value, with quantiles of past changes over the same lead; shape (horizon, 19)."""
    recent = known[-5000:]
    result = np.empty((horizon, len(LEVELS)))
    for lead in range(1, horizon + 1):
        usable = min(lead, max(1, len(recent) - 1))
        change = recent[usable:] - recent[:-usable] if len(recent) > 1 else np.zeros(1)
        spread = np.quantile(change, LEVELS)
        result[lead - 1] = recent[-1] + spread - spread[MEDIAN]
    return result


def best_season(known: Floats, day: int) -> int:
    """Choose a day or a week (in steps), whichever lag was the better forecast in the past."""
    week = 7 * day
    if len(known) < 3 * week:
        return day
    error: dict[int, float] = {
        lag: float(np.nanmean(np.abs(known[lag:] - known[:-lag])[-8 * week :])) for lag in (day, week)
    }
    return min(error, key=lambda lag: error[lag])


def _held(values: Floats) -> Floats:
    """Gaps filled with the last value before them (the first value, at the start)."""
    return np.asarray(pd.Series(values).ffill().bfill().fillna(0.0), dtype=np.float64)


def _origins(count: int, horizon: int, wanted: int, share: float) -> Ints:
    first, last = max(2, int((1 - share) * count)), count - horizon
    if last < first:
        raise InputError(
            f"{count} values are too few to backtest {horizon} steps ahead: "
            f"with {share:.0%} held back at least {int(np.ceil(horizon / share))} are needed"
        )
    step = max(1, (last - first) // wanted)
    # An even step would see the same hours of the day again and again.
    step += 1 - step % 2 if step > 2 else 0
    return np.arange(first, last + 1, step)[:wanted]


def _by_lead(actual: Floats, model: Floats, naive: Floats, day: int) -> tuple[LeadScore, ...]:
    horizon = actual.shape[1]
    width = max(1, horizon // 8)
    result = []
    for first in range(0, horizon, width):
        block = slice(first, min(horizon, first + width))
        if np.isnan(actual[:, block]).all():
            continue
        ours, theirs = score(actual[:, block], model[:, block]), score(actual[:, block], naive[:, block])
        result.append(
            LeadScore(
                first_hour=first * 24 / day,
                last_hour=block.stop * 24 / day,
                coverage_90=ours.coverage_90,
                pinball_to_seasonal_naive=_ratio(ours.pinball, theirs.pinball),
            )
        )
    return tuple(result)


def _ratio(ours: float, theirs: float) -> float:
    if theirs == 0:
        return 1.0 if ours == 0 else float("inf")
    return ours / theirs
