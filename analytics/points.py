"""Points of our own that carry what the analytics work out."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from domain.batch import Batch
from domain.catalogue import POINT_TYPES
from domain.points import OURS, Point, PointRegistry, Quality, ValueArray

SOURCE = OURS


def worked_out(object_type: str, point_type: str, object_id: str, unit: str) -> Point:
    """Return the point for one result on one plant object."""
    return Point(
        key=f"{object_type}/{point_type}/hallwatch/{object_id}",
        object_type=object_type,
        point_type=point_type,
        object_id=object_id,
        object_name=object_id,
        unit=unit,
        source=SOURCE,
    )


def results(
    registry: PointRegistry,
    object_type: str,
    point_type: str,
    objects: Sequence[str],
    value: ValueArray,
    now: int,
) -> Batch:
    """Return results as readings taken at `now`, UTC ms; `value` has one for each object, NaN where there is none."""
    unit = POINT_TYPES[point_type].unit
    index = [registry.register(worked_out(object_type, point_type, name, unit)) for name in objects]
    known = ~np.isnan(value)
    return Batch.of(np.array(index, np.int32)[known], now, value[known], Quality.GOOD, now)
