"""Which active alerts another one explains: they are shown under it, and page nobody."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence

from alerts.incidents.reach import Reach
from alerts.settings import AlertSettings, Inhibition
from domain.alert import Alert
from storage.incident_records import Lead


class Causes:
    """Finds leads by the configuration's `inhibitions`; keeps no state.

    An alert is explained only by one that is at least as severe: what is worse than its cause is told.
    """

    def __init__(self, settings: AlertSettings, reach: Reach) -> None:
        self.reach = reach
        self._by_muted: Mapping[str, list[Inhibition]] = defaultdict(list)
        for inhibition in settings.inhibitions:
            for rule in inhibition.mutes:
                self._by_muted[rule].append(inhibition)
        self.leading = frozenset(inhibition.when for inhibition in settings.inhibitions)
        """Rules whose alerts may explain others."""
        self.longest_ms = int(max((i.recovery for i in settings.inhibitions), default=0.0) * 1000)
        """So long after its end a lead may still explain what is left of it."""

    def explained(self, alerts: Sequence[Alert], past: Iterable[Lead], now: int) -> dict[int, int]:
        """Return the ids of alerts that are explained now, each with the id of the alert at the root of it.

        Parameters
        ----------
        alerts
            All active alerts.
        past
            Leads that cleared lately: what is left of them has `recovery` to end.
        now
            UTC ms.
        """
        by_rule: dict[str, list[Lead]] = defaultdict(list)
        for lead in [Lead.of(a) for a in alerts if a.condition.rule in self.leading] + list(past):
            by_rule[lead.rule].append(lead)
        if not by_rule:
            return {}
        found: dict[int, int] = {}
        for alert in alerts:
            explains = self._explains(alert, by_rule, now)
            if explains is not None:
                found[alert.id] = explains
        roots = {member: _root(member, found) for member in found}
        return {member: root for member, root in roots.items() if root != member}

    def waits(self, alert: Alert, now: int) -> bool:
        """Return whether an alert that nobody was told of waits a moment: its cause may be found first."""
        if self.reach.is_path(alert.condition.object_id):
            return False
        wait = max((i.wait for i in self._by_muted.get(alert.condition.rule, ())), default=0.0)
        return 0 <= now - alert.opened < wait * 1000

    def _explains(self, alert: Alert, by_rule: Mapping[str, list[Lead]], now: int) -> int | None:
        for inhibition in self._by_muted.get(alert.condition.rule, ()):
            for lead in by_rule.get(inhibition.when, ()):
                if lead.alert_id != alert.id and self._reaches(inhibition, lead, alert, now):
                    return lead.alert_id
        return None

    def _reaches(self, inhibition: Inhibition, lead: Lead, alert: Alert, now: int) -> bool:
        if alert.condition.severity.rank > lead.severity.rank:
            return False
        if lead.closed and now - lead.closed >= inhibition.recovery * 1000:
            return False
        return inhibition.where == "anywhere" or alert.condition.object_id in self.reach.of(
            lead.object_id, inhibition.where
        )


def _root(member: int, found: Mapping[int, int]) -> int:
    """Return the alert at the end of the chain; two that explain each other have the older as their root."""
    seen = [member]
    while (lead := found.get(seen[-1])) is not None and lead not in seen:
        seen.append(lead)
    return seen[-1] if lead is None else min(seen[seen.index(lead) :])
