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
from pathlib import Path

import pytest

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
}
"""Qualified names that something other than our code calls, each with who does."""

STILL_TO_BE_SEEN_TO: set[str] = {
    "analytics.anomaly.cdus.CduScorer.accept",
    "analytics.anomaly.episodes.episodes",
    "analytics.anomaly.gpus.GpuTable.of",
    "analytics.anomaly.loop.CoolingLoopDetector.explain",
    "analytics.anomaly.loop.CoolingLoopDetector.update",
    "analytics.anomaly.peers.peer_residual",
    "analytics.anomaly.peers.peer_spread",
    "analytics.anomaly.plant.ResistanceTrack",
    "analytics.anomaly.plant.ResistanceTrack.drift",
    "analytics.anomaly.plant.ResistanceTrack.resistance",
    "analytics.anomaly.plant.ResistanceTrack.update",
    "analytics.anomaly.plant.fouling",
    "analytics.anomaly.plant.heat_balance",
    "analytics.anomaly.plant.missing_from_sum",
    "analytics.anomaly.plant.pump_wear",
    "analytics.anomaly.racks.RackScorer.accept",
    "analytics.anomaly.residuals.ResidualTrack.accept",
    "analytics.anomaly.residuals.Stopped.accept",
    "analytics.anomaly.sensors.clock_verdict",
    "analytics.anomaly.stream.StreamDetector.explain",
    "analytics.anomaly.stream.StreamDetector.update",
    "analytics.anomaly.virtual.from_children",
    "analytics.anomaly.virtual.power_from_heat",
    "analytics.anomaly.virtual.return_from_heat",
    "collectors.nvml.agent.TraySweeps.points",
    "collectors.prometheus.collector.load_mapping",
    "collectors.prometheus.probe.examine_all",
    "collectors.snmp.mib.Mibs.columns",
    "collectors.snmp.profiles.json_schema",
    "collectors.snmp.pysnmp_client._NoCompiler.compile",
    "domain.errors.WriteRejected",
    "domain.points.PointRegistry.objects",
    "domain.topology.Topology.of_type",
    "simulator.factory.Factory.pdus",
    "simulator.workload.Job.scheduled",
    "storage.energy.counter_energy",
    "storage.ingest.Ingest.pending_rows",
    "storage.latest.LatestValues.received",
    "storage.reading_spool.ReadingSpool.size_bytes",
    "storage.tellers.Disagreement",
    "storage.tellers.Tellers.compare",
    "storage.transfer.copy_store",
}
"""Only ever shrinks: delete what is dead, give a caller to what was forgotten."""

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
        if external and _from_outside(module, owner.rpartition(".")[2], node.name):
            return
        name = f"{owner or module}.{node.name}"
        code.defined[name] = Defined(name, module, node.lineno, node.end_lineno, owner, protocol)

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


def _references(cache):
    """Return what mypy resolved: module, line, qualified name (``*.name`` where it knows no type)."""
    folder = next(cache.glob("3.*"))
    for path in folder.rglob("*.refs.json"):
        module = ".".join(path.relative_to(folder).parts)[: -len(".refs.json")].removesuffix(".__init__")
        if module.split(".")[0] in CALLING:
            for told in json.loads(path.read_bytes()):
                yield module, told["line"], told["target"]


def _unreached(code):
    methods = defaultdict(list)
    for defined in code.defined.values():
        if defined.owner:
            methods[defined.short].append(defined)
    parents = {name: {b.rpartition(".")[2] for b in bases} for name, bases in code.bases.items()}

    def related(a, b):
        """Return whether one of two classes derives from the other."""
        return a == b or any(_derives(parents, x, y) for x, y in ((a, b), (b, a)))

    uses = defaultdict(list)  # qualified name -> places that use it
    for module, line, target in code.references:
        if target in code.defined:
            uses[target].append((module, line))
        owner, _, short = target.rpartition(".")
        for method in methods.get(short, ()):
            loose = owner == "*" or "Protocol" in parents.get(owner, ())
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
        }
        if found.keys() == dead.keys():
            return dead
        dead = found


def _derives(parents, child, parent):
    waiting, seen, wanted = [child], set(), parent.rpartition(".")[2]
    while waiting:
        name = waiting.pop()
        if name in seen:
            continue
        seen.add(name)
        for base in parents.get(name, ()):
            if base == wanted:
                return True
            waiting += [other for other in parents if other.rpartition(".")[2] == base]
    return False


@pytest.mark.timeout(400)
def test_every_public_function_has_a_caller_outside_tests():
    cache = ROOT / ".mypy_cache" / "references"
    told = subprocess.run(
        [sys.executable, "-m", "mypy", "--export-ref-info", "--no-sqlite-cache", "--cache-dir", str(cache)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        env={**os.environ, "MYPY_FORCE_COLOR": "0"},
    )
    assert told.returncode == 0, told.stdout[-3000:] + told.stderr[-3000:]
    code = Code()
    for package in CALLING:
        for path in sorted((ROOT / package).rglob("*.py")):
            _read(code, path)
    code.references = list(_references(cache))
    assert len(code.references) > 10_000, "mypy told no references"
    unreached = _unreached(code).keys() - REACHED_OTHERWISE.keys()
    new, over = sorted(unreached - STILL_TO_BE_SEEN_TO), sorted(STILL_TO_BE_SEEN_TO - unreached)
    assert not new, "only tests call these, so delete them or call them: " + ", ".join(new)
    assert not over, "these have a caller now, so take them off the list: " + ", ".join(over)
