"""What fails over to what: the loss of each unit of the power path, and how much load each pod could still take.

Works on the tree of limits alone, for any site: a rack's power is carried by what serves it directly, in proportion to
what these carry now. Where one of them is lost the others take its part, and all above them. What a unit draws besides its
racks (losses, network, mechanical plant) moves to the other units of its kind. These are the loads once batteries are empty:
a unit that draws nothing while what hangs on it is carried counts as lost already.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from analytics.outlook.whatif import NodeLoad
from domain.points import IntArray, ValueArray
from domain.site import Site

CARRIES = 1e-6
"""A smaller share of a pod's load than this is none."""
NOTHING = 1e-3
"""A unit that carries less than this share of its limit carries nothing."""
TAKES = 0.02
"""A unit takes over from another where its load grows by more than this share of its limit."""


@dataclass(frozen=True, slots=True)
class Loss:
    """One unit is lost and nobody intervenes.

    Parameters
    ----------
    unit
        Its id.
    carried
        What it carries before, W.
    over
        Nodes that it takes above their limits, worst first.
    tightest
        The node that comes nearest to its limit, of those whose load grows; None where none does.
    takes
        Nodes that take over, the largest first.
    unpowered
        Racks that are left without power.
    batteries
        UPSes that run on battery, and are dark when it is empty.
    """

    unit: str
    carried: float
    over: tuple[NodeLoad, ...]
    tightest: NodeLoad | None
    takes: tuple[NodeLoad, ...]
    unpowered: tuple[str, ...]
    batteries: tuple[str, ...]

    @property
    def holds(self) -> bool:
        """Whether every rack keeps its power and every node stays within its limit."""
        return not self.over and not self.unpowered


@dataclass(frozen=True, slots=True)
class Room:
    """How much more load a pod can take, W.

    `built` is what its racks may still draw by their own limits, `usable` what the power path lets them draw even if any one
    unit is lost. What lies between is stranded, bound by `limit` (the id of a node) when `lost` is lost (empty: as things are).
    """

    pod: str
    built: float
    usable: float
    limit: str
    lost: str

    @property
    def stranded(self) -> float:
        """What the racks could draw and the path does not carry, W."""
        return max(0.0, self.built - max(0.0, self.usable))


@dataclass(frozen=True, slots=True, eq=False)
class _Case:
    """Racks' power, what each node draws besides them, W; each node's weight among those of a rack; what is lost already."""

    power: ValueArray
    extra: ValueArray
    weight: ValueArray
    dead: NDArray[np.bool_]
    load: ValueArray


class Failover:
    """Answers for one site."""

    def __init__(self, site: Site) -> None:
        envelope = site.envelope()
        self._site = envelope.site
        self._nodes = [n for n in envelope if n.kind not in ("Site", "Rack")]
        self._racks = site.racks
        self._pods = [np.array([site.racks.index(r) for r in pod.racks], np.int32) for pod in site.pods]
        self._pod_ids = [pod.id for pod in site.pods]
        place = {n.id: i for i, n in enumerate(self._nodes)}
        rack = {r: i for i, r in enumerate(site.racks)}
        pairs = [(rack[c], i) for i, n in enumerate(self._nodes) for c in n.children if c in rack]
        self._rack: IntArray = np.array([p[0] for p in pairs], np.int32)
        self._by: IntArray = np.array([p[1] for p in pairs], np.int32)
        self._parents: list[list[int]] = [[] for _ in self._nodes]
        for i, n in enumerate(self._nodes):
            for child in n.children:
                if child in place:
                    self._parents[place[child]].append(i)
        self._below = [
            [c for c, above in enumerate(self._parents) if i in above] for i in range(len(self._nodes))
        ]
        self._order = self._downwards()
        self._kinds = [
            np.array([n.kind == kind for n in self._nodes]) for kind in {n.kind for n in self._nodes}
        ]
        self._rack_limit = np.array([envelope[r].limit for r in site.racks])
        self.limit: ValueArray = np.array([n.limit for n in self._nodes])

    def losses(
        self, racks: ValueArray, measured: Mapping[str, float], site: float = math.nan
    ) -> dict[str, Loss]:
        """Return what the loss of each unit does.

        Parameters
        ----------
        racks
            Power of each rack, W, in the order of `Site.racks`; NaN where unknown, which counts as nothing.
        measured
            Power of nodes, W; what is not in it is worked out from the racks.
        site
            Power of the site at another time, such as tonight's peak, W: the racks are taken to draw more, in proportion,
            none more than its limit. NaN: as it is now.
        """
        case = self._present(racks, measured, site)
        before, dark = self._loads(case, None)
        return {n.id: self._loss(i, case, before, dark) for i, n in enumerate(self._nodes)}

    def emptied(self, racks: ValueArray, measured: Mapping[str, float]) -> Loss | None:
        """Return what passes to others once the batteries that supply now are empty, `batteries` being theirs; None where none does."""
        case = self._present(racks, measured, math.nan)
        live = self._live(None, case.dead)
        ending = tuple(
            n.id for i, n in enumerate(self._nodes) if n.kind == "UPS" and not live[i] and not case.dead[i]
        )
        if not ending:
            return None
        after, dark = self._loads(case, None)
        rows = [
            NodeLoad(n.id, n.kind, float(case.load[i]), float(after[i]), n.limit)
            for i, n in enumerate(self._nodes)
            if live[i]
        ]
        grows = [r for r in rows if r.after - r.before > TAKES * r.limit]
        return Loss(
            "",
            sum(measured.get(name, 0.0) for name in ending),
            tuple(sorted((r for r in grows if r.after > r.limit), key=lambda r: r.limit - r.after)),
            max(grows, key=lambda r: r.after / r.limit, default=None),
            tuple(sorted(grows, key=lambda r: r.before - r.after)),
            tuple(self._racks[r] for r in np.flatnonzero(dark & (case.power > 0))),
            ending,
        )

    def rooms(
        self,
        racks: ValueArray,
        measured: Mapping[str, float],
        site_limit: float,
        site: float = math.nan,
    ) -> list[Room]:
        """Return how much more each pod could take, the most stranded first; parameters as for `losses`."""
        now = self._present(racks, measured, site)
        cases = [None, *reversed(self._order)]  # of losses that bind alike the smallest is named
        loads = {case: self._loads(now, case)[0] for case in cases}
        roots = [i for i, above in enumerate(self._parents) if not above]
        total = float(loads[None][roots].sum()) if roots else float(now.power.sum())
        found = []
        for pod, rows in zip(self._pod_ids, self._pods, strict=True):
            unit = np.zeros(len(now.power))
            unit[rows] = 1.0 / max(1, len(rows))
            more = replace(now, power=unit, extra=np.zeros(len(now.extra)))
            usable, limit, lost = site_limit - total, self._site.id, ""
            for case in cases:
                share, _ = self._loads(more, case)
                carries = share > CARRIES
                if not carries.any():
                    continue
                spare = np.full(len(share), np.inf)
                spare[carries] = (self.limit[carries] - loads[case][carries]) / share[carries]
                worst = int(np.argmin(spare))
                if spare[worst] < usable - 1.0:
                    usable, limit = float(spare[worst]), self._nodes[worst].id
                    lost = "" if case is None else self._nodes[case].id
            built = float((self._rack_limit[rows] - now.power[rows]).clip(0).sum())
            found.append(Room(pod, built, usable, limit, lost))
        return sorted(found, key=lambda r: -r.stranded)

    def _present(self, racks: ValueArray, measured: Mapping[str, float], site: float) -> _Case:
        power = np.nan_to_num(racks, nan=0.0)
        told = np.array([measured.get(n.id, np.nan) for n in self._nodes])
        weight = np.where(np.isnan(told), 1.0, np.maximum(told, 0.0))
        direct, _ = self._direct(power, weight, np.ones(len(self._nodes), bool))
        dead = np.zeros(len(self._nodes), bool)
        extra = np.zeros(len(self._nodes))
        load = np.zeros(len(self._nodes))
        needed = np.zeros(len(self._nodes))  # with what batteries carry below a dead one
        for i in reversed(self._order):
            below = direct[i] + sum(load[c] / len(self._parents[c]) for c in self._below[i])
            load[i] = below if np.isnan(told[i]) else told[i]
            dead[i] = load[i] < NOTHING * self.limit[i] < below
            extra[i] = 0.0 if dead[i] else load[i] - below
            needed[i] = below if dead[i] else load[i]
        if not math.isnan(site) and power.sum() > 0:
            roots = [i for i, above in enumerate(self._parents) if not above]
            present = float(needed[roots].sum()) if roots else float(power.sum())
            more = 1.0 + (site - present) / float(power.sum())
            power = np.minimum(power * max(more, 0.0), np.maximum(self._rack_limit, power))
        return _Case(power, extra, weight, dead, load)

    def _direct(
        self, power: ValueArray, weight: ValueArray, live: NDArray[np.bool_]
    ) -> tuple[ValueArray, NDArray[np.bool_]]:
        """Return what each node carries of racks directly, and which racks nothing carries."""
        part = weight[self._by] * live[self._by]
        total = np.bincount(self._rack, part, len(power))
        share = np.divide(part, total[self._rack], out=np.zeros(len(part)), where=total[self._rack] > 0)
        direct = np.bincount(self._by, power[self._rack] * share, len(self._nodes))
        return direct.astype(float), total <= 0

    def _loads(self, case: _Case, lost: int | None) -> tuple[ValueArray, NDArray[np.bool_]]:
        """Return the load of every node, W, and which racks have no power, once `lost` is lost."""
        live = self._live(lost, case.dead)
        direct, dark = self._direct(case.power, case.weight, live)
        own = case.extra.copy()
        for of in self._kinds:
            if (of & live).any() and (of & ~live).any():
                own[of & live] += own[of & ~live].clip(0).sum() / (of & live).sum()
        load = np.zeros(len(self._nodes))
        for i in reversed(self._order):
            if live[i]:
                below = sum(load[c] / max(1, sum(live[p] for p in self._parents[c])) for c in self._below[i])
                load[i] = direct[i] + below + own[i]
        return load, dark

    def _loss(self, lost: int, case: _Case, before: ValueArray, dark_before: NDArray[np.bool_]) -> Loss:
        after, dark = self._loads(case, lost)
        was, live = self._live(None, case.dead), self._live(lost, case.dead)
        rows = [
            NodeLoad(n.id, n.kind, float(before[i]), float(after[i]), n.limit)
            for i, n in enumerate(self._nodes)
            if live[i]
        ]
        grows = [r for r in rows if r.after - r.before > TAKES * r.limit]
        pushed = [r for r in rows if r.after > r.limit and r.after > r.before + NOTHING * r.limit]
        over = sorted(pushed, key=lambda r: r.limit - r.after)
        return Loss(
            self._nodes[lost].id,
            float(before[lost]),
            tuple(over),
            max(grows, key=lambda r: r.after / r.limit, default=None),
            tuple(sorted(grows, key=lambda r: r.before - r.after)),
            tuple(self._racks[r] for r in np.flatnonzero(dark & ~dark_before & (case.power > 0))),
            tuple(
                n.id
                for i, n in enumerate(self._nodes)
                if n.kind == "UPS" and was[i] and not live[i] and i != lost
            ),
        )

    def _live(self, lost: int | None, dead: NDArray[np.bool_]) -> NDArray[np.bool_]:
        live = np.ones(len(self._nodes), bool)
        for i in self._order:
            above = self._parents[i]
            live[i] = i != lost and not dead[i] and (not above or any(live[p] for p in above))
        return live

    def _downwards(self) -> list[int]:
        """Return the nodes in an order in which each comes after all that serve it; a loop in the file is cut."""
        order: list[int] = []
        waiting = list(range(len(self._nodes)))
        while waiting:
            ready = [i for i in waiting if set(self._parents[i]).isdisjoint(waiting)] or waiting[:1]
            order += ready
            waiting = [i for i in waiting if i not in ready]
        return order


class Gap(NamedTuple):
    """Why what a unit carries cannot be attributed to what hangs on it.

    `why` is ``own_missing``, ``parts_missing`` (of `ids`), or ``parts_more``: the parts add up to more than the whole.
    """

    why: str
    ids: tuple[str, ...] = ()


def gap(node: str, measured: Mapping[str, float], children: Sequence[str], slack: float = 0.03) -> Gap | None:
    """Return why what a node carries cannot be attributed to its children; None where it can.

    Parameters
    ----------
    node, children
        Ids; the children are those whose power the node carries.
    measured
        Power by id, W; what is not in it is not measured.
    slack
        Share by which meters of two levels may differ.
    """
    if node not in measured:
        return Gap("own_missing")
    silent = tuple(c for c in children if c not in measured)
    if silent:
        return Gap("parts_missing", silent)
    below = sum(measured[c] for c in children)
    return Gap("parts_more") if below > measured[node] * (1 + slack) else None
