"""What the GPUs work on: lock-step training jobs that ramp by megawatts, and inference that follows the day.

Everything is a function of seed and absolute time, so that a factory that is started again goes on with the same
calendar, and history can be computed for many times at once.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import lru_cache
from zoneinfo import ZoneInfo

import holidays
import numpy as np

from domain.points import TimeArray, ValueArray
from simulator.courses import course, kind
from simulator.traces import IDLE, Course, Traces

HOUR = 3_600_000
WEEK = 7 * 24 * HOUR
_ANCHOR = 345_600_000  # Monday 1970-01-05, UTC ms

TRAINING_SHARE = 0.58
TOKENS_PER_RACK = 72_000.0
"""Tokens that a fully busy inference rack generates in a second."""
COURSES = 32
"""Courses that are kept at a time: three partitions, and what came before; the longest takes a megabyte."""


@dataclass(frozen=True, slots=True)
class Job:
    """A training job that holds its racks in lock step. Times are UTC ms.

    Parameters
    ----------
    name
        Unique.
    racks
        Positions of its racks, `first` to before `last`.
    start, end
        When it really ran.
    planned_end, known_since
        What the scheduler says of its end, and since when anybody knows of it (its start for a surprise).
    intensity
        GPU activity while it computes, 0 to 1.
    kind
        What it does: see `simulator.courses.KINDS`.
    seed
        Of its course.
    """

    name: str
    first: int
    last: int
    start: int
    end: int
    planned_end: int
    known_since: int
    intensity: float
    kind: str
    seed: tuple[int, ...]

    @property
    def told_intensity(self) -> float:
        """The intensity as the scheduler tells it."""
        return round(self.intensity, 3)


class Workload:
    """The calendar of jobs and the demand for inference.

    Parameters
    ----------
    racks
        Number of racks; the first `TRAINING_SHARE` of them train, the others serve inference.
    zone, country
        Local time and holidays shape the demand.
    seed
        Same seed, same calendar.
    traces
        Measured traces that the training jobs replay; their courses are made up if not given.
    """

    def __init__(
        self, racks: int, zone: ZoneInfo, country: str, seed: int, traces: Traces | None = None
    ) -> None:
        self.racks = racks
        self.zone = zone
        self.seed = seed
        self.slots = _slots(racks)
        self.training = self.slots[-1][1]
        self._holidays = holidays.country_holidays(country) if country else {}
        rng = np.random.default_rng([seed, 101])
        self._waves = _Waves.draw(rng, 9, 15 * 60.0, 9 * 3600.0, 0.022)
        self._balance = [_Waves.draw(rng, 4, 4 * 60.0, 3600.0, 0.015) for _ in range(racks - self.training)]
        self._weather = _Waves.draw(rng, 5, 6 * 3600.0, 9 * 86400.0, 0.9)
        self._weekly = lru_cache(maxsize=64)(self._plan)
        self._daily = lru_cache(maxsize=64)(self._bursts)
        self._traces = traces
        self.course = lru_cache(maxsize=COURSES)(self._course)
        """Power of a job over its life."""

    def jobs(self, start: int, end: int) -> list[Job]:
        """Return the jobs that run at some time in [start, end), UTC ms, in order of their start."""
        found = []
        for slot in range(len(self.slots)):
            shift = self._shift(slot)
            for week in range((start - _ANCHOR - shift) // WEEK, (end - _ANCHOR - shift) // WEEK + 1):
                found += [j for j in self._weekly(slot, week) if j.start < end and j.end > start]
        return sorted(found, key=lambda job: job.start)

    def known_jobs(self, now: int, end: int) -> list[Job]:
        """Return the jobs up to `end` that the scheduler has announced by `now`."""
        return [job for job in self.jobs(now, end) if job.known_since <= now]

    def activity(self, times: TimeArray) -> ValueArray:
        """Return GPU activity, 0 to 1, shape (times, racks)."""
        return np.clip(self.serving(times) + self.in_training(times), 0.0, 1.0)

    def in_training(self, times: TimeArray) -> ValueArray:
        """Return the activity of the racks that train, zero for those that serve, shape (times, racks)."""
        result = np.zeros((len(times), self.racks))
        for job in self.jobs(int(times.min()), int(times.max()) + 1):
            inside = (times >= job.start) & (times < job.end)
            share = self.course(job).at((times[inside] - job.start) / 1000.0)
            result[inside, job.first : job.last] = (job.intensity * (share - IDLE) / (1.0 - IDLE))[:, None]
        return result

    def mean_activity(self, times: TimeArray, span_ms: int) -> ValueArray:
        """Return the mean GPU activity over [time, time + span) of each time, shape (times, racks).

        Jobs are averaged exactly; inference, which changes over minutes, is taken from the middle.
        """
        result = self.serving(times + span_ms // 2)
        for job in self.jobs(int(times.min()), int(times.max()) + span_ms):
            first, last = np.maximum(times, job.start), np.minimum(times + span_ms, job.end)
            inside = first < last
            since, until = (first[inside] - job.start) / 1000.0, (last[inside] - job.start) / 1000.0
            course = self.course(job)
            busy = course.energy(until) - course.energy(since) - IDLE * (until - since)
            mean = job.intensity * busy / (1.0 - IDLE) / (span_ms / 1000.0)
            result[inside, job.first : job.last] += mean[:, None]
        return np.clip(result, 0.0, 1.0)

    def serving(self, times: TimeArray) -> ValueArray:
        """Return the activity of the racks that serve, zero for those that train, shape (times, racks)."""
        result = np.zeros((len(times), self.racks))
        seconds = times / 1000.0
        served = 0.23 + 0.76 * self.demand(times)
        for column, waves in enumerate(self._balance, self.training):
            result[:, column] = served * (1.0 + waves.at(seconds))
        return result

    def _course(self, job: Job) -> Course:
        rng = np.random.default_rng(job.seed)
        seconds = (job.end - job.start) / 1000.0
        return course(job.kind, rng, seconds) if self._traces is None else self._traces.course(rng, seconds)

    def demand(self, times: TimeArray) -> ValueArray:
        """Return the demand for inference, about 0.3 to 1, from hour, weekday, holidays and its own noise."""
        days, hours = self._local(times)
        shape = (
            0.52
            + 0.24 * _bump(hours, 10.5, 2.6)
            + 0.22 * _bump(hours, 15.5, 2.8)
            + 0.30 * _bump(hours, 20.8, 2.2)
            - 0.10 * _bump(hours, 4.5, 2.5)
        )
        factors = {day: self._day_factor(day) for day in np.unique(days).tolist()}
        factor = np.array([factors[day] for day in days.tolist()])
        extra = np.zeros(len(times))
        for day in factors:
            for start, length, height in self._daily(day):
                at = (days - day) * 24.0 + hours - start
                extra += height * np.clip(np.minimum(at, length - at) / 0.05, 0.0, 1.0)
        demand: ValueArray = shape * factor + self._waves.at(times / 1000.0) + extra
        return np.clip(demand, 0.15, 1.0)

    def tokens(self, activity: ValueArray) -> ValueArray:
        """Return tokens generated in a second, shape of `activity` (..., racks); training makes none."""
        serving = np.arange(self.racks) >= self.training
        rate: ValueArray = TOKENS_PER_RACK * np.maximum(activity - 0.05, 0.0) * serving
        return rate

    def wet_bulb(self, times: TimeArray) -> ValueArray:
        """Return the outdoor wet-bulb temperature, Cel: season, time of day, weather."""
        _, hours = self._local(times)
        year = (times / 1000.0 / 86400.0 / 365.25) % 1.0
        season = 20.0 - 5.5 * np.cos(2 * np.pi * (year - 0.06))
        return season + 1.6 * np.cos(2 * np.pi * (hours - 15.0) / 24.0) + self._weather.at(times / 1000.0)

    def _shift(self, slot: int) -> int:
        return int(slot * 2.3 * 24 + 5) * HOUR  # so that slots do not turn over together

    def _plan(self, slot: int, week: int) -> list[Job]:
        first, last = self.slots[slot]
        rng = np.random.default_rng([self.seed, 7, slot, week + 10_000])
        begin = _ANCHOR + week * WEEK + self._shift(slot)
        typical = 5.0 + 9.0 * (last - first) / max(1, self.racks // 3)
        jobs: list[Job] = []
        now, number = float(begin), 0
        foreseen = (
            0.0  # since when the starts that follow can be known: a job that fails moves all of them up
        )
        while True:
            # at a whole second, as a factory goes from second to second
            start = (now + (180.0 + rng.exponential(600.0)) * 1000.0) // 1000.0 * 1000.0
            planned = start + float(np.clip(rng.lognormal(np.log(typical), 0.7), 0.4, 60.0)) * HOUR
            fails = rng.random() < 0.15
            end = start + (planned - start) * (rng.uniform(0.1, 0.9) if fails else 1.0)
            planned, end = min(planned, begin + WEEK - 60_000.0), min(end, begin + WEEK - 60_000.0)
            surprise = rng.random() < 0.3
            lead = 0.0 if surprise else rng.uniform(2.0, 36.0) * HOUR
            if start > begin + WEEK - HOUR:
                return jobs
            jobs.append(
                Job(
                    name=f"job-{week}-{slot}-{number}",
                    first=first,
                    last=last,
                    start=int(start),
                    end=int(end),
                    planned_end=int(planned),
                    known_since=int(min(max(start - lead, foreseen), start)),
                    intensity=float(rng.uniform(0.88, 1.0)),
                    kind=kind(rng, (last - first) / self.training),
                    seed=(self.seed, 17, slot, week + 10_000, number),
                )
            )
            now, number = end, number + 1
            foreseen = end if end < planned else foreseen

    def _bursts(self, day: int) -> list[tuple[float, float, float]]:
        rng = np.random.default_rng([self.seed, 13, day])
        count = int(rng.poisson(0.8))
        return [
            (float(rng.uniform(7, 22)), float(rng.uniform(0.2, 1.0)), float(rng.uniform(0.05, 0.16)))
            for _ in range(count)
        ]

    def _day_factor(self, day: int) -> float:
        date = datetime.fromordinal(day + 719_163).date()
        if date in self._holidays:
            return 0.84
        return 0.9 if date.weekday() >= 5 else 1.0

    def _local(self, times: TimeArray) -> tuple[TimeArray, ValueArray]:
        """Return local days since 1970 and hours of the day."""
        offset = datetime.fromtimestamp(int(times[0]) / 1000.0, self.zone).utcoffset() or timedelta(0)
        local = times + int(offset.total_seconds() * 1000)
        return local // (24 * HOUR), (local % (24 * HOUR)) / HOUR


@dataclass(frozen=True, slots=True, eq=False)
class _Waves:
    """Noise that can be asked at any time: sines of random period and phase."""

    period: ValueArray
    phase: ValueArray
    height: float

    @classmethod
    def draw(cls, rng: np.random.Generator, n: int, shortest: float, longest: float, height: float) -> _Waves:
        period = np.exp(rng.uniform(np.log(shortest), np.log(longest), n))
        return cls(period, rng.uniform(0, 2 * np.pi, n), height)

    def at(self, seconds: ValueArray) -> ValueArray:
        angle = 2 * np.pi * np.asarray(seconds)[..., None] / self.period + self.phase
        total: ValueArray = np.sin(angle).sum(-1) * (self.height / np.sqrt(len(self.period) / 2))
        return total


def _bump(hours: ValueArray, centre: float, width: float) -> ValueArray:
    away = (hours - centre + 12.0) % 24.0 - 12.0
    result: ValueArray = np.exp(-0.5 * (away / width) ** 2)
    return result


def _slots(racks: int) -> Sequence[tuple[int, int]]:
    """Return the (first, last) racks of the training partitions: one half, two quarters; whole pods if large."""
    grain = 8 if racks >= 32 else 1
    training = max(1, round(racks * TRAINING_SHARE / grain)) * grain
    sizes = [max(1, round(training * share / grain)) * grain for share in (0.55, 0.28)]
    sizes.append(max(0, training - sum(sizes)))
    slots, first = [], 0
    for size in sizes:
        last = min(first + size, training)
        if last > first:
            slots.append((first, last))
        first = last
    return slots
