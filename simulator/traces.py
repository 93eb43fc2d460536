"""Power of jobs over time: the course that a simulated job takes, and courses read from measured traces."""

from __future__ import annotations

import csv
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from domain.errors import InputError
from domain.plant.gpu import GpuModel
from domain.plant.rack import RackModel
from domain.points import ValueArray

READING_S = 2.0
"""From one reading of a measured trace to the next."""
STEP_S = 1.0
"""From one value of a course to the next: the pace at which a factory runs, so that it meets each value."""
WORKING_QUANTILE = 0.95
"""What a measured trace passes in a twentieth of its readings is the power that counts as full."""
MOST_FILES, MOST_READINGS = 200, 2_000_000
"""Of a folder of traces; at a reading each two seconds so much is 46 days."""


def idle_share(gpus: int = 72) -> float:
    """Return what a rack with idle GPUs draws, as a share of its full power."""
    rack, gpu = RackModel(), GpuModel()
    return float(rack.power(np.asarray(gpus * gpu.idle)) / rack.full(gpus, gpu.tdp))


IDLE = idle_share()


@dataclass(frozen=True, slots=True, eq=False)
class Course:
    """A job's power over time.

    Parameters
    ----------
    share
        Power at every `STEP_S` from its start, as a share of the full power of its racks, float32, shape (n,), n >= 1.
        Between two values it changes evenly; after the last one it stays.
    """

    share: NDArray[np.float32]
    _sums: ValueArray = field(init=False, repr=False)

    def __post_init__(self) -> None:
        between = (self.share[1:].astype(float) + self.share[:-1]) / 2
        object.__setattr__(self, "_sums", np.concatenate([[0.0], np.cumsum(between)]) * STEP_S)

    @classmethod
    def of_readings(cls, share: NDArray[np.floating[Any]]) -> Course:
        """Return the course that tells these readings, `READING_S` apart, whenever one begins to read."""
        return cls(np.repeat(share, round(READING_S / STEP_S)).astype(np.float32))

    @property
    def seconds(self) -> float:
        """How long it takes."""
        return STEP_S * (len(self.share) - 1)

    def at(self, since: ValueArray) -> ValueArray:
        """Return the share at times since its start, s, shape of `since`."""
        place = np.clip(since / STEP_S, 0.0, len(self.share) - 1)
        before = place.astype(np.int64)
        after = np.minimum(before + 1, len(self.share) - 1)
        early, late = self.share[before].astype(float), self.share[after].astype(float)
        found: ValueArray = early + (place - before) * (late - early)
        return found

    def energy(self, since: ValueArray) -> ValueArray:
        """Return the integral of the share from its start to times since then, s, shape of `since`."""
        place = np.clip(since / STEP_S, 0.0, len(self.share) - 1)
        before = place.astype(np.int64)
        step = (place - before) * STEP_S
        found: ValueArray = self._sums[before] + step * (self.share[before] + self.at(since)) / 2
        return found + np.maximum(since - self.seconds, 0.0) * float(self.share[-1])


@dataclass(frozen=True, slots=True, eq=False)
class Trace:
    """Measured power of a job of real GPUs: its name, and a reading every `READING_S`, 1 for its working level."""

    name: str
    share: NDArray[np.float32]

    @classmethod
    def read(cls, file: Path) -> Trace | None:
        """Read a CSV file with the columns ``seconds`` (ascending) and ``power_w``; None for one that has other columns.

        Raises
        ------
        InputError
            If it cannot be read, or holds less than ten readings, or one that is no power.
        """
        try:
            with file.open(encoding="utf-8", newline="") as lines:
                rows = csv.DictReader(lines)
                if not {"seconds", "power_w"} <= set(rows.fieldnames or ()):
                    return None
                told = [(row["seconds"], row["power_w"]) for row in islice(rows, MOST_READINGS)]
            seconds, power = np.array(told, float).reshape(-1, 2).T
        except (OSError, ValueError, TypeError, csv.Error) as error:
            raise InputError(f"{file}: no trace of power: {error}") from error
        if len(power) < 10 or not np.isfinite(seconds).all() or (np.diff(seconds) <= 0).any():
            raise InputError(f"{file}: a trace has ten readings or more, and its column `seconds` ascends")
        if not np.isfinite(power).all() or (power <= 0).any():
            raise InputError(f"{file}: a reading of `power_w` is no power; leave gaps out, they are bridged")
        if (length := seconds[-1] - seconds[0]) > READING_S * MOST_READINGS:
            raise InputError(f"{file}: longer than {READING_S * MOST_READINGS / 86400:.0f} days")
        grid = seconds[0] + READING_S * np.arange(int(length // READING_S) + 1)
        share = np.interp(grid, seconds, power / np.quantile(power, WORKING_QUANTILE))
        return cls(file.stem, share.astype(np.float32))


@dataclass(frozen=True, slots=True, eq=False)
class Traces:
    """Measured traces that a simulated factory replays instead of making up its jobs."""

    traces: tuple[Trace, ...]

    @classmethod
    def read(cls, folder: Path) -> Traces:
        """Read every CSV file of a folder that has the columns ``seconds`` and ``power_w``.

        Raises
        ------
        InputError
            If there is none, one is damaged, or all of them are too large.
        """
        files = sorted(folder.glob("*.csv"))
        if len(files) > MOST_FILES:
            raise InputError(f"{folder}: {len(files)} files; at most {MOST_FILES} traces are replayed")
        found = [trace for file in files if (trace := Trace.read(file)) is not None]
        if not found:
            raise InputError(f"{folder}: no CSV file with the columns `seconds` and `power_w`")
        if sum(len(t.share) for t in found) > MOST_READINGS:
            raise InputError(f"{folder}: more than {MOST_READINGS:,} readings of two seconds")
        return cls(tuple(found))

    def draw(self, rng: np.random.Generator) -> Trace:
        """Return one of them, a long one more likely than a short one."""
        length = np.array([len(t.share) for t in self.traces], float)
        return self.traces[int(rng.choice(len(self.traces), p=length / length.sum()))]

    def course(self, rng: np.random.Generator, seconds: float) -> Course:
        """Return the course of a job of some length that runs one trace again and again."""
        return Course.of_readings(np.resize(self.draw(rng).share, int(np.ceil(seconds / READING_S)) + 1))
