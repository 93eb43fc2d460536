"""Readings and rollups as InfluxDB line protocol, and InfluxQL answers as arrays.

Schema (docs/storage.md tells it to people): measurement = point type; tags ``key`` (the point's key),
``object_type`` and ``object_id``, so that there is exactly one series a point; fields ``value`` (float) and
``quality`` (integer) for raw readings, the columns of `Steps` for rollups.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from domain.batch import Batch
from domain.points import IntArray, Point, ValueArray
from storage.points_json import point_to_json
from storage.steps import Steps

STEP_FIELDS = ("minimum", "maximum", "mean", "last", "weighted")
_MEASUREMENT = str.maketrans({",": r"\,", " ": r"\ ", "\n": " ", "\r": " "})
_TAG = str.maketrans({",": r"\,", "=": r"\=", " ": r"\ ", "\n": " ", "\r": " "})


def prefix(point: Point) -> str:
    """Return the beginning of each line of a point: measurement, tags, and the space before the fields."""
    tags = (("key", point.key), ("object_id", point.object_id), ("object_type", point.object_type))
    # a trailing backslash would escape what follows the tag
    told = ",".join(f"{k}={v.translate(_TAG).rstrip(chr(92))}" for k, v in tags if v)
    return f"{point.point_type.translate(_MEASUREMENT)},{told} "


def reading_lines(batch: Batch, prefixes: list[str]) -> list[str]:
    """Return one line a reading; `prefixes` by point index."""
    rows = zip(
        batch.point.tolist(),
        batch.observed.tolist(),
        batch.value.tolist(),
        batch.quality.tolist(),
        strict=True,
    )
    return [f"{prefixes[p]}value={v!r},quality={q}i {t}" for p, t, v, q in rows]


def step_lines(steps: Steps, prefixes: list[str]) -> list[str]:
    """Return one line a rollup; what is missing has no field."""
    columns = [getattr(steps, name).tolist() for name in STEP_FIELDS]
    lines = []
    for row, (p, t, held, count) in enumerate(
        zip(
            steps.point.tolist(), steps.start.tolist(), steps.held.tolist(), steps.count.tolist(), strict=True
        )
    ):
        told = "".join(
            f"{name}={v!r}," for name, c in zip(STEP_FIELDS, columns, strict=True) if (v := c[row]) == v
        )
        lines.append(f"{prefixes[p]}{told}held={held}i,count={count}i {t}")
    return lines


def definition_line(index: int, point: Point) -> str:
    """Return the line that keeps a point's metadata; it has one time for ever, so that the newest replaces it."""
    key = point.key.translate(_TAG).rstrip(chr(92))
    text = point_to_json(point).replace(chr(92), chr(92) * 2).replace('"', chr(92) + '"')
    return f'hallwatch_point,key={key} definition="{text}",index={index}i 0'


def quoted(text: str) -> str:
    """Return an InfluxQL string."""
    escaped = text.replace(chr(92), chr(92) * 2).replace("'", chr(92) + "'")
    return f"'{escaped}'"


def identifier(text: str) -> str:
    """Return an InfluxQL identifier."""
    escaped = text.replace(chr(92), chr(92) * 2).replace('"', chr(92) + '"')
    return f'"{escaped}"'


def columns_of(
    series: Iterable[tuple[int, NDArray[np.float64] | list[list[Any]]]], width: int
) -> tuple[IntArray, list[ValueArray]]:
    """Return point indexes and the columns of series of rows (time first), in the order given; None is NaN."""
    points: list[np.ndarray[Any, Any]] = []
    parts: list[np.ndarray[Any, Any]] = []
    for index, rows in series:
        points.append(np.full(len(rows), index, np.int32))
        parts.append(np.asarray(rows, dtype=np.float64))
    if not parts:
        return np.empty(0, np.int32), [np.empty(0)] * width
    return np.concatenate(points), list(np.concatenate(parts).T)
