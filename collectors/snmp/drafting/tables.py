"""Tables of a MIB as a plant has them: what their rows are, how these are named and numbered."""

from __future__ import annotations

import re
from collections.abc import Sequence

from collectors.snmp.drafting.drafted import Block
from collectors.snmp.drafting.mib import MibObject, Mibs
from collectors.snmp.drafting.phrases import words_of

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


def arc(obj: MibObject, group: MibObject) -> str:
    """Return what stands in an object's OID below its group's."""
    return obj.oid[len(group.oid) + 1 :]


def around(mibs: Mibs, group: MibObject) -> str:
    """Return the names of the groups that an object stands in."""
    words: list[str] = []
    oid = group.oid
    for _ in range(3):
        node = mibs.objects.get(oid)
        if node is not None:
            words += words_of(node.name)
        oid = oid.rpartition(".")[0]
    return " ".join(words)


def table_name(mibs: Mibs, group: MibObject) -> str:
    """Return the name of a row's table, or of a group of scalars."""
    table = mibs.objects.get(group.parent)
    return table.name if group.kind == "row" and table is not None else group.name


def index_names(group: MibObject) -> list[str]:
    """Return what a profile calls the parts of a row's index."""
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


def label_of(members: Sequence[MibObject], group: MibObject) -> tuple[dict[str, dict[str, object]], str]:
    """Return the column that names a row, as a profile's fields, and the field's name."""
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
    lookup: dict[str, object] = {"at": arc(best[1], group), "symbol": best[1].name, "private": True}
    return {"label": lookup}, "label"


def object_of(block: Block, around: str, label: str, kind: str) -> dict[str, str] | None:
    """Return the plant object that a row is, or None where it is the device itself."""
    own = " ".join(words_of(block.symbol))
    key = next((i for i in reversed(block.index) if i != "kind"), "")
    shown = f" {{{label}}}" if label else ""
    if set(block.index) <= {"unit", "kind"}:
        return None
    for pattern, object_type, word in _OBJECTS:
        found = re.search(rf"\b(?:{pattern})\b", own)
        if found and not (word == "sensor" and kind in {"UPS", "ATS", "PowerMeter"} and _PHASE_TABLE.search(own)
                          and not re.search(r"sensor|probe|digital|analog|dry|contact|temp|hum|env", own)):  # fmt: skip
            stem = word if word != "module" else re.sub(r"s$", "", found[0])
            keys = "-".join(f"{{{i}}}" for i in block.index if i not in {"unit", "kind"})
            return {"type": object_type, "id": f"{stem}{keys}", "name": f"{stem} {keys}{shown}"}
    if _PHASE_TABLE.search(own) and len([i for i in block.index if i not in {"unit", "kind"}]) == 1:
        return None
    if re.search(r"\b(pdu|ups|device|unit|system|status)\b", own) and len(block.index) == 1:
        block.index = ["unit"]
        return None
    stem = next(
        (w for w in reversed(words_of(block.symbol)) if w not in {"table", "entry", "status", "data"}), "row"
    )
    keys = "-".join(f"{{{i}}}" for i in block.index if i not in {"unit", "kind"}) or f"{{{key}}}"
    return {"type": "GenericObject", "id": f"{stem}{keys}", "name": f"{stem} {keys}{shown}"}


def common_words(names: Sequence[list[str]]) -> int:
    """Return how many first words all names share, leaving at least one word to each."""
    if len(names) < 2:
        return 0
    shared = 0
    while all(len(n) > shared + 1 for n in names) and len({n[shared] for n in names}) == 1:
        shared += 1
    return shared


def name_of(obj: MibObject, common: int, block: Block, kind: str) -> str:
    """Return what people call an object."""
    words = words_of(obj.name)[common:] or words_of(obj.name)
    text = " ".join(words)
    text = text[:1].upper() + text[1:]
    own = [i for i in block.index if i not in {"unit", "kind"}]
    if block.object is None and own:
        text += ", {label}" if "label" in block.fields else f", {own[-1]} {{{own[-1]}}}"
    if "kind" in block.index:
        text += ", kind {kind}"
    return text
