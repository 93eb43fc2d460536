"""A profile for a device that nobody knows yet, from its MIB and from what it answered.

The draft holds every quantity and state of the MIB that an engineer reads, whether the device at hand answers it or not:
the next device of the family may. Each line says why it is what it is.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from collectors.snmp.drafting.drafted import Block, Draft, Line
from collectors.snmp.drafting.guesses import Guess
from collectors.snmp.drafting.mib import MibObject, Mibs
from collectors.snmp.drafting.phrases import words_of
from collectors.snmp.drafting.pointtypes import phase_of
from collectors.snmp.drafting.quantities import guess
from collectors.snmp.drafting.rows import Rows
from collectors.snmp.drafting.scales import settle, switched_unit
from collectors.snmp.drafting.tables import (
    arc,
    common_words,
    index_names,
    label_of,
    name_of,
    object_of,
    table_name,
)
from collectors.snmp.drafting.tables import around as around_of
from collectors.snmp.walk import Walk, number

ENTERPRISES = "1.3.6.1.4.1."

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
    settle(blocks, walk, kind)
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
    around = around_of(mibs, group)
    block = Block(group.oid, table_name(mibs, group), index_names(group) if row else [])
    taken: set[str] = set()
    if row:
        rows = Rows(block, group, members, mibs, walk)
        block.fields, label = label_of(members, group)
        block.object = object_of(block, around, label, kind)
        told = rows.line()
        taken = rows.taken
        if told is not None:
            block.lines.append(told)
            taken.add(str(told.value["symbol"]))
    common = common_words([words_of(o.name) for o in members])
    for obj in members:
        if obj.name in group.index and obj.access != "read-write":
            continue
        if any(f.get("at") == arc(obj, group) for f in block.fields.values()):
            continue
        values = (
            [v for v in (number(raw) for raw in walk.column(obj.oid).values()) if v is not None]
            if walk
            else []
        )
        if obj.name in taken:
            continue
        if obj.syntax.base not in {"INTEGER", "OCTET STRING", "Opaque", "", "BITS"} and not obj.syntax.name:
            continue
        what = guess(obj, around, values, kind=kind)
        if what is None or (obj.syntax.base not in {"INTEGER", ""} and not values and not what.unit):
            continue
        if obj.syntax.base == "OCTET STRING" and walk is not None and walk.column(obj.oid) and not values:
            continue
        line = _line(obj, group, what, name_of(obj, common, block, kind), block)
        line.untold, line.seen = what.untold, tuple(v for v in values if v not in what.none)
        if what.point.endswith("Temperature") and (switch := switched_unit(obj, mibs, walk)) is not None:
            _switched(line, block, *switch)
        block.lines.append(line)
    return block


def _switched(line: Line, block: Block, switch: MibObject, words: dict[str, str]) -> None:
    """Take a temperature's unit from the object that tells it, at the scale that its text tells."""
    block.fields["degrees"] = {"oid": switch.oid, "by": [], "symbol": switch.name, "words": words}
    line.value["unit"] = "{degrees}"
    if any("instead of" in reason for reason in line.reasons):
        line.value.pop("scale", None)
        line.reasons = [reason for reason in line.reasons if "instead of" not in reason]
    line.reasons.append(f"unit told by {switch.name}")


def _line(obj: MibObject, group: MibObject, what: Guess, name: str, block: Block) -> Line:
    value: dict[str, object] = {"at": arc(obj, group), "symbol": obj.name}
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
        elif block.object is None and (own := [i for i in block.index if i not in {"unit", "kind"}]):
            value["phase"] = f"{{{own[-1]}}}"
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
