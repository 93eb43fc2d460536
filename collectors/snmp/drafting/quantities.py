"""What an object of a MIB measures, in which unit and at which scale: from its words, and from values that were seen.

A MIB tells the unit in UNITS, in DESCRIPTION, in DISPLAY-HINT, in the object's name, or not at all. Each guess carries
its reason, so that a person can judge it; one that only plausible values support is called that.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from collectors.snmp.drafting.guesses import Guess, judge
from collectors.snmp.drafting.mib import MibObject
from collectors.snmp.drafting.phrases import (
    NO_VALUE,
    sentinels,
    told_scale,
    told_states,
    unit_and_scale,
    words_of,
)
from collectors.snmp.drafting.pointtypes import IDENTITY, has, point_type
from domain.units import UNITS

_THRESHOLD = re.compile(
    r"\b(threshold|thresholds|thresh|limit|limits|hysteresis|hyst|deadband|calibration|offset|config|cfg|conf|nominal|"
    r"default|rated|rating|ratings|alarmset|trip|warn|warning|critical|crit|upper|lower|max|maximum|min|minimum|low|high|"
    r"highest|lowest|setting|settings|set|delay|interval|timeout|sensitivity|derating|tolerance|resolution|accuracy|span|"
    r"record|logged|log|history|average|avg|peak|reset|test|transfer|cutoff|scale|scaling|gain|correction|ucl|uwl|lcl|lwl|"
    r"override|select|rec delta|nom|before alarm)\b"
)
_SETTINGS = re.compile(
    r"\b(normal state|table size|calib\w*|alarm map|rearm|base voltage|cycle time|serial port|stop bits|num cables|"
    r"sensor number|start temp\w*|start humidity)\b"
)
"""Names of columns that hold how a device is set up, not what it measures."""
_LOOK = re.compile(r"\b(highest|lowest|average|avg)\b ?")
"""Words of a threshold's name that a measurement's may have too."""
_SETPOINT = re.compile(r"\b(setpoint|set point|setpt|sp|target|desired|requested|command)\b")

_TAIL = re.compile(
    r" (?:value|values|reading|measurement|measured|actual|present|now|val|data|mesure|measure)$"
)


def _core(own: str) -> str:
    """Return a name's words without those that only say where it stands: ``phase status current value``."""
    own = re.sub(r"\bhigh prec(?:ision)?\b ?", "", own)
    while _TAIL.search(own):
        own = _TAIL.sub("", own)
    if not re.search(r"\b(status|state|stat|statue)$", own):
        own = re.sub(r"\b(status|state|stat|satatus) (?=.)", "", own)
    return own


def guess(
    obj: MibObject, around: str = "", values: Sequence[float] = (), *, kind: str = "GenericObject"
) -> Guess | None:
    """Return what an object measures, or None where it is none of the quantities and states that an engineer reads.

    Parameters
    ----------
    obj
        The object.
    around
        Names of the table or group that it stands in: input, bypass, battery, outlet, ...
    values
        Numbers that a device answered, sentinels included.
    kind
        Type of the device.
    """
    own = _core(" ".join(words_of(obj.name)))
    if _SETTINGS.search(own):
        return None
    said = obj.description.lower()
    first = re.split(r"(?<=[a-z])\.(?:\s|$)", said)[0]
    labels = obj.syntax.enumeration
    only_sentinels = bool(labels) and all(NO_VALUE.search(_spaced(label)) for label in labels.values())
    if labels and obj.syntax.base in {"INTEGER", ""} and not only_sentinels:
        return _state(obj, own)
    if obj.syntax.base in {"OBJECT IDENTIFIER", "SEQUENCE OF", "BITS"} or obj.syntax.name in _NO_NUMBER:
        return None
    if obj.syntax.high == 1 and obj.syntax.base == "INTEGER" and not _has_unit(obj) and not labels:
        if obj.access in {"read-write", "read-create", "write-only"} and not _SWITCHED.search(own):
            return None
        states = told_states(obj.description) or {0: "0", 1: "1"}
        return Guess(point=_state_point(own), states=states, reasons=["states: its range ends at 1"])
    result = Guess(none=[*(labels if only_sentinels else ()), *sentinels(obj.description)])
    unit, scale = _unit(obj, own, result)
    if (
        not unit
        and has(
            "demand|output|position|opening|speed|utili[sz]ation|load|charge|capacity|life|level|torque|soc",
            own,
        )
        and ("percent" in first or re.search(r"%", first))
    ):
        unit = "%"
        result.reasons.append("DESCRIPTION says percent")
    point = point_type(own, first, around.lower(), unit, kind)
    if point is None:
        states = told_states(obj.description)
        if obj.access in {"read-write", "read-create", "write-only"} and (
            _STATE_CONFIG.search(own) or _THRESHOLD.search(own) or not _SWITCHED.search(own)
        ):
            return None
        if states and obj.syntax.base == "INTEGER" and not unit:
            return Guess(point=_state_point(own), states=states, reasons=["states: told in DESCRIPTION"])
        if (
            not unit
            and obj.syntax.base == "INTEGER"
            and re.search(
                r"\b(status|state|alarm|fault|fail|failure|leak|smoke|door|relay\d*|contact)\b", own
            )
        ):
            if IDENTITY.search(own) or _THRESHOLD.search(own):
                return None
            return Guess(
                point=_state_point(own), states={0: "0", 1: "1"}, reasons=["states: no text names them"]
            )
        return None
    wanted, default = point
    result.point = wanted
    result.reasons.insert(0, f"{wanted}: from its words" + (f" and {unit}" if unit else ""))
    if not unit:
        if obj.syntax.name == "TimeTicks":
            unit, scale, result.sure = "s", 0.01, True
        else:
            unit = default
            result.untold = not result.sure
            result.reasons.append(f"unit {unit}: usual, no text tells it")
    if _SETPOINT.search(own) and not re.search(
        r"\b(high|low|warn\w*|crit\w*|alarm|limit|upper|lower|min|max)\b", own
    ):
        result.setpoint = True
    elif _THRESHOLD.search(_LOOK.sub("", own)) and wanted not in {"PeakPower", "PeakCurrent"}:
        return None
    if wanted == "Count":
        unit, scale = "count", 1.0
    if wanted == "AirRelativeHumidity" and unit != "%":
        unit = "%"
    if wanted == "PowerFactor" and unit != "%":
        unit = "1"
    if not _measures(unit, wanted) or (
        _CAPACITY.search(own) and unit in UNITS and UNITS[unit].canonical in _RATED
    ):
        result.point = "GenericPoint"  # what a part can carry is not what it carries
    result.unit, result.scale = unit, scale
    judge(result, own, around.lower(), values)
    return result


_CAPACITY = re.compile(r"\b(capacity|capability|installed|allotted|budget)$")
_RATED = frozenset({"A", "VA", "W", "V"})


def _spaced(label: str) -> str:
    return " ".join(words_of(label))


_NO_NUMBER = {
    "IpAddress",
    "RowStatus",
    "DateAndTime",
    "PhysAddress",
    "MacAddress",
    "OBJECT IDENTIFIER",
    "TimeStamp",
}


def _measures(unit: str, point: str) -> bool:
    from domain.catalogue import ANY, POINT_TYPES

    canonical = UNITS[unit].canonical if unit in UNITS else ""
    return POINT_TYPES[point].unit in {ANY, canonical}


_STATE_CONFIG = re.compile(
    r"\b(enable|enabled|disable|disabled|config|cfg|setting|settings|threshold|command|cmd|control|ctrl|action|access|auth|"
    r"protocol|baud|language|format|trap|snmp|syslog|email|log|notify|notification|row|unit|units|reset|clear|"
    r"display|sort|test|ack|schedule|severity|priority|mode|delay|buzzer|beeper|beep|type)\b"
)


_SWITCHED = re.compile(r"\b(state|status|outlet|output|relay|switch|valve|input|alarm|contact)\b")


def _state_point(own: str) -> str:
    if re.search(r"\b(leak|water|wld)\b", own):
        return "LeakDetect"
    return "SmokeDetect" if re.search(r"\bsmoke\b", own) else "Status"


def _state(obj: MibObject, own: str) -> Guess | None:
    labels = " ".join(obj.syntax.enumeration.values()).lower()
    if obj.syntax.name in {"RowStatus", "StorageType"} or "createandgo" in labels:
        return None
    writable = obj.access in {"read-write", "read-create", "write-only"}
    if writable and (_STATE_CONFIG.search(own) or not _SWITCHED.search(own)):
        return None
    if writable and re.search(
        r"\b(reboot|reset|nocommand|execute|no ?action|delayed)", labels.replace("-", "")
    ):
        return None
    if (
        not writable
        and _STATE_CONFIG.search(own)
        and not re.search(r"\b(state|status|mode|type|alarm)\b", own)
    ):
        return None
    if len(obj.syntax.enumeration) < 2:
        return None
    return Guess(
        point=_state_point(own),
        states=dict(obj.syntax.enumeration),
        reasons=["states: the MIB's enumeration"],
        sure=True,
    )


def _has_unit(obj: MibObject) -> bool:
    return obj.units.lower() not in {"", "n/a", "none"}


def _unit(obj: MibObject, own: str, result: Guess) -> tuple[str, float]:
    told = unit_and_scale(obj.units) if _has_unit(obj) else None
    hint = re.fullmatch(r"d-(\d)", obj.syntax.hint)
    scale_text, unit_text = told_scale(f"{obj.description} {obj.syntax.described}")
    bare = re.fullmatch(r"(0?\.\d+|hundredths?|tenths?)", obj.units.strip().lower()) if obj.units else None
    if told:
        unit, scale = told
        result.sure = True
        result.reasons.append(f"UNITS says {obj.units[:30]!r}")
        if scale == 1.0 and hint and hint[1] != "0":
            scale = 10.0 ** -int(hint[1])
            result.reasons.append(f"DISPLAY-HINT {obj.syntax.hint}")
        elif scale == 1.0 and scale_text is not None and unit_text in {None, unit} and scale_text < 1:
            scale = scale_text
            result.reasons.append("scale: DESCRIPTION")
        return unit, scale
    unit, scale = unit_text or "", 1.0
    if unit_text:
        result.reasons.append(f"DESCRIPTION says {unit_text}")
    if hint and hint[1] != "0":
        scale, result.sure = 10.0 ** -int(hint[1]), True
        result.reasons.append(f"DISPLAY-HINT {obj.syntax.hint}")
    elif bare:
        word = bare[1]
        scale = {"h": 0.01, "t": 0.1}.get(word[0]) or float(word)
        result.sure = True
    elif scale_text is not None:
        scale, result.sure = scale_text, True
        result.reasons.append("scale: DESCRIPTION")
    elif found := re.search(r"\bx (10+)$|\b(10+)th\b", own):
        scale, result.sure = 1 / float(found[1] or found[2]), True
        result.reasons.append("scale: its name")
    elif re.search(r"\btenths?\b", own):
        scale, result.sure = 0.1, True
    if not unit and (
        found := re.search(
            r"\b(kwh|wh|kva|va|kvar|var|kw|mv|ma|hz|rpm|percent|pct|fahrenheit|celsius|deg ?c|deg ?f|volts|amps|watts|psi|gpm)$",
            own,
        )
    ):
        unit = (unit_and_scale(found[1]) or ("", 1.0))[0]
        result.reasons.append("unit: its name")
    elif not unit and (found := re.search(r"\b(seconds|minutes|hours)\b", own)):
        unit = {"seconds": "s", "minutes": "min", "hours": "h"}[found[1]]
        result.reasons.append("unit: its name")
    elif not unit and re.search(r"\b(?:temp\w*|temperature) (f|c)$|\b(f|c) temp", own):
        unit = "degF" if re.search(r"(temp\w*) f$|\bf temp", own) else "Cel"
        result.reasons.append("unit: its name")
    return unit, scale
