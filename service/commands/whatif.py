"""What-if questions to the running service."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from domain.batch import now_ms
from domain.breaches import AHEAD_S
from domain.errors import InputError, UnitError
from domain.units import parse_quantity, shown
from service.commands.options import Data, RecordsOf
from service.commands.output import as_json, as_table
from service.running import required
from service.settings import data_of


def what_if(
    lose: Annotated[
        list[str] | None,
        typer.Option(
            metavar="ID", help="A CDU, busway, UPS, feed or air unit that fails now; may be repeated"
        ),
    ] = None,
    job: Annotated[
        list[str] | None,
        typer.Option(metavar="RACKS[@SPAN]", help="A job on so many racks, in SPAN from now, such as 10@2h"),
    ] = None,
    limit: Annotated[str | None, typer.Option(help="Another site limit, such as '15 MW'")] = None,
    warmer: Annotated[float, typer.Option(metavar="K", help="Hotter weather: the wet bulb is up by K")] = 0.0,
    json: Annotated[bool, typer.Option("--json", help="Print JSON")] = False,
    config: RecordsOf = None,
    data: Data = None,
) -> None:
    """Tell what happens if a unit is lost, a job is added, or the limit changes."""
    service = required(data_of(config, data), "a what-if question starts from what is measured now")
    try:
        watts = None if limit is None else parse_quantity(limit, "W")
    except UnitError as error:
        raise InputError(f"--limit: {error}") from error
    question = {
        "lost": lose or [],
        "jobs": [_job(text) for text in job or []],
        "limit": watts,
        "warmer": warmer,
    }
    answer: dict[str, Any] = service.call("POST", "what-if", json=question).json()
    if json:
        as_json(answer)
        return
    _print(answer)


def _job(text: str) -> dict[str, Any]:
    from service.commands.tables import timespan

    racks, _, span = text.partition("@")
    if not racks.isdigit():
        raise InputError(f"--job {text}: write the number of racks and when, such as 10@2h")
    wait = int(timespan(span).total_seconds() * 1000) if span else 0
    return {"racks": int(racks), "start": now_ms() + wait}


def _print(answer: dict[str, Any]) -> None:
    if answer["unpowered_racks"]:
        typer.echo(f"Without power: {', '.join(answer['unpowered_racks'])}")
    if answer["on_battery"]:
        typer.echo(f"On battery: {', '.join(answer['on_battery'])}; {answer['battery_minutes']:.0f} minutes")
    if answer["overloaded"]:
        typer.echo("Above their limits:")
        as_table(
            ["node", "now", "then", "limit"],
            [
                [n["id"], *(shown(n[k], "W") for k in ("before", "after", "limit"))]
                for n in answer["overloaded"]
            ],
        )
    if answer["hot"]:
        typer.echo("Above their temperature limits within the hour:")
        as_table(
            ["rack", "what", "peak", "limit", "after"],
            [
                [
                    h["rack"],
                    h["quantity"],
                    shown(h["peak"], "Cel"),
                    shown(h["limit"], "Cel"),
                    f"{h['seconds']:.0f} s",
                ]
                for h in answer["hot"]
            ],
        )
    power = answer["power"]
    if power is not None:
        risky = [i for i in power["intervals"] if i["breach_probability"] > 0.01]
        last = power["intervals"][-1]
        soon = [i for i in power["intervals"] if i["start"] < now_ms() + AHEAD_S * 1000]
        typer.echo(
            f"Site limit: {len(risky)} of {len(power['intervals'])} quarter hours exceed it with more than 1 %; "
            f"within {AHEAD_S / 3600:.0f} hours it is exceeded with {soon[-1]['breached_by'] if soon else 0:.0%}, "
            f"by the end of the forecast with {last['breached_by']:.0%}; "
            f"shed at most {shown(max(i['shed'] for i in power['intervals']), 'W')} to stay under 1 %."
        )
    if not (answer["unpowered_racks"] or answer["overloaded"] or answer["hot"]):
        typer.echo("Every rack keeps its power and its temperatures; no node passes its limit.")
    for assumption in answer["assumptions"]:
        typer.echo(f"  ({assumption})")
