"""One message, whatever is in it, is set aside with a bounded reason; the good ones beside it arrive."""

from functools import cache

import orjson
import pytest

from collectors.mqtt.decoder import Decoder
from collectors.mqtt.settings import MqttSettings
from domain.errors import DETAIL, ContractViolation, brief
from domain.points import PointRegistry
from domain.tray import Sweep, encode, presence_topic, sweep_topic, value_count

NOW = 1_800_000_000_000
KEY = "PowerMeter/ActivePower/site/m1"
METADATA = {
    "objectType": "PowerMeter",
    "pointType": "ActivePower",
    "engUnit": "kW",
    "objectId": "M1",
    "objectName": "M1",
    "servesId": ["R1"],
}
VALUE = {"value": 1.0, "timestamp": NOW, "quality": 1}
STATES = [{"value": 0, "text": "off"}]
DEEP = "@deep"  # stands for a thousand brackets
DEEPER = b"[" * 100_000 + b"]" * 100_000
ODD = [
    None,
    True,
    0,
    -1,
    1.5,
    10**18,
    "",
    "x" * 10_000,
    "\x1b[31mred\x07",
    [],
    {},
    [None],
    [[]],
    {"a": {"b": []}},
    [0] * 5000,
    DEEP,
    [{}] * 3,
    "٣",
    "\ud7ff\x00",
]


def topic(kind, key=KEY, publisher="PUB"):
    return f"BMS/v1/{publisher}/{kind}/{key}".encode()


def message(topic_, payload):
    return topic_, payload if isinstance(payload, bytes) else dump(payload), 0


def dump(payload):
    """`orjson` writes no more than 254 levels; a sender is not bound to that."""
    return orjson.dumps(payload).replace(b'"@deep"', b"[" * 1000 + b"]" * 1000)


def sweep(sequence, rack="R1", name="T1", **changes):
    told = encode(Sweep(1, sequence, NOW, 1, [1.0] * value_count(1)))
    return message(sweep_topic(rack, name).encode(), told | changes)


@cache
def odd_messages():
    return list(_odd_messages())


def _odd_messages():
    for odd in (*ODD, DEEPER, b"", b"\xff\xfe", b"{", b"nul", b"1e999", b"9" * 5000, b'{"value":1' * 50):
        for where in (
            topic("Value"),
            topic("Metadata"),
            topic("Value", "Rack/RackPower/never/told"),
            topic("Metadata", "Rack/RackPower/x"),
            sweep_topic("R1", "T9").encode(),
            presence_topic("R1", "T9").encode(),
        ):
            yield message(where, odd)
    for odd in ODD:
        for field in VALUE:
            yield message(topic("Value"), VALUE | {field: odd})
            yield message(topic("Value", "Rack/RackPower/never/told"), VALUE | {field: odd})
        for field in (
            *METADATA,
            "associateId",
            "processArea",
            "phase",
            "isSetpoint",
            "integration",
            "scope",
            "new",
        ):
            yield message(topic("Metadata", "PowerMeter/ActivePower/odd"), METADATA | {field: odd})
        for row in (odd, [odd], [STATES[0] | {"value": odd}], [STATES[0] | {"text": odd}]):
            told = {"objectType": "CDU", "pointType": "Status", "objectId": "C", "objectName": "C"}
            yield message(topic("Metadata", "CDU/Status/c"), told | {"stateText": row})
        for field in ("format", "run", "seq", "t", "gpus", "values", "events"):
            yield sweep(0, name="T9", **{field: odd})
            yield sweep(0, name="T9", events=[[odd, 79, NOW]])
            yield sweep(0, name="T9", values=[odd] * value_count(1))
        for field in ("online", "host", "gpus"):
            yield message(
                presence_topic("R1", "T9").encode(), {"online": True, "host": "n", "gpus": []} | {field: odd}
            )
    for name in (
        b"",
        b"/",
        b"\xff",
        b"BMS",
        b"BMS/v1/PUB/Value/" + b"x/" * 30_000,
        b"hallwatch/v1/trays",
        b"\x00" * 9,
        b"BMS/v1/PUB/Metadata/Rack/RackPower/" + b"y" * 5000,
        b"hallwatch/v1/trays/R1/" + b"t" * 999 + b"/sweep",
        b"hallwatch/v1/traysR1/x/T1/sweep",
        b"BMS/v1/PUB/Value/Rack/RackPower/\x1b[2J",
    ):
        yield message(name, VALUE)
        yield message(name, b"")


@pytest.mark.parametrize("unknown_racks", ["refuse", "park", "accept"])
def test_whatever_one_message_holds_the_good_ones_beside_it_arrive(unknown_racks):
    decoder = Decoder(MqttSettings(unknown_racks=unknown_racks), PointRegistry(), {"R1"})
    decoder.decode([message(topic("Metadata"), METADATA), sweep(0)], NOW)
    bad = odd_messages()
    assert len(bad) > 1000
    for n, odd in enumerate(bad, 1):
        good = [message(topic("Value"), VALUE | {"value": float(n)}), sweep(n)]
        batch = decoder.decode([good[0], odd, good[1]], NOW)
        index = decoder._registry.index(KEY)
        told = batch.value[(batch.point == index)].tolist()
        assert 1000.0 * n in told, odd
        taken = decoder._registry.index("Tray/SweepsTaken/nvml/R1/T1")
        assert taken in batch.point, odd
        # metadata for the good point itself may have changed its unit
        decoder.decode([message(topic("Metadata"), METADATA)], NOW)
    assert decoder.counts["refused"] > 500
    assert decoder.quarantine.counts["unreadable"] == 0
    for found in decoder.findings.rows():
        assert len(found["detail"]) <= DETAIL
        assert found["meaning"], found["reason"]


@pytest.mark.parametrize("field", ["value", "timestamp", "quality"])
def test_a_value_nested_a_thousand_deep_is_set_aside_and_the_next_one_is_read(field):
    decoder = Decoder(MqttSettings(), PointRegistry())
    deep = message(topic("Value"), VALUE | {field: DEEP})
    batch = decoder.decode([message(topic("Metadata"), METADATA), deep, message(topic("Value"), VALUE)], NOW)
    assert batch.value.tolist() == [1000.0]
    assert decoder.counts["refused"] == 1


def test_a_sweep_that_is_only_brackets_is_set_aside():
    decoder = Decoder(MqttSettings(), PointRegistry())
    batch = decoder.decode([(sweep_topic("R1", "T1").encode(), b"[" * 1000 + b"]" * 1000, 0), sweep(1)], NOW)
    assert len(batch) == value_count(1)
    assert decoder.quarantine.counts == {"not_an_object": 1}


def test_what_is_nested_deeper_than_json_is_read_here_is_named():
    decoder = Decoder(MqttSettings(), PointRegistry())
    decoder.decode([(topic("Value"), DEEPER, 0)], NOW)
    assert decoder.quarantine.counts == {"too_deep": 1}


def test_a_fault_of_our_own_costs_one_message(monkeypatch):
    decoder = Decoder(MqttSettings(), PointRegistry())
    decoder.decode([message(topic("Metadata"), METADATA)], NOW)
    sweeping = decoder.trays.sweep

    def fails(rack, name, *told):
        if name == "T2":
            raise MemoryError("x" * 10_000)
        sweeping(rack, name, *told)

    monkeypatch.setattr(decoder.trays, "sweep", fails)
    batch = decoder.decode([sweep(1, name="T2"), sweep(1), message(topic("Value"), VALUE)], NOW)
    assert len(batch) == value_count(1) + 1
    (found,) = decoder.findings.rows()
    assert found["reason"] == "unreadable"
    assert found["detail"].startswith("MemoryError: 'xxx")
    assert len(found["detail"]) < 200


def test_what_somebody_told_is_shown_briefly():
    more = [
        orjson.loads(dump(DEEP)),
        b"\xff" * 10_000,
        "'" * 10_000,
        10**100_000,
        {1, 2},
        object(),
        float("nan"),
    ]
    assert max(len(brief(told)) for told in [*ODD, *more]) <= 80


def test_the_detail_of_a_violation_is_bounded():
    assert len(ContractViolation("bad_json", "x" * 100_000).detail) == DETAIL
