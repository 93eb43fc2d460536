"""What is on a broker: DSX points, trays, and everything that is wrong with them."""

from __future__ import annotations

import threading
import time
from collections import defaultdict, deque
from typing import Any

import numpy as np

from collectors.mqtt.connection import Connection, connected
from collectors.mqtt.decoder import Decoder, Message
from collectors.mqtt.receive import RETAINED
from collectors.mqtt.settings import BrokerSettings, MqttSettings
from domain.batch import Batch, now_ms
from domain.dsx import HEARTBEATS, METADATA, VALUES, metadata_topic, value_topic
from domain.dsx_plant import plant_violations
from domain.errors import ContractViolation
from domain.points import Point, PointRegistry, Quality
from domain.possible import why_not
from domain.tray import PRESENCES, SWEEPS
from storage.settings import IngestSettings

_STEP_S = 0.2
_HEARTBEAT_S = 10.0  # the contract's
_OFF_MS = 10_000  # what a clock may differ
_KEPT_BEATS = 100
_DAY_MS = 86_400_000  # a time further off is no clock


def probe(broker: str | BrokerSettings, seconds: float) -> dict[str, Any]:
    """Listen to a broker for some seconds and return what was heard, ready for JSON.

    Parameters
    ----------
    broker
        URL, such as ``mqtt://10.0.0.5:1883``, or settings with credentials and certificates.
    seconds
        How long to listen; values that don't change come every 100 s, heartbeats every 10 s.

    Returns
    -------
    dict
        ``broker``, ``protocol``, ``seconds``, ``messages``, ``clock_ahead_s`` (of the freshest value; None without one), ``points`` (each with key, objectType, pointType, objectId,
        objectName, unit, and value, observed, quality, state where one came), ``waiting`` (keys of values without
        metadata), ``violations`` (each with topic, reason, meaning, detail, count, tolerated), ``violation_counts``,
        ``subscriptions_refused``, ``trays``.

    Raises
    ------
    SourceError
        If the broker cannot be reached; `SourceRefused` if it grants none of the subscriptions.
    """
    settings = broker if isinstance(broker, BrokerSettings) else BrokerSettings(url=broker)
    listener = _Listener(settings)
    messages: list[Message] = []
    lock = threading.Lock()

    def take(topic: bytes, payload: bytes, mid: int) -> None:
        with lock:
            messages.append((topic, payload, mid))

    connection = Connection(
        settings,
        take,
        [METADATA, VALUES, SWEEPS, PRESENCES],
        largest=listener.decoder.settings.max_payload,
        as_published=True,
    )
    connection.start()
    try:
        connected(connection, 15.0, subscribed=True)
        protocol, refused = connection.state.protocol, dict(connection.state.refused)
        end = time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0:
            time.sleep(min(_STEP_S, left))
            with lock:
                heard, messages[:] = messages[:], []
            listener.hear(heard, as_published=protocol == "5")
            connection.acknowledge(mid for _, _, mid in heard if mid)
    finally:
        connection.stop()
    listener.conclude(seconds)
    decoder, registry = listener.decoder, listener.registry
    return {
        "broker": settings.shown,
        "protocol": protocol,
        "seconds": seconds,
        "messages": decoder.counts["messages"],
        "clock_ahead_s": None if listener.ahead is None else listener.ahead / 1000,
        "points": [_point(registry[index], listener.latest.get(index)) for index in range(len(registry))],
        "waiting": sorted(decoder.parked.keys()),
        "violations": decoder.findings.rows(),
        "violation_counts": dict(decoder.quarantine.counts),
        "subscriptions_refused": refused,
        "trays": {f"{rack}-{name}": online for (rack, name), online in decoder.trays.online.items()},
    }


class _Listener:
    """Hears messages as the service would, and judges what the service does not wait for."""

    def __init__(self, broker: BrokerSettings) -> None:
        self.registry = PointRegistry()
        self.decoder = Decoder(MqttSettings(name="probe", broker=broker), self.registry)
        bounds = IngestSettings()
        self._past_ms, self._future_ms = int(bounds.past_days * 86_400_000), int(bounds.future_s * 1000)
        self.latest: dict[int, tuple[int, float, int]] = {}
        self._beats: dict[int, deque[float]] = defaultdict(lambda: deque(maxlen=_KEPT_BEATS))
        self._freshest = -np.inf  # of all values: how far ahead of us, ms
        self._values = 0
        self.ahead: int | None = None
        """By how much the freshest value is ahead of us, ms, also where ingest would doubt it."""

    def hear(self, messages: list[Message], as_published: bool) -> None:
        """Take in what has come since the last call."""
        batch = self.decoder.decode(messages, now_ms())
        if as_published:
            for topic, payload, number in messages:
                if b"/Metadata/" in topic and payload and not number & RETAINED:
                    self._note(topic.decode("utf-8", "replace"), "metadata_not_retained", "")
        late = np.zeros(len(batch), bool) if batch.late is None else batch.late
        for point, observed, value, quality, kept in zip(
            batch.point.tolist(),
            batch.observed.tolist(),
            batch.value.tolist(),
            batch.quality.tolist(),
            late.tolist(),
            strict=True,
        ):
            self._value(point, observed, value, quality, batch, kept)

    def _value(self, index: int, observed: int, value: float, quality: int, batch: Batch, late: bool) -> None:
        point = self.registry[index]
        before = self.latest.get(index)
        topic = self.decoder.value_topic(point)
        ahead = observed - batch.received
        if point.source.startswith("dsx:") and not late and abs(ahead) < _DAY_MS:
            self.ahead = ahead if self.ahead is None else max(self.ahead, ahead)
        if self._absurd(topic, observed, batch.received):
            return
        impossible = why_not(point, value)
        if impossible:
            self._note(topic, "impossible_value", impossible)
            quality = Quality.BAD  # as ingest keeps it
        if before is None or observed >= before[0]:
            self.latest[index] = (observed, value, quality)
        if not point.source.startswith("dsx:"):
            return
        if point.point_type in HEARTBEATS:
            self._beats[index].append(time.monotonic())
        if late:
            return
        self._freshest = max(self._freshest, ahead)
        self._values += 1
        if ahead > _OFF_MS:
            self._note(topic, "clock_off", f"{ahead / 1000:.0f} s ahead")
        if before is None:
            return
        if observed < before[0]:
            self._note(topic, "time_backwards", f"by {(before[0] - observed) / 1000:g} s")
        elif observed == before[0] and value != before[1]:
            self._note(topic, "one_time_twice", f"{before[1]:g} and {value:g} at {observed}")

    def _absurd(self, topic: str, observed: int, received: int) -> bool:
        """Tell of a time that ingest does not take as it is; return whether it is one."""
        ahead = observed - received
        if -self._past_ms <= ahead <= self._future_ms:
            return False
        seconds = abs(observed * 1000 - received) < self._past_ms
        what = "seconds in place of milliseconds?" if seconds else f"{ahead / 1000:+.0f} s from now"
        self._note(topic, "absurd_time", f"{observed}: {what}")
        return True

    def conclude(self, seconds: float) -> None:
        """Judge what only shows after a while, and what only the whole shows."""
        now = time.monotonic()
        for index, beats in self._beats.items():
            usual = float(np.median(np.diff(beats))) if len(beats) > 2 else _HEARTBEAT_S
            silent = now - beats[-1]
            if silent > max(2.2 * usual, 2.0):
                about = f"silent for {silent:.0f} s, was heard every {usual:.0f} s"
                self._note(self.decoder.value_topic(self.registry[index]), "heartbeat_stopped", about)
        told = {self.registry[index].point_type for index in self._beats}
        if seconds > 2.2 * _HEARTBEAT_S and self.decoder.known and "HeartbeatTimestampBms" not in told:
            self._note(value_topic("System/HeartbeatTimestampBms/+"), "no_heartbeat", f"in {seconds:.0f} s")
        if self._values and self._freshest < -_OFF_MS:
            self._note(
                VALUES, "clock_off", f"the freshest of all values is {-self._freshest / 1000:.0f} s old"
            )
        for key, violation in plant_violations(self.decoder.points):
            self.decoder.findings.tolerated(metadata_topic(key), violation)

    def _note(self, topic: str, reason: str, detail: str) -> None:
        self.decoder.findings.tolerated(topic, ContractViolation(reason, detail))


def _point(point: Point, reading: tuple[int, float, int] | None) -> dict[str, Any]:
    told: dict[str, Any] = {
        "key": point.key,
        "objectType": point.object_type,
        "pointType": point.point_type,
        "objectId": point.object_id,
        "objectName": point.object_name,
        "unit": point.unit,
    }
    if point.retired:
        told["retired"] = point.retired
    if reading is not None:
        observed, value, quality = reading
        told |= {"observed": observed, "value": value, "quality": quality}
        if point.is_state:
            told["state"] = point.state_label(value)
    return told
