"""What DSX metadata of many points says together: who serves whom, who tells what. Violations that no single message shows."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Hashable, Iterator, Mapping

from domain.dsx import DsxPoint
from domain.errors import ContractViolation

_TOLD = 5  # of the others that a finding names


def plant_violations(points: Mapping[str, DsxPoint]) -> list[tuple[str, ContractViolation]]:
    """Return what is wrong with the points of a plant taken together: (key of a point, violation).

    Parameters
    ----------
    points
        What the metadata told, by key.

    Returns
    -------
    list
        Reasons: ``serves_cycle``, ``unknown_target``, ``told_twice``, ``tag_used_twice``, ``differs_by_case``.
    """
    return [*_served(points), *_told_twice(points), *_tags(points)]


def _served(points: Mapping[str, DsxPoint]) -> Iterator[tuple[str, ContractViolation]]:
    first: dict[str, str] = {}  # key of one point of each object
    serves: dict[str, set[str]] = defaultdict(set)
    parts: dict[str, set[str]] = defaultdict(set)
    for key, told in points.items():
        first.setdefault(told.point.object_id, key)
        serves[told.point.object_id].update(told.point.serves)
        if told.point.associate:
            parts[told.point.object_id].add(told.point.associate)
    for object_id, key in first.items():
        unknown = sorted((serves[object_id] | parts[object_id]) - first.keys())
        if unknown:
            what = f"{object_id} serves or is part of {_some(unknown)}, which no metadata describes"
            yield key, ContractViolation("unknown_target", what)
    for cycle in cycles(serves):
        for object_id in cycle:
            path = " > ".join([*cycle[:_TOLD], cycle[0]] if len(cycle) <= _TOLD else [*cycle[:_TOLD], "..."])
            yield first[object_id], ContractViolation("serves_cycle", path)


def cycles(serves: Mapping[str, set[str]]) -> list[list[str]]:
    """Return the objects that serve themselves, directly or by way of others; each in one list, the order is theirs.

    Tarjan's strongly connected components, without recursion: a chain may be as long as the plant is large.
    """
    number: dict[str, int] = {}
    low: dict[str, int] = {}
    open_: list[str] = []
    found: list[list[str]] = []
    for root in serves:
        if root in number:
            continue
        work = [(root, iter(sorted(serves.get(root, ()))))]
        number[root] = low[root] = len(number)
        open_.append(root)
        is_open = set(open_)
        while work:
            node, rest = work[-1]
            for to in rest:
                if to not in number:
                    number[to] = low[to] = len(number)
                    open_.append(to)
                    is_open.add(to)
                    work.append((to, iter(sorted(serves.get(to, ())))))
                    break
                if to in is_open:
                    low[node] = min(low[node], number[to])
            else:
                work.pop()
                if work:
                    low[work[-1][0]] = min(low[work[-1][0]], low[node])
                if low[node] == number[node]:
                    at = open_.index(node)
                    component, open_[at:] = open_[at:], []
                    is_open.difference_update(component)
                    if len(component) > 1 or node in serves.get(node, ()):
                        found.append(component)
    return found


def _told_twice(points: Mapping[str, DsxPoint]) -> Iterator[tuple[str, ContractViolation]]:
    quantities: dict[Hashable, list[str]] = defaultdict(list)
    for key, told in points.items():
        p = told.point
        if p.point_type != "GenericPoint":
            quantities[
                p.object_type, p.object_id, p.point_type, frozenset(p.process_area), p.phase, p.setpoint
            ].append(key)
    for keys in quantities.values():
        for key in keys if len(keys) > 1 else ():
            yield key, ContractViolation("told_twice", f"also told by {_some(k for k in keys if k != key)}")


def _tags(points: Mapping[str, DsxPoint]) -> Iterator[tuple[str, ContractViolation]]:
    tags: dict[str, list[str]] = defaultdict(list)
    alike: dict[str, list[str]] = defaultdict(list)
    for key in points:
        tags[key.split("/", 2)[2]].append(key)
        alike[key.casefold()].append(key)
    for keys in tags.values():
        for key in keys if len(keys) > 1 else ():
            yield key, ContractViolation("tag_used_twice", f"also by {_some(k for k in keys if k != key)}")
    for keys in alike.values():
        for key in keys if len(keys) > 1 else ():
            yield key, ContractViolation("differs_by_case", _some(k for k in keys if k != key))


def _some(names: Iterator[str] | list[str]) -> str:
    every = list(names)
    more = f" and {len(every) - _TOLD} more" if len(every) > _TOLD else ""
    return ", ".join(every[:_TOLD]) + more
