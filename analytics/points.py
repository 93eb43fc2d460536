"""Points of our own that carry what the analytics work out."""

from __future__ import annotations

from domain.points import Point

SOURCE = "hallwatch:analytics"


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
