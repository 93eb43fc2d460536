"""Quarter hours of every node of the envelope, as they were measured."""

from __future__ import annotations

import numpy as np

from domain.envelope import QUARTER_MS
from domain.points import ValueArray
from storage.plant import PlantView
from storage.telemetry import Aggregate


def node_histories(plant: PlantView, start: int, end: int) -> dict[str, ValueArray]:
    """Return the mean power of each quarter hour in [start, end) of every node that is measured, W, NaN where missing."""
    points = {node.id: plant.power_points(node.id) for node in plant.envelope}
    every = np.unique(np.concatenate(list(points.values())))
    grid = plant.store.aggregate(every, start, end, QUARTER_MS, Aggregate.TIME_WEIGHTED)
    row = {int(p): i for i, p in enumerate(grid.point)}
    histories = {
        name: grid.values[[row[int(p)] for p in members]].sum(axis=0)
        for name, members in points.items()
        if len(members) and all(int(p) in row for p in members)
    }
    # what a tag told while it was another node's is that node's
    return histories | {
        name: plant.power_history(name, start, end, QUARTER_MS).values[0]
        for name in points
        if plant.former_power(name, start)
    }
