"""What the vendors' MIBs say of the objects that profiles name: place, quantity, unit, scale, states.

The quantity is read here by rules of its own, short and strict, not by those that draft profiles: two readers that share
their words would share their mistakes. Where a MIB says nothing that these rules understand, they say nothing.
"""

import re
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from collectors.snmp.drafting.mib import MibObject, Mibs
from domain.errors import InputError

NO_DEVICES = {"fs", "tplink"}
"""Folders of switch vendors: nothing there measures the plant."""
ONE_OID_MANY_MEANINGS = {"carel", "janitza"}
"""Folders whose files give the same OIDs to different objects: each file is a device of its own."""


class Library:
    """Every object of every MIB at hand."""

    def __init__(self, root: Path) -> None:
        standard = [p for p in root.iterdir() if p.is_file() and p.suffix != ".md"]
        self.mibs: dict[str, Mibs] = {}
        self._at: dict[str, list[MibObject]] = {}
        self._under: dict[str, list[MibObject]] = {}
        self._rows: dict[str, list[MibObject]] = {}
        for folder in sorted(p for p in root.iterdir() if p.is_dir() and p.name not in NO_DEVICES):
            apart = folder.name in ONE_OID_MANY_MEANINGS
            for path in sorted(folder.iterdir()) if apart else [folder]:
                try:
                    self.mibs[path.name] = Mibs([path], [*standard, folder])
                except InputError:
                    continue
        for name in ("UPS-MIB", "ENTITY-SENSOR-MIB", "IF-MIB"):
            self.mibs[name] = Mibs([root / name], standard)
        for read in self.mibs.values():
            for obj in read.objects.values():
                self._at.setdefault(obj.oid, []).append(obj)
                self._under.setdefault(obj.parent, []).append(obj)
                if obj.name not in {o.name for o in self._rows.get(obj.name, ())}:
                    self._rows.setdefault(obj.name, []).append(obj)

    def at(self, oid: str) -> list[MibObject]:
        """Return what the MIBs have at an OID."""
        return self._at.get(oid, [])

    def under(self, oid: str) -> list[MibObject]:
        """Return the objects one arc below an OID."""
        return self._under.get(oid, [])

    def named(self, name: str) -> list[MibObject]:
        """Return the objects of a name."""
        return self._rows.get(name, [])


@cache
def library(root: Path) -> Library:
    """Return the MIBs of a folder, read once."""
    return Library(root)


def words(name: str) -> list[str]:
    """Return the words of a camel-cased name, in lower case."""
    return [w.lower() for w in re.findall(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|\d+", name)]


@dataclass(frozen=True)
class Told:
    """A dimension (canonical unit) and, where a text tells it, the factor from the raw number to that unit."""

    unit: str
    factor: float | None
    why: str


_UNIT = (
    (r"kwh|kilowatt[- ]?hours?|kw-?hours?", "J", 3.6e6),
    (r"mwh|megawatt[- ]?hours?", "J", 3.6e9),
    (r"wh|watt[- ]?hours?", "J", 3600.0),
    (r"kvah", "VAh", 1e3),
    (r"vah", "VAh", 1.0),
    (r"kvars?|kilovolt-amps? reactive", "var", 1e3),
    (r"vars?|volt-?amp(?:ere)?s?[- ]reactive", "var", 1.0),
    (r"kva|kilovolt[- ]?amp(?:ere)?s?", "VA", 1e3),
    (r"va|volt-?amp(?:ere)?s?", "VA", 1.0),
    (r"amp(?:ere)?[- ]?hours?|ah", "Ah", 1.0),
    (r"kw|kilowatts?", "W", 1e3),
    (r"mw|milliwatts?", "W", 1e-3),
    (r"w|watts?", "W", 1.0),
    (r"mv|millivolts?|milli-volts?", "V", 1e-3),
    (r"kv|kilovolts?", "V", 1e3),
    (r"v|volts?|vdc|vac|v rms|rms volts?", "V", 1.0),
    (r"ma|milliamp(?:ere)?s?|milli-amp(?:ere)?s?", "A", 1e-3),
    (r"a|amp(?:ere)?s?|rms amp(?:ere)?s?", "A", 1.0),
    (r"hz|hertz", "Hz", 1.0),
    (r"(?:degrees? )?(?:of )?(?:celsius|centigrade)|degrees? c|deg\.? ?c|°c", "Cel", 1.0),
    (r"(?:degrees? )?(?:of )?fahrenheit|degrees? f|deg\.? ?f|°f", "degF", 5 / 9),
    (r"%|percent(?:age)?", "1", 0.01),
    (r"rpm", "rpm", 1.0),
    (r"minutes?", "s", 60.0),
    (r"seconds?", "s", 1.0),
    (r"hours?", "s", 3600.0),
    (r"days?", "s", 86400.0),
    (r"kpa", "Pa", 1e3),
    (r"pascals?|pa", "Pa", 1.0),
    (r"psi", "Pa", 6894.757293168),
    (r"bar", "Pa", 1e5),
    (r"liters? per minute|litres? per minute|l/min", "L/min", 1.0),
    (r"gallons? per minute|gpm", "L/min", 3.785411784),
    (r"cfm|cubic feet per minute", "L/min", 28.316846592),
)
_SHARE = (
    (r"tenths?(?: of)?|0?[.,]1(?!\d)|1/10(?!\d)|deci-?|one tenth of|[*]?\.1(?!\d)", 0.1),
    (r"hundredths?(?: of)?|hundreths? of|0?[.,]01(?!\d)|1/100(?!\d)|centi-?(?!g)|[*]?\.01(?!\d)", 0.01),
    (r"thousandths?(?: of)?|0?[.,]001|1/1000|milli-?|[*]?\.001", 0.001),
    (r"1", 1.0),
    (r"10", 10.0),
    (r"100", 100.0),
)
_UNITS_CLAUSE = [(re.compile(rf"(?:{u})", re.I), unit, f) for u, unit, f in _UNIT]


def of_syntax(obj: MibObject) -> Told | None:
    """Return what UNITS and DISPLAY-HINT say together: an A with hint d-2 is told in hundredths."""
    told = of_clause(obj.units) if obj.units else None
    hint = re.fullmatch(r"d-(\d)", obj.syntax.hint)
    if told is None or hint is None or told.factor not in {u[2] for u in _UNIT}:
        return told
    return Told(told.unit, told.factor * 10.0 ** -int(hint[1]), f"{told.why}, DISPLAY-HINT {obj.syntax.hint}")


def of_clause(text: str) -> Told | None:
    """Return what a UNITS clause says: a share and a unit, nothing else beside them."""
    said = (
        " ".join(re.sub(r"\(?rms\)?|-ac-|-dc\b|\bac |\bdc ", " ", text.lower()).split())
        .strip(" *-")
        .rstrip(".")
    )
    for share, factor in ((None, 1.0), *_SHARE):
        rest = said
        if share is not None:
            found = re.match(rf"(?:{share})\s*(?:an?\s+)?[*x]?\s*(?=[a-z%°])", said)
            if not found:
                continue
            rest = said[found.end() :]
        for pattern, unit, size in _UNITS_CLAUSE:
            if pattern.fullmatch(rest.strip()) and not (share == r"10" and rest in {"s"}):
                return Told(unit, factor * size, f"UNITS {text!r}")
    return None


_ALL_UNITS = "|".join(f"(?:{u})" for u, _, _ in _UNIT)
_IN_TENTHS = re.compile(
    rf"\b(tenths?|hundredths?|hundreths?|thousandths?) (?:of )?(?:an? |the )?(?:rms )?({_ALL_UNITS})(?![a-z])",
    re.I,
)
_IN_STEPS = re.compile(
    rf"(?<![\d.,])(0?\.1|0?\.01|0?\.001|1/10|1/100|1/1000)\s?({_ALL_UNITS})(?![a-z/])", re.I
)
_IN_UNIT = re.compile(
    rf"\b(?:in|measured in|expressed in|unit is|units are|unit:|units:|units? ?=|[(\[])\s?({_ALL_UNITS})(?![a-z/])",
    re.I,
)
_TIMES = re.compile(r"(?:\bx|\*|×|multiplied by|times|divide[sd]? by|factor of|/)\s*(10+)\b", re.I)


def of_description(text: str) -> Told | None:
    """Return what a description says of the unit of its number, in the few forms that leave no doubt."""
    said = " ".join(text.split())
    found = _IN_TENTHS.search(said) or _IN_STEPS.search(said)
    if found:
        share = found[1].lower()
        factor = (
            0.1
            if share.startswith("tenth") or share in {"0.1", ".1", "1/10"}
            else 0.001
            if share.startswith("thou") or share in {"0.001", ".001", "1/1000"}
            else 0.01
        )
        unit = _unit(found[2])
        return Told(unit[0], unit[1] * factor, found[0]) if unit else None
    found = _IN_UNIT.search(said)
    if found and (unit := _unit(found[1])):
        return Told(unit[0], None if _TIMES.search(said) else unit[1], found[0])
    return None


_SCALED = re.compile(
    r"(?:[*x×]\s?|multiplied by |times |divided? by |factor of |scaled by )(?:10+|1,000)\b|\b(?:10+|1,000) times|"
    r"\b(?:tenths?|hundredths?|thousandths?|in milli)\b|\b(?:stored as|in unit) 0?[.,]0*1|(?<![\d.])0?\.0*1\b",
    re.I,
)


def scaled(obj: MibObject) -> str:
    """Return the words by which an object's texts tell that its number is scaled, or nothing."""
    found = _SCALED.search(f"{obj.units} {obj.description} {obj.syntax.described}")
    return found[0] if found else ""


def _unit(text: str) -> tuple[str, float] | None:
    if len(text) == 1 and text not in "AVW%":
        return None  # "in a", "0.1 s"
    return next(((unit, f) for pattern, unit, f in _UNITS_CLAUSE if pattern.fullmatch(text.lower())), None)


_NAMED: tuple[tuple[str, str, str], ...] = (
    # what the name must hold, what it must not, the dimensions that it can have
    (r"power factor|pf|cos phi|cosphi", r"", "1"),
    (r"crest factor", r"", "1"),
    (r"apparent energy", r"", "VAh"),
    (r"energy|kwh|watt hours?|wh", r"apparent|reactive|varh|cost|efficiency|saving", "J"),
    (r"apparent power|kva|va", r"energy|factor", "VA"),
    (r"reactive power|kvar|var", r"energy", "var"),
    (r"(?:active|real|true) power|watts?|kw", r"hours?|energy|factor|va", "W"),
    (r"voltage|volts?", r"current|amps?|power|unbalance|imbalance|thd|distortion|count|frequency|ratio|percent|temp\w*|energy|hours?|angle|deviation", "V"),
    (r"amps?|amperes?|(?<!^)current$|current (?:l|phase|line) ?\d?|(?:phase|line|output|input|load|battery|inlet|outlet|total|neutral|bank|infeed|rms) current", r"voltage|volts?|hours?|unbalance|thd|distortion|state|status|percent|temp\w*|va|watts?|power|source|mode|user|alarms?|crest|hour", "A"),
    (r"frequency|freq", r"voltage|count|range|sound|status", "Hz"),
    (r"temperatures?|temp", r"humid\w*|hum|fan|status|compensation|count|alarms?|diff\w*|delta|coefficient", "Cel degF"),
    (r"humidity|humid|hum", r"temp\w*", "1 g/m3"),
    (r"dew ?point", r"", "Cel degF"),
    (r"minutes? remaining|runtime remaining|run time remaining", r"", "s"),
    (r"percent load|load percent|percent charge|charge remaining|percentage", r"", "1"),
    (r"rpm", r"", "rpm"),
)  # fmt: skip


_COUNTED = re.compile(
    r"\b(number|num|count|counts|sensors|nos|timer|time|since|period|cycle|ratio|percent\w*|utili[sz]ed|utili[sz]ation|thd|used|"
    r"hours|rated|unbalance|capacity|hrs)\b"
)


def of_name(obj: MibObject) -> Told | None:
    """Return the dimensions that an object's name leaves it, joined by spaces."""
    own = " ".join(words(obj.name))
    if _COUNTED.search(own):
        return None
    for must, never, unit in _NAMED:
        found = re.search(rf"\b(?:{must})\b", own)
        if found and not (never and re.search(rf"\b(?:{never})\b", own)):
            return Told(unit, None, f"its name says {found[0]}")
    return None


_NO_QUANTITY = frozenset(
    [
        "avail",
        "available",
        "uuid",
        "name",
        "descr",
        "description",
        "label",
        "index",
        "serial",
        "model",
        "version",
        "type",
        "date",
        "timestamp",
        "since",
        "status",
        "mode",
        "enable",
        "enabled",
        "config",
        "delay",
        "period",
        "oid",
        "address",
        "pollingrate",
        "ctrl",
        "thrshld",
        "location",
        "text",
        "string",
        "flag",
        "alarm",
        "alert",
        "trap",
    ]
)
"""Last words of names of objects that hold no quantity, whatever quantity is named before."""


def no_quantity(obj: MibObject) -> str:
    """Return why an object holds no quantity, or nothing."""
    own = words(obj.name)
    labels = {n: text for n, text in obj.syntax.enumeration.items() if not _ABSENT.search(text)}
    if len(labels) > 1:
        return f"it is an enumeration: {labels}"
    if own and own[-1] in _NO_QUANTITY and not obj.units and of_description(obj.description) is None:
        return f"its name ends with {own[-1]!r}"
    return ""


_ABSENT = re.compile(r"not|unknown|invalid|absent|lost|unavailable|undefined|error|fail", re.I)
_EITHER = re.compile(
    r"celsius.{0,40}(?:or|/).{0,20}fahrenheit|fahrenheit.{0,40}(?:or|/).{0,20}celsius|units? (?:are|is) given by|"
    r"\bC or F\b|\bF or C\b|\bC/F\b|in the units? shown",
    re.I,
)


def switched(obj: MibObject) -> bool:
    """Return whether another object says in which unit this one is told."""
    return bool(_EITHER.search(f"{obj.description} {obj.units}"))


_LETTERS = {"a": "1", "b": "2", "c": "3", "r": "1", "s": "2", "t": "3", "1": "1", "2": "2", "3": "3"}
_PHASE = (
    re.compile(r"[Pp]hase[ -]?([ABC123])(?![a-z0-9])(?!.*[ABC123]$)|[Pp]hase[ -]?([ABC123])$"),
    re.compile(r"(?:^|[a-z])L([123])(?![\dL])|(?:^|[A-Za-z])I([abc])$|[a-z]V([abc])n$"),
)
_PHASE_SAID = re.compile(r"\b[Pp]hase ([ABCRST123])\b(?!\s*(?:to|and|-|/|,|or))|\(Phase ([ABC])\)")


def phase(obj: MibObject) -> str:
    """Return the phase (1, 2, 3) that an object's name or description tells; nothing where it tells none or two."""
    for pattern in _PHASE:
        if found := pattern.search(obj.name):
            return _LETTERS[next(g for g in found.groups() if g).lower()]
    found = _PHASE_SAID.findall(obj.description)
    told = {_LETTERS[next(g for g in groups if g).lower()] for groups in found}
    return told.pop() if len(told) == 1 else ""


def alike(ours: str, theirs: str) -> bool:
    """Return whether two labels of a state share a word, by its first letters."""
    a, b = ({w[:4] for w in re.findall(r"[a-z]+|\d+", _spaced(t).lower())} for t in (ours, theirs))
    squeezed = ["".join(re.findall(r"[a-z0-9]+", t.lower())) for t in (ours, theirs)]
    return bool(a & b) or squeezed[0] in squeezed[1] or squeezed[1] in squeezed[0]


def _spaced(label: str) -> str:
    return re.sub(r"(?<=[a-z])(?=[A-Z0-9])", " ", label)
