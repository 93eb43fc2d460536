"""Combining the members per lead time by how they did lately, and correcting the result by its own errors.

Weights: softmax of each member's recent pinball loss relative to the best one's, per bucket of leads (the
exponentially weighted average of Vovk 1990, with older losses forgotten). Correction: the conformal shift of
each quantile, that is the same quantile of its recent errors per bucket (Romano et al. 2019, Conformalized
Quantile Regression, here for every level relative to the median), taken in part because errors of few origins
are noisy. It is told apart by how wide the forecast is: narrow ones (a server at rest) tend to be too narrow, wide
ones too wide. Then all is widened by a little, and the spread follows what the 90 % interval has held of the last
weeks: split conformal prediction with normalised errors (Lei et al. 2018), recent ones weighted (Barber et al. 2023,
Conformal prediction beyond exchangeability). That is two factors for all leads, one of narrow and one of wide forecasts:
so few that they can follow fast without being noise.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from analytics.forecast.levels import INNER_90, LEVELS, MEDIAN, pinball

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

BUCKET_DAYS: Floats = np.array([0.0, 1 / 24, 0.125, 0.25, 0.5, 1.0, 1.5, 2.0, 3.0, 5.0, np.inf])
"""Edges of the lead buckets, days."""

SHARPNESS = 30.0
"""How hard a member that loses by a given share is punished."""

HALF_LIFE = 0.5
"""After this share of the calibration span an error counts half."""

SHIFT_SHARE = 0.4
"""Share of the conformal shift that is applied."""

WIDTH_CLASSES = 5
FEWEST_IN_CLASS = 40
"""Errors are sorted by the width of their forecast into so many classes, if each gets so many."""

NARROWEST = 1e-9
"""Width that counts as none, in units of the scaled target."""

STRETCH_DAYS = 5.0
"""The spread is widened around the median by this many days over the days of history: what was learnt from a few
weeks has not seen much."""

STRETCH_NEAR, STRETCH_FAR = 0.95, 1.1
"""Factors of the spread at once and two days ahead, in between with the square root of the lead: the trial models,
fitted on less, err more than the others nearby, and farther ahead the future drifts more than the record did."""

FOLLOWED = 0.91
"""Share that the 90 % interval should hold of the last weeks: a little more, since weights and shifts were learnt on
the same errors."""

FOLLOW_SHARE = 0.7
"""Power of the factor by which the last weeks ask to widen or narrow that is applied. Half of it where all errors
are those of trial models, which were fitted on less: they say less of the members in use."""

FOLLOW_DAYS = 7.0
"""Days after which an error counts half in it: a season or a new way of working is followed within weeks."""

FOLLOW_LEAST, FOLLOW_MOST = 0.75, 1.8
"""Bounds of what is asked. Values that seldom move cannot be held less often by narrowing."""

FEWEST_TO_FOLLOW = 100
"""Errors, of all leads, that a factor needs."""


@dataclass(frozen=True, slots=True)
class Record:
    """What the members said at past origins, and what came.

    Attributes
    ----------
    origins : int array, shape (n,)
        Positions, ascending.
    actual : array, shape (n, leads)
        Scaled target; NaN where unmeasured or not known yet.
    forecasts : array, shape (members, n, leads, levels)
    """

    origins: Ints
    actual: Floats
    forecasts: Floats

    def followed_by(self, newer: Record, keep: int) -> Record:
        """Append a newer record, keeping the ``keep`` newest origins."""
        return Record(
            np.concatenate([self.origins, newer.origins])[-keep:],
            np.concatenate([self.actual, newer.actual])[-keep:],
            np.concatenate([self.forecasts, newer.forecasts], axis=1)[:, -keep:],
        )


@dataclass(frozen=True, slots=True)
class Combination:
    """Weights and shifts per lead bucket.

    Attributes
    ----------
    weights : array, shape (buckets, members)
        Each row sums to 1.
    shift : array, shape (buckets, classes, levels)
        Added to the combined quantiles, in units of the scaled target.
    width : array, shape (buckets, classes)
        Logarithm of the width of the 90 % interval that each shift was learnt at, ascending along a row.
    stretch : array, shape (classes,)
        Factor of the spread around the median, for all leads: for the length of the history, and for what the
        90 % interval has lately held.
    """

    weights: Floats
    shift: Floats
    width: Floats
    stretch: Floats

    def apply(self, forecasts: Floats, leads: Ints, day: int) -> Floats:
        """Combine member quantiles of shape (members, ..., leads, levels) into (..., leads, levels), ascending."""
        return self.placed(forecasts, leads, day)[0]

    def placed(self, forecasts: Floats, leads: Ints, day: int) -> tuple[Floats, Floats]:
        """Combine, and tell where each forecast lies among the classes by width, from 0; shape (..., leads)."""
        bucket = bucket_of(leads, day)
        mixed = np.einsum("lm,m...lq->...lq", self.weights[bucket], forecasts)
        width, wide = self.width[bucket], log_width(mixed)
        above = np.clip((width < wide[..., None]).sum(axis=-1), 1, WIDTH_CLASSES - 1)
        low, high = (width[np.arange(len(bucket)), edge] for edge in (above - 1, above))
        share = np.clip((wide - low) / np.maximum(high - low, NARROWEST), 0.0, 1.0)
        place: Floats = above - 1 + share
        part = share[..., None]
        shift = self.shift[bucket, above - 1] * (1 - part) + self.shift[bucket, above] * part
        shifted = np.sort(mixed + shift, axis=-1)
        ahead = np.sqrt(np.minimum((leads + 0.5) / (2 * day), 1.0))
        stretch = np.interp(place, np.arange(WIDTH_CLASSES), self.stretch)
        stretch *= STRETCH_NEAR + (STRETCH_FAR - STRETCH_NEAR) * ahead
        median = shifted[..., [MEDIAN]]
        return median + stretch[..., None] * (shifted - median), place


def log_width(quantiles: Floats) -> Floats:
    """Logarithm of the width of the 90 % interval."""
    low, high = INNER_90
    width: Floats = np.log(np.maximum(quantiles[..., high] - quantiles[..., low], NARROWEST))
    return width


def bucket_of(leads: Ints, day: int) -> Ints:
    """Bucket of each lead."""
    ahead = (leads + 0.5) / day
    return np.searchsorted(BUCKET_DAYS, ahead, side="right").astype(np.int64) - 1


def _weighted_quantiles(errors: Floats, weights: Floats) -> Floats:
    """Quantile of column j of the errors at level j, each error with its weight; shape (levels,)."""
    order = np.argsort(errors, axis=0)
    total = np.cumsum(weights[order], axis=0)
    place = (total - 0.5 * weights[order]) / total[-1]
    ascending = np.take_along_axis(errors, order, axis=0)
    return np.array([np.interp(level, place[:, j], ascending[:, j]) for j, level in enumerate(LEVELS)])


def combine(record: Record, leads: Ints, day: int, prior: Floats, history_days: float) -> Combination:
    """Weights and shifts from a record.

    Parameters
    ----------
    record : Record
    leads : int array
        Of the record.
    day : int
        Steps in a day.
    prior : array, shape (members,)
        Weights where the record says nothing.
    history_days : float
        Length of the history that was learnt from.
    """
    stretch = np.full(WIDTH_CLASSES, 1.0 + STRETCH_DAYS / history_days)
    buckets = len(BUCKET_DAYS) - 1
    count = len(record.origins)
    weights = np.tile(prior / prior.sum(), (buckets, 1))
    shift = np.zeros((buckets, WIDTH_CLASSES, len(LEVELS)))
    width = np.zeros((buckets, WIDTH_CLASSES))
    if not count:
        return Combination(weights, shift, width, stretch)
    recency = 0.5 ** (np.arange(count)[::-1] / count / HALF_LIFE)
    loss = pinball(record.actual[None], record.forecasts).mean(axis=-1)
    bucket = bucket_of(leads, day)
    for k in range(buckets):
        within = bucket == k
        actual = record.actual[:, within]
        known = ~np.isnan(actual)
        if known.sum() < 20:
            if k > 0:
                weights[k], shift[k], width[k] = weights[k - 1], shift[k - 1], width[k - 1]
            continue
        row_weight = np.broadcast_to(recency[:, None], actual.shape)[known]
        member_loss = (loss[:, :, within][:, known] * row_weight).sum(axis=1)
        best = member_loss.min()
        relative = member_loss / best - 1 if best > 0 else (member_loss > 0).astype(float)
        weight = prior * np.exp(-SHARPNESS * relative)
        weights[k] = weight / weight.sum()
        mixed = np.einsum("m,mnlq->nlq", weights[k], record.forecasts[:, :, within])
        shift[k], width[k] = _corrections(actual[known], mixed[known], row_weight)
    plain = Combination(weights, shift, width, stretch)
    return replace(plain, stretch=stretch * _followed(record, plain, leads, day, history_days * day))


def _followed(record: Record, plain: Combination, leads: Ints, day: int, trained: float) -> Floats:
    """Factor of the spread, by class, with which the 90 % interval would have held its share of the last weeks."""
    known = ~np.isnan(record.actual)
    if known.sum() < FEWEST_TO_FOLLOW:
        return np.ones(WIDTH_CLASSES)
    said, place = plain.placed(record.forecasts, leads, day)
    low, middle, high = (said[..., level][known] for level in (INNER_90[0], MEDIAN, INNER_90[1]))
    error = record.actual[known] - middle
    reach = np.abs(error) / np.maximum(np.where(error > 0, high - middle, middle - low), NARROWEST)
    age = (record.origins[-1] - record.origins) / day
    # Leads are dense where the future is near: each stands for the steps since the one before.
    weight = (0.5 ** (age / FOLLOW_DAYS)[:, None] * np.diff(leads, prepend=-1))[known]
    centre = (WIDTH_CLASSES - 1) / 2
    own = np.broadcast_to((record.origins >= trained)[:, None], known.shape)[known]
    power = FOLLOW_SHARE * (1 + weight[own].sum() / weight.sum()) / 2
    factors = []
    for half in (place[known] <= centre, place[known] >= centre):
        part = half if half.sum() >= FEWEST_TO_FOLLOW else np.ones_like(half)
        order = np.argsort(reach[part])
        held = np.cumsum(weight[part][order])
        asked = reach[part][order][np.searchsorted(held, FOLLOWED * held[-1])]
        factors.append(power * np.log(np.clip(asked, FOLLOW_LEAST, FOLLOW_MOST)))
    followed: Floats = np.exp(np.interp(np.arange(WIDTH_CLASSES), [centre - 1, centre + 1], factors))
    return followed


def _corrections(actual: Floats, forecast: Floats, weight: Floats) -> tuple[Floats, Floats]:
    """Shift and width of each class of one bucket, from values of shape (n,) and forecasts (n, levels)."""
    shift, width = np.empty((WIDTH_CLASSES, len(LEVELS))), np.empty(WIDTH_CLASSES)
    wide = log_width(forecast)
    classes = int(np.clip(len(actual) // FEWEST_IN_CLASS, 1, WIDTH_CLASSES))
    parts = np.array_split(np.argsort(wide, kind="stable"), classes)
    for j in range(WIDTH_CLASSES):
        part = parts[j * classes // WIDTH_CLASSES]
        wanted = _weighted_quantiles(actual[part][:, None] - forecast[part], weight[part])
        # The median stays: what it was off by lately is mostly the chance of few origins.
        shift[j] = SHIFT_SHARE * (wanted - wanted[MEDIAN])
        width[j] = np.median(wide[part])
    return shift, width
