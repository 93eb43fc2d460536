"""The largest ramps of the hour, which are scored apart from the level: a forecast may be good on average and blind to steps.

A cell's `lead` is the length of its window in seconds, not a lead time: all of them look one hour ahead.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from analytics.issuing.ramps import RampWatch
from analytics.outlook.ramps import HOUR
from analytics.scoring.due import Measured, Snapshots, unpacked
from analytics.scoring.score import Due
from domain.envelope import QUARTER_MS
from domain.forecast import Forecast
from domain.points import ValueArray
from storage.records import Records

LATE_MS = 300_000
"""The last quarter hour's ramps are read when the next forecast is issued."""
SIDES = ("ExpectedRise", "ExpectedFall")


class RampDue:
    """The largest rises, or falls, that were foretold for an hour."""

    unit, revised = "W", False
    delay = (HOUR - 1) * QUARTER_MS + LATE_MS

    def __init__(self, point_type: str, watch: RampWatch, records: Records) -> None:
        self.point_type = point_type
        self._watch = watch
        self._told = Snapshots(records, point_type)

    def measured(self, first: int, last: int) -> None:
        """Return nothing: what came lies in the book of ramps."""
        self._told.look(first, last)

    def due(self, interval: int, measured: Measured | None) -> tuple[Due, ValueArray] | None:
        """Return what was foretold for the hour that began with this quarter hour, and the largest that came."""
        kept = self._told.of(interval)
        if not kept:
            return None
        due = unpacked(kept[-1])
        seen, side = self._watch.largest(interval), SIDES.index(self.point_type)
        actual = [
            seen[name][window, side] if name in seen else np.nan
            for name, window in zip(due.objects.tolist(), _windows(due), strict=True)
        ]
        return due, np.array(actual)


def ramp_snapshots(forecasts: Mapping[str, Forecast], watch: RampWatch, cutoff: int) -> dict[str, Due]:
    """Return what newly issued forecasts say of ramps, with "as in the last hour", by side."""
    told = {name: f.ramps for name, f in forecasts.items() if f.ramps is not None}
    last = watch.largest(cutoff - HOUR * QUARTER_MS)
    found = {}
    for side, point_type in enumerate(SIDES):
        parts = []
        for name, ramps in told.items():
            n, levels = len(ramps.windows_s), np.array(ramps.quantiles)
            before = last[name][:, side] if name in last else np.full(n, np.nan)
            parts.append(
                Due(
                    np.full(n, name),
                    np.array(ramps.windows_s, np.int32),
                    levels,
                    (ramps.up, ramps.down)[side],
                    np.repeat(before[:, None], len(levels), axis=1),
                    np.full((n, len(levels)), np.nan),
                    np.full(n, np.nan),
                    np.full(n, np.nan),
                    np.full(n, np.nan),
                )
            )
        if parts:
            found[point_type] = Due.concat(parts)
    return found


def _windows(due: Due) -> list[int]:
    order = np.unique(due.lead)
    found: list[int] = np.searchsorted(order, due.lead).tolist()
    return found
