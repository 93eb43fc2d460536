"""Topology: what serves what, from servesId and associateId, plus what the site file adds.

Power path: site, feed, UPS, busway, tap, rack. Coolant path: CDU, rack.
"""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from domain.points import Place, Point


@dataclass(frozen=True, slots=True)
class PlantObject:
    """A thing of the plant that points belong to."""

    id: str
    type: str
    name: str = ""
    associate: str = ""


class Topology:
    """A directed graph of plant objects: an edge from what serves to what is served.

    A served object that no point describes (yet) is kept as ``GenericObject``, so that nothing is lost.
    """

    def __init__(self, objects: Mapping[str, PlantObject], edges: Iterable[tuple[str, str]]) -> None:
        self.objects: dict[str, PlantObject] = dict(objects)
        self._down: dict[str, set[str]] = defaultdict(set)
        self._up: dict[str, set[str]] = defaultdict(set)
        for parent, child in edges:
            if parent == child:
                continue
            for end in (parent, child):
                self.objects.setdefault(end, PlantObject(end, "GenericObject"))
            self._down[parent].add(child)
            self._up[child].add(parent)

    @classmethod
    def from_points(
        cls,
        points: Iterable[Point | Place],
        objects: Iterable[PlantObject] = (),
        edges: Iterable[tuple[str, str]] = (),
    ) -> Topology:
        """Build the graph that the points tell, completed by the site's own objects and edges."""
        known: dict[str, PlantObject] = {}
        links: set[tuple[str, str]] = set()
        for point in points:
            if not point.object_id:
                continue
            known[point.object_id] = PlantObject(
                point.object_id, point.object_type, point.object_name or point.object_id, point.associate
            )
            links.update((point.object_id, served) for served in point.serves)
            if point.associate and point.associate != point.object_id:
                links.add((point.associate, point.object_id))
        for thing in objects:
            known.setdefault(thing.id, thing)
        links.update(edges)
        return cls(known, links)

    def serves(self, object_id: str) -> list[str]:
        """Return what the object serves directly, in order of id."""
        return sorted(self._down.get(object_id, ()))

    def served_by(self, object_id: str) -> list[str]:
        """Return what serves the object directly, in order of id."""
        return sorted(self._up.get(object_id, ()))

    def upstream(self, object_id: str) -> Iterator[str]:
        """Yield all that the object hangs on, nearest first; a loop in the data ends the walk."""
        yield from self._walk(object_id, self._up)

    def downstream(self, object_id: str) -> Iterator[str]:
        """Yield all that hangs on the object, nearest first."""
        yield from self._walk(object_id, self._down)

    @staticmethod
    def _walk(start: str, edges: Mapping[str, set[str]]) -> Iterator[str]:
        seen, queue = {start}, deque([start])
        while queue:
            for nearest in sorted(edges.get(queue.popleft(), ())):
                if nearest not in seen:
                    seen.add(nearest)
                    queue.append(nearest)
                    yield nearest
