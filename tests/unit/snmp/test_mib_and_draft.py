"""From MIB files to a profile: what is read of a MIB, what an object is taken for, and why."""

import pytest
import yaml

from collectors.snmp.drafting.draft import draft
from collectors.snmp.drafting.mib import Mibs
from collectors.snmp.drafting.phrases import sentinels, told_scale, told_states, unit_and_scale
from collectors.snmp.profiles import load_profiles
from collectors.snmp.readings import Device, read
from collectors.snmp.walk import Walk
from domain.errors import InputError

ACME = """
ACME-PDU-MIB DEFINITIONS ::= BEGIN
IMPORTS enterprises, Gauge32 FROM SNMPv2-SMI DisplayString FROM SNMPv2-TC, ;   -- a comma too many
acme OBJECT IDENTIFIER ::= { enterprises 99999 }
Tenth ::= TEXTUAL-CONVENTION DISPLAY-HINT "d-1" STATUS current DESCRIPTION "" SYNTAX Gauge32
acmePower OBJECT-TYPE SYNTAX Gauge32 UNITS "0.1 kW" MAX-ACCESS read-only STATUS current
  DESCRIPTION "Total power. -1 when it is not available." ::= { acme 1 }
acmeSupply OBJECT-TYPE SYNTAX INTEGER { ok(1), failed(2) } ACCESS read-only STATUS mandatory
  DESCRIPTION "State of the supply" ::= { acme 2 }
acmeVoltageHighLimit OBJECT-TYPE SYNTAX Gauge32 UNITS "V" MAX-ACCESS read-write STATUS current DESCRIPTION "" ::= { acme 3 }
acmeOutletTable OBJECT-TYPE SYNTAX SEQUENCE OF AcmeOutletEntry MAX-ACCESS not-accessible STATUS current
  DESCRIPTION "" ::= { acme 4 }
acmeOutletEntry OBJECT-TYPE SYNTAX AcmeOutletEntry MAX-ACCESS not-accessible STATUS current DESCRIPTION ""
  INDEX { acmeOutletIndex } ::= { acmeOutletTable 1 }
AcmeOutletEntry ::= SEQUENCE { acmeOutletIndex Gauge32, acmeOutletName DisplayString }
acmeOutletIndex OBJECT-TYPE SYNTAX Gauge32 MAX-ACCESS read-only STATUS current DESCRIPTION "" ::= { acmeOutletEntry 1 }
acmeOutletName OBJECT-TYPE SYNTAX DisplayString MAX-ACCESS read-write STATUS current DESCRIPTION "" ::= { acmeOutletEntry 2 }
acmeOutletCurrent OBJECT-TYPE SYNTAX Tenth MAX-ACCESS read-only STATUS current DESCRIPTION "Amps." ::= { acmeOutletEntry 3 }
acmeOutletVoltage OBJECT-TYPE SYNTAX Gauge32 MAX-ACCESS read-only STATUS current DESCRIPTION "" ::= { acmeOutletEntry 4 }
acmeOutletStateStatus OBJECT-TYPE SYNTAX INTEGER MAX-ACCESS read-only STATUS current
  DESCRIPTION "0 = off, 1 = on" ::= { acmeOutletEntry 5 }
lost OBJECT-TYPE SYNTAX Gauge32 MAX-ACCESS read-only STATUS current DESCRIPTION "" ::= { nobodyKnows 1 }
END
"""
ROOT = "1.3.6.1.4.1.99999"


@pytest.fixture
def acme(tmp_path):
    (tmp_path / "mib").mkdir()
    (tmp_path / "mib" / "ACME-PDU-MIB").write_text(ACME)
    return Mibs([tmp_path / "mib"])


def test_a_mib_with_mistakes_and_missing_imports_gives_what_can_be_understood(acme):
    assert acme.by_name("acmeOutletCurrent").oid == f"{ROOT}.4.1.3"
    assert acme.by_name("acmeOutletCurrent").kind == "column"
    assert acme.by_name("acmeOutletCurrent").syntax.hint == "d-1"
    assert acme.by_name("acmeSupply").syntax.enumeration == {1: "ok", 2: "failed"}
    assert acme.by_name("acmeOutletEntry").index == ("acmeOutletIndex",)
    assert any("lost" in s for s in acme.skipped)


def test_a_node_that_hangs_under_a_mib_nobody_has_can_be_told(tmp_path):
    (tmp_path / "m").write_text(ACME)
    assert (
        Mibs([tmp_path / "m"], roots={"nobodyKnows": "1.3.6.1.4.1.7"}).by_name("lost").oid
        == "1.3.6.1.4.1.7.1"
    )


def test_a_file_without_a_mib_is_refused(tmp_path):
    (tmp_path / "m").write_text("hello")
    with pytest.raises(InputError, match="no object was found"):
        Mibs([tmp_path / "m"])


def test_a_draft_reads_a_device_without_being_edited_and_says_why(acme, tmp_path):
    cells = {"1.0": 27, "2.0": 1, "4.1.2.1": b"Server 1", "4.1.3.1": 15, "4.1.4.1": 2310, "4.1.5.1": 1}
    walk = Walk({f"{ROOT}.{k}": v for k, v in cells.items()})
    made = draft(acme, "acme", walk=walk)
    found = {
        r.symbol: (r.point.object_id, r.point.point_type, r.value)
        for r in read(made.profile, walk, Device("P"))
    }
    assert found == {
        "acmePower": ("P", "ActivePower", 2700.0),
        "acmeSupply": ("P", "Status", 1.0),
        "acmeOutletCurrent": ("P-outlet1", "Current", 1.5),
        "acmeOutletVoltage": ("P-outlet1", "Voltage", 231.0),
        "acmeOutletStateStatus": ("P-outlet1", "Status", 1.0),
    }
    text = made.to_yaml()
    assert "UNITS says '0.1 kW'" in text
    assert "scale 0.1 instead of 1: 2310 is else no plausible V" in text
    (tmp_path / "acme.yaml").write_text(text)
    assert load_profiles(tmp_path)["acme"] == made.profile
    assert yaml.safe_load(made.to_yaml(reasons=False)) == yaml.safe_load(text)


@pytest.mark.parametrize(
    ("told", "expected"),
    [
        ("0.1 Volts", ("V", 0.1)), ("1/100 Volt; i.e. 5400 = 54.00V", ("V", 0.01)), ("tenth Amps", ("A", 0.1)),
        ("0.1 degrees Fahrenheit", ("degF", 0.1)), (".01C", ("Cel", 0.01)), ("hundredth Amps", ("A", 0.01)),
        ("percent Relative Humidity", ("%", 1.0)), ("decivolts (rms)", ("V", 0.1)), ("centiamps (rms)", ("A", 0.01)),
        ("10 mV", ("mV", 10.0)), ("100 mA", ("mA", 100.0)), ("RMS Volts", ("V", 1.0)), ("0.1 Kilowatt-Hour", ("kWh", 0.1)),
        ("Volt-Amps", ("VA", 1.0)), ("degrees Centigrade", ("Cel", 1.0)), ("*.01 Volts", ("V", 0.01)), ("ambient", None),
    ],
)  # fmt: skip
def test_units_are_understood_as_vendors_spell_them(told, expected):
    found = unit_and_scale(told)
    assert found == (
        pytest.approx(expected) if expected is None else (expected[0], pytest.approx(expected[1]))
    )


@pytest.mark.parametrize(
    ("told", "expected"),
    [
        ("The output current in tenths of amps.", (0.1, "A")), ("Bus Voltage (VDC X 100)", (0.01, "V")),
        ("Battery voltage, stored as mV.", (None, "mV")), ("The value divided by 10 is degrees", (0.1, None)),
        ("RMS current value in 0.1 Amps", (0.1, "A")), ("Temperature with one decimal", (0.1, None)),
    ],
)  # fmt: skip
def test_scale_and_unit_are_found_in_a_description(told, expected):
    assert told_scale(told) == expected


def test_states_and_sentinels_are_found_in_a_description():
    assert told_states("Relay, close(1), open(0).") == {1: "close", 0: "open"}
    assert told_states("0 = off, 1 = on") == {0: "off", 1: "on"}
    assert sentinels("The integer 2147483647 represents invalid value.") == [2147483647]
    assert sentinels("Between -1 and 5.") == []
