"""Fitting, judging and using the forecast model; runs in a child process.

A fresh model is fitted once in a while; in between the last one takes in what has been measured since and forecasts
again. A candidate replaces it only where it beats seasonal naive and persistence in a backtest on the same history.
Where work is planned, a second candidate takes the plans into account, and the better of the two is kept.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pandas as pd
from joblib import Parallel, delayed

from analytics.forecast import PowerForecaster
from analytics.forecast.evaluation import Backtest, backtest
from analytics.forecast.persistence import load, save
from analytics.issuing.exchange import NODE_STEPS, Made, Task
from analytics.issuing.nodes import node_forecasts
from analytics.issuing.shelf import ModelCard, ModelShelf
from analytics.planned.scheduled import RackPast, ScheduledForecaster, Split, booked_nodes
from domain.errors import ForecastError, HallwatchError
from domain.forecast import QUANTILES
from domain.points import ValueArray

JUDGE_ORIGINS = 4
JUDGE_DAYS = 10
"""A history shorter than this cannot judge a model; it answers all the same, and says so."""

Forecaster = PowerForecaster | ScheduledForecaster


def make_forecast(task: Task) -> Made:
    """Return the site's forecast and that of its nodes."""
    index = pd.to_datetime(task.start, unit="ms", utc=True).tz_convert(task.timezone)
    history = pd.Series(task.power, index=index).asfreq("15min")
    past = RackPast.of(task.bookings, task.start, task.nodes)
    model, card, remark = _model(task, history, past, ModelShelf(task.shelf))
    values = model.predict(task.horizon, list(QUANTILES)).to_numpy()
    nodes = _nodes(task, past, {task.site: values})
    name = f"PowerForecaster {card.version}{' with planned work' if card.aside else ''}, fitted {_day(card)}"
    steps = model.steps(task.horizon) if isinstance(model, ScheduledForecaster) else ()
    return Made(values, name, _quality(history, card, remark), nodes, *steps)


def _nodes(task: Task, past: RackPast | None, whole: dict[str, ValueArray]) -> dict[str, ValueArray]:
    """Foretell the nodes below the site; they add up along the power path, and racks to the site."""
    booked = booked_nodes(task.nodes, task.below, past, NODE_STEPS) if past else {}
    # a rack on two busways has no place in the tree of the power path: it is a part of the site itself
    in_tree = {part for parts in task.parts.values() for part in parts}
    loose = tuple(
        n for n, racks in task.below.items() if racks == (n,) and n not in in_tree and n in task.nodes
    )
    path = {name: power for name, power in task.nodes.items() if name not in loose}
    told = node_forecasts(path, task.parts, whole, NODE_STEPS, booked, task.jobs)
    if loose:
        racks = {name: task.nodes[name] for name in (*loose, task.site) if name in task.nodes}
        told |= node_forecasts(racks, {task.site: loose}, whole, NODE_STEPS, booked, task.jobs)
    return told


def _model(
    task: Task, history: pd.Series, past: RackPast | None, shelf: ModelShelf
) -> tuple[Forecaster, ModelCard, str]:
    """Return the model that answers, ready to predict from the end of the history, and a remark on it."""
    cards = shelf.cards()
    kept = cards[0] if cards else None
    due = kept is None or task.refit or task.now - kept.fitted >= task.refit_ms
    remark = ""
    if (
        due
        or kept is None
        or _outdated(kept, past)
        or (kept.proven is None and len(history) >= JUDGE_DAYS * 96)
    ):
        try:
            return _candidate(task, history, past, shelf, kept)
        except _NotBetterError as error:
            remark = str(error)
        except HallwatchError as error:
            remark = f"fit failed ({error})"
            if kept is None:
                raise
    for card in cards:
        try:
            return _resumed(task, history, past, shelf, card), card, remark
        except HallwatchError:  # of another release, or damaged: the one before it
            shelf.remove(card)
    model, card = _fitted(task, history, past, shelf)
    return model, card, remark


def _outdated(card: ModelCard, past: RackPast | None) -> bool:
    """Return whether plans take racks now that the model does not leave to them, or none at all."""
    return bool(card.aside) and (past is None or not set(past.aside) <= set(card.aside))


def _resumed(
    task: Task, history: pd.Series, past: RackPast | None, shelf: ModelShelf, card: ModelCard
) -> Forecaster:
    """Return a kept model that has taken in what has been measured since."""
    model = load(shelf.path(card))
    if card.aside:
        if past is None or not set(card.aside) <= set(past.bookings.racks):
            raise ForecastError("the model leaves racks to plans that are not there")
        return _scheduled(task, past).resume(model, Split(card.aside, card.follows), history)
    newer = history[history.index > model.series_.times(len(model.series_.raw) - 1, 1)[0]]
    # a restart within the quarter hour brings nothing new, which is no fault of the model
    return model.update(newer) if len(newer) else model


def _candidate(
    task: Task, history: pd.Series, past: RackPast | None, shelf: ModelShelf, kept: ModelCard | None
) -> tuple[Forecaster, ModelCard, str]:
    """Fit a model, judge it where the history suffices, and put it on the shelf unless a kept one is better."""
    if kept is None or len(history) < JUDGE_DAYS * 96:
        # the first answer must not wait for a verdict; it is judged the next time
        model, card = _fitted(task, history, past, shelf)
        return model, card, ""
    kinds = [None] if past is None else [None, past]
    verdicts: list[Backtest] = Parallel(n_jobs=min(task.jobs, len(kinds)))(
        delayed(_verdict)(task, history, kind) for kind in kinds
    )
    best = min(range(len(kinds)), key=lambda i: verdicts[i].model.pinball)
    verdict = verdicts[best]
    model, card = _fitted(task, history, kinds[best], shelf)
    card = replace(
        card,
        to_seasonal_naive=verdict.model.pinball / max(verdict.seasonal_naive.pinball, 1e-9),
        to_persistence=verdict.model.pinball / max(verdict.persistence.pinball, 1e-9),
    )
    if not card.proven and kept.proven and not _outdated(kept, past):
        shelf.remove(card)
        raise _NotBetterError(
            f"a model fitted {_day(card)} was not promoted: {card.to_seasonal_naive:.2f} of seasonal naive"
        )
    shelf.put(card)
    return model, card, ""


def _verdict(task: Task, history: pd.Series, past: RackPast | None) -> Backtest:
    make: Callable[[], Forecaster] = (
        (lambda: _plain(task)) if past is None else (lambda: _scheduled(task, past))
    )
    return backtest(history, 96, origins=JUDGE_ORIGINS, make=make)


def _fitted(
    task: Task, history: pd.Series, past: RackPast | None, shelf: ModelShelf
) -> tuple[Forecaster, ModelCard]:
    model: Forecaster
    if past is None:
        model = inner = _plain(task).fit(history)
        split = Split((), 0.0)
    else:
        model = _scheduled(task, past).fit(history)
        inner, split = model.model, model.split
    source = inner.provenance_
    card = ModelCard(
        task.now,
        str(source.first),
        str(source.last),
        source.missing_share,
        source.version,
        aside=split.aside,
        follows=split.follows,
    )
    task.shelf.mkdir(parents=True, exist_ok=True)
    save(inner, shelf.path(card))
    shelf.put(card)
    return model, card


def _plain(task: Task) -> PowerForecaster:
    return PowerForecaster(_reach(task), lower=task.idle, upper=task.installed, country=task.country or None)


def _scheduled(task: Task, past: RackPast) -> ScheduledForecaster:
    return ScheduledForecaster(past, task.idle, task.installed, task.country or None, _reach(task))


def _reach(task: Task) -> str:
    # what lies beyond what a model has learnt would be learnt anew at every issue
    return f"{max(48, math.ceil(task.horizon / 4))}h"


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
