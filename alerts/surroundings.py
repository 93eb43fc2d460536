"""What hangs around an alert: where its object stands in the plant, and what depends on it."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Any

import numpy as np

from alerts.incidents.reach import groups
from alerts.notify.facts import Facts, Place
from alerts.rules.settings import AnyRule, EnvelopeExceeded, EnvelopePredicted, Limit
from alerts.view import View
from domain.alert import Alert
from domain.points import PointRegistry, ValueArray
from domain.topology import Topology

MOST_NAMED = 6
"""Objects of one kind that are named; the rest is counted."""
MOST_SOURCES = 10_000
_EXPECTED = {
    "RackLiquidSupply": "ExpectedSupplyTemperature",
    "RackLiquidReturn": "ExpectedReturnTemperature",
    "GpuTemperature": "ExpectedGpuTemperature",
}
"""What is expected of a quantity, by how its point types begin."""
_ABOVE = {"CDU": "loop", "UPS": "ups", "Feed": "feed"}


class Surroundings:
    """Looks around in memory only: a page waits for no store.

    Parameters
    ----------
    view
        What rules look at, too.
    rules
        By name.
    """

    def __init__(self, view: View, rules: Mapping[str, AnyRule] = MappingProxyType({})) -> None:
        self._view = view
        self._rules = rules
        self._groups = groups(view.site)
        self._version = -1
        self._sources: dict[str, Place] = {}  # of the points of this version

    def facts(self, alert: Alert) -> Facts:
        """Return what is known of the surroundings of an alert now."""
        object_id = alert.condition.object_id
        return Facts(self.place(object_id), self._outlook(alert), self._cause(object_id))

    def place(self, object_id: str) -> Place:
        """Return where an object, or what a source tells of, stands in the plant."""
        topology = self._view.topology()
        members = self._groups.get(object_id, ())
        if members:
            return self._of_group(members, topology)
        thing = topology.objects.get(object_id)
        if thing is None:
            return self._of_source(object_id, topology)
        site = self._view.site
        racks = _racks(topology, object_id) or {r for p in site.pods if p.id == object_id for r in p.racks}
        rack = self._rack_of(object_id, topology)
        parts: list[tuple[str, str]] = []
        if rack and rack != object_id:
            parts.append(("rack", rack))
        pod = site.pod_of(rack or object_id)
        if pod is not None and pod.id != object_id:
            parts.append(("pod", pod.id))
        position = site.position(rack) if rack else None
        if position is not None:
            row, column = position
            parts += [("row", str(row)), ("position", str(column))]
        elif pod is not None:
            parts.append(("row", str(pod.row)))
        above: dict[str, list[str]] = {}
        for upper in topology.upstream(rack or object_id):
            kind = _ABOVE.get(topology.objects[upper].type)
            if kind is None and pod is not None and upper in pod.busways:
                kind = "busway"
            if kind is not None:
                above.setdefault(kind, []).append(upper)
        order = ("loop", "busway", "ups", "feed")
        parts += [(kind, _named(above[kind])) for kind in order if kind in above]
        gpus = 1 if thing.type == "GPU" else len(racks) * site.rack_gpus
        return Place(thing.type, tuple(parts), len(racks), gpus)

    def _of_group(self, members: Sequence[str], topology: Topology) -> Place:
        """Return where the members of a group of redundancy stand, and what hangs on any of them."""
        racks = {
            rack for member in members if member in topology.objects for rack in _racks(topology, member)
        }
        pod = self._view.site.pod_of(members[0])
        parts = [] if pod is None else [("pod", pod.id), ("row", str(pod.row))]
        return Place("", tuple(parts), len(racks), len(racks) * self._view.site.rack_gpus)

    def _outlook(self, alert: Alert) -> dict[str, float]:
        """Return what is expected of the object, as far as it has to do with the alert."""
        topology, object_id = self._view.topology(), alert.condition.object_id
        rule = self._rules.get(alert.condition.rule)
        if isinstance(rule, EnvelopeExceeded | EnvelopePredicted) or _is_about(rule, "Power"):
            found = {
                "breach": self._worst("TimeToBreach", [object_id], np.nanmin),
                "probability": self._worst("PowerBreachProbability", [object_id], np.nanmax),
            }
            return _known(found)
        thing = topology.objects.get(object_id)
        kind = thing.type if thing is not None else ""
        if kind in ("UPS", "Feed"):
            upses = [
                o for o in (object_id, *topology.downstream(object_id)) if topology.objects[o].type == "UPS"
            ]
            return _known({"battery": self._worst("BatteryRuntime", upses, np.nanmin)})
        if kind == "CDU":
            pod = self._view.site.pod_of(object_id)
            others = [] if pod is None else [cdu for cdu in pod.cdus if cdu != object_id]
            return _known({"on_trip": self._worst("TimeToLimitOnTrip", others, np.nanmin)})
        if object_id in self._groups:
            racks = {r for m in self._groups[object_id] if m in topology.objects for r in _racks(topology, m)}
            return _known({"without_flow": self._worst("TimeToLimitWithoutFlow", sorted(racks), np.nanmin)})
        if kind == "Rack":
            found = {"without_flow": self._worst("TimeToLimitWithoutFlow", [object_id], np.nanmin)}
            for point_type, expected in _EXPECTED.items():
                if _is_about(rule, point_type):
                    found["highest"] = self._worst(expected, [object_id], np.nanmax)
            return _known(found)
        return {}

    def _worst(self, point_type: str, objects: Sequence[str], which: Callable[[ValueArray], Any]) -> float:
        found = [self._view.registry.select(point_type=point_type, object_id=o) for o in objects]
        values = self._view.values(np.concatenate(found)) if found else np.array([])
        return float(which(values)) if len(values) and not np.isnan(values).all() else math.nan

    def _cause(self, object_id: str) -> tuple[str, str] | None:
        """Return what the anomaly watch says of the object, or of what it hangs on, the nearest first."""
        topology = self._view.topology()
        near = [object_id, *topology.upstream(object_id)] if object_id in topology.objects else [object_id]
        for thing in near:
            for point in self._view.registry.select(point_type="IncidentClass", object_id=thing):
                value = float(self._view.values(np.array([point], np.int32))[0])
                label = "" if math.isnan(value) else self._view.registry[int(point)].state_label(value)
                if label and label != "None":
                    return thing, label
        return None

    def _rack_of(self, object_id: str, topology: Topology) -> str:
        """Return the rack that an object is, or is part of; empty where there is none."""
        seen: set[str] = set()
        while object_id and object_id not in seen:
            thing = topology.objects.get(object_id)
            if thing is None:
                return ""
            if thing.type == "Rack":
                return object_id
            seen.add(object_id)
            object_id = thing.associate
        return ""

    def _of_source(self, name: str, topology: Topology) -> Place:
        """Return how many racks a source, or a path that many share, tells of."""
        registry: PointRegistry = self._view.registry
        if registry.plant_version != self._version:
            self._version = registry.plant_version
            self._sources.clear()
        if name not in self._sources:
            self._sources[name] = self._look_behind(name, registry, topology)
            if len(self._sources) > MOST_SOURCES:
                del self._sources[next(iter(self._sources))]
        return self._sources[name]

    def _look_behind(self, name: str, registry: PointRegistry, topology: Topology) -> Place:
        points = registry.of_source(name)
        objects = dict.fromkeys(registry[int(i)].object_id for i in np.asarray(points))
        racks = {rack for o in objects if (rack := self._rack_of(o, topology))}
        return Place("", (), len(racks), len(racks) * self._view.site.rack_gpus)


def _is_about(rule: AnyRule | None, start: str) -> bool:
    """Return whether a limit rule watches a quantity whose name begins so."""
    return isinstance(rule, Limit) and any(point.startswith(start) for point in rule.points)


def _known(found: dict[str, float]) -> dict[str, float]:
    return {kind: value for kind, value in found.items() if not math.isnan(value)}


def _racks(topology: Topology, object_id: str) -> set[str]:
    found = {o for o in topology.downstream(object_id) if topology.objects[o].type == "Rack"}
    return found | ({object_id} if topology.objects[object_id].type == "Rack" else set())


def _named(objects: list[str]) -> str:
    named = ", ".join(sorted(objects)[:MOST_NAMED])
    left = len(objects) - MOST_NAMED
    return f"{named} +{left}" if left > 0 else named
