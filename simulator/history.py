"""A past for a factory that is shown for the first time: a fortnight in quarter hours, ten minutes in full.

The fortnight comes from the calendar and the plant's steady states, all times at once. The last minutes are the
factory itself, stepped up to now, so that live values go on where history ends.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from domain.batch import Batch
from domain.envelope import QUARTER_MS, quarter_start
from domain.planned import PlannedWork
from domain.plant.conditions import Conditions
from domain.points import IntArray, PointRegistry, Quality, ValueArray
from domain.tray import GPU_FIELDS, tray_points
from simulator.bms import Bms, ChangeFilter
from simulator.channels import Meters
from simulator.factory import Factory
from simulator.gpus import TRAY_GPUS
from simulator.nvml_values import GpuReadings
from simulator.workload import HOUR, Workload

RECENT_MS = 600_000
"""How long before now a factory must start for `history` to have its last minutes in full."""
FAST_FIELDS = frozenset(
    ["GpuPower", "GpuTemperature", "GpuMemoryTemperature", "GpuUtilization", "GpuClock", "GpuThrottleReasons"]
)
"""What is laid down at the short GPU cadence; the other fields come once a minute. All of it only on change."""
UPS_POWERS: dict[str, Callable[[Meters], ValueArray]] = {
    "ActivePower": lambda m: np.round(m.state.ups_out * m.state.ups_live),
    "InputPower": lambda m: np.round(m.state.ups_in * m.ups_input_gain),
}
"""What a fortnight's energy and PUE need of the UPSes, as their agents tell it (`simulator.snmp.devices`): out and in, W."""
_SAMPLES = 5  # of each quarter hour, for its average
_CHUNK = 96  # quarter hours that are computed in one go


@dataclass(frozen=True, slots=True)
class Cadence:
    """How densely the last minutes are told, s."""

    dsx: float = 2.0
    snmp: float = 10.0
    gpu: float = 10.0
    gpu_slow: float = 60.0


def history(
    factory: Factory,
    registry: PointRegistry,
    now_ms: int,
    days: float = 14.0,
    source: str = "dsx:bms",
    tray_source: str = "tray",
    cadence: Cadence | None = None,
    ups: Mapping[str, IntArray] | None = None,
) -> Iterator[Batch]:
    """Yield a factory's past, oldest first, and leave the factory at `now_ms`.

    Parameters
    ----------
    factory
        Newly made, with a `start_ms` of `RECENT_MS` before now.
    registry
        Where the points are registered, under the keys that the collectors give them.
    now_ms
        Where live values take over, UTC ms.
    days
        Length of the quarter-hourly past of site, UPSes, racks and CDUs.
    source, tray_source
        What the collector that will read the bus writes into its points, for the BMS's and for the trays'.
    cadence
        Of the last minutes.
    ups
        The points under which the SNMP collector files the UPSes' `UPS_POWERS`, in the layout's order; none are laid down if not given.

    Notes
    -----
    A quarter hour's value is its average, observed at its start.
    """
    bms = Bms(factory, source)
    index = np.array(
        [
            registry.register(p.point) if there else -1
            for p, there in zip(bms.points, bms.present, strict=True)
        ],
        np.int32,
    )
    upses = ups or {}
    yield from _quarters(factory, bms, index, factory.start_ms, days, upses)
    yield from _recent(factory, bms, index, registry, now_ms, tray_source, cadence or Cadence(), upses)


def announced(
    workload: Workload, racks: Sequence[str], now_ms: int, source: str, days: float = 14.0
) -> list[PlannedWork]:
    """Return what the scheduler has announced over the past days and still announces, as it was known when."""
    first = now_ms - round(days * 86_400_000)
    return [
        PlannedWork(
            source,
            job.name,
            tuple(racks[job.first : job.last]),
            job.start,
            job.planned_end,
            intensity=job.told_intensity,
            known_since=job.known_since,
            until=job.end if job.end <= now_ms else 0,
        )
        for job in workload.jobs(first, now_ms + 48 * HOUR)
        if job.known_since <= now_ms
    ]


def gpu_indexes(factory: Factory, registry: PointRegistry, source: str) -> dict[str, IntArray]:
    """Register the points of all trays and return those of the GPUs by point type, shape (G,)."""
    fields = len(GPU_FIELDS)
    rows: list[list[int]] = []
    for first in range(0, factory.layout.gpus, TRAY_GPUS):
        rack, tray, _ = factory.gpu_name(first)
        found = [
            registry.register(p) for p in tray_points(rack, tray, TRAY_GPUS, source=f"{source}:{rack}-{tray}")
        ]
        rows += [found[g * fields : (g + 1) * fields] for g in range(TRAY_GPUS)]
    table = np.array(rows, np.int32)
    return {field: table[:, i].copy() for i, field in enumerate(GPU_FIELDS)}


def _quarters(
    factory: Factory, bms: Bms, index: IntArray, end_ms: int, days: float, ups: Mapping[str, IntArray]
) -> Iterator[Batch]:
    last = quarter_start(end_ms)
    first = last - round(days * 86_400_000) // QUARTER_MS * QUARTER_MS
    # with the quarter hour that has begun: its value leads up to the last minutes
    starts = np.arange(first, end_ms, QUARTER_MS, dtype=np.int64)
    for i in range(0, len(starts), _CHUNK):
        yield _averages(factory, bms, index, starts[i : i + _CHUNK], ups)


def _averages(
    factory: Factory,
    bms: Bms,
    index: IntArray,
    starts: np.ndarray[tuple[int], np.dtype[np.int64]],
    ups: Mapping[str, IntArray],
) -> Batch:
    span = QUARTER_MS // _SAMPLES
    times = (starts[:, None] + span * np.arange(_SAMPLES, dtype=np.int64)).reshape(-1)
    activity = factory.workload.mean_activity(times, span)
    power = factory.rack_power(activity).reshape(len(starts), _SAMPLES, -1).mean(1)
    power = power * (starts[:, None] >= factory.roughness.live_from)
    wet_bulb = factory.workload.wet_bulb(times).reshape(len(starts), -1).mean(1)
    healthy = Conditions.healthy(factory.layout)
    meters = bms.meters
    meters.refresh(factory.plant.settle(power, healthy, wet_bulb, rounds=4), healthy)
    rng = np.random.default_rng([factory.seed, 809, int(starts[0] // QUARTER_MS)])
    points, values = [], []
    for channel, where in bms.slices:
        if not channel.history:
            continue
        exact = channel.read(meters)
        told = (np.broadcast_to(exact, (len(starts), exact.shape[-1])) - bms.offset[where]) / bms.scale[where]
        told = bms.instruments.biased(told, where)
        told = np.where(starts[:, None] >= bms.live_from[where], told, np.nan)
        told = told + bms.noise[where] * rng.standard_normal(told.shape) / np.sqrt(_SAMPLES)
        told = np.round(told / bms.resolution[where]) * bms.resolution[where]
        values.append(told * bms.scale[where] + bms.offset[where])
        points.append(np.broadcast_to(index[where], told.shape))
    for name, at in ups.items():
        values.append(UPS_POWERS[name](meters))
        points.append(np.broadcast_to(at, (len(starts), len(at))))
    meters.refresh()
    value = np.concatenate(values, axis=1)
    there = np.isfinite(value).reshape(-1)
    return Batch.of(
        np.concatenate(points, axis=1).reshape(-1)[there],
        np.repeat(starts, value.shape[1])[there],
        value.reshape(-1)[there],
    )


def _recent(
    factory: Factory,
    bms: Bms,
    index: IntArray,
    registry: PointRegistry,
    now_ms: int,
    tray_source: str,
    cadence: Cadence,
    ups: Mapping[str, IntArray],
) -> Iterator[Batch]:
    change = ChangeFilter(bms)
    gpus = gpu_indexes(factory, registry, tray_source)
    readings = GpuReadings(factory)
    told: dict[str, np.ndarray[tuple[int], np.dtype[np.float64]]] = {}
    started = factory.time_ms
    rows: list[Batch] = []
    while factory.time_ms <= now_ms:
        since = (factory.time_ms - started) // 1000
        if since % cadence.dsx == 0:
            rows.append(_bus(bms, index, change))
        if since % cadence.snmp == 0 and ups:
            bms.meters.refresh()
            told_by = [UPS_POWERS[name](bms.meters) for name in ups]
            rows.append(
                Batch.of(np.concatenate(list(ups.values())), factory.time_ms, np.concatenate(told_by))
            )
        if since % cadence.gpu == 0:
            slow = since % cadence.gpu_slow == 0
            rows.append(_gpus(readings, gpus, told, slow))
        if since % 60 == 59:
            yield Batch.concat(rows)
            rows = []
        if factory.time_ms + 1000 > now_ms:
            break
        factory.step()
    if rows:
        yield Batch.concat(rows)


def _bus(bms: Bms, index: IntArray, change: ChangeFilter) -> Batch:
    reading = bms.read()
    tell = change(reading)
    canonical = reading.value[tell] * bms.scale[tell] + bms.offset[tell]
    return Batch.of(index[tell], reading.time_ms + reading.late[tell], canonical, reading.quality[tell])


def _gpus(
    readings: GpuReadings,
    index: dict[str, IntArray],
    told: dict[str, np.ndarray[tuple[int], np.dtype[np.float64]]],
    slow: bool,
) -> Batch:
    points, values = [], []
    for field, column in readings.told().items():
        if field not in FAST_FIELDS and not slow:
            continue
        before = told.get(field)
        tell = ~np.isnan(column) if before is None else (column != before) & ~np.isnan(column)
        told[field] = column
        points.append(index[field][tell])
        values.append(column[tell])
    return Batch.of(np.concatenate(points), readings.factory.time_ms, np.concatenate(values), Quality.GOOD)
