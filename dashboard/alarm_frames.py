"""What the browser is sent of alarms: rows of the lists, and what is kept quiet."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Sequence
from typing import Any

from alerts.performance import rows
from dashboard import cells
from dashboard.alarms import ORDER
from dashboard.data import ConsoleData
from dashboard.words import count, language, say, term, word
from domain.alert import Alert, AlertState, Condition
from domain.languages import Language
from domain.suppression import Suppression, SuppressionKind
from domain.units import shown
from storage.incident_records import FORETOLD

Payload = dict[str, Any]
MOST_RULES = 3
"""Kinds of alerts that are named of those that another explains."""
_KEPT_QUIET = re.compile(
    rf"(?P<kind>{'|'.join(SuppressionKind)}) by .+?(?P<once> until it clears)?: (?P<reason>.*)"
)
"""As `alerts.suppressor.told` words it."""
MOST_STEPS = 100
"""Steps of an alert's life that its timeline shows, the newest."""


def alerts(data: ConsoleData) -> Payload:
    """Return what is listed; the browser tells for how long, so that nothing changes while nothing happens."""
    listed, leads = data.alarms.listed(), data.leads()
    below: dict[int, list[Alert]] = {}
    for a in listed:
        below.setdefault(leads.get(a.id, 0), []).append(a)
    known = {a.id for a in listed}
    # what another alert explains stands under it; where that one has cleared just now, by itself
    roots = [a for a in listed if leads.get(a.id, 0) not in known]
    # of what is as urgent, what explains others comes first: in a storm the cause stands on top
    roots.sort(key=lambda a: (ORDER[a.state], -a.condition.severity.rank, not data.explains().get(a.id)))
    return {
        "rows": [
            row
            for root in roots
            for row in (
                alert_row(root, data) | {"hangs": _hangs(root, below.get(root.id, ()), data)},
                *(alert_row(a, data) for a in below.get(root.id, ())),
            )
        ]
    }


def _hangs(lead: Alert, members: Sequence[Alert], data: ConsoleData) -> str:
    """Return what an alert that explains others explains, and how much hangs on its object; of any other nothing."""
    if not members:
        return ""
    rules = Counter(a.condition.rule for a in members)
    told = [f"{n} \u00d7 {data.alarms.title(rule, language())}" for rule, n in rules.most_common(MOST_RULES)]
    racks, gpus = data.incidents.hanging(lead.condition.object_id)
    if racks:
        told.append(count("alert.hangs", racks, gpus=cells.thousands(gpus)))
    return say("text.comma").join(told)


def alert_history(data: ConsoleData) -> Payload:
    """Return the newest alerts of every state, and all that is listed."""
    return {"rows": [alert_row(a, data) for a in data.alarms.history()]}


def alert_row(a: Alert, data: ConsoleData) -> Payload:
    """Return one alert as the lists show it."""
    c = a.condition
    note = data.alarms.notes().get((c.rule, c.object_id))
    earlier = note is not None and note.note != a.note
    return {
        "id": a.id,
        "severity": c.severity.value,
        "state": a.state.value,
        "rule": c.rule,
        "title": data.alarms.title(c.rule, language()),
        "object": c.object_id,
        "rack": data.rack_of(c.object_id),
        "summary": c.told(language()),
        "lang": spoken(c),
        "value": _told_as_figure(c.value, c.unit) or cells.DASH,
        "limit": _told_as_figure(c.limit, c.unit),
        "opened": a.opened,
        "openedText": cells.date(a.opened, data.site.zone, "long"),
        "openedShort": _short(a.opened, data),
        "pod": _pod(a, data),
        "cleared": a.cleared_at,
        "who": a.acknowledged_by,
        "acknowledged": a.acknowledged_at,
        "note": a.note,
        "quiet": _quiet(a, data),
        # its sentence and figures are not kept of each moment
        "told": cells.date(a.updated, data.site.zone) if 0 < data.moment < a.updated else "",
        "lead": data.leads().get(a.id, 0),
        "explains": data.explains().get(a.id, 0),
        "noted": f"{cells.date(note.at, data.site.zone)} {note.who}: {note.note}"
        if earlier and note is not None
        else "",
    }


def alarms(data: ConsoleData) -> Payload:
    """Return what the alerts page shows beside the list: what is kept quiet, and how the alarms of a day performed."""
    return quiet(data) | performance(data)


def performance(data: ConsoleData) -> Payload:
    """Return the measures of the last day with their targets, and the alarms that came most often."""
    found = data.alarms.performance()
    return {
        "measures": [
            {
                "id": f"measure-{n}",
                "mark": "",
                "cells": [
                    [term("measure", m.name), "name"],
                    [term("measure", m.value), "warning" if m.off else ""],
                    [term("measure", m.target), "muted"],
                ],
            }
            for n, m in enumerate(rows(found))
        ],
        "top": [
            {
                "id": f"frequent-{n}",
                "mark": "",
                "cells": [
                    [f"{f.object_id}, {data.alarms.title(f.rule, language())}", "name", f.rule],
                    [str(f.times), ""],
                ],
            }
            for n, f in enumerate(found.top)
        ],
    }


def quiet(data: ConsoleData) -> Payload:
    """Return what is shelved, under maintenance, expected by a mode, or out of service: so that nobody forgets it."""
    now = data.clock()
    order = list(SuppressionKind)
    kept = sorted(data.alarms.suppressions(), key=lambda s: (-order.index(s.kind), s.start))
    covered: dict[int, int] = {}
    for one in data.alarms.quiet().values():
        covered[one.id] = covered.get(one.id, 0) + 1
    return {
        "rows": [
            {
                "id": s.id,
                "kind": s.kind.value,
                "kindText": term("suppression", s.kind),
                "what": say("quiet.and_below", object=s.object_id) if s.below else s.object_id,
                "rule": "" if s.rule == "*" else s.rule,
                "why": f"{s.who}: {_reason(s)}",
                "until": _until(s, data),
                "since": s.start,
                "holds": s.holds(now),
                "begins": cells.date(s.start, data.site.zone),
                "alarms": covered.get(s.id, 0),
                "byHand": s.kind is not SuppressionKind.MODE,
            }
            for s in kept
        ]
    }


def timeline(data: ConsoleData, alert_id: int) -> list[list[str]]:
    """Return what became of an alert, the oldest step first: when, what it became, and who said what."""
    return [
        [
            cells.date(step.at, data.site.zone, "long"),
            say(f"incident.state_{step.state}"),
            ": ".join(part for part in (step.who, noted(step.note)) if part),
        ]
        for step in data.records.transitions(alert_id)[-MOST_STEPS:]
    ]


def spoken(c: Condition) -> Language:
    """Return the language of a condition's sentence: that of whoever asks, or English where somebody wrote it."""
    return "en" if isinstance(c.said, str) else language()


def _reason(one: Suppression) -> str:
    """Return why an alarm is kept quiet: in somebody's words, or the state that an object is in (`alerts.modes`)."""
    begins = f"{one.object_id} is in "
    if one.kind is not SuppressionKind.MODE or not one.reason.startswith(begins):
        return one.reason
    return say("quiet.in_state", object=one.object_id, state=word("state", one.reason.removeprefix(begins)))


def noted(note: str) -> str:
    """Return what stands beside a step of an alert's life; what Hallwatch wrote itself in the language of whoever asks."""
    if note.startswith(FORETOLD):
        return say("note.foretold", rule=note.removeprefix(FORETOLD))
    if kept := _KEPT_QUIET.fullmatch(note):
        until = say("quiet.until_clear") if kept["once"] else ""
        return say("note.quiet", kind=term("suppression", kept["kind"]), until=until, reason=kept["reason"])
    return term("note", note)


def _told_as_figure(value: float, unit: str) -> str:
    """Return a value as a figure; nothing of a state or a number of things: their sentence says all."""
    return "" if math.isnan(value) or unit in ("", "count") else shown(value, unit)


def _short(at: int, data: ConsoleData) -> str:
    """Return a time by the clock, with its day where that is not the one that is shown."""
    zone = data.site.zone
    today = cells.clock(at, zone, "%Y-%m-%d") == cells.clock(data.clock(), zone, "%Y-%m-%d")
    return cells.clock(at, zone, "%H:%M") if today else cells.date(at, zone)


def _pod(a: Alert, data: ConsoleData) -> str:
    """Return the pod that an alert's object stands in, or an empty string."""
    name = a.condition.object_id
    rack = data.rack_of(name)
    pod = data.site.pod_of(rack) if rack else None
    if pod is not None:
        return pod.id
    head = name.partition("-")[0]
    return next((p.id for p in data.site.pods if p.id in (head, name) or name in p.cdus), "")


def _quiet(a: Alert, data: ConsoleData) -> str:
    one = data.alarms.quiet().get(a.id)
    if one is None or a.state in (AlertState.CLEARED, AlertState.RETURNED):
        return ""
    return say(
        "quiet.kept",
        kind=term("suppression", one.kind),
        until=_until(one, data),
        who=one.who,
        reason=_reason(one),
    )


def _until(one: Suppression, data: ConsoleData) -> str:
    if one.once:
        return say("quiet.until_clear")
    if not one.end:
        return say("quiet.while" if one.kind is SuppressionKind.MODE else "quiet.until_back")
    return say("quiet.until", time=cells.date(one.end, data.site.zone))
