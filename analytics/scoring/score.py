"""Scores of forecasts against what came: arrays in, sums out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from domain.points import ValueArray
from domain.scores import CHANCE_EDGES, COLUMN, STATISTICS, Leads, Objects, ScoreSlot

FEWEST_ERRORS = 8
"""Past errors without which a simple rule has no quantiles."""
DAY_STEPS = 96
NOTHING = np.inf
"""Among the values that were scored against: of this cell nothing had been foretold for that interval."""
_FIRST_BIN = {kind: COLUMN[f"{kind}_0"] for kind in ("chances", "foretold", "happened")}


@dataclass(frozen=True, slots=True, eq=False)
class Due:
    """Forecasts whose time has come, one cell each (c), with what two simple rules would have said.

    Parameters
    ----------
    objects, lead
        As of `ScoreSlot`, shape (c,).
    levels
        Of the quantiles, ascending, shape (q,); 0.05 and 0.95 among them.
    values, persistence, naive
        Quantiles, shape (c, q); NaN where a rule had nothing to go by.
    limit, breach
        The limit (NaN for none) and the foretold probability to pass it, shape (c,).
    before
        1 where the newest known value was above the limit, else 0; NaN where unknown; shape (c,).
    """

    objects: Objects
    lead: Leads
    levels: ValueArray
    values: ValueArray
    persistence: ValueArray
    naive: ValueArray
    limit: ValueArray
    breach: ValueArray
    before: ValueArray

    @classmethod
    def concat(cls, parts: Sequence[Due]) -> Due:
        """Return the cells of several, all of the same levels."""
        first = parts[0]
        joined = {
            name: np.concatenate([getattr(part, name) for part in parts])
            for name in cls.__dataclass_fields__
            if name != "levels"
        }
        return replace(first, **joined)


def score(due: Due, actual: ValueArray) -> ValueArray:
    """Return the sums that each cell adds, shape (c, len(STATISTICS)); what has no actual value (NaN) is only counted."""
    sums = np.zeros((len(due.lead), len(STATISTICS)))

    def put(name: str, value: ValueArray, where: np.ndarray[tuple[int], np.dtype[np.bool_]]) -> None:
        sums[where, COLUMN[name]] = value[where]

    told = ~np.isnan(due.values).any(axis=1)
    known = told & ~np.isnan(actual)
    ones = np.ones(len(actual))
    low, high = (due.values[:, int(np.argmin(np.abs(due.levels - q)))] for q in (0.05, 0.95))
    error = due.values[:, int(np.argmin(np.abs(due.levels - 0.5)))] - actual
    ours = _pinball(actual, due.values, due.levels)
    put("scored", ones, known)
    put("missing", ones, told & np.isnan(actual))
    put("below", ones, known & (actual < low))
    put("above", ones, known & (actual > high))
    put("error", error, known)
    put("absolute", np.abs(error), known)
    put("width", high - low, known)
    put("pinball", ours, known)
    for name, quantiles in (("persistence", due.persistence), ("naive", due.naive)):
        theirs = _pinball(actual, quantiles, due.levels)
        both = known & ~np.isnan(theirs)
        put(name, theirs, both)
        put(f"beside_{name}", ours, both)
    limited = known & ~np.isnan(due.limit) & ~np.isnan(due.breach)
    happened = (actual > due.limit).astype(float)
    squared = (due.breach - happened) ** 2
    put("limited", ones, limited)
    put("breaches", happened, limited)
    put("brier", squared, limited)
    remembered = limited & ~np.isnan(due.before)
    put("brier_before", (due.before - happened) ** 2, remembered)
    put("brier_beside", squared, remembered)
    rows = np.flatnonzero(limited)
    column = np.searchsorted(CHANCE_EDGES, due.breach[rows], side="right")
    for kind, value in (("chances", ones), ("foretold", due.breach), ("happened", happened)):
        sums[rows, _FIRST_BIN[kind] + column] = value[rows]
    return sums


def _pinball(actual: ValueArray, quantiles: ValueArray, levels: ValueArray) -> ValueArray:
    """Return the pinball loss of each row, the mean over the levels; NaN where anything is missing."""
    error = actual[:, None] - quantiles
    loss: ValueArray = np.maximum(levels * error, (levels - 1) * error).mean(axis=1)
    return loss


def empty_slot(point_type: str, unit: str, start: int) -> ScoreSlot:
    """Return a slot in which nothing has been scored yet."""
    none = np.zeros((0, len(STATISTICS)))
    return ScoreSlot(
        point_type, unit, start, np.zeros(0, "<U1"), np.zeros(0, np.int32), none, np.zeros(0, np.int64),
        np.zeros((0, 0)),
    )  # fmt: skip


def added(slot: ScoreSlot, interval: int, due: Due, actual: ValueArray) -> ScoreSlot:
    """Return a slot with one more interval scored, or scored again: then its cells count as revised."""
    slot, place = _with_cells(slot, due)
    row = np.full(len(slot.lead), NOTHING)
    row[place] = actual
    fresh, sums = score(due, actual), slot.sums.copy()
    again = np.flatnonzero(slot.interval == interval)
    if len(again) == 0:
        order = np.argsort(times := np.append(slot.interval, interval), kind="stable")
        table = np.vstack([slot.actual, row])
        sums[place] += fresh
        return replace(slot, sums=sums, interval=times[order], actual=table[order])
    table = slot.actual.copy()
    before = table[again[0], place]
    changed = differs(before, actual)
    sums[place] += np.where(changed[:, None], fresh - score(due, before), 0.0)
    sums[place[changed], COLUMN["revised"]] += 1
    table[again[0], place] = np.where(changed, actual, before)
    return replace(slot, sums=sums, actual=table)


def differs(before: ValueArray, now: ValueArray) -> np.ndarray[tuple[int], np.dtype[np.bool_]]:
    """Return where a measured value has become another, or has come at all; one that has gone changes nothing."""
    with np.errstate(invalid="ignore"):
        moved = np.abs(now - before) > 1e-3 * np.maximum(np.abs(now), np.abs(before))
    found: np.ndarray[tuple[int], np.dtype[np.bool_]] = np.asarray(
        ~np.isnan(now) & (before != NOTHING) & (np.isnan(before) | moved)
    )
    return found


def _with_cells(slot: ScoreSlot, due: Due) -> tuple[ScoreSlot, np.ndarray[tuple[int], np.dtype[np.int64]]]:
    """Return the slot with a row for each cell that is due, and which row is whose."""
    row_of = {key: i for i, key in enumerate(zip(slot.objects.tolist(), slot.lead.tolist(), strict=True))}
    keys = list(zip(due.objects.tolist(), due.lead.tolist(), strict=True))
    fresh = [key for key in dict.fromkeys(keys) if key not in row_of]
    if fresh:
        row_of |= {key: len(row_of) + i for i, key in enumerate(fresh)}
        slot = replace(
            slot,
            objects=np.array([*slot.objects.tolist(), *(o for o, _ in fresh)]),
            lead=np.append(slot.lead, np.array([lead for _, lead in fresh], np.int32)),
            sums=np.vstack([slot.sums, np.zeros((len(fresh), len(STATISTICS)))]),
            actual=np.hstack([slot.actual, np.full((len(slot.interval), len(fresh)), NOTHING)]),
        )
    return slot, np.array([row_of[key] for key in keys], np.int64)


# --- the simple rules that a forecast has to beat, with the quantiles of their own past errors ---------------------


def last_value(history: ValueArray, steps: int, levels: ValueArray) -> ValueArray:
    """Return what "as now" says `steps` after the end of each row, shape (rows, q); NaN throughout a row without errors."""
    return _around(history[:, -1], history[:, steps:] - history[:, :-steps], levels)


def last_day(history: ValueArray, steps: int, levels: ValueArray) -> ValueArray:
    """Return what "as a day before" (or two, where a day before is not known yet) says, for quarter hours."""
    lag = -(-steps // DAY_STEPS) * DAY_STEPS
    if history.shape[1] <= lag:
        return np.full((len(history), len(levels)), np.nan)
    return _around(history[:, steps - lag - 1], history[:, lag:] - history[:, :-lag], levels)


def _around(point: ValueArray, errors: ValueArray, levels: ValueArray) -> ValueArray:
    if errors.shape[1] < FEWEST_ERRORS:
        return np.full((len(point), len(levels)), np.nan)
    spread = np.quantile(errors, levels, axis=1).T
    middle = int(np.argmin(np.abs(levels - 0.5)))
    centred: ValueArray = point[:, None] + spread - spread[:, [middle]]
    return centred


def held(table: ValueArray) -> ValueArray:
    """Return rows with gaps filled with the value before them, or the first one; a row without any value stays NaN."""
    columns = np.arange(table.shape[1])
    known = ~np.isnan(table)
    last = np.maximum.accumulate(np.where(known, columns, -1), axis=1)
    first = np.argmax(known, axis=1)[:, None]
    filled: ValueArray = np.take_along_axis(table, np.where(last < 0, first, last), axis=1)
    return filled
