"""Who is to be told what: routes, escalation, and what is not told now."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from zoneinfo import ZoneInfo

from alerts.oncall.calendar import within
from alerts.oncall.escalation import Escalations
from alerts.oncall.people import OnCall
from alerts.settings import AlertSettings, Route
from domain.alert import Alert, AlertState
from domain.topology import Topology
from storage.delivery_records import Event, Told
from storage.oncall_records import Progress

Wanted = tuple[int, Event, str, int]
"""Alert id, event, channel, and not before when (UTC ms)."""


@dataclass(slots=True)
class Decision:
    """What is to be queued, and how far escalations are once it is."""

    wanted: list[Wanted] = field(default_factory=list)
    progress: list[Progress] = field(default_factory=list)


class Routing:
    """Decides from the configuration.

    Parameters
    ----------
    settings
        The alerting configuration.
    zone
        The site's.
    plant
        Returns what serves what.
    areas
        Returns the process areas of an object's points.
    monotonic
        Seconds that nobody sets back.
    """

    def __init__(
        self,
        settings: AlertSettings,
        zone: ZoneInfo,
        plant: Callable[[], Topology],
        areas: Callable[[str], Collection[str]],
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self.on_call = OnCall(settings, zone)
        self._escalations = Escalations(self.on_call, monotonic)
        self._zone = zone
        self._plant = plant
        self._areas = areas
        self._kinds = {rule.name: rule.kind for rule in settings.rules}
        self._routes = [
            route.model_copy(
                update={
                    "channels": tuple(settings.targets(route.channels)),
                    "escalate_to": tuple(settings.targets(route.escalate_to)),
                }
            )
            for route in settings.routes
        ]
        self._late = any(route.escalate_after is not None for route in settings.routes)
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
        quiet: Set[int],
        now: int,
        progress: Mapping[int, Sequence[Progress]],
        resumed: Set[int] = frozenset(),
    ) -> Decision:
        """Return what is to be queued now.

        Parameters
        ----------
        alerts
            All active alerts.
        told
            What was queued before, by alert id.
        quiet, now
            Ids of alerts that are kept quiet, that another one explains, or that wait whether one does; UTC ms.
        progress
            How far escalations are, by alert id.
        resumed
            Ids of alerts whose quiet time has just ended: whoever was told of one before is told that it holds still.
        """
        found = Decision()
        for alert in alerts:
            before = told.get(alert.id)
            found.wanted += self._taken(alert, before, now)
            if alert.id in quiet:
                continue
            if alert.id in resumed and before is not None:
                channels = sorted(before.channels)
                found.wanted += [(alert.id, Event.RESUMED, channel, now) for channel in channels]
            routes = self._routes_of(alert, before, now)
            for route in routes:
                found.wanted += self._due(alert, route, before, now)
            self._escalate(found, alert, routes, before, progress.get(alert.id, ()), now)
        return found

    def tells_what_is_no_alert(self, target: str) -> bool:
        """Return whether a delivery may tell of what is no alert: no receiver is to open an incident for it."""
        return target not in self._take_acknowledgements

    def forget(self, active: Collection[int]) -> None:
        """Forget what is kept in memory of alerts that are over: of all but these."""
        self._escalations.forget(active)

    def _escalate(
        self,
        found: Decision,
        alert: Alert,
        routes: Sequence[Route],
        told: Told | None,
        progress: Sequence[Progress],
        now: int,
    ) -> None:
        """Take the steps that are due; an escalation that has begun goes on, whatever the routes say by now."""
        under_way = {p.escalation: p for p in progress}
        waits = dict.fromkeys(under_way, 0)
        for route in routes:
            if route.escalation:
                waits.setdefault(route.escalation, int(route.group_wait * 1000))
        for name, wait in waits.items():
            if name not in self.on_call.settings.escalations:  # the file has it no more
                continue
            taken = self._escalations.due(alert, name, under_way.get(name), told, now, wait)
            found.wanted += [(alert.id, event, target, when) for event, target, when in taken.told]
            if taken.progress is not None:
                found.progress.append(taken.progress)

    def _taken(self, alert: Alert, told: Told | None, now: int) -> Iterator[Wanted]:
        """Tell whoever would go on paging that somebody has taken the alert; nothing quiet keeps that from them."""
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

    def _routes_of(self, alert: Alert, told: Told | None, now: int) -> list[Route]:
        """Return the routes by which there may be something to tell now: few of thousands of alerts have any."""
        if told is not None and alert.condition.severity.rank <= told.severity.rank and not self._late:
            return []
        return [route for route in self._routes if self._fits(route, alert, now)]

    def _fits(self, route: Route, alert: Alert, now: int) -> bool:
        condition = alert.condition
        if condition.severity not in route.severities:
            return False
        if route.rules and not _any(route.rules, condition.rule):
            return False
        if route.kinds and self._kinds.get(condition.rule) not in route.kinds:
            return False
        if route.times and not within(
            route.times, now, ZoneInfo(route.timezone) if route.timezone else self._zone
        ):
            return False
        if route.process_areas and not set(route.process_areas) & set(self._areas(condition.object_id)):
            return False
        return not route.objects or any(
            _any(route.objects, where)
            for where in (condition.object_id, *self._plant().upstream(condition.object_id))
        )


def _any(patterns: Sequence[str], name: str) -> bool:
    return any(fnmatchcase(name, pattern) for pattern in patterns)
