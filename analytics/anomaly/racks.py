"""An anomaly score for every rack, from physics and from its peers, brought up to date every few seconds.

Each rack is asked: does its coolant carry away what it draws, do its flow and its coolant's rise follow its power
as those of the others do, are its pressure and its supply temperature those of its pod, and its pod's those of the other pods,
are its GPUs as warm as those of other racks at the same power and coolant, does its valve let through what it should at its
position and does it move when the load does, has it lost its power, does it leak.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from analytics.anomaly.naming import named
from analytics.anomaly.peers import group_median
from analytics.anomaly.residuals import SETTLE, FleetLine, Lagged, ResidualTrack, Standstill, Stopped, median
from domain.errors import InputError
from domain.plant.gpu import GpuModel
from domain.plant.rack import COOLANT_HEAT, RackModel
from domain.points import IntArray, ValueArray

SIGNALS = (
    "heat balance",
    "coolant flow",
    "coolant rise",
    "differential pressure",
    "supply temperature",
    "pod differential pressure",
    "pod supply temperature",
    "GPU temperature",
    "coolant path",
    "valve standstill",
    "power lost",
    "leak",
)
(
    HEAT, FLOW, RISE, PRESSURE, SUPPLY, POD_PRESSURE, POD_SUPPLY, GPU, PATH, STILL, LOST, LEAK,
) = range(len(SIGNALS))  # fmt: skip

LEAST_LIMIT = np.array([2.0, 0.08, 2.5, 0.08, 0.7, 0.08, 1.0, 4.0, 0.12, 0.03, 0.5, 0.5])[:, None]
"""Residuals below these mean nothing (K, ln, K, ln, K, ln, K, K, ln, share of the stroke, yes or no twice): accuracy of plain
plant instruments, and a dead band that a plain valve may have."""
NATURAL = np.array([2.0, 0.5, 8.0, 0.16, 1.4, 0.16, 2.0, 10.0, 0.6, 0.0, 0.0, 0.0])[:, None]
"""By how much a rack may differ by nature: valves are sized and flows set as people please, but no heat is lost on its way."""
VALVE_STEP = 0.0025
"""A valve whose position changes by less has not moved."""
VALVE_PROOF = 0.012
"""The least movement that says anything of a valve that is known to follow smaller ones, share of the stroke: 4 % of the load."""
VALVE_PATIENCE = 60.0
"""For so long a valve may take to follow, controllers that hold and clocks that are off included, s."""
VALVE_LOOKS = 5
"""What lasts less than half as many looks, no valve follows."""
LEAST_OPEN = 0.06
"""Position below which a valve cannot go further and need not move."""
FULL_RISE = 33.6
"""Rise of a GPU over its coolant, K, at full load: residuals are told as if a rack were loaded so."""
IDLE = 0.45
"""Share of the largest rack's power below which a valve may stand at its least flow, whatever the load asks for."""
WIDE_OPEN = 0.92
"""Position, as a plain positioner tells it, from which a valve may have no more to give: how much it lets through says all."""
NEARLY_ALL = math.log(0.95)
"""A path that lets through this share of the most that it ever did may have no more to give: of valves that tell no position."""
FORGETS = 14 * 86_400.0
"""The most that a path ever let through is forgotten with this time constant, s."""
OFF = 0.02
"""A rack below this share of the largest rack's power is off."""
HOTTEST_RISE = 40.0
"""A coolant temperature rise, K, beyond which the model of a rack's return no longer holds."""


@dataclass(frozen=True, slots=True)
class RackReadings:
    """What is known of all racks at one moment; NaN where missing. Every array has shape (racks,).

    Parameters
    ----------
    power
        Electric power, W.
    supply, ret
        Coolant supply and return temperature, Cel.
    flow
        Coolant flow, L/min.
    dp
        Differential pressure, Pa.
    gpu_max, gpu_power
        Temperature of the hottest GPU, Cel, and mean power of a GPU, W.
    valve
        Position of the control valve, 0 to 1.
    leak
        1 where the leak detector tells a leak.
    """

    power: ValueArray
    supply: ValueArray
    ret: ValueArray
    flow: ValueArray
    dp: ValueArray
    gpu_max: ValueArray
    gpu_power: ValueArray
    valve: ValueArray
    leak: ValueArray


@dataclass(frozen=True, slots=True)
class RackScores:
    """How anomalous each rack is.

    Parameters
    ----------
    score
        Above 1 is anomalous, shape (racks,); NaN before the warm-up is over, and where nothing is known.
    contributions
        Score of each signal of `SIGNALS`, shape (racks, signals), NaN where it was never known; the score is
        the highest. A reading that is missing now leaves its signal as it was.
    """

    score: ValueArray
    contributions: ValueArray

    def signals(self, rack: int) -> str:
        """Names of the signals behind a rack's score, strongest first; empty where all is well."""
        return named(self.contributions[rack], list(SIGNALS)) if self.score[rack] > 1.0 else ""


@dataclass(slots=True)
class RackScorer:
    """Scores all racks of a site, online.

    Parameters
    ----------
    racks
        Their ids, in the order of the arrays.
    pods
        Index of each rack's pod, from 0, shape (racks,).
    rack, gpu
        Physics to start from; slopes and offsets are learnt from the fleet.
    smoothing
        Time constant over which residuals are averaged, s.
    control_lag
        Time that a CDU's valves need to settle after a change of load, s.
    memory
        Time constant of what is learnt (lines, each rack's own offset and noise), s.
    warm_up
        Time before anything is scored, s.
    """

    racks: Sequence[str]
    pods: IntArray
    rack: RackModel = field(default_factory=RackModel)
    gpu: GpuModel = field(default_factory=GpuModel)
    smoothing: float = 40.0
    control_lag: float = 120.0
    memory: float = 6 * 3600.0
    warm_up: float = 300.0
    lines: dict[int, FleetLine] = field(init=False)
    track: ResidualTrack = field(init=False)
    rise: Lagged | None = field(init=False, default=None)
    load: Lagged = field(init=False)
    die: Lagged = field(init=False)
    pod_load: Lagged = field(init=False)
    valve: Standstill = field(init=False)
    most: ValueArray = field(init=False)
    """The most that each path has let through for minutes, ln of L/min over the root of Pa, shape (racks,)."""
    passing: ValueArray = field(init=False)
    """What each lets through, averaged over minutes."""
    resting: Stopped = field(init=False)

    def __post_init__(self) -> None:
        if len(self.racks) != len(self.pods):
            raise InputError(
                f"{len(self.racks)} racks but {len(self.pods)} pod indices; give one for each rack"
            )
        self.lines = {
            HEAT: FleetLine(1.0, 3.0),
            FLOW: FleetLine(1.0, 0.2),
            RISE: FleetLine(0.0, 0.2),
            GPU: FleetLine(self.gpu.resistance, 200.0),
            PATH: FleetLine(math.log(self.rack.rangeability), 0.15),
        }
        self.valve = Standstill(len(self.racks), VALVE_STEP, VALVE_PATIENCE, VALVE_LOOKS)
        self.most, self.passing = np.full((2, len(self.racks)), np.nan)
        self.resting = Stopped(len(self.racks))
        self.track = ResidualTrack(LEAST_LIMIT, len(self.racks), self.smoothing, self.memory, NATURAL)

    def update(self, now: RackReadings, seconds: float = 10.0) -> RackScores:
        """Take in the next readings, `seconds` after the last ones.

        Raises
        ------
        InputError
            An array that has not one value a rack.
        """
        self._check(now)
        self._follow(now, seconds)
        parts = self.track.update(*self._residuals(now, seconds), seconds)
        self._learn(now, seconds)
        if self.track.age <= self.warm_up:
            nothing = np.full((len(self.racks), len(SIGNALS)), np.nan)
            return RackScores(nothing[:, 0], nothing)
        return RackScores(np.fmax.reduce(parts, axis=0), np.ascontiguousarray(parts.T))

    def accept(self, rack: int) -> None:
        """Take the present state of a rack as usual, after work on it."""
        self.track.accept(rack, (LOST, LEAK))
        self.valve.accept(rack)
        self.resting.accept(rack)

    def _follow(self, now: RackReadings, seconds: float) -> None:
        """Bring what lags behind the power up to date."""
        carried = COOLANT_HEAT * np.maximum(now.flow, self.rack.stagnant)
        rise = np.minimum(self.rack.liquid_share * now.power / carried, 10.0 * HOTTEST_RISE)
        load = np.log(np.maximum(now.power, 1.0))
        pod_load = np.log(np.maximum(np.bincount(self.pods, weights=np.nan_to_num(now.power)), 1.0))
        if self.rise is None:
            self.rise, self.load = Lagged.settled(rise), Lagged.settled(load)
            self.die, self.pod_load = Lagged.settled(now.gpu_power), Lagged.settled(pod_load)
            return
        lag = np.where(np.isfinite(carried), self.rack.heat_capacity / carried, 60.0)
        self.rise.follow(rise, seconds, np.minimum(lag, 600.0))
        self.load.follow(load, seconds, self.rack.valve_lag)
        self.die.follow(now.gpu_power, seconds, self.gpu.die_lag)
        self.pod_load.follow(pod_load, seconds, self.control_lag)

    def _residuals(self, now: RackReadings, seconds: float) -> tuple[ValueArray, ValueArray]:
        """Residual and slack of every signal, shape (signals, racks)."""
        assert self.rise is not None
        off = now.power < OFF * np.fmax.reduce(now.power)  # a rack that is switched off is not judged
        pressure = np.log(np.maximum(now.dp, 1.0))
        pods = len(self.pod_load.now)
        pod_supply, pod_pressure = (
            group_median(now.supply, self.pods, pods),
            group_median(pressure, self.pods, pods),
        )
        residual = np.zeros((len(SIGNALS), len(self.racks)))
        slack = np.zeros_like(residual)
        for signal, x, y, lagged in self._lines_of(now):
            residual[signal] = self.lines[signal].residual(x, y)
            slack[signal] = lagged.slack * (1.0 if signal == RISE else abs(self.lines[signal].slope))
        # a rack whose hottest GPU has a worse cold plate than others' is hotter in proportion to its load
        residual[GPU] *= self._gpu_scale()
        x, y = _path(now, self.rack.stagnant)
        residual[PATH] = self.lines[PATH].residual(x, y)
        spent = (now.valve > WIDE_OPEN) & np.isfinite(y)
        own = self.track.offset
        spent |= np.isnan(now.valve) & self._at_most(y, seconds)
        idle = now.power < IDLE * np.fmax.reduce(now.power)
        more, warmer = ~(residual[FLOW] < own[FLOW]), residual[RISE] > own[RISE]
        less = ~more | (self.track.known[FLOW] < SETTLE)
        # what is excused tells nothing of a rack's nature either
        for signal, excused in (
            (FLOW, (spent & less) | (idle & more)),
            (RISE, (spent & warmer) | (idle & ~warmer)),
            (GPU, idle),
        ):
            slack[signal, excused] = np.inf
            residual[signal, idle & (self.track.known[signal] < SETTLE)] = np.nan
        residual[PRESSURE] = pressure - pod_pressure[self.pods]
        residual[SUPPLY] = now.supply - pod_supply[self.pods]
        residual[POD_PRESSURE] = (pod_pressure - median(pod_pressure))[self.pods]
        residual[POD_SUPPLY] = (pod_supply - median(pod_supply))[self.pods]
        # the CDU's valve follows the load late; until then its supply strays by that share of the rise
        unsettled = np.abs(self.pod_load.cause - self.pod_load.now)
        slack[POD_SUPPLY] = median(now.ret - now.supply) * unsettled[self.pods]
        residual[HEAT, np.maximum(self.rise.now, self.rise.cause) > HOTTEST_RISE] = np.nan
        residual[STILL] = self._standstill(now, seconds)
        unknown = ~np.isfinite(now.power)  # of a load that is not known nothing follows
        for signal in (HEAT, FLOW, RISE, STILL):
            residual[signal, unknown] = np.nan
        residual[:, off] = np.nan
        residual[LOST] = np.where(np.isfinite(now.power), self.resting.update(~off, seconds), np.nan)
        residual[LEAK] = now.leak
        return residual, slack

    def _gpu_scale(self) -> ValueArray:
        """Return the rise of a fully loaded rack's hottest GPU over what it is at the present load, shape (racks,)."""
        line = self.lines[GPU]
        due = self.die.now * line.slope + line.offset
        return np.asarray(FULL_RISE / np.clip(due, 0.4 * FULL_RISE, 2.0 * FULL_RISE))

    def _standstill(self, now: RackReadings, seconds: float) -> ValueArray:
        """Return how far each valve should have moved since it last did, as a share of its stroke."""
        assert self.rise is not None
        load = np.where(np.isfinite(now.power), self.load.cause, np.nan)
        gain = self.lines[PATH].prior
        least = float(LEAST_LIMIT[STILL, 0])
        still = self.valve.update(now.valve, load, seconds) / gain
        still *= self.valve.sharpness(gain * least, gain * VALVE_PROOF, gain)
        # one that is wide open stands there for as long as the load asks for more: its flow tells when it should not
        within = self.valve.free(now.valve, (LEAST_OPEN, WIDE_OPEN))
        return np.where(within, still, np.where(np.isfinite(still), 0.0, np.nan))

    def _at_most(self, path: ValueArray, seconds: float) -> np.ndarray:
        """Return whose path lets through about the most that it ever did, by what was read before, shape (racks,)."""
        at_most = path > self.most + NEARLY_ALL
        known = np.isfinite(path)
        averaged = self.passing - math.expm1(-seconds / SETTLE) * (path - self.passing)
        self.passing = np.where(known, np.where(np.isfinite(averaged), averaged, path), self.passing)
        self.most = np.fmax(self.most - seconds / FORGETS, self.passing)
        return np.asarray(at_most)

    def _lines_of(self, now: RackReadings) -> list[tuple[int, ValueArray, ValueArray, Lagged]]:
        """Signal, cause, effect and lag of every question that is answered by a line through the fleet."""
        assert self.rise is not None
        plate = 0.5 * (now.supply + now.ret)
        return [
            (HEAT, self.rise.now, now.ret - now.supply, self.rise),
            (FLOW, self.load.now, np.log(np.maximum(now.flow, self.rack.stagnant)), self.load),
            (RISE, self.load.now, now.ret - now.supply, self.rise),
            (GPU, self.die.now, now.gpu_max - plate, self.die),
        ]

    def _learn(self, now: RackReadings, seconds: float) -> None:
        """Let the lines follow the racks that are well and whose power does not change just now, each freed of its own offset."""
        keep = math.exp(-seconds / self.memory)
        for signal, x, y, lagged in self._lines_of(now):
            line = self.lines[signal]
            steady = lagged.slack * max(abs(line.slope), 1e-3) < 0.5 * LEAST_LIMIT[signal]
            own = self.track.offset[signal] / (self._gpu_scale() if signal == GPU else 1.0)
            line.learn(x, y - own, keep, self.track.calm[signal] & steady)
        x, y = _path(now, self.rack.stagnant)
        self.lines[PATH].learn(x, y - self.track.offset[PATH], keep, self.track.calm[PATH])

    def _check(self, now: RackReadings) -> None:
        for name in RackReadings.__slots__:
            shape = getattr(now, name).shape
            if shape != (len(self.racks),):
                raise InputError(
                    f"{name} has shape {shape}; it must hold one value for each of {len(self.racks)} racks"
                )


def _path(now: RackReadings, stagnant: float) -> tuple[ValueArray, ValueArray]:
    """Return valve position, and the logarithm of flow over the root of the pressure: what the path lets through."""
    conductance = np.log(np.maximum(now.flow, stagnant)) - 0.5 * np.log(np.maximum(now.dp, 1.0))
    return now.valve, conductance
