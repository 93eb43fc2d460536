"""What the browser is sent of incidents."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from zoneinfo import ZoneInfo

from dashboard import alarm_frames, cells
from dashboard.data import ConsoleData
from dashboard.incidents import Step
from dashboard.words import count, language, say, term
from domain.alert import Alert, AlertState
from domain.said import of_plain, told
from storage.incident_records import Incident

Payload = dict[str, Any]
MOST_RULES = 4


def incidents(data: ConsoleData) -> Payload:
    """Return the incidents that last, and those of the last days."""
    desk = data.incidents
    leading = [i for i in desk.open() if i.members]
    explained = data.leads()  # by another: these lead nothing
    alone = [i for i in desk.open() if not i.members and i.lead.id not in explained]
    past = desk.past()
    return {
        "open": [_card(i, data) for i in leading],
        "alone": [_card(i, data) for i in alone],
        "past": [_card(i, data) for i in past],
        "cells": {
            "incidents-open": [count("incident.open", len(leading)), "warning" if leading else "muted"],
            "incidents-alone": [str(len(alone)), "muted"],
            "incidents-past": [str(len(past)), "muted"],
        },
    }


def incident(data: ConsoleData, which: str) -> Payload:
    """Return one incident, by the number of the alert that leads it."""
    found = data.incidents.one(int(which)) if which.isdigit() else None
    if found is None:
        return {
            "lead": which,
            "known": False,
            "cells": {"incident-title": [say("incident.none", n=which), "missing"]},
        }
    zone, lead = data.site.zone, found.incident.lead
    return {
        "lead": which,
        "known": True,
        "alert": alarm_frames.alert_row(lead, data),
        "members": [alarm_frames.alert_row(a, data) for a in found.members],
        "cause": _cause(found.cause, lead, data.site.zone, data.moment > 0),
        "steps": [_step(s, lead, data) for s in found.steps],
        "notes": [
            {
                "id": f"note-{n}",
                "mark": "",
                "cells": [
                    [cells.date(note.at, zone), "name"],
                    [note.who, ""],
                    [note.note, ""],
                ],
            }
            for n, note in enumerate(found.notes)
        ]
        or [{"id": "note-none", "mark": "", "cells": [[say("incident.no_notes"), "muted"]]}],
        "racks": list(found.racks),
        "cells": {
            "incident-title": [f"{lead.condition.object_id}, {_title(lead, data)}", ""],
            "incident-lasted": _lasted(found.incident, data),
            "incident-members-count": [count("incident.alarms", len(found.members)), ""],
            "incident-racks": [str(len(found.racks)), "", say("incident.racks_are")],
            "incident-gpus": [cells.thousands(found.gpus), ""],
            "incident-active": [str(found.incident.active), "", say("incident.active_is")],
        },
    }


def _card(i: Incident, data: ConsoleData) -> Payload:
    condition, lead = i.lead.condition, i.lead
    cause = data.incidents.cause(i)
    rules = sorted(i.members.items(), key=lambda item: -item[1])
    told = ", ".join(f"{n} \u00d7 {data.alarms.title(rule, language())}" for rule, n in rules[:MOST_RULES])
    return {
        "id": lead.id,
        "severity": condition.severity.value,
        "state": lead.state.value,
        "object": condition.object_id,
        "title": _title(lead, data),
        "summary": condition.told(language()),
        "lang": alarm_frames.spoken(condition),
        "cause": "" if cause is None else _named(cause),
        "below": told
        if len(rules) <= MOST_RULES
        else say("incident.and_more", names=told, n=len(rules) - MOST_RULES),
        "members": sum(i.members.values()),
        "active": i.active,
        "who": lead.acknowledged_by,
        "opened": i.opened,
        "openedText": cells.date(i.opened, data.site.zone, "long"),
        "closed": i.closed,
    }


def _title(lead: Alert, data: ConsoleData) -> str:
    return data.alarms.title(lead.condition.rule, language())


def _named(cause: Mapping[str, Any]) -> str:
    return say("incident.likely", root=cause["root"], fault=_fault(cause))


def _fault(cause: Mapping[str, Any]) -> str:
    return term("fault", str(cause["class"]).replace("_", " "))


def _returns(cause: Mapping[str, Any], zone: ZoneInfo) -> list[str]:
    """Return how often the watch has seen the cause come back, where it has."""
    returned = cause.get("returned")
    if not returned:
        return []
    first, last = (cells.date(at, zone, "long") for at in (cause["since"], returned[-1]))
    return [say("incident.returned", n=len(returned), first=first, last=last)]


def _cause(cause: Mapping[str, Any] | None, lead: Alert, zone: ZoneInfo, past: bool = False) -> Payload:
    """Return the root, what speaks for it and what else it may be; without a word of the watch, what the lead says."""
    if cause is None:
        return {
            "root": lead.condition.object_id,
            "fault": say("incident.not_kept" if past else "incident.by_rule"),
            "evidence": [lead.condition.told(language())],
            "alternatives": None,  # nobody looked for any
        }
    return {
        "root": cause["root"],
        "fault": _fault(cause),
        "evidence": [lead.condition.told(language()), *_evidence(cause), *_returns(cause, zone)],
        "alternatives": [str(other) for other in cause["alternatives"]],
    }


def _evidence(cause: Mapping[str, Any]) -> list[str]:
    """Return what speaks for a cause, in the language of whoever asks; what is no sentence of this release in English."""
    said = [of_plain(kept) for kept in cause.get("said", ())]
    return [told(one, language()) for one in said if one] or [str(line) for line in cause["evidence"]]


def _step(step: Step, lead: Alert, data: ConsoleData) -> Payload:
    change, condition = step.change, step.alert.condition
    state = say(f"incident.state_{change.state}")
    mark = change.severity.value if change.state is AlertState.OPEN else ""
    told = ": ".join(part for part in (change.who, alarm_frames.noted(change.note)) if part)
    return {
        "id": "",
        "mark": mark,
        "cells": [
            [cells.date(change.at, data.site.zone, "long"), "name"],
            [condition.object_id, "incident-lead" if step.alert.id == lead.id else ""],
            [data.alarms.title(condition.rule, language()), ""],
            [state, ""],
            [told, ""],
        ],
    }


def _lasted(i: Incident, data: ConsoleData) -> cells.Cell:
    since = cells.date(i.opened, data.site.zone, "long")
    if not i.closed:
        return [say("incident.since", time=since), ""]
    return [say("incident.lasted", time=since, span=cells.duration(i.closed - i.opened)), "muted"]
