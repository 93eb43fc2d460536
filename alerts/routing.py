"""Who is to be told what: routes, silences, escalation."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence, Set

from alerts.settings import AlertSettings, Route
from domain.alert import Alert, AlertState, Severity
from storage.alert_records import Event, Silence, Told

Wanted = tuple[int, Event, str, int]
"""Alert id, event, channel, and not before when (UTC ms)."""


class Routing:
    """Decides from the configuration; keeps no state."""

    def __init__(self, settings: AlertSettings) -> None:
        self._routes = [
            route.model_copy(
                update={
                    "channels": tuple(settings.targets(route.channels)),
                    "escalate_to": tuple(settings.targets(route.escalate_to)),
                }
            )
            for route in settings.routes
        ]
        self._take_acknowledgements = {
            target
            for name, channel in settings.channels.items()
            if channel.takes_acknowledgement
            for target in settings.targets([name])
        }

    def wanted(
        self,
        alerts: Sequence[Alert],
        told: Mapping[int, Told],
        silences: Sequence[Silence],
        quiet: Set[int],
        now: int,
    ) -> list[Wanted]:
        """Return what is to be queued now.

        Parameters
        ----------
        alerts
            All active alerts.
        told
            What was queued before, by alert id.
        silences, quiet, now
            What mutes; ids of alerts that another one explains, or that wait whether one does; UTC ms.
        """
        found: list[Wanted] = []
        for alert in alerts:
            found += self._taken(alert, told.get(alert.id), now)
            if alert.id in quiet or any(s.covers(alert.condition, now) for s in silences):
                continue
            for route in self._routes_of(alert.condition.severity):
                found += self._due(alert, route, told.get(alert.id), now)
        return found

    def _taken(self, alert: Alert, told: Told | None, now: int) -> Iterator[Wanted]:
        """Tell whoever would go on paging that somebody has taken the alert; no silence keeps that from them."""
        if alert.state is AlertState.ACKNOWLEDGED and told and Event.ACKNOWLEDGED not in told.events:
            channels = sorted(told.channels & self._take_acknowledgements)
            yield from ((alert.id, Event.ACKNOWLEDGED, channel, now) for channel in channels)

    @staticmethod
    def _due(alert: Alert, route: Route, told: Told | None, now: int) -> Iterator[Wanted]:
        if told is None:
            wait = int(route.group_wait * 1000)
            yield from ((alert.id, Event.OPENED, channel, now + wait) for channel in route.channels)
            return
        if alert.condition.severity.rank > told.severity.rank:
            yield from ((alert.id, Event.WORSENED, channel, now) for channel in route.channels)
        if (
            route.escalate_after is not None
            and alert.state is AlertState.OPEN
            and now - alert.opened >= route.escalate_after * 1000
            and Event.ESCALATED not in told.events
        ):
            yield from ((alert.id, Event.ESCALATED, channel, now) for channel in route.escalate_to)

    def _routes_of(self, severity: Severity) -> list[Route]:
        return [route for route in self._routes if severity in route.severities]
