"""Readings for a person or a script: the one function behind `hallwatch query`, run here or in the running service."""

from __future__ import annotations

from typing import Any

import numpy as np

from domain.errors import InputError
from domain.points import Point, PointRegistry
from storage.telemetry import Aggregate, TelemetryStore

MOST_POINTS = 500
"""A query that matches more points than this is refused: it is a mistyped glob, or a job for export."""


def run_query(
    registry: PointRegistry,
    store: TelemetryStore,
    pattern: str,
    start: int,
    end: int,
    every: int | None = None,
    how: Aggregate = Aggregate.TIME_WEIGHTED,
) -> list[dict[str, Any]]:
    """Return the readings of all points that `pattern` names, one entry a point.

    Parameters
    ----------
    pattern
        A point's key, a glob over keys, or ``objectId/pointType`` (globs allowed).
    start, end
        UTC ms, [start, end).
    every, how
        With `every` (ms): one value a step, as `how` says; without: raw readings.

    Returns
    -------
    For each point its key, names, unit, and columns: ``time`` (UTC ms), ``value`` (canonical unit, None where a step
    has none), and for raw readings ``quality`` (and ``state`` texts of states).

    Raises
    ------
    InputError
        If nothing or too much matches, or the range is empty.
    """
    if end <= start:
        raise InputError("the range is empty: --until must come after --since")
    points = registry.match(pattern)
    if len(points) == 0:
        raise InputError(
            f"no point matches {pattern!r}; write objectId/pointType, such as 'R001/RackPower', or a glob such as "
            "'R00?/*'"
        )
    if len(points) > MOST_POINTS:
        raise InputError(f"{pattern!r} matches {len(points)} points; narrow it to at most {MOST_POINTS}")
    if every is None:
        batch = store.read(points, start, end)
        entries = []
        for index in points:
            rows = batch.point == index
            point = registry[int(index)]
            entry = _about(point)
            entry["time"] = batch.observed[rows].tolist()
            entry["value"] = batch.value[rows].tolist()
            entry["quality"] = batch.quality[rows].tolist()
            if point.is_state:
                entry["state"] = [point.state_label(v) for v in entry["value"]]
            entries.append(entry)
        return entries
    grid = store.aggregate(points, start, end, every, how)
    row = {int(p): i for i, p in enumerate(grid.point)}
    entries = []
    for index in points:
        entry = _about(registry[int(index)])
        values = grid.values[row[int(index)]] if int(index) in row else np.full(len(grid.start), np.nan)
        entry["time"] = grid.start.tolist()
        entry["value"] = [None if np.isnan(v) else float(v) for v in values]
        entries.append(entry)
    return entries


def _about(point: Point) -> dict[str, Any]:
    return {
        "key": point.key,
        "objectType": point.object_type,
        "pointType": point.point_type,
        "objectId": point.object_id,
        "objectName": point.object_name,
        "unit": point.unit,
        "source": point.source,
        "servesId": list(point.serves),
    }
