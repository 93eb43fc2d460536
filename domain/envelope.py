"""The envelope: a tree of power limits (site, feed, UPS, busway, rack), of which the site's may change by schedule.

The billing figure is the 15-minute average demand: what counts is where the running quarter hour will end.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace

QUARTER_MS = 15 * 60 * 1000
"""Length of a demand interval, ms."""


def quarter_start(time_ms: int) -> int:
    """Return the start of the quarter hour that holds `time_ms`, UTC ms."""
    return time_ms - time_ms % QUARTER_MS


@dataclass(frozen=True, slots=True)
class LimitChange:
    """A limit that holds from `start` to before `end` (UTC ms), such as a demand-response event.

    One that `lowers_only` leaves a limit that is lower already as it is; any other takes its place.
    """

    start: int
    end: int
    limit: float
    reason: str = ""
    lowers_only: bool = False


@dataclass(frozen=True, slots=True)
class EnvelopeNode:
    """One node of the envelope tree.

    Parameters
    ----------
    id
        The plant object's id.
    kind
        Its object type: Site, Feed, UPS, PowerMeter (busway) or Rack.
    limit
        What its 15-minute average may reach, W.
    meters
        Ids of the objects whose power, summed, is the node's (one meter, or the children's where it has none).
    children
        Ids of the nodes that hang on it.
    schedule
        Changes of the limit.
    """

    id: str
    kind: str
    limit: float
    meters: tuple[str, ...] = ()
    children: tuple[str, ...] = ()
    schedule: tuple[LimitChange, ...] = field(default=())

    def limit_at(self, time_ms: int) -> float:
        """Return the limit that holds at a time, W; of overlapping changes the lowest."""
        holding = [c for c in self.schedule if c.start <= time_ms < c.end]
        replaced = min((c.limit for c in holding if not c.lowers_only), default=self.limit)
        return min([replaced, *(c.limit for c in holding if c.lowers_only)])

    def binding_limit(self, start: int, end: int) -> float:
        """Return the lowest limit that holds at any time in [start, end), W: what an average over it has to keep.

        A change that covers the whole time replaces the limit, whether it is lower or higher; one that covers a part of
        it can only lower it.
        """
        edges = [start, *(t for c in self.schedule for t in (c.start, c.end) if start < t < end)]
        return min(self.limit_at(t) for t in edges)


@dataclass(frozen=True, slots=True)
class Envelope:
    """The tree as a whole; `nodes` by id, the root first."""

    root: str
    nodes: dict[str, EnvelopeNode]

    def __iter__(self) -> Iterator[EnvelopeNode]:
        return iter(self.nodes.values())

    def __getitem__(self, node_id: str) -> EnvelopeNode:
        return self.nodes[node_id]

    def lowered(self, changes: Mapping[str, tuple[LimitChange, ...]]) -> Envelope:
        """Return the tree with further changes of limits, by node; nodes that it does not have are left out."""
        nodes = {
            name: replace(node, schedule=(*node.schedule, *changes[name])) if name in changes else node
            for name, node in self.nodes.items()
        }
        return Envelope(self.root, nodes)

    @property
    def site(self) -> EnvelopeNode:
        """The root: the whole site."""
        return self.nodes[self.root]
