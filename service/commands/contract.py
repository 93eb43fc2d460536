"""The energy contract at the command line, asked of the running service."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import Annotated, Any

import typer

from domain.errors import InputError
from domain.units import shown
from service.commands.data import moment
from service.commands.options import Data, RecordsOf
from service.commands.output import as_json, as_table, say, when
from service.running import required
from service.settings import data_of

Json = Annotated[bool, typer.Option("--json", help="Print JSON")]
WHY = "the contract is set against what is measured"


def month(json: Json = False, config: RecordsOf = None, data: Data = None) -> None:
    """Tell this month's highest demand, where it will end against the contract, and what that costs."""
    answer: dict[str, Any] = required(data_of(config, data), WHY).call("GET", "contract").json()
    if json:
        as_json(answer)
        return
    money = answer["currency"]
    say(
        f"{answer['contract']}: {answer['name']} ({answer['season']}), {answer['measured']:.0%} measured so far"
    )
    rows = []
    for peak in answer["peaks"]:
        end = peak["end"]
        rows.append(
            [
                peak["name"],
                shown(peak["contracted"], "W", 4),
                "-" if peak["so_far"] is None else f"{shown(peak['so_far'], 'W', 4)} at {when(peak['at'])}",
                "-"
                if end is None
                else f"{shown(end[2], 'W', 4)} ({shown(end[0], 'W', 4)} to {shown(end[-1], 'W', 4)})",
                "-" if peak["exceeds"] is None else f"{peak['exceeds']:.0%}",
                f"{peak['basic']:,.0f} {money}",
                f"{peak['excess_so_far']:,.0f} {money}",
                "-" if peak["excess"] is None else f"{peak['excess']:,.0f} {money}",
            ]
        )
    as_table(
        [
            "demand of",
            "contract",
            "highest so far",
            "month's end (90 %)",
            "exceeds",
            "basic",
            "excess now",
            "excess expected",
        ],
        rows,
    )
    as_table(
        ["period", "energy"],
        [[name, f"{joules / 3.6e9:,.1f} MWh"] for name, joules in answer["energy"].items() if joules],
    )
    say(f"Energy so far costs {answer['energy_cost']:,.0f} {money}.")
    priced = [
        f"{run['period']}{'' if run['price'] is None else ' at ' + format(run['price'], 'g') + ' ' + money + '/kWh'}"
        for run in answer["periods"]
    ]
    if priced:
        then = f", then {priced[1]}" if len(priced) > 1 else ""
        say(f"Now {priced[0]}, until {when(answer['periods'][0]['end'])}{then}.")
    if any(peak["end"] is None for peak in answer["peaks"]):
        say("Where the month will end is told once a week is measured.")


def event(
    start: Annotated[str, typer.Argument(help="Beginning of the event, such as 2026-07-15T16:00+08:00")],
    end: Annotated[str, typer.Argument(help="Its end")],
    rule: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Another baseline than the mean of the highest of five days"),
    ] = None,
    other: Annotated[
        list[str] | None,
        typer.Option("--event-day", help="A day with another event, such as 2026-07-08; may be repeated"),
    ] = None,
    json: Json = False,
    config: RecordsOf = None,
    data: Data = None,
) -> None:
    """Tell what a demand-response event delivered against its baseline."""
    from analytics.contract.baseline import BaselineRule
    from service.configuration import load

    settings = load(rule, BaselineRule) if rule else BaselineRule()
    begin, until = moment(start), moment(end)
    asked = {
        "start": begin,
        "end": until,
        "events": [_day(text) for text in other or []],
        "rule": settings.model_dump(),
    }
    service = required(data_of(config, data), WHY)
    answer: dict[str, Any] = service.call("POST", "contract/event", json=asked).json()
    if json:
        as_json(answer)
        return
    say(f"{when(begin)}, baseline: {answer['rule']}, of {', '.join(answer['days'])}")
    as_table(
        ["baseline", "drawn", "delivered", "counted"],
        [[shown(answer[k], "W", 4) for k in ("baseline", "drawn", "delivered", "counted")]],
    )


def energy(
    by: Annotated[
        str, typer.Option(metavar="day|month", help="Days or months of the site's calendar")
    ] = "day",
    first: Annotated[
        str | None,
        typer.Option("--from", help="First day, such as 2026-07-01 (default: a week back, or this month)"),
    ] = None,
    last: Annotated[str | None, typer.Option("--to", help="Last day (default: today)")] = None,
    json: Json = False,
    config: RecordsOf = None,
    data: Data = None,
) -> None:
    """Tell energy by the meters' counters, PUE (ISO/IEC 30134-2) and carbon, by day or month: figures of the yearly energy report."""
    if by not in ("day", "month"):
        raise InputError(f"--by {by}: write day or month")
    asked = {"by": by}
    for key, option, text in (("first", "--from", first), ("last", "--to", last)):
        if text is not None:
            asked[key] = _day(text, option)
    answer = required(data_of(config, data), WHY).call("GET", "energy", params=asked).json()
    if json:
        as_json(answer)
        return
    as_table(
        [by, "measured", "energy", "IT energy", "PUE", "carbon", "highest quarter hour"],
        [
            [
                one["name"],
                f"{one['measured']:.1%}",
                _shown(one["energy"], lambda v: f"{v / 3.6e9:,.2f} MWh"),
                _shown(one["it_energy"], lambda v: f"{v / 3.6e9:,.2f} MWh"),
                _shown(one["pue"], lambda v: f"{v:.3f}"),
                _shown(one["carbon"], lambda v: f"{v / 1e3:,.2f} t CO2e"),
                _shown(one["highest"], lambda v: shown(v, "W", 4)),
            ]
            for one in answer["periods"]
        ],
    )
    where = {"ups": "at the UPSes", "racks": "at the racks, without network and storage"}[
        answer["it_measured_at"]
    ]
    say(f"IT energy is measured {where}. Nothing is made up for what was not measured.")
    if all(one["carbon"] is None for one in answer["periods"]):
        say("Carbon needs the grid's emission factors: energy.carbon in hallwatch.yaml.")


def _shown(value: float | None, how: Callable[[float], str]) -> str:
    return "-" if value is None else how(value)


def _day(text: str, option: str = "--event-day") -> str:
    try:
        return date.fromisoformat(text).isoformat()
    except ValueError:
        raise InputError(f"{option} {text}: write a day such as 2026-07-08") from None
