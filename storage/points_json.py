"""A point's metadata as JSON, the way the stores and the spool keep it."""

from __future__ import annotations

from dataclasses import fields

import orjson

from domain.points import Point

_DEFAULTS = {f.name: f.default for f in fields(Point)}


def point_to_json(point: Point) -> str:
    """Return what differs from the defaults, as JSON."""
    told = {n: v for n in _DEFAULTS if (v := getattr(point, n)) != _DEFAULTS[n]}
    return orjson.dumps(told).decode()


def point_from_json(text: str | bytes) -> Point:
    """Read what `point_to_json` wrote."""
    told = orjson.loads(text)
    for name in ("serves", "process_area"):
        if name in told:
            told[name] = tuple(told[name])
    if "state_text" in told:
        told["state_text"] = tuple((int(k), str(v)) for k, v in told["state_text"])
    return Point(**told)
