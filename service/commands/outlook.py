"""What the newest forecasts mean for the limits, asked of the running service."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, Any

import typer

from domain.units import shown
from service.commands.options import Data, RecordsOf
from service.commands.output import as_json, as_table
from service.running import required
from service.settings import data_of

LIKELY = 0.01


def outlook(
    node: Annotated[
        str, typer.Argument(metavar="[NODE]", help="Site (default), feed, UPS, busway or rack")
    ] = "",
    json: Annotated[bool, typer.Option("--json", help="Print JSON")] = False,
    config: RecordsOf = None,
    data: Data = None,
) -> None:
    """Tell when a node may pass its limit, what to shed to stay under it, and how steeply power will move."""
    service = required(data_of(config, data), "the outlook comes from the running service")
    answer: dict[str, Any] = service.call("GET", "outlook", params={"node": node}).json()
    if json:
        as_json(answer)
        return
    rows = [
        [
            _time(i["start"]),
            shown(i["expected"], "W"),
            "" if i["limit"] is None else shown(i["limit"], "W"),
            f"{i['breach_probability'] or 0:.0%}",
            f"{i['breached_by']:.0%}",
            shown(i["shed"], "W"),
            "" if i["ramp"][1] is None else " to ".join(shown(r, "W/min") for r in i["ramp"][::2]),
        ]
        for i in answer["intervals"]
    ]
    as_table(["UTC", "expected", "limit", "breach", "by then", "shed", "ramp, 90 %"], rows)
    if (ramps := answer["ramps"]) is not None:
        typer.echo(f"Largest change of power in {ramps['minutes']} minutes, 90 % interval:")
        told = [
            [
                f"within {w['seconds']} s",
                *(f"{shown(w[d][0], 'W')} to {shown(w[d][-1], 'W')}" for d in ("up", "down")),
            ]
            for w in ramps["within"]
        ]
        as_table(["", "up", "down"], told)
    for step in answer["planned_steps"][:10]:
        typer.echo(f"Planned: {_time(step['time'])} {shown(step['power'], 'W')} within about a minute")
    for other in answer["nodes"]:
        if other["id"] != answer["id"] and other["breached_by_end"] >= LIKELY:
            typer.echo(
                f"{other['id']} passes its limit with {other['breached_by_end']:.0%} by the end; "
                f"shed {shown(other['shed'], 'W')}"
            )


def _time(ms: int) -> str:
    return datetime.fromtimestamp(ms / 1000, UTC).strftime("%d %b %H:%M")
