"""A plant's history in the embedded store, laid down at speed as the pipeline leaves it.

Sealed partitions are runs sorted by point, then by time; the newest part lies in hot tables in the order of arrival, half as
much as they hold before they are sealed. Values are in tenths, as devices tell them.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import duckdb
import numpy as np

from domain.points import IntArray, Point, PointRegistry, TimeArray
from storage.duckdb_store import RAW_SPAN, READING, SPANS, STEP, DuckDBStore
from storage.settings import DAY, HOUR, MINUTE, StorageSettings
from storage.steps import Steps
from storage.tiers import TIERS

PERIOD = 10_000
"""Time between two readings of a point, ms."""
RACKS = 96
GPU_FIELDS = 25
KEPT = {"minute": 7 * DAY, "quarter": 30 * DAY}
RUN = {"raw": HOUR, "minute": 6 * HOUR, "quarter": 90 * HOUR}
"""Time in one sorted run, as sealing makes them."""
HOT = {"raw": HOUR // 2, "minute": 3 * HOUR, "quarter": 45 * HOUR}
"""Newest part that is not sealed yet."""
CHUNK = 2_000_000
"""Rows made at once."""
POOL = 4_000_037


class Plant:
    """The points of the question: two feed meters, rack meters and temperatures, CDUs, GPUs of ten racks."""

    def __init__(self, scale: float) -> None:
        self.registry = PointRegistry()
        register = self.registry.register
        self.feeds = [
            register(Point(f"PowerMeter/ActivePower/FEED-{f}", "PowerMeter", "ActivePower", f"FEED-{f}"))
            for f in "AB"
        ]
        self.energy = [
            register(Point(f"PowerMeter/Energy/FEED-{f}", "PowerMeter", "Energy", f"FEED-{f}")) for f in "AB"
        ]
        racks = [f"R{i:03}" for i in range(1, RACKS + 1)]
        kinds = max(4, int(100 * scale))  # points of a rack: power, temperatures, taps, PDUs
        self.rack = np.array(
            [
                [register(Point(f"Rack/Kind{k}/{r}", "Rack", f"Kind{k}", r)) for k in range(kinds)]
                for r in racks
            ],
            np.int32,
        )
        self.cdu = np.array(
            [
                [register(Point(f"CDU/Kind{k}/C{c}", "CDU", f"Kind{k}", f"C{c}")) for k in range(16)]
                for c in range(24)
            ],
            np.int32,
        )
        gpus = max(8, int(720 * scale))
        self.gpu = np.array(
            [
                [
                    register(Point(f"GPU/Field{f}/G{g}", "GPU", f"Field{f}", f"G{g}"))
                    for f in range(GPU_FIELDS)
                ]
                for g in range(gpus)
            ],
            np.int32,
        )


class _Values:
    """Makes columns from pools of chance that are longer than what DuckDB compresses together."""

    def __init__(self, points: int) -> None:
        chance = np.random.default_rng(0)
        self._base = 10_000 + np.arange(points, dtype=np.int32) % 97 * 100
        self._noise = chance.integers(0, 200, POOL, dtype=np.int32)
        self._spread = chance.integers(0, 90, POOL, dtype=np.int32)
        self._fraction = chance.random(POOL)
        self._at = 0

    def columns(self, point: IntArray, start: TimeArray, step: int) -> dict[str, np.ndarray[Any, Any]]:
        """Return raw readings (`step` is `PERIOD`) or rows of a tier."""
        self._at = (self._at + 1_000_003) % POOL
        rows = (np.arange(len(point)) + self._at) % POOL
        tenths = self._base[point] + self._noise[rows] + (500 * np.sin(start * (1 / 1.37e7))).astype(np.int32)
        value = tenths / 10
        if step == PERIOD:
            return {
                "point": point,
                "observed": start,
                "value": value,
                "quality": np.ones(len(point), np.uint8),
            }
        mean = value + self._fraction[rows]
        return {
            "point": point,
            "start": start,
            "minimum": (tenths - self._spread[rows]) / 10,
            "maximum": (tenths + self._spread[rows]) / 10,
            "mean": mean,
            "last": value,
            "weighted": mean,
            "held": np.full(len(point), step, np.int32),
            "count": np.full(len(point), step // PERIOD, np.int32),
        }

    def steps(self, points: IntArray, starts: TimeArray, step: int) -> Steps:
        """Return rows of a tier, ordered by point, then by start."""
        return Steps(**self.columns(np.repeat(points, len(starts)), np.tile(starts, len(points)), step))


def steps_of(points: IntArray, starts: TimeArray, step: int) -> Steps:
    """Return rows of a tier for some points and times, as the history has them."""
    return _Values(int(points.max()) + 1).steps(points, starts, step)


def lay_down(file: Path, plant: Plant, now: int, raw_hours: float, until: float = np.inf) -> dict[str, int]:
    """Write the history up to `now`; return the rows of each tier.

    Parameters
    ----------
    raw_hours
        Raw readings, hours; laid down from the newest back, when the tiers are.
    until
        Time (`time.monotonic`) at which no more raw readings are laid down.
    """
    store = DuckDBStore(file, StorageSettings(path=file.parent))
    store.save_points(list(enumerate(plant.registry)))
    store.close()
    rows = dict.fromkeys(("minute", "quarter", "raw"), 0)
    config: dict[str, Any] = {"memory_limit": "2GB", "temp_directory": str(file.parent / "tmp")}
    values = _Values(len(plant.registry))
    with duckdb.connect(str(file), config=config) as con, ThreadPoolExecutor(1) as ahead:
        for tier, kept in {**KEPT, "raw": int(raw_hours * HOUR)}.items():
            work = _chunks(tier, len(plant.registry), now - kept, now)
            made = ahead.submit(_next, work, values)
            while (chunk := made.result()) is not None and (tier != "raw" or time.monotonic() < until):
                made = ahead.submit(_next, work, values)
                table, columns = chunk
                declared = ", ".join(f"{c} {k}" for c, k in (READING if tier == "raw" else STEP).items())
                con.execute(f"CREATE TABLE IF NOT EXISTS {table} ({declared})")
                con.register("chunk", columns)
                con.execute(f"INSERT INTO {table} SELECT {', '.join(columns)} FROM chunk")
                con.unregister("chunk")
                rows[tier] += len(columns["point"])
        for tier, step in TIERS.items():
            con.execute("UPDATE state SET value = ? WHERE name = ?", [now // step * step, f"rolled_{tier}"])
        con.execute("CHECKPOINT")
    return rows


_Chunk = tuple[str, Callable[[], tuple[IntArray, TimeArray]], int]


def _next(work: Iterator[_Chunk], values: _Values) -> tuple[str, dict[str, np.ndarray[Any, Any]]] | None:
    chunk = next(work, None)
    if chunk is None:
        return None
    table, keys, step = chunk
    return table, values.columns(*keys(), step)


def _chunks(tier: str, points: int, start: int, end: int) -> Iterator[_Chunk]:
    """Yield table, a call that makes points and times, and step of each chunk of a tier, newest run first."""
    step = PERIOD if tier == "raw" else TIERS[tier]
    span = RAW_SPAN if tier == "raw" else SPANS[tier]
    name = "raw" if tier == "raw" else f"tier_{tier}"
    index = np.arange(points, dtype=np.int32)
    hot = max(end - HOT[tier], start) // MINUTE * MINUTE
    at_once = max(1, CHUNK // points)
    for first in range(-(-hot // step) * step, end, at_once * step):
        times = np.arange(first, min(first + at_once * step, end), step)
        yield f"{name}_hot_0", lambda t=times: (np.tile(index, len(t)), np.repeat(t, points)), step  # type: ignore[misc]
    last = hot
    while last > start:
        first = max((last - 1) // RUN[tier] * RUN[tier], (last - 1) // span * span, start)
        times = np.arange(-(-first // step) * step, last, step)
        at_once = max(1, CHUNK // max(len(times), 1))
        for low in range(0, points, at_once):
            some = index[low : low + at_once]
            yield (
                f"{name}_{first // span}",
                lambda p=some, t=times: (np.repeat(p, len(t)), np.tile(t, len(p))),  # type: ignore[misc]
                step,
            )
        last = first
