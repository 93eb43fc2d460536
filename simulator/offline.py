"""Fast-forward: weeks of the factory as arrays, without wire, for scoring forecasts and detectors."""

from __future__ import annotations

import fnmatch
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from domain.dsx import DsxPoint
from domain.plant.model import PlantModel
from domain.points import QualityArray, TimeArray
from domain.site import Site
from simulator.bms import Bms
from simulator.factory import Factory, Xid
from simulator.faults import Catalogue, Fault
from simulator.nvml_values import GpuReadings
from simulator.traces import Traces

Values = NDArray[np.float32]
PlannedFault = tuple[str, str, int, float]
"""Name, target, onset (UTC ms), severity; as `simulator.faults.draw` gives them."""

PLANT = ("PowerMeter/ActivePower/*", "Rack/*", "CDU/*", "Chiller/*")
"""What is recorded if nothing else is asked for."""


@dataclass(frozen=True, slots=True, eq=False)
class Recording:
    """What the instruments told, at a regular pace.

    Parameters
    ----------
    times
        UTC ms, shape (T,).
    points
        What is recorded, length N.
    values
        Canonical units, NaN where an instrument told nothing, shape (T, N), float32.
    quality
        `domain.points.Quality`, shape (T, N).
    gpus
        Point type to values of all GPUs, shape (T, G); empty unless asked for.
    faults
        What went wrong: the truth that detectors are scored against.
    xids
        GPU errors that were reported.
    """

    times: TimeArray
    points: tuple[DsxPoint, ...]
    values: Values
    quality: QualityArray
    gpus: dict[str, Values]
    faults: tuple[Fault, ...]
    xids: tuple[Xid, ...]

    def column(self, object_id: str, point_type: str, area: str = "") -> Values:
        """Return the series of one point, shape (T,); `area` picks one of several by a part of its processArea.

        Raises
        ------
        KeyError
            If it was not recorded.
        """
        for i, point in enumerate(p.point for p in self.points):
            wanted = (point.object_id, point.point_type) == (object_id, point_type)
            if wanted and not point.setpoint and (not area or area in point.process_area):
                return self.values[:, i]
        raise KeyError(f"{object_id}/{point_type} {area}".rstrip())

    def matrix(self, point_type: str, object_type: str) -> tuple[list[str], Values]:
        """Return the ids of all objects with such a point, and their series, shape (T, objects)."""
        where = [
            i
            for i, p in enumerate(self.points)
            if (p.point.point_type, p.point.object_type) == (point_type, object_type) and not p.point.phase
        ]
        return [self.points[i].point.object_id for i in where], self.values[:, where]


def record(
    site: Site,
    seed: int,
    start_ms: int,
    duration_s: float,
    *,
    step_s: float = 10.0,
    every_s: float = 60.0,
    faults: Iterable[PlannedFault] = (),
    select: Sequence[str] = PLANT,
    gpu_fields: Sequence[str] = (),
    model: PlantModel | None = None,
    catalogue: Catalogue | None = None,
    roughness: int = 0,
    traces: Traces | None = None,
) -> Recording:
    """Run a factory as fast as it goes and return what was measured.

    Parameters
    ----------
    site, seed, start_ms, model, catalogue, roughness, traces
        Of the factory.
    duration_s
        How long, in its own time.
    step_s, every_s
        Length of a step of the physics, and from one recorded reading to the next.
    faults
        What goes wrong.
    select
        Patterns over ``objectType/pointType/tagPath`` of what is recorded.
    gpu_fields
        Point types of the GPUs that are recorded, such as ``GpuTemperature``.
    """
    factory = Factory(site, seed, start_ms, model, catalogue, roughness, traces=traces)
    raised = tuple(factory.raise_fault(name, target, onset, much) for name, target, onset, much in faults)
    bms = Bms(factory)
    gpu_readings = GpuReadings(factory)
    keys = bms.keys
    chosen = np.array([any(fnmatch.fnmatchcase(k, pattern) for pattern in select) for k in keys])
    where = np.flatnonzero(chosen)
    rows = int(duration_s // every_s) + 1
    steps = max(1, round(every_s / step_s))
    times = np.zeros(rows, np.int64)
    values = np.full((rows, len(where)), np.nan, np.float32)
    quality = np.zeros((rows, len(where)), np.uint8)
    gpus = {field: np.full((rows, factory.layout.gpus), np.nan, np.float32) for field in gpu_fields}
    xids: list[Xid] = []
    for row in range(rows):
        if row:
            for _ in range(steps):
                factory.step(every_s / steps)
        reading = bms.read()
        times[row] = factory.time_ms
        values[row] = (reading.value * bms.scale + bms.offset)[where]
        quality[row] = reading.quality[where]
        if gpus:
            columns = gpu_readings.told()
            for field, table in gpus.items():
                table[row] = columns[field]
        while factory.xids:
            xids.append(factory.xids.popleft())
    points = tuple(bms.points[i] for i in where)
    return Recording(times, points, values, quality, gpus, raised, tuple(xids))
