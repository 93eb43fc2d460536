"""The BMS on the wire: metadata, values on change, heartbeat, by the DSX Exchange contract; states at QoS 1."""

from __future__ import annotations

import itertools

import orjson

from domain.batch import now_ms
from domain.dsx import metadata_topic, value_topic
from simulator.bms import Bms, ChangeFilter, Reading
from simulator.misbehaving import Misbehaving, Misbehaviour
from simulator.mqtt import Publisher, encode_text, publish_packet

HEARTBEAT_S = 10.0
METADATA_S = 100.0


class DsxPublisher:
    """Tells a factory's BMS readings to an MQTT broker.

    Parameters
    ----------
    bms
        What is told.
    host, port
        The broker.
    cadence_s
        How often `tell` is called: metadata is spread so that each comes again every 100 s.
    """

    def __init__(self, bms: Bms, host: str, port: int, cadence_s: float = 2.0) -> None:
        self.bms = bms
        self.mqtt = Publisher(host, port, f"{bms.factory.site.id}-bms", self._start)
        self._cadence_s = cadence_s
        self._change = ChangeFilter(bms)
        self._misbehaving = Misbehaving(bms)
        self._topics = [encode_text(value_topic(key)) for key in bms.keys]
        self._metadata = [
            publish_packet(encode_text(metadata_topic(key)), orjson.dumps(payload), retain=True)
            for key, payload, there in zip(bms.keys, bms.payloads, bms.present, strict=True)
            if there
        ]
        heartbeat = f"System/HeartbeatTimestampBms/{bms.factory.site.id}/bms/heartbeat"
        about = {
            "objectType": "System",
            "pointType": "HeartbeatTimestampBms",
            "objectName": "BMS",
            "objectId": "BMS",
        }
        self._metadata.append(
            publish_packet(encode_text(metadata_topic(heartbeat)), orjson.dumps(about), retain=True)
        )
        self._heartbeat_topic = encode_text(value_topic(heartbeat))
        # what must not be lost while a subscriber is away: the broker keeps it in the subscriber's lasting session
        self._states = frozenset(i for i, p in enumerate(bms.points) if p.point.state_text)
        self._numbers = itertools.cycle(range(1, 65_536))
        self._heartbeat_due = 0.0
        self._next_metadata = 0.0

    def _start(self) -> None:
        self.mqtt.send(self._metadata)
        self._misbehaving = Misbehaving(self.bms)
        self._change = ChangeFilter(self.bms)
        self._heartbeat_due = 0.0

    def tell(self) -> int:
        """Publish what has changed, and what is due again; return the number of messages."""
        if self.bms.factory.faults.silent["dsx"] or not self.mqtt.connected:
            return 0
        reading = self.bms.read()
        wrong = self._misbehaving.now(reading)
        packets = self._values(reading, wrong) + self._some_metadata()
        if wrong.heartbeat:
            packets += self._heartbeat(wrong.clock_ms)
        self.mqtt.send(packets)
        return len(packets)

    def _values(self, reading: Reading, wrong: Misbehaviour) -> list[bytes]:
        tell = self._change(reading)
        decimals, topics = self.bms.decimals, self._topics
        values = reading.value[tell].tolist()
        times = (reading.time_ms + wrong.clock_ms + reading.late[tell]).tolist()
        good = reading.quality[tell].tolist()
        return [
            publish_packet(
                topics[i],
                b'{"value":%.*f,"timestamp":%d,"quality":%d}' % (decimals[i], value, time, quality),
                i in wrong.retained,
                next(self._numbers) if i in self._states else None,
            )
            for i, value, time, quality in zip(tell.tolist(), values, times, good, strict=True)
        ] + wrong.packets

    def _some_metadata(self) -> list[bytes]:
        first = int(self._next_metadata)
        self._next_metadata += len(self._metadata) * self._cadence_s / METADATA_S
        part = self._metadata[first : int(self._next_metadata)]
        if self._next_metadata >= len(self._metadata):
            self._next_metadata = 0.0
        return part

    def _heartbeat(self, clock_ms: int) -> list[bytes]:
        now = now_ms() / 1000.0
        if now < self._heartbeat_due:
            return []
        self._heartbeat_due = now + HEARTBEAT_S - 0.5 * self._cadence_s
        told = int(now * 1000) + clock_ms
        message = b'{"value":%d,"timestamp":%d,"quality":1}' % (told // 1000, told)
        return [publish_packet(self._heartbeat_topic, message)]
