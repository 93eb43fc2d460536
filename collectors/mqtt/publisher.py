"""Hallwatch as a DSX publisher: readings of legacy devices told on the bus under the same contract.

Values go out when they change and again every 100 s, metadata (retained) likewise, a heartbeat every 10 s. Keys get the
publisher's name as the first level of their tagPath; a collector on the same bus leaves those out (`ignore_tags`).
"""

from __future__ import annotations

import asyncio
import fnmatch
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import orjson

from collectors.mqtt.connection import Connection
from collectors.mqtt.settings import PublisherSettings
from domain import dsx
from domain.batch import Batch, now_ms
from domain.catalogue import CONTRACT
from domain.points import Point, PointRegistry, Quality
from domain.units import Unit, parse_unit

_STEP_S = 0.5


@dataclass(slots=True)
class Outgoing:
    """A point as it is told on the bus."""

    point: Point
    key: str
    metadata: bytes
    unit: Unit
    told_metadata: float = float("-inf")
    told_value: float = float("-inf")
    value: float = float("nan")
    observed: int = 0
    quality: int = Quality.GOOD
    changed: bool = False


class DsxPublisher:
    """Tells readings on a DSX bus.

    Parameters
    ----------
    settings
        Broker, which sources, how often.
    registry
        Describes the points of the batches that are offered.
    clock
        Monotonic seconds.
    """

    def __init__(
        self,
        settings: PublisherSettings,
        registry: PointRegistry,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._settings = settings
        self._registry = registry
        self._clock = clock
        self._outgoing: dict[int, Outgoing | None] = {}
        self._beat_told = float("-inf")
        self.counts: Counter[str] = Counter()
        self.connection = Connection(settings.broker, on_connect=self._all_again)

    def offer(self, batch: Batch) -> None:
        """Take note of readings; those of other sources are left out. Cheap, and never waits."""
        rows = zip(
            batch.point.tolist(),
            batch.observed.tolist(),
            batch.value.tolist(),
            batch.quality.tolist(),
            strict=True,
        )
        for index, observed, value, quality in rows:
            out = self._outgoing[index] if index in self._outgoing else self._add(index)
            # what is known lies ahead of us only where our own clock was set back
            if out is None or observed < out.observed <= batch.received:
                continue
            if out.point is not self._registry[index]:
                out = self._add(index)
                if out is None:
                    continue
            if value != out.value or quality != out.quality:
                out.changed = True
            out.observed, out.value, out.quality = observed, value, quality

    async def run(self) -> None:
        """Publish until cancelled."""
        self.connection.start()
        try:
            while True:
                self.publish_due()
                await asyncio.sleep(_STEP_S)
        finally:
            await asyncio.to_thread(self.connection.stop)

    def publish_due(self) -> None:
        """Send what is due; what cannot be sent now stays due."""
        if not self.connection.state.connected:
            return
        now = self._clock()
        if now - self._beat_told >= self._settings.heartbeat and self._beat():
            self._beat_told = now
        for out in list(self._outgoing.values()):
            if out is None or not out.observed:
                continue
            if now - out.told_metadata >= self._settings.republish:
                if not self._send(dsx.metadata_topic(out.key), out.metadata, retain=True):
                    return
                out.told_metadata = now
            if out.changed or now - out.told_value >= self._settings.republish:
                # A value told again without a change keeps its own time: nothing newer is known.
                value = (out.value - out.unit.offset) / out.unit.scale
                message = dsx.value_payload(float(f"{value:.9g}"), out.observed, out.quality)
                if not self._send(dsx.value_topic(out.key), orjson.dumps(message)):
                    return
                out.told_value, out.changed = now, False

    def stats(self) -> dict[str, Any]:
        """Return counters for the health page."""
        told = sum(o is not None for o in self._outgoing.values())
        return {"connected": self.connection.state.connected, "points": told, **self.counts}

    def _add(self, index: int) -> Outgoing | None:
        point = self._registry[index]
        if not any(fnmatch.fnmatchcase(point.source, pattern) for pattern in self._settings.sources):
            self._outgoing[index] = None
            return None
        told = in_contract(point)
        if told.point_type != point.point_type:
            self.counts["told_as_generic"] += 1
        spelling = dsx.eng_unit(told)
        key = f"{told.object_type}/{told.point_type}/{self._settings.name}/{point.key}"
        metadata = orjson.dumps(dsx.metadata_payload(told, spelling))
        unit = parse_unit(spelling) if spelling else Unit(point.unit)
        self._outgoing[index] = out = Outgoing(point, key, metadata, unit)
        return out

    def _beat(self) -> bool:
        name = self._settings.name
        point = Point(
            f"System/HeartbeatTimestampBms/{name}/heartbeat",
            "System",
            "HeartbeatTimestampBms",
            name,
            name,
            "s",
        )
        metadata = dsx.metadata_payload(point) | {"scope": f"{dsx.value_topic('+/+')}/{name}/#"}
        now = now_ms()
        return self._send(dsx.metadata_topic(point.key), orjson.dumps(metadata), retain=True) and self._send(
            dsx.value_topic(point.key), orjson.dumps(dsx.value_payload(now // 1000, now))
        )

    def _send(self, topic: str, payload: bytes, retain: bool = False) -> bool:
        if self.connection.publish(topic, payload, self._settings.qos, retain) is None:
            self.counts["not_sent"] += 1
            return False
        self.counts["sent"] += 1
        return True

    def _all_again(self) -> None:
        """After a reconnect: the broker may be another one, and what was on its way may be lost."""
        self._beat_told = float("-inf")
        for out in list(self._outgoing.values()):
            if out is not None:
                out.told_metadata, out.changed = float("-inf"), bool(out.observed)


def in_contract(point: Point) -> Point:
    """Return the point in words of the contract: what it has no word for becomes GenericObject, GenericPoint."""
    object_type = point.object_type if point.object_type in CONTRACT else "GenericObject"
    if object_type == "Rack" and point.point_type not in CONTRACT["Rack"]:
        object_type = "GenericObject"  # racks have no generic points
    allowed = point.point_type in CONTRACT[object_type]
    serves = point.serves or ((point.associate,) if object_type == "PowerMeter" and point.associate else ())
    return replace(
        point,
        object_type=object_type,
        point_type=point.point_type if allowed else "GenericPoint",
        process_area=point.process_area if allowed else (*point.process_area, point.point_type),
        serves=serves,
        associate="",
    )
