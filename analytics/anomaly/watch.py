"""The whole factory watched together: racks, CDUs, taps, GPUs and instruments, and the incidents that they are in.

Pure: readings come in as arrays, what was found goes out. The service feeds it every few seconds, the benchmark with
weeks of a simulated factory.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from analytics.anomaly import cdus as cdu_signals
from analytics.anomaly import racks as rack_signals
from analytics.anomaly import taps as tap_signals
from analytics.anomaly.cdus import CduReadings, CduScorer, CduScores
from analytics.anomaly.incidents import Finding, Grouping, Incident, IncidentBook
from analytics.anomaly.instruments import InstrumentWatch
from analytics.anomaly.peers import group_median
from analytics.anomaly.plant import gpu_scores
from analytics.anomaly.racks import FLOW, HEAT, RackReadings, RackScorer, RackScores
from analytics.anomaly.sensors import Verdict
from analytics.anomaly.taps import TapReadings, TapScorer
from analytics.anomaly.virtual import from_peers
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
GPU_SMOOTHING = 60.0
"""Time constant over which a GPU's score is averaged, s."""
LEAST_SAG = 0.05
"""Share by which a feed's voltage may lie under that of the best feed."""
TRAY_MEMBERS = 3
"""So many anomalous GPUs of one tray are one finding at the tray."""


@dataclass(frozen=True, slots=True)
class PlantReadings:
    """All that is known of the plant at one moment; NaN where missing.

    Parameters
    ----------
    racks, cdus, taps
        See there.
    gpu_temperature, gpu_power
        Cel and W, shape (racks, GPUs of a rack).
    feed_voltage
        Of the site's feeds, V, shape (feeds,).
    """

    racks: RackReadings
    cdus: CduReadings
    taps: TapReadings
    gpu_temperature: ValueArray
    gpu_power: ValueArray
    feed_voltage: ValueArray


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
        self.gpu_ids: Sequence[Sequence[str]] = ()
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
        self._gpu_scores = np.zeros((0, 0))
        self._since_gpus = 0.0
        self._judged = -math.inf

    @property
    def warm(self) -> bool:
        """Whether it has watched for long enough to find anything."""
        return self.racks.track.age > self.racks.warm_up

    @property
    def settled(self) -> bool:
        """Whether all that is wrong would have been found by now, so that what is not found is over."""
        return self.racks.track.age > self.racks.warm_up + SETTLED_S

    def reasons(self) -> dict[str, str]:
        """Return the signals behind every rack and CDU that is anomalous now."""
        found: dict[str, str] = {}
        for ids, scores in ((self.site.racks, self.rack_scores), (self.site.cdus, self.cdu_scores)):
            if scores is not None:
                found |= {ids[i]: scores.signals(int(i)) for i in np.flatnonzero(scores.score > 1.0)}
        return found

    def rewire(self, taps: Taps, gpu_ids: Sequence[Sequence[str]], grouping: Grouping) -> None:
        """Take over what is known of the plant: its taps and GPUs, in the order of the readings, and who serves whom.

        Taps that are not those known so far are learnt anew.
        """
        if taps.ids != tuple(self.taps.taps):
            self.taps = TapScorer(taps.ids, _indices(taps.rack), _indices(taps.busway))
        self.gpu_ids = gpu_ids
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
        taps = self.taps.update(readings.taps, seconds)
        self._since_gpus += seconds
        if self._since_gpus >= GPU_S or not self._gpu_scores.size:
            self._follow_gpus(readings, self._since_gpus)
            self._since_gpus = 0.0
        self._watch_instruments(now, readings)
        findings = [*self._findings(taps), *self._feed_findings(readings.feed_voltage)]
        opened, _ = self.book.update(now, findings)
        return opened

    def _findings(self, taps: ValueArray) -> list[Finding]:
        assert self.rack_scores is not None
        of_cdus = np.zeros((0, 0)) if self.cdu_scores is None else self.cdu_scores.contributions
        found, explained = self._gpu_findings(self._gpu_scores if self.warm else np.zeros((0, 0)))
        for ids, table, signals in (
            (self.site.racks, self.rack_scores.contributions, rack_signals.SIGNALS),
            (self.site.cdus, of_cdus, cdu_signals.SIGNALS),
            (tuple(self.taps.taps), taps, tap_signals.SIGNALS),
        ):
            for i in np.flatnonzero((table > 1.0).any(axis=1)):
                scores = dict(zip(signals, table[i].tolist(), strict=True))
                if ids[i] in explained:
                    scores.pop("GPU temperature", None)
                if any(score > 1.0 for score in scores.values()):
                    found.append(Finding(ids[i], scores))
        return found

    def _feed_findings(self, voltage: ValueArray) -> list[Finding]:
        """Return the feeds without voltage, which UPSes hide from all that hangs on them for as long as they can."""
        sag = 1.0 - voltage / max(float(np.fmax.reduce(voltage, initial=0.0)), 1.0)
        return [
            Finding(self.feeds[i], {"supply voltage": float(sag[i]) / LEAST_SAG})
            for i in np.flatnonzero(sag > LEAST_SAG)
        ]

    def _gpu_findings(self, scores: ValueArray) -> tuple[list[Finding], set[str]]:
        """Return findings at GPUs, or at a tray with several of them; and the racks whose hottest GPU they explain."""
        trays: dict[str, list[tuple[str, float]]] = {}
        racks = set()
        for row, column in np.argwhere(scores > 1.0).tolist():
            gpu = self.gpu_ids[row][column]
            trays.setdefault(gpu.rpartition("-")[0], []).append((gpu, float(scores[row, column])))
            racks.add(self.site.racks[row])
        found = []
        for tray, members in trays.items():
            whole = [(tray, max(score for _, score in members))]
            listed = whole if len(members) >= TRAY_MEMBERS else members
            found += [Finding(name, {"GPU temperature": score}) for name, score in listed]
        return found, racks

    def _follow_gpus(self, readings: PlantReadings, seconds: float) -> None:
        """Bring up to date how far each GPU is from its neighbours at its power, shape (racks, GPUs of a rack)."""
        temperature = readings.gpu_temperature
        racks, width = temperature.shape
        if self._gpu_scores.shape != temperature.shape:
            self._gpu_scores = np.zeros(temperature.shape)
        if width:
            coolant = 0.5 * (readings.racks.supply + readings.racks.ret)
            rack = np.repeat(np.arange(racks, dtype=np.int32), width)
            now = gpu_scores(temperature.ravel(), readings.gpu_power.ravel(), coolant, rack, racks)
            step = np.minimum(now.reshape(temperature.shape), 4.0) - self._gpu_scores
            gain = -math.expm1(-seconds / GPU_SMOOTHING)
            self._gpu_scores += np.where(np.isfinite(step), gain * step, 0.0)

    def _watch_instruments(self, now: int, readings: PlantReadings) -> None:
        r, c = readings.racks, readings.cdus
        racks, cdus = self.instruments
        pods = len(self.site.pods)
        racks.take(
            np.concatenate([r.flow, r.ret, r.supply, r.dp]),
            np.concatenate(
                [
                    self._expected_flow(),
                    r.supply + self._expected_rise(),
                    from_peers(r.supply, self.rack_pods, pods),
                    from_peers(r.dp, self.rack_pods, pods),
                ]
            ),
        )
        cdus.take(np.concatenate([c.flow, c.supply, c.ret, c.dp]), self._expected_of_cdus(readings))
        if now - self._judged >= JUDGE_S * 1000 and self.warm:
            self._judged = now
            self.faulty = racks.judge() | cdus.judge()

    def _expected_flow(self) -> ValueArray:
        line = self.racks.lines[FLOW]
        return np.exp(line.offset + line.slope * self.racks.load.now)

    def _expected_rise(self) -> ValueArray:
        assert self.racks.rise is not None
        line = self.racks.lines[HEAT]
        return line.offset + line.slope * self.racks.rise.now

    def _expected_of_cdus(self, readings: PlantReadings) -> ValueArray:
        """Return what the racks of its pod say that a CDU's flow, supply, return and pressure should be."""
        r, c = readings.racks, readings.cdus
        pods = len(self.site.pods)
        total = np.bincount(self.rack_pods, weights=r.flow, minlength=pods)
        own = np.nan_to_num(c.flow)
        others = np.bincount(self.cdu_pods, weights=own, minlength=pods)[self.cdu_pods] - own
        flow = np.maximum(total[self.cdu_pods] - others, 0.0)
        mixed = np.bincount(self.rack_pods, weights=r.flow * r.ret, minlength=pods) / np.maximum(total, 1.0)
        supply, pressure = (_pod_medians(v, self.rack_pods, pods) for v in (r.supply, r.dp))
        return np.concatenate([flow, supply[self.cdu_pods], mixed[self.cdu_pods], pressure[self.cdu_pods]])


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
