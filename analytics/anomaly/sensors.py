"""Sensor faults told from plant faults.

A plant fault moves several quantities, and physics still holds between them; a sensor fault moves one reading
away from what all others say it should be. So every verdict here compares a sensor with its virtual reading
(`analytics.anomaly.virtual`), and one without redundancy is judged by its own behaviour alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum

import numpy as np

from analytics.anomaly.peers import ROBUST_DEVIATION, row_median
from domain.errors import InputError
from domain.points import Quality, QualityArray, ValueArray


class Verdict(IntEnum):
    """What is wrong with a sensor."""

    GOOD = 0
    STUCK = 1
    """The same reading again and again while the quantity moved."""
    DRIFTING = 2
    """Away from its virtual reading, or on the way."""
    SPIKING = 3
    """Single wild readings between good ones."""
    NOISY = 4
    """Row-to-row noise several times what it was."""
    SWAPPED = 5
    """Reads what another sensor should read, and that one reads what it should."""
    WRONG_UNIT = 6
    """Its virtual reading in another unit."""
    WRONG_CLOCK = 7
    """Stamps its readings with a time that cannot be."""
    SILENT = 8
    """No reading in the whole window."""
    DISAGREEING = 9
    """Another tag for the same quantity of the same object tells something else, for minutes."""


UNIT_MISTAKES: dict[str, tuple[float, float]] = {
    "kilo": (1e-3, 0.0),
    "milli": (1e3, 0.0),
    "percent": (1e2, 0.0),
    "share": (1e-2, 0.0),
    "degF": (1.8, 32.0),
    "kelvin": (1.0, 273.15),
    "per hour": (60.0, 0.0),
    "L/s": (1.0 / 60.0, 0.0),
    "m3/h": (0.06, 0.0),
    "gal/min": (0.264172, 0.0),
    "psi": (1.450377e-4, 0.0),
    "bar": (1e-5, 0.0),
}
"""Reading = factor x true value + shift, for units that are mistaken for the canonical ones."""

RUN_LIMIT = 20
"""Equal readings in a row that make a sensor suspect of being stuck."""
COARSE = 2.5
"""Steps of its own by which a quantity must have moved for a sensor that stands still to be stuck."""
NOISE_LIMIT = 4.0
"""Noise over the usual one at which a sensor counts as noisy."""
SPIKE_SIZE = 8.0
"""Usual noises that a spike stands out from both its neighbours."""
SPIKE_SHARE = 0.1
"""Above this share of rows, wild readings are noise and no longer spikes."""


@dataclass(frozen=True, slots=True)
class SensorHabits:
    """What is usual for each sensor; every array has shape (sensors,).

    Parameters
    ----------
    noise
        Robust standard deviation from row to row, in the sensor's unit.
    resolution
        Smallest step of its readings.
    tolerance
        How far it may be from its virtual reading.
    """

    noise: ValueArray
    resolution: ValueArray
    tolerance: ValueArray

    @classmethod
    def learn(cls, healthy: ValueArray, tolerance: ValueArray) -> SensorHabits:
        """Read noise and resolution off a healthy window, shape (rows, sensors)."""
        steps = np.abs(np.diff(healthy, axis=0))
        resolution = np.where(steps > 0, steps, np.inf).min(axis=0, initial=np.inf)
        return cls(row_noise(healthy), np.where(np.isfinite(resolution), resolution, 0.0), tolerance)


def row_noise(values: ValueArray) -> ValueArray:
    """Return the robust standard deviation from row to row of each column, shape (sensors,).

    Second differences, so that a ramp is no noise; for white noise their deviation is sqrt(6) of its own.
    """
    bends = np.abs(values[2:] - 2.0 * values[1:-1] + values[:-2])
    return np.asarray(ROBUST_DEVIATION * row_median(bends.T) / np.sqrt(6.0))


def classify(values: ValueArray, estimate: ValueArray, habits: SensorHabits) -> np.ndarray:
    """Judge each sensor over a window.

    The order of the questions matters: a stuck sensor drifts away from its virtual reading too, a wrong unit is
    far away from it at once.

    Parameters
    ----------
    values
        Readings, shape (rows, sensors), even steps, NaN where missing.
    estimate
        Virtual readings of the same shape, NaN where there is no redundancy.
    habits
        What is usual for each sensor.

    Returns
    -------
    ndarray of int
        `Verdict` of each sensor, shape (sensors,).

    Raises
    ------
    InputError
        Shapes that differ, or fewer than `RUN_LIMIT` rows.
    """
    if values.shape != estimate.shape or values.ndim != 2:
        raise InputError(f"values {values.shape} and estimate {estimate.shape} must both be (rows, sensors)")
    if len(values) < RUN_LIMIT:
        raise InputError(
            f"a window of {len(values)} rows is too short to judge by; give at least {RUN_LIMIT}"
        )
    questions = (
        (Verdict.SILENT, ~np.isfinite(values).any(axis=0)),
        (Verdict.STUCK, _stuck(values, estimate, habits)),
        (Verdict.WRONG_UNIT, unit_mistake(values, estimate, habits.tolerance) >= 0),
        (Verdict.SPIKING, _spiking(values, habits)),
        (Verdict.NOISY, _noisy(values, habits)),
        (Verdict.DRIFTING, _off(values, estimate, habits)),
    )
    verdict = np.zeros(values.shape[1], dtype=np.int8)
    for fault, holds in questions:
        verdict = np.where((verdict == Verdict.GOOD) & holds, fault, verdict).astype(np.int8)
    return verdict


def swapped(
    values: ValueArray, estimate: ValueArray, pairs: Sequence[tuple[int, int]], tolerance: ValueArray
) -> np.ndarray:
    """Return which sensors read what their partner should read, shape (sensors,).

    Parameters
    ----------
    values, estimate
        As for `classify`.
    pairs
        Columns that could be exchanged, such as supply and return of one rack.
    tolerance
        How far a sensor may be from its virtual reading, shape (sensors,).
    """
    out = np.zeros(values.shape[1], dtype=bool)
    if not pairs:
        return out
    one, other = np.array(pairs).T
    allowed = np.maximum(tolerance[one], tolerance[other])

    def apart(mine: ValueArray, due: ValueArray) -> ValueArray:
        middle = row_median(np.abs(mine - due).T)
        return np.where(np.isnan(middle), np.inf, middle)

    mine, its = values[:, one], values[:, other]
    due, its_due = estimate[:, one], estimate[:, other]
    crossed = np.maximum(apart(mine, its_due), apart(its, due))
    straight = np.minimum(apart(mine, due), apart(its, its_due))
    exchanged = (apart(due, its_due) > 2.0 * allowed) & (crossed < allowed) & (allowed < straight)
    out[one[exchanged]] = out[other[exchanged]] = True
    return out


def unit_mistake(values: ValueArray, estimate: ValueArray, tolerance: ValueArray) -> np.ndarray:
    """Return which of `UNIT_MISTAKES` explains each sensor, as its position there, -1 where none.

    A mistake explains it when the converted virtual reading is within 3 % (or the tolerance, converted) for
    nine tenths of the rows, and the plain one is not.
    """
    found = np.full(values.shape[1], -1)
    known = np.isfinite(values) & np.isfinite(estimate)
    rows = known.sum(axis=0)
    # at a standstill every unit reads nought
    moving = ((np.abs(estimate) > tolerance) & known).sum(axis=0) >= 0.5 * rows

    def explained(factor: float, shift: float) -> np.ndarray:
        wanted = factor * estimate + shift
        close = np.abs(values - wanted) <= np.maximum(0.03 * np.abs(wanted), factor * tolerance)
        # a mistake that changes next to nothing explains nothing
        telling = (factor, shift) == (1.0, 0.0) or np.abs(wanted - estimate) > 2.0 * tolerance
        return np.asarray((close & known & telling).sum(axis=0) >= 0.9 * rows)

    asked = np.flatnonzero((rows >= RUN_LIMIT) & moving & ~explained(1.0, 0.0))
    values, estimate, tolerance = values[:, asked], estimate[:, asked], tolerance[asked]
    known, rows = known[:, asked], rows[asked]
    for number, (factor, shift) in enumerate(UNIT_MISTAKES.values()) if len(asked) else ():
        found[asked] = np.where((found[asked] < 0) & explained(factor, shift), number, found[asked])
    return found


def replaced(
    values: ValueArray, estimate: ValueArray, verdict: np.ndarray
) -> tuple[ValueArray, QualityArray]:
    """Put virtual readings in the place of faulty sensors, marked as estimated.

    Parameters
    ----------
    values, estimate, verdict
        One moment: shape (sensors,) each.

    Returns
    -------
    values, quality
        A faulty sensor without redundancy keeps its reading and is marked bad: never guessed.
    """
    faulty = verdict != Verdict.GOOD
    stand_in = faulty & np.isfinite(estimate)
    quality = np.where(stand_in, Quality.ESTIMATED, np.where(faulty, Quality.BAD, Quality.GOOD))
    return np.where(stand_in, estimate, values), quality.astype(np.uint8)


def _stuck(values: ValueArray, estimate: ValueArray, habits: SensorHabits) -> np.ndarray:
    """Equal readings to the end of the window, in which the quantity moved or noise should have shown."""
    run = _last_run(values)
    rows = np.arange(len(values))[:, None]
    within = rows >= len(values) - run
    high = np.where(within & np.isfinite(estimate), estimate, -np.inf).max(axis=0)
    low = np.where(within & np.isfinite(estimate), estimate, np.inf).min(axis=0)
    moved = high - low > np.maximum(habits.tolerance, COARSE * habits.resolution)
    lively = habits.noise > 2.0 * habits.resolution
    return np.asarray((run >= RUN_LIMIT) & (moved | lively))


def _last_run(values: ValueArray) -> np.ndarray:
    """Length of the run of equal readings at the end of each column; a gap ends it."""
    changed = np.ones(values.shape, dtype=bool)
    changed[1:] = values[1:] != values[:-1]
    last_change = len(values) - 1 - np.argmax(changed[::-1], axis=0)
    return np.asarray(len(values) - last_change)


def spikes(values: ValueArray, habits: SensorHabits, explained: ValueArray | float = 0.0) -> np.ndarray:
    """Return which readings stand out from both their neighbours, shape (rows - 2, sensors); parameters as for `classify`.

    By more than what is `explained`, of the same shape as what is returned.
    """
    left, right = values[1:-1] - values[:-2], values[1:-1] - values[2:]
    size = np.where(np.sign(left) == np.sign(right), np.minimum(np.abs(left), np.abs(right)), 0.0)
    least = np.maximum(SPIKE_SIZE * habits.noise, 3.0 * habits.resolution)
    return np.asarray(size > np.maximum(np.maximum(least, habits.tolerance), explained))


def _spiking(values: ValueArray, habits: SensorHabits) -> np.ndarray:
    share = spikes(values, habits).mean(axis=0)
    return np.asarray((share > 0) & (share < SPIKE_SHARE))


def _noisy(values: ValueArray, habits: SensorHabits) -> np.ndarray:
    usual = np.maximum(habits.noise, habits.resolution)
    return np.asarray(row_noise(values) > NOISE_LIMIT * usual)


def _off(values: ValueArray, estimate: ValueArray, habits: SensorHabits) -> np.ndarray:
    """Away from the virtual reading at the end of the window, by its last fifth."""
    late = (values - estimate)[-max(len(values) // 5, 3) :]
    return np.asarray(np.abs(row_median(late.T)) > habits.tolerance)
