"""Stored history for a command, from the running service or from the store itself where none runs."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import orjson

from domain.errors import HallwatchError
from domain.points import IntArray, Point, PointRegistry
from service.running import RunningService
from storage.points_json import point_from_json, point_to_json
from storage.telemetry import Aggregate, Grid, TelemetryStore


@dataclass(frozen=True, slots=True)
class StoredHistory:
    """History as this process's store has it."""

    registry: PointRegistry
    store: TelemetryStore

    def points(self, point_types: Sequence[str]) -> list[tuple[int, Point]]:
        """Return all points of these types with their indexes, setpoints left out."""
        found = (self.registry.select(None, name) for name in point_types)
        return [(int(i), self.registry[int(i)]) for indexes in found for i in indexes]

    def aggregate(self, points: IntArray, start: int, end: int, step: int, how: Aggregate) -> Grid:
        """Return one value per point and step (`TelemetryStore.aggregate`)."""
        return self.store.aggregate(points, start, end, step, how)


@dataclass(frozen=True, slots=True)
class ServedHistory:
    """History as the running service has it."""

    service: RunningService

    def points(self, point_types: Sequence[str]) -> list[tuple[int, Point]]:
        """Return all points of these types with their indexes, setpoints left out."""
        found = self.service.call("POST", "history/points", json={"types": list(point_types)}).json()
        return [(int(index), point_from_json(text)) for index, text in found]

    def aggregate(self, points: IntArray, start: int, end: int, step: int, how: Aggregate) -> Grid:
        """Return one value per point and step (`TelemetryStore.aggregate`)."""
        asked = {"points": points.tolist(), "start": start, "end": end, "step": step, "how": how}
        return unpack(self.service.call("POST", "history", json=asked).content)


def pack_points(points: Sequence[tuple[int, Point]]) -> bytes:
    """Return points with their indexes as JSON."""
    return orjson.dumps([(index, point_to_json(point)) for index, point in points])


def pack(grid: Grid) -> bytes:
    """Return a grid as bytes (NumPy's own format)."""
    file = io.BytesIO()
    np.savez(file, point=grid.point, start=grid.start, step=np.int64(grid.step), values=grid.values)
    return file.getvalue()


def unpack(data: bytes) -> Grid:
    """Read what `pack` wrote.

    Raises
    ------
    HallwatchError
        If it is something else.
    """
    try:
        with np.load(io.BytesIO(data), allow_pickle=False) as told:
            return Grid(told["point"], told["start"], int(told["step"]), told["values"])
    except (ValueError, KeyError, OSError) as error:
        raise HallwatchError(f"the service sent no history: {error}") from error
