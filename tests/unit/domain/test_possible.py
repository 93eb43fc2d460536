"""What can be: real devices' values are within, what instruments say when they fail is not."""

import math

import pytest

from domain.catalogue import OBJECT_TYPES, POINT_TYPES, STATE
from domain.points import Point
from domain.possible import PDU, possible, why_not
from tests.recordings.snmp.scorecard import score

RACKS = ("R001", "R002")


def point(object_type, point_type, unit=None, **more):
    return Point(
        "key",
        object_type,
        point_type,
        "X",
        unit=POINT_TYPES[point_type].unit if unit is None else unit,
        **more,
    )


@pytest.mark.parametrize(
    ("told", "value"),
    [
        (point("Rack", "RackPower"), 90e9),
        (point("PowerMeter", "PowerFactor"), 98.0),
        (point("PowerMeter", "PowerFactor"), 0.98 * 100),
        (point("GPU", "GpuPower"), 4.29e6),
        (point("GPU", "GpuPowerAverage"), 4.29e6),
        (point("GPU", "GpuUtilization"), 26.19),
        (point("GPU", "GpuUtilization"), 42_949_672.95),
        (point("PowerMeter", "Current"), 65_535.0),
        (point("Outlet", "Current"), 655.35),
        (point("Rack", "RackLiquidSupplyTemperature"), -273.0),
        (point("Sensor", "AirTemperature"), -273.15),
        (point("GPU", "GpuTemperature"), 255.0),
        (point("Sensor", "AirTemperature"), 3276.7),
        (point("Sensor", "AirRelativeHumidity"), 2.55),
        (point("Site", "ActivePower"), 2147.483647e6),
        (point("PowerMeter", "ActivePower"), 2147.483647e6),
        (point("UPS", "ActivePower"), 2147.483647e6),
        (point("UPS", "BatteryCharge"), 2.55),
        (point("UPS", "BatteryRuntime"), 2_147_483_647.0),
        (point("CDU", "LiquidFlow"), 1e6),
        (point("CDU", "LiquidFlow"), 65_535.0),
        (point("GPU", "GpuEnergy"), (2**64 - 1) / 1000),
        (point("Rack", "RackLiquidFlow"), 65_535.0),
        (point("PowerMeter", "Frequency"), 6553.5),
        (point("PowerMeter", "Energy"), -1.0),
        (point("Sensor", "GenericPoint", "Cel"), -273.0),
    ],
)
def test_what_no_plant_shows_is_told_with_what_could_be(told, value):
    reason = why_not(told, value)
    assert "cannot be" in reason
    assert told.point_type in reason
    assert "lies within" in reason


@pytest.mark.parametrize(
    ("told", "value"),
    [
        (point("Rack", "RackPower"), 600e3),  # announced for 2027
        (point("PowerMeter", "PowerFactor"), -0.707),
        (point("PowerMeter", "ActivePower"), 48e6),
        (point("Site", "ActivePower"), 1.2e9),
        (point("UPS", "PhasePower"), -26.0),
        (point("Battery", "BatteryCurrent"), -400.0),
        (point("GPU", "GpuPowerInstant"), 2300.0),
        (point("GPU", "GpuModulePower"), 2900.0),
        (point("GPU", "GpuUtilization"), 100 * 0.01),
        (point("CRAC", "Frequency"), 24.8),
        (point("UPS", "Load"), 1.27),
        (point("Sensor", "AirTemperature"), -25.0),
    ],
)
def test_what_is_rare_but_real_is_not_refused(told, value):
    assert why_not(told, value, RACKS) == ""


def test_a_meter_of_one_rack_is_smaller_than_one_of_a_feed():
    assert why_not(point("PowerMeter", "ActivePower", serves=("R001",)), 16e6, RACKS)
    assert why_not(point("PowerMeter", "ActivePower", associate="R001"), 16e6, RACKS)
    assert not why_not(point("PowerMeter", "ActivePower", serves=("R001", "R002")), 16e6, RACKS)
    assert not why_not(point("PowerMeter", "ActivePower", serves=("UPS-A1",)), 16e6, RACKS)


def test_a_state_can_be_anything():
    assert why_not(Point("k", "Rack", "RackLeakDetect", "X", state_text=((0, "No"), (1, "Yes"))), 255.0) == ""


def test_every_quantity_of_every_object_has_a_range_that_holds_zero_or_says_why():
    without = set()
    for object_type in (*OBJECT_TYPES, PDU):
        for kind in POINT_TYPES.values():
            low, high = possible(object_type, kind.name, kind.unit)
            assert low < high, (object_type, kind.name)
            assert low <= 0 <= high
            if kind.unit != STATE and math.isinf(high):
                without.add(kind.unit)
    assert without == {"*", "s", "token"}  # any quantity; times since 1970 and counts of tokens have no end


def test_no_reading_of_a_real_device_is_refused(testdata):
    refused, seen = [], 0
    for walk in sorted((testdata / "snmp-walks").glob("*.snmprec")):
        for reading in score(testdata / "snmp-walks", walk.stem).readings:
            if reading.value is not None:
                seen += 1
                if reason := why_not(reading.point, reading.value):
                    refused.append(f"{walk.stem}: {reason}")
    assert refused == []
    assert seen > 1500
