"""An anomaly score for every coolant distribution unit, from its curves and from the other units.

Each is asked: does its pump give the head that its speed should, does its filter resist more than those of the
others, does it need more facility water for the same heat (a fouled exchanger, a stuck valve, another setpoint),
does it carry its share of its pod's flow, does the heat that it moves equal that of the racks, does its valve move when the
load does, does it hold its setpoint, and does its loop hold its pressure.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from analytics.anomaly.naming import named
from analytics.anomaly.plant import sharing
from analytics.anomaly.residuals import (
    FleetLine,
    Lagged,
    ResidualTrack,
    Standstill,
    Steps,
    Stopped,
    median,
    milder,
)
from domain.errors import InputError
from domain.plant.cdu import CduModel
from domain.plant.rack import COOLANT_HEAT
from domain.points import IntArray, ValueArray

SIGNALS = (
    "pump head", "filter", "facility water", "load sharing", "CDU heat balance", "valve standstill", "supply control",
    "loop pressure",
)  # fmt: skip
FILTER, WATER, SHARING, BALANCE, STILL, CONTROL, LOOP = range(1, len(SIGNALS))

LEAST_LIMIT = np.array([0.08, 0.25, 0.2, 0.1, 0.08, 0.1, 1.2, 0.015])[:, None]
"""Residuals below these mean nothing; shares or natural logarithms of ratios, but for the supply control: K."""
NATURAL = np.array([0.25, 0.6, 0.4, 0.2, 0.1, 0.0, 1.2, 0.005])[:, None]
"""By how much a unit may differ by nature."""
VALVE_STEP = 0.0025
"""A valve whose position changes by less has not moved."""
VALVE_PROOF = 0.04
"""The least share by which the heat's asking must move to say anything of a valve that is known to follow it."""
VALVE_LOOKS = 5
"""What lasts less than half as many looks, no valve follows."""
VALVE_ENDS = (0.02, 0.92)
"""Positions beyond which a valve may not go further and need not move, as a plain positioner tells them: the supply temperature tells the rest."""
IDLE = 0.05
"""Units below this share of the largest flow stand by and are not judged."""
WELL_LOADED = 0.6
"""Share of its largest flow from which a unit's facility water counts in full."""
TURNING = 0.1
"""Pump speed above which a unit runs."""


@dataclass(frozen=True, slots=True)
class CduReadings:
    """What is known of all CDUs at one moment; NaN where missing. Every array has shape (cdus,).

    Parameters
    ----------
    flow, dp, speed, filter_dp
        Coolant flow, L/min; pressure difference over the racks' header, Pa; pump speed, 0 to 1; pressure drop
        over the filter, Pa.
    supply, ret
        Coolant temperature to and from the racks, Cel.
    primary_flow
        Facility water, L/min.
    rack_heat
        Heat that the racks of its pod give to the coolant, W, as the racks' meters tell, and divided among the
        units by their flow.
    valve
        Position of the facility water's valve, 0 to 1.
    setpoint
        Supply temperature that the unit is told to hold, Cel.
    loop_pressure
        Static pressure of its loop at the pump's inlet, Pa.
    """

    flow: ValueArray
    dp: ValueArray
    speed: ValueArray
    filter_dp: ValueArray
    supply: ValueArray
    ret: ValueArray
    primary_flow: ValueArray
    rack_heat: ValueArray
    valve: ValueArray
    setpoint: ValueArray
    loop_pressure: ValueArray


@dataclass(frozen=True, slots=True)
class CduScores:
    """How anomalous each CDU is.

    Parameters
    ----------
    score
        Above 1 is anomalous, shape (cdus,); NaN before the warm-up is over, and where nothing is known.
    contributions
        Score of each signal of `SIGNALS`, shape (cdus, signals); the score is the highest.
    """

    score: ValueArray
    contributions: ValueArray

    def signals(self, cdu: int) -> str:
        """Names of the signals behind a unit's score, strongest first; empty where all is well."""
        return named(self.contributions[cdu], SIGNALS) if self.score[cdu] > 1.0 else ""


@dataclass(slots=True)
class CduScorer:
    """Scores all CDUs of a site, online.

    Parameters
    ----------
    cdus
        Their ids, in the order of the arrays.
    pods
        Index of each unit's pod, from 0, shape (cdus,).
    model
        Internal loss of the unit; heads, filters and facility water are compared with those of the other units.
    smoothing
        Time constant over which residuals are averaged, s.
    control_lag
        Time that the unit needs to settle after a change of load, s.
    memory
        Time constant of what is learnt, s.
    warm_up
        Time before anything is scored, s.
    """

    cdus: Sequence[str]
    pods: IntArray
    model: CduModel = field(default_factory=CduModel)
    smoothing: float = 60.0
    control_lag: float = 120.0
    memory: float = 6 * 3600.0
    warm_up: float = 300.0
    track: ResidualTrack = field(init=False)
    water: FleetLine = field(init=False)
    load: Lagged | None = field(init=False, default=None)
    resting: Stopped = field(init=False)
    valve: Standstill = field(init=False)
    filter_steps: Steps = field(init=False)
    top: ValueArray = field(init=False)
    """The largest flow of each unit so far, L/min."""
    filled: ValueArray = field(init=False)
    """Loop pressure of each unit when it was first read, Pa: loops are filled as people please."""

    def __post_init__(self) -> None:
        if len(self.cdus) != len(self.pods):
            raise InputError(f"{len(self.cdus)} CDUs but {len(self.pods)} pod indices; give one for each CDU")
        self.track = ResidualTrack(LEAST_LIMIT, len(self.cdus), self.smoothing, self.memory, NATURAL)
        self.water = FleetLine(1.2, 0.1)
        self.resting = Stopped(len(self.cdus))
        self.valve = Standstill(len(self.cdus), VALVE_STEP, self.control_lag, VALVE_LOOKS)
        self.filter_steps = Steps(len(self.cdus))
        self.filled = np.full(len(self.cdus), np.nan)
        self.top = np.full(len(self.cdus), np.nan)

    def update(self, now: CduReadings, seconds: float = 10.0) -> CduScores:
        """Take in the next readings, `seconds` after the last ones.

        Raises
        ------
        InputError
            An array that has not one value a unit.
        """
        for name in CduReadings.__slots__:
            shape = getattr(now, name).shape
            if shape != (len(self.cdus),):
                raise InputError(
                    f"{name} has shape {shape}; it must hold one value for each of {len(self.cdus)} CDUs"
                )
        self._follow(now, seconds)
        parts = self.track.update(*self._residuals(now, seconds), seconds)
        self._learn(now, seconds)
        if self.track.age <= self.warm_up:
            nothing = np.full((len(self.cdus), len(SIGNALS)), np.nan)
            return CduScores(nothing[:, 0], nothing)
        return CduScores(np.fmax.reduce(parts, axis=0), np.ascontiguousarray(parts.T))

    def accept(self, cdu: int) -> None:
        """Take the present state of a unit as usual, after work on it."""
        self.track.accept(cdu, (SHARING,) if self.resting.rested[cdu] > 0 else ())
        self.resting.accept(cdu)
        self.valve.accept(cdu)
        self.filled[cdu] = np.nan

    def _follow(self, now: CduReadings, seconds: float) -> None:
        load = np.log(np.maximum(now.rack_heat, 1.0))
        if self.load is None:
            self.load = Lagged.settled(load)
        else:
            self.load.follow(load, seconds, self.control_lag)

    def _residuals(self, now: CduReadings, seconds: float) -> tuple[ValueArray, ValueArray]:
        """Residual and slack of every signal, shape (signals, cdus)."""
        assert self.load is not None
        flow = np.nan_to_num(now.flow)
        # a pump that turns moves coolant, whatever the flow meter says
        running = (flow > IDLE * max(float(flow.max(initial=0.0)), 1.0)) | (now.speed > TURNING)
        filtering = np.where(np.isfinite(now.filter_dp), now.filter_dp, self.model.filter_loss * now.flow**2)
        heat = COOLANT_HEAT * now.flow * (now.ret - now.supply)
        pods = int(self.pods.max()) + 1

        def of_pod(values: ValueArray) -> ValueArray:
            total = np.bincount(self.pods, weights=np.where(running, values, 0.0), minlength=pods).astype(
                float
            )
            return total[self.pods]

        residual = np.stack(
            [
                _against_others(now.dp + filtering + self.model.loss * now.flow**2, now.speed**2, running),
                _against_others(now.filter_dp, now.flow**2, running),
                self.water.residual(self.load.now, _log_water(now)),
                # of two units the one that carries less is suspect, the other makes up for it
                np.minimum(sharing(now.flow, running.astype(float), self.pods, pods), 0.0),
                # a unit may take over some of its twin's heat; a meter that is wrong shows in the pod's sum too
                milder(_excess(heat, now.rack_heat), _excess(of_pod(heat), of_pod(now.rack_heat))),
                self._standstill(now.valve, of_pod(now.rack_heat), seconds),
                now.supply - now.setpoint,
                self._pressure_lost(now.loop_pressure),
            ]
        )
        # told as if at the largest flow: of a trickle's pressure drop a gauge tells little, and curves bend there
        self.top = np.fmax(self.top, now.flow)
        share, own = now.flow / np.maximum(self.top, 1.0), self.track.offset
        for signal, weight in ((FILTER, share**2), (WATER, share / WELL_LOADED)):
            residual[signal] = own[signal] + (residual[signal] - own[signal]) * np.minimum(weight, 1.0)
        residual[:, ~running] = np.nan
        unknown = ~np.isfinite(now.rack_heat)  # of a load that is not known nothing follows
        for signal in (WATER, BALANCE, STILL):
            residual[signal, unknown] = np.nan
        # one that stops is not just standing by
        residual[SHARING, self.resting.update(running, seconds) & np.isfinite(now.flow)] = -1.0
        # valves and metal follow the load late
        unsettled = np.abs(self.load.cause - self.load.now)
        slack = np.zeros_like(residual)
        # a coarse gauge says little of a clean filter
        slack[FILTER] = np.nan_to_num(
            self.filter_steps.update(now.filter_dp) / np.maximum(now.filter_dp, 1.0)
        )
        slack[WATER] = self.water.slope * unsettled
        slack[BALANCE] = unsettled
        slack[CONTROL] = np.nan_to_num(now.ret - now.supply) * unsettled
        return residual, slack

    def _standstill(self, valve: ValueArray, heat: ValueArray, seconds: float) -> ValueArray:
        """Return how far each valve should have moved since it last did, ln; one that is at its end need not."""
        still = self.valve.update(valve, self.water.prior * np.log(np.maximum(heat, 1.0)), seconds)
        # facility water follows the valve in proportion
        gain = 1.0 / np.maximum(np.nan_to_num(valve), VALVE_ENDS[0])
        still *= self.valve.sharpness(float(LEAST_LIMIT[STILL, 0]), VALVE_PROOF, gain)
        free = self.valve.free(valve, VALVE_ENDS)
        return np.where(free | ~np.isfinite(still), still, 0.0)

    def _pressure_lost(self, pressure: ValueArray) -> ValueArray:
        """Return the logarithm of each loop's pressure over its own first one, against the other loops."""
        self.filled = np.where(
            np.isfinite(self.filled), self.filled, np.where(pressure > 0, pressure, np.nan)
        )
        change = np.log(np.maximum(pressure, 1.0) / self.filled)
        return np.asarray(change - median(change))

    def _learn(self, now: CduReadings, seconds: float) -> None:
        """Let the line of facility water follow the units that are well and settled."""
        assert self.load is not None
        settled = np.abs(self.load.cause - self.load.now) < 0.5 * LEAST_LIMIT[WATER]
        healthy = self.track.calm[WATER] & settled
        water = _log_water(now) - self.track.offset[WATER]
        self.water.learn(self.load.now, water, math.exp(-seconds / self.memory), healthy)


def _against_others(above: ValueArray, below: ValueArray, running: np.ndarray) -> ValueArray:
    """Logarithm of a ratio, minus the median of the running units."""
    good = running & (above > 0) & (below > 0)
    ratio = np.full(len(above), math.nan)
    ratio[good] = np.log(above[good] / below[good])
    return ratio - median(ratio)


def _excess(heat: ValueArray, expected: ValueArray) -> ValueArray:
    return np.where(expected > 0, heat / np.maximum(expected, 1.0) - 1.0, np.nan)


def _log_water(now: CduReadings) -> ValueArray:
    return np.where(now.primary_flow > 1.0, np.log(np.maximum(now.primary_flow, 1.0)), np.nan)
