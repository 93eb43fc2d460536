"""From MQTT messages to one batch: DSX values and metadata, tray sweeps and presence, and what is wrong with them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

import numpy as np
import orjson

from collectors.mqtt.heartbeat import HeartbeatWatch, alive_point
from collectors.mqtt.parked import Parked
from collectors.mqtt.settings import MqttSettings
from collectors.mqtt.trays import Trays
from domain import dsx, tray
from domain.batch import Batch
from domain.dsx import DsxPoint
from domain.errors import ContractViolation
from domain.points import PointRegistry, Quality
from domain.units import Unit
from storage.quarantine import Quarantine

Message = tuple[bytes, bytes, int]
"""Topic, payload, message id."""


class Decoder:
    """Decodes messages in bulk; keeps what it learned from metadata.

    A value topic is a *slot*: a row in arrays of point index, scale and offset. New metadata that changes the unit makes
    a new slot, so that values decoded before it keep the old one.
    """

    def __init__(self, settings: MqttSettings, registry: PointRegistry) -> None:
        self._settings = settings
        self._registry = registry
        self._source = f"dsx:{settings.name}"
        self._slots: dict[bytes, int] = {}
        self._metadata: dict[str, tuple[bytes, DsxPoint]] = {}
        self._index = np.zeros(1024, np.int32)
        self._scale = np.ones(1024)
        self._offset = np.zeros(1024)
        self._used = 0
        self._beats: dict[
            int, tuple[str, int]
        ] = {}  # point index of a heartbeat -> (name, index of its state)
        self._rows: tuple[list[int], list[int], list[float], list[int]] = ([], [], [], [])
        self.counts: Counter[str] = Counter()
        self.quarantine = Quarantine(settings.data)
        self.parked = Parked(settings.parked_values, settings.data)
        self.heartbeats = HeartbeatWatch(settings.heartbeat_timeout)
        self.trays = Trays(registry, "tray")

    def decode(self, messages: Iterable[Message], received: int) -> Batch:
        """Return every reading in `messages` that can be placed; the rest is parked or quarantined, and counted."""
        slot_of, loads, read_value = self._slots.get, orjson.loads, dsx.read_value
        slots, observed, values, qualities = self._rows = ([], [], [], [])
        largest = self._settings.max_payload
        count = 0
        for topic, payload, _ in messages:
            count += 1
            slot = slot_of(topic)
            try:
                if len(payload) > largest:
                    raise ContractViolation("too_large", f"{len(payload)} bytes")
                if slot is None:
                    self._other(topic, payload, received)
                    continue
                told = read_value(loads(payload))
            except orjson.JSONDecodeError as error:
                self._refuse(topic, payload, ContractViolation("bad_json", str(error)))
            except ContractViolation as violation:
                self._refuse(topic, payload, violation)
            else:
                if told.value is None:
                    self.counts["null_values"] += 1
                else:
                    slots.append(slot)
                    observed.append(told.timestamp)
                    values.append(told.value)
                    qualities.append(told.quality)
        self.counts["messages"] += count
        return self._batch(received)

    def _batch(self, received: int) -> Batch:
        slots = np.array(self._rows[0], np.int32)
        points = self._index[slots]
        values = np.array(self._rows[2], np.float64) * self._scale[slots] + self._offset[slots]
        batch = Batch.of(points, self._rows[1], values, self._rows[3], received)
        for index, (name, state) in self._beats.items():
            if (points == index).any():
                self.heartbeats.heard(name, state)
        self.counts["dsx_values"] += len(batch)
        if self.trays.pending:
            tray_rows = Batch.of(*self.trays.rows(), received=received)
            self.counts["tray_values"] += len(tray_rows)
            batch = Batch.concat([batch, tray_rows])
        return self._without_absurd_times(batch)

    def _without_absurd_times(self, batch: Batch) -> Batch:
        earliest = batch.received - int(self._settings.max_past * 1000)
        latest = batch.received + int(self._settings.max_future * 1000)
        absurd = (batch.observed < earliest) | (batch.observed > latest)
        if not absurd.any():
            return batch
        for row in np.flatnonzero(absurd)[:100]:
            point = self._registry[int(batch.point[row])]
            detail = f"observed {batch.observed[row]}, received {batch.received}"
            self.quarantine.message(point.key, str(batch.value[row]).encode(), "absurd_time", detail)
        self.quarantine.note("absurd_time", int(max(0, absurd.sum() - 100)))
        return batch.take(~absurd)

    def _other(self, topic: bytes, payload: bytes, received: int) -> None:
        """Take in anything but a value whose slot is known."""
        try:
            name = topic.decode()
        except UnicodeDecodeError:
            raise ContractViolation("bad_topic", repr(topic[:200])) from None
        if name.startswith(tray.PREFIX):
            self._tray(name, payload, received)
            return
        about = dsx.parse_topic(name)
        if about.tag_path.startswith(self._settings.ignore_tags):
            self.counts["ignored"] += 1
            return
        if about.kind == "Metadata":
            self._learn(about, payload)
            return
        known = self._metadata.get(about.key)
        if known is None:
            dsx.read_value(orjson.loads(payload))
            self.parked.add(about.key, payload)
            self.counts["parked"] += 1
            return
        self._slots[topic] = slot = self._new_slot(known[1])
        self._value(slot, payload)

    def _tray(self, name: str, payload: bytes, received: int) -> None:
        rack, tray_name, kind = tray.parse_topic(name)
        message = orjson.loads(payload)
        if kind == "sweep":
            self.trays.sweep(rack, tray_name, message)
        else:
            self.trays.presence(rack, tray_name, message, received)

    def _value(self, slot: int, payload: bytes) -> None:
        told = dsx.read_value(orjson.loads(payload))
        if told.value is None:
            self.counts["null_values"] += 1
            return
        slots, observed, values, qualities = self._rows
        slots.append(slot)
        observed.append(told.timestamp)
        values.append(told.value)
        qualities.append(told.quality)

    def _learn(self, about: dsx.Topic, payload: bytes) -> None:
        """Take in metadata: new, unchanged (the usual case, every 100 s) or changed."""
        self.counts["metadata"] += 1
        before = self._metadata.get(about.key)
        if before is not None and before[0] == payload:
            return
        told = dsx.point_from_metadata(about, orjson.loads(payload), self._source)
        for violation in told.violations:
            self.quarantine.note(f"tolerated:{violation.reason}")
        index = self._registry.register(told.point)
        self._metadata[about.key] = (payload, told)
        if before is not None:
            self._change(about.key, before[1], told)
        if told.point.point_type == "HeartbeatTimestampBms":
            name = told.point.object_id
            self._beats[index] = (name, self._registry.register(alive_point(name, self._settings.name)))
        waiting = self.parked.release(about.key)
        if waiting:
            slot = self._new_slot(told)
            for message in waiting:
                self._value(slot, message)
            self.counts["unparked"] += len(waiting)

    def _change(self, key: str, before: DsxPoint, now: DsxPoint) -> None:
        if before.unit != now.unit:
            self.counts["units_changed"] += 1
            for topic in [t for t in self._slots if t.decode().endswith(key)]:
                self._slots[topic] = self._new_slot(now)
        if before.point != now.point:
            self.counts["points_changed"] += 1

    def _new_slot(self, told: DsxPoint) -> int:
        slot = self._used
        self._used += 1
        if slot == len(self._index):
            self._index, self._scale, self._offset = (
                np.concatenate([a, np.zeros_like(a)]) for a in (self._index, self._scale, self._offset)
            )
        index = self._registry.index(told.point.key)
        assert index is not None
        unit: Unit = told.unit
        self._index[slot], self._scale[slot], self._offset[slot] = index, unit.scale, unit.offset
        return slot

    def _refuse(self, topic: bytes, payload: bytes, violation: ContractViolation) -> None:
        self.counts["refused"] += 1
        name = topic.decode("utf-8", "backslashreplace")
        self.quarantine.message(name, payload, violation.reason, violation.detail)

    def alive_rows(self, now: int) -> Batch | None:
        """Return whether each known BMS lives, as readings of our own."""
        states = self.heartbeats.states()
        if not states:
            return None
        return Batch.of([i for i, _ in states], now, [float(s) for _, s in states], Quality.GOOD, now)

    @property
    def unit_of(self) -> dict[str, Unit]:
        """Unit of each point, by key, as its publisher tells it."""
        return {key: told.unit for key, (_, told) in self._metadata.items()}

    @property
    def points(self) -> dict[str, DsxPoint]:
        """What the metadata told, by key."""
        return {key: told for key, (_, told) in self._metadata.items()}
