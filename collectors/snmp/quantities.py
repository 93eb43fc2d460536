"""What an object of a MIB measures, in which unit and at which scale: from its words, and from values that were seen.

A MIB tells the unit in UNITS, in DESCRIPTION, in DISPLAY-HINT, in the object's name, or not at all. Each guess carries
its reason, so that a person can judge it; one that only plausible values support is called that.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field

from collectors.snmp.mib import MibObject
from domain.units import UNITS

_CAMEL = re.compile(r"[A-Z]+(?=[A-Z][a-z])|[A-Z]?[a-z]+|[A-Z]+|\d+")

_UNIT_WORDS: tuple[tuple[str, str], ...] = (
    (r"kilo-?watt[- ]?hours?|kwh|kw-h|kwhr", "kWh"),
    (r"watt[- ]?hours?|wh", "Wh"),
    (r"kilo-?volt-?amp(?:ere)?s?-?reactive|kvars?", "kvar"),
    (r"volt-?amp(?:ere)?s?-?reactive|vars?", "var"),
    (r"kvah", "kVAh"),
    (r"vah", "VAh"),
    (r"kilo-?volt-?amp(?:ere)?s?|kva", "kVA"),
    (r"volt[- ]?amp(?:ere)?s?(?:-rms)?|va", "VA"),
    (r"amp(?:ere)?[- ]?hours?|ah", "Ah"),
    (r"kilo-?watts?|kw", "kW"),
    (r"milli-?watts?|mw(?!h)", "mW"),
    (r"watts?|wt|w", "W"),
    (r"milli-?volts?|mv", "mV"),
    (r"kilo-?volts?|kv", "kV"),
    (r"volts?(?:-?(?:ac|dc|rms))*|vrms|vac|vdc|vol|vot|v", "V"),
    (r"milli-?amp(?:ere)?s?|ma", "mA"),
    (r"amp(?:ere)?s?(?:-?(?:ac|dc|rms))*|a", "A"),
    (r"milli-?hertz|mhz", "mHz"),
    (r"hertz|hz", "Hz"),
    (r"degrees?[- ]?(?:of )?(?:celsius|centigrade|c)\b|celsius|centigrade|°c|degc|deg\.? ?c|�c|c", "Cel"),
    (r"degree?s?s?[- ]?(?:of )?(?:fahrenheit|f)\b|fahrenheit|°f|degf|f", "degF"),
    (r"kelvin", "K"),
    (r"percent(?:age)?(?: relative humidity| humidity| rh)?|%(?: ?r\.?h\.?)?|pct|rh", "%"),
    (r"minutes?|mins?", "min"),
    (r"milli-?seconds?|ms", "ms"),
    (r"seconds?|secs?|s", "s"),
    (r"hours?|hrs?|h", "h"),
    (r"days?|d", "d"),
    (r"rpm|rotations? per minute|revolutions? per minute|rounds per minute", "rpm"),
    (r"kpa|kilo-?pascals?", "kPa"),
    (r"hpa|hecto-?pascals?|mbar|milli-?bars?", "hPa"),
    (r"pascals?|pa", "Pa"),
    (r"psi", "psi"),
    (r"bar", "bar"),
    (r"lit(?:er|re)s?[ /-]*(?:per )?(?:min|minute)|l/min|lpm", "L/min"),
    (r"lit(?:er|re)s?[ /-]*(?:per )?(?:s|second)|l/s", "L/s"),
    (r"gallons?[ /-]*(?:per )?(?:min|minute)|gpm|gal/min", "GPM"),
    (r"m3/h|m\^3/h|cubic met(?:er|re)s? per hour", "m3/h"),
    (r"cfm|cubic feet per minute", "CFM"),
    (r"met(?:er|re)s? per second|m/s", "m/s"),
)
_UNIT = "|".join(f"(?P<u{n}>{pattern})" for n, (pattern, _) in enumerate(_UNIT_WORDS))
_UNIT_ONLY = re.compile(rf"(?:{_UNIT})(?![a-z])", re.IGNORECASE)
_TIMES = (
    (r"tenths?|deci|1/10(?!\d)|0?[.,]1(?!\d)|one tenth", 0.1),
    (r"hundred?ths?|hundreths?|centi(?!grade)|1/100(?!\d)|0?[.,]01(?!\d)|10(?=\s?m[vah])", 0.01),
    (r"thousandths?|milli|1/1000(?!\d)|0?[.,]001(?!\d)", 0.001),
)
_MULTIPLIER = re.compile(r"^\s*\*?\s*(\d*[.,]?\d+|1\s*/\s*10+)\s*\*?\s*(?=[a-z%°�])", re.IGNORECASE)
_AFTER = re.compile(
    r"(?:\bx|\*|×|multiplied by|times|scaled by|factor of|multiplier of|by a factor)\s*(10+)\b", re.I
)
_DIVIDED = re.compile(r"(?:divid\w+ by|/)\s*(10+)\b", re.I)
_DECIMALS = re.compile(
    r"\b(one|two|three|1|2|3)\s+(?:implied\s+)?(?:decimal|digits? after|fractional digit|places? after)", re.I
)
_COUNTED = {"one": 1, "two": 2, "three": 3, "1": 1, "2": 2, "3": 3}
_TENTHS_OF = re.compile(
    r"(tenths?|hundred?ths?|hundreths?|thousandths?)\b(?:[- ]of)?(?:[- ](?:an?|one)\b)?(?:[- ]the\b)?\s*",
    re.I,
)
_STEPS = re.compile(r"(?<![\d.])(0?[.,]0*1|1/10+|\d+)\s*\(?\s*(?=[a-z%°])", re.I)
_EXAMPLE = re.compile(
    r"(?<![\d.])(\d{2,7})\s*(?:=|is|means|equals|represents|->)\s*(\d+(?:[.,]\d+)?)\s?([A-Za-z%°]{1,12})",
    re.I,
)
_SENTINEL = re.compile(r"(?<![\d.])(-1|255|6553[45]|65535|32767|-32768|2147483647|-2147483648|4294967295|-9999?|-99|9999|"
                       r"-999999?|-2147483647|999|-127|0x7fffffff)(?![\d.])")  # fmt: skip
_NO_VALUE = re.compile(
    r"not? (?:available|supported|applicable|installed|present|connected|measured|known)|unavailable|unknown|invalid|"
    r"unsupported|n/a\b|no (?:reading|sensor|value|data)|missing|not exist|doesn't|error|absent|lost",
    re.I,
)


@dataclass(slots=True)
class Guess:
    """What an object is taken for.

    Attributes
    ----------
    point, unit, scale
        As in a profile.
    states
        Of a state.
    none
        Raw values that stand for no reading.
    reasons
        Why, in short phrases.
    sure
        Whether a text says the scale, not only plausibility.
    """

    point: str = "GenericPoint"
    unit: str = ""
    scale: float = 1.0
    states: dict[int, str] = field(default_factory=dict)
    none: list[int] = field(default_factory=list)
    setpoint: bool = False
    reasons: list[str] = field(default_factory=list)
    sure: bool = False


def words_of(name: str) -> list[str]:
    """Return the words of a name in lower case: ``upsInputVoltage`` is ups, input, voltage."""
    return [w.lower() for w in _CAMEL.findall(name)]


def unit_and_scale(text: str) -> tuple[str, float] | None:
    """Return unit and scale that a short phrase such as ``0.1 Volts`` or ``tenths of degrees C`` tells, or None."""
    phrase = text.strip().lower().replace("(rms)", " ").replace("rms", " ").replace("⁰", "°")
    phrase = re.split(r";|\bi\.e\.|\be\.g\.", phrase)[0].strip(" :").rstrip(" .")
    scale = 1.0
    lead = _MULTIPLIER.match(phrase)
    if lead:
        told = lead[1].replace(" ", "").replace(",", ".")
        scale = 1 / float(told[2:]) if told.startswith("1/") else float(told)
        phrase = phrase[lead.end() :]
    else:
        for pattern, factor in _TIMES:
            found = re.match(rf"\s*(?:{pattern})\s*(?:of\s+)?(?:an?\s+)?-?", phrase)
            if found and not re.match(r"milli-?(?:volt|amp|watt|sec|bar|hertz)", phrase):
                scale, phrase = factor, phrase[found.end() :]
                break
        else:
            found = re.search(r"(tenth|hundredth|thousandth)s?$", phrase)
            if found and found.start():
                scale = {"tenth": 0.1, "hundredth": 0.01, "thousandth": 0.001}[found[1]]
                phrase = phrase[: found.start()].strip()
    phrase = re.sub(r"^(?:degrees?|deg\.?)\s+0?\.1\s+", lambda m: "degrees ", phrase.strip())
    phrase = re.sub(r"^(?:ac|dc|true|real|active)\s+", "", phrase.strip(" *()"))
    if phrase in {"degrees", "degree", "decidegrees", "deg"} or phrase.startswith("degree"):
        if phrase.startswith("decideg"):
            scale = 0.1
        fahrenheit = re.search(r"fahr|\bf\b", phrase)
        return ("degF" if fahrenheit else "Cel"), scale
    match = _UNIT_ONLY.match(phrase)
    if match is None:
        return None
    unit = next(u for n, (_, u) in enumerate(_UNIT_WORDS) if match.group(f"u{n}"))
    rest = phrase[match.end() :]
    times = _AFTER.search(rest)
    if times and not lead:
        scale = 1 / float(times[1])
    if unit == "mHz":
        unit, scale = "Hz", scale * 1e-3
    return unit, scale


def told_scale(text: str) -> tuple[float | None, str | None]:
    """Return the scale and the unit that a description tells, each None where it tells none."""
    said = " ".join(text.split())
    if (example := _EXAMPLE.search(said)) and float(example[1]):
        ratio = float(example[2].replace(",", ".")) / float(example[1])
        rest = unit_and_scale(example[3])
        scale = next((s for s in (1.0, 0.1, 0.01, 0.001) if abs(ratio / s - 1) < 0.02), None)
        if rest and scale:
            return (scale if scale != 1.0 else None), rest[0]
    found = _TENTHS_OF.search(said)
    if found:
        word = found[1].lower().rstrip("s")
        scale = 0.1 if word.startswith("tenth") else 0.001 if word.startswith("thou") else 0.01
        rest = unit_and_scale(said[found.end() : found.end() + 30])
        return scale, rest[0] if rest else None
    for found in _STEPS.finditer(said):
        number = found[1].replace(",", ".")
        factor = 1 / float(number[2:]) if number.startswith("1/") else float(number)
        if factor in {0.1, 0.01, 0.001} or (
            factor in {10, 100} and said[found.end() :][:2].lower() in {"mv", "ma", "w ", "va"}
        ):
            rest = unit_and_scale(said[found.end() : found.end() + 25])
            if rest:
                return factor * rest[1], rest[0]
    if found := _DECIMALS.search(said):
        return 10.0 ** -_COUNTED[found[1].lower()], None
    times = _AFTER.search(said) or _DIVIDED.search(said)
    behind = 1 / float(times[1]) if times else None
    for found in re.finditer(
        r"(?:\bin|units?(?: is| are| of|:)?|measured in|stored as|expressed (?:in|as)|\(|\[)\s*(?:units of\s*)?",
        said,
        re.I,
    ):
        rest = unit_and_scale(said[found.end() : found.end() + 30])
        if rest:
            word = said[found.end() : found.end() + 3].strip(" .),").lower()
            if len(rest[0]) == 1 and word not in {
                rest[0].lower(),
                f"{rest[0].lower()}.",
                "vol",
                "vdc",
                "vac",
                "amp",
                "wat",
                "sec",
                "min",
                "deg",
                "cel",
            }:
                continue
            return (behind or (rest[1] if rest[1] != 1.0 else None)), rest[0]
    return behind, None


_STATE_PAIR = re.compile(
    r"(?:(?<=[\s(,.;:'\"[{])|^)'?(-?\d{1,3})'?\s*(?:=|:|-|–|\)|indicates?|means|is|are)\s*(?:that\s+)?(?:the\s+)?[\"']?"
    r"([A-Za-z][\w /+-]{0,40}?)[\"']?(?=\s*(?:[,.;)\n\]]|\s-?\d{1,3}\s*(?:=|:|-|\))|\bor\b|\band\b|$))"
)
_STATE_CALL = re.compile(r"([A-Za-z][\w /-]{0,40}?)\s*\(\s*(\d{1,3})\s*\)")


def told_states(text: str) -> dict[int, str]:
    """Return the states that a description lists, as in ``1=on, 2=off`` or ``on(1), off(2)``."""
    found = {int(n): " ".join(label.split()) for label, n in _STATE_CALL.findall(text)}
    if len(found) < 2:
        found = {int(n): " ".join(label.split()) for n, label in _STATE_PAIR.findall(text)}
    return found if len(found) >= 2 else {}


def sentinels(text: str) -> list[int]:
    """Return the numbers that a description calls "not available"."""
    found = []
    for sentence in re.split(r"(?<=[a-z)])[.;]\s", text):
        if _NO_VALUE.search(sentence):
            for number in _SENTINEL.findall(sentence):
                value = int(number, 0)
                if value not in found:
                    found.append(value)
    return found


_THRESHOLD = re.compile(
    r"\b(threshold|thresholds|thresh|limit|limits|hysteresis|hyst|deadband|calibration|offset|config|cfg|conf|nominal|"
    r"default|rated|rating|ratings|alarmset|trip|warn|warning|critical|crit|upper|lower|max|maximum|min|minimum|low|high|"
    r"highest|lowest|setting|settings|set|delay|interval|timeout|sensitivity|derating|tolerance|resolution|accuracy|span|"
    r"record|logged|log|history|average|avg|peak|reset|test|transfer|cutoff|scale|scaling|gain|correction|ucl|uwl|lcl|lwl|"
    r"override|select|rec delta|nom|before alarm)\b"
)
_LOOK = re.compile(r"\b(highest|lowest|average|avg)\b ?")
"""Words of a threshold's name that a measurement's may have too."""
_SETPOINT = re.compile(r"\b(setpoint|set point|setpt|sp|target|desired|requested|command)\b")
_IDENTITY = re.compile(
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
    said = obj.description.lower()
    first = re.split(r"(?<=[a-z])\.(?:\s|$)", said)[0]
    labels = obj.syntax.enumeration
    only_sentinels = bool(labels) and all(_NO_VALUE.search(_spaced(label)) for label in labels.values())
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
        and _has(
            "demand|output|position|opening|speed|utili[sz]ation|load|charge|capacity|life|level|torque|soc",
            own,
        )
        and ("percent" in first or re.search(r"%", first))
    ):
        unit = "%"
        result.reasons.append("DESCRIPTION says percent")
    point = _point(own, first, around.lower(), unit, kind)
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
            if _IDENTITY.search(own) or _THRESHOLD.search(own):
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
    _plausible(result, own, around.lower(), values)
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
    return "LeakDetect" if re.search(r"\b(leak|water|wld)\b", own) else "Status"


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


def _has(pattern: str, *texts: str) -> bool:
    return any(re.search(rf"\b(?:{pattern})\b", t) for t in texts)


def _place(own: str, around: str, kind: str) -> str:
    """Return input, bypass, battery or output, where the names say so."""
    for text in (own, around):
        for place, pattern in (
            ("bypass", "bypass|byp"), ("battery", "battery|batteries|batt|bat|cell|string"),
            ("input", "input|in|mains|utility|line in|source|ac in|grid|rectifier input"),
            ("output", "output|out|load|outlet|inverter"),
        ):  # fmt: skip
            if _has(pattern, text):
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


def _point(own: str, said: str, around: str, unit: str, kind: str) -> tuple[str, str] | None:
    """Return (point type, usual unit) of a number, or None where it is no quantity."""
    canonical = UNITS[unit].canonical if unit in UNITS else ""
    if _counted(own, said):
        return None if _NOT_COUNTED.search(own) else ("Count", "count")
    place = _place(own, around, kind)
    ups = kind in {"UPS", "ATS"}
    if _IDENTITY.search(own) and not canonical:
        return None

    def by(input_: str, bypass: str, battery: str, output: str) -> str:
        if place == "battery" and (ups or _has("battery|batt|bat", own, around)):
            return battery
        if not ups:
            return output
        return {"input": input_, "bypass": bypass}.get(place, output)

    phase = _has("phase|line|l ?[123]|[abc]|[rst]", own) or _has("phase|line", around)
    if _has("power factor|pf|powerfactor|cos ?phi|cosphi", own) and canonical in {"", "1", "Cel"}:
        return "PowerFactor", "1"
    if _has("crest factor|crest", own):
        return "CrestFactor", "1"
    if canonical == "VAh":
        return "ApparentEnergy", unit
    if canonical == "Ah":
        return "GenericPoint", unit
    if canonical == "J" or _has("energy|kwh|wh|watthour|watt hours?", own):
        return ("Energy", "kWh") if not _has("apparent|reactive|var|va", own) else ("GenericPoint", "kWh")
    if canonical == "var" or _has("reactive|kvar|var", own):
        return "ReactivePower", "var"
    if canonical == "VA" or (_has("apparent|va|kva|volt ?amps?", own) and canonical in {"", "VA", "W"}):
        return "ApparentPower", "VA"
    if _has("dew ?point|dewpoint", own) or _has("dew", own):
        return "DewPoint", "Cel"
    if _has("superheat", own):
        return "SuperheatTemperature", "K"
    if _has("humidity|humid|hum|rh|hygro|hygrometer", own) and not _has("temp|temperature", own):
        return "AirRelativeHumidity", "%"
    if canonical == "Cel" or (
        _has("temp|temperature|tempr|temps|temperatures|thermal|thermometer|degree|celsius", own)
        and canonical in {"", "K"}
    ):
        if place == "battery" and _has("battery|batt|bat", own, around):
            return "BatteryTemperature", "Cel"
        if _LIQUID.search(f"{own} {around} {said}"):
            return "LiquidTemperature", "Cel"
        if _has("refrigerant|suction|discharge|condens\\w+|evaporat\\w+|saturation", own):
            return "RefrigerantTemperature", "Cel"
        if _has(
            "rectifier|inverter|heatsink|transformer|module|internal|cpu|igbt|pcb|board|charger",
            f"{own} {around}",
        ):
            return "Temperature", "Cel"
        if _AIR.search(f"{own} {around} {said}") or kind in {"Sensor", "CRAC", "CRAH", "AHU"}:
            return "AirTemperature", "Cel"
        return "Temperature", "Cel"
    if canonical == "Hz" or (_has("frequency|freq|hz", own) and not canonical):
        return by("InputFrequency", "BypassFrequency", "Frequency", "Frequency"), "Hz"
    if canonical == "W" or (
        _has("consumption|watts?|power|wattage|real power|active power|kw", own) and canonical in {""}
        and not _has("supply|supplies|on|off|up|status|state|count|cycles?|good|fail\\w*|source|capacity|percent\\w*|load percent|meter", own)
    ):  # fmt: skip
        if _has("cooling|cool|heat|capacity output|sensible", own) and kind in {
            "CRAC",
            "CRAH",
            "AHU",
            "Chiller",
            "CDU",
        }:
            return "CoolingPower", unit or "W"
        if _has("peak|max|maximum", own):
            return "PeakPower", unit or "W"
        base = "PhasePower" if phase and not _has("total", own) else "ActivePower"
        return by("InputPower", "BypassPower", "ActivePower", base), unit or "W"
    if canonical == "V" or (_has("voltage|volts?|volt|vac|vdc|vrms|voltages", own) and not canonical):
        return by(
            "InputVoltage", "BypassVoltage", "BatteryVoltage", "PhaseVoltage" if phase else "Voltage"
        ), "V"
    if canonical == "A" or (_has("current|amps?|amperes?|amperage|currents", own) and not canonical
                            and not _has("status|state|mode|version|time|user|alarm|alarms|setting|index|count|fault|fail\\w*", own)):  # fmt: skip
        if _has("residual|leakage|rcm|ground fault", own):
            return "ResidualCurrent", "A"
        if _has("neutral", own):
            return "NeutralCurrent", "A"
        if _has("peak", own):
            return "PeakCurrent", "A"
        return by(
            "InputCurrent", "BypassCurrent", "BatteryCurrent", "PhaseCurrent" if phase else "Current"
        ), "A"
    if (
        canonical == "s"
        or _has("up ?time", own)
        or _has(
            "runtime|run time|autonomy|time remaining|remaining time|minutes remaining|time left|backup time|estimated minutes",
            own,
        )
    ):
        if _has("on battery|seconds on battery|time on battery|elapsed", own):
            return "TimeOnBattery", unit or "s"
        if _has("battery run ?time|ups run ?time", own):
            return "BatteryRuntime", unit or "min"
        if _has("remaining|remain|autonomy|left|backup time|estimated|runtime", own) and _has(
            "battery|batt|bat|ups|runtime|minutes|autonomy|backup|remaining|remain", f"{own} {around}"
        ):
            return "BatteryRuntime", unit or "min"
        if _has("runtime|run time|running|operating|operation|run|hours|uptime|up time", own):
            return "RunTime", unit or "h"
        return None
    if canonical == "rpm" or (
        _has("fan|blower", own)
        and _has("rpm|speed", own)
        and not _has("percent\\w*|pct", own)
        and canonical == ""
    ):
        return ("PumpRotation" if _has("pump", own) else "FanRotation"), "rpm"
    if canonical == "1" or _has(
        "percent|percentage|load|charge|capacity|utili[sz]ation|position|opening|speed|soc|soh", own
    ):
        if (
            _has("load|utili[sz]ation|percent load|usage|loadpercent", own)
            and not _has("loads|load status|shed", own)
            and canonical in {"", "1"}
        ):
            return "Load", "%"
        if _has("charge|soc|remaining|capacity|level", own) and place == "battery":
            return "BatteryCharge", "%"
        if _has("valve", own):
            return "ValvePosition", "%"
        if _has("damper", own):
            return "DamperPosition", "%"
        if _has("fan|blower", own):
            return "FanSpeed", "%"
        if _has("pump", own):
            return "PumpSpeed", "%"
        if _has("compressor|comp", own):
            return "CompressorSpeed", "%"
        if _has("cool\\w*|demand|capacity", own) and kind in {"CRAC", "CRAH", "AHU", "Chiller", "CDU"}:
            return "CoolingDemand", "%"
        if canonical == "1":
            return "GenericPoint", unit
        return None
    if canonical == "L/min" or _has("flow|airflow|waterflow", own):
        if _has("air|airflow", own) or unit in {"CFM"}:
            return "AirFlow", unit or "CFM"
        return "LiquidFlow", unit or "L/min"
    if canonical == "m/s" or _has("air velocity|airspeed|air speed", own):
        return "AirVelocity", "m/s"
    if canonical == "Pa" or _has("pressure", own):
        if _has("suction|discharge|refrigerant|condens\\w+|evaporat\\w+|head", own):
            return "RefrigerantPressure", unit or "bar"
        if _LIQUID.search(f"{own} {around}") or kind in {"CDU", "Chiller"}:
            return (
                "LiquidDifferentialPressure" if _has("diff\\w*|delta", own) else "LiquidPressure"
            ), unit or "bar"
        return ("AirDifferentialPressure" if _has("diff\\w*|delta", own) else "AirPressure"), unit or "Pa"
    if _has("pulses?|counter|count|cycles|times|events|number of|modules|alarms present", own) and not _has(
        "config|max|min", own
    ):
        return "Count", "count"
    if unit in UNITS:
        return "GenericPoint", unit
    return None


BANDS: dict[str, tuple[tuple[float, float], ...]] = {
    "Hz": ((44.0, 66.0), (390.0, 410.0)),
    "ac": ((85.0, 150.0), (180.0, 300.0), (330.0, 520.0)),
    "dc": ((10.0, 70.0), (100.0, 500.0)),
    "Cel": ((-30.0, 75.0),),
    "humidity": ((1.0, 100.0),),
    "%": ((0.0, 110.0),),
    "pf": ((-1.0, 1.0),),
}
"""What the usual values of a quantity lie in, in its unit."""
_STEPS_TRIED = (1.0, 0.1, 0.01, 0.001)


def band(point: str, unit: str, dc: bool = False) -> tuple[tuple[float, float], ...]:
    """Return where plausible values of a point in that unit lie, or nothing."""
    if point.endswith("Frequency"):
        return BANDS["Hz"]
    if point in {"Voltage", "PhaseVoltage", "LineVoltage", "InputVoltage", "BypassVoltage"} and unit == "V":
        return BANDS["dc"] if dc else BANDS["ac"]
    if point == "BatteryVoltage" and unit == "V":
        return ((1.0, 900.0),)
    if (point.endswith("Temperature") and unit == "Cel") or point == "DewPoint":
        return BANDS["Cel"]
    if point == "AirRelativeHumidity":
        return BANDS["humidity"]
    if point == "PowerFactor":
        return BANDS["pf"]
    if unit == "%":
        return BANDS["%"]
    return ()


def plausible_scale(point: str, unit: str, values: Sequence[float], told: float = 1.0) -> float:
    """Return the first of 1, 0.1, 0.01 and 0.001 at which all values are plausible, or `told`."""
    real = [v for v in values if v]
    bands = band(point, unit)
    if not real or not bands:
        return told
    return next(
        (s for s in (told, *_STEPS_TRIED) if all(any(lo <= v * s <= hi for lo, hi in bands) for v in real)),
        told,
    )


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


def _plausible(result: Guess, own: str, around: str, values: Sequence[float]) -> None:
    real = [
        v
        for v in values
        if v and v not in result.none and v not in {65535, 2147483647, -2147483648, 32767, -32768}
    ]
    bands = band(result.point, result.unit, dc=_has("dc|bus|rectifier|48", f"{own} {around}"))
    if not real or not bands or result.setpoint:
        if not result.sure:
            result.reasons.append("scale 1: no text tells it, no value to judge by")
        return

    def fits(scale: float) -> bool:
        return all(any(low <= v * scale <= high for low, high in bands) for v in real)

    if fits(result.scale):
        if not result.sure:
            result.reasons.append("scale: plausible on the values seen")
        return
    better = [s for s in _STEPS_TRIED if fits(s)]
    if better:
        result.reasons.append(
            f"scale {better[0]:g} instead of {result.scale:g}: {real[0]:g} is else no plausible {result.unit}"
        )
        result.scale, result.sure = better[0], False
    else:
        result.reasons.append(f"doubtful: {real[0]:g} fits no scale")
