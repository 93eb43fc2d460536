"""Device profiles: what a device offers, as data (`config/devices/*.yaml`).

A profile says by which identity a device is recognised, which columns and scalars of which MIB hold readings, and
what each of them means: object, point type, unit, scale, states, values that stand for "no reading".
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
    WithJsonSchema,
    model_validator,
)

from domain.catalogue import ANY, OBJECT_TYPES, POINT_TYPES, STATE
from domain.errors import ConfigurationError, Problem
from domain.units import UNITS

DEVICES = Path(__file__).parents[2] / "config" / "devices"
"""Where the profiles that come with Hallwatch lie."""

_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_OID = re.compile(r"\d+(\.\d+)*")


def _numeric(value: Any) -> str:
    if isinstance(value, float):  # YAML has read 5.10 as 5.1 already
        raise ValueError(f"put the arcs in quotes: {value!r} is read as a number")
    text = str(value)
    if not _OID.fullmatch(text):
        raise ValueError(f"{text!r} is not a numeric OID; write digits and dots, with no leading dot")
    return text


def _pattern(value: Any) -> str:
    text = str(value)
    try:
        re.compile(text)
    except re.error as error:
        raise ValueError(f"{text!r} is not a regular expression: {error}") from error
    return text


# What YAML makes of an unquoted arc, pattern or word may be a number or a boolean.
Oid = Annotated[
    str,
    BeforeValidator(_numeric),
    WithJsonSchema({"anyOf": [{"type": "string", "pattern": r"^\d+(\.\d+)*$"}, {"type": "integer"}]}),
]
Pattern = Annotated[
    str, BeforeValidator(_pattern), WithJsonSchema({"anyOf": [{"type": "string"}, {"type": "integer"}]})
]
Text = Annotated[
    str,
    BeforeValidator(str),
    WithJsonSchema({"anyOf": [{"type": "string"}, {"type": "number"}, {"type": "boolean"}]}),
]
When = dict[str, Pattern]
StateMap = dict[int, Text]


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Match(_Model):
    """By what a device is recognised; all that is given must hold."""

    sysObjectID: Oid | None = Field(None, description="Prefix of SNMPv2-MIB sysObjectID.0")  # noqa: N815
    sysDescr: Pattern | None = Field(  # noqa: N815
        None, description="Regular expression searched in SNMPv2-MIB sysDescr.0"
    )
    exists: Oid | None = Field(None, description="The agent has something under this OID")
    tells: dict[Oid, Pattern] = Field(
        default_factory=dict, description="Scalars (with their .0) in whose text an expression is found"
    )

    @model_validator(mode="after")
    def _something(self) -> Match:
        if not (self.sysObjectID or self.sysDescr or self.exists or self.tells):
            raise ValueError("a match needs sysObjectID, sysDescr, exists or tells")
        return self


class ObjectRef(_Model):
    """The plant object that a reading belongs to; texts may hold {index} and {field} names."""

    type: str
    id: str = Field("", description="Appended to the device's id; empty for the device itself")
    name: str = Field("", description="What people call it, appended to the device's name")
    main_when: When = Field(
        default_factory=dict, description="Rows that belong to the device itself after all"
    )


class Lookup(_Model):
    """Another object of the agent that explains a row: its label, unit, scale, type, availability."""

    symbol: str
    at: Oid | None = Field(None, description="Arc below the table's oid")
    oid: Oid | None = Field(None, description="The column's own OID, where it is in another table")
    by: list[str] | None = Field(None, description="Which index names lead there; the whole index by default")
    words: dict[str, Text] = Field(default_factory=dict, description="Raw value to text")
    private: bool = Field(False, description="A text that the owner typed in: scrubbed from recordings")

    @model_validator(mode="after")
    def _one(self) -> Lookup:
        if (self.at is None) == (self.oid is None):
            raise ValueError("a field needs exactly one of at and oid")
        return self


class ScaleBy(_Model):
    """A factor that the device itself tells in a field."""

    field: str
    how: Literal["decimals", "divisor", "signed", "factor", "exponent", "si"] = Field(
        description="decimals: 10^-n; divisor: 1/n; signed: n, or 1/|n| where negative (0 is 1); factor: n; "
        "exponent: 10^n; si: EntitySensorDataScale of RFC 3433, 9 is 1"
    )
    otherwise: float | None = Field(None, description="Instead of n where the device does not tell it")


class Meaning(_Model):
    """What a value means; a rule holds some of these and overrides the value's own."""

    point: str | None = Field(None, description="Point type of the catalogue")
    unit: str | None = Field(None, description="Unit of the scaled value; may hold {field} names")
    scale: float | list[ScaleBy | float] | None = None
    offset: float | None = Field(None, description="Added after scaling, in `unit`")
    name: str | None = Field(None, description="What people call it; may hold {index} and {field} names")
    object: ObjectRef | None = None
    phase: str | None = Field(None, description="1, 2, 3 or A, B, C; may hold {index} and {field} names")
    area: list[str] | None = Field(
        None, description="DSX processArea that tells it from others of its type, such as Supply and Return"
    )
    states: str | StateMap | None = Field(
        None, description="Name of one of the profile's state maps, or a map"
    )
    none: list[int | str] | None = Field(None, description="Raw values that stand for no reading")
    setpoint: bool | None = None
    slow: bool | None = Field(None, description="Read with the inventory, not at each poll")
    rate: Literal[32, 64] | None = Field(None, description="A counter of so many bits, told as a rate")
    signed: Literal[8, 16, 32] | None = Field(
        None, description="A signed number of so many bits that the agent sends as an unsigned one"
    )
    bits: bool | None = Field(
        None,
        description="A BITS string: its state is the number of the first bit that is set, -1 where none is",
    )
    skip: bool | None = Field(None, description="The row is no reading")


class Rule(Meaning):
    """Overrides for the rows whose index parts and fields match."""

    when: When = Field(description="Index or field name to regular expression that its whole text matches")


class Value(Meaning):
    """A column, or a scalar of a group, that holds readings."""

    at: Oid = Field(description="Arc below the table's oid")
    symbol: str = Field(description="The object's name in its MIB")
    rules: list[Rule] = Field(default_factory=list, description="The first that matches counts")
    only_rules: bool = Field(False, description="Rows that match no rule are no readings")
    absent_when: When = Field(default_factory=dict, description="Fields whose value says: no reading now")


class Table(_Model):
    """A conceptual table, or with an empty index a group of scalars."""

    oid: Oid = Field(description="OID of the table's entry, or the parent of the scalars")
    symbol: str = Field(description="Name of the table or group in its MIB")
    index: list[str] = Field(
        default_factory=list, description="Names of the index parts; the last takes the rest"
    )
    fields: dict[str, Lookup] = Field(default_factory=dict)
    object: ObjectRef | None = None
    skip_when: When = Field(default_factory=dict, description="Rows that are no readings")
    values: list[Value]


class Derived(_Model):
    """A point of the collector's own: the sum, per object, of what one column holds."""

    point: str
    sum_of: str = Field(description="Symbol of the column")
    object: ObjectRef | None = None


class Correction(_Model):
    """A scale that devices of a family are known to get wrong, put right where their values prove it."""

    symbols: list[str] = Field(description="Columns that are wrong together")
    scale: float = Field(description="By which their values are multiplied then")
    cannot_be: float = Field(
        description="Applied where every value of the columns that is not zero is above this, in the value's unit"
    )
    because: str = Field(description="What is known of such devices")


class Profile(_Model):
    """One device family.

    Attributes
    ----------
    proven
        Whether a walk of a real device has been replayed against it.
    """

    name: str
    title: str
    proven: bool = False
    source: str = Field("", description="Which MIBs and which recording")
    extends: list[str] = Field(default_factory=list)
    match: list[Match] = Field(default_factory=list)
    by_word_only: bool = Field(
        False, description="Its OIDs mean other things on other devices: read only where its match holds"
    )
    object: ObjectRef = Field(default_factory=lambda: ObjectRef(type="GenericObject"))
    states: dict[str, StateMap] = Field(default_factory=dict)
    units: dict[str, str] = Field(default_factory=dict, description="The device's unit texts to ours")
    none: list[int | str] = Field(
        default_factory=list, description="No reading, in every value of the profile"
    )
    tables: list[Table] = Field(default_factory=list)
    derived: list[Derived] = Field(default_factory=list)
    corrections: list[Correction] = Field(default_factory=list)

    def problems(self) -> Iterator[tuple[str, str]]:
        """Yield (where, what) of everything the models alone cannot see."""
        symbols: dict[str, str] = {}
        for table in self.tables:
            names = {*table.index, *table.fields}
            for value in table.values:
                where = f"{table.symbol}.{value.symbol}"
                oid = f"{table.oid}.{value.at}"
                if symbols.setdefault(value.symbol, oid) != oid:
                    yield where, f"the symbol stands for {symbols[value.symbol]} and {oid}"
                for meaning in (value, *value.rules):
                    yield from (
                        (where, text) for text in self._meaning_problems(value, meaning, table, names)
                    )
                for name in (n for rule in value.rules for n in rule.when):
                    if name not in names:
                        yield where, f"a rule asks for {name!r}, which is neither index nor field"
                for name in value.absent_when:
                    if name not in table.fields:
                        yield where, f"absent_when asks for {name!r}, which is no field"
            for field, lookup in table.fields.items():
                for part in lookup.by or ():
                    if part not in table.index:
                        yield f"{table.symbol}.{field}", f"looked up by {part!r}, which is no index part"
        for derived in self.derived:
            if derived.sum_of not in symbols:
                yield f"derived {derived.point}", f"no value has the symbol {derived.sum_of!r}"
        for correction in self.corrections:
            for symbol in correction.symbols:
                if symbol not in symbols:
                    yield f"correction by {correction.scale:g}", f"no value has the symbol {symbol!r}"

    def _meaning_problems(
        self, value: Value, meaning: Meaning, table: Table, names: set[str]
    ) -> Iterator[str]:
        point = POINT_TYPES.get(meaning.point) if meaning.point else None
        if meaning.point and point is None:
            yield f"{meaning.point!r} is no point type of the catalogue"
        unit = meaning.unit or ""
        if unit and "{" not in unit and unit not in UNITS:
            yield f"unknown unit {unit!r}"
        if point and unit in UNITS and point.unit not in {ANY, UNITS[unit].canonical} and not meaning.rate:
            yield f"{point.name} is told in {point.unit or 'states'}, not in {unit}"
        if (
            point
            and point.unit not in {ANY, STATE}
            and meaning is value
            and not (unit or value.states or value.rules)
        ):
            yield f"{point.name} needs a unit"
        if (
            isinstance(meaning.states, str)
            and "{" not in meaning.states
            and meaning.states not in self.states
        ):
            yield f"no state map is called {meaning.states!r}"
        for ref in (meaning.object, table.object):
            if ref is not None and ref.type not in OBJECT_TYPES and "{" not in ref.type:
                yield f"{ref.type!r} is no object type of the catalogue"
        for text in (meaning.unit, meaning.name, meaning.phase, meaning.object and meaning.object.id):
            for name in re.findall(r"{(\w+)}", text or ""):
                if name not in names:
                    yield f"{{{name}}} is neither index nor field"
        scale = meaning.scale
        for part in scale if isinstance(scale, list) else ():
            if isinstance(part, ScaleBy) and part.field not in names:
                yield f"scaled by {part.field!r}, which is neither index nor field"


def load_profiles(
    folder: Path = DEVICES, *, known: Mapping[str, Profile] | None = None
) -> dict[str, Profile]:
    """Return every profile of a folder by name, what they extend merged in.

    Parameters
    ----------
    folder
        Where the `*.yaml` lie.
    known
        Profiles that those of the folder may extend, and that stay in the result.

    Raises
    ------
    ConfigurationError
        Naming file, place and remedy of every fault.
    """
    raw: dict[str, Profile] = {}
    files: dict[str, str] = {}
    problems: list[Problem] = []
    for path in sorted(folder.glob("*.yaml")):
        try:
            data = yaml.load(path.read_text("utf-8"), Loader=_LOADER)  # noqa: S506
            profile = Profile.model_validate(data)
        except yaml.YAMLError as error:
            mark = getattr(error, "problem_mark", None)
            problems.append(
                Problem(str(path), "", f"not YAML: {error}", line=mark.line + 1 if mark is not None else None)
            )
        except ValidationError as error:
            problems += [
                Problem(str(path), ".".join(map(str, e["loc"])), e["msg"], "See docs/how-to/add-a-device.md")
                for e in error.errors()
            ]
        else:
            if profile.name != path.stem:
                problems.append(
                    Problem(
                        str(path), "name", f"{profile.name!r} differs from the file's name", "Make them equal"
                    )
                )
            raw[profile.name] = profile
            files[profile.name] = str(path)
    everything = {**(known or {}), **raw}
    merged: dict[str, Profile] = dict(known or {})
    for name in raw:
        try:
            merged[name] = _merge(name, everything, ())
        except KeyError as error:
            problems.append(Problem(files[name], "extends", f"no profile is called {error.args[0]!r}"))
        except RecursionError as error:
            problems.append(Problem(files[name], "extends", str(error)))
        else:
            problems += [Problem(files[name], where, what) for where, what in merged[name].problems()]
    if problems:
        raise ConfigurationError(*problems)
    return merged


def _merge(name: str, profiles: Mapping[str, Profile], seen: tuple[str, ...]) -> Profile:
    profile = profiles[name]
    if name in seen:
        raise RecursionError(f"{' extends '.join((*seen, name))}: a circle")
    for parent_name in profile.extends:
        parent = _merge(parent_name, profiles, (*seen, name))
        own = {table.oid for table in profile.tables}
        # A table of the parent keeps the meaning that its own profile gives it.
        keep_object = "object" not in profile.model_fields_set
        inherited = [_bound(table, parent, keep_object) for table in parent.tables if table.oid not in own]
        profile = profile.model_copy(
            update={
                "states": {**parent.states, **profile.states},
                "units": {**parent.units, **profile.units},
                "tables": [*profile.tables, *inherited],
                "corrections": [*profile.corrections, *parent.corrections],
                "derived": [*profile.derived, *(d for d in parent.derived if d not in profile.derived)],
            }
        )
    return profile.model_copy(update={"extends": []})


def _bound(table: Table, parent: Profile, keep_object: bool) -> Table:
    values = [_with_parents(v, parent) for v in table.values]
    return table.model_copy(
        update={"values": values, "object": table.object or (parent.object if keep_object else None)}
    )


def _with_parents(value: Value, parent: Profile) -> Value:
    """Return a value as its own profile means it, whatever the child calls by the same names."""
    update: dict[str, Any] = {}
    if value.none is None and parent.none:
        update["none"] = list(parent.none)
    if isinstance(value.states, str) and value.states in parent.states:
        update["states"] = parent.states[value.states]
    if any(isinstance(rule.states, str) and rule.states in parent.states for rule in value.rules):
        update["rules"] = [
            rule.model_copy(update={"states": parent.states[rule.states]})
            if isinstance(rule.states, str) and rule.states in parent.states
            else rule
            for rule in value.rules
        ]
    return value.model_copy(update=update) if update else value


@cache
def shipped_profiles() -> Mapping[str, Profile]:
    """Return the profiles that come with Hallwatch."""
    return load_profiles()
