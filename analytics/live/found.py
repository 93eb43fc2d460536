"""What the watch has found, as readings of our own that alert rules look at, and as text for the health page."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from analytics.anomaly.incidents import Incident
from analytics.anomaly.sensors import Verdict
from analytics.anomaly.signatures import FAULTS, INSTRUMENTS
from analytics.anomaly.wear import WornPart
from analytics.points import SOURCE
from domain.batch import Batch
from domain.points import Point, PointRegistry, Quality
from domain.said import plain, told

REPEAT_MS = 60_000
"""What stays as it is is told again after this long, so that rules know it still holds."""
INCIDENT_STATES = ((0, "None"), *((i + 1, fault) for i, fault in enumerate(FAULTS)))
VERDICT_STATES = tuple((int(v), v.name.capitalize().replace("_", " ")) for v in Verdict)


class FoundPoints:
    """Incidents and faulty instruments as states of the objects that they are about.

    An incident is one reading of its root: the class of its fault, 0 once it is over. A faulty instrument is one
    reading of its object: the verdict, 0 once it is well.
    """

    def __init__(self, registry: PointRegistry) -> None:
        self._registry = registry
        self._told: dict[int, float] = {}
        self._at = 0

    def readings(
        self,
        now: int,
        incidents: Sequence[Incident],
        faulty: Mapping[tuple[str, str], Verdict],
        types: Mapping[str, str],
        over: bool,
        worn: Sequence[WornPart] = (),
    ) -> Batch:
        """Return what has changed, and everything once a minute.

        Parameters
        ----------
        now
            UTC ms.
        incidents, faulty
            Open incidents; instruments that misbehave, by object and quantity.
        types
            Type of each object.
        over
            Whether what is not found (any more) may be told to be over: not before the watch has warmed up.
        worn
            Parts that wear: the middle estimate of their time is told.
        """
        present: dict[int, float] = {}
        for incident in incidents:
            root, fault = incident.cause.root, incident.cause.fault
            kind = types.get(root, "GenericObject")
            if fault in INSTRUMENTS:
                present[self._index(_instrument(kind, root, fault))] = int(Verdict.DRIFTING)
            else:
                present[self._index(_incident(kind, root))] = FAULTS.index(fault) + 1
        for (object_id, quantity), verdict in faulty.items():
            kind = types.get(object_id, "GenericObject")
            present[self._index(_instrument(kind, object_id, quantity))] = int(verdict)
        for part in worn:
            left = part.remaining.middle * 86_400.0
            present[self._index(_wearing(types, part))] = left
        if over:
            present = dict.fromkeys(self._known(), 0) | present
        repeat = now - self._at >= REPEAT_MS
        tell = present if repeat else {i: v for i, v in present.items() if self._told.get(i) != v}
        self._told |= tell
        if repeat:
            self._at = now
        rows = np.fromiter(tell, np.int32, len(tell))
        values = np.fromiter(tell.values(), np.float64, len(tell))
        return Batch.of(rows, now, values, Quality.GOOD, now)

    def _index(self, point: Point) -> int:
        return self._registry.register(point)

    def _known(self) -> list[int]:
        registry = self._registry
        return [
            i
            for point_type in ("IncidentClass", "SensorVerdict")
            for i in registry.select(None, point_type).tolist()
            if registry[i].source == SOURCE
        ]


def as_text(incident: Incident) -> dict[str, Any]:
    """Return an incident ready for JSON."""
    cause = incident.cause
    return {
        "number": incident.number,
        "since": incident.opened,
        "seen": incident.seen,
        "returned": list(incident.returned),
        "root": cause.root,
        "class": cause.fault,
        "maintenance": cause.fault in INSTRUMENTS,
        "evidence": [told(said) for said in cause.evidence],
        "said": [plain(said) for said in cause.evidence],
        "alternatives": list(cause.alternatives),
        "members": sorted(incident.members),
    }


def _wearing(types: Mapping[str, str], part: WornPart) -> Point:
    kind = types.get(part.object_id, "GPU" if "-G" in part.object_id else "GenericObject")
    return Point(
        f"{kind}/TimeToLimit/hallwatch/{part.object_id}/{part.indicator.replace(' ', '-')}",
        kind,
        "TimeToLimit",
        part.object_id,
        part.object_id,
        "s",
        process_area=(part.indicator,),
        source=SOURCE,
    )


def _incident(object_type: str, object_id: str) -> Point:
    return Point(
        f"{object_type}/IncidentClass/hallwatch/{object_id}",
        object_type,
        "IncidentClass",
        object_id,
        object_id,
        state_text=INCIDENT_STATES,
        source=SOURCE,
    )


def _instrument(object_type: str, object_id: str, quantity: str) -> Point:
    return Point(
        f"{object_type}/SensorVerdict/hallwatch/{object_id}/{quantity.replace(' ', '-')}",
        object_type,
        "SensorVerdict",
        object_id,
        object_id,
        state_text=VERDICT_STATES,
        process_area=(quantity,),
        source=SOURCE,
    )
