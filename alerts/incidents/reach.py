"""How far a cause reaches: along the topology, through groups of redundancy, to the sources behind a shared path."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

from domain.site import Site
from domain.topology import Topology

MOST_REMEMBERED = 10_000
"""Causes whose reach is remembered; all is worked out again when what serves what changes."""


def groups(site: Site) -> dict[str, tuple[str, ...]]:
    """Return the groups of which one member makes up for another: the site's, and the CDUs of each other pod by its id."""
    named = {o for ids in site.redundancy.values() for o in ids}
    return dict(site.redundancy) | {
        pod.id: pod.cdus for pod in site.pods if pod.cdus and not named.intersection(pod.cdus)
    }


class Reach:
    """What hangs on an object, and what is beside it. Safe from several threads.

    Parameters
    ----------
    site
        Its groups of redundancy stand for the objects in them.
    topology
        What serves what; another object each time that it changes.
    """

    def __init__(self, site: Site, topology: Callable[[], Topology]) -> None:
        self._groups = groups(site)
        self._topology = topology
        self._of = topology()
        self._known: dict[tuple[str, str], frozenset[str]] = {}
        self._behind: Mapping[str, frozenset[str]] = {}

    def sources(self, behind: Mapping[str, frozenset[str]]) -> None:
        """Take over what alerts on the sources behind each shared path, such as a broker, are raised on."""
        if behind != self._behind:
            self._behind = behind
            self._known = {}

    def is_path(self, object_id: str) -> bool:
        """Return whether this is what sources come through: it is behind nothing itself."""
        return object_id in self._behind

    def of(self, root: str, where: str) -> frozenset[str]:
        """Return the objects that a cause at `root` reaches: ``same``, ``downstream``, or ``around`` it.

        Around it is all that hangs on it, that it hangs on, and that shares the work with it.
        """
        topology = self._topology()
        if topology is not self._of or len(self._known) >= MOST_REMEMBERED:
            self._of, self._known = topology, {}
        known = self._known
        found = known.get((root, where))
        if found is None:
            found = known[root, where] = frozenset(self._find(root, where, topology))
        return found

    def members(self, group: str) -> tuple[str, ...]:
        """Return the objects of a group of redundancy; of anything else there are none."""
        return self._groups.get(group, ())

    def _find(self, root: str, where: str, topology: Topology) -> Iterable[str]:
        own = {root, *self.members(root), *self._behind.get(root, ())}
        if where == "same":
            return own
        below = {served for o in own for served in topology.downstream(o)}
        if where == "downstream":
            return own | below
        beside = {o for ids in self._groups.values() if root in ids for o in ids}
        beside |= {o for served in topology.serves(root) for o in topology.served_by(served)}
        groups = {name for name, ids in self._groups.items() if own & set(ids)}
        above = {o for one in own for o in topology.upstream(one)}
        return own | below | beside | groups | above
