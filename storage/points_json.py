"""A point's metadata as JSON, the way the stores and the spool keep it."""

from __future__ import annotations

from dataclasses import fields
from typing import Any

import orjson

from domain.errors import InputError
from domain.points import Point

_DEFAULTS = {f.name: f.default for f in fields(Point)}
_TEXTS = [f.name for f in fields(Point) if f.type in ("str", str)]


def point_to_json(point: Point) -> str:
    """Return what differs from the defaults, as JSON."""
    told = {n: v for n in _DEFAULTS if (v := getattr(point, n)) != _DEFAULTS[n]}
    return orjson.dumps(told).decode()


def point_from_json(text: str | bytes) -> Point:
    """Read what `point_to_json` wrote.

    Raises
    ------
    InputError
        If it is something else.
    """
    try:
        told = orjson.loads(text)
    except orjson.JSONDecodeError as e:
        raise InputError(f"not the JSON of a point: {e}") from None
    if not isinstance(told, dict):
        raise InputError("not a point: not a JSON object")
    try:
        for name in ("serves", "process_area"):
            if name in told:
                told[name] = tuple(map(str, _list(told, name)))
        if "state_text" in told:
            told["state_text"] = tuple((int(k), str(v)) for k, v in _list(told, "state_text"))
        point = Point(**told)
    except (TypeError, ValueError, OverflowError) as e:
        raise InputError(f"not a point: {str(e)[:300]}") from None
    for name in _TEXTS:
        if not isinstance(getattr(point, name), str):
            raise InputError(f"not a point: {name} is no text")
    if not all(isinstance(t, int) and 0 <= t < 1 << 53 for t in (point.since, point.until)):
        raise InputError("not a point: since and until are times in ms")
    if not isinstance(point.setpoint, bool) or not point.key or not point.object_type or not point.point_type:
        raise InputError(
            "not a point: key, object_type or point_type is missing, or setpoint is not true or false"
        )
    return point


def _list(told: dict[str, Any], name: str) -> list[Any]:
    found = told[name]
    if not isinstance(found, list):
        raise ValueError(f"{name} is no list")
    return found
