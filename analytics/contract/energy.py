"""Energy, PUE and carbon of days and months, as a site reports them.

Energy is by the meters' own counters where they have them, also across gaps; PUE is total energy at the utility's handoff over
IT energy (ISO/IEC 30134-2) of the quarter hours in which both are known and no battery carried load, which the handoff does not
see; carbon is energy times the grid's emission factor of its day, which is data.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from itertools import pairwise
from typing import Literal
from zoneinfo import ZoneInfo

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from pydantic import Field, field_validator

from domain.configuration import SettingsModel
from domain.envelope import QUARTER_MS
from storage.batteries import discharged
from storage.plant import PlantView

KWH_J = 3.6e6
QUARTER_S = QUARTER_MS / 1000


class CarbonFactor(SettingsModel):
    """What a kilowatt hour from the grid emits, from a day on until the next factor begins."""

    start: date = Field(description="First day")
    kg_per_kwh: float = Field(ge=0, le=10, description="kg CO2 equivalent a kWh")
    source: str = Field("", description="Who says so, such as an authority and its year")


class EnergySettings(SettingsModel):
    """How energy is reported."""

    it: Literal["ups", "racks"] = Field(
        "ups",
        description="Where IT energy is measured for the PUE: at the UPSes (ISO/IEC 30134-2, category 1; at the racks where the "
        "site has none), or at the racks, which leaves out network and storage",
    )
    carbon: tuple[CarbonFactor, ...] = Field((), description="The grid's emission factors, oldest first")

    @field_validator("carbon")
    @classmethod
    def _ascending(cls, factors: tuple[CarbonFactor, ...]) -> tuple[CarbonFactor, ...]:
        if any(a.start >= b.start for a, b in pairwise(factors)):
            raise ValueError("write the factors in the order of their days, each day once")
        return factors

    def factor(self, day: date) -> CarbonFactor | None:
        """Return the factor of a day, or None where there is none yet."""
        return next((f for f in reversed(self.carbon) if f.start <= day), None)


@dataclass(frozen=True, slots=True)
class EnergyOf:
    """Energy of one day or month: [start, end) in UTC ms; energies in J, carbon in kg, NaN where not known.

    `measured` and `it_measured` are the shares of its quarter hours so far that are known; nothing is made up for the others.
    `highest` is the highest quarter hour, W. The PUE is of the quarter hours in which both are known and no battery carried
    load; in how many one did, `on_battery` counts.
    """

    name: str
    start: int
    end: int
    measured: float
    energy: float
    it_measured: float
    it_energy: float
    pue: float
    carbon: float
    highest: float
    on_battery: int = 0


Values = NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class Quarters:
    """Quarter hours: `start` UTC ms, the mean power of the site and of its IT in each, W, and in which batteries carried load."""

    start: NDArray[np.int64]
    total: Values
    it: Values
    battery: NDArray[np.bool_]

    def of(self, start: int, end: int) -> Quarters:
        """Return those that begin in [start, end)."""
        inside = (self.start >= start) & (self.start < end)
        return Quarters(self.start[inside], self.total[inside], self.it[inside], self.battery[inside])

    @property
    def ratios(self) -> Values:
        """The PUE of each, NaN where it is not known."""
        with np.errstate(divide="ignore", invalid="ignore"):
            return np.where((self.it > 0) & ~self.battery, self.total / self.it, np.nan)

    @property
    def pue(self) -> float:
        """Total over IT energy of those in which it is known; NaN where it is in none."""
        known = np.isfinite(self.ratios)
        return float(self.total[known].sum() / self.it[known].sum()) if known.any() else np.nan


def measured_at(plant: PlantView, settings: EnergySettings) -> tuple[str, tuple[str, ...]]:
    """Return where IT energy is measured (``ups`` or ``racks``), and the nodes of it."""
    ups = tuple(n.id for n in plant.envelope if n.kind == "UPS")
    return ("ups", ups) if settings.it == "ups" and ups else ("racks", plant.site.racks)


def quarters(plant: PlantView, settings: EnergySettings, start: int, end: int) -> Quarters:
    """Return the quarter hours of [start, end)."""
    total, _ = plant.demand_by_origin(plant.site.id, start, end, bridge=True)
    _, nodes = measured_at(plant, settings)
    it = np.zeros(len(total.start))
    for node in nodes:
        it += plant.demand_by_origin(node, start, end, bridge=True)[0].values[0]
    return Quarters(total.start, total.values[0], it, discharged(plant, start, end))


def periods(first: date, last: date, by: Literal["day", "month"]) -> list[tuple[str, date, date]]:
    """Return the days or whole months from one day to another: name, first day, first day after."""
    found = []
    day = first.replace(day=1) if by == "month" else first
    while day <= last:
        after = (
            (day.replace(day=28) + timedelta(days=4)).replace(day=1) if by == "month" else day + timedelta(1)
        )
        found.append((day.isoformat()[: 7 if by == "month" else 10], day, after))
        day = after
    return found


def energy_by(
    told: Quarters,
    zone: ZoneInfo,
    settings: EnergySettings,
    named: Sequence[tuple[str, date, date]],
    now: int,
) -> list[EnergyOf]:
    """Return energy by local days or months as `periods` gives them."""
    days = pd.to_datetime(told.start, unit="ms", utc=True).tz_convert(zone).date
    factor = {
        day: np.nan if (f := settings.factor(day)) is None else f.kg_per_kwh for day in dict.fromkeys(days)
    }
    carbon = told.total * QUARTER_S / KWH_J * np.array([factor[d] for d in days])
    found = []
    for name, begin, after in named:
        since, until = midnight(begin, zone), midnight(after, zone)
        inside = (told.start >= since) & (told.start < min(until, now))
        expected = max(1, (min(until, now) - since) // QUARTER_MS)
        part = told.of(since, min(until, now))
        power, load = part.total, part.it
        found.append(
            EnergyOf(
                name,
                since,
                until,
                min(1.0, float((~np.isnan(power)).sum()) / expected),
                _sum(power) * QUARTER_S,
                min(1.0, float((~np.isnan(load)).sum()) / expected),
                _sum(load) * QUARTER_S,
                part.pue,
                _sum(carbon[inside][~np.isnan(power)], whole=True),
                float(np.nanmax(power)) if (~np.isnan(power)).any() else np.nan,
                int(part.battery.sum()),
            )
        )
    return found


def _sum(values: Values, whole: bool = False) -> float:
    """Return the sum of what is known; NaN where nothing is, or where `whole` and something is not."""
    known = ~np.isnan(values)
    return float(values[known].sum()) if known.any() and (known.all() or not whole) else np.nan


def midnight(day: date, zone: ZoneInfo) -> int:
    """Return when a day begins at a place, UTC ms."""
    return int(pd.Timestamp(day, tz=zone).timestamp() * 1000)
