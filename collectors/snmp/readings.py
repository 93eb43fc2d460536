"""From a profile and what an agent answered to readings: pure, no wire."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

from collectors.snmp.profiles import (
    Correction,
    Lookup,
    Meaning,
    ObjectRef,
    Profile,
    ScaleBy,
    Table,
    Value,
    When,
)
from collectors.snmp.walk import Scalar, Walk, number, text
from domain.catalogue import ANY, OBJECT_TYPES, POINT_TYPES, STATE
from domain.points import Point
from domain.units import UNITS

_TOLD_STATE = re.compile(r"([^,;()]+)\((-?\d{1,9})\)")
_LONGEST_LABEL = 200
"""Characters of a label that are used; a device may send thousands."""
_PHASES = {"1": "A", "2": "B", "3": "C", "A": "A", "B": "B", "C": "C", "L1": "A", "L2": "B", "L3": "C"}


@dataclass(frozen=True, slots=True)
class Reading:
    """One reading that a device offers.

    Parameters
    ----------
    oid
        Numeric, with instance, no leading dot.
    symbol
        Name of the object in its MIB.
    point
        What it becomes.
    name
        What people call it, without the object's name.
    scale, offset
        canonical = raw * scale + offset.
    none
        Texts of the raw values that stand for no reading.
    guards
        (oid, pattern) of other objects that say: no reading now.
    rate
        Bits of the counter where the point is its rate, else 0.
    slow
        Whether it is read with the inventory only.
    duplicate
        Whether an earlier reading tells the same thing of the same object, better.
    value
        In the canonical unit; None where the device says that it has none.
    corrected
        Why its scale is another than the MIB's; empty where it is the MIB's.
    """

    oid: str
    symbol: str
    point: Point
    name: str
    scale: float
    offset: float
    none: frozenset[str]
    guards: tuple[tuple[str, re.Pattern[str]], ...]
    rate: int
    slow: bool
    duplicate: bool
    value: float | None
    corrected: str = ""
    signed: int = 0
    """Bits of a signed number that the agent sends as an unsigned one; 0 where it does not."""
    bits: bool = False

    def convert(self, raw: Scalar) -> float | None:
        """Return a raw value in the canonical unit, or None where it stands for no reading."""
        if raw is None or (self.none and text(raw) in self.none):
            return None
        if self.bits:
            return None if not isinstance(raw, (bytes, int)) else _first_bit(raw)
        value = number(raw)
        if value is None:
            return None
        if self.signed and 2 ** (self.signed - 1) <= value < 2**self.signed:
            value -= 2**self.signed
        return value * self.scale + self.offset


def _first_bit(raw: bytes | int) -> float:
    """Return the number of the first bit that is set in a BITS string (RFC 2578 7.1.4), or -1 where none is."""
    octets = raw if isinstance(raw, bytes) else raw.to_bytes(8, "big") if 0 <= raw < 2**64 else b""
    return next((float(n) for n in range(8 * len(octets)) if octets[n // 8] & (0x80 >> n % 8)), -1.0)


@dataclass(frozen=True, slots=True)
class Device:
    """How the readings of one device are filed: its id and name, and what its main object feeds."""

    id: str
    name: str = ""
    serves: tuple[str, ...] = ()
    associate: str = ""
    process_area: tuple[str, ...] = ()
    phase: str = ""
    object_type: str = ""
    """Instead of the profile's own, for the device itself."""


def read(
    profile: Profile, walk: Walk, device: Device, taken: set[tuple[str, ...]] | None = None
) -> list[Reading]:
    """Return every reading that `walk` holds for `profile`, in the profile's order.

    Parameters
    ----------
    profile
        What the device offers.
    walk
        What it answered.
    device
        Under which ids its points go.
    taken
        What other profiles of the same device have told already; added to.
    """
    seen = set() if taken is None else taken
    found: list[Reading] = []
    oids: set[str] = set()
    for table in profile.tables:
        for value in table.values:
            for index, raw in walk.column(f"{table.oid}.{value.at}").items():
                if index.count(".") + 1 < len(table.index) or (not table.index and index != "0"):
                    continue
                reading = _reading(profile, table, value, index, raw, walk, device, seen)
                if reading is not None and reading.oid not in oids:
                    oids.add(reading.oid)
                    found.append(reading)
    for correction in profile.corrections:
        found = _corrected(found, correction)
    return found


def _corrected(readings: list[Reading], correction: Correction) -> list[Reading]:
    """Return the readings at the scale that a correction gives them, where their values prove it."""
    values = [abs(r.value) for r in readings if r.symbol in correction.symbols and r.value]
    if not values or min(values) <= correction.cannot_be:
        return readings
    seen = f"{min(values):,.6g}" + (f" to {max(values):,.6g}" if max(values) != min(values) else "")
    why = f"times {correction.scale:g}: {correction.because}; told {seen}"
    return [
        _with_value(
            replace(r, scale=r.scale * correction.scale, offset=r.offset * correction.scale, corrected=why),
            None if r.value is None else r.value * correction.scale,
        )
        if r.symbol in correction.symbols
        else r
        for r in readings
    ]


class _Row(Mapping[str, str]):
    """Index parts and fields of one row, by name, looked up when asked for."""

    def __init__(self, table: Table, index: str, walk: Walk) -> None:
        self._fields = table.fields
        self._table = table
        self._walk = walk
        parts = index.split(".")
        names = table.index
        head = parts[: len(names) - 1] if names else []
        rest = ".".join(parts[len(head) :]) if names else ""
        self.index = dict(zip(names, [*head, rest], strict=False))
        self._whole = index

    def __getitem__(self, name: str) -> str:
        if name in self.index:
            return self.index[name]
        lookup = self._fields.get(name)
        if lookup is None:
            return ""
        raw = text(self._walk.get(self.oid(lookup)))[:_LONGEST_LABEL]
        return lookup.words.get(raw, raw)

    def __iter__(self) -> Iterator[str]:
        return iter((*self.index, *self._fields))

    def __len__(self) -> int:
        return len(self.index) + len(self._fields)

    def oid(self, lookup: Lookup) -> str:
        base = lookup.oid or f"{self._table.oid}.{lookup.at}"
        if lookup.by is None:
            return f"{base}.{self._whole}"
        return ".".join([base, *(self.index[name] for name in lookup.by)]) if lookup.by else f"{base}.0"

    def matches(self, when: When) -> bool:
        return all(re.fullmatch(pattern, self[name]) for name, pattern in when.items())

    def fill(self, template: str) -> str:
        return re.sub(r"{(\w+)}", lambda m: self[m[1]], template) if "{" in template else template


def _reading(
    profile: Profile,
    table: Table,
    value: Value,
    index: str,
    raw: Scalar,
    walk: Walk,
    device: Device,
    seen: set[tuple[str, ...]],
) -> Reading | None:
    row = _Row(table, index, walk)
    if table.skip_when and row.matches(table.skip_when):
        return None
    meaning = _meaning(value, row)
    if meaning is None or meaning.skip:
        return None
    scale, offset, unit, states, point_type = _quantity(profile, meaning, row)
    if point_type is None:
        return None
    none = frozenset(map(str, meaning.none if meaning.none is not None else profile.none))
    if not states and not meaning.rate:
        none |= _usual_none(unit, scale, point_type)
    if states and not meaning.bits and number(raw) is None and text(raw) not in none:
        return None
    ref = meaning.object or table.object or profile.object
    object_type, object_id, object_name = _object(ref, row, device, profile)
    name = " ".join(row.fill(meaning.name or POINT_TYPES[point_type].description).split())
    phase = _PHASES.get(row.fill(meaning.phase or "").split(".")[0], "")
    own = object_id == device.id
    identity = (object_id, point_type, phase, "sp" if meaning.setpoint else "", name)
    duplicate = identity in seen
    seen.add(identity)
    point = Point(
        key=f"{object_type}/{point_type}/snmp/{device.id}/{value.symbol}.{index}",
        object_type=object_type,
        point_type=point_type,
        object_id=object_id,
        object_name=object_name,
        unit=unit,
        state_text=states,
        serves=device.serves if own else (),
        associate=device.associate if own else device.id,
        process_area=(*device.process_area, *(meaning.area or ())),
        phase=phase or device.phase if own else phase,
        setpoint=bool(meaning.setpoint),
        source=f"snmp:{device.id}",
    )
    guards = tuple((row.oid(table.fields[f]), re.compile(p)) for f, p in value.absent_when.items())
    absent = bool(value.absent_when) and row.matches(value.absent_when)
    reading = Reading(
        f"{table.oid}.{value.at}.{index}",
        value.symbol,
        point,
        name,
        scale,
        offset,
        none,
        guards,
        meaning.rate or 0,
        bool(meaning.slow),
        duplicate,
        None,
        signed=_signed(meaning, unit, scale),
        bits=bool(meaning.bits),
    )
    converted = None if absent else reading.convert(raw)
    if converted is not None and not math.isfinite(converted):
        converted = None
    return _with_value(reading, converted)


_NO_READING = frozenset({"2147483647", "-2147483648", "4294967295", "-2147483647"})
_NO_READING_16 = frozenset({"65535", "32767", "-32768"})
_NEVER_BELOW_ZERO = frozenset({"Hz", "s", "rpm", "L/min"})


def _usual_none(unit: str, scale: float, point_type: str) -> frozenset[str]:
    """Return the raw numbers that every agent means "no reading" by, where the quantity cannot take them."""
    usual = _NO_READING if unit not in {"J", "count", "VAh"} else frozenset()
    if unit in {"V", "Hz", "Cel", "1", "s", "rpm"} and scale >= 0.00999 / (100 if unit == "1" else 1):
        usual |= _NO_READING_16
    if unit in _NEVER_BELOW_ZERO or point_type in {"AirRelativeHumidity", "BatteryCharge", "Load"}:
        usual |= {"-1"}
    return usual


def _signed(meaning: Meaning, unit: str, scale: float) -> int:
    """Return the bits of a signed number: those of the profile, or 16 where no temperature could be as high."""
    if meaning.signed is not None:
        return meaning.signed
    return 16 if unit == "Cel" and scale >= 0.005 else 0


def _with_value(reading: Reading, value: float | None) -> Reading:
    # Twelve digits: 2.42 A, not 2.4200000000000004 A.
    return replace(reading, value=None if value is None else float(f"{value:.12g}"))


def _meaning(value: Value, row: _Row) -> Meaning | None:
    for rule in value.rules:
        if row.matches(rule.when):
            overrides = {
                f: v for f in rule.model_fields_set - {"when"} if (v := getattr(rule, f)) is not None
            }
            if "states" in overrides and "unit" not in overrides:
                overrides["unit"] = None
            return value.model_copy(update=overrides)
    return None if value.only_rules else value


def _quantity(
    profile: Profile, meaning: Meaning, row: _Row
) -> tuple[float, float, str, tuple[tuple[int, str], ...], str | None]:
    """Return scale and offset to the canonical unit, that unit, the states, and the point type."""
    point_type = meaning.point or ("Status" if meaning.states is not None else "GenericPoint")
    if meaning.states is not None:
        states = _states(profile, meaning.states, row)
        if not POINT_TYPES[point_type].state and POINT_TYPES[point_type].unit != STATE:
            point_type = "GenericPoint"
        return 1.0, 0.0, "", tuple(sorted(states.items())) or ((0, "0"),), point_type
    spelling = row.fill(meaning.unit or "").strip()
    unit = UNITS.get(profile.units.get(spelling, spelling))
    if unit is None:
        return 1.0, 0.0, "", (), None
    if POINT_TYPES[point_type].unit not in {ANY, unit.canonical} and not meaning.rate:
        point_type = "GenericPoint"
    factor = _factor(meaning.scale, row)
    canonical = POINT_TYPES[point_type].unit if meaning.rate else unit.canonical
    return (
        factor * unit.scale,
        (meaning.offset or 0.0) * unit.scale + unit.offset,
        canonical,
        (),
        point_type,
    )


def _states(profile: Profile, states: str | dict[int, str], row: _Row) -> dict[int, str]:
    """Return a state map; one in braces names a field that tells it, as in ``Open(0),Closed(1)``."""
    if not isinstance(states, str):
        return states
    if not states.startswith("{"):
        return profile.states[states]
    return {int(n): label.strip() for label, n in _TOLD_STATE.findall(row.fill(states))}


def _factor(scale: float | list[ScaleBy | float] | None, row: _Row) -> float:
    if scale is None:
        return 1.0
    if not isinstance(scale, list):
        return float(scale)
    factor = 1.0
    for part in scale:
        if not isinstance(part, ScaleBy):
            factor *= part
            continue
        n = number(row[part.field])
        n = part.otherwise if n is None else n
        if n is None:
            continue
        match part.how:
            case "decimals":
                factor *= _power(-n)
            case "exponent":
                factor *= _power(n)
            case "divisor":
                factor /= n or 1
            case "factor":
                factor *= n
            case "signed":
                factor = factor / -n if n < 0 else factor * (n or 1)
            case "si":
                factor *= _power(3 * (n - 9))
    return factor


def _power(exponent: float) -> float:
    """Return a power of ten; NaN for one that no quantity has, so that the reading has no value."""
    return 10.0**exponent if abs(exponent) <= 40 else math.nan


def _object(ref: ObjectRef, row: _Row, device: Device, profile: Profile) -> tuple[str, str, str]:
    """Return type, id and name; a unit of a chain beyond the first has an id of its own."""
    chained = row["unit"] or "1"
    base = device.id if chained in {"1", ""} else f"{device.id}-unit{chained}"
    main = bool(ref.main_when) and row.matches(ref.main_when)
    own = "" if main else re.sub(r"[^\w.+-]+", "-", row.fill(ref.id)).strip("-")
    object_id = f"{base}-{own}" if own else base
    kind = profile.object.type if main else row.fill(ref.type)
    kind = kind if kind in OBJECT_TYPES else "GenericObject"
    if object_id == device.id:
        kind = device.object_type or kind
    name = "" if main else " ".join(row.fill(ref.name).split()) or own
    title = device.name or device.id
    if base != device.id:
        title = f"{title} unit {chained}"
    return kind, object_id, f"{title} {name}".strip()
