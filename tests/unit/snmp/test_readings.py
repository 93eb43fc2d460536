"""From what an agent answered to readings, without a wire."""

import pytest

from collectors.snmp.profiles import Profile, shipped_profiles
from collectors.snmp.readings import Device, read
from collectors.snmp.walk import Walk, format_snmprec, number, parse_snmprec, text
from domain.errors import InputError

ROOT = "1.3.6.1.4.1.99"


def profile(values, **more):
    table = {
        "oid": f"{ROOT}.1",
        "symbol": "table",
        "index": ["unit"],
        "values": values,
        **more.pop("table", {}),
    }
    return Profile.model_validate(
        {"name": "p", "title": "P", "object": {"type": "PowerMeter"}, "tables": [table], **more}
    )


def readings(profile, cells, device=None):
    walk = Walk({f"{ROOT}.{k}": v for k, v in cells.items()})
    return read(profile, walk, device or Device("PDU-1", serves=("R001",)))


def one(value, raw, **more):
    return readings(profile([{"at": 5, "symbol": "x", **value}], **more), {"1.5.1": raw})[0]


@pytest.mark.parametrize(
    ("value", "raw", "expected"),
    [
        ({"point": "ActivePower", "unit": "kW", "scale": 0.01}, 27, 270.0),
        ({"point": "Energy", "unit": "kWh", "scale": 0.1}, 19677, 1967.7 * 3.6e6),
        ({"point": "AirTemperature", "unit": "degF", "scale": 0.1}, 680, 20.0),
        ({"point": "AirRelativeHumidity", "unit": "%"}, b"36.5 %RH", 0.365),
        ({"point": "Current", "unit": "mA"}, 485, 0.485),
        ({"point": "Frequency", "unit": "Hz", "scale": 0.1}, 600, 60.0),
        ({"point": "ActivePower", "unit": "W", "none": [-1]}, -1, None),
        ({"point": "ActivePower", "unit": "W"}, b"n/a", None),
    ],
)
def test_a_raw_value_becomes_canonical_or_nothing_never_zero(value, raw, expected):
    assert one(value, raw).value == pytest.approx(expected)


def test_a_value_that_the_whole_profile_calls_no_reading_is_none():
    assert one({"point": "Current", "unit": "A"}, 65535, none=[65535]).value is None


def test_a_state_keeps_its_raw_number_and_has_a_text():
    reading = one({"states": {1: "normal", 2: "alarm"}, "name": "Supply"}, 2)
    assert (reading.value, reading.point.state_label(2), reading.point.unit) == (2.0, "alarm", "")
    assert reading.point.point_type == "Status"


def test_what_the_main_object_feeds_is_told_and_a_chained_unit_is_an_object_of_its_own():
    first, second = readings(
        profile([{"at": 5, "symbol": "power", "point": "ActivePower", "unit": "W"}]),
        {"1.5.1": 10, "1.5.2": 20},
    )
    assert (first.point.object_id, first.point.serves) == ("PDU-1", ("R001",))
    assert (second.point.object_id, second.point.serves) == ("PDU-1-unit2", ())
    assert second.point.associate == "PDU-1"
    assert first.point.key == "PowerMeter/ActivePower/snmp/PDU-1/power.1"


def test_a_self_describing_row_takes_meaning_unit_and_scale_from_its_fields():
    value = {
        "at": 3,
        "symbol": "analog",
        "name": "{label}",
        "unit": "{unitText}",
        "scale": [{"field": "divisor", "how": "divisor"}],
        "only_rules": True,
        "rules": [
            {"when": {"unitText": "C", "label": ".*Water.*"}, "point": "LiquidTemperature"},
            {"when": {"unitText": "C"}, "point": "AirTemperature"},
        ],
    }
    fields = {
        "label": {"at": 2, "symbol": "l"},
        "unitText": {"at": 4, "symbol": "u"},
        "divisor": {"at": 5, "symbol": "d"},
    }
    found = readings(
        profile([value], table={"fields": fields}),
        {
            "1.2.1": b"Water In",
            "1.2.2": b"Return",
            "1.2.3": b"Odd",
            "1.3.1": 161,
            "1.3.2": 244,
            "1.3.3": 5,
            "1.4.1": b"C",
            "1.4.2": b"C",
            "1.4.3": b"bananas",
            "1.5.1": 10,
            "1.5.2": 10,
            "1.5.3": 1,
        },
    )
    assert [(r.point.point_type, r.value, r.name) for r in found] == [
        ("LiquidTemperature", 16.1, "Water In"),
        ("AirTemperature", 24.4, "Return"),
    ]


@pytest.mark.parametrize(
    ("how", "told", "expected"),
    [("decimals", 2, 1.0), ("divisor", 10, 10.0), ("signed", -100, 1.0), ("signed", 3, 300.0), ("factor", 2, 200.0),
     ("exponent", -1, 10.0), ("si", 8, 0.1), ("divisor", 0, 100.0)],
)  # fmt: skip
def test_a_device_tells_its_own_scale(how, told, expected):
    value = {"at": 3, "symbol": "x", "point": "Voltage", "unit": "V", "scale": [{"field": "s", "how": how}]}
    found = readings(
        profile([value], table={"fields": {"s": {"at": 4, "symbol": "s"}}}), {"1.3.1": 100, "1.4.1": told}
    )
    assert found[0].value == pytest.approx(expected)


def test_a_row_whose_field_says_unavailable_has_no_value_and_is_guarded_in_each_poll():
    value = {"at": 3, "symbol": "x", "point": "Voltage", "unit": "V", "absent_when": {"ok": "2"}}
    found = readings(
        profile([value], table={"fields": {"ok": {"at": 4, "symbol": "ok"}}}),
        {"1.3.1": 0, "1.3.2": 230, "1.4.1": 2, "1.4.2": 1},
    )
    assert [r.value for r in found] == [None, 230.0]
    assert found[0].guards[0][0] == f"{ROOT}.1.4.1"


def test_the_second_way_to_tell_the_same_thing_is_a_duplicate():
    both = [
        {"at": 3, "symbol": "precise", "point": "Voltage", "unit": "V", "scale": 0.1, "name": "Voltage"},
        {"at": 2, "symbol": "whole", "point": "Voltage", "unit": "V", "name": "Voltage"},
    ]
    found = readings(profile(both), {"1.3.1": 2314, "1.2.1": 231})
    assert [(r.symbol, r.duplicate) for r in found] == [("precise", False), ("whole", True)]


def test_a_state_map_can_be_told_by_the_device():
    value = {"at": 3, "symbol": "x", "states": "{names}", "name": "Mode"}
    found = readings(
        profile([value], table={"fields": {"names": {"at": 4, "symbol": "n"}}}),
        {"1.3.1": 6, "1.4.1": b"Unknown(0),Startup Delay(5),Active(6)"},
    )
    assert found[0].point.state_label(6) == "Active"


def test_standard_sensors_are_scaled_by_what_the_agent_says_of_them():
    entity = "1.3.6.1.2.1.99.1.1.1"
    walk = Walk(
        {
            f"{entity}.1.7": 8, f"{entity}.2.7": 9, f"{entity}.3.7": 1, f"{entity}.4.7": 235, f"{entity}.5.7": 1,
            f"{entity}.1.8": 4, f"{entity}.2.8": 8, f"{entity}.3.8": 0, f"{entity}.4.8": 12100, f"{entity}.5.8": 1,
            f"{entity}.1.9": 10, f"{entity}.2.9": 9, f"{entity}.3.9": 0, f"{entity}.4.9": 4200, f"{entity}.5.9": 3,
            "1.3.6.1.2.1.47.1.1.1.1.7.7": b"CPU",
        }
    )  # fmt: skip
    found = read(shipped_profiles()["entity-sensor"], walk, Device("X"))
    assert [(r.point.point_type, r.value) for r in found] == [
        ("Temperature", 23.5),
        ("Voltage", 12.1),
        ("FanRotation", None),
    ]


@pytest.mark.parametrize(
    ("oid", "tag", "value"),
    [
        ("1.3.6.1.2.1.1.1.0", 4, b"plain"),
        ("1.3.6.1.2.1.1.1.0", 4, b"a|b\n"),
        ("1.3.1", 2, -5),
        ("1.3.1", 70, 2**63),
    ],
)
def test_a_line_of_a_recording_reads_back_as_it_was_written(oid, tag, value):
    assert parse_snmprec(format_snmprec(oid, tag, value)) == (oid, tag, value)


def test_a_broken_line_of_a_recording_is_refused():
    with pytest.raises(InputError, match="not a line of a recording"):
        parse_snmprec("1.3.6.1|2|abc")


def test_a_number_is_found_at_the_start_of_a_text():
    assert (number(b"29.6 %RH"), number(b"-3,5 C"), number(b"n/a"), number(7)) == (29.6, -3.5, None, 7.0)


@pytest.mark.parametrize(
    ("told", "expected"),
    [
        (b"849867E3", None), (b"07/30/20", None), (b"1980-00-00", None), (b"12:30:45", None), (b"192.168.1.1", None),
        (b"1.2.3", None), (b"100-240V", None), (b"9PX3000", None), (b"5 PX 1500", None), (b"NaN", None), (b"inf", None),
        (b"1.2e+03", 1200.0), (b"1,234.5", 1234.5), (b"1.234,5", 1234.5), (b"0,5", 0.5), (b"60 degree Celsius", 60.0),
        (b"29.1484 C: Normal", 29.1484), (b"23.5\xb0C", 23.5), (b"29.6 %RH", 29.6), (b"-3,5 C", -3.5), (b"2 A (RMS)", 2.0),
        (b"\x9f\x78\x04\x41\xbc\x00\x00", 23.5), (b"\x9f\x79\x08\x40\x37\x80\x00\x00\x00\x00\x00", 23.5),
        (b"\x9f\x78\x04\x7f\xc0\x00\x00", None), (2**64 - 1, 2.0**64), (float("nan"), None),
    ],
)  # fmt: skip
def test_a_text_is_a_number_only_as_a_whole(told, expected):
    assert number(told) == expected


@pytest.mark.parametrize(
    ("name", "encoding"),
    [("Küche", "utf-8"), ("Küche", "latin-1"), ("Größe", "latin-1"), ("à côté", "latin-1"), ("机柜一", "gbk"),
     ("服务器电源A", "gbk"), ("機櫃電源", "big5"), ("插座1", "big5"), ("插座1", "gbk")],
)  # fmt: skip
def test_a_name_stays_legible_in_the_encoding_of_its_owner(name, encoding):
    assert text(name.encode(encoding)) == name


@pytest.mark.parametrize(
    ("value", "raw", "expected"),
    [
        ({"point": "AirTemperature", "unit": "Cel", "scale": 0.1}, 65506, -3.0),
        ({"point": "AirTemperature", "unit": "Cel", "scale": 0.1}, 65535, None),
        ({"point": "AirTemperature", "unit": "degF", "scale": 0.1}, 810, pytest.approx(27.2222222)),
        ({"point": "Current", "unit": "A", "scale": 0.1, "signed": 8}, 250, -0.6),
        ({"point": "Voltage", "unit": "V", "scale": 0.1}, 65535, None),
        ({"point": "ActivePower", "unit": "W"}, 65535, 65535.0),
        ({"point": "ActivePower", "unit": "W"}, 2147483647, None),
        ({"point": "BatteryRuntime", "unit": "min"}, -1, None),
        ({"states": {0: "on battery", 9: "overload", -1: "none"}, "bits": True}, b"\x00\x40", 9.0),
        ({"states": {0: "on battery", 9: "overload", -1: "none"}, "bits": True}, b"\x00\x00", -1.0),
    ],
)  # fmt: skip
def test_what_agents_do_to_numbers_is_undone(value, raw, expected):
    assert one(value, raw).value == expected


def test_a_unit_object_that_says_fahrenheit_is_believed():
    table = {"fields": {"unitText": {"at": 4, "symbol": "u", "words": {"1": "Cel", "2": "degF"}}}}
    value = {"at": 3, "symbol": "t", "point": "AirTemperature", "unit": "{unitText}"}
    found = readings(profile([value], table=table), {"1.3.1": 81, "1.4.1": 2, "1.3.2": 27, "1.4.2": 1})
    assert [round(r.value, 2) for r in found] == [27.22, 27.0]
