"""What the console knows of the power path: every unit above the racks, what fails over to what, and what is stranded."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from analytics.outlook.failover import Failover, Gap, Loss, Room, gap
from analytics.outlook.whatif import Present
from dashboard.behind import Behind
from dashboard.cells import on_battery
from dashboard.lately import Lately
from dashboard.readings import ObjectReadings
from dashboard.views import MISSING, QUARTER_MS, Now
from domain.alert import Severity
from domain.envelope import EnvelopeNode
from domain.forecast import Forecast
from domain.points import Quality
from storage.plant import PlantView, Reading
from storage.records import Records

RESERVE_MS = 15_000
"""What fails over to what is worked out anew after so long."""
OBSERVED_MS = 15 * 60_000
OBSERVED_DAYS = 7
"""How far back the highest quarter hour of a unit is looked for."""
PEAK_MS = 24 * 3_600_000
"""Tonight's peak is the highest that is forecast of the site within this time."""


@dataclass(frozen=True, slots=True)
class Observed:
    """The highest quarter hour of a unit in the last days: W, and when it began, UTC ms (0 where none is known)."""

    power: float
    at: int


@dataclass(frozen=True, slots=True)
class Unit:
    """One unit of the power path, or the site.

    Parameters
    ----------
    id, kind, limit, power
        What it is, what its 15-minute average may reach (W), and what it carries.
    state
        ``utility``, ``battery``, ``off``, or empty where nothing tells.
    status, charge, runtime
        What a UPS says of itself.
    current, rating
        The highest phase current and what the breaker or busway is rated for, A.
    phases
        Currents of phases A, B and C, A; empty where they are not measured.
    severity, risk, ahead
        Its worst alert, the risk that it passes its limit, and its forecast.
    observed
        Its highest quarter hour.
    hidden
        Why it cannot be told what of its power goes where; None where it can.
    """

    id: str
    kind: str
    limit: float
    power: Reading
    state: str
    status: str
    charge: Reading
    runtime: Reading
    current: Reading
    rating: Reading
    phases: tuple[Reading, ...]
    severity: Severity | None
    risk: Reading
    ahead: Forecast | None
    observed: Observed | None
    hidden: Gap | None

    @property
    def share(self) -> float:
        """Load over limit."""
        return self.power.value / self.limit if self.limit > 0 else math.nan

    @property
    def headroom(self) -> Reading:
        """What is left of the rating, as a share of it; by the highest phase."""
        known = self.rating.value > 0 and not math.isnan(self.current.value)
        if not known:
            return MISSING
        worst = min(self.current, self.rating, key=lambda r: r.observed)
        quality = max(self.current.quality, self.rating.quality)
        return Reading(1 - self.current.value / self.rating.value, worst.observed, quality, 0)

    @property
    def unbalance(self) -> float:
        """The largest deviation of a phase current from their mean, as a share of it; NaN where it is not measured."""
        values = [p.value for p in self.phases]
        mean = sum(values) / len(values) if values else math.nan
        return max(abs(v - mean) for v in values) / mean if mean > 1.0 else math.nan


@dataclass(frozen=True, slots=True, eq=False)
class PowerPath:
    """The power path now; `racks` has one entry a rack in the order of `Site.racks`."""

    now: int
    site: Unit
    units: tuple[Unit, ...]
    racks: Now
    rack_severity: Mapping[str, Severity]


@dataclass(frozen=True, slots=True)
class Peak:
    """The highest that is forecast of the site: when it begins (UTC ms), its median, and what 95 % stay under, W."""

    start: int
    middle: float
    high: float


@dataclass(frozen=True, slots=True)
class Reserve:
    """What the loss of each unit does now, and at the forecast peak (empty where none is issued), and the pods' room.

    `untold` of its `racks` tell no power and count as nothing; `emptied` is what happens once batteries that supply now are
    empty (None where none does).
    """

    at: int
    peak: Peak | None
    now: Mapping[str, Loss]
    then: Mapping[str, Loss]
    rooms: tuple[Room, ...]
    untold: int
    racks: int
    emptied: Loss | None = None


class PowerWatch:
    """Answers what the power page asks. Everything blocks, but what takes long is worked out in the background.

    Parameters
    ----------
    plant, records, readings
        Where figures come from.
    clock
        UTC ms.
    severity
        Returns the worst severity by object, and by rack.
    max_age_ms
        What was told longer ago is not how the plant is now.
    past
        Whether `clock` stands at a moment that is past: then all is worked out when it is asked for.
    """

    def __init__(
        self,
        plant: PlantView,
        records: Records,
        readings: ObjectReadings,
        clock: Callable[[], int],
        severity: Callable[[], tuple[Mapping[str, Severity], Mapping[str, Severity]]],
        max_age_ms: int,
        past: bool = False,
    ) -> None:
        self._plant = plant
        self._records = records
        self._readings = readings
        self._clock = clock
        self._severity = severity
        self._max_age_ms = max_age_ms
        self._failover = Failover(plant.site)
        self._hidden: dict[str, Gap] = {}
        self.nodes = tuple(n for n in plant.envelope if n.kind not in ("Site", "Rack"))
        """Everything above the racks, in the order of the site file."""
        self._foretold = Lately(self._ask_foretold, 10_000, clock)
        self.reserve = Behind(self.ask_reserve, RESERVE_MS, clock, past)
        self.observed = Behind(self.ask_observed, OBSERVED_MS, clock, past)

    def path(self) -> PowerPath:
        """Return every unit as it is now."""
        now, (severity, of_racks) = self._clock(), self._severity()
        observed = self.observed() or {}
        nodes = (self._plant.envelope.site, *self.nodes)
        power = {node.id: self._readings.power(node.id) for node in nodes}
        measured = {
            name: r.value
            for name, r in power.items()
            if not math.isnan(r.value) and r.quality != Quality.BAD and r.observed >= now - self._max_age_ms
        }
        site, *units = [self._unit(node, power[node.id], severity, observed, measured) for node in nodes]
        self._hidden = {u.id: u.hidden for u in units if u.hidden}
        racks = self._readings.now(self._plant.rack_points("RackPower"))
        return PowerPath(now, site, tuple(units), racks, of_racks)

    def hidden(self) -> Mapping[str, Gap]:
        """Return why nothing can be told of some units, as of the last look at the path."""
        return self._hidden

    def ask_reserve(self) -> Reserve:
        """Work out what the loss of each unit does."""
        now, site = self._clock(), self._plant.envelope.site
        present = self._present()
        peak = self._peak(now)
        known = np.isfinite(present.power)
        untold = int((~known).sum())
        if not known.any():
            return Reserve(now, peak, {}, {}, (), untold, len(known))
        high = math.nan if peak is None else peak.high
        return Reserve(
            now,
            peak,
            self._failover.losses(present.power, present.nodes),
            {} if peak is None else self._failover.losses(present.power, present.nodes, high),
            tuple(self._failover.rooms(present.power, present.nodes, site.limit_at(now), high)),
            untold,
            len(known),
            self._failover.emptied(present.power, present.nodes),
        )

    def ask_observed(self) -> dict[str, Observed]:
        """Look up the highest quarter hour of each unit."""
        now = self._clock()
        found = {}
        for node in (self._plant.envelope.site, *self.nodes):
            grid = self._plant.power_history(node.id, now - OBSERVED_DAYS * 86_400_000, now, QUARTER_MS)
            values = grid.values[0]
            best = int(np.nanargmax(values)) if np.isfinite(values).any() else -1
            found[node.id] = (
                Observed(math.nan, 0) if best < 0 else Observed(float(values[best]), int(grid.start[best]))
            )
        return found

    def _present(self) -> Present:
        return Present.of(self._plant, self._clock() - self._max_age_ms)

    def _peak(self, now: int) -> Peak | None:
        forecast = self._foretold().get(self._plant.site.id)
        if forecast is None:
            return None
        coming = np.flatnonzero((forecast.start + QUARTER_MS > now) & (forecast.start < now + PEAK_MS))
        if not len(coming):
            return None
        middle = forecast.quantile(0.5)
        best = int(coming[np.argmax(middle[coming])])
        return Peak(int(forecast.start[best]), float(middle[best]), float(forecast.quantile(0.95)[best]))

    def _ask_foretold(self) -> dict[str, Forecast]:
        return self._records.latest_forecasts([self._plant.site.id, *(n.id for n in self.nodes)])

    def _unit(
        self,
        node: EnvelopeNode,
        power: Reading,
        severity: Mapping[str, Severity],
        observed: Mapping[str, Observed],
        measured: Mapping[str, float],
    ) -> Unit:
        r, now = self._readings, self._clock()
        phases = tuple(r.phases(node.id))
        current = (
            max(phases, key=lambda p: p.value)
            if phases and all(not math.isnan(p.value) for p in phases)
            else r.one(node.id, "Current")
        )
        status = r.gravest(node.id, "Status") if node.kind == "UPS" else ""
        below = [c for c in node.children if c in self._plant.envelope.nodes]
        state = self._state(node, power, status)
        shared = (
            state == "off" or node.kind == "PowerMeter" or not below
        )  # a rack's power comes by several ways
        return Unit(
            node.id,
            node.kind,
            node.limit_at(now),
            power,
            state,
            status,
            r.one(node.id, "BatteryCharge"),
            r.one(node.id, "BatteryRuntime"),
            current,
            r.one(node.id, "CurrentLimit"),
            phases,
            severity.get(node.id),
            r.one(node.id, "PowerBreachProbability"),
            self._foretold().get(node.id),
            observed.get(node.id),
            None if shared else gap(node.id, measured, below),
        )

    @staticmethod
    def _state(node: EnvelopeNode, power: Reading, status: str) -> str:
        if on_battery(status):
            return "battery"
        if math.isnan(power.value) or power.quality == Quality.BAD:
            return ""
        return "off" if power.value < 0.001 * node.limit else "utility"
