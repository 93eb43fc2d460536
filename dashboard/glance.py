"""What the overview tells in a line each: PUE now, what the site usually draws, how fresh the sources are, what may ramp."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from analytics.contract.energy import EnergySettings, measured_at
from dashboard.behind import Behind
from dashboard.cells import on_battery
from dashboard.lately import Lately
from dashboard.readings import ObjectReadings
from dashboard.views import MISSING, QUARTER_MS, SILENT, STALE_MS, Rows, Usual
from domain.forecast import Forecast, Ramps
from storage.batteries import discharging, power_for_work
from storage.plant import PlantView, Reading

DAY_MS = 24 * 3_600_000
USUAL_DAYS = 14
USUAL_BESIDE_MS = 30 * 60_000
"""What is usual at an hour is told by the quarter hours that began so long before or after it, on each of these days."""
USUAL_MS = 15 * 60_000
FEWEST_USUAL = 20
"""Quarter hours without which nobody can say what is usual."""
USUAL_SHARE = (0.05, 0.95)
SOURCES_MS = 10_000


@dataclass(frozen=True, slots=True)
class Sources:
    """How many sources of points there are, which of them are silent or have told nothing for `STALE_MS`, and how many instruments lie."""

    number: int
    late: tuple[str, ...]
    doubtful: int


class Glance:
    """Answers what the overview asks besides the plant's own figures. Everything here blocks.

    Parameters
    ----------
    plant, readings, clock
        Where figures come from, and the present, UTC ms.
    energy
        Where IT energy is measured.
    newest
        Gives the newest forecast of every node, with the ramps to expect.
    instruments
        Returns the instruments that misbehave.
    ramps_from
        Tells at a time when ramps will be foretold at the earliest, UTC ms; 0 where nobody knows.
    past
        Whether `clock` stands at a moment that is past: then all is worked out when it is asked for.
    """

    def __init__(
        self,
        plant: PlantView,
        readings: ObjectReadings,
        clock: Callable[[], int],
        energy: EnergySettings,
        newest: Callable[[], Mapping[str, Forecast]],
        instruments: Callable[[], Rows],
        ramps_from: Callable[[int], int],
        past: bool = False,
    ) -> None:
        self._plant = plant
        self._readings = readings
        self._clock = clock
        self._energy = energy
        self._newest = newest
        self._instruments = instruments
        self._ramps_from = ramps_from
        self.usual = Behind(self.ask_usual, USUAL_MS, clock, past)
        """Returns a `Usual`, or None where too little is kept of the last days."""
        self.sources = Lately(self._ask_sources, SOURCES_MS, clock)
        """Returns `Sources`."""

    def pue(self) -> tuple[Reading, str]:
        """Return the present power over that of IT, and where this is measured: ``ups`` or ``racks``.

        Nothing where a part of either is not measured; nor where batteries carry load, which the feeds' meters do not see
        (``batteries`` instead of where).
        """
        where, nodes = measured_at(self._plant, self._energy)
        if self.on_battery():
            return MISSING, "batteries"
        total = power_for_work(self._plant, self._clock() - STALE_MS)
        parts = [self._readings.power(node) for node in nodes]
        it = sum(part.value for part in parts)
        if not parts or not (total > 0 and it > 0) or total < it:
            return MISSING, where
        parts.append(self._readings.power(self._plant.site.id))
        qualities = {part.quality for part in parts}
        quality = SILENT if SILENT in qualities else max(qualities)
        return Reading(total / it, min(part.observed for part in parts), quality, 0), where

    def on_battery(self) -> list[str]:
        """Return the UPSes whose batteries carry load, by what they say (at once) or by what they take and give."""
        drained = discharging(self._plant, self._clock() - STALE_MS)
        return [
            node.id
            for node in self._plant.envelope
            if node.kind == "UPS"
            and (node.id in drained or on_battery(self._readings.gravest(node.id, "Status")))
        ]

    def from_batteries(self) -> float:
        """Return the power that batteries carry now, W: the feeds' meters do not see it."""
        return float(np.nansum([self._readings.power(ups).value for ups in self.on_battery()]))

    def ramps(self) -> Ramps | None:
        """Return the largest ramps of the site to expect in the hour, or None where none are foretold."""
        forecast = self._newest().get(self._plant.site.id)
        return None if forecast is None else forecast.ramps

    def ramps_from(self) -> int:
        """Return when ramps will be foretold at the earliest, UTC ms; 0 where nobody knows."""
        return self._ramps_from(self._clock())

    def ask_usual(self) -> Usual | None:
        """Look up what the site drew at this time of the last days."""
        now = self._clock()
        grid = self._plant.power_history(
            self._plant.site.id, now - USUAL_DAYS * DAY_MS - USUAL_BESIDE_MS, now - QUARTER_MS, QUARTER_MS
        )
        apart = (now - grid.start + DAY_MS // 2) % DAY_MS - DAY_MS // 2
        values = grid.values[0][np.abs(apart) <= USUAL_BESIDE_MS]
        values = values[np.isfinite(values)]
        if len(values) < FEWEST_USUAL:
            return None
        low, high = np.quantile(values, USUAL_SHARE)
        return Usual(float(low), float(high))

    def _ask_sources(self) -> Sources:
        now = self._clock()
        ages = self._readings.source_ages()
        silent = self._readings.silent()
        late = tuple(a.source for a in ages if a.source in silent or now - a.newest > STALE_MS)
        return Sources(len(ages), late, len(self._instruments()))
