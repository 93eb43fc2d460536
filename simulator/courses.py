"""Courses of power that training jobs take, made from the statistics of measured ones.

The figures are of the power of MLPerf Training 4.0 runs on H100 (mlcommons/training_results_v4.0, Apache-2.0, power logs of
the SMC submission, all nodes of a run together, every two seconds): gpt3 on 64 nodes for an hour, llama2_70b_lora on 64
and on 8, resnet, ssd and unet3d on 8 and 9. They were taken from every other run and from the first half of the hour; `docs/simulator.md`
compares with the others. All nodes of a run move together within a reading, so a job has one course for all its racks.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from domain.points import ValueArray
from simulator.traces import IDLE, READING_S, Course

PRETRAINING, FINE_TUNING, VISION = KINDS = ("pretraining", "fine-tuning", "vision")
"""What a job does: one long run; or short runs one after another, of fine-tuning or of small vision models."""
_LARGE, _MIDDLING = 0.5, 0.25
_SHARES = {_LARGE: (1.0, 0.0, 0.0), _MIDDLING: (0.85, 0.10, 0.05), 0.0: (0.5, 0.3, 0.2)}
"""How many jobs of a partition are of which kind, by the partition's share of the racks that train."""


def kind(rng: np.random.Generator, share: float) -> str:
    """Draw what a job does that has a share of the racks that train: the largest partition trains large models only."""
    odds = next(odds for least, odds in _SHARES.items() if share >= least)
    return str(rng.choice(KINDS, p=odds))


def course(kind: str, rng: np.random.Generator, seconds: float) -> Course:
    """Return the course of a job of some length; it ends as a job ends, within a few readings.

    Raises
    ------
    KeyError
        If there is no such kind.
    """
    n = max(2, int(np.ceil(seconds / READING_S)) + 1)
    share = _MAKERS[kind](rng, n)[:n]
    last = np.linspace(0.6, 0.4, 3)[-n:]  # the last readings of resnet's and ssd's runs
    share[n - len(last) :] = np.minimum(share[n - len(last) :], last)
    return Course.of_readings(np.clip(share, IDLE, 1.02))


@dataclass(frozen=True, slots=True)
class Iteration:
    """How power moves within one iteration: knots of a curve around its lowest moment.

    Parameters
    ----------
    period, lowest
        Length, s, and the share of power at the lowest moment (all wait for each other, or for the optimiser).
    """

    period: float
    lowest: float

    def at(self, phase: NDArray[Any]) -> ValueArray:
        """Return the share at times since a lowest moment, s."""
        before = np.mod(phase + self.period / 2, self.period) - self.period / 2
        curve: ValueArray = np.interp(before, _AROUND, _CURVE)
        return 1.0 - (1.0 - self.lowest) * curve


_AROUND = np.array([-2.9, -2.0, -1.0, 0.0, 1.0, 2.0, 3.0, 4.0])
_CURVE = np.array([0.03, 0.20, 0.63, 1.0, 0.72, 0.35, 0.11, 0.05])
"""How far down it is at these seconds around the lowest moment, folded from gpt3's first half."""


def _pretraining(rng: np.random.Generator, n: int) -> ValueArray:
    """Make one run: iterations, and every so many of them a pause to evaluate; some of those begin with a deep fall."""
    iteration = Iteration(float(rng.normal(10.9, 0.5)), float(rng.normal(0.877, 0.008)))
    every = int(rng.integers(12, 15))
    level = rng.normal(0.896, 0.005)
    parts = [_loading(rng, rng.uniform(30.0, 90.0))]
    length = len(parts[0])
    while length < n:
        steps = round(every * iteration.period / READING_S + float(rng.uniform(-0.6, 0.6)))
        since = READING_S * np.arange(steps) + rng.uniform(-1.0, 1.0)
        working = iteration.at(since - iteration.period + rng.normal(0.0, 0.5)) + _noise(
            rng, steps, 0.003, 0.3
        )
        deep = rng.random() < 0.04  # one of two dozen in the hour that is measured
        first = [0.91, rng.normal(0.70, 0.03), 0.81] if deep else [rng.normal(0.858, 0.016), 0.882]
        rest = np.full(int(rng.uniform(4, 15)) if deep else int(rng.integers(4, 6)), level)
        pause = np.concatenate([first, rest + _noise(rng, len(rest), 0.0015, 0.0), [rng.uniform(0.90, 0.95)]])
        parts += [working, pause]
        length += len(working) + len(pause)
    whole: ValueArray = np.concatenate(parts)
    return whole


def _fine_tuning(rng: np.random.Generator, n: int) -> ValueArray:
    """Make runs of two to six minutes: loading, warming up, a standstill, then training with evaluations or with iterations."""
    parts: list[ValueArray] = []
    length = 0
    while length < n:
        large = rng.random() < 0.34  # on many nodes a run is shorter, and its iterations show
        idle = rng.normal(0.44, 0.01) if large else rng.normal(0.42, 0.005)
        run = [_climb(rng, idle, rng.uniform(8.0, 14.0), fall=True)]
        warm = int(rng.uniform(20, 24)) if large else int(rng.uniform(56, 62))
        run += [0.985 + _noise(rng, warm, 0.012 if large else 0.009, 0.3)]
        run += [_climb(rng, idle + 0.01, rng.uniform(12.0, 15.0), fall=True)]
        if large:
            iteration = Iteration(rng.normal(6.7, 0.15), rng.normal(0.835, 0.01))
            steps = int(rng.uniform(17, 20))
            shape = iteration.at(READING_S * np.arange(steps) + rng.uniform(0.0, 6.0)) - 0.01
            run += [shape + _noise(rng, steps, 0.02, 0.0)]
        else:
            run += [np.full(3, 0.85) + 0.01 * rng.standard_normal(3), np.array([0.90])]
            for _ in range(3):
                run += [0.987 + _noise(rng, int(rng.uniform(13, 17)), 0.009, 0.3), _evaluation(rng)]
            run += [0.987 + _noise(rng, int(rng.uniform(10, 18)), 0.009, 0.3)]
        parts += run
        length += sum(len(part) for part in run)
    whole: ValueArray = np.concatenate(parts)
    return whole


def _evaluation(rng: np.random.Generator) -> ValueArray:
    low = rng.normal(0.845, 0.02, int(rng.integers(4, 6)))
    evaluation: ValueArray = np.concatenate([[rng.uniform(0.85, 0.95)], low, [rng.uniform(0.91, 0.95)]])
    return evaluation


def _vision(rng: np.random.Generator, n: int) -> ValueArray:
    """Make runs of three to eight minutes: reading data, an even load with pauses between epochs or without, a rest."""
    parts: list[ValueArray] = []
    length = 0
    while length < n:
        epochs = int(rng.integers(3, 5)) if rng.random() < 0.5 else 1
        idle = rng.normal(0.43, 0.02)
        run = [idle + 0.0015 * np.cumsum(rng.standard_normal(int(rng.uniform(20, 27))))]
        run += [np.array([rng.uniform(0.46, 0.5), rng.normal(0.73, 0.06), rng.normal(0.94, 0.02)])]
        for epoch in range(epochs):
            steps = int(rng.uniform(44, 50)) if epochs > 1 else int(rng.uniform(45, 72))
            run += [0.99 + _noise(rng, steps, 0.005, 0.8)]
            if epoch + 1 < epochs:
                run += [
                    np.array(
                        [rng.uniform(0.73, 0.85), rng.normal(0.655, 0.01), rng.uniform(0.78, 0.9), 0.955]
                    )
                ]
        run += [np.array([rng.uniform(0.92, 0.97), rng.normal(0.575, 0.03), 0.46, 0.44, 0.42, 0.40])]
        run += [rng.normal(0.37, 0.012) + 0.001 * rng.standard_normal(int(rng.uniform(24, 32)))]
        parts += run
        length += sum(len(part) for part in run)
    whole: ValueArray = np.concatenate(parts)
    return whole


_MAKERS: dict[str, Callable[[np.random.Generator, int], ValueArray]] = {
    PRETRAINING: _pretraining,
    FINE_TUNING: _fine_tuning,
    VISION: _vision,
}


def _loading(rng: np.random.Generator, seconds: float) -> ValueArray:
    """Return the time before a run works: data and programs are loaded, then all begin at once."""
    return _climb(rng, rng.normal(0.44, 0.01), seconds, fall=False)


def _climb(rng: np.random.Generator, idle: float, seconds: float, fall: bool) -> ValueArray:
    """Return a standstill at an idle level between (with `fall`) or before work: down within three readings, up within three."""
    still = idle + 0.005 * rng.standard_normal(max(1, int(seconds / READING_S) - 3))
    # where within a reading the change lies decides how it is divided among two
    early, late = rng.uniform(-0.5, 0.5, 2)
    down = np.interp(np.arange(3) + early, [-1, 0, 1, 2, 3], [0.99, 0.94, 0.53, idle + 0.03, idle])
    up = np.interp(np.arange(4) + late, [-1, 0, 1, 2, 3, 4], [idle, idle + 0.06, 0.55, 0.84, 0.95, 0.98])
    whole: ValueArray = np.concatenate([down, still, up] if fall else [still, up])
    return whole


def _noise(rng: np.random.Generator, n: int, deviation: float, stays: float) -> ValueArray:
    """Return noise below a ceiling of about 1.5 deviations, of which a share stays from one reading to the next."""
    fresh = rng.standard_normal(n) * np.sqrt(1.0 - stays**2)
    found = np.empty(n)
    before = 0.0
    for i in range(n):
        before = stays * before + fresh[i]
        found[i] = before
    bounded: ValueArray = deviation * np.minimum(found, 1.5)
    return bounded
