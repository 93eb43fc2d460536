"""How long racks would last if their coolant stopped, or a CDU tripped, now: time to the first temperature limit.

The physics of the plant (`domain.plant`) from what is measured, as in what-if; the pods' loops do not meet, so that one
run answers for the same CDU of every pod.
"""

from __future__ import annotations

import numpy as np

from analytics.outlook.whatif import HORIZON_S, Present, WhatIf
from analytics.points import results
from domain.batch import Batch
from domain.errors import InputError
from domain.points import ValueArray
from storage.plant import PlantView

FRESH_MS = 150_000
"""A reading older than this is not used."""


class ReserveWatch:
    """Works out how long racks would last.

    A site whose power path is not described to the last busway cannot be simulated: then nothing is told.

    Parameters
    ----------
    plant
        Where readings come from.
    """

    def __init__(self, plant: PlantView) -> None:
        self._plant = plant
        try:
            self._physics: WhatIf | None = WhatIf(plant.site)
        except InputError:
            self._physics = None

    def look(self, now: int) -> Batch:
        """Return the seconds that each rack lasts without flow, and each pod if one of its CDUs trips; at most an hour."""
        plant, site = self._plant, self._plant.site
        present = Present.of(plant, now - FRESH_MS)
        if self._physics is None or np.isnan(present.power).all():
            return Batch.of([], now, [], received=now)
        alone = self._physics.time_to_limit(present, without_flow=True)
        tripped = dict(zip(site.cdus, self._tripped(self._physics, present), strict=True))
        return Batch.concat(
            [
                results(
                    plant.registry,
                    kind,
                    point_type,
                    ids,
                    np.minimum(np.asarray(seconds, float), HORIZON_S),
                    now,
                )
                for kind, point_type, ids, seconds in (
                    ("Rack", "TimeToLimitWithoutFlow", site.racks, alone),
                    ("CDU", "TimeToLimitOnTrip", tuple(tripped), list(tripped.values())),
                )
            ]
        )

    def _tripped(self, physics: WhatIf, present: Present) -> list[float]:
        pods, place = self._plant.site.pods, {rack: i for i, rack in enumerate(self._plant.site.racks)}
        runs: list[ValueArray] = [
            physics.time_to_limit(present, [pod.cdus[i] for pod in pods if i < len(pod.cdus)])
            for i in range(max(len(pod.cdus) for pod in pods))
        ]
        return [
            float(np.fmin.reduce(runs[i][[place[rack] for rack in pod.racks]], initial=np.nan))
            for pod in pods
            for i in range(len(pod.cdus))
        ]
