"""Tables whose rows tell their own kind, unit or scale."""

from __future__ import annotations

import re
from collections.abc import Sequence

from collectors.snmp.drafting.drafted import Block, Line
from collectors.snmp.drafting.guesses import Guess, plausible_scale
from collectors.snmp.drafting.mib import MibObject, Syntax
from collectors.snmp.drafting.phrases import words_of
from collectors.snmp.drafting.quantities import guess
from collectors.snmp.drafting.tables import arc
from collectors.snmp.walk import Walk, number


def typed(block: Block, members: Sequence[MibObject], walk: Walk | None) -> dict[str, Line]:
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
            or any(v.value["at"] == arc(obj, _at(root)) for v in lines.values())
        ):
            continue
        value: dict[str, object] = {"at": arc(obj, _at(root)), "symbol": obj.name, "name": "Reading"}
        reasons = []
        if scale_of is not None and obj.syntax.base != "OCTET STRING":  # a text has its decimal point
            block.fields["digits"] = {"at": arc(scale_of, _at(root)), "symbol": scale_of.name}
            value["scale"] = [{"field": "digits", "how": how}]
            reasons.append(f"scale told by {scale_of.name}")
        if kind_of is not None:
            block.fields["kind"] = {"at": arc(kind_of, _at(root)), "symbol": kind_of.name}
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
            block.fields["unitText"] = {"at": arc(unit_of, _at(root)), "symbol": unit_of.name}
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
