"""Tables whose rows tell their own kind, unit or scale, in a column, in the index, or in a table of the same index."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from collectors.snmp.drafting.drafted import Block, Line
from collectors.snmp.drafting.guesses import Guess, plausible_scale
from collectors.snmp.drafting.mib import MibObject, Mibs, Syntax
from collectors.snmp.drafting.phrases import unit_and_scale, words_of
from collectors.snmp.drafting.quantities import guess
from collectors.snmp.drafting.tables import common_words
from collectors.snmp.walk import Walk, number, text
from domain.units import UNITS

_VALUE = re.compile(r"\b(value|reading|val|measurement|measured|data|analog|current value|actual)\b")
_NO_VALUE = re.compile(
    r"\b(max|min|maximum|minimum|high|low|threshold|thresh|limit|type|units?|time|timestamp|raw|average|avg|scale|"
    r"factor|digits|decimals?|valid|count|reset|peak|resolution|range|accuracy|tolerance|hysteresis|date|status)\b"
)
_KIND = re.compile(r"\b(type|kind|class|category|quantity)\b")
_UNIT = re.compile(r"\b(units?|uom)\b")
_SCALE = re.compile(r"\b(decimals?|digits|precision|exponent|exp|divisor|scale|scaling|multiplier)\b")
_PRESENT = re.compile(r"\b(available|avail|present|valid|installed|connected)\b")
_STATE_TEXT = re.compile(r"(?:[\w /-]+\(-?\d+\)(?:\s*[,;]\s*|$)){2,}")
_DISCRETE = re.compile(
    r"\b(on ?off|switch|water|leak|leakage|flood|rope|smoke|fire|motion|vibration|tamper|tampering|door|lock|handle|contact|"
    r"dry|dry ?contact|binary|digital|discrete|relay|detection|detector|trip|glass|siren|beacon|pir|alarm|state|presence)\b"
)
_THRESHOLD_ROLE = re.compile(
    r"\b(set|hysteresis|threshold|limit|offset|config|conf|delay|alarm|unit|description|steps|category|logic|type|"
    r"assembly|position|pin|sequence|timeout|sensitivity|text|string|name|dur|wiring|action)\b"
)
_WORDS = {"temp": "temperature", "humi": "humidity", "volt": "voltage", "amp": "current", "amps": "current"}


@dataclass(slots=True)
class Teller:
    """What tells something of each row: a part of the index, or a column of the table or of one with the same index.

    Attributes
    ----------
    name
        What rules and templates of the profile call it.
    obj
        The object of the MIB.
    lookup
        How the profile looks it up; None for a part of the index.
    values
        What was seen, by the row's index.
    """

    name: str
    obj: MibObject
    lookup: dict[str, object] | None
    values: Mapping[str, str]

    def heard(self, walk: Walk | None) -> bool:
        """Whether it answers, as far as anything was asked."""
        return walk is None or self.lookup is None or bool(self.values)


class Rows:
    """What the rows of one table tell of themselves.

    Parameters
    ----------
    block
        The table as drafted so far; gets the fields that its lines need.
    group, members
        Its row and columns.
    mibs
        Everything else that the MIB files hold.
    walk
        What was answered.
    """

    def __init__(
        self, block: Block, group: MibObject, members: Sequence[MibObject], mibs: Mibs, walk: Walk | None
    ) -> None:
        self._block, self._group, self._walk = block, group, walk
        self._own = list(members)
        self._common = common_words([words_of(o.name) for o in members])
        self._beside = [*members, *_same_index(mibs, group)]
        self.kind = self._kind_in_index(mibs)
        """The part of the index that tells what a row measures, or None."""
        self.taken: set[str] = set()
        """Names of the columns that need no line of their own."""

    def line(self) -> Line | None:
        """Return the value column of a table whose rows tell their own kind or unit, or None."""
        value = self._value_column()
        if value is None:
            return None
        kind = self.kind or self._kind_column()
        unit = self._unit_column(kind)
        states = self._states_column()
        if kind is None and unit is None and states is None:
            return None
        made: dict[str, object] = {"at": self._arc(value), "symbol": value.name, "name": self._name(kind)}
        line = Line(made, [])
        is_text = value.syntax.base == "OCTET STRING"
        scale = None if is_text else self._scale_column(value)
        if scale is not None:
            how = _how(scale.obj, value)
            if not how:
                line.leave_out(f"{scale.obj.name} tells its scale, and no text tells how")
            made["scale"] = [{"field": self._use(scale), "how": how or "factor"}]
            line.reasons.append(f"scale told by {scale.obj.name} ({how})")
        present = self._presence_column()
        if present is not None:
            made["absent_when"] = {self._use(present[0]): present[1]}
        if states is not None and kind is None and unit is None:
            made["states"] = f"{{{self._use(states)}}}"
            line.reasons.append(f"states told by {states.obj.name}")
        else:
            scaled = is_text or scale is not None
            made |= {"only_rules": True, "rules": list(self._rules(value, kind, unit, line, scaled))}
            if not made["rules"]:
                return None
        self.taken |= {o.name for o in self._own if o is not value and self._is_value(o)}
        self.taken |= {t.obj.name for t in (kind, unit, scale, states) if t is not None}
        return line

    def _arc(self, obj: MibObject) -> str:
        return obj.oid[len(self._group.oid) + 1 :]

    def _use(self, teller: Teller) -> str:
        if teller.lookup is not None:
            self._block.fields[teller.name] = teller.lookup
        return teller.name

    def _teller(self, name: str, obj: MibObject) -> Teller:
        own = obj.parent == self._group.oid
        lookup: dict[str, object] = {"at": self._arc(obj)} if own else {"oid": obj.oid}
        seen = {} if self._walk is None else {i: text(raw) for i, raw in self._walk.column(obj.oid).items()}
        return Teller(name, obj, {**lookup, "symbol": obj.name}, seen)

    def _is_value(self, obj: MibObject) -> bool:
        own = " ".join(words_of(obj.name)[self._common :])
        return (
            bool(_VALUE.search(own)) and not _NO_VALUE.search(own) and not obj.syntax.enumeration
            and obj.syntax.base in {"INTEGER", "OCTET STRING", "Opaque", ""}
        )  # fmt: skip

    def _value_column(self) -> MibObject | None:
        found = [
            o
            for o in self._own
            if self._is_value(o) and not re.search(r"\b(name|description)\b", o.name, re.I)
        ]
        if self._walk is not None:
            heard = [o for o in found if self._walk.column(o.oid)]
            numbers = [
                o for o in heard if any(number(raw) is not None for raw in self._walk.column(o.oid).values())
            ]
            found = numbers or ([] if heard else found)
        return min(
            found,
            key=lambda o: (o.syntax.base == "OCTET STRING", "signed" in o.name.lower(), len(o.name)),
            default=None,
        )

    def _kind_in_index(self, mibs: Mibs) -> Teller | None:
        for at, name in enumerate(self._group.index):
            obj = mibs.by_name(name)
            if obj is not None and len(_kinds(obj)) >= 3:
                seen = {}
                if self._walk is not None:
                    columns = (self._walk.column(o.oid) for o in self._own)
                    seen = {i: i.split(".")[at] for column in columns for i in column if i.count(".") >= at}
                self._block.index[at] = "kind"
                return Teller("kind", obj, None, seen)
        return None

    def _kind_column(self) -> Teller | None:
        best: tuple[tuple[float, ...], Teller] | None = None
        for obj in self._beside:
            own = " ".join(words_of(obj.name))
            if not (_KIND.search(own) or (obj.syntax.enumeration and _UNIT.search(own))) or _roles(obj):
                continue
            teller = self._teller("kind", obj)
            if obj.syntax.enumeration:
                known = float(len(_kinds(obj)))
            elif obj.syntax.base == "OCTET STRING" and teller.values:
                known = float(len({v for v in teller.values.values() if _by_label(v) is not None}))
            else:
                continue
            rank = (known, float(obj.parent == self._group.oid))
            if known and teller.heard(self._walk) and (best is None or rank > best[0]):
                best = rank, teller
        return best[1] if best is not None else None

    def _unit_column(self, kind: Teller | None) -> Teller | None:
        """Return what tells the unit; its words are the units themselves."""
        for obj in self._beside:
            if not _UNIT.search(" ".join(words_of(obj.name))) or (kind is not None and obj is kind.obj):
                continue
            teller = self._teller("unit_told", obj)
            spelled = (
                {str(n): label for n, label in obj.syntax.enumeration.items()}
                if obj.syntax.enumeration
                else {v: v for v in ({*teller.values.values()} or set(_UNIT_TEXTS))}
                if obj.syntax.base == "OCTET STRING"
                else {}
            )
            words = {raw: unit for raw, label in spelled.items() if (unit := _unit_of(label))}
            if obj.syntax.enumeration and (none := [n for n, s in spelled.items() if s.lower() == "none"]):
                words[none[0]] = "1"
            if len([w for w in words.values() if w != "1"]) < (1 if teller.values else 2):
                continue
            if teller.heard(self._walk) and teller.lookup is not None:
                teller.lookup["words"] = words
                return teller
        return None

    def _scale_column(self, value: MibObject) -> Teller | None:
        for obj in self._beside:
            own = " ".join(words_of(obj.name))
            if obj is value or not _SCALE.search(own) or obj.syntax.base != "INTEGER":
                continue
            teller = self._teller("scale_told", obj)
            # No number is told times nought: such a column means something else.
            if teller.heard(self._walk) and not (
                _how(obj, value) == "factor" and "0" in teller.values.values()
            ):
                return teller
        return None

    def _states_column(self) -> Teller | None:
        for obj in self._own:
            teller = self._teller("states_told", obj)
            told = [v for v in teller.values.values() if v]
            if obj.syntax.base == "OCTET STRING" and told and all(_STATE_TEXT.fullmatch(v) for v in told):
                return teller
        return None

    def _presence_column(self) -> tuple[Teller, str] | None:
        for obj in self._own:
            labels = {label.lower(): n for n, label in obj.syntax.enumeration.items()}
            if len(labels) == 2 and _PRESENT.search(" ".join(words_of(obj.name))):
                off = next((n for label, n in labels.items() if label in {"false", "no"}), None)
                if off is not None:
                    return self._teller("available", obj), str(off)
        return None

    def _name(self, kind: Teller | None) -> str:
        if "label" in self._block.fields:
            return "{label}"
        return "{kind}" if kind is not None and not kind.obj.syntax.enumeration else "Reading"

    def _rules(
        self, value: MibObject, kind: Teller | None, unit: Teller | None, line: Line, scaled: bool
    ) -> Iterator[dict[str, object]]:
        role = self._role_column()
        if role is not None:
            line.reasons.append(f"what is measured told by {role[0].obj.name}")
            yield {"when": {self._use(role[0]): role[1]}, "skip": True}
        if kind is not None:
            line.reasons.append(f"kind told by {kind.obj.name}")
            yield from self._by_kind(value, kind, unit, line, scaled)
            return
        assert unit is not None
        line.reasons.append(f"unit told by {unit.obj.name}")
        line.value["unit"] = f"{{{self._use(unit)}}}"
        label = "label" if "label" in self._block.fields else ""
        for when, point in _BY_UNIT:
            for pattern in (p for n, p in point.items() if n):
                if label:
                    yield {
                        "when": {unit.name: when, label: f"(?i).*({pattern}).*"},
                        "point": _named(point, pattern),
                    }
            yield {"when": {unit.name: when}, "point": point[""]}
        # A row without a unit is a state where nothing but 0 and 1 was ever seen in such rows.
        bare = [i for i, told in unit.values.items() if not told]
        numbers = (
            {number(self._walk.get(f"{value.oid}.{i}")) for i in bare} if self._walk is not None else set()
        )
        if role is not None or (numbers and numbers <= {0.0, 1.0, None}):
            yield {"when": {unit.name: ""}, "states": {0: "0", 1: "1"}}
        yield {"when": {unit.name: ".+"}, "point": "GenericPoint"}

    def _role_column(self) -> tuple[Teller, str] | None:
        """Return a column that tells values from limits and settings, and the pattern of what is no value."""
        for obj in self._own:
            if _KIND.search(" ".join(words_of(obj.name))) and (values := _roles(obj)):
                return self._teller("role", obj), f"(?!({'|'.join(map(str, values))})$).*"
        return None

    def _by_kind(
        self, value: MibObject, kind: Teller, unit: Teller | None, line: Line, scaled: bool
    ) -> Iterator[dict[str, object]]:
        name = self._use(kind)
        told = f"{{{self._use(unit)}}}" if unit is not None else ""
        if kind.obj.syntax.enumeration:
            known = [(str(n), label, _by_label(label)) for n, label in kind.obj.syntax.enumeration.items()]
        else:
            known = [(re.escape(v), v, _by_label(v)) for v in sorted({*kind.values.values()})]
            known += [(f"(?i).*({pattern}).*", label, _by_label(label)) for pattern, label in _GENERAL_KINDS]
        totals: set[str] = set()
        for raw, label, what in known:
            if what is None:
                continue
            spelled = " ".join(words_of(label))
            rule: dict[str, object] = {"when": {name: raw}}
            if kind.obj.syntax.enumeration and line.value["name"] == "Reading":
                rule["name"] = spelled.capitalize()
            if what.states:
                yield {**rule, "point": what.point, "states": what.states}
                continue
            point = what.point
            if point in {"ActivePower", "Energy"}:
                point = "GenericPoint" if point in totals else point
                totals.add(what.point)
            rule |= {"point": point, "unit": told or what.unit}
            seen = [
                v for i, k in kind.values.items()
                if (k == raw or re.fullmatch(raw, k)) and self._walk is not None
                and (v := number(self._walk.get(f"{value.oid}.{i}"))) is not None
            ]  # fmt: skip
            if not scaled:
                scale = plausible_scale(what.point, what.unit, seen)
                if not _scale_is_clear(what, seen):
                    line.reasons.append(f"{spelled} left out: no text tells its scale")
                    continue
                if scale != 1.0:
                    rule["scale"] = scale
                    line.reasons.append(f"scale {scale:g} of {spelled}: plausible on the values seen")
            elif not told and what.unit not in _USUAL_UNITS:
                line.reasons.append(f"{spelled} left out: no text tells its unit")
                continue
            yield rule


_USUAL_UNITS = frozenset({"Cel", "%", "V", "A", "W", "VA", "Hz", "1", "var", "rpm", "degF", "count"})
_BANDED = frozenset({"Cel", "%", "V", "Hz", "1"})


def _scale_is_clear(what: Guess, seen: Sequence[float]) -> bool:
    """Whether a number without a told scale can be read: a quantity that plausible values prove, or a kind with a unit."""
    return what.sure or (
        what.unit in _BANDED and (not seen or plausible_scale(what.point, what.unit, seen) > 0)
    )


_UNIT_TEXTS = (
    "C", "°C", "degC", "degree C", "Celsius", "F", "°F", "degF", "degree F", "Fahrenheit", "%", "%RH", "V", "mV", "A", "mA",
    "W", "kW", "VA", "kVA", "Wh", "kWh", "Hz", "rpm", "Pa", "kPa", "bar", "mbar", "psi", "l/min", "CFM", "m/s", "s", "min", "h",
)  # fmt: skip
"""How devices spell units, where none was heard."""
_SPELLED_UNITS = {
    "voltamp hour": "VAh", "volt amp hour": "VAh", "var": "var", "none": "1", "meterpersec": "m/s", "meter per sec": "m/s",
    "grampercubicmeter": "g/m3", "g/m3": "g/m3", "db": "dB", "lux": "lx",
}  # fmt: skip


def _unit_of(spelled: str) -> str:
    """Return the unit that a text or a label is, or nothing."""
    label = spelled.strip()
    plain = " ".join(words_of(label)) if re.fullmatch(r"\w+", label) else label.lower()
    if plain in _SPELLED_UNITS:
        unit = _SPELLED_UNITS[plain]
        return unit if unit in UNITS else ""
    told = unit_and_scale(plain) or unit_and_scale(label)
    if told is not None and told[1] == 1.0 and told[0] in UNITS and len(plain) < 24:
        return told[0]
    return label if label in UNITS else ""


_BY_UNIT: tuple[tuple[str, dict[str, str]], ...] = (
    ("Cel|degF|K", {"DewPoint": "dew ?point", "LiquidTemperature": "water|fluid|liquid|coolant",
                    "Temperature": "system|internal|board|cpu", "": "AirTemperature"}),
    ("%", {"AirRelativeHumidity": "humid", "FanSpeed": "fan", "ValvePosition": "valve", "": "GenericPoint"}),
    ("m?V|kV", {"": "Voltage"}), ("m?A", {"": "Current"}),
    ("k?W|mW", {"CoolingPower": "cool", "": "ActivePower"}), ("k?VA", {"": "ApparentPower"}), ("k?var", {"": "ReactivePower"}),
    ("k?Wh", {"": "Energy"}), ("Hz", {"": "Frequency"}), ("rpm", {"": "FanRotation"}), ("CFM|m3/h", {"": "AirFlow"}),
    ("L/min|L/s|GPM", {"": "LiquidFlow"}), ("m/s", {"": "AirVelocity"}),
)  # fmt: skip
"""Point types by the unit that a row tells, some by its label too."""

_GENERAL_KINDS = (
    ("dew ?point", "dewPoint"), ("temp", "temperature"), ("humid", "humidity"), ("volt", "voltage"),
    ("leak|water|flood", "leak"), ("door", "door"), ("smoke", "smoke"), ("dry|contact|digital|discrete", "contact"),
    ("motion", "motion"), ("vibrat", "vibration"), ("relay|switch", "switch"),
)  # fmt: skip
"""Kinds that a text column may tell beside those that were heard."""


def _named(points: Mapping[str, str], pattern: str) -> str:
    return next(name for name, p in points.items() if p == pattern)


def _same_index(mibs: Mibs, group: MibObject) -> list[MibObject]:
    """Return the columns of the other tables that have the very index of a row."""
    if not group.index:
        return []
    rows = {
        o.oid
        for o in mibs.objects.values()
        if o.kind == "row" and o.oid != group.oid and o.index == group.index
    }
    return [o for o in mibs.objects.values() if o.kind == "column" and o.parent in rows] if rows else []


_PLAIN = Syntax("INTEGER", "INTEGER")


def _by_label(label: str) -> Guess | None:
    """Return the quantity that a kind is called after, or a state, or None."""
    words = [_WORDS.get(w, w) for w in words_of(label)]
    spelled = " ".join(words)
    if not words or spelled in {"other", "none", "unknown", "unused", "not used", "na"}:
        return None
    if _DISCRETE.search(spelled) or re.search(r"\b(status|state)\b", spelled):
        leak = re.search(r"\b(water|leak|leakage|flood|rope)\b", spelled)
        smoke = re.search(r"\bsmoke\b", spelled)
        point = "LeakDetect" if leak else "SmokeDetect" if smoke else "Status"
        return Guess(point=point, states={0: "0", 1: "1"})
    camel = words[0] + "".join(w.capitalize() for w in words[1:])
    what = guess(MibObject(camel, "", "", syntax=_PLAIN), "sensor", (), kind="Sensor")
    return what if what is not None and not what.states else None


def _kinds(obj: MibObject) -> dict[int, Guess]:
    """Return the labels of an enumeration that are quantities."""
    found = {n: _by_label(label) for n, label in obj.syntax.enumeration.items()}
    return {n: what for n, what in found.items() if what is not None and not what.states}


def _roles(obj: MibObject) -> list[int]:
    """Return which labels of an enumeration are measured values, where others are limits and settings."""
    spelled = {n: " ".join(words_of(label)) for n, label in obj.syntax.enumeration.items()}
    values = [n for n, label in spelled.items() if label in {"value", "measurement", "actual"}]
    return values if sum(bool(_THRESHOLD_ROLE.search(label)) for label in spelled.values()) >= 2 else []


def _how(scale: MibObject, value: MibObject) -> str:
    """Return how a scale column acts on the value: as a profile says it, or nothing where no text tells it."""
    own = " ".join(words_of(scale.name))
    said = f"{scale.description} {scale.syntax.described}".lower()
    labels = {label.lower(): n for n, label in scale.syntax.enumeration.items()}
    if labels.get("milli") == 8 and labels.get("units") == 9:
        return "si"
    if labels:
        return ""
    if re.search(r"\b(decimals?|digits|precision)\b", own) or re.search(
        r"decimal (places|digits|point)", said
    ):
        return "decimals"
    if re.search(r"divi\w+", said) and re.search(r"multipl\w+", said):
        return "signed"
    if re.search(r"\b(exponent|exp)\b", own) or re.search(r"\bexponent|power of (10|ten)\b|\b10\s*\^", said):
        return "exponent"
    if re.search(r"\bdivisor\b", own) or re.search(r"\bdivi", said):
        return "divisor"
    if f"multiplied by {scale.name}".lower() in value.description.lower():
        return "divisor"  # the agent multiplied: a reader divides
    if re.search(r"\b(multiplier|multipl\w+|scale factor|factor)\b", f"{own} {said}"):
        return "factor"
    return ""
