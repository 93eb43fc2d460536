"""What the words of one object cannot tell of its scale and unit: its neighbours, its device, and what stays a doubt."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from collectors.snmp.drafting.drafted import Block, Line
from collectors.snmp.drafting.mib import MibObject, Mibs
from collectors.snmp.walk import Walk, number, text

_MOST_AMPERES = {"PowerMeter": 200.0, "ATS": 200.0, "CRAC": 200.0}
"""Above which a current without a told scale is no ampere, by the kind of device; others: 2,000."""
_LONGEST_RUNTIME = 600.0
"""Minutes on battery above which a runtime whose unit no text tells may be seconds."""
_MADE_OF = {"A", "VA", "W", "kW", "kVA", "kWh", "Wh", "var"}
"""Units of quantities that are plausible at many scales."""
_STEPS = (1.0, 0.1, 0.01, 0.001)


def settle(blocks: Sequence[Block], walk: Walk | None, kind: str) -> None:
    """Give untold scales those that power or the voltages beside prove, and mark or leave out what stays unknown."""
    shared = _voltages_scale(blocks)
    told = _told_currents(blocks)
    for block in blocks:
        for line in block.lines:
            unit = str(line.value.get("unit", ""))
            if not line.untold or line.left_out:
                continue
            if unit == "A" and told is not None:
                _as_told(line, *told)
            elif unit == "A":
                _current(line, block, walk, shared, kind)
            elif unit == "V" and shared is not None and not _judged(line):
                _as_beside(line, shared)
            elif unit == "min" and line.seen and max(line.seen) > _LONGEST_RUNTIME:
                line.leave_out(f"{max(line.seen):g} may be seconds or minutes, and no text tells which")
            elif unit in _MADE_OF:
                line.doubt("compare with the display: no text tells unit and scale")


def _judged(line: Line) -> bool:
    """Whether the values of a voltage tell its scale; a battery may have nearly any."""
    said = " ".join(line.reasons)
    return "instead of" in said or (
        "plausible on the values" in said and line.value.get("point") != "BatteryVoltage"
    )


def _voltages_scale(blocks: Iterable[Block]) -> tuple[float, str] | None:
    """Return the scale that all voltages without a told one have by their values, and the symbol of one, or None."""
    found: dict[float, str] = {}
    for block in blocks:
        for line in block.lines:
            if line.value.get("unit") == "V" and line.untold and any("instead of" in r for r in line.reasons):
                found.setdefault(float(str(line.value.get("scale", 1.0))), str(line.value["symbol"]))
    return next(iter(found.items())) if len(found) == 1 and 1.0 not in found else None


def _told_currents(blocks: Iterable[Block]) -> tuple[str, float, str] | None:
    """Return the unit and scale that texts tell of all other currents of the MIB, and the symbol of one, or None."""
    found = {
        (str(line.value["unit"]), _scale(line)): str(line.value["symbol"])
        for block in blocks
        for line in block.lines
        if line.value.get("unit") in {"A", "mA"}
        and not line.untold
        and not isinstance(line.value.get("scale"), list)
    }
    ((unit, scale), symbol), *others = found.items() or [(("", 1.0), "")]
    return (unit, scale, symbol) if unit and not others else None


def _as_told(line: Line, unit: str, scale: float, symbol: str) -> None:
    line.value["unit"] = unit
    if scale != 1.0:
        line.value["scale"] = scale
    line.doubt(f"{scale:g} {unit} as of {symbol}, and no text tells its own; compare with the display")


def _current(
    line: Line, block: Block, walk: Walk | None, shared: tuple[float, str] | None, kind: str
) -> None:
    proven = _by_power(line, block, walk) if walk is not None else None
    if proven is not None:
        scale, symbol = proven
        line.value.pop("scale", None)
        if scale != 1.0:
            line.value["scale"] = scale
        line.reasons.append(f"scale {scale:g}: volt times ampere is {symbol}")
        return
    if shared is not None:
        _as_beside(line, shared)
    most = _MOST_AMPERES.get(kind, 2000.0)
    highest = max((abs(v) for v in line.seen), default=0.0) * float(str(line.value.get("scale", 1.0)))
    if highest > most:
        line.leave_out(f"{highest:g} A cannot be, and no text tells the scale")
    elif shared is None:
        line.doubt("compare with the display: no text tells unit and scale")


def _as_beside(line: Line, shared: tuple[float, str]) -> None:
    line.value["scale"] = shared[0]
    line.doubt(f"scale {shared[0]:g} as of {shared[1]}, whose values prove it; compare with the display")


def _by_power(line: Line, block: Block, walk: Walk | None) -> tuple[float, str] | None:
    """Return the one scale at which volt times ampere is a power of the same rows, and the power's symbol, or None."""
    volts = [
        o for o in block.lines if o.value.get("unit") == "V" and "scale" not in str(o.value.get("rules"))
    ]
    watts = [o for o in block.lines if o.value.get("unit") in {"W", "VA", "kW", "kVA"} and not o.untold]
    assert walk is not None
    for power in watts:
        factor = 1000.0 if str(power.value["unit"]).startswith("k") else 1.0
        for volt in volts:
            ratios = []
            for index, raw in walk.column(f"{block.oid}.{line.value['at']}").items():
                cells = [number(raw)] + [
                    number(walk.get(f"{block.oid}.{o.value['at']}.{index}")) for o in (volt, power)
                ]
                if all(c is not None and c > 0 for c in cells):
                    a, v, w = (float(c or 0) for c in cells)
                    ratios.append(w * _scale(power) * factor / (a * v * _scale(volt)))
            fitting = [s for s in _STEPS if ratios and all(0.35 * s <= r <= 1.08 * s for r in ratios)]
            if len(fitting) == 1:
                return fitting[0], str(power.value["symbol"])
    return None


def _scale(line: Line) -> float:
    told = line.value.get("scale", 1.0)
    return told if isinstance(told, float) else 1.0


def switched_unit(obj: MibObject, mibs: Mibs, walk: Walk | None) -> tuple[MibObject, dict[str, str]] | None:
    """Return the object that says whether a temperature is in Celsius or Fahrenheit, and its words, or None.

    It is the one that the temperature's description names, or where this says both units, the nearest one.
    """
    said = obj.description.lower()
    found: list[tuple[tuple[bool, int], MibObject, dict[str, str]]] = []
    for other in mibs.objects.values():
        words = {
            str(n): unit
            for n, label in other.syntax.enumeration.items()
            for unit, stem in (("Cel", "celsius"), ("Cel", "centigrade"), ("degF", "fahrenheit"))
            if stem in label.lower()
        }
        if set(words.values()) != {"Cel", "degF"} or other.kind != "scalar":
            continue
        named = other.name.lower() in said
        if not (named or ("fahrenheit" in said and ("celsius" in said or "centigrade" in said))):
            continue
        if walk is not None and text(walk.get(f"{other.oid}.0")) not in words:
            continue
        found.append(((named, _shared_arcs(obj.oid, other.oid)), other, words))
    if not found:
        return None
    _, other, words = max(found, key=lambda f: f[0])
    return other, words


def _shared_arcs(one: str, other: str) -> int:
    shared = 0
    for a, b in zip(one.split("."), other.split("."), strict=False):
        if a != b:
            break
        shared += 1
    return shared
