"""Readings that somebody kept on their way are true at their time, and told apart from news."""

import orjson
import pytest

from collectors.mqtt.decoder import Decoder
from collectors.mqtt.receive import RETAINED
from collectors.mqtt.settings import MqttSettings
from domain.batch import Batch
from domain.points import PointRegistry
from domain.tray import Sweep, encode, sweep_topic, value_count

NOW = 1_800_000_000_000
KEY = "Rack/RackPower/site/r1"
METADATA = (
    f"BMS/v1/PUB/Metadata/{KEY}".encode(),
    b'{"objectType":"Rack","pointType":"RackPower","engUnit":"kW","rackLocationId":"R1","rackLocationName":"R1"}',
    0,
)


def value(number, at=NOW, retained=False, mid=0):
    payload = {"value": number, "timestamp": at, "quality": 1}
    return f"BMS/v1/PUB/Value/{KEY}".encode(), orjson.dumps(payload), mid | (RETAINED if retained else 0)


def sweep(sequence, at):
    told = Sweep(1, sequence, at, 1, [1.0] * value_count(1))
    return sweep_topic("R1", "T1").encode(), orjson.dumps(encode(told)), 0


@pytest.fixture
def decoder():
    decoder = Decoder(MqttSettings(), PointRegistry())
    decoder.decode([METADATA], NOW)
    return decoder


def test_a_retained_value_is_kept_at_its_time_marked_and_counted(decoder):
    batch = decoder.decode([value(1, at=NOW - 900_000, retained=True), value(2, mid=7)], NOW)
    assert batch.value.tolist() == [1000, 2000]
    assert batch.observed.tolist() == [NOW - 900_000, NOW]
    assert batch.late.tolist() == [True, False]
    (found,) = decoder.findings.rows()
    assert (found["reason"], found["tolerated"]) == ("retained_value", True)


def test_one_that_comes_again_at_a_reconnect_after_newer_ones_is_marked_too(decoder):
    decoder.decode([value(2)], NOW)
    assert decoder.decode([value(1, at=NOW - 1, retained=True)], NOW).late.tolist() == [True]


def test_retained_metadata_is_as_it_should_be():
    decoder = Decoder(MqttSettings(), PointRegistry())
    decoder.decode([(*METADATA[:2], RETAINED)], NOW)
    assert decoder.findings.rows() == []
    assert decoder.known == 1


def test_values_that_waited_for_their_metadata_are_marked():
    decoder = Decoder(MqttSettings(), PointRegistry())
    decoder.decode([value(1)], NOW)
    assert decoder.decode([METADATA, value(2)], NOW).late.tolist() == [True, False]


def test_sweeps_out_of_an_agents_spool_are_marked(decoder):
    batch = decoder.decode([sweep(0, NOW - 30), sweep(3, NOW), sweep(1, NOW - 20), sweep(3, NOW)], NOW)
    assert batch.late.reshape(4, -1).all(axis=1).tolist() == [False, False, True, True]


def test_fresh_batches_carry_no_marks(decoder):
    assert decoder.decode([value(1), sweep(0, NOW)], NOW).late is None


def test_marks_stay_with_their_rows():
    fresh, late = Batch.of([0, 1], NOW, [1.0, 2.0]), Batch.of([2, 3], NOW, [3.0, 4.0])
    late = Batch(late.point, late.observed, late.value, late.quality, NOW, fresh.point == 1)
    both = Batch.concat([fresh, late])
    assert both.late.tolist() == [False, False, False, True]
    assert both.take(both.value > 2).late.tolist() == [False, True]
    assert Batch.concat([fresh, fresh]).late is None
