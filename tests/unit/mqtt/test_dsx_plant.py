"""What the metadata of many points says together."""

import orjson
import pytest

from collectors.mqtt.replay import read_capture
from domain import dsx
from domain.dsx_plant import cycles, plant_violations


def points(*rows):
    """Return points by key from (key, object id, fields)."""
    told = {}
    for key, object_id, fields in rows:
        object_type, point_type, _ = key.split("/", 2)
        payload = {"objectType": object_type, "pointType": point_type, "engUnit": "kW", "objectId": object_id}
        payload |= {"objectName": object_id, "servesId": []} | fields
        topic = dsx.parse_topic(dsx.metadata_topic(key))
        told[key] = dsx.point_from_metadata(topic, payload)
    return told


def meter(object_id, *serves, tag=None):
    return f"PowerMeter/ActivePower/{tag or object_id}", object_id, {"servesId": list(serves)}


def reasons(*rows):
    return [(key, v.reason) for key, v in plant_violations(points(*rows))]


def test_a_plant_that_hangs_together_has_no_violations():
    assert reasons(meter("FEED", "UPS"), meter("UPS", "BUS"), meter("BUS")) == []


def test_objects_that_serve_each_other_are_told():
    found = plant_violations(points(meter("A", "B"), meter("B", "C"), meter("C", "A"), meter("D", "A")))
    assert [(key.rpartition("/")[2], v.reason) for key, v in found] == [(k, "serves_cycle") for k in "ABC"]
    assert found[0][1].detail == "A > B > C > A"


def test_an_object_that_serves_itself_is_told():
    assert reasons(meter("A", "A")) == [("PowerMeter/ActivePower/A", "serves_cycle")]


def test_a_chain_as_long_as_any_plant_is_followed():
    chain = {f"n{i}": {f"n{i + 1}"} for i in range(50_000)}
    assert cycles(chain) == []
    (cycle,) = cycles(chain | {"n50000": {"n0"}})
    assert len(cycle) == 50_001


def test_a_target_that_nobody_describes_is_told():
    (found,) = plant_violations(points(meter("A", "B", "NOWHERE"), meter("B")))
    assert found[1].reason == "unknown_target"
    assert "NOWHERE" in found[1].detail


def test_two_tags_for_one_quantity_are_told_and_two_of_an_area_each_are_not():
    assert [r for _, r in reasons(meter("A", tag="x"), meter("A", tag="y"))] == ["told_twice"] * 2
    temperature = "CDU/LiquidTemperature/c/"
    told = [
        (f"{temperature}{area}", "C", {"engUnit": "C", "processArea": [area], "servesId": []})
        for area in ("Supply", "Return")
    ]
    assert reasons(*told) == []


def test_a_tag_under_two_types_is_told():
    power = ("PowerMeter/ApparentPower/A", "A", {"engUnit": "kVA"})
    assert reasons(meter("A"), power) == [
        ("PowerMeter/ActivePower/A", "tag_used_twice"),
        ("PowerMeter/ApparentPower/A", "tag_used_twice"),
    ]


def test_tags_that_differ_by_case_are_told():
    assert [r for _, r in reasons(meter("A", tag="x/y"), meter("B", tag="X/y"))] == ["differs_by_case"] * 2


def test_the_real_capture_has_two_tags_for_some_quantities_and_is_a_part_of_its_plant(testdata):
    told = {}
    for row in read_capture(testdata / "dsx" / "exemplar.csv"):
        topic = dsx.parse_topic(row.topic)
        if topic.kind == "Metadata":
            told[topic.key] = dsx.point_from_metadata(topic, orjson.loads(row.payload))
    found = {v.reason for _, v in plant_violations(told)}
    assert found == {"told_twice", "unknown_target"}


@pytest.mark.parametrize(
    "reason", ["serves_cycle", "unknown_target", "told_twice", "tag_used_twice", "differs_by_case"]
)
def test_every_reason_has_a_meaning(reason):
    assert dsx.REASONS[reason]
