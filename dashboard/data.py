"""What the console knows: the one module of the dashboard that reads stores, latest values and records.

Everything here blocks and returns plain dataclasses and arrays; the broadcaster calls it from a worker thread.
Missing is NaN, never zero.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from alerts.oncall.people import OnCall
from alerts.oncall.roster import Roster, rosters
from alerts.runbooks import Runbooks
from alerts.settings import AlertSettings
from analytics.contract.energy import EnergySettings
from dashboard.alarms import Alarms
from dashboard.cooling import CoolingDesk
from dashboard.energy import EnergyCalls, EnergyDesk
from dashboard.foretold import ForecastDesk
from dashboard.glance import Glance
from dashboard.incidents import IncidentDesk
from dashboard.lately import Kept, Lately
from dashboard.notes import NoteDesk
from dashboard.peers import Peers
from dashboard.power import PowerWatch
from dashboard.readings import ObjectReadings
from dashboard.reports import ReportDesk
from dashboard.series import merged
from dashboard.settings import SettingsDesk
from dashboard.things import Things
from dashboard.views import (
    LOST,
    MINUTE_MS,
    MISSING,
    QUARTER_MS,
    SPANS,
    STALE_MS,
    CduState,
    Floor,
    Header,
    Health,
    Now,
    PathStep,
    RackState,
    Rows,
    Series,
    Stats,
    SupplyState,
    Work,
)
from domain.alert import Alert, AlertState, Severity
from domain.batch import now_ms
from domain.breaches import AHEAD_S, BreachAhead, breach_ahead
from domain.envelope import EnvelopeNode, quarter_start
from domain.forecast import Forecast
from domain.points import PointRegistry, Quality
from domain.site import PodSite, Site
from domain.topology import Topology
from storage.batteries import power_for_work
from storage.latest import LatestValues
from storage.past import values_at
from storage.plant import PlantView, Reading
from storage.records import Records
from storage.records_at import RecordsAt
from storage.telemetry import Aggregate, Grid, StoreHealth, TelemetryStore

NEAR = 0.9
"""Share of its limit from which a feed or UPS stands before the others."""
WORKED_OUT_MS = 60_000
"""What is worked out every few seconds and is older than this could not be worked out since."""
MOST_MOMENTS = 8
"""Past moments whose figures are kept; the one that was looked at longest ago goes."""
_URGENCY = {severity: order for order, severity in enumerate(Severity)}  # the worst first


class ConsoleData:
    """Answers the console's questions.

    Parameters
    ----------
    site, registry, latest, store, records, plant
        The parts of the service that the console looks at.
    sources
        Returns the collectors' counters by collector, for the health page.
    counters
        Returns the ingest's counters.
    upkeep, instruments
        Return the parts that wear, soonest due first, and the instruments that misbehave.
    clocks
        Returns what is known of the clocks of sources that are off.
    worth
        Returns what forecasts of the last week were worth, by kind and lead time.
    on_call
        The people and schedules, for the page of them.
    note
        A line for the header, such as the demo's cadence.
    clock
        Returns the present, UTC ms.
    alert_settings
        How alarms may be shelved, and what their performance is counted against.
    runbooks
        Of the site; those that ship, if none are given.
    newest
        Gives the newest forecast of every node, with the ramps to expect.
    ramps_from
        Tells at a time (UTC ms) when ramps will be foretold at the earliest, where none are yet; 0 where nobody knows.
    watched
        Returns the open incidents of the anomaly watch, ready for JSON.
    energy
        Where IT energy is measured for the PUE, and what a kilowatt hour emits.
    partners, scopes
        Energy partners that the configuration names, and what their keys may show.
    energy_calls
        The functions behind API and commands of contract, energy and grid.
    moment, step
        The past moment that all of this is of, UTC ms, where `clock` stands still, and how long the steps are that values
        are of, ms (0 for readings); 0 for the present.
    """

    def __init__(
        self,
        site: Site,
        registry: PointRegistry,
        latest: LatestValues,
        store: TelemetryStore,
        records: Records,
        plant: PlantView,
        sources: Callable[[], Stats] = dict,
        counters: Callable[[], Mapping[str, Any]] = dict,
        note: str = "",
        clock: Callable[[], int] = now_ms,
        upkeep: Callable[[], Rows] = tuple,
        instruments: Callable[[], Rows] = tuple,
        clocks: Callable[[], Mapping[str, Any]] = dict,
        worth: Callable[[], Rows] = tuple,
        on_call: OnCall | None = None,
        alert_settings: AlertSettings | None = None,
        runbooks: Runbooks | None = None,
        newest: Callable[[], Mapping[str, Forecast]] = dict,
        ramps_from: Callable[[int], int] = lambda _: 0,
        watched: Callable[[], Rows] = tuple,
        energy: EnergySettings | None = None,
        partners: Sequence[str] = (),
        scopes: Sequence[str] = (),
        energy_calls: EnergyCalls | None = None,
        moment: int = 0,
        step: int = 0,
    ) -> None:
        self.moment, self.step = moment, step
        self._moments: Kept[ConsoleData] = Kept(MOST_MOMENTS)
        self.site = site
        self.registry = registry
        self.latest = latest
        self.store = store
        self.records = records
        self.plant = plant
        self.note = note
        self.clock = clock
        self._sources = sources
        self._counters = counters
        self._upkeep = upkeep
        self._instruments = instruments
        self._clocks = clocks
        self._worth = worth
        self._on_call = on_call
        self._readings = ObjectReadings(plant, clock)
        self._health = Lately(store.health, 10_000, clock)
        self._foretold = Lately(self._ask_foretold, 10_000, clock)
        self._leads = Lately(records.leads, 500, clock)
        self._breach_ahead = Lately(self._ask_breach_ahead, 10_000, clock)
        self._counted: tuple[Mapping[int, int], Mapping[int, int]] = ({}, {})
        settings = alert_settings or AlertSettings()
        self.runbooks = runbooks or Runbooks()
        self.alarms = Alarms(records, clock, settings, self.runbooks)
        self.settings = SettingsDesk(records, self.alarms, clock, on_call, partners, scopes)
        self.loops = CoolingDesk(
            plant, self._readings, clock, lambda cdu, pod: self._cdu(cdu, pod, None), self._severity
        )
        self.incidents = IncidentDesk(records, plant, clock, watched, self.rack_of)
        calls = energy_calls or EnergyCalls()
        self.energy = EnergyDesk(plant, clock, calls)
        self.reports = ReportDesk(plant, records, clock, settings, energy or EnergySettings(), calls.month)
        self.foretold = ForecastDesk(plant, records, clock, newest, int(settings.max_age * 1000))
        self.things = Things(plant, self._readings, clock)
        self.glance = Glance(
            plant,
            self._readings,
            clock,
            energy or EnergySettings(),
            newest,
            instruments,
            ramps_from,
            moment > 0,
        )
        self.peers = Peers(plant, self._readings)
        self.notes = NoteDesk(site, self.things, records, clock, 0 if moment else 2000)
        self.power = PowerWatch(
            plant,
            records,
            self._readings,
            clock,
            lambda: (self._severity(), self._rack_severity()),
            int(settings.max_age * 1000),
            past=moment > 0,
        )
        self._alert_settings, self._energy = settings, energy

    def at(self, moment: int) -> ConsoleData:
        """Return the same of a past moment (UTC ms): values, alerts, incidents and forecasts as they stood then.

        What is not kept is empty there: counters, parts that wear, instruments that misbehave, clocks, causes.

        Raises
        ------
        StorageError
            If store or records do not answer.
        """
        return self._moments.get(moment, lambda: self._as_of(moment))

    def _as_of(self, moment: int) -> ConsoleData:
        def then() -> int:
            return moment

        off = self._clocks().get("off", {})
        # as far as is known now: how far a clock was off is kept of no moment
        behind = {
            name: int(-1000 * clock["offset_s"]) for name, clock in off.items() if clock["offset_s"] < 0
        }
        values = values_at(self.store, self.registry, moment, behind)
        records = RecordsAt(self.records, moment)
        plant = PlantView(self.site, self.registry, values.latest, self.store, then)
        plant.envelope = self.plant.envelope  # its schedule tells the limits of any time
        return ConsoleData(
            self.site,
            self.registry,
            values.latest,
            self.store,
            records,
            plant,
            note=self.note,
            clock=then,
            on_call=self._on_call,
            alert_settings=self._alert_settings,
            runbooks=self.runbooks,
            energy=self._energy,
            moment=moment,
            step=values.step,
        )

    def rosters(self) -> tuple[OnCall | None, list[Roster], int]:
        """Return the schedules, who is on call by them from now on, and now."""
        now = self.clock()
        if self._on_call is None:
            return None, [], now
        return self._on_call, rosters(self._on_call, self.records.overrides(now), now), now

    # --- the site -------------------------------------------------------------------------------------------------

    def header(self) -> Header:
        """Return what every page shows."""
        now = self.clock()
        node = self.plant.envelope.site
        changes = [c for c in node.schedule if c.start <= now < c.end]
        counts = dict.fromkeys(Severity, 0)
        explained = self.leads()  # in a storm the cause counts, not what it does
        for alert in self.active_alerts():
            if alert.state is AlertState.OPEN and alert.id not in explained:
                counts[alert.condition.severity] += 1
        return Header(
            now,
            self._readings.power(node.id),
            self._readings.held(node.id),
            node.limit_at(now),
            node.binding_limit(quarter_start(now), quarter_start(now) + QUARTER_MS),
            min(changes, key=lambda c: c.limit).reason if changes else "",
            self._readings.one(node.id, "QuarterHourPower"),
            self._readings.one(node.id, "QuarterHourBreachProbability"),
            self._breach_ahead(),
            counts,
            self.store_health(),
            self.glance.usual(),
            self.glance.from_batteries(),
        )

    def floor(self) -> Floor:
        """Return the racks' figures for the heat map."""
        return Floor(
            self.clock(),
            self._readings.now(self.plant.rack_points("RackPower")),
            self._readings.now(self.plant.rack_points("RackLiquidReturnTemperature")),
            _hottest(self._readings.gpus("GpuTemperature")),
            self._readings.now(self.plant.rack_points("AnomalyScore")),
            self._rack_severity(),
            self._readings.now(self.plant.rack_points("RackLiquidSupplyTemperature")),
            self._readings.now(self.plant.rack_points("RackLiquidFlow")),
            self._readings.now(self.plant.rack_points("PowerBreachProbability")),
        )

    def cooling(self) -> list[CduState]:
        """Return all CDUs, worst first."""
        severity = self._severity()
        states = [self._cdu(cdu, pod, severity.get(cdu)) for pod in self.site.pods for cdu in pod.cdus]
        return sorted(states, key=self._cooling_rank)

    def supply(self) -> list[SupplyState]:
        """Return feeds and UPSes, feeds first, each kind with what is near its limit first."""
        severity, foretold = self._severity(), self._foretold()
        found = [
            SupplyState(
                node.id,
                node.kind,
                self._readings.power(node.id),
                node.limit_at(self.clock()),
                self._readings.one(node.id, "BatteryCharge"),
                self._readings.one(node.id, "BatteryRuntime"),
                self._readings.gravest(node.id, "Status"),
                severity.get(node.id),
                self._readings.one(node.id, "PowerBreachProbability"),
                foretold.get(node.id),
            )
            for node in self.plant.envelope
            if node.kind in ("Feed", "UPS")
        ]
        # what is as it should be keeps its place: rows must not change places every second
        return sorted(
            found,
            key=lambda s: (s.kind != "Feed", -max(NEAR, _or(s.power.value / s.limit, 0.0)), s.id),
        )

    def _ask_foretold(self) -> dict[str, Forecast]:
        return self.records.latest_forecasts([n.id for n in self.plant.envelope if n.kind in ("Feed", "UPS")])

    def work(self) -> Work:
        """Return the site's token throughput and efficiency."""
        rate = self._readings.sum(self._readings.token_points())
        efficiency = self._readings.one(self.site.id, "TokenEfficiency")
        if efficiency.observed < self.clock() - WORKED_OUT_MS:
            # tokens/s over watts is tokens over joules; of a site of which a part is not measured it is nothing
            power = power_for_work(self.plant, self.clock() - STALE_MS)
            known = rate.value > 0 and power > 0
            efficiency = (
                Reading(rate.value / power, rate.observed, rate.quality, rate.missing) if known else MISSING
            )
        told = self._readings.gpus("GpuTemperature")
        seen = int(np.sum((told.observed > self.clock() - STALE_MS) & (told.quality != LOST)))
        return Work(rate, efficiency, seen, len(self.site.racks) * self.site.rack_gpus)

    def power_series(self, hours: float = 6.0) -> Series:
        """Return the site's measured power: minute means, and quarter-hour means where there are no finer ones."""
        now = self.clock()
        start = now - int(hours * 3_600_000)
        fine = self.plant.power_history(self.site.id, start, now, MINUTE_MS)
        coarse = self.plant.demand_history(self.site.id, start - QUARTER_MS, now)
        return merged(fine, coarse)

    def limit_steps(self, start: int, end: int) -> Series:
        """Return the site's limit from `start` to `end` as the corners of a stepwise line."""
        node = self.plant.envelope.site
        edges = {t for c in node.schedule for t in (c.start, c.end) if start < t < end}
        time = np.array(sorted({start, end} | edges), np.int64)
        return Series(time, np.array([node.limit_at(int(t)) for t in time]))

    def forecast(self, object_id: str = "") -> Forecast | None:
        """Return the newest issued forecast of the power of the site, or of a node of the envelope."""
        return self.records.latest_forecast(object_id or self.site.id, "ActivePower")

    def _ask_breach_ahead(self) -> BreachAhead | None:
        forecast = self.forecast()
        return None if forecast is None else breach_ahead(forecast, self.clock(), AHEAD_S)

    # --- one rack -------------------------------------------------------------------------------------------------

    def rack(self, rack: str) -> RackState | None:
        """Return one rack, or None where the site has none of that name."""
        pod = self.site.pod_of(rack)
        if pod is None or rack not in pod.racks:
            return None
        row = self.site.racks.index(rack)
        paths = self._paths(rack)
        taps = tuple(self._step(supply) for supply in self.plant.supplies(rack))
        return RackState(
            rack,
            pod.id,
            self.clock(),
            self.plant.envelope[rack].limit_at(self.clock()),
            self._readings.power(rack),
            taps,
            self._readings.one(rack, "RackLiquidSupplyTemperature"),
            self._readings.one(rack, "RackLiquidReturnTemperature"),
            self._readings.one(rack, "RackLiquidFlow"),
            self._readings.one(rack, "RackLiquidDifferentialPressure"),
            self._readings.one(rack, "RackControlValvePosition"),
            self._readings.label(rack, "RackLeakDetect"),
            self._readings.state(rack, "RackLeakDetect"),
            self._readings.one(rack, "AnomalyScore"),
            self._readings.gpus("GpuTemperature").row(row),
            self._readings.gpus("GpuPower").row(row),
            self._gpu_power_limit(row),
            paths,
            pod.cdus,
            self._readings.listed([rack, *self._own_devices(rack), *self._readings.members(rack)]),
            tuple(a for a in self.active_alerts() if self.rack_of(a.condition.object_id) == rack),
            self._readings.sum(self._readings.of_rack("Tray", "TrayModulePower", rack)),
            self._readings.gpu_findings(rack),
            self._gpu_ids(row),
        )

    def _gpu_ids(self, row: int) -> tuple[str, ...]:
        """Return the ids of a rack's GPUs, in the order in which they are shown; empty for one that is not known."""
        points = self.plant.gpu_points("GpuTemperature")[row]
        return tuple(self.registry[int(i)].object_id if i >= 0 else "" for i in points)

    def _gpu_power_limit(self, row: int) -> float:
        """Return the power limit that a rack's GPUs report, or an even share of the rack's limit."""
        limits = self._readings.now(self.plant.gpu_points("GpuPowerLimit")[row]).value
        if np.isnan(limits).all():
            return self.site.rack_limit / max(1, self.site.rack_gpus)
        return float(np.nanmax(limits))

    def rack_history(self, rack: str, span: str, end: int = 0) -> dict[str, Series]:
        """Return a rack's power, temperatures and flow over one of `SPANS` up to `end` (UTC ms, 0 for now), by point type."""
        length, step = SPANS[span]
        now = end or self.clock()
        types = (
            "RackPower",
            "RackLiquidSupplyTemperature",
            "RackLiquidReturnTemperature",
            "RackLiquidFlow",
        )
        found = {t: self._readings.index(rack, t) for t in types}
        # of a quantity whose tag has moved on, what it told
        found |= {t: self.plant.former.last(rack, t) for t, index in found.items() if index is None}
        points = np.array([i for i in found.values() if i is not None], np.int32)
        history = {}
        known = rack in self.plant.envelope.nodes and found["RackPower"] is None
        if known and (len(self.plant.power_points(rack)) or self.plant.former_power(rack, now - length)):
            # a rack that tells no power itself: that of its taps, or its PDUs
            history["RackPower"] = merged(
                self.plant.power_history(rack, now - length, now, step),
                self.plant.power_history(rack, now - length - QUARTER_MS, now, max(step, QUARTER_MS)),
            )
        if len(points) == 0:
            return history
        fine = self.plant.history(points, now - length, now, step, Aggregate.MEAN)
        coarse = fine
        if step < QUARTER_MS:
            coarse = self.plant.history(points, now - length - QUARTER_MS, now, QUARTER_MS, Aggregate.MEAN)
        return history | {
            t: merged(_row(fine, i), _row(coarse, i)) for t, i in found.items() if i is not None
        }

    # --- alerts and health ----------------------------------------------------------------------------------------

    def active_alerts(self) -> list[Alert]:
        """Return open and acknowledged alerts, the most severe and then the newest first."""
        return self.alarms.active()

    def leads(self) -> dict[int, int]:
        """Return by active alert that another one explains the id of that other; nobody is told of it."""
        return self._leads()

    def explains(self) -> Mapping[int, int]:
        """Return how many active alerts each alert explains."""
        leads = self._leads()
        if self._counted[0] is not leads:
            self._counted = (leads, Counter(leads.values()))
        return self._counted[1]

    def store_health(self) -> StoreHealth:
        """Return how the store is, asked at most every ten seconds."""
        return self._health()

    def health(self) -> Health:
        """Return how Hallwatch itself is."""
        return Health(
            self.clock(),
            self._sources(),
            self._readings.source_ages(),
            self._counters(),
            self.store_health(),
            len(self.registry),
            self.forecast(),
            self._upkeep(),
            self._instruments(),
            self._clocks(),
            self._worth(),
        )

    # --- cooling ------------------------------------------------------------------------------------------------

    def _cdu(self, cdu: str, pod: PodSite, severity: Severity | None) -> CduState:
        return CduState(
            cdu,
            pod.id,
            self._readings.one(cdu, "LiquidTemperature", "Secondary", "Supply"),
            self._readings.one(cdu, "LiquidTemperature", "Secondary", "Return"),
            self._readings.one(cdu, "LiquidFlow", "Secondary"),
            self._readings.one(cdu, "LiquidDifferentialPressure", "Secondary"),
            self._readings.highest(cdu, "PumpSpeed"),
            self._readings.label(cdu, "Status"),
            self._running(cdu),
            self._redundancy(cdu, pod),
            self._severity().get(cdu),
        )

    def _running(self, cdu: str) -> bool | None:
        """Return whether a CDU could carry load; None where it does not say."""
        available, status = self._readings.state(cdu, "Available"), self._readings.state(cdu, "Status")
        if available is None and status is None:
            return None
        return available is not False and status is not False

    def _redundancy(self, cdu: str, pod: PodSite) -> str:
        """Return how a CDU's group stands: ``N+1`` while all can run, ``N`` with one down; empty if unknown."""
        group = next((ids for ids in self.site.redundancy.values() if cdu in ids), pod.cdus)
        states = [self._running(c) for c in group]
        if any(s is None for s in states):
            return ""
        down = sum(not s for s in states)
        return ("N+1", "N")[down] if down < 2 and len(states) > 1 else f"{down} down"

    def _cooling_rank(self, cdu: CduState) -> tuple[int, bool, bool, int, str]:
        works = cdu.running is not False and not math.isnan(cdu.supply.value)
        level = len(_URGENCY) if cdu.severity is None else _URGENCY[cdu.severity]
        # what is as it should be keeps its place: rows must not change places every second
        usual = self.site.thermal.coolant_supply - 2
        supply = round(max(usual, _or(cdu.supply.value, 1e9)))
        return (level, works, cdu.redundancy in ("N+1", ""), -supply, cdu.id)

    # --- topology -------------------------------------------------------------------------------------------------

    def _paths(self, rack: str) -> tuple[tuple[PathStep, ...], ...]:
        """Return the rack's power paths, from the feed down to the rack, one a tap, busway or PDU that serves it."""
        topology = self.plant.topology()
        last = [o for o in topology.served_by(rack) if _is_power(topology.objects[o].type)]
        # a busway that serves the rack through its tap is a station of the tap's path, not a path of its own
        last = [o for o in last if not any(o in set(topology.upstream(other)) for other in last)]
        paths = []
        for nearest in last:
            path = [nearest, rack]
            while above := self._power_above(topology, path[0], path):
                path.insert(0, above)
            paths.append(tuple(self._step(o) for o in path))
        own = set(self._own_devices(rack))
        # of a PDU of the rack nobody may have told what it hangs on; anything else without a feed is told wrong
        whole = [p for p in paths if p[0].type == "Feed" or p[0].id in own]
        return tuple(whole or paths)

    def _step(self, object_id: str) -> PathStep:
        kind = self.plant.topology().objects[object_id].type
        return PathStep(object_id, kind, self._power(object_id), self._severity().get(object_id))

    def _own_devices(self, rack: str) -> list[str]:
        """Return what serves this rack and no other: its taps and rack PDUs, whatever outlets these have."""
        topology = self.plant.topology()
        racks = set(self.site.racks)
        return [
            o for o in topology.served_by(rack)
            if racks.intersection(topology.serves(o)) == {rack}
            and o not in self.plant.envelope.nodes and topology.objects[o].type != "CDU"
        ]  # fmt: skip

    @staticmethod
    def _power_above(topology: Topology, object_id: str, seen: Sequence[str]) -> str:
        above = topology.served_by(object_id)
        return next((o for o in above if _is_power(topology.objects[o].type) and o not in seen), "")

    def _power(self, object_id: str) -> Reading:
        node: EnvelopeNode | None = self.plant.envelope.nodes.get(object_id)
        if node is not None:
            return self._readings.power(object_id)
        return self._readings.one(object_id, "ActivePower")

    def _severity(self) -> dict[str, Severity]:
        """Return the worst active severity by object."""
        found: dict[str, Severity] = {}
        for alert in reversed(self.active_alerts()):
            found[alert.condition.object_id] = alert.condition.severity
        return found

    def _rack_severity(self) -> dict[str, Severity]:
        found: dict[str, Severity] = {}
        for alert in reversed(self.active_alerts()):
            rack = self.rack_of(alert.condition.object_id)
            if rack:
                found[rack] = alert.condition.severity
        return found

    def rack_of(self, object_id: str) -> str:
        """Return the rack that an object is or stands in (``R001-T01-G0``), or an empty string."""
        head = object_id.split("-")[0]
        if object_id in self.plant.envelope.nodes and self.plant.envelope[object_id].kind == "Rack":
            return object_id
        return head if head in self.plant.envelope.nodes else ""


def _is_power(kind: str) -> bool:
    return kind in ("PowerMeter", "UPS", "Feed")


def _or(value: float, otherwise: float) -> float:
    return otherwise if math.isnan(value) else value


def _hottest(now: Now) -> Now:
    """Return the highest good value of each row, with its time."""
    rows = now.value.shape[0]
    if now.value.size == 0:
        return Now(np.full(rows, np.nan), np.zeros(rows, np.int64), np.zeros(rows, np.uint8))
    value = np.where(now.quality == Quality.BAD, -np.inf, np.nan_to_num(now.value, nan=-np.inf))
    best = value.argmax(axis=1)
    each = np.arange(rows)
    top = value[each, best]
    return Now(
        np.where(np.isfinite(top), top, np.nan),
        now.observed[each, best],
        np.where(np.isfinite(top), now.quality[each, best], Quality.BAD).astype(np.uint8),
    )


def _row(grid: Grid, point: int) -> Grid:
    """Return one point's row of a grid, as a grid of one row."""
    rows = np.flatnonzero(grid.point == point)
    values = grid.values[rows] if len(rows) else np.full((1, len(grid.start)), np.nan)
    return Grid(np.array([point], np.int32), grid.start, grid.step, values)
