"""Weeks of the simulated factory in quarter hours: site, racks and what its scheduler announced when."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from analytics.planned.bookings import Bookings
from analytics.planned.scheduled import RackPast
from domain.envelope import QUARTER_MS
from domain.planned import PlannedWork
from domain.plant.conditions import Conditions
from domain.points import TimeArray
from domain.site import Site
from simulator.factory import Factory
from simulator.history import announced
from simulator.traces import Traces

Values = NDArray[np.float64]

DAY_MS = 86_400_000
DAY = 96  # quarter hours


def site_power(factory: Factory, start: int, end: int, step: int) -> Values:
    """Return the site's power at regular times, W, from calendar and steady states."""
    found = []
    for first in range(start, end, DAY_MS // 4):
        times = np.arange(first, min(first + DAY_MS // 4, end), step, dtype=np.int64)
        racks = factory.rack_power(factory.workload.mean_activity(times, step))
        healthy = Conditions.healthy(factory.layout)
        state = factory.plant.settle(racks, healthy, factory.workload.wet_bulb(times), rounds=4)
        found.append(np.asarray(state.site, float))
    return np.concatenate(found)


@dataclass(frozen=True, slots=True, eq=False)
class Weeks:
    """Some weeks of one factory in quarter hours: site and racks, W, shapes (n,) and (racks, n), and its schedule."""

    time: TimeArray
    site: Values
    racks: Values
    bookings: Bookings

    @classmethod
    def of(
        cls,
        site: Site,
        seed: int,
        start: int,
        days: int,
        traces: Traces | None = None,
        foreseen: bool = False,
    ) -> Weeks:
        """Return them as measured, and the announcements with the times from which they were known.

        Where everything is `foreseen`, the schedule names every job days before as it will really run: the most that one can tell.
        """
        factory = Factory(site, seed, start, traces=traces)
        end = start + days * DAY_MS
        sampled = start + QUARTER_MS // 5 * np.arange(days * DAY * 5, dtype=np.int64)
        racks = np.concatenate(
            [
                factory.rack_power(factory.workload.mean_activity(part, QUARTER_MS // 5))
                for part in np.array_split(sampled, days)
            ]
        )
        works = announced(factory.workload, site.racks, end, "jobs", days)
        if foreseen:
            works = [
                PlannedWork("jobs", j.name, tuple(site.racks[j.first : j.last]), j.start, j.end, intensity=j.told_intensity,
                            known_since=j.start - 3 * DAY_MS, until=j.end)
                for j in factory.workload.jobs(start, end + 2 * DAY_MS)
            ]  # fmt: skip
        return cls(
            sampled[::5],
            site_power(factory, start, end, QUARTER_MS // 5).reshape(-1, 5).mean(1),
            racks.reshape(-1, 5, racks.shape[1]).mean(1).T,
            Bookings.of(works, site.racks),
        )

    def past(self, upto: int) -> RackPast:
        """Return what is known of racks and plans after so many quarter hours."""
        return RackPast(self.bookings, self.time[:upto], self.racks[:, :upto]).until(
            int(self.time[upto - 1]) + QUARTER_MS
        )

    def history(self, zone: str) -> pd.Series:
        """Return the site's power on the clock of its time zone."""
        index = pd.to_datetime(self.time, unit="ms", utc=True).tz_convert(zone)
        return pd.Series(self.site, index=index).asfreq("15min")
