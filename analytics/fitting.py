"""Fitting, judging and using the forecast model; runs in a child process.

A fresh model is fitted once in a while; in between the last one takes in what has been measured since and forecasts
again. A candidate replaces it only where it beats seasonal naive and persistence in a backtest on the same history.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd

from analytics.evaluation import backtest
from analytics.exchange import NODE_STEPS, Made, Task
from analytics.forecast import PowerForecaster
from analytics.forecast.persistence import load, save
from analytics.nodes import node_forecasts
from analytics.shelf import ModelCard, ModelShelf
from domain.errors import HallwatchError
from domain.forecast import QUANTILES

JUDGE_ORIGINS = 4
JUDGE_DAYS = 10
"""A history shorter than this cannot judge a model; it answers all the same, and says so."""


def make_forecast(task: Task) -> Made:
    """Return the site's forecast and that of its nodes."""
    index = pd.to_datetime(task.start, unit="ms", utc=True).tz_convert(task.timezone)
    history = pd.Series(task.power, index=index).asfreq("15min")
    model, card, remark = _model(task, history, ModelShelf(task.shelf))
    values = model.predict(task.horizon, list(QUANTILES)).to_numpy()
    nodes = node_forecasts(task.nodes, task.parts, {task.site: values}, NODE_STEPS)
    return Made(
        values, f"PowerForecaster {card.version}, fitted {_day(card)}", _quality(history, card, remark), nodes
    )


def _model(task: Task, history: pd.Series, shelf: ModelShelf) -> tuple[PowerForecaster, ModelCard, str]:
    """Return the model that answers, ready to predict from the end of the history, and a remark on it."""
    cards = shelf.cards()
    kept = cards[0] if cards else None
    due = kept is None or task.refit or task.now - kept.fitted >= task.refit_ms
    remark = ""
    if due or kept is None or (kept.proven is None and len(history) >= JUDGE_DAYS * 96):
        try:
            return _candidate(task, history, shelf, kept)
        except _NotBetterError as error:
            remark = str(error)
        except HallwatchError as error:
            remark = f"fit failed ({error})"
            if kept is None:
                raise
    for card in cards:
        try:
            model = load(shelf.path(card))
            newer = history[history.index > model.series_.times(len(model.series_.raw) - 1, 1)[0]]
            # a restart within the quarter hour brings nothing new, which is no fault of the model
            return model.update(newer) if len(newer) else model, card, remark
        except HallwatchError:  # of another release, or damaged: the one before it
            shelf.remove(card)
    model, card = _fitted(task, history, shelf)
    return model, card, remark


def _candidate(
    task: Task, history: pd.Series, shelf: ModelShelf, kept: ModelCard | None
) -> tuple[PowerForecaster, ModelCard, str]:
    """Fit a model, judge it where the history suffices, and put it on the shelf unless a kept one is better."""
    model, card = _fitted(task, history, shelf)
    if kept is None or len(history) < JUDGE_DAYS * 96:
        # the first answer must not wait for a verdict; it is judged the next time
        return model, card, ""
    verdict = backtest(
        history,
        96,
        origins=JUDGE_ORIGINS,
        make=lambda: PowerForecaster(lower=task.idle, upper=task.installed, country=task.country or None),
    )
    card = replace(
        card,
        to_seasonal_naive=verdict.model.pinball / max(verdict.seasonal_naive.pinball, 1e-9),
        to_persistence=verdict.model.pinball / max(verdict.persistence.pinball, 1e-9),
    )
    if not card.proven and kept.proven:
        shelf.remove(card)
        raise _NotBetterError(
            f"a model fitted {_day(card)} was not promoted: {card.to_seasonal_naive:.2f} of seasonal naive"
        )
    shelf.put(card)
    return model, card, ""


def _fitted(task: Task, history: pd.Series, shelf: ModelShelf) -> tuple[PowerForecaster, ModelCard]:
    model = PowerForecaster(lower=task.idle, upper=task.installed, country=task.country or None)
    model.fit(history)
    source = model.provenance_
    card = ModelCard(task.now, str(source.first), str(source.last), source.missing_share, source.version)
    task.shelf.mkdir(parents=True, exist_ok=True)
    save(model, shelf.path(card))
    shelf.put(card)
    return model, card


def _quality(history: pd.Series, card: ModelCard, remark: str) -> str:
    missing = float(history.isna().mean())
    found = [remark] if remark else []
    if len(history) < 7 * 96:
        found.append(f"short history ({len(history) / 96:.1f} days)")
    elif missing > 0.1:
        found.append(f"{missing:.0%} of the history is missing")
    if card.proven is False:
        found.append("no better than seasonal naive or persistence in its backtest")
    return "; ".join(found) or "good"


def _day(card: ModelCard) -> str:
    return str(np.datetime64(card.fitted, "ms").astype("datetime64[m]")) + "Z"


class _NotBetterError(Exception):
    pass
