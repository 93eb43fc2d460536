"""The power forecaster: quantiles of any regular series, calibrated on how it did lately."""

from __future__ import annotations

from collections.abc import Sequence
from copy import copy
from dataclasses import dataclass
from typing import Self

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.base import BaseEstimator
from sklearn.utils.validation import check_is_fitted

from analytics.forecast.calendar import calendar_features
from analytics.forecast.combination import Combination, Record, combine
from analytics.forecast.design import Design
from analytics.forecast.early import early_quantiles
from analytics.forecast.levels import LEVELS, MEDIAN, at_levels, check_levels
from analytics.forecast.members import (
    FULL,
    MEMBERS,
    PRIOR,
    TRIAL,
    Members,
    fit_members,
    thinned,
    training_leads,
)
from analytics.forecast.series import RegularSeries, align, regular
from domain.errors import ForecastError, InputError
from domain.forecast import QUANTILES

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

VERSION = "3"
"""Of the method: changes whenever the same history would give another forecast."""

CALIBRATION_SHARE = 0.15
CALIBRATION_ORIGINS = 120
FEWEST_ORIGIN_DAYS = 4.0
"""Days of origins with a whole horizon behind them that the learnt members need."""


@dataclass(frozen=True, slots=True)
class Provenance:
    """Where a fitted model comes from.

    Attributes
    ----------
    first, last : pandas.Timestamp
        Training window.
    steps : int
    missing_share : float
        Share of its steps without a measured value, 0 to 1.
    left_out : int
        Older steps that were handed over and not used.
    implausible : int
        Values far beyond the bounds (a counter was reset), taken as missing.
    method : str
        ``"combination"``, or ``"early"`` while there is too little history to learn from.
    version : str
    """

    first: pd.Timestamp
    last: pd.Timestamp
    steps: int
    missing_share: float
    left_out: int
    implausible: int
    method: str
    version: str = VERSION


class PowerForecaster(BaseEstimator):  # type: ignore[misc]
    """Probabilistic forecasts of a regular series, from the first hour of history on.

    Ridge regressions, quantile forests and analog days share one direct multi-horizon design. They are
    combined per lead time by their recent pinball loss, and every quantile is corrected by its recent errors.

    Parameters
    ----------
    horizon : str
        How far the models learn to look (a pandas offset such as ``"48h"`` or ``"7D"``). A longer forecast is
        possible; each costs a new fit.
    lower, upper : float, optional
        Physical bounds, in the unit of the series; none by default.
    country : str, optional
        ISO 3166 code of the country whose holidays count (``"TW"``, ``"AU-VIC"``).
    known : sequence of str
        Covariates that are known in advance. A ``future`` with other columns is possible; it costs a new fit.
    random_state : int

    Attributes
    ----------
    series_ : RegularSeries
        The history, with all updates.
    members_ : Members or None
        None while the history is too short to learn from.
    combination_ : Combination or None
    provenance_ : Provenance
    """

    series_: RegularSeries
    covariates_: pd.DataFrame | None
    known_: tuple[str, ...]
    left_out_: int
    implausible_: int
    horizon_steps_: int
    trained_: int
    leads_: Ints
    spacing_: int
    members_: Members | None
    record_: Record | None
    combination_: Combination | None
    provenance_: Provenance

    def __init__(
        self,
        horizon: str = "48h",
        lower: float | None = None,
        upper: float | None = None,
        country: str | None = None,
        known: Sequence[str] = (),
        random_state: int = 0,
    ) -> None:
        self.horizon = horizon
        self.lower = lower
        self.upper = upper
        self.country = country
        self.known = known
        self.random_state = random_state

    def fit(self, history: pd.Series, covariates: pd.DataFrame | None = None) -> Self:
        """Learn from a history.

        Parameters
        ----------
        history : pandas.Series
            Regular DatetimeIndex, from one second to one day a step; gaps as NaN or as missing rows.
        covariates : pandas.DataFrame, optional
            Other measured or planned quantities over the same time.

        Raises
        ------
        InputError
            If the history, the covariates or a parameter cannot be used; the message tells what to do.
        ForecastError
            If the history holds no measured value.
        """
        self._check_bounds()
        given = regular(history)
        recent = given.shortened()
        self.left_out_ = len(given.raw) - len(recent.raw)
        self.series_ = recent.plausible(self.lower, self.upper)
        if not self.series_.measured.any():
            raise ForecastError(f"no value of the history lies near the bounds {self.lower} to {self.upper}")
        self.implausible_ = int(recent.measured.sum() - self.series_.measured.sum())
        self.horizon_steps_ = self._steps(self.series_)
        self.covariates_ = None if covariates is None or covariates.shape[1] == 0 else covariates
        self.known_ = tuple(self.known)
        absent = set(self.known_) - set(() if self.covariates_ is None else self.covariates_.columns)
        if absent:
            raise InputError(f"known covariates {sorted(absent)} are not among the columns of covariates")
        self._learn()
        return self

    def predict(
        self,
        horizon: int,
        quantiles: Sequence[float] = QUANTILES,
        future: pd.DataFrame | None = None,
    ) -> pd.DataFrame:
        """Forecast the steps after the history.

        Parameters
        ----------
        horizon : int
            Number of steps, from 1.
        quantiles : sequence of float
            Levels strictly between 0 and 1.
        future : pandas.DataFrame, optional
            Covariates known in advance, over the steps to come.

        Returns
        -------
        pandas.DataFrame
            Index the times of the steps, one column a quantile, ascending along a row where the levels are.

        Raises
        ------
        InputError
            If the horizon, a level or ``future`` cannot be used.
        sklearn.exceptions.NotFittedError
            Before ``fit``.
        """
        check_is_fitted(self, "series_")
        if horizon != int(horizon) or horizon < 1:
            raise InputError(f"horizon must be a whole number of steps from 1, not {horizon}")
        wanted = check_levels(quantiles)
        horizon = int(horizon)
        self._accept_future(future, horizon)
        values = self._quantiles(horizon, future)
        if self.members_ is not None and horizon > self.horizon_steps_:
            values = self._beyond(values, future)
        values = at_levels(values, LEVELS, wanted)
        if self.lower is not None or self.upper is not None:
            values = np.clip(values, self.lower, self.upper)
        times = self.series_.times(len(self.series_.raw), horizon)
        return pd.DataFrame(values, index=times, columns=list(quantiles))

    def _quantiles(self, horizon: int, future: pd.DataFrame | None) -> Floats:
        """Quantiles at ``LEVELS`` with what was learnt, shape (horizon, levels)."""
        leads = np.arange(horizon)
        if self.members_ is None or self.combination_ is None:
            return early_quantiles(self.series_.filled(), leads, self.series_.steps_per_day)
        design = self._design(horizon, future)
        rows = design.rows(np.array([len(self.series_.raw)]), leads)
        members = self.members_.quantiles(design, rows, leads)[:, 0]
        values: Floats = self.combination_.apply(members, leads, design.day) * rows.scale[0] + rows.level[0]
        return values

    def _beyond(self, values: Floats, future: pd.DataFrame | None) -> Floats:
        """Forecast again what lies beyond the trained horizon, by models that learn to look so far.

        Where the history is too short for them the spread grows as the square root of the lead: what the
        models say there they were never tested on.
        """
        near, horizon = self.horizon_steps_, len(values)
        planner = copy(self)
        planner.horizon_steps_ = horizon
        planner._learn()
        if planner.members_ is not None:
            return np.concatenate([values[:near], planner._quantiles(horizon, future)[near:]])
        growth = np.sqrt(np.maximum((np.arange(horizon) + 1) / near, 1.0))
        median = values[:, [MEDIAN]]
        wider: Floats = median + growth[:, None] * (values - median)
        return wider

    def update(self, actuals: pd.Series, covariates: pd.DataFrame | None = None) -> Self:
        """Take in newly arrived values: forecasts start behind them, weights and correction follow; no new fit.

        Parameters
        ----------
        actuals : pandas.Series
            On the grid of the history; late values that fill its gaps are welcome.
        covariates : pandas.DataFrame, optional
            The covariates' newer rows.

        Raises
        ------
        InputError
            If the values do not continue the history.
        """
        check_is_fitted(self, "series_")
        newer = regular(actuals, name="actuals", step=self.series_.step, allow_empty=True)
        before = len(self.series_.raw)
        likely = newer.plausible(self.lower, self.upper)
        self.implausible_ += int(newer.measured.sum() - likely.measured.sum())
        self.series_ = self.series_.extended(likely)
        if covariates is not None and self.covariates_ is not None:
            merged = pd.concat([self.covariates_, covariates[self.covariates_.columns]])
            self.covariates_ = merged[~merged.index.duplicated(keep="last")].sort_index()
        if self.members_ is None or self.record_ is None:
            self._learn()
            return self
        design = self._design(0, None)
        self.record_ = self._observed(design, self.record_)
        gained = len(self.series_.raw) - before
        last = int(self.record_.origins[-1]) if len(self.record_.origins) else before
        new_origins = np.arange(
            max(last, self.members_.last_target) + self.spacing_, before + gained, self.spacing_
        )
        if len(new_origins):
            newest = self._recorded(design, self.members_, new_origins)
            self.record_ = self.record_.followed_by(newest, CALIBRATION_ORIGINS)
        self.combination_ = self._combined(self.record_)
        return self

    def _check_bounds(self) -> None:
        if self.lower is not None and self.upper is not None and self.lower > self.upper:
            raise InputError(f"lower bound {self.lower} lies above upper bound {self.upper}")

    def _steps(self, series: RegularSeries) -> int:
        try:
            ahead = pd.Timedelta(self.horizon)
        except ValueError as error:
            raise InputError(
                f"horizon {self.horizon!r} is no duration: use for example '48h' or '7D'"
            ) from error
        return max(1, round(ahead / series.step))

    def _accept_future(self, future: pd.DataFrame | None, horizon: int) -> None:
        """Fit anew where the covariates known in advance are others than were learnt."""
        columns = () if future is None else tuple(str(c) for c in future.columns)
        if self.known_ and not columns:
            raise InputError(f"predict needs future with the known covariates {list(self.known_)}")
        if future is None or set(columns) == set(self.known_):
            return
        learnt = [] if self.covariates_ is None else list(self.covariates_.columns)
        strange = [c for c in columns if c not in learnt]
        if strange:
            raise InputError(f"future has columns {strange} that fit was not given: hand their past to fit")
        missing = [c for c in self.known_ if c not in columns]
        if missing:
            raise InputError(f"future lacks the known covariates {missing}")
        self.known_ = columns
        self._learn()

    def _learn(self) -> None:
        """Fit the members twice: on all but the newest part, to see how they do there, and on everything."""
        series = self.series_
        count, day = len(series.raw), series.steps_per_day
        self.trained_ = count
        self.members_ = None
        self.combination_ = None
        self.record_ = None
        self.spacing_ = 1
        self.leads_ = training_leads(self.horizon_steps_, day)
        reach = self.horizon_steps_
        first = min(8 * day, max(day, (count - reach) // 3))
        origins = self._measured_origins(first, count - reach)
        enough = max(FEWEST_ORIGIN_DAYS * day, 30)
        if len(origins) >= enough:
            design = self._design(0, None)
            cut = count - int(CALIBRATION_SHARE * (count - first))
            early = origins[origins < cut - reach]
            self.members_ = fit_members(design, origins, self.leads_, FULL, self.random_state)
            seen = self._measured_origins(cut, count - 1)
            self.spacing_ = max(1, -(-len(seen) // CALIBRATION_ORIGINS))
            if len(early) >= enough / 2 and len(seen):
                trial = fit_members(design, early, self.leads_, TRIAL, self.random_state)
                self.record_ = self._recorded(design, trial, thinned(seen, CALIBRATION_ORIGINS))
            else:
                self.record_ = Record(
                    np.zeros(0, np.int64),
                    np.zeros((0, len(self.leads_))),
                    np.zeros((len(MEMBERS), 0, len(self.leads_), len(LEVELS))),
                )
            self.combination_ = self._combined(self.record_)
        index = series.index
        self.provenance_ = Provenance(
            first=index[0],
            last=index[-1],
            steps=count,
            missing_share=float(np.isnan(series.raw).mean()),
            left_out=self.left_out_,
            implausible=self.implausible_,
            method="early" if self.members_ is None else "combination",
        )

    def _combined(self, record: Record) -> Combination:
        day = self.series_.steps_per_day
        return combine(record, self.leads_, day, PRIOR, history_days=self.trained_ / day)

    def _measured_origins(self, first: int, end: int) -> Ints:
        """Origins from ``first`` up to ``end`` whose newest value was measured."""
        origins = np.arange(max(1, first), max(1, first, end))
        return origins[self.series_.measured[origins - 1]]

    def _recorded(self, design: Design, members: Members, origins: Ints) -> Record:
        rows = design.rows(origins, self.leads_)
        return Record(origins, rows.target, members.quantiles(design, rows, self.leads_))

    def _observed(self, design: Design, record: Record) -> Record:
        """Fill in what has come since the record was made."""
        if not len(record.origins):
            return record
        return Record(record.origins, design.rows(record.origins, self.leads_).target, record.forecasts)

    def _design(self, ahead: int, future: pd.DataFrame | None) -> Design:
        series = self.series_
        count = len(series.raw)
        ahead = max(ahead, self.horizon_steps_)
        calendar = calendar_features(series.times(0, count + ahead), self.country)
        past = known = None
        if self.covariates_ is not None:
            frame = self.covariates_
            names = [c for c in frame.columns if str(c) not in self.known_]
            if names:
                past = _standard(align(frame[names], series.index, name="covariates"), self.trained_)
            if self.known_:
                frame = frame[list(self.known_)]
                if future is not None:
                    frame = pd.concat([frame, future[list(self.known_)]])
                    frame = frame[~frame.index.duplicated(keep="last")].sort_index()
                known = _standard(
                    align(frame, series.times(0, count + ahead), name="covariates"), self.trained_
                )
        return Design(
            series.filled(),
            series.measured,
            calendar,
            series.steps_per_day,
            series.steps_per_week,
            past,
            known,
            self.trained_,
        )


def _standard(values: Floats, count: int) -> Floats:
    """Columns with mean 0 and deviation 1 over the first ``count`` rows."""
    deviation = values[:count].std(axis=0)
    standard: Floats = (values - values[:count].mean(axis=0)) / np.where(deviation > 1e-12, deviation, 1.0)
    return standard
