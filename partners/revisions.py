"""Whether a new forecast says something else than the one before."""

from __future__ import annotations

from typing import Any

import numpy as np

from domain.forecast import Forecast
from partners.forecasts import iso

HORIZON = 24
"""Intervals that are compared: six hours, on which partners act."""
LIKELY = 0.5


def revision(new: Forecast, old: Forecast | None) -> dict[str, Any] | None:
    """Return what changed materially since the forecast before, or None where nothing did.

    Material is, within six hours: a median outside the 90 % interval that was told, a breach that became likely (50 %) or is no
    longer, or another limit.
    """
    if old is None:
        return None
    same, i, j = np.intersect1d(new.start[:HORIZON], old.start, return_indices=True)
    if not len(same):
        return None
    median = new.quantile(0.5)[i]
    change = median - old.quantile(0.5)[j]
    low, high = old.values[j, 0], old.values[j, -1]
    likely = (np.nan_to_num(f.breach_probability[k]) >= LIKELY for f, k in ((new, i), (old, j)))
    reasons = {
        "median": bool(((median < low) | (median > high)).any()),
        "breach": bool(np.not_equal(*likely).any()),
        "limit": not np.array_equal(new.limit[i], old.limit[j], equal_nan=True),
    }
    if not any(reasons.values()):
        return None
    most = int(np.argmax(np.abs(change)))
    return {
        "reasons": [name for name, found in reasons.items() if found],
        "largest_change": round(float(change[most]), 1),
        "at": iso(int(same[most])),
        "previous_issue_time": iso(old.issued),
    }
