"""Units: one canonical unit per quantity, without prefix; a reading is converted once, where it enters.

Canonical units follow UCUM where it has a short code: W, VA, var, V, A, Hz, J, Cel, K (differences), Pa,
L/min, 1 (ratios 0 to 1), s, By, rpm, dB, and counts.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from types import MappingProxyType

from domain.errors import UnitError, brief


@dataclass(frozen=True, slots=True)
class Unit:
    """Affine map of a unit onto its canonical one: canonical = value * scale + offset."""

    canonical: str
    scale: float = 1.0
    offset: float = 0.0

    def to_canonical(self, value: float) -> float:
        """Return `value`, given in this unit, in the canonical one."""
        return value * self.scale + self.offset


_SPELLINGS: dict[Unit, str] = {
    Unit("W"): "W watt watts",
    Unit("W", 1e-3): "mW",
    Unit("W", 1e3): "kW",
    Unit("W", 1e6): "MW",
    Unit("VA"): "VA voltamp voltamps",
    Unit("VA", 1e3): "kVA",
    Unit("VA", 1e6): "MVA",
    Unit("var"): "var VAR VAr",
    Unit("var", 1e3): "kvar kVAR kVAr",
    Unit("V"): "V volt volts VAC VDC",
    Unit("V", 1e-3): "mV",
    Unit("V", 1e3): "kV",
    Unit("A"): "A amp amps ampere amperes Amp Amps",
    Unit("A", 1e-3): "mA",
    Unit("Hz"): "Hz hertz",
    Unit("Hz", 1e3): "kHz",
    Unit("Hz", 1e6): "MHz",
    Unit("Hz", 1e9): "GHz",
    Unit("J"): "J Ws",
    Unit("J", 1e-3): "mJ",
    Unit("J", 3.6e3): "Wh",
    Unit("J", 3.6e6): "kWh",
    Unit("J", 3.6e9): "MWh",
    Unit("VAh"): "VAh",
    Unit("VAh", 1e3): "kVAh",
    Unit("Ah"): "Ah",
    Unit("Cel"): "Cel C °C degC deg_C celsius Celsius degreeC",
    Unit("Cel", 5 / 9, -160 / 9): "F °F degF [degF] fahrenheit",
    Unit("K"): "K",
    Unit("Pa"): "Pa",
    Unit("Pa", 1e2): "hPa mbar",
    Unit("Pa", 1e3): "kPa",
    Unit("Pa", 1e5): "bar",
    Unit("Pa", 1e6): "MPa",
    Unit("Pa", 6894.757293168): "psi PSI psig",
    Unit("Pa", 249.08891): "inH2O inWC inWG",
    Unit("L/min"): "L/min l/min LPM lpm",
    Unit("L/min", 60.0): "L/s l/s",
    Unit("L/min", 1000 / 60): "m3/h m³/h",
    Unit("L/min", 3.785411784): "GPM gpm gal/min",
    Unit("L/min", 28.316846592): "CFM cfm ft3/min",
    Unit("1"): "1 ratio",
    Unit("1", 1e-2): "% %RH %rh percent pct",
    Unit("s"): "s sec secs second seconds",
    Unit("s", 1e-3): "ms",
    Unit("s", 60.0): "min minute minutes",
    Unit("s", 3600.0): "h hour hours",
    Unit("s", 86400.0): "d day days",
    Unit("By"): "By B bytes",
    Unit("By", 1024.0): "KiB",
    Unit("By", 1048576.0): "MiB",
    Unit("By", 1073741824.0): "GiB",
    Unit("By/s"): "By/s B/s",
    Unit("By/s", 1e3): "kB/s",
    Unit("By/s", 1024.0): "KiB/s",
    Unit("By/s", 1048576.0): "MiB/s",
    Unit("rpm"): "rpm RPM",
    Unit("dB"): "dB dBA",
    Unit("m/s"): "m/s",
    Unit("g/m3"): "g/m3",
    Unit("count"): "count counts",
    Unit("token/s"): "token/s tokens/s",
    Unit("token/J"): "token/J tokens/J",
    Unit("token"): "token tokens",
    Unit("g/kWh"): "g/kWh",
    Unit("currency/kWh"): "currency/kWh",
    Unit("W/min"): "W/min",
    Unit("W/min", 1e3): "kW/min",
    Unit("W/min", 1e6): "MW/min",
}

UNITS: MappingProxyType[str, Unit] = MappingProxyType(
    {spelling: unit for unit, spellings in _SPELLINGS.items() for spelling in spellings.split()}
)
"""Every spelling that is understood, to its unit. Case matters: mW is not MW."""

_BACNET_NAMES = """
watts=W milliwatts=mW kilowatts=kW megawatts=MW
volt-amperes=VA kilovolt-amperes=kVA megavolt-amperes=MVA
volt-amperes-reactive=var kilovolt-amperes-reactive=kvar
volts=V millivolts=mV kilovolts=kV amperes=A milliamperes=mA hertz=Hz kilohertz=kHz megahertz=MHz
joules=J watt-hours=Wh kilowatt-hours=kWh megawatt-hours=MWh volt-ampere-hours=VAh kilovolt-ampere-hours=kVAh
ampere-hours=Ah
degrees-celsius=Cel degrees-fahrenheit=degF degrees-kelvin=K
pascals=Pa hectopascals=hPa kilopascals=kPa millibars=mbar bars=bar pounds-force-per-square-inch=psi
inches-of-water=inH2O
liters-per-second=L/s liters-per-minute=L/min cubic-meters-per-hour=m3/h us-gallons-per-minute=GPM
cubic-feet-per-minute=CFM
percent=% percent-relative-humidity=%RH
milliseconds=ms seconds=s minutes=min hours=h days=d
revolutions-per-minute=rpm meters-per-second=m/s decibels=dB decibels-a=dBA grams-per-cubic-meter=g/m3
"""
_BACNET: dict[str, str] = dict(pair.split("=") for pair in _BACNET_NAMES.split())
"""Names of BACnetEngineeringUnits (ISO 16484-5, clause 21), as building management systems hand them on."""

CANONICAL: frozenset[str] = frozenset(unit.canonical for unit in UNITS.values())

_SHOWN: dict[str, tuple[tuple[float, str], ...]] = {
    "W": ((1e6, "MW"), (1e3, "kW"), (1.0, "W")),
    "W/min": ((1e6, "MW/min"), (1e3, "kW/min"), (1.0, "W/min")),
    "VA": ((1e6, "MVA"), (1e3, "kVA"), (1.0, "VA")),
    "var": ((1e3, "kvar"), (1.0, "var")),
    "Pa": ((1e3, "kPa"), (1.0, "Pa")),
    "J": ((3.6e9, "MWh"), (3.6e6, "kWh"), (1e3, "kJ"), (1.0, "J")),
    "Hz": ((1e9, "GHz"), (1e6, "MHz"), (1.0, "Hz")),
    "1": ((1e-2, "%"),),
    "By": ((1099511627776.0, "TiB"), (1073741824.0, "GiB"), (1048576.0, "MiB"), (1.0, "B")),
    "By/s": ((1e9, "GB/s"), (1e6, "MB/s"), (1e3, "kB/s"), (1.0, "B/s")),
}


def parse_unit(text: str) -> Unit:
    """Return the unit that `text` spells, as symbol or as BACnet names it ("degrees-celsius", in any case).

    Raises
    ------
    UnitError
        If the spelling is unknown.
    """
    text = text.strip()
    unit = UNITS.get(text) or UNITS.get(_BACNET.get(re.sub("[ _]", "-", text.lower()), ""))
    if unit is None:
        raise UnitError(f"unknown unit {brief(text)}; known spellings are in domain/units.py")
    return unit


def parse_quantity(text: str | float, canonical: str) -> float:
    """Return a quantity such as ``"16 MW"`` in its canonical unit; a bare number is taken as canonical.

    Raises
    ------
    UnitError
        If the number or the unit cannot be read, or the unit measures something else.
    """
    number, _, spelling = text.strip().partition(" ") if isinstance(text, str) else (text, "", "")
    try:
        value = float(number)
    except (ValueError, OverflowError):
        raise UnitError(
            f"{brief(text)} is not a quantity; write a number and a unit, such as '16 MW'"
        ) from None
    if not math.isfinite(value):
        raise UnitError(f"{brief(text)} is no quantity that anything can have")
    if not spelling:
        return value
    unit = parse_unit(spelling)
    if unit.canonical != canonical:
        raise UnitError(f"{brief(text)} is in {spelling}, but a quantity in {canonical} is wanted")
    return unit.to_canonical(value)


def shown_in(value: float, canonical: str) -> tuple[float, str]:
    """Return what a value is divided by for people, and the unit that it then has: ``(1e6, "MW")`` for 16e6 W."""
    prefixes = _SHOWN.get(canonical, ((1.0, {"Cel": "°C", "count": ""}.get(canonical, canonical)),))
    return next(((scale, name) for scale, name in prefixes if abs(value) >= scale), prefixes[-1])


def shown(value: float, canonical: str, digits: int = 3) -> str:
    """Return a value as people read it: ``shown(16e6, "W")`` is ``"16.0 MW"``, to `digits` significant digits."""
    scale, name = shown_in(value, canonical)
    scaled = value / scale
    if canonical == "count" and abs(scaled) < 1e15:  # how many there are has no decimals
        return f"{scaled:.0f}" if scaled == round(scaled) else f"{scaled:.{digits}g}"
    whole = len(str(int(abs(scaled)))) if scaled else digits  # nothing has no decimals
    number = f"{scaled:.{max(0, digits - whole)}f}"
    return f"{number} {name}".rstrip()
