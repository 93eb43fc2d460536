"""What a BMS does wrong on the bus, as far as a fault says so: its clock, its tags, its publishers, its heartbeat."""

from __future__ import annotations

from dataclasses import dataclass

import orjson

from domain.dsx import BMS, metadata_topic, value_topic
from simulator.bms import Bms, Reading
from simulator.mqtt import encode_text, publish_packet

ROGUE = "ROGUE"
"""The publisher that tells what it does not own."""
SECOND = "second"
"""Ends the second tag that tells a quantity."""


@dataclass(frozen=True, slots=True)
class Misbehaviour:
    """What is wrong at one time.

    `clock_ms` is what the BMS's clock is ahead; `retained` are the positions of the points whose values are published with
    the retain flag; `heartbeat` is whether it beats; `packets` are messages that should not be.
    """

    clock_ms: int
    retained: frozenset[int]
    heartbeat: bool
    packets: list[bytes]


class Misbehaving:
    """Works out the misbehaviour of one BMS.

    Parameters
    ----------
    bms
        Whose factory has the faults (`Effect.bus`).
    """

    def __init__(self, bms: Bms) -> None:
        self._bms = bms
        self._by_object: dict[tuple[str, str], list[int]] = {}
        for i, p in enumerate(bms.points):
            self._by_object.setdefault((p.point.object_id, p.point.point_type), []).append(i)
        self._announced: set[int] = set()  # second tags whose metadata has been told

    def now(self, reading: Reading) -> Misbehaviour:
        """Return what is wrong while `reading` is told."""
        clock_ms, retained, heartbeat, packets = 0, set[int](), True, list[bytes]()
        for fault, effect, amount in self._bms.factory.faults.falsified:
            about = self._by_object.get((fault.target, effect.quantity), [])
            if effect.bus == "clock":
                clock_ms += round(1000 * effect.amount * amount)
            elif effect.bus == "clock_drift":
                minutes = (reading.time_ms - fault.onset) / 60_000
                clock_ms += round(1000 * effect.amount * amount * minutes)
            elif effect.bus == "retain":
                retained |= set(about)
            elif effect.bus == "no_heartbeat":
                heartbeat = False
            elif effect.bus == "second_tag":
                packets += [p for i in about for p in self._second_tag(i, reading, effect.amount)]
            elif effect.bus == "rogue":
                packets += [self._value(self._bms.keys[i], ROGUE, effect.amount, reading) for i in about]
        return Misbehaviour(clock_ms, frozenset(retained), heartbeat, packets)

    def _second_tag(self, i: int, reading: Reading, factor: float) -> list[bytes]:
        key = f"{self._bms.keys[i]}/{SECOND}"
        packets = [self._value(key, BMS, float(reading.value[i]) * factor, reading)]
        if i not in self._announced:
            self._announced.add(i)
            metadata = orjson.dumps(self._bms.payloads[i])
            packets.insert(0, publish_packet(encode_text(metadata_topic(key)), metadata, retain=True))
        return packets

    @staticmethod
    def _value(key: str, publisher: str, value: float, reading: Reading) -> bytes:
        payload = b'{"value":%.3f,"timestamp":%d,"quality":1}' % (value, reading.time_ms)
        return publish_packet(encode_text(value_topic(key, publisher)), payload)
