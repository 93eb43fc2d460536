"""A cause that several alerts share: what serves them all is to blame, and is told in their place."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Set
from dataclasses import dataclass

from alerts.incidents.reach import groups
from alerts.rules.condition import condition
from alerts.rules.settings import REDUNDANCY, SharedCause
from alerts.view import View
from domain.alert import Condition
from domain.languages import LANGUAGES, words
from domain.said import Said, Worded, span
from domain.topology import Topology


@dataclass(frozen=True, slots=True)
class _Root:
    """What may be to blame: `rings` are the objects that would show it, the nearest first; `racks` what hangs on it."""

    id: str
    rings: tuple[frozenset[str], ...]
    racks: frozenset[str]


class SharedCauseRule:
    """So many of the objects that one root serves show it that the root is to blame.

    What they show is what other rules find, from the first look on: their alerts may have to hold for a while longer.
    """

    def __init__(self, settings: SharedCause) -> None:
        self.settings = settings
        self._since: dict[str, int] = {}

    def evaluate(self, now: int, view: View, active: Set[str] = frozenset()) -> list[Condition]:
        """Return one condition per root that is to blame; see `alerts.rules.Rule`."""
        rule = self.settings
        evidence = {c.object_id: c for name in rule.of for c in view.found.get(name, ())}
        # an alert goes on while nothing is known of what showed it; for a new one nothing known is no evidence
        known = {object_id: c for object_id, c in evidence.items() if c.known}
        blamed: list[tuple[_Root, list[Condition], int]] = []
        if evidence:
            for root in view.kept((rule.name, "roots"), lambda: tuple(self._roots(view))):
                shown, of = _share(root, evidence if root.id in active else known, view.topology())
                if len(shown) >= rule.least and len(shown) >= rule.share * of:
                    blamed.append((root, shown, of))
        self._since = {root.id: min(self._since.get(root.id, now), now) for root, _, _ in blamed}
        return [self._condition(root, shown, of, blamed, view, now) for root, shown, of in blamed]

    def _condition(
        self,
        root: _Root,
        shown: list[Condition],
        of: int,
        blamed: list[tuple[_Root, list[Condition], int]],
        view: View,
        now: int,
    ) -> Condition:
        others = frozenset[str]().union(*(other.racks for other, _, _ in blamed if other.id != root.id))
        sides = "both_sides" if root.racks and root.racks <= others else "one_side"
        texts = {
            language: says.format(
                found=len(shown),
                all=of,
                racks=len(root.racks),
                gpus=f"{len(root.racks) * view.site.rack_gpus:,}",
                sides=words(language)("text", sides),
                time=span((now - self._since[root.id]) / 1000, language, counted=True),
            )
            for language in LANGUAGES
            if (says := self.settings.says.get(language))
        }
        said = Said.of("about", object=root.id, text=Worded(tuple(texts.items())))
        observed = min((c.observed for c in shown if c.observed), default=now)
        return condition(self.settings, root.id, said, float(len(shown)), float(of), "count", observed)

    def _roots(self, view: View) -> Iterator[_Root]:
        topology, wanted, racks = view.topology(), set(self.settings.roots), frozenset(view.site.racks)
        members: dict[str, frozenset[str]] = {}
        if REDUNDANCY in wanted:
            members |= {name: frozenset(ids) for name, ids in groups(view.site).items()}
        kinds = {node.id: node.kind for node in view.nodes}
        serving = [o for o in topology.objects if {kinds.get(o), topology.objects[o].type} & wanted]
        for name in serving:
            members[name] = frozenset(topology.serves(name))
        for name, own in members.items():
            served = frozenset(o for member in own for o in topology.serves(member))
            below = {o for member in own for o in topology.downstream(member)} | own
            # of a group its members may show it, or what they serve; of what serves, only what it serves
            rings = (own,) if name in serving else (own, served)
            yield _Root(name, rings, racks & below)


def _share(root: _Root, evidence: Mapping[str, Condition], topology: Topology) -> tuple[list[Condition], int]:
    """Return what the root's objects show, and how many objects of their kind it has; the nearest that show anything."""
    for ring in root.rings:
        shown = [evidence[o] for o in sorted(ring & evidence.keys())]
        if shown:
            kinds = {topology.objects[c.object_id].type for c in shown if c.object_id in topology.objects}
            return shown, max(
                sum(topology.objects[o].type in kinds for o in ring if o in topology.objects), len(shown)
            )
    return [], 0
