"""What hangs around an alert: where its object stands in the plant, and what depends on it."""

from __future__ import annotations

import numpy as np

from alerts.notify.facts import Facts, Place
from alerts.view import View
from domain.alert import Alert
from domain.points import PointRegistry
from domain.topology import Topology

MOST_NAMED = 6
"""Objects of one kind that are named; the rest is counted."""
MOST_SOURCES = 10_000
_ABOVE = {"CDU": "loop", "UPS": "ups", "Feed": "feed"}


class Surroundings:
    """Looks around in memory only: a page waits for no store.

    Parameters
    ----------
    view
        What rules look at, too.
    """

    def __init__(self, view: View) -> None:
        self._view = view
        self._version = -1
        self._sources: dict[str, Place] = {}  # of the points of this version

    def facts(self, alert: Alert) -> Facts:
        """Return what is known of the surroundings of an alert now."""
        return Facts(self.place(alert.condition.object_id))

    def place(self, object_id: str) -> Place:
        """Return where an object, or what a source tells of, stands in the plant."""
        topology = self._view.topology()
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


def _racks(topology: Topology, object_id: str) -> set[str]:
    found = {o for o in topology.downstream(object_id) if topology.objects[o].type == "Rack"}
    return found | ({object_id} if topology.objects[object_id].type == "Rack" else set())


def _named(objects: list[str]) -> str:
    named = ", ".join(sorted(objects)[:MOST_NAMED])
    left = len(objects) - MOST_NAMED
    return f"{named} +{left}" if left > 0 else named
