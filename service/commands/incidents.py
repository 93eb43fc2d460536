"""Incidents at the command line: which alert leads, and what it explains."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from domain.batch import now_ms
from service.commands.options import Data, RecordsOf
from service.commands.output import as_json, as_table, say, when

if TYPE_CHECKING:
    from storage.records import Records

Json = Annotated[bool, typer.Option("--json", help="Print JSON")]


def _records(config: Path | None, data: Path | None) -> Records:
    from service.settings import records_url
    from storage.records import Records

    return Records(records_url(config, data))


def list_(
    last: Annotated[str, typer.Option("--for", help="Those opened so lately too, such as 24h")] = "",
    json: Json = False,
    config: RecordsOf = None,
    data: Data = None,
) -> None:
    """List the incidents that last: the alert that is told, and how many it explains."""
    from service.commands.tables import timespan

    since = now_ms() - int(timespan(last).total_seconds() * 1000) if last else None
    found = _records(config, data).incidents(since)
    if json:
        as_json([asdict(incident) for incident in found])
        return
    as_table(
        ["number", "severity", "since", "until", "what", "explains"],
        [
            [
                i.lead.id,
                i.lead.condition.severity,
                when(i.opened),
                when(i.closed) if i.closed else "-",
                f"{i.lead.condition.rule}: {i.lead.condition.summary}",
                ", ".join(f"{n} {rule}" for rule, n in sorted(i.members.items())) or "-",
            ]
            for i in found
        ],
    )


def show(
    number: Annotated[int, typer.Argument(help="The number of the alert that leads it, as listed")],
    json: Json = False,
    config: RecordsOf = None,
    data: Data = None,
) -> None:
    """Show the alerts that an incident explains, or explained; nobody was told of them while it did."""
    records = _records(config, data)
    incident = records.incident(number)
    members = records.incident_members(incident.id)
    if json:
        as_json({**asdict(incident), "alerts": [asdict(alert) for alert in members]})
        return
    lead = incident.lead
    say(f"{lead.id} {lead.condition.key}, {lead.state}: {lead.condition.summary}")
    as_table(
        ["number", "severity", "state", "since", "what"],
        [
            [
                a.id,
                a.condition.severity,
                a.state,
                when(a.opened),
                f"{a.condition.rule}: {a.condition.summary}",
            ]
            for a in members
        ],
    )
