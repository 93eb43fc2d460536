"""A decoder beside which good messages must arrive, whatever comes between them."""

import orjson

from collectors.mqtt.decoder import Decoder, Message
from collectors.mqtt.settings import MqttSettings
from domain.errors import DETAIL
from domain.points import PointRegistry
from domain.tray import Sweep, encode, sweep_topic, value_count

NOW = 1_800_000_000_000
KEY = "PowerMeter/ActivePower/good/m1"
_METADATA: Message = (
    f"BMS/v1/PUB/Metadata/{KEY}".encode(),
    orjson.dumps(
        {
            "objectType": "PowerMeter",
            "pointType": "ActivePower",
            "engUnit": "kW",
            "objectId": "M1",
            "objectName": "M1",
            "servesId": ["R1"],
        }
    ),
    0,
)
_VALUE: Message = (f"BMS/v1/PUB/Value/{KEY}".encode(), b'{"value":1.0,"timestamp":%d,"quality":1}' % NOW, 0)
_SWEEP: Message = (
    sweep_topic("R1", "GOOD").encode(),
    orjson.dumps(encode(Sweep(1, 1, NOW, 1, [1.0] * value_count(1)))),
    0,
)


def decode_among_good_ones(*messages: Message) -> Decoder:
    """Decode messages between good ones; the good ones must arrive, and what is said of the bad ones be short."""
    registry = PointRegistry()
    decoder = Decoder(MqttSettings(max_payload=65_536), registry, {"R1"})
    batch = decoder.decode([_METADATA, _VALUE, *messages, _VALUE, _SWEEP], NOW)
    told = batch.value[batch.point == registry.index(KEY)].tolist()
    assert told[0] == told[-1] == 1000.0
    assert len(told) >= 2
    assert registry.index("Tray/SweepsTaken/nvml/R1/GOOD") in batch.point
    assert decoder.quarantine.counts["unreadable"] == 0, decoder.findings.rows()
    assert len(registry) < 5000
    for found in decoder.findings.rows():
        assert len(found["detail"]) <= DETAIL
        assert len(found["topic"]) <= 1000
    decoder.decode([], NOW)
    assert not decoder.trays.pending
    return decoder
