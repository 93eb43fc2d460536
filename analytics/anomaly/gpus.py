"""Every GPU against the others of its rack: temperature, memory temperature, work, clock, errors, and whether it is there.

One pass over all GPUs every half minute; the dearest part of the watch.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from analytics.anomaly.incidents import NEAR, Finding
from analytics.anomaly.peers import row_median
from analytics.anomaly.plant import gpu_residual, gpu_scores
from analytics.anomaly.residuals import SETTLE, Standstill
from analytics.anomaly.sensors import Verdict
from domain.points import ValueArray

SIGNALS = (
    "GPU temperature", "GPU memory temperature", "GPU work", "GPU clock", "memory errors", "NVLink errors", "GPU lost",
)  # fmt: skip
HEAT, MEMORY, WORK, CLOCK, ECC, LINKS, LOST = range(len(SIGNALS))

SMOOTHING = np.array([60.0, 600.0, 300.0, 300.0])[:, None]
"""Time constants over which the first four are averaged, s: cold plates foul slowly, work comes in bursts."""
HOTTER, MEMORY_HOTTER = 6.0, 5.0
"""How much warmer than its neighbours a GPU, and its memory over its own die, may be, K."""
LESS_WORK, SLOWER = 0.12, 0.2
"""By how much less power (ln) and clock (share) than its neighbours a GPU may get along."""
BUSY = 0.4
"""Racks whose middle GPU draws less than this share of the busiest one are not compared by their work."""
WINDOW = 600.0
"""Errors are counted over about this time, s."""
CORRECTED, LINK = 20.0, 20.0
"""Corrected memory errors and NVLink errors within that time that are too many; one uncorrected error is."""
STUCK = 8.0
"""A temperature that stands still while the GPU's power moves it by so many kelvins is stuck."""
STILL_LOOKS, STILL_TIMES = 90, 4
"""So is one that stands still for so many looks, and so many times longer than nine tenths of its rack do,"""
STILL_SPAN = 1.5
"""and should have moved by so many kelvins: a GPU whose power is capped stands still and is well."""
OWN_HEAT, OWN_WORK = 0.35, 0.2
"""How far a GPU's thermal resistance, and its power at the same work (ln), may by nature lie from its neighbours'."""
LEARNING, FORGETTING = 86_400.0, 30 * 86_400.0
"""What is its nature is learnt within about a day and hardly follows afterwards: cold plates foul within weeks, s."""
NATURAL = np.array([OWN_HEAT, OWN_WORK])[:, None]
LEAST_WARM = 8.0
"""Below so many kelvins over the coolant a temperature in whole degrees says little of the thermal resistance."""
AIR = 25.0
"""Temperature that GPUs without coolant are taken to breathe, Cel; what it is off by, it is for all of a rack."""
CONFIRM = 2
"""Looks in a row at which a temperature must be stuck."""
WORST = 4.0
"""A single score counts at most this much."""
TRAY_MEMBERS = 3
"""So many anomalous GPUs of one tray are one finding at the tray; of a rack that lags behind, one at the rack."""


@dataclass(frozen=True, slots=True)
class GpuTable:
    """What is known of all GPUs at one moment; NaN where missing. Every array has shape (racks, GPUs of a rack).

    Parameters
    ----------
    temperature, memory_temperature
        Cel.
    power
        W.
    clock, utilization
        Hz, and the share of time in which it worked, 0 to 1.
    available
        0 where the driver has lost it.
    corrected, uncorrected, link_errors
        Counters.
    """

    temperature: ValueArray
    memory_temperature: ValueArray
    power: ValueArray
    clock: ValueArray
    utilization: ValueArray
    available: ValueArray
    corrected: ValueArray
    uncorrected: ValueArray
    link_errors: ValueArray


@dataclass(slots=True)
class GpuWatch:
    """Follows the GPUs of a site.

    Parameters
    ----------
    shape
        Racks, and GPUs of a rack.
    """

    shape: tuple[int, int]
    score: ValueArray = field(init=False)
    """Of each signal, shape (signals, racks x GPUs)."""
    seen: ValueArray = field(init=False)
    """Counters when they were last read, shape (3, racks x GPUs)."""
    errors: ValueArray = field(init=False)
    still: Standstill = field(init=False)
    stuck: np.ndarray = field(init=False)
    heat: ValueArray = field(init=False)
    run: np.ndarray = field(init=False)
    """For how many looks each temperature has stood still."""
    expected: ValueArray = field(init=False)
    """What each temperature should be by the others, Cel."""
    own: ValueArray = field(init=False)
    """By what each differs by nature in thermal resistance (share) and power (ln), shape (2, racks x GPUs)."""
    known: ValueArray = field(init=False)
    """For how long its nature has been looked at, s, shape (2, racks x GPUs)."""

    def __post_init__(self) -> None:
        size = self.shape[0] * self.shape[1]
        self.score = np.zeros((len(SIGNALS), size))
        self.seen, self.errors = np.full((3, size), np.nan), np.zeros((3, size))
        self.still = Standstill(size, 0.5)
        self.stuck = np.zeros(size, np.int16)
        self.run = np.zeros(size, np.int32)
        self.heat, self.expected = np.full(size, np.nan), np.full(size, np.nan)
        self.own, self.known = np.zeros((2, size)), np.zeros((2, size))

    def update(self, now: GpuTable, coolant: ValueArray, seconds: float) -> None:
        """Take in the next readings, `seconds` after the last ones.

        Parameters
        ----------
        coolant
            Mean temperature at the cold plates of each rack, Cel, shape (racks,).
        """
        width = self.shape[1]
        if not width:
            return
        around = np.where(np.isfinite(coolant), coolant, AIR)
        off = gpu_residual(now.temperature, now.power, around)
        warm = now.temperature - off - around[:, None]
        heat = now.temperature.ravel()
        span = self.still.update(heat, (now.temperature - off).ravel())
        # what is stuck has taught nonsense
        self.own[0, self.stuck >= CONFIRM] = 0.0
        off = off - self.own[0].reshape(self.shape) * warm
        self.expected = (now.temperature - off).ravel()
        self.run = np.where(heat == self.heat, self.run + 1, 0).astype(np.int32)
        self.heat = heat
        fellows = np.sort(self.run.reshape(self.shape), axis=1)[:, int(0.9 * width)]
        still = (self.run >= np.maximum(STILL_LOOKS, STILL_TIMES * np.repeat(fellows, width))) & (
            span > STILL_SPAN
        )
        self.stuck = np.where((span > STUCK) | still, self.stuck + 1, 0).astype(np.int16)
        rise = now.memory_temperature - now.temperature
        memory = np.abs(rise - row_median(rise)[:, None]) / MEMORY_HOTTER
        usual = row_median(now.power)
        idle = usual < BUSY * float(np.fmax.reduce(usual, initial=0.0))
        with np.errstate(divide="ignore", invalid="ignore"):
            less = -np.log(np.maximum(now.power, 1.0) / usual[:, None]) - self.own[1].reshape(self.shape)
            work = less / LESS_WORK
            working = np.where(now.utilization > 0.3, now.clock, np.nan)
            slow = (1.0 - working / row_median(working)[:, None]) / SLOWER
        work[idle] = np.nan
        each = (gpu_scores(off, HOTTER), memory, np.maximum(work, 0.0), np.maximum(slow, 0.0))
        found = np.stack([table.ravel() for table in each])
        step = np.minimum(found, WORST) - self.score[:ECC]
        self.score[:ECC] += np.where(np.isfinite(step), -np.expm1(-seconds / SMOOTHING) * step, 0.0)
        self._count(now, seconds)
        self.score[LOST] = np.where(now.available.ravel() == 0, 2.0, 0.0)
        self.score[HEAT, self.stuck >= CONFIRM] = 0.0  # what is stuck says nothing of the heat
        with np.errstate(divide="ignore", invalid="ignore"):
            share = np.where(warm > LEAST_WARM, off / warm, np.nan)
        less[idle] = np.nan
        self._learn(np.stack([share.ravel(), less.ravel()]), seconds)

    def _learn(self, beyond: ValueArray, seconds: float) -> None:
        """Let the nature of the GPUs that are well follow what they show `beyond` it, shape (2, racks x GPUs)."""
        new = self.known < SETTLE
        for signal, settling in zip((HEAT, WORK), new, strict=True):
            self.score[signal, settling] = 0.0
        well = np.isfinite(beyond) & (self.score[[HEAT, WORK]] < 1.0)
        gain = np.where(self.known < LEARNING, seconds / (self.known + seconds), seconds / FORGETTING)
        moved = self.own + np.where(well, gain * beyond, 0.0)
        self.own = np.clip(moved, -NATURAL, NATURAL)
        self.known += np.where(well, seconds, 0.0)

    def _count(self, now: GpuTable, seconds: float) -> None:
        counters = np.stack([now.corrected.ravel(), now.uncorrected.ravel(), now.link_errors.ravel()])
        more = counters - self.seen
        # a counter that falls was reset: what it shows is new
        more = np.where(more < 0, counters, more)
        self.errors = self.errors * math.exp(-seconds / WINDOW) + np.where(np.isfinite(more), more, 0.0)
        self.seen = np.where(np.isfinite(counters), counters, self.seen)
        self.score[ECC] = np.minimum(np.maximum(self.errors[0] / CORRECTED, 2.0 * self.errors[1]), WORST)
        self.score[LINKS] = np.minimum(self.errors[2] / LINK, WORST)

    def findings(
        self, gpu_ids: Sequence[Sequence[str]], racks: Sequence[str], troubled: np.ndarray
    ) -> tuple[list[Finding], set[str]]:
        """Return findings at GPUs, at a tray with several hot ones, at a rack with several that lag behind or are lost, and what is near.

        The second answer is the racks whose hottest GPU they explain. Of racks that are `troubled` themselves, without
        coolant or power, shape (racks,), the GPUs only show the consequences.
        """
        trays: dict[str, list[Finding]] = {}
        lagging: dict[str, list[Finding]] = {}
        lost: dict[str, list[Finding]] = {}
        found: list[Finding] = []
        hot_racks: set[str] = set()
        told = self.score.copy()
        told[MEMORY] = 0.0  # a matter of the instrument: see `faulty`
        told[:, np.repeat(troubled, self.shape[1])] = 0.0
        told[:LOST, told[LOST] > 1.0] = 0.0
        told[WORK : CLOCK + 1, told[HEAT] > 1.0] = 0.0  # what is hot throttles
        for i in np.flatnonzero((told > 1.0).any(axis=0)).tolist():
            row, column = divmod(i, self.shape[1])
            gpu, rack = gpu_ids[row][column], racks[row]
            signals = {SIGNALS[s]: float(told[s, i]) for s in np.flatnonzero(told[:, i] > 1.0).tolist()}
            finding = Finding(gpu, signals)
            if "GPU temperature" in signals:
                hot_racks.add(rack)
                trays.setdefault(gpu.rpartition("-")[0], []).append(finding)
            elif set(signals) == {"GPU work"}:
                lagging.setdefault(rack, []).append(finding)
            elif "GPU lost" in signals:
                lost.setdefault(rack, []).append(finding)
            else:
                found.append(finding)
        for groups in (trays, lagging, lost):
            for whole, members in groups.items():
                found += [_together(whole, members)] if len(members) >= TRAY_MEMBERS else members
        return found + self._near(told, gpu_ids, racks), hot_racks

    def _near(
        self, told: ValueArray, gpu_ids: Sequence[Sequence[str]], racks: Sequence[str]
    ) -> list[Finding]:
        """Return what is near its limit at GPUs, told of their trays and racks too: by which an incident goes on."""
        near: dict[str, list[Finding]] = {}
        for i in np.flatnonzero(((told > NEAR) & (told <= 1.0)).any(axis=0)).tolist():
            row, column = divmod(i, self.shape[1])
            gpu = gpu_ids[row][column]
            signals = {SIGNALS[s]: float(told[s, i]) for s in np.flatnonzero(told[:, i] > NEAR).tolist()}
            finding = Finding(gpu, {name: min(score, 1.0) for name, score in signals.items()})
            for whole in (gpu, gpu.rpartition("-")[0], racks[row]):
                near.setdefault(whole, []).append(finding)
        return [_together(whole, members) for whole, members in near.items()]

    def faulty(self, gpu_ids: Sequence[Sequence[str]]) -> dict[tuple[str, str], Verdict]:
        """Return the temperatures that are stuck, and those of memories that are off."""
        width = self.shape[1]
        found: dict[tuple[str, str], Verdict] = {}
        for i in np.flatnonzero(self.stuck >= CONFIRM).tolist():
            found[gpu_ids[i // width][i % width], "GpuTemperature"] = Verdict.STUCK
        for i in np.flatnonzero(self.score[MEMORY] > 1.0).tolist():
            found[gpu_ids[i // width][i % width], "GpuMemoryTemperature"] = Verdict.DRIFTING
        return found


def _together(whole: str, members: Sequence[Finding]) -> Finding:
    """Return the members' findings as one of what they are part of: the strongest score of each signal."""
    signals: dict[str, float] = {}
    for member in members:
        for name, score in member.signals.items():
            signals[name] = max(signals.get(name, 0.0), score)
    return Finding(whole, signals)
