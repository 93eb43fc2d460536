"""What could be shed or raised, which jobs go first and why, and an advisory plan; asked of the running service."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from domain.batch import now_ms
from domain.errors import InputError, UnitError
from domain.units import parse_quantity, shown
from service.commands.data import moment
from service.commands.options import Data, RecordsOf
from service.commands.output import as_json, as_table, say, when
from service.running import required
from service.settings import data_of

HOUR_MS = 3_600_000


def flexibility(
    node: Annotated[
        str, typer.Argument(metavar="[NODE]", help="Site (default), feed, UPS, busway or rack")
    ] = "",
    target: Annotated[
        str | None, typer.Option(help="Power to come down to, such as '14 MW': plan for it")
    ] = None,
    since: Annotated[
        str, typer.Option("--from", help="When the target begins, such as 2026-07-01T16:00+08:00")
    ] = "now",
    until: Annotated[str | None, typer.Option("--to", help="When it ends (default: an hour later)")] = None,
    json: Annotated[bool, typer.Option("--json", help="Print JSON")] = False,
    config: RecordsOf = None,
    data: Data = None,
) -> None:
    """Tell what could be shed or raised, how fast, for how long and at what loss, and which jobs go first; nothing is switched."""
    service = required(data_of(config, data), "what could be shed depends on what runs and draws power now")
    asked: dict[str, Any] = {"node": node}
    if target is not None:
        start = now_ms() if since == "now" else moment(since)
        end = start + HOUR_MS if until is None else moment(until)
        asked |= {"target": _watts(target), "start": start, "end": end}
    answer: dict[str, Any] = service.call("GET", "flexibility", params=asked).json()
    if json:
        as_json(answer)
        return
    as_table(
        ["node", "power", "limit", "headroom", "could shed", "within", "could raise"],
        [
            [
                one["node"],
                *(_power(one[key]) for key in ("power", "limit", "headroom", "shed")),
                f"{one['within']:.0f} s",
                _power(one["raised"]),
            ]
            for one in (answer, *answer["feeds"])
        ],
    )
    if answer["unmeasured"]:
        say(f"{answer['unmeasured']} racks are not measured and count for nothing.")
    as_table(
        ["first", "job", "racks", "power", "gives", "for", "planned until", "tokens lost", "why"],
        [
            [
                job["place"],
                job["job"] or "-",
                len(job["racks"]),
                _power(job["power"]),
                _power(job["shed"]),
                _span(job["longest"]) if job["shed"] else "-",
                when(job["until"]) if job["until"] else "-",
                _lost(job),
                job["why"],
            ]
            for job in answer["jobs"]
        ],
    )
    if answer["plan"] is not None:
        _print(answer["plan"])


def _print(plan: dict[str, Any]) -> None:
    say(
        f"To come down to {_power(plan['target'])} from {when(plan['start'])} to {when(plan['end'])}: expected are "
        f"{_power(plan['expected'])} at most ({plan['basis']}), so {_power(plan['needed'])} have to go."
    )
    as_table(
        ["from", "until", "job", "class", "racks", "sheds", "begin by", "tokens lost"],
        [
            [
                when(step["start"]),
                when(step["end"]),
                step["job"] or "-",
                step["kind"],
                len(step["caps"]),
                _power(step["shed"]),
                when(step["begin_by"]),
                "-" if step["tokens"] is None else f"{step['tokens']:,.0f}",
            ]
            for step in plan["steps"]
        ],
    )
    tokens = "" if plan["tokens"] is None else f"{plan['tokens']:,.0f} tokens and "
    say(
        f"That sheds {_power(plan['shed'])}, at a loss of {tokens}{plan['rack_hours']:.1f} rack hours of work."
    )
    if plan["saves"] is not None:
        say(f"By the grid's price that energy costs {plan['saves']:,.0f} {plan['currency']}.")
    if plan["avoided_kg"] is not None:
        say(f"By the grid's emissions it stands for {plan['avoided_kg']:,.0f} kg of CO2 equivalent.")
    if plan["short"]:
        say(f"{_power(plan['short'])} are missing: the classes of jobs give no more.")
    say("This is advice; nothing is switched.")


def _watts(text: str) -> float:
    try:
        return parse_quantity(text, "W")
    except UnitError as error:
        raise InputError(f"--target: {error}") from error


def _power(watts: float | None) -> str:
    return "-" if watts is None else shown(watts, "W", 4)


def _span(seconds: float) -> str:
    return f"{seconds / 3600:g} h" if seconds >= 3600 else f"{seconds / 60:g} min"


def _lost(job: dict[str, Any]) -> str:
    return (
        "-"
        if not job["tokens"] or job["lost"] is None
        else f"{job['lost'] / job['tokens']:.0%} of {job['tokens']:,.0f}/s"
    )
