"""Tables whose rows tell their own kind, unit or scale, drafted without being edited."""

import pytest

from collectors.snmp.drafting.draft import draft
from collectors.snmp.drafting.mib import Mibs
from collectors.snmp.readings import Device, read
from collectors.snmp.walk import Walk

ROOT = "1.3.6.1.4.1.99999"
HEAD = """
ACME-SENSOR-MIB DEFINITIONS ::= BEGIN
IMPORTS enterprises, Gauge32, Integer32 FROM SNMPv2-SMI DisplayString, TruthValue FROM SNMPv2-TC;
acme OBJECT IDENTIFIER ::= { enterprises 99999 }
Kind ::= TEXTUAL-CONVENTION STATUS current DESCRIPTION ""
  SYNTAX INTEGER { rmsCurrent(1), rmsVoltage(4), activePower(5), powerFactor(7), temperature(10), waterDetection(17), other(30) }
Unit ::= TEXTUAL-CONVENTION STATUS current DESCRIPTION ""
  SYNTAX INTEGER { none(-1), volt(1), amp(2), watt(3), degreeC(7), degreeF(14) }
"""


def table(name, arc, index, columns):
    """A table of a MIB: its columns as (name, syntax, description)."""
    entry = name[:1].upper() + name[1:]
    text = f"""{name}Table OBJECT-TYPE SYNTAX SEQUENCE OF {entry} MAX-ACCESS not-accessible STATUS current DESCRIPTION ""
  ::= {{ acme {arc} }}
{name}Entry OBJECT-TYPE SYNTAX {entry} MAX-ACCESS not-accessible STATUS current DESCRIPTION "" INDEX {{ {index} }}
  ::= {{ {name}Table 1 }}
"""
    return text + "".join(
        f"""{column} OBJECT-TYPE SYNTAX {syntax} MAX-ACCESS {"not-accessible" if column in index else "read-only"}
  STATUS current DESCRIPTION "{said}" ::= {{ {name}Entry {n} }}\n"""
        for n, (column, syntax, said) in enumerate(columns, 1)
    )


def found(tmp_path, tables, cells, **given):
    (tmp_path / "mib").write_text(HEAD + "".join(tables) + "END\n")
    walk = Walk({f"{ROOT}.{k}": v for k, v in cells.items()})
    made = draft(Mibs([tmp_path / "mib"]), "acme", walk=walk, **given)
    assert not list(made.profile.problems())
    readings = read(made.profile, walk, Device("P"))
    return made, {r.oid[len(ROOT) + 1 :]: (r.point.point_type, r.point.unit, r.value) for r in readings}


def test_the_kind_stands_in_the_index_and_unit_and_decimals_in_a_table_of_the_same_index(tmp_path):
    tables = [
        table("inletConfig", 1, "inlet, kind", [("cfgUnits", "Unit", ""), ("cfgDecimalDigits", "Gauge32", "")]),
        table("inletSensor", 2, "inlet, kind", [("inlet", "Integer32", ""), ("kind", "Kind", ""), ("sensorIsAvailable", "TruthValue", ""),
              ("sensorValue", "Gauge32", ""), ("sensorMaxValue", "Gauge32", "")]),
    ]  # fmt: skip
    cells = {}
    for kind, unit, digits, raw in (
        (1, 2, 3, 7467),
        (4, 1, 0, 231),
        (5, 3, 0, 1700),
        (7, -1, 2, 98),
        (10, 14, 1, 770),
    ):
        cells |= {
            f"1.1.1.1.{kind}": unit,
            f"1.1.2.1.{kind}": digits,
            f"2.1.4.1.{kind}": raw,
            f"2.1.5.1.{kind}": 9,
        }
        cells[f"2.1.3.1.{kind}"] = 1
    cells["2.1.3.1.4"] = 2
    made, got = found(tmp_path, tables, cells, kind="PowerMeter")
    values = {oid: what for oid, what in got.items() if oid.startswith("2.1.4.")}
    assert values == {
        "2.1.4.1.1": ("Current", "A", 7.467), "2.1.4.1.4": ("Voltage", "V", None), "2.1.4.1.5": ("ActivePower", "W", 1700.0),
        "2.1.4.1.7": ("PowerFactor", "1", 0.98), "2.1.4.1.10": ("AirTemperature", "Cel", pytest.approx(25.0)),
    }  # fmt: skip
    assert "scale told by cfgDecimalDigits (decimals)" in made.to_yaml()
    assert "kind told by kind" in made.to_yaml()


def test_values_stand_among_limits_with_their_unit_as_a_text_and_a_scale_with_a_sign(tmp_path):
    columns = [
        ("varIndex", "Integer32", ""), ("varName", "DisplayString", ""),
        ("varType", "INTEGER { description(1), value(2), setHigh(3), hysteresis(6) }", ""), ("varUnit", "DisplayString", ""),
        ("varScale", "Integer32", "-100 -> has to be divided by 100, +100 -> has to be multiplied by 100"),
        ("varValueStr", "DisplayString", ""), ("varValueInt", "Integer32", ""),
    ]  # fmt: skip
    rows = (
        (1, b"Temperature.Value", 2, b"degree C", -100, b"20.90 degree C", 2090),
        (2, b"Temperature.SetHigh", 3, b"degree C", -100, b"45.00 degree C", 4500),
        (3, b"CAN current", 2, b"mA", 1, b"140 mA", 140), (4, b"Door.Value", 2, b"", 1, b"1", 1),
        (5, b"Humidity", 2, b"%", 1, b"40 %", 40),
    )  # fmt: skip
    cells = {f"1.1.{n}.{row[0]}": cell for row in rows for n, cell in enumerate(row, 1)}
    _, got = found(tmp_path, [table("var", 1, "varIndex", columns)], cells)
    assert got == {
        "1.1.7.1": ("AirTemperature", "Cel", 20.9), "1.1.7.3": ("Current", "A", 0.14), "1.1.7.4": ("Status", "", 1.0),
        "1.1.7.5": ("AirRelativeHumidity", "1", 0.4),
    }  # fmt: skip


def test_kinds_and_states_may_be_texts_and_a_scale_may_be_a_divisor(tmp_path):
    analog = [
        ("aIndex", "Integer32", ""),
        ("aType", "DisplayString", ""),
        ("aName", "DisplayString", ""),
        ("aValue", "DisplayString", ""),
    ]
    cooled = [("cIndex", "Integer32", ""), ("cValue", "Integer32", "The value (multiplied by cScale for presentation)"),
              ("cUnits", "DisplayString", ""), ("cScale", "Integer32", "The factor")]  # fmt: skip
    discrete = [
        ("dIndex", "Integer32", ""),
        ("dValueAsInteger", "Integer32", ""),
        ("dReferenceKey", "DisplayString", ""),
    ]
    tables = [
        table("a", 1, "aIndex", analog),
        table("c", 2, "cIndex", cooled),
        table("d", 3, "dIndex", discrete),
    ]
    cells = {
        "1.1.2.1": b"temperature", "1.1.4.1": b"24.70", "1.1.2.2": b"door", "1.1.4.2": b"1", "1.1.2.3": b"humidity", "1.1.4.3": b"56",
        "2.1.2.1": 381, "2.1.3.1": b"kW", "2.1.4.1": 10, "2.1.2.2": 68, "2.1.3.2": b"F", "2.1.4.2": 1,
        "3.1.2.1": 1, "3.1.3.1": b"Open(0),Closed(1)",
    }  # fmt: skip
    _, got = found(tmp_path, tables, cells)
    assert got == {
        "1.1.4.1": ("AirTemperature", "Cel", 24.7), "1.1.4.2": ("Status", "", 1.0), "1.1.4.3": ("AirRelativeHumidity", "1", 0.56),
        "2.1.2.1": ("ActivePower", "W", 38100.0), "2.1.2.2": ("AirTemperature", "Cel", pytest.approx(20.0)),
        "3.1.2.1": ("Status", "", 1.0),
    }  # fmt: skip


def test_a_number_whose_scale_column_nobody_explains_stands_in_the_file_as_a_comment_only(tmp_path):
    columns = [
        ("mIndex", "Integer32", ""),
        ("mValue", "Integer32", ""),
        ("mUnits", "DisplayString", ""),
        ("mScale", "Integer32", ""),
    ]
    cells = {"1.1.2.1": 381, "1.1.3.1": b"kW", "1.1.4.1": 7}
    made, got = found(tmp_path, [table("m", 1, "mIndex", columns), "acmeState OBJECT-TYPE SYNTAX INTEGER { ok(1), bad(2) } "
        'ACCESS read-only STATUS mandatory DESCRIPTION "" ::= { acme 2 }\n'], cells)  # fmt: skip
    assert got == {}
    assert "LEFT OUT, " in made.to_yaml()
    assert "mValue" not in made.to_yaml(reasons=False)


def scalar(name, arc, said="", syntax="Integer32"):
    """A scalar of a MIB."""
    return f'{name} OBJECT-TYPE SYNTAX {syntax} ACCESS read-only STATUS mandatory DESCRIPTION "{said}" ::= {{ acme {arc} }}\n'


def test_a_current_without_a_text_takes_the_scale_that_volt_times_ampere_proves(tmp_path):
    columns = [("pIndex", "Integer32", ""), ("pVoltage", "Integer32", ""), ("pCurrent", "Integer32", ""),
               ("pPower", "Integer32", "Power in watts.")]  # fmt: skip
    cells = {"1.1.2.1": 230, "1.1.3.1": 81, "1.1.4.1": 1800, "1.1.2.2": 231, "1.1.3.2": 12, "1.1.4.2": 240}
    made, got = found(tmp_path, [table("p", 1, "pIndex", columns)], cells)
    assert [got[f"1.1.3.{n}"][2] for n in (1, 2)] == [8.1, 1.2]
    assert "scale 0.1: volt times ampere is pPower" in made.to_yaml()


def test_a_current_without_a_text_goes_by_its_neighbours_and_is_marked(tmp_path):
    made, got = found(
        tmp_path, [scalar("acmeVoltage", 1), scalar("acmeCurrent", 2)], {"1.0": 2310, "2.0": 81}
    )
    assert got["2.0"][2] == 8.1
    assert "DOUBTFUL" in made.to_yaml()
    tables = [scalar("acmeCurrentBus", 1, "Stored as mA."), scalar("acmeCurrent", 2)]
    made, got = found(tmp_path, tables, {"1.0": 2310, "2.0": 845})
    assert got["2.0"][2] == 0.845
    assert "as of acmeCurrentBus" in made.to_yaml()


def test_what_cannot_be_or_may_be_seconds_or_minutes_is_left_out(tmp_path):
    tables = [
        scalar("acmeCurrent", 1),
        scalar("acmeBatteryRemainingTime", 2),
        scalar("acmeFrequency", 3, "in Hz"),
    ]
    made, got = found(tmp_path, tables, {"1.0": 621, "2.0": 2594, "3.0": 50}, kind="PowerMeter")
    assert set(got) == {"3.0"}
    assert "# - {at: '1', symbol: acmeCurrent" in made.to_yaml()
    assert "2594 may be seconds or minutes" in made.to_yaml()


def test_a_temperature_follows_the_object_that_switches_its_unit(tmp_path):
    tables = [
        scalar("acmeTempUnits", 1, "", "INTEGER { celsius(1), fahrenheit(2) }"),
        scalar("acmeTemperature", 2, "Whole degrees, Celsius or Fahrenheit as acmeTempUnits says."),
    ]
    for switch, value in ((2, pytest.approx(27.2, abs=0.05)), (1, 81.0)):
        made, got = found(tmp_path, tables, {"1.0": switch, "2.0": 81})
        assert got["2.0"][2] == value
        assert "unit told by acmeTempUnits" in made.to_yaml()
