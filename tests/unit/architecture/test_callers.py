"""What only tests call is dead or forgotten: every public function, class and method has a caller in the product.

References are those that mypy resolves, so that `engine.clear()` is not taken for `set().clear()`. What nothing but dead
code refers to is dead too.
"""

import ast
import importlib
import json
import os
import subprocess
import sys
from collections import defaultdict
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parents[3]
PACKAGES = [
    "domain",
    "storage",
    "collectors",
    "analytics",
    "alerts",
    "dashboard",
    "partners",
    "simulator",
    "service",
]
CALLING = [*PACKAGES, "benchmarks"]

REACHED_OTHERWISE = {
    "service.cli.main": "the command itself, named in pyproject.toml",
    "collectors.mqtt.receive.BufferedSocket.pending": "paho, before it waits for the socket",
    "collectors.snmp.pysnmp_client._NoCompiler.compile": "pysnmp, for a MIB that it lacks",
}
"""Qualified names that something other than our code calls, each with who does."""

TRANSPARENT = {
    *(
        "staticmethod",
        "classmethod",
        "property",
        "cached_property",
        "setter",
        "cache",
        "lru_cache",
        "dataclass",
    ),
    *("contextmanager", "asynccontextmanager", "overload", "abstractmethod", "override", "total_ordering"),
}
"""Decorators that call nothing; any other hands the function to a framework, which calls it."""


@dataclass
class Defined:
    """A public function, class or method; `owner` is the class of a method."""

    name: str
    module: str
    first: int
    last: int
    owner: str = ""
    protocol: bool = False
    external: bool = False  # of a class that derives from another

    @property
    def short(self):
        return self.name.rpartition(".")[2]


@dataclass
class Code:
    """All that is defined, who derives from whom, and every place that refers to a name."""

    defined: dict[str, Defined] = field(default_factory=dict)
    bases: dict[str, set[str]] = field(default_factory=lambda: defaultdict(set))
    annotations: list[tuple[str, int, str]] = field(
        default_factory=list
    )  # module, line, simple name of a class
    references: list[tuple[str, int, str]] = field(default_factory=list)  # module, line, qualified name


def _module(path):
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def _names(nodes):
    for node in nodes:
        target = node.func if isinstance(node, ast.Call) else node
        while isinstance(target, ast.Subscript):
            target = target.value
        yield target.attr if isinstance(target, ast.Attribute) else getattr(target, "id", "")


@cache
def _from_outside(module, owner, method):
    """Return whether a library's class, from which this one derives, has such a method and calls it."""
    found = getattr(importlib.import_module(module), owner)
    outside = [b for b in found.__mro__[1:] if b.__module__.split(".")[0] not in CALLING and b is not object]
    return any(method in vars(base) for base in outside)


def _read(code, path):
    module, tree = _module(path), ast.parse(path.read_text())

    def define(node, owner, public, external, protocol):
        listed = set(_names(node.decorator_list)) <= TRANSPARENT
        if not public or node.name.startswith("_") or not listed or module.startswith("benchmarks"):
            return
        name = f"{owner or module}.{node.name}"
        code.defined[name] = Defined(name, module, node.lineno, node.end_lineno, owner, protocol, external)

    for node in tree.body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            define(node, "", True, False, False)
        elif isinstance(node, ast.ClassDef):
            bases = set(_names(node.bases))
            define(node, "", True, False, "Protocol" in bases)
            code.bases[f"{module}.{node.name}"] = bases
            for inner in node.body:
                if isinstance(inner, ast.FunctionDef | ast.AsyncFunctionDef):
                    external = bool(bases - {"Protocol", "object"})
                    define(inner, f"{module}.{node.name}", True, external, "Protocol" in bases)
    imports = {id(n) for n in ast.walk(tree) if isinstance(n, ast.Import | ast.ImportFrom)}
    for node in ast.walk(tree):
        if id(node) not in imports and isinstance(node, ast.Name | ast.Attribute):
            name = node.attr if isinstance(node, ast.Attribute) else node.id
            code.annotations.append((module, node.lineno, name))


def _references(folder, paths):
    """Return what mypy resolved: module, line, qualified name (``*.name`` where it knows no type)."""
    for path in paths:
        told = folder / path.relative_to(ROOT).with_suffix(".refs.json")
        for reference in json.loads(told.read_bytes()):
            yield _module(path), reference["line"], reference["target"]


def _unreached(code):
    methods = defaultdict(list)
    for defined in code.defined.values():
        if defined.owner:
            methods[defined.short].append(defined)
    ancestry = _ancestry(code)

    def related(a, b):
        """Return whether one of two classes derives from the other."""
        return a == b or any(y.rpartition(".")[2] in ancestry.get(x, ()) for x, y in ((a, b), (b, a)))

    uses = defaultdict(list)  # qualified name -> places that use it
    for module, line, target in code.references:
        if target in code.defined:
            uses[target].append((module, line))
        owner, _, short = target.rpartition(".")
        for method in methods.get(short, ()):
            loose = owner == "*" or "Protocol" in code.bases.get(owner, ())
            if loose or (target != method.name and related(owner, method.owner)):
                uses[method.name].append((module, line))
    by_short = defaultdict(list)
    for defined in code.defined.values():
        if not defined.owner:
            by_short[defined.short].append(defined)
    for module, line, name in code.annotations:
        for defined in by_short.get(name, ()):
            uses[defined.name].append((module, line))

    dead = {}
    while True:
        graves = defaultdict(list)
        for d in dead.values():
            graves[d.module].append((d.first, d.last))
        found = {
            name: d
            for name, d in code.defined.items()
            if not d.protocol
            and not any(
                not (module == d.module and d.first <= line <= d.last)
                and not any(first <= line <= last for first, last in graves[module])
                for module, line in uses[name]
            )
            and not (d.external and _from_outside(d.module, d.owner.rpartition(".")[2], d.short))
        }
        if found.keys() == dead.keys():
            return dead
        dead = found


def _ancestry(code):
    """Return the simple names of all that each class derives from, by its qualified name."""
    bases = defaultdict(set)  # by simple name: which of two classes of one name is meant is not told
    for name, told in code.bases.items():
        bases[name.rpartition(".")[2]] |= told
    ancestry = {}
    for name in code.bases:
        waiting, seen = list(bases[name.rpartition(".")[2]]), set()
        while waiting:
            short = waiting.pop()
            if short not in seen:
                seen.add(short)
                waiting += bases.get(short, ())
        ancestry[name] = seen
    return ancestry


def test_every_public_function_has_a_caller_outside_tests():
    # the very run of `make check`, which comes first in CI: nothing is left to do but to read what it found
    told = subprocess.run(
        [sys.executable, "-m", "mypy"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        env={**os.environ, "MYPY_FORCE_COLOR": "0"},
    )
    assert told.returncode == 0, told.stdout[-3000:] + told.stderr[-3000:]
    paths = [path for package in CALLING for path in sorted((ROOT / package).rglob("*.py"))]
    code = Code()
    for path in paths:
        _read(code, path)
    code.references = list(_references(next((ROOT / ".mypy_cache").glob("3.*")), paths))
    assert len(code.references) > 10_000, "mypy told no references"
    unreached = _unreached(code).keys() - REACHED_OTHERWISE.keys()
    unreached = sorted(unreached)
    assert not unreached, "only tests call these, so delete them or call them: " + ", ".join(unreached)
