"""What agents send for a number, and what becomes of it: over real UDP, from a device to its readings."""

import struct

import pytest

from collectors.snmp.probe import probe
from collectors.snmp.profiles import Profile, shipped_profiles
from tests.system.snmp_agent import V2C, agent, values

HERE = "1.3.6.1.4.1.99999.5"
TEXT, INTEGER, GAUGE, COUNTER64, OPAQUE = V2C.OctetString, V2C.Integer, V2C.Gauge32, V2C.Counter64, V2C.Opaque
CELSIUS = {"point": "AirTemperature", "unit": "Cel"}
WATTS = {"point": "ActivePower", "unit": "W"}
SAID: dict[str, tuple[object, dict, float | None]] = {
    "a serial number with an E": (TEXT("849867E3"), WATTS, None),
    "a date": (TEXT("07/30/20"), WATTS, None),
    "a date that is none": (TEXT("1980-00-00"), WATTS, None),
    "a power of ten": (TEXT("1.2e+03"), WATTS, 1200.0),
    "thousands": (TEXT("1,234.5"), WATTS, 1234.5),
    "a unit in words": (TEXT("60 degree Celsius"), CELSIUS, 60.0),
    "a unit and a state": (TEXT("29.1484 C: Normal"), CELSIUS, 29.1484),
    "an Opaque float": (OPAQUE(b"\x9f\x78\x04" + struct.pack(">f", 23.5)), CELSIUS, 23.5),
    "an Opaque double": (OPAQUE(b"\x9f\x79\x08" + struct.pack(">d", 23.5)), CELSIUS, 23.5),
    "an Opaque that is no number": (OPAQUE(b"\x9f\x78\x04" + struct.pack(">f", float("nan"))), CELSIUS, None),
    "a counter above 2^63": (COUNTER64(2**63 + 2**40), {"point": "Energy", "unit": "J"}, 2.0**63 + 2.0**40),
    "BITS, the tenth set": (TEXT(b"\x00\x40"), {"states": {0: "on battery", 9: "overload", -1: "none"}, "bits": True}, 9.0),
    "BITS, none set": (TEXT(b"\x00\x00"), {"states": {0: "on battery", 9: "overload", -1: "none"}, "bits": True}, -1.0),
    "tenths of Fahrenheit": (INTEGER(810), {"point": "AirTemperature", "unit": "degF", "scale": 0.1}, 27.2222222222),
    "sixteen bits below zero": (GAUGE(65506), CELSIUS | {"scale": 0.1}, -3.0),
    "minus one of a humidity": (INTEGER(-1), {"point": "AirRelativeHumidity", "unit": "%"}, None),
    "65535 of a voltage": (GAUGE(65535), {"point": "Voltage", "unit": "V", "scale": 0.1}, None),
    "2147483647 of a power": (INTEGER(2147483647), WATTS, None),
    "65535 of a power": (GAUGE(65535), WATTS, 65535.0),
    "6553.5, as its MIB has it": (TEXT("6553.5"), {"point": "Load", "unit": "%", "none": ["6553.5"]}, None),
}  # fmt: skip
"""What: the value on the wire, what the profile says of it, and the reading in the canonical unit."""


def profile(*tables):
    return Profile.model_validate({
        "name": "odd", "title": "A device of odd numbers", "source": "ODD-MIB",
        "match": [{"sysObjectID": "1.3.6.1.4.1.99999"}], "object": {"type": "PowerMeter"}, "tables": tables,
    })  # fmt: skip


def device(objects):
    return {
        "1.3.6.1.2.1.1.1.0": TEXT("odd"),
        "1.3.6.1.2.1.1.2.0": V2C.ObjectIdentifier("1.3.6.1.4.1.99999.1"),
        "1.3.6.1.2.1.1.3.0": V2C.TimeTicks(4711),
    } | objects


@pytest.fixture(scope="module")
def said():
    """Every value of SAID, asked for over one socket."""
    return {}


async def readings(said):
    if not said:
        odd = profile({
            "oid": HERE, "symbol": "odd",
            "values": [{"at": str(n), "symbol": f"odd{n}", "name": what, **meaning}
                       for n, (what, (_, meaning, _)) in enumerate(SAID.items(), 1)],
        })  # fmt: skip
        objects = {f"{HERE}.{n}.0": raw for n, (raw, _, _) in enumerate(SAID.values(), 1)}
        async with agent(device(objects)) as a:
            result = await probe("127.0.0.1", a.port, timeout=1.0, profiles={"odd": odd})
        said |= {r.name: r.value for r in result.readings}
    return said


@pytest.mark.parametrize("what", SAID)
async def test_a_number_is_read_whole_or_not_at_all(what, said):
    found = (await readings(said)).get(what)  # what is no value at all is set aside
    expected = SAID[what][2]
    assert found is None if expected is None else found == pytest.approx(expected, rel=1e-9)


NAMES = {"utf-8": "Küche rechts", "latin-1": "Größe", "gbk": "服务器电源", "big5": "機櫃電源"}


async def test_outlet_names_stay_legible_and_apart_in_the_encoding_of_their_owner():
    outlets = profile({
        "oid": f"{HERE}.1", "symbol": "outletTable", "index": ["outlet"],
        "fields": {"label": {"at": "2", "symbol": "outletName"}},
        "object": {"type": "Outlet", "id": "outlet{outlet}", "name": "{label}"},
        "values": [{"at": "3", "symbol": "outletCurrent", "point": "Current", "unit": "A", "scale": 0.1}],
    })  # fmt: skip
    objects = {}
    for n, (encoding, name) in enumerate(NAMES.items(), 1):
        objects |= {
            f"{HERE}.1.2.{n}": TEXT(name.encode(encoding)),
            f"{HERE}.1.3.{n}": INTEGER(n),
        }
    async with agent(device(objects)) as a:
        result = await probe("127.0.0.1", a.port, timeout=1.0, profiles={"odd": outlets})
    assert [r.point.object_name.split(" ", 1)[1] for r in result.readings] == list(NAMES.values())


UNIT, PROBE = "1.3.6.1.4.1.318.1.1.10.3.12.11", "1.3.6.1.4.1.318.1.1.10.3.13.1.1"


async def test_the_unit_object_of_an_apc_emu2_that_says_fahrenheit_is_believed():
    """81 is 27.2 degrees where emsStatusSysTempUnits says Fahrenheit."""
    objects = {oid: v for oid, v in values().items() if ".318.1.1.26." not in oid} | {
        "1.3.6.1.2.1.1.2.0": V2C.ObjectIdentifier("1.3.6.1.4.1.318.1.3.8.3"),
        f"{UNIT}.0": INTEGER(2),
        f"{PROBE}.1.1": INTEGER(1), f"{PROBE}.2.1": TEXT("Rack"), f"{PROBE}.3.1": INTEGER(81), f"{PROBE}.6.1": INTEGER(45),
        f"{PROBE}.10.1": INTEGER(2), f"{PROBE}.10.2": INTEGER(3),
        f"{PROBE}.1.2": INTEGER(2), f"{PROBE}.2.2": TEXT("Aisle"), f"{PROBE}.3.2": INTEGER(-1), f"{PROBE}.6.2": INTEGER(-1),
    }  # fmt: skip
    async with agent(objects) as a:
        result = await probe("127.0.0.1", a.port, timeout=1.0, profiles=shipped_profiles())
    told = {r.oid.removeprefix(PROBE): r.value for r in result.readings if r.oid.startswith(PROBE)}
    assert told[".3.1"] == pytest.approx(27.2222, abs=1e-3)
    assert told[".6.1"] == 0.45
    assert told[".6.2"] is None
