"""Who owns a point may write it: the integration that its metadata names, else the BMS."""

import orjson
import pytest

from collectors.mqtt.decoder import Decoder
from collectors.mqtt.settings import MqttSettings
from domain.points import PointRegistry

NOW = 1_800_000_000_000
RACK = "Rack/RackPower/site/r1"
REQUEST = "CDU/LiquidTemperatureSpRequest/site/c1"


def metadata(key=RACK, publisher="PUB", **changes):
    object_type, point_type, _ = key.split("/", 2)
    payload = {"objectType": object_type, "pointType": point_type, "engUnit": "kW"}
    payload |= {"rackLocationId": "R1", "rackLocationName": "R1"} if object_type == "Rack" else {}
    return f"BMS/v1/{publisher}/Metadata/{key}".encode(), orjson.dumps(payload | changes), 0


def request(integration="MEPAI"):
    return metadata(REQUEST, engUnit="C", objectId="C1", objectName="C1", integration=integration)


def value(number, key=RACK, publisher="PUB"):
    payload = {"value": number, "timestamp": NOW, "quality": 1}
    return f"BMS/v1/{publisher}/Value/{key}".encode(), orjson.dumps(payload), 0


@pytest.fixture
def decoder():
    return Decoder(MqttSettings(), PointRegistry())


def told(decoder, *messages):
    return decoder.decode(messages, NOW).value.tolist()


def test_a_value_by_a_publisher_that_does_not_own_the_point_is_set_aside(decoder):
    assert told(decoder, metadata(), value(70), value(999, publisher="ROGUE"), value(71)) == [70_000, 71_000]
    (found,) = decoder.findings.rows()
    assert (found["reason"], found["count"]) == ("wrong_publisher", 1)
    assert found["topic"] == f"BMS/v1/ROGUE/Value/{RACK}"
    assert found["detail"] == "ROGUE tells a point that PUB owns"


def test_the_bms_does_not_write_a_point_that_an_integration_owns(decoder):
    assert told(decoder, request(), value(33, REQUEST, "MEPAI"), value(20, REQUEST)) == [33]
    assert decoder.quarantine.counts["wrong_publisher"] == 1


def test_of_what_was_parked_only_the_owners_values_are_released(decoder):
    assert told(decoder, value(999, publisher="ROGUE"), value(70)) == []
    assert told(decoder, metadata()) == [70_000]
    assert decoder.quarantine.counts["wrong_publisher"] == 1


def test_metadata_by_another_publisher_gives_a_point_to_nobody(decoder):
    rogue = metadata(publisher="ROGUE", integration="ROGUE")
    assert told(decoder, metadata(), rogue, value(999, publisher="ROGUE"), value(70)) == [70_000]
    assert dict(decoder.quarantine.counts) == {"metadata_not_from_bms": 1, "wrong_publisher": 1}


def test_a_point_that_changes_hands_is_told_by_its_new_owner_from_then_on(decoder):
    assert told(decoder, request("A"), value(1, REQUEST, "A"), request("B")) == [1]
    assert told(decoder, value(2, REQUEST, "A"), value(3, REQUEST, "B")) == [3]
    assert decoder.quarantine.counts["wrong_publisher"] == 1


def test_a_unit_change_leaves_a_point_alone_whose_name_ends_alike(decoder):
    beside = f"PowerMeter/ActivePower/hall1/{RACK}"
    told(decoder, metadata(), metadata(beside, objectId="PM1", objectName="PM1", servesId=["R1"]))
    assert told(decoder, value(10), value(500, beside)) == [10_000, 500_000]
    batch = decoder.decode([metadata(engUnit="W"), value(10_000), value(500, beside)], NOW)
    keys = [decoder._registry[int(p)].key for p in batch.point]
    assert list(zip(keys, batch.value.tolist(), strict=True)) == [(RACK, 10_000), (beside, 500_000)]
