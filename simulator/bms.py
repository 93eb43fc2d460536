"""The building-management system: points by the DSX contract, readings, and which of them are worth a message."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from domain.catalogue import POINT_TYPES
from domain.dsx import DsxPoint, eng_unit, metadata_payload, metadata_topic, parse_topic, point_from_metadata
from domain.points import Point, Quality, QualityArray, TimeArray, ValueArray
from simulator.channels import CHANNELS, Channel, Meters, Thing
from simulator.factory import Factory
from simulator.falsify import Falsifier
from simulator.faults import Effect, Fault
from simulator.instruments import Instruments

REPUBLISH_MS = 100_000
"""The contract: what does not change is told again every 100 s."""


_OF_COOLANT = ("RackLiquid", "RackControlValve", "RackLeak")


@dataclass(frozen=True, slots=True, eq=False)
class Reading:
    """All points at one time: `value` as published (engineering units), NaN where the instrument tells nothing.

    `late` is what each instrument's clock is off, ms. All arrays have shape (points,).
    """

    time_ms: int
    value: ValueArray
    quality: QualityArray
    late: TimeArray


class Bms:
    """Points and readings of one factory.

    Parameters
    ----------
    factory
        What is measured.
    source
        Name of the collector instance that reads the bus; becomes the points' source.
    """

    def __init__(self, factory: Factory, source: str = "dsx:bms") -> None:
        self.factory = factory
        self.meters = Meters(factory)
        self.points: list[DsxPoint] = []
        self.payloads: list[dict[str, object]] = []
        self.slices: list[tuple[Channel, slice]] = []
        resolution, deadband, noise = [], [], []
        for channel in CHANNELS:
            objects = self.meters.things[channel.objects]
            first = len(self.points)
            for thing in objects:
                self._add(channel, thing, source)
            self.slices.append((channel, slice(first, first + len(objects))))
            resolution += [1.0 if channel.states else channel.resolution] * len(objects)
            deadband += [channel.deadband] * len(objects)
            noise += [0.0 if channel.states else channel.noise] * len(objects)
        self.keys = [p.point.key for p in self.points]
        level = factory.roughness.level
        self.instruments = Instruments([p.point for p in self.points], factory.layout, level, factory.seed)
        self.resolution = np.maximum(resolution, self.instruments.coarse)
        self.deadband = np.array(deadband)
        self.noise = np.array(noise) * 2.0**level
        # a flow meter cuts off what is next to nothing, so that a loop that stands still does not flow backwards
        self.least = np.where([p.point.point_type.endswith("Flow") for p in self.points], 0.0, -np.inf)
        self._without(factory)
        self._works = 0
        self.scale = np.array([p.unit.scale for p in self.points])
        self.offset = np.array([p.unit.offset for p in self.points])
        self.decimals = [0 if r >= 1 else round(-np.log10(r) + 0.2) for r in resolution]
        self._rng = np.random.default_rng([factory.seed, 701, factory.start_ms // 1000])
        self._falsify = _SensorFaults(self)

    def _add(self, channel: Channel, thing: Thing, source: str) -> None:
        key = f"{channel.object_type}/{channel.point_type}/{thing.path}/{channel.tag}"
        point = Point(
            key,
            channel.object_type,
            channel.point_type,
            thing.id,
            thing.id,
            "" if channel.states else POINT_TYPES[channel.point_type].unit,
            channel.states,
            serves=thing.serves,
            process_area=channel.area,
            phase=channel.phase,
            setpoint=channel.setpoint,
        )
        payload = metadata_payload(point, eng_unit(point) or None)
        self.payloads.append(payload)
        self.points.append(point_from_metadata(parse_topic(metadata_topic(key)), payload, source))

    def _without(self, factory: Factory) -> None:
        """Take the instruments of coolant from racks that have none, and note which points come with which pod."""
        layout = factory.layout
        air = {rack for rack, air in zip(layout.racks, factory.plant.built.air_cooled, strict=True) if air}
        pods = {
            **dict(zip(layout.racks, layout.rack_pod.tolist(), strict=True)),
            **dict(zip(layout.cdus, layout.cdu_pod.tolist(), strict=True)),
        }
        first = {
            int(pod): int(when)
            for pod, when in zip(layout.rack_pod, factory.roughness.live_from, strict=True)
        }
        self.live_from: TimeArray = np.zeros(len(self.points), np.int64)
        for i, point in enumerate(p.point for p in self.points):
            if point.object_id in air and point.point_type.startswith(_OF_COOLANT):
                self.instruments.absent[i] = True
            pod = pods.get(point.object_id.partition("-TAP")[0])
            if pod is not None:
                self.live_from[i] = first[pod]

    @property
    def present(self) -> NDArray[np.bool_]:
        """Which points there are at all, shape (points,)."""
        return ~self.instruments.absent

    def exact(self) -> ValueArray:
        """Return every point without its instrument's errors, canonical units, shape (points,)."""
        self.meters.refresh()
        return np.concatenate([channel.read(self.meters) for channel, _ in self.slices], axis=-1)

    def read(self) -> Reading:
        """Return what the instruments tell now."""
        now = self.factory.time_ms
        done = self.factory.works_done
        for number, work in enumerate(self.factory.roughness.works[self._works : done], self._works):
            if work.what == "calibration":
                self.instruments.adjust(work.target, number)
        self._works = done
        value = self.instruments.sense((self.exact() - self.offset) / self.scale, now)
        value += self.noise * self._rng.standard_normal(len(value))
        np.maximum(value, self.least, out=value)
        reading = Reading(
            now, value, np.full(len(value), Quality.GOOD, np.uint8), self.instruments.late.copy()
        )
        self._falsify(reading, self.factory.faults.falsified)
        self.instruments.tell(value, now)
        value[self.live_from > now] = np.nan
        np.round(value / self.resolution, out=value)
        value *= self.resolution
        return reading


class ChangeFilter:
    """Which readings are worth a message: those that moved by their deadband, and each one every 100 s.

    The first reading of all passes whole; what does not change is then told again in turn, not all at once.
    """

    def __init__(self, bms: Bms) -> None:
        n = len(bms.points)
        self._deadband = np.maximum(bms.deadband, bms.resolution) * (1 - 1e-9)
        self._value = np.full(n, np.nan)
        self._quality = np.zeros(n, np.uint8)
        self._told = np.full(n, -(10**12), np.int64)
        self._stagger = (np.arange(n, dtype=np.int64) * 7919) % REPUBLISH_MS
        self._first = True

    def __call__(self, reading: Reading) -> NDArray[np.intp]:
        """Return the positions of the readings to be told, and take note that they were."""
        silent = np.isnan(reading.value)
        moved = ~(np.abs(reading.value - self._value) < self._deadband) | (reading.quality != self._quality)
        due = reading.time_ms - self._told >= REPUBLISH_MS
        tell = np.flatnonzero((moved | due) & ~silent)
        self._value[tell] = reading.value[tell]
        self._quality[tell] = reading.quality[tell]
        self._told[tell] = reading.time_ms - (self._stagger[tell] if self._first else 0)
        self._first = False
        return tell


class _SensorFaults:
    """Applies falsified readings to the points that they are about."""

    def __init__(self, bms: Bms) -> None:
        self._bms = bms
        self._falsifier = Falsifier(np.random.default_rng([bms.factory.seed, 907]))
        self._by_object: dict[tuple[str, str], list[int]] = {}
        for i, p in enumerate(bms.points):
            self._by_object.setdefault((p.point.object_id, p.point.point_type), []).append(i)

    def __call__(self, reading: Reading, falsified: list[tuple[Fault, Effect, float]]) -> None:
        keys = self._bms.keys if falsified else []
        for fault, effect, amount in falsified:
            about = self._by_object.get((fault.target, effect.point or ""), ())
            where = [i for i in about if effect.tag in keys[i]]
            if effect.how == "swap":
                for i in where:
                    j = keys.index(keys[i].replace(effect.tag, effect.other))
                    reading.value[[i, j]] = reading.value[[j, i]]
            elif effect.how == "clock":
                reading.late[where] = round(effect.amount * 1000)
            elif effect.how == "bad":
                reading.quality[where] = Quality.BAD
            else:
                for i in where:
                    unit = float(self._bms.scale[i])
                    self._falsifier.apply(fault, effect, amount, reading.value, [i], unit)
