"""What can be: for each quantity and class of object the widest range that any plant will show.

A value outside is a fault of the instrument, of its scale or of its wire: a counter that overflowed, a sentinel (65535,
-273), W told as kW. The ranges are wide on purpose: they say what cannot be, not what is unusual. Canonical units.
"""

from __future__ import annotations

import math
from collections.abc import Collection
from functools import cache

from domain.catalogue import ANY, POINT_TYPES, STATE
from domain.points import Point
from domain.units import shown

Range = tuple[float, float]

PDU = "PDU"
"""Class of a meter that feeds a single rack: of its rack PDU, of its tap."""
_ALL: Range = (-math.inf, math.inf)


def _both(highest: float) -> Range:
    return -highest, highest


_BY_UNIT: dict[str, Range] = {
    "W": _both(2e9),
    "VA": _both(2e9),
    "var": _both(2e9),
    "V": _both(1e6),
    "A": _both(50e3),
    "Hz": (0.0, 1e11),
    "J": (-1e12, 1e18),
    "VAh": (-1e9, 1e15),
    "Ah": _both(1e6),
    "Cel": (-100.0, 1000.0),
    "K": _both(1000.0),
    "Pa": (-1e7, 1e8),
    "L/min": _both(1e9),
    "1": _both(1e6),
    "By": (0.0, 1e18),
    "By/s": (0.0, 1e13),
    "rpm": (0.0, 200e3),
    "dB": (-50.0, 200.0),
    "m/s": _both(150.0),
    "g/m3": (0.0, 1000.0),
    "count": (-1e18, 2e19),
    "W/min": _both(1e10),
    "token/s": (0.0, 1e10),
    "token/J": (0.0, 1e6),
    "g/kWh": (0.0, 1e5),
    "currency/kWh": _both(1e7),
}

_SHARE: Range = (-0.05, 1.1)
_COOLANT: Range = (-50.0, 150.0)
_AIR: Range = (-60.0, 150.0)
_MAINS: Range = (0.0, 500.0)
_GPU: Range = (0.0, 20e3)
_CHIP: Range = (-60.0, 200.0)

_BY_POINT: dict[str, Range] = {
    "RackPower": (-1e3, 2e6),
    "RackLiquidFlow": (-100.0, 5e3),
    "RackControlValvePosition": _SHARE,
    "RackLiquidDifferentialPressure": (-1e6, 2e6),
    "RackLiquidDifferentialPressureSp": (-1e6, 2e6),
    **dict.fromkeys(
        (
            "RackLiquidSupplyTemperature",
            "RackLiquidReturnTemperature",
            "LiquidTemperature",
            "LiquidTemperatureSpRequest",
        ),
        _COOLANT,
    ),
    **dict.fromkeys(("AirTemperature", "DewPoint", "BatteryTemperature"), _AIR),
    "RefrigerantTemperature": (-100.0, 250.0),
    "AirRelativeHumidity": (-0.01, 1.1),
    "PowerFactor": (-1.01, 1.01),
    **dict.fromkeys(("Frequency", "InputFrequency", "BypassFrequency"), _MAINS),
    **dict.fromkeys(("ValvePosition", "DamperPosition", "BatteryCharge"), _SHARE),
    **dict.fromkeys(("PumpSpeed", "FanSpeed", "CompressorSpeed", "GpuFanSpeed"), (-0.05, 2.0)),
    **dict.fromkeys(("Load", "CoolingDemand"), (-0.5, 3.0)),
    **dict.fromkeys(("CurrentUnbalance", "VoltageUnbalance"), (0.0, 10.0)),
    "CrestFactor": (0.0, 100.0),
    "EnergyEfficiencyRatio": (-100.0, 1000.0),
    "LiquidPressure": (-1.1e5, 1e7),
    "LiquidDifferentialPressure": (-5e6, 5e6),
    "AirDifferentialPressure": _both(50e3),
    "AirPressure": (-50e3, 200e3),
    "RefrigerantPressure": (-1.1e5, 20e6),
    "LiquidFlow": _both(2e6),
    "BatteryRuntime": (0.0, 1e7),
    "TimeOnBattery": (0.0, 1e9),
    **dict.fromkeys(("Energy", "ApparentEnergy", "GpuEnergy"), (0.0, 1e18)),
    **dict.fromkeys(("DeviceLatency", "DeviceUptime", "RunTime"), (0.0, 1e10)),
    **dict.fromkeys(
        (
            "GpuPower",
            "GpuPowerInstant",
            "GpuPowerAverage",
            "GpuPowerLimit",
            "GpuPowerLimitDefault",
            "GpuMemoryPower",
        ),
        _GPU,
    ),
    **dict.fromkeys(("GpuModulePower", "GpuModulePowerLimit"), (0.0, 40e3)),
    **dict.fromkeys(("GpuTemperature", "GpuMemoryTemperature"), _CHIP),
    **dict.fromkeys(("GpuTemperatureLimit", "GpuTemperatureShutdown", "GpuMemoryTemperatureLimit"), _CHIP),
    "GpuTemperatureMargin": (-200.0, 200.0),
    **dict.fromkeys(("GpuPcieGeneration", "GpuPcieGenerationMax"), (0.0, 20.0)),
    **dict.fromkeys(("GpuPcieWidth", "GpuPcieWidthMax"), (0.0, 64.0)),
    **dict.fromkeys(("GpuNvlinksUp", "GpuNvlinksDown"), (0.0, 256.0)),
    **dict.fromkeys(("GpuPowerCapTime", "GpuThermalSlowdownTime", "GpuPowerBrakeTime"), (0.0, 1e10)),
    **dict.fromkeys(("GpuUtilization", "GpuMemoryUtilization"), (0.0, 1.01)),
    **dict.fromkeys(("GpuMemoryUsed", "GpuMemoryTotal"), (0.0, 1e14)),
    **dict.fromkeys(("GpuClock", "GpuMemoryClock"), (0.0, 50e9)),
    "GpuXid": (0.0, 9999.0),
    **dict.fromkeys(
        (
            "GpuEccCorrected",
            "GpuEccUncorrected",
            "GpuRowsRemapped",
            "GpuPcieReplay",
            "GpuNvlinkErrors",
            "GpuNvlinkReceive",
            "GpuNvlinkTransmit",
        ),
        (0.0, 2e19),
    ),
    **dict.fromkeys(
        (
            "TemperatureBreachProbability",
            "PowerBreachProbability",
            "QuarterHourBreachProbability",
        ),
        (0.0, 1.0),
    ),
}


def _electric(power: float, current: float, voltage: float) -> dict[str, Range]:
    return {
        **dict.fromkeys(("W", "VA", "var"), _both(power)),
        "A": _both(current),
        "V": _both(voltage),
    }


_BY_OBJECT: dict[str, dict[str, Range]] = {
    "GPU": _electric(40e3, 2e3, 2e3) | {"J": (0.0, 1e14)},
    "Tray": _electric(200e3, 5e3, 2e3),
    "Outlet": _electric(100e3, 250.0, 2e3) | {"J": (0.0, 1e15)},
    "Bank": _electric(500e3, 2e3, 2e3) | {"J": (0.0, 1e16)},
    PDU: _electric(2e6, 5e3, 2e3) | {"J": (0.0, 1e17)},
    "Rack": _electric(2e6, 5e3, 2e3) | {"L/min": _both(5e3)},
    "Pod": _electric(100e6, 50e3, 50e3),
    "PowerMeter": _electric(1e9, 20e3, 800e3),
    "UPS": _electric(50e6, 20e3, 50e3),
    "ATS": _electric(50e6, 20e3, 50e3),
    "BESS": _electric(1e9, 50e3, 50e3),
    "Battery": _electric(50e6, 20e3, 5e3),
    "Generator": _electric(500e6, 50e3, 50e3),
    "Breaker": _electric(500e6, 50e3, 800e3),
    "CDU": _electric(20e6, 5e3, 5e3) | {"L/min": _both(40e3)},
    **dict.fromkeys(("CRAH", "CRAC", "AHU"), _electric(10e6, 5e3, 5e3) | {"L/min": _both(1e8)}),
    **dict.fromkeys(("Chiller", "CoolingTower", "HX"), _electric(200e6, 10e3, 50e3)),
    **dict.fromkeys(("Pump", "Fan", "Valve", "Damper"), _electric(20e6, 5e3, 50e3)),
    "Feed": _electric(1e9, 50e3, 800e3),
    "Site": _electric(2e9, 50e3, 800e3),
}


@cache
def possible(object_type: str, point_type: str, unit: str = "") -> Range:
    """Return the lowest and the highest value that can be, both included.

    Parameters
    ----------
    object_type
        Of the catalogue, or `PDU`.
    point_type
        Of the catalogue.
    unit
        Canonical unit of the point, where its type leaves it open.
    """
    kind = POINT_TYPES.get(point_type)
    if kind is not None and kind.unit not in (ANY, STATE):
        unit = kind.unit
    of_object = _BY_OBJECT.get(object_type, {})
    ranges = (_BY_UNIT.get(unit, _ALL), _BY_POINT.get(point_type, _ALL), of_object.get(unit, _ALL))
    return max(low for low, _ in ranges), min(high for _, high in ranges)


def possible_of(point: Point, racks: Collection[str] = ()) -> Range:
    """Return the range of a point's values; of a state everything can be.

    Parameters
    ----------
    point
        Any.
    racks
        Ids of the site's racks: what feeds a single one of them is of the class `PDU`.
    """
    if point.is_state:
        return _ALL
    return possible(class_of(point, racks), point.point_type, point.unit)


def class_of(point: Point, racks: Collection[str] = ()) -> str:
    """Return the class of a point's object: its type, or `PDU`."""
    if point.object_type == "PowerMeter" and racks:
        served = point.serves or (point.associate,)
        if len(served) == 1 and served[0] in racks:
            return PDU
    return point.object_type


def why_not(point: Point, value: float, racks: Collection[str] = ()) -> str:
    """Return why a value cannot be, for people; empty where it can."""
    low, high = possible_of(point, racks)
    if low <= value <= high:
        return ""
    if not math.isfinite(value):
        return f"{value} is no number"
    limits = f"{shown(low, point.unit)} to {shown(high, point.unit)}"
    return f"{shown(value, point.unit)} cannot be: {point.point_type} of a {class_of(point, racks)} lies within {limits}"
