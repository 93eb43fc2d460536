"""What vendors write in words: units, scales, states and the numbers that mean "no reading"."""

from __future__ import annotations

import re

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
    (
        r"degree?s?s?[- ]?(?:of )?(?:fahrenheit|f)\b|fahrenheit|farenheit|fahrenheight|farenheight|°f|degf|f",
        "degF",
    ),
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
NO_VALUE = re.compile(
    r"not? (?:available|supported|applicable|installed|present|connected|measured|known)|unavailable|unknown|invalid|"
    r"unsupported|n/a\b|no (?:reading|sensor|value|data)|missing|not exist|doesn't|error|absent|lost",
    re.I,
)


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
            # "in a table" is no ampere: a unit of one letter stands alone.
            word = said[found.end() : found.end() + 3].strip(" .),").lower()
            spelled = re.match(r"[A-Za-z]*", said[found.end() :])
            if len(rest[0]) == 1 and word != rest[0].lower() and spelled and len(spelled[0]) < 2:
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
        if NO_VALUE.search(sentence):
            for number in _SENTINEL.findall(sentence):
                value = int(number, 0)
                if value not in found:
                    found.append(value)
    return found
