"""What the console knows of incidents: what leads, why, what hangs on it, and what happened when. Everything here blocks."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from alerts.incidents.reach import Reach
from dashboard.lately import Lately
from dashboard.views import Rows
from domain.alert import Alert
from domain.errors import InputError
from storage.alert_notes import AlertNote
from storage.alert_records import Transition
from storage.incident_records import Incident
from storage.plant import PlantView
from storage.records import Records

LISTED_MS = 7 * 86_400_000
"""Incidents that are over are listed for so long."""
MOST_LISTED = 200
MOST_MEMBERS = 200
MOST_STEPS = 300
MOST_LOOKED_AT = 50
"""Incidents that are kept for those who look at them."""


@dataclass(frozen=True, slots=True)
class Step:
    """What happened to one of an incident's alerts."""

    alert: Alert
    change: Transition


@dataclass(frozen=True, slots=True)
class IncidentNow:
    """One incident.

    Parameters
    ----------
    incident, members
        The lead with its counts, and the alerts beneath it, the oldest first.
    steps
        What happened to all of them, in the order of time.
    notes
        What people noted on the lead's alarm, also earlier.
    cause
        What the anomaly watch says of its cause now: ``root``, ``class``, ``evidence``, ``alternatives``; None where it says
        nothing of it.
    racks, gpus
        Racks that hang on the lead's object (also a group of redundancy, such as a pod's cooling), have an alert beneath it
        or are where the anomaly watch saw it, and how many GPUs these hold.
    """

    incident: Incident
    members: tuple[Alert, ...]
    steps: tuple[Step, ...]
    notes: tuple[AlertNote, ...]
    cause: Mapping[str, Any] | None
    racks: tuple[str, ...]
    gpus: int


class IncidentDesk:
    """Answers what the pages of incidents ask.

    Parameters
    ----------
    records, plant, clock
        Where figures come from, and the present, UTC ms.
    watched
        Returns the open incidents of the anomaly watch, ready for JSON.
    rack_of
        Returns the rack that an object is or stands in, or an empty string.
    """

    def __init__(
        self,
        records: Records,
        plant: PlantView,
        clock: Callable[[], int],
        watched: Callable[[], Rows],
        rack_of: Callable[[str], str],
    ) -> None:
        self._records = records
        self._plant = plant
        self._clock = clock
        self._watched = watched
        self._rack_of = rack_of
        self._reach = Reach(plant.site, plant.topology)
        self._open = Lately(records.incidents, 1000, clock)
        self._past = Lately(self._ask_past, 30_000, clock)
        self._looked_at: dict[int, Lately[IncidentNow | None]] = {}

    def open(self) -> list[Incident]:
        """Return the incidents that last and explain something, the worst first, then those that only might."""
        return sorted(
            self._open(),
            key=lambda i: (
                not i.members,
                -i.lead.condition.severity.rank,
                -sum(i.members.values()),
                -i.opened,
            ),
        )

    def past(self) -> list[Incident]:
        """Return the incidents of the last days that are over and explained something, the newest first."""
        return [i for i in self._past() if i.closed and i.members]

    def cause(self, incident: Incident, members: tuple[Alert, ...] = ()) -> Mapping[str, Any] | None:
        """Return what the anomaly watch says of the cause of an incident, or None."""
        objects = {incident.lead.condition.object_id, *(a.condition.object_id for a in members)}
        if incident.closed:
            return None
        found = [w for w in self._watched() if w["root"] in objects or objects.intersection(w["members"])]
        lead = incident.lead.condition.object_id
        return min(
            found, key=lambda w: (w["root"] != lead, lead not in w["members"], w["since"]), default=None
        )

    def hanging(self, object_id: str) -> tuple[int, int]:
        """Return how many racks hang on an object or group of redundancy, and how many GPUs these hold."""
        racks = self._reach.of(object_id, "downstream").intersection(self._plant.site.racks)
        return len(racks), len(racks) * self._plant.site.rack_gpus

    def one(self, lead: int) -> IncidentNow | None:
        """Return the incident that an alert leads, as of a second ago; None where it leads none."""
        known = self._looked_at.get(lead)
        if known is None:
            if len(self._looked_at) >= MOST_LOOKED_AT:
                self._looked_at.pop(next(iter(self._looked_at)), None)
            known = self._looked_at[lead] = Lately(lambda: self._ask(lead), 1000, self._clock)
        return known()

    def _ask_past(self) -> list[Incident]:
        return self._records.incidents(self._clock() - LISTED_MS, MOST_LISTED)

    def _ask(self, lead: int) -> IncidentNow | None:
        try:
            incident = self._records.incident(lead)
        except InputError:
            return None
        members = tuple(self._records.incident_members(incident.id, MOST_MEMBERS))
        condition = incident.lead.condition
        changes = self._records.transitions_of([incident.lead.id, *(a.id for a in members)], MOST_STEPS)
        alerts = {a.id: a for a in (incident.lead, *members)}
        cause = self.cause(incident, members)
        objects = {a.condition.object_id for a in (incident.lead, *members)}
        objects.update(() if cause is None else cause["members"])
        hit = {self._rack_of(o) for o in objects}
        reached = hit.union(self._reach.of(condition.object_id, "downstream"))
        racks = tuple(r for r in self._plant.site.racks if r in reached)
        return IncidentNow(
            incident,
            members,
            tuple(Step(alerts[alert_id], change) for alert_id, change in changes),
            tuple(self._records.alert_notes(condition.rule, condition.object_id)),
            cause,
            racks,
            len(racks) * self._plant.site.rack_gpus,
        )
