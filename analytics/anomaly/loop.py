"""One cooling loop as a whole: pumps, valves, flow, pressure, temperatures."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd

from analytics.anomaly import roles as signal_roles
from analytics.anomaly.episodes import episodes
from analytics.anomaly.frames import FloatArray, numeric_columns, readings
from analytics.anomaly.relations import Relations
from analytics.anomaly.roles import Role
from domain.errors import InputError

SCORE_CEILING = 100.0  # keeps a signal that was constant in training from scoring without bound
SCALE_FLOOR = 0.25  # of the training's standard deviation
RELATION_MARGIN = 1.5  # the next jump of the load may be larger than those of the training
CONSTANT_BAND = 0.01  # of the level: the accuracy class of a plain plant instrument


@dataclass(slots=True)
class LoopState:
    """What the detector carries from row to row; every array has one entry a signal.

    Attributes
    ----------
    recent : ndarray, shape (window, signals)
        The last valid readings.
    place : ndarray of int
        Row of `recent` that the next reading replaces.
    baseline : ndarray
        The usual level, which follows slow drift.
    """

    recent: FloatArray
    place: np.ndarray
    baseline: FloatArray

    def deviation(self, row: FloatArray) -> FloatArray:
        """Take in one row and return how far the smoothed level is from the usual one (signed)."""
        valid = np.flatnonzero(np.isfinite(row))
        self.recent[self.place[valid], valid] = row[valid]
        self.place[valid] = (self.place[valid] + 1) % len(self.recent)
        return np.asarray(self.recent.mean(axis=0) - self.baseline, dtype=float)

    def follow(self, row: FloatArray, moving: np.ndarray, speed: float) -> None:
        """Let the baseline follow the row where `moving`; elsewhere it stays as it was before the fault."""
        self.baseline += np.where(moving & np.isfinite(row), speed * (row - self.baseline), 0.0)


class CoolingLoopDetector:
    """Anomalies of a multivariate loop, row by row.

    Each signal is averaged over the last rows and compared with a baseline that follows slow drift and
    freezes while the signal is in alarm. The distance is divided by what was usual in training, with a
    margin that depends on what the signal tells (see `analytics.anomaly.roles`). A signal that the others foretell
    (flow follows power in a loop whose load varies) is judged by what they leave unexplained of it. The score is
    that of the worst signal. Causal: a row's score uses that row, earlier ones and the training.

    A missing value neither raises nor clears an alarm: its signal keeps its last smoothed level.

    Parameters
    ----------
    window : int
        Rows over which a signal is averaged.
    adaptation : int
        Rows (time constant) within which the baseline follows drift.
    quantile : float
        Which deviation of the training counts as its widest usual one.
    roles : mapping of str to str, optional
        Signal name to one of `analytics.anomaly.roles.ROLES`, for signals whose name does not tell. What is
        not given is inferred from the name, or else from the drift in training.

    Attributes
    ----------
    signals_ : list of str
        The signals that are judged.
    ignored_ : list of str
        Numeric columns of the training without enough readings to judge by.
    roles_ : dict of str to Role
        How each is judged.
    relations_ : Relations
        Which signals are foretold by the others, and how.
    limit_ : ndarray, shape (signals,)
        Deviation at which a signal scores 1, in its own unit.
    """

    def __init__(
        self,
        window: int = 20,
        adaptation: int = 500,
        quantile: float = 0.98,
        roles: Mapping[str, str] | None = None,
    ) -> None:
        self.window = window
        self.adaptation = adaptation
        self.quantile = quantile
        self.roles = roles

    def fit(self, train: pd.DataFrame) -> CoolingLoopDetector:
        """Learn what is usual from rows without (or nearly without) faults.

        Parameters
        ----------
        train : pd.DataFrame
            One numeric column a signal, rows evenly spaced in time; other columns are left alone.

        Raises
        ------
        InputError
            Parameters that make no sense, no numeric column, or too few rows.
        """
        self._check_parameters()
        self.columns_ = numeric_columns(train)
        values = readings(train, self.columns_, self.columns_)
        needed = 2 * self.window + 1
        usable = np.isfinite(values).sum(axis=0) >= needed
        if not usable.any():
            raise InputError(
                f"training has {len(values)} rows, and no signal has the {needed} readings that a window of "
                f"{self.window} needs; train on more rows or make the window shorter"
            )
        values = values[:, usable]
        self.signals_ = [c for c, good in zip(self.columns_, usable, strict=True) if good]
        self.ignored_ = [c for c, good in zip(self.columns_, usable, strict=True) if not good]
        self.roles_ = signal_roles.infer(self.signals_, values, self.window)
        self.roles_ |= signal_roles.given(self.columns_, self.roles or {})
        self.roles_ = {name: self.roles_[name] for name in self.signals_}
        judged = np.array([role.name != "thermal" for role in self.roles_.values()])
        self.relations_ = Relations.learn(values, judged)
        levels = np.abs(np.nanmedian(values, axis=0))
        values = self.relations_.unexplained(values)
        level = np.nanmean(values, axis=0)
        self.state_ = LoopState(
            recent=np.tile(level, (self.window, 1)),
            place=np.zeros(len(level), dtype=np.intp),
            baseline=level.copy(),
        )
        usual = self._usual_deviation(values)
        self.limit_ = _limits(usual, values, levels, list(self.roles_.values()))
        return self

    def score(self, frame: pd.DataFrame) -> pd.Series:
        """Anomaly score of each row, above 1 for as long as the condition lasts.

        The frame is taken as the continuation of the training; nothing is remembered of it.
        """
        return self.contributions(frame).max(axis=1).rename("score")

    def predict(self, frame: pd.DataFrame) -> pd.Series:
        """Return 1 on every anomalous row, else 0."""
        return (self.score(frame) > 1.0).astype(int).rename("anomaly")

    def contributions(self, frame: pd.DataFrame) -> pd.DataFrame:
        """Score of each signal in each row; the score of the row is the highest of them."""
        return self._run(frame)

    def explain(self, frame: pd.DataFrame) -> pd.DataFrame:
        """Episodes of the frame with start, end, rows, peak and the signals behind them."""
        parts = self.contributions(frame)
        return episodes(parts.max(axis=1), parts, quiet=self.window)

    def _run(self, frame: pd.DataFrame) -> pd.DataFrame:
        state = copy.deepcopy(self._fitted())
        values = self.relations_.unexplained(readings(frame, self.signals_, self.columns_))
        out = np.empty_like(values)
        for row, values_now in enumerate(values):
            out[row] = np.abs(state.deviation(values_now)) / self.limit_
            state.follow(values_now, out[row] < 1.0, 1.0 / self.adaptation)
        return pd.DataFrame(np.minimum(out, SCORE_CEILING), index=frame.index, columns=self.signals_)

    def _usual_deviation(self, values: FloatArray) -> FloatArray:
        """Widest usual deviation of each signal; leaves the state at the end of the training."""
        seen = np.empty_like(values)
        everywhere = np.ones(values.shape[1], dtype=bool)
        for row, values_now in enumerate(values):
            seen[row] = np.abs(self.state_.deviation(values_now))
            self.state_.follow(values_now, everywhere, 1.0 / self.adaptation)
        settled = seen[self.window :]
        usual = np.quantile(settled, self.quantile, axis=0)
        # a relation fails for moments, while the load jumps and its followers lag: those are usual too
        widest = RELATION_MARGIN * settled.max(axis=0)
        return np.asarray(np.where(self.relations_.related, widest, usual), dtype=float)

    def _fitted(self) -> LoopState:
        if not hasattr(self, "state_"):
            raise InputError("this CoolingLoopDetector has not seen any training; call fit first")
        return self.state_

    def _check_parameters(self) -> None:
        if self.window < 1 or self.adaptation < 1 or not 0.0 < self.quantile < 1.0:
            raise InputError(
                "window and adaptation must be at least 1 row and quantile within (0, 1); got "
                f"window={self.window}, adaptation={self.adaptation}, quantile={self.quantile}"
            )


def _limits(usual: FloatArray, values: FloatArray, level: FloatArray, roles: list[Role]) -> FloatArray:
    """Deviation at which each signal scores 1; `level` is the usual size of its readings."""
    spread = np.nanstd(values, axis=0)
    limit = usual * np.array([role.margin for role in roles])
    limit = np.maximum(limit, SCALE_FLOOR * spread)
    limit = np.maximum(limit, np.array([role.deadband for role in roles]) * level)
    constant = spread <= 1e-9 * level
    limit = np.where(constant, np.maximum(limit, CONSTANT_BAND * level), limit)
    return np.asarray(np.maximum(limit, 1e-9 * level + 1e-12), dtype=float)
