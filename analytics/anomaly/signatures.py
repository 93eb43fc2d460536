"""What each fault looks like: the signals that it moves, and those that it must leave alone."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

ROUND = 3.0
"""Scores count up to this: a signal far over its limit speaks no louder than one clearly over it."""
FITS = 0.5
"""A signature explains signals when it accounts for this much more of them than it gets wrong (share)."""


@dataclass(frozen=True, slots=True)
class Signature:
    """The look of one fault.

    Parameters
    ----------
    fault
        Name for people.
    types
        Object types that can have it.
    moves
        Signals that it raises over their limit.
    may
        Signals that may follow later or elsewhere; they speak neither for nor against it.
    """

    fault: str
    types: tuple[str, ...]
    moves: frozenset[str]
    may: frozenset[str] = frozenset()


def _of(fault: str, types: str, moves: str, may: str = "") -> Signature:
    def listed(text: str) -> frozenset[str]:
        return frozenset(part.strip() for part in text.split(",") if part.strip())

    return Signature(fault, tuple(sorted(listed(types))), listed(moves), listed(may))


SIGNATURES = (
    # physics still holds: the coolant carries the heat, only less of it flows
    _of("rack valve or blockage", "Rack", "coolant flow", "coolant rise, GPU temperature, differential pressure, coolant path, valve standstill"),
    _of("rack valve or blockage", "Rack", "coolant path", "coolant flow, coolant rise, GPU temperature"),
    _of("rack valve or blockage", "Rack", "valve standstill", "coolant flow, coolant rise, GPU temperature"),
    _of("leak", "Rack", "leak", "coolant flow, coolant rise, differential pressure"),
    _of("switched off", "Rack", "power lost", "coolant flow, coolant rise, heat balance, GPU temperature"),
    # physics is broken: no such flow could carry this heat, or no such rise
    _of("flow sensor", "Rack", "heat balance, coolant flow", "coolant path"),
    _of("return temperature sensor", "Rack", "heat balance, coolant rise", "GPU temperature"),
    _of("power meter", "Rack", "heat balance", "coolant flow"),
    _of("supply temperature sensor", "Rack", "supply temperature", "heat balance, coolant rise, GPU temperature"),
    _of("differential pressure sensor", "Rack", "differential pressure", "coolant path"),
    _of("cold plate", "Rack, Tray, GPU", "GPU temperature"),
    _of("clock or power cap", "GPU", "GPU clock", "GPU work"),
    _of("uneven work", "Rack, Tray, GPU", "GPU work"),
    _of("GPU memory", "GPU", "memory errors", "GPU work, GPU clock"),
    _of("NVLink", "GPU", "NVLink errors", "GPU work, GPU clock"),
    _of("GPU lost", "Rack, GPU", "GPU lost", "power lost"),
    _of("stopped", "CDU", "load sharing"),
    _of("pump", "CDU", "pump head", "pod differential pressure, load sharing, coolant flow, coolant rise"),
    _of("filter", "CDU", "filter", "pump head, pod differential pressure"),
    _of("heat exchanger, primary valve or setpoint", "CDU", "facility water", "supply control, valve standstill, CDU heat balance, pod supply temperature, GPU temperature, coolant flow, coolant rise, heat balance"),
    _of("heat exchanger, primary valve or setpoint", "CDU", "supply control", "facility water, valve standstill, pod supply temperature"),
    _of("heat exchanger, primary valve or setpoint", "CDU", "valve standstill", "facility water, supply control, pod supply temperature"),
    _of("leak", "CDU", "loop pressure"),
    _of("facility water", "Chiller, Site", "facility water temperature"),
    _of("air handler stopped", "CRAH", "air handler stopped"),
    _of("fan or air filter", "CRAH", "air flow", "air filter"),
    _of("fan or air filter", "CRAH", "air filter", "air flow"),
    _of("UPS losses", "UPS", "UPS losses"),
    _of("UPS battery", "UPS", "battery capacity"),
    _of("flow or temperature sensor", "CDU", "CDU heat balance", "load sharing, facility water"),
    _of("flow or temperature sensor", "CDU", "CDU heat balance, supply control", "load sharing, facility water, pod supply temperature, supply temperature"),
    _of("flow or temperature sensor", "CDU", "filter, load sharing", "pump head, CDU heat balance, facility water"),
    # where a CDU tells nothing itself, its racks do
    _of("pump", "CDU", "pod differential pressure", "coolant flow, coolant rise, GPU temperature, pod supply temperature"),
    _of("heat exchanger, primary valve or setpoint", "CDU", "pod supply temperature", "GPU temperature, coolant flow, coolant rise, heat balance"),
    _of("supply lost or sagging", "PowerMeter, UPS, Feed", "supply voltage", "voltage, power factor, phase imbalance, tap share"),
    _of("open breaker or loose joint", "PowerMeter", "voltage", "tap share"),
    _of("meter", "PowerMeter", "tap share"),
    _of("power factor", "PowerMeter, Tap, UPS", "power factor"),
    _of("phase imbalance", "PowerMeter, Tap", "phase imbalance"),
    _of("meter", "PowerMeter, Feed, UPS, Tap", "meter sum"),
)  # fmt: skip

FAULTS = (
    "rack valve or blockage", "flow sensor", "return temperature sensor", "power meter", "supply temperature sensor",
    "differential pressure sensor", "cold plate", "pump", "filter", "heat exchanger, primary valve or setpoint",
    "flow or temperature sensor", "supply lost or sagging", "open breaker or loose joint", "meter", "power factor",
    "phase imbalance", "unknown", "stopped", "leak", "switched off", "clock or power cap", "uneven work", "GPU memory", "NVLink",
    "GPU lost", "facility water", "air handler stopped", "fan or air filter", "UPS losses", "UPS battery",
)  # fmt: skip
"""Every class of fault; its place is the number under which it is stored, so new ones go to the end."""

RESTS_ON = {
    "RackLiquidFlow": ("coolant flow", "coolant path", "heat balance"),
    "RackLiquidReturnTemperature": ("heat balance", "coolant rise", "GPU temperature"),
    "RackLiquidSupplyTemperature": ("supply temperature", "heat balance", "coolant rise", "GPU temperature"),
    "RackLiquidDifferentialPressure": ("differential pressure", "coolant path"),
    "LiquidFlow": ("pump head", "filter", "facility water", "load sharing", "CDU heat balance"),
    "LiquidTemperature supply": ("supply control", "CDU heat balance"),
    "LiquidTemperature return": ("CDU heat balance",),
    "LiquidDifferentialPressure": ("pump head",),
}
"""Signals that say nothing of the plant while an instrument of the same object is known to misbehave."""

OF_WARM_WATER = (
    "facility water",
    "supply control",
    "valve standstill",
    "pod supply temperature",
    "supply temperature",
)
"""What CDUs and racks show of facility water that is not as warm as usual: no faults of their own."""
TROUBLE = ("coolant flow", "coolant rise", "supply temperature", "pod supply temperature", "power lost")
"""Signals of a rack that its GPUs' follow from."""

MEASURES = {
    "flow sensor": "RackLiquidFlow",
    "return temperature sensor": "RackLiquidReturnTemperature",
    "supply temperature sensor": "RackLiquidSupplyTemperature",
    "differential pressure sensor": "RackLiquidDifferentialPressure",
}
"""The instrument that each fault of a rack's instruments is about. Power meters are not among them: limits and bills rest on
what they read, and an estimate must not stand there."""

INSTRUMENTS = frozenset(
    {
        "flow sensor", "return temperature sensor", "power meter", "supply temperature sensor",
        "differential pressure sensor", "flow or temperature sensor", "meter",
    }
)  # fmt: skip
"""Faults of what measures, not of the plant: a matter for maintenance, nobody is paged."""


def diagnose(object_type: str, signals: Mapping[str, float]) -> tuple[str, float]:
    """Name the fault of an object of this type that fits the signals best.

    Parameters
    ----------
    object_type
        Of the suspected root.
    signals
        Score of each signal; above 1 is anomalous.

    Returns
    -------
    tuple of str and float
        The fault, "unknown" where none fits, and how well it fits: -1 (not at all) to 1 (perfectly).
    """
    over = {signal: min(score, ROUND) for signal, score in signals.items() if score > 1.0}
    best, best_fit = "unknown", 0.0
    for signature in SIGNATURES:
        if object_type not in signature.types or not over:
            continue
        explained = sum(score for signal, score in over.items() if signal in signature.moves)
        strange = sum(
            score for signal, score in over.items() if signal not in signature.moves | signature.may
        )
        absent = sum(1.0 for signal in signature.moves if signal not in over)
        fit = (explained - strange - absent) / max(explained + strange + absent, 1e-9)
        if fit > best_fit and fit >= FITS:
            best, best_fit = signature.fault, fit
    return best, (best_fit if best != "unknown" else -1.0)
