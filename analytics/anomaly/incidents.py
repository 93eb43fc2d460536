"""From many anomalies to one incident: what is the root, what is wrong with it, what speaks for it.

A fault at a CDU shows at eight racks; the person on call wants one page that names the CDU. Every object that
is anomalous, or serves one that is, may be the root. The cause that best explains what is anomalous and what is
not wins, then the next for what is left (a greedy search for the most likely set of causes).
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field

from analytics.anomaly.signatures import INSTRUMENTS, diagnose
from domain.said import Said, Term
from domain.topology import Topology

SEEN, SEEN_BELOW, FALSE = 0.95, 0.85, 0.01
"""Probability that an object is anomalous if it is faulty, if what serves it is, and if nothing is."""
PRIOR = -4.0
"""Log probability of one more cause: one fault that explains all is likelier than many."""
UNEXPLAINED = 5
"""A finding that no known fault explains is told after this many times the patience."""
NEAR = 0.7
"""Deadband: above this share of its limit, what has passed it goes on (ISA-18.2 asks for one where a value hovers at a limit)."""
COMES_BACK_MS, LONGEST_QUIET_MS = 3 * 86_400_000, 26 * 3_600_000
"""Within this time after its end an incident is opened again; the longest that is waited for it: a load has a crest a day."""
LONGER = 6
"""What came back is waited for so many times longer than before."""
MOST_OPEN = 500
"""Open incidents at most: nobody reads more, and one root can have announced countless objects."""
MOST_CLOSED = 1000
"""Closed ones that are remembered in case they come back, at most; the oldest are forgotten."""
MOST_RETURNS = 50
"""Times at which an incident came back that are kept; the newest."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One object that is anomalous now.

    Parameters
    ----------
    object_id
        The plant object.
    signals
        Score of each contributing signal, above 1 is anomalous.
    """

    object_id: str
    signals: Mapping[str, float]


@dataclass(frozen=True, slots=True)
class Grouping:
    """What an incident is grouped along.

    Parameters
    ----------
    parents
        Object id to the ids of what serves it.
    types
        Object id to its type (Rack, CDU, UPS, ...).
    watched
        Objects that would show an anomaly: of these, a healthy one speaks against a cause upstream.
    """

    parents: Mapping[str, Collection[str]]
    types: Mapping[str, str]
    watched: frozenset[str]
    _above: dict[str, frozenset[str]] = field(default_factory=dict, compare=False, repr=False)

    @classmethod
    def of(cls, topology: Topology) -> Grouping:
        """Take from a topology the two paths along which faults spread: CDU to rack, and feed, UPS, busway to tap.

        A tap's fault does not show at its rack, which has another one; so the paths don't meet there.
        """
        types = {name: thing.type for name, thing in topology.objects.items()}
        racks = {name for name, kind in types.items() if kind == "Rack"}
        watched = racks | {name for name, kind in types.items() if kind == "CDU"}
        parents: dict[str, list[str]] = {}
        for rack in racks:
            above = topology.served_by(rack)
            parents[rack] = [name for name in above if types[name] == "CDU"]
            waiting = [name for name in above if types[name] == "PowerMeter"]
            watched.update(waiting)
            while waiting:
                name = waiting.pop()
                if name not in parents:
                    parents[name] = topology.served_by(name)
                    waiting += parents[name]
        return cls(parents, types, frozenset(watched))

    def upstream(self, object_id: str) -> frozenset[str]:
        """Return the object itself and all that it hangs on."""
        known = self._above.get(object_id)
        if known is None:
            known = self._above[object_id] = self._climb(object_id)
        return known

    def _climb(self, object_id: str) -> frozenset[str]:
        seen, waiting = {object_id}, [object_id]
        while waiting:
            for parent in self.parents.get(waiting.pop(), ()):
                if parent not in seen:
                    seen.add(parent)
                    waiting.append(parent)
        return frozenset(seen)

    def twins(self, one: str, other: str) -> bool:
        """Whether both serve the same objects: what ails one CDU of a pod shows at the other, which makes up for it."""
        return any(one in above and other in above for above in self.parents.values())

    def served(self, objects: Iterable[str]) -> dict[str, set[str]]:
        """Return for every possible cause the given objects that hang on it, itself included."""
        below: dict[str, set[str]] = {}
        for member in objects:
            for cause in self.upstream(member):
                below.setdefault(cause, set()).add(member)
        return below


@dataclass(frozen=True, slots=True)
class Cause:
    """The most likely reason for some findings.

    Parameters
    ----------
    root
        Object id.
    fault
        Class of fault (`analytics.anomaly.signatures`), "unknown" where no signature fits.
    members
        Anomalous objects that it explains.
    evidence
        Sentences for the person on call, strongest first.
    weight
        Log likelihood ratio against chance.
    alternatives
        Other roots with nearly the same weight, best first.
    """

    root: str
    fault: str
    members: frozenset[str]
    evidence: tuple[Said, ...]
    weight: float
    alternatives: tuple[str, ...] = ()


def causes(findings: Collection[Finding], grouping: Grouping) -> list[Cause]:
    """Explain all findings by as few causes as likely, the weightiest first."""
    left = {f.object_id: f for f in findings if any(s > 1.0 for s in f.signals.values())}
    if not left:
        return []
    below = grouping.served(grouping.watched | set(left))
    found: list[Cause] = []
    while left:
        roots = {cause for member in left for cause in grouping.upstream(member)}
        weighed = {root: _weigh(root, below[root], left, grouping) for root in roots}
        best = max(sorted(roots), key=lambda r: weighed[r][0])
        weight, members = weighed[best]
        others = sorted(
            (r for r in roots - {best} if weighed[r][0] > weight - 1.0), key=lambda r: -weighed[r][0]
        )
        fault, _ = diagnose(grouping.types.get(best, ""), _strongest(members, left))
        found.append(
            Cause(
                best,
                fault,
                frozenset(members),
                _evidence(best, members, below[best], left),
                weight,
                tuple(others),
            )
        )
        left = {o: f for o, f in left.items() if o not in members}
    return sorted(_instruments_first(found, grouping), key=lambda c: -c.weight)


def _instruments_first(found: list[Cause], grouping: Grouping) -> list[Cause]:
    """Let a lying instrument answer for what its twin seems to have: what two share is told apart by their meters."""
    liars = [c for c in found if c.fault in INSTRUMENTS]
    kept = []
    for cause in found:
        liar = next((c for c in liars if c is not cause and grouping.twins(c.root, cause.root)), None)
        if liar is None or cause.fault in INSTRUMENTS:
            kept.append(cause)
    return kept


def _weigh(
    root: str, below: set[str], left: Mapping[str, Finding], grouping: Grouping
) -> tuple[float, set[str]]:
    """Log likelihood ratio of a root against chance, and the findings that it explains."""
    weight, members = PRIOR, set()
    for member in below:
        expected = SEEN if member == root else SEEN_BELOW
        if member in left:
            own = member == root
            fits = own or _can_reach(grouping.types.get(root, ""), left[member])
            if fits:
                weight += math.log(expected / FALSE)
                members.add(member)
        elif member in grouping.watched and root not in left:
            # what tells its own fault needs no witness below: its twin may carry on for it
            weight += math.log((1.0 - expected) / (1.0 - FALSE))
    if not members:
        return -math.inf, members
    # between a root and what serves it the signature decides
    _, fit = diagnose(grouping.types.get(root, ""), _strongest(members, left))
    return weight + fit, members


def _can_reach(root_type: str, finding: Finding) -> bool:
    """Whether a fault of such a root could show in these signals of something that it serves."""
    fault, fit = diagnose(root_type, finding.signals)
    return fault != "unknown" and fit > 0


def _strongest(members: Iterable[str], findings: Mapping[str, Finding]) -> dict[str, float]:
    """Sum the members' signals up: the peak of each, times the share of members that show it."""
    members = list(members)
    peak: dict[str, float] = {}
    count: dict[str, int] = {}
    for member in members:
        for signal, score in findings[member].signals.items():
            peak[signal] = max(peak.get(signal, 0.0), score)
            count[signal] = count.get(signal, 0) + (score > 1.0)
    return {signal: peak[signal] * count[signal] / len(members) for signal in peak}


def _evidence(
    root: str, members: set[str], below: set[str], findings: Mapping[str, Finding]
) -> tuple[Said, ...]:
    signals = _strongest(members, findings)
    strongest = sorted((s for s in signals if signals[s] > 1.0), key=lambda s: -signals[s])
    lines = [
        Said.of("times_its_limit", what=Term("signal", signal), times=f"{signals[signal]:.1f}")
        for signal in strongest[:4]
    ]
    if members != {root}:
        lines.append(Said.of("served_anomalous", n=len(members), all=len(below - {root}), root=root))
    return tuple(lines)


@dataclass(slots=True)
class Incident:
    """A cause over time; times are UTC ms.

    Parameters
    ----------
    number
        It keeps it when it comes back.
    cause
        As it was told best.
    opened, seen
        When it was first found, and when last.
    quiet
        It is closed so long after it was last seen, ms.
    members
        All objects that it has ever explained.
    signals
        What passed its limit at them: while any of it is near that, the incident lasts.
    returned
        When it was opened again.
    """

    number: int
    cause: Cause
    opened: int
    seen: int
    quiet: int
    members: set[str] = field(default_factory=set)
    signals: set[str] = field(default_factory=set)
    returned: list[int] = field(default_factory=list)

    def is_near(self, near: Mapping[str, set[str]]) -> bool:
        """Return whether any of its signals is near its limit still; `near` are those that are, by object."""
        return any(self.signals & near.get(member, set()) for member in self.members)

    def take(self, cause: Cause, signals: set[str], now: int) -> None:
        """Take in what is found of it now."""
        if cause.weight >= self.cause.weight + (cause.root != self.cause.root):
            self.cause = cause  # more is known now than when it was opened
        self.seen = now
        self.members |= cause.members
        self.signals |= signals


@dataclass(slots=True)
class IncidentBook:
    """Keeps incidents over time: one cause is one incident, whatever joins it later and however often it comes back.

    Parameters
    ----------
    grouping
        What incidents are grouped along.
    patience
        Time that a finding must have lasted before it counts, ms: the slower symptoms of a fault need a moment.
    quiet
        Time without findings, near ones included, after which an incident is closed, ms. One that comes back is opened again
        under its number and waited for longer, `LONGEST_QUIET_MS` at most: what grows slowly, or follows the load up and
        down, is one incident, not one for each time that it passes its limit.
    """

    grouping: Grouping
    patience: int = 60_000
    quiet: int = 600_000
    open: list[Incident] = field(default_factory=list)
    since: dict[str, int] = field(default_factory=dict)
    count: int = 0
    untold: int = 0
    """Causes that were not opened as incidents because there were too many, at the last look."""
    closed: dict[int, tuple[int, Incident]] = field(default_factory=dict)
    """Incidents that may come back, by number, with when each was closed, the oldest first."""

    def update(self, now: int, findings: Collection[Finding]) -> tuple[list[Incident], list[Incident]]:
        """Take in what is anomalous now, or near; return the incidents that were opened (again) and those that were closed."""
        over, near = _beyond(findings, 1.0), _beyond(findings, NEAR)
        self.since = {name: self.since.get(name, now) for name in over}
        lasting = [f for f in findings if self.lasts(f.object_id, now)]
        opened = []
        self.untold = 0
        for cause in causes(lasting, self.grouping):
            known = self._same(cause, now)
            if known is None and not self._ripe(cause, now):
                continue
            if known is None and len(self.open) >= MOST_OPEN:
                self.untold += 1
                continue
            if known is None:
                known = self._opened(cause, now)
                self.open.append(known)
                opened.append(known)
            known.take(cause, set[str]().union(*(over[member] for member in cause.members)), now)
        for incident in self.open:
            if incident.is_near(near):
                incident.seen = now
        closed = [i for i in self.open if now - i.seen > i.quiet]
        self.open = [i for i in self.open if now - i.seen <= i.quiet]
        self.closed |= {i.number: (now, i) for i in closed}
        kept = [(number, each) for number, each in self.closed.items() if now - each[0] < COMES_BACK_MS]
        self.closed = dict(kept[-MOST_CLOSED:])
        return opened, closed

    def lasts(self, object_id: str, now: int) -> bool:
        """Return whether what was found of an object has lasted long enough to count."""
        return now - self.since.get(object_id, now) >= self.patience

    def _opened(self, cause: Cause, now: int) -> Incident:
        """Return the incident that comes back with this cause, or a new one."""
        before = next((i for _, i in reversed(self.closed.values()) if self._comes_back(i, cause)), None)
        if before is None:
            self.count += 1
            return Incident(self.count, cause, now, now, self.quiet)
        del self.closed[before.number]
        before.quiet = min(LONGER * before.quiet, LONGEST_QUIET_MS)
        before.returned = [*before.returned, now][-MOST_RETURNS:]
        return before

    def _comes_back(self, incident: Incident, cause: Cause) -> bool:
        """Return whether a cause is that of an incident again: the same fault of the same root, of a part of it or what it is part of."""
        one, other = incident.cause.root, cause.root
        return incident.cause.fault == cause.fault and (
            one == other
            or one.startswith(f"{other}-")
            or other.startswith(f"{one}-")
            or self.grouping.twins(one, other)
        )

    def _ripe(self, cause: Cause, now: int) -> bool:
        """Whether to open an incident: likelier than chance, or there for so long that it must be told."""
        oldest = min(self.since[member] for member in cause.members)
        return cause.weight > 0 or now - oldest >= UNEXPLAINED * self.patience

    def _same(self, cause: Cause, now: int) -> Incident | None:
        """Find the open incident that this cause belongs to: same root, its twin's, or with most of its members.

        One that was not seen for a while is only waited for: another fault of the same root is none of it.
        """
        for incident in self.open:
            if self._comes_back(incident, cause):
                return incident
            if now - incident.seen > self.quiet:
                continue
            shared = len(incident.members & cause.members) * 2 > len(cause.members)
            same = incident.cause.root == cause.root
            if same or shared or self.grouping.twins(incident.cause.root, cause.root):
                return incident
        return None


def _beyond(findings: Iterable[Finding], share: float) -> dict[str, set[str]]:
    """Return the signals that are beyond so much of their limit, by object."""
    found: dict[str, set[str]] = {}
    for finding in findings:
        signals = {name for name, score in finding.signals.items() if score > share}
        if signals:
            found.setdefault(finding.object_id, set()).update(signals)
    return found
