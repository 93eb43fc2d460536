"""Power above the limit of a node of the envelope."""

from __future__ import annotations

from collections.abc import Set

import numpy as np

from alerts.rules.condition import condition, local_time, unknown
from alerts.rules.settings import EnvelopeExceeded
from alerts.view import View
from domain.alert import Condition
from domain.envelope import QUARTER_MS, quarter_start
from domain.points import TimeArray, ValueArray
from domain.said import Quantity, Said


class EnvelopeExceededRule:
    """Running power, the quarter hour's average, or where the quarter hour will end, above the limit."""

    def __init__(self, settings: EnvelopeExceeded) -> None:
        self.settings = settings

    def evaluate(self, now: int, view: View, active: Set[str] = frozenset()) -> list[Condition]:
        """Return one condition per node above its limit; see `alerts.rules.Rule`."""
        rule = self.settings
        power, limit, ends = self._power(now, view)
        watched, is_active = (
            view.kept(
                (rule.name, "watched"), lambda: np.array([node.kind in rule.nodes for node in view.nodes])
            ),
            np.array([node.id in active for node in view.nodes]),
        )
        threshold = limit * np.where(is_active, rule.clear_share, rule.share)
        exceeded = watched & (power > threshold)
        held = watched & is_active & np.isnan(power)
        found = [unknown(rule, view.nodes[i].id) for i in np.flatnonzero(held)]
        for i in np.flatnonzero(exceeded):
            node = view.nodes[i]
            said = self._said(node.id, float(power[i]), float(limit[i]), int(ends[i]), view)
            found.append(
                condition(rule, node.id, said, float(power[i]), float(limit[i]), "W", min(now, int(ends[i])))
            )
        return found

    def _power(self, now: int, view: View) -> tuple[ValueArray, ValueArray, TimeArray]:
        """Return power and limit of each node, and the end of the quarter hour that they are of."""
        demand = view.demand
        if self.settings.basis == "running":
            return demand.power, view.limits(now), np.full(len(view.nodes), now)
        end = quarter_start(now) + QUARTER_MS
        running = view.binding_limits(end - QUARTER_MS)
        if self.settings.basis == "projected":
            return demand.projected(), running, np.full(len(running), end)
        # either the last quarter hour was too high, or this one can no longer be saved
        before = view.binding_limits(int(demand.completed_at) - QUARTER_MS)
        certain = demand.certain()
        lost = certain > running * self.settings.share
        return (
            np.where(lost, certain, demand.completed),
            np.where(lost, running, before),
            np.where(lost, end, demand.completed_at),
        )

    def _said(self, node: str, power: float, limit: float, end: int, view: View) -> Said:
        zone = view.site.zone
        return Said.of(
            f"power_{self.settings.basis}",
            object=node,
            first=local_time(end - QUARTER_MS, zone),
            last=local_time(end, zone),
            value=Quantity(power, "W", 4),
            limit=Quantity(limit, "W", 4),
        )
