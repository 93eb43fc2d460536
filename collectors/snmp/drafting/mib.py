"""What MIB files say of their objects: names, OIDs, syntax, units, indexes, enumerations.

Vendors' MIBs break the grammar in every way (a comma too many, an import that nobody has, a macro written out), and a
strict compiler then gives nothing at all. This reader takes what it understands, object by object, and needs no imports
that it can do without. A test holds it against pysmi on every MIB that pysmi compiles.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from collectors.snmp.walk import arcs
from domain.errors import InputError

LARGEST = 8 * 1024 * 1024
"""Bytes of a file that is read as a MIB; the largest known has three million."""

_TOKEN = re.compile(
    r'"[^"]*"|--[^\n]*|::=|\.\.|[{}(),;|\[\]]|\'[0-9A-Fa-f\s]*\'[HhBb]|-?\d[\w-]*|[A-Za-z_][\w.-]*|\S'
)
_ROOTS = {
    "iso": "1",
    "org": "1.3",
    "dod": "1.3.6",
    "internet": "1.3.6.1",
    "mgmt": "1.3.6.1.2",
    "mib-2": "1.3.6.1.2.1",
    "transmission": "1.3.6.1.2.1.10",
    "private": "1.3.6.1.4",
    "enterprises": "1.3.6.1.4.1",
    "snmpV2": "1.3.6.1.6",
    "snmpModules": "1.3.6.1.6.3",
    "zeroDotZero": "0.0",
    "upsMIB": "1.3.6.1.2.1.33",
}
_STANDARD_TYPES = {
    **dict.fromkeys(
        (
            "Integer32",
            "Unsigned32",
            "Gauge32",
            "Gauge",
            "Counter32",
            "Counter",
            "Counter64",
            "TimeTicks",
            "TruthValue",
        ),
        "INTEGER",
    ),
    **dict.fromkeys(("DisplayString", "SnmpAdminString"), "OCTET STRING"),
}
"""What every agent knows, where the standard's own files are not at hand."""
_CLAUSES = frozenset(
    {
        "OBJECT-TYPE",
        "MODULE-IDENTITY",
        "OBJECT-IDENTITY",
        "NOTIFICATION-TYPE",
        "OBJECT-GROUP",
        "NOTIFICATION-GROUP",
        "MODULE-COMPLIANCE",
        "AGENT-CAPABILITIES",
    }
)
_KEYWORDS = frozenset(
    {
        "SYNTAX",
        "UNITS",
        "ACCESS",
        "MAX-ACCESS",
        "STATUS",
        "DESCRIPTION",
        "REFERENCE",
        "INDEX",
        "AUGMENTS",
        "DEFVAL",
        "DISPLAY-HINT",
        "::=",
    }
)


@dataclass(frozen=True, slots=True)
class Syntax:
    """What an object's values look like.

    Attributes
    ----------
    base
        INTEGER, OCTET STRING, Counter32, ... as far as it could be followed.
    name
        As the object names it: perhaps a textual convention.
    enumeration
        Numbers to labels, of INTEGER and BITS.
    hint
        DISPLAY-HINT, its own or that of its convention.
    high
        Upper end of its range, where one is told.
    described
        What its textual convention says of itself.
    """

    base: str
    name: str
    enumeration: Mapping[int, str] = field(default_factory=dict)
    hint: str = ""
    high: int | None = None
    described: str = ""


@dataclass(slots=True)
class MibObject:
    """One object of a MIB.

    Attributes
    ----------
    kind
        "scalar", "column", "row", "table" or "node".
    index
        Names of the index objects, of a row.
    """

    name: str
    module: str
    oid: str
    kind: str = "node"
    syntax: Syntax = field(default_factory=lambda: Syntax("", ""))
    units: str = ""
    access: str = ""
    description: str = ""
    index: tuple[str, ...] = ()
    augments: str = ""

    @property
    def parent(self) -> str:
        """OID of the node above."""
        return self.oid.rpartition(".")[0]


@dataclass(slots=True)
class _Raw:
    """An assignment whose parent is not yet resolved."""

    kind: str
    value: list[str]
    syntax: list[str] = field(default_factory=list)
    units: str = ""
    access: str = ""
    description: str = ""
    index: tuple[str, ...] = ()
    augments: str = ""


@dataclass(slots=True)
class _Module:
    name: str
    imports: dict[str, str] = field(default_factory=dict)
    values: dict[str, _Raw] = field(default_factory=dict)
    types: dict[str, tuple[list[str], str, str]] = field(default_factory=dict)


class Mibs:
    """All objects of some MIB files, by OID.

    Parameters
    ----------
    files
        MIB files, or folders in which every file that looks like one is read.
    beside
        Files whose types and nodes may be needed (standard MIBs), and whose own objects are left out.
    roots
        OIDs of nodes that are imported from files that nobody has.

    Raises
    ------
    InputError
        Where nothing could be read at all.
    """

    def __init__(
        self, files: Iterable[Path], beside: Iterable[Path] = (), *, roots: Mapping[str, str] | None = None
    ) -> None:
        self._modules: dict[str, _Module] = {}
        self._roots = {**_ROOTS, **(roots or {})}
        self.skipped: list[str] = []
        """What was not understood, and where."""
        own = [m for path in _files(files) for m in self._load(path)]
        for path in _files(beside):
            self._load(path)
        self._oids: dict[tuple[str, str], str | None] = {}
        self.objects: dict[str, MibObject] = {}
        for name in own:
            self._resolve_all(self._modules[name])
        if not self.objects:
            raise InputError("no object was found in " + ", ".join(str(f) for f in files))
        self._classify()

    def by_name(self, name: str) -> MibObject | None:
        """Return an object by its name, or None."""
        return next((o for o in self.objects.values() if o.name == name), None)

    def _load(self, path: Path) -> list[str]:
        if path.stat().st_size > LARGEST:
            self.skipped.append(f"{path.name}: larger than {LARGEST:,} bytes")
            return []
        found = []
        for module in _modules(path.read_text("utf-8", errors="replace")):
            if module.values or module.types:
                self._modules.setdefault(module.name, module)
                found.append(module.name)
        if not found:
            self.skipped.append(f"{path.name}: no MIB module")
        return found

    def _resolve_all(self, module: _Module) -> None:
        for name, raw in module.values.items():
            oid = self._oid(module, name, ())
            if not oid:
                self.skipped.append(f"{module.name}: {name} hangs under nothing that is known")
                continue
            if raw.kind in {"NOTIFICATION-TYPE", "TRAP-TYPE"}:
                continue
            obj = MibObject(
                name,
                module.name,
                oid,
                syntax=self._syntax(module, raw.syntax, 0),
                units=raw.units,
                access=raw.access,
                description=raw.description,
                index=raw.index,
                augments=raw.augments,
            )
            obj.kind = "object" if raw.kind == "OBJECT-TYPE" else "node"
            if self.objects.get(oid) is None or obj.kind == "object":
                self.objects[oid] = obj

    def _classify(self) -> None:
        self.objects = dict(sorted(self.objects.items(), key=lambda item: arcs(item[0])))
        for obj in self.objects.values():
            if obj.kind != "object":
                continue
            above = self.objects.get(obj.parent)
            if obj.syntax.base == "SEQUENCE OF":
                obj.kind = "table"
            elif obj.index or obj.augments or (above is not None and above.kind == "table"):
                obj.kind = "row"
            elif above is not None and above.kind == "row":
                obj.kind = "column"
            else:
                obj.kind = "scalar"
        for obj in self.objects.values():
            if obj.kind == "row" and obj.augments and not obj.index:
                augmented = self.by_name(obj.augments)
                obj.index = augmented.index if augmented is not None else ("row",)

    def _oid(self, module: _Module, name: str, seen: tuple[tuple[str, str], ...]) -> str | None:
        key = (module.name, name)
        if key in self._oids:
            return self._oids[key]
        if key in seen:
            return None
        raw = module.values.get(name)
        found: str | None = None
        if raw is None:
            home = self._modules.get(module.imports.get(name, ""))
            if home is not None and home is not module and name in home.values:
                found = self._oid(home, name, (*seen, key))
            elif name in self._roots:
                found = self._roots[name]
            else:
                other = next((m for m in self._modules.values() if name in m.values), None)
                found = self._oid(other, name, (*seen, key)) if other is not None else None
        else:
            found = self._value(module, raw.value, (*seen, key))
        self._oids[key] = found
        return found

    def _value(self, module: _Module, value: list[str], seen: tuple[tuple[str, str], ...]) -> str | None:
        """Return the OID that the inside of `{ parent name(1) 2 }` stands for."""
        parts: list[str] = []
        at = 0
        while at < len(value):
            word = value[at]
            if word.isdigit():
                parts.append(word)
            elif at + 2 < len(value) and value[at + 1] == "(" and value[at + 2].isdigit():
                if not parts and word not in self._roots and (base := self._oid(module, word, seen)):
                    parts.append(base)
                else:
                    parts.append(value[at + 2])
                at += 3
            elif "." in word and not parts:
                head, _, tail = word.partition(".")
                base = self._oid(module, head, seen)
                if base is None:
                    return None
                parts += [base, tail]
            else:
                base = self._oid(module, word, seen)
                if base is None:
                    return None
                parts = [base]
            at += 1
        oid = ".".join(parts)
        return oid if re.fullmatch(r"\d+(\.\d+)*", oid) else None

    def _syntax(self, module: _Module, words: list[str], depth: int) -> Syntax:
        if not words or depth > 8:
            return Syntax("", "")
        head = words[0]
        if words[:2] == ["SEQUENCE", "OF"]:
            return Syntax("SEQUENCE OF", words[2] if len(words) > 2 else "")
        if head in {"OCTET", "OBJECT"}:
            return Syntax(f"{head} {words[1] if len(words) > 1 else ''}".strip(), "", high=None)
        numbers = _enumeration(words[1:])
        high = _high(words[1:])
        home, convention = module, module.types.get(head)
        if convention is None:
            home = self._modules.get(module.imports.get(head, ""), module)
            convention = home.types.get(head)
        if convention is None:
            for other in self._modules.values():
                if head in other.types:
                    home, convention = other, other.types[head]
                    break
        if convention is None:
            base = _STANDARD_TYPES.get(head, head)
            if head == "TruthValue":
                numbers = numbers or {1: "true", 2: "false"}
            return Syntax(base, head, numbers, high=high)
        under = self._syntax(home, convention[0], depth + 1)
        return Syntax(
            under.base,
            head,
            numbers or under.enumeration,
            convention[1] or under.hint,
            high if high is not None else under.high,
            f"{convention[2]} {under.described}".strip(),
        )


def _files(paths: Iterable[Path]) -> Iterator[Path]:
    for path in paths:
        if path.is_dir():
            yield from sorted(p for p in path.iterdir() if p.is_file() and not p.name.startswith("."))
        elif path.is_file():
            yield path
        else:
            raise InputError(f"{path} is neither a file nor a folder")


def _modules(source: str) -> Iterator[_Module]:
    tokens = [t for t in _TOKEN.findall(source) if not t.startswith("--")]
    starts = [i for i, t in enumerate(tokens) if t == "DEFINITIONS" and i]
    for n, start in enumerate(starts):
        end = starts[n + 1] - 1 if n + 1 < len(starts) else len(tokens)
        name = tokens[start - 1]
        if name == "}":  # NAME { 1 3 6 1 } DEFINITIONS
            back = start - 1
            while back > 0 and tokens[back] != "{":
                back -= 1
            name = tokens[back - 1]
        module = _Module(name)
        _read_module(module, tokens, start + 1, end)
        yield module


def _read_module(module: _Module, tokens: list[str], at: int, end: int) -> None:
    while at < end:
        word = tokens[at]
        following = tokens[at + 1] if at + 1 < end else ""
        if word == "IMPORTS":
            at = _imports(module, tokens, at + 1, end)
        elif following == "MACRO":
            at = _after(tokens, at, end, "END")
        elif following in _CLAUSES and _is_name(word):
            raw, at = _clause(tokens, at + 1, end)
            if raw is not None:
                module.values.setdefault(word, raw)
        elif following == "OBJECT" and tokens[at + 2 : at + 4] == ["IDENTIFIER", "::="]:
            value, at = _braces(tokens, at + 4, end)
            module.values.setdefault(word, _Raw("OBJECT IDENTIFIER", value))
        elif following == "TRAP-TYPE":
            at += 2
        elif following == "::=" and word[:1].isupper():
            at = _type(module, tokens, at, end)
        else:
            at += 1


def _is_name(word: str) -> bool:
    return word[:1].isalpha() and word not in _KEYWORDS


def _after(tokens: list[str], at: int, end: int, word: str) -> int:
    while at < end and tokens[at] != word:
        at += 1
    return at + 1


def _imports(module: _Module, tokens: list[str], at: int, end: int) -> int:
    names: list[str] = []
    while at < end and tokens[at] != ";":
        if tokens[at] == "FROM" and at + 1 < end:
            module.imports |= dict.fromkeys(names, tokens[at + 1])
            names = []
            at += 1
        elif tokens[at] in _CLAUSES and at + 1 < end and tokens[at + 1] in {"SYNTAX", "LAST-UPDATED"}:
            return at - 1  # the semicolon was forgotten
        elif tokens[at] != ",":
            names.append(tokens[at])
        at += 1
    return at + 1


def _braces(tokens: list[str], at: int, end: int) -> tuple[list[str], int]:
    """Return what stands between the braces that open at or right after `at`, and the place behind them."""
    while at < end and tokens[at] != "{":
        at += 1
    depth = 0
    inside: list[str] = []
    while at < end:
        if tokens[at] == "{":
            depth += 1
        elif tokens[at] == "}":
            depth -= 1
            if not depth:
                return inside, at + 1
        if tokens[at] != "{" or depth > 1:
            inside.append(tokens[at])
        at += 1
    return inside, at


def _clause(tokens: list[str], at: int, end: int) -> tuple[_Raw | None, int]:
    kind = tokens[at]
    raw = _Raw(kind, [])
    begin = at
    at += 1
    while at < end:
        word = tokens[at]
        if word == "::=":
            raw.value, at = _braces(tokens, at + 1, end)
            return raw, at
        if word in _CLAUSES or word == "DEFINITIONS":
            return None, begin + 1  # it ends without a value: go on with the next
        if word == "SYNTAX" and not raw.syntax:
            stop = at + 1
            depth = 0
            while stop < end and (depth or tokens[stop] not in _KEYWORDS):
                depth += (tokens[stop] in "{(") - (tokens[stop] in "})")
                stop += 1
            raw.syntax = tokens[at + 1 : stop]
            at = stop
        elif word in {"UNITS", "DESCRIPTION"} and at + 1 < end and tokens[at + 1].startswith('"'):
            said = " ".join(tokens[at + 1].strip('"').split())
            if word == "UNITS":
                raw.units = said
            else:
                raw.description = raw.description or said
            at += 2
        elif word in {"ACCESS", "MAX-ACCESS"} and at + 1 < end:
            raw.access = tokens[at + 1]
            at += 2
        elif word in {"INDEX", "AUGMENTS"}:
            inside, at = _braces(tokens, at + 1, end)
            names = tuple(w for w in inside if _is_name(w) and w != "IMPLIED")
            if word == "INDEX":
                raw.index = names
            else:
                raw.augments = names[0] if names else ""
        elif word == "DEFVAL":
            _, at = _braces(tokens, at + 1, end)
        else:
            at += 1
    return None, end


def _type(module: _Module, tokens: list[str], at: int, end: int) -> int:
    """Read `Name ::= TEXTUAL-CONVENTION ...`, `Name ::= INTEGER { ... }`; a SEQUENCE is passed over."""
    name, start = tokens[at], at + 2
    if start < end and tokens[start] == "SEQUENCE":
        return _braces(tokens, start, end)[1] if tokens[start + 1 : start + 2] == ["{"] else start + 1
    if start < end and tokens[start] == "CHOICE":
        return _braces(tokens, start, end)[1]
    hint = description = ""
    here = start
    if start < end and tokens[start] == "TEXTUAL-CONVENTION":
        while here < end and tokens[here] != "SYNTAX":
            if tokens[here] == "DISPLAY-HINT" and tokens[here + 1 : here + 2]:
                hint = tokens[here + 1].strip('"')
            elif tokens[here] == "DESCRIPTION" and tokens[here + 1 : here + 2]:
                description = " ".join(tokens[here + 1].strip('"').split())
            elif tokens[here] == "::=":
                return here
            here += 1
        here += 1
    syntax = tokens[here : here + 1]
    here += 1
    if syntax == ["["]:  # [APPLICATION 2] IMPLICIT INTEGER
        while here < end and tokens[here] not in {"INTEGER", "OCTET"}:
            here += 1
        syntax = tokens[here : here + 1]
        here += 1
    if syntax and syntax[0] in {"OCTET", "OBJECT"}:
        syntax += tokens[here : here + 1]
        here += 1
    while here < end and tokens[here] in {"{", "("}:
        depth = 0
        while here < end:
            depth += (tokens[here] in "{(") - (tokens[here] in "})")
            syntax.append(tokens[here])
            here += 1
            if not depth:
                break
    module.types.setdefault(name, (syntax, hint, description))
    return here


def _enumeration(words: list[str]) -> dict[int, str]:
    """Return the numbers and labels of `{ ok(1), failed(2) }`."""
    found: dict[int, str] = {}
    if not words or words[0] != "{":
        return found
    for at in range(len(words) - 3):
        label, opening, number, closing = words[at : at + 4]
        if opening == "(" and closing == ")" and re.fullmatch(r"-?\d+", number) and label not in "{},":
            found.setdefault(int(number), label)
    return found


def _high(words: list[str]) -> int | None:
    """Return the upper end of `(0..100)`."""
    for at in range(len(words) - 2):
        if words[at + 1] == ".." and re.fullmatch(r"-?\d+", words[at + 2]):
            return int(words[at + 2])
    return None
