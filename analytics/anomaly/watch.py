"""The whole factory watched together: racks, CDUs, taps, UPSes, air, GPUs and instruments, and the incidents they are in.

Pure: readings come in as arrays, what was found goes out. The service feeds it every few seconds, the benchmark with
weeks of a simulated factory.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass

import numpy as np

from analytics.anomaly import air as air_signals
from analytics.anomaly import cdus as cdu_signals
from analytics.anomaly import racks as rack_signals
from analytics.anomaly import taps as tap_signals
from analytics.anomaly import upses as ups_signals
from analytics.anomaly.air import AirReadings, AirScorer
from analytics.anomaly.cdus import CduReadings, CduScorer, CduScores
from analytics.anomaly.gpus import GpuTable, GpuWatch
from analytics.anomaly.incidents import NEAR, Finding, Grouping, Incident, IncidentBook
from analytics.anomaly.instruments import InstrumentWatch
from analytics.anomaly.peers import group_median
from analytics.anomaly.racks import (
    FLOW,
    HEAT,
    PATH,
    PRESSURE,
    SUPPLY,
    WIDE_OPEN,
    RackReadings,
    RackScorer,
    RackScores,
)
from analytics.anomaly.residuals import ResidualTrack, median
from analytics.anomaly.sensors import Verdict
from analytics.anomaly.signatures import MEASURES, OF_WARM_WATER, RESTS_ON, TROUBLE
from analytics.anomaly.taps import TapReadings, TapScorer
from analytics.anomaly.upses import UpsReadings, UpsScorer
from analytics.anomaly.virtual import from_peers
from domain.errors import InputError
from domain.points import IntArray, ValueArray
from domain.site import Site

RACK_INSTRUMENTS = {
    "RackLiquidFlow": 12.0,
    "RackLiquidReturnTemperature": 2.5,
    "RackLiquidSupplyTemperature": 1.0,
    "RackLiquidDifferentialPressure": 6000.0,
}
"""Tolerance of each, canonical unit."""
CDU_INSTRUMENTS = {
    "LiquidFlow": 60.0,
    "LiquidTemperature supply": 3.0,
    "LiquidTemperature return": 2.5,
    "LiquidDifferentialPressure": 8000.0,
}
JUDGE_S = 120.0
"""Between two judgements of the instruments."""
SETTLED_S = 600.0
"""Time after the warm-up within which whatever was wrong at the start is found."""
GPU_S = 30.0
"""Between two looks at all GPUs: the dearest part, and cold plates foul slowly."""
LEAST_SAG = 0.05
"""Share by which a feed's voltage may lie under that of the best feed."""
WARMER_WATER = 2.5
"""How far the facility water may be from what is usual, K; it follows the weather within the day."""
WARMING = 0.5
"""Score of the facility water from which CDUs that cannot hold their setpoint are no surprise."""
LATE_S = 180.0
"""Readings that carry a time so far from that of their arrival have a wrong clock."""
LATE_ROUNDS = 30
"""Rounds in a row: a backlog after an outage is late too, once."""


@dataclass(frozen=True, slots=True)
class PlantReadings:
    """All that is known of the plant at one moment; NaN where missing.

    Parameters
    ----------
    racks, cdus, taps
        See there.
    upses, air, gpus
        See there.
    feed_voltage
        Of the site's feeds, V, shape (feeds,).
    water
        Facility water supply temperature, Cel.
    late
        By how much the time that each rack's readings carry differs from that of their arrival, s, shape (racks,).
    """

    racks: RackReadings
    cdus: CduReadings
    taps: TapReadings
    upses: UpsReadings
    air: AirReadings
    gpus: GpuTable
    feed_voltage: ValueArray
    water: float
    late: ValueArray


@dataclass(frozen=True, slots=True)
class Taps:
    """The taps of a site.

    Parameters
    ----------
    ids
        Their ids.
    rack, busway
        Ids of the rack that each serves, and of what it hangs on.
    """

    ids: tuple[str, ...]
    rack: tuple[str, ...]
    busway: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Equipment:
    """What a site has beside racks and CDUs, in the order of the readings.

    Parameters
    ----------
    taps
        Of the racks.
    upses, air_units
        Their ids.
    gpus
        Ids of the GPUs by rack.
    chiller
        What the facility water comes from; the site where nothing is known of it.
    """

    taps: Taps
    upses: tuple[str, ...]
    air_units: tuple[str, ...]
    gpus: Sequence[Sequence[str]]
    chiller: str


class FactoryWatch:
    """Watches one site.

    Parameters
    ----------
    site
        What is built where.
    """

    def __init__(self, site: Site) -> None:
        pod = {name: i for i, p in enumerate(site.pods) for name in (*p.racks, *p.cdus)}
        self.site = site
        self.rack_pods = np.array([pod[r] for r in site.racks], np.int32)
        self.cdu_pods = np.array([pod[c] for c in site.cdus], np.int32)
        self.racks = RackScorer(site.racks, self.rack_pods)
        self.cdus = CduScorer(site.cdus, self.cdu_pods)
        self.feeds = feeds_of(site)
        self.taps = TapScorer((), _indices(()), _indices(()))
        self.upses = UpsScorer(())
        self.air = AirScorer(())
        self.water = ResidualTrack(
            np.array([[WARMER_WATER]]), 1, 60.0, 6 * 3600.0, np.array([[2.0 * WARMER_WATER]])
        )
        self.gpus = GpuWatch((len(site.racks), 0))
        self.gpu_ids: list[list[str]] = []
        self._rack_taps: dict[str, np.ndarray] = {}
        self.chiller = site.id
        self.rack_scores: RackScores | None = None
        self.cdu_scores: CduScores | None = None
        self.instruments = (
            _instruments(site.racks, self.rack_pods, RACK_INSTRUMENTS),
            _instruments(
                site.cdus,
                self.cdu_pods,
                CDU_INSTRUMENTS,
                swaps=("LiquidTemperature supply", "LiquidTemperature return"),
            ),
        )
        self.faulty: dict[tuple[str, str], Verdict] = {}
        self.book = IncidentBook(Grouping({}, {}, frozenset()))
        self._since_gpus = 0.0
        self._judged = -math.inf
        self._usual_water = math.nan
        self._water_score = 0.0
        self._late = np.zeros(len(site.racks), np.int16)

    @property
    def warm(self) -> bool:
        """Whether it has watched for long enough to find anything."""
        return self.racks.track.age > self.racks.warm_up

    @property
    def settled(self) -> bool:
        """Whether all that is wrong would have been found by now, so that what is not found is over."""
        return self.racks.track.age > self.racks.warm_up + SETTLED_S

    def mistrusted(self) -> dict[tuple[str, str], Verdict]:
        """Return the instruments that misbehave, and those that an incident has found to lie."""
        liars = [i.cause for i in list(self.book.open) if i.cause.fault in MEASURES]
        return {(c.root, MEASURES[c.fault]): Verdict.DRIFTING for c in liars} | self.faulty

    def estimates(self) -> dict[tuple[str, str], float]:
        """Return the virtual reading of every instrument that is not trusted, NaN where nothing tells what it should be."""
        found = {}
        for key, verdict in self.mistrusted().items():
            if verdict is Verdict.WRONG_CLOCK:
                continue  # what it reads is right
            known = [instruments.expected(key) for instruments in self.instruments]
            known += [self._expected_of_gpu(key)]
            found[key] = next((value for value in known if math.isfinite(value)), math.nan)
        return found

    def _expected_of_gpu(self, key: tuple[str, str]) -> float:
        if key[1] != "GpuTemperature":
            return math.nan
        place = next(((r, row.index(key[0])) for r, row in enumerate(self.gpu_ids) if key[0] in row), None)
        return (
            math.nan if place is None else float(self.gpus.expected[place[0] * self.gpus.shape[1] + place[1]])
        )

    def reasons(self) -> dict[str, str]:
        """Return the signals behind every rack and CDU that is anomalous now."""
        found: dict[str, str] = {}
        for ids, scores in ((self.site.racks, self.rack_scores), (self.site.cdus, self.cdu_scores)):
            if scores is not None:
                found |= {ids[i]: scores.signals(int(i)) for i in np.flatnonzero(scores.score > 1.0)}
        return found

    def accept(self, object_id: str) -> None:
        """Take the present state of a rack or CDU, and of all in an incident that it is the root of, as usual.

        Raises
        ------
        InputError
            If the site has no such rack or CDU.
        """
        if object_id not in self.site.racks and object_id not in self.site.cdus:
            raise InputError(f"{object_id[:200]!r} is no rack and no CDU of this site")
        of_incident = [i.members for i in self.book.open if i.cause.root == object_id]
        for name in {object_id}.union(*of_incident):
            if name in self.site.racks:
                self.racks.accept(self.site.racks.index(name))
            elif name in self.site.cdus:
                self.cdus.accept(self.site.cdus.index(name))

    def rewire(self, equipment: Equipment, grouping: Grouping) -> None:
        """Take over what is known of the plant beside racks and CDUs, and who serves whom.

        Taps, UPSes, air handlers and GPUs that are not those known so far are learnt anew.
        """
        taps = equipment.taps
        if taps.ids != tuple(self.taps.taps):
            self.taps = TapScorer(taps.ids, _indices(taps.rack), _indices(taps.busway))
        if equipment.upses != tuple(self.upses.upses):
            self.upses = UpsScorer(equipment.upses)
        if equipment.air_units != tuple(self.air.units):
            self.air = AirScorer(equipment.air_units)
        ids = [list(row) for row in equipment.gpus]
        if ids != self.gpu_ids:
            self.gpus = GpuWatch((len(ids), max((len(row) for row in ids), default=0)))
            self._since_gpus = 0.0
        self.gpu_ids = ids
        self.chiller = equipment.chiller
        self._rack_taps = {rack: np.array([t == rack for t in taps.rack]) for rack in set(taps.rack)}
        self.book.grouping = grouping

    def update(self, now: int, readings: PlantReadings, seconds: float) -> list[Incident]:
        """Take in the next readings, `seconds` after the last ones; returns the incidents that were opened.

        Parameters
        ----------
        now
            UTC ms.
        """
        self.rack_scores = self.racks.update(readings.racks, seconds)
        if self.site.cdus:
            self.cdu_scores = self.cdus.update(readings.cdus, seconds)
        tables = (
            (self.site.racks, self.rack_scores.contributions, rack_signals.SIGNALS),
            (
                self.site.cdus,
                np.zeros((0, 0)) if self.cdu_scores is None else self.cdu_scores.contributions,
                cdu_signals.SIGNALS,
            ),
            (tuple(self.taps.taps), self.taps.update(readings.taps, seconds), tap_signals.SIGNALS),
            (tuple(self.upses.upses), self.upses.update(readings.upses, seconds), ups_signals.SIGNALS),
            (tuple(self.air.units), self.air.update(readings.air, seconds), air_signals.SIGNALS),
        )
        self._follow_gpus(readings, seconds)
        self._watch_instruments(now, readings)
        warm = self._water_findings(readings.water, seconds)
        findings = [
            *self._findings(
                tables, OF_WARM_WATER if self._water_score > WARMING else (), self._waiting(now, readings)
            ),
            *self._feed_findings(readings.feed_voltage),
            *warm,
        ]
        opened, _ = self.book.update(now, findings)
        return opened

    def _waiting(self, now: int, readings: PlantReadings) -> set[str]:
        """Return the objects of which nothing comes any more, and of which nothing had lasted before: nothing new is found of them."""
        r, c, t = readings.racks, readings.cdus, readings.taps
        told = (
            (self.site.racks, (r.power, r.flow, r.supply, r.ret)),
            (self.site.cdus, (c.flow, c.supply, c.ret, c.dp)),
            (self.taps.taps, (t.power, t.voltage)),
            (self.upses.upses, (readings.upses.power_in, readings.upses.power_out)),
            (self.air.units, (readings.air.fan, readings.air.flow)),
        )
        away = {ids[i] for ids, values in told for i in np.flatnonzero(np.isnan(values).all(axis=0)).tolist()}
        return {name for name in away if not self.book.lasts(name, now)}

    def _findings(
        self,
        tables: Sequence[tuple[Sequence[str], ValueArray, Sequence[str]]],
        consequences: Sequence[str],
        waiting: Collection[str],
    ) -> list[Finding]:
        """Return what is anomalous, or near; `consequences` are signals that something else answers for."""
        found: list[Finding] = []
        explained: set[str] = set()
        if self.warm and self.gpus.shape[1]:
            signs = [rack_signals.SIGNALS.index(signal) for signal in TROUBLE]
            troubled = np.asarray((tables[0][1][:, signs] > 1.0).any(axis=1))
            found, explained = self.gpus.findings(self.gpu_ids, self.site.racks, troubled)
        dead = self._without_supply(tables[2][1])
        mistrusted: dict[str, list[str]] = {}
        for name, quantity in self.faulty:
            mistrusted.setdefault(name, []).append(quantity)
        for ids, table, signals in tables:
            for i in np.flatnonzero((table > NEAR).any(axis=1)).tolist():
                if ids[i] in waiting:
                    continue
                scores = dict(zip(signals, table[i].tolist(), strict=True))
                if ids[i] in explained:
                    scores.pop("GPU temperature", None)
                if ids[i] in dead:
                    scores.pop("power lost", None)
                for signal in consequences:
                    scores.pop(signal, None)
                for quantity in mistrusted.get(ids[i], ()):
                    for signal in RESTS_ON.get(quantity, ()):
                        scores.pop(signal, None)
                if any(score > NEAR for score in scores.values()):
                    found.append(Finding(ids[i], scores))
        return found

    def _without_supply(self, taps: ValueArray) -> set[str]:
        """Return the racks of which every tap lacks its supply: their power was not lost there."""
        down = taps[:, tap_signals.SIGNALS.index("supply voltage")] > 1.0 if len(taps) else np.zeros(0, bool)
        return {rack for rack, mine in self._rack_taps.items() if down[mine].all()} if down.any() else set()

    def _water_findings(self, water: float, seconds: float) -> list[Finding]:
        """Return a finding at the chilled-water plant where the facility water is not as warm as usual."""
        if math.isnan(self._usual_water):
            self._usual_water = water
        score = float(self.water.update(np.array([[water - self._usual_water]]), 0.0, seconds)[0, 0])
        self._water_score = score
        return (
            [Finding(self.chiller, {"facility water temperature": score})]
            if self.warm and score > NEAR
            else []
        )

    def _feed_findings(self, voltage: ValueArray) -> list[Finding]:
        """Return the feeds without voltage, which UPSes hide from all that hangs on them for as long as they can."""
        sag = 1.0 - voltage / max(float(np.fmax.reduce(voltage, initial=0.0)), 1.0)
        return [
            Finding(self.feeds[i], {"supply voltage": float(sag[i]) / LEAST_SAG})
            for i in np.flatnonzero(sag > NEAR * LEAST_SAG)
        ]

    def _follow_gpus(self, readings: PlantReadings, seconds: float) -> None:
        """Look at the GPUs where it is time again."""
        self._since_gpus += seconds
        if self._since_gpus >= GPU_S and readings.gpus.temperature.shape == self.gpus.shape:
            coolant = 0.5 * (readings.racks.supply + readings.racks.ret)
            self.gpus.update(readings.gpus, coolant, self._since_gpus)
            self._since_gpus = 0.0

    def _watch_instruments(self, now: int, readings: PlantReadings) -> None:
        r, c = readings.racks, readings.cdus
        racks, cdus = self.instruments
        pods = len(self.site.pods)
        own = self.racks.track.offset  # by what each rack differs from its peers while all is well
        racks.take(
            np.concatenate([r.flow, r.ret, r.supply, r.dp]),
            np.concatenate(
                [
                    self._expected_flow(r),
                    r.supply + self._expected_rise() + own[HEAT],
                    from_peers(r.supply, self.rack_pods, pods) + own[SUPPLY],
                    from_peers(r.dp, self.rack_pods, pods) * np.exp(own[PRESSURE]),
                ]
            ),
        )
        cdus.take(np.concatenate([c.flow, c.supply, c.ret, c.dp]), self._expected_of_cdus(readings))
        self._late = np.where(np.abs(readings.late) > LATE_S, self._late + 1, 0).astype(np.int16)
        if now - self._judged >= JUDGE_S * 1000 and self.warm:
            self._judged = now
            late = np.flatnonzero(self._late >= LATE_ROUNDS).tolist()
            clocks = {(self.site.racks[i], "clock"): Verdict.WRONG_CLOCK for i in late}
            self.faulty = racks.judge() | cdus.judge() | clocks | self.gpus.faulty(self.gpu_ids)

    def _expected_flow(self, r: RackReadings) -> ValueArray:
        """Return the flow that each rack's load asks for; where its valve can open no further, what that lets through."""
        lines, own = self.racks.lines, self.racks.track.offset
        asked = lines[FLOW].offset + lines[FLOW].slope * self.racks.load.now + own[FLOW]
        path = lines[PATH].offset + lines[PATH].slope * r.valve + own[PATH]
        untold = np.isnan(r.valve)
        most = np.where(untold, self.racks.most, path) + 0.5 * np.log(np.maximum(r.dp, 1.0))
        spent = np.where(untold, most < asked, (r.valve > WIDE_OPEN) & np.isfinite(most))
        return np.asarray(np.exp(np.where(spent, most, asked)))

    def _expected_rise(self) -> ValueArray:
        assert self.racks.rise is not None
        line = self.racks.lines[HEAT]
        return line.offset + line.slope * self.racks.rise.now

    def _expected_of_cdus(self, readings: PlantReadings) -> ValueArray:
        """Return what the racks of its pod say that a CDU's flow, supply, return and pressure should be."""
        r, c = readings.racks, readings.cdus
        pods = len(self.site.pods)
        # one whose meter is missing takes what its load asks for, one without coolant nothing
        wet = self.racks.track.met[[HEAT, SUPPLY]].any(axis=0)
        rack_flow = np.where(np.isfinite(r.flow) | ~wet, np.nan_to_num(r.flow), self._expected_flow(r))
        total = np.bincount(self.rack_pods, weights=rack_flow, minlength=pods)
        own = np.nan_to_num(c.flow)
        others = np.bincount(self.cdu_pods, weights=own, minlength=pods)[self.cdu_pods] - own
        unheard = np.bincount(self.cdu_pods, weights=np.isnan(c.flow), minlength=pods)[self.cdu_pods]
        # of a unit that is silent nobody knows what it carries
        flow = np.where(unheard > np.isnan(c.flow), np.nan, np.maximum(total[self.cdu_pods] - others, 0.0))
        warm = np.where(rack_flow > 0, rack_flow * r.ret, 0.0)
        mixed = np.bincount(self.rack_pods, weights=warm, minlength=pods) / np.maximum(total, 1.0)
        supply, pressure = (_pod_medians(v, self.rack_pods, pods) for v in (r.supply, r.dp))
        at_racks = pressure[self.cdu_pods]
        # pipes take their share on the way; pods without pressure tell nothing of that
        header = at_racks * median(c.dp / np.where(at_racks > 0, at_racks, np.nan))
        return np.concatenate([flow, supply[self.cdu_pods], mixed[self.cdu_pods], header])


def feeds_of(site: Site) -> tuple[str, ...]:
    """Return the meters of a site's feeds."""
    return tuple(node.meter or node.id for node in site.nodes if node.type == "Feed")


def _instruments(
    objects: Sequence[str], pods: IntArray, tolerances: dict[str, float], swaps: tuple[str, str] | None = None
) -> InstrumentWatch:
    names = [(name, quantity) for quantity in tolerances for name in objects]
    pairs = []
    if swaps is not None:
        first, second = (list(tolerances).index(s) * len(objects) for s in swaps)
        pairs = [(first + i, second + i) for i in range(len(objects))]
    count = int(pods.max(initial=-1)) + 1
    group = np.concatenate([pods + i * count for i in range(len(tolerances))])
    return InstrumentWatch(names, np.repeat(list(tolerances.values()), len(objects)), group, pairs)


def _pod_medians(values: ValueArray, pods: np.ndarray, count: int) -> ValueArray:
    return group_median(values, pods, count)


def _indices(names: Sequence[str]) -> np.ndarray:
    place = {name: i for i, name in enumerate(dict.fromkeys(names))}
    return np.array([place[name] for name in names], np.int32)
