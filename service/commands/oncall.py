"""On call at the command line: who is, in the days to come, and standing in for somebody."""

from __future__ import annotations

import getpass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated
from zoneinfo import ZoneInfo

import typer

from domain.batch import now_ms
from domain.errors import InputError
from service.commands.output import as_json, as_table, say

if TYPE_CHECKING:
    from alerts.oncall.people import OnCall
    from alerts.oncall.roster import Roster
    from storage.records import Records

Config = Annotated[Path, typer.Option("-c", "--config", metavar="DIR", help="Configuration folder")]
Data = Annotated[Path | None, typer.Option(metavar="DIR", help="Data folder, instead of the configuration's")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON")]
For = Annotated[str, typer.Option("--for", metavar="PERSON", help="Show times by this person's clocks")]
Schedule = Annotated[str, typer.Argument(help="The schedule, as alerts.yaml calls it")]
Person = Annotated[str, typer.Argument(help="As alerts.yaml calls them")]
From = Annotated[
    str,
    typer.Option(
        "--from", help="From when, such as 2026-03-28T09:00, by the schedule's clocks (default: now)"
    ),
]
To = Annotated[str, typer.Option("--to", help="Until when, by the schedule's clocks")]
Note = Annotated[str, typer.Option(help="Why, for those who wonder")]
By = Annotated[str, typer.Option("--who", help="Who does it (default: the login name)")]


def show(
    config: Config,
    days: Annotated[int, typer.Option(min=1, max=400, help="How far ahead")] = 14,
    person: For = "",
    json: Json = False,
    data: Data = None,
) -> None:
    """Show who is on call by every schedule in the days to come, and when nobody is."""
    on_call, records = _opened(config, data)
    zone = _zone_of(on_call, person)
    found = _rosters(on_call, records, days)
    if json:
        from alerts.oncall.roster import roster_json

        as_json([roster_json(roster) for roster in found])
        return
    if not found:
        say("alerts.yaml names no schedule; docs/how-to/alerts.md says how.")
    from alerts.oncall.calendar import shown

    for roster in found:
        clocks = zone or ZoneInfo(roster.timezone)
        say(f"{roster.schedule} (times of {clocks})")
        as_table(
            ["from", "until", "on call"],
            [
                [shown(s.start, clocks), shown(s.end, clocks), on_call.name_of(s.person) or "NOBODY"]
                for s in roster.shifts
            ],
        )
        for change in roster.overrides:
            what = (
                f"{change.person} and {change.other} swap" if change.other else f"{change.person} stands in"
            )
            span = f"{shown(change.start, clocks)} to {shown(change.end, clocks)}"
            say(f"  {change.id}: {what}, {span} ({change.who}) {change.note}".rstrip())


def who(
    config: Config,
    at: Annotated[
        str, typer.Option(help="When, such as 2026-03-28T09:00, by the site's clocks (default: now)")
    ] = "",
    person: For = "",
    json: Json = False,
    data: Data = None,
) -> None:
    """Tell who is on call now; fails where nobody is by one of the schedules."""
    from alerts.oncall.calendar import shown
    from alerts.oncall.roster import rosters

    on_call, records = _opened(config, data)
    moment = _moment(at, on_call.zone) if at else now_ms()
    zone = _zone_of(on_call, person)
    found = rosters(on_call, records.overrides(moment), moment)
    if json:
        as_json([{"schedule": r.schedule, "person": r.now.person or None, "until": r.now.end} for r in found])
    else:
        as_table(
            ["schedule", "on call", "until"],
            [
                [
                    r.schedule,
                    on_call.name_of(r.now.person) or "NOBODY",
                    shown(r.now.end, zone or ZoneInfo(r.timezone)),
                ]
                for r in found
            ],
        )
    if any(not r.now.person for r in found):
        raise typer.Exit(1)


def override(
    schedule: Schedule,
    person: Person,
    config: Config,
    end: To,
    start: From = "",
    note: Note = "",
    by: By = "",
    data: Data = None,
) -> None:
    """Put somebody on call for a while, whoever would be by the schedule."""
    _change(config, data, schedule, person, "", start, end, note, by)


def swap(
    schedule: Schedule,
    person: Person,
    other: Annotated[str, typer.Argument(help="With whom")],
    config: Config,
    end: To,
    start: From = "",
    note: Note = "",
    by: By = "",
    data: Data = None,
) -> None:
    """Let two people stand in for each other for a while: each is on call when the other would be."""
    _change(config, data, schedule, person, other, start, end, note, by)


def end(
    number: Annotated[int, typer.Argument(help="The override's or swap's number, as `oncall show` lists it")],
    config: Config,
    by: By = "",
    data: Data = None,
) -> None:
    """End an override or a swap now; one that has not begun never will."""
    from alerts.oncall import changes

    _, records = _opened(config, data)
    changes.end(records, number, by or getpass.getuser(), now_ms())
    say(f"{number} has ended.")


def _change(
    config: Path,
    data: Path | None,
    schedule: str,
    person: str,
    other: str,
    start: str,
    end: str,
    note: str,
    by: str,
) -> None:
    from alerts.oncall import changes
    from alerts.oncall.calendar import shown

    on_call, records = _opened(config, data)
    zone = changes.zone_of(on_call, schedule)
    begin = _moment(start, zone) if start else now_ms()
    made = changes.begin(
        on_call, records, schedule, person, begin, _moment(end, zone), by or getpass.getuser(), other, note
    )
    what = f"{person} and {other} swap" if other else f"{person} is on call"
    say(f"{made.id}: {what} by {schedule} from {shown(made.start, zone)} to {shown(made.end, zone)}.")


def _opened(config: Path, data: Path | None) -> tuple[OnCall, Records]:
    from alerts.oncall.people import OnCall
    from service.settings import read_configuration
    from storage.records import Records

    configuration = read_configuration(config, data)
    return OnCall(configuration.alerts, configuration.site.zone), Records(configuration.records_url)


def _rosters(on_call: OnCall, records: Records, days: int) -> list[Roster]:
    from alerts.oncall.roster import rosters

    now = now_ms()
    return rosters(on_call, records.overrides(now), now, days)


def _zone_of(on_call: OnCall, person: str) -> ZoneInfo | None:
    if not person:
        return None
    if person not in on_call.settings.people:
        raise InputError(
            f"there is nobody called {person!r}; there are: {', '.join(on_call.settings.people)}"
        )
    return on_call.zone_of(person)


def _moment(text: str, zone: ZoneInfo) -> int:
    """Return a moment, UTC ms, as somebody typed it: by the clocks of a zone, unless it has an offset of its own."""
    try:
        told = datetime.fromisoformat(text)
    except ValueError:
        raise InputError(f"{text!r} is no time; write one such as 2026-03-28T09:00") from None
    return int((told if told.tzinfo else told.replace(tzinfo=zone)).timestamp() * 1000)
