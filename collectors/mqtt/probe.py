"""What is on a broker: DSX points, trays, and every contract violation."""

from __future__ import annotations

import threading
import time
from typing import Any

from collectors.mqtt.connection import Connection, connected
from collectors.mqtt.decoder import Decoder, Message
from collectors.mqtt.settings import BrokerSettings, MqttSettings
from domain.batch import now_ms
from domain.dsx import METADATA, VALUES
from domain.points import PointRegistry
from domain.tray import PRESENCES, SWEEPS


def probe(broker: str | BrokerSettings, seconds: float) -> dict[str, Any]:
    """Listen to a broker for some seconds and return what was heard, ready for JSON.

    Parameters
    ----------
    broker
        URL, such as ``mqtt://10.0.0.5:1883``, or settings with credentials and certificates.
    seconds
        How long to listen; values that don't change come every 100 s.

    Returns
    -------
    dict
        ``broker``, ``protocol``, ``seconds``, ``messages``, ``points`` (each with key, objectType, pointType, objectId,
        objectName, unit, and value, observed, quality, state where one came), ``waiting`` (keys of values without
        metadata), ``violations`` (each with topic, reason, meaning, detail, count, tolerated), ``violation_counts``, ``trays``.

    Raises
    ------
    SourceError
        If the broker cannot be reached.
    """
    settings = broker if isinstance(broker, BrokerSettings) else BrokerSettings(url=broker)
    registry = PointRegistry()
    decoder = Decoder(MqttSettings(name="probe", broker=settings), registry)
    messages: list[Message] = []
    lock = threading.Lock()

    def take(topic: bytes, payload: bytes, mid: int) -> None:
        with lock:
            messages.append((topic, payload, mid))

    largest = decoder.settings.max_payload
    connection = Connection(settings, take, [METADATA, VALUES, SWEEPS, PRESENCES], largest=largest)
    latest: dict[int, tuple[int, float, int]] = {}
    connection.start()
    try:
        connected(connection, 15.0, subscribed=True)
        protocol = connection.state.protocol
        end = time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0:
            time.sleep(min(0.2, left))
            with lock:
                heard, messages[:] = messages[:], []
            batch = decoder.decode(heard, now_ms())
            connection.acknowledge(mid for _, _, mid in heard if mid)
            rows = zip(batch.point, batch.observed, batch.value, batch.quality, strict=True)
            for point, observed, value, quality in rows:
                if int(observed) >= latest.get(int(point), (0, 0.0, 0))[0]:
                    latest[int(point)] = (int(observed), float(value), int(quality))
    finally:
        connection.stop()
    return {
        "broker": settings.shown,
        "protocol": protocol,
        "seconds": seconds,
        "messages": decoder.counts["messages"],
        "points": [_point(registry, index, latest.get(index)) for index in range(len(registry))],
        "waiting": sorted(decoder.parked.keys()),
        "violations": decoder.findings.rows(),
        "violation_counts": dict(decoder.quarantine.counts),
        "trays": {f"{rack}-{name}": online for (rack, name), online in decoder.trays.online.items()},
    }


def _point(registry: PointRegistry, index: int, reading: tuple[int, float, int] | None) -> dict[str, Any]:
    point = registry[index]
    told: dict[str, Any] = {
        "key": point.key,
        "objectType": point.object_type,
        "pointType": point.point_type,
        "objectId": point.object_id,
        "objectName": point.object_name,
        "unit": point.unit,
    }
    if reading is not None:
        observed, value, quality = reading
        told |= {"observed": observed, "value": value, "quality": quality}
        if point.is_state:
            told["state"] = point.state_label(value)
    return told
