"""Where the running quarter hour of each node above the racks will end, from the last hour's power."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from analytics.outlook.excursions import QuarterOutlook, quarter_outlook
from analytics.points import results
from domain.batch import Batch
from domain.envelope import QUARTER_MS, quarter_start
from domain.points import ValueArray
from storage.plant import PlantView

FRESH_MS = 60_000
"""A reading older than this is not used: the outlook would explain the past."""
HOUR_MS = 3_600_000
MOST_LOOKS = 3600
"""Of the last hour at most so many moments are kept, whatever the interval of the looks."""


@dataclass(frozen=True, slots=True, eq=False)
class QuartersTold:
    """What one look said of the running quarter hours: when (UTC ms), of whom; present power and limit, W, shape (nodes,)."""

    at: int
    nodes: tuple[str, ...]
    outlooks: list[QuarterOutlook]
    present: ValueArray
    limits: ValueArray


class QuarterWatch:
    """Keeps the last hour's power of the nodes, one column per look.

    Parameters
    ----------
    plant
        Where readings come from.
    step_ms
        How far apart the looks are; the hour before the first one is read from the store at this step.
    planned
        By how much the site's mean power from one time to another (UTC ms) is planned to differ from now, W.
    """

    def __init__(
        self, plant: PlantView, step_ms: int, planned: Callable[[int, int], float] | None = None
    ) -> None:
        self._plant = plant
        self._step_ms = step_ms
        self._planned = planned
        self._nodes = [node for node in plant.envelope if node.kind != "Rack"]
        self._power: deque[tuple[int, ValueArray]] = deque(maxlen=MOST_LOOKS)
        self.told: QuartersTold | None = None
        """What the newest look said."""

    def look(self, now: int) -> Batch:
        """Return where each node's running quarter hour will end, and the risk that this is above its limit."""
        if not self._power:
            self._seed(now)
        present = [self._plant.power_now(node.id) for node in self._nodes]
        fresh = [r.value if r.observed > now - FRESH_MS else np.nan for r in present]
        self._power.append((now, np.array(fresh)))
        while self._power[0][0] < now - HOUR_MS:
            self._power.popleft()
        time = np.array([t for t, _ in self._power], np.int64)
        power = np.stack([p for _, p in self._power], axis=1)
        ends = quarter_start(now) + QUARTER_MS
        limits = [node.binding_limit(quarter_start(now), ends) for node in self._nodes]
        planned = {} if self._planned is None else {self._plant.site.id: self._planned(now, ends)}
        outlooks: list[QuarterOutlook] = [
            quarter_outlook(time, power[i], now + 1, limits[i], planned.get(node.id, 0.0))
            for i, node in enumerate(self._nodes)
        ]
        names = tuple(node.id for node in self._nodes)
        self.told = QuartersTold(now, names, outlooks, power[:, -1], np.array(limits))
        batches = []
        for point_type, values in (
            ("QuarterHourPower", [o.expected for o in outlooks]),
            ("QuarterHourBreachProbability", [o.breach_probability for o in outlooks]),
        ):
            for node, value in zip(self._nodes, values, strict=True):
                found = np.array([value])
                batches.append(results(self._plant.registry, node.kind, point_type, [node.id], found, now))
        return Batch.concat(batches)

    def _seed(self, now: int) -> None:
        """Take the last hour from the store, so that a restart does not make the outlook forget."""
        step = self._step_ms
        start = now - HOUR_MS
        grids = [self._plant.power_history(node.id, start, now, step) for node in self._nodes]
        for i, moment in enumerate(grids[0].start):
            if moment < now:
                self._power.append((int(moment), np.array([g.values[0, i] for g in grids])))
