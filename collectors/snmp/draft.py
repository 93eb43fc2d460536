"""A profile for a device that nobody knows yet, from its MIB and from what it answered.

The draft holds every quantity and state of the MIB that an engineer reads, whether the device at hand answers it or not:
the next device of the family may. Each line says why it is what it is.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import yaml

from collectors.snmp.mib import MibObject, Mibs, Syntax
from collectors.snmp.profiles import Profile
from collectors.snmp.quantities import Guess, guess, phase_of, plausible_scale, words_of
from collectors.snmp.walk import Walk, number

ENTERPRISES = "1.3.6.1.4.1."

_OBJECTS: tuple[tuple[str, str, str], ...] = (
    (r"outlets?|receptacles?|sockets?|plugs?", "Outlet", "outlet"),
    (r"banks?|branch(?:es)?|breakers?|circuits?|fuses?|ocps?", "Bank", "bank"),
    (r"fans?|blowers?", "Fan", "fan"),
    (r"pumps?", "Pump", "pump"),
    (r"valves?", "Valve", "valve"),
    (r"batter(?:y|ies)|strings?|blocks?|cells?", "Battery", "battery"),
    (r"rectifiers?|rect|converters?|inverters?|modules?|psu|chargers?|solar|compressors?", "GenericObject", "module"),
    (r"sensors?|probes?|temp\w*|humid\w*|env\w*|thermo\w*|contacts?|analog\w*|digital\w*|channels?|inputs?|dry|"
     r"detectors?|leak\w*|door|smoke|hygro\w*", "Sensor", "sensor"),
)  # fmt: skip
_PHASE_TABLE = re.compile(r"\b(phases?|lines?|inputs?|outputs?|bypass|feeds?|infeeds?|cords?)\b")
_UNIT_INDEX = re.compile(r"\b(unit|units|device|pdu|ups|tower|chain|host|mdu|ats|module|system)\b")
_LABEL = re.compile(r"\b(name|label|descr|description|caption|text|alias|location)\b")
_KINDS: tuple[tuple[str, str], ...] = (
    ("ATS", r"\bats\b|transfer switch"),
    ("PowerMeter", r"\bpdu\b|outlet|receptacle|power distribution|meter"),
    ("UPS", r"\bups\b|uninterruptible|rectifier|battery|dc power|power system|power plant|inverter"),
    ("Chiller", r"\bchiller\b"),
    ("CDU", r"\bcdu\b|coolant distribution"),
    ("CRAC", r"air condition|cooling|\bcrac\b|\bhvac\b|free ?cool|heat exchanger"),
    ("Generator", r"\bgenset\b|generator"),
    ("GenericObject", r"sensor|temperature|humidity|environment|thermometer"),
)


@dataclass(slots=True)
class Line:
    """One value of the draft and why it is what it is."""

    value: dict[str, object]
    reasons: list[str]
    doubtful: bool = False


@dataclass(slots=True)
class Block:
    """One table of the draft."""

    oid: str
    symbol: str
    index: list[str]
    fields: dict[str, dict[str, object]] = field(default_factory=dict)
    object: dict[str, str] | None = None
    lines: list[Line] = field(default_factory=list)


@dataclass(slots=True)
class Draft:
    """A profile that was made, and how sure its parts are."""

    name: str
    title: str
    source: str
    match: list[dict[str, str]]
    kind: str
    blocks: list[Block]
    skipped: list[str]

    @property
    def data(self) -> dict[str, object]:
        """What a profile file holds."""
        tables = []
        for b in self.blocks:
            table: dict[str, object] = {"oid": b.oid, "symbol": b.symbol}
            if b.index:
                table["index"] = b.index
            if b.fields:
                table["fields"] = b.fields
            if b.object:
                table["object"] = b.object
            tables.append({**table, "values": [line.value for line in b.lines]})
        return {
            "name": self.name, "title": self.title, "source": self.source, "match": self.match,
            "object": {"type": self.kind}, "none": [2147483647, -2147483648, 4294967295], "tables": tables,
        }  # fmt: skip

    @property
    def profile(self) -> Profile:
        """The draft as a profile that reads."""
        return Profile.model_validate(self.data)

    def to_yaml(self, *, reasons: bool = True) -> str:
        """Return the file, each guess with its reason."""
        lines = [
            f"name: {self.name}", f"title: {_flow(self.title)}", f"source: {_flow(self.source)}", "match:",
            *(f"  - {_flow(m)}" for m in self.match), f"object: {{type: {self.kind}}}",
            "none: [2147483647, -2147483648, 4294967295]", "tables:",
        ]  # fmt: skip
        for b in self.blocks:
            lines += [f"  - oid: {b.oid}", f"    symbol: {b.symbol}"]
            if b.index:
                lines.append(f"    index: {_flow(b.index)}")
            if b.fields:
                lines += ["    fields:", *(f"      {n}: {_flow(f)}" for n, f in b.fields.items())]
            if b.object:
                lines.append(f"    object: {_flow(b.object)}")
            lines.append("    values:")
            for line in b.lines:
                why = ("DOUBTFUL " if line.doubtful else "") + "; ".join(line.reasons)
                lines.append(f"      - {_flow(line.value)}" + (f"  # {why}" if reasons else ""))
        return "\n".join(lines) + "\n"


def _flow(value: object) -> str:
    text = yaml.safe_dump(value, default_flow_style=True, width=100_000, allow_unicode=True, sort_keys=False)
    return text.replace("\n...", "").strip()


def draft(
    mibs: Mibs, name: str, *, walk: Walk | None = None, title: str = "", kind: str = "", identity: str = ""
) -> Draft:
    """Return a profile for a device.

    Parameters
    ----------
    mibs
        Its MIB files.
    name
        Of the profile.
    walk
        What it answered, where a device or a recording is at hand.
    kind
        Its object type; guessed from the MIB's words where empty.
    identity
        Its sysObjectID.
    """
    modules = list(dict.fromkeys(o.module for o in mibs.objects.values()))
    kind = kind or _kind(name, mibs)
    blocks = [
        b for b in (_block(mibs, o, walk, kind) for o in _groups(mibs, walk)) if b is not None and b.lines
    ]
    _one_total(blocks)
    _unique_symbols(blocks)
    return Draft(
        name,
        title or name,
        ", ".join(modules),
        _match(mibs, blocks, walk, identity),
        kind,
        blocks,
        mibs.skipped,
    )


def _kind(name: str, mibs: Mibs) -> str:
    names = f"{name} " + " ".join(
        f"{' '.join(words_of(o.name))} {o.module.lower()}"
        for o in mibs.objects.values()
        if o.kind in {"node", "table"}
    )
    said = re.sub(r"[-_]", " ", names.lower())
    counts = [(len(re.findall(pattern, said)), -n, kind) for n, (kind, pattern) in enumerate(_KINDS)]
    count, _, kind = max(counts)
    return kind if count else "GenericObject"


def _groups(mibs: Mibs, walk: Walk | None) -> list[MibObject]:
    """Return rows, and the parents of scalars (as nodes), in OID order."""
    found: dict[str, MibObject] = {}
    for obj in mibs.objects.values():
        if re.match(r"1\.3\.6\.1\.2\.1\.(1|2|3|4|5|6|7|10|11|25|31)\.", obj.oid):
            continue  # every agent has these, and they are no quantities of a plant
        if obj.kind == "row":
            found[obj.oid] = obj
        elif obj.kind == "scalar":
            parent = mibs.objects.get(obj.parent) or MibObject(
                f"under{obj.parent.rpartition('.')[2]}", obj.module, obj.parent
            )
            found.setdefault(obj.parent, parent)
    return list(found.values())


def _block(mibs: Mibs, group: MibObject, walk: Walk | None, kind: str) -> Block | None:
    row = group.kind == "row"
    members = [
        o
        for o in mibs.objects.values()
        if o.parent == group.oid and o.kind == ("column" if row else "scalar")
    ]
    members = [
        o for o in members if o.access not in {"not-accessible", "write-only", "accessible-for-notify"}
    ]
    around = _around(mibs, group)
    block = Block(group.oid, _table_name(mibs, group), _index_names(group) if row else [])
    if row:
        block.fields, label = _label(members, group)
        block.object = _object(block, around, label, kind)
    typed = _typed(block, members, walk) if row else {}
    common = _common([words_of(o.name) for o in members])
    for obj in members:
        if obj.name in group.index and obj.access != "read-write":
            continue
        if any(f.get("at") == _arc(obj, group) for f in block.fields.values()):
            continue
        values = (
            [v for v in (number(raw) for raw in walk.column(obj.oid).values()) if v is not None]
            if walk
            else []
        )
        if obj.name in typed:
            block.lines.append(typed[obj.name])
            continue
        if obj.syntax.base not in {"INTEGER", "OCTET STRING", "Opaque", "", "BITS"} and not obj.syntax.name:
            continue
        what = guess(obj, around, values, kind=kind)
        if what is None or (obj.syntax.base not in {"INTEGER", ""} and not values and not what.unit):
            continue
        if obj.syntax.base == "OCTET STRING" and walk is not None and walk.column(obj.oid) and not values:
            continue
        block.lines.append(_line(obj, group, what, _name(obj, common, block, kind), block))
    return block


def _arc(obj: MibObject, group: MibObject) -> str:
    return obj.oid[len(group.oid) + 1 :]


def _around(mibs: Mibs, group: MibObject) -> str:
    words: list[str] = []
    oid = group.oid
    for _ in range(3):
        node = mibs.objects.get(oid)
        if node is not None:
            words += words_of(node.name)
        oid = oid.rpartition(".")[0]
    return " ".join(words)


def _table_name(mibs: Mibs, group: MibObject) -> str:
    table = mibs.objects.get(group.parent)
    return table.name if group.kind == "row" and table is not None else group.name


def _index_names(group: MibObject) -> list[str]:
    names: list[str] = []
    for n, index in enumerate(group.index or ("row",)):
        words = words_of(index)
        last = n == len(group.index) - 1
        if not last and _UNIT_INDEX.search(" ".join(words)) and "unit" not in names:
            name = "unit"
        else:
            kept = [w for w in words if w not in {"index", "idx", "id", "number", "num", "no"}]
            name = re.sub(r"\W", "", kept[-1] if kept else "row")
            name = name if name.isidentifier() and name != "unit" else "row"
        while name in names:
            name += "2"
        names.append(name)
    return names


def _label(members: Sequence[MibObject], group: MibObject) -> tuple[dict[str, dict[str, object]], str]:
    best: tuple[int, MibObject] | None = None
    for obj in members:
        own = " ".join(words_of(obj.name))
        if obj.syntax.base != "OCTET STRING" or obj.syntax.enumeration:
            continue
        found = _LABEL.search(own)
        if found:
            rank = (["name", "label", "descr", "description", "caption", "text", "alias", "location"]).index(
                found[1]
            )
            if best is None or rank < best[0]:
                best = (rank, obj)
    if best is None:
        return {}, ""
    lookup: dict[str, object] = {"at": _arc(best[1], group), "symbol": best[1].name, "private": True}
    return {"label": lookup}, "label"


def _object(block: Block, around: str, label: str, kind: str) -> dict[str, str] | None:
    own = " ".join(words_of(block.symbol))
    key = block.index[-1]
    shown = f" {{{label}}}" if label else ""
    if block.index == ["unit"]:
        return None
    for pattern, object_type, word in _OBJECTS:
        found = re.search(rf"\b(?:{pattern})\b", own)
        if found and not (word == "sensor" and kind in {"UPS", "ATS", "PowerMeter"} and _PHASE_TABLE.search(own)
                          and not re.search(r"sensor|probe|digital|analog|dry|contact|temp|hum|env", own)):  # fmt: skip
            stem = word if word != "module" else re.sub(r"s$", "", found[0])
            keys = "-".join(f"{{{i}}}" for i in block.index if i != "unit")
            return {"type": object_type, "id": f"{stem}{keys}", "name": f"{stem} {keys}{shown}"}
    if _PHASE_TABLE.search(own) and len([i for i in block.index if i != "unit"]) == 1:
        return None
    if re.search(r"\b(pdu|ups|device|unit|system|status)\b", own) and len(block.index) == 1:
        block.index = ["unit"]
        return None
    stem = next(
        (w for w in reversed(words_of(block.symbol)) if w not in {"table", "entry", "status", "data"}), "row"
    )
    keys = "-".join(f"{{{i}}}" for i in block.index if i != "unit") or f"{{{key}}}"
    return {"type": "GenericObject", "id": f"{stem}{keys}", "name": f"{stem} {keys}{shown}"}


def _common(names: Sequence[list[str]]) -> int:
    """Return how many first words all names share, leaving at least one word to each."""
    if len(names) < 2:
        return 0
    shared = 0
    while all(len(n) > shared + 1 for n in names) and len({n[shared] for n in names}) == 1:
        shared += 1
    return shared


def _name(obj: MibObject, common: int, block: Block, kind: str) -> str:
    words = words_of(obj.name)[common:] or words_of(obj.name)
    text = " ".join(words)
    text = text[:1].upper() + text[1:]
    if block.object is None and block.index and block.index != ["unit"]:
        own = [i for i in block.index if i != "unit"]
        text += ", {label}" if "label" in block.fields else f", {own[-1]} {{{own[-1]}}}"
    return text


def _line(obj: MibObject, group: MibObject, what: Guess, name: str, block: Block) -> Line:
    value: dict[str, object] = {"at": _arc(obj, group), "symbol": obj.name}
    if what.states:
        if what.point != "Status":
            value["point"] = what.point
        value["states"] = {n: re.sub(r"(?<=[a-z])(?=[A-Z])", " ", s).lower() for n, s in what.states.items()}
    else:
        value |= {"point": what.point, "unit": what.unit}
        if what.scale != 1.0:
            value["scale"] = float(f"{what.scale:.12g}")
    value["name"] = name
    if not what.states:
        told = phase_of(obj.name)
        if told:
            value["phase"] = told
        elif block.object is None and block.index and block.index != ["unit"]:
            value["phase"] = f"{{{block.index[-1]}}}"
    none = [n for n in what.none if not (n == -1 and what.point.endswith("Temperature"))]
    if not what.states and -1 not in none and what.point in _NEVER_NEGATIVE:
        none.append(-1)
    if none:
        value["none"] = [*none, 2147483647, -2147483648] if 2147483647 not in none else none
    if what.setpoint:
        value |= {"setpoint": True, "slow": True}
    return Line(value, what.reasons, any(r.startswith("doubtful") for r in what.reasons))


_NEVER_NEGATIVE = frozenset(
    {"Voltage", "PhaseVoltage", "LineVoltage", "InputVoltage", "BypassVoltage", "Frequency", "InputFrequency", "BypassFrequency",
     "AirRelativeHumidity", "Load", "BatteryCharge", "BatteryRuntime", "Energy", "FanRotation", "FanSpeed"}
)  # fmt: skip


def _typed(block: Block, members: Sequence[MibObject], walk: Walk | None) -> dict[str, Line]:
    """Return the value column of a table whose rows tell their own kind, unit or decimals."""
    kind_of = unit_of = scale_of = None
    how = ""
    kinds: dict[int, Guess] = {}
    for obj in members:
        own = " ".join(words_of(obj.name))
        if obj.syntax.enumeration and re.search(r"\b(type|kind|unit|units|class)\b", own):
            found = {}
            for n, label in obj.syntax.enumeration.items():
                spelled = MibObject(_spelled(label), obj.module, obj.oid, syntax=_PLAIN)
                what = guess(spelled, "sensor", (), kind="Sensor")
                if what is not None and not what.states:
                    found[n] = what
            if len(found) > len(kinds):
                kind_of, kinds = obj, found
        elif obj.syntax.base == "OCTET STRING" and re.search(r"\b(unit|units|uom)\b", own):
            unit_of = obj
        elif obj.syntax.base == "INTEGER" and re.search(r"\b(decimals?|digits|precision)\b", own):
            scale_of, how = obj, "decimals"
        elif obj.syntax.base == "INTEGER" and re.search(r"\b(exponent|exp|scale factor)\b", own):
            scale_of, how = obj, "exponent"
        elif obj.syntax.base == "INTEGER" and re.search(r"\b(divisor)\b", own):
            scale_of, how = obj, "divisor"
    lines: dict[str, Line] = {}
    if kind_of is None and unit_of is None:
        return lines
    root = block.oid
    for obj in members:
        own = " ".join(words_of(obj.name))
        value_like = re.search(r"\b(value|reading|val|measurement|measured|data|analog)\b", own)
        bare = value_like and not re.search(
            r"\b(max|min|high|low|threshold|limit|type|unit|units|time|int|string|str|raw|average|avg)\b", own
        )
        if (
            not bare
            or obj.syntax.enumeration
            or any(v.value["at"] == _arc(obj, _at(root)) for v in lines.values())
        ):
            continue
        value: dict[str, object] = {"at": _arc(obj, _at(root)), "symbol": obj.name, "name": "Reading"}
        reasons = []
        if scale_of is not None and obj.syntax.base != "OCTET STRING":  # a text has its decimal point
            block.fields["digits"] = {"at": _arc(scale_of, _at(root)), "symbol": scale_of.name}
            value["scale"] = [{"field": "digits", "how": how}]
            reasons.append(f"scale told by {scale_of.name}")
        if kind_of is not None:
            block.fields["kind"] = {"at": _arc(kind_of, _at(root)), "symbol": kind_of.name}
            reasons.append(f"kind told by {kind_of.name}")
            rules = []
            for n, what in kinds.items():
                seen = _seen(walk, obj, kind_of, n)
                scale = _judged(what, seen) if scale_of is None or obj.syntax.base == "OCTET STRING" else None
                rule: dict[str, object] = {"when": {"kind": str(n)}, "point": what.point, "unit": what.unit}
                if scale not in {None, 1.0}:
                    rule["scale"] = scale
                rules.append(rule)
            value |= {"only_rules": True, "rules": rules}
        else:
            assert unit_of is not None
            block.fields["unitText"] = {"at": _arc(unit_of, _at(root)), "symbol": unit_of.name}
            value |= {"unit": "{unitText}", "only_rules": True, "rules": list(_BY_UNIT)}
            reasons.append(f"unit told by {unit_of.name}")
        lines[obj.name] = Line(value, reasons)
    return lines


_BY_UNIT: tuple[dict[str, object], ...] = (
    {"when": {"unitText": "(?i)(°|deg(rees?)? ?)?[CF]|celsius|fahrenheit"}, "point": "AirTemperature"},
    {"when": {"unitText": "(?i)%( ?rh)?|percent"}, "point": "AirRelativeHumidity"},
    {"when": {"unitText": "(?i)m?v(olts?|ac|dc)?"}, "point": "Voltage"},
    {"when": {"unitText": "(?i)m?a(mps?)?"}, "point": "Current"},
    {"when": {"unitText": "(?i)k?w(atts?)?"}, "point": "ActivePower"},
    {"when": {"unitText": "(?i)k?va"}, "point": "ApparentPower"},
    {"when": {"unitText": "(?i)k?wh"}, "point": "Energy"},
    {"when": {"unitText": "(?i)hz"}, "point": "Frequency"},
    {"when": {"unitText": ".+"}, "point": "GenericPoint"},
)


_PLAIN = Syntax("INTEGER", "INTEGER")


def _at(oid: str) -> MibObject:
    return MibObject("", "", oid)


def _spelled(label: str) -> str:
    return re.sub(r"\b(temp)\b", "temperature", label, flags=re.I)


def _seen(walk: Walk | None, value: MibObject, kind: MibObject, n: int) -> list[float]:
    if walk is None:
        return []
    kinds = walk.column(kind.oid)
    return [
        v for index, raw in walk.column(value.oid).items()
        if number(kinds.get(index)) == n and (v := number(raw)) is not None
    ]  # fmt: skip


def _judged(what: Guess, values: Sequence[float]) -> float:
    return plausible_scale(what.point, what.unit, values)


def _one_total(blocks: Iterable[Block]) -> None:
    """Leave the device and each of its parts one total of power and energy: two would be added up."""
    told: set[str] = set()
    for block in blocks:
        for point in ("ActivePower", "Energy"):
            lines = [
                line
                for line in block.lines
                if line.value.get("point") == point and not line.value.get("phase")
            ]
            own = block.object is None
            best = min(lines, key=lambda line: "otal" not in str(line.value["name"]), default=None)
            for line in lines:
                if line is not best or (own and point in told):
                    line.value["point"] = "GenericPoint"
                    line.reasons.append(f"GenericPoint: the object has another total of {point}")
            if own and best is not None:
                told.add(point)


def _unique_symbols(blocks: Iterable[Block]) -> None:
    """Vendors repeat a symbol in several modules of a family: the second gets its table's name before it."""
    seen: dict[str, str] = {}
    for block in blocks:
        for line in block.lines:
            oid = f"{block.oid}.{line.value['at']}"
            symbol = str(line.value["symbol"])
            if seen.setdefault(symbol, oid) != oid:
                line.value["symbol"] = f"{block.symbol}.{symbol}"


def _match(mibs: Mibs, blocks: Sequence[Block], walk: Walk | None, identity: str) -> list[dict[str, str]]:
    enterprises = list(dict.fromkeys(
        ".".join(b.oid.split(".")[:7]) for b in blocks if b.oid.startswith(ENTERPRISES)
    ))  # fmt: skip
    if identity and any(identity == e or identity.startswith(e + ".") for e in enterprises):
        return [{"sysObjectID": identity}, *({"sysObjectID": e} for e in enterprises if e != identity)]
    found = [{"sysObjectID": e} for e in enterprises]
    if walk is not None:
        answering = next((b.oid for b in blocks if any(o.startswith(b.oid + ".") for o in walk)), None)
        if answering:
            found.append({"exists": answering})
    return found or [{"exists": blocks[0].oid if blocks else ENTERPRISES.rstrip(".")}]
