"""What physics has against a device's numbers: a wrong scale shows where quantities must agree, or cannot be at all.

Computed once at discovery, over everything that the device tells; the catalogue's bounds watch each value at the polls.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass

from collectors.snmp.readings import Reading
from domain.units import shown

_SCALES = (0.1, 0.01, 0.001, 10.0, 100.0, 1000.0)
_BANDS: dict[str, tuple[tuple[float, float], ...]] = {
    "V": ((0.0, 850.0),),
    "Hz": ((44.0, 66.0), (380.0, 420.0)),
    "Cel": ((-45.0, 130.0),),
}
_POINT_BANDS: dict[str, tuple[tuple[float, float], ...]] = {
    "AirTemperature": ((-45.0, 90.0),),
    "LiquidTemperature": ((-30.0, 110.0),),
    "BatteryTemperature": ((-30.0, 85.0),),
    "DewPoint": ((-60.0, 60.0),),
    "AirRelativeHumidity": ((0.0, 1.0),),
    "Load": ((0.0, 2.0),),
    "BatteryCharge": ((0.0, 1.05),),
    "PowerFactor": ((-1.0, 1.01),),
    "FanSpeed": ((0.0, 1.1),),
    "ValvePosition": ((0.0, 1.05),),
    "InputVoltage": ((0.0, 850.0),),
}
_VOLTAGES = frozenset({"Voltage", "PhaseVoltage", "InputVoltage", "BypassVoltage"})
_MAINS_FREQUENCIES = frozenset({"Frequency", "InputFrequency", "BypassFrequency"})
_SMALL = 20.0
"""Watts below which products say nothing: currents of tenths of an ampere are too coarse."""


@dataclass(frozen=True, slots=True)
class Doubt:
    """A reading that can hardly be right.

    Parameters
    ----------
    oid, symbol
        Which.
    text
        What speaks against it.
    scale
        By what it would have to be multiplied to fit; None where nothing would.
    """

    oid: str
    symbol: str
    text: str
    scale: float | None


def doubts(readings: Iterable[Reading]) -> list[Doubt]:
    """Return every reading that physics speaks against, with the scale that would fit."""
    known = [r for r in readings if r.value is not None and not r.point.is_state and not r.point.setpoint]
    found = [d for r in known if (d := _alone(r)) is not None]
    doubted = {d.oid for d in found}
    sound = [r for r in known if r.oid not in doubted and not r.duplicate]
    found += _products(sound)
    found += _phases(sound)
    found += _outlets(sound)
    return list({d.oid: d for d in reversed(found)}.values())[::-1]


def _alone(reading: Reading) -> Doubt | None:
    value, p = reading.value, reading.point
    assert value is not None
    bands = _POINT_BANDS.get(p.point_type)
    if bands is None and p.point_type in _MAINS_FREQUENCIES:
        bands = _BANDS["Hz"]
    elif bands is None and (p.point_type in _VOLTAGES or p.unit == "Cel"):
        bands = _BANDS[p.unit if p.unit in _BANDS else "V"]
    if not bands or not value or _within(value, bands):
        return None
    # Zero is "off", and a temperature's offset does not scale.
    usual = ((5.0, 60.0),) if p.unit == "Cel" else ((90.0, 500.0),) if p.point_type in _VOLTAGES else bands
    fits = next((s for s in _SCALES if _within(value * s, usual)), None)
    text = f"scale doubtful: {_shown(reading)}" if fits else f"doubtful: {_shown(reading)}"
    if fits:
        text += f"; times {fits:g} it would be {shown(value * fits, p.unit, 4)}"
    return Doubt(reading.oid, reading.symbol, text, fits)


def _products(readings: list[Reading]) -> list[Doubt]:
    """Volt times ampere times power factor against watt, where one object and phase tells them."""
    by_place: dict[tuple[str, str], dict[str, Reading]] = defaultdict(dict)
    for r in readings:
        kind = {
            "Voltage": "V", "PhaseVoltage": "V", "Current": "A", "PhaseCurrent": "A", "ActivePower": "W",
            "PhasePower": "W", "PowerFactor": "PF", "ApparentPower": "VA",
        }.get(r.point.point_type)  # fmt: skip
        if kind:
            by_place[r.point.object_id, r.point.phase].setdefault(kind, r)
    found = []
    for told in by_place.values():
        if "V" not in told or "A" not in told:
            continue
        volts, amps = told["V"].value or 0.0, told["A"].value or 0.0
        for kind, lowest in (("W", 0.02), ("VA", 0.5)):
            power = told.get(kind)
            if power is None or abs(amps) < 0.3:
                continue
            factor = abs(told["PF"].value or 1.0) if kind == "W" and "PF" in told else 1.0
            expected = abs(volts * amps) * factor
            value = abs(power.value or 0.0)
            # Three wires at one ampere figure carry up to three times as much.
            if min(expected, value) < _SMALL or lowest * expected < value < 3.5 * expected:
                continue
            fits = _fitting(value / expected)
            found.append(
                Doubt(
                    power.oid, power.symbol,
                    f"power doubtful: {volts:.4g} V times {amps:.4g} A"
                    + (f" times {factor:.3g}" if factor != 1.0 else "")
                    + f" is {shown(expected, power.point.unit)}, and {_shown(power)} is told"
                    + (f"; times {fits:g} one of them would fit" if fits else ""), fits,
                )
            )  # fmt: skip
    return found


def _phases(readings: list[Reading]) -> list[Doubt]:
    totals = {
        r.point.object_id: r for r in readings if r.point.point_type == "ActivePower" and not r.point.phase
    }
    parts: dict[str, dict[str, float]] = defaultdict(dict)
    for r in readings:
        if r.point.point_type in {"PhasePower", "ActivePower"} and r.point.phase:
            parts[r.point.object_id].setdefault(r.point.phase, r.value or 0.0)
    found = []
    for object_id, phases in parts.items():
        total = totals.get(object_id)
        if total is None or len(phases) not in {2, 3}:
            continue
        found += _against(total, sum(phases.values()), "its phases together")
    return found


def _outlets(readings: list[Reading]) -> list[Doubt]:
    totals = [
        r for r in readings
        if r.point.point_type == "ActivePower" and not r.point.phase and r.point.object_type not in {"Outlet", "Bank"}
    ]  # fmt: skip
    outlets = [r for r in readings if r.point.point_type == "ActivePower" and r.point.object_type == "Outlet"]
    if len(totals) != 1 or len(outlets) < 2:
        return []
    total = sum(r.value or 0.0 for r in outlets)
    inlet = totals[0].value or 0.0
    if total > 1.3 * inlet or _fitting(inlet / total if total else 1.0):
        return _against(totals[0], total, "its outlets together")
    return []


def _against(total: Reading, parts: float, what: str) -> list[Doubt]:
    value = abs(total.value or 0.0)
    parts = abs(parts)
    if min(value, parts) < 5 * _SMALL or 0.6 < value / parts < 1.7:
        return []
    fits = _fitting(value / parts)
    return [
        Doubt(
            total.oid, total.symbol,
            f"power doubtful: {what} take {shown(parts, total.point.unit)}, and {_shown(total)} is told"
            + (f"; times {fits:g} one of them would fit" if fits else ""), fits,
        )
    ]  # fmt: skip


def _fitting(ratio: float) -> float | None:
    """Return the power of ten that brings a ratio near to one, if there is one."""
    if ratio <= 0.0:
        return None
    power = round(math.log10(ratio))
    return 10.0**-power if power and abs(math.log10(ratio) - power) < 0.2 else None


def _within(value: float, bands: Iterable[tuple[float, float]]) -> bool:
    return any(low <= value <= high for low, high in bands)


def _shown(reading: Reading) -> str:
    return (
        f"{reading.value:,.6g} {reading.point.unit}"
        if reading.point.unit in {"V", "A"}
        else shown(reading.value or 0.0, reading.point.unit)
    )
