"""Power where work is planned: racks that plans take follow the plans, what is left is forecast from itself.

A jump of megawatts when a job ends is noise to a model of past power, and plain from the schedule. So the power is split in
two: booked racks are drawn as paths (`analytics.planned.booked_load`), the rest (inference, cooling, network) has a forecaster of
its own, and the sum of both draws gives the quantiles.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
import pandas as pd

from analytics.forecast import PowerForecaster
from analytics.forecast.early import early_quantiles
from analytics.forecast.levels import LEVELS, at_levels
from analytics.planned.booked_load import BookedPaths, booked_paths, learn_habits, planned_steps
from analytics.planned.bookings import Bookings
from domain.envelope import QUARTER_MS
from domain.errors import ForecastError
from domain.forecast import QUANTILES
from domain.points import TimeArray, ValueArray

FEWEST_ENDED = 10
"""Works that must have come to their end before plans are trusted: nothing else tells how they come true."""
MOST_FOLLOWED = 0.6
"""Cooling and losses follow the racks by less than this; more is chance."""


@dataclass(frozen=True, slots=True, eq=False)
class RackPast:
    """What is known of racks and plans at the end of `time`.

    `bookings` as known then, `time` the starts of the quarter hours (UTC ms, shape (n,)), `power` of all racks in the order of
    `bookings.racks` (W, NaN where missing, shape (racks, n)).
    """

    bookings: Bookings
    time: TimeArray
    power: ValueArray

    @classmethod
    def of(
        cls, bookings: Bookings | None, time: TimeArray, power: Mapping[str, ValueArray]
    ) -> RackPast | None:
        """Return the past of a site's racks; None where plans cannot be used: too few came true, or nothing is measured."""
        if bookings is None or len(bookings) == 0:
            return None
        unknown = np.full(len(time), np.nan)
        table = np.stack([power.get(rack, unknown) for rack in bookings.racks])
        past = cls(bookings, time, table).until(int(time[-1]) + QUARTER_MS)
        ended = past.bookings.ran()
        return (
            past if (ended.until <= int(time[-1]) + QUARTER_MS).sum() >= FEWEST_ENDED and past.aside else None
        )

    @property
    def aside(self) -> tuple[str, ...]:
        """Ids of the racks that plans take or took, as far as they are measured."""
        taken = np.asarray(self.bookings.on.any(axis=0) & ~np.isnan(self.power[:, -96:]).all(axis=1))
        return tuple(rack for rack, on in zip(self.bookings.racks, taken.tolist(), strict=True) if on)

    def until(self, end: int) -> RackPast:
        """Return what was known at an earlier time, UTC ms."""
        seen = self.time + QUARTER_MS <= end
        return RackPast(self.bookings.as_known(end), self.time[seen], self.power[:, seen])

    def total(self, racks: Sequence[str]) -> ValueArray:
        """Return what some racks drew together, W, NaN where one is missing, shape (n,)."""
        place = {rack: i for i, rack in enumerate(self.bookings.racks)}
        total: ValueArray = self.power[[place[rack] for rack in racks]].sum(axis=0)
        return total

    def paths(self, racks: Sequence[str], steps: int) -> BookedPaths | None:
        """Draw what booked racks will draw; other racks than `racks` are left out of the plans."""
        bookings = self.bookings.on_racks(np.isin(self.bookings.racks, racks))
        if len(bookings) == 0:
            return None
        return booked_paths(
            bookings, learn_habits(bookings, self.time, self.power), self.time, self.power, steps
        )


@dataclass(frozen=True, slots=True)
class Split:
    """How power falls into booked racks and the rest.

    `aside` are the booked racks' ids, `follows` what cooling, losses and the like draw more for each of their watts.
    """

    aside: tuple[str, ...]
    follows: float

    @classmethod
    def learn(cls, whole: ValueArray, past: RackPast, aside: tuple[str, ...]) -> Split:
        """Learn what follows the racks from how the rest moves when they move."""
        return cls(aside, float(np.clip(_moves(whole, past.total(aside)) - 1.0, 0.0, MOST_FOLLOWED)))

    def rest(self, whole: ValueArray, past: RackPast) -> ValueArray:
        """Return the whole without the booked racks and what follows them, W, shape (n,)."""
        rest: ValueArray = whole - (1.0 + self.follows) * past.total(self.aside)
        return rest


class ScheduledForecaster:
    """A forecaster of power on a site with planned work; `fit`, `update` and `predict` as of `PowerForecaster`.

    Parameters
    ----------
    past
        Racks and plans, at least as far as the history that is fitted; what was announced later is not used.
    lower, upper
        Physical bounds of the whole, W.
    country
        For the calendar.
    horizon
        How far ahead it learns.
    """

    def __init__(
        self, past: RackPast, lower: float, upper: float, country: str | None, horizon: str = "48h"
    ) -> None:
        self._all = past
        self._lower, self._upper = lower, upper
        self._country = country
        self.split = Split((), 0.0)
        self.model = PowerForecaster(horizon, country=country)
        self._past = past

    def fit(self, history: pd.Series, covariates: pd.DataFrame | None = None) -> Self:
        """Learn from a history of the whole, quarter hours ending within the past's."""
        self._past = past = self._all.until(_end(history))
        if not past.aside:
            raise ForecastError("no rack with planned work is measured")
        whole = history.to_numpy(dtype=float)[-len(past.time) :]
        self.split = Split.learn(whole, past, past.aside)
        self.model.fit(self._rest(history))
        return self

    def resume(self, model: PowerForecaster, split: Split, history: pd.Series) -> Self:
        """Go on with a model of the rest that was fitted before; what has been measured since is taken in."""
        self._past = self._all.until(_end(history))
        self.split = split
        newer = self._rest(history)
        newer = newer[newer.index > model.series_.times(len(model.series_.raw) - 1, 1)[0]]
        self.model = model.update(newer) if len(newer) else model
        return self

    def predict(self, horizon: int, quantiles: Sequence[float] = QUANTILES) -> pd.DataFrame:
        """Forecast the quarter hours after the history; the booked racks as known at its end."""
        rest = self.model.predict(horizon, list(LEVELS))
        paths = self._past.paths(self.split.aside, horizon)
        booked = np.zeros((1, horizon)) if paths is None else (1 + self.split.follows) * paths.total()
        values = np.clip(summed(booked, rest.to_numpy(), quantiles), self._lower, self._upper)
        return pd.DataFrame(values, index=rest.index, columns=list(quantiles))

    def steps(self, horizon: int) -> tuple[TimeArray, ValueArray]:
        """Return the jumps of the whole that plans bring over the quarter hours ahead: times (UTC ms) and W."""
        past = self._past
        bookings = past.bookings.on_racks(np.isin(past.bookings.racks, self.split.aside))
        now = int(past.time[-1]) + QUARTER_MS
        habits = learn_habits(bookings, past.time, past.power)
        time, power = planned_steps(bookings, habits, now, now + horizon * QUARTER_MS)
        return time, (1 + self.split.follows) * power

    def _rest(self, history: pd.Series) -> pd.Series:
        past = self._past
        rest = self.split.rest(history.to_numpy(dtype=float)[-len(past.time) :], past)
        return pd.Series(rest, index=history.index[-len(past.time) :])


def booked_nodes(
    histories: Mapping[str, ValueArray], below: Mapping[str, Sequence[str]], past: RackPast, steps: int
) -> dict[str, ValueArray]:
    """Foretell booked racks, and the nodes above them.

    Parameters
    ----------
    histories
        Quarter hours of every node, W, over the times of `past`.
    below
        Ids of the racks under each node.
    past
        Racks and plans.
    steps
        Quarter hours ahead.

    Returns
    -------
    Quantiles (`QUANTILES`) by node, shape (steps, quantiles); nodes without booked racks are left out.
    """
    paths = past.paths(past.aside, steps)
    if paths is None:
        return {}
    names = [past.bookings.racks[i] for i in paths.racks]
    row = {name: i for i, name in enumerate(names)}
    told = {
        name: np.quantile(paths.factor[i] * paths.power[paths.group[i]], QUANTILES, axis=0).T
        for name, i in row.items()
    }
    for node, racks in below.items():
        mine = [rack for rack in racks if rack in row]
        if not mine or node not in histories or node in row:
            continue
        whole, booked = histories[node], past.total(mine)
        share = float(np.clip(_moves(whole, booked), 0.0, 1.0 + MOST_FOLLOWED))
        rest = whole - share * booked
        known = np.flatnonzero(~np.isnan(rest))
        if len(known) < 4:
            continue
        rest = np.interp(np.arange(known[0], len(rest)), known, rest[known])
        weight = np.bincount(
            [paths.group[row[rack]] for rack in mine],
            [paths.factor[row[rack]] for rack in mine],
            minlength=len(paths.power),
        )
        drawn = share * np.tensordot(weight, paths.power, axes=1)
        told[node] = summed(drawn, early_quantiles(rest, np.arange(steps), 96), QUANTILES)
    return told


def summed(paths: ValueArray, rest: ValueArray, quantiles: Sequence[float]) -> ValueArray:
    """Return quantiles of drawn paths plus a rest that is independent of them, shape (steps, quantiles).

    Parameters
    ----------
    paths
        Shape (paths, steps).
    rest
        Quantiles of the rest at `LEVELS`, shape (steps, levels).
    """
    count = max(len(paths), 1000)
    drawn = at_levels(rest, LEVELS, (np.arange(count) + 0.5) / count)
    mixed = np.random.default_rng(0).permuted(drawn, axis=1).T
    result: ValueArray = np.quantile(mixed + paths, np.asarray(quantiles), axis=0).T
    return result


def _moves(whole: ValueArray, part: ValueArray) -> float:
    """Return by how much a whole moves with a part, from the steps in which the part moves most; 1 where it never does."""
    n = min(len(whole), len(part))
    of_part, of_whole = np.diff(part[-n:]), np.diff(whole[-n:])
    usable = ~np.isnan(of_part) & ~np.isnan(of_whole)
    usable &= np.abs(of_part) > 0.02 * max(float(np.nanmean(np.abs(part))), 1.0) if usable.any() else usable
    if usable.sum() < 8:
        return 1.0
    x, y = of_part[usable], of_whole[usable]
    return float((x * y).sum() / (x * x).sum())


def _end(history: pd.Series) -> int:
    return int(history.index[-1].timestamp() * 1000) + QUARTER_MS
