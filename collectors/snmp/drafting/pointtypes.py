"""Which quantity a number is, from its words: its point type of the catalogue."""

from __future__ import annotations

import re

from collectors.snmp.drafting.phrases import unit_and_scale, words_of
from domain.units import UNITS

IDENTITY = re.compile(
    r"\b(index|id|ident|serial|model|version|ver|revision|firmware|hardware|address|addr|port|mac|ip|date|year|month|"
    r"timestamp|name|descr|description|location|password|community|user|trap|url|vendor|manufacturer|part|type|"
    r"number|num|nr|no|entries|size|table|slot|language|baud|checksum|oid|contact|email|server|snmp|smtp|ntp|web|http|"
    r"telnet|ssh|vlan|netmask|gateway|dns|dhcp|log|logging|schedule|mask|clock|identifier|key|digits|decimal|decimals|"
    r"exponent|precision|units?|multiplier|divisor|severity|priority|ack|acknowledge|group|desc|colou?r|friendly|format|"
    r"timer|support|supported|retry|retries|time ?out|cont|rearm|timestamp)\b"
)
_LIQUID = re.compile(
    r"\b(water|coolant|fluid|liquid|glycol|chw|chilled|evaporator outlet|oil|brine|tcs|fws)\b"
)
_AIR = re.compile(
    r"\b(air|ambient|room|return|supply|inlet|intake|exhaust|outdoor|indoor|outside|external|probe|sensor|env|environment|"
    r"environmental|rack|hot aisle|cold aisle|aisle|enclosure|cabinet|humidity|shelter|thermometer|thermo|ext|remote)\b"
)


_PARTS = r"compressor\d*|cmp\d*|fan\d*|blower\d*|pump\d*|heating|e?heating\d*|humidif\w+|dehumidif\w+|cooling|drycooler\d*|filter"
"""What has run so long, not what will last so long."""


def has(pattern: str, *texts: str) -> bool:
    """Whether a text holds one of the words of a pattern."""
    return any(re.search(rf"\b(?:{pattern})\b", t) for t in texts)


def _place(own: str, around: str, kind: str) -> str:
    """Return input, bypass, battery or output, where the names say so."""
    for text in (own, around):
        for place, pattern in (
            ("bypass", "bypass|byp"), ("battery", "battery|batteries|batt|bat|cell|string"),
            ("input", "input|in|mains|utility|line in|source|ac in|grid|rectifier input"),
            ("output", "output|out|load|outlet|inverter"),
        ):  # fmt: skip
            if has(pattern, text):
                return place
    return "output"


_COUNTED_NAME = re.compile(r"\bnumber of\b|\b(?:count|counts|num|numb|number)$|\bnum [a-z]+s$|\bno of\b")
"""Names of what is counted or numbered, whatever quantity is named beside."""

_NUMBER_OF = re.compile(r"(?:the )?(?:current |total |present |maximum |max )*number of (?:the )?")
_NOT_COUNTED = re.compile(
    r"\b(index|config|max|min|available|supported|part|ser|serial|model|port|phone|version|id|retry|table size|size|slot)\b"
)


def _counted(own: str, said: str) -> bool:
    told = _NUMBER_OF.match(said)
    return bool(_COUNTED_NAME.search(own)) or (told is not None and not unit_and_scale(said[told.end() :]))


def point_type(own: str, said: str, around: str, unit: str, kind: str) -> tuple[str, str] | None:
    """Return (point type, usual unit) of a number, or None where it is no quantity."""
    canonical = UNITS[unit].canonical if unit in UNITS else ""
    if _counted(own, said):
        return None if _NOT_COUNTED.search(own) else ("Count", "count")
    place = _place(own, around, kind)
    ups = kind in {"UPS", "ATS"}
    if IDENTITY.search(own) and not canonical:
        return None

    def by(input_: str, bypass: str, battery: str, output: str) -> str:
        if place == "battery" and (ups or has("battery|batt|bat", own, around)):
            return battery
        if not ups:
            return output
        return {"input": input_, "bypass": bypass}.get(place, output)

    phase = has("phase|line|l ?[123]|[abc]|[rst]", own) or has("phase|line", around)
    if has("power factor|pf|powerfactor|cos ?phi|cosphi", own) and canonical in {"", "1", "Cel"}:
        return "PowerFactor", "1"
    if has("crest factor|crest", own):
        return "CrestFactor", "1"
    if canonical == "VAh":
        return "ApparentEnergy", unit
    if canonical == "Ah":
        return "GenericPoint", unit
    if canonical == "J" or has("energy|kwh|wh|watthour|watt hours?", own):
        return ("Energy", "kWh") if not has("apparent|reactive|var|va", own) else ("GenericPoint", "kWh")
    if canonical == "var" or (has("reactive|kvar", own) or own.endswith(" var")):
        return "ReactivePower", "var"
    if canonical == "VA" or (has("apparent|va|kva|volt ?amps?", own) and canonical in {"", "VA", "W"}):
        return "ApparentPower", "VA"
    if has("dew ?point|dewpoint", own) or has("dew", own):
        return "DewPoint", "Cel"
    if has("superheat", own):
        return "SuperheatTemperature", "K"
    if has("humidity|humid|hum|rh|hygro|hygrometer", own) and not has("temp|temperature", own):
        return "AirRelativeHumidity", "%"
    if canonical == "Cel" or (
        has("temp|temperature|tempr|temps|temperatures|thermal|thermometer|degree|celsius", own)
        and canonical in {"", "K"}
    ):
        if place == "battery" and has("battery|batt|bat", own, around):
            return "BatteryTemperature", "Cel"
        if _LIQUID.search(f"{own} {around} {said}"):
            return "LiquidTemperature", "Cel"
        if has("refrigerant|suction|discharge|condens\\w+|evaporat\\w+|saturation", own):
            return "RefrigerantTemperature", "Cel"
        if has(
            "rectifier|inverter|heatsink|transformer|module|internal|cpu|igbt|pcb|board|charger",
            f"{own} {around}",
        ):
            return "Temperature", "Cel"
        if _AIR.search(f"{own} {around} {said}") or kind in {"Sensor", "CRAC", "CRAH", "AHU"}:
            return "AirTemperature", "Cel"
        return "Temperature", "Cel"
    if canonical == "Hz" or (has("frequency|freq|hz", own) and not canonical):
        return by("InputFrequency", "BypassFrequency", "Frequency", "Frequency"), "Hz"
    if canonical == "W" or (
        has("consumption|watts?|power|wattage|real power|active power|kw", own) and canonical in {""}
        and not has("supply|supplies|on|off|up|status|state|count|cycles?|good|fail\\w*|source|capacity|percent\\w*|load percent|meter", own)
    ):  # fmt: skip
        if has("cooling|cool|heat|capacity output|sensible", own) and kind in {
            "CRAC",
            "CRAH",
            "AHU",
            "Chiller",
            "CDU",
        }:
            return "CoolingPower", unit or "W"
        if has("peak|max|maximum", own):
            return "PeakPower", unit or "W"
        base = "PhasePower" if phase and not has("total", own) else "ActivePower"
        return by("InputPower", "BypassPower", "ActivePower", base), unit or "W"
    if canonical == "V" or (has("voltage|volts?|volt|vac|vdc|vrms|voltages", own) and not canonical):
        return by(
            "InputVoltage", "BypassVoltage", "BatteryVoltage", "PhaseVoltage" if phase else "Voltage"
        ), "V"
    if canonical == "A" or (has("current|amps?|amperes?|amperage|currents", own) and not canonical
                            and not has("status|state|mode|version|time|user|alarm|alarms|setting|index|count|fault|fail\\w*", own)):  # fmt: skip
        if has("residual|leakage|rcm|ground fault", own):
            return "ResidualCurrent", "A"
        if has("neutral", own):
            return "NeutralCurrent", "A"
        if has("peak", own):
            return "PeakCurrent", "A"
        return by(
            "InputCurrent", "BypassCurrent", "BatteryCurrent", "PhaseCurrent" if phase else "Current"
        ), "A"
    if (
        canonical == "s"
        or has("up ?time", own)
        or has(
            "runtime|run time|autonomy|time remaining|remaining time|minutes remaining|time left|backup time|estimated minutes",
            own,
        )
    ):
        if has("on battery|seconds on battery|time on battery|elapsed", own):
            return "TimeOnBattery", unit or "s"
        if has(_PARTS, own):
            return "RunTime", unit or "h"
        if has("battery run ?time|ups run ?time", own):
            return "BatteryRuntime", unit or "min"
        if has("remaining|remain|autonomy|left|backup time|estimated|runtime", own) and has(
            "battery|batt|bat|ups|runtime|minutes|autonomy|backup|remaining|remain", f"{own} {around}"
        ):
            return "BatteryRuntime", unit or "min"
        if has("runtime|run time|running|operating|operation|run|hours|uptime|up time", own):
            return "RunTime", unit or "h"
        return None
    if canonical == "rpm" or (
        has("fan|blower", own)
        and has("rpm|speed", own)
        and not has("percent\\w*|pct", own)
        and canonical == ""
    ):
        return ("PumpRotation" if has("pump", own) else "FanRotation"), "rpm"
    if canonical == "1" or has(
        "percent|percentage|load|charge|capacity|utili[sz]ation|position|opening|speed|soc|soh", own
    ):
        if (
            has("load|utili[sz]ation|percent load|usage|loadpercent", own)
            and not has("loads|load status|shed", own)
            and canonical in {"", "1"}
        ):
            return "Load", "%"
        if has("charge|soc|remaining|capacity|level", own) and place == "battery":
            return "BatteryCharge", "%"
        if has("valve", own):
            return "ValvePosition", "%"
        if has("damper", own):
            return "DamperPosition", "%"
        if has("fan|blower", own):
            return "FanSpeed", "%"
        if has("pump", own):
            return "PumpSpeed", "%"
        if has("compressor|comp", own):
            return "CompressorSpeed", "%"
        if has("cool\\w*|demand|capacity", own) and kind in {"CRAC", "CRAH", "AHU", "Chiller", "CDU"}:
            return "CoolingDemand", "%"
        if canonical == "1":
            return "GenericPoint", unit
        return None
    if canonical == "L/min" or has("flow|airflow|waterflow", own):
        if has("air|airflow", own) or unit in {"CFM"}:
            return "AirFlow", unit or "CFM"
        return "LiquidFlow", unit or "L/min"
    if canonical == "m/s" or has("air velocity|airspeed|air speed", own):
        return "AirVelocity", "m/s"
    if canonical == "Pa" or has("pressure", own):
        if has("suction|discharge|refrigerant|condens\\w+|evaporat\\w+|head", own):
            return "RefrigerantPressure", unit or "bar"
        if _LIQUID.search(f"{own} {around}") or kind in {"CDU", "Chiller"}:
            return (
                "LiquidDifferentialPressure" if has("diff\\w*|delta", own) else "LiquidPressure"
            ), unit or "bar"
        return ("AirDifferentialPressure" if has("diff\\w*|delta", own) else "AirPressure"), unit or "Pa"
    if has("pulses?|counter|count|cycles|times|events|number of|modules|alarms present", own) and not has(
        "config|max|min", own
    ):
        return "Count", "count"
    if unit in UNITS:
        return "GenericPoint", unit
    return None


_PHASE_NAMES = re.compile(
    r"\b(?:phase|line|ph|l|in|out)? ?(?:l|phase|line|ph)(?: ?([123])| ([abc]))\b|\bphase (?:([rst]))\b|\b([rst]) phase\b"
)


def phase_of(symbol: str) -> str:
    """Return the phase (1, 2, 3) that an object's name tells, or nothing."""
    own = " ".join(words_of(symbol))
    found = _PHASE_NAMES.search(own)
    if not found:
        return ""
    letter = next(g for g in found.groups() if g)
    return {"a": "1", "b": "2", "c": "3", "r": "1", "s": "2", "t": "3"}.get(letter, letter)
