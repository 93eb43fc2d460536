"""From MQTT messages to one batch: DSX values and metadata, tray sweeps and presence, and what is wrong with them.

A message that cannot be used is set aside with its reason, and the next one is read: whatever is in it, and whatever
is wrong with the code that reads it.
"""

from __future__ import annotations

import traceback
from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from dataclasses import replace
from hashlib import blake2b

import numpy as np
import orjson
import structlog

from collectors.mqtt.findings import Findings
from collectors.mqtt.heartbeat import HeartbeatWatch, alive_point
from collectors.mqtt.parked import Parked
from collectors.mqtt.receive import RETAINED
from collectors.mqtt.settings import MqttSettings
from collectors.mqtt.trays import Trays
from domain import dsx, tray
from domain.batch import Batch, BoolArray
from domain.dsx import DsxPoint
from domain.errors import ContractViolation, brief
from domain.points import IntArray, Point, PointRegistry, Quality, Retired, tag_key
from domain.units import Unit
from storage.quarantine import Quarantine

log = structlog.get_logger(__name__)

Message = tuple[bytes, bytes, int]
"""Topic, payload, message id with `RETAINED` where the broker had kept it."""
_COMPARED = (
    "object_id",
    "object_name",
    "state_text",
    "serves",
    "associate",
    "process_area",
    "phase",
    "setpoint",
)
HEARTBEATS_MAX = 64
"""Systems whose heartbeat is watched; the contract has one BMS, and one for each integration."""


class Decoder:
    """Decodes messages in bulk; keeps what it learned from metadata.

    A value topic is a *slot*: a row in arrays of point index, scale and offset. New metadata that changes the unit makes
    a new slot, so that values decoded before it keep the old one until their batch is made.

    Parameters
    ----------
    settings
        Limits, where to keep what is set aside.
    registry
        Where points are registered as their metadata comes.
    racks
        The racks that the site has, for `MqttSettings.unknown_racks`; None where nobody knows.
    chassis
        Racks by the serial number of their chassis, by which trays may name them.
    """

    def __init__(
        self,
        settings: MqttSettings,
        registry: PointRegistry,
        racks: Collection[str] | None = None,
        chassis: Mapping[str, str] | None = None,
    ) -> None:
        self.settings = settings
        self._chassis = chassis or {}
        self._registry = registry
        self._source = f"dsx:{settings.name}"
        self._slots: dict[bytes, int] = {}
        self._metadata: dict[str, tuple[bytes, DsxPoint]] = {}  # by key: digest of the payload, what it told
        self._index = np.zeros(1024, np.int32)
        self._scale = np.ones(1024)
        self._offset = np.zeros(1024)
        self._is_beat = np.zeros(1024, bool)
        self._is_state = np.zeros(1024, bool)
        self._states: dict[int, frozenset[int]] = {}  # what stateText names, by slot
        self._used = 0
        self._left: list[int] = []  # slots that nothing refers to once this batch is made
        self._free: list[int] = []
        self._beats: dict[
            int, tuple[str, int]
        ] = {}  # point index of a heartbeat -> (name, index of its state)
        self._rows: tuple[list[int], list[int], list[float], list[int]] = ([], [], [], [])
        self._tray_topics: dict[bytes, tuple[str, str, str]] = {}  # of trays that are known
        self._late: list[int] = []  # rows of values that somebody kept on their way
        self._unforeseen: set[str] = set()
        self.counts: Counter[str] = Counter()
        self.quarantine = Quarantine(settings.data)
        self.findings = Findings(self.quarantine)
        self.parked = Parked(settings.parked_values, settings.data, int(settings.parked_mb * 1e6))
        self.heartbeats = HeartbeatWatch(settings.heartbeat_timeout)
        known = None if settings.unknown_racks == "accept" else racks
        self.trays = Trays(registry, "tray", known, settings.trays_per_rack)
        self._tray_waits = True  # whether trays that were parked may be of racks that are known by now

    def decode(self, messages: Iterable[Message], received: int) -> Batch:
        """Return every reading in `messages` that can be placed; the rest is parked or set aside, and counted."""
        slot_of, loads, read_value = self._slots.get, orjson.loads, dsx.read_value
        slots, observed, values, qualities = self._rows = ([], [], [], [])
        largest = self.settings.max_payload
        if self._tray_waits:
            self._take_parked_trays(received)
        count = 0
        for topic, payload, number in messages:
            count += 1
            slot = slot_of(topic)
            try:
                if len(payload) > largest:
                    raise ContractViolation("too_large", f"more than {largest} bytes")
                if slot is None or number >= RETAINED:
                    self._other(topic, payload, received, retained=number >= RETAINED)
                    continue
                message = loads(payload)
                value, timestamp, quality = read_value(message)
                if len(message) != 3:
                    self._extra(topic, message)
            except Exception as error:
                self._refuse(topic, payload, self._violation(error))
            else:
                if value is None:
                    self.counts["null_values"] += 1
                else:
                    slots.append(slot)
                    observed.append(timestamp)
                    values.append(value)
                    qualities.append(quality)
        self.counts["messages"] += count
        return self._batch(received)

    def _batch(self, received: int) -> Batch:
        slots = np.array(self._rows[0], np.int32)
        points = self._index[slots]
        states = self._is_state[slots]
        if states.any():
            self._judge_states(np.flatnonzero(states).tolist(), points)
        values = np.array(self._rows[2], np.float64) * self._scale[slots] + self._offset[slots]
        batch = Batch.of(points, self._rows[1], values, self._rows[3], received)
        if self._late:
            batch = replace(batch, late=_marked(len(batch), self._late))
            self._late.clear()
        beats = self._is_beat[slots]
        if beats.any():
            for index in np.unique(points[beats]):
                beat = self._beats.get(int(index))
                if beat is not None:  # it may have been retired by the same batch
                    self.heartbeats.heard(*beat)
        self._free += self._left
        self._left.clear()
        self.counts["dsx_values"] += len(batch)
        if self.trays.pending:
            tray_rows = self.trays.rows(received)
            self.counts["tray_values"] += len(tray_rows)
            batch = Batch.concat([batch, tray_rows])
        return batch

    def _judge_states(self, rows: list[int], points: IntArray) -> None:
        """Give states that have no name a bad quality: nobody can say what they mean."""
        slots, _, values, qualities = self._rows
        for row in rows:
            if values[row] not in self._states[slots[row]]:
                qualities[row] = Quality.BAD
                topic = self.value_topic(self._registry[int(points[row])])
                self.findings.tolerated(topic, ContractViolation("unknown_state", brief(values[row])))

    def value_topic(self, point: Point) -> str:
        """Return the topic on which the values of a point are told; its key where no metadata tells."""
        key = tag_key(point)
        known = self._metadata.get(key)
        return key if known is None else dsx.value_topic(key, known[1].owner)

    def _other(self, topic: bytes, payload: bytes, received: int, retained: bool) -> None:
        """Take in anything but a value whose slot is known."""
        place = self._tray_topics.get(topic)
        if place is not None:
            self._tray_message(*place, payload, received)
            return
        if len(topic) > 4 * dsx.TOPIC_LENGTH:
            raise ContractViolation("bad_topic", f"{len(topic)} bytes")
        try:
            name = topic.decode()
        except UnicodeDecodeError:
            raise ContractViolation("bad_topic", brief(topic, 200)) from None
        if name.startswith(tray.PREFIX):
            self._tray(topic, name, payload, received)
            return
        about = dsx.parse_topic(name)
        if about.tag_path.startswith(self.settings.ignore_tags):
            self.counts["ignored"] += 1
            return
        if about.kind == "Metadata":
            self._learn(name, about, payload)
            return
        if retained:
            self.findings.tolerated(name, ContractViolation("retained_value", "the broker kept it"))
        known = self._metadata.get(about.key)
        if known is None:
            told = dsx.read_value(orjson.loads(payload))
            self.parked.add(about.key, orjson.dumps(told._asdict()), about.publisher)
            self.counts["parked"] += 1
            return
        _owned(known[1], about.publisher)
        slot = self._slots.get(topic)
        if slot is None:
            self._slots[topic] = slot = self._new_slot(known[1])
        self._value(slot, payload, late=retained)

    def _tray(self, topic: bytes, name: str, payload: bytes, received: int) -> None:
        rack, tray_name, kind = tray.parse_topic(name)
        rack = self._chassis.get(rack, rack)
        if self.settings.unknown_racks == "park" and not self.trays.knows(rack):
            self.parked.add(f"{tray.PREFIX}/{rack}/{tray_name}/{kind}", payload, publisher="trays")
            self.counts["parked"] += 1
            return
        self._tray_message(rack, tray_name, kind, payload, received)
        self._tray_topics[topic] = (rack, tray_name, kind)

    def _tray_message(self, rack: str, name: str, kind: str, payload: bytes, received: int) -> None:
        message = orjson.loads(payload)
        if kind == "sweep":
            self.trays.sweep(rack, name, message, received)
        else:
            self.trays.presence(rack, name, message, received)

    def _take_parked_trays(self, received: int) -> None:
        """Take in what trays told before the site knew their racks."""
        self._tray_waits = False
        waiting = self.parked.keys()
        for topic in waiting:
            if not topic.startswith(f"{tray.PREFIX}/"):
                continue
            rack = topic.split("/")[3]
            if not self.trays.knows(self._chassis.get(rack, rack)):
                continue
            for _, payload in self.parked.release(topic):
                self.counts["unparked"] += 1
                try:
                    self._tray(topic.encode(), topic, payload, received)
                except Exception as error:
                    self._refuse(topic.encode(), payload, self._violation(error))

    def _value(self, slot: int, payload: bytes, late: bool) -> None:
        told = dsx.read_value(orjson.loads(payload))
        if told.value is None:
            self.counts["null_values"] += 1
            return
        slots, observed, values, qualities = self._rows
        if late:
            self._late.append(len(slots))
        slots.append(slot)
        observed.append(told.timestamp)
        values.append(told.value)
        qualities.append(told.quality)

    def _extra(self, topic: bytes, message: dict[str, object]) -> None:
        extra = [key for key in message if key not in dsx.DsxValue._fields]
        self.findings.tolerated(topic.decode(), ContractViolation("unexpected_field", brief(extra[0])))

    def _learn(self, name: str, about: dsx.Topic, payload: bytes) -> None:
        """Take in metadata: new, unchanged (the usual case, every 100 s) or changed."""
        self.counts["metadata"] += 1
        if len(payload) > dsx.METADATA_BYTES:
            raise ContractViolation("too_large", f"{len(payload)} bytes of metadata")
        if not payload:
            self._retire(about)
            return
        before = self._metadata.get(about.key)
        digest = blake2b(payload, digest_size=16).digest()
        if before is not None and before[0] == digest:
            return
        told = dsx.point_from_metadata(about, orjson.loads(payload), self._source)
        beat = told.point.point_type == "HeartbeatTimestampBms"
        if beat and len(self._beats) >= HEARTBEATS_MAX and before is None:
            raise ContractViolation("too_many_heartbeats", f"{HEARTBEATS_MAX} are watched already")
        known = self._registry.current(about.key)
        index = self._registry.register(told.point)
        if index != known:
            self._forget_beat(known)  # its tag has moved
        told = replace(told, point=self._registry[index])
        if beat:
            state = self._registry.register(alive_point(told.point.object_id, self.settings.name))
            self._beats[index] = (told.point.object_id, state)
        for violation in told.violations:
            self.findings.tolerated(name, violation)
        self._metadata[about.key] = (digest, told)
        if before is not None:
            self._change(name, about.key, before[1], told)
        self._unpark(about.key, told)

    def _unpark(self, key: str, told: DsxPoint) -> None:
        waiting = self.parked.release(key)
        if not waiting:
            return
        slot = self._new_slot(told)
        self._left.append(slot)
        for publisher, payload in waiting:
            try:
                _owned(told, publisher)
                self._value(slot, payload, late=True)
            except Exception as error:
                self._refuse(dsx.value_topic(key, publisher).encode(), payload, self._violation(error))
        self.counts["unparked"] += len(waiting)

    def _retire(self, about: dsx.Topic) -> None:
        """Take a point out of use whose retained metadata was deleted, which is what an empty payload means."""
        if about.publisher != dsx.BMS:
            raise ContractViolation("metadata_not_from_bms", about.publisher)
        known = self._metadata.pop(about.key, None)
        if known is not None:
            self._drop_slot(about.key, known[1])
        index = self._registry.current(about.key)
        if index is None or self._registry[index].source != self._source:
            return
        self._registry.retire(index, Retired.GONE)
        self.counts["points_retired"] += 1
        self._forget_beat(index)

    def _forget_beat(self, index: int | None) -> None:
        """Watch a heartbeat no longer, if a point is one."""
        beat = None if index is None else self._beats.pop(index, None)
        if beat is not None:
            self.heartbeats.forget(beat[0])
            self._registry.retire(beat[1], Retired.GONE)

    def _change(self, name: str, key: str, before: DsxPoint, now: DsxPoint) -> None:
        if (before.unit, before.owner, before.point.state_text, before.point.key) != (
            now.unit,
            now.owner,
            now.point.state_text,
            now.point.key,
        ):
            self._drop_slot(key, before)
        if before.unit != now.unit:
            self.counts["units_changed"] += 1
        if before.point != now.point:
            self.counts["points_changed"] += 1
        if before.point.key != now.point.key:
            self.counts["points_moved"] += 1
        changed = [n for n in _COMPARED if getattr(before.point, n) != getattr(now.point, n)]
        changed += [n for n in ("unit", "integration") if getattr(before, n) != getattr(now, n)]
        if changed:
            self.findings.tolerated(name, ContractViolation("metadata_changed", ", ".join(changed)))

    def _drop_slot(self, key: str, told: DsxPoint) -> None:
        """Forget the slot of a point's topic; its next value makes a new one."""
        slot = self._slots.pop(dsx.value_topic(key, told.owner).encode(), None)
        if slot is not None:
            self._left.append(slot)

    def _new_slot(self, told: DsxPoint) -> int:
        slot = self._free.pop() if self._free else self._used
        if slot == self._used:
            self._used += 1
        if slot == len(self._index):
            self._index, self._scale, self._offset, self._is_beat, self._is_state = (
                np.concatenate([a, np.zeros_like(a)])
                for a in (self._index, self._scale, self._offset, self._is_beat, self._is_state)
            )
        index = self._registry.index(told.point.key)
        assert index is not None
        unit: Unit = told.unit
        self._index[slot], self._scale[slot], self._offset[slot] = index, unit.scale, unit.offset
        self._is_beat[slot] = index in self._beats
        self._is_state[slot] = told.point.is_state
        if told.point.is_state:
            self._states[slot] = frozenset(value for value, _ in told.point.state_text)
        return slot

    def _violation(self, error: Exception) -> ContractViolation:
        """Return why a message is refused."""
        if isinstance(error, ContractViolation):
            return error
        if isinstance(error, orjson.JSONDecodeError):
            return ContractViolation("too_deep" if "depth" in error.msg else "bad_json", error.msg)
        # a fault of ours rather than of the message: the first of its kind is told in full
        kind = type(error).__name__
        if kind not in self._unforeseen:
            self._unforeseen.add(kind)
            where = "".join(traceback.format_tb(error.__traceback__)[-3:])
            log.error("a message could not be read", error=kind, where=where)
        return ContractViolation("unreadable", f"{kind}: {brief(error.args[0]) if error.args else ''}")

    def _refuse(self, topic: bytes, payload: bytes, violation: ContractViolation) -> None:
        self.counts["refused"] += 1
        name = topic[: 4 * dsx.TOPIC_LENGTH].decode("utf-8", "backslashreplace")[: dsx.TOPIC_LENGTH]
        self.findings.refused(name, payload, violation)

    def alive_rows(self, now: int) -> Batch | None:
        """Return whether each known BMS lives, as readings of our own."""
        states = self.heartbeats.states()
        if not states:
            return None
        return Batch.of([i for i, _ in states], now, [float(s) for _, s in states], Quality.GOOD, now)

    @property
    def known(self) -> int:
        """How many points have metadata."""
        return len(self._metadata)

    @property
    def points(self) -> dict[str, DsxPoint]:
        """What the metadata told, by key."""
        return {key: told for key, (_, told) in self._metadata.items()}


def _marked(length: int, rows: list[int]) -> BoolArray:
    marks = np.zeros(length, bool)
    marks[rows] = True
    return marks


def _owned(told: DsxPoint, publisher: str) -> None:
    if publisher != told.owner:
        raise ContractViolation("wrong_publisher", f"{publisher} tells a point that {told.owner} owns")
