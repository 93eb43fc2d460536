"""The DSX Exchange contract."""

import csv
import json
import re
from pathlib import Path

import jsonschema
import pytest
import yaml

from collectors.mqtt.publisher import in_contract
from domain import dsx, tray
from domain.catalogue import CONTRACT, OBJECT_TYPES, POINT_TYPES
from domain.errors import ContractViolation
from domain.points import Point, Quality
from domain.units import Unit

ROOT = Path(__file__).parents[3]


def topic(object_type, point_type, kind="Metadata", publisher="PUB"):
    return dsx.parse_topic(f"BMS/v1/{publisher}/{kind}/{object_type}/{point_type}/site/a/b")


def metadata(object_type="PowerMeter", point_type="ActivePower", **changes):
    base = {
        "objectType": object_type,
        "pointType": point_type,
        "engUnit": "kW",
        "objectId": "M1",
        "objectName": "Meter 1",
        "servesId": ["R1"],
    }
    return {k: v for k, v in (base | changes).items() if v is not ...}


def read(object_type="PowerMeter", point_type="ActivePower", **changes):
    return dsx.point_from_metadata(
        topic(object_type, point_type), metadata(object_type, point_type, **changes), "dsx:t"
    )


def test_a_topic_is_taken_apart_and_its_tag_path_kept_whole():
    told = dsx.parse_topic("BMS/v1/PUB/Value/Rack/RackPower/hall/row/rack01/value")
    assert told == dsx.Topic("PUB", "Value", "Rack", "RackPower", "hall/row/rack01/value")
    assert dsx.value_topic(told.key) == "BMS/v1/PUB/Value/Rack/RackPower/hall/row/rack01/value"
    assert dsx.metadata_topic(told.key) == "BMS/v1/PUB/Metadata/Rack/RackPower/hall/row/rack01/value"


@pytest.mark.parametrize(
    "text",
    [
        "",
        "BMS",
        "BMS/v2/PUB/Value/Rack/RackPower/x",
        "BMS/v1/PUB/Other/Rack/RackPower/x",
        "BMS/v1/PUB/Value/Rack/RackPower",
        "BMS/v1/PUB/Value/Rack/RackPower/",
        "BMS/v1//Value/Rack/RackPower/x",
    ],
)
def test_other_topics_are_refused(text):
    with pytest.raises(ContractViolation, match="bad_topic"):
        dsx.parse_topic(text)


def test_a_meter_becomes_a_point_in_canonical_units():
    told = read()
    assert told.point.object_id == "M1"
    assert told.point.unit == "W"
    assert told.point.serves == ("R1",)
    assert told.unit.to_canonical(28.7) == pytest.approx(28_700)
    assert told.violations == ()


def test_a_rack_is_known_by_its_location():
    told = read(
        "Rack",
        "RackPower",
        objectId=...,
        objectName=...,
        servesId=...,
        rackLocationId="R7",
        rackLocationName="Row 7",
    )
    assert (told.point.object_id, told.point.object_name) == ("R7", "Row 7")


def test_celsius_litres_and_relative_humidity_are_understood():
    assert (
        read("Rack", "RackLiquidFlow", engUnit="LPM", rackLocationId="R", rackLocationName="R").point.unit
        == "L/min"
    )
    told = read("Sensor", "AirRelativeHumidity", engUnit="%RH", servesId=...)
    assert told.unit.to_canonical(40) == pytest.approx(0.4)
    assert read("Sensor", "AirTemperature", engUnit="C", servesId=...).unit == Unit("Cel")


def test_the_power_factor_has_no_unit():
    told = read(point_type="PowerFactor", engUnit=...)
    assert told.point.unit == "1"
    assert not told.point.is_state


def test_states_carry_their_text():
    told = read(
        "CDU", "Status", engUnit=..., stateText=[{"value": 0, "text": "Off"}, {"value": 1, "text": "On"}]
    )
    assert told.point.state_label(1) == "On"
    assert told.point.unit == ""


def test_a_part_of_another_object_is_named_after_it():
    told = read(
        "Valve",
        "ValvePosition",
        engUnit=...,
        objectId=...,
        objectName=...,
        servesId=...,
        associateId="R7",
        processArea=["Return"],
        stateText=[{"value": 0, "text": "Closed"}],
    )
    assert (told.point.object_id, told.point.associate) == ("R7/Valve/Return", "R7")
    assert told.violations == ()


def test_unknown_words_become_generic_and_keep_their_key():
    told = read("Teleporter", "FluxCapacity", engUnit="W")
    assert (told.point.object_type, told.point.point_type) == ("GenericObject", "GenericPoint")
    assert told.point.key == "Teleporter/FluxCapacity/site/a/b"
    assert [v.reason for v in told.violations] == ["unknown_object_type", "unknown_point_type"]


def test_phases_by_number_and_by_letter_are_the_same():
    assert read(point_type="PhaseCurrent", engUnit="A", phase="2").point.phase == "B"
    assert read(point_type="PhaseCurrent", engUnit="A", phase="B").point.phase == "B"
    assert [v.reason for v in read(point_type="PhaseCurrent", engUnit="A").violations] == ["bad_phase"]


def test_a_setpoint_is_marked():
    assert read("CDU", "LiquidTemperature", engUnit="C", isSetpoint=True).point.setpoint


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"objectType": "Rack"}, "type_mismatch"),
        ({"pointType": "Voltage"}, "type_mismatch"),
        ({"engUnit": "V"}, "wrong_unit"),
        ({"engUnit": "furlong"}, "unknown_unit"),
        ({"engUnit": ...}, "no_unit"),
        ({"engUnit": 5}, "wrong_type"),
        ({"stateText": [{"value": 0, "text": "x"}]}, "unit_and_state"),
        ({"engUnit": ..., "stateText": [{"value": 0, "text": "x"}]}, "wrong_unit"),
        ({"engUnit": ..., "stateText": "on"}, "bad_state_text"),
        ({"engUnit": ..., "stateText": [{"value": "0", "text": "x"}]}, "bad_state_text"),
        (
            {"engUnit": ..., "stateText": [{"value": 0, "text": "x"}, {"value": 0, "text": "y"}]},
            "bad_state_text",
        ),
        ({"objectId": ..., "objectName": ...}, "no_identity"),
    ],
)
def test_metadata_that_cannot_be_used_is_refused_with_its_reason(changes, reason):
    with pytest.raises(ContractViolation) as refused:
        read(**changes)
    assert refused.value.reason == reason


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"servesId": ...}, "missing_field"),
        ({"servesId": "R1"}, "wrong_type"),
        ({"objectName": ...}, "missing_field"),
        ({"objectType": ...}, "missing_field"),
        ({"colour": "red"}, "unexpected_field"),
        ({"isSetpoint": "true"}, "wrong_type"),
        ({"associateId": "R7"}, "object_and_associate"),
    ],
)
def test_a_fault_that_leaves_the_meaning_clear_is_told_and_tolerated(changes, reason):
    told = read(**changes)
    assert [v.reason for v in told.violations] == [reason]
    assert told.point.object_id == "M1"


def test_every_reason_that_the_code_gives_is_documented():
    given = set()
    for path in ("domain/dsx.py", "domain/tray.py", "collectors/mqtt/decoder.py", "collectors/mqtt/trays.py"):
        text = (ROOT / path).read_text()
        given |= set(re.findall(r'(?:ContractViolation|\.fail|\.note|refuse)\(\s*"(\w+)"', text))
    assert len(given) > 15
    assert given <= {*dsx.REASONS, *tray.REASONS}


def test_a_value_is_read():
    assert dsx.read_value({"value": 1.5, "timestamp": 7, "quality": 1}) == (1.5, 7, Quality.GOOD)


def test_any_quality_but_1_is_bad_and_kept():
    assert dsx.read_value({"value": 1, "timestamp": 7, "quality": 0}).quality == Quality.BAD
    assert dsx.read_value({"value": 1, "timestamp": 7, "quality": 192}).quality == Quality.BAD


def test_a_null_value_is_no_violation():
    assert dsx.read_value({"value": None, "timestamp": 7, "quality": 0}).value is None


@pytest.mark.parametrize(
    ("payload", "reason"),
    [
        ([], "not_an_object"),
        (3, "not_an_object"),
        ({"value": 1, "timestamp": 7}, "missing_field"),
        ({"value": "1", "timestamp": 7, "quality": 1}, "bad_value"),
        ({"value": True, "timestamp": 7, "quality": 1}, "bad_value"),
        ({"value": 1, "timestamp": "7", "quality": 1}, "bad_timestamp"),
        ({"value": 1, "timestamp": -1, "quality": 1}, "bad_timestamp"),
        ({"value": 1, "timestamp": 7.5, "quality": 1}, "bad_timestamp"),
        ({"value": 1, "timestamp": 7, "quality": None}, "bad_quality"),
    ],
)
def test_a_malformed_value_is_refused_with_its_reason(payload, reason):
    with pytest.raises(ContractViolation) as refused:
        dsx.read_value(payload)
    assert refused.value.reason == reason


@pytest.fixture(scope="module")
def contract(testdata):
    return yaml.load((testdata / "dsx" / "bms.asyncapi.yaml").read_text(), Loader=yaml.CSafeLoader)


def schema_of(contract, object_type, point_type):
    """The contract's schema of this metadata, ready to validate with."""
    schemas = contract["components"]["schemas"]
    names = [f"{object_type}{point_type}Metadata", f"{point_type}Metadata"]
    if point_type == "GenericPoint":
        names = [
            "GenericPowerMeterPointMetadata"
            if object_type == "PowerMeter"
            else "GenericEquipmentPointMetadata"
        ]
    name = next(n for n in names if n in schemas)
    return jsonschema.Draft202012Validator(
        {"$ref": f"#/components/schemas/{name}", "components": contract["components"]}
    )


def test_the_contracts_points_are_all_known(contract):
    schemas = contract["components"]["schemas"]
    for name in ("RackBmsPointType", "RackIntegrationPointType", "PowerMeterPointType", "SystemBmsPointType"):
        assert set(schemas[name]["enum"]) <= set(POINT_TYPES)
    assert set(schemas["EquipmentObjectType"]["enum"]) <= set(OBJECT_TYPES)


def test_every_message_of_the_exemplar_is_understood_without_a_complaint(testdata):
    with (testdata / "dsx" / "exemplar.csv").open() as lines:
        rows = list(csv.DictReader(lines))
    told = {}
    for row in rows:
        about = dsx.parse_topic(row["topic"])
        if about.kind == "Metadata":
            told[about.key] = dsx.point_from_metadata(about, json.loads(row["payload"]))
        else:
            dsx.read_value(json.loads(row["payload"].replace("{{timestamp_ms}}", "1")))
    assert len(told) == 166
    assert [v for t in told.values() for v in t.violations] == []


def test_what_is_read_from_the_exemplar_can_be_told_again_unchanged(testdata):
    with (testdata / "dsx" / "exemplar.csv").open() as lines:
        for row in csv.DictReader(lines):
            about = dsx.parse_topic(row["topic"])
            if about.kind == "Metadata":
                payload = json.loads(row["payload"])
                told = dsx.point_from_metadata(about, payload)
                assert dsx.metadata_payload(told.point, payload.get("engUnit"), told.integration) == payload


@pytest.mark.parametrize(
    ("object_type", "point_type"), [(o, p) for o, points in CONTRACT.items() for p in sorted(points)]
)
def test_metadata_of_our_own_fits_the_contract(contract, object_type, point_type):
    kind = POINT_TYPES[point_type]
    states = ((0, "No"), (1, "Yes")) if kind.unit in ("", "*") else ()
    point = Point(
        f"{object_type}/{point_type}/x",
        object_type,
        point_type,
        "X1",
        "X 1",
        "" if states else kind.unit,
        states,
        serves=("Y",) if object_type == "PowerMeter" else (),
        process_area=("Supply",),
        phase="A",
    )
    integration = (
        "MEPAI" if "Request" in point_type or "Integration" in point_type or "Tray" in point_type else ""
    )
    payload = dsx.metadata_payload(point, integration=integration)
    schema_of(contract, object_type, point_type).validate(payload)
    about = dsx.parse_topic(dsx.metadata_topic(point.key))
    assert dsx.point_from_metadata(about, payload).violations == ()


@pytest.mark.parametrize(
    "point",
    [
        Point(
            "PowerMeter/ActivePower/snmp/a", "PowerMeter", "ActivePower", "R1-PDU-A", unit="W", associate="R1"
        ),
        Point("Outlet/Current/snmp/a/1", "Outlet", "Current", "R1-PDU-A/1", unit="A"),
        Point("UPS/BatteryCharge/snmp/u", "UPS", "BatteryCharge", "UPS-A1", unit="1"),
        Point("Rack/Temperature/snmp/u", "Rack", "Temperature", "R1", unit="Cel"),
    ],
)
def test_what_dsx_has_no_word_for_is_told_as_generic_and_fits_the_contract(contract, point):
    told = in_contract(point)
    payload = dsx.metadata_payload(told)
    schema_of(contract, told.object_type, told.point_type).validate(payload)
